//! Rows 8 to 10: arguments and results that cannot be encoded or decoded.

use crate::bystanders::{Bystanders, assert_usable};
use crate::ground::{Ground, Lane, Load, death};
use crate::row::{Scene, scene};
use crate::rows;
use concurrent_futures::{CodecStep, ExecutorExt, TaskError};
use concurrent_futures_conformance::Soon;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::os::unix::process::ExitStatusExt;

/// What a value does instead of what it should.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Misdeed {
    Fails,
    Panics,
    Exits,
    Aborts,
}

const WORDS: &str = "I do not travel";
const CODE: i32 = 41;

impl Misdeed {
    fn commit(self) -> String {
        match self {
            Misdeed::Fails => WORDS.to_owned(),
            Misdeed::Panics => panic!("{WORDS}"),
            Misdeed::Exits => std::process::exit(CODE),
            Misdeed::Aborts => std::process::abort(),
        }
    }
}

/// Misbehaves when it is encoded.
#[derive(Debug)]
struct Leaving(Misdeed);

impl Serialize for Leaving {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom(self.0.commit()))
    }
}

impl<'de> Deserialize<'de> for Leaving {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        unreachable!("it is never encoded")
    }
}

/// Misbehaves when it is decoded.
#[derive(Debug, Serialize)]
struct Arriving(Misdeed);

impl<'de> Deserialize<'de> for Arriving {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom(Misdeed::deserialize(deserializer)?.commit()))
    }
}

fn take_leaving(x: Load<Leaving>) -> Load<()> {
    x.with(())
}

fn take_arriving(x: Load<Arriving>) -> Load<()> {
    x.with(())
}

fn give_leaving(x: Load<Misdeed>) -> Load<Leaving> {
    let misdeed = x.value;
    x.with(Leaving(misdeed))
}

fn give_arriving(x: Load<Misdeed>) -> Load<Arriving> {
    let misdeed = x.value;
    x.with(Arriving(misdeed))
}

/// The words are in the error, whose type tells the step; a panic may also be told as what it is.
#[track_caller]
fn assert_step<T>(outcome: Result<T, TaskError>, misdeed: Misdeed, step: CodecStep) {
    let error = outcome.map(drop).expect_err("it does not travel");
    assert!(error.to_string().contains(WORDS), "{error}");
    match misdeed {
        Misdeed::Panics if error.is_panic() => {}
        _ => assert_eq!(error.codec().unwrap_or_else(|| panic!("no codec error: {error}")).step(), step),
    }
}

/// In a scene: the program ends with the code, in the middle of encoding or decoding.
fn assert_ends_the_program(ground: Ground, name: &str) {
    let ended = Scene::new(name).start().wait();
    assert!(ended.status.code() == Some(CODE) || aborted_by_ipc_channel(ground, ended.status.signal()), "{ended:?}");
}

/// A thread that exits while `ipc-channel` decodes is stopped by an assertion of `ipc-channel`, if there are handles that it has
/// not given out.
fn aborted_by_ipc_channel(ground: Ground, signal: Option<i32>) -> bool {
    ground.lane == Lane::Handles && signal == Some(libc::SIGABRT)
}

fn row_08_an_argument_cannot_be_encoded(ground: Ground) {
    let ex = ground.pool(1);
    if scene().is_some() {
        drop(ex.submit(take_leaving, ground.load(Leaving(Misdeed::Exits))));
        unreachable!("the program has ended");
    }
    for misdeed in [Misdeed::Fails, Misdeed::Panics] {
        let before = Bystanders::of(ground, &ex);
        let future = ex.submit(take_leaving, ground.load(Leaving(misdeed)));
        let after = Bystanders::of(ground, &ex);
        assert_step(future.soon(), misdeed, CodecStep::EncodeArgument);
        before.succeed();
        after.succeed();
        assert_usable(ground, &ex);
    }
    assert_ends_the_program(ground, "exits while it encodes");
}

fn row_09_an_argument_cannot_be_decoded(ground: Ground) {
    let ex = ground.pool(1);
    for misdeed in [Misdeed::Fails, Misdeed::Panics, Misdeed::Exits, Misdeed::Aborts] {
        let before = Bystanders::of(ground, &ex);
        let outcome = ex.submit(take_arriving, ground.load(Arriving(misdeed))).soon();
        let after = Bystanders::of(ground, &ex);
        match misdeed {
            Misdeed::Exits => {
                let death = death(outcome);
                let aborted = ground.lane == Lane::Handles && death.signal() == Some("SIGABRT");
                assert!(death.exit_code() == Some(CODE) || aborted, "{death}");
            }
            Misdeed::Aborts => assert_eq!(death(outcome).signal(), Some("SIGABRT")),
            _ => assert_step(outcome, misdeed, CodecStep::DecodeArgument),
        }
        before.succeed();
        after.succeed();
        assert_usable(ground, &ex);
    }
}

fn row_10_a_result_cannot_be_encoded(ground: Ground) {
    let ex = ground.pool(1);
    for misdeed in [Misdeed::Fails, Misdeed::Panics, Misdeed::Exits, Misdeed::Aborts] {
        let before = Bystanders::of(ground, &ex);
        let outcome = ex.submit(give_leaving, ground.load(misdeed)).soon();
        let after = Bystanders::of(ground, &ex);
        match misdeed {
            Misdeed::Exits => assert_eq!(death(outcome).exit_code(), Some(CODE)),
            Misdeed::Aborts => assert_eq!(death(outcome).signal(), Some("SIGABRT")),
            _ => assert_step(outcome, misdeed, CodecStep::EncodeResult),
        }
        before.succeed();
        after.succeed();
        assert_usable(ground, &ex);
    }
}

fn row_10_a_result_cannot_be_decoded(ground: Ground) {
    let ex = ground.pool(1);
    if scene().is_some() {
        let _ = ex.submit(give_arriving, ground.load(Misdeed::Exits)).soon();
        unreachable!("the program has ended");
    }
    for misdeed in [Misdeed::Fails, Misdeed::Panics] {
        let before = Bystanders::of(ground, &ex);
        let future = ex.submit(give_arriving, ground.load(misdeed));
        let after = Bystanders::of(ground, &ex);
        // It is decoded in whoever looks first.
        before.succeed();
        after.succeed();
        assert_step(future.soon(), misdeed, CodecStep::DecodeResult);
        assert_usable(ground, &ex);
    }
    assert_ends_the_program(ground, "exits while it decodes");
}

rows! {
    row_08_an_argument_cannot_be_encoded,
    row_09_an_argument_cannot_be_decoded,
    row_10_a_result_cannot_be_encoded,
    row_10_a_result_cannot_be_decoded,
}
