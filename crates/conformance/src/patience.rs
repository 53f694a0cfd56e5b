//! How long a test waits for what must happen. Nothing is asserted about speed: these limits turn a hang into a failure.

use concurrent_futures::{Future, TaskError};
use std::time::{Duration, Instant};

/// For one event.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// For a whole test.
pub(crate) const HANGS: Duration = Duration::from_secs(180);

/// Waiting for an outcome that must come.
pub trait Soon<T> {
    /// The outcome.
    ///
    /// # Panics
    /// When it does not come.
    fn soon(self) -> Result<T, TaskError>;
}

impl<T> Soon<T> for Future<T> {
    fn soon(self) -> Result<T, TaskError> {
        self.result_timeout(PATIENCE).unwrap_or_else(|late| panic!("no outcome in {PATIENCE:?}: {:?}", late.0))
    }
}

/// Waits until `is` holds, for what tells nobody when it happens.
///
/// # Panics
/// When it does not come true.
pub fn until(what: &str, mut is: impl FnMut() -> bool) {
    let limit = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < limit, "not in {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
