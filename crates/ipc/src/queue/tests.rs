use super::store::{Locked, NoRoom, State, Store};
use super::waiting::NotPut;
use super::*;
use crate::connection;
use concurrent_futures_core::attach::Arrived;
use futures::executor::block_on;
use futures::future::join;
use proptest::prelude::*;
use rustix::fs::fstat;
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(5);

fn travelled<T: Portable>(value: &T) -> T {
    let (mut beside, mut bytes) = (Vec::new(), Vec::new());
    let _ = attach::collect(&mut beside, || codec::encode(value, &mut bytes)).unwrap();
    attach::provide(Arrived::all(beside), || codec::decode(&bytes)).unwrap()
}

#[test]
fn full_and_empty_take_their_time() {
    let queue = Queue::bounded(2).unwrap();
    let took = |f: &dyn Fn()| {
        let start = Instant::now();
        f();
        start.elapsed()
    };
    assert!(matches!(queue.try_get(), Err(GetError::Empty)));
    assert!(took(&|| assert!(matches!(queue.get_timeout(SHORT), Err(GetError::TimedOut)))) >= SHORT);
    assert!(matches!(queue.get_timeout(Duration::ZERO), Err(GetError::TimedOut)));
    queue.put(1).unwrap();
    assert!(!queue.is_full());
    queue.put_timeout(2, SHORT).unwrap();
    assert!(queue.is_full() && queue.qsize() == 2);
    assert!(matches!(queue.try_put(3), Err(PutError::Full(3))));
    assert!(took(&|| assert!(matches!(queue.put_timeout(3, SHORT), Err(PutError::TimedOut(3))))) >= SHORT);
    assert_eq!((queue.get_timeout(SHORT).unwrap(), queue.try_get().unwrap()), (1, 2));
    assert!(queue.is_empty());
    assert_eq!(Queue::<u8>::bounded(0).unwrap_err().kind(), io::ErrorKind::InvalidInput);
}

/// Threads stand for processes: each has a mapping of its own.
#[test]
fn each_item_once_and_those_of_a_producer_in_order() {
    for limit in [1, 3, 1000] {
        let queue = Queue::<(u32, u32)>::bounded(limit).unwrap();
        const EACH: u32 = 500;
        let got: Vec<_> = thread::scope(|s| {
            let consumers: Vec<_> = (0..3)
                .map(|kind| {
                    let queue = travelled(&queue);
                    s.spawn(move || {
                        let mut got = Vec::new();
                        loop {
                            let item = match kind {
                                0 => queue.get(),
                                1 => block_on(queue.get_async()),
                                _ => {
                                    connection::wait(&[&queue], None).unwrap();
                                    queue.try_get()
                                }
                            };
                            match item {
                                Ok(item) => got.push(item),
                                Err(GetError::Empty) => {}
                                Err(GetError::Closed) => return got,
                                Err(error) => panic!("{error}"),
                            }
                        }
                    })
                })
                .collect();
            let producers: Vec<_> = (0..3)
                .map(|producer| {
                    let queue = travelled(&queue);
                    s.spawn(move || {
                        for n in 0..EACH {
                            if n % 2 == 0 {
                                queue.put((producer, n)).unwrap();
                            } else {
                                block_on(queue.put_async((producer, n))).unwrap();
                            }
                        }
                    })
                })
                .collect();
            producers.into_iter().for_each(|producer| producer.join().unwrap());
            queue.close().unwrap();
            consumers.into_iter().map(|consumer| consumer.join().unwrap()).collect()
        });
        for one in &got {
            for producer in 0..3 {
                let of_one: Vec<_> = one.iter().filter(|item| item.0 == producer).collect();
                assert!(of_one.is_sorted());
            }
        }
        let mut all = got.concat();
        all.sort_unstable();
        assert_eq!(all, (0..3).flat_map(|p| (0..EACH).map(move |n| (p, n))).collect::<Vec<_>>());
    }
}

#[test]
fn closing_wakes_all_who_wait() {
    let (empty, full) = (Queue::<u32>::new().unwrap(), Queue::bounded(1).unwrap());
    full.put(0).unwrap();
    thread::scope(|s| {
        let getters: Vec<_> = (0..3).map(|_| s.spawn(|| empty.get())).collect();
        let putters: Vec<_> = (1..4)
            .map(|n| {
                s.spawn({
                    let full = &full;
                    move || full.put(n)
                })
            })
            .collect();
        let pending = s.spawn(|| block_on(join(empty.get_async(), full.put_async(9))));
        thread::sleep(SHORT);
        empty.close().unwrap();
        full.close().unwrap();
        getters.into_iter().for_each(|getter| assert!(matches!(getter.join().unwrap(), Err(GetError::Closed))));
        for (n, putter) in (1..).zip(putters) {
            assert!(matches!(putter.join().unwrap(), Err(PutError::Closed(item)) if item == n));
        }
        assert!(matches!(pending.join().unwrap(), (Err(GetError::Closed), Err(PutError::Closed(9)))));
    });
    assert!(empty.is_closed());
    empty.close().unwrap();
    assert_eq!(full.iter().map(Result::unwrap).collect::<Vec<_>>(), [0]);
    assert_eq!(connection::wait(&[&empty], None).unwrap(), [0]);
}

#[test]
fn joining() {
    let queue = JoinableQueue::bounded(100).unwrap();
    for n in 0..20 {
        queue.put(n).unwrap();
    }
    assert!(!queue.join_timeout(SHORT).unwrap());
    let done = AtomicU64::new(0);
    thread::scope(|s| {
        for _ in 0..4 {
            let (queue, done) = (travelled(&queue), &done);
            s.spawn(move || {
                while let Ok(n) = queue.get() {
                    done.fetch_add(n, Ordering::Relaxed);
                    queue.task_done().unwrap();
                }
            });
        }
        let joiners = [(); 2].map(|()| s.spawn(|| queue.join().unwrap()));
        joiners.into_iter().for_each(|joiner| joiner.join().unwrap());
        assert_eq!((done.load(Ordering::Relaxed), queue.unfinished()), (190, 0));
        queue.close().unwrap();
    });
    assert!(matches!(queue.task_done(), Err(DoneError::TooMany)));
}

#[test]
fn handles_are_refused_and_what_cannot_be_decoded_costs_itself_alone() {
    let queue = Queue::new().unwrap();
    let (sender, _receiver) = connection::one_way::<u8>().unwrap();
    let error = queue.put(sender).unwrap_err();
    assert!(matches!(&error, PutError::Encode(..)) && error.to_string().contains("can only travel"), "{error}");
    error.into_item().send(1).unwrap();

    let texts = Queue::<String>::new().unwrap();
    texts.0.put(&[1, 255], Patience::None).unwrap();
    texts.put("right".into()).unwrap();
    assert!(matches!(texts.get(), Err(GetError::Decode(_))));
    assert_eq!(texts.get().unwrap(), "right");
    let words = codec::encode(&texts, &mut Vec::new()).unwrap_err().into_message();
    assert!(words.contains("a Queue") && words.contains("can only travel"), "{words}");
}

/// The bytes of memory that a queue has.
fn used<T>(queue: &Queue<T>) -> u64 {
    fstat(queue.0.memory.fd()).unwrap().st_blocks as u64 * 512
}

#[test]
fn memory_is_taken_for_what_is_in_it() {
    let queue = Queue::<Vec<u8>>::new().unwrap();
    assert!(used(&queue) < 64 << 10);
    for n in 0..40 {
        queue.put(vec![n; 1 << 20]).unwrap();
    }
    assert!(used(&queue) > 40 << 20);
    for n in 0..40 {
        assert_eq!(queue.get().unwrap()[0], n);
        assert!(used(&queue) < (46 - u64::from(n)) << 20, "{n}: {}", used(&queue));
    }
    assert!(used(&queue) <= 6 << 20, "{}", used(&queue));
    // It begins anew where the memory is.
    for _ in 0..100 {
        queue.put(vec![1; 1 << 20]).unwrap();
        queue.get().unwrap();
    }
    assert!(used(&queue) <= 6 << 20, "{}", used(&queue));
}

#[test]
fn many_who_sleep_are_served_one_by_one() {
    let queue = Queue::<u32>::new().unwrap();
    thread::scope(|s| {
        let getters: Vec<_> = (0..8).map(|_| s.spawn(|| queue.get_timeout(LONG).unwrap())).collect();
        thread::sleep(SHORT);
        for n in 0..8 {
            queue.put(n).unwrap();
        }
        let mut got: Vec<_> = getters.into_iter().map(|getter| getter.join().unwrap()).collect();
        got.sort_unstable();
        assert_eq!(got, (0..8).collect::<Vec<_>>());
    });
}

#[test]
fn a_future_that_is_dropped_takes_nothing() {
    let queue = Queue::<u32>::bounded(1).unwrap();
    assert!(futures::FutureExt::now_or_never(queue.get_async()).is_none());
    queue.put(1).unwrap();
    assert!(futures::FutureExt::now_or_never(queue.put_async(2)).is_none());
    assert_eq!((queue.try_get().unwrap(), queue.qsize()), (1, 0));
}

const CAPACITY: u64 = 1 << 20;

fn store() -> Store {
    Store::of_capacity(CAPACITY, 5, true).unwrap()
}

fn locked(store: &Store) -> Locked<'_> {
    store.locked().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn bytes_go_round(lens in proptest::collection::vec(proptest::option::of(0..400_000_usize), 1..60)) {
        let store = store();
        let mut model = VecDeque::new();
        let mut unfinished = 0;
        for (n, len) in lens.into_iter().enumerate() {
            match len {
                Some(len) => {
                    let item: Vec<u8> = (0..len).map(|i| (i ^ n) as u8).collect();
                    let used: usize = model.iter().map(|item: &Vec<u8>| item.len().next_multiple_of(8) + 8).sum();
                    let fits = model.len() < 5 && used + len.next_multiple_of(8) + 8 <= CAPACITY as usize;
                    let locked = locked(&store);
                    prop_assert_eq!(locked.room(len), if fits { Ok(()) } else { Err(NoRoom::Full) });
                    if fits {
                        locked.push(&item).unwrap();
                        model.push_back(item);
                        unfinished += 1;
                    }
                }
                None => {
                    let mut bytes = b"before".to_vec();
                    match model.pop_front() {
                        Some(item) => {
                            locked(&store).pop(&mut bytes).unwrap();
                            prop_assert_eq!(&bytes[6..], item);
                        }
                        None => prop_assert_eq!(locked(&store).state.items, 0),
                    }
                    if unfinished > 3 {
                        prop_assert!(locked(&store).done().unwrap());
                        unfinished -= 1;
                    }
                }
            }
            let State { items, unfinished: left, closed, .. } = store.peek();
            prop_assert_eq!((items as usize, left, closed), (model.len(), unfinished, false));
        }
    }

    /// Whatever stands in the memory: it is an error, or an item, and nothing is read or written outside.
    #[test]
    fn no_nonsense_does_harm(places in proptest::collection::vec((0..2048_usize, any::<u64>()), 1..20), steps in 1..20) {
        let store = store();
        for len in [100, 0, 3000] {
            locked(&store).push(&vec![7; len]).unwrap();
        }
        for (place, value) in places {
            // Not the mutexes: they are libc's, which believes what stands there.
            let at = if place < 20 { 192 + place * 8 } else { 4096 + place * 8 };
            // SAFETY: within the mapping.
            let word = unsafe { store.memory.start().add(at) };
            // SAFETY: aligned, mapped, and any bits are an atomic.
            let word: &AtomicU64 = unsafe { word.cast().as_ref() };
            word.store(if value % 3 == 0 { value % 5000 } else { value }, Ordering::Relaxed);
        }
        for _ in 0..steps {
            let _ = store.get(&mut Vec::new(), Patience::None);
            let _ = store.put(&[1; 100], Patience::None);
        }
    }
}

#[test]
fn the_first_item_is_not_behind_the_last() {
    let store = store();
    // The state that holds: its head, its tail, and one item.
    for (place, value) in [(0, u64::MAX - 7), (1, 8), (2, 1)] {
        // SAFETY: within the mapping.
        let word = unsafe { store.memory.start().add(192 + place * 8) };
        // SAFETY: aligned, mapped, and any bits are an atomic.
        let word: &AtomicU64 = unsafe { word.cast().as_ref() };
        word.store(value, Ordering::Relaxed);
    }
    assert!(
        matches!(store.put(&[1; 100], Patience::None), Err(NotPut::Io(error)) if error.kind() == ErrorKind::InvalidData)
    );
}

#[test]
fn what_is_larger_than_the_queue_is_refused_at_once() {
    let store = store();
    assert_eq!(locked(&store).room(CAPACITY as usize), Err(NoRoom::TooLarge { limit: CAPACITY - 8 }));
    locked(&store).push(&vec![1; CAPACITY as usize - 8]).unwrap();
    assert_eq!(locked(&store).room(0), Err(NoRoom::Full));
}

/// Where the last items stand in the same chunk as the first, one round on, that is not given back with the first.
#[test]
fn a_full_queue_goes_round() {
    const CAPACITY: usize = 8 << 20;
    let store = Store::of_capacity(CAPACITY as u64, u32::MAX, false).unwrap();
    let item = |n: usize| vec![n as u8; 90_000 + n];
    let (mut first, mut next) = (0, 0);
    while next < 5 * CAPACITY / 90_000 {
        if store.put(&item(next), Patience::None).is_ok() {
            next += 1;
            continue;
        }
        let mut bytes = Vec::new();
        store.get(&mut bytes, Patience::None).unwrap();
        assert!(bytes == item(first), "item {first} is {:?} and {} bytes", bytes.first(), bytes.len());
        first += 1;
    }
}
