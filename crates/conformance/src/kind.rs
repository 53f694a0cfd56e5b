//! The executors that the suite runs on.

use concurrent_futures::process::ProcessPoolBuilder;
use concurrent_futures::thread::ThreadPoolBuilder;
use concurrent_futures::{
    DataPath, Executor, InitResult, OnDrop, Portable, ProcessPoolExecutor, SerialExecutor, StartMethod,
    ThreadPoolExecutor,
};

/// Which executor a test runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Kind {
    /// The serial executor: every task is done when `submit` returns.
    Serial,
    /// Threads.
    Thread,
    /// Processes that a fork server starts, and that rings of shared memory connect with the pool.
    ForkServer,
    /// The same, spawned one by one.
    Spawn,
    /// Processes that a fork server starts, with sockets instead of rings between them and the pool.
    Socket,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 5] = [Kind::Serial, Kind::Thread, Kind::ForkServer, Kind::Spawn, Kind::Socket];

    /// By the word that [`name`](Self::name) gives.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// A word for it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Serial => "serial",
            Kind::Thread => "thread",
            Kind::ForkServer => "process_forkserver",
            Kind::Spawn => "process_spawn",
            Kind::Socket => "process_socket",
        }
    }

    /// Whether a fork server starts the workers.
    pub fn forks(self) -> bool {
        matches!(self, Kind::ForkServer | Kind::Socket)
    }

    /// Whether tasks run in other processes.
    pub fn is_process(self) -> bool {
        matches!(self, Kind::ForkServer | Kind::Spawn | Kind::Socket)
    }

    /// An executor of at most so many workers.
    pub fn pool(self, workers: usize) -> Box<dyn Executor> {
        match self {
            Kind::Serial => Box::new(SerialExecutor::new()),
            Kind::Thread => Box::new(thread(workers).build().expect("a thread pool")),
            _ => Box::new(self.processes(workers).build().expect("a process pool")),
        }
    }

    /// A pool that does something else when it is dropped.
    ///
    /// # Panics
    /// On the serial executor, which has nothing pending.
    pub fn pool_with_drop(self, workers: usize, what: OnDrop) -> Box<dyn Executor> {
        match self {
            Kind::Serial => panic!("the serial executor has nothing pending when it is dropped"),
            Kind::Thread => Box::new(thread(workers).on_drop(what).build().expect("a thread pool")),
            _ => Box::new(self.processes(workers).on_drop(what).build().expect("a process pool")),
        }
    }

    /// A pool whose workers call `f` before their first task.
    ///
    /// # Panics
    /// On the serial executor, which has no initializer.
    pub fn pool_with_initializer<A: Portable + Clone, R: InitResult + 'static>(
        self,
        workers: usize,
        f: fn(A) -> R,
        args: A,
    ) -> Box<dyn Executor> {
        match self {
            Kind::Serial => panic!("the serial executor has no initializer"),
            Kind::Thread => Box::new(thread(workers).initializer(f, args).build().expect("a thread pool")),
            _ => Box::new(self.processes(workers).initializer(f, args).build().expect("a process pool")),
        }
    }

    /// A pool whose queue has so much room.
    ///
    /// # Panics
    /// On the serial executor, which has no queue.
    pub fn pool_with_bound(self, workers: usize, tasks: usize) -> Box<dyn Executor> {
        match self {
            Kind::Serial => panic!("the serial executor has no queue"),
            Kind::Thread => Box::new(thread(workers).queue_bound(tasks).build().expect("a thread pool")),
            _ => Box::new(self.processes(workers).queue_bound(tasks).build().expect("a process pool")),
        }
    }

    /// The settings of a process pool.
    ///
    /// # Panics
    /// When this is none.
    pub fn processes(self, workers: usize) -> ProcessPoolBuilder {
        let (method, path) = match self {
            Kind::ForkServer => (StartMethod::ForkServer, DataPath::Ring),
            Kind::Spawn => (StartMethod::Spawn, DataPath::Ring),
            Kind::Socket => (StartMethod::ForkServer, DataPath::Socket),
            Kind::Serial | Kind::Thread => panic!("{self:?} has no processes"),
        };
        ProcessPoolExecutor::builder().max_workers(workers).start_method(method).data_path(path)
    }
}

fn thread(workers: usize) -> ThreadPoolBuilder {
    ThreadPoolExecutor::builder().max_workers(workers)
}
