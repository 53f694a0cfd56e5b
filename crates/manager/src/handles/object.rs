//! An object of any type.

use super::ManagedObject;
use super::sealed::Of;
use crate::client::{RawHandle, call};
use crate::entry::{Called, Reply, Shown};
use crate::error::ManagerError;
use crate::wire::Kind;
use concurrent_futures_core::Portable;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::any::type_name;
use std::fmt;
use std::marker::PhantomData;

/// A handle of an object of the type `T`, which lives in a manager's server and is called from anywhere.
///
/// `T` need not be able to travel. A clone is a handle of the same object; the object goes with the last one.
///
/// ```
/// use concurrent_futures_manager::{Handle, Manager};
/// use std::collections::BinaryHeap;
///
/// fn new((): ()) -> BinaryHeap<u32> { BinaryHeap::new() }
///
/// let manager = Manager::new()?;
/// let heap: Handle<BinaryHeap<u32>> = manager.object(new, ())?;
/// for number in [3, 9, 5] {
///     heap.call(BinaryHeap::push, number)?;
/// }
/// assert_eq!(heap.call(|heap, ()| heap.pop(), ())?, Some(9));
/// # Ok::<(), concurrent_futures_manager::ManagerError>(())
/// ```
pub struct Handle<T> {
    raw: RawHandle,
    object: PhantomData<fn(T) -> T>,
}

impl<T: Send + 'static> Handle<T> {
    /// Runs `f(&mut object, args)` in the server, and gives its result. Nobody else uses the object meanwhile.
    ///
    /// `f` is a function, or a closure that captures nothing; whatever it needs is in `args`. It may use handles, but not of an object
    /// whose function waits for it, this very one above all: that is [`ManagerError::Deadlock`]. Two clients of which each calls through
    /// the object of the other's call, however, wait for each other for ever, as with two mutexes: let all calls go the same way.
    ///
    /// ```
    /// # use concurrent_futures_manager::Manager;
    /// let manager = Manager::new()?;
    /// let text = manager.object(|text: String| text, "one".to_owned())?;
    /// let length = text.call(|text, (more, times): (String, usize)| { text.push_str(&more.repeat(times)); text.len() }, (", two".to_owned(), 2))?;
    /// assert_eq!(length, 13);
    /// # Ok::<(), concurrent_futures_manager::ManagerError>(())
    /// ```
    ///
    /// # Errors
    /// The server is gone; `f` panicked (the object stays as it left it); `args` or the result cannot be sent; the handle was received as
    /// one of another type than the object has.
    pub fn call<F, A, R>(&self, f: F, args: A) -> Result<R, ManagerError>
    where
        F: Fn(&mut T, A) -> R + Copy + Send + 'static,
        A: Portable,
        R: Portable,
    {
        self.call_with::<F, A, R>(f, &args)
    }

    /// As `call`, with arguments that are encoded as an `A` is.
    pub(super) fn call_with<F, A, R>(&self, f: F, args: &(impl Serialize + ?Sized)) -> Result<R, ManagerError>
    where
        F: Fn(&mut T, A) -> R + Copy + Send + 'static,
        A: DeserializeOwned + 'static,
        R: Portable,
    {
        let _ = f;
        call::<Called<F, T, A, R>, R>(&self.raw, args)
    }

    /// As `call_with`; `f` gives what is encoded as an `R` is.
    pub(super) fn show<F, A, R>(&self, f: F, args: &(impl Serialize + ?Sized)) -> Result<R, ManagerError>
    where
        F: Fn(&mut T, A, &mut Reply) + Copy + Send + 'static,
        A: DeserializeOwned + 'static,
        R: DeserializeOwned,
    {
        let _ = f;
        call::<Shown<F, T, A>, R>(&self.raw, args)
    }
}

impl<T> Handle<T> {
    pub(crate) fn of(raw: RawHandle) -> Self {
        Handle { raw, object: PhantomData }
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.raw.is_same(&other.raw)
    }
}

impl<T: 'static> Of for Handle<T> {
    fn raw_handle(&self) -> &RawHandle {
        &self.raw
    }

    fn from_raw_handle(raw: RawHandle) -> Self {
        Handle::of(raw)
    }

    fn kind() -> Kind {
        Kind::Data
    }

    fn data_type() -> Option<&'static str> {
        Some(type_name::<T>())
    }
}

impl<T: 'static> ManagedObject for Handle<T> {}

/// Another handle of the same object.
impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        Handle::of(self.raw.clone())
    }
}

/// Whether they are handles of the same object.
impl<T> PartialEq for Handle<T> {
    fn eq(&self, other: &Self) -> bool {
        self.is_same(other)
    }
}

impl<T> Eq for Handle<T> {}

impl<T> fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handle").field(&self.raw).field(&type_name::<T>()).finish()
    }
}

/// As or within an argument or a result of a task or a process, or a value of the same manager.
impl<T> Serialize for Handle<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.raw.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Handle<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        RawHandle::deserialize(deserializer).map(Handle::of)
    }
}
