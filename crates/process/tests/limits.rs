//! Limits on what workers and tasks may use.

mod support;

use concurrent_futures_core::{ExecutorExt, KilledBy, TaskError};
use concurrent_futures_process::{ProcessPoolBuilder, ProcessPoolExecutor};
use rustix::process::{Resource, getpriority_process, getrlimit};
use std::fs::File;
use std::time::Duration;
use support::*;

const MIB: u64 = 1 << 20;

fn grow(mib: u64) -> u64 {
    std::hint::black_box(vec![1_u8; (mib * MIB) as usize]).len() as u64
}

fn spin(_: ()) {
    loop {
        std::hint::spin_loop();
    }
}

fn pid(_: ()) -> u32 {
    std::process::id()
}

/// Soft limits of memory, CPU time and open files.
fn soft_limits(_: ()) -> [Option<u64>; 3] {
    [Resource::Data, Resource::Cpu, Resource::Nofile].map(|resource| getrlimit(resource).current)
}

fn killed_by<T>(outcome: Result<T, TaskError>) -> KilledBy {
    let error = outcome.err().expect("it dies");
    error.death().unwrap_or_else(|| panic!("no death: {error}")).killed_by()
}

#[test]
fn a_worker_that_wants_too_much_memory_dies_of_it() {
    with_both(|builder| {
        let pool = builder.max_workers(2).memory_limit(256 * MIB).build().unwrap();
        assert_eq!(outcome(pool.submit(grow, 64)).unwrap(), 64 * MIB);
        let error = outcome(pool.submit(grow, 1024)).unwrap_err();
        let death = error.death().unwrap();
        assert_eq!((death.killed_by(), death.signal()), (KilledBy::Memory, Some("SIGABRT")), "{error}");
        assert!(death.by_pool() && error.to_string().contains("268435456"), "{error}");
        // A failed allocation that is handled is the task's own affair, and so is any other abort.
        let tried = pool.submit(|n: usize| Vec::<u8>::new().try_reserve_exact(n).is_err(), 1 << 30);
        assert!(outcome(tried).unwrap());
        assert_eq!(killed_by(outcome::<()>(pool.submit(|()| std::process::abort(), ()))), KilledBy::Nobody);
        assert_eq!(outcome(pool.submit(grow, 64)).unwrap(), 64 * MIB);
    });
}

#[test]
fn a_task_has_limits_of_its_own_and_the_next_one_has_not() {
    with_both(|builder| {
        let pool = builder.max_workers(1).build().unwrap();
        let before = outcome(pool.submit(soft_limits, ())).unwrap();
        let limited = pool.task(soft_limits, ()).memory_limit(256 * MIB).open_files_limit(64);
        let limited = limited.cpu_time_limit(Duration::from_millis(1500)).submit();
        let [memory, cpu, files] = outcome(limited).unwrap();
        assert_eq!((memory, files), (Some(256 * MIB), Some(64)));
        assert!(cpu.is_some_and(|cpu| (2..60).contains(&cpu)), "{cpu:?}");
        assert_eq!(outcome(pool.submit(soft_limits, ())).unwrap(), before);

        let greedy = pool.task(grow, 1024).memory_limit(256 * MIB).submit();
        assert_eq!(killed_by(outcome(greedy)), KilledBy::Memory);
        assert_eq!(outcome(pool.submit(grow, 512)).unwrap(), 512 * MIB);

        let open = |n: usize| {
            let files: Vec<_> = (0..n).map(|_| File::open("/dev/null")).collect();
            files.iter().filter_map(|file| file.as_ref().err()?.raw_os_error()).next()
        };
        let limited = pool.task(open, 100).open_files_limit(64).submit();
        assert_eq!(outcome(limited).unwrap(), Some(libc::EMFILE));
        assert_eq!(outcome(pool.submit(open, 100)).unwrap(), None);
    });
}

#[test]
fn a_worker_keeps_its_own_limit_where_the_task_s_is_wider() {
    let pool =
        ProcessPoolExecutor::builder().max_workers(1).memory_limit(256 * MIB).open_files_limit(64).build().unwrap();
    let wide = pool.task(soft_limits, ()).memory_limit(1 << 40).open_files_limit(100).submit();
    let [memory, _, files] = outcome(wide).unwrap();
    assert_eq!((memory, files), (Some(256 * MIB), Some(64)));
}

#[test]
fn a_task_that_uses_too_much_cpu_time_dies_of_it_and_its_neighbour_lives() {
    with_both(|builder| {
        let pool = builder.max_workers(2).build().unwrap();
        let place = Place::new();
        let mut gate = place.gate("gate");
        let neighbour = pool.submit(wait_at, gate.path());
        let spinning = pool.task(spin, ()).cpu_time_limit(Duration::from_millis(10)).submit();
        let error = outcome(spinning).unwrap_err();
        let death = error.death().unwrap();
        assert_eq!((death.killed_by(), death.signal()), (KilledBy::CpuTime, Some("SIGXCPU")), "{error}");
        gate.open();
        outcome(neighbour).unwrap();
    });
}

#[test]
fn a_worker_has_so_much_cpu_time_in_its_life() {
    let pool = ProcessPoolExecutor::builder().max_workers(1).cpu_time_limit(Duration::from_millis(1)).build().unwrap();
    assert_eq!(killed_by(outcome(pool.submit(spin, ()))), KilledBy::CpuTime);
    // Another one has as much again.
    outcome(pool.submit(pid, ())).unwrap();
}

#[test]
fn niceness_and_cpus_hold_for_the_tasks_and_what_they_start() {
    let look = |()| {
        let cpus = rustix::thread::sched_getaffinity(None).unwrap();
        let inherited = std::thread::spawn(|| getpriority_process(None).unwrap()).join().unwrap();
        (getpriority_process(None).unwrap(), inherited, (0..1024).filter(|cpu| cpus.is_set(*cpu)).collect::<Vec<_>>())
    };
    let here = rustix::thread::sched_getaffinity(None).unwrap();
    let cpu = (0..1024).find(|cpu| here.is_set(*cpu)).unwrap();
    with_both(|builder| {
        let pool = builder.max_workers(1).nice(19).cpu_affinity([cpu, cpu]).build().unwrap();
        assert_eq!(outcome(pool.submit(look, ())).unwrap(), (19, 19, vec![cpu]));
    });
    assert_eq!(rustix::thread::sched_getaffinity(None).unwrap(), here, "nothing has changed here");
}

#[test]
fn what_cannot_be_is_refused() {
    let refused = |builder: ProcessPoolBuilder, what: &str| {
        let error = builder.build().err().unwrap_or_else(|| panic!("{what} is accepted")).to_string();
        assert!(error.contains(what), "{error}");
    };
    let builder = ProcessPoolExecutor::builder;
    refused(builder().memory_limit(0), "memory_limit");
    refused(builder().memory_limit(MIB), "memory_limit");
    refused(builder().cpu_time_limit(Duration::ZERO), "cpu_time_limit");
    refused(builder().open_files_limit(3), "open_files_limit");
    refused(builder().nice(20), "niceness");
    refused(builder().nice(-21), "niceness");
    refused(builder().cpu_affinity([]), "cpu_affinity");
    refused(builder().cpu_affinity([0, 1023]), "no CPU 1023");
    refused(builder().cpu_affinity([usize::MAX]), "no CPU");
    refused(builder().max_memory_per_child(0), "max_memory_per_child");
    let pool = builder().max_workers(1).build().unwrap();
    assert!(outcome(pool.task(pid, ()).memory_limit(1).submit()).unwrap_err().is_refused());
    assert!(outcome(pool.task(pid, ()).cpu_time_limit(Duration::ZERO).submit()).unwrap_err().is_refused());
}

#[test]
fn a_limit_that_the_program_itself_exceeds_breaks_the_pool_and_says_so() {
    let load = |n: u64| std::mem::forget(std::hint::black_box(vec![1_u8; (n * MIB) as usize]));
    let pool = ProcessPoolExecutor::builder().preload(load, 64).memory_limit(32 * MIB).build().unwrap();
    let error = outcome(pool.submit(pid, ())).unwrap_err();
    assert!(error.is_refused() && error.to_string().contains("memory limit is 33554432"), "{error}");
}

#[test]
fn a_worker_that_has_grown_too_large_is_replaced_between_tasks() {
    let keep = |n: u64| {
        std::mem::forget(std::hint::black_box(vec![1_u8; (n * MIB) as usize]));
        std::process::id()
    };
    with_both(|builder| {
        let pool = builder.max_workers(1).max_memory_per_child(64 * MIB).build().unwrap();
        let small: Vec<_> = (0..10).map(|_| pool.submit(keep, 0)).collect();
        let small: Vec<u32> = small.into_iter().map(|future| outcome(future).unwrap()).collect();
        assert!(small.iter().all(|pid| *pid == small[0]), "{small:?}");
        // Those behind a large one go elsewhere, and none is lost.
        let all: Vec<_> = (0..20).map(|n| pool.submit(keep, if n % 5 == 0 { 100 } else { 0 })).collect();
        let pids: Vec<u32> = all.into_iter().map(|future| outcome(future).unwrap()).collect();
        assert_eq!(pids[0], small[0]);
        for (n, pair) in pids.windows(2).enumerate() {
            assert_eq!(pair[0] == pair[1], n % 5 != 0, "{pids:?}");
        }
    });
}
