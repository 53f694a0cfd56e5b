//! How whole programs end, with work pending, by whatever way. They are in `src/program`.

use concurrent_futures_conformance::{Ended, Kind, Program, Stage, descendants, tests, wait_for_end};

fn start(scenario: &str, kind: Kind, stage: Option<&Stage>) -> Program {
    let more: Vec<&str> = stage.iter().map(|stage| stage.name()).collect();
    Program::start(env!("CARGO_BIN_EXE_conformance-program"), scenario, kind, &more)
}

fn run(scenario: &str, kind: Kind) -> Ended {
    start(scenario, kind, None).wait()
}

fn assert_quiet(ended: &Ended, stdout: &str) {
    assert!(ended.status.success(), "{ended:?}");
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), (stdout, ""));
}

fn ends_with_work_pending(kind: Kind) {
    assert_quiet(&run("ends_with_work_pending", kind), "one\ntwo\n");
}

fn ends_after_a_shutdown_without_waiting(kind: Kind) {
    assert_quiet(&run("ends_after_a_shutdown_without_waiting", kind), "one\ntwo\n");
}

fn ends_after_a_shutdown_that_cancels(kind: Kind) {
    let stage = Stage::new();
    let program = start("ends_after_a_shutdown_that_cancels", kind, Some(&stage));
    // The first task is held until main has shut down.
    drop(stage.wait_for(2));
    assert_quiet(&program.wait(), "one\n");
}

/// Runs a program whose only task is parked for ever when `main` comes to its end; nobody waits for it, and its worker ends.
fn run_with_a_parked_task(scenario: &str, kind: Kind) -> Ended {
    let stage = Stage::new();
    let program = start(scenario, kind, Some(&stage));
    let pid = program.pid();
    let (main, task): (Vec<_>, Vec<_>) = stage.wait_for(2).into_iter().partition(|arrival| arrival.words() == "main");
    drop(main);
    let ended = program.wait();
    assert_eq!(task[0].pid() == pid, !kind.is_process());
    if kind.is_process() {
        wait_for_end(task[0].pid());
    }
    ended
}

fn does_not_wait_for_a_pool_that_was_leaked(kind: Kind) {
    assert_quiet(&run_with_a_parked_task("ends_with_a_leaked_pool", kind), "");
}

fn does_not_wait_for_the_global_pool(kind: Kind) {
    assert_quiet(&run_with_a_parked_task("ends_with_work_on_the_global_pool", kind), "");
}

fn exits_with_work_pending(kind: Kind) {
    let ended = run_with_a_parked_task("exits_with_work_pending", kind);
    assert_eq!((ended.status.code(), ended.stdout.as_str(), ended.stderr.as_str()), (Some(5), "", ""));
}

/// The block is left after all its work, as a `with` is in Python.
fn panics_with_work_pending(kind: Kind) {
    let ended = run("panics_with_work_pending", kind);
    assert_eq!((ended.status.code(), ended.stdout.as_str()), (Some(101), "one\n"), "{ended:?}");
    assert!(ended.stderr.contains("the program panics on purpose"));
}

fn submits_at_its_exit(kind: Kind) {
    assert_quiet(&run("submits_at_its_exit", kind), "one\nrefused: true\n");
}

fn forks_with_work_pending(kind: Kind) {
    let stage = Stage::new();
    let program = start("forks_with_work_pending", kind, Some(&stage));
    // The child has ended before the work of its parent has: both are heard, in either order, while the task is held.
    let heard = stage.wait_for(2);
    let mut words: Vec<_> = heard.iter().map(|arrival| arrival.words()).collect();
    words.sort_unstable();
    assert_eq!(words, ["forked", "held"]);
    drop(heard);
    assert_quiet(&program.wait(), "child: true 0\n");
}

fn exits_in_a_task(kind: Kind) {
    let ended = run("exits_in_a_task", kind);
    if kind.is_process() {
        assert_quiet(&ended, "Some(7)\n");
    } else {
        assert_eq!((ended.status.code(), ended.stdout.as_str(), ended.stderr.as_str()), (Some(7), "", ""));
    }
}

fn prints_without_newlines(kind: Kind) {
    let ended = run("prints_without_newlines", kind);
    assert!(ended.status.success(), "{ended:?}");
    for word in ["one ", "two ", "three ", "from C "] {
        assert_eq!(ended.stdout.matches(word).count(), 1, "{ended:?}");
    }
    let mut words: Vec<_> = ended.stderr.split_whitespace().collect();
    words.sort_unstable();
    assert_eq!(words, ["one", "three", "two"]);
}

/// A task's panic goes to whoever holds the future, and nowhere else; a callback's is printed, as nobody else would see it.
fn panics_in_tasks_and_callbacks(kind: Kind) {
    let ended = run("panics_in_tasks_and_callbacks", kind);
    assert!(ended.status.success(), "{ended:?}");
    assert!(!ended.stderr.contains("in the task itself") && !ended.stderr.contains("nobody looks at"), "{ended:?}");
    for words in ["in a late callback", "in a callback\n", "in a callback in a task"] {
        assert_eq!(ended.stderr.matches(words).count(), 1, "{words}: {ended:?}");
    }
}

fn leaves_nothing_behind_when_it_is_killed(kind: Kind) {
    let stage = Stage::new();
    let program = start("waits_to_be_killed", kind, Some(&stage));
    let workers: Vec<_> = stage.wait_for(2).iter().map(|worker| worker.pid()).collect();
    // The workers and, where there is one, the fork server.
    let left = descendants(program.pid());
    assert!(!kind.is_process() || workers.iter().all(|worker| left.contains(worker)), "{left:?}");
    program.kill();
    left.into_iter().for_each(wait_for_end);
    assert!(!program.wait().status.success());
}

/// CPython's `FailingInitializerResources`, and more.
fn makes_many_pools_and_leaves_nothing_open(kind: Kind) {
    assert_quiet(&run("makes_many_pools", kind), "descriptors: +0\nprocesses: 0\n");
}

/// CPython's `test_failed_worker_replacement_breaks_pool`: here only what is queued fails.
fn cannot_start_workers_for_a_while(kind: Kind) {
    assert_quiet(&run("cannot_start_workers", kind), "death: true\nrefused: true\nafterwards: 3\n");
}

tests! {
    all {
        ends_with_work_pending,
        ends_after_a_shutdown_without_waiting,
        panics_with_work_pending,
        submits_at_its_exit,
        exits_in_a_task,
        prints_without_newlines,
        panics_in_tasks_and_callbacks,
    }
    parallel {
        ends_after_a_shutdown_that_cancels,
        does_not_wait_for_a_pool_that_was_leaked,
        exits_with_work_pending,
        forks_with_work_pending,
        leaves_nothing_behind_when_it_is_killed,
        makes_many_pools_and_leaves_nothing_open,
    }
    thread {
        does_not_wait_for_the_global_pool,
    }
    process {
        cannot_start_workers_for_a_while,
    }
}
