//! Descriptors beside arguments, results, contexts and initializers, by a type that has one.

mod support;

use concurrent_futures_core::attach::{self, Attachment};
use concurrent_futures_core::{ExecutorExt, SerialExecutor};
use concurrent_futures_process::ProcessPoolExecutor;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use std::fs::File;
use std::io::{PipeReader, Read, Write};
use std::path::PathBuf;
use std::sync::OnceLock;
use support::*;

/// The writing end of a pipe.
#[derive(Clone, Debug)]
struct Writer(Attachment);

impl Writer {
    fn pipe() -> (PipeReader, Writer) {
        let (reader, writer) = std::io::pipe().unwrap();
        (reader, Writer(Attachment::new(writer.into())))
    }

    fn write(&self, text: &str) {
        let mut file = File::from(self.0.clone().into_fd().unwrap().try_clone().unwrap());
        file.write_all(text.as_bytes()).unwrap();
    }
}

impl Serialize for Writer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        attach::put(&self.0).map_err(ser::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Writer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        attach::take(u32::deserialize(deserializer)?).map(Writer).map_err(de::Error::custom)
    }
}

/// What all have written who had the other end; ends when nobody has it any more.
fn read_to_end(mut reader: PipeReader) -> String {
    in_time("all writers are closed", move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    })
}

#[derive(Serialize, Deserialize)]
struct Job {
    words: Vec<String>,
    to: Option<Writer>,
}

fn say(job: Job) -> usize {
    job.words.iter().for_each(|word| job.to.as_ref().unwrap().write(word));
    job.words.len()
}

#[test]
fn as_arguments_as_results_and_as_fields_of_both() {
    with_all(|builder| {
        let pool = builder.max_workers(2).build().unwrap();
        let (reader, to) = Writer::pipe();
        let job = Job { words: vec!["a".into(), "b".into()], to: Some(to.clone()) };
        assert_eq!(outcome(pool.submit(say, job)).unwrap(), 2);
        let back = outcome(pool.submit(|job: Job| Some((job.words.len(), job)), Job { words: vec![], to: Some(to) }));
        let (0, Job { to: Some(to), .. }) = back.unwrap().unwrap() else { panic!("not what was sent") };
        to.write("c");
        drop((to, pool));
        assert_eq!(read_to_end(reader), "abc");
    });
}

#[test]
fn in_a_map_each_item_has_its_own() {
    let pool = pool(2);
    for chunk in [1, 7, 100] {
        let (readers, writers): (Vec<_>, Vec<_>) = (0..100).map(|_| Writer::pipe()).unzip();
        let jobs = writers.into_iter().enumerate();
        let task = |(n, to): (usize, Writer)| {
            to.write(&n.to_string());
            if n % 10 == 3 {
                panic!("{n}")
            }
            to
        };
        let results: Vec<_> = pool.tasks(task, jobs).chunksize(chunk).map().collect();
        for (n, (result, reader)) in results.into_iter().zip(readers).enumerate() {
            match result {
                Ok(back) => back.write("!"),
                Err(error) => assert!(error.panic().is_some() && n % 10 == 3, "{n}: {error}"),
            }
            assert_eq!(read_to_end(reader), if n % 10 == 3 { n.to_string() } else { format!("{n}!") });
        }
    }
}

#[test]
fn in_a_context_and_in_an_initializer() {
    static MINE: OnceLock<Writer> = OnceLock::new();
    fn keep(writer: Writer) {
        MINE.set(writer).unwrap();
    }
    with_all(|builder| {
        let (initialized, writer) = Writer::pipe();
        let pool = builder.max_workers(2).initializer(keep, writer).build().unwrap();
        let (reader, context) = Writer::pipe();
        let bound = pool.with_context((7, context));
        let results = bound.map(
            |(seven, writer): &(u32, Writer), n: u32| {
                writer.write("x");
                MINE.get().unwrap().write("y");
                seven * n
            },
            0..20,
        );
        assert!(results.map(Result::unwrap).eq((0..20).map(|n| 7 * n)));
        // Another context in between, and the first one again.
        let (_other, writer) = Writer::pipe();
        assert_eq!(outcome(pool.with_context(writer).submit(|_: &Writer, n: u8| n, 5)).unwrap(), 5);
        drop(bound);
        drop(pool);
        assert_eq!((read_to_end(reader), read_to_end(initialized)), ("x".repeat(20), "y".repeat(20)));
    });
}

#[test]
fn a_preload_cannot_have_any() {
    let (_reader, writer) = Writer::pipe();
    let error = ProcessPoolExecutor::builder().preload(|_: Writer| (), writer).build().unwrap_err();
    assert!(error.to_string().contains("initializer"), "{error}");
}

#[test]
fn a_retried_task_and_one_that_waits_behind_a_death_have_them_again() {
    fn die_once((gate, to): (PathBuf, Writer)) -> u32 {
        to.write("try ");
        if !gate.exists() {
            touch(gate);
            std::process::abort()
        }
        std::process::id()
    }
    with_all(|builder| {
        let pool = builder.max_workers(1).build().unwrap();
        let place = Place::new();
        let (reader, to) = Writer::pipe();
        let first = pool.task(die_once, (place.path("died"), to.clone())).retries(2).submit();
        // Buffered at the worker that dies.
        let behind: Vec<_> =
            (0..5).map(|_| pool.submit(say, Job { words: vec!["behind ".into()], to: Some(to.clone()) })).collect();
        assert!(outcome(first).unwrap() > 0);
        behind.into_iter().for_each(|future| assert_eq!(outcome(future).unwrap(), 1));
        drop((to, pool));
        let mut words: Vec<String> = read_to_end(reader).split(' ').map(str::to_owned).collect();
        words.sort_unstable();
        assert_eq!(words, ["", "behind", "behind", "behind", "behind", "behind", "try", "try"]);
    });
}

#[test]
fn what_is_cancelled_or_dies_leaves_nothing_open() {
    let pool = pool(1);
    let place = Place::new();
    let mut gate = place.gate("gate");
    let first = pool.submit(wait_at, gate.path());
    await_start(&first);
    let (cancelled, to) = Writer::pipe();
    let futures: Vec<_> = (0..10).map(|_| pool.submit(say, Job { words: vec![], to: Some(to.clone()) })).collect();
    assert!(futures.iter().all(|future| future.cancel()));
    let (dead, writer) = Writer::pipe();
    let dying = pool.submit(|_: Writer| -> Writer { std::process::abort() }, writer);
    let (unlooked, writer) = Writer::pipe();
    let dropped = pool.submit(|writer: Writer| writer, writer);
    gate.open();
    outcome(first).unwrap();
    assert!(outcome(dying).unwrap_err().is_worker_death());
    dropped.wait();
    drop((to, dropped, futures));
    assert_eq!([cancelled, dead, unlooked].map(read_to_end), ["", "", ""]);
    assert_eq!(outcome(pool.submit(|n: u8| n, 1)).unwrap(), 1);
}

/// An initializer: the worker may have so many descriptors.
fn allow_files(n: u64) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(n), maximum }).unwrap();
}

#[test]
fn more_than_a_message_carries() {
    let pool = pool(1);
    let (reader, to) = Writer::pipe();
    let fd = to.0.into_fd().unwrap();
    let many = |n: usize| (0..n).map(|_| Writer(Attachment::new(fd.try_clone().unwrap()))).collect::<Vec<_>>();
    let back = outcome(pool.submit(|writers: Vec<Writer>| (writers.len(), writers), many(600))).unwrap();
    assert_eq!((back.0, back.1.len()), (600, 600));
    back.1[599].write("last");
    let error = outcome(pool.submit(|writers: Vec<Writer>| writers.len(), many(attach::MAX + 1))).unwrap_err();
    assert!(error.codec().unwrap().message().contains("4096"), "{error}");
    // A worker may have fewer: the task fails in words, and the next one has room again.
    let limited = ProcessPoolExecutor::builder().max_workers(1).initializer(allow_files, 64_u64).build().unwrap();
    for _ in 0..3 {
        let error = outcome(limited.submit(|writers: Vec<Writer>| writers.len(), many(200))).unwrap_err();
        assert!(error.codec().unwrap().message().contains("RLIMIT_NOFILE"), "{error}");
        assert_eq!(outcome(limited.submit(|writers: Vec<Writer>| writers.len(), many(10))).unwrap(), 10);
    }
    drop((back, fd, pool, limited));
    assert_eq!(read_to_end(reader), "last");
}

#[test]
fn only_what_is_sent_to_a_worker_may_have_any() {
    let (_reader, writer) = Writer::pipe();
    let error = postcard::to_allocvec(&writer).unwrap_err();
    assert!(matches!(error, postcard::Error::SerdeSerCustom), "{error}");
    // Not even in a task that is sent to one: nobody would send what it puts there.
    let pool = pool(1);
    let inside = pool.submit(|writer: Writer| postcard::to_allocvec(&writer).is_ok(), writer.clone());
    assert!(!outcome(inside).unwrap());
    let bytes = attach::collect(&mut Vec::new(), || postcard::to_allocvec(&writer)).unwrap();
    assert!(postcard::from_bytes::<Writer>(&bytes).is_err());
    // Nothing is encoded where nothing leaves this process.
    assert!(SerialExecutor::new().submit(|writer: Writer| writer, writer).result().is_ok());
}

/// What is killed at any moment leaves no descriptor open, and loses only what had started.
#[test]
fn kills_at_any_moment() {
    with_all(|builder| survive_kills(&builder.max_workers(2).build().unwrap()));
}

fn survive_kills(pool: &ProcessPoolExecutor) {
    pool.warm_up().unwrap();
    let (reader, to) = Writer::pipe();
    for round in 0..30 {
        let futures: Vec<_> = (0..20).map(|n| pool.submit(|(n, to): (u32, Writer)| (n, to), (n, to.clone()))).collect();
        if let Some(pid) = pool.worker_pids().get(round % 2) {
            kill_again(*pid);
        }
        for (n, future) in futures.into_iter().enumerate() {
            match outcome(future) {
                Ok((back, writer)) => {
                    assert_eq!(back as usize, n);
                    writer.write(".");
                }
                Err(error) => assert!(error.is_worker_death(), "{error}"),
            }
        }
    }
    pool.kill_workers();
    drop(to);
    assert!(read_to_end(reader).len() > 30 * 10);
}
