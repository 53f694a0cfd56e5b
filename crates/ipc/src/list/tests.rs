use super::*;
use concurrent_futures_core::attach::{self, Arrived};
use std::thread;

fn sample() -> Vec<Item> {
    vec!["howdy".into(), b"HoWdY".into(), (-273.154).into(), 100.into(), Item::None, true.into(), 42.into()]
}

fn sent(list: &ShareableList) -> Result<ShareableList, postcard::Error> {
    let mut attachments = Vec::new();
    let bytes = attach::collect(&mut attachments, || postcard::to_allocvec(list)).unwrap();
    attach::provide(Arrived::all(attachments), || postcard::from_bytes(&bytes))
}

/// CPython's `test_shared_memory_ShareableList_basics`.
#[test]
fn elements() {
    let list = ShareableList::create(None, sample()).unwrap();
    for list in [&list, &sent(&list).unwrap(), &ShareableList::open(list.name().unwrap()).unwrap()] {
        assert_eq!((list.len(), list.to_vec().unwrap()), (7, sample()));
        assert_eq!((list.count(&42.into()).unwrap(), list.count(&43.into()).unwrap()), (1, 0));
        assert_eq!((list.index(&Item::None).unwrap(), list.index(&43.into()).unwrap()), (Some(4), None));
        assert!(list.iter().eq(sample().into_iter().map(Ok)));
        assert_eq!([0, 2, 4].map(|index| list.room(index).unwrap()), [8, 8, 8]);
    }
    list.set(3, 42).unwrap();
    list.set(4, "some").unwrap();
    assert_eq!((list.get(3).unwrap(), list.get(4).unwrap()), (42.into(), "some".into()));
    assert_eq!(list.count(&42.into()).unwrap(), 2);
    let larger = list.set(4, "some text that does not fit");
    assert_eq!(larger, Err(ListError::TooLarge { size: 27, room: 8 }));
    assert_eq!(list.get(4).unwrap(), "some".into());
    assert_eq!(list.set(0, "encöde").map(|()| list.get(0)), Ok(Ok("encöde".into())));
    assert!(list.set(0, "encödes!").is_err(), "bytes count, not letters");
    for index in [7, usize::MAX] {
        assert_eq!(list.get(index), Err(ListError::NoSuchElement { index, len: 7 }));
        assert_eq!(list.set(index, 1), Err(ListError::NoSuchElement { index, len: 7 }));
    }
    assert!(list.update(0, |_| "too large for it".into()).is_err());
    assert_eq!(list.get(0).unwrap(), "encöde".into());
}

#[test]
fn extremes() {
    let items: Vec<Item> = vec![
        "".into(),
        b"".into(),
        i64::MIN.into(),
        f64::NEG_INFINITY.into(),
        "x".repeat(1 << 20).into(),
        vec![0; 7].into(),
        vec![0; 8].into(),
        Some(false).into(),
    ];
    let list = sent(&ShareableList::new(items.clone()).unwrap()).unwrap();
    assert_eq!((list.to_vec().unwrap(), list.name()), (items, None));
    assert_eq!([0, 5, 6].map(|index| list.room(index).unwrap()), [8, 8, 16]);
    let empty = sent(&ShareableList::new([]).unwrap()).unwrap();
    assert!(empty.is_empty() && empty.to_vec().unwrap().is_empty() && empty.get(0).is_err());
}

#[test]
fn nothing_is_lost_and_nothing_is_mixed() {
    let list = ShareableList::new([0.into(), "aaaaaaaaaaaaaaaaaaaaaaaa".into()]).unwrap();
    thread::scope(|s| {
        for letter in ["a", "b", "c", "d"] {
            let list = sent(&list).unwrap();
            s.spawn(move || {
                for round in 0..200 {
                    list.update(0, |count| if let Item::Int(n) = count { (n + 1).into() } else { panic!("{count}") })
                        .unwrap();
                    list.set(1, letter.repeat(round % 24)).unwrap();
                    let Item::Str(text) = list.get(1).unwrap() else { panic!("a text") };
                    assert!(text.chars().all(|one| text.starts_with(one)), "{text}");
                }
            });
        }
    });
    assert_eq!(list.get(0).unwrap(), 800.into());
}

#[test]
fn of_a_death_the_next_one_is_told_who_locks_it() {
    let list = ShareableList::new([1.into()]).unwrap();
    let die = || thread::scope(|s| s.spawn(|| std::mem::forget(list.lock())).join().unwrap());
    die();
    list.set(0, 2).unwrap();
    assert!(list.lock().is_err());
    let guard = list.lock().unwrap();
    guard.set(0, 3).unwrap();
    assert_eq!((guard.get(0), list.get(0)), (Ok(3.into()), Ok(3.into())));
}

#[test]
fn nonsense_is_an_error() {
    let list = ShareableList::create(None, sample()).unwrap();
    let raw = SharedMemory::open(list.name().unwrap()).unwrap();
    let state = list.slots[0].state;
    for word in [7 << 1, 4 << 1 | 9 << 8, u64::MAX, 1 << 1 | 2 << 8, 2 << 1 | 4 << 8, 3 << 1] {
        raw.words()[state].store(word, Relaxed);
        assert_eq!(list.get(0), Err(ListError::Corrupt { index: 0 }), "{word:x}");
        assert!(list.to_vec().is_err() && list.get(1).is_ok());
    }
    list.set(0, "fine").unwrap();
    raw.write_at(list.slots[0].place(0), &[0xff; 8]);
    raw.write_at(list.slots[0].place(1), &[0xff; 8]);
    assert_eq!(list.get(0), Err(ListError::Corrupt { index: 0 }), "no text");
    // Rooms and count are known from the beginning, and looked at by whoever opens it.
    for (word, wrong) in
        [(9, u64::MAX), (9, 1 << 61), (9, 1000), (16, 0), (16, 12), (16, 1 << 63), (16, u64::MAX - 7), (8, 0)]
    {
        let right = raw.words()[word].swap(wrong, Relaxed);
        assert_eq!(ShareableList::open(list.name().unwrap()).unwrap_err().kind(), io::ErrorKind::InvalidData, "{word}");
        assert!(sent(&list).is_err());
        assert_eq!(list.get(6), Ok(42.into()));
        raw.words()[word].store(right, Relaxed);
    }
    let other = SharedMemory::create(None, 8).unwrap();
    assert!(ShareableList::open(other.name().unwrap()).is_err());
}

#[test]
fn items_show_what_they_are() {
    let shown: Vec<String> = sample().iter().map(Item::to_string).collect();
    assert_eq!(shown, ["\"howdy\"", "b\"HoWdY\"", "-273.154", "100", "None", "true", "42"]);
}
