//! An error as it travels between processes.

use super::{CodecError, CodecStep, Failure, Panic, TaskErrorKind};
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::fmt;

/// What a worker reports instead of a value.
#[derive(Serialize, Deserialize)]
pub(crate) enum ErrorRecord {
    Panicked {
        message: String,
        location: Option<String>,
        backtrace: String,
    },
    Failed {
        type_name: String,
        chain: Vec<String>,
    },
    Codec {
        step: CodecStep,
        type_name: String,
        message: String,
    },
    /// Anything else, in words.
    Other(String),
}

impl ErrorRecord {
    pub(crate) fn of(error: &TaskErrorKind) -> Self {
        match error {
            TaskErrorKind::Panicked(panic) => ErrorRecord::Panicked {
                message: panic.message().to_owned(),
                location: panic.location().map(str::to_owned),
                backtrace: panic.backtrace(),
            },
            TaskErrorKind::Failed(failure) => {
                let mut chain = Vec::new();
                let mut next = Some(failure.as_error());
                while let Some(error) = next {
                    chain.push(error.to_string());
                    next = error.source();
                }
                ErrorRecord::Failed { type_name: failure.type_name().to_owned(), chain }
            }
            TaskErrorKind::Codec(codec) => ErrorRecord::Codec {
                step: codec.step(),
                type_name: codec.type_name().to_owned(),
                message: codec.message().to_owned(),
            },
            other => ErrorRecord::Other(other.to_string()),
        }
    }

    pub(crate) fn into_kind(self) -> TaskErrorKind {
        match self {
            ErrorRecord::Panicked { message, location, backtrace } => {
                TaskErrorKind::Panicked(Panic::remote(&message, location.as_deref(), &backtrace))
            }
            ErrorRecord::Failed { type_name, chain } => {
                TaskErrorKind::Failed(Failure::new(Box::new(RemoteError::from_chain(chain)), &type_name))
            }
            ErrorRecord::Codec { step, type_name, message } => {
                TaskErrorKind::Codec(CodecError::new(step, type_name, message))
            }
            ErrorRecord::Other(words) => {
                TaskErrorKind::Failed(Failure::new(words.into(), "concurrent_futures::TaskError"))
            }
        }
    }
}

/// The words of an error that stayed in another process, with those of its sources.
#[derive(Debug)]
struct RemoteError {
    message: String,
    source: Option<Box<RemoteError>>,
}

impl RemoteError {
    fn from_chain(chain: Vec<String>) -> Self {
        let mut outermost_last = chain.into_iter().rev();
        let innermost = outermost_last.next().unwrap_or_default();
        outermost_last.fold(RemoteError { message: innermost, source: None }, |source, message| RemoteError {
            message,
            source: Some(Box::new(source)),
        })
    }
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for RemoteError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|e| e as &(dyn Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_keeps_its_words_and_its_sources() {
        #[derive(Debug)]
        struct Outer(std::num::ParseIntError);
        impl fmt::Display for Outer {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("cannot read the port")
            }
        }
        impl Error for Outer {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                Some(&self.0)
            }
        }
        let inner = "x".parse::<u8>().unwrap_err();
        let words = inner.to_string();
        let kind = TaskErrorKind::Failed(Failure::new(Box::new(Outer(inner)), "Outer"));
        let TaskErrorKind::Failed(failure) = ErrorRecord::of(&kind).into_kind() else { panic!("not a failure") };
        assert_eq!((failure.type_name(), failure.message().as_str()), ("Outer", "cannot read the port"));
        assert_eq!(failure.as_error().source().unwrap().to_string(), words);
    }
}
