//! What happens before the first frame: who is there, and does each know the key?

use super::Link;
use hmac::{Hmac, KeyInit, Mac};
use rustix::net::SendFlags;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// For all of it, on either side.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What the server says first; the last byte is the version of all that follows.
const MARK: [u8; 8] = *b"CFMANAG\x01";
/// Instead, to whom it cannot let in.
const BUSY: [u8; 8] = *b"CFMBUSY\x01";
const NONCE: usize = 32;
const MAC: usize = 32;
const BUILD: usize = 32;
const GREETING: usize = MARK.len() + NONCE;
const REQUEST: usize = NONCE + BUILD + 1 + 8 + MAC;
const REPLY: usize = 1 + 16 + BUILD + MAC;

/// The number of a server, which no other one has.
pub(crate) type ServerId = [u8; 16];

/// What both sides must know.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Key(Box<[u8]>);

impl Key {
    /// `None`: an empty one, which everybody knows.
    pub(crate) fn new(key: &[u8]) -> Option<Self> {
        (!key.is_empty()).then(|| Key(key.into()))
    }

    pub(crate) fn random() -> io::Result<Self> {
        Ok(Key(Box::new(random::<32>()?)))
    }

    /// The code of `parts`. Each has a fixed length, so no two lists of parts are one text.
    fn mac(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("a key may have any length");
        parts.iter().for_each(|part| mac.update(part));
        mac
    }
}

/// It is a secret.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Calls,
    /// To keep this object alive as long as the connection is open.
    Token(u64),
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum Refused {
    /// One does not have the other's key.
    WrongKey,
    /// They are not the same build.
    OtherBuild,
    NoSuchObject,
    /// The server has no descriptor or thread left for it.
    Busy,
    /// The other side speaks something else.
    Stranger,
    Io(io::Error),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Refused::Io(error)
    }
}

const OK: u8 = 0;
const WRONG_KEY: u8 = 1;
const OTHER_BUILD: u8 = 2;
const NO_SUCH_OBJECT: u8 = 3;

/// The server's side. `accept` is asked when the client has proved that it has the key.
pub(crate) fn greet(
    link: &mut Link,
    key: &Key,
    id: ServerId,
    accept: impl FnOnce(Purpose) -> bool,
) -> Result<Purpose, Refused> {
    let deadline = Instant::now() + PATIENCE;
    let ours: [u8; NONCE] = random()?;
    let mut greeting = [0; GREETING];
    greeting[..MARK.len()].copy_from_slice(&MARK);
    greeting[MARK.len()..].copy_from_slice(&ours);
    link.send_raw(&greeting)?;

    let request: [u8; REQUEST] = link.receive_exact(deadline)?;
    let (theirs, rest) = request.split_at(NONCE);
    let (said, mac) = rest.split_at(REQUEST - NONCE - MAC);
    let refuse = |status: u8| {
        link.send_raw(&{
            let mut reply = [0; REPLY];
            reply[0] = status;
            reply
        })
    };
    if key.mac(&[b"client", &ours, theirs, said]).verify_slice(mac).is_err() {
        refuse(WRONG_KEY)?;
        return Err(Refused::WrongKey);
    }
    let build = build_of(link)?;
    let object = u64::from_le_bytes(std::array::from_fn(|i| said[BUILD + 1 + i]));
    let purpose = match said[BUILD] {
        0 => Purpose::Calls,
        1 => Purpose::Token(object),
        _ => return Err(Refused::Stranger),
    };
    let status = if said[..BUILD] != build {
        OTHER_BUILD
    } else if !accept(purpose) {
        NO_SUCH_OBJECT
    } else {
        OK
    };
    let mut reply = [0; REPLY];
    reply[0] = status;
    reply[1..17].copy_from_slice(&id);
    reply[17..17 + BUILD].copy_from_slice(&build);
    let mac = key.mac(&[b"server", theirs, &ours, &reply[..REPLY - MAC]]).finalize().into_bytes();
    reply[REPLY - MAC..].copy_from_slice(&mac);
    link.send_raw(&reply)?;
    match status {
        OK => Ok(purpose),
        OTHER_BUILD => Err(Refused::OtherBuild),
        _ => Err(Refused::NoSuchObject),
    }
}

/// Tells somebody who has just come that he cannot be let in now.
pub(crate) fn turn_away(socket: impl AsFd) {
    let mut greeting = [0; GREETING];
    greeting[..BUSY.len()].copy_from_slice(&BUSY);
    // There is room for it; if he has gone meanwhile, he need not know.
    let _ = rustix::net::send(socket, &greeting, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
}

/// The client's side; gives the server's number.
pub(crate) fn introduce(link: &mut Link, key: &Key, purpose: Purpose) -> Result<ServerId, Refused> {
    let deadline = Instant::now() + PATIENCE;
    let greeting: [u8; GREETING] = link.receive_exact(deadline)?;
    let (mark, theirs) = greeting.split_at(MARK.len());
    match mark {
        _ if mark == MARK => {}
        _ if mark == BUSY => return Err(Refused::Busy),
        _ => return Err(Refused::Stranger),
    }
    let ours: [u8; NONCE] = random()?;
    let mut said = [0; BUILD + 1 + 8];
    said[..BUILD].copy_from_slice(&build_of(link)?);
    if let Purpose::Token(object) = purpose {
        said[BUILD] = 1;
        said[BUILD + 1..].copy_from_slice(&object.to_le_bytes());
    }
    let mac = key.mac(&[b"client", theirs, &ours, &said]).finalize().into_bytes();
    let mut request = [0; REQUEST];
    request[..NONCE].copy_from_slice(&ours);
    request[NONCE..REQUEST - MAC].copy_from_slice(&said);
    request[REQUEST - MAC..].copy_from_slice(&mac);
    link.send_raw(&request)?;

    // A server that refuses says so. If the connection just ends, the server has.
    let reply: [u8; REPLY] = link.receive_exact(deadline)?;
    if reply[0] == WRONG_KEY {
        return Err(Refused::WrongKey);
    }
    let (said, mac) = reply.split_at(REPLY - MAC);
    if key.mac(&[b"server", &ours, theirs, said]).verify_slice(mac).is_err() {
        return Err(Refused::WrongKey);
    }
    match reply[0] {
        OK => Ok(std::array::from_fn(|i| reply[1 + i])),
        OTHER_BUILD => Err(Refused::OtherBuild),
        NO_SUCH_OBJECT => Err(Refused::NoSuchObject),
        _ => Err(Refused::Stranger),
    }
}

pub(crate) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        let flags = rustix::rand::GetRandomFlags::empty();
        filled += rustix::io::retry_on_intr(|| rustix::rand::getrandom(&mut bytes[filled..], flags))?;
    }
    Ok(bytes)
}

/// What tells this build of the program from others. Who has a local server's key has it from this program.
fn build_of(link: &Link) -> io::Result<[u8; BUILD]> {
    static BUILT: OnceLock<[u8; BUILD]> = OnceLock::new();
    if link.is_local() {
        return Ok([0; BUILD]);
    }
    if let Some(known) = BUILT.get() {
        return Ok(*known);
    }
    let mut hash = Sha256::new();
    match concurrent_futures_process::program::build_id() {
        Some(id) => hash.update(id),
        None => {
            let mut program = std::fs::File::open("/proc/self/exe")?;
            let mut buffer = vec![0; 1 << 16];
            loop {
                match program.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(read) => hash.update(&buffer[..read]),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
    Ok(*BUILT.get_or_init(|| hash.finalize().into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    fn outcome(
        client: &'static [u8],
        server: &'static [u8],
        tcp: bool,
    ) -> (Result<ServerId, Refused>, Result<Purpose, Refused>) {
        let (mut a, mut b) = if tcp {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let a = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            (Link::new(a.into(), false), Link::new(listener.accept().unwrap().0.into(), false))
        } else {
            let (a, b) = UnixStream::pair().unwrap();
            (Link::new(a.into(), true), Link::new(b.into(), true))
        };
        let client = std::thread::spawn(move || introduce(&mut a, &Key::new(client).unwrap(), Purpose::Token(77)));
        let server = greet(&mut b, &Key::new(server).unwrap(), [5; 16], |_| true);
        drop(b);
        (client.join().unwrap(), server)
    }

    #[test]
    fn both_know_the_key() {
        for tcp in [false, true] {
            let (client, server) = outcome(b"secret", b"secret", tcp);
            assert_eq!((client.unwrap(), server.unwrap()), ([5; 16], Purpose::Token(77)));
        }
    }

    #[test]
    fn a_wrong_key_is_refused_by_both() {
        let (client, server) = outcome(b"secret", b"Secret", true);
        assert!(matches!(client, Err(Refused::WrongKey)) && matches!(server, Err(Refused::WrongKey)));
        assert!(Key::new(b"").is_none());
    }

    /// A server that says yes to everything, and has not got the key, is none.
    #[test]
    fn a_server_must_prove_itself() {
        let (a, b) = UnixStream::pair().unwrap();
        let (mut a, mut b) = (Link::new(a.into(), true), Link::new(b.into(), true));
        let client = std::thread::spawn(move || introduce(&mut a, &Key::new(b"secret").unwrap(), Purpose::Calls));
        let mut greeting = [7; GREETING];
        greeting[..MARK.len()].copy_from_slice(&MARK);
        b.send_raw(&greeting).unwrap();
        let request: [u8; REQUEST] = b.receive_exact(Instant::now() + PATIENCE).unwrap();
        // What the client has sent proves nothing when it comes back.
        let mut reply = [0; REPLY];
        reply[REPLY - MAC..].copy_from_slice(&request[REQUEST - MAC..]);
        b.send_raw(&reply).unwrap();
        assert!(matches!(client.join().unwrap(), Err(Refused::WrongKey)));
    }

    /// What a client has said to one server proves nothing to another, nor to the same one later.
    #[test]
    fn what_was_overheard_is_of_no_use() {
        let key = || Key::new(b"secret").unwrap();
        let pair = || {
            let (a, b) = UnixStream::pair().unwrap();
            (Link::new(a.into(), true), Link::new(b.into(), true))
        };
        let greet = |mut link: Link| std::thread::spawn(move || greet(&mut link, &key(), [5; 16], |_| true));
        let deadline = Instant::now() + PATIENCE;

        // Somebody between them who hears all and changes nothing.
        let ((mut client, mut near), (mut far, server)) = (pair(), pair());
        let server = greet(server);
        let client = std::thread::spawn(move || introduce(&mut client, &key(), Purpose::Calls));
        near.send_raw(&far.receive_exact::<GREETING>(deadline).unwrap()).unwrap();
        let request = near.receive_exact::<REQUEST>(deadline).unwrap();
        far.send_raw(&request).unwrap();
        let reply = far.receive_exact::<REPLY>(deadline).unwrap();
        near.send_raw(&reply).unwrap();
        assert!(client.join().unwrap().is_ok() && server.join().unwrap().is_ok());

        // He says it again, as a client and as a server.
        let (mut far, server) = pair();
        let server = greet(server);
        let greeting = far.receive_exact::<GREETING>(deadline).unwrap();
        far.send_raw(&request).unwrap();
        assert!(matches!(server.join().unwrap(), Err(Refused::WrongKey)));
        let (mut client, mut near) = pair();
        let client = std::thread::spawn(move || introduce(&mut client, &key(), Purpose::Calls));
        near.send_raw(&greeting).unwrap();
        near.receive_exact::<REQUEST>(deadline).unwrap();
        near.send_raw(&reply).unwrap();
        assert!(matches!(client.join().unwrap(), Err(Refused::WrongKey)));
    }

    #[test]
    fn keys_are_not_shown() {
        assert!(!format!("{:?}", Key::new(b"secret")).contains("secret"));
    }
}
