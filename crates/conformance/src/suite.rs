//! One test function, many tests.

use crate::patience::HANGS;
use std::sync::mpsc;
use std::thread;

/// Makes `#[test]`s of functions that take a [`Kind`](crate::Kind): one for each kind of executor they are meant for, in a
/// module that is called `on_` and the name of the kind.
///
/// | group | runs on |
/// |---|---|
/// | `all` | every executor |
/// | `parallel` | those whose tasks run beside the test: not on the serial one, where a task is done when `submit` returns |
/// | `serial`, `thread`, `process` | only there; `process` is both start methods, and both data paths |
///
/// ```
/// use concurrent_futures::ExecutorExt;
/// use concurrent_futures_conformance::Kind;
///
/// fn adds(kind: Kind) {
///     assert_eq!(kind.pool(1).submit(|(a, b)| a + b, (1, 2)).result().unwrap(), 3);
/// }
///
/// concurrent_futures_conformance::tests! {
///     all { adds }
/// }
/// ```
#[macro_export]
macro_rules! tests {
    (
        $(all { $($all:ident),* $(,)? })?
        $(parallel { $($parallel:ident),* $(,)? })?
        $(serial { $($serial:ident),* $(,)? })?
        $(thread { $($thread:ident),* $(,)? })?
        $(process { $($process:ident),* $(,)? })?
    ) => {
        $crate::tests!(@kind on_serial Serial: $($($all)*)? $($($serial)*)?);
        $crate::tests!(@kind on_thread Thread: $($($all)*)? $($($parallel)*)? $($($thread)*)?);
        $crate::tests!(@kind on_process_forkserver ForkServer: $($($all)*)? $($($parallel)*)? $($($process)*)?);
        $crate::tests!(@kind on_process_spawn Spawn: $($($all)*)? $($($parallel)*)? $($($process)*)?);
        $crate::tests!(@kind on_process_socket Socket: $($($all)*)? $($($parallel)*)? $($($process)*)?);
    };
    (@kind $module:ident $kind:ident:) => {};
    (@kind $module:ident $kind:ident: $($test:ident)+) => {
        mod $module {
            $(
                #[test]
                fn $test() {
                    $crate::run(|| super::$test($crate::Kind::$kind));
                }
            )+
        }
    };
}

/// Runs a test; one that hangs fails.
///
/// # Panics
/// When the test does, or does not come to an end.
pub fn run(test: impl FnOnce() + Send + 'static) {
    let name = thread::current().name().unwrap_or("a test").to_owned();
    let (done, is_done) = mpsc::channel::<()>();
    let body = thread::Builder::new().name(name).spawn(move || {
        // Dropped when the test panics, too.
        let _done = done;
        test();
    });
    let body = body.expect("a thread for the test");
    if is_done.recv_timeout(HANGS) == Err(mpsc::RecvTimeoutError::Timeout) {
        panic!("the test hangs: it has not ended in {HANGS:?}");
    }
    if let Err(panic) = body.join() {
        std::panic::resume_unwind(panic);
    }
}
