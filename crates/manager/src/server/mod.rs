//! The server: a thread that lets clients in, one that looks after tokens, and one for each connection. `README.md` of the crate has the
//! states, and what each death does.

pub(crate) mod machines;
mod newcomers;
mod object;
mod requests;
mod session;
#[cfg(test)]
mod tests;
mod tokens;

pub(crate) use machines::{NOTIFIED, ORPHANED};
pub(crate) use object::Object;
pub(crate) use requests::{callers, is_calling};

use crate::client::{Address, Remote};
use crate::wire::Link;
use crate::wire::auth::{Key, ServerId};
use crate::wire::link::hang_up;
use object::Body;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fmt;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use tokens::Tokens;

/// What all threads of a server share.
#[derive(Debug)]
pub(crate) struct State {
    /// How this very process would reach it: for handles within its objects.
    remote: Arc<Remote>,
    objects: Mutex<HashMap<u64, Weak<Object>>>,
    names: Mutex<HashMap<String, Arc<Object>>>,
    tokens: Tokens,
    /// Connections, to be ended with the server.
    connections: Mutex<HashMap<u64, Weak<OwnedFd>>>,
    next: AtomicU64,
    stopped: AtomicBool,
}

/// What a server is made of.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) local: OwnedFd,
    /// With its own key.
    pub(crate) tcp: Option<(OwnedFd, Key)>,
}

impl State {
    pub(crate) fn new(id: ServerId, address: Address, key: Key) -> io::Result<Arc<Self>> {
        Ok(Arc::new(State {
            remote: Remote::new(address, key, id),
            objects: Mutex::default(),
            names: Mutex::default(),
            tokens: Tokens::new()?,
            connections: Mutex::default(),
            next: AtomicU64::new(1),
            stopped: AtomicBool::new(false),
        }))
    }

    pub(crate) fn id(&self) -> ServerId {
        self.remote.id()
    }

    /// A number that nothing else in this server has.
    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn find(&self, id: u64) -> Option<Arc<Object>> {
        self.objects.lock().get(&id).and_then(Weak::upgrade)
    }

    fn add(self: &Arc<Self>, body: Body) -> Arc<Object> {
        let id = self.number();
        let object = Arc::new(Object::new(id, Arc::downgrade(self), body));
        self.objects.lock().insert(id, Arc::downgrade(&object));
        object
    }

    /// Starts the threads.
    ///
    /// # Errors
    /// There can be no more threads.
    pub(crate) fn start(self: &Arc<Self>, sockets: Sockets) -> io::Result<()> {
        let state = self.clone();
        std::thread::Builder::new().name("cf-tokens".into()).spawn(move || {
            if let Err(error) = state.tokens.watch() {
                // Objects would stay for ever; the clients are to know that.
                complain(format_args!("the manager cannot see who holds its objects: {error}"));
                state.stop();
            }
        })?;
        let state = self.clone();
        std::thread::Builder::new().name("cf-listener".into()).spawn(move || {
            if let Err(error) = newcomers::let_in(&state, &sockets) {
                complain(format_args!("the manager cannot let clients in: {error}"));
                state.stop();
            }
        })?;
        Ok(())
    }

    /// Ends it: all connections, and all objects that nobody is using at this moment.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.connections.lock().values().for_each(hang_up);
        let names = std::mem::take(&mut *self.names.lock());
        drop(names);
        self.tokens.stop();
        newcomers::wake(&self.remote);
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Serves a connection whose client has proved who it is.
    fn serve(self: &Arc<Self>, link: Link) {
        let number = self.number();
        self.connections.lock().insert(number, link.socket());
        let _listed = Listed { state: self, number };
        // It may have been stopped just before.
        if !self.is_stopped() {
            session::serve(self, link);
        }
    }
}

/// On standard error. If nobody can read that any more, the server goes on all the same: `eprintln` would panic.
fn complain(words: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{words}");
}

/// A connection that is to be ended with the server, until it has ended by itself.
struct Listed<'a> {
    state: &'a State,
    number: u64,
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.state.connections.lock().remove(&self.number);
    }
}
