//! What lives between processes: memory that they share, and ways to wait for each other in it.
//!
//! It knows no executor. Each process that has a part of this open may die at any instruction, and may write whatever it likes:
//! what is read from shared memory is checked before it is used, and no reference leads into memory that another process may
//! write, but to atomics.
//!
//! - [`SharedMemory`]: anonymous, sealed so that nobody can shrink it under another; what lies under most of the others. (Users have
//!   [`named::SharedMemory`].)
//! - [`futex`]: to sleep until a word of shared memory changes.
//! - [`Doorbell`]: to be woken through a descriptor.
//! - [`SharedSlice`] and [`SharedBytes`]: plain data that tasks take and return without a copy.
//! - [`connection`]: pipes, and waiting for several things at once.
//! - [`message`]: whole messages with descriptors, over sockets.
//! - [`Queue`], [`SimpleQueue`], [`JoinableQueue`]: from many processes to many.
//! - [`reactor`]: `.await` on a descriptor.
//! - [`Lock`] and [`RLock`]: one at a time, also when one of them is killed; [`Semaphore`] and [`BoundedSemaphore`]: so many.
//! - [`Event`], [`Condition`], [`Barrier`]: waiting for what others do.
//! - [`Value`] and [`Array`]: plain data that processes change, with a lock; [`RawValue`] and [`RawArray`]: by atomics.
//! - [`ShareableList`]: numbers, texts and bytes that processes change.
//! - [`named`]: bytes that any process may read and write, also by a name.
//! - [`ring`]: bytes from one process to another, in order, without a system call while both are awake.

#[cfg(not(target_os = "linux"))]
compile_error!("concurrent-futures-ipc needs Linux: memfd with seals, futex and eventfd");

#[doc(hidden)]
pub mod bounds;
#[cfg(not(concurrent_futures_loom))]
pub mod connection;
#[cfg_attr(all(concurrent_futures_loom, not(test)), expect(dead_code, reason = "connections are left out"))]
mod crowd;
mod doorbell;
#[doc(hidden)]
pub mod file_size;
#[doc(hidden)]
pub mod forks;
pub mod futex;
pub mod list;
mod mapping;
mod memory;
pub mod message;
pub mod named;
#[cfg(not(concurrent_futures_loom))]
mod queue;
pub mod reactor;
pub mod ring;
mod slice;
#[cfg(not(concurrent_futures_loom))]
mod spare;
mod sync;
mod value;
mod words;

pub use doorbell::Doorbell;
pub use list::ShareableList;
pub use memory::SharedMemory;
#[cfg(not(concurrent_futures_loom))]
pub use queue::{DoneError, GetError, JoinableQueue, PutError, Queue, QueueIter, SimpleQueue};
pub use slice::{SharedBytes, SharedSlice, SharedSliceMut};
pub use sync::{
    Barrier, BoundedSemaphore, BrokenBarrier, Condition, Event, Lock, LockGuard, OverRelease, OwnerDied, Permit, RLock,
    RLockGuard, Semaphore, TryLockError, WaitGuard,
};
pub use value::{Array, ArrayGuard, Integer, RawArray, RawValue, Value, ValueGuard};

/// The crate whose trait `Pod` says what plain data is; re-exported so that versions agree.
pub use bytemuck;
