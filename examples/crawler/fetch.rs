//! Getting a page by async code. `smol`'s sockets are content with any executor.

use crate::http::{Error, Fetch, LONGEST, Page, Step, Url};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::TcpStream;

/// What it waits for has no limit of its own: the task has one.
pub async fn fetch(url: Url) -> Result<Page, Error> {
    let mut fetch = Fetch::new(url);
    loop {
        let mut connection = TcpStream::connect(fetch.server()).await?;
        connection.write_all(&fetch.request()).await?;
        let mut answer = Vec::new();
        connection.take(LONGEST).read_to_end(&mut answer).await?;
        match fetch.answer(&answer)? {
            Step::Done(page) => return Ok(page),
            Step::Again(next) => fetch = next,
        }
    }
}
