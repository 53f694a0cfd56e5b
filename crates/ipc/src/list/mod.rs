//! A list of a fixed length that processes share: [`ShareableList`].
//!
//! # In memory
//!
//! | words of eight bytes | what |
//! |---|---|
//! | 0..8 | the lock: a robust, recursive mutex |
//! | 8 | a mark: this is a list |
//! | 9 | how many elements it has |
//! | 10 | a holder of the lock has died, and nobody was told who would do something about it |
//! | 16.. | the room of each element, in bytes |
//! | then, for each element | its state (`turn`, type, length), and two places of that room |
//!
//! An element is written, under the lock, into the place that is not in use; then one store of the state makes it the element. So whoever
//! is killed, at any instant, leaves the old one or the new one, whole.
//!
//! Mark, count and rooms are looked at once, when a process opens the list, and must fit into the memory; later changes of them have no
//! effect. A state is checked each time it is read. So bytes that make no sense give an error, whoever has written them; only the lock's
//! are libc's business (`sync/README.md`).

mod item;
mod layout;
#[cfg(test)]
mod tests;

pub use item::Item;

use self::item::Tag;
use self::layout::Slot;
use crate::named::SharedMemory;
use crate::sync::{Held, Kind, OwnerDied, RobustMutex};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::error::Error;
use std::fmt;
use std::io;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

/// A list of numbers, texts and bytes in shared memory, whose elements can be changed and whose length cannot: Python's
/// `multiprocessing.shared_memory.ShareableList`.
///
/// A handle is cheap to clone, and travels as or in the argument or the result of a task or the argument of a process. An element may
/// become one of another type; one that begins as a text or as bytes has room for up to seven bytes more than it had, the others for eight
/// bytes.
///
/// Every read and every write of an element is of one moment, by a lock that is inside; for several of them together there is
/// [`lock`](Self::lock). Whoever is killed, at any instant, leaves each element as it was or as it should become, and keeps nobody out.
///
/// ```
/// use concurrent_futures_ipc::ShareableList;
/// use concurrent_futures_ipc::list::Item;
///
/// let list = ShareableList::new([
///     "howdy".into(), b"HoWdY".into(), (-273.154).into(), 100.into(), Item::None, true.into(), 42.into(),
/// ])?;
/// list.set(2, -78.5)?;
/// list.set(3, "dry ice")?; // no more than eight bytes
/// assert!(list.set(4, "larger than it may be").is_err());
/// assert_eq!((list.len(), list.get(2)?, list.get(3)?), (7, Item::Float(-78.5), "dry ice".into()));
/// assert_eq!((list.index(&42.into())?, list.count(&Item::None)?), (Some(6), 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// For the name of one that has one, and when it goes, see [`SharedMemory`].
#[derive(Clone)]
pub struct ShareableList {
    memory: SharedMemory,
    lock: Arc<RobustMutex>,
    slots: Arc<[Slot]>,
}

/// Why an element cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListError {
    /// There is no element of this number.
    NoSuchElement {
        /// The number.
        index: usize,
        /// How many there are.
        len: usize,
    },
    /// It is larger than the element can be.
    TooLarge {
        /// Of what it should become, in bytes.
        size: usize,
        /// What there is room for.
        room: usize,
    },
    /// What is there makes no sense: somebody has written to the memory who does not know what it is.
    Corrupt {
        /// The number of the element.
        index: usize,
    },
}

/// The list is this thread's until this is dropped.
#[must_use = "the list is unlocked when this is dropped"]
#[derive(Debug)]
pub struct ListGuard<'a> {
    list: &'a ShareableList,
    _held: Held<'a>,
}

impl ShareableList {
    /// A new one without a name: it is shared by sending it to others.
    ///
    /// ```
    /// use concurrent_futures_ipc::ShareableList;
    ///
    /// let list = ShareableList::new(["a text".into(), 1.into()])?;
    /// assert_eq!(list.get(0)?, "a text".into());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// No descriptor is left, or no memory.
    pub fn new(items: impl IntoIterator<Item = Item>) -> io::Result<Self> {
        let items: Vec<Item> = items.into_iter().collect();
        let (slots, size) = layout::plan(&items)?;
        let memory = SharedMemory::anonymous(size)?;
        Self::fill(memory.memory().clone(), &slots, &items)?;
        Self::with_slots(memory, slots)
    }

    /// A new one with this name, or with `None` a new name.
    ///
    /// ```
    /// use concurrent_futures_ipc::ShareableList;
    ///
    /// let list = ShareableList::create(None, [1.into(), 2.into()])?;
    /// let same = ShareableList::open(list.name().expect("it has one"))?; // in any process
    /// same.set(1, 3)?;
    /// assert_eq!(list.get(1)?, 3.into());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As of [`SharedMemory::create`].
    pub fn create<'a>(name: impl Into<Option<&'a str>>, items: impl IntoIterator<Item = Item>) -> io::Result<Self> {
        let items: Vec<Item> = items.into_iter().collect();
        let (slots, size) = layout::plan(&items)?;
        let fill = |memory| Self::fill(memory, &slots, &items);
        let memory = SharedMemory::create_with(name.into(), size, Some(&fill))?;
        Self::with_slots(memory, slots)
    }

    /// The list that has this name.
    ///
    /// ```
    /// use concurrent_futures_ipc::ShareableList;
    ///
    /// let error = ShareableList::open("nobody has made this").unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// As of [`SharedMemory::open`]; `InvalidData`: what has this name is no list.
    pub fn open(name: &str) -> io::Result<Self> {
        Self::of(SharedMemory::open(name)?)
    }

    fn of(memory: SharedMemory) -> io::Result<Self> {
        let wrong = || io::Error::new(io::ErrorKind::InvalidData, "the shared memory is no ShareableList");
        let slots = layout::read(memory.bytes()).ok_or_else(wrong)?;
        Self::with_slots(memory, slots)
    }

    fn with_slots(memory: SharedMemory, slots: Vec<Slot>) -> io::Result<Self> {
        // SAFETY: it has the mark of memory in which `fill` has made one.
        let lock = unsafe { RobustMutex::open(memory.memory().clone(), 0, Kind::Recursive) };
        Ok(ShareableList { memory, lock: Arc::new(lock), slots: slots.into() })
    }

    /// Makes the list in new memory that nobody else can have yet.
    fn fill(memory: Arc<crate::SharedMemory>, slots: &[Slot], items: &[Item]) -> io::Result<()> {
        // SAFETY: new memory, whose beginning is kept for it.
        drop(unsafe { RobustMutex::init(memory.clone(), 0, Kind::Recursive) }?);
        let memory = SharedMemory::unnamed(memory);
        for (slot, item) in slots.iter().zip(items) {
            write(&memory, *slot, item);
        }
        layout::write(memory.bytes(), slots);
        Ok(())
    }

    /// Its name, by which others can open it; `None`: it has none.
    ///
    /// ```
    /// use concurrent_futures_ipc::ShareableList;
    ///
    /// assert_eq!(ShareableList::new([])?.name(), None);
    /// assert!(ShareableList::create(None, [1.into()])?.name().is_some());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn name(&self) -> Option<&str> {
        self.memory.name()
    }

    /// As [`SharedMemory::unlink`].
    ///
    /// ```
    /// use concurrent_futures_ipc::ShareableList;
    ///
    /// let list = ShareableList::create(None, [1.into()])?;
    /// list.unlink()?;
    /// assert!(ShareableList::open(list.name().expect("the one it had")).is_err());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound`: it has lost its name already, or never had one. Those of the system.
    pub fn unlink(&self) -> io::Result<()> {
        self.memory.unlink()
    }

    /// As [`SharedMemory::untrack`].
    ///
    /// ```
    /// use concurrent_futures_ipc::ShareableList;
    ///
    /// let list = ShareableList::create(None, [1.into()])?;
    /// let name = list.name().expect("it has one").to_owned();
    /// list.untrack()?;
    /// drop(list);
    /// ShareableList::open(&name)?.unlink()?; // it was there still
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of the system.
    pub fn untrack(&self) -> io::Result<()> {
        self.memory.untrack()
    }

    /// How many elements it has.
    ///
    /// ```
    /// use concurrent_futures_ipc::ShareableList;
    ///
    /// assert_eq!(ShareableList::new([1.into(), 2.into()])?.len(), 2);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether it has none.
    ///
    /// ```
    /// use concurrent_futures_ipc::ShareableList;
    ///
    /// assert!(ShareableList::new([])?.is_empty());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// A copy of an element.
    ///
    /// ```
    /// use concurrent_futures_ipc::ShareableList;
    /// use concurrent_futures_ipc::list::{Item, ListError};
    ///
    /// let list = ShareableList::new([true.into()])?;
    /// assert_eq!(list.get(0), Ok(Item::Bool(true)));
    /// assert_eq!(list.get(1), Err(ListError::NoSuchElement { index: 1, len: 1 }));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// There is none of that number; what is there makes no sense.
    pub fn get(&self, index: usize) -> Result<Item, ListError> {
        let slot = self.slot(index)?;
        let _held = self.lock_briefly();
        self.read(index, slot)
    }

    /// Makes an element something else, of whatever type.
    ///
    /// ```
    /// use concurrent_futures_ipc::ShareableList;
    ///
    /// let list = ShareableList::new([1.into()])?;
    /// list.set(0, "a text")?;
    /// assert!(list.set(0, "too long a text").is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// There is none of that number; it is too large. Nothing has changed then.
    pub fn set(&self, index: usize, item: impl Into<Item>) -> Result<(), ListError> {
        self.replace(index, item.into()).map(drop)
    }

    /// Makes of an element what `f` makes of it, and gives what it is then. It is locked meanwhile.
    ///
    /// ```
    /// use concurrent_futures_ipc::ShareableList;
    /// use concurrent_futures_ipc::list::Item;
    ///
    /// let list = ShareableList::new([1.into()])?;
    /// list.update(0, |item| match item {
    ///     Item::Int(n) => (n + 1).into(),
    ///     other => other,
    /// })?;
    /// assert_eq!(list.get(0)?, 2.into());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As of [`get`](Self::get) and [`set`](Self::set). Nothing has changed then.
    pub fn update(&self, index: usize, f: impl FnOnce(Item) -> Item) -> Result<Item, ListError> {
        let slot = self.slot(index)?;
        let _held = self.lock_briefly();
        let item = f(self.read(index, slot)?);
        check_room(slot, &item)?;
        write(&self.memory, slot, &item);
        Ok(item)
    }

    fn replace(&self, index: usize, item: Item) -> Result<(), ListError> {
        let slot = self.slot(index)?;
        check_room(slot, &item)?;
        let _held = self.lock_briefly();
        write(&self.memory, slot, &item);
        Ok(())
    }

    /// How many bytes a text may have that an element becomes.
    ///
    /// ```
    /// use concurrent_futures_ipc::ShareableList;
    ///
    /// assert_eq!(ShareableList::new([1.into()])?.room(0), Ok(8));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// There is none of that number.
    pub fn room(&self, index: usize) -> Result<usize, ListError> {
        self.slot(index).map(|slot| slot.room)
    }

    /// A copy of all elements, of one moment.
    ///
    /// ```
    /// use concurrent_futures_ipc::ShareableList;
    ///
    /// let list = ShareableList::new([1.into(), "one".into()])?;
    /// assert_eq!(list.to_vec()?, [1.into(), "one".into()]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// What is there makes no sense.
    pub fn to_vec(&self) -> Result<Vec<Item>, ListError> {
        let _held = self.lock_briefly();
        self.slots.iter().enumerate().map(|(index, slot)| self.read(index, *slot)).collect()
    }

    /// All elements, each as it is when its turn comes.
    ///
    /// ```
    /// use concurrent_futures_ipc::ShareableList;
    ///
    /// let list = ShareableList::new([1.into(), "one".into()])?;
    /// for item in list.iter() {
    ///     println!("{:?}", item?);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Result<Item, ListError>> + '_ {
        (0..self.len()).map(|index| self.get(index))
    }

    /// How many elements are like this one.
    ///
    /// ```
    /// use concurrent_futures_ipc::ShareableList;
    ///
    /// let list = ShareableList::new([1.into(), 2.into(), 1.into()])?;
    /// assert_eq!(list.count(&1.into()), Ok(2));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// As of [`to_vec`](Self::to_vec).
    pub fn count(&self, item: &Item) -> Result<usize, ListError> {
        Ok(self.to_vec()?.iter().filter(|other| *other == item).count())
    }

    /// The first element that is like this one.
    ///
    /// ```
    /// use concurrent_futures_ipc::ShareableList;
    ///
    /// let list = ShareableList::new([1.into(), 2.into(), 1.into()])?;
    /// assert_eq!((list.index(&2.into()), list.index(&3.into())), (Ok(Some(1)), Ok(None)));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// As of [`to_vec`](Self::to_vec).
    pub fn index(&self, item: &Item) -> Result<Option<usize>, ListError> {
        Ok(self.to_vec()?.iter().position(|other| other == item))
    }

    /// Locks the list for several reads and writes, however long that takes. The thread that has it locked can use it as ever.
    ///
    /// ```
    /// use concurrent_futures_ipc::{OwnerDied, ShareableList};
    ///
    /// let list = ShareableList::new([1.into(), 2.into()])?;
    /// let both = list.lock().unwrap_or_else(OwnerDied::into_guard);
    /// let (first, second) = (both.get(0)?, both.get(1)?);
    /// both.set(0, second)?;
    /// both.set(1, first)?;
    /// drop(both);
    /// assert_eq!(list.get(0)?, 2.into());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// It is locked, but whoever had it locked before has died with it.
    pub fn lock(&self) -> Result<ListGuard<'_>, OwnerDied<ListGuard<'_>>> {
        let held = self.lock.lock();
        let died = self.died().swap(0, Relaxed) != 0 || held.owner_died();
        let guard = ListGuard { list: self, _held: held };
        if died { Err(OwnerDied(guard)) } else { Ok(guard) }
    }

    /// For one operation, which leaves nothing half done, and finds nothing so.
    fn lock_briefly(&self) -> Held<'_> {
        let held = self.lock.lock();
        if held.owner_died() {
            self.died().store(1, Relaxed);
        }
        held
    }

    fn died(&self) -> &AtomicU64 {
        &self.memory.words()[layout::DIED_AT]
    }

    fn slot(&self, index: usize) -> Result<Slot, ListError> {
        self.slots.get(index).copied().ok_or(ListError::NoSuchElement { index, len: self.len() })
    }

    /// By whoever has it locked.
    fn read(&self, index: usize, slot: Slot) -> Result<Item, ListError> {
        let state = State::of(self.memory.words()[slot.state].load(SeqCst));
        let corrupt = ListError::Corrupt { index };
        let (Some(tag), Some(len)) = (state.tag, state.len.filter(|len| *len <= slot.room)) else {
            return Err(corrupt);
        };
        let place = slot.place(state.turn);
        Item::decode(tag, self.memory.read(place..place + len)).ok_or(corrupt)
    }
}

/// By whoever has it locked, or alone. There is room for it.
fn write(memory: &SharedMemory, slot: Slot, item: &Item) {
    let word = &memory.words()[slot.state];
    let turn = 1 - State::of(word.load(SeqCst)).turn;
    item.encode(|tag, bytes| {
        memory.write_at(slot.place(turn), bytes);
        // From now on it is this one.
        word.store(State { turn, tag: Some(tag), len: Some(bytes.len()) }.to_word(), SeqCst);
    });
}

fn check_room(slot: Slot, item: &Item) -> Result<(), ListError> {
    match item.encode(|_, bytes| bytes.len()) {
        size if size > slot.room => Err(ListError::TooLarge { size, room: slot.room }),
        _ => Ok(()),
    }
}

/// What is in an element: in the lowest bit which of its places, then seven bits of type, then the length.
#[derive(Clone, Copy, Debug)]
struct State {
    turn: usize,
    tag: Option<Tag>,
    len: Option<usize>,
}

impl State {
    fn of(word: u64) -> State {
        State { turn: (word & 1) as usize, tag: Tag::of(word >> 1 & 0x7f), len: usize::try_from(word >> 8).ok() }
    }

    fn to_word(self) -> u64 {
        let (tag, len) = (self.tag.map_or(0, |tag| tag as u64), self.len.unwrap_or(0) as u64);
        self.turn as u64 | tag << 1 | len << 8
    }
}

impl Deref for ListGuard<'_> {
    type Target = ShareableList;

    fn deref(&self) -> &ShareableList {
        self.list
    }
}

impl Serialize for ShareableList {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.memory.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ShareableList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        ShareableList::of(SharedMemory::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl fmt::Debug for ShareableList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not what is in it: that would wait for the lock.
        f.debug_struct("ShareableList").field("name", &self.name()).field("len", &self.len()).finish_non_exhaustive()
    }
}

impl fmt::Display for ListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListError::NoSuchElement { index, len } => write!(f, "there is no element {index} in a list of {len}"),
            ListError::TooLarge { size, room } => write!(
                f,
                "{size} bytes exceed the {room} bytes that the element has room for, since it was made with no more"
            ),
            ListError::Corrupt { index } => {
                write!(f, "element {index} of the list makes no sense: somebody else has written to its memory")
            }
        }
    }
}

impl Error for ListError {}
