//! Letting clients in: nobody who has not proved that he has the key costs more than a thread and a descriptor for half a minute.

use super::{Sockets, State};
use crate::client::Remote;
use crate::wire::Link;
use crate::wire::auth::{self, Key, Purpose};
use crate::wire::link::{hang_up, keep_alive};
use concurrent_futures_process::program::peer_user;
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with, sockopt};
use rustix::process::{Resource, getrlimit};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// So many may be at the door at once, or a quarter of the descriptors that there may be. One more takes the place of the one that has
/// been there longest, whom it can hardly be that knows the key: to prove it takes a moment, also in a crowd of those who do.
const AT_THE_DOOR: usize = if cfg!(test) { 200 } else { 1024 };

/// Those who have come by TCP and have proved nothing yet.
#[derive(Debug)]
struct Door {
    most: usize,
    waiting: Mutex<VecDeque<(u64, Weak<OwnedFd>)>>,
}

impl Door {
    fn new() -> Arc<Self> {
        let limit = getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit / 4).ok());
        Door::with(limit.map_or(AT_THE_DOOR, |limit| limit.clamp(1, AT_THE_DOOR)))
    }

    fn with(most: usize) -> Arc<Self> {
        Arc::new(Door { most, waiting: Mutex::default() })
    }

    fn enter(self: &Arc<Self>, number: u64, socket: &Arc<OwnedFd>) -> AtTheDoor {
        let mut waiting = self.waiting.lock();
        if waiting.len() >= self.most
            && let Some((_, longest)) = waiting.pop_front()
        {
            hang_up(&longest);
        }
        waiting.push_back((number, Arc::downgrade(socket)));
        AtTheDoor { door: self.clone(), number }
    }
}

/// Somebody's place there.
struct AtTheDoor {
    door: Arc<Door>,
    number: u64,
}

impl Drop for AtTheDoor {
    fn drop(&mut self) {
        self.door.waiting.lock().retain(|(number, _)| *number != self.number);
    }
}

/// Accepts connections until the server is stopped.
pub(super) fn let_in(state: &Arc<State>, sockets: &Sockets) -> io::Result<()> {
    // To be closed when there is no other descriptor left: then a client can be let in just to be sent away.
    let mut reserve = None;
    let door = Door::new();
    loop {
        let mut sources = vec![PollFd::new(&sockets.local, PollFlags::IN)];
        sources.extend(sockets.tcp.as_ref().map(|(socket, _)| PollFd::new(socket, PollFlags::IN)));
        match poll(&mut sources, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if state.is_stopped() {
            return Ok(());
        }
        // Before any newcomer has it: others (a thread that has just begun opens a file for a moment) may have taken what was kept.
        reserve = reserve.or_else(|| File::open("/dev/null").ok());
        if reserve.is_none() {
            // Nothing tells when there is a descriptor again.
            std::thread::sleep(MOMENT);
            continue;
        }
        let ready: Vec<bool> = sources.iter().map(|source| !source.revents().is_empty()).collect();
        let tcp = sockets.tcp.as_ref().filter(|_| ready.get(1) == Some(&true));
        let local = ready[0].then_some((&sockets.local, None));
        for (listener, key) in local.into_iter().chain(tcp.map(|(listener, key)| (listener, Some(key)))) {
            match accept_with(listener, SocketFlags::CLOEXEC) {
                Ok(socket) => begin(state, socket.into(), key.cloned(), &door),
                Err(Errno::MFILE | Errno::NFILE) => {
                    drop(reserve.take());
                    // If others are quicker, he is turned away the next time.
                    let _ = accept_with(listener, SocketFlags::CLOEXEC).map(auth::turn_away);
                    // And nobody else comes in before something is kept again.
                    break;
                }
                // Nor is it told when there is memory.
                Err(Errno::NOMEM | Errno::NOBUFS) => std::thread::sleep(MOMENT),
                // A client that did not wait.
                Err(_) => {}
            }
        }
    }
}

const MOMENT: Duration = Duration::from_millis(10);

/// Makes [`let_in`] look whether the server was stopped.
pub(super) fn wake(remote: &Arc<Remote>) {
    // If nobody can be let in, nobody waits there.
    let _ = remote.dial();
}

/// A thread for a newcomer, who becomes a session in it.
fn begin(state: &Arc<State>, socket: Arc<OwnedFd>, tcp_key: Option<Key>, door: &Arc<Door>) {
    let place = match &tcp_key {
        Some(_) => Some(door.enter(state.number(), &socket)),
        // Who is this user could do worse than to crowd; everybody else is sent away at once.
        None if peer_user(&socket).is_ok_and(|user| user == rustix::process::geteuid().as_raw()) => None,
        None => return,
    };
    let (state, newcomer) = (state.clone(), socket.clone());
    let welcome = move || {
        // There is nobody to whom an error could be said: a stranger is sent away, a client knows from his side.
        let _ = welcome(&state, newcomer, tcp_key, place);
    };
    if std::thread::Builder::new().name("cf-session".into()).spawn(welcome).is_err() {
        auth::turn_away(&socket);
    }
}

fn welcome(state: &Arc<State>, socket: Arc<OwnedFd>, tcp_key: Option<Key>, place: Option<AtTheDoor>) -> io::Result<()> {
    let local = tcp_key.is_none();
    if !local {
        sockopt::set_tcp_nodelay(&socket, true)?;
        keep_alive(&socket)?;
    }
    let mut link = Link::shared(socket, local);
    let key = tcp_key.unwrap_or_else(|| state.remote.key().clone());
    let kept = Mutex::new(None);
    let accept = |purpose| match purpose {
        Purpose::Calls => true,
        Purpose::Token(object) => {
            *kept.lock() = state.find(object);
            kept.lock().is_some()
        }
    };
    let purpose = auth::greet(&mut link, &key, state.id(), accept);
    drop(place);
    match (purpose, kept.into_inner()) {
        (Ok(Purpose::Calls), _) => state.serve(link),
        (Ok(Purpose::Token(_)), Some(object)) => state.tokens.keep(link.into_socket()?, object)?,
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn one_more_takes_the_place_of_the_one_that_waits_longest() {
        let door = Door::with(2);
        let pairs = [(); 4].map(|()| UnixStream::pair().unwrap());
        let [a, b, c, d] = pairs.map(|(ours, theirs)| (Arc::new(OwnedFd::from(ours)), theirs));
        let has_ended = |theirs: &UnixStream| {
            theirs.set_nonblocking(true).unwrap();
            matches!(std::io::Read::read(&mut &*theirs, &mut [0]), Ok(0))
        };
        let place = door.enter(1, &a.0);
        let _places = (door.enter(2, &b.0), place, door.enter(3, &c.0));
        assert_eq!([&a, &b, &c].map(|(_, theirs)| has_ended(theirs)), [true, false, false]);
        drop(_places.0);
        let _last = door.enter(4, &d.0);
        assert_eq!([&b, &c, &d].map(|(_, theirs)| has_ended(theirs)), [false; 3], "who has gone in has left a place");
    }
}
