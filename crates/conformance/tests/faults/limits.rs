//! Rows 18, 19, 22 and 23: tasks that take too long, or too much, and workers that do nothing any more.

use crate::bystanders::{Bystanders, assert_usable};
use crate::ground::{Ground, Load, death, hold, pid, stop, strike, strike_worker};
use crate::rows;
use concurrent_futures::{ExecutorExt, Future, Grace, KilledBy, task};
use concurrent_futures_conformance::{Arrival, Soon, Stage, Ticket, until, wait_for_end};
use rustix::process::Signal;
use std::io::Write;
use std::time::Duration;

/// Mostly long enough for a task to start, and short enough to be waited for.
const SHORT: Duration = Duration::from_millis(150);

fn at_once() -> Grace {
    Grace::new().ask(Duration::ZERO).terminate(Duration::from_millis(50))
}

/// A task that has a limit and has begun, which it says on the stage, and for which `is_in_time` holds, before its time was up.
/// Where the machine is too busy for that there is another one, which has more time.
fn begun<T>(
    stage: &Stage,
    submit: impl Fn(Duration) -> Future<Load<T>>,
    is_in_time: impl Fn(&Arrival) -> bool,
) -> (Future<Load<T>>, Arrival) {
    let mut limit = SHORT;
    loop {
        let future = submit(limit);
        let mut heard = Vec::new();
        until("it has begun, or its time is up", || {
            let is_over = future.done();
            heard.extend(stage.heard());
            is_over || !heard.is_empty()
        });
        if let Some(arrival) = heard.pop().filter(&is_in_time) {
            return (future, arrival);
        }
        let error = future.soon().map(drop).expect_err("its time is up");
        assert!(error.is_timeout(), "{error}");
        limit *= 4;
    }
}

/// Ignores SIGTERM, and does nothing for ever.
fn stubborn(x: Load<Ticket>) -> Load<()> {
    // SAFETY: ignoring a signal has no requirements.
    unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
    x.value.tell("stubborn");
    loop {
        std::thread::park();
    }
}

fn row_18_a_task_ignores_sigterm(ground: Ground) {
    let (ex, stage) = (ground.pool(2), Stage::new());
    for _ in 0..3 {
        let bystanders = Bystanders::of(ground, &ex);
        let submit = |limit| ex.task(stubborn, ground.load(stage.ticket())).timeout(limit).grace(at_once()).submit();
        let (future, arrival) = begun(&stage, submit, |_| true);
        let worker = arrival.pid();
        let error = future.soon().map(drop).expect_err("its time is up");
        assert!(error.is_timeout(), "{error}");
        wait_for_end(worker);
        bystanders.succeed();
        assert_usable(ground, &ex);
    }
}

/// Asks whether it should stop, and returns then.
fn polite(x: Load<Ticket>) -> Load<u32> {
    x.value.tell("polite");
    while !task::current().should_stop() {
        std::thread::yield_now();
    }
    x.with(std::process::id())
}

fn row_18_a_task_that_stops_when_asked_keeps_its_worker(ground: Ground) {
    let (ex, stage) = (ground.pool(1), Stage::new());
    let patient = Grace::new().ask(Duration::from_secs(60)).terminate(Duration::from_secs(60));
    let future = ex.task(polite, ground.load(stage.ticket())).timeout(SHORT).grace(patient).submit();
    let worker = stage.next().pid();
    assert!(future.soon().map(drop).expect_err("its time is up").is_timeout());
    assert_eq!(ex.submit(pid, ground.load(())).soon().expect("a fresh task").value, worker);
    assert_usable(ground, &ex);
}

/// Leaves SIGTERM as it is, and comes back when the test says so.
fn row_19_one_of_many_is_stopped(ground: Ground) {
    for by_abort in [true, false] {
        let (ex, stage) = (ground.pool(2), Stage::new());
        let neighbour = ex.submit(hold, ground.load((stage.ticket(), 1)));
        let other = stage.next();
        let submit = |limit| {
            let task = ex.task(hold, ground.load((stage.ticket(), 2))).grace(at_once());
            if by_abort { task.submit() } else { task.timeout(limit).submit() }
        };
        let (victim, arrival) = begun(&stage, submit, |_| true);
        let queued = Bystanders::of(ground, &ex);
        if by_abort {
            assert!(victim.abort());
        }
        let error = victim.soon().map(drop).expect_err("it was stopped");
        assert_eq!((error.is_aborted(), error.is_timeout()), (by_abort, !by_abort), "{error}");
        wait_for_end(arrival.pid());
        queued.succeed();
        assert!(neighbour.running());
        other.release();
        assert_eq!(neighbour.soon().expect("it is not disturbed").value, 1);
        assert_usable(ground, &ex);
    }
}

/// The task returns in spite of all, at the moment at which its time is up, or soon before or after.
fn row_19_a_late_result_is_discarded(ground: Ground) {
    fn on_the_brink(x: Load<u64>) -> Load<u64> {
        std::thread::sleep(Duration::from_millis(20));
        let value = x.value;
        x.with(value)
    }
    let ex = ground.pool(2);
    let futures: Vec<Future<Load<u64>>> = (0..60)
        .map(|number| {
            let limit = Duration::from_micros(18_000 + number * 100);
            ex.task(on_the_brink, ground.load(number)).timeout(limit).grace(at_once()).submit()
        })
        .collect();
    for (number, future) in (0..).zip(futures) {
        match future.soon() {
            Ok(value) => assert_eq!(value.value, number),
            Err(error) => assert!(error.is_timeout(), "{error}"),
        }
    }
    assert_usable(ground, &ex);
    // The same with abort.
    for step in 0..40 {
        let future = ex.task(on_the_brink, ground.load(step)).grace(at_once()).submit();
        until("it has started, or is over", || future.running() || future.done());
        std::thread::sleep(Duration::from_micros(18_000 + step * 100));
        let aborted = future.abort();
        match future.soon() {
            Ok(value) => assert!(!aborted && value.value == step),
            Err(error) => assert!(aborted && error.is_aborted(), "{error}"),
        }
    }
    assert_usable(ground, &ex);
}

fn allocate(x: Load<usize>) -> Load<usize> {
    let memory = std::hint::black_box(vec![1_u8; x.value]);
    x.with(memory.len())
}

fn row_22_a_task_takes_more_memory_than_it_may(ground: Ground) {
    const LIMIT: u64 = 256 << 20;
    let ex = ground.settings(2).memory_limit(LIMIT).build().expect("a pool");
    let bystanders = Bystanders::of(ground, &ex);
    let died = death(ex.submit(allocate, ground.load(1 << 30)).soon());
    assert_eq!(died.killed_by(), KilledBy::Memory, "{died}");
    bystanders.succeed();
    assert_eq!(ex.submit(allocate, ground.load(16 << 20)).soon().expect("that is little").value, 16 << 20);
    assert_usable(ground, &ex);
    // A limit of the task's own.
    let ex = ground.pool(1);
    let died = death(ex.task(allocate, ground.load(1 << 30)).memory_limit(LIMIT).submit().soon());
    assert_eq!(died.killed_by(), KilledBy::Memory, "{died}");
    assert_eq!(ex.submit(allocate, ground.load(300 << 20)).soon().expect("it has no limit").value, 300 << 20);
    assert_usable(ground, &ex);
}

/// Puts this process into a new control group of little memory, below its own. `None`: that cannot be done here.
fn enter_group() -> Option<String> {
    let membership = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    membership.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let (root, limit) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            "memory" => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            _ => return None,
        };
        // The kernel makes the files of a group: where they are not, this is none.
        let group = format!("{root}{path}/concurrent-futures-faults-{}", std::process::id());
        std::fs::create_dir(&group).ok()?;
        let write = |file: &str, value: String| {
            let mut file = std::fs::OpenOptions::new().write(true).open(format!("{group}/{file}"))?;
            file.write_all(value.as_bytes())
        };
        let entered = write(limit, (64 << 20).to_string())
            .and_then(|()| write("memory.swap.max", "0".to_owned()).or(Ok(())))
            .and_then(|()| write("cgroup.procs", std::process::id().to_string()));
        if entered.is_err() {
            // It is empty.
            let _ = std::fs::remove_dir(&group);
        }
        entered.ok().map(|()| group)
    })
}

fn allocate_in_a_group(x: Load<(Ticket, usize)>) -> Load<usize> {
    match enter_group() {
        Some(group) => x.value.0.enter(group),
        None => {
            x.value.0.enter("");
            // As the killer of the kernel does it.
            strike(std::process::id(), Signal::KILL);
        }
    }
    let memory = std::hint::black_box(vec![1_u8; x.value.1]);
    x.with(memory.len())
}

fn row_22_the_kernel_kills_for_want_of_memory(ground: Ground) {
    let (ex, stage) = (ground.pool(2), Stage::new());
    let bystanders = Bystanders::of(ground, &ex);
    let future = ex.submit(allocate_in_a_group, ground.load((stage.ticket(), 512 << 20)));
    let arrival = stage.next();
    let group = arrival.words().to_owned();
    let worker = arrival.pid();
    arrival.release();
    let died = death(future.soon());
    assert_eq!((died.signal(), died.by_pool(), died.pid()), (Some("SIGKILL"), false, worker), "{died}");
    bystanders.succeed();
    assert_usable(ground, &ex);
    if group.is_empty() {
        println!("no control group can be made here: it was killed by hand");
    } else {
        assert!(died.oom().is_some(), "the kernel has counted it: {died}");
        wait_for_end(worker);
        until("the group is empty", || std::fs::remove_dir(&group).is_ok());
    }
}

fn spin(x: Load<Ticket>) -> Load<()> {
    x.value.tell("spins");
    loop {
        std::hint::spin_loop();
    }
}

fn row_23_a_task_spins_for_ever(ground: Ground) {
    let (ex, stage) = (ground.pool(2), Stage::new());
    let bystanders = Bystanders::of(ground, &ex);
    let submit = |limit| ex.task(spin, ground.load(stage.ticket())).timeout(limit).grace(at_once()).submit();
    let (future, arrival) = begun(&stage, submit, |_| true);
    assert!(future.soon().map(drop).expect_err("its time is up").is_timeout());
    wait_for_end(arrival.pid());
    bystanders.succeed();
    assert_usable(ground, &ex);
}

fn row_23_a_worker_is_stopped(ground: Ground) {
    let (ex, stage) = (ground.pool(2), Stage::new());
    // One that has a limit is ended when its time is up, stopped or not.
    let submit = |limit| ex.task(hold, ground.load((stage.ticket(), 1))).timeout(limit).grace(at_once()).submit();
    let (future, arrival) = begun(&stage, submit, |arrival| strike_worker(&ex, arrival.pid(), Signal::STOP));
    let bystanders = Bystanders::of(ground, &ex);
    assert!(future.soon().map(drop).expect_err("its time is up").is_timeout());
    wait_for_end(arrival.pid());
    bystanders.succeed();
    assert_usable(ground, &ex);
    // One that has none waits until it is continued, and nobody else does.
    let future = ex.submit(hold, ground.load((stage.ticket(), 2)));
    let arrival = stage.next();
    stop(arrival.pid());
    assert_usable(ground, &ex);
    assert!(!future.done());
    strike(arrival.pid(), Signal::CONT);
    arrival.release();
    assert_eq!(future.soon().expect("it was only late").value, 2);
}

rows! {
    links {
        row_18_a_task_ignores_sigterm,
        row_18_a_task_that_stops_when_asked_keeps_its_worker,
        row_19_one_of_many_is_stopped,
        row_19_a_late_result_is_discarded,
        row_22_a_task_takes_more_memory_than_it_may,
        row_22_the_kernel_kills_for_want_of_memory,
        row_23_a_task_spins_for_ever,
        row_23_a_worker_is_stopped,
    }
}
