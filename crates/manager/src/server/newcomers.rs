//! Letting clients in: nobody who has not proved that he has the key costs more than a thread for ten seconds.

use super::{Sockets, State};
use crate::client::Remote;
use crate::wire::Link;
use crate::wire::auth::{self, Key, Purpose};
use concurrent_futures_process::program::peer_user;
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with, sockopt};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// So many may be at the door at once; the next ones are sent away.
const AT_THE_DOOR: usize = 64;

/// Accepts connections until the server is stopped.
pub(super) fn let_in(state: &Arc<State>, sockets: &Sockets) -> io::Result<()> {
    // To be closed when there is no other descriptor left: then a client can be let in just to be sent away.
    let mut reserve = File::open("/dev/null").ok();
    let waiting = Arc::new(AtomicUsize::new(0));
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
                Ok(socket) => begin(state, socket, key.cloned(), &waiting),
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
fn begin(state: &Arc<State>, socket: OwnedFd, tcp_key: Option<Key>, waiting: &Arc<AtomicUsize>) {
    if waiting.fetch_add(1, Ordering::Relaxed) >= AT_THE_DOOR {
        waiting.fetch_sub(1, Ordering::Relaxed);
        return;
    }
    // One that cannot be served for want of threads is closed.
    let place = AtTheDoor(waiting.clone());
    let state = state.clone();
    let _ = std::thread::Builder::new().name("cf-session".into()).spawn(move || {
        // There is nobody to whom an error could be said: a stranger is sent away, a client knows from his side.
        let _ = welcome(&state, socket, tcp_key, place);
    });
}

struct AtTheDoor(Arc<AtomicUsize>);

impl Drop for AtTheDoor {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
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

/// A machine that has gone without a word is noticed after about two minutes.
pub(super) fn keep_alive(socket: &OwnedFd) -> io::Result<()> {
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, Duration::from_secs(60))?;
    sockopt::set_tcp_keepintvl(socket, Duration::from_secs(15))?;
    sockopt::set_tcp_keepcnt(socket, 4)?;
    Ok(())
}
