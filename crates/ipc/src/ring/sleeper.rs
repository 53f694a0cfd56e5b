//! The word in which one side of a ring says how it is to be woken.

#[cfg(not(concurrent_futures_loom))]
mod imp {
    use crate::futex::{self, Waited};
    use std::io;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Instant;

    #[repr(transparent)]
    pub(crate) struct Sleeper(AtomicU32);

    impl Sleeper {
        pub(crate) fn load(&self) -> u32 {
            self.0.load(Ordering::Relaxed)
        }

        pub(crate) fn store(&self, value: u32) {
            self.0.store(value, Ordering::Relaxed);
        }

        pub(crate) fn swap(&self, value: u32) -> u32 {
            self.0.swap(value, Ordering::Relaxed)
        }

        /// To zero, if it is this. Another value is left alone.
        pub(crate) fn clear_if(&self, value: u32) {
            // It fails where there is nothing to clear.
            let _ = self.0.compare_exchange(value, 0, Ordering::Relaxed, Ordering::Relaxed);
        }

        pub(crate) fn wait(&self, expected: u32, deadline: Option<Instant>) -> io::Result<Waited> {
            futex::wait(&self.0, expected, deadline)
        }

        pub(crate) fn wake_one(&self) -> io::Result<()> {
            futex::wake(&self.0, 1).map(drop)
        }
    }
}

/// The same for the models: a futex is a word that is compared, and slept on, under a lock that whoever wakes takes too.
#[cfg(concurrent_futures_loom)]
mod imp {
    use crate::futex::Waited;
    use loom::sync::atomic::{AtomicU32, Ordering};
    use loom::sync::{Condvar, Mutex};
    use std::io;
    use std::time::Instant;

    pub(crate) struct Sleeper {
        word: AtomicU32,
        kernel: Mutex<()>,
        asleep: Condvar,
    }

    impl Sleeper {
        pub(crate) fn new() -> Self {
            Sleeper { word: AtomicU32::new(0), kernel: Mutex::new(()), asleep: Condvar::new() }
        }

        pub(crate) fn load(&self) -> u32 {
            self.word.load(Ordering::Relaxed)
        }

        /// A swap: loom does not know that nothing stands between what a swap has read and what it has written, and would let
        /// a plain store be overtaken by an earlier swap of the other side. No store is, by the rules of the language.
        pub(crate) fn store(&self, value: u32) {
            self.word.swap(value, Ordering::Relaxed);
        }

        pub(crate) fn swap(&self, value: u32) -> u32 {
            self.word.swap(value, Ordering::Relaxed)
        }

        pub(crate) fn clear_if(&self, value: u32) {
            let _ = self.word.compare_exchange(value, 0, Ordering::Relaxed, Ordering::Relaxed);
        }

        pub(crate) fn wait(&self, expected: u32, _deadline: Option<Instant>) -> io::Result<Waited> {
            let kernel = self.kernel.lock().expect("no model panics in the kernel");
            if self.load() == expected {
                drop(self.asleep.wait(kernel).expect("no model panics in the kernel"));
            }
            Ok(Waited::Woken)
        }

        pub(crate) fn wake_one(&self) -> io::Result<()> {
            let _kernel = self.kernel.lock().expect("no model panics in the kernel");
            self.asleep.notify_one();
            Ok(())
        }
    }
}

pub(crate) use imp::Sleeper;

use crate::futex::Waited;
use std::io;
use std::time::Instant;

/// Nobody sleeps here: who has something to say need not ring.
const AWAKE: u32 = 0;

/// How one who does not look is to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Wake {
    /// It sleeps in a futex, on the very word that says so.
    ByFutex = 1,
    /// By the [`Doorbell`](crate::Doorbell): it, or somebody for it, listens to many things at once.
    ByDoorbell = 2,
}

impl Sleeper {
    /// From now on its owner is to be woken. To be followed by a fence, and another look at the positions.
    pub(super) fn note(&self, wake: Wake) {
        self.store(wake as u32);
    }

    /// From now on its owner looks.
    pub(super) fn clear(&self) {
        self.store(AWAKE);
    }

    /// Whether anybody is to be woken.
    pub(super) fn is_noted(&self) -> bool {
        self.load() != AWAKE
    }

    /// How its owner is to be woken, if it is. Says so once.
    pub(super) fn take(&self) -> Option<Wake> {
        if !self.is_noted() {
            return None;
        }
        match self.swap(AWAKE) {
            AWAKE => None,
            word if word == Wake::ByDoorbell as u32 => Some(Wake::ByDoorbell),
            // Whatever else stands there: to wake a futex does no harm.
            _ => Some(Wake::ByFutex),
        }
    }

    /// Its owner sleeps, having noted that it sleeps here, until somebody takes the note.
    pub(super) fn sleep(&self, deadline: Option<Instant>) -> io::Result<Waited> {
        while self.load() == Wake::ByFutex as u32 {
            if self.wait(Wake::ByFutex as u32, deadline)? == Waited::TimedOut {
                return Ok(Waited::TimedOut);
            }
        }
        Ok(Waited::Woken)
    }

    /// The same, but once, whatever has ended it.
    pub(super) fn sleep_once(&self, deadline: Option<Instant>) -> io::Result<Waited> {
        self.wait(Wake::ByFutex as u32, deadline)
    }

    pub(super) fn wake(&self) -> io::Result<()> {
        self.wake_one()
    }
}
