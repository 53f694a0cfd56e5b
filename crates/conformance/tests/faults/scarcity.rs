//! Row 27: what there is not enough of.

use crate::bystanders::{Bystanders, assert_usable};
use crate::ground::{Ground, Lane, Load, square};
use crate::rows;
use crate::strange_worlds::with_no_descriptors;
use concurrent_futures::ExecutorExt;
use concurrent_futures::ipc_channel::ipc::IpcSharedMemory;
use concurrent_futures_conformance::{Soon, until};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};

fn row_27_no_descriptors_are_left_in_the_parent(ground: Ground) {
    let ex = ground.pool(2);
    ex.warm_up().expect("two workers");
    assert_usable(ground, &ex);
    let loads: Vec<_> = (0..20).map(|number| ground.load(number)).collect();
    let outcomes: Vec<_> = with_no_descriptors(|| {
        let futures: Vec<_> = loads.into_iter().map(|load| ex.submit(square, load)).collect();
        futures.into_iter().map(Soon::soon).collect()
    });
    for (number, outcome) in (0..).zip(outcomes) {
        match outcome {
            Ok(value) => assert_eq!(value.value, number * number),
            // Bytes need no descriptor; handles do, and the task says so.
            Err(error) => assert!(ground.lane == Lane::Handles && error.is_codec(), "{error}"),
        }
    }
    assert_usable(ground, &ex);
}

/// From now on the worker can open nothing.
fn exhaust(x: Load<()>) -> Load<()> {
    with_no_descriptors_for_ever();
    x
}

fn with_no_descriptors_for_ever() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(0), ..limit }).expect("a lower limit");
}

fn row_27_no_descriptors_are_left_in_a_worker(ground: Ground) {
    let ex = ground.settings(1).max_tasks_per_child(4).build().expect("a pool");
    // Its own result may not be able to travel any more.
    let _ = ex.submit(exhaust, ground.load(())).soon();
    for number in 0..3_u64 {
        match ex.submit(square, ground.load(number)).soon() {
            Ok(value) => assert_eq!(value.value, number * number),
            Err(error) => {
                assert_eq!(ground.lane, Lane::Handles, "{error}");
                assert!(error.is_codec() || error.is_worker_death(), "{error}");
            }
        }
    }
    // The next worker has what it needs.
    assert_usable(ground, &ex);
}

fn invert(x: Load<IpcSharedMemory>) -> Load<IpcSharedMemory> {
    let bytes: Vec<u8> = x.value.iter().map(|byte| !byte).collect();
    x.with(IpcSharedMemory::from_bytes(&bytes))
}

fn maps(x: Load<()>) -> Load<String> {
    x.with(std::fs::read_to_string("/proc/self/maps").expect("/proc is there"))
}

/// Nothing here needs `/dev/shm`: shared memory has no name. Where this test may, it makes it as small as can be.
fn row_27_dev_shm_is_too_small(ground: Ground) {
    let small = std::thread::spawn(make_shm_small).join().expect("no panic");
    let in_a_small_world = move || {
        if small {
            assert!(make_shm_small());
            assert!(std::fs::write("/dev/shm/too-much", vec![1; 1 << 20]).is_err(), "there is no room");
            std::fs::remove_file("/dev/shm/too-much").expect("what there was room for");
        }
        let ex = ground.pool(2);
        let memory = IpcSharedMemory::from_byte(7, 4 << 20);
        let inverted = ex.submit(invert, ground.load(memory)).soon().expect("memory").value;
        assert!(inverted.len() == 4 << 20 && inverted.iter().all(|byte| *byte == !7));
        let maps = ex.submit(maps, ground.load(())).soon().expect("text").value;
        assert!(!maps.contains("/dev/shm"), "{maps}");
        assert_usable(ground, &ex);
    };
    // The mounts are the thread's, and of what it starts.
    std::thread::spawn(in_a_small_world).join().expect("no panic");
}

/// Gives this thread mounts of its own, with an own `/dev/shm` of one page. `false`: it may not.
fn make_shm_small() -> bool {
    // SAFETY: takes a number only; from now on this thread has a file system view of its own.
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
        return false;
    }
    let mount =
        |from: &std::ffi::CStr, to: &std::ffi::CStr, kind: &std::ffi::CStr, flags, data: *const libc::c_char| {
            // SAFETY: the strings end with a zero and live through the call; `data` is null or such a string.
            unsafe { libc::mount(from.as_ptr(), to.as_ptr(), kind.as_ptr(), flags, data.cast()) == 0 }
        };
    // So that nobody else sees it.
    mount(c"none", c"/", c"", libc::MS_REC | libc::MS_PRIVATE, std::ptr::null())
        && mount(c"tmpfs", c"/dev/shm", c"tmpfs", 0, c"size=4k".as_ptr())
}

const FLOOD: usize = 4 << 20;

fn flood(x: Load<()>) -> Load<()> {
    std::io::stderr().write_all(&vec![b'x'; FLOOD]).expect("somebody reads at last");
    x
}

/// Nobody reads what a worker writes to standard error: it waits, and nobody else.
fn row_27_a_flood_on_standard_error(ground: Ground) {
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let kept = std::io::stderr().as_fd().try_clone_to_owned().expect("a duplicate");
    let replace = |by: i32| {
        // SAFETY: both are open; standard error has another meaning from now on.
        assert_eq!(unsafe { libc::dup2(by, libc::STDERR_FILENO) }, libc::STDERR_FILENO);
    };
    replace(writer.as_raw_fd());
    drop(writer);
    let ex = ground.pool(2);
    let flooding = ex.submit(flood, ground.load(()));
    let bystanders = Bystanders::of(ground, &ex);
    bystanders.succeed();
    assert_usable(ground, &ex);
    assert!(!flooding.done());
    replace(kept.as_raw_fd());
    let read = std::thread::spawn(move || {
        let mut read = vec![0; FLOOD];
        reader.read_exact(&mut read).map(|()| read)
    });
    flooding.soon().expect("it has written everything");
    assert_eq!(read.join().expect("no panic").expect("all of it"), vec![b'x'; FLOOD]);
    assert_usable(ground, &ex);
}

fn flood_and_crash(_: Load<()>) -> Load<()> {
    std::io::stderr().write_all(&vec![b'x'; FLOOD]).expect("the pool reads");
    eprintln!("the last words");
    std::process::abort()
}

/// What is caught is bounded, and a flood holds up nobody.
fn row_27_a_flood_that_is_caught(ground: Ground) {
    let ex = ground.settings(2).capture_output(true).build().expect("a pool");
    let flooding: Vec<_> = (0..4).map(|_| ex.submit(flood, ground.load(()))).collect();
    let crash = ex.submit(flood_and_crash, ground.load(()));
    let bystanders = Bystanders::of(ground, &ex);
    bystanders.succeed();
    for future in flooding {
        until("it is over", || future.done());
        let output = future.output().expect("it is caught");
        assert!(output.truncated && output.stderr.len() <= 2 << 20, "{} bytes", output.stderr.len());
        future.soon().expect("it has written everything");
    }
    let error = crash.soon().map(drop).expect_err("it crashes");
    let tail = error.death().and_then(|death| death.stderr_tail());
    assert!(tail.is_some_and(|tail| tail.contains("the last words")), "{error}");
    assert_usable(ground, &ex);
}

rows! {
    row_27_no_descriptors_are_left_in_the_parent,
    row_27_no_descriptors_are_left_in_a_worker,
    row_27_dev_shm_is_too_small,
    row_27_a_flood_on_standard_error,
    row_27_a_flood_that_is_caught,
}
