//! Attempts that are ended, and those that follow.

use super::*;

const PAUSING: Wish = Wish { retries: 3, pause: true };

fn pass(rig: &mut Rig, time: Duration) {
    rig.step(|state, after| state.tend(Instant::now() + time, after));
}

#[test]
fn a_task_waits_for_its_next_attempt_and_others_go_on() {
    let mut rig = Rig::new(1, None);
    rig.submit_with(PAUSING);
    rig.submit();
    rig.start(true);
    rig.run_next(0);
    rig.finish_with(0, false);
    rig.run_next(0);
    assert_eq!((rig.running(), rig.futures[0].attempts()), (vec![1], 1));
    rig.finish(0);
    pass(&mut rig, IDLE / 2);
    rig.run_next(0);
    assert_eq!(rig.running(), []);
    pass(&mut rig, IDLE);
    rig.run_next(0);
    assert_eq!((rig.running(), rig.futures[0].attempts()), (vec![0], 2));
    rig.finish(0);
    assert!(rig.futures[0].done());
    assert_eq!(rig.state.finished, 2);
}

#[test]
fn the_end_waits_for_attempts_to_come_but_not_for_cancelled_ones() {
    let mut rig = Rig::new(1, None);
    (0..2).for_each(|_| rig.submit_with(PAUSING));
    rig.start(true);
    for _ in 0..2 {
        rig.run_next(0);
        rig.finish_with(0, false);
    }
    drop(rig.step(|state, after| state.close(false, after)));
    assert!(!rig.step(|state, after| state.tend(Instant::now(), after)));
    assert_eq!(rig.leaving(), [], "there is something to come");
    assert!(rig.futures.iter().all(|future| future.cancel()));
    rig.stop();
    assert!(!rig.step(|state, after| state.tend(Instant::now(), after)));
    assert_eq!(rig.leaving(), [0]);
    rig.run_next(0);
    rig.die(0);
    assert!(rig.step(|state, after| state.tend(Instant::now(), after)));
}

#[test]
fn what_waits_behind_a_task_that_is_to_stop_goes_to_others() {
    let mut rig = Rig::new(2, None);
    (0..4).for_each(|_| rig.submit());
    rig.start(true);
    (0..2).for_each(|id| rig.run_next(id));
    assert!(rig.futures[0].abort());
    rig.stop();
    assert!(rig.state.members[&WorkerId(0)].stopping.is_some());
    rig.finish(1);
    rig.run_next(1);
    rig.finish(1);
    rig.run_next(1);
    assert_eq!(rig.running(), [3], "all the others are the second worker's");
    rig.submit();
    // It has returned in time: it lives on.
    rig.finish(0);
    rig.run_next(0);
    assert_eq!(rig.running(), [3, 4]);
}

#[test]
fn a_wish_that_comes_too_late_stops_nothing() {
    let mut rig = Rig::new(1, None);
    rig.submit_with(Wish { retries: 1, pause: false });
    rig.submit();
    rig.start(true);
    rig.run_next(0);
    assert!(rig.futures[0].abort());
    rig.finish(0);
    rig.run_next(0);
    rig.stop();
    assert_eq!((rig.running(), rig.state.members[&WorkerId(0)].stopping), (vec![1], None));
}
