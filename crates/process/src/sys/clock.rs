//! Points in time that two processes agree on.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// `Instant` as the kernel's monotonic clock, which all processes of a machine share, in nanoseconds.
pub(crate) fn monotonic(at: Instant) -> u64 {
    // The two readings are taken one after the other, so the error is the time in between.
    let (now, here) = (now(), Instant::now());
    match at.checked_duration_since(here) {
        Some(ahead) => now.saturating_add(nanoseconds(ahead)),
        None => now.saturating_sub(nanoseconds(here - at)),
    }
}

/// How long it is until then.
pub(crate) fn until(monotonic: u64) -> Duration {
    Duration::from_nanos(monotonic.saturating_sub(now()))
}

fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    // Since the start of the machine: neither is negative, and 64 bits last for 584 years.
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_come_comes_nearer() {
        let hour = Duration::from_secs(3600);
        let there = monotonic(Instant::now() + hour);
        let left = until(there);
        assert!(left <= hour + Duration::from_secs(1) && left > hour / 2, "{left:?}");
        assert_eq!(until(monotonic(Instant::now())), Duration::ZERO);
        assert_eq!(until(0), Duration::ZERO);
    }
}
