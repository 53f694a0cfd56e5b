//! What can be sent to another process cannot be serialized for anything else, and says so in words.

use concurrent_futures::SharedBytes;
use concurrent_futures::codec;
use concurrent_futures::multiprocessing::{Barrier, BoundedSemaphore, Condition, Event, Lock, RLock, Semaphore};
use serde::Serialize;

/// Why it was refused.
fn refused(handle: &impl Serialize) -> String {
    assert!(postcard::to_allocvec(handle).is_err(), "a codec of somebody else's took it");
    codec::encode(handle, &mut Vec::new()).expect_err("nobody is there who would send it").into_message()
}

#[test]
fn shared_bytes() {
    let words = refused(&SharedBytes::from(vec![1, 2, 3]));
    assert!(words.contains("SharedSlice"), "{words}");
}

#[test]
fn what_processes_wait_for() {
    fn is_refused<T: Serialize>(name: &str, handle: std::io::Result<T>) {
        let words = refused(&handle.unwrap());
        assert!(words.contains(&format!("::{name}: it can only travel to")), "{words}");
    }
    is_refused("Lock", Lock::new());
    is_refused("RLock", RLock::new());
    is_refused("Semaphore", Semaphore::new(1));
    is_refused("BoundedSemaphore", BoundedSemaphore::new(1));
    is_refused("Event", Event::new());
    is_refused("Condition", Condition::new());
    is_refused("Barrier", Barrier::new(1));
}

#[test]
fn values_and_memory() {
    use concurrent_futures::multiprocessing::{Array, RawArray, RawValue, ShareableList, SharedMemory, Value};
    let words = [
        refused(&SharedMemory::anonymous(8).unwrap()),
        refused(&SharedMemory::create(None, 8).unwrap()),
        refused(&ShareableList::new([1.into()]).unwrap()),
        refused(&Value::new(1.5).unwrap()),
        refused(&Array::new([1, 2]).unwrap()),
        refused(&RawValue::new(1_u8).unwrap()),
        refused(&RawArray::new([1_u8]).unwrap()),
    ];
    assert!(words.iter().all(|words| words.contains("can only travel")), "{words:?}");
}
