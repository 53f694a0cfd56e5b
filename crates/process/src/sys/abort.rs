//! Telling an abort for lack of memory from any other, in the process that aborts.

use std::alloc::{Layout, handle_alloc_error};
use std::ffi::c_void;
use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::slots::Page;

/// The page that gets the note. It is never freed: a handler may be reading it.
static PAGE: AtomicPtr<Page> = AtomicPtr::new(ptr::null_mut());
static INSTALLED: Mutex<bool> = Mutex::new(false);

/// From now on an abort that follows a failed allocation leaves in `page` how much memory was in use, and its limit.
///
/// By a handler for SIGABRT, unless the program has one of its own, which stays. It runs on the thread that aborts, just
/// after what made it abort. That was an allocation if `errno` says so, which "memory allocation of … bytes failed" leaves
/// as the allocator has set it; or if Rust's function for that is on the stack (with `RUST_BACKTRACE` set, what is printed
/// besides spoils `errno`).
pub(crate) fn note_failed_allocations(page: &Arc<Page>) -> io::Result<()> {
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    if *installed {
        return Ok(());
    }
    let mut before = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: no new action is given, and the old one goes to a buffer of its type.
    if unsafe { libc::sigaction(libc::SIGABRT, ptr::null(), before.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: zeroed memory is a valid `sigaction`, and the kernel has filled it.
    let before = unsafe { before.assume_init() };
    *installed = true;
    if before.sa_sigaction != libc::SIG_DFL {
        return Ok(());
    }
    PAGE.store(Arc::into_raw(page.clone()).cast_mut(), Ordering::Release);
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: the pointer is valid for writes, and the value, zeroed, a valid one to change a field of.
    let new = unsafe { action.assume_init_mut() };
    new.sa_sigaction = on_abort as extern "C" fn(i32) as libc::sighandler_t;
    // Once: the signal that the handler raises at its end then ends the process as ever.
    new.sa_flags = libc::SA_RESETHAND | libc::SA_NODEFER;
    // SAFETY: the action is initialised, and its handler does only what is allowed in one.
    if unsafe { libc::sigaction(libc::SIGABRT, new, ptr::null_mut()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// In a process that was just forked off: what becomes of it is not for the page of its parent.
pub(crate) fn let_go() {
    PAGE.store(ptr::null_mut(), Ordering::Release);
}

/// Before a task: what `errno` said before is no evidence.
pub(crate) fn forget_errors() {
    // SAFETY: the C library gives each thread a place for its `errno`, and this is it.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: the place is valid as long as the thread lives, and only this thread uses it.
    unsafe { *errno = 0 };
}

/// System calls, atomics, arithmetic; and a look at the stack.
extern "C" fn on_abort(_: i32) {
    // This reads `errno` and does nothing else.
    let errno = io::Error::last_os_error().raw_os_error();
    // SAFETY: the pointer is null or was made from an `Arc` that is never dropped.
    let page = unsafe { PAGE.load(Ordering::Acquire).as_ref() };
    if (errno == Some(libc::ENOMEM) || an_allocation_has_failed())
        && let Some(page) = page
    {
        let mut limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
        // SAFETY: the buffer has the type that the call fills.
        unsafe { libc::getrlimit(libc::RLIMIT_DATA, &mut limit) };
        if limit.rlim_cur != libc::RLIM_INFINITY {
            page.leave_memory(data_size(), limit.rlim_cur);
        }
    }
    // SAFETY: sends a signal to this thread; its disposition is the default one by now.
    unsafe { libc::raise(libc::SIGABRT) };
}

/// Whether this thread is in `handle_alloc_error`: whether an address to which that function's call returns is on the stack.
///
/// By looking at the words of the stack, through the kernel, which knows where it ends. An unwinder would not get past the
/// frame of the signal everywhere (musl has no tables for it). The function does not return, so nothing else leaves such an
/// address behind.
fn an_allocation_has_failed() -> bool {
    /// The frame of the signal with all registers, and then a few small ones.
    const DEPTH: usize = 64 * 1024;
    const AT_A_TIME: usize = 512;
    let function: fn(Layout) -> ! = handle_alloc_error;
    let function = function as usize;
    let mut words = [0_usize; AT_A_TIME];
    let mut from = (&raw const words).addr();
    let end = from + DEPTH;
    while from < end {
        let here = libc::iovec { iov_base: words.as_mut_ptr().cast(), iov_len: size_of_val(&words) };
        let there = libc::iovec { iov_base: ptr::with_exposed_provenance_mut(from), iov_len: size_of_val(&words) };
        // SAFETY: reads no process's memory.
        let me = unsafe { libc::getpid() };
        // SAFETY: what is written is as long as the first vector says; what is read may be anything, also not there.
        let len = unsafe { libc::process_vm_readv(me, &here, 1, &there, 1, 0) };
        let Ok(len @ 1..) = usize::try_from(len) else { return false };
        let read = &words[..len / size_of::<usize>()];
        if read.iter().any(|&word| word > function && word - function < 4096 && begins_at(word - 1, function)) {
            return true;
        }
        from += len;
    }
    false
}

/// Whether the code at `address` belongs to the function that begins at `start`.
fn begins_at(address: usize, start: usize) -> bool {
    // Part of the ABI of C++ exceptions, on which Rust's panics rest.
    unsafe extern "C" {
        fn _Unwind_FindEnclosingFunction(address: *mut c_void) -> *mut c_void;
    }
    // SAFETY: looks the address up in the tables of the program; any address will do.
    unsafe { _Unwind_FindEnclosingFunction(ptr::without_provenance_mut(address)) }.addr() == start
}

/// As `resources::data_size`, with system calls alone; zero where that fails.
fn data_size() -> u64 {
    let mut buffer = [0_u8; 128];
    // SAFETY: the path is a C string.
    let fd = unsafe { libc::open(c"/proc/self/statm".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
    if fd < 0 {
        return 0;
    }
    // SAFETY: the buffer is writable and that long. Nobody else has the descriptor, and the process ends.
    let len = unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len()) };
    let Ok(len) = usize::try_from(len) else { return 0 };
    // SAFETY: reads a number that the C library has had from the kernel at the start.
    let page = unsafe { libc::getauxval(libc::AT_PAGESZ) };
    field(&buffer[..len.min(buffer.len())], 5).saturating_mul(page)
}

/// The number in the field of this index, from zero; zero where there is none.
fn field(text: &[u8], index: usize) -> u64 {
    let mut fields = text.split(|byte| byte.is_ascii_whitespace());
    let digits = fields.nth(index).unwrap_or_default();
    digits
        .iter()
        .filter(|byte| byte.is_ascii_digit())
        .fold(0_u64, |number, byte| number.wrapping_mul(10).wrapping_add(u64::from(byte - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sixth_number_is_read_without_help() {
        assert_eq!(field(b"2315 371 297 228 0 1024 0\n", 5), 1024);
        assert_eq!((field(b"", 5), field(b"1 2", 5)), (0, 0));
        let size = data_size();
        assert!(size > 100_000 && size.is_multiple_of(4096), "{size}");
    }
}
