//! So many at a time, also when some of them are killed.

use super::permits::{MOST, OverRelease, Permits};
use super::seats::Seat;
use super::travel;
use crate::SharedMemory;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// So many permits, for whoever comes, in whatever process. Python's `multiprocessing.Semaphore`, but that the permits of a process which
/// is killed come back.
///
/// A clone is the same semaphore. It travels: as or inside the argument, the result or the context of a task, whatever process that
/// runs in, or the argument of a process.
///
/// # Whose a permit is
///
/// A [`Permit`] is its thread's. It comes back when it is dropped, or when that thread ends, whatever it ends of: who waits looks for the dead
/// now and then, so that takes up to half a second. A copy of it in a process that was made by a bare `fork` gives nothing back: the permit
/// is its parent's.
///
/// A permit that is [forgotten](Permit::forget) is nobody's: it comes back by [`release`](Self::release), which anybody may call. So a semaphore
/// counts what one process makes and another one uses up; but what was acquired in this way by a process that is killed does not come back
/// by itself.
///
/// ```
/// use concurrent_futures_ipc::Semaphore;
///
/// let two = Semaphore::new(2)?;
/// let (first, second) = (two.acquire(), two.acquire());
/// assert!(two.try_acquire().is_none());
/// drop(first);
/// assert_eq!(two.value(), 1);
///
/// second.forget(); // from now on nobody has it
/// assert_eq!(two.value(), 1);
/// two.release().unwrap(); // anybody can do that
/// assert_eq!(two.value(), 2);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Limits
///
/// Up to 4,096 permits can have guards at one time, in all processes; who comes then waits as if there were no permits. One thread
/// should have no more than 2,000 locks and permits of all kinds: of more than that the kernel does not free all if the thread dies.
///
/// # Drop
///
/// Its memory goes with the last clone of the last process. A clone that is dropped releases nothing.
#[derive(Clone)]
pub struct Semaphore(Arc<Permits>);

/// A [`Semaphore`] that never has more permits than at first. Python's `multiprocessing.BoundedSemaphore`.
///
/// Whoever releases what was not acquired is told so; else all is the same.
///
/// ```
/// use concurrent_futures_ipc::BoundedSemaphore;
///
/// let one = BoundedSemaphore::new(1)?;
/// one.acquire().forget();
/// assert!(one.release().is_ok());
/// assert!(one.release().is_err());
/// assert_eq!(one.value(), 1);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct BoundedSemaphore(Arc<Permits>);

macro_rules! semaphore {
    ($type:ident, $file:literal, $most:expr, $grows:literal) => {
        impl $type {
            /// A new semaphore with so many permits.
            ///
            /// # Errors
            ///
            /// No descriptor left, or no memory; more permits than `i32` can count.
            pub fn new(value: u32) -> io::Result<Self> {
                let most: fn(u32) -> u32 = $most;
                Ok(Self(Arc::new(Permits::new($file, value, most(value))?)))
            }

            /// A permit, however long that takes.
            ///
            /// A task of a thread pool that waits here for some milliseconds has a substitute meanwhile. A task of a process pool has
            /// none: it must not wait for what only another task of its pool can do.
            pub fn acquire(&self) -> Permit<'_> {
                self.0.acquire_until(None).expect("without a deadline it is not given up")
            }

            /// A permit, if there is one.
            pub fn try_acquire(&self) -> Option<Permit<'_>> {
                self.0.try_acquire()
            }

            /// A permit, if there is one in this time.
            pub fn acquire_timeout(&self, timeout: Duration) -> Option<Permit<'_>> {
                self.0.acquire_until(Instant::now().checked_add(timeout))
            }

            #[doc = concat!("One more permit", $grows, ": what was [forgotten](Permit::forget) comes back.")]
            ///
            /// # Errors
            ///
            /// There would be more than there can be; nothing has changed.
            pub fn release(&self) -> Result<(), OverRelease> {
                self.0.release(1)
            }

            /// So many more, all at once or none.
            ///
            /// # Errors
            ///
            /// As of [`release`](Self::release).
            pub fn release_many(&self, count: u32) -> Result<(), OverRelease> {
                self.0.release(count)
            }

            /// How many permits there are for who comes now. That may be otherwise already when this returns.
            pub fn value(&self) -> u32 {
                self.0.value()
            }

            pub(super) fn memory(&self) -> &SharedMemory {
                self.0.memory()
            }

            fn open(memory: Arc<SharedMemory>) -> io::Result<Self> {
                Ok(Self(Arc::new(Permits::open(memory)?)))
            }
        }

        travel::travels!($type);

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($type)).field("value", &self.value()).finish_non_exhaustive()
            }
        }
    };
}

semaphore!(Semaphore, "concurrent-futures-semaphore", |_| MOST, ", whether or not one was acquired");
semaphore!(BoundedSemaphore, "concurrent-futures-semaphore", |value| value, ", if one is missing");

/// A permit of a semaphore. It comes back when this is dropped, or when its thread ends.
///
/// ```compile_fail
/// # use concurrent_futures_ipc::Semaphore;
/// let semaphore = Semaphore::new(1).unwrap();
/// let permit = semaphore.acquire();
/// std::thread::scope(|s| { s.spawn(|| drop(permit)); }); // a guard does not leave its thread
/// ```
#[must_use = "the permit comes back when this is dropped"]
pub struct Permit<'a> {
    permits: &'a Permits,
    /// `None` at the end.
    seat: Option<Seat<'a>>,
}

impl<'a> Permit<'a> {
    pub(super) fn new(permits: &'a Permits, seat: Seat<'a>) -> Permit<'a> {
        Permit { permits, seat: Some(seat) }
    }

    /// The permit is taken, and from now on nobody has it: it comes back when somebody calls `release`, in whatever thread of whatever
    /// process.
    pub fn forget(mut self) {
        if let Some(seat) = self.leave() {
            self.permits.disown(seat);
        }
    }

    /// A copy that a `fork` has made has nothing to give back.
    fn leave(&mut self) -> Option<Seat<'a>> {
        self.seat.take().filter(Seat::is_ours)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if let Some(seat) = self.leave() {
            self.permits.give_back(seat);
        }
    }
}

impl fmt::Debug for Permit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}
