//! The files below some paths, one at a time and always in the same order.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::vec;

/// What could not be looked at.
#[derive(Debug)]
pub struct Unreadable {
    pub path: PathBuf,
    pub error: io::Error,
}

/// Reads a directory when it gets there, so memory holds the entries of the directories it is
/// inside of, no more.
#[derive(Debug)]
pub struct Walk {
    /// what is left of each directory on the way down; the paths that were asked for at the bottom
    levels: Vec<vec::IntoIter<Found>>,
}

#[derive(Debug)]
enum Found {
    AskedFor(PathBuf),
    Directory(PathBuf),
    File(PathBuf),
    Unreadable(Unreadable),
}

pub fn files(paths: &[PathBuf]) -> Walk {
    let asked: Vec<Found> = paths.iter().cloned().map(Found::AskedFor).collect();
    Walk { levels: vec![asked.into_iter()] }
}

impl Iterator for Walk {
    type Item = Result<PathBuf, Unreadable>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some(found) = self.levels.last_mut()?.next() else {
                self.levels.pop();
                continue;
            };
            match resolve(found) {
                Found::Directory(path) => self.levels.push(list(&path).into_iter()),
                Found::Unreadable(unreadable) => return Some(Err(unreadable)),
                Found::File(path) | Found::AskedFor(path) => return Some(Ok(path)),
            }
        }
    }
}

/// What was asked for is followed when it is a link, and is an error when it is nothing that can be
/// hashed.
fn resolve(found: Found) -> Found {
    let Found::AskedFor(path) = found else {
        return found;
    };
    match fs::metadata(&path) {
        Ok(is) if is.is_dir() => Found::Directory(path),
        Ok(is) if is.is_file() => Found::File(path),
        Ok(_) => Found::Unreadable(Unreadable { path, error: io::Error::other("not a regular file") }),
        Err(error) => Found::Unreadable(Unreadable { path, error }),
    }
}

/// What a directory holds, sorted by the bytes of the names; links, sockets, pipes and devices are
/// left out.
fn list(directory: &Path) -> Vec<Found> {
    let unreadable = |path: &Path, error| Found::Unreadable(Unreadable { path: path.to_owned(), error });
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => return vec![unreadable(directory, error)],
    };
    let mut named = Vec::new();
    let mut broken = Vec::new();
    for entry in entries {
        match entry {
            Ok(entry) => named.push((entry.file_name(), entry)),
            Err(error) => broken.push(unreadable(directory, error)),
        }
    }
    named.sort_by(|(a, _), (b, _)| a.cmp(b));
    let named = named.into_iter().filter_map(|(_, entry)| {
        let path = entry.path();
        match entry.file_type() {
            Ok(is) if is.is_dir() => Some(Found::Directory(path)),
            Ok(is) if is.is_file() => Some(Found::File(path)),
            Ok(_) => None,
            Err(error) => Some(unreadable(&path, error)),
        }
    });
    named.chain(broken).collect()
}
