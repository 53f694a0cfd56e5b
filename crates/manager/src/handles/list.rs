//! A list.

use super::array::{bounds, part};
use super::{Handle, handle};
use crate::entry::{Reply, conjure};
use crate::error::ManagerError;
use concurrent_futures_core::Portable;
use std::ops::RangeBounds;

/// A handle of a list in a manager; made by [`ManagerClient::list`](crate::ManagerClient::list).
///
/// What is in it is in the server: what [`get`](Self::get) gives is a copy, and to change an element is to [`modify`](Self::modify) it
/// there, or to [`set`](Self::set) another one. Elements may be handles of other objects, which then stay as long as they are in it.
///
/// ```
/// use concurrent_futures_manager::{ManagedList, Manager};
///
/// let manager = Manager::new()?;
/// let list = manager.list([3, 1])?;
/// list.push(2)?;
/// list.sort()?;
/// assert_eq!((list.to_vec()?, list.pop()?, list.len()?), (vec![1, 2, 3], Some(3), 2));
///
/// let lists: ManagedList<ManagedList<i32>> = manager.list([list])?;
/// let first = lists.get(0)?.expect("there is one");
/// first.modify(1, |element, by| *element *= by, 21)?;
/// assert_eq!(first.iter()?.sum::<i32>(), 43);
/// # Ok::<(), concurrent_futures_manager::ManagerError>(())
/// ```
pub struct ManagedList<T> {
    object: Handle<Vec<T>>,
}

handle!(ManagedList<T>, of Vec<T>);

/// Each of them fails when the server is gone, or when what it takes or gives cannot be sent.
#[allow(clippy::missing_errors_doc, reason = "said once for all above, and where there is more to say")]
impl<T: Portable> ManagedList<T> {
    /// How many elements there are.
    pub fn len(&self) -> Result<usize, ManagerError> {
        self.object.call(|list: &mut Vec<T>, ()| list.len(), ())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> Result<bool, ManagerError> {
        self.object.call(|list: &mut Vec<T>, ()| list.is_empty(), ())
    }

    /// Appends an element.
    pub fn push(&self, element: T) -> Result<(), ManagerError> {
        self.object.call(|list: &mut Vec<T>, element| list.push(element), element)
    }

    /// Appends elements, with nothing of others between them.
    pub fn extend(&self, elements: impl IntoIterator<Item = T>) -> Result<(), ManagerError> {
        self.object.call(|list: &mut Vec<T>, elements: Vec<T>| list.extend(elements), elements.into_iter().collect())
    }

    /// Takes the last element out.
    pub fn pop(&self) -> Result<Option<T>, ManagerError> {
        self.object.call(|list: &mut Vec<T>, ()| list.pop(), ())
    }

    /// Puts an element before the one at that place; at the end, if that is there.
    ///
    /// # Errors
    /// There are not so many.
    pub fn insert(&self, index: usize, element: T) -> Result<(), ManagerError> {
        let insert = |list: &mut Vec<T>, (index, element): (usize, T)| {
            let len = list.len();
            (index <= len).then(|| list.insert(index, element)).ok_or(len)
        };
        self.object.call(insert, (index, element))?.map_err(|len| ManagerError::OutOfRange { index, len })
    }

    /// Takes the element at that place out. `None`: there are not so many.
    pub fn remove(&self, index: usize) -> Result<Option<T>, ManagerError> {
        self.object.call(|list: &mut Vec<T>, index| (index < list.len()).then(|| list.remove(index)), index)
    }

    /// A copy of the element at that place. `None`: there are not so many.
    pub fn get(&self, index: usize) -> Result<Option<T>, ManagerError> {
        self.object.show(|list: &mut Vec<T>, index: usize, reply: &mut Reply| reply.give(&list.get(index)), &index)
    }

    /// Makes the element at that place another one.
    ///
    /// # Errors
    /// There are not so many.
    pub fn set(&self, index: usize, element: T) -> Result<(), ManagerError> {
        self.modify(index, |old: &mut T, element| *old = element, element)
    }

    /// Runs `f(&mut element, args)` in the server.
    ///
    /// # Errors
    /// There are not so many; `f` panicked.
    pub fn modify<F, A, R>(&self, index: usize, f: F, args: A) -> Result<R, ManagerError>
    where
        F: Fn(&mut T, A) -> R + Copy + Send + 'static,
        A: Portable,
        R: Portable,
    {
        let _ = f;
        let modify = |list: &mut Vec<T>, (index, args): (usize, A)| {
            let len = list.len();
            list.get_mut(index).map(|element| conjure::<F>()(element, args)).ok_or(len)
        };
        self.object.call(modify, (index, args))?.map_err(|len| ManagerError::OutOfRange { index, len })
    }

    /// Lets two elements change places.
    ///
    /// # Errors
    /// There are not so many.
    pub fn swap(&self, a: usize, b: usize) -> Result<(), ManagerError> {
        let swap = |list: &mut Vec<T>, (a, b): (usize, usize)| {
            let len = list.len();
            (a.max(b) < len).then(|| list.swap(a, b)).ok_or(len)
        };
        self.object.call(swap, (a, b))?.map_err(|len| ManagerError::OutOfRange { index: a.max(b), len })
    }

    /// Drops what is behind the first `len` elements.
    pub fn truncate(&self, len: usize) -> Result<(), ManagerError> {
        self.object.call(|list: &mut Vec<T>, len| list.truncate(len), len)
    }

    /// Drops all elements.
    pub fn clear(&self) -> Result<(), ManagerError> {
        self.truncate(0)
    }

    /// Takes all elements out.
    pub fn take(&self) -> Result<Vec<T>, ManagerError> {
        self.object.call(|list: &mut Vec<T>, ()| std::mem::take(list), ())
    }

    /// Keeps the elements of which `f` says so, in the server.
    pub fn retain<F: Fn(&T) -> bool + Copy + Send + 'static>(&self, f: F) -> Result<(), ManagerError> {
        let _ = f;
        self.object.call(|list: &mut Vec<T>, ()| list.retain(conjure::<F>()), ())
    }

    /// Turns the order around.
    pub fn reverse(&self) -> Result<(), ManagerError> {
        self.object.call(|list: &mut Vec<T>, ()| list.reverse(), ())
    }

    /// Sorts the elements; equal ones keep their order.
    pub fn sort(&self) -> Result<(), ManagerError>
    where
        T: Ord,
    {
        self.object.call(|list: &mut Vec<T>, ()| list.sort(), ())
    }

    /// Whether there is such an element.
    pub fn contains(&self, element: &T) -> Result<bool, ManagerError>
    where
        T: PartialEq,
    {
        self.object.call_with(|list: &mut Vec<T>, element: T| list.contains(&element), element)
    }

    /// The place of the first such element.
    pub fn index_of(&self, element: &T) -> Result<Option<usize>, ManagerError>
    where
        T: PartialEq,
    {
        self.object.call_with(|list: &mut Vec<T>, element: T| list.iter().position(|one| *one == element), element)
    }

    /// How many such elements there are.
    pub fn count(&self, element: &T) -> Result<usize, ManagerError>
    where
        T: PartialEq,
    {
        self.object
            .call_with(|list: &mut Vec<T>, element: T| list.iter().filter(|one| **one == element).count(), element)
    }

    /// A copy of all elements.
    pub fn to_vec(&self) -> Result<Vec<T>, ManagerError> {
        self.slice(..)
    }

    /// A copy of some elements, as far as there are so many.
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Result<Vec<T>, ManagerError> {
        let slice = |list: &mut Vec<T>, range: (usize, usize), reply: &mut Reply| reply.give(part(list, range));
        self.object.show(slice, &bounds(range))
    }

    /// The elements that are in it now. What others change later is not seen.
    pub fn iter(&self) -> Result<std::vec::IntoIter<T>, ManagerError> {
        self.to_vec().map(Vec::into_iter)
    }
}
