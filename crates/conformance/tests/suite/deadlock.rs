//! CPython's `test_deadlock.py`: whatever goes wrong, at whatever step, the future resolves, the pool stays usable, and the
//! shutdown returns. There most of these break the pool.

use crate::tasks::{occupy, square};
use concurrent_futures::{CodecStep, Executor, ExecutorExt, Shutdown, TaskError};
use concurrent_futures_conformance::{Kind, Soon, Stage, tests};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::thread;

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Step {
    EncodeArgument,
    DecodeArgument,
    Run,
    EncodeResult,
    DecodeResult,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum How {
    Error,
    Panic,
    Exit,
    Abort,
}

/// An argument and result that goes wrong at a step of its way.
#[derive(Clone, Debug)]
struct Trap {
    at: Step,
    how: How,
    /// The process that submitted it.
    home: u32,
    /// Bulk, to fill the pipes.
    ballast: Vec<u8>,
}

impl Trap {
    fn new(at: Step, how: How) -> Self {
        Trap { at, how, home: std::process::id(), ballast: Vec::new() }
    }

    fn spring(&self, step: Step) -> Result<(), &'static str> {
        if self.at != step {
            return Ok(());
        }
        match self.how {
            How::Error => Err("the trap says no"),
            How::Panic => panic!("the trap panics"),
            How::Exit => std::process::exit(3),
            How::Abort => std::process::abort(),
        }
    }
}

impl Serialize for Trap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let step = if self.home == std::process::id() { Step::EncodeArgument } else { Step::EncodeResult };
        self.spring(step).map_err(serde::ser::Error::custom)?;
        (self.at, self.how, self.home, &self.ballast).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Trap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (at, how, home, ballast) = Deserialize::deserialize(deserializer)?;
        let trap = Trap { at, how, home, ballast };
        let step = if home == std::process::id() { Step::DecodeResult } else { Step::DecodeArgument };
        trap.spring(step).map_err(serde::de::Error::custom)?;
        Ok(trap)
    }
}

fn pass(trap: Trap) -> Result<Trap, String> {
    trap.spring(Step::Run)?;
    Ok(trap)
}

/// Sends a trap through a pool beside other work; the error of its future.
fn spring(kind: Kind, trap: Trap) -> TaskError {
    let ex = kind.pool(2);
    let before = ex.submit_all(square, 0..5);
    let future = ex.submit_fallible(pass, trap);
    let after = ex.submit_all(square, 5..10);
    let error = future.soon().map(drop).unwrap_err();
    let others = before.into_iter().chain(after);
    assert!(others.map(|future| future.soon().unwrap()).eq((0..10).map(square)), "only the trap is lost");
    assert_eq!(ex.submit(square, 9).soon().unwrap(), 81, "the pool stays usable");
    ex.shutdown(Shutdown::WAIT);
    error
}

fn is_codec_error(error: &TaskError, step: CodecStep, words: &str) {
    let codec = error.codec().unwrap_or_else(|| panic!("{error}"));
    assert_eq!(codec.step(), step);
    assert!(codec.type_name().ends_with("Trap"), "{error}");
    assert!(codec.message().contains(words), "{error}");
}

fn error_at_the_encoding_of_the_argument(kind: Kind) {
    let error = spring(kind, Trap::new(Step::EncodeArgument, How::Error));
    is_codec_error(&error, CodecStep::EncodeArgument, "the trap says no");
    let error = spring(kind, Trap::new(Step::EncodeArgument, How::Panic));
    is_codec_error(&error, CodecStep::EncodeArgument, "the trap panics");
}

fn error_at_the_decoding_of_the_argument(kind: Kind) {
    let error = spring(kind, Trap::new(Step::DecodeArgument, How::Error));
    is_codec_error(&error, CodecStep::DecodeArgument, "the trap says no");
    let error = spring(kind, Trap::new(Step::DecodeArgument, How::Panic));
    let panic = error.panic().map(|panic| panic.message().to_owned());
    let codec = error.codec().map(|codec| codec.message().to_owned());
    assert!(panic.or(codec).is_some_and(|words| words.contains("the trap panics")), "{error}");
}

fn end_of_the_process_at_the_decoding_of_the_argument(kind: Kind) {
    let error = spring(kind, Trap::new(Step::DecodeArgument, How::Exit));
    assert_eq!(error.death().unwrap().exit_code(), Some(3));
    let error = spring(kind, Trap::new(Step::DecodeArgument, How::Abort));
    assert_eq!(error.death().unwrap().signal(), Some("SIGABRT"));
}

fn error_in_the_task(kind: Kind) {
    let error = spring(kind, Trap::new(Step::Run, How::Error));
    assert_eq!(error.failure().unwrap().message(), "the trap says no");
    let error = spring(kind, Trap::new(Step::Run, How::Panic));
    assert_eq!(error.panic().unwrap().message(), "the trap panics");
}

fn end_of_the_process_in_the_task(kind: Kind) {
    let error = spring(kind, Trap::new(Step::Run, How::Exit));
    assert_eq!(error.death().unwrap().exit_code(), Some(3));
    let error = spring(kind, Trap::new(Step::Run, How::Abort));
    assert_eq!(error.death().unwrap().signal(), Some("SIGABRT"));
}

fn error_at_the_encoding_of_the_result(kind: Kind) {
    let error = spring(kind, Trap::new(Step::EncodeResult, How::Error));
    is_codec_error(&error, CodecStep::EncodeResult, "the trap says no");
    let error = spring(kind, Trap::new(Step::EncodeResult, How::Panic));
    is_codec_error(&error, CodecStep::EncodeResult, "the trap panics");
}

fn end_of_the_process_at_the_encoding_of_the_result(kind: Kind) {
    let error = spring(kind, Trap::new(Step::EncodeResult, How::Exit));
    assert_eq!(error.death().unwrap().exit_code(), Some(3));
    let error = spring(kind, Trap::new(Step::EncodeResult, How::Abort));
    assert_eq!(error.death().unwrap().signal(), Some("SIGABRT"));
}

fn error_at_the_decoding_of_the_result(kind: Kind) {
    let error = spring(kind, Trap::new(Step::DecodeResult, How::Error));
    is_codec_error(&error, CodecStep::DecodeResult, "the trap says no");
    let error = spring(kind, Trap::new(Step::DecodeResult, How::Panic));
    is_codec_error(&error, CodecStep::DecodeResult, "the trap panics");
}

/// Where nothing is encoded, nothing goes wrong with it.
fn nothing_is_encoded_without_processes(kind: Kind) {
    for at in [Step::EncodeArgument, Step::DecodeArgument, Step::EncodeResult, Step::DecodeResult] {
        let ex = kind.pool(1);
        let trap = ex.submit_fallible(pass, Trap::new(at, How::Abort)).soon().unwrap();
        assert_eq!(trap.at, at);
        assert!(ex.tasks(pass, [trap]).chunksize(2).map_fallible().all(|result| result.is_ok()));
    }
}

/// One bad item of a chunk costs that item; a death costs the chunk.
fn in_a_chunk(kind: Kind) {
    let ex = kind.pool(1);
    let steps = [Step::EncodeArgument, Step::DecodeArgument, Step::Run, Step::EncodeResult, Step::DecodeResult];
    for how in [How::Error, How::Panic] {
        let items = steps.into_iter().flat_map(|at| [Trap::new(at, how), Trap::new(Step::DecodeResult, How::Error)]);
        let harmless = Trap { home: 0, ..Trap::new(Step::DecodeResult, How::Error) };
        let mut results = ex.tasks(pass, items.chain([harmless])).chunksize(20).map_fallible();
        for _ in 0..10 {
            results.next().unwrap().map(drop).unwrap_err();
        }
        assert!(results.next().unwrap().is_ok());
        assert!(results.next().is_none());
    }
    let others = [0, 1].map(|_| Trap::new(Step::Run, How::Abort));
    let results: Vec<_> = ex.tasks(pass, others).chunksize(2).map_fallible().collect();
    assert!(results.iter().all(|result| result.as_ref().err().is_some_and(TaskError::is_worker_death)));
    assert_eq!(ex.submit(square, 3).soon().unwrap(), 9);
}

/// CPython's `test_shutdown_deadlock`.
fn a_worker_that_dies_during_the_shutdown(kind: Kind) {
    let (ex, stage) = (kind.pool(2), Stage::new());
    let (mut running, arrivals) = occupy(&ex, &stage, 1);
    thread::scope(|scope| {
        let shutdown = scope.spawn(|| ex.shutdown(Shutdown::WAIT));
        // From now on the pool is closed.
        while ex.try_submit(square, 1).is_ok() {
            thread::yield_now();
        }
        let pid = i32::try_from(arrivals[0].pid()).ok().and_then(rustix::process::Pid::from_raw).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::SEGV).unwrap();
        shutdown.join().unwrap();
    });
    assert_eq!(running.remove(0).soon().unwrap_err().death().unwrap().signal(), Some("SIGSEGV"));
}

/// CPython's `test_shutdown_deadlock_pickle`: here the argument is encoded by `submit` itself.
fn an_argument_that_cannot_be_encoded_before_the_shutdown(kind: Kind) {
    let ex = kind.pool(2);
    let future = ex.submit_fallible(pass, Trap::new(Step::EncodeArgument, How::Error));
    ex.shutdown(Shutdown::NO_WAIT);
    let error = future.soon().map(drop).unwrap_err();
    is_codec_error(&error, CodecStep::EncodeArgument, "the trap says no");
    ex.shutdown(Shutdown::WAIT);
}

/// CPython's `test_crash_big_data`: more than the pipe holds, and nobody reads it.
fn a_worker_that_dies_before_it_has_read_its_argument(kind: Kind) {
    let ex = kind.pool(2);
    for at in [Step::DecodeArgument, Step::Run] {
        let big = |how| Trap { ballast: vec![7; 10_000_000], ..Trap::new(at, how) };
        let futures = [How::Abort, How::Exit, How::Abort].map(|how| ex.submit_fallible(pass, big(how)));
        for future in futures {
            assert!(future.soon().map(drop).unwrap_err().is_worker_death());
        }
        let fine = Trap { ballast: vec![7; 10_000_000], ..Trap::new(Step::EncodeArgument, How::Error) };
        let fine = Trap { home: 0, ..fine };
        assert_eq!(ex.submit_fallible(pass, fine).soon().unwrap().ballast.len(), 10_000_000);
    }
}

/// CPython's `test_gh105829_should_not_deadlock_if_wakeup_pipe_full`: `submit` never blocks on whoever serves the workers.
fn submissions_faster_than_anybody_reads_them(kind: Kind) {
    let (ex, stage) = (kind.pool(1), Stage::new());
    let (_running, arrivals) = occupy(&ex, &stage, 1);
    let futures = ex.submit_all(square, 0..20_000);
    drop(arrivals);
    ex.shutdown(Shutdown::WAIT.cancel_futures());
    assert!(futures.iter().all(|future| future.done()));
}

tests! {
    all {
        error_in_the_task,
    }
    parallel {
        submissions_faster_than_anybody_reads_them,
    }
    serial {
        nothing_is_encoded_without_processes,
    }
    thread {
        nothing_is_encoded_without_processes,
    }
    process {
        error_at_the_encoding_of_the_argument,
        error_at_the_decoding_of_the_argument,
        end_of_the_process_at_the_decoding_of_the_argument,
        end_of_the_process_in_the_task,
        error_at_the_encoding_of_the_result,
        end_of_the_process_at_the_encoding_of_the_result,
        error_at_the_decoding_of_the_result,
        in_a_chunk,
        a_worker_that_dies_during_the_shutdown,
        an_argument_that_cannot_be_encoded_before_the_shutdown,
        a_worker_that_dies_before_it_has_read_its_argument,
    }
}
