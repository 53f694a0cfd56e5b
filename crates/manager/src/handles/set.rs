//! A set.

use super::{Handle, handle};
use crate::entry::{Reply, conjure};
use crate::error::ManagerError;
use concurrent_futures_core::Portable;
use serde::Serialize;
use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::Hash;

/// A handle of a set in a manager; made by [`ManagerClient::set`](crate::ManagerClient::set).
///
/// ```
/// use concurrent_futures_manager::Manager;
///
/// let manager = Manager::new()?;
/// let seen = manager.set(["a".to_owned()])?;
/// assert!(seen.insert("b".to_owned())? && !seen.insert("a".to_owned())?);
/// assert!(seen.contains("a")? && !seen.contains("c")?);
/// assert_eq!(seen.intersection(["b".to_owned(), "c".to_owned()])?, ["b".to_owned()].into());
/// # Ok::<(), concurrent_futures_manager::ManagerError>(())
/// ```
pub struct ManagedSet<T> {
    object: Handle<HashSet<T>>,
}

handle!(ManagedSet<T>, of HashSet<T>);

/// Each of them fails when the server is gone, or when what it takes or gives cannot be sent.
#[allow(clippy::missing_errors_doc, reason = "said once for all above")]
impl<T: Portable + Eq + Hash> ManagedSet<T> {
    /// How many elements there are.
    pub fn len(&self) -> Result<usize, ManagerError> {
        self.object.call(|set: &mut HashSet<T>, ()| set.len(), ())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> Result<bool, ManagerError> {
        self.object.call(|set: &mut HashSet<T>, ()| set.is_empty(), ())
    }

    /// Adds an element. `false`: it was there.
    pub fn insert(&self, element: T) -> Result<bool, ManagerError> {
        self.object.call(|set: &mut HashSet<T>, element| set.insert(element), element)
    }

    /// Takes an element out. `false`: it was not there.
    pub fn remove<Q: Serialize + ?Sized + 'static>(&self, element: &Q) -> Result<bool, ManagerError>
    where
        T: Borrow<Q>,
    {
        self.object.call_with(|set: &mut HashSet<T>, element: T| set.remove::<T>(&element), element)
    }

    /// Whether an element is there.
    pub fn contains<Q: Serialize + ?Sized + 'static>(&self, element: &Q) -> Result<bool, ManagerError>
    where
        T: Borrow<Q>,
    {
        self.object.call_with(|set: &mut HashSet<T>, element: T| set.contains::<T>(&element), element)
    }

    /// Adds elements.
    pub fn extend(&self, elements: impl IntoIterator<Item = T>) -> Result<(), ManagerError> {
        self.object.call(|set: &mut HashSet<T>, elements: Vec<T>| set.extend(elements), elements.into_iter().collect())
    }

    /// Drops all elements.
    pub fn clear(&self) -> Result<(), ManagerError> {
        self.object.call(|set: &mut HashSet<T>, ()| set.clear(), ())
    }

    /// Takes all elements out.
    pub fn take(&self) -> Result<HashSet<T>, ManagerError> {
        self.object.call(|set: &mut HashSet<T>, ()| std::mem::take(set), ())
    }

    /// Keeps the elements of which `f` says so, in the server.
    pub fn retain<F: Fn(&T) -> bool + Copy + Send + 'static>(&self, f: F) -> Result<(), ManagerError> {
        let _ = f;
        self.object.call(|set: &mut HashSet<T>, ()| set.retain(conjure::<F>()), ())
    }

    /// A copy of the whole.
    pub fn to_set(&self) -> Result<HashSet<T>, ManagerError> {
        self.object.show(|set: &mut HashSet<T>, (), reply: &mut Reply| reply.give(set), &())
    }

    /// The elements that are in it now, in no order. What others change later is not seen.
    pub fn iter(&self) -> Result<std::collections::hash_set::IntoIter<T>, ManagerError> {
        self.to_set().map(HashSet::into_iter)
    }

    /// Copies of what is in it or in the other.
    pub fn union(&self, other: impl IntoIterator<Item = T>) -> Result<HashSet<T>, ManagerError> {
        let union = |set: &mut HashSet<T>, other: HashSet<T>, reply: &mut Reply| {
            reply.give(&set.union(&other).collect::<HashSet<_>>());
        };
        self.object.show(union, &other.into_iter().collect::<HashSet<T>>())
    }

    /// Copies of what is in both.
    pub fn intersection(&self, other: impl IntoIterator<Item = T>) -> Result<HashSet<T>, ManagerError> {
        let intersection = |set: &mut HashSet<T>, other: HashSet<T>, reply: &mut Reply| {
            reply.give(&set.intersection(&other).collect::<HashSet<_>>());
        };
        self.object.show(intersection, &other.into_iter().collect::<HashSet<T>>())
    }

    /// Copies of what is in it and not in the other.
    pub fn difference(&self, other: impl IntoIterator<Item = T>) -> Result<HashSet<T>, ManagerError> {
        let difference = |set: &mut HashSet<T>, other: HashSet<T>, reply: &mut Reply| {
            reply.give(&set.difference(&other).collect::<HashSet<_>>());
        };
        self.object.show(difference, &other.into_iter().collect::<HashSet<T>>())
    }

    /// Copies of what is in one of both only.
    pub fn symmetric_difference(&self, other: impl IntoIterator<Item = T>) -> Result<HashSet<T>, ManagerError> {
        let difference = |set: &mut HashSet<T>, other: HashSet<T>, reply: &mut Reply| {
            reply.give(&set.symmetric_difference(&other).collect::<HashSet<_>>());
        };
        self.object.show(difference, &other.into_iter().collect::<HashSet<T>>())
    }
}
