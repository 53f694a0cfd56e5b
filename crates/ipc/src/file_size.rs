//! The limit of the system on the size of files, which holds for memory that has a descriptor, too.

use rustix::process::{Resource, getrlimit};
use std::io;

/// Whether this process may make a file of so many bytes. To be asked before: beyond the limit the kernel does not only refuse,
/// it sends SIGXFSZ, which ends the program.
///
/// # Errors
///
/// `FileTooLarge`: it may not.
pub fn check(len: u64) -> io::Result<()> {
    match getrlimit(Resource::Fsize).current {
        Some(limit) if limit < len => {
            let words = format!(
                "what processes share counts as a file, and the files of this process are limited to {limit} bytes \
                 (`ulimit -f`): {len} are too many"
            );
            Err(io::Error::new(io::ErrorKind::FileTooLarge, words))
        }
        _ => Ok(()),
    }
}
