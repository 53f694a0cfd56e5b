//! The call that a process is started for: made here, run there.

use crate::handles::{Parcel, forget_parked};
use crate::image;
use concurrent_futures_core::attach::{self, Arrived, Attachment};
use concurrent_futures_core::{Portable, codec};
use std::any::type_name;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{ExitCode, Termination};

/// As Rust does for a panic of `main`. (Python says 1.)
const PANICKED: u8 = 101;

/// A call that can travel: where its code lies in the image, and its argument.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) trampoline: u64,
    pub(super) function: u64,
    pub(super) argument: Vec<u8>,
    /// What travels beside the bytes.
    pub(super) attachments: Vec<Attachment>,
    /// The handles of `ipc-channel`, if the argument has some.
    pub(super) handles: Option<OwnedFd>,
}

impl Call {
    pub(super) fn new<A: Portable, R: Termination + 'static>(f: fn(A) -> R, argument: &A) -> io::Result<Self> {
        let offset =
            |address| image::offset_of(address).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error));
        let trampoline: Trampoline = run::<A, R>;
        let (trampoline, function) = (offset(trampoline as *const () as usize)?, offset(f as *const () as usize)?);
        let (mut bytes, mut attachments) = (Vec::new(), Vec::new());
        let encoded = attach::collect(&mut attachments, || codec::encode(argument, &mut bytes));
        let encoded = encoded.map_err(|failure| {
            if failure.handles() {
                forget_parked();
            }
            let words = format!("the argument ({}) cannot be sent: {}", type_name::<A>(), failure.message());
            io::Error::new(io::ErrorKind::InvalidInput, words)
        })?;
        let parcel = if encoded.handles { Parcel::pack()? } else { None };
        let handles = parcel.map(Parcel::into_descriptor).transpose()?;
        Ok(Call { trampoline, function, argument: bytes, attachments, handles })
    }
}

/// What has come with a call.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) argument: Vec<u8>,
    pub(super) arrived: Arrived,
    pub(super) handles: Option<OwnedFd>,
}

impl Arrival {
    /// The bytes go before the target runs: they may be many.
    fn open<A: Portable>(self) -> Result<A, String> {
        let mut decoded = None;
        let mut decode = || decoded = Some(codec::decode(&self.argument));
        attach::provide(self.arrived, || {
            let Some(descriptor) = self.handles else {
                decode();
                return Ok(());
            };
            Parcel::from_descriptor(descriptor)?.unpack(&mut decode)
        })
        .map_err(|error: io::Error| format!("its channel handles did not arrive: {error}"))?;
        decoded.ok_or("its channel handles did not arrive")?.map_err(codec::CodecFailure::into_message)
    }
}

/// Gives the exit code, or says why the argument could not be read.
type Trampoline = unsafe fn(usize, Arrival) -> Result<u8, String>;

/// Makes a call in this process, and gives its exit code.
///
/// # Safety
/// Both offsets come from one [`Call`] that this very program has made.
pub(super) unsafe fn serve(trampoline: u64, function: u64, arrival: Arrival) -> Result<u8, String> {
    let address = |offset| image::address_of(offset).map_err(|error| error.to_string());
    let (trampoline, function) = (address(trampoline)?, address(function)?);
    // SAFETY: the caller vouches that it is the offset of a trampoline; all of them are of this type.
    let trampoline = unsafe { std::mem::transmute::<*const (), Trampoline>(trampoline as *const ()) };
    // SAFETY: the caller vouches that the function belongs to the trampoline.
    unsafe { trampoline(function, arrival) }
}

/// # Safety
/// `function` is the address of a `fn(A) -> R`.
unsafe fn run<A: Portable, R: Termination>(function: usize, arrival: Arrival) -> Result<u8, String> {
    // SAFETY: the caller vouches for it.
    let function = unsafe { std::mem::transmute::<*const (), fn(A) -> R>(function as *const ()) };
    let argument = arrival.open::<A>().map_err(|why| format!("its argument ({}): {why}", type_name::<A>()))?;
    Ok(call(function, argument))
}

/// Calls a target, and gives what `main` would have ended with.
pub(super) fn call<A, R: Termination>(function: fn(A) -> R, argument: A) -> u8 {
    match catch_unwind(AssertUnwindSafe(|| function(argument).report())) {
        Ok(code) => number_of(code),
        Err(payload) => {
            // The hook has said what there is to say. Its destructor is the user's, and could panic again.
            std::mem::forget(payload);
            PANICKED
        }
    }
}

/// An `ExitCode` does not tell its number, but it can be compared.
fn number_of(code: ExitCode) -> u8 {
    (0..=u8::MAX).find(|&number| ExitCode::from(number) == code).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exit_code_has_its_number() {
        for number in 0..=u8::MAX {
            assert_eq!(number_of(ExitCode::from(number)), number);
        }
        assert_eq!((number_of(ExitCode::SUCCESS), number_of(ExitCode::FAILURE)), (0, 1));
    }

    #[test]
    fn what_main_may_return() {
        assert_eq!(call(|()| (), ()), 0);
        assert_eq!(call(|()| ExitCode::from(9), ()), 9);
        assert_eq!(call(|()| Err::<(), _>("an error"), ()), 1);
        assert_eq!(call(|()| Ok::<_, String>(ExitCode::from(4)), ()), 4);
        fn diverges(_: ()) -> ! {
            panic!("on purpose")
        }
        assert_eq!(call(diverges, ()), 101);
    }

    #[test]
    fn a_call_comes_back_from_its_offsets() {
        fn target((a, b): (u8, String)) -> ExitCode {
            ExitCode::from(a + b.len() as u8)
        }
        let call = Call::new(target, &(2, "four".to_owned())).unwrap();
        let arrival = Arrival { argument: call.argument, arrived: Arrived::default(), handles: None };
        // SAFETY: they come from the call that was just made.
        assert_eq!(unsafe { serve(call.trampoline, call.function, arrival) }, Ok(6));
        let garbled = Arrival { argument: vec![1], arrived: Arrived::default(), handles: None };
        // SAFETY: as above.
        let error = unsafe { serve(call.trampoline, call.function, garbled) }.unwrap_err();
        assert!(error.contains("argument"), "{error}");
    }
}
