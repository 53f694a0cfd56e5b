//! Addresses of pages.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// An `http` address, without a fragment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Url {
    /// As it is written, with the brackets of an IPv6 address.
    host: String,
    port: u16,
    /// Begins with a slash; the query belongs to it.
    target: String,
}

impl Url {
    /// For a resolver.
    pub fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn target(&self) -> &str {
        &self.target
    }

    /// Host and port, the latter if it is not the usual one.
    pub fn authority(&self) -> String {
        if self.port == 80 { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }

    /// What a link on this page leads to; `None` for what is not `http`.
    pub fn join(&self, link: &str) -> Option<Url> {
        let link = link.trim().split('#').next().unwrap_or_default();
        if let Some(rest) = link.strip_prefix("//") {
            return format!("http://{rest}").parse().ok();
        }
        let scheme = link.split(['/', '?']).next().unwrap_or_default();
        if scheme.contains(':') {
            return link.parse().ok();
        }
        let path = self.target.split('?').next().unwrap_or_default();
        let target = if link.is_empty() {
            self.target.clone()
        } else if link.starts_with('/') {
            tidy(link)
        } else if link.starts_with('?') {
            format!("{path}{link}")
        } else {
            let folder = &path[..=path.rfind('/').unwrap_or(0)];
            tidy(&format!("{folder}{link}"))
        };
        Some(Url { target, ..self.clone() })
    }
}

/// Without `.` and `..` in its path.
fn tidy(target: &str) -> String {
    let (path, query) = target.find('?').map_or((target, ""), |at| target.split_at(at));
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/').skip(1) {
        match part {
            "." => {}
            ".." => _ = parts.pop(),
            part => parts.push(part),
        }
    }
    if path.ends_with("/.") || path.ends_with("/..") {
        parts.push("");
    }
    format!("/{}{query}", parts.join("/"))
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("{text}: {what}");
        let text = text.split('#').next().unwrap_or_default();
        let rest = match text.get(..7) {
            Some(scheme) if scheme.eq_ignore_ascii_case("http://") => &text[7..],
            _ => return Err(wrong("not an http address (there is no TLS here, so https is none)")),
        };
        let (authority, target) = rest.find(['/', '?']).map_or((rest, ""), |at| rest.split_at(at));
        let after_brackets = authority.find(']').map_or(0, |at| at + 1);
        let (host, port) = match authority[after_brackets..].find(':') {
            None => (authority, 80),
            Some(at) => {
                let (host, port) = authority.split_at(after_brackets + at);
                (host, port[1..].parse().map_err(|_| wrong("the port is no number"))?)
            }
        };
        let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if host.is_empty() || host.contains('@') || !is_plain(rest) {
            return Err(wrong("not a whole address"));
        }
        let target = if target.starts_with('/') { tidy(target) } else { format!("/{target}") };
        Ok(Url { host: host.to_ascii_lowercase(), port, target })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority(), self.target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_where_a_browser_would_go() {
        let page: Url = "HTTP://Example.org:8080/a/b?c#d".parse().unwrap();
        assert_eq!(page.to_string(), "http://example.org:8080/a/b?c");
        for (link, leads_to) in [
            ("x", Some("http://example.org:8080/a/x")),
            ("../x/./y?z", Some("http://example.org:8080/x/y?z")),
            ("/x#y", Some("http://example.org:8080/x")),
            ("?y", Some("http://example.org:8080/a/b?y")),
            ("", Some("http://example.org:8080/a/b?c")),
            ("..", Some("http://example.org:8080/")),
            ("//other/x", Some("http://other/x")),
            ("http://[::1]:81", Some("http://[::1]:81/")),
            ("https://other/", None),
            ("mailto:me@here", None),
        ] {
            assert_eq!(page.join(link).map(|url| url.to_string()).as_deref(), leads_to, "{link}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["", "x", "https://x/", "http://", "http://x:port/", "http://a b/", "http://me@here/"] {
            assert!(text.parse::<Url>().is_err(), "{text}");
        }
    }
}
