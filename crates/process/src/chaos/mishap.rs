//! What goes wrong in a worker when it answers.

use super::random::Random;
use crate::link::WorkerEnd;
use crate::slots::Page;
use crate::wire::{Head, Ticket, UP, Up};
use concurrent_futures_core::codec::Parts;
use parking_lot::Mutex;
use rustix::process::{Signal, getpid, kill_process};
use serde::{Deserialize, Serialize};
use std::io;
use std::thread;
use std::time::Duration;

/// What one worker is to expect.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Mishaps {
    pub(super) seed: u64,
    pub(super) delay: Option<(f64, Duration)>,
    pub(super) tear: f64,
}

struct Fate {
    mishaps: Mishaps,
    random: Random,
}

/// This worker's.
static FATE: Mutex<Option<Fate>> = Mutex::new(None);

/// The pool has this called in each worker before its first task.
pub(crate) fn expect(mishaps: Mishaps) {
    let random = Random::new(mishaps.seed);
    *FATE.lock() = Some(Fate { mishaps, random });
}

/// The last words of a worker that has torn its answer. No panic's: those have two lines.
pub(crate) const TORN: &str = "chaos";

/// What befalls the worker before it answers with this: it may not return.
pub(crate) fn befall(
    link: &mut dyn WorkerEnd,
    page: &Page,
    ticket: Ticket,
    (head, body, parts): (Up, &[u8], &Parts),
) -> io::Result<()> {
    let Some((pause, part)) = decide(UP + body.len() + parts.bytes()) else { return Ok(()) };
    if let Some(pause) = pause {
        thread::sleep(pause);
    }
    if let Some(part) = part {
        page.leave_words(ticket, TORN);
        let mut whole = [&head.encode(), body].concat();
        parts.iter().for_each(|(bytes, _)| whole.extend_from_slice(bytes));
        link.send_raw(&whole[..part])?;
        kill_process(getpid(), Signal::KILL)?;
    }
    Ok(())
}

/// How long an answer of `len` bytes is held back, and how much of it is all that is sent.
fn decide(len: usize) -> Option<(Option<Duration>, Option<usize>)> {
    let mut fate = FATE.lock();
    let Fate { mishaps, random } = fate.as_mut()?;
    let pause = mishaps.delay.filter(|(odds, _)| random.happens(*odds)).map(|(_, max)| random.up_to(max));
    let part = random.happens(mishaps.tear).then(|| 1 + random.below(len - 1));
    Some((pause, part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_never_the_whole_and_never_nothing() {
        assert_eq!(decide(UP), None);
        expect(Mishaps { seed: 9, delay: Some((1.0, Duration::from_secs(1))), tear: 1.0 });
        for len in [UP, UP + 1, UP + 1000] {
            for _ in 0..1000 {
                let (pause, part) = decide(len).unwrap();
                assert!(pause.unwrap() < Duration::from_secs(1));
                assert!((1..len).contains(&part.unwrap()));
            }
        }
        expect(Mishaps { seed: 9, delay: None, tear: 0.0 });
        assert_eq!(decide(UP), Some((None, None)));
        *FATE.lock() = None;
    }
}
