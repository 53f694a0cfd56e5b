//! Programs whose end the suite looks at: `conformance-program SCENARIO EXECUTOR [STAGE]`.

use concurrent_futures::{Executor, ExecutorExt, Future, Shutdown, global};
use concurrent_futures_conformance::{Kind, Ticket, descendants};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::Duration;

/// What a program may use.
struct Setting {
    kind: Kind,
    ticket: Option<Ticket>,
}

impl Setting {
    fn ticket(&self) -> Ticket {
        self.ticket.clone().expect("this scenario needs a stage")
    }
}

type Scenario = (&'static str, fn(&Setting));

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [scenario, kind, stage @ ..] = &arguments[..] else {
        panic!("usage: conformance-program SCENARIO EXECUTOR [STAGE]")
    };
    let kind = Kind::by_name(kind).expect("the name of an executor");
    let setting = Setting { kind, ticket: stage.first().map(Ticket::of) };
    let scenarios: [Scenario; 15] = [
        ("ends_with_work_pending", ends_with_work_pending),
        ("ends_after_a_shutdown_without_waiting", ends_after_a_shutdown_without_waiting),
        ("ends_after_a_shutdown_that_cancels", ends_after_a_shutdown_that_cancels),
        ("ends_with_a_leaked_pool", ends_with_a_leaked_pool),
        ("ends_with_work_on_the_global_pool", ends_with_work_on_the_global_pool),
        ("exits_with_work_pending", exits_with_work_pending),
        ("panics_with_work_pending", panics_with_work_pending),
        ("submits_at_its_exit", submits_at_its_exit),
        ("forks_with_work_pending", forks_with_work_pending),
        ("exits_in_a_task", exits_in_a_task),
        ("prints_without_newlines", prints_without_newlines),
        ("panics_in_tasks_and_callbacks", panics_in_tasks_and_callbacks),
        ("waits_to_be_killed", waits_to_be_killed),
        ("makes_many_pools", makes_many_pools),
        ("cannot_start_workers", cannot_start_workers),
    ];
    let (_, run) = scenarios.iter().find(|(name, _)| name == scenario).expect("the name of a scenario");
    run(&setting);
}

/// Long enough for `main` to be at its end by then, or nearly: should it not be, the test still passes.
fn print_late(word: String) {
    thread::sleep(Duration::from_millis(100));
    println!("{word}");
}

fn park_for_ever(ticket: Ticket) {
    ticket.tell("parked");
    loop {
        thread::park();
    }
}

/// CPython's `test_interpreter_shutdown`.
fn ends_with_work_pending(setting: &Setting) {
    let ex = setting.kind.pool(1);
    drop(ex.submit(print_late, "one".to_string()));
    drop(ex.submit(print_late, "two".to_string()));
}

/// CPython's `test_hang_gh83386`.
fn ends_after_a_shutdown_without_waiting(setting: &Setting) {
    let ex = setting.kind.pool(1);
    drop(ex.submit(print_late, "one".to_string()));
    drop(ex.submit(print_late, "two".to_string()));
    ex.shutdown(Shutdown::NO_WAIT);
}

fn print_when_released((ticket, word): (Ticket, String)) {
    ticket.enter("held");
    println!("{word}");
}

/// CPython's `test_cancel_futures_wait_false`.
fn ends_after_a_shutdown_that_cancels(setting: &Setting) {
    let ex = setting.kind.pool(1);
    let futures =
        ["one", "two", "three"].map(|word| ex.submit(print_when_released, (setting.ticket(), word.to_string())));
    while !futures[0].running() {
        thread::yield_now();
    }
    ex.shutdown(Shutdown::NO_WAIT.cancel_futures());
    setting.ticket().tell("main");
}

fn ends_with_a_leaked_pool(setting: &Setting) {
    let ex = setting.kind.pool(1);
    drop(ex.submit(park_for_ever, setting.ticket()));
    setting.ticket().enter("main");
    std::mem::forget(ex);
}

fn ends_with_work_on_the_global_pool(setting: &Setting) {
    drop(global().submit(park_for_ever, setting.ticket()));
    setting.ticket().enter("main");
}

fn exits_with_work_pending(setting: &Setting) {
    let ex = setting.kind.pool(1);
    drop(ex.submit(park_for_ever, setting.ticket()));
    setting.ticket().enter("main");
    std::process::exit(5);
}

fn panics_with_work_pending(setting: &Setting) {
    let ex = setting.kind.pool(1);
    drop(ex.submit(print_late, "one".to_string()));
    panic!("the program panics on purpose");
}

static POOL: OnceLock<Box<dyn Executor>> = OnceLock::new();

/// CPython's `test_submit_after_interpreter_shutdown`.
fn submits_at_its_exit(setting: &Setting) {
    extern "C" fn at_exit() {
        let ex = POOL.get().expect("it was made in main");
        let error = ex.submit(print_late, "too late".to_string()).result().unwrap_err();
        println!("refused: {}", error.is_refused());
    }
    // SAFETY: the handler has C's calling convention and does not unwind: it aborts instead.
    unsafe { libc::atexit(at_exit) };
    let ex = POOL.get_or_init(|| setting.kind.pool(1));
    drop(ex.submit(print_late, "one".to_string()));
    ex.shutdown(Shutdown::NO_WAIT);
}

/// A child that has not got the threads of its parent must not wait for them when it exits.
fn forks_with_work_pending(setting: &Setting) {
    let ex = setting.kind.pool(1);
    let held = ex.submit(|ticket: Ticket| ticket.enter("held"), setting.ticket());
    while !held.running() {
        thread::yield_now();
    }
    ex.shutdown(Shutdown::NO_WAIT);
    // SAFETY: the child calls nothing but `exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: no other thread is in this process.
        unsafe { libc::exit(0) };
    }
    let mut status = -1;
    // SAFETY: `child` is our own child, and the status goes to a variable of ours.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    println!("child: {} {status}", waited == child);
    setting.ticket().tell("forked");
}

fn exits_in_a_task(setting: &Setting) {
    let ex = setting.kind.pool(1);
    let exit = ex.submit(|code: i32| -> () { std::process::exit(code) }, 7);
    match exit.result() {
        Ok(()) => println!("a value"),
        Err(error) => println!("{:?}", error.death().and_then(|death| death.exit_code())),
    }
}

fn prints_without_newlines(setting: &Setting) {
    let ex = setting.kind.pool(2);
    ex.for_each(
        |word: String| {
            // Standard error is not buffered: one piece each.
            let word = word + " ";
            print!("{word}");
            eprint!("{word}");
        },
        ["one", "two", "three"].map(String::from),
    )
    .unwrap();
    ex.submit(
        |()| {
            // SAFETY: the string ends with a zero.
            unsafe { libc::printf(c"from C ".as_ptr()) };
        },
        (),
    )
    .result()
    .unwrap();
}

fn panics_in_tasks_and_callbacks(setting: &Setting) {
    let ex = setting.kind.pool(1);
    let future = ex.submit(|(): ()| -> u8 { panic!("in the task itself") }, ());
    assert!(future.exception().is_some());
    future.add_done_callback(|_| panic!("in a late callback"));
    drop(ex.submit(|(): ()| -> u8 { panic!("in a task that nobody looks at") }, ()));
    let (promise, watched) = concurrent_futures::Promise::pair();
    watched.add_done_callback(|_| panic!("in a callback"));
    promise.set_result(1).unwrap();
    // Callbacks that run in the middle of a task.
    let within = ex.submit(
        |()| {
            let ready = Future::ready(Ok(1));
            ready.add_done_callback(|_| panic!("in a callback in a task"));
        },
        (),
    );
    within.result().unwrap();
}

fn waits_to_be_killed(setting: &Setting) {
    static KEPT: Mutex<Vec<Future<()>>> = Mutex::new(Vec::new());
    let ex = setting.kind.pool(2);
    KEPT.lock().unwrap().extend(ex.submit_all(park_for_ever, vec![setting.ticket(); 2]));
    loop {
        thread::park();
    }
}

/// How many descriptors this process has open, and how many other processes descend from it.
fn possessions() -> (usize, usize) {
    let open = std::fs::read_dir("/proc/self/fd").unwrap().count();
    (open, descendants(std::process::id()).len())
}

fn makes_many_pools(setting: &Setting) {
    let round = || {
        let ex = setting.kind.pool(2);
        assert_eq!(ex.map(|x: u64| x, 0..10).sum::<Result<u64, _>>().unwrap(), 45);
        drop(ex);
        let fails: fn(String) -> Result<(), String> = Err;
        let broken = setting.kind.pool_with_initializer(2, fails, "no disk".to_string());
        assert!(broken.submit(|x: u64| x, 1).result().unwrap_err().is_refused());
        broken.shutdown(Shutdown::WAIT);
    };
    // What is made once for the whole process comes with the first.
    round();
    let before = possessions();
    (0..5).for_each(|_| round());
    println!("descriptors: {:+}", possessions().0.cast_signed() - before.0.cast_signed());
    println!("processes: {}", possessions().1);
}

fn cannot_start_workers(setting: &Setting) {
    let ex = setting.kind.pool(1);
    assert_eq!(ex.submit(|x: u64| x, 1).result().unwrap(), 1);
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(0), ..limit }).unwrap();
    let death: Future<()> = ex.submit(|(): ()| std::process::abort(), ());
    println!("death: {}", death.result().unwrap_err().is_worker_death());
    let error = ex.submit(|x: u64| x, 2).result().unwrap_err();
    setrlimit(Resource::Nofile, limit).unwrap();
    println!("refused: {}", error.is_refused() && error.to_string().contains("no worker process could be started"));
    println!("afterwards: {}", ex.submit(|x: u64| x, 3).result().unwrap());
}
