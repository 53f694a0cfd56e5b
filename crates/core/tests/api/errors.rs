//! What errors say, carry, and cost.

use crate::manual::Manual;
use crate::wire::Wire;
use concurrent_futures_core::{
    BuildError, CodecError, CodecStep, Death, Ending, Executor, ExecutorExt, Panic, Refusal, SerialExecutor, Shutdown,
    TaskError, TaskErrorKind,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::error::Error;
use std::fmt;

fn error_of(future: concurrent_futures_core::Future<u8>) -> TaskError {
    future.result().unwrap_err()
}

#[test]
fn an_error_is_one_pointer_and_can_be_kept() {
    assert_eq!(size_of::<TaskError>(), size_of::<usize>());
    assert_eq!(size_of::<Result<(), TaskError>>(), size_of::<usize>());
    fn kept<T: Clone + Send + Sync + Error + 'static>() {}
    kept::<TaskError>();
}

#[test]
fn each_kind_has_its_predicate_and_only_that() {
    let kinds = [
        TaskErrorKind::Cancelled,
        TaskErrorKind::TimedOut(std::time::Duration::from_secs(1)),
        TaskErrorKind::Panicked(Panic::remote("m", None, "")),
        TaskErrorKind::WorkerDied(Death::new(1, Ending::Code(1))),
        TaskErrorKind::Codec(CodecError::new(CodecStep::EncodeArgument, "T", "m")),
        TaskErrorKind::Refused(Refusal::Full),
        TaskErrorKind::Abandoned,
    ];
    let predicates: [fn(&TaskError) -> bool; 7] = [
        TaskError::is_cancelled,
        TaskError::is_timeout,
        TaskError::is_panic,
        TaskError::is_worker_death,
        TaskError::is_codec,
        TaskError::is_refused,
        TaskError::is_abandoned,
    ];
    for (i, kind) in kinds.into_iter().enumerate() {
        let error = TaskError::new(kind);
        for (j, is) in predicates.iter().enumerate() {
            assert_eq!(is(&error), i == j, "{error}, predicate {j}");
        }
        assert!(!error.is_failed());
        assert_eq!(error.task_id(), None);
        let accessors = [
            error.panic().is_some(),
            error.death().is_some(),
            error.codec().is_some(),
            error.refusal().is_some(),
            error.failure().is_some(),
            error.timeout().is_some(),
        ];
        assert!(accessors.iter().filter(|there| **there).count() <= 1, "{error}");
    }
}

#[test]
fn it_says_which_task_and_what_happened() {
    let ex = Manual::new();
    let (plain, named) = (ex.submit(|x: u8| 1 / x, 0), ex.task(|x: u8| 1 / x, 0).name("divide").submit());
    let id = plain.id();
    ex.run_all();
    let (plain, named) = (error_of(plain), error_of(named));
    assert_eq!((plain.task_id(), plain.task_name()), (Some(id), None));
    assert!(plain.to_string().starts_with(&format!("task {id} panicked at ")), "{plain}");
    assert!(plain.to_string().ends_with("attempt to divide by zero"), "{plain}");
    assert!(named.to_string().starts_with("task `divide` panicked at "), "{named}");
    assert!(format!("{named:?}").contains("divide"));
}

#[test]
fn a_panic_comes_with_message_location_backtrace_and_payload() {
    let ex = SerialExecutor::new();
    let error = error_of(ex.submit(|x: u8| panic!("{x} is too much"), 7));
    let panic = error.panic().unwrap();
    assert_eq!(panic.message(), "7 is too much");
    assert!(panic.location().unwrap().contains("errors.rs:"), "{:?}", panic.location());
    let payload = panic.take_payload().expect("the first caller gets it");
    assert_eq!(*payload.downcast::<String>().unwrap(), "7 is too much");
    assert!(error.clone().panic().unwrap().take_payload().is_none(), "also from a clone: there is one only");

    let odd = error_of(ex.submit(|x: u8| -> u8 { std::panic::panic_any(x) }, 7));
    assert_eq!(*odd.panic().unwrap().take_payload().unwrap().downcast::<u8>().unwrap(), 7);
}

#[test]
fn a_panic_over_a_wire_keeps_its_words() {
    let ex = Wire::new();
    let future = ex.submit(|x: u8| panic!("{x} is too much"), 7);
    ex.answer_all();
    let error = error_of(future);
    let panic = error.panic().unwrap();
    assert_eq!(panic.message(), "7 is too much");
    assert!(panic.location().unwrap().contains("errors.rs:"));
    assert!(panic.take_payload().is_none());
}

#[derive(Debug)]
struct Outer(std::num::ParseIntError);

impl fmt::Display for Outer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the port is wrong")
    }
}

impl Error for Outer {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

fn port(text: String) -> Result<u8, Outer> {
    text.parse().map_err(Outer)
}

#[test]
fn a_failure_keeps_its_chain_of_sources() {
    let (manual, wire) = (Manual::new(), Wire::new());
    let (here, there) = (manual.submit_fallible(port, "x".into()), wire.submit_fallible(port, "x".into()));
    manual.run_all();
    wire.answer_all();
    let (here, there) = (error_of(here), error_of(there));
    for error in [&here, &there] {
        assert!(error.is_failed());
        assert!(error.to_string().ends_with("failed: the port is wrong"), "{error}");
        // What the message says already is not said again by the sources.
        let source = error.source().unwrap();
        assert_eq!(source.to_string(), "invalid digit found in string");
        assert!(source.source().is_none());
        assert!(error.failure().unwrap().type_name().ends_with("Outer"));
    }
    assert!(here.failure().unwrap().downcast_ref::<Outer>().is_some());
    assert!(there.failure().unwrap().downcast_ref::<Outer>().is_none(), "only its words can travel");
}

#[test]
fn errors_that_are_no_error_types_can_be_failures() {
    let ex = SerialExecutor::new();
    assert_eq!(error_of(ex.submit_fallible(|_: u8| Err("words"), 1)).failure().unwrap().message(), "words");
    let text = error_of(ex.submit_fallible(|x: u8| Err(format!("{x}")), 1));
    assert_eq!(text.failure().unwrap().message(), "1");
    let io = error_of(ex.submit_fallible(|_: u8| Err(std::io::Error::from(std::io::ErrorKind::NotFound)), 1));
    let io = io.failure().unwrap().downcast_ref::<std::io::Error>().unwrap().kind();
    assert_eq!(io, std::io::ErrorKind::NotFound);
}

/// Fails at the step it is told to.
struct Picky {
    encode: bool,
}

impl Serialize for Picky {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.encode { serializer.serialize_u8(0) } else { Err(serde::ser::Error::custom("will not go")) }
    }
}

impl<'de> Deserialize<'de> for Picky {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("will not arrive"))
    }
}

#[test]
fn what_cannot_travel_says_which_side_and_type() {
    let ex = Wire::new();
    let encode_argument = ex.submit(|_: Picky| 1, Picky { encode: false });
    let decode_argument = ex.submit(|_: Picky| 1, Picky { encode: true });
    let encode_result = ex.submit(|_: u8| Picky { encode: false }, 1);
    let decode_result = ex.submit(|_: u8| Picky { encode: true }, 1);
    ex.answer_all();
    let errors = [
        (CodecStep::EncodeArgument, "will not go", encode_argument.result().unwrap_err()),
        (CodecStep::DecodeArgument, "will not arrive", decode_argument.result().unwrap_err()),
        (CodecStep::EncodeResult, "will not go", encode_result.result().err().unwrap()),
        (CodecStep::DecodeResult, "will not arrive", decode_result.result().err().unwrap()),
    ];
    for (step, words, error) in errors {
        let codec = error.codec().unwrap_or_else(|| panic!("{error}"));
        assert_eq!(codec.step(), step);
        assert!(codec.type_name().ends_with("Picky"), "{error}");
        assert!(codec.message().contains(words) && error.to_string().contains(words), "{error}");
        assert!(error.source().is_none());
    }
}

#[test]
fn one_bad_item_of_a_chunk_does_not_spoil_the_others() {
    #[derive(Deserialize)]
    struct Odd(u32);
    impl Serialize for Odd {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            // Some bytes have been written by then.
            let mut fields = serializer.serialize_tuple(1)?;
            serde::ser::SerializeTuple::serialize_element(&mut fields, &self.0)?;
            if self.0.is_multiple_of(2) {
                Err(serde::ser::Error::custom("even"))
            } else {
                serde::ser::SerializeTuple::end(fields)
            }
        }
    }
    let ex = Wire::new();
    let results = ex.tasks(|odd: Odd| odd.0, (0..5).map(Odd)).chunksize(5).map();
    ex.answer_all();
    let results: Vec<_> = results.collect();
    for (i, result) in results.iter().enumerate() {
        match result {
            Ok(value) => assert_eq!(*value as usize, i),
            Err(error) => assert!(i % 2 == 0 && error.codec().unwrap().step() == CodecStep::EncodeArgument),
        }
    }
}

#[test]
fn a_refusal_says_what_to_do() {
    let ex = SerialExecutor::new();
    ex.shutdown(Shutdown::WAIT);
    let error = error_of(ex.submit(|x: u8| x, 1));
    assert!(error.to_string().ends_with("was refused: the executor has been shut down; make a new one"), "{error}");
    assert!(error.source().is_none());
    let tried = ex.try_submit(|x: u8| x, 1).unwrap_err();
    assert!(tried.source().is_none() && tried.to_string().contains("shut down"));
    for refusal in [Refusal::Broken("no disk".into()), Refusal::Full, Refusal::Unsupported("fly".into())] {
        assert!(!refusal.to_string().is_empty());
    }
}

#[test]
fn a_death_says_who_and_how() {
    let death = |ending| TaskError::new(TaskErrorKind::WorkerDied(Death::new(4711, ending)));
    let exited = death(Ending::Code(7));
    assert_eq!((exited.death().unwrap().exit_code(), exited.death().unwrap().signal()), (Some(7), None));
    assert!(exited.to_string().contains("process 4711 exited with code 7"), "{exited}");
    let killed = death(Ending::Signal { number: 11, core_dumped: true });
    assert_eq!((killed.death().unwrap().exit_code(), killed.death().unwrap().signal()), (None, Some("SIGSEGV")));
    assert!(killed.death().unwrap().core_dumped());
    assert!(killed.to_string().contains("SIGSEGV (signal 11), core dumped"), "{killed}");
    assert!(death(Ending::Unknown).to_string().contains("not known"));
}

#[test]
fn a_pool_that_cannot_be_made_converts_with_a_question_mark() {
    fn make() -> Result<(), TaskError> {
        Err(BuildError::invalid("max_workers must be at least 1"))?
    }
    let error = make().unwrap_err();
    assert!(error.is_refused() && error.to_string().contains("max_workers must be at least 1"), "{error}");
    let system = BuildError::system("cannot start a worker", std::io::Error::other("no memory"));
    assert_eq!(system.to_string(), "cannot start a worker: no memory");
    assert!(system.source().is_some());
}
