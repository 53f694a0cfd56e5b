//! `with_context` on every executor.

use concurrent_futures::ExecutorExt;
use concurrent_futures_conformance::{Kind, Soon, Stage, Ticket, tests};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeSet;

#[derive(Serialize, Deserialize)]
struct Table {
    rows: Vec<u64>,
}

impl Table {
    fn new() -> Self {
        Table { rows: (0..1000).map(|i| i * i).collect() }
    }

    fn row(&self, index: usize) -> u64 {
        self.rows[index]
    }

    fn find(&self, value: u64) -> Result<usize, String> {
        self.rows.iter().position(|row| *row == value).ok_or_else(|| format!("no {value}"))
    }
}

fn serves_its_methods(kind: Kind) {
    let ex = kind.pool(2);
    let table = ex.with_context(Table::new());
    assert_eq!(table.submit(Table::row, 7).soon().unwrap(), 49);
    assert!(table.map(Table::row, 0..100).map(Result::unwrap).eq((0..100).map(|i| i * i)));
    assert_eq!(table.submit_fallible(Table::find, 81).soon().unwrap(), 9);
    assert!(table.map_fallible(Table::find, [4, 5]).map(Result::ok).eq([Some(2), None]));
    assert!(table.submit(Table::row, 1000).soon().unwrap_err().is_panic());
}

fn two_of_one_type_are_two(kind: Kind) {
    let ex = kind.pool(2);
    let contexts: Vec<_> = (0..20).map(|i: u64| (i, ex.with_context(i))).collect();
    for round in 0..3 {
        let add = |context: &u64, x: u64| context * 100 + x;
        let futures: Vec<_> = contexts.iter().map(|(i, context)| (i, context.submit(add, round))).collect();
        for (i, future) in futures {
            assert_eq!(future.soon().unwrap(), i * 100 + round);
        }
    }
}

fn survives_its_worker(kind: Kind) {
    let ex = kind.pool(1);
    let table = ex.with_context(Table::new());
    assert_eq!(table.submit(Table::row, 3).soon().unwrap(), 9);
    for _ in 0..2 {
        let death = table.submit(|_: &Table, (): ()| std::process::abort(), ());
        let death: Result<(), _> = death.soon();
        assert!(death.unwrap_err().is_worker_death());
        assert_eq!(table.submit(Table::row, 4).soon().unwrap(), 16, "the new one gets it too");
    }
}

/// Says when and where it is decoded.
#[derive(Serialize)]
struct Noisy(Ticket);

impl<'de> Deserialize<'de> for Noisy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ticket = Ticket::deserialize(deserializer)?;
        ticket.tell("decoded");
        Ok(Noisy(ticket))
    }
}

fn arrives_once_in_each_worker(kind: Kind) {
    let (ex, stage) = (kind.pool(2), Stage::new());
    let noisy = ex.with_context(Noisy(stage.ticket()));
    let pids: BTreeSet<u32> =
        noisy.map(|_: &Noisy, (): ()| std::process::id(), vec![(); 500]).map(Result::unwrap).collect();
    let decoded = stage.said().len();
    assert_eq!(decoded, if kind.is_process() { pids.len() } else { 0 });
}

tests! {
    all {
        serves_its_methods,
        two_of_one_type_are_two,
        arrives_once_in_each_worker,
    }
    process {
        survives_its_worker,
    }
}
