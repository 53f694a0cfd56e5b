//! Elements whose number does not change.

use super::{Handle, handle};
use crate::entry::{Reply, conjure};
use crate::error::ManagerError;
use concurrent_futures_core::Portable;
use concurrent_futures_ipc::bounds;
use std::ops::RangeBounds;

/// A handle of an array in a manager; made by [`ManagerClient::array`](crate::ManagerClient::array).
///
/// ```
/// use concurrent_futures_manager::{Manager, ManagerError};
///
/// let manager = Manager::new()?;
/// let array = manager.array([0_i32; 4])?;
/// array.set(1, 10)?;
/// array.write(2, vec![20, 30])?;
/// assert_eq!(array.update(3, |element, by| { *element += by; *element }, 1)?, 31);
/// assert_eq!((array.get(1)?, array.slice(1..)?), (10, vec![10, 20, 31]));
/// assert!(matches!(array.get(4), Err(ManagerError::OutOfRange { index: 4, len: 4 })));
/// # Ok::<(), ManagerError>(())
/// ```
pub struct ManagedArray<T> {
    object: Handle<Box<[T]>>,
}

handle!(ManagedArray<T>, of Box<[T]>);

impl<T: Portable> ManagedArray<T> {
    /// How many elements there are.
    ///
    /// # Errors
    /// The server is gone.
    pub fn len(&self) -> Result<usize, ManagerError> {
        self.object.call(|array: &mut Box<[T]>, ()| array.len(), ())
    }

    /// Whether there are none.
    ///
    /// # Errors
    /// The server is gone.
    pub fn is_empty(&self) -> Result<bool, ManagerError> {
        self.len().map(|len| len == 0)
    }

    /// The element at that place.
    ///
    /// # Errors
    /// There is none; the server is gone.
    pub fn get(&self, index: usize) -> Result<T, ManagerError> {
        let get =
            |array: &mut Box<[T]>, index: usize, reply: &mut Reply| reply.give(&array.get(index).ok_or(array.len()));
        place(index, self.object.show(get, &index)?)
    }

    /// Makes the element at that place another one.
    ///
    /// # Errors
    /// There is none; the server is gone.
    pub fn set(&self, index: usize, element: T) -> Result<(), ManagerError> {
        self.update(index, |old: &mut T, element| *old = element, element)
    }

    /// Runs `f(&mut element, args)` in the server.
    ///
    /// # Errors
    /// There is no such element; as of [`Handle::call`].
    pub fn update<F, A, R>(&self, index: usize, f: F, args: A) -> Result<R, ManagerError>
    where
        F: Fn(&mut T, A) -> R + Copy + Send + 'static,
        A: Portable,
        R: Portable,
    {
        let _ = f;
        let update = |array: &mut Box<[T]>, (index, args): (usize, A)| {
            let len = array.len();
            array.get_mut(index).map(|element| conjure::<F>()(element, args)).ok_or(len)
        };
        place(index, self.object.call(update, (index, args))?)
    }

    /// Makes the elements from that place on others.
    ///
    /// # Errors
    /// There are not so many; the server is gone.
    pub fn write(&self, from: usize, elements: Vec<T>) -> Result<(), ManagerError> {
        let write = |array: &mut Box<[T]>, (from, elements): (usize, Vec<T>)| {
            let len = array.len();
            let places = from.checked_add(elements.len()).and_then(|end| array.get_mut(from..end)).ok_or(len)?;
            places.iter_mut().zip(elements).for_each(|(place, element)| *place = element);
            Ok(())
        };
        let end = from.saturating_add(elements.len());
        place(end, self.object.call(write, (from, elements))?)
    }

    /// A copy of all elements.
    ///
    /// # Errors
    /// The server is gone.
    pub fn to_vec(&self) -> Result<Vec<T>, ManagerError> {
        self.slice(..)
    }

    /// A copy of some elements, as far as there are so many.
    ///
    /// # Errors
    /// The server is gone.
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Result<Vec<T>, ManagerError> {
        let slice = |array: &mut Box<[T]>, range: (usize, usize), reply: &mut Reply| reply.give(part(array, range));
        self.object.show(slice, &bounds(range))
    }
}

fn place<R>(index: usize, found: Result<R, usize>) -> Result<R, ManagerError> {
    found.map_err(|len| ManagerError::OutOfRange { index, len })
}

/// As numbers, which travel.
pub(super) fn bounds(range: impl RangeBounds<usize>) -> (usize, usize) {
    let range = bounds::bounds(range, usize::MAX);
    (range.start, range.end)
}

/// What there is of it.
pub(super) fn part<T>(elements: &[T], (from, to): (usize, usize)) -> &[T] {
    let to = to.min(elements.len());
    &elements[from.min(to)..to]
}
