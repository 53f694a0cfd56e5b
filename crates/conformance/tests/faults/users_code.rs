//! Rows 24 to 26: input iterators, callbacks and tasks that do strange things.

use crate::bystanders::{Bystanders, assert_usable};
use crate::ground::{Ground, Load, pid, square};
use crate::rows;
use concurrent_futures::{ExecutorExt, ProcessPoolExecutor};
use concurrent_futures_conformance::{PATIENCE, Soon, Stage, Ticket, until};
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Stdio};
use std::sync::{Arc, mpsc};

fn row_24_the_input_of_a_map_panics(ground: Ground) {
    let ex = ground.pool(2);
    let bystanders = Bystanders::of(ground, &ex);
    let bad = || {
        (0..).map(move |number| {
            assert!(number < 5, "no sixth item");
            ground.load(number)
        })
    };
    let at_once = catch_unwind(AssertUnwindSafe(|| drop(ex.tasks(square, bad()).map())));
    assert_eq!(at_once.unwrap_err().downcast_ref::<&str>(), Some(&"no sixth item"));
    let mut later = ex.tasks(square, bad()).buffersize(2);
    let values: Vec<_> = (0..3).filter_map(|_| later.next()).map(|value| value.expect("a square").value).collect();
    assert_eq!(values, [0, 1, 4]);
    let late = catch_unwind(AssertUnwindSafe(|| later.by_ref().map(drop).count()));
    assert_eq!(late.unwrap_err().downcast_ref::<&str>(), Some(&"no sixth item"));
    drop(later);
    bystanders.succeed();
    assert_usable(ground, &ex);
}

fn row_24_the_input_of_a_map_is_endless(ground: Ground) {
    let ex = ground.pool(2);
    let endless = (0..).map(|number| ground.load(number));
    let some = ex.tasks(square, endless).buffersize(4).take(30).map(|value| value.expect("a square").value);
    assert!(some.eq((0..30).map(|number| number * number)));
    // The consumer has stopped.
    assert_usable(ground, &ex);
}

fn row_24_the_input_of_a_map_blocks(ground: Ground) {
    let ex = ground.pool(2);
    let (give, items) = mpsc::channel::<u64>();
    std::thread::scope(|scope| {
        let ex = &ex;
        let map = scope.spawn(move || {
            let items = items.into_iter().map(|number| ground.load(number));
            ex.tasks(square, items).map().map(|value| value.expect("a square").value).collect::<Vec<_>>()
        });
        give.send(3).expect("it listens");
        // It waits for more, and nobody else does.
        assert_usable(ground, ex);
        give.send(4).expect("it listens");
        drop(give);
        assert_eq!(map.join().expect("no panic"), [9, 16]);
    });
    assert_usable(ground, &ex);
}

fn hold_then(x: Load<(Ticket, u32)>) -> Load<u32> {
    x.value.0.enter(x.value.1);
    let number = x.value.1;
    x.with(number)
}

fn row_24_the_consumer_of_a_map_stops(ground: Ground) {
    let (ex, stage) = (ground.pool(2), Stage::new());
    let items = (0..50).map(|number| ground.load((stage.ticket(), number)));
    let mut map = ex.tasks(hold_then, items).map();
    stage.wait_for(2).into_iter().for_each(|arrival| arrival.release());
    assert_eq!(map.next().expect("an item").expect("a value").value, 0);
    drop(map);
    // What has started comes to its end; the rest never starts.
    let end = std::thread::spawn(move || {
        assert_usable(ground, &ex);
        drop(ex);
    });
    let mut more = Vec::new();
    while !end.is_finished() {
        more.extend(stage.said());
        std::thread::yield_now();
    }
    end.join().expect("no panic");
    more.extend(stage.said());
    assert!(more.len() <= 4, "two were running, and two more may have started meanwhile: {more:?}");
}

fn row_25_a_callback_panics(ground: Ground) {
    let ex = ground.pool(1);
    let bystanders = Bystanders::of(ground, &ex);
    let (told, tells) = mpsc::channel();
    for number in 0..5 {
        let future = ex.submit(square, ground.load(number));
        let told = told.clone();
        future.add_done_callback(|_| panic!("a callback panics on purpose"));
        future.add_done_callback(move |outcome| {
            // The test may be over.
            let _ = told.send(outcome.is_ok());
        });
        assert_eq!(future.soon().expect("a square").value, number * number);
    }
    assert!((0..5).all(|_| tells.recv_timeout(PATIENCE).expect("the next callback runs")));
    bystanders.succeed();
    assert_usable(ground, &ex);
}

fn row_25_a_callback_blocks(ground: Ground) {
    let ex = ground.pool(2);
    let (open, gate) = mpsc::channel::<()>();
    let (told, tells) = mpsc::channel();
    let blocked = ex.submit(pid, ground.load(()));
    blocked.add_done_callback(move |_| {
        let _ = told.send(());
        let _ = gate.recv_timeout(PATIENCE);
    });
    tells.recv_timeout(PATIENCE).expect("it runs");
    // Neither the pool nor the callbacks of others wait for it.
    let (told, tells) = mpsc::channel();
    let futures: Vec<_> = (0..10).map(|number| ex.submit(square, ground.load(number))).collect();
    for future in &futures {
        let told = told.clone();
        future.add_done_callback(move |_| {
            let _ = told.send(());
        });
    }
    assert_usable(ground, &ex);
    assert!(futures.into_iter().all(|future| future.soon().is_ok()));
    drop(open);
    assert!((0..10).all(|_| tells.recv_timeout(PATIENCE).is_ok()));
    assert!(blocked.soon().is_ok());
}

fn row_25_a_callback_submits_to_its_own_pool_and_waits(ground: Ground) {
    let ex: Arc<ProcessPoolExecutor> = Arc::new(ground.pool(1));
    let (told, tells) = mpsc::channel();
    for number in 0..6_u64 {
        let (ex, told) = (ex.clone(), told.clone());
        let inner = ex.clone();
        ex.submit(square, ground.load(number)).add_done_callback(move |outcome| {
            let value = outcome.as_ref().map_or(0, |value| value.value);
            let again = inner.submit(square, ground.load(value)).soon();
            // Gone before the test looks at what is left.
            drop(inner);
            let _ = told.send(again.map_or(0, |value| value.value));
        });
    }
    drop(told);
    let mut values: Vec<_> = (0..6).map(|_| tells.recv_timeout(PATIENCE).expect("an answer")).collect();
    values.sort_unstable();
    assert_eq!(values, [0, 1, 16, 81, 256, 625]);
    assert_usable(ground, &ex);
    until("the callbacks have let go of it", || Arc::strong_count(&ex) == 1);
}

fn nested(x: Load<(Ground, u64)>) -> Load<u64> {
    let (ground, up_to) = x.value;
    let ex = ground.pool(2);
    let sum = (0..up_to).map(|number| ex.submit(square, ground.load(number))).collect::<Vec<_>>();
    let sum = sum.into_iter().map(|future| future.soon().expect("a square").value).sum();
    drop(ex);
    x.with(sum)
}

fn row_26_a_worker_starts_a_pool(ground: Ground) {
    let ex = ground.pool(2);
    let futures: Vec<_> = (0..3).map(|_| ex.submit(nested, ground.load((ground, 10)))).collect();
    assert!(futures.into_iter().all(|future| future.soon().expect("a sum").value == 285));
    assert_usable(ground, &ex);
}

/// The pool's worker dies with a pool of its own, whose workers are in the middle of something.
fn abort_with_a_pool(x: Load<(Ground, Ticket)>) -> Load<()> {
    let (ground, ticket) = x.value;
    let ex = ground.pool(2);
    let _held: Vec<_> = (0..2).map(|number| ex.submit(hold_then, ground.load((ticket.clone(), number)))).collect();
    ticket.enter("nested");
    std::process::abort()
}

fn row_26_a_worker_dies_with_a_pool_of_its_own(ground: Ground) {
    let (ex, stage) = (ground.pool(1), Stage::new());
    let future = ex.submit(abort_with_a_pool, ground.load((ground, stage.ticket())));
    let heard = stage.wait_for(3);
    let inner: Vec<_> = heard.iter().filter(|one| one.words() != "nested").map(|one| one.pid()).collect();
    let (outer, held): (Vec<_>, Vec<_>) = heard.into_iter().partition(|one| one.words() == "nested");
    drop(outer);
    assert_eq!(crate::ground::death(future.soon()).signal(), Some("SIGABRT"));
    inner.into_iter().for_each(concurrent_futures_conformance::wait_for_end);
    drop(held);
    assert_usable(ground, &ex);
}

#[expect(clippy::zombie_processes, reason = "one is left behind on purpose")]
fn with_programs(x: Load<()>) -> Load<String> {
    // It inherits a standard input that has nothing.
    assert!(Command::new("cat").stdout(Stdio::null()).status().expect("a program").success());
    // Left behind.
    let _left = Command::new("sleep").arg("1000").spawn().expect("a program");
    let output = Command::new("sh").args(["-c", "echo from a program"]).output().expect("a program");
    x.with(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn read_input(x: Load<()>) -> Load<usize> {
    let read = std::io::stdin().read(&mut [0; 16]).expect("there is one");
    x.with(read)
}

fn row_26_a_worker_starts_programs_and_reads_its_input(ground: Ground) {
    let ex = ground.pool(2);
    for _ in 0..3 {
        assert_eq!(ex.submit(with_programs, ground.load(())).soon().expect("text").value, "from a program\n");
        assert_eq!(ex.submit(read_input, ground.load(())).soon().expect("a number").value, 0, "it is at its end");
    }
    // The programs that were left end with the pool: this is looked at when the row is over.
    assert_usable(ground, &ex);
}

rows! {
    row_24_the_input_of_a_map_panics,
    row_24_the_input_of_a_map_is_endless,
    row_24_the_input_of_a_map_blocks,
    row_24_the_consumer_of_a_map_stops,
    row_25_a_callback_panics,
    row_25_a_callback_blocks,
    row_25_a_callback_submits_to_its_own_pool_and_waits,
    row_26_a_worker_starts_a_pool,
    row_26_a_worker_dies_with_a_pool_of_its_own,
    row_26_a_worker_starts_programs_and_reads_its_input,
}
