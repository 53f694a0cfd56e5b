//! How many threads there are, when, and what they are called.

use crate::gate::{Gate, OnDrop, until};
use concurrent_futures_core::{Executor, ExecutorExt, Shutdown};
use concurrent_futures_thread::ThreadPoolExecutor;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::mpsc;
use std::thread;

/// The names of the threads that run `n` tasks at once.
fn names(pool: &ThreadPoolExecutor, n: usize) -> BTreeSet<String> {
    let gate = Gate::new();
    let name = |gate: Gate| {
        move || {
            gate.pass();
            thread::current().name().unwrap().to_owned()
        }
    };
    let names: Vec<_> = (0..n).map(|_| pool.spawn(name(gate.clone()))).collect();
    gate.wait_for(n);
    gate.open();
    names.into_iter().map(|name| name.result().unwrap()).collect()
}

#[test]
fn threads_are_named_by_prefix_and_number() {
    let pool = ThreadPoolExecutor::builder().max_workers(5).thread_name_prefix("special").build().unwrap();
    assert_eq!(names(&pool, 5), (0..5).map(|n| format!("special_{n}")).collect());
}

#[test]
fn the_default_name_tells_the_pool_and_the_thread() {
    let pool = ThreadPoolExecutor::new(3).unwrap();
    for (n, name) in names(&pool, 3).iter().enumerate() {
        let (prefix, number) = name.rsplit_once('_').unwrap();
        assert_eq!(number, n.to_string());
        assert!(prefix.strip_prefix("ThreadPoolExecutor-").unwrap().parse::<u64>().is_ok(), "{name}");
    }
}

#[test]
fn there_is_no_thread_before_the_first_task() {
    let pool = ThreadPoolExecutor::new(4).unwrap();
    assert_eq!(pool.stats().workers, 0);
    assert_eq!(pool.num_workers(), 4);
}

#[test]
fn each_task_that_finds_no_idle_worker_starts_one() {
    let pool = ThreadPoolExecutor::new(5).unwrap();
    let gate = Gate::new();
    for started in 1..=3 {
        let gate = gate.clone();
        pool.spawn(move || gate.pass());
        assert_eq!(pool.stats().workers, started);
    }
    gate.open();
}

#[test]
fn sixty_tasks_on_four_workers_start_four_threads() {
    let pool = ThreadPoolExecutor::new(4).unwrap();
    let gate = Gate::new();
    let tasks: Vec<_> = (0..60)
        .map(|_| {
            let gate = gate.clone();
            pool.spawn(move || {
                gate.pass();
                thread::current().id()
            })
        })
        .collect();
    gate.wait_for(4);
    let stats = pool.stats();
    assert_eq!((stats.workers, stats.queued), (4, 56));
    assert_eq!(gate.arrived(), 4);
    gate.open();
    let threads: BTreeSet<_> = tasks.into_iter().map(|task| format!("{:?}", task.result().unwrap())).collect();
    assert!(threads.len() <= 4, "{threads:?}");
    pool.shutdown(Shutdown::WAIT);
    assert_eq!(pool.stats().finished, 60);
}

#[test]
fn an_idle_thread_is_used_before_another_is_started() {
    let pool = ThreadPoolExecutor::new(4).unwrap();
    let first = pool.spawn(|| thread::current().id()).result().unwrap();
    for _ in 0..50 {
        until(|| pool.stats().idle == 1);
        assert_eq!(pool.spawn(|| thread::current().id()).result().unwrap(), first);
    }
    assert_eq!(pool.stats().workers, 1);
}

#[test]
fn an_idle_thread_is_no_reason_to_run_two_tasks_on_one() {
    let pool = ThreadPoolExecutor::new(2).unwrap();
    pool.submit(|x: u8| x, 1).wait();
    until(|| pool.stats().idle == 1);
    let gate = Gate::new();
    for _ in 0..2 {
        let gate = gate.clone();
        pool.spawn(move || gate.pass());
    }
    gate.wait_for(2);
    gate.open();
}

#[test]
fn all_parked_workers_are_called_when_there_is_work_for_all() {
    let pool = ThreadPoolExecutor::new(8).unwrap();
    for _ in 0..20 {
        names(&pool, 8);
        until(|| pool.stats().idle == 8);
    }
    assert_eq!(pool.stats().workers, 8);
}

thread_local! {
    static LAST: RefCell<Option<OnDrop>> = const { RefCell::new(None) };
}

#[test]
fn a_wait_for_the_end_waits_for_thread_locals_too() {
    let pool = ThreadPoolExecutor::new(3).unwrap();
    let (dropped, drops) = mpsc::channel();
    let gate = Gate::new();
    for _ in 0..3 {
        let (gate, dropped) = (gate.clone(), OnDrop(dropped.clone()));
        pool.spawn(move || {
            LAST.set(Some(dropped));
            gate.pass();
        });
    }
    gate.wait_for(3);
    gate.open();
    pool.shutdown(Shutdown::WAIT);
    assert_eq!(pool.stats().workers, 0);
    assert_eq!(drops.try_iter().count(), 3);
}

#[test]
fn the_stack_is_as_large_as_was_asked_for() {
    fn deep(levels: usize) -> usize {
        let frame = std::hint::black_box([levels; 1024]);
        if levels == 0 { 0 } else { deep(levels - 1) + usize::from(frame[7] == levels) }
    }
    let pool = ThreadPoolExecutor::builder().max_workers(1).stack_size(256 << 20).build().unwrap();
    assert_eq!(pool.submit(deep, 8_000).result().unwrap(), 8_000);
}

#[test]
fn impossible_settings_are_refused_at_once() {
    let builder = ThreadPoolExecutor::builder;
    let error = |builder: concurrent_futures_thread::ThreadPoolBuilder| builder.build().unwrap_err().to_string();
    assert!(error(builder().max_workers(0)).contains("max_workers"));
    assert!(error(builder().queue_bound(0)).contains("queue_bound"));
    assert!(error(builder().thread_name_prefix("a\0b")).contains("thread_name_prefix"));
    for stack_size in [0, 1 << 60, usize::MAX / 2, usize::MAX] {
        assert!(error(builder().stack_size(stack_size)).contains("stack_size"), "{stack_size}");
    }
    assert!(ThreadPoolExecutor::new(0).is_err());
    assert!(ThreadPoolExecutor::new(usize::MAX).is_ok());
}

/// How often a thread of this process has gone to sleep, and whether it sleeps now.
#[cfg(target_os = "linux")]
fn sleeps(thread: &str) -> (String, bool) {
    let status = std::fs::read_to_string(format!("/proc/self/task/{thread}/status")).unwrap();
    let line = |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    (line("voluntary_ctxt_switches") + &line("nonvoluntary_ctxt_switches"), line("State").contains('S'))
}

#[test]
#[cfg(target_os = "linux")]
fn an_idle_pool_uses_no_cpu() {
    let pool = ThreadPoolExecutor::new(2).unwrap();
    let gate = Gate::new();
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let gate = gate.clone();
            pool.spawn(move || {
                gate.pass();
                let link = std::fs::read_link("/proc/thread-self").unwrap();
                link.file_name().unwrap().to_str().unwrap().to_owned()
            })
        })
        .collect();
    gate.wait_for(2);
    gate.open();
    let threads: Vec<_> = threads.into_iter().map(|thread| thread.result().unwrap()).collect();
    until(|| pool.stats().idle == 2 && threads.iter().all(|thread| sleeps(thread).1));
    // The one that looked for work last may have been caught in a short sleep: it goes on sleeping only when it has parked.
    until(|| {
        let before: Vec<_> = threads.iter().map(|thread| sleeps(thread)).collect();
        thread::sleep(std::time::Duration::from_millis(50));
        before == threads.iter().map(|thread| sleeps(thread)).collect::<Vec<_>>()
    });
}
