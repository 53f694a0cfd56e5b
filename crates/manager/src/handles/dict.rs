//! A dictionary.

use super::{Handle, handle};
use crate::entry::{Reply, conjure};
use crate::error::ManagerError;
use concurrent_futures_core::Portable;
use serde::Serialize;
use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// A handle of a dictionary in a manager; made by [`ManagerClient::dict`](crate::ManagerClient::dict).
///
/// It is a `HashMap` in the server: keys are equal as they are there, and come in no order. What [`get`](Self::get) gives is a copy; to
/// change a value is to [`modify`](Self::modify) it there, or to [`insert`](Self::insert) another one. Values may be handles of other
/// objects.
///
/// ```
/// use concurrent_futures_manager::Manager;
///
/// let manager = Manager::new()?;
/// let ages = manager.dict([("Ann".to_owned(), 31), ("Bob".to_owned(), 27)])?;
/// assert_eq!(ages.insert("Cid".to_owned(), 5)?, None);
/// assert_eq!((ages.get("Ann")?, ages.get("Dora")?), (Some(31), None));
/// assert_eq!(ages.modify("Bob", |age, by| { *age += by; *age }, 1)?, Some(28));
/// assert_eq!(ages.modify_or_insert("Dora".to_owned(), 0, |age, by| { *age += by; *age }, 1)?, 1);
/// assert_eq!((ages.remove("Ann")?, ages.len()?), (Some(31), 3));
/// # Ok::<(), concurrent_futures_manager::ManagerError>(())
/// ```
pub struct ManagedDict<K, V> {
    object: Handle<HashMap<K, V>>,
}

handle!(ManagedDict<K, V>, of HashMap<K, V>);

/// Each of them fails when the server is gone, or when what it takes or gives cannot be sent.
///
/// A key can be looked up by what it borrows as (`&str` for a `String`), if that is encoded in the same way.
#[allow(clippy::missing_errors_doc, reason = "said once for all above, and where there is more to say")]
impl<K: Portable + Eq + Hash, V: Portable> ManagedDict<K, V> {
    /// How many entries there are.
    pub fn len(&self) -> Result<usize, ManagerError> {
        self.object.call(|dict: &mut HashMap<K, V>, ()| dict.len(), ())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> Result<bool, ManagerError> {
        self.object.call(|dict: &mut HashMap<K, V>, ()| dict.is_empty(), ())
    }

    /// A copy of the key's value.
    pub fn get<Q: Serialize + ?Sized + 'static>(&self, key: &Q) -> Result<Option<V>, ManagerError>
    where
        K: Borrow<Q>,
    {
        self.object.show(|dict: &mut HashMap<K, V>, key: K, reply: &mut Reply| reply.give(&dict.get::<K>(&key)), key)
    }

    /// Whether the key has a value.
    pub fn contains_key<Q: Serialize + ?Sized + 'static>(&self, key: &Q) -> Result<bool, ManagerError>
    where
        K: Borrow<Q>,
    {
        self.object.call_with(|dict: &mut HashMap<K, V>, key: K| dict.contains_key::<K>(&key), key)
    }

    /// Gives the key a value; returns the one that it had.
    pub fn insert(&self, key: K, value: V) -> Result<Option<V>, ManagerError> {
        self.object.call(|dict: &mut HashMap<K, V>, (key, value)| dict.insert(key, value), (key, value))
    }

    /// Takes the key and its value out.
    pub fn remove<Q: Serialize + ?Sized + 'static>(&self, key: &Q) -> Result<Option<V>, ManagerError>
    where
        K: Borrow<Q>,
    {
        self.object.call_with(|dict: &mut HashMap<K, V>, key: K| dict.remove::<K>(&key), key)
    }

    /// A copy of the key's value; if it has none, it has `value` then.
    pub fn get_or_insert(&self, key: K, value: V) -> Result<V, ManagerError> {
        let get = |dict: &mut HashMap<K, V>, (key, value): (K, V), reply: &mut Reply| {
            reply.give(dict.entry(key).or_insert(value));
        };
        self.object.show(get, &(key, value))
    }

    /// Runs `f(&mut value, args)` on the key's value in the server. `None`: it has none.
    ///
    /// # Errors
    /// `f` panicked.
    pub fn modify<Q: Serialize + ?Sized + 'static, F, A, R>(
        &self,
        key: &Q,
        f: F,
        args: A,
    ) -> Result<Option<R>, ManagerError>
    where
        K: Borrow<Q>,
        F: Fn(&mut V, A) -> R + Copy + Send + 'static,
        A: Portable,
        R: Portable,
    {
        let _ = f;
        let modify = |dict: &mut HashMap<K, V>, (key, args): (K, A)| {
            dict.get_mut::<K>(&key).map(|value| conjure::<F>()(value, args))
        };
        self.object.call_with(modify, &(key, args))
    }

    /// As [`modify`](Self::modify); a key that has no value gets `value` first.
    ///
    /// # Errors
    /// `f` panicked.
    pub fn modify_or_insert<F, A, R>(&self, key: K, value: V, f: F, args: A) -> Result<R, ManagerError>
    where
        F: Fn(&mut V, A) -> R + Copy + Send + 'static,
        A: Portable,
        R: Portable,
    {
        let _ = f;
        let modify = |dict: &mut HashMap<K, V>, (key, value, args): (K, V, A)| {
            conjure::<F>()(dict.entry(key).or_insert(value), args)
        };
        self.object.call(modify, (key, value, args))
    }

    /// Inserts all of these.
    pub fn update(&self, entries: impl IntoIterator<Item = (K, V)>) -> Result<(), ManagerError> {
        let entries: Vec<(K, V)> = entries.into_iter().collect();
        self.object.call(|dict: &mut HashMap<K, V>, entries: Vec<(K, V)>| dict.extend(entries), entries)
    }

    /// Drops all entries.
    pub fn clear(&self) -> Result<(), ManagerError> {
        self.object.call(|dict: &mut HashMap<K, V>, ()| dict.clear(), ())
    }

    /// Takes all entries out.
    pub fn take(&self) -> Result<HashMap<K, V>, ManagerError> {
        self.object.call(|dict: &mut HashMap<K, V>, ()| std::mem::take(dict), ())
    }

    /// Keeps the entries of which `f` says so, in the server.
    pub fn retain<F: Fn(&K, &mut V) -> bool + Copy + Send + 'static>(&self, f: F) -> Result<(), ManagerError> {
        let _ = f;
        self.object.call(|dict: &mut HashMap<K, V>, ()| dict.retain(conjure::<F>()), ())
    }

    /// Copies of the keys.
    pub fn keys(&self) -> Result<Vec<K>, ManagerError> {
        let keys = |dict: &mut HashMap<K, V>, (), reply: &mut Reply| reply.give(&dict.keys().collect::<Vec<_>>());
        self.object.show(keys, &())
    }

    /// Copies of the values.
    pub fn values(&self) -> Result<Vec<V>, ManagerError> {
        let values = |dict: &mut HashMap<K, V>, (), reply: &mut Reply| reply.give(&dict.values().collect::<Vec<_>>());
        self.object.show(values, &())
    }

    /// Copies of the entries.
    pub fn items(&self) -> Result<Vec<(K, V)>, ManagerError> {
        let items = |dict: &mut HashMap<K, V>, (), reply: &mut Reply| reply.give(&dict.iter().collect::<Vec<_>>());
        self.object.show(items, &())
    }

    /// A copy of the whole.
    pub fn to_map(&self) -> Result<HashMap<K, V>, ManagerError> {
        self.items().map(|items| items.into_iter().collect())
    }

    /// The entries that are in it now. What others change later is not seen.
    pub fn iter(&self) -> Result<std::vec::IntoIter<(K, V)>, ManagerError> {
        self.items().map(Vec::into_iter)
    }
}
