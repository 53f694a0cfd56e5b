//! As much of HTTP/1.1 as it takes to get a page: `GET`, plain TCP, no TLS. What the pages travel over is the affair of those who
//! use this: blocking sockets in `download`, asynchronous ones in `crawler`.

mod progress;
mod response;
mod url;

pub use progress::Progress;
pub use url::Url;

use response::Response;
use std::fmt;
use std::io;

/// A page, from wherever it was moved to.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub struct Page {
    pub url: Url,
    pub status: u16,
    pub body: Vec<u8>,
}

/// Why there is no page, though another attempt may give one.
#[derive(Debug)]
pub enum Error {
    Io(io::Error),
    /// What the server sent is no response, or not a whole one.
    Response(&'static str),
    /// The server's own failure.
    Server(u16),
    TooManyRedirects,
}

/// No page is longer.
pub const LONGEST: u64 = 64 << 20;
const REDIRECTS: u32 = 5;

/// A page on its way.
pub struct Fetch {
    url: Url,
    redirects: u32,
}

/// What a response means.
pub enum Step {
    Done(Page),
    /// It is somewhere else: ask there.
    Again(Fetch),
}

impl Fetch {
    pub fn new(url: Url) -> Self {
        Fetch { url, redirects: 0 }
    }

    /// Whom to ask: a host and a port.
    pub fn server(&self) -> (String, u16) {
        (self.url.host().to_owned(), self.url.port())
    }

    /// What to ask.
    pub fn request(&self) -> Vec<u8> {
        let authority = self.url.authority();
        let agent = concat!("concurrent-futures-examples/", env!("CARGO_PKG_VERSION"));
        format!(
            "GET {} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: {agent}\r\nAccept: */*\r\nConnection: close\r\n\r\n",
            self.url.target()
        )
        .into_bytes()
    }

    /// What to make of the answer, which is all that came before the server closed.
    pub fn answer(self, bytes: &[u8]) -> Result<Step, Error> {
        let response = Response::parse(bytes).map_err(Error::Response)?;
        if response.status >= 500 {
            return Err(Error::Server(response.status));
        }
        let elsewhere = match response.status {
            301 | 302 | 303 | 307 | 308 => response.location.as_deref().and_then(|location| self.url.join(location)),
            _ => None,
        };
        match elsewhere {
            Some(_) if self.redirects == REDIRECTS => Err(Error::TooManyRedirects),
            Some(url) => Ok(Step::Again(Fetch { url, redirects: self.redirects + 1 })),
            None => Ok(Step::Done(Page { url: self.url, status: response.status, body: response.body })),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io(error) => error.fmt(f),
            Error::Response(what) => f.write_str(what),
            Error::Server(status) => write!(f, "the server failed with status {status}"),
            Error::TooManyRedirects => write!(f, "more than {REDIRECTS} redirects"),
        }
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Error::Io(error)
    }
}
