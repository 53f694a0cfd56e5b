//! The server's process, and who ends it.

use crate::client::{Address, ManagerClient, Remote};
use crate::entry::conjure;
use crate::error::ManagerError;
use crate::server::{Sockets, State};
use crate::wire::auth::{self, Key, ServerId};
use crate::wire::{Frame, Link};
use concurrent_futures_core::attach::{self, Attachment};
use concurrent_futures_core::{InitResult, Portable, catch_for_another, init_outcome};
use concurrent_futures_process::{Process, program};
use parking_lot::Mutex;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::ops::Deref;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// A server process that holds objects which others use through handles: Python's `multiprocessing.Manager`.
///
/// It derefs to a [`ManagerClient`], which makes the objects. The process ends with [`shutdown`](Self::shutdown), when the `Manager` is
/// dropped, or when this process ends, in whatever way. Then every call of a handle fails with [`ManagerError::Gone`]; nothing is
/// left behind. It is a daemon: functions that run in it cannot start processes.
///
/// Handles of one object share a descriptor in each process, and each thread that uses some has a connection: who has handles of more
/// objects than the soft `RLIMIT_NOFILE` (often 1024) must raise that. The server raises its own to the hard one.
///
/// ```
/// use concurrent_futures_manager::{ManagedList, Manager};
/// use concurrent_futures_process::Process;
///
/// fn child(list: ManagedList<u64>) {
///     list.push(3).expect("the manager is there");
/// }
///
/// let manager = Manager::new()?;
/// let list = manager.list([1, 2])?;
/// assert!(Process::start(child, list.clone())?.join()?.success());
/// assert_eq!(list.to_vec()?, [1, 2, 3]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "the server ends when this is dropped"]
pub struct Manager {
    client: ManagerClient,
    /// At its end the server ends.
    control: Mutex<Option<Link>>,
    process: Process,
    address: Option<SocketAddr>,
}

/// The server has so long to end by itself, and then so long again after SIGTERM.
const GRACE: Duration = Duration::from_secs(1);

impl Manager {
    /// Starts a server for this program's processes on this machine.
    ///
    /// # Errors
    /// No process can be started; no descriptor is left.
    pub fn new() -> Result<Self, ManagerError> {
        Manager::builder().start()
    }

    /// A server that is not started yet.
    ///
    /// ```
    /// use concurrent_futures_manager::Manager;
    ///
    /// fn prepare(level: u8) -> Result<(), String> {
    ///     if level > 9 { Err("too much".to_owned()) } else { Ok(()) }
    /// }
    ///
    /// let manager = Manager::builder().name("numbers").initializer(prepare, 3).start()?;
    /// assert!(manager.value(1)?.get()? == 1);
    ///
    /// let error = Manager::builder().initializer(prepare, 10).start().unwrap_err();
    /// assert!(error.to_string().contains("too much"), "{error}");
    /// # Ok::<(), concurrent_futures_manager::ManagerError>(())
    /// ```
    pub fn builder() -> ManagerBuilder {
        fn nothing((): ()) {}
        ManagerBuilder::with("manager".to_owned(), None, nothing, ())
    }

    /// A way to the server, to be given to others.
    pub fn client(&self) -> ManagerClient {
        self.client.clone()
    }

    /// Where it [listens](ManagerBuilder::listen), with the port that the system has chosen.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// The server's number in the system.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The server's process: to be waited for, or killed.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Ends the server, and waits for its end. It is asked first; if a function that runs in it does not let it go, it gets SIGTERM after
    /// a second, and SIGKILL after another one. Dropping the manager does the same.
    ///
    /// Once more does nothing.
    ///
    /// # Errors
    /// The process cannot be waited for: this one is a fork of the one that has started it.
    pub fn shutdown(&self) -> Result<(), ManagerError> {
        // The server sees the end of this connection.
        let control = self.control.lock().take();
        drop(control);
        let wait = || self.process.join_timeout(GRACE).map_err(ManagerError::Io).map(|ended| ended.is_some());
        if wait()? {
            return Ok(());
        }
        self.process.terminate().map_err(ManagerError::Io)?;
        if wait()? {
            return Ok(());
        }
        self.process.kill().map_err(ManagerError::Io)?;
        self.process.join().map_err(ManagerError::Io).map(drop)
    }
}

impl Deref for Manager {
    type Target = ManagerClient;

    fn deref(&self) -> &ManagerClient {
        &self.client
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        // In a fork of its owner it is not ours to end; whoever wants to know of other errors calls `shutdown`.
        let _ = self.shutdown();
    }
}

impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manager")
            .field("process", &self.process)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// A manager's server that is not started yet; from [`Manager::builder`].
///
/// ```
/// use concurrent_futures_manager::Manager;
///
/// let manager = Manager::builder().name("shared").listen("127.0.0.1:0", b"a secret").start()?;
/// assert!(manager.address().is_some());
/// # Ok::<(), concurrent_futures_manager::ManagerError>(())
/// ```
#[must_use = "nothing happens before `start`"]
pub struct ManagerBuilder {
    name: String,
    listen: Option<Result<(TcpListener, Key), ManagerError>>,
    launch: Box<Launch>,
}

type Launch = dyn FnOnce(String, Orders) -> io::Result<Process> + Send;

impl ManagerBuilder {
    /// The process's name, for people. Otherwise it is `manager`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Lets in, over TCP too, who knows the key: see [`ManagerClient::connect`]. Port 0 is one that the system chooses.
    ///
    /// Both sides prove that they have the key; it is never sent. But **nothing is encrypted**, and packets that are changed on the way are
    /// not noticed. And who has the key can call any function that the program calls through handles. So bind to the loopback or to
    /// a network of your own, and take a key that cannot be guessed.
    pub fn listen(mut self, address: impl ToSocketAddrs, key: &[u8]) -> Self {
        self.listen = Some(match Key::new(key) {
            Some(key) => TcpListener::bind(address).map(|listener| (listener, key)).map_err(ManagerError::Io),
            None => Err(ManagerError::Invalid("an empty key is none".to_owned())),
        });
        self
    }

    /// Runs `f(args)` in the server before it serves anybody. Its error, or panic, is that of [`start`](Self::start). `f` is a function, or
    /// a closure that captures nothing.
    pub fn initializer<F, A, R>(self, f: F, args: A) -> Self
    where
        F: Fn(A) -> R + Copy + Send + 'static,
        A: Portable,
        R: InitResult + 'static,
    {
        ManagerBuilder::with(self.name, self.listen, f, args)
    }

    fn with<F, A, R>(name: String, listen: Option<Result<(TcpListener, Key), ManagerError>>, _: F, args: A) -> Self
    where
        F: Fn(A) -> R + Copy + Send + 'static,
        A: Portable,
        R: InitResult + 'static,
    {
        let launch = Box::new(|name, orders| launch(name, run::<F, A, R>, (orders, args)));
        ManagerBuilder { name, listen, launch }
    }

    /// Starts it, and waits until it serves.
    ///
    /// # Errors
    /// No process can be started (this one may be a daemon, which may not have children); the address cannot be listened at; the key is
    /// empty; the initializer has failed.
    pub fn start(self) -> Result<Manager, ManagerError> {
        let not_started = |error: io::Error| ManagerError::NotStarted(error.to_string());
        let (address, local) = Address::new_local().map_err(ManagerError::Io)?;
        let tcp = self.listen.transpose()?;
        let tcp_address = match &tcp {
            Some((listener, _)) => {
                listener.set_nonblocking(true).map_err(ManagerError::Io)?;
                Some(listener.local_addr().map_err(ManagerError::Io)?)
            }
            None => None,
        };
        let (key, id) = (Key::random().map_err(ManagerError::Io)?, auth::random().map_err(ManagerError::Io)?);
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .map_err(|error| ManagerError::Io(error.into()))?;
        let orders = Orders {
            id,
            address: address.clone(),
            key: key.clone(),
            local: Descriptor::of(local),
            tcp: tcp.map(|(listener, key)| (Descriptor::of(listener.into()), key)),
            control: Descriptor::of(theirs),
        };
        let process = (self.launch)(self.name, orders).map_err(not_started)?;
        let mut control = Link::new(ours, true);
        let ready = control.receive();
        let client = ManagerClient::of(Remote::new(address, key, id));
        let manager = Manager { client, control: Mutex::new(Some(control)), process, address: tcp_address };
        match ready {
            Ok(Some(frame)) if frame.code == READY => Ok(manager),
            Ok(Some(frame)) => {
                let words = String::from_utf8_lossy(&frame.value).into_owned();
                manager.shutdown()?;
                Err(ManagerError::NotStarted(words))
            }
            Ok(None) | Err(_) => {
                manager.shutdown()?;
                let ended = manager.process.exit_status().map_or_else(String::new, |status| format!(": {status}"));
                Err(ManagerError::NotStarted(format!("its process has ended{ended}")))
            }
        }
    }
}

impl fmt::Debug for ManagerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagerBuilder").field("name", &self.name).field("listen", &self.listen).finish_non_exhaustive()
    }
}

/// What the server's process is told.
#[derive(Serialize, Deserialize)]
struct Orders {
    id: ServerId,
    address: Address,
    key: Key,
    local: Descriptor,
    tcp: Option<(Descriptor, Key)>,
    control: Descriptor,
}

/// Codes of the frames on the control connection, all from the server.
const READY: u8 = 0;
const FAILED: u8 = 1;

fn launch<A: Portable>(
    name: String,
    main: fn((Orders, A)) -> Result<(), String>,
    args: (Orders, A),
) -> io::Result<Process> {
    // No program waits for it at its end.
    Process::target(main, args).name(name).daemon(true).start()
}

/// The server's process.
fn run<F, A, R>((orders, args): (Orders, A)) -> Result<(), String>
where
    F: Fn(A) -> R + Copy + Send + 'static,
    R: InitResult,
{
    let Orders { id, address, key, local, tcp, control } = orders;
    let words = |error: io::Error| error.to_string();
    // Ctrl-C is for the program: when that ends, so do we.
    program::ignore_interrupts().map_err(words)?;
    // Each connection, and each handle that is elsewhere, takes a descriptor here. Where it is forbidden to have more, those that there are
    // have to do.
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    let mut control = Link::new(control.open().map_err(words)?, true);
    let tcp = match tcp {
        Some((listener, key)) => Some((listener.open().map_err(words)?, key)),
        None => None,
    };
    let sockets = Sockets { local: local.open().map_err(words)?, tcp };
    let prepare = || init_outcome(conjure::<F>()(args)).map_err(|error| error.to_string());
    let prepared = match catch_for_another(prepare) {
        Ok(prepared) => prepared.map_err(|words| format!("its initializer has failed: {words}")),
        Err(panic) => Err(format!("its initializer {panic}")),
    };
    let started = prepared.and_then(|()| {
        let state = State::new(id, address, key).map_err(words)?;
        state.start(sockets).map_err(words)?;
        Ok(state)
    });
    let frame = match &started {
        Ok(_) => Frame { code: READY, ..Frame::default() },
        Err(words) => Frame { code: FAILED, value: words.clone().into_bytes(), ..Frame::default() },
    };
    control.send(&frame, &[]).map_err(words)?;
    let Ok(state) = started else { return Ok(()) };
    // Nothing is sent to us: this is the end, of whatever kind.
    let _end = control.receive();
    state.stop();
    Ok(())
}

/// A descriptor on its way to the server's process.
struct Descriptor(Attachment);

impl Descriptor {
    fn of(descriptor: OwnedFd) -> Self {
        Descriptor(Attachment::new(descriptor))
    }

    fn open(self) -> io::Result<OwnedFd> {
        self.0.into_fd()
    }
}

impl Serialize for Descriptor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        attach::put(&self.0).map_err(ser::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Descriptor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        attach::take(u32::deserialize(deserializer)?).map(Descriptor).map_err(de::Error::custom)
    }
}
