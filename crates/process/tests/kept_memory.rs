//! Memory of large blocks is used again for the next ones, and given back when there are none. Alone in its program, whose
//! memory it measures.

mod support;

use concurrent_futures_core::ExecutorExt;
use concurrent_futures_process::ProcessPoolExecutor;
use rustix::param::page_size;
use std::sync::Mutex;
use support::*;

/// More than what any allocator keeps by itself.
const SIZE: usize = 48 << 20;
const PAGE: usize = 4096;
/// What a program may have more than before, and is not a block.
const SLACK: usize = SIZE / 2;

/// What the other test has in this program's memory would count here.
static ALONE: Mutex<()> = Mutex::new(());

fn filled(seed: u8) -> Vec<u8> {
    vec![seed; SIZE]
}

/// Of one byte of each page.
fn sum(bytes: Vec<u8>) -> u64 {
    bytes.iter().step_by(PAGE).map(|&byte| u64::from(byte)).sum()
}

#[test]
fn large_blocks_are_used_again_and_given_back() {
    let _alone = ALONE.lock();
    with_both(|builder| {
        let pool = builder.max_workers(1).build().unwrap();
        let worker = outcome(pool.submit(|_: ()| std::process::id(), ())).unwrap();
        let before = [resident(std::process::id()), resident(worker)];
        let mut seed = 0_u8;
        // Where there is much else to do, so much time may pass between two tasks that nothing is kept any more.
        eventually("a result is where an argument was", || {
            seed = seed.wrapping_add(1);
            let argument = filled(seed);
            let place = argument.as_ptr();
            let first = outcome(pool.submit(|bytes: Vec<u8>| bytes, argument)).unwrap();
            let second = outcome(pool.submit(filled, seed)).unwrap();
            assert!(first == second && first == filled(seed));
            second.as_ptr() == place
        });
        assert_eq!(outcome(pool.submit(sum, filled(seed))).unwrap(), (SIZE / PAGE) as u64 * u64::from(seed));
        for (process, before) in [std::process::id(), worker].into_iter().zip(before) {
            eventually("it is given back", || resident(process) < before + SLACK);
        }
        assert_eq!(outcome(pool.submit(sum, filled(1))).unwrap(), (SIZE / PAGE) as u64);
    });
}

#[test]
fn a_worker_with_a_memory_limit_keeps_nothing() {
    let _alone = ALONE.lock();
    let pool = ProcessPoolExecutor::builder().max_workers(1).memory_limit(SIZE as u64 * 3 / 2).build().unwrap();
    for seed in 0..4 {
        // Alone it fits, beside anything that was kept it would not.
        assert_eq!(outcome(pool.submit(sum, filled(seed))).unwrap(), (SIZE / PAGE) as u64 * u64::from(seed));
        let halves = |_: ()| [SIZE / 2; 2].map(|half| vec![1_u8; half].len());
        assert_eq!(outcome(pool.submit(halves, ())).unwrap(), [SIZE / 2; 2]);
    }
}

/// Bytes of a process that are in memory.
fn resident(process: u32) -> usize {
    let pages = std::fs::read_to_string(format!("/proc/{process}/statm")).unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * page_size()
}
