//! What core takes back, and what it is linked to.

use super::*;
use crate::pool::stops::StopRequest;
use concurrent_futures_core::task::{Remote, Stop};

const FIRST: Ticket = Ticket { slot: 0, seq: 0 };

/// The first half of a cancellation: core has taken the task back from the first worker, and has not resolved it yet.
fn revoke(rig: &Rig) {
    let seat = rig.state.members[&WorkerId(0)].seat.clone();
    assert!(seat.try_revoke(FIRST.mark()));
}

/// One task, which is at a worker that has not started it.
fn at_a_worker(wish: Wish) -> Rig {
    let mut rig = Rig::new(1, None);
    rig.submit_with(wish);
    rig.start(true);
    rig
}

#[test]
fn a_worker_that_does_not_meet_a_cancelled_task_is_given_up() {
    for resolved in [true, false] {
        let mut rig = at_a_worker(Wish::default());
        if resolved {
            assert!(rig.futures[0].cancel());
        } else {
            revoke(&rig);
        }
        let now = Instant::now();
        let look = |rig: &mut Rig, secs| rig.step(|state, after| state.look(now + Duration::from_secs(secs), after));
        assert_eq!((look(&mut rig, 2), look(&mut rig, 5)), (vec![], vec![]));
        assert!(rig.futures[0].cancel());
        rig.submit();
        assert_eq!(rig.state.queue.len(), 1, "it gets nothing more");
        assert_eq!((look(&mut rig, 6), look(&mut rig, 20)), (vec![], vec![WorkerId(0)]));
        rig.die(0);
        rig.drain();
        assert!(rig.futures[1].done() && !rig.state.in_limbo());
        assert_eq!(rig.state.finished, 2);
    }
}

#[test]
fn a_worker_that_meets_a_cancelled_task_late_lives_on() {
    let mut rig = at_a_worker(Wish::default());
    assert!(rig.futures[0].cancel());
    for secs in [2, 5] {
        rig.step(|state, after| state.look(Instant::now() + Duration::from_secs(secs), after));
    }
    rig.submit();
    rig.run_next(0);
    assert_eq!(rig.running(), [1]);
}

#[test]
fn what_core_has_taken_back_does_not_run_whatever_becomes_of_its_worker() {
    for dies in [true, false] {
        let mut rig = at_a_worker(Wish::default());
        revoke(&rig);
        if dies {
            rig.die(0);
        } else {
            rig.run_next(0);
            // The slot is used by others meanwhile.
            rig.workers[&0].page.offer(Ticket { seq: 1, ..FIRST });
        }
        assert!(rig.state.in_limbo());
        assert!(!rig.futures[0].running() && rig.futures[0].cancel(), "whoever asks now gets the same answer");
        rig.step(|state, after| state.tend(Instant::now(), after));
        assert!(!rig.state.in_limbo());
    }
}

#[test]
fn an_attempt_has_begun_whatever_its_worker_writes_then() {
    let mut rig = at_a_worker(Wish { retries: 1, pause: false });
    rig.run_next(0);
    rig.workers[&0].page.offer(FIRST);
    // Its time is up.
    let request = StopRequest { worker: WorkerId(0), ticket: FIRST, attempt: 1, why: Stop::Timeout };
    assert!(rig.step(|state, after| state.stop(request, after)).is_some());
    assert!(!rig.state.in_limbo(), "nobody would resolve it");
    rig.workers.get_mut(&0).unwrap().running = None;
    rig.die(0);
    rig.drain();
    assert!(rig.futures[0].done());
}

#[test]
fn futures_keep_nothing_of_a_pool_that_is_over() {
    for pause in [true, false] {
        let mut rig = Rig::new(1, None);
        let before = Arc::strong_count(&rig.stops);
        (0..4).for_each(|_| rig.submit_with(Wish { retries: 3, pause }));
        rig.start(true);
        rig.run_next(0);
        rig.finish_with(0, false);
        rig.run_next(0);
        rig.finish_with(0, false);
        if pause {
            // The pause of the first two is over, and a third task runs.
            rig.run_next(0);
            rig.step(|state, after| state.tend(Instant::now() + 2 * IDLE, after));
        }
        assert!(rig.futures[0].cancel());
        let items = rig.step(|state, after| state.close(true, after));
        for item in items {
            item.task.cancel();
        }
        rig.step(|state, after| state.resolved(after));
        rig.drain();
        assert!(rig.workers.is_empty() && rig.futures.iter().all(|future| future.done()));
        assert_eq!(Arc::strong_count(&rig.stops), before, "with pauses: {pause}");
    }
}
