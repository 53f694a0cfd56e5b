//! Who wants to hear of a task's end.

use super::Link;
use crate::output::TaskOutput;
use crate::panics;
use crate::sync::Thread;
use crate::task::Collector;
use crate::wait::CompletionSet;
use std::sync::Arc;
use std::task::Waker;

/// Somebody to wake; `key` lets a waiter find its own entry again.
pub(crate) struct Waiter {
    pub(crate) key: usize,
    pub(crate) wake: Wake,
}

pub(crate) enum Wake {
    Thread(Thread),
    Waker(Waker),
    /// A thread that sleeps where the answer will arrive.
    Collector(Arc<dyn Collector>),
    /// Tells the set that its item `key` is done.
    Set(Arc<CompletionSet>),
}

impl Waiter {
    fn fire(self) {
        match self.wake {
            Wake::Thread(thread) => thread.unpark(),
            Wake::Collector(collector) => collector.wake(),
            // A waker is the code of somebody's runtime: its panic must not keep the others asleep.
            Wake::Waker(waker) => drop(panics::contain(|| waker.wake())),
            Wake::Set(set) => set.completed(self.key),
        }
    }
}

/// Code that gets the outcome; the pointer is to the cell, whose outcome is ready and owned by the caller.
pub(crate) type Callback = Box<dyn FnOnce(*mut ()) + Send>;

/// One waiter and the link without an allocation; everything rarer in a box.
#[derive(Default)]
pub(crate) struct Listeners {
    first: Option<Waiter>,
    remote: Option<Link>,
    rare: Option<Box<Rare>>,
}

#[derive(Default)]
struct Rare {
    waiters: Vec<Waiter>,
    callbacks: Vec<Callback>,
    output: Option<Arc<TaskOutput>>,
}

impl Listeners {
    pub(crate) fn of_remote(remote: Link) -> Self {
        Listeners { remote: Some(remote), ..Listeners::default() }
    }

    pub(crate) fn add_waiter(&mut self, waiter: Waiter) {
        if self.first.is_none() {
            self.first = Some(waiter);
        } else {
            self.rare().waiters.push(waiter);
        }
    }

    /// Adds a waker under `key`, or replaces the one that is there, which is given back: dropping it is not for under a lock.
    #[must_use]
    pub(crate) fn set_waker(&mut self, key: usize, waker: Waker) -> Option<Waker> {
        let known = self.first.iter_mut().chain(self.rare.iter_mut().flat_map(|rare| rare.waiters.iter_mut()));
        for waiter in known {
            if let Wake::Waker(old) = &mut waiter.wake
                && waiter.key == key
            {
                return Some(std::mem::replace(old, waker));
            }
        }
        self.add_waiter(Waiter { key, wake: Wake::Waker(waker) });
        None
    }

    /// Takes out the waiters for which `is` holds. To be dropped without the lock: wakers have destructors of their own.
    #[must_use]
    pub(crate) fn remove_waiters(&mut self, mut is: impl FnMut(&Waiter) -> bool) -> Waiters {
        let first = self.first.take_if(|first| is(first));
        let more = self.rare.as_mut().map_or_else(Vec::new, |rare| rare.waiters.extract_if(.., |w| is(w)).collect());
        Waiters { first, more }
    }

    pub(crate) fn take_waiters(&mut self) -> Waiters {
        Waiters {
            first: self.first.take(),
            more: self.rare.as_mut().map_or_else(Vec::new, |r| std::mem::take(&mut r.waiters)),
        }
    }

    pub(crate) fn add_callback(&mut self, callback: Callback) {
        self.rare().callbacks.push(callback);
    }

    pub(crate) fn has_callbacks(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| !rare.callbacks.is_empty())
    }

    pub(crate) fn take_callbacks(&mut self) -> Vec<Callback> {
        self.rare.as_mut().map_or_else(Vec::new, |rare| std::mem::take(&mut rare.callbacks))
    }

    pub(crate) fn remote(&self) -> Option<&Link> {
        self.remote.as_ref()
    }

    pub(crate) fn set_remote(&mut self, remote: Option<Link>) -> Option<Link> {
        std::mem::replace(&mut self.remote, remote)
    }

    pub(crate) fn output(&self) -> Option<Arc<TaskOutput>> {
        self.rare.as_ref()?.output.clone()
    }

    pub(crate) fn set_output(&mut self, output: TaskOutput) {
        self.rare().output = Some(Arc::new(output));
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }
}

/// Waiters taken out of the list, to be woken without the lock.
pub(crate) struct Waiters {
    first: Option<Waiter>,
    more: Vec<Waiter>,
}

impl Waiters {
    pub(crate) fn fire(self) {
        if let Some(waiter) = self.first {
            waiter.fire();
        }
        for waiter in self.more {
            waiter.fire();
        }
    }
}
