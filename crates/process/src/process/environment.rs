//! How the environment of a new process differs from this one's.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::process::Command;

/// What was asked for.
#[derive(Debug, Default)]
pub(super) struct Environment {
    clear: bool,
    /// `None` removes it. Later ones win.
    changes: Vec<(OsString, Option<OsString>)>,
}

impl Environment {
    pub(super) fn set(&mut self, key: &OsStr, value: &OsStr) {
        self.changes.push((key.to_owned(), Some(value.to_owned())));
    }

    pub(super) fn remove(&mut self, key: &OsStr) {
        self.changes.push((key.to_owned(), None));
    }

    pub(super) fn clear(&mut self) {
        *self = Environment { clear: true, changes: Vec::new() };
    }

    /// # Errors
    /// A name or a value cannot be one.
    pub(super) fn check(&self) -> io::Result<()> {
        for (key, value) in &self.changes {
            let (key, value) = (key.as_bytes(), value.as_ref().map(|value| value.as_bytes()).unwrap_or_default());
            if key.is_empty() || key.contains(&b'=') || key.contains(&0) || value.contains(&0) {
                let words = format!("the environment cannot have a variable {:?}", key.escape_ascii().to_string());
                return Err(io::Error::new(io::ErrorKind::InvalidInput, words));
            }
        }
        Ok(())
    }

    /// For a process that is spawned.
    pub(super) fn apply(&self, command: &mut Command) {
        if self.clear {
            command.env_clear();
        }
        for (key, value) in &self.changes {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
    }

    /// For one that this process has become by a fork.
    ///
    /// # Safety
    /// This process has no other thread.
    pub(super) unsafe fn apply_here(&self) {
        if self.clear {
            for (key, _) in std::env::vars_os() {
                // SAFETY: no other thread looks at the environment.
                unsafe { std::env::remove_var(key) };
            }
        }
        for (key, value) in &self.changes {
            match value {
                // SAFETY: as above.
                Some(value) => unsafe { std::env::set_var(key, value) },
                // SAFETY: as above.
                None => unsafe { std::env::remove_var(key) },
            }
        }
    }

    /// For one that is forked: all of it.
    pub(super) fn whole(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut whole: Vec<_> = if self.clear { Vec::new() } else { std::env::vars_os().collect() };
        for (key, value) in &self.changes {
            whole.retain(|(other, _)| other != key);
            if let Some(value) = value {
                whole.push((key.clone(), value.clone()));
            }
        }
        whole.into_iter().map(|(key, value)| (key.into_vec(), value.into_vec())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_changes_win_and_the_rest_is_this_processs() {
        let mut environment = Environment::default();
        environment.set("A".as_ref(), "1".as_ref());
        environment.remove("PATH".as_ref());
        environment.set("A".as_ref(), "2".as_ref());
        let whole = environment.whole();
        assert_eq!(whole.iter().filter(|(key, _)| key == b"A").collect::<Vec<_>>(), [&(b"A".to_vec(), b"2".to_vec())]);
        assert!(whole.iter().all(|(key, _)| key != b"PATH"));
        assert_eq!(whole.len(), std::env::vars_os().filter(|(key, _)| key != "PATH" && key != "A").count() + 1);
        environment.clear();
        environment.set("B".as_ref(), "".as_ref());
        assert_eq!(environment.whole(), [(b"B".to_vec(), Vec::new())]);
    }

    #[test]
    fn what_cannot_be_a_variable_is_refused() {
        for (key, value) in [("", "x"), ("a=b", "x"), ("a\0b", "x"), ("a", "x\0y")] {
            let mut environment = Environment::default();
            environment.set(key.as_ref(), value.as_ref());
            assert_eq!(environment.check().unwrap_err().kind(), io::ErrorKind::InvalidInput, "{key:?}");
        }
    }
}
