//! The hook for errors that nobody has looked at. It is one for the program, so its tests are one test in a program of its own.

#[path = "api/wire.rs"]
#[expect(dead_code, reason = "what only the other tests need")]
mod wire;

use concurrent_futures_core::{Executor, ExecutorExt, Promise, SerialExecutor, Shutdown, on_unobserved_error};
use std::sync::mpsc;

fn fail(words: String) -> u8 {
    panic!("{words}")
}

#[test]
fn what_nobody_looked_at_is_reported_and_nothing_else() {
    let (tell, told) = mpsc::channel();
    on_unobserved_error(move |error| drop(tell.send(error.panic().map(|panic| panic.message().to_owned()))));
    let ex = SerialExecutor::new();
    let submit = |words: &str| ex.submit(fail, words.to_owned());

    // Looked at, in each of the ways.
    drop(submit("result").result());
    submit("exception").exception().unwrap();
    submit("callback").add_done_callback(|outcome| assert!(outcome.is_err()));
    submit("shared").shared().result().unwrap_err();
    futures::executor::block_on(submit("await")).unwrap_err();
    drop(submit("derived").map(|x| x).result());
    // Not errors of a task's that anybody would miss.
    drop(ex.submit(|x: u8| x, 1));
    let (promise, future) = Promise::<u8>::pair();
    future.cancel();
    drop((promise, future));

    // Only waited for, only asked whether it is done, derived and dropped.
    submit("waited for").wait();
    assert!(submit("done").done());
    drop(submit("derived from").map(|x| x));
    // Several threads report.
    let mut reported: Vec<_> = (0..3).map(|_| told.recv().unwrap().unwrap()).collect();
    reported.sort_unstable();
    assert_eq!(reported, ["derived from", "done", "waited for"]);

    // Of what a worker has answered, too, it is said which task that was.
    let (tell_name, told_name) = mpsc::channel();
    on_unobserved_error(move |error| tell_name.send((error.task_name().map(str::to_owned), error.attempts())).unwrap());
    let wire = wire::Wire::new();
    let future = wire.task(fail, "far".to_owned()).name("far task").submit();
    wire.answer_all();
    drop((wire, future));
    assert_eq!(told_name.recv().unwrap(), (Some("far task".to_owned()), 1));

    // Another hook replaces this one.
    let (tell, told) = mpsc::channel();
    on_unobserved_error(move |error| drop(tell.send(error.panic().map(|panic| panic.message().to_owned()))));
    assert!(told_name.recv().is_err(), "the hook is gone");

    // A refusal is an error, too.
    ex.shutdown(Shutdown::WAIT);
    drop(submit("refused"));
    assert_eq!(told.recv().unwrap(), None);

    // And another one.
    let (tell_other, told_other) = mpsc::channel();
    on_unobserved_error(move |error| tell_other.send(error.is_refused()).unwrap());
    drop(submit("refused"));
    assert!(told_other.recv().unwrap());
    assert!(told.recv().is_err(), "the first hook is gone");
}
