//! Who gets what, and in which order.

use super::*;

#[test]
fn tasks_start_in_their_order_also_while_workers_come_up() {
    let mut rig = Rig::new(3, None);
    (0..9).for_each(|_| rig.submit());
    rig.start(false);
    for id in 0..3 {
        rig.ready(id);
        rig.take(id);
    }
    // The first one may have been given the second task; whoever came up then fetched it.
    (0..3).for_each(|id| rig.run_next(id));
    assert_eq!(rig.running(), [0, 1, 2]);
}

#[test]
fn a_task_does_not_wait_behind_another_while_there_may_be_one_more_worker() {
    let mut rig = Rig::new(2, None);
    rig.submit();
    rig.start(false);
    // It comes when the first worker is not up, and the supervisor, who would start the second one, has not looked yet.
    rig.submit();
    rig.ready(0);
    rig.take(0);
    rig.start(true);
    rig.take(1);
    assert_eq!(rig.running(), [0, 1]);
}

#[test]
fn what_waits_behind_a_long_task_is_demand_for_another_worker_in_the_end() {
    let mut rig = Rig::new(1, None);
    (0..2).for_each(|_| rig.submit());
    rig.start(true);
    rig.take(0);
    assert_eq!(rig.state.members[&WorkerId(0)].waiting(), 1);
    // There may be another one, and nobody has said so: only time has the supervisor look.
    rig.state.limits.workers = 2;
    rig.start(true);
    assert_eq!(rig.workers.len(), 1);
    assert_eq!(rig.step(|state, after| state.look(Instant::now() + Duration::from_secs(1), after)), []);
    rig.start(true);
    rig.take(1);
    assert_eq!(rig.running(), [0, 1]);
}

#[test]
fn a_worker_is_given_more_only_when_it_is_quick() {
    let mut rig = Rig::new(1, None);
    (0..300).for_each(|_| rig.submit());
    rig.start(true);
    let waiting = |rig: &Rig| rig.workers[&0].posted.sent.lock().len();
    assert_eq!(waiting(&rig), 2);
    for _ in 0..50 {
        // One answer in a millisecond.
        assert!(rig.take(0) && rig.finish(0));
        assert_eq!(waiting(&rig), 2);
    }
    let mut most = 0;
    for _ in 0..8 {
        // One in a microsecond.
        let mut tickets = Vec::new();
        while rig.take(0) {
            tickets.extend(rig.workers.get_mut(&0).unwrap().running.take());
        }
        let done = tickets.len();
        rig.clock += Duration::from_micros(done as u64);
        let now = rig.clock;
        rig.step(|state, after| {
            for ticket in tickets {
                state.finished(WorkerId(0), ticket).unwrap().0.task.complete(Reply {
                    status: Status::Value,
                    bytes: vec![7].into(),
                    parts: vec![],
                    again: false,
                    handles: None,
                });
            }
            state.employ(WorkerId(0), done, now, after);
        });
        most = most.max(waiting(&rig));
    }
    assert!((16..=64).contains(&most), "{most}");
}

#[test]
fn what_a_submitter_gives_to_a_quick_worker_is_on_its_way_at_once() {
    // The second kind needs notes, and is not posted together with others.
    for retries in [[0, 0], [1, 1], [0, 1]] {
        let mut rig = Rig::new(1, None);
        rig.submit();
        rig.start(true);
        rig.take(0);
        let now = rig.clock;
        let member = rig.state.members.get_mut(&WorkerId(0)).unwrap();
        (0..6).for_each(|_| member.has_done(1, now));
        let mut most = 0;
        for n in 0..40 {
            rig.submit_with(Wish { retries: retries[n % 2], pause: false });
            let is_task = |frame: &&Down| matches!(frame, Down::Task(_));
            let sent = rig.workers[&0].posted.sent.lock().iter().filter(is_task).count();
            assert_eq!(sent, rig.state.members[&WorkerId(0)].waiting());
            most = most.max(sent);
        }
        assert!(most >= 16, "{most}");
    }
}

#[test]
fn an_idle_worker_fetches_what_waits_behind_a_long_task() {
    let mut rig = Rig::new(2, None);
    (0..4).for_each(|_| rig.submit());
    rig.start(true);
    rig.take(0);
    rig.take(1);
    assert_eq!(rig.running(), [0, 1]);
    // The second worker does all the rest, the first one sticks to its task.
    for n in 2..4 {
        rig.finish(1);
        rig.run_next(1);
        assert_eq!(rig.running(), [0, n]);
    }
}

#[test]
fn what_is_overtaken_by_far_is_fetched_also_where_workers_are_quick() {
    let mut rig = Rig::new(2, None);
    (0..2000).for_each(|_| rig.submit());
    rig.start(true);
    let now = rig.clock;
    for member in rig.state.members.values_mut() {
        (0..6).for_each(|_| member.has_done(1, now));
    }
    // The first worker is given many, and starts the first of them for ever.
    rig.take(0);
    rig.finish(0);
    rig.run_next(0);
    let stuck = rig.running()[0];
    for _ in 0..1000 {
        rig.run_next(1);
        rig.finish(1);
    }
    let overtaken = (0..500).filter(|n| *n != stuck && !rig.futures[*n].done()).count();
    assert_eq!(overtaken, 0, "of the first 500 tasks only the one that runs is left");
}

#[test]
fn what_a_worker_does_not_start_goes_to_others() {
    let mut rig = Rig::new(2, None);
    (0..2).for_each(|_| rig.submit());
    rig.start(true);
    rig.run_next(1);
    rig.finish(1);
    // The first worker has been stopped before it has taken its task. The second one may not touch the first of another.
    assert_eq!(rig.running(), []);
    let now = Instant::now();
    let look = |rig: &mut Rig, secs| rig.step(|state, after| state.look(now + Duration::from_secs(secs), after));
    assert_eq!((look(&mut rig, 2), look(&mut rig, 3)), (vec![], vec![]));
    rig.run_next(1);
    assert_eq!(rig.running(), []);
    assert_eq!(look(&mut rig, 5), []);
    rig.run_next(1);
    assert_eq!(rig.running(), [0]);
    // It gets nothing more, and is given up in the end.
    rig.submit();
    assert_eq!(rig.state.queue.len(), 1);
    assert_eq!((look(&mut rig, 6), look(&mut rig, 20)), (vec![], vec![WorkerId(0)]));
    rig.die(0);
    rig.start(true);
    rig.run_next(2);
    assert_eq!(rig.running(), [0, 2]);
}

#[test]
fn a_worker_that_wakes_up_again_gets_tasks_again() {
    let mut rig = Rig::new(1, None);
    (0..2).for_each(|_| rig.submit());
    rig.start(true);
    for secs in [2, 5] {
        rig.step(|state, after| state.look(Instant::now() + Duration::from_secs(secs), after));
    }
    assert_eq!(rig.state.queue.len(), 2);
    rig.run_next(0);
    assert_eq!(rig.running(), [0]);
}

#[test]
fn a_death_puts_tasks_back_in_their_order() {
    let mut rig = Rig::new(1, None);
    (0..10).for_each(|_| rig.submit());
    rig.start(true);
    rig.take(0);
    rig.die(0);
    assert_eq!(rig.state.queue.iter().map(|item| item.number).collect::<Vec<_>>(), (1..10).collect::<Vec<_>>());
    rig.start(true);
    rig.take(1);
    assert_eq!(rig.running(), [1]);
}

#[test]
fn an_answer_to_another_task_is_a_misfit() {
    let mut rig = Rig::new(1, None);
    (0..3).for_each(|_| rig.submit());
    rig.start(true);
    rig.take(0);
    let ticket = rig.workers[&0].running.unwrap();
    let id = WorkerId(0);
    let other = Ticket { seq: ticket.seq + 1, ..ticket };
    assert!(rig.state.finished(id, other).is_err());
    assert!(rig.state.announced(id, other).is_err());
    assert!(rig.state.announced(id, ticket).is_err(), "nobody has asked for that");
    assert!(rig.state.finished(WorkerId(9), ticket).is_err());
    assert!(rig.state.finished(id, ticket).is_ok());
    assert!(rig.state.finished(id, ticket).is_err(), "twice");
    assert!(!rig.step(|state, after| state.ready(id, after)), "ready twice");
}
