//! What a row is run with, and the tasks that many rows use.

use concurrent_futures::ipc_channel::ipc::{IpcReceiver, IpcSender, channel};
use concurrent_futures::process::ProcessPoolBuilder;
use concurrent_futures::{Death, ExecutorExt, Future, ProcessPoolExecutor, TaskError};
use concurrent_futures_conformance::{Arrival, Kind, Soon, Stage, Ticket, until};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

/// How workers are started, and how arguments and results travel.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Ground {
    pub kind: Kind,
    pub lane: Lane,
}

/// What arguments and results have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lane {
    /// Bytes only.
    Bytes,
    /// With an `ipc-channel` handle in each argument and result, which needs a lane of its own beside the link.
    Handles,
}

/// An argument or a result, with a handle if the data path says so.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Load<T> {
    pub value: T,
    line: Option<IpcSender<u64>>,
}

impl Ground {
    /// The settings of a pool.
    pub fn settings(self, workers: usize) -> ProcessPoolBuilder {
        self.kind.processes(workers)
    }

    pub fn pool(self, workers: usize) -> ProcessPoolExecutor {
        self.settings(workers).build().expect("a process pool")
    }

    /// An argument on the data path.
    pub fn load<T>(self, value: T) -> Load<T> {
        self.listened(value).0
    }

    /// An argument, and the other end of its handle.
    pub fn listened<T>(self, value: T) -> (Load<T>, Option<IpcReceiver<u64>>) {
        let (line, listener) = match self.lane {
            Lane::Bytes => (None, None),
            Lane::Handles => {
                let (sender, receiver) = channel().expect("a channel");
                (Some(sender), Some(receiver))
            }
        };
        (Load { value, line }, listener)
    }

    /// What is made once in a process is made before anything is counted.
    pub fn warm_up(self) {
        let ex = self.pool(1);
        assert_eq!(ex.submit(square, self.load(3)).soon().expect("a square").value, 9);
    }
}

impl<T> Load<T> {
    /// The result of a task on the same data path.
    pub fn with<R>(self, value: R) -> Load<R> {
        Load { value, line: self.line }
    }

    /// Says something to whoever has the other end of the handle.
    pub fn call(&self, number: u64) {
        if let Some(line) = &self.line {
            line.send(number).expect("somebody listens");
        }
    }
}

// ---- tasks

pub fn square(x: Load<u64>) -> Load<u64> {
    let value = x.value * x.value;
    x.with(value)
}

pub fn pid(x: Load<()>) -> Load<u32> {
    x.with(std::process::id())
}

/// Stays on the stage until it is released, and gives the number back.
pub fn hold(x: Load<(Ticket, u32)>) -> Load<u32> {
    let (ticket, number) = &x.value;
    ticket.enter(number);
    let number = *number;
    x.with(number)
}

/// Occupies so many workers. The tasks have the numbers from 0; they are given in the order of their numbers.
pub fn occupy(
    ground: Ground,
    ex: &ProcessPoolExecutor,
    stage: &Stage,
    workers: u32,
) -> (Vec<Future<Load<u32>>>, Vec<Arrival>) {
    let futures = (0..workers).map(|number| ex.submit(hold, ground.load((stage.ticket(), number)))).collect();
    let mut arrivals = stage.wait_for(workers as usize);
    arrivals.sort_by_key(|arrival| arrival.words().parse::<u32>().expect("a number"));
    (futures, arrivals)
}

// ---- signals and deaths

/// Sends a signal to a process that is known to be there: a child of ours, or a worker that is held on a stage.
pub fn strike(process: u32, signal: Signal) {
    let pid = i32::try_from(process).ok().and_then(Pid::from_raw).expect("a process has a positive number");
    kill_process(pid, signal).unwrap_or_else(|error| panic!("{signal:?} to {process}: {error}"));
}

/// Stops a process that is known to be there, and returns when it does nothing any more.
pub fn stop(process: u32) {
    strike(process, Signal::STOP);
    let is_stopped = |task: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    };
    until("all its threads have stopped", || {
        let tasks = std::fs::read_dir(format!("/proc/{process}/task")).expect("it is there");
        tasks.flatten().all(is_stopped)
    });
}

/// Kills a worker of a pool that may be dead already: by a descriptor that was opened while the pool still had it, so that no
/// other process can be hit. `false`: it was gone.
pub fn strike_worker(ex: &ProcessPoolExecutor, worker: u32, signal: Signal) -> bool {
    let pid = i32::try_from(worker).ok().and_then(Pid::from_raw).expect("a process has a positive number");
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) if ex.worker_pids().contains(&worker) => pidfd_send_signal(pidfd, signal).is_ok(),
        _ => false,
    }
}

/// The death that an error tells of.
#[track_caller]
pub fn death<T>(outcome: Result<T, TaskError>) -> Death {
    match outcome {
        Ok(_) => panic!("a value, where the worker was to die"),
        Err(error) => error.death().cloned().unwrap_or_else(|| panic!("no death: {error}")),
    }
}

/// The death is by this signal, and it was not the pool that sent it.
#[track_caller]
pub fn assert_killed_by_others(death: &Death, signal: &str) {
    assert_eq!((death.signal(), death.exit_code(), death.by_pool()), (Some(signal), None, false), "{death}");
}
