//! Tasks that many tests use.

use concurrent_futures::{Executor, ExecutorExt, Future};
use concurrent_futures_conformance::{Arrival, Stage, Ticket};

/// Stays on the stage until it is released, and gives the number back.
pub fn hold((ticket, number): (Ticket, u32)) -> u32 {
    ticket.enter(number);
    number
}

/// Tells its number, and gives it back.
pub fn tell((ticket, number): (Ticket, u32)) -> u32 {
    ticket.tell(number);
    number
}

pub fn square(x: u64) -> u64 {
    x * x
}

/// Panics for 0.
pub fn invert(x: u64) -> u64 {
    60 / x
}

pub fn pid((): ()) -> u32 {
    std::process::id()
}

/// Occupies so many workers. The tasks have the numbers from 0; they are given in the order of their numbers.
pub fn occupy(ex: &dyn Executor, stage: &Stage, workers: usize) -> (Vec<Future<u32>>, Vec<Arrival>) {
    let numbers = 0..u32::try_from(workers).expect("a few");
    let futures = numbers.map(|number| ex.submit(hold, (stage.ticket(), number))).collect();
    let mut arrivals = stage.wait_for(workers);
    arrivals.sort_by_key(|arrival| arrival.words().parse::<u32>().expect("a number"));
    (futures, arrivals)
}
