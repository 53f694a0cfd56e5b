//! The contenders, made alike: hand over a closure, take its result.

use crate::limit::{Cells, Limit};
use concurrent_futures::Future;
use concurrent_futures::prelude::*;
use futures::executor::block_on;
use std::thread::JoinHandle;

/// A pool of threads with result handles.
pub trait Pool: Sync {
    type Handle<T: Send + 'static>;

    fn spawn<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> Self::Handle<T>;

    /// As `spawn`, for pools that have another way for plain functions.
    fn call(&self, f: fn(u64) -> u64, x: u64) -> Self::Handle<u64> {
        self.spawn(move || f(x))
    }

    fn take<T: Send + 'static>(&self, handle: Self::Handle<T>) -> T;

    /// Takes many results; for pools on which this is cheaper than one by one.
    fn take_all<T: Send + 'static>(&self, handles: &mut Vec<Self::Handle<T>>, mut each: impl FnMut(T)) {
        handles.drain(..).for_each(|handle| each(self.take(handle)));
    }
}

/// Carries empty tasks.
pub trait Carrier: Sync {
    /// Submits windows of empty tasks and takes the results of each before the next.
    fn windows(&self, tasks: usize, window: usize);
    /// Submits one empty task and takes its result.
    fn one(&self);
}

/// The workloads, on a pool of any type.
pub trait Contender: Carrier {
    /// Maps items in chunks of equal size, one task each.
    fn map(&self, f: fn(u64) -> u64, items: &[u64], chunk: usize) -> Vec<u64>;
    /// Queues empty tasks while its one worker is busy; looks before and after. Then takes the results.
    #[allow(dead_code, reason = "the bench `memory` measures it")]
    fn queue(&self, tasks: usize, look: &mut dyn FnMut());
}

impl<P: Pool> Carrier for P {
    fn windows(&self, tasks: usize, window: usize) {
        let mut handles = Vec::with_capacity(window);
        for _ in 0..tasks / window {
            handles.extend((0..window as u64).map(|x| self.call(crate::nothing, x)));
            let mut sum = 0;
            self.take_all(&mut handles, |x| sum += x);
            assert_eq!(sum, (0..window as u64).sum());
        }
    }

    fn one(&self) {
        assert_eq!(self.take(self.call(crate::nothing, 7)), 7);
    }
}

impl<P: Pool> Contender for P {
    fn map(&self, f: fn(u64) -> u64, items: &[u64], chunk: usize) -> Vec<u64> {
        let chunks = items.chunks(chunk).map(<[u64]>::to_vec);
        let mut handles: Vec<_> =
            chunks.map(|chunk| self.spawn(move || chunk.into_iter().map(f).collect::<Vec<u64>>())).collect();
        let mut results = Vec::with_capacity(items.len());
        self.take_all(&mut handles, |chunk| results.extend(chunk));
        results
    }

    fn queue(&self, tasks: usize, look: &mut dyn FnMut()) {
        let (open, closed) = std::sync::mpsc::channel::<()>();
        let (begin, begun) = std::sync::mpsc::channel();
        let busy = self.spawn(move || {
            begin.send(()).expect("it is waited for");
            closed.recv().expect("it is told")
        });
        begun.recv().expect("the worker begins");
        let mut handles = Vec::with_capacity(tasks);
        look();
        handles.extend((0..tasks as u64).map(|x| self.call(crate::nothing, x)));
        look();
        open.send(()).expect("the worker waits for it");
        self.take(busy);
        let mut sum = 0;
        self.take_all(&mut handles, |x| sum += x);
        assert_eq!(sum, (0..tasks as u64).sum());
    }
}

/// The contenders, and what there is to be reached.
pub fn carriers(workers: usize) -> Vec<(&'static str, Box<dyn Carrier>)> {
    let mut carriers: Vec<(_, Box<dyn Carrier>)> = Vec::new();
    for (name, contender) in contenders(workers) {
        carriers.push((name, contender));
    }
    carriers.push(("limit: slab of cells, mutexed queue", Box::new(Limit::new(Cells::Slab, workers))));
    carriers.push(("limit: one malloc per task, mutexed queue", Box::new(Limit::new(Cells::Malloc, workers))));
    carriers
}

/// All contenders, each with this many workers. The first is ours.
pub fn contenders(workers: usize) -> Vec<(&'static str, Box<dyn Contender>)> {
    vec![
        ("concurrent-futures", Box::new(Ours::new(workers))),
        ("rayon spawn + oneshot", Box::new(Rayon::new(workers))),
        ("tokio spawn", Box::new(Tokio { runtime: runtime(workers) })),
        ("tokio spawn_blocking", Box::new(TokioBlocking { runtime: runtime(workers) })),
        ("threadpool + oneshot", Box::new(Threadpool { pool: threadpool::ThreadPool::new(workers) })),
        ("crossbeam-channel + oneshot", Box::new(Crossbeam::new(workers))),
        ("async-executor (static)", Box::new(AsyncExecutor::new(workers))),
        ("blocking", Box::new(Blocking)),
    ]
}

struct Ours {
    executor: ThreadPoolExecutor,
}

impl Ours {
    fn new(workers: usize) -> Ours {
        Ours { executor: ThreadPoolExecutor::new(workers).expect("some workers") }
    }
}

impl Pool for Ours {
    type Handle<T: Send + 'static> = Future<T>;

    fn spawn<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> Future<T> {
        self.executor.spawn(f)
    }

    fn call(&self, f: fn(u64) -> u64, x: u64) -> Future<u64> {
        self.executor.submit(f, x)
    }

    fn take<T: Send + 'static>(&self, handle: Future<T>) -> T {
        handle.result().expect("the task returns")
    }
}

struct Rayon {
    pool: rayon::ThreadPool,
}

impl Rayon {
    fn new(workers: usize) -> Rayon {
        let builder = rayon::ThreadPoolBuilder::new().num_threads(workers);
        Rayon { pool: builder.build().expect("a rayon pool") }
    }
}

impl Pool for Rayon {
    type Handle<T: Send + 'static> = oneshot::Receiver<T>;

    fn spawn<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> Self::Handle<T> {
        let (sender, receiver) = oneshot::channel();
        self.pool.spawn(move || answer(sender, f()));
        receiver
    }

    fn take<T: Send + 'static>(&self, handle: Self::Handle<T>) -> T {
        handle.recv().expect("the task returns")
    }
}

fn runtime(workers: usize) -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(workers).max_blocking_threads(workers).build().expect("a tokio runtime")
}

struct Tokio {
    runtime: tokio::runtime::Runtime,
}

impl Pool for Tokio {
    type Handle<T: Send + 'static> = tokio::task::JoinHandle<T>;

    fn spawn<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> Self::Handle<T> {
        self.runtime.spawn(async move { f() })
    }

    fn take<T: Send + 'static>(&self, handle: Self::Handle<T>) -> T {
        self.runtime.block_on(handle).expect("the task returns")
    }

    fn take_all<T: Send + 'static>(&self, handles: &mut Vec<Self::Handle<T>>, each: impl FnMut(T)) {
        self.runtime.block_on(await_all(handles, each));
    }
}

struct TokioBlocking {
    runtime: tokio::runtime::Runtime,
}

impl Pool for TokioBlocking {
    type Handle<T: Send + 'static> = tokio::task::JoinHandle<T>;

    fn spawn<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> Self::Handle<T> {
        self.runtime.spawn_blocking(f)
    }

    fn take<T: Send + 'static>(&self, handle: Self::Handle<T>) -> T {
        self.runtime.block_on(handle).expect("the task returns")
    }

    fn take_all<T: Send + 'static>(&self, handles: &mut Vec<Self::Handle<T>>, each: impl FnMut(T)) {
        self.runtime.block_on(await_all(handles, each));
    }
}

async fn await_all<T>(handles: &mut Vec<tokio::task::JoinHandle<T>>, mut each: impl FnMut(T)) {
    for handle in handles.drain(..) {
        each(handle.await.expect("the task returns"));
    }
}

struct Threadpool {
    pool: threadpool::ThreadPool,
}

impl Pool for Threadpool {
    type Handle<T: Send + 'static> = oneshot::Receiver<T>;

    fn spawn<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> Self::Handle<T> {
        let (sender, receiver) = oneshot::channel();
        self.pool.execute(move || answer(sender, f()));
        receiver
    }

    fn take<T: Send + 'static>(&self, handle: Self::Handle<T>) -> T {
        handle.recv().expect("the task returns")
    }
}

/// The pool that one writes oneself: a channel of boxed closures.
struct Crossbeam {
    /// Closed before the workers are joined.
    queue: Option<crossbeam_channel::Sender<Box<dyn FnOnce() + Send>>>,
    workers: Vec<JoinHandle<()>>,
}

impl Crossbeam {
    fn new(workers: usize) -> Crossbeam {
        let (queue, tasks) = crossbeam_channel::unbounded::<Box<dyn FnOnce() + Send>>();
        let work = || {
            let tasks = tasks.clone();
            std::thread::spawn(move || tasks.into_iter().for_each(|task| task()))
        };
        Crossbeam { queue: Some(queue), workers: (0..workers).map(|_| work()).collect() }
    }
}

impl Drop for Crossbeam {
    fn drop(&mut self) {
        self.queue = None;
        self.workers.drain(..).for_each(|worker| worker.join().expect("a worker ends well"));
    }
}

impl Pool for Crossbeam {
    type Handle<T: Send + 'static> = oneshot::Receiver<T>;

    fn spawn<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> Self::Handle<T> {
        let (sender, receiver) = oneshot::channel();
        let queue = self.queue.as_ref().expect("open until dropped");
        queue.send(Box::new(move || answer(sender, f()))).expect("workers listen until dropped");
        receiver
    }

    fn take<T: Send + 'static>(&self, handle: Self::Handle<T>) -> T {
        handle.recv().expect("the task returns")
    }
}

/// The executor that lives for ever, the faster of async-executor's two.
struct AsyncExecutor {
    executor: &'static async_executor::StaticExecutor,
    /// Ends the workers.
    stop: Vec<oneshot::Sender<()>>,
    workers: Vec<JoinHandle<()>>,
}

impl AsyncExecutor {
    fn new(workers: usize) -> AsyncExecutor {
        let executor = async_executor::Executor::new().leak();
        let work = || {
            let (stop, stopped) = oneshot::async_channel::<()>();
            let run = executor.run(async { stopped.await.expect("told before it is dropped") });
            (stop, std::thread::spawn(|| block_on(run)))
        };
        let (stop, workers) = (0..workers).map(|_| work()).unzip();
        AsyncExecutor { executor, stop, workers }
    }
}

impl Drop for AsyncExecutor {
    fn drop(&mut self) {
        self.stop.drain(..).for_each(|stop| stop.send(()).expect("a worker waits for it"));
        self.workers.drain(..).for_each(|worker| worker.join().expect("a worker ends well"));
    }
}

impl Pool for AsyncExecutor {
    type Handle<T: Send + 'static> = async_executor::Task<T>;

    fn spawn<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> Self::Handle<T> {
        self.executor.spawn(async move { f() })
    }

    fn take<T: Send + 'static>(&self, handle: Self::Handle<T>) -> T {
        block_on(handle)
    }
}

/// One pool for the program; it has as many threads as it likes.
struct Blocking;

impl Pool for Blocking {
    type Handle<T: Send + 'static> = blocking::Task<T>;

    fn spawn<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> Self::Handle<T> {
        blocking::unblock(f)
    }

    fn take<T: Send + 'static>(&self, handle: Self::Handle<T>) -> T {
        block_on(handle)
    }
}

/// A thread for each task.
pub struct Threads;

impl Pool for Threads {
    type Handle<T: Send + 'static> = JoinHandle<T>;

    fn spawn<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> Self::Handle<T> {
        std::thread::spawn(f)
    }

    fn take<T: Send + 'static>(&self, handle: Self::Handle<T>) -> T {
        handle.join().expect("the task returns")
    }
}

fn answer<T>(sender: oneshot::Sender<T>, value: T) {
    sender.send(value).unwrap_or_else(|_| panic!("every result is waited for"));
}
