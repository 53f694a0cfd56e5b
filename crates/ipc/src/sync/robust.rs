//! A mutex at a place in shared memory, which the kernel hands on when its holder dies.

use super::raw::{Found, Raw, SPARE_AT};
pub(crate) use super::raw::{Kind, SIZE};
use super::waiting;
use crate::{SharedMemory, forks};
use concurrent_futures_core::worker;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::Instant;

/// A mutex [`SIZE`] bytes large, `at` bytes from the start of some shared memory: what everything that processes change together
/// is built on.
///
/// Its holder may be killed at any instruction. The next one gets it with the news ([`Held::owner_died`]), and has to leave what
/// the mutex protects as it should be: so let each change be published by one store, or be such that it can be repaired
/// from what is there. The news is told once. Should he who was told die as well, the next one is told.
///
/// It belongs to the thread that has locked it. `README.md` beside this file says what can be relied on, and why.
pub(crate) struct RobustMutex {
    memory: Arc<SharedMemory>,
    at: usize,
    kind: Kind,
    /// Whether it is locked through this mapping, or was when a guard was forgotten. For one that is recursive, whether it ever was: by
    /// whom it is locked first need not be by whom it is unlocked last. Written by who has it locked.
    through_this: AtomicBool,
}

/// The mutex is locked as long as this lives. It stays with its thread.
#[must_use = "the mutex is unlocked when this is dropped"]
pub(crate) struct Held<'a> {
    mutex: &'a RobustMutex,
    /// Whether its owner had died; above that the [generation](forks) of the process that has it, but for its highest bit. In one word, for
    /// a guard of two words travels in registers: a fifth more tasks through a queue.
    note: u32,
    /// Not `Send`: who has it is a thread, to the kernel as well.
    thread: PhantomData<*mut ()>,
}

/// A wake-up across processors costs tens of microseconds, a look with `sched_yield` half of one.
const LOOKS: u32 = 24;

impl RobustMutex {
    /// Makes one, `at` bytes from the start.
    ///
    /// # Safety
    ///
    /// These [`SIZE`] bytes are for it alone, in every process that has the memory, and nobody else uses them yet.
    ///
    /// # Errors
    ///
    /// The system has none that are robust and shared.
    ///
    /// # Panics
    ///
    /// If it is not within the memory, or `at` is no multiple of 16.
    pub(crate) unsafe fn init(memory: Arc<SharedMemory>, at: usize, kind: Kind) -> io::Result<RobustMutex> {
        // SAFETY: it is made here, before anybody can use what this returns.
        let mutex = unsafe { RobustMutex::open(memory, at, kind) };
        // SAFETY: the memory is as the caller says.
        unsafe { mutex.raw().init(kind) }?;
        Ok(mutex)
    }

    /// The one that was made there.
    ///
    /// # Safety
    ///
    /// It was, by [`init`](Self::init) in a process of this program, and is of that kind.
    ///
    /// # Panics
    ///
    /// As [`init`](Self::init).
    pub(crate) unsafe fn open(memory: Arc<SharedMemory>, at: usize, kind: Kind) -> RobustMutex {
        assert!(memory.len().checked_sub(at).is_some_and(|room| SIZE <= room), "a mutex needs its room");
        assert!(at.is_multiple_of(16), "a mutex has even edges");
        RobustMutex { memory, at, kind, through_this: AtomicBool::new(false) }
    }

    /// Where it is.
    pub(crate) fn memory(&self) -> &Arc<SharedMemory> {
        &self.memory
    }

    #[cfg(test)]
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    fn raw(&self) -> Raw {
        // SAFETY: `open` has seen that it lies within the memory.
        Raw::at(unsafe { self.memory.start().add(self.at) })
    }

    /// Locks it, however long that takes.
    ///
    /// # Panics
    ///
    /// This thread holds it already, and it is not [recursive](Kind::Recursive): it would wait for itself for ever.
    pub(crate) fn lock(&self) -> Held<'_> {
        match self.lock_or_find(None) {
            Ok(held) => held,
            Err(found) => {
                assert!(found != Found::Mine, "this thread has the lock already: it would wait for itself for ever");
                unreachable!("without a deadline it is not given up")
            }
        }
    }

    /// Locks it, if that can be done until `deadline`. Who holds it already waits in vain.
    pub(crate) fn lock_until(&self, deadline: Option<Instant>) -> Option<Held<'_>> {
        let Some(deadline) = deadline else { return Some(self.lock()) };
        match self.lock_or_find(Some(deadline)) {
            Ok(held) => Some(held),
            Err(Found::Mine) => {
                // Nobody else can unlock it, so there is no event to wait for.
                worker::blocking(|| std::thread::sleep(deadline.saturating_duration_since(Instant::now())));
                None
            }
            Err(_) => None,
        }
    }

    /// Locks it, if nobody has it.
    pub(crate) fn try_lock(&self) -> Option<Held<'_>> {
        // SAFETY: it was made, and is mapped as long as `self`, which what is returned borrows.
        self.held(unsafe { self.raw().try_lock() }).ok()
    }

    fn lock_or_find(&self, deadline: Option<Instant>) -> Result<Held<'_>, Found> {
        let raw = self.raw();
        for look in 0..LOOKS {
            if look > 0 {
                std::thread::yield_now();
            }
            // SAFETY: it was made, and is mapped as long as `self`, which what is returned borrows; so also below.
            match self.held(unsafe { raw.try_lock() }) {
                Err(Found::Busy) => {}
                held => return held,
            }
        }
        // SAFETY: as above.
        let wait = |until| Some(unsafe { raw.lock(until) }).filter(|found| *found != Found::Busy);
        self.held(waiting::patiently(deadline, wait).unwrap_or(Found::Busy))
    }

    fn held(&self, found: Found) -> Result<Held<'_>, Found> {
        let owner_died = match found {
            Found::Locked => false,
            Found::OwnerDied => true,
            found => return Err(found),
        };
        self.through_this.store(true, Relaxed);
        Ok(Held { mutex: self, note: forks::generation() << 1 | u32::from(owner_died), thread: PhantomData })
    }

    /// Whether somebody has it: at this moment, which is over when this returns.
    pub(crate) fn is_locked(&self) -> bool {
        // SAFETY: it was made, and is mapped as long as `self`.
        unsafe { self.raw().owner() }.is_some()
    }
}

impl Drop for RobustMutex {
    fn drop(&mut self) {
        // Nobody can have borrowed this any more. So a thread of this process that has it locked through this mapping has forgotten its
        // guard. libc and the kernel have a list of what each thread has locked, which leads through this memory: it has to stay where it
        // is. (Another mapping of the same may go: a process that gets a handle often, while somebody waits with another one, would
        // run out of descriptors.)
        // SAFETY: it was made, and is mapped as long as `self`.
        if *self.through_this.get_mut() && unsafe { self.raw().is_held_here() } {
            std::mem::forget(self.memory.clone());
        }
    }
}

impl fmt::Debug for RobustMutex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RobustMutex").field("at", &self.at).field("locked", &self.is_locked()).finish()
    }
}

impl<'a> Held<'a> {
    pub(super) fn mutex(&self) -> &'a RobustMutex {
        self.mutex
    }

    /// A word of its holder's, zero at first.
    pub(super) fn spare(&self) -> &'a AtomicU32 {
        // SAFETY: within the place of the mutex, which is within the memory.
        let spare = unsafe { self.mutex.memory.start().add(self.mutex.at + SPARE_AT) };
        // SAFETY: aligned, mapped as long as the mutex, behind what libc uses, and an atomic may have any value.
        unsafe { spare.cast().as_ref() }
    }

    /// Whether this was not copied by a `fork`: then the lock is that of the process which has forked, or was, and this process may
    /// even have it anew by another guard.
    pub(super) fn is_ours(&self) -> bool {
        self.note >> 1 == forks::generation() << 1 >> 1
    }

    /// What `drop` does, of one that [is ours](Self::is_ours). For a recursive one that was locked more than once, and whose guards are
    /// not used until that is made good.
    pub(super) fn unlock_once(&self) {
        if self.mutex.kind == Kind::Once {
            // As long as this thread has it: the next one to have it says so itself.
            self.mutex.through_this.store(false, Relaxed);
        }
        // SAFETY: it was made, is mapped as long as the mutex that this borrows, and this thread has locked it.
        unsafe { self.mutex.raw().unlock() }
    }

    /// Whether whoever had it before has died with it: what it protects may be half done.
    pub(crate) fn owner_died(&self) -> bool {
        self.note & 1 != 0
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if self.is_ours() {
            self.unlock_once();
        }
    }
}

impl fmt::Debug for Held<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("owner_died", &self.owner_died()).finish_non_exhaustive()
    }
}
