//! [`Manager`]: objects that one process serves and many use: the managers of Python's `multiprocessing`.
//!
//! ```
//! use concurrent_futures_manager::{Manager, ManagedDict};
//! use concurrent_futures_process::Process;
//!
//! fn count((words, text): (ManagedDict<String, u32>, String)) {
//!     for word in text.split(' ') {
//!         words.modify_or_insert(word.to_owned(), 0, |n: &mut u32, ()| *n += 1, ()).expect("the manager is there");
//!     }
//! }
//!
//! let manager = Manager::new()?;
//! let words = manager.dict([("the".to_owned(), 1)])?;
//! let child = Process::start(count, (words.clone(), "the quick the slow".to_owned()))?;
//! assert!(child.join()?.success());
//! assert_eq!(words.get("the")?, Some(3));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! An object of any type is made by a function that runs in the server, and is called by functions that run there, on `&mut T`, one at a
//! time:
//!
//! ```
//! use concurrent_futures_manager::{Handle, Manager};
//!
//! struct Account { balance: i64 }
//!
//! impl Account {
//!     fn open(balance: i64) -> Account { Account { balance } }
//!     fn withdraw(&mut self, amount: i64) -> Result<i64, String> {
//!         if amount > self.balance { return Err(format!("only {} left", self.balance)) }
//!         self.balance -= amount;
//!         Ok(self.balance)
//!     }
//! }
//!
//! let manager = Manager::new()?;
//! let account: Handle<Account> = manager.object(Account::open, 100)?;
//! assert_eq!(account.call(Account::withdraw, 70)?, Ok(30));
//! assert_eq!(account.call(Account::withdraw, 70)?, Err("only 30 left".to_owned()));
//! assert_eq!(account.call(|account, ()| account.balance, ())?, 30);
//! # Ok::<(), concurrent_futures_manager::ManagerError>(())
//! ```
//!
//! Handles are arguments of tasks and processes, and elements of other objects. An object goes when its last handle does, in whatever
//! way the processes that have one end. What a process holds (a lock, permits) is given back when it ends.
//!
//! `README.md` beside the code has the protocol: who owns what, and what a death at each point does.

mod client;
mod entry;
mod error;
mod handles;
mod manager;
mod nesting;
mod server;
mod wire;

pub use client::ManagerClient;
pub use error::{LockError, ManagerError, NotPut};
pub use handles::{
    BarrierState, Handle, ManagedArray, ManagedBarrier, ManagedCondition, ManagedConditionGuard, ManagedDict,
    ManagedEvent, ManagedList, ManagedLock, ManagedLockGuard, ManagedNamespace, ManagedObject, ManagedPermit,
    ManagedQueue, ManagedRLock, ManagedSemaphore, ManagedSet, ManagedValue,
};
pub use manager::{Manager, ManagerBuilder};
