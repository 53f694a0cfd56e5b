//! The executor chosen by a word, for command lines.

use crate::{BuildError, Executor, SerialExecutor};
use std::error::Error;
use std::fmt;
use std::str::FromStr;

/// Which executor to use, when a flag or a setting says so.
///
/// ```
/// use concurrent_futures::{ExecutorKind, prelude::*};
///
/// let kind: ExecutorKind = "thread".parse()?;
/// let ex: Box<dyn Executor> = kind.build(2)?;
/// assert_eq!(ex.submit(|x: u32| x + 1, 1).result()?, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExecutorKind {
    /// [`SerialExecutor`].
    Serial,
    /// [`ThreadPoolExecutor`](crate::ThreadPoolExecutor).
    #[cfg(feature = "thread")]
    Thread,
    /// [`ProcessPoolExecutor`](crate::ProcessPoolExecutor).
    #[cfg(feature = "process")]
    Process,
}

impl ExecutorKind {
    /// All kinds that this build has.
    pub const ALL: &'static [ExecutorKind] = &[
        ExecutorKind::Serial,
        #[cfg(feature = "thread")]
        ExecutorKind::Thread,
        #[cfg(feature = "process")]
        ExecutorKind::Process,
    ];

    /// Makes the executor; `None` for its default number of workers. The serial executor has one, whatever is asked for.
    ///
    /// # Errors
    /// Zero workers, or the system refuses.
    pub fn build(self, workers: impl Into<Option<usize>>) -> Result<Box<dyn Executor>, BuildError> {
        let workers = workers.into();
        if workers == Some(0) {
            return Err(BuildError::invalid("the number of workers must be at least 1"));
        }
        match self {
            ExecutorKind::Serial => Ok(Box::new(SerialExecutor::new())),
            #[cfg(feature = "thread")]
            ExecutorKind::Thread => {
                let builder = crate::ThreadPoolExecutor::builder();
                Ok(Box::new(match workers {
                    Some(n) => builder.max_workers(n).build()?,
                    None => builder.build()?,
                }))
            }
            #[cfg(feature = "process")]
            ExecutorKind::Process => {
                let builder = crate::ProcessPoolExecutor::builder();
                Ok(Box::new(match workers {
                    Some(n) => builder.max_workers(n).build()?,
                    None => builder.build()?,
                }))
            }
        }
    }

    const fn name(self) -> &'static str {
        match self {
            ExecutorKind::Serial => "serial",
            #[cfg(feature = "thread")]
            ExecutorKind::Thread => "thread",
            #[cfg(feature = "process")]
            ExecutorKind::Process => "process",
        }
    }
}

impl fmt::Display for ExecutorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for ExecutorKind {
    type Err = ParseKindError;

    fn from_str(word: &str) -> Result<Self, ParseKindError> {
        let known = Self::ALL.iter().find(|kind| kind.name() == word);
        known.copied().ok_or_else(|| ParseKindError(word.to_owned()))
    }
}

/// The word names no executor of this build.
///
/// ```
/// let error = "cluster".parse::<concurrent_futures::ExecutorKind>().unwrap_err();
/// assert!(error.to_string().contains("`cluster`"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseKindError(String);

impl fmt::Display for ParseKindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no executor; there are:", self.0)?;
        ExecutorKind::ALL.iter().try_for_each(|kind| write!(f, " {kind}"))
    }
}

impl Error for ParseKindError {}
