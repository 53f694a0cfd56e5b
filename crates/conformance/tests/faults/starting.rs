//! Rows 13 and 14: workers that do not get ready, or cannot be started.

use crate::bystanders::{Bystanders, assert_usable};
use crate::ground::{Ground, Lane, Load, death, pid, strike};
use crate::row::{Scene, scene};
use crate::rows;
use crate::strange_worlds::{refuse_processes, with_no_descriptors};
use concurrent_futures::{Ending, Executor, ExecutorExt, ProcessPoolExecutor, Refusal, Shutdown, TaskError};
use concurrent_futures_conformance::{Soon, Stage, Ticket, until};
use rustix::process::Signal;
use std::path::PathBuf;
use std::time::Duration;

#[track_caller]
fn broken(error: &TaskError) -> &str {
    match error.refusal() {
        Some(Refusal::Broken(why)) => why,
        _ => panic!("the pool is not broken: {error}"),
    }
}

/// Why there is no worker for this task, in a pool that is as good as before.
fn without_worker(error: &TaskError) -> &str {
    match error.refusal() {
        Some(Refusal::NoWorker(why)) => why,
        _ => panic!("that is not for want of a worker: {error}"),
    }
}

/// All that is queued and comes is refused, with words that contain this.
#[track_caller]
fn assert_broken(ground: Ground, ex: &ProcessPoolExecutor, words: &str) {
    let futures: Vec<_> = (0..5).map(|_| ex.submit(pid, ground.load(()))).collect();
    for future in futures {
        let error = future.soon().map(|_| ()).expect_err("no worker gets ready");
        assert!(broken(&error).contains(words), "{error}");
    }
    let late = ex.try_submit(pid, ground.load(())).map(drop).expect_err("it takes nothing any more");
    assert!(matches!(&late.why, Refusal::Broken(why) if why.contains(words)), "{late}");
}

fn row_13_an_initializer_fails(ground: Ground) {
    let fails: fn(String) -> Result<(), String> = Err;
    let words = || "no database".to_owned();
    let exits = |code: i32| std::process::exit(code);
    let aborts = |_: i32| std::process::abort();
    let settings = || ground.settings(2);
    let pools = [
        (settings().initializer(fails, words()), "no database"),
        (settings().initializer::<_, ()>(|words: String| panic!("{words}"), words()), "no database"),
        (settings().initializer::<_, ()>(exits, 41), "41"),
        (settings().initializer::<_, ()>(aborts, 0), "SIGABRT"),
    ];
    for (settings, words) in pools {
        let ex = settings.build().expect("a pool");
        assert_broken(ground, &ex, words);
        ex.shutdown(Shutdown::WAIT);
        assert_eq!(ex.worker_pids(), []);
        drop(ex);
        // The program is none the worse for it.
        assert_usable(ground, &ground.pool(2));
    }
    if ground.lane == Lane::Handles {
        // Each worker would need its own: this is told at once.
        let error = ground.settings(1).initializer(|_: Load<()>| (), ground.load(())).build().map(drop);
        assert!(error.expect_err("it cannot be sent").to_string().contains("handles"));
    }
}

/// Every worker but the third and later ones dies in it.
fn dies_twice(place: PathBuf) {
    for step in ["first", "second"] {
        if std::fs::File::create_new(place.join(step)).is_ok() {
            std::process::abort();
        }
    }
}

fn row_13_an_initializer_dies_now_and_then(ground: Ground) {
    let place = tempfile::tempdir().expect("a directory");
    let ex = ground.settings(1).initializer(dies_twice, place.path().to_owned()).build().expect("a pool");
    let bystanders = Bystanders::of(ground, &ex);
    bystanders.succeed();
    assert_usable(ground, &ex);
}

fn row_13_an_initializer_is_slow(ground: Ground) {
    let stage = Stage::new();
    let slow = |ticket: Ticket| ticket.enter("initializer");
    let ex = ground.settings(2).initializer(slow, stage.ticket()).build().expect("a pool");
    let bystanders = Bystanders::of(ground, &ex);
    let cancelled = ex.submit(pid, ground.load(()));
    let arrivals = stage.wait_for(2);
    assert!(!cancelled.running() && cancelled.cancel());
    drop(arrivals);
    bystanders.succeed();
    assert!(cancelled.soon().map(drop).expect_err("it is").is_cancelled());
    assert_usable(ground, &ex);
    // One that is killed in it is replaced.
    let ex = ground.settings(1).initializer(slow, stage.ticket()).build().expect("a pool");
    let bystanders = Bystanders::of(ground, &ex);
    let first = stage.next();
    strike(first.pid(), Signal::KILL);
    let second = stage.next();
    assert_ne!(second.pid(), first.pid());
    second.release();
    bystanders.succeed();
    // And nobody waits for one that hangs when the pool is killed.
    let ex = ground.settings(1).initializer(slow, stage.ticket()).build().expect("a pool");
    let waiting = ex.submit(pid, ground.load(()));
    let _hangs = stage.next();
    ex.kill_workers();
    assert!(waiting.soon().map(drop).expect_err("it never started").is_cancelled());
    ex.shutdown(Shutdown::WAIT);
}

fn row_13_an_initializer_hangs(ground: Ground) {
    let stage = Stage::new();
    let hangs = |ticket: Ticket| {
        ticket.tell("hangs");
        loop {
            std::thread::park();
        }
    };
    let settings = ground.settings(2).initializer_timeout(Duration::from_millis(200));
    let ex = settings.initializer::<_, ()>(hangs, stage.ticket()).build().expect("a pool");
    assert_broken(ground, &ex, "ready");
    ex.shutdown(Shutdown::WAIT);
    assert_eq!(ex.worker_pids(), []);
    drop(ex);
    assert_usable(ground, &ground.pool(2));
}

fn abort(_: Load<()>) -> Load<()> {
    std::process::abort()
}

fn row_14_there_are_no_descriptors_for_a_worker(ground: Ground) {
    for replacement in [false, true] {
        let ex = ground.pool(1);
        if replacement {
            assert_usable(ground, &ex);
        }
        let (death_of_one, loads) = (ground.load(()), [ground.load(()), ground.load(())]);
        let outcomes = with_no_descriptors(|| {
            if replacement && ground.lane == Lane::Bytes {
                // How it ended is learnt through descriptors, too.
                let death = death(ex.submit(abort, death_of_one).soon());
                assert!(death.signal() == Some("SIGABRT") || death.ending() == Ending::Unknown, "{death}");
            } else if replacement {
                let worker = ex.worker_pids()[0];
                strike(worker, Signal::KILL);
                until("the death is noticed", || ex.worker_pids().is_empty());
            }
            loads.map(|load| ex.submit(pid, load).soon().map(drop))
        });
        for error in outcomes.map(Result::unwrap_err) {
            // Handles cannot even be packed.
            assert!(
                error.is_codec() || without_worker(&error).contains("no worker process could be started"),
                "{error}"
            );
        }
        assert_usable(ground, &ex);
    }
}

fn row_14_the_system_starts_no_process(ground: Ground) {
    for (errno, words) in [(libc::EAGAIN, "temporarily unavailable"), (libc::ENOMEM, "allocate memory")] {
        if ground.kind.forks() {
            // The first fork server cannot fork; the next one can.
            let place = tempfile::tempdir().expect("a directory");
            let once = place.path().join("once");
            let first_only = |(once, errno): (PathBuf, i32)| {
                if std::fs::File::create_new(once).is_ok() {
                    refuse_processes(errno);
                }
            };
            let ex = ground.settings(2).preload(first_only, (once, errno)).build().expect("a pool");
            let error = ex.submit(pid, ground.load(())).soon().map(drop).expect_err("no worker");
            assert!(without_worker(&error).contains(words), "{error}");
            let [server] = children()[..] else { panic!("one fork server") };
            strike(server, Signal::KILL);
            assert_usable(ground, &ex);
        }
        // A refusal holds for a thread, and for what it starts: a pool that is made in one is without processes.
        let elsewhere = std::thread::spawn(move || {
            refuse_processes(errno);
            match ground.settings(1).build() {
                Ok(ex) => ex.submit(pid, ground.load(())).soon().map(drop).expect_err("no worker").to_string(),
                Err(error) => error.to_string(),
            }
        });
        let error = elsewhere.join().expect("no panic");
        assert!(error.contains(words), "{error}");
        assert_usable(ground, &ground.pool(1));
    }
}

fn children() -> Vec<u32> {
    let me = std::process::id();
    let listed = std::fs::read_to_string(format!("/proc/{me}/task/{me}/children")).unwrap_or_default();
    let mut found: Vec<u32> = listed.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
    // A child belongs to the thread that has started it.
    for task in std::fs::read_dir("/proc/self/task").expect("/proc is there").flatten() {
        let listed = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        found.extend(listed.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// The program's file is gone, or another one is in its place: workers are still this very program.
fn row_14_the_program_is_gone_from_the_disk(ground: Ground) {
    if scene().is_some() {
        let me = std::env::current_exe().expect("this program has a path");
        std::fs::remove_file(&me).expect("it is a copy");
        std::fs::write(&me, "not a program").expect("a file");
        let ex = ground.pool(2);
        assert_usable(ground, &ex);
        ex.worker_pids().into_iter().for_each(|worker| strike(worker, Signal::KILL));
        until("new workers", || ex.submit(pid, ground.load(())).soon().is_ok());
        return assert_usable(ground, &ex);
    }
    let place = tempfile::tempdir().expect("a directory");
    let copy = place.path().join("program");
    std::fs::copy(std::env::current_exe().expect("this program has a path"), &copy).expect("a copy");
    let ended = Scene::new("the program is gone").of_the_file(&copy).start().wait();
    assert!(ended.status.success(), "{ended:?}");
}

rows! {
    row_13_an_initializer_fails,
    row_13_an_initializer_dies_now_and_then,
    row_13_an_initializer_is_slow,
    row_13_an_initializer_hangs,
    row_14_there_are_no_descriptors_for_a_worker,
    row_14_the_system_starts_no_process,
    row_14_the_program_is_gone_from_the_disk,
}
