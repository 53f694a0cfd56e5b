//! Everything at once, with kills: a bounded form of `benches/stress`. In a program of its own: in the end it looks for processes
//! that are left, and the children of other tests are none of those.

use concurrent_futures_conformance::stress::{Options, run};
use std::time::Duration;

#[test]
fn all_primitives_at_once_while_processes_are_killed() {
    let seed = std::env::var("STRESS_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
    eprintln!("STRESS_SEED={seed}");
    let ms = Duration::from_millis;
    let options = Options { time: ms(5000), actors: 4, couples: 1, kill_every: ms(60), seed };
    let report = run(options, |_| {}).unwrap();
    eprintln!("{report}");
    assert!(report.complaints.is_empty() && report.kills > 0, "{report}");
}
