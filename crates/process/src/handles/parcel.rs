//! Handles on their way.

use super::descriptor::{channel_to_send, receiver_of};
use super::parked::{self, Last};
use super::undisturbed::undisturbed;
use concurrent_futures_core::task::DecodeScope;
use ipc_channel::TryRecvError;
use ipc_channel::ipc::{self, IpcReceiver, OpaqueIpcReceiver};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::any::Any;
use std::cell::Cell;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::NonNull;

/// What one encoding parked: the receiving end of a channel in which it lies as a message.
///
/// Dropping it closes what is inside.
#[derive(Debug)]
pub(crate) struct Parcel {
    /// `None` once unpacked.
    inside: Option<IpcReceiver<Enclosed>>,
}

impl Parcel {
    /// Takes all handles that are parked in this thread; `None` if there are none. Never blocks.
    ///
    /// To be called right after the encoding, on its thread. After an error the handles are gone, and the thread is
    /// clean (unless not even a channel could be made).
    pub(crate) fn pack() -> io::Result<Option<Parcel>> {
        let (sender, inside) = ipc::channel::<Enclosed>()?;
        // Ours comes after all channels of the value, and tells how many those are.
        let channels = parked::park(&sender)?;
        let regions = if channels == 0 { parked::has_regions() } else { Ok(false) };
        // In any case the thread is to be emptied, and only a `send` does that.
        let sent = catch_unwind(AssertUnwindSafe(|| sender.send(Enclosed { channels, panic: None })));
        sent.map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidInput, "more than 64 channels and memory regions at once")
        })?
        .map_err(parked::io_error)?;
        Ok((channels > 0 || regions?).then(|| Parcel::holding(inside)))
    }

    /// Runs `decode` once, where it can take the handles. Never blocks.
    ///
    /// # Errors
    ///
    /// `decode` was not run: the parcel was unpacked before or is empty, or there are no descriptors left to receive
    /// the handles.
    pub(crate) fn unpack(&mut self, decode: &mut dyn FnMut()) -> io::Result<()> {
        let inside = self.inside.take().ok_or_else(|| io::Error::other("the parcel was unpacked before"))?;
        let received = {
            let _scope = Decoding::with(decode);
            // Mapping the regions panics where there is no memory left.
            catch_unwind(AssertUnwindSafe(|| inside.try_recv()))
        };
        match received {
            Ok(Ok(Enclosed { panic: None, .. })) => Ok(()),
            Ok(Ok(Enclosed { panic: Some(panic), .. })) => resume_unwind(panic),
            Ok(Err(TryRecvError::IpcError(error))) => Err(parked::io_error(error)),
            Ok(Err(TryRecvError::Empty)) => Err(io::Error::new(io::ErrorKind::InvalidData, "the parcel is empty")),
            Err(_) => Err(io::Error::other("the handles could not be received: no memory left?")),
        }
    }

    /// A descriptor by which the parcel travels to another process, that is started with it.
    pub(crate) fn into_descriptor(self) -> io::Result<OwnedFd> {
        let inside = self.inside.ok_or_else(|| io::Error::other("the parcel was unpacked before"))?;
        let (sender, descriptor) = channel_to_send::<Last<IpcReceiver<Enclosed>>>()?;
        undisturbed(|| sender.send(Last(inside))).map_err(parked::io_error)?;
        Ok(descriptor)
    }

    /// The parcel that has come by that descriptor. Never blocks.
    pub(crate) fn from_descriptor(descriptor: OwnedFd) -> io::Result<Self> {
        match receiver_of::<Last<IpcReceiver<Enclosed>>>(descriptor)?.try_recv() {
            Ok(Last(inside)) => Ok(Parcel::holding(inside)),
            Err(TryRecvError::IpcError(error)) => Err(parked::io_error(error)),
            Err(TryRecvError::Empty) => Err(io::Error::new(io::ErrorKind::InvalidData, "there is no parcel")),
        }
    }

    pub(super) fn holding(inside: IpcReceiver<Enclosed>) -> Self {
        Parcel { inside: Some(inside) }
    }

    /// What travels, if it was not unpacked.
    pub(super) fn into_inside(self) -> Option<IpcReceiver<Enclosed>> {
        self.inside
    }
}

impl DecodeScope for Parcel {
    fn enter(&mut self, decode: &mut dyn FnMut()) {
        // That `decode` was not called says it all: the caller reports that the handles did not arrive.
        let _ = self.unpack(decode);
    }
}

/// Closes what a failed encoding may have parked in this thread. Never blocks.
pub(crate) fn forget_parked() {
    // Without a descriptor for the channel they stay, and the next parcel takes them along.
    drop(Parcel::pack());
}

/// The message in a parcel. Decoding it is what gives access to the handles that came with it, so that is when the value
/// they belong to is decoded.
#[derive(Debug)]
pub(super) struct Enclosed {
    /// How many channels come before ours.
    channels: usize,
    /// Of the decoding.
    panic: Option<Box<dyn Any + Send>>,
}

impl Serialize for Enclosed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.channels.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Enclosed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let channels = parked::read_place(deserializer)?;
        drop(parked::take_last::<OpaqueIpcReceiver, D::Error>(channels)?);
        let decoded = catch_unwind(Decoding::run);
        parked::close(channels);
        Ok(Enclosed { channels, panic: decoded.err() })
    }
}

thread_local! {
    /// What to run when an [`Enclosed`] is decoded; taken by whoever runs it.
    static DECODE: Cell<Option<NonNull<dyn FnMut()>>> = const { Cell::new(None) };
}

/// The time in which [`DECODE`] points to something.
struct Decoding {
    before: Option<NonNull<dyn FnMut()>>,
}

impl Decoding {
    /// The caller must keep the result while `decode` may be called, and no longer than its borrow.
    fn with(decode: &mut dyn FnMut()) -> Self {
        let decode = NonNull::from(decode);
        // SAFETY: only the bound of the trait object changes. The pointer is used in `run` alone, on this thread, before
        // `drop` takes it back, which `unpack` makes happen within the borrow.
        let decode = unsafe { std::mem::transmute::<NonNull<dyn FnMut() + '_>, NonNull<dyn FnMut()>>(decode) };
        Decoding { before: DECODE.replace(Some(decode)) }
    }

    fn run() {
        if let Some(mut decode) = DECODE.take() {
            // SAFETY: a pointer in `DECODE` is one that `with` put there and `drop` has not taken back, so its target is
            // borrowed for us alone; `take` has made sure that it is used once, and not again from inside.
            let decode = unsafe { decode.as_mut() };
            decode();
        }
    }
}

impl Drop for Decoding {
    fn drop(&mut self) {
        DECODE.set(self.before);
    }
}
