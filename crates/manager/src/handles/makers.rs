//! How the objects of data of this crate are made.

use super::namespace::Names;
use crate::entry::Maker;
use concurrent_futures_core::Portable;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::marker::PhantomData;

/// What is sent is the object.
pub(crate) struct Itself<T>(PhantomData<fn() -> T>);

impl<T: Portable> Maker for Itself<T> {
    type Object = T;
    type Args = T;

    fn make(value: T) -> T {
        value
    }
}

pub(crate) struct Array<T>(PhantomData<fn() -> T>);

impl<T: Portable> Maker for Array<T> {
    type Object = Box<[T]>;
    type Args = Vec<T>;

    fn make(elements: Vec<T>) -> Box<[T]> {
        elements.into()
    }
}

pub(crate) struct Dict<K, V>(PhantomData<fn() -> (K, V)>);

impl<K: Portable + Eq + Hash, V: Portable> Maker for Dict<K, V> {
    type Object = HashMap<K, V>;
    type Args = Vec<(K, V)>;

    fn make(entries: Vec<(K, V)>) -> HashMap<K, V> {
        entries.into_iter().collect()
    }
}

pub(crate) struct Set<T>(PhantomData<fn() -> T>);

impl<T: Portable + Eq + Hash> Maker for Set<T> {
    type Object = HashSet<T>;
    type Args = Vec<T>;

    fn make(elements: Vec<T>) -> HashSet<T> {
        elements.into_iter().collect()
    }
}

pub(crate) struct Namespace;

impl Maker for Namespace {
    type Object = Names;
    type Args = ();

    fn make((): ()) -> Names {
        Names::default()
    }
}
