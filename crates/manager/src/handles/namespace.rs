//! Values of any types under names.

use super::{Handle, handle};
use crate::client::RawHandle;
use crate::entry::Reply;
use crate::error::ManagerError;
use concurrent_futures_core::Portable;
use std::any::{Any, type_name};
use std::collections::HashMap;

/// What a namespace is in the server.
pub(crate) type Names = HashMap<String, Named>;

pub(crate) struct Named {
    value: Box<dyn Any + Send>,
    type_name: &'static str,
}

/// A handle of a namespace in a manager; made by [`ManagerClient::namespace`](crate::ManagerClient::namespace).
///
/// ```
/// use concurrent_futures_manager::{Manager, ManagerError};
///
/// let manager = Manager::new()?;
/// let settings = manager.namespace()?;
/// settings.set("depth", 3_u32)?;
/// settings.set("title", "pages".to_owned())?;
/// assert_eq!(settings.get::<u32>("depth")?, 3);
/// assert!(matches!(settings.get::<u32>("title"), Err(ManagerError::WrongType { .. })));
/// assert!(matches!(settings.get::<u32>("width"), Err(ManagerError::NoSuchName(_))));
/// # Ok::<(), ManagerError>(())
/// ```
pub struct ManagedNamespace {
    object: Handle<Names>,
}

impl ManagedNamespace {
    pub(crate) fn of(raw: RawHandle) -> Self {
        ManagedNamespace { object: Handle::of(raw) }
    }

    /// Gives a name a value, whatever it had before.
    ///
    /// # Errors
    /// The server is gone; the value cannot be sent.
    pub fn set<T: Portable>(&self, name: &str, value: T) -> Result<(), ManagerError> {
        let set = |names: &mut Names, (name, value): (String, T)| {
            let named = Named { value: Box::new(value), type_name: type_name::<T>() };
            drop(names.insert(name, named));
        };
        self.object.call_with(set, &(name, value))
    }

    /// A copy of what has that name.
    ///
    /// # Errors
    /// Nothing has that name, or something of another type; the server is gone.
    pub fn get<T: Portable>(&self, name: &str) -> Result<T, ManagerError> {
        let get = |names: &mut Names, name: String, reply: &mut Reply| {
            let found: Option<Result<&T, &str>> =
                names.get(&name).map(|named| named.value.downcast_ref().ok_or(named.type_name));
            reply.give(&found);
        };
        match self.object.show::<_, String, Option<Result<T, String>>>(get, name)? {
            Some(Ok(value)) => Ok(value),
            Some(Err(found)) => Err(ManagerError::WrongType { expected: type_name::<T>().to_owned(), found }),
            None => Err(ManagerError::NoSuchName(name.to_owned())),
        }
    }

    /// Takes a name and its value away. `false`: there was none.
    ///
    /// # Errors
    /// The server is gone.
    pub fn remove(&self, name: &str) -> Result<bool, ManagerError> {
        self.object.call_with(|names: &mut Names, name: String| names.remove(&name).is_some(), name)
    }

    /// The names, in order.
    ///
    /// # Errors
    /// The server is gone.
    pub fn names(&self) -> Result<Vec<String>, ManagerError> {
        let names = |names: &mut Names, ()| {
            let mut names: Vec<String> = names.keys().cloned().collect();
            names.sort();
            names
        };
        self.object.call(names, ())
    }
}

impl super::sealed::Of for ManagedNamespace {
    fn raw_handle(&self) -> &RawHandle {
        self.object.raw_handle()
    }

    fn from_raw_handle(raw: RawHandle) -> Self {
        Self::of(raw)
    }

    fn kind() -> crate::wire::Kind {
        crate::wire::Kind::Data
    }

    fn data_type() -> Option<&'static str> {
        Some(type_name::<Names>())
    }
}

/// Another handle of the same object.
impl Clone for ManagedNamespace {
    fn clone(&self) -> Self {
        ManagedNamespace { object: self.object.clone() }
    }
}

handle!(@common ManagedNamespace, object);
