use super::*;
use crate::server::object::{Body, Object};
use parking_lot::Mutex;
use std::sync::Weak;
use std::time::Duration;

fn session(id: u64) -> Arc<Session> {
    Session::new(id)
}

fn ask(machine: &dyn Machine, session: &Arc<Session>, op: Op, number: u64, may_wait: bool) -> Step {
    machine.request(session, Request { op, number, may_wait, item: Parcel::default() })
}

/// The answer, which comes at once.
fn now(machine: &dyn Machine, session: &Arc<Session>, op: Op) -> (Status, u64) {
    match ask(machine, session, op, 0, false) {
        Step::Answer(granted) => (granted.status, granted.number),
        Step::Wait => panic!("{op:?} waits"),
    }
}

fn waits(machine: &dyn Machine, session: &Arc<Session>, op: Op) {
    assert!(matches!(ask(machine, session, op, 0, true), Step::Wait), "{op:?} does not wait");
}

fn granted(session: &Session) -> Option<(Status, u64)> {
    session.take_grant().map(|granted| (granted.status, granted.number))
}

const DONE: (Status, u64) = (Status::Done, 0);
const NOT_NOW: (Status, u64) = (Status::NotNow, 0);

#[test]
fn a_lock_goes_on_in_order_and_only_from_its_owner() {
    let (lock, [a, b, c]) = (Lock::new(false), [1, 2, 3].map(session));
    assert_eq!(now(&lock, &a, Op::Acquire), DONE);
    assert_eq!(now(&lock, &b, Op::Acquire), NOT_NOW);
    assert_eq!(now(&lock, &b, Op::Release), (Status::NotOwner, 0));
    assert!(
        matches!(ask(&lock, &a, Op::Acquire, 0, true), Step::Answer(granted) if granted.status == Status::Deadlock)
    );
    waits(&lock, &b, Op::Acquire);
    waits(&lock, &c, Op::Acquire);
    assert_eq!(now(&lock, &a, Op::Release), DONE);
    assert_eq!((granted(&b), granted(&c), lock.holds(2)), (Some(DONE), None, true));
    assert!(lock.cancel(2).is_none() && !lock.leave(2), "it is granted");
    assert!(lock.cancel(3).is_some());
    assert_eq!(now(&lock, &b, Op::Release), DONE);
    assert_eq!((granted(&c), now(&lock, &c, Op::State)), (None, DONE));
}

#[test]
fn a_reentrant_lock_counts() {
    let (lock, [a, b]) = (Lock::new(true), [1, 2].map(session));
    for _ in 0..3 {
        assert_eq!(now(&lock, &a, Op::Acquire), DONE);
    }
    waits(&lock, &b, Op::Acquire);
    for left in [2, 1, 0] {
        assert_eq!(granted(&b), None, "{left}");
        assert_eq!(now(&lock, &a, Op::Release), DONE);
    }
    assert_eq!(granted(&b), Some(DONE));
}

#[test]
fn the_next_one_is_told_of_a_dead_owner_once() {
    let (lock, [a, b, c]) = (Lock::new(false), [1, 2, 3].map(session));
    let _ = now(&lock, &a, Op::Acquire);
    waits(&lock, &b, Op::Acquire);
    lock.ended(1);
    assert_eq!(granted(&b), Some((Status::Done, ORPHANED)));
    lock.ended(1);
    assert_eq!(now(&lock, &b, Op::Release), DONE);
    assert_eq!(now(&lock, &c, Op::Acquire), DONE);
    lock.ended(3);
    assert_eq!(now(&lock, &a, Op::Acquire), (Status::Done, ORPHANED), "also who comes later");
}

#[test]
fn a_lock_that_nobody_has_learnt_of_goes_on_quietly() {
    let (lock, [a, b, c]) = (Lock::new(false), [1, 2, 3].map(session));
    let _ = now(&lock, &a, Op::Acquire);
    waits(&lock, &b, Op::Acquire);
    waits(&lock, &c, Op::Acquire);
    lock.ended(1);
    let grant = b.take_grant().expect("it has the lock");
    lock.undo(2, Op::Acquire, grant);
    assert_eq!(granted(&c), Some((Status::Done, ORPHANED)), "what b would have been told is c's");
    let grant = Granted::done(0);
    lock.undo(3, Op::Acquire, grant);
    assert_eq!(now(&lock, &a, Op::Acquire), DONE);
}

#[test]
fn who_dies_before_an_answer_still_dies_with_what_it_had() {
    let (lock, [a, b]) = (Lock::new(true), [1, 2].map(session));
    let _ = (now(&lock, &a, Op::Acquire), now(&lock, &a, Op::Acquire));
    lock.undo(1, Op::Acquire, Granted::done(0));
    lock.undo(1, Op::State, Granted::done(1));
    lock.undo(1, Op::Release, Granted::done(0));
    assert_eq!(now(&lock, &b, Op::Acquire), NOT_NOW, "it had it once before");
    lock.ended(1);
    assert_eq!(now(&lock, &b, Op::Acquire), (Status::Done, ORPHANED));
}

#[test]
fn a_condition_gives_the_lock_back_before_it_ends() {
    let object = Arc::new(Object::new(9, Weak::new(), Body::Lock(Lock::new(true))));
    let (condition, other) = (Condition::new(object.clone()).unwrap(), Condition::new(object.clone()).unwrap());
    let [a, b, c] = [1, 2, 3].map(session);
    assert!(
        matches!(ask(&condition, &a, Op::Wait, 0, true), Step::Answer(granted) if granted.status == Status::NotOwner)
    );
    assert_eq!(now(&condition, &a, Op::Notify).0, Status::NotOwner);

    // Twice, as it is reentrant: all of it is let go, and comes back.
    let _ = (now(&condition, &a, Op::Acquire), now(&condition, &a, Op::Acquire));
    waits(&condition, &a, Op::Wait);
    let _ = now(&condition, &b, Op::Acquire);
    waits(&other, &b, Op::Wait);
    let _ = now(&condition, &c, Op::Acquire);
    assert!(matches!(ask(&condition, &c, Op::Notify, 5, false), Step::Answer(granted) if granted.number == 1));
    assert_eq!((granted(&a), granted(&b)), (None, None), "the lock is not free");
    assert_eq!(now(&condition, &c, Op::Release), DONE);
    assert_eq!((granted(&a), granted(&b)), (Some((Status::Done, NOTIFIED)), None));

    assert!(condition.cancel(2).is_none(), "its time is over, and the lock is not free");
    let _ = (now(&condition, &a, Op::Release), now(&condition, &a, Op::Release));
    assert_eq!(granted(&b), Some(DONE), "not notified");
}

#[test]
fn who_dies_in_a_wait_for_a_condition_leaves_nothing() {
    let object = Arc::new(Object::new(9, Weak::new(), Body::Lock(Lock::new(false))));
    let condition = Condition::new(object).unwrap();
    let [a, b] = [1, 2].map(session);
    let _ = now(&condition, &a, Op::Acquire);
    waits(&condition, &a, Op::Wait);
    let _ = now(&condition, &b, Op::Acquire);
    assert!(condition.leave(1) && a.take_grant().is_none());
    condition.ended(1);
    assert_eq!(now(&condition, &b, Op::Release), DONE);
    assert_eq!((granted(&a), now(&condition, &b, Op::Acquire)), (None, DONE));
}

#[test]
fn a_time_that_is_over_takes_nothing_from_who_was_notified() {
    let object = Arc::new(Object::new(9, Weak::new(), Body::Lock(Lock::new(true))));
    let condition = Condition::new(object).unwrap();
    let [a, b] = [1, 2].map(session);
    let _ = (now(&condition, &a, Op::Acquire), now(&condition, &a, Op::Acquire));
    waits(&condition, &a, Op::Wait);
    let _ = now(&condition, &b, Op::Acquire);
    assert!(matches!(ask(&condition, &b, Op::Notify, 1, false), Step::Answer(granted) if granted.number == 1));
    assert!(condition.cancel(1).is_none(), "it comes back with the lock, which is not free");
    assert_eq!(now(&condition, &b, Op::Release), DONE);
    assert_eq!(granted(&a), Some((Status::Done, NOTIFIED)));
    let _ = (now(&condition, &a, Op::Release), now(&condition, &a, Op::Release));
    assert_eq!(now(&condition, &b, Op::Acquire), DONE, "it was all of it");
}

/// Whether it waits for the lock when it dies, has just got it, or has it: somebody else is to look after what was announced.
#[test]
fn a_notification_that_dies_with_its_waiter_is_anothers() {
    for dies in 0..3 {
        let object = Arc::new(Object::new(9, Weak::new(), Body::Lock(Lock::new(false))));
        let (condition, other) = (Condition::new(object.clone()).unwrap(), Condition::new(object).unwrap());
        let [a, b, c, d] = [1, 2, 3, 4].map(session);
        for (condition, session) in [(&other, &d), (&condition, &a), (&condition, &b)] {
            let _ = now(condition, session, Op::Acquire);
            waits(condition, session, Op::Wait);
        }
        let _ = now(&condition, &c, Op::Acquire);
        assert!(matches!(ask(&condition, &c, Op::Notify, 1, false), Step::Answer(granted) if granted.number == 1));
        let expected = match dies {
            0 => {
                assert!(condition.leave(1));
                assert_eq!((granted(&b), now(&condition, &c, Op::Release)), (None, DONE));
                NOTIFIED
            }
            1 => {
                let _ = now(&condition, &c, Op::Release);
                assert!(!condition.leave(1));
                let grant = a.take_grant().expect("it has the lock");
                condition.undo(1, Op::Wait, grant);
                NOTIFIED
            }
            _ => {
                let _ = now(&condition, &c, Op::Release);
                assert!(a.take_grant().is_some());
                condition.ended(1);
                NOTIFIED | ORPHANED
            }
        };
        assert_eq!((granted(&b), granted(&d)), (Some((Status::Done, expected)), None), "{dies}");
        assert_eq!(now(&condition, &b, Op::Release), DONE);
        assert_eq!(now(&condition, &c, Op::Acquire), DONE, "{dies}");
    }
}

#[test]
fn permits_come_back_from_the_dead_and_never_more_than_there_were() {
    let (semaphore, [a, b, c]) = (Semaphore::new(2, true), [1, 2, 3].map(session));
    assert_eq!((now(&semaphore, &a, Op::Acquire), now(&semaphore, &a, Op::Acquire)), (DONE, DONE));
    waits(&semaphore, &b, Op::Acquire);
    waits(&semaphore, &c, Op::Acquire);
    assert!(
        matches!(ask(&semaphore, &b, Op::AddPermits, 1, false), Step::Answer(granted) if granted.status == Status::OverRelease)
    );
    semaphore.ended(1);
    assert_eq!((granted(&b), granted(&c), now(&semaphore, &a, Op::State)), (Some(DONE), Some(DONE), DONE));
    assert_eq!(now(&semaphore, &a, Op::Release), (Status::NotOwner, 0));
    assert_eq!(now(&semaphore, &b, Op::Forget), DONE);
    semaphore.ended(2);
    assert_eq!(now(&semaphore, &c, Op::Release), DONE);
    assert_eq!(now(&semaphore, &c, Op::State), (Status::Done, 1), "the forgotten one is gone");
    assert!(
        matches!(ask(&semaphore, &b, Op::AddPermits, 1, false), Step::Answer(granted) if granted.status == Status::Done)
    );
    assert_eq!(now(&semaphore, &c, Op::State), (Status::Done, 2));

    let unbounded = Semaphore::new(0, false);
    waits(&unbounded, &a, Op::Acquire);
    assert!(
        matches!(ask(&unbounded, &b, Op::AddPermits, 3, false), Step::Answer(granted) if granted.status == Status::Done)
    );
    assert_eq!((granted(&a), now(&unbounded, &b, Op::State)), (Some(DONE), (Status::Done, 2)));
    assert!(
        matches!(ask(&unbounded, &b, Op::AddPermits, u64::MAX, false), Step::Answer(granted) if granted.status == Status::OverRelease)
    );
    let grant = Granted::done(0);
    unbounded.undo(1, Op::Acquire, grant);
    assert_eq!(now(&unbounded, &b, Op::State), (Status::Done, 3));
}

#[test]
fn an_event_that_is_set_and_cleared_at_once_lets_all_go_who_have_waited() {
    let (event, [a, b, c]) = (Event::default(), [1, 2, 3].map(session));
    assert_eq!(now(&event, &a, Op::Wait), NOT_NOW);
    waits(&event, &a, Op::Wait);
    waits(&event, &b, Op::Wait);
    assert!(event.cancel(2).is_some());
    assert_eq!((now(&event, &c, Op::Set), now(&event, &c, Op::Clear)), (DONE, DONE));
    assert_eq!((granted(&a), granted(&b), now(&event, &c, Op::State)), (Some((Status::Done, 1)), None, DONE));
}

#[test]
fn a_barrier_opens_again_and_again_and_breaks_for_all() {
    let (barrier, sessions) = (Barrier::new(3).unwrap(), [1, 2, 3].map(session));
    let [a, b, c] = &sessions;
    for _ in 0..3 {
        waits(&barrier, a, Op::Wait);
        waits(&barrier, b, Op::Wait);
        assert_eq!(now(&barrier, c, Op::State), (Status::Done, barrier::state_number(3, 2, false)));
        assert!(matches!(ask(&barrier, c, Op::Wait, 0, true), Step::Answer(granted) if granted.number == 2));
        assert_eq!((granted(a), granted(b)), (Some(DONE), Some((Status::Done, 1))));
    }
    waits(&barrier, a, Op::Wait);
    waits(&barrier, b, Op::Wait);
    assert_eq!(barrier.cancel(1).map(|granted| granted.status), Some(Status::Broken));
    assert_eq!((granted(b), now(&barrier, c, Op::Wait)), (Some((Status::Broken, 0)), (Status::Broken, 0)));
    assert_eq!(now(&barrier, c, Op::Reset), DONE);
    waits(&barrier, a, Op::Wait);
    assert_eq!(now(&barrier, c, Op::Reset), DONE);
    assert_eq!(granted(a), Some((Status::Broken, 0)), "it waited for those who come no more");
    waits(&barrier, a, Op::Wait);
    assert_eq!(now(&barrier, c, Op::Abort), DONE);
    assert_eq!((granted(a), now(&barrier, b, Op::Wait)), (Some((Status::Broken, 0)), (Status::Broken, 0)));
    assert!(Barrier::new(0).is_none() && Barrier::new(u64::MAX).is_none());
}

fn put(queue: &Queue, session: &Arc<Session>, item: u8, may_wait: bool) -> Step {
    let item = Parcel { value: vec![item], ..Parcel::default() };
    queue.request(session, Request { op: Op::Put, number: 0, may_wait, item })
}

fn put_now(queue: &Queue, session: &Arc<Session>, item: u8) -> Status {
    match put(queue, session, item, false) {
        Step::Answer(granted) => granted.status,
        Step::Wait => panic!("it waits"),
    }
}

fn got(step: Step) -> Option<u8> {
    match step {
        Step::Answer(Granted { status: Status::Done, item: Some(item), .. }) => Some(item.value[0]),
        _ => None,
    }
}

#[test]
fn items_go_in_order_to_those_who_wait_in_order() {
    let (queue, [a, b, c]) = (Queue::new(2), [1, 2, 3].map(session));
    waits(&queue, &a, Op::Get);
    waits(&queue, &b, Op::Get);
    assert_eq!((put_now(&queue, &c, 10), put_now(&queue, &c, 11)), (Status::Done, Status::Done));
    for (session, expected) in [(&a, 10), (&b, 11)] {
        assert_eq!(session.take_grant().and_then(|granted| granted.item).map(|item| item.value), Some(vec![expected]));
    }
    assert_eq!([12, 13, 14].map(|item| put_now(&queue, &c, item)), [Status::Done, Status::Done, Status::NotNow]);
    assert!(matches!(put(&queue, &b, 15, true), Step::Wait));
    assert_eq!(got(ask(&queue, &a, Op::Get, 0, false)), Some(12));
    assert_eq!(granted(&b), Some(DONE));
    assert_eq!([(), ()].map(|()| got(ask(&queue, &a, Op::Get, 0, false))), [Some(13), Some(15)]);
    assert_eq!(now(&queue, &a, Op::Get), NOT_NOW);
}

#[test]
fn an_item_that_its_getter_never_sees_is_the_first_again() {
    let (queue, [a, b, c]) = (Queue::new(0), [1, 2, 3].map(session));
    waits(&queue, &a, Op::Get);
    let _ = (put_now(&queue, &c, 1), put_now(&queue, &c, 2));
    let grant = a.take_grant().expect("it has the item");
    queue.undo(1, Op::Get, grant);
    assert_eq!(got(ask(&queue, &b, Op::Get, 0, false)), Some(1));
    let Step::Answer(grant) = ask(&queue, &b, Op::Get, 0, false) else { panic!("there is one") };
    waits(&queue, &a, Op::Get);
    queue.undo(2, Op::Get, grant);
    assert_eq!(a.take_grant().and_then(|granted| granted.item).map(|item| item.value), Some(vec![2]));
}

/// Two who were about to have the first ones are gone, and the second one is noticed before the first.
#[test]
fn items_that_come_back_are_in_order_again() {
    let (queue, [a, b, c]) = (Queue::new(0), [1, 2, 3].map(session));
    (1..=4).for_each(|item| assert_eq!(put_now(&queue, &c, item), Status::Done));
    let grants = [&a, &b].map(|session| match ask(&queue, session, Op::Get, 0, false) {
        Step::Answer(granted) => granted,
        Step::Wait => panic!("there is one"),
    });
    grants.into_iter().for_each(|grant| queue.undo(1, Op::Get, grant));
    assert_eq!([(); 4].map(|()| got(ask(&queue, &c, Op::Get, 0, false))), [1, 2, 3, 4].map(Some));
}

#[test]
fn a_closed_queue_gives_what_it_has() {
    let (queue, [a, b, c]) = (Queue::new(1), [1, 2, 3].map(session));
    assert_eq!(put_now(&queue, &a, 1), Status::Done);
    assert!(matches!(put(&queue, &b, 2, true), Step::Wait));
    assert_eq!(now(&queue, &c, Op::Close), DONE);
    assert_eq!((granted(&b), put_now(&queue, &c, 3)), (Some((Status::Closed, 0)), Status::Closed));
    assert_eq!(got(ask(&queue, &a, Op::Get, 0, true)), Some(1));
    assert_eq!(now(&queue, &a, Op::Get), (Status::Closed, 0));

    let empty = Queue::new(0);
    waits(&empty, &a, Op::Get);
    let _ = now(&empty, &b, Op::Close);
    assert_eq!(granted(&a), Some((Status::Closed, 0)));
}

/// Whose end uses the very queue in which it was to be put.
struct Uses(Arc<Queue>, std::sync::mpsc::Sender<(Status, u64)>);

impl Drop for Uses {
    fn drop(&mut self) {
        let _ = self.1.send(now(&*self.0, &session(9), Op::State));
    }
}

#[test]
fn what_was_to_be_put_goes_when_the_queue_is_free() {
    for closes in [false, true] {
        let (queue, a) = (Arc::new(Queue::new(1)), session(1));
        let (used, is_used) = std::sync::mpsc::channel();
        let value: crate::entry::Value = Mutex::new(Box::new(Uses(queue.clone(), used)));
        let object = Object::new(9, Weak::new(), Body::Data { value, type_name: "" });
        let item = Parcel { references: vec![Arc::new(object)], ..Parcel::default() };
        let _ = put_now(&queue, &a, 1);
        assert!(matches!(queue.request(&a, Request { op: Op::Put, number: 0, may_wait: true, item }), Step::Wait));
        std::thread::spawn(move || match closes {
            true => drop(now(&*queue, &a, Op::Close)),
            false => drop(queue.cancel(1)),
        });
        assert_eq!(is_used.recv_timeout(Duration::from_secs(60)), Ok((Status::Done, 1)), "{closes}");
    }
}

#[test]
fn tasks_are_counted() {
    let (queue, [a, b]) = (Queue::new(0), [1, 2].map(session));
    assert_eq!(now(&queue, &a, Op::TaskDone), (Status::OverRelease, 0));
    assert!(matches!(ask(&queue, &a, Op::Join, 0, true), Step::Answer(granted) if granted.status == Status::Done));
    let _ = (put_now(&queue, &a, 1), put_now(&queue, &a, 2));
    waits(&queue, &b, Op::Join);
    assert_eq!(now(&queue, &a, Op::TaskDone), (Status::Done, 1));
    assert_eq!((granted(&b), now(&queue, &a, Op::Join)), (None, NOT_NOW));
    assert_eq!(now(&queue, &a, Op::TaskDone), DONE);
    assert_eq!(granted(&b), Some(DONE));
}

#[test]
fn a_machine_does_not_do_what_another_one_does() {
    let a = session(1);
    let machines: [&dyn Machine; 5] =
        [&Lock::new(false), &Semaphore::new(1, false), &Event::default(), &Barrier::new(1).unwrap(), &Queue::new(0)];
    for (machine, op) in machines.into_iter().zip([Op::Put, Op::Wait, Op::Acquire, Op::Get, Op::Set]) {
        assert_eq!(now(machine, &a, op).0, Status::WrongType, "{op:?}");
    }
}
