//! What can go wrong on a connection.

use std::error::Error;
use std::fmt;
use std::io;

/// Why something was not sent. It gives back what was to be sent.
///
/// As an [`io::Error`], which `?` makes of it, `Closed` is a `BrokenPipe`.
///
/// ```
/// use concurrent_futures_ipc::connection::{SendError, one_way};
///
/// let (sender, receiver) = one_way::<String>()?;
/// drop(receiver);
/// let error = sender.send("hello".to_owned()).unwrap_err();
/// assert!(matches!(error, SendError::Closed(_)));
/// assert_eq!(error.into_value(), "hello");
/// # Ok::<(), std::io::Error>(())
/// ```
#[non_exhaustive]
pub enum SendError<T> {
    /// The other end is gone: dropped, or its process has ended.
    Closed(T),
    /// It could not be encoded, says its `Serialize`.
    Encode(T, String),
    /// This end is in another process by now: it was sent there.
    Moved(T),
    /// An earlier message was given up in the middle, so nothing that comes after it could be understood.
    Torn(T),
    /// What the kernel has refused.
    Io(T, io::Error),
}

impl<T> SendError<T> {
    /// What was to be sent.
    pub fn into_value(self) -> T {
        match self {
            SendError::Closed(value)
            | SendError::Encode(value, _)
            | SendError::Moved(value)
            | SendError::Torn(value)
            | SendError::Io(value, _) => value,
        }
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SendError::Closed(_) => f.write_str("broken pipe: the other end of the connection is gone"),
            SendError::Encode(_, why) => write!(f, "the message could not be encoded: {why}"),
            SendError::Moved(_) => f.write_str(MOVED),
            SendError::Torn(_) => f.write_str("an earlier message on this connection was given up in the middle"),
            SendError::Io(_, error) => write!(f, "the message could not be sent: {error}"),
        }
    }
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SendError::Closed(_) => f.write_str("Closed(..)"),
            SendError::Encode(_, why) => write!(f, "Encode(.., {why:?})"),
            SendError::Moved(_) => f.write_str("Moved(..)"),
            SendError::Torn(_) => f.write_str("Torn(..)"),
            SendError::Io(_, error) => write!(f, "Io(.., {error:?})"),
        }
    }
}

impl<T> Error for SendError<T> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            SendError::Io(_, error) => Some(error),
            _ => None,
        }
    }
}

impl<T> From<SendError<T>> for io::Error {
    fn from(error: SendError<T>) -> Self {
        let kind = match error {
            SendError::Io(_, error) => return error,
            SendError::Closed(_) | SendError::Torn(_) => io::ErrorKind::BrokenPipe,
            SendError::Encode(..) => io::ErrorKind::InvalidInput,
            SendError::Moved(_) => io::ErrorKind::NotConnected,
        };
        io::Error::new(kind, error.to_string())
    }
}

/// Why nothing was received.
///
/// As an [`io::Error`], which `?` makes of it, `Ended` and `Torn` are an `UnexpectedEof`.
///
/// ```
/// use concurrent_futures_ipc::connection::{RecvError, one_way};
///
/// let (sender, receiver) = one_way::<u32>()?;
/// sender.send(1)?;
/// drop(sender);
/// assert_eq!(receiver.recv()?, 1);
/// assert!(matches!(receiver.recv(), Err(RecvError::Ended)));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum RecvError {
    /// End of file: the other end was dropped, or its process has ended, and all that it had sent has been received.
    Ended,
    /// The other end is gone, in the middle of a message.
    Torn,
    /// Nothing is there now.
    Empty,
    /// Nothing has come in time.
    TimedOut,
    /// The next message has `len` bytes. It is still there, for whoever takes so many.
    TooLong {
        /// The bytes of the message.
        len: usize,
        /// As many as were asked for at most.
        limit: usize,
    },
    /// The message did not fit into the buffer. This is the message.
    TooShort {
        /// All of it.
        message: Vec<u8>,
    },
    /// The message is no value of the expected type, says its `Deserialize`. The next one may be.
    Decode(String),
    /// This end is in another process by now: it was sent there.
    Moved,
    /// What came is none of our messages, or the kernel has refused something.
    Io(io::Error),
}

pub(super) const MOVED: &str = "this end of the connection was sent to another process";

impl RecvError {
    /// Nothing will come any more.
    pub fn is_end(&self) -> bool {
        matches!(self, RecvError::Ended | RecvError::Torn)
    }
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecvError::Ended => f.write_str("end of file: the other end of the connection is gone"),
            RecvError::Torn => f.write_str("end of file in the middle of a message"),
            RecvError::Empty => f.write_str("no message is there"),
            RecvError::TimedOut => f.write_str("no message has come in time"),
            RecvError::TooLong { len, limit } => write!(f, "a message of {len} bytes where {limit} are allowed"),
            RecvError::TooShort { message } => {
                write!(f, "the buffer is too short for a message of {} bytes", message.len())
            }
            RecvError::Decode(why) => write!(f, "the message could not be decoded: {why}"),
            RecvError::Moved => f.write_str(MOVED),
            RecvError::Io(error) => write!(f, "the connection is unusable: {error}"),
        }
    }
}

impl Error for RecvError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            RecvError::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for RecvError {
    fn from(error: io::Error) -> Self {
        RecvError::Io(error)
    }
}

impl From<RecvError> for io::Error {
    fn from(error: RecvError) -> Self {
        let kind = match error {
            RecvError::Io(error) => return error,
            RecvError::Ended | RecvError::Torn => io::ErrorKind::UnexpectedEof,
            RecvError::Empty => io::ErrorKind::WouldBlock,
            RecvError::TimedOut => io::ErrorKind::TimedOut,
            RecvError::TooLong { .. } | RecvError::TooShort { .. } | RecvError::Decode(_) => io::ErrorKind::InvalidData,
            RecvError::Moved => io::ErrorKind::NotConnected,
        };
        io::Error::new(kind, error)
    }
}
