//! What has been done, and what went wrong.

use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The kinds of work.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Small,
    Nap,
    Large,
    Map,
    Panic,
    PanicOnce,
    Failure,
    Crash,
    Exit,
    CrashOnce,
    Timeout,
    HangOnce,
    Abort,
}

const KINDS: [Kind; 13] = [
    Kind::Small,
    Kind::Nap,
    Kind::Large,
    Kind::Map,
    Kind::Panic,
    Kind::PanicOnce,
    Kind::Failure,
    Kind::Crash,
    Kind::Exit,
    Kind::CrashOnce,
    Kind::Timeout,
    Kind::HangOnce,
    Kind::Abort,
];

/// So many complaints are kept in words.
const KEPT: usize = 20;

#[derive(Debug, Default)]
pub struct Tally {
    done: [AtomicU64; KINDS.len()],
    retries: AtomicU64,
    lost: AtomicU64,
    wrong: AtomicU64,
    complaints: Mutex<Vec<String>>,
    /// When `line` was called last: the time, and what was done then.
    last: Mutex<(Duration, u64)>,
}

impl Tally {
    pub fn done(&self, kind: Kind, attempts: u32) {
        self.done[kind as usize].fetch_add(1, Ordering::Relaxed);
        self.retries.fetch_add(u64::from(attempts.saturating_sub(1)), Ordering::Relaxed);
    }

    pub fn wrong(&self, kind: Kind, what: &str) {
        self.wrong.fetch_add(1, Ordering::Relaxed);
        self.complain(format!("wrong: {kind:?} gave: {what}"));
    }

    pub fn lost(&self, kind: Kind, what: &str) {
        self.lost.fetch_add(1, Ordering::Relaxed);
        self.complain(format!("lost: {kind:?}: {what}"));
    }

    pub fn complain(&self, what: String) {
        eprintln!("{what}");
        let mut complaints = self.complaints.lock().expect("nobody panics with it");
        if complaints.len() < KEPT {
            complaints.push(what);
        }
    }

    pub fn complaints(&self) -> Vec<String> {
        self.complaints.lock().expect("nobody panics with it").clone()
    }

    fn total(&self) -> u64 {
        self.done.iter().map(|done| done.load(Ordering::Relaxed)).sum()
    }

    /// How it goes, and how fast since the last call.
    pub fn line(&self, time: Duration) -> String {
        let total = self.total();
        let mut last = self.last.lock().expect("nobody panics with it");
        let rate = (total - last.1) as f64 / (time - last.0).as_secs_f64().max(0.001);
        *last = (time, total);
        let [retries, wrong, lost] =
            [&self.retries, &self.wrong, &self.lost].map(|counter| counter.load(Ordering::Relaxed));
        format!("{:5} s: {rate:6.0}/s, {total} done, {retries} retries, {wrong} wrong, {lost} lost;", time.as_secs())
    }

    pub fn summary(&self, time: Duration) -> String {
        let mut out = format!("in {:.0} s:", time.as_secs_f64());
        for (kind, done) in KINDS.iter().zip(&self.done) {
            let _ = write!(out, " {kind:?} {},", done.load(Ordering::Relaxed));
        }
        let retries = self.retries.load(Ordering::Relaxed);
        let _ = write!(out, " in all {}, with {retries} retries", self.total());
        out
    }
}
