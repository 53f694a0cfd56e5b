//! Resource limits of this process, and what it uses of them.

use std::io;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::procfs;

/// A limit as it stands; only the soft one is ever changed, for a hard one that was lowered cannot be raised again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    resource: Resource,
    before: Rlimit,
}

impl Limit {
    pub(crate) fn of(resource: Resource) -> Self {
        Limit { resource, before: getrlimit(resource) }
    }

    /// Sets the soft limit to `value`, where that is less than what it was when this value was made.
    pub(crate) fn lower(&self, value: u64) -> io::Result<()> {
        let current = Some(self.before.current.map_or(value, |before| before.min(value)));
        Ok(setrlimit(self.resource, Rlimit { current, ..self.before })?)
    }

    /// Sets it to what it was.
    pub(crate) fn put_back(&self) -> io::Result<()> {
        Ok(setrlimit(self.resource, self.before)?)
    }

    #[cfg(test)]
    fn value(&self) -> Option<u64> {
        self.before.current
    }
}

/// Raises the soft limits to the hard ones, as far as this process may: for one that has only its end to bring about.
pub(crate) fn lift() {
    for resource in [Resource::Data, Resource::Nofile, Resource::Cpu] {
        let limit = getrlimit(resource);
        // Without it the end may be less orderly, and comes all the same.
        let _ = setrlimit(resource, Rlimit { current: limit.maximum, ..limit });
    }
}

/// The soft limit on the CPU time of this process, at which `more` is used up, in the whole seconds of the kernel.
pub(crate) fn cpu_limit_after(more: Duration) -> io::Result<u64> {
    let until = cpu_time()?.saturating_add(more);
    // The kernel makes nanoseconds of it, in 64 bits.
    const CENTURIES: u64 = 1 << 33;
    Ok(until.as_secs().saturating_add(u64::from(until.subsec_nanos() > 0)).min(CENTURIES))
}

/// The CPU time that this process has used, all its threads together.
fn cpu_time() -> io::Result<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let invalid = |_| io::Error::from(io::ErrorKind::InvalidData);
    let (seconds, nanos) =
        (u64::try_from(time.tv_sec).map_err(invalid)?, u32::try_from(time.tv_nsec).map_err(invalid)?);
    Ok(Duration::new(seconds, nanos))
}

/// Private writable memory of this process in bytes, as the limit of it counts.
pub(crate) fn data_size() -> io::Result<u64> {
    procfs::memory_pages(5).map(in_bytes)
}

/// Memory of this process that is in RAM, in bytes.
pub(crate) fn resident_size() -> io::Result<u64> {
    procfs::memory_pages(1).map(in_bytes)
}

fn in_bytes(pages: u64) -> u64 {
    pages * rustix::param::page_size() as u64
}

/// The calling thread, and those that it starts from now on, run on these CPUs only.
///
/// # Errors
///
/// In words, when one of them is not there, or not for this process.
pub(crate) fn run_on(cpus: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    for &cpu in cpus {
        if cpu >= CpuSet::MAX_CPU {
            return Err(no_cpu(cpu));
        }
        set.set(cpu);
    }
    // The kernel takes what is there of the set and says nothing of the rest, unless nothing is there.
    match sched_setaffinity(None, &set) {
        Err(rustix::io::Errno::INVAL) => return Err(no_cpu(cpus.first().copied().unwrap_or(0))),
        other => other?,
    }
    let given = sched_getaffinity(None)?;
    match cpus.iter().find(|&&cpu| !given.is_set(cpu)) {
        Some(&missing) => Err(no_cpu(missing)),
        None => Ok(()),
    }
}

fn no_cpu(cpu: usize) -> io::Error {
    io::Error::other(format!("there is no CPU {cpu} for this process"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sizes_of_this_process_make_sense() {
        const MORE: usize = 64 << 20;
        let grows = || {
            let (data, resident) = (data_size().unwrap(), resident_size().unwrap());
            let _more = std::hint::black_box(vec![1_u8; MORE]);
            let (new_data, new_resident) = (data_size().unwrap(), resident_size().unwrap());
            assert!(new_data >= MORE as u64 && new_resident >= MORE as u64 / 2, "{new_data} {new_resident}");
            new_data >= data + MORE as u64 / 2 && new_resident >= resident + MORE as u64 / 4
        };
        // What the tests beside this one give back meanwhile is missing: then once more.
        let begin = std::time::Instant::now();
        while !grows() {
            assert!(begin.elapsed() < Duration::from_secs(60), "it never grows");
        }
    }

    #[test]
    fn cpu_seconds_are_rounded_up() {
        let one = cpu_limit_after(Duration::from_millis(1)).unwrap();
        assert!(one >= 1);
        assert!(cpu_limit_after(Duration::from_secs(100)).unwrap() >= one + 99);
        assert_eq!(cpu_limit_after(Duration::MAX).unwrap(), 1 << 33);
    }

    #[test]
    fn a_cpu_that_is_not_there_is_an_error() {
        std::thread::spawn(|| {
            run_on(&[rustix::thread::sched_getcpu()]).unwrap();
            assert!(run_on(&[CpuSet::MAX_CPU - 1]).unwrap_err().to_string().contains("1023"));
            assert!(run_on(&[usize::MAX]).is_err());
            assert!(run_on(&[rustix::thread::sched_getcpu(), CpuSet::MAX_CPU - 1]).is_err());
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_lowered_limit_is_put_back() {
        // Of no use to anybody in this process.
        let limit = Limit::of(Resource::Msgqueue);
        limit.lower(0).unwrap();
        assert_eq!(Limit::of(Resource::Msgqueue).value(), Some(0));
        limit.put_back().unwrap();
        assert_eq!(Limit::of(Resource::Msgqueue).value(), limit.value());
        limit.lower(u64::MAX).unwrap();
        assert_eq!(Limit::of(Resource::Msgqueue).value(), limit.value().or(Some(u64::MAX)));
        limit.put_back().unwrap();
    }
}
