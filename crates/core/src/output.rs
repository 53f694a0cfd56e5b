//! What a task has printed.

use std::fmt;

/// What a task wrote to standard output and standard error, where the executor captures it.
///
/// ```
/// use concurrent_futures_core::TaskOutput;
///
/// let output = TaskOutput::new(b"42\n".to_vec(), Vec::new(), false);
/// assert_eq!((output.stdout_text().as_ref(), output.truncated), ("42\n", false));
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskOutput {
    /// Standard output, as bytes.
    pub stdout: Vec<u8>,
    /// Standard error, as bytes.
    pub stderr: Vec<u8>,
    /// There was more than is kept; these are the ends.
    pub truncated: bool,
}

impl TaskOutput {
    /// For authors of executors.
    pub fn new(stdout: Vec<u8>, stderr: Vec<u8>, truncated: bool) -> Self {
        TaskOutput { stdout, stderr, truncated }
    }

    /// Standard output; bytes that are no text are replaced.
    pub fn stdout_text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.stdout)
    }

    /// Standard error; bytes that are no text are replaced.
    pub fn stderr_text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.stderr)
    }
}

impl fmt::Debug for TaskOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskOutput")
            .field("stdout", &self.stdout_text())
            .field("stderr", &self.stderr_text())
            .field("truncated", &self.truncated)
            .finish()
    }
}
