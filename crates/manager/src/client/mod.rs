//! The processes that use a server.

mod address;
mod connection;
mod raw;

pub(crate) use address::{Address, Remote};
#[cfg(test)]
pub(crate) use connection::copy_of_connection;
pub(crate) use connection::{Asking, Patience, Response, ask};
pub use raw::RawHandle;

use crate::entry::{Initial, Maker, Method, encode_for};
use crate::error::ManagerError;
use crate::handles::{
    Handle, ManagedArray, ManagedBarrier, ManagedCondition, ManagedDict, ManagedEvent, ManagedList, ManagedLock,
    ManagedNamespace, ManagedObject, ManagedQueue, ManagedRLock, ManagedSemaphore, ManagedSet, ManagedValue, makers,
};
use crate::nesting::Outgoing;
use crate::wire::auth::{Key, ServerId};
use crate::wire::{Kind, Op, WAIT};
use concurrent_futures_core::Portable;
use concurrent_futures_core::attach::{self, AttachError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser};
use std::fmt;
use std::hash::Hash;
use std::net::ToSocketAddrs;
use std::sync::Arc;

/// A way to a manager's server: it makes objects there, and finds those that were published.
///
/// A [`Manager`](crate::Manager) derefs to one. A clone travels as argument of tasks and processes, so these can make objects, too.
/// Unlike the `Manager` it does not end the server, nor keep it alive.
///
/// ```
/// use concurrent_futures_manager::{ManagedList, Manager, ManagerClient};
/// use concurrent_futures_process::Process;
///
/// fn child(manager: ManagerClient) {
///     let list: ManagedList<u32> = manager.list([1, 2, 3]).expect("the manager is there");
///     manager.publish("numbers", &list).expect("the manager is there");
/// }
///
/// let manager = Manager::new()?;
/// assert!(Process::start(child, manager.client())?.join()?.success());
/// let list: ManagedList<u32> = manager.lookup("numbers")?;
/// assert_eq!(list.to_vec()?, [1, 2, 3]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ManagerClient(Arc<Remote>);

impl ManagerClient {
    pub(crate) fn of(remote: Arc<Remote>) -> Self {
        ManagerClient(remote)
    }

    #[cfg(test)]
    pub(crate) fn remote(&self) -> &Arc<Remote> {
        &self.0
    }

    /// Finds the manager that [listens](crate::ManagerBuilder::listen) at that address. Both sides prove that they know the key.
    ///
    /// It must run this very build of this program. Who knows the key can call any function that the program calls through
    /// handles; nothing is encrypted: for networks of one's own.
    ///
    /// ```
    /// use concurrent_futures_manager::{ManagedList, Manager, ManagerClient};
    ///
    /// let manager = Manager::builder().listen("127.0.0.1:0", b"a secret").start()?;
    /// manager.publish("numbers", &manager.list([1_u32])?)?;
    /// let address = manager.address().expect("it listens");
    ///
    /// // In another process, on this machine or another one:
    /// let remote = ManagerClient::connect(address, b"a secret")?;
    /// let numbers: ManagedList<u32> = remote.lookup("numbers")?;
    /// numbers.push(2)?;
    /// assert_eq!(numbers.to_vec()?, [1, 2]);
    ///
    /// assert!(ManagerClient::connect(address, b"a guess").is_err());
    /// # Ok::<(), concurrent_futures_manager::ManagerError>(())
    /// ```
    ///
    /// # Errors
    /// Nobody is there, or no manager; one side does not have the other's key; the key is empty; it is another build.
    pub fn connect(address: impl ToSocketAddrs, key: &[u8]) -> Result<Self, ManagerError> {
        let key = Key::new(key).ok_or_else(|| ManagerError::Invalid("an empty key is none".to_owned()))?;
        let addresses = address.to_socket_addrs().map_err(ManagerError::Gone)?;
        let mut last = ManagerError::Invalid("the name has no address".to_owned());
        for address in addresses {
            match Remote::find(Address::Tcp(address), key.clone()) {
                Ok(remote) => return Ok(ManagerClient(remote)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// A list.
    ///
    /// # Errors
    /// The server is gone; an element cannot be sent.
    pub fn list<T: Portable>(&self, elements: impl IntoIterator<Item = T>) -> Result<ManagedList<T>, ManagerError> {
        let elements: Vec<T> = elements.into_iter().collect();
        self.make::<makers::Itself<Vec<T>>>(&elements).map(ManagedList::of)
    }

    /// A dictionary.
    ///
    /// # Errors
    /// The server is gone; a key or value cannot be sent.
    pub fn dict<K, V>(&self, entries: impl IntoIterator<Item = (K, V)>) -> Result<ManagedDict<K, V>, ManagerError>
    where
        K: Portable + Eq + Hash,
        V: Portable,
    {
        let entries: Vec<(K, V)> = entries.into_iter().collect();
        self.make::<makers::Dict<K, V>>(&entries).map(ManagedDict::of)
    }

    /// A set.
    ///
    /// # Errors
    /// The server is gone; an element cannot be sent.
    pub fn set<T: Portable + Eq + Hash>(
        &self,
        elements: impl IntoIterator<Item = T>,
    ) -> Result<ManagedSet<T>, ManagerError> {
        let elements: Vec<T> = elements.into_iter().collect();
        self.make::<makers::Set<T>>(&elements).map(ManagedSet::of)
    }

    /// A namespace: values of any types under names.
    ///
    /// # Errors
    /// The server is gone.
    pub fn namespace(&self) -> Result<ManagedNamespace, ManagerError> {
        self.make::<makers::Namespace>(&()).map(ManagedNamespace::of)
    }

    /// One value.
    ///
    /// # Errors
    /// The server is gone; the value cannot be sent.
    pub fn value<T: Portable>(&self, value: T) -> Result<ManagedValue<T>, ManagerError> {
        self.make::<makers::Itself<T>>(&value).map(ManagedValue::of)
    }

    /// Elements whose number does not change.
    ///
    /// # Errors
    /// The server is gone; an element cannot be sent.
    pub fn array<T: Portable>(&self, elements: impl IntoIterator<Item = T>) -> Result<ManagedArray<T>, ManagerError> {
        let elements: Vec<T> = elements.into_iter().collect();
        self.make::<makers::Array<T>>(&elements).map(ManagedArray::of)
    }

    /// An object of any type: `init(args)` runs in the server.
    ///
    /// `init` is a function or a closure that captures nothing, and so are those that [call](Handle::call) the object. Its destructor runs in
    /// the server, too, in a moment after its last handle has gone. One that takes long keeps other objects from going meanwhile, and
    /// nothing else.
    ///
    /// ```
    /// use concurrent_futures_manager::Manager;
    /// use std::collections::BTreeMap;
    ///
    /// let manager = Manager::new()?;
    /// let map = manager.object(|()| BTreeMap::<String, u64>::new(), ())?;
    /// map.call(|map, key| drop(map.insert(key, 1)), "one".to_owned())?;
    /// assert_eq!(map.call(|map, ()| map.len(), ())?, 1);
    /// # Ok::<(), concurrent_futures_manager::ManagerError>(())
    /// ```
    ///
    /// What captures something cannot travel, and a pointer could point anywhere:
    ///
    /// ```compile_fail
    /// # use concurrent_futures_manager::Manager;
    /// let manager = Manager::new().unwrap();
    /// let captured = 7_u64;
    /// let object = manager.object(move |()| captured, ()).unwrap();
    /// ```
    ///
    /// # Errors
    /// The server is gone; `init` panicked; `args` cannot be sent.
    pub fn object<F, A, T>(&self, init: F, args: A) -> Result<Handle<T>, ManagerError>
    where
        F: Fn(A) -> T + Copy + Send + 'static,
        A: Portable,
        T: Send + 'static,
    {
        let _ = init;
        self.make::<Initial<F, A, T>>(&args).map(Handle::of)
    }

    /// A queue for any number of items.
    ///
    /// # Errors
    /// The server is gone.
    pub fn queue<T: Portable>(&self) -> Result<ManagedQueue<T>, ManagerError> {
        self.new_object(Op::NewQueue, 0, 0).map(ManagedQueue::of)
    }

    /// A queue for at most that many items. Who puts one more waits.
    ///
    /// # Errors
    /// The server is gone; no room for a single item.
    pub fn bounded_queue<T: Portable>(&self, items: usize) -> Result<ManagedQueue<T>, ManagerError> {
        if items == 0 {
            return Err(ManagerError::Invalid("a queue without room".to_owned()));
        }
        self.new_object(Op::NewQueue, 0, items as u64).map(ManagedQueue::of)
    }

    /// A lock.
    ///
    /// # Errors
    /// The server is gone.
    pub fn lock(&self) -> Result<ManagedLock, ManagerError> {
        self.new_object(Op::NewLock, 0, 0).map(ManagedLock::of)
    }

    /// A lock that its owner, a thread, may take again.
    ///
    /// # Errors
    /// The server is gone.
    pub fn rlock(&self) -> Result<ManagedRLock, ManagerError> {
        self.new_object(Op::NewLock, 0, 1).map(ManagedRLock::of)
    }

    /// A semaphore with that many permits, to which more can be added.
    ///
    /// # Errors
    /// The server is gone.
    pub fn semaphore(&self, permits: u32) -> Result<ManagedSemaphore, ManagerError> {
        self.new_object(Op::NewSemaphore, 0, permits.into()).map(ManagedSemaphore::of)
    }

    /// A semaphore that never has more permits than that.
    ///
    /// # Errors
    /// The server is gone.
    pub fn bounded_semaphore(&self, permits: u32) -> Result<ManagedSemaphore, ManagerError> {
        self.new_object(Op::NewSemaphore, WAIT, permits.into()).map(ManagedSemaphore::of)
    }

    /// An event, not set.
    ///
    /// # Errors
    /// The server is gone.
    pub fn event(&self) -> Result<ManagedEvent, ManagerError> {
        self.new_object(Op::NewEvent, 0, 0).map(ManagedEvent::of)
    }

    /// A condition with a reentrant lock of its own.
    ///
    /// # Errors
    /// The server is gone.
    pub fn condition(&self) -> Result<ManagedCondition, ManagerError> {
        let lock = self.new_object(Op::NewLock, 0, 1)?;
        self.condition_of(&lock)
    }

    /// A condition of that lock, which may have several.
    ///
    /// # Errors
    /// The server is gone; the lock is of another manager.
    pub fn condition_with(&self, lock: &ManagedLock) -> Result<ManagedCondition, ManagerError> {
        if lock.raw().server().id() != self.0.id() {
            return Err(ManagerError::Invalid("the lock is of another manager".to_owned()));
        }
        self.condition_of(lock.raw())
    }

    fn condition_of(&self, lock: &RawHandle) -> Result<ManagedCondition, ManagerError> {
        ask(&self.0, Asking::of(Op::NewCondition, lock.object()), Outgoing::default(), Patience::None)
            .and_then(new_one)
            .map(ManagedCondition::of)
    }

    /// A barrier for that many threads.
    ///
    /// # Errors
    /// The server is gone; a barrier for nobody.
    pub fn barrier(&self, parties: u32) -> Result<ManagedBarrier, ManagerError> {
        self.new_object(Op::NewBarrier, 0, parties.into()).map(ManagedBarrier::of)
    }

    /// Gives an object a name, under which others [find](Self::lookup) it. Whatever had the name has it no more. The object stays until
    /// the name is [taken away](Self::unpublish), or the server ends.
    ///
    /// # Errors
    /// The server is gone; the object is of another manager.
    pub fn publish<H: ManagedObject>(&self, name: &str, handle: &H) -> Result<(), ManagerError> {
        let raw = handle.raw_handle();
        if raw.server().id() != self.0.id() {
            return Err(ManagerError::Invalid("the object is of another manager".to_owned()));
        }
        self.ask_by_name(Op::Publish, raw.object(), name).map(drop)
    }

    /// The object that has that name.
    ///
    /// ```
    /// use concurrent_futures_manager::{ManagedList, ManagedLock, Manager, ManagerError};
    ///
    /// let manager = Manager::new()?;
    /// manager.publish("primes", &manager.list([2_u8, 3])?)?;
    /// let primes: ManagedList<u8> = manager.lookup("primes")?;
    /// assert_eq!(primes.len()?, 2);
    /// assert!(matches!(manager.lookup::<ManagedLock>("primes"), Err(ManagerError::WrongType { .. })));
    /// assert!(matches!(manager.lookup::<ManagedLock>("other"), Err(ManagerError::NoSuchName(_))));
    /// # Ok::<(), ManagerError>(())
    /// ```
    ///
    /// # Errors
    /// The server is gone; nothing has that name, or something of another type.
    pub fn lookup<H: ManagedObject>(&self, name: &str) -> Result<H, ManagerError> {
        let found = self.ask_by_name(Op::Lookup, 0, name)?;
        let type_name = String::from_utf8_lossy(&found.value).into_owned();
        let kind = u8::try_from(found.number).ok().and_then(Kind::of);
        if kind != Some(H::kind()) || H::data_type().is_some_and(|expected| expected != type_name) {
            let expected = H::data_type().map_or_else(|| H::kind().to_string(), str::to_owned);
            return Err(ManagerError::WrongType { expected, found: type_name });
        }
        found.into_handle().map(H::from_raw_handle)
    }

    /// Takes a name away from what has it.
    ///
    /// # Errors
    /// The server is gone; nothing has that name.
    pub fn unpublish(&self, name: &str) -> Result<(), ManagerError> {
        self.ask_by_name(Op::Unpublish, 0, name).map(drop)
    }

    /// How many objects there are in the server.
    ///
    /// ```
    /// use concurrent_futures_manager::Manager;
    ///
    /// let manager = Manager::new()?;
    /// let (list, _event) = (manager.list(["a".to_owned()])?, manager.event()?);
    /// assert_eq!(manager.object_count()?, 2);
    /// drop(list); // the server hears of it in a moment
    /// while manager.object_count()? > 1 {}
    /// # Ok::<(), concurrent_futures_manager::ManagerError>(())
    /// ```
    ///
    /// # Errors
    /// The server is gone.
    pub fn object_count(&self) -> Result<usize, ManagerError> {
        let answer = ask(&self.0, Asking::of(Op::Objects, 0), Outgoing::default(), Patience::None)?;
        Ok(answer.map_or(0, |answer| answer.number as usize))
    }

    fn ask_by_name(&self, op: Op, object: u64, name: &str) -> Result<Response, ManagerError> {
        let outgoing = Outgoing { value: name.as_bytes().to_vec(), ..Outgoing::default() };
        match ask(&self.0, Asking::of(op, object), outgoing, Patience::None) {
            Ok(Some(found)) => Ok(found),
            Err(ManagerError::NoSuchName(_)) | Ok(None) => Err(ManagerError::NoSuchName(name.to_owned())),
            Err(other) => Err(other),
        }
    }

    fn make<M: Maker>(&self, args: &impl Serialize) -> Result<RawHandle, ManagerError> {
        let entry = M::ENTRY.offset().map_err(ManagerError::Invalid)?;
        let outgoing = encode_for(self.0.id(), args).map_err(ManagerError::Codec)?;
        ask(&self.0, Asking::of(Op::Make, 0).number(entry), outgoing, Patience::None).and_then(new_one)
    }

    fn new_object(&self, op: Op, flags: u8, number: u64) -> Result<RawHandle, ManagerError> {
        let asking = Asking { flags, ..Asking::of(op, 0).number(number) };
        ask(&self.0, asking, Outgoing::default(), Patience::None).and_then(new_one)
    }
}

fn new_one(answer: Option<Response>) -> Result<RawHandle, ManagerError> {
    answer.ok_or_else(|| ManagerError::Codec("the manager has named no object".to_owned()))?.into_handle()
}

/// Calls a method of an object of data.
pub(crate) fn call<M: Method, R: DeserializeOwned>(
    handle: &RawHandle,
    args: &(impl Serialize + ?Sized),
) -> Result<R, ManagerError> {
    let entry = M::ENTRY.offset().map_err(ManagerError::Invalid)?;
    let outgoing = encode_for(handle.server().id(), args).map_err(ManagerError::Codec)?;
    match handle.ask_with(Op::Call, entry, outgoing, Patience::None) {
        Ok(Some(response)) => response.open(),
        Ok(None) => Err(ManagerError::Codec("the manager has not answered".to_owned())),
        Err(ManagerError::WrongType { found, .. }) => {
            Err(ManagerError::WrongType { expected: std::any::type_name::<M::Object>().to_owned(), found })
        }
        Err(other) => Err(other),
    }
}

#[derive(Serialize, Deserialize)]
struct Message {
    address: Address,
    key: Key,
    server: ServerId,
}

impl Serialize for ManagerClient {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // It has the key in it, which must not get into a file.
        if !attach::is_collecting() {
            return Err(ser::Error::custom(format_args!("a way to a manager: {}", AttachError::NotSending)));
        }
        let (address, key, server) = (self.0.address().clone(), self.0.key().clone(), self.0.id());
        Message { address, key, server }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ManagerClient {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Message { address, key, server } = Message::deserialize(deserializer)?;
        Ok(ManagerClient(Remote::new(address, key, server)))
    }
}

impl fmt::Debug for ManagerClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagerClient").field("address", self.0.address()).finish_non_exhaustive()
    }
}
