//! From an outcome to the end: decoding it, and running callbacks.

use super::nested::Nested;
use super::state::*;
use super::{Callback, Place, Ref};
use crate::sync::Ordering;
use crate::{panics, service};

impl Ref {
    /// Decodes an outcome that is still bytes, unless somebody else does or did.
    pub(crate) fn settle(&self, place: Place) {
        if phase(self.state()) == ENCODED && self.step(ENCODED, SETTLING, 0) {
            let flags = self.decode();
            if !self.finish_unheard(flags) {
                self.set_flag(flags);
                self.finish(place);
            }
        }
    }

    /// Gives the flags that the outcome has now.
    fn decode(&self) -> u32 {
        // SAFETY: the cell lives; as the owner of SETTLING we alone touch the outcome, which holds bytes.
        let failed = unsafe { (self.vtable.decode)(self.0) };
        if failed { READY | FAILED } else { READY }
    }

    /// The owner of SETTLING, with a readable outcome, runs all callbacks and leaves for DONE.
    pub(super) fn finish(&self, place: Place) {
        // A callback may resolve another cell, whose callback resolves a third: a long chain must not fill the stack.
        let place = if Nested::too_deep() { Place::Service } else { place };
        let home = self.home().or_else(Nested::home);
        loop {
            if self.finish_unheard(0) {
                return;
            }
            let (waiters, callbacks, remote) = {
                let mut listeners = self.listeners();
                let (waiters, remote) = (listeners.take_waiters(), listeners.set_remote(None));
                if place == Place::Service && listeners.has_callbacks() {
                    (waiters, None, remote)
                } else {
                    let callbacks = listeners.take_callbacks();
                    if callbacks.is_empty() {
                        self.step(SETTLING, DONE, 0);
                    }
                    (waiters, Some(callbacks), remote)
                }
            };
            drop(remote);
            waiters.fire();
            match callbacks {
                None => {
                    let cell = self.clone();
                    service::run(home, Box::new(move || cell.finish(Place::Here)));
                    return;
                }
                Some(callbacks) if callbacks.is_empty() => return,
                Some(callbacks) => {
                    let _nested = Nested::begin(home);
                    for callback in callbacks {
                        // Its message has been printed by the panic hook; the others must still run.
                        let _ = panics::contain(|| callback(self.0.as_ptr().cast()));
                    }
                }
            }
        }
    }

    /// Leaves for DONE if nobody has ever listened.
    fn finish_unheard(&self, flags: u32) -> bool {
        let mut word = self.word.load(Ordering::Relaxed);
        while word as u32 & LISTENED == 0 {
            let done = moved(word, DONE, flags, 0);
            match self.word.compare_exchange_weak(word, done, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// Runs `callback` when the outcome is there: here and now if it is, else where it arrives.
    pub(crate) fn add_callback(&self, callback: Callback) {
        let mut listeners = self.listeners();
        listeners.add_callback(callback);
        let state = self.set_flag(LISTENED);
        if phase(state) == DONE && self.step(DONE, SETTLING, 0) {
            drop(listeners);
            self.finish(Place::Here);
        } else if phase(state) == ENCODED && self.step(ENCODED, SETTLING, 0) {
            drop(listeners);
            let flags = self.decode();
            self.set_flag(flags);
            self.finish(Place::Here);
        }
    }

    /// Moves from one phase to another, whatever the flags do meanwhile; false when it is not in `from` (any more).
    pub(super) fn step(&self, from: u32, to: u32, flags: u32) -> bool {
        let mut word = self.word.load(Ordering::Relaxed);
        while phase(word as u32) == from {
            let next = moved(word, to, flags, 0);
            match self.word.compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }
}
