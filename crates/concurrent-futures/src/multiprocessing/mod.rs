//! The tools of Python's `multiprocessing`: what programs of more than one process are made of.
//!
//! What processes share (locks, queues, connections, memory) can be sent to another process of this program, as or inside the
//! argument of a task or of a process.

#[cfg(feature = "manager")]
pub mod managers;
mod pool;

pub use concurrent_futures_ipc::connection::{self, Connection, Receiver, RecvError, SendError, Sender, one_way, pipe};
pub use concurrent_futures_ipc::list;
pub use concurrent_futures_ipc::named::{SharedMemory, scavenge};
pub use concurrent_futures_ipc::{Array, ArrayGuard, Integer, RawArray, RawValue, ShareableList, Value, ValueGuard};
pub use concurrent_futures_ipc::{
    Barrier, BoundedSemaphore, BrokenBarrier, Condition, Event, Lock, LockGuard, OverRelease, OwnerDied, Permit, RLock,
    RLockGuard, Semaphore, TryLockError, WaitGuard,
};
pub use concurrent_futures_ipc::{DoneError, GetError, JoinableQueue, PutError, Queue, QueueIter, SimpleQueue};
#[cfg(feature = "manager")]
pub use concurrent_futures_manager::Manager;
pub use concurrent_futures_process::{
    CurrentProcess, ExitStatus, ParentProcess, Process, ProcessBuilder, Stdio, active_children, cpu_count,
    current_process, parent_process,
};
pub use concurrent_futures_process::{SharedBytes, SharedSlice, SharedSliceMut};

pub use pool::{AsyncResult, Imap, ImapUnordered, NextTimedOut, NotReady, Pool, PoolBuilder, PoolTasks, StillRunning};
