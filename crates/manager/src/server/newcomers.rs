//! Letting clients in: nobody who has not proved that he has the key costs more than a thread for half a minute.

use super::{Sockets, State};
use crate::client::Remote;
use crate::wire::Link;
use crate::wire::auth::{self, Key, Purpose};
use crate::wire::link::keep_alive;
use concurrent_futures_process::program::peer_user;
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with, sockopt};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

/// So many may be at a door at once. One more takes the place of the one that has been there longest, whom it can hardly be that
/// knows the key: to prove it takes a moment.
const AT_THE_DOOR: usize = 64;

/// Those who have proved nothing yet. Each way in has its own door, so strangers from afar crowd nobody out at home.
#[derive(Debug, Default)]
struct Door {
    waiting: Mutex<VecDeque<(u64, OwnedFd)>>,
}

impl Door {
    fn enter(self: &Arc<Self>, number: u64, socket: &OwnedFd) -> io::Result<AtTheDoor> {
        let duplicate = socket.try_clone()?;
        let mut waiting = self.waiting.lock();
        if waiting.len() >= AT_THE_DOOR
            && let Some((_, longest)) = waiting.pop_front()
        {
            // Its thread sees the end. If it has ended already, that is as well.
            let _ = rustix::net::shutdown(&longest, rustix::net::Shutdown::Both);
        }
        waiting.push_back((number, duplicate));
        Ok(AtTheDoor { door: self.clone(), number })
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
    let mut reserve = File::open("/dev/null").ok();
    let doors = [Arc::<Door>::default(), Arc::default()];
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
        let ready: Vec<bool> = sources.iter().map(|source| !source.revents().is_empty()).collect();
        let tcp = sockets.tcp.as_ref().filter(|_| ready.get(1) == Some(&true));
        let local = ready[0].then_some((&sockets.local, None));
        for (listener, key) in local.into_iter().chain(tcp.map(|(listener, key)| (listener, Some(key)))) {
            match accept_with(listener, SocketFlags::CLOEXEC) {
                Ok(socket) => begin(state, socket, key.cloned(), &doors[usize::from(key.is_some())]),
                Err(Errno::MFILE | Errno::NFILE) => {
                    drop(reserve.take());
                    let turned_away = accept_with(listener, SocketFlags::CLOEXEC).is_ok();
                    reserve = File::open("/dev/null").ok();
                    if !turned_away {
                        // Others have taken what was kept. Nothing tells when there is a descriptor again.
                        std::thread::sleep(Duration::from_millis(10));
                    }
                }
                // A client that did not wait; want of memory, which passes.
                Err(_) => {}
            }
        }
    }
}

/// Makes [`let_in`] look whether the server was stopped.
pub(super) fn wake(remote: &Arc<Remote>) {
    // If nobody can be let in, nobody waits there.
    let _ = remote.dial();
}

/// A thread for a newcomer, who becomes a session in it.
fn begin(state: &Arc<State>, socket: OwnedFd, tcp_key: Option<Key>, door: &Arc<Door>) {
    // For want of a descriptor or a thread it is closed; the client sees that.
    let Ok(place) = door.enter(state.number(), &socket) else { return };
    let state = state.clone();
    let _ = std::thread::Builder::new().name("cf-session".into()).spawn(move || {
        // There is nobody to whom an error could be said: a stranger is sent away, a client knows from his side.
        let _ = welcome(&state, socket, tcp_key, place);
    });
}

fn welcome(state: &Arc<State>, socket: OwnedFd, tcp_key: Option<Key>, place: AtTheDoor) -> io::Result<()> {
    let local = tcp_key.is_none();
    if local && peer_user(&socket)? != rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    if !local {
        sockopt::set_tcp_nodelay(&socket, true)?;
        keep_alive(&socket)?;
    }
    let mut link = Link::new(socket, local);
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
        (Ok(Purpose::Token(_)), Some(object)) => {
            let socket = link.as_fd().try_clone_to_owned()?;
            drop(link);
            state.tokens.keep(socket, object)
        }
        _ => Ok(()),
    }
}
