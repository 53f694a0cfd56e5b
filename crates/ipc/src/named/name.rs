//! What a name may be.

use super::registry::{NUMBER, PREFIX};
use std::hash::{BuildHasher, RandomState};
use std::io;

/// The longest name of a file, less what an entry of the register has before it.
const MAX: usize = 255 - NUMBER;

/// The name of an object: that of a file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Name(String);

impl Name {
    /// Without the slash that it may begin with.
    pub(super) fn new(name: &str) -> io::Result<Name> {
        let name = name.strip_prefix('/').unwrap_or(name);
        let wrong = match name {
            "" | "." | ".." => Some("the name of shared memory must not be empty, nor one of the names `.` and `..`"),
            _ if name.contains('\0') => Some("the name of shared memory has a zero in it"),
            _ if name.contains('/') => Some("the name of shared memory has a slash behind its start"),
            _ if name.len() > MAX => Some("the name of shared memory is longer than 238 bytes"),
            _ if name.starts_with(PREFIX) => {
                Some("the name of shared memory is one that this library keeps for itself")
            }
            _ => None,
        };
        match wrong {
            Some(words) => Err(io::Error::new(io::ErrorKind::InvalidInput, words)),
            None => Ok(Name(name.to_owned())),
        }
    }

    /// One that nobody else will think of.
    pub(super) fn at_random() -> Name {
        // Each has keys of its own, and the first ones are random.
        let number = RandomState::new().hash_one(std::process::id());
        Name(format!("psm_{:08x}", number as u32))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_names_are_names() {
        for name in ["a", "a:b", "line\nfeed", " ", "…", "-", "\u{7f}", ".hidden", &"x".repeat(MAX)] {
            assert_eq!(Name::new(name).unwrap().as_str(), name);
            assert_eq!(Name::new(&format!("/{name}")).unwrap().as_str(), name);
        }
        assert_ne!(Name::at_random(), Name::at_random());
    }

    #[test]
    fn what_cannot_be_the_name_of_a_file_is_refused() {
        for name in ["", "/", ".", "..", "a/b", "//a", "a\0b", ".concurrent-futures-0", &"x".repeat(MAX + 1)] {
            assert_eq!(Name::new(name).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{name:?}");
        }
    }
}
