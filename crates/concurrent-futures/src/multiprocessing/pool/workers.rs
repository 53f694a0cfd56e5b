//! What a pool knows about its executor.

use crate::{Executor, ProcessPoolExecutor, Shutdown};
use std::any::Any;

pub(super) enum Workers {
    Processes(ProcessPoolExecutor),
    /// Threads that nobody else has.
    #[cfg(feature = "thread")]
    Threads(crate::ThreadPoolExecutor),
    /// Others may use it, too.
    Other(Box<dyn Executor>),
}

impl Workers {
    pub(super) fn of<E: Executor + 'static>(executor: E) -> Self {
        let mut executor = Some(executor);
        let known: &mut dyn Any = &mut executor;
        match known.downcast_mut::<Option<ProcessPoolExecutor>>().and_then(Option::take) {
            Some(processes) => Workers::Processes(processes),
            None => Workers::Other(Box::new(executor.expect("it was not taken"))),
        }
    }

    #[cfg(feature = "thread")]
    pub(super) fn threads(threads: Option<usize>) -> Result<Self, crate::BuildError> {
        let threads = match threads {
            Some(n) => n,
            None => std::thread::available_parallelism().map_or(1, usize::from),
        };
        // When it is dropped the pool has been terminated or joined: nobody is to wait for what a task does still.
        let pool = crate::ThreadPoolExecutor::builder().max_workers(threads).on_drop(crate::OnDrop::Kill).build()?;
        Ok(Workers::Threads(pool))
    }

    pub(super) fn executor(&self) -> &dyn Executor {
        match self {
            Workers::Processes(pool) => pool,
            #[cfg(feature = "thread")]
            Workers::Threads(pool) => pool,
            Workers::Other(executor) => executor,
        }
    }

    /// All jobs have been aborted.
    pub(super) fn kill(&self) {
        // Threads cannot be killed, and there is nothing left for them.
        if let Workers::Processes(pool) = self {
            pool.kill_workers();
        }
    }

    /// Waits until the workers have ended, if they are the pool's own.
    pub(super) fn join(&self) {
        match self {
            Workers::Processes(pool) => pool.shutdown(Shutdown::WAIT),
            #[cfg(feature = "thread")]
            Workers::Threads(pool) => pool.shutdown(Shutdown::WAIT),
            Workers::Other(_) => {}
        }
    }

    /// The same if they have been killed, so that it does not take long.
    pub(super) fn join_killed(&self) {
        if let Workers::Processes(_) = self {
            self.join();
        }
    }
}
