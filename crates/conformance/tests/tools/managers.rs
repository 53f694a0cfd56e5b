//! `Manager`: every type, used from processes and pools; the server's life. (Deaths are in `manager_deaths.rs`.)

use crate::process::end;
use concurrent_futures::multiprocessing::managers::{
    Handle, LockError, ManagedArray, ManagedBarrier, ManagedCondition, ManagedDict, ManagedEvent, ManagedList,
    ManagedLock, ManagedNamespace, ManagedQueue, ManagedRLock, ManagedSemaphore, ManagedSet, ManagedValue,
    ManagerClient, ManagerError,
};
use concurrent_futures::multiprocessing::{Manager, Pool, Process};
use concurrent_futures::{ExecutorExt, ProcessPoolExecutor};
use concurrent_futures_conformance::{PATIENCE, Soon, until};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// One of each kind.
type All = (
    (
        ManagedList<String>,
        ManagedDict<String, i32>,
        ManagedSet<u8>,
        ManagedNamespace,
        ManagedValue<f64>,
        ManagedArray<i32>,
    ),
    (ManagedQueue<u32>, ManagedLock, ManagedRLock, ManagedSemaphore, ManagedEvent, ManagedCondition, ManagedBarrier),
);

fn all(manager: &ManagerClient) -> Result<All, ManagerError> {
    let data = (
        manager.list(["a".to_owned()])?,
        manager.dict([("one".to_owned(), 1)])?,
        manager.set([1, 2])?,
        manager.namespace()?,
        manager.value(0.5)?,
        manager.array([0; 5])?,
    );
    let machines = (
        manager.queue()?,
        manager.lock()?,
        manager.rlock()?,
        manager.bounded_semaphore(1)?,
        manager.event()?,
        manager.condition()?,
        manager.barrier(2)?,
    );
    Ok((data, machines))
}

/// What a child does with all of them.
fn use_all(all: All) {
    let ((list, dict, set, namespace, value, array), (queue, lock, rlock, semaphore, event, condition, barrier)) = all;
    list.push("b".to_owned()).unwrap();
    dict.modify("one", |value, by| *value += by, 41).unwrap().unwrap();
    dict.insert("two".to_owned(), 2).unwrap();
    assert!(set.insert(3).unwrap() && set.remove(&1).unwrap());
    namespace.set("name", "child".to_owned()).unwrap();
    value.update(|value, ()| *value *= 2.0, ()).unwrap();
    array.write(1, vec![10, 20]).unwrap();
    queue.put(7).unwrap();
    {
        let _locked = lock.lock().unwrap();
        let _twice = (rlock.lock().unwrap(), rlock.lock().unwrap());
        let _permit = semaphore.acquire().unwrap();
        assert!(lock.is_locked().unwrap() && semaphore.try_acquire().unwrap().is_none());
    }
    assert!(event.wait_timeout(PATIENCE).unwrap());
    let guard = condition.lock().unwrap();
    guard.notify_all().unwrap();
    drop(guard);
    barrier.wait_timeout(PATIENCE).unwrap();
}

fn used_by(all: &All) {
    let ((list, dict, set, namespace, value, array), (queue, lock, rlock, semaphore, event, condition, barrier)) = all;
    // The child waits for the event, and so it notifies later.
    let guard = condition.lock().unwrap();
    event.set().unwrap();
    assert!(guard.wait_timeout(PATIENCE).unwrap());
    drop(guard);
    barrier.wait_timeout(PATIENCE).unwrap();
    assert_eq!(list.to_vec().unwrap(), ["a", "b"]);
    assert_eq!((dict.get("one").unwrap(), dict.len().unwrap()), (Some(42), 2));
    assert_eq!(set.to_set().unwrap(), [2, 3].into());
    assert_eq!(namespace.get::<String>("name").unwrap(), "child");
    assert_eq!((value.get().unwrap(), array.to_vec().unwrap()), (1.0, vec![0, 10, 20, 0, 0]));
    assert_eq!(queue.get_timeout(PATIENCE).unwrap(), 7);
    assert!(!lock.is_locked().unwrap() && !rlock.is_locked().unwrap());
    assert_eq!(semaphore.available().unwrap(), 1);
}

/// All types by a `Process`, and by a worker of a pool.
#[test]
fn a_child_uses_every_type() {
    let manager = Manager::new().unwrap();
    let objects = all(&manager).unwrap();
    let child = Process::start(use_all, objects.clone()).unwrap();
    used_by(&objects);
    assert!(end(&child).success());

    let objects = all(&manager).unwrap();
    let pool = ProcessPoolExecutor::new(1).unwrap();
    let task = pool.submit(use_all, objects.clone());
    used_by(&objects);
    task.soon().unwrap();
}

/// Also over TCP, by a process that is given nothing but the address and the key.
#[test]
fn a_remote_child_uses_every_type() {
    fn child((address, names): (SocketAddr, Vec<String>)) {
        assert!(matches!(ManagerClient::connect(address, b"wrong"), Err(ManagerError::Refused(_))));
        let manager = ManagerClient::connect(address, b"the key").unwrap();
        let (data, machines) = (&names[..6], &names[6..]);
        let data = (
            manager.lookup(&data[0]).unwrap(),
            manager.lookup(&data[1]).unwrap(),
            manager.lookup(&data[2]).unwrap(),
            manager.lookup(&data[3]).unwrap(),
            manager.lookup(&data[4]).unwrap(),
            manager.lookup(&data[5]).unwrap(),
        );
        let machines = (
            manager.lookup(&machines[0]).unwrap(),
            manager.lookup(&machines[1]).unwrap(),
            manager.lookup(&machines[2]).unwrap(),
            manager.lookup(&machines[3]).unwrap(),
            manager.lookup(&machines[4]).unwrap(),
            manager.lookup(&machines[5]).unwrap(),
            manager.lookup(&machines[6]).unwrap(),
        );
        use_all((data, machines));
        // A handle that came over TCP goes on to a child of this process.
        let list: ManagedList<String> = manager.lookup(&names[0]).unwrap();
        fn grandchild(list: ManagedList<String>) {
            assert_eq!(list.len().unwrap(), 2);
        }
        assert!(end(&Process::start(grandchild, list).unwrap()).success());
    }
    let manager = Manager::builder().listen("127.0.0.1:0", b"the key").start().unwrap();
    let objects = all(&manager).unwrap();
    let names: Vec<String> = (0..13).map(|number| format!("object {number}")).collect();
    let ((list, dict, set, namespace, value, array), (queue, lock, rlock, semaphore, event, condition, barrier)) =
        &objects;
    manager.publish(&names[0], list).unwrap();
    manager.publish(&names[1], dict).unwrap();
    manager.publish(&names[2], set).unwrap();
    manager.publish(&names[3], namespace).unwrap();
    manager.publish(&names[4], value).unwrap();
    manager.publish(&names[5], array).unwrap();
    manager.publish(&names[6], queue).unwrap();
    manager.publish(&names[7], lock).unwrap();
    manager.publish(&names[8], rlock).unwrap();
    manager.publish(&names[9], semaphore).unwrap();
    manager.publish(&names[10], event).unwrap();
    manager.publish(&names[11], condition).unwrap();
    manager.publish(&names[12], barrier).unwrap();
    let remote = Process::start(child, (manager.address().unwrap(), names)).unwrap();
    used_by(&objects);
    assert!(end(&remote).success());
}

/// `test_list`, `test_dict` and their relatives: as in Python, and values that are handles.
#[test]
fn lists_and_dictionaries_nest() {
    let manager = Manager::new().unwrap();
    let a = manager.list(0..10).unwrap();
    assert_eq!((a.get(9).unwrap(), a.get(10).unwrap(), a.slice(2..5).unwrap()), (Some(9), None, vec![2, 3, 4]));
    assert_eq!((a.slice(8..100).unwrap(), a.slice(20..).unwrap()), (vec![8, 9], vec![]));
    a.extend([7, 7]).unwrap();
    assert_eq!((a.count(&7).unwrap(), a.index_of(&7).unwrap(), a.contains(&70).unwrap()), (3, Some(7), false));
    a.retain(|element| *element % 2 == 1).unwrap();
    a.reverse().unwrap();
    a.insert(0, 100).unwrap();
    a.swap(0, 1).unwrap();
    assert_eq!(a.remove(1).unwrap(), Some(100));
    assert_eq!(a.to_vec().unwrap(), [7, 7, 9, 7, 5, 3, 1]);
    assert!(matches!(a.insert(50, 0), Err(ManagerError::OutOfRange { index: 50, len: 7 })));
    assert_eq!((a.take().unwrap().len(), a.is_empty().unwrap()), (7, true));

    // A change of a copy is no change.
    let plain = manager.list([vec![1], vec![2]]).unwrap();
    plain.get(0).unwrap().unwrap().push(9);
    assert_eq!(plain.get(0).unwrap(), Some(vec![1]));
    plain.modify(0, Vec::push, 9).unwrap();
    assert_eq!(plain.get(0).unwrap(), Some(vec![1, 9]));

    // A change by a handle is one.
    let inner = manager.dict([(1, "one".to_owned())]).unwrap();
    let outer = manager.dict([("inner".to_owned(), inner.clone())]).unwrap();
    outer.get("inner").unwrap().unwrap().insert(2, "two".to_owned()).unwrap();
    let mut items = inner.items().unwrap();
    items.sort();
    assert_eq!(items, [(1, "one".to_owned()), (2, "two".to_owned())]);
    assert_eq!(inner.get_or_insert(2, "zwei".to_owned()).unwrap(), "two");
    assert_eq!((inner.contains_key(&3).unwrap(), inner.remove(&1).unwrap()), (false, Some("one".to_owned())));
    drop(inner);
    assert_eq!(outer.remove("inner").unwrap().unwrap().values().unwrap(), ["two"]);
}

#[derive(Debug)]
struct Bank {
    accounts: BTreeMap<String, i64>,
}

impl Bank {
    fn open(accounts: Vec<(String, i64)>) -> Bank {
        Bank { accounts: accounts.into_iter().collect() }
    }

    fn transfer(&mut self, (from, to, amount): (String, String, i64)) -> Result<(), String> {
        let has = self.accounts.get(&from).copied().unwrap_or_default();
        assert!(amount >= 0, "robbery");
        if has < amount {
            return Err(format!("{from} has {has}"));
        }
        *self.accounts.entry(from).or_default() -= amount;
        *self.accounts.entry(to).or_default() += amount;
        Ok(())
    }
}

/// A user's own type, called from many processes at once; its errors and panics come back.
#[test]
fn an_object_of_ones_own_is_called_by_one_at_a_time() {
    fn pay((bank, times): (Handle<Bank>, u32)) -> u32 {
        let there = |(a, b): (&str, &str)| bank.call(Bank::transfer, (a.to_owned(), b.to_owned(), 1)).unwrap().is_ok();
        (0..times).map(|turn| u32::from(there(if turn % 2 == 0 { ("a", "b") } else { ("b", "a") }))).sum()
    }
    let manager = Manager::new().unwrap();
    let bank = manager.object(Bank::open, vec![("a".to_owned(), 100), ("b".to_owned(), 0)]).unwrap();
    let pool = Pool::new(3).unwrap();
    let paid = pool.map(pay, vec![(bank.clone(), 50); 6]).unwrap();
    assert!(paid.iter().all(|times| *times > 0));
    assert_eq!(bank.call(|bank, ()| bank.accounts.values().sum::<i64>(), ()).unwrap(), 100);
    let refused = bank.call(Bank::transfer, ("c".to_owned(), "a".to_owned(), 5)).unwrap();
    assert_eq!(refused, Err("c has 0".to_owned()));
    let error = bank.call(Bank::transfer, ("a".to_owned(), "b".to_owned(), -5)).unwrap_err();
    assert!(matches!(&error, ManagerError::Panicked(panic) if panic.message() == "robbery"), "{error}");
    // What cannot be sent is an error of this call alone.
    let error = bank.call(|_, ()| Unsendable, ()).map(|_: Unsendable| ()).unwrap_err();
    assert!(matches!(&error, ManagerError::Codec(words) if words.contains("not today")), "{error}");
    assert_eq!(bank.call(|bank, ()| bank.accounts.len(), ()).unwrap(), 2);
}

#[derive(serde::Deserialize)]
struct Unsendable;

impl serde::Serialize for Unsendable {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("not today"))
    }
}

/// `test_rapid_restart`: the port is free again as soon as the manager has ended.
#[test]
fn a_manager_starts_again_at_the_same_address() {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let mut address = any;
    let mut stale = None;
    let (mut round, mut taken) = (0_u32, 0);
    while round < 4 {
        let manager = match Manager::builder().listen(address, b"key").start() {
            // A port that is free is anybody's, such as that of a connection of another test.
            Err(ManagerError::Io(error)) if error.kind() == std::io::ErrorKind::AddrInUse && taken < 3 => {
                (round, taken, address, stale) = (0, taken + 1, any, None);
                continue;
            }
            started => started.unwrap(),
        };
        address = manager.address().unwrap();
        manager.publish("round", &manager.value(round).unwrap()).unwrap();
        let remote = ManagerClient::connect(address, b"key").unwrap();
        let value: ManagedValue<u32> = remote.lookup("round").unwrap();
        assert_eq!(value.get().unwrap(), round);
        // A handle is of one server, not of whoever has its address.
        if let Some(stale) = stale.replace(value) {
            assert!(matches!(stale.get(), Err(ManagerError::Gone(_))));
        }
        manager.shutdown().unwrap();
        assert!(!manager.process().is_alive());
        round += 1;
    }
}

/// Ctrl-C is not for the server; SIGTERM is.
#[test]
fn the_server_ignores_interrupts_and_ends_when_it_is_told() {
    let manager = Manager::new().unwrap();
    let list = manager.list([1]).unwrap();
    manager.process().interrupt().unwrap();
    assert_eq!(list.len().unwrap(), 1);
    manager.process().terminate().unwrap();
    end(manager.process());
    assert!(matches!(list.len(), Err(ManagerError::Gone(_))));
    assert!(matches!(manager.event(), Err(ManagerError::Gone(_))));
    manager.shutdown().unwrap();
}

/// A function that does not let the server go does not keep it.
#[test]
fn shutdown_does_not_wait_for_a_function_for_ever() {
    let manager = Manager::new().unwrap();
    let (object, entered) = (manager.object(|()| (), ()).unwrap(), manager.event().unwrap());
    std::thread::scope(|scope| {
        let signal = entered.clone();
        let call = scope.spawn(move || {
            object.call(
                |(), entered: ManagedEvent| {
                    entered.set().unwrap();
                    loop {
                        std::thread::park();
                    }
                },
                signal,
            )
        });
        entered.wait().unwrap();
        manager.shutdown().unwrap();
        assert!(matches!(call.join().unwrap().map(|(): ()| ()), Err(ManagerError::Gone(_))));
    });
    assert!(!manager.process().is_alive());
}

/// What others hold takes descriptors in the server, so it may have as many as there may be.
#[test]
fn a_server_may_have_all_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    fn parent((): ()) {
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(256), ..limit }).unwrap();
        let manager = Manager::new().unwrap();
        let server = manager.object(|()| getrlimit(Resource::Nofile).current, ()).unwrap();
        assert_eq!(server.call(|current, ()| *current, ()).unwrap(), limit.maximum);
    }
    assert!(end(&Process::start(parent, ()).unwrap()).success());
}

struct EndsBadly;

impl Drop for EndsBadly {
    fn drop(&mut self) {
        panic!("no end");
    }
}

/// Nor is the server harmed if nobody can read what it says about it.
#[test]
fn a_destructor_that_panics_harms_no_other_object() {
    fn parent((): ()) {
        let manager = Manager::new().unwrap();
        drop(manager.object(|()| EndsBadly, ()).unwrap());
        until("it is gone", || manager.object_count().unwrap() == 0);
        drop(manager.list([1_u8]).unwrap());
        until("the other is gone", || manager.object_count().unwrap() == 0);
    }
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let process = Process::target(parent, ()).stderr(writer).start().unwrap();
    assert!(end(&process).success());
}

#[test]
fn a_manager_that_cannot_start_says_why() {
    fn panics((): ()) {
        panic!("no licence")
    }
    fn exits((): ()) {
        std::process::exit(3)
    }
    let panics = Manager::builder().initializer(panics, ()).start().unwrap_err();
    assert!(matches!(&panics, ManagerError::NotStarted(words) if words.contains("no licence")), "{panics}");
    let exits = Manager::builder().initializer(exits, ()).start().unwrap_err();
    assert!(matches!(&exits, ManagerError::NotStarted(words) if words.contains('3')), "{exits}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let error = Manager::builder().listen(taken.local_addr().unwrap(), b"key").start().unwrap_err();
    assert!(matches!(error, ManagerError::Io(_)));
    assert!(matches!(Manager::builder().listen("127.0.0.1:0", b"").start(), Err(ManagerError::Invalid(_))));
}

/// Timeouts of all that waits, and what they leave behind: nothing.
#[test]
fn what_is_not_there_in_time_is_not_taken_later() {
    const SHORT: Duration = Duration::from_millis(20);
    let manager = Manager::new().unwrap();
    let (queue, lock, semaphore) =
        (manager.bounded_queue(1).unwrap(), manager.lock().unwrap(), manager.semaphore(0).unwrap());
    assert!(matches!(queue.get_timeout(SHORT), Err(ManagerError::TimedOut)));
    assert!(matches!(queue.try_get(), Err(ManagerError::Empty)));
    queue.put(1).unwrap();
    let late = queue.put_timeout(2, SHORT).unwrap_err();
    assert!(matches!((late.item, &late.error), (2, ManagerError::TimedOut)));
    assert_eq!((queue.get().unwrap(), queue.len().unwrap()), (1, 0));
    assert!(!queue.join_timeout(SHORT).unwrap());
    queue.task_done().unwrap();
    assert!(queue.join_timeout(SHORT).unwrap());
    assert!(matches!(queue.task_done(), Err(ManagerError::OverRelease)));
    assert!(semaphore.acquire_timeout(SHORT).unwrap().is_none());
    semaphore.add_permits(1).unwrap();
    assert_eq!(semaphore.available().unwrap(), 1);
    std::thread::scope(|scope| {
        let guard = lock.lock().unwrap();
        assert!(matches!(lock.lock(), Err(LockError::Failed(ManagerError::Deadlock))));
        let other = scope.spawn(|| lock.lock_timeout(SHORT).is_ok_and(|guard| guard.is_none()));
        assert!(other.join().unwrap());
        drop(guard);
        assert!(!lock.is_locked().unwrap());
    });
    let condition = manager.condition().unwrap();
    let guard = condition.lock().unwrap();
    assert!(!guard.wait_timeout(SHORT).unwrap());
    assert!(!guard.wait_for_timeout(SHORT, || Ok(false)).unwrap());
    let barrier = manager.barrier(2).unwrap();
    assert!(matches!(barrier.wait_timeout(SHORT), Err(ManagerError::BrokenBarrier)));
    assert!(barrier.state().unwrap().broken);
    barrier.reset().unwrap();
    let state = barrier.state().unwrap();
    assert_eq!((state.parties, state.waiting, state.broken), (2, 0, false));
}

/// `test_barrier`, many times over; each round exactly one is the first.
#[test]
fn a_barrier_holds_in_many_rounds() {
    fn party((barrier, firsts): (ManagedBarrier, ManagedValue<u32>)) {
        for _ in 0..50 {
            if barrier.wait().unwrap() == 0 {
                firsts.update(|firsts, ()| *firsts += 1, ()).unwrap();
            }
        }
    }
    let manager = Manager::new().unwrap();
    let (barrier, firsts) = (manager.barrier(3).unwrap(), manager.value(0).unwrap());
    let children: Vec<_> = (0..2).map(|_| Process::start(party, (barrier.clone(), firsts.clone())).unwrap()).collect();
    party((barrier, firsts.clone()));
    children.iter().for_each(|child| assert!(end(child).success()));
    assert_eq!(firsts.get().unwrap(), 50);
}

/// Many threads of many processes, one after the other, without a lost update.
#[test]
fn a_lock_keeps_others_out() {
    fn add((lock, value): (ManagedLock, ManagedValue<u32>)) {
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..25 {
                        let _guard = lock.lock().unwrap();
                        value.set(value.get().unwrap() + 1).unwrap();
                    }
                });
            }
        });
    }
    let manager = Manager::new().unwrap();
    let (lock, value) = (manager.lock().unwrap(), manager.value(0).unwrap());
    let children: Vec<_> = (0..3).map(|_| Process::start(add, (lock.clone(), value.clone())).unwrap()).collect();
    children.iter().for_each(|child| assert!(end(child).success()));
    assert_eq!(value.get().unwrap(), 150);
}

/// A child that is given nothing but a way to the manager makes objects, nested ones too.
#[test]
fn a_child_makes_objects() {
    fn child((manager, results): (ManagerClient, ManagedQueue<ManagedList<ManagedValue<u8>>>)) {
        let values: Vec<_> = (0..3).map(|n| manager.value(n).unwrap()).collect();
        results.put(manager.list(values).unwrap()).unwrap();
    }
    let manager = Manager::new().unwrap();
    let results = manager.queue().unwrap();
    assert!(end(&Process::start(child, (manager.client(), results.clone())).unwrap()).success());
    let list: ManagedList<ManagedValue<u8>> = results.get_timeout(PATIENCE).unwrap();
    let values: Vec<u8> = list.iter().unwrap().map(|value| value.get().unwrap()).collect();
    assert_eq!(values, [0, 1, 2]);
}
