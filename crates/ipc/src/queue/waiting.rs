//! Waiting for an item, for room, and for the end of all work.

use super::store::{For, Locked, NoRoom, Store};
use crate::connection::ear::Ear;
use crate::connection::{Armed, Watch};
use crate::futex::{self, Waited};
use crate::reactor;
use concurrent_futures_core::worker;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::AtomicU32;
use std::thread;
use std::time::{Duration, Instant};

/// How often one who waits looks before it sleeps, each time with a `sched_yield`.
const LOOKS: u32 = 48;

/// A task that sleeps for longer than this has a substitute in its pool: who would wake it may be a task of that pool,
/// too. A substitute may be a new thread, so it is not for what is over soon.
const ALONE: Duration = Duration::from_millis(2);

/// Who waits for the place of another one looks at the queue as often, in case that one has been stopped (SIGSTOP, a
/// debugger).
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How long somebody is ready to wait.
#[derive(Clone, Copy, Debug)]
pub(super) enum Patience {
    /// Not at all.
    None,
    Until(Instant),
    Endless,
}

impl Patience {
    /// What the clock cannot hold is no limit.
    pub(super) fn of(timeout: Duration) -> Patience {
        Instant::now().checked_add(timeout).map_or(Patience::Endless, Patience::Until)
    }

    fn deadline(self) -> Option<Instant> {
        match self {
            Patience::Until(deadline) => Some(deadline),
            // The lock is held for a moment only.
            Patience::None | Patience::Endless => None,
        }
    }
}

/// Why an item was not put in.
#[derive(Debug)]
pub(super) enum NotPut {
    Full,
    TimedOut,
    Closed,
    TooLarge { limit: u64 },
    Io(io::Error),
}

/// Why none was taken out.
#[derive(Debug)]
pub(super) enum NotGot {
    Empty,
    TimedOut,
    Closed,
    Io(io::Error),
}

impl From<io::Error> for NotPut {
    fn from(error: io::Error) -> Self {
        NotPut::Io(error)
    }
}

impl From<io::Error> for NotGot {
    fn from(error: io::Error) -> Self {
        NotGot::Io(error)
    }
}

/// What somebody who has the lock has found.
enum Found<'a, T> {
    Done(T),
    /// Not now; the lock is still held.
    NotNow(Locked<'a>),
}

impl Store {
    pub(super) fn put(&self, bytes: &[u8], patience: Patience) -> Result<(), NotPut> {
        let attempt = |locked| self.put_now(locked, bytes);
        let put = self.attempt(For::Room, patience, || self.has_room_for_one(), attempt)?;
        put.ok_or(if matches!(patience, Patience::None) { NotPut::Full } else { NotPut::TimedOut })
    }

    /// Appends the bytes of an item to `into`.
    pub(super) fn get(&self, into: &mut Vec<u8>, patience: Patience) -> Result<(), NotGot> {
        let attempt = |locked| self.get_now(locked, into);
        let got = self.attempt(For::Item, patience, || self.has_item(), attempt)?;
        got.ok_or(if matches!(patience, Patience::None) { NotGot::Empty } else { NotGot::TimedOut })
    }

    pub(super) async fn put_async(&self, bytes: &[u8]) -> Result<(), NotPut> {
        let mut ear = None;
        loop {
            match self.put_now(self.locked()?, bytes)? {
                Found::Done(()) => return Ok(()),
                Found::NotNow(locked) => self.listen(For::Room, locked, &mut ear)?,
            }
            hear(&ear).await?;
        }
    }

    pub(super) async fn get_async(&self, into: &mut Vec<u8>) -> Result<(), NotGot> {
        let mut ear = None;
        loop {
            match self.get_now(self.locked()?, into)? {
                Found::Done(()) => return Ok(()),
                Found::NotNow(locked) => self.listen(For::Item, locked, &mut ear)?,
            }
            hear(&ear).await?;
        }
    }

    /// Waits until nothing is unfinished. `false`: not in time.
    pub(super) fn join(&self, patience: Patience) -> io::Result<bool> {
        loop {
            let Some(locked) = self.lock(patience.deadline())? else { return Ok(false) };
            if locked.state.unfinished == 0 {
                return Ok(true);
            }
            let seen = locked.note(For::Work);
            if sleep(self.signal(For::Work), seen, patience.deadline())? == Waited::TimedOut {
                return Ok(self.locked()?.state.unfinished == 0);
            }
        }
    }

    /// Watches whether there is something to get, or nothing will come any more.
    pub(super) fn watch(&self) -> io::Result<Watch<'_>> {
        Ok(Watch::armed(Listener { store: self, ear: Ear::new(&self.bell, None)? }))
    }

    /// The lock, however long that takes: it is held for a moment only.
    pub(super) fn locked(&self) -> io::Result<Locked<'_>> {
        Ok(self.lock(None)?.expect("without a deadline it is not given up"))
    }

    fn has_item(&self) -> bool {
        let state = self.peek();
        state.items > 0 || state.closed
    }

    fn has_room_for_one(&self) -> bool {
        let state = self.peek();
        state.items < self.shape.limit || state.closed
    }

    fn put_now<'a>(&self, locked: Locked<'a>, bytes: &[u8]) -> Result<Found<'a, ()>, NotPut> {
        match locked.room(bytes.len()) {
            Err(NoRoom::TooLarge { limit }) => Err(NotPut::TooLarge { limit }),
            _ if locked.state.closed => Err(NotPut::Closed),
            Err(NoRoom::Full) => Ok(Found::NotNow(locked)),
            Ok(()) => Ok(Found::Done(locked.push(bytes)?)),
        }
    }

    fn get_now<'a>(&self, locked: Locked<'a>, into: &mut Vec<u8>) -> Result<Found<'a, ()>, NotGot> {
        match locked.state.items {
            0 if locked.state.closed => Err(NotGot::Closed),
            0 => Ok(Found::NotNow(locked)),
            _ => Ok(Found::Done(locked.pop(into)?)),
        }
    }

    /// Attempts something until it is done. `None`: not in time.
    ///
    /// Only one of all that wait for the same sleeps on the signal; the others wait for its place, which the kernel
    /// gives to the next one when it is killed. So to wake one is enough, and nobody who was woken can keep it from the
    /// others.
    fn attempt<'a, T, E: From<io::Error>>(
        &'a self,
        what: For,
        patience: Patience,
        is_likely: impl Fn() -> bool,
        mut attempt: impl FnMut(Locked<'a>) -> Result<Found<'a, T>, E>,
    ) -> Result<Option<T>, E> {
        let deadline = patience.deadline();
        for look in 0..LOOKS {
            if look == 0 || is_likely() {
                let Some(locked) = self.lock(deadline)? else { return Ok(None) };
                if let Found::Done(done) = attempt(locked)? {
                    return Ok(Some(done));
                }
            }
            match patience {
                Patience::None => return Ok(None),
                // Looking takes time, too.
                Patience::Until(deadline) if look % 8 == 7 && Instant::now() >= deadline => return Ok(None),
                _ => thread::yield_now(),
            }
        }
        let _turn = loop {
            let soon = Instant::now() + LOOK_AGAIN;
            if let Some(turn) = self.turn(what).lock_until(Some(deadline.map_or(soon, |deadline| deadline.min(soon)))) {
                break turn;
            }
            // Whoever has it may have been stopped.
            let Some(locked) = self.lock(deadline)? else { return Ok(None) };
            if let Found::Done(done) = attempt(locked)? {
                return Ok(Some(done));
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(None);
            }
        };
        loop {
            let Some(locked) = self.lock(deadline)? else { return Ok(None) };
            let seen = match attempt(locked)? {
                Found::Done(done) => return Ok(Some(done)),
                Found::NotNow(locked) => locked.note(what),
            };
            if sleep(self.signal(what), seen, deadline)? == Waited::TimedOut {
                return match attempt(self.locked()?)? {
                    Found::Done(done) => Ok(Some(done)),
                    Found::NotNow(_) => Ok(None),
                };
            }
        }
    }

    /// From now on the bell is heard, and who changes something rings it.
    fn listen(&self, what: For, locked: Locked<'_>, ear: &mut Option<Ear>) -> io::Result<()> {
        match ear {
            Some(ear) => ear.forget()?,
            None => {
                let new = Ear::new(&self.bell, None)?;
                // The event that it begins with.
                new.forget()?;
                *ear = Some(new);
            }
        }
        locked.want_bell(what);
        Ok(())
    }
}

async fn hear(ear: &Option<Ear>) -> io::Result<()> {
    match ear {
        Some(ear) => reactor::readable(ear)?.await,
        None => Ok(()),
    }
}

/// Sleeps as long as the signal is what was seen.
fn sleep(signal: &AtomicU32, seen: u32, deadline: Option<Instant>) -> io::Result<Waited> {
    let soon = Instant::now() + ALONE;
    if deadline.is_some_and(|deadline| deadline <= soon) {
        return futex::wait(signal, seen, deadline);
    }
    match futex::wait(signal, seen, Some(soon))? {
        Waited::Woken => Ok(Waited::Woken),
        Waited::TimedOut => worker::blocking(|| futex::wait(signal, seen, deadline)),
    }
}

/// Listens for something to get.
struct Listener<'a> {
    store: &'a Store,
    ear: Ear,
}

impl Armed for Listener<'_> {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.ear.as_fd()
    }

    fn is_ready(&mut self) -> io::Result<bool> {
        self.ear.forget()?;
        let locked = self.store.locked()?;
        let is_ready = locked.state.items > 0 || locked.state.closed;
        if !is_ready {
            locked.want_bell(For::Item);
        }
        Ok(is_ready)
    }
}
