//! What an initializer may return.

use std::error::Error;

/// What the initializer of a pool may return: nothing, or a `Result` without a value, whose error breaks the pool.
///
/// Sealed.
///
/// ```
/// use concurrent_futures_core::InitResult;
///
/// fn initializer<R: InitResult>(_: fn() -> R) {}
/// initializer(|| ());
/// initializer(|| "7".parse::<u8>().map(drop));
/// ```
#[diagnostic::on_unimplemented(
    message = "an initializer returns nothing, or a `Result<(), E>`, not `{Self}`",
    note = "`E` is any error, or a text; a value would have nobody to go to"
)]
pub trait InitResult: sealed::Outcome {}

impl InitResult for () {}

impl<E: Into<Box<dyn Error + Send + Sync>>> InitResult for Result<(), E> {}

/// What came of an initializer; for authors of executors.
///
/// # Errors
/// The initializer's own.
#[doc(hidden)]
pub fn init_outcome<R: InitResult>(result: R) -> Result<(), Box<dyn Error + Send + Sync>> {
    result.outcome()
}

mod sealed {
    use std::error::Error;

    pub trait Outcome {
        fn outcome(self) -> Result<(), Box<dyn Error + Send + Sync>>;
    }

    impl Outcome for () {
        fn outcome(self) -> Result<(), Box<dyn Error + Send + Sync>> {
            Ok(())
        }
    }

    impl<E: Into<Box<dyn Error + Send + Sync>>> Outcome for Result<(), E> {
        fn outcome(self) -> Result<(), Box<dyn Error + Send + Sync>> {
            self.map_err(Into::into)
        }
    }
}
