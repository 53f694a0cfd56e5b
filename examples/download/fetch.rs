//! What the workers do: get a page by blocking calls, and save it.

use crate::http::{Error, Fetch, LONGEST, Page, Step, Url};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

/// A page that came, whatever its status.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub struct Saved {
    pub status: u16,
    pub bytes: usize,
}

/// Gets a page and writes it to a file. What it waits for has no limit of its own: the task has one.
pub fn save((url, file): (Url, Option<PathBuf>)) -> Result<Saved, Error> {
    let page = get(url)?;
    if page.status < 400
        && let Some(file) = file
    {
        write(&file, &page.body)?;
    }
    Ok(Saved { status: page.status, bytes: page.body.len() })
}

fn get(url: Url) -> Result<Page, Error> {
    let mut fetch = Fetch::new(url);
    loop {
        let mut connection = TcpStream::connect(fetch.server())?;
        connection.write_all(&fetch.request())?;
        let mut answer = Vec::new();
        connection.take(LONGEST).read_to_end(&mut answer)?;
        match fetch.answer(&answer)? {
            Step::Done(page) => return Ok(page),
            Step::Again(next) => fetch = next,
        }
    }
}

/// Under its name there is the whole page or nothing, also when this worker is stopped at any moment.
fn write(file: &Path, body: &[u8]) -> Result<(), Error> {
    let part = file.with_extension(format!("{}.part", std::process::id()));
    let written = fs::write(&part, body).and_then(|()| fs::rename(&part, file));
    if written.is_err() {
        // It may not be there.
        let _ = fs::remove_file(&part);
    }
    Ok(written?)
}
