//! The handles with types.

mod array;
mod barrier;
mod condition;
mod dict;
mod event;
mod list;
mod lock;
pub(crate) mod makers;
mod namespace;
mod object;
mod queue;
mod semaphore;
mod set;
mod value;

pub use array::ManagedArray;
pub use barrier::{BarrierState, ManagedBarrier};
pub use condition::{ManagedCondition, ManagedConditionGuard};
pub use dict::ManagedDict;
pub use event::ManagedEvent;
pub use list::ManagedList;
pub use lock::{ManagedLock, ManagedLockGuard, ManagedRLock};
pub use namespace::ManagedNamespace;
pub use object::Handle;
pub use queue::ManagedQueue;
pub use semaphore::{ManagedPermit, ManagedSemaphore};
pub use set::ManagedSet;
pub use value::ManagedValue;

/// A handle of an object of a manager: what can be [published](crate::ManagerClient::publish) and
/// [found](crate::ManagerClient::lookup) by name.
///
/// Sealed.
///
/// ```
/// use concurrent_futures_manager::{ManagedObject, Manager};
///
/// fn announce<H: ManagedObject>(manager: &Manager, handle: &H) {
///     manager.publish("it", handle).expect("the manager is there");
/// }
///
/// let manager = Manager::new()?;
/// announce(&manager, &manager.event()?);
/// # Ok::<(), concurrent_futures_manager::ManagerError>(())
/// ```
pub trait ManagedObject: sealed::Of {}

pub(crate) mod sealed {
    use crate::client::RawHandle;
    use crate::wire::Kind;

    pub trait Of {
        fn raw_handle(&self) -> &RawHandle;
        fn from_raw_handle(raw: RawHandle) -> Self;
        fn kind() -> Kind;
        /// Of data.
        fn data_type() -> Option<&'static str> {
            None
        }
    }
}

/// What all handles have in common. They are a `RawHandle` and, for data, the type that it is of in the server.
macro_rules! handle {
    // Of a machine.
    ($name:ident $(<$t:ident>)?, $kind:expr) => {
        impl$(<$t>)? $name$(<$t>)? {
            pub(crate) fn of(raw: $crate::client::RawHandle) -> Self {
                $name { raw, $(item: std::marker::PhantomData::<fn($t) -> $t>)? }
            }

            #[allow(dead_code, reason = "not every kind needs it")]
            pub(crate) fn raw(&self) -> &$crate::client::RawHandle {
                &self.raw
            }
        }

        impl$(<$t>)? $crate::handles::sealed::Of for $name$(<$t>)? {
            fn raw_handle(&self) -> &$crate::client::RawHandle {
                &self.raw
            }

            fn from_raw_handle(raw: $crate::client::RawHandle) -> Self {
                Self::of(raw)
            }

            fn kind() -> $crate::wire::Kind {
                $kind
            }
        }

        /// Another handle of the same object.
        impl$(<$t>)? Clone for $name$(<$t>)? {
            fn clone(&self) -> Self {
                Self::of(self.raw.clone())
            }
        }

        $crate::handles::handle!(@common $name $(<$t>)?, raw);
    };
    // Of data.
    ($name:ident <$($t:ident),*>, of $data:ty $(, $t1:ident: $bound:path)*) => {
        impl<$($t: 'static),*> $name<$($t),*> $(where $t1: $bound)* {
            pub(crate) fn of(raw: $crate::client::RawHandle) -> Self {
                $name { object: $crate::handles::Handle::of(raw) }
            }

            /// The object itself, for what there is no method for.
            pub fn object(&self) -> &$crate::handles::Handle<$data> {
                &self.object
            }
        }

        impl<$($t: 'static),*> $crate::handles::sealed::Of for $name<$($t),*> {
            fn raw_handle(&self) -> &$crate::client::RawHandle {
                $crate::handles::sealed::Of::raw_handle(&self.object)
            }

            fn from_raw_handle(raw: $crate::client::RawHandle) -> Self {
                Self::of(raw)
            }

            fn kind() -> $crate::wire::Kind {
                $crate::wire::Kind::Data
            }

            fn data_type() -> Option<&'static str> {
                Some(std::any::type_name::<$data>())
            }
        }

        /// Another handle of the same object.
        impl<$($t),*> Clone for $name<$($t),*> {
            fn clone(&self) -> Self {
                $name { object: self.object.clone() }
            }
        }

        $crate::handles::handle!(@common $name <$($t: 'static),*>, object);
    };
    (@common $name:ident $(<$($t:ident $(: $life:lifetime)?),*>)?, $field:ident) => {
        impl$(<$($t $(: $life)?),*>)? $crate::handles::ManagedObject for $name$(<$($t),*>)? {}

        /// Whether they are handles of the same object.
        impl$(<$($t),*>)? PartialEq for $name$(<$($t),*>)? {
            fn eq(&self, other: &Self) -> bool {
                self.$field.is_same(&other.$field)
            }
        }

        impl$(<$($t),*>)? Eq for $name$(<$($t),*>)? {}

        impl$(<$($t),*>)? std::fmt::Debug for $name$(<$($t),*>)? {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_tuple(stringify!($name)).field(&self.$field).finish()
            }
        }

        /// As or within an argument or a result of a task or a process, or a value of the same manager.
        impl$(<$($t),*>)? serde::Serialize for $name$(<$($t),*>)? {
            fn serialize<Se: serde::Serializer>(&self, serializer: Se) -> Result<Se::Ok, Se::Error> {
                self.$field.serialize(serializer)
            }
        }

        impl<'de, $($($t $(: $life)?),*)?> serde::Deserialize<'de> for $name$(<$($t),*>)? {
            fn deserialize<De: serde::Deserializer<'de>>(deserializer: De) -> Result<Self, De::Error> {
                $crate::client::RawHandle::deserialize(deserializer).map(Self::of)
            }
        }
    };
}
pub(crate) use handle;
