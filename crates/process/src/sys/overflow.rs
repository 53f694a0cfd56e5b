//! Telling an overflow of the stack from other faults, in the process that it ends.
//!
//! Rust's start-up does that for a program, but a worker never gets to it.

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};

use crate::slots::Page;

/// The page that gets the note, if there is one. It is never freed: a handler may be reading it.
static PAGE: AtomicPtr<Page> = AtomicPtr::new(ptr::null_mut());

/// So far from the stack pointer is what a function touches that has no room left: each page is touched in its turn.
const NEAR: usize = 64 * 1024;
/// For the handler itself, beside what the kernel puts there.
const ROOM: usize = 16 * 1024;

/// From now on an overflow of this thread's stack is said on standard error and, with the limit of the stack, in `page`; then
/// the process dies of SIGSEGV as ever.
///
/// By a handler for SIGSEGV on a stack of its own, unless the program has a handler, which stays. To be called once, by the
/// thread that runs the user's code, while there is no other.
pub(crate) fn note(page: Option<&Arc<Page>>) -> io::Result<()> {
    let mut before = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: no new action is given, and the old one goes to a buffer of its type.
    if unsafe { libc::sigaction(libc::SIGSEGV, ptr::null(), before.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: zeroed memory is a valid `sigaction`, and the kernel has filled it.
    if unsafe { before.assume_init() }.sa_sigaction != libc::SIG_DFL {
        return Ok(());
    }
    PAGE.store(page.map_or(ptr::null_mut(), |page| Arc::into_raw(page.clone()).cast_mut()), Ordering::Release);
    // SAFETY: reads a number that the C library has had from the kernel at the start; zero where there is none.
    let least = unsafe { libc::getauxval(libc::AT_MINSIGSTKSZ) } as usize;
    let stack: &mut [MaybeUninit<u8>] = Box::leak(Box::new_uninit_slice(least.max(libc::MINSIGSTKSZ) + ROOM));
    let stack = libc::stack_t { ss_sp: stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: stack.len() };
    // SAFETY: the memory is never freed and nothing else uses it.
    if unsafe { libc::sigaltstack(&stack, ptr::null_mut()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: the pointer is valid for writes, and the value, zeroed, a valid one to change a field of.
    let new = unsafe { action.assume_init_mut() };
    new.sa_sigaction = on_fault as extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) as libc::sighandler_t;
    // Once: what faults does so again when the handler returns, and then the process ends as ever.
    new.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESETHAND;
    // SAFETY: the action is initialised, and its handler does only what is allowed in one.
    if unsafe { libc::sigaction(libc::SIGSEGV, new, ptr::null_mut()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// In a process that was just forked off: what becomes of it is not for the page of its parent.
pub(crate) fn let_go() {
    PAGE.store(ptr::null_mut(), Ordering::Release);
}

/// System calls, atomics, arithmetic.
extern "C" fn on_fault(_: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel gives a handler with SA_SIGINFO what it knows about the signal.
    let info = unsafe { &*info };
    if info.si_code <= 0 {
        // It was sent, so nothing will fault again. The signal comes when this handler has returned.
        // SAFETY: sends a signal to this thread, whose disposition is the default one by now.
        unsafe { libc::raise(libc::SIGSEGV) };
        return;
    }
    // SAFETY: the signal is SIGSEGV and comes from the kernel, so the address is there.
    let fault = unsafe { info.si_addr() }.addr();
    // SAFETY: the kernel gives a handler with SA_SIGINFO what this thread was at, as a `ucontext_t`.
    let context = unsafe { &*context.cast::<libc::ucontext_t>() };
    // Nothing is where the stack ought to go on.
    if stack_pointer(context).is_none_or(|here| here.abs_diff(fault) > NEAR) {
        return;
    }
    let mut limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the buffer has the type that the call fills.
    unsafe { libc::getrlimit(libc::RLIMIT_STACK, &mut limit) };
    // SAFETY: the pointer is null or was made from an `Arc` that is never dropped.
    if let Some(page) = unsafe { PAGE.load(Ordering::Acquire).as_ref() } {
        page.leave_overflow(limit.rlim_cur);
    }
    const WORDS: &[u8] = b"concurrent-futures: the stack of a task or process has overflowed\n";
    // SAFETY: the bytes are there. There is nobody to whom it could be said that they were not written.
    let _ = unsafe { libc::write(libc::STDERR_FILENO, WORDS.as_ptr().cast(), WORDS.len()) };
}

/// Where the stack of the interrupted code ended.
#[cfg(target_arch = "x86_64")]
fn stack_pointer(context: &libc::ucontext_t) -> Option<usize> {
    Some(context.uc_mcontext.gregs[libc::REG_RSP as usize] as usize)
}

/// Where the stack of the interrupted code ended.
#[cfg(target_arch = "aarch64")]
fn stack_pointer(context: &libc::ucontext_t) -> Option<usize> {
    Some(context.uc_mcontext.sp as usize)
}

/// It is not known on this architecture.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn stack_pointer(_: &libc::ucontext_t) -> Option<usize> {
    None
}
