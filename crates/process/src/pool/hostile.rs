//! Fault 28: workers that are enemies. A real worker of a real pool, whose task speaks the protocol to the parent in its own
//! way: it writes what it likes into the link. The parent must fail that worker's task only, with a cause that says so, and go
//! on. What a stream of bytes can do without a process is in the tests of `wire.rs` and `link/inbox.rs`.

use super::ProcessPoolExecutor;
use crate::attachments::Attached;
use crate::launch::StartMethod;
use crate::link::takeover::{HEAD, TAIL};
use crate::link::{DataPath, RingEnd};
use crate::slots::SLOTS;
use crate::wire::{Head, MAX_BODY, Step, Ticket, UP, Up};
use concurrent_futures_core::{Executor, ExecutorExt, Future, KilledBy, OnDrop, TaskError};
use proptest::prelude::*;
use rustix::net::sockopt::{socket_domain, socket_type};
use rustix::net::{AddressFamily, SendFlags, Shutdown, SocketType, send, shutdown};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::os::fd::BorrowedFd;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

/// What an enemy does.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Script {
    /// Is written into the link.
    bytes: Vec<u8>,
    then: Then,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Then {
    /// Returns, as if nothing had been.
    Return,
    /// Does nothing any more.
    Park,
    Exit,
    /// Closes its end, and does nothing any more.
    Close,
}

/// The ticket of the first task of a worker.
const MINE: Ticket = Ticket { slot: 0, seq: 0 };
const OTHER: Ticket = Ticket { slot: 7, seq: 0 };
const LATER: Ticket = Ticket { slot: 0, seq: 1 };

fn play(script: Script) -> u32 {
    let mut link = Link::of_this_worker();
    link.write(&script.bytes);
    if script.then == Then::Close {
        link.close();
    }
    end(script.then)
}

fn end(then: Then) -> u32 {
    match then {
        Then::Return => 1,
        Then::Exit => std::process::exit(7),
        Then::Park | Then::Close => park(),
    }
}

fn park() -> ! {
    loop {
        std::thread::park();
    }
}

/// What a worker has of its link.
enum Link {
    Socket(BorrowedFd<'static>),
    /// The worker knows nothing of what is written here, and goes on where it was.
    Ring(Box<RingEnd>),
}

impl Link {
    fn of_this_worker() -> Link {
        RingEnd::taken_over().map_or_else(|| Link::Socket(socket()), |end| Link::Ring(Box::new(end)))
    }

    fn write(&mut self, mut bytes: &[u8]) {
        match self {
            Link::Socket(socket) => {
                // An error is the parent's answer: it has closed its end.
                while let Ok(sent @ 1..) = send(*socket, bytes, SendFlags::NOSIGNAL) {
                    bytes = &bytes[sent..];
                }
            }
            Link::Ring(end) => end.send_all(bytes),
        }
    }

    fn close(&self) {
        match self {
            Link::Socket(socket) => shutdown(socket, Shutdown::Both).expect("it is a socket"),
            // There is no such thing.
            Link::Ring(_) => {}
        }
    }
}

/// The one stream socket that a worker has.
fn socket() -> BorrowedFd<'static> {
    let is_link =
        |fd: &BorrowedFd<'_>| socket_type(fd) == Ok(SocketType::STREAM) && socket_domain(fd) == Ok(AddressFamily::UNIX);
    descriptors().find(is_link).expect("a worker has a link")
}

/// All that this process has.
pub(super) fn descriptors() -> impl Iterator<Item = BorrowedFd<'static>> {
    let numbers = std::fs::read_dir("/proc/self/fd").expect("/proc is there").flatten();
    let numbers: Vec<i32> = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    // SAFETY: it is asked what it is, which fails when it is not open; the link is open as long as the worker.
    numbers.into_iter().map(|number| unsafe { BorrowedFd::borrow_raw(number) })
}

fn square(x: u64) -> u64 {
    x * x
}

#[track_caller]
fn outcome<T: Send + 'static>(future: Future<T>) -> Result<T, TaskError> {
    future.result_timeout(LIMIT).unwrap_or_else(|late| panic!("no outcome in time: {:?}", late.0))
}

/// Lets an enemy play in a pool of one worker, with others behind it, and looks at what must hold in any case.
///
/// An enemy that returns lets its worker go on: by the time at which the parent has read what it sent, the worker may have
/// started what it was given to do next. That dies with its worker, and says why.
#[track_caller]
fn fight(pool: &ProcessPoolExecutor, script: Script) -> Result<u32, TaskError> {
    let then = script.then;
    fight_with(pool, then, || pool.submit(play, script))
}

#[track_caller]
fn fight_with(pool: &ProcessPoolExecutor, then: Then, enemy: impl FnOnce() -> Future<u32>) -> Result<u32, TaskError> {
    let others = || (0..3).map(|number| (number, pool.submit(square, number))).collect::<Vec<_>>();
    let returns = then == Then::Return;
    let (enemy, behind) = (enemy(), others());
    let end = outcome(enemy);
    let mut lost = 0;
    for (number, future) in behind {
        match outcome(future) {
            Ok(value) => assert_eq!(value, square(number)),
            Err(error) if returns && error.death().is_some_and(|death| death.killed_by() == KilledBy::Protocol) => {
                lost += 1
            }
            Err(error) => panic!("it had nothing to do with it: {error}"),
        }
    }
    assert!(returns || lost == 0);
    for (number, future) in others() {
        assert_eq!(outcome(future).unwrap_or_else(|error| panic!("a fresh task: {error}")), square(number));
    }
    assert!(pool.stats().workers <= 1);
    end
}

/// A pool whose one worker has not had a task.
fn pool((method, path): (StartMethod, DataPath)) -> ProcessPoolExecutor {
    // A test that fails must not wait for an enemy that does nothing any more.
    let builder = ProcessPoolExecutor::builder().max_workers(1).on_drop(OnDrop::Kill);
    builder.start_method(method).data_path(path).build().unwrap()
}

const RING: (StartMethod, DataPath) = (StartMethod::ForkServer, DataPath::Ring);
const SOCKET: (StartMethod, DataPath) = (StartMethod::ForkServer, DataPath::Socket);
const SPAWNED: (StartMethod, DataPath) = (StartMethod::Spawn, DataPath::Ring);
const GROUNDS: [(StartMethod, DataPath); 3] = [RING, SOCKET, SPAWNED];

fn frames(heads: &[Up]) -> Vec<u8> {
    heads.iter().flat_map(|head| head.encode()).collect()
}

fn result(ticket: Ticket, len: u64) -> Up {
    Up::Result { ticket, failed: false, again: false, retire: false, handles: false, parts: 0, len }
}

/// What no worker of ours would send, and what the verdict says about it.
fn offences() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let altered = |head: Up, at: usize, byte: u8| {
        let mut bytes = head.encode();
        bytes[at] = byte;
        bytes.to_vec()
    };
    let mut with_garbage_behind = frames(&[Up::Revoked(OTHER)]);
    with_garbage_behind.extend([0xff; 100]);
    vec![
        ("an unknown kind", vec![0xee; UP], "unknown kind"),
        ("zeros", vec![0; 1000], "unknown kind"),
        ("an unknown flag", altered(result(MINE, 0), 1, 0x80), "unknown flags"),
        ("a reserved byte", altered(Up::Ready, 9, 1), "reserved"),
        ("a slot that is none", altered(result(MINE, 0), 3, 0xff), "slot"),
        ("a length beyond all", altered(result(MINE, 0), 15, 0xff), "claims"),
        ("ready twice", frames(&[Up::Ready]), "ready twice"),
        ("a set-up that fails late", frames(&[Up::SetupFailed { step: Step::Initializer, len: 0 }]), "set-up"),
        ("a start that was not asked for", frames(&[Up::Started(OTHER)]), "start of another task"),
        ("a result that was not asked for", frames(&[result(OTHER, 0)]), "result of another task"),
        ("a result of an earlier use", frames(&[result(LATER, 0)]), "result of another task"),
        ("a task that was not revoked", frames(&[Up::Revoked(OTHER)]), "as revoked"),
        ("no descriptors", altered(Up::Attached(Attached { number: 1, count: 1 }), 12, 0), "claims 0 descriptors"),
        ("too many descriptors", altered(Up::Attached(Attached { number: 1, count: 1 }), 14, 1), "descriptors"),
        ("descriptors never sent", frames(&[Up::Attached(Attached { number: 1, count: 1 })]), "did not send"),
        ("garbage behind a frame", with_garbage_behind, "it sent"),
    ]
}

#[test]
fn row_28_an_offence_costs_the_task_of_that_worker() {
    for ground in GROUNDS {
        for (what, bytes, words) in offences() {
            for then in [Then::Park, Then::Close] {
                let error = fight(&pool(ground), Script { bytes: bytes.clone(), then }).expect_err(what);
                let death = error.death().unwrap_or_else(|| panic!("{what}: {error}"));
                assert_eq!(
                    (death.killed_by(), death.signal()),
                    (KilledBy::Protocol, Some("SIGKILL")),
                    "{what}: {death}"
                );
                assert!(death.last_words().is_some_and(|said| said.contains(words)), "{what}: {death}");
            }
        }
    }
}

/// Whatever is said last: one that ends by itself is dead by itself, or by the offence, whichever is seen first.
#[test]
fn row_28_an_offence_before_the_end() {
    for pool in [RING, SOCKET].map(pool) {
        for (what, bytes, _) in offences() {
            for then in [Then::Exit, Then::Return] {
                match fight(&pool, Script { bytes: bytes.clone(), then }) {
                    // The second task of a worker has another ticket than the first.
                    Ok(value) => assert_eq!((value, then), (1, Then::Return), "{what}"),
                    Err(error) => assert!(error.is_worker_death(), "{what}: {error}"),
                }
            }
        }
    }
}

/// A result of its own task, before the task is done: it is that task's, and the second one is an offence.
#[test]
fn row_28_two_results_for_one_task() {
    for ground in GROUNDS {
        let mut bytes = frames(&[result(MINE, 1)]);
        bytes.push(42);
        assert_eq!(fight(&pool(ground), Script { bytes: bytes.clone(), then: Then::Return }).unwrap(), 42);
        bytes.extend(bytes.clone());
        assert_eq!(fight(&pool(ground), Script { bytes, then: Then::Park }).unwrap(), 42);
    }
}

/// A value that cannot be decoded, an error that is none, handles that were never sent.
#[test]
fn row_28_a_result_that_means_nothing() {
    let with = |failed: bool, handles: bool, body: &[u8]| {
        let head =
            Up::Result { ticket: MINE, failed, again: false, retire: false, handles, parts: 0, len: body.len() as u64 };
        let mut bytes = head.encode().to_vec();
        bytes.extend(body);
        bytes
    };
    // A worker with rings would go on behind what it has written.
    for (ground, then) in [(RING, Then::Exit), (SOCKET, Then::Return)] {
        for bytes in [
            with(false, false, &[]),
            with(false, false, &[0xff; 40]),
            with(true, false, &[]),
            with(true, false, &[0xff; 40]),
        ] {
            let error = fight(&pool(ground), Script { bytes, then }).unwrap_err();
            assert!(!error.is_cancelled() && !error.is_timeout(), "{error}");
        }
        let error = fight(&pool(ground), Script { bytes: with(false, true, &[1]), then });
        assert!(error.unwrap_err().is_codec());
    }
}

/// Every prefix of a reply, and then the end: the torn message counts for nothing, and a length alone costs no memory.
#[test]
fn row_28_a_message_that_is_torn_at_every_byte() {
    let mut whole = frames(&[result(OTHER, 1 << 38)]);
    whole.extend([7; 100]);
    const { assert!(MAX_BODY >= 1 << 38) };
    for pool in [RING, SOCKET].map(pool) {
        for cut in 0..whole.len() {
            let error = fight(&pool, Script { bytes: whole[..cut].to_vec(), then: Then::Exit }).unwrap_err();
            let death = error.death().unwrap_or_else(|| panic!("{error}"));
            assert!(death.exit_code() == Some(7) && !death.by_pool(), "{cut} bytes: {death}");
        }
    }
    let pool = pool(SOCKET);
    for cut in [0, UP - 1, UP + 50] {
        let error = fight(&pool, Script { bytes: whole[..cut].to_vec(), then: Then::Close }).unwrap_err();
        let death = error.death().unwrap_or_else(|| panic!("{error}"));
        assert!(death.by_pool() && death.last_words().is_some_and(|said| said.contains("closed its link")), "{death}");
    }
}

/// It asks for its lane again and again, and takes none.
#[test]
fn row_28_requests_without_end() {
    for ground in [RING, SOCKET] {
        for then in [Then::Return, Then::Exit] {
            let bytes = frames(&vec![Up::Lane; 3000]);
            match fight(&pool(ground), Script { bytes, then }) {
                Ok(value) => assert_eq!((value, then), (1, Then::Return)),
                Err(error) => assert!(error.is_worker_death(), "{error}"),
            }
        }
    }
}

/// A number that an enemy writes into the memory of its rings.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Scribble {
    /// Into the ring that comes from the worker, or the one that goes to it.
    is_up: bool,
    at: usize,
    number: u64,
}

fn scribble((scribbles, then): (Vec<Scribble>, Then)) -> u32 {
    for Scribble { is_up, at, number } in scribbles {
        RingEnd::scribble(is_up, at, number);
    }
    RingEnd::ring();
    end(then)
}

/// A position that cannot be: found when the parent looks, or when it sends what needs the room.
#[test]
fn row_28_positions_that_cannot_be() {
    let numbers = [1 << 20, 1 << 63, u64::MAX, u64::MAX / 2];
    for ground in [RING, SPAWNED] {
        for (is_up, at) in [(true, TAIL), (false, HEAD)] {
            for number in numbers {
                let pool = pool(ground);
                let behind = || pool.submit(|bytes: ByteBuf| bytes.len() as u64, ByteBuf::from(vec![7; 1 << 19]));
                let mut large = None;
                let enemy = || {
                    let scribbles = vec![Scribble { is_up, at, number }];
                    let enemy = pool.submit(scribble, (scribbles, Then::Park));
                    large = Some(behind());
                    enemy
                };
                let error = fight_with(&pool, Then::Park, enemy).expect_err("it is to be killed");
                let death = error.death().unwrap_or_else(|| panic!("{error}"));
                assert_eq!(death.killed_by(), KilledBy::Protocol, "{death}");
                let said = death.last_words().expect("a verdict");
                assert!(said.contains("position in the ring"), "{said}");
                assert_eq!(large.map(outcome).expect("submitted").expect("it goes elsewhere"), 1 << 19);
            }
        }
    }
}

fn scribbles() -> impl Strategy<Value = Vec<Scribble>> {
    // The positions, and the words beside them that say how the other side is to be woken.
    let at = prop_oneof![Just(TAIL), Just(TAIL + 8), Just(HEAD), Just(HEAD + 8)];
    let number = prop_oneof![0..200_u64, (0..100_u64).prop_map(|n| u64::MAX - n), any::<u64>()];
    let scribble = (any::<bool>(), at, number).prop_map(|(is_up, at, number)| Scribble { is_up, at, number });
    proptest::collection::vec(scribble, 1..6)
}

fn head() -> impl Strategy<Value = (Up, Vec<u8>)> {
    let ticket = prop_oneof![
        3 => (0..4_u16, 0..2_u32).prop_map(|(slot, seq)| Ticket { slot, seq }),
        1 => (0..SLOTS as u16, any::<u32>()).prop_map(|(slot, seq)| Ticket { slot, seq }),
    ];
    let body = proptest::collection::vec(any::<u8>(), 0..20);
    (0..6_u8, ticket, any::<[bool; 4]>(), body).prop_map(|(kind, ticket, [failed, again, retire, handles], body)| {
        let len = body.len() as u64;
        match kind {
            0 => (Up::Ready, Vec::new()),
            1 => (Up::SetupFailed { step: Step::Preload, len }, body),
            2 => (Up::Started(ticket), Vec::new()),
            3 => (Up::Revoked(ticket), Vec::new()),
            4 => (Up::Lane, Vec::new()),
            _ => (Up::Result { ticket, failed, again, retire, handles, parts: 0, len }, body),
        }
    })
}

fn then() -> impl Strategy<Value = Then> {
    // Not one that parks: what happens to be innocent would go on for ever. One that closes its link is given some time.
    prop_oneof![8 => Just(Then::Return), 8 => Just(Then::Exit), 1 => Just(Then::Close)]
}

fn ground_and_then() -> impl Strategy<Value = ((StartMethod, DataPath), Then)> {
    // Rings cannot be closed: that would be one that parks. And who returns goes on behind what he has written: if the parent has
    // no turn before the positions make sense again, it waits for the rest of what is no frame.
    prop_oneof![Just((RING, Then::Exit)), then().prop_map(|then| (SOCKET, then))]
}

/// What the enemy's own task comes to is its own affair, as long as it comes to something.
#[track_caller]
fn assert_resolved(outcome: Result<u32, TaskError>) {
    if let Err(error) = outcome {
        assert!(!error.is_cancelled() && !error.is_refused(), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 20, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn row_28_frames_at_random(heads in proptest::collection::vec(head(), 1..6), (ground, then) in ground_and_then()) {
        let bytes = heads.iter().flat_map(|(head, body)| head.encode().into_iter().chain(body.iter().copied())).collect();
        assert_resolved(fight(&pool(ground), Script { bytes, then }));
    }

    /// It ends, or its answer may never be heard of.
    #[test]
    fn row_28_words_of_the_rings_at_random(scribbles in scribbles()) {
        let pool = pool(RING);
        assert_resolved(fight_with(&pool, Then::Exit, || pool.submit(scribble, (scribbles, Then::Exit))));
    }

    #[test]
    fn row_28_bytes_at_random(bytes in proptest::collection::vec(any::<u8>(), 1..200), (ground, then) in ground_and_then()) {
        assert_resolved(fight(&pool(ground), Script { bytes, then }));
    }
}
