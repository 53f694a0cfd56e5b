//! What is on a page: work for the CPU, and of text that anybody may have written, so it is done in worker processes.

use crate::http::Url;
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
pub struct Contents {
    pub title: String,
    /// Each once, in the order of the page.
    pub links: Vec<Url>,
}

/// Title and links of a page. It knows no more of HTML than that.
pub fn parse((url, body): (Url, Vec<u8>)) -> Contents {
    let text = String::from_utf8_lossy(&body);
    let mut contents = Contents { title: String::new(), links: Vec::new() };
    let mut rest = &*text;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        if let Some(comment) = rest.strip_prefix("!--") {
            rest = comment.find("-->").map_or("", |end| &comment[end + 3..]);
            continue;
        }
        let Some(end) = rest.find('>') else { break };
        let (tag, after) = (&rest[..end], &rest[end + 1..]);
        let name = tag.split_ascii_whitespace().next().unwrap_or_default().to_ascii_lowercase();
        match name.as_str() {
            "title" if contents.title.is_empty() => {
                let words = after[..after.find('<').unwrap_or(after.len())].split_whitespace();
                contents.title = words.collect::<Vec<_>>().join(" ");
            }
            "a" => {
                let link = attribute(tag, "href").and_then(|link| url.join(&link.replace("&amp;", "&")));
                if let Some(link) = link.filter(|link| !contents.links.contains(link)) {
                    contents.links.push(link);
                }
            }
            _ => {}
        }
        rest = after;
    }
    contents
}

/// The value of an attribute of a tag.
fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = tag.split_once(char::is_whitespace)?.1;
    loop {
        let (key, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let (value, others) = match after.chars().next()? {
            quote @ ('"' | '\'') => after[1..].split_once(quote)?,
            _ => after.split_once(char::is_whitespace).unwrap_or((after, "")),
        };
        // What stands before without a value is none.
        if key.split_whitespace().next_back()?.eq_ignore_ascii_case(name) {
            return Some(value);
        }
        rest = others;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn title_and_links_are_found_in_untidy_pages() {
        let page = "<!-- <a href=no> --><TITLE lang=en> one\n two </TITLE><a\nclass='x' HREF = \"/a?b&amp;c\">\
                    <a href=d><a href='d#e'><a name=f><a href='mailto:g'><a disabled href=h><p><a href='i";
        let contents = parse(("http://x/y/".parse().unwrap(), page.into()));
        assert_eq!(contents.title, "one two");
        let links: Vec<String> = contents.links.iter().map(|link| link.to_string()).collect();
        assert_eq!(links, ["http://x/a?b&c", "http://x/y/d", "http://x/y/h"]);
    }

    #[test]
    fn no_text_makes_it_panic() {
        for text in
            ["", "<", "<>", "<a", "<a >", "<a =>", "<a href>", "<a href=>", "<a href='>", "<!--", "<title>", "é<é>"]
        {
            parse(("http://x/".parse().unwrap(), text.into()));
        }
    }
}
