//! Where a server is, and a connection to it.

use crate::error::ManagerError;
use crate::wire::Link;
use crate::wire::auth::{self, Key, Purpose, Refused, ServerId};
use crate::wire::link::keep_alive;
use concurrent_futures_process::program::peer_user;
use parking_lot::Mutex;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt::Write;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::{Arc, LazyLock, Weak};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Address {
    /// The random part of an abstract name: no file, which somebody would have to remove.
    Local([u8; 16]),
    Tcp(SocketAddr),
}

impl Address {
    fn name(random: &[u8; 16]) -> io::Result<SocketAddrUnix> {
        let mut name = String::from("concurrent-futures-manager-");
        random.iter().for_each(|byte| write!(name, "{byte:02x}").expect("a String takes all"));
        Ok(SocketAddrUnix::new_abstract_name(name.as_bytes())?)
    }

    /// A new one, with its listening socket.
    pub(crate) fn new_local() -> io::Result<(Self, OwnedFd)> {
        let random = auth::random()?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        bind(&socket, &Address::name(&random)?)?;
        listen(&socket, 128)?;
        Ok((Address::Local(random), socket))
    }

    fn connect(&self) -> io::Result<Link> {
        match self {
            Address::Local(random) => {
                let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
                let name = Address::name(random)?;
                rustix::io::retry_on_intr(|| connect(&socket, &name))?;
                if peer_user(&socket)? != rustix::process::geteuid().as_raw() {
                    return Err(io::Error::new(io::ErrorKind::PermissionDenied, "another user has its name"));
                }
                Ok(Link::new(socket, true))
            }
            Address::Tcp(address) => {
                let stream = TcpStream::connect_timeout(address, auth::PATIENCE)?;
                stream.set_nodelay(true)?;
                let socket = OwnedFd::from(stream);
                keep_alive(&socket)?;
                Ok(Link::new(socket, false))
            }
        }
    }
}

/// A server that this process knows.
#[derive(Debug)]
pub(crate) struct Remote {
    address: Address,
    key: Key,
    id: ServerId,
}

/// Those that this process knows: one of each, so that a connection is known to be in use as long as a handle is.
static KNOWN: LazyLock<Mutex<HashMap<Name, Weak<Remote>>>> = LazyLock::new(Mutex::default);

/// Its number, and whether it is reached by a local socket.
type Name = (ServerId, bool);

impl Remote {
    pub(crate) fn new(address: Address, key: Key, id: ServerId) -> Arc<Self> {
        let mut known = KNOWN.lock();
        let name = (id, matches!(address, Address::Local(_)));
        if let Some(remote) = known.get(&name).and_then(Weak::upgrade) {
            return remote;
        }
        known.retain(|_, remote| remote.strong_count() > 0);
        let remote = Arc::new(Remote { address, key, id });
        known.insert(name, Arc::downgrade(&remote));
        remote
    }

    /// Asks who is there.
    pub(crate) fn find(address: Address, key: Key) -> Result<Arc<Self>, ManagerError> {
        let mut link = address.connect().map_err(unreachable)?;
        let id = auth::introduce(&mut link, &key, Purpose::Calls).map_err(refused)?;
        Ok(Remote::new(address, key, id))
    }

    pub(crate) fn id(&self) -> ServerId {
        self.id
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    pub(crate) fn is_local(&self) -> bool {
        matches!(self.address, Address::Local(_))
    }

    /// A connection that proves nothing.
    pub(crate) fn dial(&self) -> io::Result<Link> {
        self.address.connect()
    }

    pub(crate) fn connect(&self, purpose: Purpose) -> Result<Link, ManagerError> {
        let mut link = self.dial().map_err(unreachable)?;
        let id = auth::introduce(&mut link, &self.key, purpose).map_err(refused)?;
        // Another one may have its address by now.
        if id == self.id { Ok(link) } else { Err(ManagerError::Gone(io::ErrorKind::ConnectionRefused.into())) }
    }
}

fn unreachable(error: io::Error) -> ManagerError {
    match error.raw_os_error() {
        Some(code) if is_scarcity(code) => ManagerError::Io(error),
        _ if error.kind() == io::ErrorKind::PermissionDenied => ManagerError::Refused(error.to_string()),
        _ => ManagerError::Gone(error),
    }
}

fn is_scarcity(code: i32) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM].iter().any(|errno| errno.raw_os_error() == code)
}

fn refused(refused: Refused) -> ManagerError {
    match refused {
        Refused::WrongKey => ManagerError::Refused("the keys differ".to_owned()),
        Refused::OtherBuild => ManagerError::OtherBuild,
        Refused::NoSuchObject => ManagerError::NoSuchObject,
        Refused::Busy => {
            ManagerError::Scarce("it can have no more connections now, for want of descriptors or threads".to_owned())
        }
        Refused::Stranger => ManagerError::Refused("what answers there is no manager of this version".to_owned()),
        Refused::Io(error) => ManagerError::Gone(error),
    }
}
