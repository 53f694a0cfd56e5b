//! Tasks that share a value.

use crate::manual::Manual;
use crate::wire::Wire;
use concurrent_futures_core::{CodecStep, ExecutorExt, SerialExecutor};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Model {
    weights: Vec<u64>,
}

impl Model {
    fn new() -> Self {
        Model { weights: (0..1000).collect() }
    }

    fn weigh(&self, index: usize) -> u64 {
        self.weights[index]
    }

    fn find(&self, word: String) -> Result<u64, Box<dyn std::error::Error + Send + Sync>> {
        let index: usize = word.parse()?;
        self.weights.get(index).copied().ok_or_else(|| format!("{index} is out of range").into())
    }
}

#[test]
fn methods_are_tasks() {
    let ex = SerialExecutor::new();
    let model = ex.with_context(Model::new());
    assert_eq!(model.submit(Model::weigh, 7).result().unwrap(), 7);
    assert_eq!(model.map(Model::weigh, [1, 2, 3]).sum::<Result<u64, _>>().unwrap(), 6);
    assert_eq!(model.submit_fallible(Model::find, "9".into()).result().unwrap(), 9);
    let found: Vec<_> = model.map_fallible(Model::find, ["1", "x", "2000"].map(String::from)).collect();
    assert_eq!(*found[0].as_ref().unwrap(), 1);
    let errors = found[1..].iter().map(|result| result.as_ref().unwrap_err().failure().unwrap().message());
    assert!(errors.eq(["invalid digit found in string", "2000 is out of range"]));
    assert!(format!("{model:?}").contains("Model"));
}

#[test]
fn a_panic_costs_one_item() {
    let ex = Manual::new();
    let results = ex.with_context(Model::new()).map(Model::weigh, [1, 5000, 3]);
    ex.run_all();
    let results: Vec<_> = results.collect();
    assert!(results[0].is_ok() && results[2].is_ok());
    assert!(results[1].as_ref().unwrap_err().is_panic());
}

#[test]
fn results_may_outlive_context_and_executor() {
    let ex = Manual::new();
    let results = ex.with_context(Model::new()).map(Model::weigh, [1, 2]);
    ex.run_all();
    drop(ex);
    assert_eq!(results.sum::<Result<u64, _>>().unwrap(), 3);
}

#[test]
fn it_is_encoded_and_sent_once() {
    let ex = Wire::new();
    let model = ex.with_context(Model::new());
    let first = model.submit(Model::weigh, 999);
    let size = ex.context_bytes();
    assert!(size >= 1000, "{size} bytes");
    let others = model.map(Model::weigh, 0..100);
    assert_eq!(ex.context_bytes(), size);
    ex.answer_all();
    assert_eq!(first.result().unwrap(), 999);
    assert_eq!(others.sum::<Result<u64, _>>().unwrap(), 4950);
}

#[test]
fn two_contexts_of_one_type_are_two() {
    let ex = Wire::new();
    let (one, two) = (ex.with_context(1_u8), ex.with_context(2_u8));
    let add = |context: &u8, x: u8| context + x;
    let futures = [one.submit(add, 10), two.submit(add, 10), one.submit(add, 20)];
    ex.answer_all();
    assert_eq!(futures.map(|future| future.result().unwrap()), [11, 12, 21]);
}

#[test]
fn one_context_serves_functions_of_different_types() {
    let ex = Wire::new();
    let text = ex.with_context("abc".to_string());
    let length = text.submit(|s: &String, n: usize| s.len() * n, 2);
    let upper = text.submit(|s: &String, (): ()| s.to_uppercase(), ());
    ex.answer_all();
    assert_eq!((length.result().unwrap(), upper.result().unwrap()), (6, "ABC".to_string()));
}

#[derive(Deserialize)]
struct Stubborn;

impl Serialize for Stubborn {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("I stay here"))
    }
}

#[test]
fn a_context_that_cannot_travel_fails_each_task_that_needs_it() {
    let ex = Wire::new();
    let context = ex.with_context(Stubborn);
    for _ in 0..2 {
        let error = context.submit(|_: &Stubborn, x: u8| x, 1).result().unwrap_err();
        let codec = error.codec().unwrap();
        assert_eq!(codec.step(), CodecStep::EncodeArgument);
        assert!(codec.type_name().contains("Stubborn") && codec.message().contains("I stay here"), "{error}");
    }
    assert_eq!(ex.queued(), 0);
    assert!(SerialExecutor::new().with_context(Stubborn).submit(|_, x: u8| x, 1).result().is_ok(), "threads need none");
}
