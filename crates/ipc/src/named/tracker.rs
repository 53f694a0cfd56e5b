//! A process that removes what a program has left when it was killed.
//!
//! This crate cannot start processes: the crate above it says how ([`start_by`]), and calls [`serve`] in the process that it has
//! started. Without one the next program that makes named memory removes what is left.

use super::registry::{Object, Removal, scavenge};
use parking_lot::Mutex;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use std::collections::HashSet;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::thread;

/// Starts a tracker and gives this side of a pair of sockets for whole messages (`SEQPACKET`), whose other side it has;
/// `None` where there can be none.
pub type Start = fn() -> io::Result<Option<OwnedFd>>;

static START: OnceLock<Start> = OnceLock::new();

/// Says how to start a tracker. It is started when this process makes the first object with a name.
///
/// ```
/// use concurrent_futures_ipc::named::tracker;
///
/// tracker::start_by(|| Ok(None)); // there will be none
/// ```
pub fn start_by(start: Start) {
    // All copies of this library in a program say the same.
    let _first = START.set(start);
}

/// What this process has made.
struct Made {
    objects: HashSet<Object>,
    /// The tracker, once there is one.
    tracker: Tracker,
    /// So many objects are looked through for those that are gone.
    prune_at: usize,
}

enum Tracker {
    NotYet,
    None,
    There(OwnedFd),
}

const PRUNE_FROM: usize = 256;
/// So many are waited for at once.
const WAITING: usize = 64;

static MADE: Mutex<Option<Made>> = Mutex::new(None);

/// Tells the tracker what this process is about to make.
pub(super) fn announce(object: &Object) {
    let Some(start) = START.get() else { return };
    let mut made = MADE.lock();
    let made =
        made.get_or_insert_with(|| Made { objects: HashSet::new(), tracker: Tracker::NotYet, prune_at: PRUNE_FROM });
    if made.objects.len() >= made.prune_at {
        made.objects.retain(Object::is_tracked);
        made.prune_at = PRUNE_FROM.max(2 * made.objects.len());
    }
    made.objects.insert(object.clone());
    if let Tracker::There(socket) = &made.tracker {
        match tell(socket, object) {
            Ok(()) => return,
            // It has been killed. Another one has to know all.
            Err(_) => made.tracker = Tracker::NotYet,
        }
    }
    if let Tracker::NotYet = made.tracker {
        // Without one, what is left when this process is killed is removed by the next program.
        made.tracker = match start() {
            Ok(Some(socket)) if made.objects.iter().all(|object| tell(&socket, object).is_ok()) => {
                Tracker::There(socket)
            }
            Ok(Some(_)) | Err(_) => Tracker::NotYet,
            Ok(None) => Tracker::None,
        };
    }
}

fn tell(socket: &OwnedFd, object: &Object) -> Result<(), Errno> {
    let message = object.to_bytes();
    match retry_on_intr(|| send(socket, &message, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)) {
        // It is stopped, and its buffer is full. It is not worth waiting for: others remove what it does not know.
        Ok(_) | Err(Errno::AGAIN) => Ok(()),
        Err(error) => Err(error),
    }
}

/// What the tracker does: notes what it is told, until nobody is left who could tell it more; then waits until nobody has these
/// objects, and removes each of them. Returns when none is left.
///
/// # Errors
/// Those of the system.
pub fn serve(control: BorrowedFd<'_>) -> io::Result<()> {
    let mut objects = HashSet::new();
    let mut prune_at = PRUNE_FROM;
    let mut message = [0; 512];
    loop {
        match retry_on_intr(|| recv(control, &mut message[..], RecvFlags::empty())) {
            Ok((0, _)) | Err(Errno::CONNRESET) => break,
            Ok((len, _)) => objects.extend(Object::from_bytes(&message[..len.min(message.len())])),
            Err(error) => return Err(error.into()),
        }
        if objects.len() >= prune_at {
            objects.retain(Object::is_tracked);
            prune_at = PRUNE_FROM.max(2 * objects.len());
        }
    }
    objects.retain(|object| object.remove_if_left(false).is_ok_and(|removal| removal == Removal::Held));
    remove_the_rest(objects);
    scavenge().map(drop)
}

/// A process is about to end, or another program uses them. That may take days; so none is waited for before the others.
fn remove_the_rest(objects: HashSet<Object>) {
    let threads = objects.len().min(WAITING);
    let objects = Mutex::new(objects.into_iter());
    let next = || objects.lock().next();
    let remove = || {
        while let Some(object) = next() {
            // What cannot be removed is left to others.
            let _ = object.remove_if_left(true);
        }
    };
    thread::scope(|s| {
        // This one is the first.
        for _ in 1..threads {
            if thread::Builder::new().stack_size(64 << 10).spawn_scoped(s, remove).is_err() {
                break;
            }
        }
        remove();
    });
}
