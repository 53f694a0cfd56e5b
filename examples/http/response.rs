//! What a server answers.

/// A whole response.
#[derive(Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub location: Option<String>,
    pub body: Vec<u8>,
}

impl Response {
    /// Of all bytes that came before the end of the connection.
    pub fn parse(bytes: &[u8]) -> Result<Response, &'static str> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").ok_or("the answer ends in its head")?;
        let (head, body) = (&bytes[..end], &bytes[end + 4..]);
        let head = String::from_utf8_lossy(head);
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(status).ok_or("the answer is not HTTP")?;
        let (mut location, mut length, mut is_chunked) = (None, None, false);
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "location" => location = Some(value.to_owned()),
                "content-length" => length = Some(value.parse::<usize>().map_err(|_| "its length is no number")?),
                "transfer-encoding" => is_chunked = value.eq_ignore_ascii_case("chunked"),
                _ => {}
            }
        }
        let body = match length {
            _ if is_chunked => chunks(body)?,
            Some(length) => body.get(..length).ok_or("the answer was cut short")?.to_vec(),
            None => body.to_vec(),
        };
        Ok(Response { status, location, body })
    }
}

/// Of `HTTP/1.1 200 OK`.
fn status(line: &str) -> Option<u16> {
    let mut words = line.split(' ');
    words.next()?.starts_with("HTTP/1.").then_some(())?;
    words.next()?.parse().ok().filter(|status| (100..600).contains(status))
}

/// The body that was sent in pieces, each behind its length.
fn chunks(mut rest: &[u8]) -> Result<Vec<u8>, &'static str> {
    const CUT: &str = "the answer was cut short";
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n").ok_or(CUT)?;
        let line = std::str::from_utf8(&rest[..end]).map_err(|_| "a piece has no length")?;
        let length = line.split(';').next().unwrap_or_default().trim();
        let length = usize::from_str_radix(length, 16).map_err(|_| "a piece has no length")?;
        rest = &rest[end + 2..];
        if length == 0 {
            return Ok(body);
        }
        let (piece, after) = rest.split_at_checked(length).ok_or(CUT)?;
        body.extend_from_slice(piece);
        rest = after.strip_prefix(b"\r\n").ok_or(CUT)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(text: &str) -> Result<String, &'static str> {
        Response::parse(text.as_bytes()).map(|response| String::from_utf8(response.body).unwrap())
    }

    #[test]
    fn bodies_of_each_kind() {
        assert_eq!(body("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcd").unwrap(), "abc");
        assert_eq!(body("HTTP/1.0 200\r\n\r\nabcd").unwrap(), "abcd");
        let chunked =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n";
        assert_eq!(body(chunked).unwrap(), "abc0123456789");
        for cut in chunked.len() - 20..chunked.len() - 4 {
            assert!(body(&chunked[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn what_is_not_whole_is_an_error() {
        for text in ["", "HTTP/1.1 200 OK\r\n", "SSH-2.0\r\n\r\n", "HTTP/1.1 999 OK\r\n\r\n"] {
            assert!(body(text).is_err(), "{text}");
        }
        assert!(body("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcd").is_err());
        assert!(body("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx").is_err());
    }
}
