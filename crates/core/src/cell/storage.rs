//! Where the work of a cell is, and after it the outcome: one place for both.

use super::recycle;
use super::state::{ASIDE, PENDING};
use super::table::TableOf;
use super::{Header, Ref, Work};
use crate::TaskId;
use crate::error::TaskError;
use crate::sync::{AtomicPtr, AtomicU32, AtomicU64, Ordering, UnsafeCell};
use crate::task::Reply;
use std::mem::{ManuallyDrop, offset_of};
use std::ptr::{NonNull, null_mut};

/// The whole allocation.
#[repr(C)]
pub(super) struct Cell<W: Work> {
    header: Header,
    storage: std::cell::UnsafeCell<Storage<W>>,
}

/// The work while the state has WORK; then the outcome, once it is written and if it is not ASIDE.
#[repr(C)]
union Storage<W: Work> {
    work: ManuallyDrop<W>,
    outcome: ManuallyDrop<Outcome<W::Out>>,
    nothing: (),
}

pub(super) enum Outcome<T> {
    /// It has been taken out.
    Empty,
    Encoded(Box<Reply>),
    Ready(Result<T, TaskError>),
}

/// An outcome beside the storage, which somebody still uses.
pub(super) type Aside<T> = UnsafeCell<Outcome<T>>;

impl<W: Work> Cell<W> {
    /// How far behind the header the storage begins, which follows from the alignments of both uses.
    pub(super) const OFFSET: usize = offset_of!(Cell<W>, storage);

    /// A new cell; `word` has WORK if there is work.
    pub(super) fn make(work: Option<W>, word: u64) -> NonNull<Header> {
        let storage = match work {
            Some(work) => Storage { work: ManuallyDrop::new(work) },
            None => Storage { nothing: () },
        };
        let header = Header {
            word: AtomicU64::new(word | u64::from(PENDING)),
            vtable: &TableOf::<W>::TABLE,
            extras: AtomicPtr::new(null_mut()),
            id: TaskId::next(),
            home: AtomicU32::new(0),
            guard: UnsafeCell::new(()),
        };
        let cell = recycle::allocate::<Self>();
        // SAFETY: it was allocated for this type just now.
        unsafe { cell.write(Cell { header, storage: storage.into() }) };
        cell.cast()
    }

    /// # Safety
    /// A cell from `make` of this type, that nobody uses any more; what is in its storage has been dropped or moved out.
    pub(super) unsafe fn free(cell: NonNull<Header>) {
        let cell = cell.cast::<Self>();
        // SAFETY: the caller gives it away, and drops it once. A union drops nothing by itself.
        unsafe { cell.drop_in_place() };
        // SAFETY: it comes from `allocate` of this type, by `make`, and is dropped.
        unsafe { recycle::release(cell) };
    }
}

impl Ref {
    /// The storage, as the type that it has now.
    fn storage<X>(&self) -> *mut X {
        let offset = self.vtable.offset;
        // SAFETY: the pointer is to the whole cell (`Cell::make`), whose storage begins there.
        unsafe { self.ptr().as_ptr().cast::<u8>().add(offset).cast() }
    }

    /// Moves the work out.
    ///
    /// # Safety
    /// `W` is the type of the cell's work, which is there (WORK) and the caller's.
    pub(super) unsafe fn read_work<W: Work>(&self) -> W {
        self.guard.with_mut(|_| {
            // SAFETY: the caller vouches for it, and for not using it twice.
            unsafe { self.storage::<W>().read() }
        })
    }

    /// Looks at the work.
    ///
    /// # Safety
    /// `W` is the type of the cell's work, which is there (WORK) and nobody's but the caller's.
    pub(super) unsafe fn with_work<W: Work, R>(&self, f: impl FnOnce(&W) -> R) -> R {
        self.guard.with(|_| {
            // SAFETY: the caller vouches for it.
            f(unsafe { &*self.storage::<W>() })
        })
    }

    /// Puts the outcome into the storage.
    ///
    /// # Safety
    /// `T` is the type of the cell's outcome. The storage is the caller's and has neither work nor outcome.
    pub(super) unsafe fn write_inside<T>(&self, outcome: Outcome<T>) {
        self.guard.with_mut(|_| {
            // SAFETY: the caller vouches for it; whatever the storage had is forgotten.
            unsafe { self.storage::<Outcome<T>>().write(outcome) }
        });
    }

    /// Puts the outcome where the state says: into the storage, or beside it.
    ///
    /// # Safety
    /// `T` is the type of the cell's outcome. The caller owns WRITING, and there is no outcome yet.
    pub(super) unsafe fn write<T>(&self, outcome: Outcome<T>) {
        if self.state() & ASIDE == 0 {
            // SAFETY: without ASIDE the winner of WRITING owns the storage, whose work it has dropped.
            return unsafe { self.write_inside(outcome) };
        }
        let aside: Box<Aside<T>> = Box::new(UnsafeCell::new(outcome));
        // Read by those who have seen the outcome in the state.
        self.extras_or_new().aside.store(Box::into_raw(aside).cast(), Ordering::Release);
    }

    /// Moves the outcome out of the storage, whatever is ASIDE.
    ///
    /// # Safety
    /// `T` is the type of the cell's outcome, which `write_inside` has put there, and the caller owns the storage.
    pub(super) unsafe fn read_inside<T>(&self) -> Outcome<T> {
        self.guard.with_mut(|_| {
            // SAFETY: the caller vouches for it, and for not using it twice.
            unsafe { self.storage::<Outcome<T>>().read() }
        })
    }

    /// Uses the outcome.
    ///
    /// # Safety
    /// `T` is the type of the cell's outcome, which has been written (the state is behind WRITING).
    pub(super) unsafe fn with_outcome<T, R>(&self, f: impl FnOnce(*mut Outcome<T>) -> R) -> R {
        match NonNull::new(self.aside::<T>()) {
            None => self.guard.with_mut(|_| f(self.storage())),
            // SAFETY: it is freed with the cell.
            Some(aside) => unsafe { aside.as_ref() }.with_mut(f),
        }
    }

    /// The same for those who may do so together.
    ///
    /// # Safety
    /// As for `with_outcome`.
    pub(super) unsafe fn with_shared_outcome<T, R>(&self, f: impl FnOnce(*const Outcome<T>) -> R) -> R {
        match NonNull::new(self.aside::<T>()) {
            None => self.guard.with(|_| f(self.storage())),
            // SAFETY: it is freed with the cell.
            Some(aside) => unsafe { aside.as_ref() }.with(f),
        }
    }

    /// Where the outcome is if not in the storage.
    fn aside<T>(&self) -> *mut Aside<T> {
        match self.extras() {
            Some(extras) if self.state() & ASIDE != 0 => extras.aside.load(Ordering::Acquire).cast(),
            _ => null_mut(),
        }
    }

    /// Frees what is beside the storage.
    ///
    /// # Safety
    /// `T` is the type of the cell's outcome, and nobody uses the cell any more.
    pub(super) unsafe fn drop_aside<T>(&self) {
        if let Some(aside) = NonNull::new(self.aside::<T>()) {
            // SAFETY: `write` has made it of a box of this type; it is freed once, with the cell.
            drop(unsafe { Box::from_raw(aside.as_ptr()) });
        }
    }
}
