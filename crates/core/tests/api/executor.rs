//! The trait as users and libraries hold it.

use crate::manual::Manual;
use concurrent_futures_core::{
    Executor, ExecutorExt, Future, Handle, Refusal, SerialExecutor, Shutdown, Stats, task::refuse_priority,
};
use std::sync::Arc;
use std::thread;

fn double(x: u32) -> u32 {
    2 * x
}

/// As a library takes it.
fn by_dyn(ex: &dyn Executor) -> u32 {
    let one = ex.submit(double, 1).result().unwrap();
    let many: u32 = ex.map(double, 0..4).map(Result::unwrap).sum();
    one + many
}

fn by_impl(ex: &impl Executor) -> u32 {
    ex.submit(double, 1).result().unwrap() + ex.scope(|ex| ex.submit(double, 6).result().unwrap())
}

#[test]
fn every_way_to_hold_an_executor_is_an_executor() {
    let ex = SerialExecutor::new();
    assert_eq!((by_dyn(&ex), by_impl(&ex)), (14, 14));
    let boxed: Box<dyn Executor> = Box::new(SerialExecutor::new());
    assert_eq!((by_dyn(&boxed), by_dyn(&*boxed), by_impl(&boxed)), (14, 14, 14));
    let shared: Arc<dyn Executor> = Arc::new(SerialExecutor::new());
    assert_eq!((by_dyn(&shared), by_impl(&shared)), (14, 14));
    let handle: Handle = shared.handle();
    assert_eq!((by_dyn(&handle), by_impl(&handle.handle())), (14, 14));
    assert_eq!((boxed.num_workers(), shared.num_workers(), handle.num_workers()), (1, 1, 1));
    assert_eq!(shared.stats().finished, 2 * (5 + 2), "the handle counts as the executor");
}

#[test]
fn functions_generic_functions_methods_and_closures_are_tasks() {
    fn generic<T: std::ops::Add<Output = T> + Copy>(x: T) -> T {
        x + x
    }
    let ex = SerialExecutor::new();
    assert_eq!(ex.submit(double, 2).result().unwrap(), 4);
    assert_eq!(ex.submit(generic::<u8>, 2).result().unwrap(), 4);
    assert_eq!(ex.submit(u32::count_ones, 7).result().unwrap(), 3);
    assert_eq!(ex.submit(|(a, b)| a * b, (6_u8, 7)).result().unwrap(), 42);
}

#[test]
fn what_a_task_returns_as_err_is_its_value() {
    let ex = SerialExecutor::new();
    let value = ex.submit(|x: u8| if x > 0 { Ok(x) } else { Err("zero".to_string()) }, 0);
    assert!(value.exception().is_none());
    assert_eq!(value.result().unwrap(), Err("zero".to_string()));
    let failed = ex.submit_fallible(|s: String| s.parse::<u8>(), "x".to_string());
    assert!(failed.result().unwrap_err().is_failed());
}

#[test]
fn the_serial_executor_runs_at_submission_in_the_calling_thread() {
    let ex = SerialExecutor::new();
    let future = ex.submit(|(): ()| format!("{:?}", thread::current().id()), ());
    assert!(future.done());
    assert_eq!(future.result().unwrap(), format!("{:?}", thread::current().id()));
    assert_eq!((ex.num_workers(), ex.stats()), (1, Stats::new(1, 1, 0, 1)));
}

#[test]
fn nothing_runs_after_the_shutdown() {
    for how in [Shutdown::WAIT, Shutdown::NO_WAIT, Shutdown::WAIT.cancel_futures()] {
        let ex = SerialExecutor::new();
        let before = ex.submit(double, 1);
        ex.shutdown(how);
        ex.shutdown(Shutdown::NO_WAIT);
        let after = ex.submit(double, 2).result().unwrap_err();
        assert_eq!(after.refusal(), Some(&Refusal::ShutDown));
        let results: Vec<_> = ex.map(double, [1, 2]).collect();
        assert!(results.iter().all(|result| result.as_ref().unwrap_err().is_refused()));
        let tried = ex.try_submit(|s: String| s, "mine".to_string()).unwrap_err();
        assert_eq!((tried.args.as_str(), tried.why), ("mine", Refusal::ShutDown));
        assert_eq!(before.result().unwrap(), 2);
    }
}

#[test]
fn a_handle_does_not_keep_the_executor() {
    let ex = SerialExecutor::new();
    let handle = ex.handle();
    assert_eq!(handle.submit(double, 1).result().unwrap(), 2);
    drop(ex);
    assert_eq!(handle.submit(double, 1).result().unwrap_err().refusal(), Some(&Refusal::ShutDown));
    assert_eq!(handle.try_submit(double, 3).unwrap_err().args, 3);
    assert_eq!(handle.stats(), Stats::default());
    handle.shutdown(Shutdown::WAIT);
}

#[test]
fn a_handle_can_shut_down() {
    let ex = SerialExecutor::new();
    ex.handle().shutdown(Shutdown::WAIT);
    assert!(ex.submit(double, 1).result().unwrap_err().is_refused());
}

#[test]
fn scope_of_a_reference_or_a_clone_shuts_nothing_down() {
    let ex = Arc::new(Manual::new());
    let future = ex.clone().scope(|ex| ex.submit(double, 1));
    let again = (&ex).scope(|ex| ex.submit(double, 2));
    assert_eq!(ex.run_all(), 2);
    assert_eq!((future.result().unwrap(), again.result().unwrap()), (2, 4));
}

#[test]
fn scope_gives_what_the_closure_gives() {
    let result: Result<u32, concurrent_futures_core::TaskError> = SerialExecutor::new().scope(|ex| {
        let sum = ex.map(double, 0..4).sum::<Result<u32, _>>()?;
        Ok(sum + ex.submit(double, 1).result()?)
    });
    assert_eq!(result.unwrap(), 14);
}

#[test]
fn a_priority_is_refused_by_who_cannot_sort() {
    let ex = Manual::new();
    let future: Future<u32> = ex.task(double, 1).priority(3).submit();
    let task = ex.take(0);
    assert_eq!(task.priority(), 3);
    let why = refuse_priority(&task).unwrap_err();
    assert!(why.to_string().contains("priority 3"), "{why}");
    task.fail(why.into());
    assert!(future.result().unwrap_err().is_refused());
}

#[test]
fn a_task_that_the_executor_drops_is_abandoned() {
    let ex = Manual::new();
    let future = ex.submit(double, 1);
    drop(ex.take(0));
    assert!(future.result().unwrap_err().is_abandoned());
}

#[test]
fn a_builder_may_try() {
    let ex = Manual::new();
    let future = ex.task(double, 4).name("four").try_submit().unwrap();
    assert_eq!(future.name(), Some("four"));
    ex.run_all();
    assert_eq!(future.result().unwrap(), 8);
    let fallible = ex.task(|s: String| s.parse::<u8>(), "7".to_string()).submit_fallible();
    ex.run_all();
    assert_eq!(fallible.result().unwrap(), 7);
}

#[test]
fn a_shutdown_says_how() {
    assert!(Shutdown::WAIT.cancel_futures().cancel_futures);
    assert_eq!((Shutdown::WAIT.wait, Shutdown::NO_WAIT.wait), (true, false));
    assert_eq!((Shutdown::WAIT.cancel_futures, Shutdown::NO_WAIT.cancel_futures), (false, false));
}
