//! Why an executor could not be made.

use std::error::Error;
use std::fmt;
use std::io;

/// An executor could not be built: impossible settings, or the system refused.
///
/// ```
/// use concurrent_futures_core::BuildError;
///
/// let error = BuildError::invalid("max_workers must be at least 1");
/// assert_eq!(error.to_string(), "max_workers must be at least 1");
/// ```
#[derive(Debug)]
pub struct BuildError {
    message: Box<str>,
    source: Option<io::Error>,
}

impl BuildError {
    /// The settings make no sense; `message` says which, and what would.
    pub fn invalid(message: impl Into<Box<str>>) -> Self {
        BuildError { message: message.into(), source: None }
    }

    /// The system refused; `message` says what was tried.
    pub fn system(message: impl Into<Box<str>>, source: io::Error) -> Self {
        BuildError { message: message.into(), source: Some(source) }
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Some(source) => write!(f, "{}: {source}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl Error for BuildError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|e| e as &(dyn Error + 'static))
    }
}
