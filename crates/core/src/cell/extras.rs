//! What few tasks need: beside the cell, made when somebody needs it.

use super::listeners::Listeners;
use super::{Header, Link, Ref, recycle};
use crate::sync::{AtomicPtr, Mutex, MutexGuard, Ordering};
use crate::task::Meta;
use std::ptr::{NonNull, null_mut};

pub(super) struct Extras {
    /// Set before anybody else knows the cell.
    pub(super) meta: Option<Box<Meta>>,
    pub(super) listeners: Mutex<Listeners>,
    /// The outcome, if the state says that it is ASIDE.
    pub(super) aside: AtomicPtr<()>,
}

impl Extras {
    fn make(meta: Option<Box<Meta>>, listeners: Listeners) -> NonNull<Extras> {
        let extras = recycle::allocate::<Extras>();
        let listeners = Mutex::new(listeners);
        // SAFETY: it was allocated for this type just now.
        unsafe { extras.write(Extras { meta, listeners, aside: AtomicPtr::new(null_mut()) }) };
        extras
    }

    /// # Safety
    /// From `make`; nobody uses it any more.
    unsafe fn free(extras: NonNull<Extras>) {
        // SAFETY: the caller gives it away, and drops it once.
        unsafe { extras.drop_in_place() };
        // SAFETY: it comes from `allocate` of this type, by `make`.
        unsafe { recycle::release(extras) };
    }
}

impl Header {
    pub(super) fn extras(&self) -> Option<&Extras> {
        // SAFETY: it is null or from `Extras::make`, and stays until the cell is freed; it is only shared.
        unsafe { self.extras.load(Ordering::Acquire).as_ref() }
    }

    pub(super) fn extras_or_new(&self) -> &Extras {
        self.extras().unwrap_or_else(|| self.make_extras())
    }

    #[cold]
    fn make_extras(&self) -> &Extras {
        let new = Extras::make(None, Listeners::default());
        let there = match self.extras.compare_exchange(null_mut(), new.as_ptr(), Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => new.as_ptr(),
            Err(there) => {
                // SAFETY: it was made just now, and nobody has got it.
                unsafe { Extras::free(new) };
                there
            }
        };
        // SAFETY: as in `extras`; it is not null, having been put there by us or by somebody else.
        unsafe { &*there }
    }

    /// Makes the extras with this link in the list; gives it back if they are there already.
    pub(super) fn put_remote(&self, remote: Link) -> Result<(), Link> {
        if self.extras().is_some() {
            return Err(remote);
        }
        let new = Extras::make(None, Listeners::of_remote(remote));
        if self.extras.compare_exchange(null_mut(), new.as_ptr(), Ordering::AcqRel, Ordering::Acquire).is_ok() {
            return Ok(());
        }
        // SAFETY: it was made just now, and nobody has got it.
        let made = unsafe { new.as_ref() };
        let remote = made.listeners.lock().set_remote(None);
        // SAFETY: as above.
        unsafe { Extras::free(new) };
        Err(remote.expect("it was put there"))
    }

    /// # Safety
    /// Nobody uses the cell any more, which is about to be freed; what `aside` points to has been.
    pub(super) unsafe fn free_extras(&self) {
        if let Some(extras) = NonNull::new(self.extras.load(Ordering::Acquire)) {
            // SAFETY: it is from `Extras::make`, and the caller vouches for the rest.
            unsafe { Extras::free(extras) };
        }
    }

    /// The list, to be changed.
    pub(super) fn listeners(&self) -> MutexGuard<'_, Listeners> {
        self.extras_or_new().listeners.lock()
    }

    /// The list, if there is one.
    pub(super) fn known_listeners(&self) -> Option<MutexGuard<'_, Listeners>> {
        Some(self.extras()?.listeners.lock())
    }
}

impl Ref {
    /// For a cell that nobody else knows yet.
    pub(crate) fn put_meta(&self, meta: Box<Meta>) {
        self.extras.store(Extras::make(Some(meta), Listeners::default()).as_ptr(), Ordering::Release);
    }
}
