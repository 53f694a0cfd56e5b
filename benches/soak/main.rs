//! Mixed work on process pools under chaos, for as long as it is told; every result is checked.
//!
//! ```text
//! cargo run --release -p concurrent-futures-benches --example soak -- --seconds 1200 --workers 4 --seed 7
//! ```
//!
//! Small tasks, large arguments and results, sleeps, maps, panics, errors, crashes, timeouts, aborts and retries run on two
//! pools, one for each start method, whose size changes now and then, while their workers are killed, stopped, late and cut off at random. Every few seconds it
//! says how it goes. Exit code 1: a result was lost or wrong, something is left behind, or memory has grown too much.

mod drive;
mod flood;
mod options;
mod tally;
mod watch;
mod work;

use concurrent_futures::process::ProcessPoolBuilder;
use concurrent_futures::{BuildError, Chaos, Executor, ProcessPoolExecutor, Shutdown, StartMethod};
use options::Options;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
use tally::Tally;
use watch::{Growth, Sample, Seen};

/// Threads that submit and check, for each pool.
const DRIVERS: u64 = 2;
/// What a driver has under way at most.
const UNDER_WAY: usize = 48;
const EVERY: Duration = Duration::from_secs(5);
/// The pools get another size now and then.
const RESIZE: Duration = Duration::from_millis(700);
/// A pool that does not end in this time hangs.
const END: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let options = match Options::from_args() {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    let mut complaints = Vec::new();
    // What the library starts once for all and keeps is there before the counting begins.
    let first = pools(&options, false).and_then(|pools| {
        pools.iter().try_for_each(ProcessPoolExecutor::warm_up)?;
        Ok(pools)
    });
    match first {
        Ok(pools) => end(&pools, &mut complaints),
        Err(error) => {
            eprintln!("no pool can be made here: {error}");
            return ExitCode::from(2);
        }
    }
    let before = Sample::take(&[]);
    println!("{options}");
    println!("at rest: {before}");
    if options.flood > 0 {
        match flood::flood(&options, options.flood) {
            Ok(more) => complaints.extend(more),
            Err(error) => complaints.push(format!("a pool could not be made: {error}")),
        }
    }
    if let Err(error) = soak(&options, &mut complaints) {
        complaints.push(format!("a pool could not be made: {error}"));
    }
    let after = watch::settle(&before);
    println!("afterwards: {after}");
    complaints.extend(after.leaks_since(&before));
    if complaints.is_empty() {
        println!("VERDICT: sound");
        return ExitCode::SUCCESS;
    }
    for complaint in &complaints {
        println!("COMPLAINT: {complaint}");
    }
    println!("VERDICT: not sound, {} complaints", complaints.len());
    ExitCode::FAILURE
}

fn soak(options: &Options, complaints: &mut Vec<String>) -> Result<(), BuildError> {
    let pools = pools(options, options.chaos)?;
    let tally = Tally::default();
    let (start, stop) = (Instant::now(), options.time);
    thread::scope(|s| {
        let (done, ended) = mpsc::channel();
        for (pool, method) in pools.iter().zip(0..) {
            for driver in 0..DRIVERS {
                let (tally, done) = (&tally, done.clone());
                let seed = options.seed ^ (method * DRIVERS + driver + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                s.spawn(move || {
                    drive::drive(pool, tally, seed, UNDER_WAY, || start.elapsed() < stop);
                    drop(done);
                });
            }
        }
        drop(done);
        let (tally, pools) = (&tally, &pools);
        s.spawn(move || report(tally, pools, options, start, &ended));
    });
    println!("{}", tally.summary(start.elapsed()));
    end(&pools, complaints);
    complaints.extend(tally.complaints());
    Ok(())
}

/// Says how it goes until all drivers have ended.
fn report(tally: &Tally, pools: &[ProcessPoolExecutor], options: &Options, start: Instant, ended: &mpsc::Receiver<()>) {
    let mut seen = Seen::default();
    let mut growth = Growth::new(options.time);
    let mut next = start + EVERY;
    let mut sizes = (1..=options.workers).rev().chain([options.workers; 4]).cycle();
    let mut resize = start + RESIZE;
    // Nobody sends: the channel ends with the last driver.
    while ended.recv_timeout(Duration::from_millis(20)) == Err(mpsc::RecvTimeoutError::Timeout) {
        let pids: Vec<u32> = pools.iter().flat_map(ProcessPoolExecutor::worker_pids).collect();
        seen.look(&pids);
        if Instant::now() >= resize {
            resize += RESIZE;
            let size = sizes.next().unwrap_or(1);
            for pool in pools {
                if let Err(error) = pool.resize(size) {
                    tally.complain(format!("a pool cannot be resized: {error}"));
                }
            }
        }
        if Instant::now() >= next {
            next += EVERY;
            let sample = Sample::take(&pids);
            growth.look(start.elapsed(), &sample);
            println!("{} {} workers so far; {sample}", tally.line(start.elapsed()), seen.count());
        }
    }
    if let Some(complaint) = growth.complaint() {
        tally.complain(complaint);
    }
}

fn pools(options: &Options, chaos: bool) -> Result<Vec<ProcessPoolExecutor>, BuildError> {
    let methods = [StartMethod::ForkServer, StartMethod::Spawn];
    let builder = |method| {
        ProcessPoolExecutor::builder()
            .max_workers(options.workers)
            .start_method(method)
            .min_workers(1)
            .idle_timeout(Duration::from_millis(20))
            .queue_bound(256)
            .initializer(work::be_quiet, ())
    };
    let trouble = |builder: ProcessPoolBuilder, number| {
        let ms = Duration::from_millis;
        let storm = Chaos::new(options.seed.wrapping_add(number)).kill_every(ms(200)).stop_every(ms(1000), ms(50));
        builder.chaos(storm.delay(0.005, ms(20)).tear(0.001))
    };
    methods
        .into_iter()
        .zip(0..)
        .map(|(method, number)| match chaos {
            true => trouble(builder(method), number).build(),
            false => builder(method).build(),
        })
        .collect()
}

fn end(pools: &[ProcessPoolExecutor], complaints: &mut Vec<String>) {
    for pool in pools {
        if let Err(error) = pool.shutdown_timeout(Shutdown::WAIT, END) {
            complaints.push(format!("a pool does not end: {error}"));
        }
    }
}
