//! `.await` on a descriptor, on whatever runtime: one thread of this process sleeps in epoll for all who wait, and
//! wakes them. It is started by the first who waits, and stays. `README.md` beside this file says what a fork does to
//! it.

#[cfg(test)]
mod tests;

use parking_lot::Mutex;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::process;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;

/// Completes when `descriptor` is readable, or at its end, or has an error: when a `read` would not wait.
///
/// It is duplicated, so it may be closed meanwhile. Dropping the future ends the watching.
///
/// ```
/// use concurrent_futures_ipc::reactor;
/// use std::io::{Read, Write};
///
/// let (mut reader, mut writer) = std::io::pipe()?;
/// let readable = reactor::readable(&reader)?;
/// writer.write_all(b"x")?;
/// futures::executor::block_on(readable)?;
/// reader.read_exact(&mut [0])?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// There is no descriptor left, or no thread; `PermissionDenied` for what is always readable, as files are. The future
/// ends with an error where the thread that watches has ended, and in a process that was forked meanwhile.
pub fn readable(descriptor: impl AsFd) -> io::Result<Ready> {
    watch(descriptor, EventFlags::IN | EventFlags::RDHUP)
}

/// The same for writing: completes when a `write` would not wait, or is an error.
///
/// ```
/// use concurrent_futures_ipc::reactor;
///
/// let (_reader, writer) = std::io::pipe()?;
/// futures::executor::block_on(reactor::writable(&writer)?)?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// As of [`readable`].
pub fn writable(descriptor: impl AsFd) -> io::Result<Ready> {
    watch(descriptor, EventFlags::OUT)
}

fn watch(descriptor: impl AsFd, what: EventFlags) -> io::Result<Ready> {
    let reactor = Reactor::of_this_process()?;
    // One file may be watched by many, and epoll knows it by file and number.
    let descriptor = fcntl_dupfd_cloexec(descriptor, 0)?;
    let token = reactor.next.fetch_add(1, Ordering::Relaxed);
    let ready = Ready { reactor, token, descriptor };
    reactor.waiting.lock().insert(token, Waiting::New);
    // Once, for until its owner has been polled it would be reported again and again.
    epoll::add(&reactor.epoll, &ready.descriptor, EventData::new_u64(token), what | EventFlags::ONESHOT)?;
    reactor.see_to_the_thread()?;
    Ok(ready)
}

/// Given by [`readable`] and [`writable`].
#[derive(Debug)]
#[must_use = "a future does nothing unless it is awaited"]
pub struct Ready {
    reactor: &'static Reactor,
    token: u64,
    descriptor: OwnedFd,
}

impl Future for Ready {
    type Output = io::Result<()>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.reactor.is_of_this_process() {
            return Poll::Ready(Err(io::Error::other("this future was made by the process that has forked this one")));
        }
        // Wakers are the user's code, and the last one of a task drops its futures, which may be ours: not under the lock. So what is
        // replaced goes after it.
        let waker = context.waker().clone();
        let _replaced;
        let mut waiting = self.reactor.waiting.lock();
        match waiting.get_mut(&self.token) {
            Some(Waiting::Ready) => Poll::Ready(Ok(())),
            Some(waiting) => {
                _replaced = std::mem::replace(waiting, Waiting::Asleep(waker));
                Poll::Pending
            }
            None => Poll::Ready(Err(io::Error::other("the thread that watches descriptors has ended"))),
        }
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        if !self.reactor.is_of_this_process() {
            // The watching is another process's, with the same epoll.
            return;
        }
        // The last duplicate need not be closed with ours: so it is taken off by name. What was never added cannot be.
        let _ = epoll::delete(&self.reactor.epoll, &self.descriptor);
        let gone = self.reactor.waiting.lock().remove(&self.token);
        // A waker is the user's code: not under the lock.
        drop(gone);
    }
}

/// The one of a process. Never freed: its thread and all futures point to it.
#[derive(Debug)]
struct Reactor {
    /// Whose it is. A forked process has a copy without the thread, and makes another one.
    process: u32,
    epoll: OwnedFd,
    waiting: Mutex<HashMap<u64, Waiting>>,
    next: AtomicU64,
    has_thread: Mutex<bool>,
}

#[derive(Debug)]
enum Waiting {
    /// Nobody has polled it yet.
    New,
    Asleep(Waker),
    Ready,
}

static CURRENT: AtomicPtr<Reactor> = AtomicPtr::new(ptr::null_mut());

impl Reactor {
    /// Without a lock that another thread could have held when this process was forked.
    fn of_this_process() -> io::Result<&'static Reactor> {
        let current = CURRENT.load(Ordering::Acquire);
        // SAFETY: null, or a reactor that is never freed.
        if let Some(reactor) = unsafe { current.as_ref() }
            && reactor.is_of_this_process()
        {
            return Ok(reactor);
        }
        let reactor = Box::new(Reactor {
            process: process::id(),
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            waiting: Mutex::default(),
            next: AtomicU64::new(0),
            has_thread: Mutex::new(false),
        });
        let made = Box::into_raw(reactor);
        match CURRENT.compare_exchange(current, made, Ordering::AcqRel, Ordering::Acquire) {
            // SAFETY: it was just made, and is never freed from now on.
            Ok(_) => Ok(unsafe { &*made }),
            Err(other) => {
                // SAFETY: it was just made, and nobody has seen it.
                drop(unsafe { Box::from_raw(made) });
                // SAFETY: another thread of this process has put it there, and it is never freed.
                Ok(unsafe { &*other })
            }
        }
    }

    fn is_of_this_process(&self) -> bool {
        self.process == process::id()
    }

    fn see_to_the_thread(&'static self) -> io::Result<()> {
        let mut has_thread = self.has_thread.lock();
        if !*has_thread {
            thread::Builder::new().name("cf-reactor".into()).spawn(|| self.serve())?;
            *has_thread = true;
        }
        Ok(())
    }

    fn serve(&self) {
        let mut buffer = [MaybeUninit::<epoll::Event>::uninit(); 64];
        loop {
            let events = match epoll::wait(&self.epoll, &mut buffer, None) {
                Ok((events, _)) => events,
                Err(Errno::INTR) => continue,
                Err(_) => break,
            };
            for event in events {
                let waiting = match self.waiting.lock().get_mut(&event.data.u64()) {
                    Some(waiting) => std::mem::replace(waiting, Waiting::Ready),
                    // Dropped in the meantime.
                    None => continue,
                };
                wake(waiting);
            }
        }
        // Somebody has closed a descriptor that was not theirs. They find nothing where they are polled, and say so; as
        // does whoever comes later, for nobody watches any more and nothing is put there without it.
        *self.has_thread.lock() = false;
        let all = std::mem::take(&mut *self.waiting.lock());
        all.into_values().for_each(wake);
    }
}

fn wake(waiting: Waiting) {
    if let Waiting::Asleep(waker) = waiting {
        // The panic of a runtime's waker has been reported by the hook; the others are to be woken all the same.
        let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
    }
}
