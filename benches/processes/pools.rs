//! The contenders that run in this program, made alike: submit a call, take its result.

use concurrent_futures::prelude::*;
use concurrent_futures::{Future, Portable, Shutdown, StartMethod};
use std::fmt::Debug;

/// A pool of processes with result handles.
pub trait Pool {
    type Handle<R: Portable>;
    type Error: Debug;

    fn submit<A: Portable, R: Portable>(&self, f: fn(A) -> R, args: A) -> Self::Handle<R>;
    fn take<R: Portable>(&self, handle: Self::Handle<R>) -> Result<R, Self::Error>;

    /// Waits until its processes have ended.
    fn end(self);

    fn call<A: Portable, R: Portable>(&self, f: fn(A) -> R, args: A) -> R {
        self.take(self.submit(f, args)).expect("the task returns")
    }
}

/// With the start method, if it is not the default, named.
pub fn ours(workers: usize, method: Option<StartMethod>) -> ProcessPoolExecutor {
    let builder = ProcessPoolExecutor::builder().max_workers(workers);
    match method {
        Some(method) => builder.start_method(method).build(),
        None => builder.build(),
    }
    .expect("a pool of processes")
}

impl Pool for ProcessPoolExecutor {
    type Handle<R: Portable> = Future<R>;
    type Error = TaskError;

    fn submit<A: Portable, R: Portable>(&self, f: fn(A) -> R, args: A) -> Future<R> {
        ExecutorExt::submit(self, f, args)
    }

    fn take<R: Portable>(&self, handle: Future<R>) -> Result<R, TaskError> {
        handle.result()
    }

    fn end(self) {
        self.shutdown(Shutdown::WAIT);
    }
}

pub fn procspawn(workers: usize) -> procspawn::Pool {
    procspawn::Pool::new(workers).expect("a pool of procspawn")
}

impl Pool for procspawn::Pool {
    type Handle<R: Portable> = procspawn::JoinHandle<R>;
    type Error = procspawn::SpawnError;

    fn submit<A: Portable, R: Portable>(&self, f: fn(A) -> R, args: A) -> Self::Handle<R> {
        // Version 1.0.2 forgets this in its pools, and then no `Shmem` arrives.
        procspawn::serde::with_ipc_mode(|| self.spawn(args, f))
    }

    fn take<R: Portable>(&self, handle: Self::Handle<R>) -> Result<R, Self::Error> {
        handle.join()
    }

    fn end(self) {
        self.shutdown();
    }
}
