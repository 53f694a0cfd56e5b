//! `ShareableList` between processes.

use concurrent_futures::multiprocessing::list::Item;
use concurrent_futures::multiprocessing::{OwnerDied, Process, ShareableList};
use concurrent_futures::{ExecutorExt, ProcessPoolExecutor};
use concurrent_futures_conformance::sweep::{Sweep, alone};
use concurrent_futures_conformance::{Soon, Stage, Ticket};

fn count(list: ShareableList) {
    for _ in 0..200 {
        list.update(0, |item| if let Item::Int(n) = item { (n + 1).into() } else { panic!("{item}") }).unwrap();
        let both = list.lock().unwrap_or_else(OwnerDied::into_guard);
        let (one, other) = (both.get(1).unwrap(), both.get(2).unwrap());
        both.set(1, other.to_string()).unwrap();
        both.set(2, one.to_string().len() as i64).unwrap();
    }
}

/// CPython's `test_shared_memory_across_processes` and `_ShareableList_pickling`, of a list: by handle and by name.
#[test]
fn processes_change_the_same_list() {
    let list = ShareableList::create(None, [0.into(), "0123456789".into(), 0.into()]).unwrap();
    let by_name = |name: String| count(ShareableList::open(&name).unwrap());
    let processes = [Process::start(count, list.clone()), Process::start(by_name, list.name().unwrap().to_owned())];
    for process in processes {
        assert!(process.unwrap().join().unwrap().success());
    }
    assert_eq!(list.get(0).unwrap(), 400.into());
}

/// CPython's `test_shared_memory_ShareableList_pickling_dead_object`: here the memory outlives its name.
#[test]
fn a_list_without_its_name_still_travels() {
    let list = ShareableList::create(None, [1.5.into(), "text".into()]).unwrap();
    list.unlink().unwrap();
    assert!(ShareableList::open(list.name().unwrap()).is_err());
    let pool = ProcessPoolExecutor::new(1).unwrap();
    let set = |list: ShareableList| list.set(0, "set").map_err(|error| error.to_string());
    pool.submit(set, list.clone()).soon().unwrap().unwrap();
    assert_eq!(list.to_vec().unwrap(), ["set".into(), "text".into()]);
    let made = pool.submit(|()| ShareableList::new([7.into()]).map_err(|error| error.to_string()), ());
    assert_eq!(made.soon().unwrap().unwrap().get(0).unwrap(), 7.into());
}

fn hold((list, ticket): (ShareableList, Ticket)) {
    let guard = list.lock().unwrap();
    guard.set(0, 2).unwrap();
    ticket.enter("has it");
    guard.set(1, 2).unwrap();
}

#[test]
fn who_is_killed_with_it_locked_keeps_nobody_out() {
    let (list, stage) = (ShareableList::new([1.into(), 1.into()]).unwrap(), Stage::new());
    let process = Process::start(hold, (list.clone(), stage.ticket())).unwrap();
    let arrival = stage.next();
    process.kill().unwrap();
    process.join().unwrap();
    drop(arrival);
    assert_eq!(list.to_vec().unwrap(), [2.into(), 1.into()]);
    assert!(list.lock().is_err(), "the next one is told");
    assert!(list.lock().is_ok());
}

const OLD: &str = "what was there before";
const NEW: &str = "and what comes after";

fn set_is_swept(list: ShareableList) -> (u64, u64) {
    let (mut old, mut new) = (0, 0);
    Sweep::every(61).run(
        || list.set(0, NEW).unwrap(),
        |moment| {
            match list.get(0).unwrap() {
                Item::Str(text) if text == OLD => old += 1,
                Item::Str(text) if text == NEW => new += 1,
                other => panic!("{other} at {moment:?}"),
            }
            list.set(0, OLD).unwrap();
        },
    );
    (old, new)
}

#[test]
fn sweep_of_a_write() {
    let (old, new) = alone(set_is_swept, ShareableList::new([OLD.into()]).unwrap());
    assert!(old > 0 && new > 0, "{old} and {new}");
}
