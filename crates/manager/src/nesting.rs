//! What a value refers to on its way to the server and back: handles of that very server, and descriptors.
//!
//! A handle within such a value is a number: its place in the message's list of objects. Elsewhere (as an argument of a task) a
//! handle travels with its token.

use crate::client::RawHandle;
use crate::wire::auth::ServerId;
use concurrent_futures_core::attach::{self, Arrived, Attachment};
use serde::de::DeserializeOwned;
use std::cell::RefCell;

/// A value that is ready to be sent.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    pub(crate) value: Vec<u8>,
    /// They must stay until the other side has taken its own references.
    pub(crate) handles: Vec<RawHandle>,
    pub(crate) attachments: Vec<Attachment>,
}

/// A value that has come.
#[derive(Debug)]
pub(crate) struct Incoming<'a> {
    pub(crate) value: &'a [u8],
    pub(crate) handles: Vec<RawHandle>,
    pub(crate) arrived: Arrived,
}

impl<'a> Incoming<'a> {
    /// A value to which nothing belongs.
    #[cfg(test)]
    pub(crate) fn of(value: &'a [u8]) -> Self {
        Incoming { value, handles: Vec::new(), arrived: Arrived::default() }
    }

    /// Decodes it.
    pub(crate) fn open<T: DeserializeOwned>(self) -> Result<T, String> {
        provide(self.handles, self.arrived, || crate::entry::decode(self.value))
    }
}

struct Collecting {
    server: ServerId,
    handles: Vec<RawHandle>,
}

thread_local! {
    static OUT: RefCell<Option<Collecting>> = const { RefCell::new(None) };
    static IN: RefCell<Option<Vec<RawHandle>>> = const { RefCell::new(None) };
}

/// Runs `encode`, of a message to or from that server.
pub(crate) fn collect<R>(server: ServerId, encode: impl FnOnce() -> R) -> (Outgoing, R) {
    struct Outer(Option<Collecting>);
    impl Drop for Outer {
        fn drop(&mut self) {
            let _ = OUT.replace(self.0.take());
        }
    }
    let outer = Outer(OUT.replace(Some(Collecting { server, handles: Vec::new() })));
    let mut attachments = Vec::new();
    let result = attach::collect(&mut attachments, encode);
    let handles = OUT.take().map(|collecting| collecting.handles).unwrap_or_default();
    drop(outer);
    (Outgoing { value: Vec::new(), handles, attachments }, result)
}

/// The place of a handle in the message that is being encoded, if that goes to or comes from its server.
pub(crate) fn put(handle: &RawHandle) -> Option<u32> {
    OUT.with_borrow_mut(|out| {
        let out = out.as_mut().filter(|out| out.server == handle.server().id())?;
        if let Some(place) = out.handles.iter().position(|known| known.object() == handle.object()) {
            return Some(place as u32);
        }
        out.handles.push(handle.clone());
        Some(out.handles.len() as u32 - 1)
    })
}

/// Runs `decode`, of a message that refers to these objects and has come with these descriptors.
fn provide<R>(handles: Vec<RawHandle>, arrived: Arrived, decode: impl FnOnce() -> R) -> R {
    struct Outer(Option<Vec<RawHandle>>);
    impl Drop for Outer {
        fn drop(&mut self) {
            let _used = IN.replace(self.0.take());
        }
    }
    let _outer = Outer(IN.replace(Some(handles)));
    attach::provide(arrived, decode)
}

/// The handle at a place of the message that is being decoded.
pub(crate) fn take(place: u32) -> Option<RawHandle> {
    IN.with_borrow(|handles| handles.as_ref()?.get(place as usize).cloned())
}
