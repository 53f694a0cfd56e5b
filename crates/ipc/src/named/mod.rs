//! Bytes that processes share and write: with a name, by which any process can open them, or without one. `README.md` beside this
//! file says what there is in the file system, and how nothing is left behind.

mod name;
mod registry;
#[cfg(test)]
mod tests;
pub mod tracker;
mod travel;

use self::name::Name;
use self::registry::Object;
use crate::bounds::bounds;
use crate::words::Words;
use concurrent_futures_core::attach::Attachment;
use std::fmt;
use std::io;
use std::ops::{Range, RangeBounds};
use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Bytes of shared memory that any process may read and write: Python's `multiprocessing.shared_memory.SharedMemory`.
///
/// A handle is cheap to clone, and travels as or in the argument or the result of a task. With a [name](Self::create) it can also be
/// [opened](Self::open) by any program of the same user that knows the name; Python's and this are the same memory.
///
/// What others may write at any time cannot be a slice of Rust. So bytes are copied in and out ([`read`](Self::read),
/// [`read_at`](Self::read_at), [`write_at`](Self::write_at), [`fill`](Self::fill)), or looked at as [`words`](Self::words), which
/// are atomics. Each of the aligned eight bytes is read and written in one piece; what is longer may be read while somebody else has
/// written a part of it. Where that matters, let there be a lock beside it, or take an `Array` or a `ShareableList`, which have
/// one.
///
/// ```
/// use concurrent_futures_ipc::named::SharedMemory;
///
/// let memory = SharedMemory::create(None, 64)?; // a name nobody has
/// memory.write_at(3, b"howdy");
///
/// let there = SharedMemory::open(memory.name().expect("it has one"))?; // in any process
/// assert_eq!(there.read(3..8), b"howdy");
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # When it goes
///
/// The memory is zeroed when it is made and given back when no process has it any more. The *name* goes with the last handle that any
/// process has of it, also when they are killed; so nothing is left behind. [`unlink`](Self::unlink) takes it away earlier, and with
/// [`untrack`](Self::untrack) it stays until somebody does. Dropping a handle unmaps the memory when it is the last one of this
/// process. The kernel counts the handles; what it cannot do is to remove the name when the last process is killed: this is done by a
/// small process that the first named memory starts, and if that is killed as well, by the next program that makes or opens named
/// memory.
///
/// # Whom it trusts
///
/// Anonymous memory has a size that nobody can change. The size of named memory is that of a file which only programs of the same
/// user can open. One that makes it smaller (nothing in this crate does) takes the pages away, and who touches them then gets a
/// SIGBUS, as with any file that is mapped.
#[derive(Clone)]
pub struct SharedMemory {
    memory: Arc<crate::SharedMemory>,
    object: Option<Object>,
}

impl SharedMemory {
    /// New memory without a name: it is shared by sending it to others.
    ///
    /// ```
    /// use concurrent_futures_ipc::named::SharedMemory;
    ///
    /// let memory = SharedMemory::anonymous(100)?;
    /// assert_eq!((memory.size(), memory.name()), (100, None));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidInput`: no size; those of the system: no descriptor is left, or no memory.
    pub fn anonymous(size: usize) -> io::Result<Self> {
        check_size(size)?;
        Ok(Self::unnamed(Arc::new(crate::SharedMemory::create(size)?)))
    }

    /// New memory with this name, or with `None` a new one. Only programs of this user can open it.
    ///
    /// It is there with its whole size, zeroed, or not at all: who opens it never finds it half made.
    ///
    /// ```
    /// use concurrent_futures_ipc::named::SharedMemory;
    /// use std::io::ErrorKind;
    ///
    /// # let name = format!("counter-{}", std::process::id());
    /// let counter = SharedMemory::create(name.as_str(), 8)?;
    /// let error = SharedMemory::create(name.as_str(), 8).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// `AlreadyExists`: some memory has that name. `InvalidInput`: no size, or a name that is none of a file (empty, with a zero or
    /// with a slash behind its start, longer than 238 bytes), or begins with `.concurrent-futures-`.
    /// `StorageFull`: `/dev/shm` has not so much room. Those of the system.
    pub fn create<'a>(name: impl Into<Option<&'a str>>, size: usize) -> io::Result<Self> {
        Self::create_with(name.into(), size, None)
    }

    /// The same; `prepare` fills it before anybody can open it.
    pub(crate) fn create_with(
        name: Option<&str>,
        size: usize,
        prepare: Option<&dyn Fn(Arc<crate::SharedMemory>) -> io::Result<()>>,
    ) -> io::Result<Self> {
        check_size(size)?;
        let given = name.map(Name::new).transpose()?;
        registry::scavenge_in_time();
        loop {
            let name = given.clone().unwrap_or_else(Name::at_random);
            let fill = |fd: &OwnedFd| {
                let Some(prepare) = prepare else { return Ok(()) };
                // A mapping for this alone: the handle that will have the object removes it at its end.
                prepare(Arc::new(crate::SharedMemory::of_file(Attachment::new(fd.try_clone()?), size)?))
            };
            match registry::create(&name, size, fill, tracker::announce) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && given.is_none() => {}
                Ok((fd, object)) => return Self::of(fd, object, size),
                Err(error) => return Err(error),
            }
        }
    }

    /// The memory that has this name.
    ///
    /// ```
    /// use concurrent_futures_ipc::named::SharedMemory;
    ///
    /// let error = SharedMemory::open("nobody has made this").unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    /// ```
    ///
    /// # Errors
    /// `NotFound`: there is none. `InvalidData`: what has the name is no memory, or has no size (another program is just making it).
    /// `InvalidInput`: no name at all, as of [`create`](Self::create). Those of the system: that of another user cannot be opened.
    pub fn open(name: &str) -> io::Result<Self> {
        let (fd, object, size) = registry::open_by_name(&Name::new(name)?)?;
        Self::of(fd, object, size)
    }

    fn of(fd: OwnedFd, object: Object, size: usize) -> io::Result<Self> {
        let last = object.clone();
        // Whether others have it is known when this process does not have it any more, and no message of it. What cannot be removed
        // now is removed by others.
        let fd = Attachment::with_end(fd, move || drop(last.remove_if_left(false)));
        Ok(SharedMemory { memory: Arc::new(crate::SharedMemory::of_file(fd, size)?), object: Some(object) })
    }

    /// Its name, by which others can open it; `None`: it is anonymous.
    pub fn name(&self) -> Option<&str> {
        self.object.as_ref().map(|object| object.name.as_str())
    }

    /// How many bytes it has.
    pub fn size(&self) -> usize {
        self.memory.len()
    }

    /// Takes its name away: nobody can open it any more. Those who have it keep it.
    ///
    /// ```
    /// use concurrent_futures_ipc::named::SharedMemory;
    ///
    /// let memory = SharedMemory::create(None, 8)?;
    /// memory.unlink()?;
    /// assert!(SharedMemory::open(memory.name().expect("the one it had")).is_err());
    /// memory.write_at(0, b"it is still there"[..8].as_ref());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound`: it has lost its name already, or never had one. Those of the system.
    pub fn unlink(&self) -> io::Result<()> {
        match &self.object {
            Some(object) => object.unlink(),
            None => Err(io::Error::new(io::ErrorKind::NotFound, "anonymous shared memory has no name")),
        }
    }

    /// From now on the name, and the memory with it, stays until somebody calls [`unlink`](Self::unlink) or the machine is
    /// shut down, also when no process has it: Python's `track=False`. Nothing happens when it is anonymous, or was made by others.
    ///
    /// ```
    /// use concurrent_futures_ipc::named::SharedMemory;
    ///
    /// let memory = SharedMemory::create(None, 8)?;
    /// let name = memory.name().expect("it has one").to_owned();
    /// memory.untrack()?;
    /// drop(memory);
    /// SharedMemory::open(&name)?.unlink()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of the system.
    pub fn untrack(&self) -> io::Result<()> {
        self.object.as_ref().map_or(Ok(()), Object::remove_entry)
    }

    /// A copy of some of its bytes.
    ///
    /// ```
    /// use concurrent_futures_ipc::named::SharedMemory;
    ///
    /// let memory = SharedMemory::anonymous(4)?;
    /// memory.fill(1..3, 7);
    /// assert_eq!(memory.read(..), [0, 7, 7, 0]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Panics
    /// The range is not within the memory.
    #[track_caller]
    pub fn read(&self, range: impl RangeBounds<usize>) -> Vec<u8> {
        let (at, len) = self.part(range);
        self.bytes().to_vec(at, len)
    }

    /// Copies from `at` on to a slice.
    ///
    /// ```
    /// use concurrent_futures_ipc::named::SharedMemory;
    ///
    /// let memory = SharedMemory::anonymous(8)?;
    /// memory.write_at(0, &7_u64.to_ne_bytes());
    /// let mut number = [0; 8];
    /// memory.read_at(0, &mut number);
    /// assert_eq!(u64::from_ne_bytes(number), 7);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Panics
    /// That is not within the memory.
    #[track_caller]
    pub fn read_at(&self, at: usize, to: &mut [u8]) {
        self.bytes().read(at, to);
    }

    /// Copies a slice to where it begins `at` bytes behind the start. Bytes beside it stay as they are, whoever writes them meanwhile.
    ///
    /// # Panics
    /// That is not within the memory.
    #[track_caller]
    pub fn write_at(&self, at: usize, from: &[u8]) {
        self.bytes().write(at, from);
    }

    /// Writes the same byte everywhere in a range.
    ///
    /// # Panics
    /// The range is not within the memory.
    #[track_caller]
    pub fn fill(&self, range: impl RangeBounds<usize>, byte: u8) {
        let (at, len) = self.part(range);
        self.bytes().fill(at, len, byte);
    }

    /// Its whole words: eight bytes each, in the order of this machine's bytes.
    ///
    /// ```
    /// use concurrent_futures_ipc::named::SharedMemory;
    /// use std::sync::atomic::Ordering::Relaxed;
    ///
    /// let memory = SharedMemory::anonymous(20)?;
    /// memory.words()[1].fetch_add(5, Relaxed);
    /// assert_eq!((memory.words().len(), &memory.read(8..16)[..]), (2, &5_u64.to_ne_bytes()[..]));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn words(&self) -> &[AtomicU64] {
        self.bytes().whole()
    }

    /// Where it begins: at the start of a page, mapped to be read and written for [`size`](Self::size) bytes, as long as a handle of
    /// this lives in this process. To read or write through it plainly is sound only under the conditions of
    /// [`as_slice`](Self::as_slice).
    pub fn as_ptr(&self) -> NonNull<u8> {
        self.memory.start()
    }

    /// Its bytes in place.
    ///
    /// # Safety
    /// As long as the slice is used, no process and no thread writes to the memory. The kernel cannot see to that; make it
    /// the rule of the program, for example that whoever has filled it tells the others only then.
    ///
    /// ```
    /// use concurrent_futures_ipc::named::SharedMemory;
    ///
    /// let memory = SharedMemory::anonymous(8)?;
    /// memory.fill(.., b'x');
    /// // SAFETY: nobody else has it.
    /// let bytes = unsafe { memory.as_slice() };
    /// assert_eq!(bytes, b"xxxxxxxx");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub unsafe fn as_slice(&self) -> &[u8] {
        // SAFETY: mapped as long as the borrow, any bytes are valid, and nobody writes to it, says the caller.
        unsafe { std::slice::from_raw_parts(self.as_ptr().as_ptr(), self.size()) }
    }

    /// The memory for what is built of it.
    pub(crate) fn memory(&self) -> &Arc<crate::SharedMemory> {
        &self.memory
    }

    /// Memory that has no name, or none yet.
    pub(crate) fn unnamed(memory: Arc<crate::SharedMemory>) -> Self {
        SharedMemory { memory, object: None }
    }

    pub(crate) fn bytes(&self) -> Words<'_> {
        // SAFETY: a mapping begins with a page and has whole pages, and lives as long as the borrow. Nothing in this crate accesses
        // it otherwise; users can by unsafe means alone, whose conditions are said there.
        unsafe { Words::new(self.memory.start(), self.memory.len()) }
    }

    /// Where a range begins, and how long it is.
    #[track_caller]
    fn part(&self, range: impl RangeBounds<usize>) -> (usize, usize) {
        let Range { start: from, end: to } = bounds(range, self.size());
        assert!(from <= to && to <= self.size(), "{from}..{to} is not within {} bytes of shared memory", self.size());
        (from, to - from)
    }
}

/// Removes the names that nobody has any more, which programs of this user have left that were killed; how many names
/// that others have there are. It is done now and then by itself.
///
/// ```
/// concurrent_futures_ipc::named::scavenge()?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// Those of the system.
pub fn scavenge() -> io::Result<usize> {
    registry::scavenge()
}

fn check_size(size: usize) -> io::Result<()> {
    match isize::try_from(size) {
        Ok(1..) => Ok(()),
        Ok(_) => Err(io::Error::new(io::ErrorKind::InvalidInput, "shared memory must have a size above zero")),
        Err(_) => Err(io::ErrorKind::OutOfMemory.into()),
    }
}

impl fmt::Debug for SharedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedMemory").field("name", &self.name()).field("size", &self.size()).finish()
    }
}
