//! `Manager` when those who use it die, at any instant, and when the server does.

use crate::process::{end, sleeps};
use concurrent_futures::multiprocessing::managers::{
    LockError, ManagedBarrier, ManagedCondition, ManagedEvent, ManagedList, ManagedLock, ManagedQueue,
    ManagedSemaphore, ManagedValue, ManagerClient, ManagerError,
};
use concurrent_futures::multiprocessing::{Manager, Process, one_way};
use concurrent_futures_conformance::sweep::{Sweep, Swept, alone};
use concurrent_futures_conformance::{PATIENCE, Stage, Ticket, until, wait_for_end};
use std::time::Duration;

fn killed(process: &Process) {
    process.kill().unwrap();
    assert_eq!(end(process).signal(), Some(9));
}

/// An object goes with its last handle, when a holder is killed, and from a message that nobody reads.
#[test]
fn the_last_handle_takes_its_object_along() {
    fn holds((ticket, _handle): (Ticket, ManagedList<u8>)) {
        ticket.enter("it has it");
        sleeps(());
    }
    let manager = Manager::new().unwrap();
    let count = || manager.object_count().unwrap();
    let stage = Stage::new();
    let list = manager.list([1_u8]).unwrap();
    let nested = manager.list([manager.list([list.clone()]).unwrap()]).unwrap();
    let holder = Process::start(holds, (stage.ticket(), list)).unwrap();
    stage.next().release();
    assert_eq!(count(), 3);
    drop(nested);
    until("its elements are gone", || count() == 1);
    killed(&holder);
    until("the object is gone", || count() == 0);

    // On its way, nobody has it but the kernel.
    let (sender, receiver) = one_way::<ManagedList<u8>>().unwrap();
    sender.send(manager.list([7]).unwrap()).unwrap();
    assert_eq!(count(), 1);
    let arrived = receiver.recv().unwrap();
    assert_eq!(arrived.get(0).unwrap(), Some(7));
    sender.send(arrived).unwrap();
    assert_eq!(count(), 1);
    drop((sender, receiver));
    until("the message is gone", || count() == 0);

    // Of a task that never runs.
    let list = manager.list([1_u8]).unwrap();
    let process = Process::start(holds, (stage.ticket(), list)).unwrap();
    killed(&process);
    until("its argument is gone", || count() == 0);
}

/// Whatever a client holds, and wherever it waits, comes back when it is killed.
#[test]
fn what_a_dead_client_has_held_comes_back() {
    type Held = (Ticket, ManagedLock, ManagedSemaphore, ManagedBarrier);
    fn holds((ticket, lock, semaphore, barrier): Held) {
        let _guard = lock.lock().unwrap();
        let _permits = (semaphore.acquire().unwrap(), semaphore.acquire().unwrap());
        ticket.tell("has all");
        let _ = barrier.wait();
    }
    let manager = Manager::new().unwrap();
    let (lock, semaphore, barrier) =
        (manager.lock().unwrap(), manager.bounded_semaphore(2).unwrap(), manager.barrier(3).unwrap());
    for _ in 0..3 {
        let stage = Stage::new();
        let held = (stage.ticket(), lock.clone(), semaphore.clone(), barrier.clone());
        let holder = Process::start(holds, held).unwrap();
        stage.next();
        until("it waits at the barrier", || barrier.state().unwrap().waiting == 1);
        assert!(lock.try_lock().unwrap().is_none() && semaphore.try_acquire().unwrap().is_none());
        std::thread::scope(|scope| {
            let next = scope.spawn(|| matches!(lock.lock_timeout(PATIENCE), Err(LockError::OwnerDied(_))));
            let permit = scope.spawn(|| semaphore.acquire_timeout(PATIENCE).unwrap().is_some());
            let broken = scope.spawn(|| matches!(barrier.wait_timeout(PATIENCE), Err(ManagerError::BrokenBarrier)));
            until("they wait together", || barrier.state().unwrap().waiting == 2);
            killed(&holder);
            assert!(next.join().unwrap() && permit.join().unwrap() && broken.join().unwrap());
        });
        assert!(lock.try_lock().unwrap().is_some(), "it is said once");
        until("all permits are back", || semaphore.available().unwrap() == 2);
        barrier.reset().unwrap();
    }
}

/// The notified one dies before it has the lock; the one after it, who waits for an item, dies before the item comes.
#[test]
fn a_dead_waiter_takes_nothing_along() {
    fn waits((condition, queue, ready): (ManagedCondition, ManagedQueue<u32>, ManagedEvent)) {
        std::thread::scope(|scope| {
            scope.spawn(|| drop(queue.get()));
            let guard = condition.lock().unwrap();
            ready.set().unwrap();
            let _ = guard.wait();
        });
    }
    let manager = Manager::new().unwrap();
    let (condition, queue, ready) = (manager.condition().unwrap(), manager.queue().unwrap(), manager.event().unwrap());
    let waiter = Process::start(waits, (condition.clone(), queue.clone(), ready.clone())).unwrap();
    ready.wait().unwrap();
    let guard = condition.lock().unwrap();
    guard.notify_all().unwrap();
    killed(&waiter);
    drop(guard);
    drop(condition.lock_timeout(PATIENCE).recovered());
    queue.put(1).unwrap();
    queue.put(2).unwrap();
    // At most its own item is lost.
    let first = queue.get_timeout(PATIENCE).unwrap();
    assert!(first == 1 || first == 2);
}

impl<G> Recovered<G> for Result<Option<G>, LockError<G>> {
    fn recovered(self) -> G {
        match self {
            Ok(Some(guard)) | Err(LockError::OwnerDied(guard)) => guard,
            Ok(None) => panic!("nobody is there who has it"),
            Err(LockError::Failed(error)) => panic!("{error}"),
        }
    }
}

trait Recovered<G> {
    fn recovered(self) -> G;
}

/// A client that is killed after every so many instructions of locking and calling.
fn client_killed((lock, list): (ManagedLock, ManagedList<u32>)) -> Swept {
    let held = std::cell::Cell::new(0);
    let swept = Sweep::every(9_973).after(|| assert!(list.is_empty().unwrap())).run(
        || {
            let guard = lock.lock().or_else(LockError::recover).unwrap();
            list.push(1).unwrap();
            list.push(2).unwrap();
            drop(guard);
        },
        |_| {
            let guard = match lock.lock_timeout(PATIENCE) {
                Err(LockError::OwnerDied(guard)) => {
                    held.set(held.get() + 1);
                    guard
                }
                other => other.recovered(),
            };
            let list = list.take().unwrap();
            assert!([&[][..], &[1], &[1, 2]].contains(&&list[..]), "{list:?}");
            drop(guard);
        },
    );
    assert!(held.get() > 0, "never killed while it held the lock");
    swept
}

#[test]
fn sweep_of_a_managers_client() {
    let manager = Manager::new().unwrap();
    let objects = (manager.lock().unwrap(), manager.list([]).unwrap());
    let swept = alone(client_killed, objects);
    assert!(swept.kills > 3, "{swept:?}");
    until("the children's handles are gone", || manager.object_count().unwrap() == 0);
}

fn works((list, lock, queue, counter): (ManagedList<u32>, ManagedLock, ManagedQueue<u32>, ManagedValue<u64>)) {
    loop {
        let guard = lock.lock().or_else(LockError::recover).unwrap();
        list.push(1).unwrap();
        list.pop().unwrap();
        drop(guard);
        queue.put(1).unwrap();
        queue.get().unwrap();
        counter.update(|counter, ()| *counter += 1, ()).unwrap();
    }
}

/// Clients that are killed at instants that the scheduler chooses, several at a time; the others go on.
#[test]
fn clients_are_killed_at_random_and_the_others_go_on() {
    let manager = Manager::new().unwrap();
    let objects =
        (manager.list([]).unwrap(), manager.lock().unwrap(), manager.queue().unwrap(), manager.value(0_u64).unwrap());
    let start = || Process::start(works, objects.clone()).unwrap();
    let mut clients = [start(), start(), start()];
    for round in 0..30 {
        let before = objects.3.get().unwrap();
        until("they work", || objects.3.get().unwrap() > before);
        let next = std::mem::replace(&mut clients[round % 3], start());
        killed(&next);
    }
    clients.iter().for_each(killed);
    drop(objects.1.lock_timeout(PATIENCE).recovered());
    assert!(objects.0.len().unwrap() <= 33, "at most one of each client");
    assert!(manager.object_count().unwrap() == 4);
}

/// The server is killed while clients connect, wait in all ways, and work: everyone gets an error, and the right one.
#[test]
fn a_killed_server_leaves_nobody_waiting() {
    type Waits = (ManagedLock, ManagedQueue<u32>, ManagedEvent, ManagedBarrier, ManagedCondition, ManagedList<u32>);
    fn waits((lock, queue, event, barrier, condition, list): Waits) {
        fn gone<T>(outcome: Result<T, ManagerError>) {
            assert!(matches!(outcome, Err(ManagerError::Gone(_))));
        }
        std::thread::scope(|scope| {
            scope.spawn(|| gone(lock.lock().map(drop).or_else(|error| error.recover().map(drop))));
            scope.spawn(|| gone(queue.get()));
            scope.spawn(|| gone(event.wait()));
            scope.spawn(|| gone(barrier.wait()));
            scope.spawn(|| {
                // The server may be gone before this thread has begun.
                let guard = condition.lock().or_else(LockError::recover);
                gone(guard.and_then(|guard| guard.wait().or_else(LockError::recover)));
            });
            scope.spawn(|| {
                while let Ok(len) = list.len() {
                    assert_eq!(len, 0);
                }
            });
        });
        // New connections, new objects.
        gone(list.push(1));
    }
    for delay in [0, 1, 3, 10, 30, 100] {
        let manager = Manager::new().unwrap();
        let (lock, event, barrier) = (manager.lock().unwrap(), manager.event().unwrap(), manager.barrier(2).unwrap());
        let (queue, condition, list) =
            (manager.queue().unwrap(), manager.condition().unwrap(), manager.list([]).unwrap());
        let guard = lock.lock().unwrap();
        let child = Process::start(waits, (lock, queue, event, barrier.clone(), condition, list)).unwrap();
        until("it waits", || barrier.state().unwrap().waiting == 1);
        std::thread::sleep(Duration::from_millis(delay));
        killed(manager.process());
        assert!(end(&child).success(), "{delay} ms");
        assert!(matches!(guard.unlock(), Err(ManagerError::Gone(_))));
        manager.shutdown().unwrap();
    }
}

/// The server ends with the process that has started it, however that ends.
#[test]
fn the_server_ends_with_its_parent() {
    fn parent((ticket, ends): (Ticket, bool)) {
        let manager = Manager::new().unwrap();
        ticket.enter(manager.pid());
        if ends {
            // Neither dropped nor shut down.
            std::mem::forget(manager);
        } else {
            sleeps(());
        }
    }
    for ends in [false, true] {
        let stage = Stage::new();
        let process = Process::start(parent, (stage.ticket(), ends)).unwrap();
        let arrival = stage.next();
        let server: u32 = arrival.words().parse().unwrap();
        arrival.release();
        if !ends {
            process.kill().unwrap();
        }
        end(&process);
        wait_for_end(server);
    }
}

/// Clients that have nothing but the address see the end, too, and find nobody in the server's place.
#[test]
fn a_way_to_a_dead_server_leads_nowhere() {
    let manager = Manager::new().unwrap();
    let client: ManagerClient = manager.client();
    killed(manager.process());
    assert!(matches!(client.event(), Err(ManagerError::Gone(_))));
    let other = Manager::new().unwrap();
    assert!(matches!(client.event(), Err(ManagerError::Gone(_))));
    assert!(matches!(client.publish("event", &other.event().unwrap()), Err(ManagerError::Invalid(_))));
}

/// Over TCP, too: its locks and permits come back, the item for which it waited is another's, and what it alone had is gone.
#[test]
fn a_dead_client_of_a_remote_manager_leaves_nothing() {
    fn client((ticket, address): (Ticket, std::net::SocketAddr)) {
        let manager = ManagerClient::connect(address, b"a key").unwrap();
        let lock: ManagedLock = manager.lookup("lock").unwrap();
        let semaphore: ManagedSemaphore = manager.lookup("semaphore").unwrap();
        let queue: ManagedQueue<ManagedList<u8>> = manager.lookup("queue").unwrap();
        let list = manager.list([1_u8]).unwrap();
        let _own = manager.list([list.clone(), list]).unwrap();
        let (_guard, _permit) = (lock.lock().unwrap(), semaphore.acquire().unwrap());
        let waits = {
            let queue = queue.clone();
            std::thread::spawn(move || queue.get())
        };
        ticket.tell("has all");
        let _ = waits.join();
    }
    let manager = Manager::builder().listen("127.0.0.1:0", b"a key").start().unwrap();
    let (lock, semaphore, queue) =
        (manager.lock().unwrap(), manager.bounded_semaphore(1).unwrap(), manager.queue::<ManagedList<u8>>().unwrap());
    manager.publish("lock", &lock).unwrap();
    manager.publish("semaphore", &semaphore).unwrap();
    manager.publish("queue", &queue).unwrap();
    for _ in 0..3 {
        let stage = Stage::new();
        let child = Process::start(client, (stage.ticket(), manager.address().unwrap())).unwrap();
        stage.next();
        assert_eq!(manager.object_count().unwrap(), 5);
        assert!(lock.try_lock().unwrap().is_none() && semaphore.try_acquire().unwrap().is_none());
        killed(&child);
        assert!(matches!(lock.lock_timeout(PATIENCE), Err(LockError::OwnerDied(_))));
        drop(semaphore.acquire_timeout(PATIENCE).unwrap().expect("it came back"));
        until("its own are gone", || manager.object_count().unwrap() == 3);
        // At most its own item is lost: what was on its way.
        queue.put(manager.list([7]).unwrap()).unwrap();
        queue.put(manager.list([8]).unwrap()).unwrap();
        let first = queue.get_timeout(PATIENCE).unwrap().get(0).unwrap();
        assert!(first == Some(8) || queue.get_timeout(PATIENCE).unwrap().get(0).unwrap() == Some(8), "{first:?}");
        until("the items are gone", || {
            // The first may come back when the second has been got.
            while queue.try_get().is_ok() {}
            manager.object_count().unwrap() == 3
        });
    }
}

/// A server that can have no more descriptors sends newcomers away, goes on with those who are there, and recovers.
#[test]
fn a_server_without_descriptors_goes_on() {
    fn may_have_few((): ()) -> std::io::Result<()> {
        let few = rustix::process::Rlimit { current: Some(40), maximum: Some(40) };
        Ok(rustix::process::setrlimit(rustix::process::Resource::Nofile, few)?)
    }
    let manager = Manager::builder().initializer(may_have_few, ()).start().unwrap();
    let list = manager.list([1_u8]).unwrap();
    let all = std::sync::Barrier::new(60);
    let refused = std::thread::scope(|scope| {
        let call = || {
            let outcome = list.len();
            all.wait();
            outcome
        };
        let threads: Vec<_> = (0..60).map(|_| scope.spawn(call)).collect();
        let outcomes: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert_eq!(list.len().unwrap(), 1);
        let refused = outcomes.iter().filter(|outcome| matches!(outcome, Err(ManagerError::Scarce(_)))).count();
        assert_eq!(refused + outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 60, "{outcomes:?}");
        refused
    });
    assert!((1..60).contains(&refused), "{refused}");
    // The connections of those threads end one after the other, so there may be room for one more at any time.
    let mut lists = Vec::new();
    while let Ok(list) = manager.list([2_u8]) {
        lists.push(list);
        assert!(lists.len() < 60);
    }
    until("it says why", || match manager.list([2_u8]) {
        Ok(list) => {
            lists.push(list);
            false
        }
        Err(error) => matches!(error, ManagerError::Scarce(_)),
    });
    assert!(lists.len() < 60);
    drop(lists);
    until("there is room again", || manager.list([3_u8]).is_ok());
    std::thread::scope(|scope| until("newcomers are let in", || scope.spawn(|| list.len()).join().unwrap().is_ok()));
}
