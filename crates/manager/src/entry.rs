//! What a server may be asked to call: entries of this program, named by their place in its image.

use crate::nesting::{self, Incoming, Outgoing};
use crate::wire::auth::ServerId;
use concurrent_futures_core::{Panic, catch_for_another, codec};
use concurrent_futures_process::program;
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::any::{Any, type_name};
use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;

/// What an object of data is in the server.
pub(crate) type Value = Mutex<Box<dyn Any + Send>>;

/// A constant of the program, which a peer can name.
#[repr(C)]
pub(crate) struct Entry {
    begins: [u64; 2],
    run: Run,
    ends: [u64; 2],
}

/// Code of the program.
#[derive(Clone, Copy)]
enum Run {
    Call(fn(&Value, Incoming<'_>, &mut Reply) -> Result<(), Failure>),
    Make(fn(Incoming<'_>) -> Result<Made, Failure>),
}

/// What [`Entry::make`] gives.
pub(crate) struct Made {
    pub(crate) value: Box<dyn Any + Send>,
    pub(crate) type_name: &'static str,
}

/// Why a call has no result.
#[derive(Debug)]
pub(crate) enum Failure {
    Codec(String),
    /// The object is not of the type that the entry is for.
    WrongType,
    Panicked(Panic),
    /// The peer has named what is no such entry.
    NoEntry,
}

/// Random, and the same in all builds. The end is the complement, so the mark itself, wherever the compiler has put it, is no entry.
const MARK: [u64; 2] = [0x8d1f_66a2_0c97_e5b3, 0x35c0_d94e_7fa8_1b62];

impl Entry {
    const fn new(run: Run) -> Self {
        Entry { begins: MARK, run, ends: [!MARK[0], !MARK[1]] }
    }

    /// Its name for a process of this program.
    pub(crate) fn offset(&'static self) -> Result<u64, String> {
        program::offset_of_constant(&raw const *self as usize, size_of::<Entry>()).map_err(|_| {
            "the function is not part of this program's own file, or the program was linked without RELRO, so the manager \
             cannot find it"
                .to_owned()
        })
    }

    /// The entry of that name, if it is one.
    pub(crate) fn at(offset: u64) -> Result<&'static Self, Failure> {
        let address = program::constant_at(offset, size_of::<Entry>()).map_err(|_| Failure::NoEntry)?;
        if !address.is_multiple_of(align_of::<Entry>()) {
            return Err(Failure::NoEntry);
        }
        let word = |at: usize| {
            let address = (address + at) as *const u64;
            // SAFETY: it is within constant memory of the image, of which the size of an entry was checked, and aligned; any bytes are
            // a number.
            unsafe { address.read() }
        };
        let ends = std::mem::offset_of!(Entry, ends);
        if [word(0), word(8)] != MARK || [word(ends), word(ends + 8)] != [!MARK[0], !MARK[1]] {
            return Err(Failure::NoEntry);
        }
        // SAFETY: only an entry has both marks around it: they are nowhere else in the program, and nobody can write to this memory.
        Ok(unsafe { &*(address as *const Entry) })
    }

    /// Calls it; gives what goes to the peer of that server.
    pub(crate) fn call(&self, server: ServerId, value: &Value, args: Incoming<'_>) -> Result<Outgoing, Failure> {
        let Run::Call(run) = self.run else { return Err(Failure::NoEntry) };
        let mut reply = Reply { server, result: Err("it has given no result".to_owned()) };
        match catch_for_another(|| run(value, args, &mut reply)) {
            Ok(Ok(())) => reply.result.map_err(Failure::Codec),
            Ok(Err(failure)) => Err(failure),
            Err(panic) => Err(Failure::Panicked(panic)),
        }
    }

    pub(crate) fn make(&self, args: Incoming<'_>) -> Result<Made, Failure> {
        match self.run {
            Run::Make(run) => catch_for_another(|| run(args)).unwrap_or_else(|panic| Err(Failure::Panicked(panic))),
            Run::Call(_) => Err(Failure::NoEntry),
        }
    }
}

/// An operation on objects of one type.
pub(crate) trait Method: 'static {
    type Object: Send + 'static;
    type Args: DeserializeOwned;

    fn run(object: &mut Self::Object, args: Self::Args, reply: &mut Reply);

    /// Its entry.
    const ENTRY: &'static Entry = &Entry::new(Run::Call(call::<Self>));
}

/// A way to make objects of one type.
pub(crate) trait Maker: 'static {
    type Object: Send + 'static;
    type Args: DeserializeOwned;

    fn make(args: Self::Args) -> Self::Object;

    /// Its entry.
    const ENTRY: &'static Entry = &Entry::new(Run::Make(make::<Self>));
}

/// Where a method writes its result.
pub(crate) struct Reply {
    server: ServerId,
    result: Result<Outgoing, String>,
}

impl Reply {
    /// To be called once.
    pub(crate) fn give<R: Serialize + ?Sized>(&mut self, result: &R) {
        self.result = encode_for(self.server, result);
    }
}

fn call<M: Method + ?Sized>(value: &Value, args: Incoming<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let args = args.open::<M::Args>().map_err(Failure::Codec)?;
    let mut value = value.lock();
    let value = value.downcast_mut::<M::Object>().ok_or(Failure::WrongType)?;
    M::run(value, args, reply);
    Ok(())
}

fn make<M: Maker + ?Sized>(args: Incoming<'_>) -> Result<Made, Failure> {
    let args = args.open::<M::Args>().map_err(Failure::Codec)?;
    Ok(Made { value: Box::new(M::make(args)), type_name: type_name::<M::Object>() })
}

/// Appends a value.
pub(crate) fn encode<T: Serialize + ?Sized>(value: &T, bytes: &mut Vec<u8>) -> Result<(), String> {
    let (handles, outcome) = match codec::encode(value, bytes) {
        Ok(encoded) => (encoded.handles, Ok(())),
        Err(failure) => (failure.handles(), Err(failure.into_message())),
    };
    match handles && program::drop_handles().unwrap_or(true) {
        true => Err("handles of ipc-channel cannot travel to or from a manager".to_owned()),
        false => outcome,
    }
    .map_err(|words| format!("{}: {words}", type_name::<T>()))
}

pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    codec::decode(bytes).map_err(|failure| format!("{}: {}", type_name::<T>(), failure.message()))
}

/// Nothing but types.
type Types<T> = PhantomData<fn() -> T>;

/// A function of the user's as a method. It has no size, so its type says all.
pub(crate) struct Called<F, T, A, R>(Types<(F, T, A, R)>);

impl<F, T, A, R> Method for Called<F, T, A, R>
where
    F: Fn(&mut T, A) -> R + Copy + Send + 'static,
    T: Send + 'static,
    A: DeserializeOwned + 'static,
    R: Serialize + 'static,
{
    type Object = T;
    type Args = A;

    fn run(object: &mut T, args: A, reply: &mut Reply) {
        let result = conjure::<F>()(object, args);
        reply.give(&result);
    }
}

/// A function of ours, which may give a part of the object without a copy.
pub(crate) struct Shown<F, T, A>(Types<(F, T, A)>);

impl<F, T, A> Method for Shown<F, T, A>
where
    F: Fn(&mut T, A, &mut Reply) + Copy + Send + 'static,
    T: Send + 'static,
    A: DeserializeOwned + 'static,
{
    type Object = T;
    type Args = A;

    fn run(object: &mut T, args: A, reply: &mut Reply) {
        conjure::<F>()(object, args, reply);
    }
}

/// A function of the user's as a maker.
pub(crate) struct Initial<F, A, T>(Types<(F, A, T)>);

impl<F, A, T> Maker for Initial<F, A, T>
where
    F: Fn(A) -> T + Copy + Send + 'static,
    A: DeserializeOwned + 'static,
    T: Send + 'static,
{
    type Object = T;
    type Args = A;

    fn make(args: A) -> T {
        conjure::<F>()(args)
    }
}

/// The function that has that type.
pub(crate) fn conjure<F: Copy + Send + 'static>() -> F {
    const {
        assert!(
            size_of::<F>() == 0,
            "a manager calls functions by their names, and closures that capture nothing: not pointers to functions"
        )
    }
    // SAFETY: it has no bytes that could be wrong. Only who was given an `F` by value can make the instance of which this is part
    // (`Handle::call` and the like take one), in this program; and an `F` may be copied, and used by other threads.
    unsafe { NonNull::<F>::dangling().read() }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").finish_non_exhaustive()
    }
}

/// A value with what goes along, for a peer of that server.
pub(crate) fn encode_for<T: Serialize + ?Sized>(server: ServerId, value: &T) -> Result<Outgoing, String> {
    let mut bytes = Vec::new();
    let (mut outgoing, encoded) = nesting::collect(server, || encode(value, &mut bytes));
    encoded?;
    outgoing.value = bytes;
    Ok(outgoing)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: ServerId = [1; 16];

    fn call_of<F, T, A, R>(_: F) -> &'static Entry
    where
        F: Fn(&mut T, A) -> R + Copy + Send + 'static,
        T: Send + 'static,
        A: DeserializeOwned + 'static,
        R: Serialize + 'static,
    {
        Called::<F, T, A, R>::ENTRY
    }

    fn value(value: impl Send + 'static) -> Value {
        Mutex::new(Box::new(value))
    }

    #[test]
    fn an_entry_is_found_by_its_offset_and_called() {
        let entry = call_of(|list: &mut Vec<u32>, (a, b): (u32, u32)| {
            list.push(a);
            list.push(b);
            list.len() as u64
        });
        let found = Entry::at(entry.offset().unwrap()).unwrap();
        assert!(std::ptr::eq(entry, found));
        let (list, mut args) = (value(vec![1_u32]), Vec::new());
        encode(&(2_u32, 3_u32), &mut args).unwrap();
        let reply = found.call(SERVER, &list, Incoming::of(&args)).unwrap();
        assert_eq!(decode::<u64>(&reply.value), Ok(3));
        assert_eq!(list.lock().downcast_ref(), Some(&vec![1_u32, 2, 3]));
    }

    #[test]
    fn what_is_wrong_is_an_error() {
        let entry = call_of(|text: &mut String, n: usize| text.as_bytes()[n]);
        let run = |value: &Value, args: &[u8]| entry.call(SERVER, value, Incoming::of(args)).unwrap_err();
        assert!(matches!(run(&value(7_u8), &[0]), Failure::WrongType));
        assert!(matches!(run(&value(String::new()), &[]), Failure::Codec(_)));
        assert!(
            matches!(run(&value(String::new()), &[3]), Failure::Panicked(panic) if panic.message().contains("index"))
        );
        assert!(matches!(entry.make(Incoming::of(&[])), Err(Failure::NoEntry)));
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        static NONE: [u64; 6] = [MARK[0], MARK[1], 0, 0, MARK[0], MARK[1]];
        let offset = program::offset_of_constant(&raw const NONE as usize, 48).unwrap();
        let near = call_of(|_: &mut u8, ()| ()).offset().unwrap();
        for offset in [offset, near + 8, near - 8, near + 1, 0, u64::MAX] {
            assert!(matches!(Entry::at(offset), Err(Failure::NoEntry)), "{offset:#x}");
        }
        let code: fn() = what_is_no_entry_is_refused;
        assert!(program::offset_of_constant(&raw const code as usize, 8).is_err(), "a pointer on the stack");
    }
}
