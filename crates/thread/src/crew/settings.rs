//! What a pool was built with.

use super::size::Size;
use concurrent_futures_core::task::catch;
use concurrent_futures_core::{InitResult, init_outcome};
use parking_lot::Mutex;
use std::thread;

pub(crate) struct Settings {
    /// At first.
    pub(crate) size: Size,
    pub(crate) prefix: String,
    pub(crate) stack_size: Option<usize>,
    /// Jobs that may wait.
    pub(crate) bound: Option<usize>,
    /// The queue is sorted by priority.
    pub(crate) sorted: bool,
    pub(crate) initializer: Option<Initializer>,
}

/// Called in each worker before its first job.
pub(crate) struct Initializer(Box<dyn Fn() -> Result<(), String> + Send + Sync>);

impl Settings {
    /// How worker `number` is started.
    pub(super) fn thread(&self, number: usize) -> thread::Builder {
        let builder = thread::Builder::new().name(format!("{}_{number}", self.prefix));
        match self.stack_size {
            Some(bytes) => builder.stack_size(bytes),
            None => builder,
        }
    }
}

impl Initializer {
    pub(crate) fn new<A: Clone + Send + 'static, R: InitResult + 'static>(f: fn(A) -> R, args: A) -> Self {
        // Workers take their copies one at a time, so that `A` need not be `Sync`.
        let args = Mutex::new(args);
        Initializer(Box::new(move || {
            let outcome = catch(|| {
                let args = args.lock().clone();
                init_outcome(f(args)).map_err(|error| error.to_string())
            });
            outcome.unwrap_or_else(|panic| Err(panic.kind().to_string()))
        }))
    }

    /// # Errors
    /// What the initializer said, or its panic.
    pub(super) fn call(&self) -> Result<(), String> {
        (self.0)()
    }
}
