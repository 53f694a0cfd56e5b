//! One value.

use super::{Handle, handle};
use crate::entry::{Reply, conjure};
use crate::error::ManagerError;
use concurrent_futures_core::Portable;

/// A handle of one value in a manager; made by [`ManagerClient::value`](crate::ManagerClient::value).
///
/// ```
/// use concurrent_futures_manager::Manager;
///
/// let manager = Manager::new()?;
/// let counter = manager.value(1.5_f64)?;
/// counter.set(2.0)?;
/// assert_eq!(counter.update(|value, by| { *value += by; *value }, 0.5)?, 2.5);
/// assert_eq!(counter.get()?, 2.5);
/// # Ok::<(), concurrent_futures_manager::ManagerError>(())
/// ```
pub struct ManagedValue<T> {
    object: Handle<T>,
}

handle!(ManagedValue<T>, of T);

impl<T: Portable> ManagedValue<T> {
    /// What it is now.
    ///
    /// # Errors
    /// The server is gone; the value cannot be sent.
    pub fn get(&self) -> Result<T, ManagerError> {
        self.object.show(|value: &mut T, (), reply: &mut Reply| reply.give(value), &())
    }

    /// Makes it another one.
    ///
    /// # Errors
    /// The server is gone; the value cannot be sent.
    pub fn set(&self, value: T) -> Result<(), ManagerError> {
        self.object.call(|old: &mut T, value| *old = value, value)
    }

    /// Makes it another one, and gives what it was.
    ///
    /// # Errors
    /// As of [`set`](Self::set).
    pub fn replace(&self, value: T) -> Result<T, ManagerError> {
        self.object.call(|old: &mut T, value| std::mem::replace(old, value), value)
    }

    /// Runs `f(&mut value, args)` in the server: nobody else reads or writes it meanwhile.
    ///
    /// # Errors
    /// As of [`Handle::call`].
    pub fn update<F, A, R>(&self, f: F, args: A) -> Result<R, ManagerError>
    where
        F: Fn(&mut T, A) -> R + Copy + Send + 'static,
        A: Portable,
        R: Portable,
    {
        let _ = f;
        self.object.call(|value: &mut T, args| conjure::<F>()(value, args), args)
    }
}
