//! Frames: what a request and its reply look like on a socket.

pub(crate) mod auth;
pub(crate) mod link;

pub(crate) use link::{Link, MAX_FDS};

use std::fmt;
use std::os::fd::OwnedFd;

/// Bytes before the references, the callers and the value.
pub(crate) const HEADER: usize = 32;
/// The largest value.
pub(crate) const MAX_VALUE: usize = 1 << 30;
/// The most objects that one value may refer to.
pub(crate) const MAX_REFERENCES: usize = u16::MAX as usize;

/// An object of a server.
pub(crate) type Caller = (auth::ServerId, u64);
const CALLER: usize = 24;

/// A request, or a reply.
#[derive(Default)]
pub(crate) struct Frame {
    /// What is asked for ([`Op`]), or what came of it ([`Status`]).
    pub(crate) code: u8,
    pub(crate) flags: u8,
    pub(crate) object: u64,
    pub(crate) number: u64,
    /// The objects that the value refers to.
    pub(crate) references: Vec<u64>,
    /// In whose functions the client is: each waits for this request.
    pub(crate) callers: Vec<Caller>,
    pub(crate) value: Vec<u8>,
    /// What travels beside the value, and in replies over a local socket a token for each reference.
    pub(crate) descriptors: Vec<OwnedFd>,
    /// So many descriptors were sent. There are fewer if this process could not have more.
    pub(crate) announced: usize,
}

impl Frame {
    /// The header, and what comes before the value.
    pub(crate) fn put_header(&self, descriptors: usize, out: &mut Vec<u8>) -> Option<()> {
        out.extend_from_slice(&self.header(descriptors)?);
        self.references.iter().for_each(|reference| out.extend_from_slice(&reference.to_le_bytes()));
        for (server, object) in &self.callers {
            out.extend_from_slice(server);
            out.extend_from_slice(&object.to_le_bytes());
        }
        Some(())
    }

    /// The header. `None`: there is more of something than a frame can have.
    pub(crate) fn header(&self, descriptors: usize) -> Option<[u8; HEADER]> {
        let most = self.references.len().max(self.callers.len());
        if self.value.len() > MAX_VALUE || most > MAX_REFERENCES || descriptors > MAX_FDS {
            return None;
        }
        let mut header = [0; HEADER];
        header[0..4].copy_from_slice(&(self.value.len() as u32).to_le_bytes());
        header[4] = self.code;
        header[5] = self.flags;
        header[6..8].copy_from_slice(&(self.references.len() as u16).to_le_bytes());
        header[8..10].copy_from_slice(&(descriptors as u16).to_le_bytes());
        header[10..12].copy_from_slice(&(self.callers.len() as u16).to_le_bytes());
        header[16..24].copy_from_slice(&self.object.to_le_bytes());
        header[24..32].copy_from_slice(&self.number.to_le_bytes());
        Some(header)
    }

    /// A frame without references, callers and value, and how many bytes of each follow. `None`: this is no header.
    pub(crate) fn parse(header: &[u8; HEADER]) -> Option<(Frame, [usize; 3])> {
        let short = |at: usize| usize::from(u16::from_le_bytes([header[at], header[at + 1]]));
        let long = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| header[at + i]));
        let value = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let announced = short(8);
        if value > MAX_VALUE || announced > MAX_FDS || header[12..16] != [0; 4] {
            return None;
        }
        let frame = Frame {
            code: header[4],
            flags: header[5],
            object: long(16),
            number: long(24),
            announced,
            ..Frame::default()
        };
        Some((frame, [8 * short(6), CALLER * short(10), value]))
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("code", &self.code)
            .field("object", &self.object)
            .field("number", &self.number)
            .field("bytes", &self.value.len())
            .finish_non_exhaustive()
    }
}

/// The flag of a request that may wait.
pub(crate) const WAIT: u8 = 1;

macro_rules! codes {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $variant:ident = $code:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum $name { $($(#[$of])* $variant = $code,)* }

        impl $name {
            pub(crate) fn of(code: u8) -> Option<Self> {
                match code {
                    $($code => Some($name::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    /// What can be asked for. `number` is what the comment says.
    Op {
        /// An entry's offset.
        Call = 1,
        /// An entry's offset.
        Make = 2,
        /// 1: its owner may take it again.
        NewLock = 3,
        /// The permits; flag 1: there may never be more.
        NewSemaphore = 4,
        NewEvent = 5,
        /// `object`: its lock.
        NewCondition = 6,
        /// The parties.
        NewBarrier = 7,
        /// The most items, 0: any number.
        NewQueue = 8,
        Publish = 9,
        Lookup = 10,
        Unpublish = 11,
        Objects = 12,

        Acquire = 20,
        Release = 21,
        /// A permit that has no owner any more.
        Forget = 22,
        /// So many permits.
        AddPermits = 23,
        State = 24,

        Set = 30,
        Clear = 31,
        Wait = 32,
        /// So many.
        Notify = 33,
        Abort = 34,
        Reset = 35,

        Put = 40,
        Get = 41,
        Close = 42,
        TaskDone = 43,
        Join = 44,

        Cancel = 99,
    }
}

codes! {
    /// What came of it.
    Status {
        Done = 0,
        /// Not without waiting, or not in time.
        NotNow = 1,
        /// The value is the message, a zero byte and the place.
        Panicked = 2,
        /// Something could not be decoded or encoded; the value says what.
        Codec = 3,
        NoSuchObject = 4,
        NoSuchName = 5,
        /// The value says what it is.
        WrongType = 6,
        NotOwner = 7,
        OverRelease = 8,
        Broken = 9,
        Closed = 10,
        Deadlock = 11,
        /// The request makes no sense; the value says why.
        Invalid = 12,
        /// The server could not have what it needed; the value says what.
        Scarce = 13,
        /// It takes more than one frame can have.
        TooLarge = 14,
    }
}

codes! {
    /// What an object is, for those who look it up by name.
    Kind {
        Data = 1,
        Lock = 2,
        RLock = 3,
        Semaphore = 4,
        Event = 5,
        Condition = 6,
        Barrier = 7,
        Queue = 8,
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Data => "data",
            Kind::Lock => "a lock",
            Kind::RLock => "a reentrant lock",
            Kind::Semaphore => "a semaphore",
            Kind::Event => "an event",
            Kind::Condition => "a condition",
            Kind::Barrier => "a barrier",
            Kind::Queue => "a queue",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_back() {
        let frame = Frame {
            code: 7,
            flags: 1,
            object: u64::MAX,
            number: 5,
            references: vec![1, 2],
            callers: vec![([3; 16], 4)],
            value: vec![9; 300],
            ..Frame::default()
        };
        let (back, lengths) = Frame::parse(&frame.header(3).unwrap()).unwrap();
        assert_eq!((back.code, back.flags, back.object, back.number), (7, 1, u64::MAX, 5));
        assert_eq!((lengths, back.announced), ([16, 24, 300], 3));
    }

    #[test]
    fn what_is_too_much_is_no_frame() {
        assert!(Frame::default().header(MAX_FDS + 1).is_none());
        assert!(Frame { references: vec![0; MAX_REFERENCES + 1], ..Frame::default() }.header(0).is_none());
        let mut header = Frame::default().header(0).unwrap();
        header[0..4].copy_from_slice(&(MAX_VALUE as u32 + 1).to_le_bytes());
        assert!(Frame::parse(&header).is_none());
        assert!(Frame::parse(&[0xff; HEADER]).is_none());
    }

    #[test]
    fn codes_are_those_of_their_names() {
        assert_eq!((Op::of(20), Op::of(250)), (Some(Op::Acquire), None));
        assert_eq!((Status::of(Status::Scarce as u8), Kind::of(8)), (Some(Status::Scarce), Some(Kind::Queue)));
    }
}
