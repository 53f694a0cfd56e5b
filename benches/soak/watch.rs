//! What processes use, from `/proc`.

use std::collections::HashSet;
use std::fmt;
use std::fs::{read_dir, read_to_string};
use std::thread;
use std::time::{Duration, Instant};

/// What has gone by then is not left behind.
const SETTLE: Duration = Duration::from_secs(15);
/// Memory is compared with the most that was seen in the first part of the time, and may be so much more.
const WARM: f64 = 0.25;
const FACTOR: f64 = 1.25;
const SLACK: u64 = 48 << 20;

/// One look.
#[derive(Debug)]
pub struct Sample {
    /// Bytes of memory of this process.
    own: u64,
    /// Of all workers, and of the largest.
    workers: u64,
    largest: u64,
    alive: usize,
    descriptors: usize,
    children: usize,
}

impl Sample {
    pub fn take(workers: &[u32]) -> Sample {
        let sizes: Vec<u64> = workers.iter().filter_map(|pid| resident(&pid.to_string())).collect();
        Sample {
            own: resident("self").unwrap_or(0),
            workers: sizes.iter().sum(),
            largest: sizes.iter().copied().max().unwrap_or(0),
            alive: sizes.len(),
            descriptors: read_dir("/proc/self/fd").map_or(0, Iterator::count),
            children: children(),
        }
    }

    /// Bytes of memory of this process.
    pub fn own(&self) -> u64 {
        self.own
    }

    /// What is there now and was not there before.
    pub fn leaks_since(&self, before: &Sample) -> Vec<String> {
        let pairs =
            [("descriptors", self.descriptors, before.descriptors), ("children", self.children, before.children)];
        let more = pairs.into_iter().filter(|(_, now, then)| now > then);
        more.map(|(what, now, then)| format!("{what} are left: {now}, and {then} before")).collect()
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        write!(f, "{:.1} MiB, ", mib(self.own))?;
        if self.alive > 0 {
            write!(f, "{} workers {:.1} MiB (the largest {:.1}), ", self.alive, mib(self.workers), mib(self.largest))?;
        }
        write!(f, "{} descriptors, {} children", self.descriptors, self.children)
    }
}

/// Waits until there is no more than before, for a time.
pub fn settle(before: &Sample) -> Sample {
    let give_up = Instant::now() + SETTLE;
    loop {
        let now = Sample::take(&[]);
        if now.leaks_since(before).is_empty() || Instant::now() > give_up {
            return now;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// How many workers there have been: at least so many, as one may come and go between two looks. Their numbers are used
/// again in a long run, so only those of the last look are compared.
#[derive(Debug, Default)]
pub struct Seen {
    last: HashSet<u32>,
    count: usize,
}

impl Seen {
    pub fn look(&mut self, pids: &[u32]) {
        self.count += pids.iter().filter(|pid| !self.last.contains(pid)).count();
        self.last = pids.iter().copied().collect();
    }

    pub fn count(&self) -> usize {
        self.count
    }
}

/// Whether memory and descriptors grow.
#[derive(Debug)]
pub struct Growth {
    warm_until: Duration,
    warm: Bounds,
    /// Of the last looks, so that one peak is no growth.
    late: Vec<Bounds>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bounds {
    own: u64,
    largest: u64,
    descriptors: usize,
}

/// So many looks count as the end.
const LATE: usize = 3;
/// Descriptors come and go with workers.
const DESCRIPTORS: usize = 64;

impl Growth {
    pub fn new(time: Duration) -> Growth {
        Growth { warm_until: time.mul_f64(WARM), warm: Bounds::default(), late: Vec::new() }
    }

    pub fn look(&mut self, time: Duration, sample: &Sample) {
        let now = Bounds { own: sample.own, largest: sample.largest, descriptors: sample.descriptors };
        if time <= self.warm_until {
            self.warm = Bounds {
                own: self.warm.own.max(now.own),
                largest: self.warm.largest.max(now.largest),
                descriptors: self.warm.descriptors.max(now.descriptors),
            };
        } else {
            self.late.push(now);
            if self.late.len() > LATE {
                self.late.remove(0);
            }
        }
    }

    /// `None`: it does not grow, or was not looked at for long enough.
    pub fn complaint(&self) -> Option<String> {
        let own = self.late.iter().map(|late| late.own).min().filter(|_| self.warm.own > 0)?;
        let largest = self.late.iter().map(|late| late.largest).min()?;
        let descriptors = self.late.iter().map(|late| late.descriptors).min()?;
        let bound = |bytes: u64| (bytes as f64 * FACTOR) as u64 + SLACK;
        if own > bound(self.warm.own) {
            Some(format!("memory grows: from {} to {own} bytes", self.warm.own))
        } else if largest > bound(self.warm.largest) {
            Some(format!("the memory of a worker grows: from {} to {largest} bytes", self.warm.largest))
        } else if descriptors > self.warm.descriptors + DESCRIPTORS {
            Some(format!("descriptors grow: from {} to {descriptors}", self.warm.descriptors))
        } else {
            None
        }
    }
}

/// Bytes in memory.
fn resident(process: &str) -> Option<u64> {
    let status = read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

/// Processes whose parent this one is.
fn children() -> usize {
    let Ok(threads) = read_dir("/proc/self/task") else { return 0 };
    let of_thread = |path: std::path::PathBuf| read_to_string(path.join("children")).ok();
    let lists = threads.filter_map(|thread| of_thread(thread.ok()?.path()));
    lists.map(|list| list.split_whitespace().count()).sum()
}
