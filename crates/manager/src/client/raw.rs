//! The handle without a type: which object of which server, and what keeps it alive.

use super::address::{Address, Remote};
use super::connection::{Asking, Patience, Response, ask};
use crate::error::ManagerError;
use crate::nesting::{self, Outgoing};
use crate::server::Object;
use crate::wire::Op;
use crate::wire::auth::{Key, ServerId};
use concurrent_futures_core::attach::{self, AttachError, Attachment};
use parking_lot::Mutex;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Weak};

#[derive(Clone)]
/// Public as a part of a sealed trait alone.
pub struct RawHandle(Arc<Inner>);

struct Inner {
    server: Arc<Remote>,
    object: u64,
    keep: Keep,
}

/// What keeps the object.
enum Keep {
    Token(Attachment),
    /// This process is the server.
    Here(Arc<Object>),
}

/// All handles of this process, so that those of one object share a token.
static KNOWN: LazyLock<Mutex<HashMap<Name, Weak<Inner>>>> = LazyLock::new(Mutex::default);

type Name = (ServerId, bool, u64);

impl RawHandle {
    /// The known handle of that object, or a new one.
    pub(super) fn with(
        server: &Arc<Remote>,
        object: u64,
        token: impl FnOnce() -> Result<Attachment, ManagerError>,
    ) -> Result<Self, ManagerError> {
        // Taken in any case: it is there for this handle.
        if server.is_local() {
            let token = token()?;
            return Ok(Self::intern(server, object, move || Keep::Token(token)));
        }
        if let Some(known) = Self::known(server, object) {
            return Ok(known);
        }
        let token = token()?;
        Ok(Self::intern(server, object, move || Keep::Token(token)))
    }

    /// Of an object of this process.
    pub(crate) fn here(server: &Arc<Remote>, object: Arc<Object>) -> Self {
        Self::intern(server, object.id(), move || Keep::Here(object))
    }

    fn known(server: &Arc<Remote>, object: u64) -> Option<Self> {
        KNOWN.lock().get(&(server.id(), server.is_local(), object)).and_then(Weak::upgrade).map(RawHandle)
    }

    fn intern(server: &Arc<Remote>, object: u64, keep: impl FnOnce() -> Keep) -> Self {
        // Dropped, if there is one already, when the lock is free.
        let keep = keep();
        let mut known = KNOWN.lock();
        let name = (server.id(), server.is_local(), object);
        if let Some(inner) = known.get(&name).and_then(Weak::upgrade) {
            drop(known);
            return RawHandle(inner);
        }
        let inner = Arc::new(Inner { server: server.clone(), object, keep });
        known.insert(name, Arc::downgrade(&inner));
        RawHandle(inner)
    }

    pub(crate) fn server(&self) -> &Arc<Remote> {
        &self.0.server
    }

    pub(crate) fn object(&self) -> u64 {
        self.0.object
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.0.object == other.0.object && self.0.server.id() == other.0.server.id()
    }

    /// A request that has no value and does not wait.
    pub(crate) fn ask(&self, op: Op) -> Result<Option<Response>, ManagerError> {
        self.ask_for(op, 0, Patience::None)
    }

    /// A request that has no value.
    pub(crate) fn ask_for(&self, op: Op, number: u64, patience: Patience) -> Result<Option<Response>, ManagerError> {
        ask(&self.0.server, Asking::of(op, self.0.object).number(number), Outgoing::default(), patience)
    }

    /// A request about what was granted over that connection.
    ///
    /// # Errors
    /// `NotOwner`: the connection has ended, and what was granted has ended with it.
    pub(crate) fn ask_over(
        &self,
        connection: u64,
        op: Op,
        number: u64,
        patience: Patience,
    ) -> Result<Option<Response>, ManagerError> {
        let asking = Asking { over: Some(connection), ..Asking::of(op, self.0.object).number(number) };
        ask(&self.0.server, asking, Outgoing::default(), patience)
    }

    /// A request that has a value.
    pub(crate) fn ask_with(
        &self,
        op: Op,
        number: u64,
        outgoing: Outgoing,
        patience: Patience,
    ) -> Result<Option<Response>, ManagerError> {
        ask(&self.0.server, Asking::of(op, self.0.object).number(number), outgoing, patience)
    }

    fn token(&self) -> std::io::Result<Attachment> {
        match &self.0.keep {
            Keep::Token(token) => Ok(token.clone()),
            Keep::Here(object) => object.mint().map(Attachment::new),
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let name = (self.server.id(), self.server.is_local(), self.object);
        let mut known = KNOWN.lock();
        // A new one may have come already.
        if known.get(&name).is_some_and(|inner| inner.strong_count() == 0) {
            known.remove(&name);
        }
    }
}

#[derive(Serialize, Deserialize)]
enum Message {
    /// Its place in a message to or from its server.
    Near(u32),
    Far {
        address: Address,
        key: Key,
        server: ServerId,
        object: u64,
        token: u32,
    },
}

impl Serialize for RawHandle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Some(place) = nesting::put(self) {
            return Message::Near(place).serialize(serializer);
        }
        let fail = |why: &dyn fmt::Display| ser::Error::custom(format_args!("a handle of a manager's object: {why}"));
        if !attach::is_collecting() {
            return Err(fail(&AttachError::NotSending));
        }
        let token = self.token().map_err(|error| fail(&error))?;
        let token = attach::put(&token).map_err(|error| fail(&error))?;
        let (address, key) = (self.0.server.address().clone(), self.0.server.key().clone());
        Message::Far { address, key, server: self.0.server.id(), object: self.0.object, token }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RawHandle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fail = |why: &dyn fmt::Display| de::Error::custom(format_args!("a handle of a manager's object: {why}"));
        match Message::deserialize(deserializer)? {
            Message::Near(place) => nesting::take(place).ok_or_else(|| fail(&"the message does not refer to it")),
            Message::Far { address, key, server, object, token } => {
                let token = attach::take(token).map_err(|error| fail(&error))?;
                Ok(Self::intern(&Remote::new(address, key, server), object, move || Keep::Token(token)))
            }
        }
    }
}

impl fmt::Debug for RawHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("object", &self.0.object).field("server", self.0.server.address()).finish()
    }
}
