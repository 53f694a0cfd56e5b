//! Systems that refuse what they usually give.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Runs `f` while this process can open nothing more.
pub fn with_no_descriptors<T>(f: impl FnOnce() -> T) -> T {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(0), ..limit }).expect("a lower limit");
    let outcome = f();
    setrlimit(Resource::Nofile, limit).expect("the limit from before");
    outcome
}

/// From now on this thread, and what it starts, can start no process: the kernel answers with this error. There is no way back.
pub fn refuse_processes(errno: i32) {
    // Offsets in `struct seccomp_data`: the number of the call, and the lower half of its first argument.
    const NUMBER: u32 = 0;
    const FLAGS: u32 = 16;
    let load = |at| instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, at);
    let answer = |what: u32| instruction(libc::BPF_RET | libc::BPF_K, 0, 0, what);
    let is = |what: u32, yes, no| instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, yes, no, what);
    let has = |what: u32, yes, no| instruction(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, yes, no, what);
    let mut program = [
        load(NUMBER),
        // Without it `clone` is used, whose flags can be seen here.
        is(libc::SYS_clone3 as u32, 4, 0),
        is(libc::SYS_clone as u32, 0, 4),
        load(FLAGS),
        has(libc::CLONE_THREAD as u32, 2, 0),
        answer(libc::SECCOMP_RET_ERRNO | errno as u32),
        answer(libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
        answer(libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: takes numbers only.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
    // SAFETY: the filter and the program that it points to are valid for the call, which copies them.
    let status = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) };
    assert_eq!(status, 0, "{}", std::io::Error::last_os_error());
}

fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt, jf, k }
}
