//! The server as threads of this process, behind the same sockets.

mod strange;

use super::*;
use crate::client::{Asking, ManagerClient, Patience, ask};
use crate::error::ManagerError;
use crate::handles::sealed::Of;
use crate::handles::{ManagedList, ManagedQueue};
use crate::nesting::Outgoing;
use crate::wire::auth::Purpose;
use crate::wire::{Frame, MAX_FDS, Op, Status, WAIT};
use rustix::net::{getpeername, getsockname};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);
const KEY: &[u8] = b"the key";

struct Server {
    state: Arc<State>,
    client: ManagerClient,
    remote: Arc<Remote>,
    tcp: std::net::SocketAddr,
}

impl Server {
    fn start() -> Server {
        // As the server's process does. Both ends of all connections and handles are in this one.
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
        let (address, local) = Address::new_local().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let tcp = listener.local_addr().unwrap();
        let (key, id) = (Key::random().unwrap(), crate::wire::auth::random().unwrap());
        let state = State::new(id, address, key).unwrap();
        state.start(Sockets { local, tcp: Some((listener.into(), Key::new(KEY).unwrap())) }).unwrap();
        let remote = state.remote.clone();
        Server { client: ManagerClient::of(remote.clone()), remote, state, tcp }
    }

    /// An authenticated connection, without the manners of a client.
    fn link(&self) -> Link {
        self.remote.connect(Purpose::Calls).unwrap()
    }

    fn is_well(&self) {
        let list = self.client.list([1_u8]).unwrap();
        assert_eq!(list.to_vec().unwrap(), [1]);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.state.stop();
    }
}

fn until(what: &str, mut is: impl FnMut() -> bool) {
    let limit = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < limit, "not in {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn frame(op: Op, object: u64, flags: u8) -> Frame {
    Frame { code: op as u8, flags, object, ..Frame::default() }
}

#[test]
fn an_object_goes_with_its_last_token() {
    let server = Server::start();
    let count = || server.client.object_count().unwrap();
    // As another process would have it: a copy of the token, and nothing else.
    let mut link = server.link();
    link.send(&frame(Op::NewEvent, 0, 0), &[]).unwrap();
    let mut reply = link.receive().unwrap().unwrap();
    let token = reply.descriptors.pop().unwrap();
    assert_eq!(rustix::pipe::fcntl_getpipe_size(&token).unwrap(), rustix::param::page_size());
    let copy = token.try_clone().unwrap();
    drop((token, link));
    assert_eq!(count(), 1);
    // What somebody writes does not matter.
    rustix::io::write(&copy, b"nonsense").unwrap();
    assert_eq!(count(), 1);
    drop(copy);
    until("the object is gone", || count() == 0);
}

#[test]
fn a_handle_within_a_value_keeps_its_object() {
    let server = Server::start();
    let count = || server.client.object_count().unwrap();
    for tcp in [false, true] {
        let client = if tcp { ManagerClient::connect(server.tcp, KEY).unwrap() } else { server.client.clone() };
        let inner = client.list([1_u32, 2]).unwrap();
        let outer = client.list([inner.clone(), inner]).unwrap();
        assert_eq!(count(), 2, "{tcp}");
        let back = outer.pop().unwrap().unwrap();
        back.push(3).unwrap();
        assert_eq!(outer.get(0).unwrap().unwrap().to_vec().unwrap(), [1, 2, 3]);
        drop(outer);
        until("the outer one is gone", || count() == 1);
        assert_eq!(back.len().unwrap(), 3);
        drop(back);
        until("all are gone", || count() == 0);

        let queue: ManagedQueue<ManagedList<u8>> = client.queue().unwrap();
        queue.put(client.list([9]).unwrap()).unwrap();
        assert_eq!(count(), 2);
        assert_eq!(queue.get().unwrap().get(0).unwrap(), Some(9));
        until("the item is gone", || count() == 1);
        drop(queue);
        until("all are gone", || count() == 0);
    }
}

#[test]
fn a_published_object_stays_until_its_name_goes() {
    let server = Server::start();
    server.client.publish("it", &server.client.event().unwrap()).unwrap();
    let found: crate::ManagedEvent = server.client.lookup("it").unwrap();
    found.set().unwrap();
    drop(found);
    assert!(server.client.lookup::<crate::ManagedEvent>("it").unwrap().is_set().unwrap());
    server.client.unpublish("it").unwrap();
    assert!(matches!(server.client.unpublish("it"), Err(ManagerError::NoSuchName(name)) if name == "it"));
    until("it is gone", || server.client.object_count().unwrap() == 0);
}

#[test]
fn a_function_that_panics_or_waits_harms_nobody() {
    let server = Server::start();
    let slow = server.client.object(|()| 0_u8, ()).unwrap();
    let (event, entered) = (server.client.event().unwrap(), server.client.event().unwrap());
    std::thread::scope(|scope| {
        let handles = (event.clone(), entered.clone());
        let slow = slow.clone();
        let call = scope.spawn(move || {
            slow.call(
                |object, (event, entered): (crate::ManagedEvent, crate::ManagedEvent)| {
                    entered.set().unwrap();
                    event.wait().unwrap();
                    *object += 1;
                    *object
                },
                handles,
            )
        });
        entered.wait().unwrap();
        server.is_well();
        event.set().unwrap();
        assert_eq!(call.join().unwrap().unwrap(), 1);
    });
    let error = slow
        .call(
            |object, ()| {
                *object = 7;
                panic!("no {}", "way")
            },
            (),
        )
        .map(|(): ()| ())
        .unwrap_err();
    assert!(
        matches!(&error, ManagerError::Panicked(panic) if panic.message() == "no way" && panic.location().is_some()),
        "{error}"
    );
    assert_eq!(slow.call(|object, ()| *object, ()).unwrap(), 7);
    let itself = slow.clone();
    let error =
        slow.call(|_, itself: crate::Handle<u8>| itself.call(|_, ()| (), ()).unwrap_err().to_string(), itself).unwrap();
    assert!(error.contains("wait for itself"), "{error}");
}

#[test]
fn everybody_who_waits_hears_of_the_end() {
    let server = Server::start();
    let (event, lock, queue) =
        (server.client.event().unwrap(), server.client.lock().unwrap(), server.client.queue::<u8>().unwrap());
    let guard = lock.lock().unwrap();
    std::thread::scope(|scope| {
        let waiters = [
            scope.spawn(|| event.wait().unwrap_err()),
            scope.spawn(|| queue.get().unwrap_err()),
            scope.spawn(|| lock.lock().map(drop).unwrap_err().recover().map(drop).unwrap_err()),
        ];
        until("all are there", || server.state.connections.lock().len() >= 4);
        server.state.stop();
        for waiter in waiters {
            assert!(matches!(waiter.join().unwrap(), ManagerError::Gone(_)));
        }
    });
    assert!(matches!(guard.unlock(), Err(ManagerError::Gone(_))));
    assert!(matches!(event.is_set(), Err(ManagerError::Gone(_))));
    assert!(matches!(server.client.event(), Err(ManagerError::Gone(_))));
}

#[test]
fn an_item_for_a_client_that_has_gone_comes_back() {
    let server = Server::start();
    let queue = server.client.queue::<u8>().unwrap();
    for item in 0..50 {
        let mut link = server.link();
        link.send(&frame(Op::Get, queue.raw().object(), WAIT), &[]).unwrap();
        // It goes at about the time that the item comes.
        std::thread::scope(|scope| {
            scope.spawn(|| drop(link));
            queue.put(item).unwrap();
        });
    }
    // One that has gone may be noticed late; what comes back then is in its place again.
    until("nobody else is there", || server.state.connections.lock().len() == 1);
    queue.put(99).unwrap();
    let mut last = None;
    loop {
        match queue.get_timeout(PATIENCE).unwrap() {
            99 => break,
            item => {
                assert!(last < Some(item), "{item} after {last:?}");
                last = Some(item);
            }
        }
    }
}

/// To a connection by TCP that has ended one can still send, for a moment.
#[test]
fn an_item_for_a_remote_client_that_has_gone_comes_back() {
    let server = Server::start();
    let remote = ManagerClient::connect(server.tcp, KEY).unwrap();
    let queue = server.client.queue::<u32>().unwrap();
    for item in 0..300 {
        let mut link = remote.remote().connect(Purpose::Calls).unwrap();
        link.send(&frame(Op::Objects, 0, 0), &[]).unwrap();
        link.receive().unwrap().unwrap();
        // The connections of others come and go.
        let ours = getsockname(&link).ok();
        let theirs: Vec<_> = server.state.connections.lock().values().filter_map(Weak::upgrade).collect();
        let theirs = theirs.into_iter().find(|theirs| getpeername(theirs).ok().flatten() == ours).unwrap();
        link.send(&frame(Op::Get, queue.raw().object(), WAIT), &[]).unwrap();
        drop(link);
        until("its end has come", || crate::wire::link::is_over(&theirs));
        queue.put(item).unwrap();
        assert_eq!(queue.get_timeout(PATIENCE).unwrap(), item);
    }
}

#[test]
fn descriptors_travel_to_a_local_server_only() {
    let server = Server::start();
    let (local, remote) =
        (server.client.queue().unwrap(), ManagerClient::connect(server.tcp, KEY).unwrap().queue().unwrap());
    let bytes: Vec<u8> = (0..1 << 20).map(|i| i as u8).collect();
    let shared = concurrent_futures_ipc::SharedBytes::from(bytes.clone());
    local.put(shared.clone()).unwrap();
    assert!(local.get().unwrap()[..] == bytes[..]);
    let error = remote.put(shared).unwrap_err().error;
    assert!(matches!(&error, ManagerError::Codec(words) if words.contains("TCP")), "{error}");
    // It cannot get there: it stays, and is not asked for again and again.
    local.put(concurrent_futures_ipc::SharedBytes::from(bytes.clone())).unwrap();
    server.client.publish("items", &local).unwrap();
    let there = ManagerClient::connect(server.tcp, KEY).unwrap();
    let there: ManagedQueue<concurrent_futures_ipc::SharedBytes> = there.lookup("items").unwrap();
    let got: Vec<_> = there.iter().take(2).collect();
    assert!(matches!(&got[..], [Err(ManagerError::Codec(words))] if words.contains("TCP")), "{} items", got.len());
    assert!(local.try_get().unwrap()[..] == bytes[..]);
}

/// What a function comes to because the manager ends is no answer.
#[test]
fn a_server_that_has_stopped_answers_nobody() {
    static CALLED: AtomicBool = AtomicBool::new(false);
    static STOPPED: AtomicBool = AtomicBool::new(false);
    fn function(_: &mut (), (): ()) {
        CALLED.store(true, Ordering::SeqCst);
        until("the server has stopped", || STOPPED.load(Ordering::SeqCst));
        panic!("what it needed has gone")
    }
    let server = Server::start();
    let object = server.client.object(|()| (), ()).unwrap();
    std::thread::scope(|scope| {
        let call = scope.spawn(|| object.call(function, ()));
        until("it is called", || CALLED.load(Ordering::SeqCst));
        // Nobody has lost a connection yet.
        let connections = server.state.connections.lock();
        scope.spawn(|| server.state.stop());
        until("the server has stopped", || server.state.is_stopped());
        STOPPED.store(true, Ordering::SeqCst);
        let outcome = call.join().unwrap();
        assert!(matches!(outcome, Err(ManagerError::Gone(_))), "{outcome:?}");
        drop(connections);
    });
}

#[test]
fn a_handle_is_for_this_program_alone() {
    let server = Server::start();
    let list = server.client.list([1_u8]).unwrap();
    assert!(postcard::to_allocvec(&list).unwrap_err().to_string().len() > 1);
    assert!(postcard::to_allocvec(&server.client).is_err());
    // Of another manager: as a part of a value of this one it travels with its token.
    let other = Server::start();
    let lists = other.client.list([list.clone()]).unwrap();
    assert_eq!(lists.get(0).unwrap().unwrap(), list);
}

/// Times are over at about the instant at which what was waited for comes: it is had or not, and never lost or had twice.
#[test]
fn a_grant_and_the_end_of_a_time_at_once_are_one_of_both() {
    const ITEMS: u32 = 400;
    let server = Server::start();
    let (queue, lock, value) =
        (server.client.bounded_queue(2).unwrap(), server.client.lock().unwrap(), server.client.value(0_u32).unwrap());
    let brief = |turn: u32| Duration::from_micros(u64::from(turn % 7) * 30);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for item in 0..ITEMS {
                let mut turn = item;
                while queue.put_timeout(item, brief(turn)).is_err() {
                    turn += 1;
                }
            }
            // What is in it can still be got.
            queue.close().unwrap();
        });
        let getters = [0, 1].map(|of| {
            let (queue, lock, value) = (&queue, &lock, &value);
            scope.spawn(move || {
                let mut got = Vec::new();
                for turn in of.. {
                    match queue.get_timeout(brief(turn)) {
                        Ok(item) => got.push(item),
                        Err(ManagerError::TimedOut) => {}
                        Err(ManagerError::Closed) => return got,
                        Err(error) => panic!("{error}"),
                    }
                    if let Some(guard) = lock.lock_timeout(brief(turn)).unwrap() {
                        let all = value.get().unwrap();
                        value.set(all + 1).unwrap();
                        guard.unlock().unwrap();
                        got.push(u32::MAX);
                    }
                }
                unreachable!("it turns for ever")
            })
        });
        let all: Vec<u32> = getters.into_iter().flat_map(|getter| getter.join().unwrap()).collect();
        let (locked, mut items): (Vec<u32>, Vec<u32>) = all.into_iter().partition(|item| *item == u32::MAX);
        items.sort_unstable();
        assert_eq!(items, (0..ITEMS).collect::<Vec<_>>());
        assert_eq!(locked.len() as u32, value.get().unwrap(), "two had the lock at once");
    });
}

/// Where descriptors do not travel, the server keeps what is in a reply until the client's next request. A cancellation that came too late
/// is none.
#[test]
fn an_item_that_comes_as_the_time_ends_keeps_what_it_refers_to() {
    let server = Server::start();
    let remote = ManagerClient::connect(server.tcp, KEY).unwrap();
    let queue: ManagedQueue<ManagedList<u8>> = server.client.queue().unwrap();
    queue.put(server.client.list([9]).unwrap()).unwrap();
    until("the queue alone has the list", || server.state.tokens.count() == 1);
    let mut link = remote.remote().connect(Purpose::Calls).unwrap();
    let get = frame(Op::Get, queue.raw().object(), WAIT).header(0).unwrap();
    link.send_raw(&[get, frame(Op::Cancel, 0, 0).header(0).unwrap()].concat()).unwrap();
    let item = link.receive().unwrap().unwrap();
    // The server has nothing else to do than to read on.
    for _ in 0..100 {
        server.is_well();
    }
    let token = remote.remote().connect(Purpose::Token(item.references[0])).unwrap();
    drop((link, token));
    until("the list is gone", || server.client.object_count().unwrap() == 1);
}

/// More than a thread's stack has room for, if each waited for the next.
#[test]
fn objects_that_have_each_other_go_one_after_the_other() {
    let server = Server::start();
    let chain = |value: Box<dyn std::any::Any + Send>| {
        server.state.add(Body::Data { value: Mutex::new(value), type_name: "a link of a chain" })
    };
    let mut last = chain(Box::new(()));
    for _ in 0..100_000 {
        last = chain(Box::new(last));
    }
    let first = Arc::downgrade(&last);
    std::thread::Builder::new().stack_size(128 << 10).spawn(move || drop(last)).unwrap().join().unwrap();
    assert!(first.upgrade().is_none());
    assert_eq!(server.client.object_count().unwrap(), 0);
}

/// A connection that breaks takes along what was held over it; what is taken over the next one has nothing to do with the guards of before.
#[test]
fn a_guard_is_of_its_connection() {
    let server = Server::start();
    let (lock, rlock) = (server.client.lock().unwrap(), server.client.rlock().unwrap());
    let (condition, semaphore) = (server.client.condition().unwrap(), server.client.bounded_semaphore(1).unwrap());
    let before = (
        lock.lock().unwrap(),
        rlock.lock().unwrap(),
        rlock.lock().unwrap(),
        condition.lock().unwrap(),
        semaphore.acquire().unwrap(),
    );
    server.state.connections.lock().values().for_each(hang_up);
    until("it is known", || server.client.object_count().is_ok());
    let (guard, rguard) = (lock.lock().recover_held(), rlock.lock().recover_held());
    let (cguard, permit) = (condition.lock().recover_held(), semaphore.acquire().unwrap());
    assert!(matches!(before.3.notify_one(), Err(ManagerError::NotOwner)));
    assert!(matches!(before.3.wait(), Err(crate::LockError::Failed(ManagerError::NotOwner))));
    assert!(matches!(before.0.unlock(), Err(ManagerError::NotOwner)));
    drop((before.1, before.2, before.3, before.4));
    assert!(lock.is_locked().unwrap() && rlock.is_locked().unwrap());
    assert_eq!(semaphore.available().unwrap(), 0);
    guard.unlock().unwrap();
    rguard.unlock().unwrap();
    cguard.unlock().unwrap();
    permit.release().unwrap();
}

/// What a thread holds goes with it, though a fork of its process, which goes on, has a copy of its connection.
#[test]
fn a_copy_of_a_connection_keeps_nothing() {
    let server = Server::start();
    let lock = server.client.lock().unwrap();
    let holds = || {
        std::mem::forget(lock.lock().unwrap());
        crate::client::copy_of_connection(&server.remote)
    };
    let copy = std::thread::scope(|scope| scope.spawn(holds).join().unwrap());
    assert!(matches!(lock.lock_timeout(PATIENCE), Err(crate::LockError::OwnerDied(_))));
    drop(copy);
}

#[test]
fn what_is_given_back_by_name_keeps_no_object() {
    let server = Server::start();
    let client = &server.client;
    client.lock().unwrap().lock().unwrap().unlock().unwrap();
    client.rlock().unwrap().lock().unwrap().unlock().unwrap();
    client.condition().unwrap().lock().unwrap().unlock().unwrap();
    client.semaphore(1).unwrap().acquire().unwrap().release().unwrap();
    client.semaphore(1).unwrap().acquire().unwrap().forget().unwrap();
    until("all are gone", || client.object_count().unwrap() == 0);
}

trait RecoverHeld<G> {
    fn recover_held(self) -> G;
}

impl<G> RecoverHeld<G> for Result<G, crate::LockError<G>> {
    fn recover_held(self) -> G {
        match self {
            Err(crate::LockError::OwnerDied(guard)) => guard,
            Ok(_) => panic!("nobody has died"),
            Err(crate::LockError::Failed(error)) => panic!("{error}"),
        }
    }
}

/// As many as one message to a task may have, and what has more is not taken: nobody could ever have it.
#[test]
fn what_is_in_a_queue_can_be_got() {
    let server = Server::start();
    let queue: ManagedQueue<Vec<crate::ManagedEvent>> = server.client.queue().unwrap();
    let events = |count: usize| (0..count).map(|_| server.client.event().unwrap()).collect::<Vec<_>>();
    let many = events(600);
    queue.put(many.clone()).unwrap();
    assert!(queue.get_timeout(PATIENCE).unwrap() == many);
    let list = server.client.list(many.clone()).unwrap();
    assert!(list.to_vec().unwrap() == many);
    drop((many, list));
    until("all but the queue are gone", || server.client.object_count().unwrap() == 1);

    let mut link = server.link();
    let put =
        Frame { references: vec![queue.raw().object(); MAX_FDS + 1], ..frame(Op::Put, queue.raw().object(), WAIT) };
    link.send(&put, &[]).unwrap();
    assert_eq!(link.receive().unwrap().unwrap().code, Status::TooLarge as u8);
    assert!(queue.is_empty().unwrap());
}

#[test]
fn an_item_that_is_none_is_an_error_among_the_others() {
    let server = Server::start();
    let queue = server.client.queue::<u8>().unwrap();
    queue.put(1).unwrap();
    ManagedQueue::of(queue.raw().clone()).put("text".to_owned()).unwrap();
    queue.put(3).unwrap();
    let mut items = queue.iter();
    assert!(matches!(items.next(), Some(Ok(1))));
    assert!(matches!(items.next(), Some(Err(ManagerError::Codec(_)))));
    assert!(matches!(items.next(), Some(Ok(3))));
    server.state.stop();
    assert!(matches!(items.next(), Some(Err(ManagerError::Gone(_)))));
    assert!(items.next().is_none());
}

/// A function that is called back by one that it has called would wait for itself: on whatever thread, and over whatever server.
#[test]
fn who_is_called_back_is_told_that_he_would_wait_for_himself() {
    struct Node(Vec<crate::Handle<Node>>);
    /// Calls them all, the first through the second and so on.
    fn call_through(node: &mut Node, mut others: Vec<crate::Handle<Node>>) -> Result<usize, String> {
        node.0 = others.clone();
        match others.pop() {
            Some(next) => next.call(call_through, others).map_err(|error| error.to_string())?,
            None => Ok(7),
        }
    }
    let (server, other) = (Server::start(), Server::start());
    let node = |server: &Server| server.client.object(|()| Node(Vec::new()), ()).unwrap();
    let (a, b, far) = (node(&server), node(&server), node(&other));
    assert_eq!(a.call(call_through, vec![far.clone(), b.clone()]).unwrap(), Ok(7));
    for others in [vec![a.clone(), b.clone()], vec![a.clone(), far.clone()], vec![far.clone(), b.clone(), far.clone()]]
    {
        let error = a.call(call_through, others).unwrap().unwrap_err();
        assert!(error.contains("wait for itself"), "{error}");
    }
    // Also from where an object is made.
    let error = a.call(
        |_, (client, itself): (ManagerClient, crate::Handle<Node>)| {
            let make = |itself: crate::Handle<Node>| itself.call(|_, ()| (), ()).unwrap_err().to_string();
            client.object(make, itself).unwrap().call(|words, ()| words.clone(), ()).unwrap()
        },
        (server.client.clone(), a.clone()),
    );
    assert!(error.unwrap().contains("wait for itself"));
    [a, b, far].iter().for_each(|node| node.call(|node, ()| node.0.clear(), ()).unwrap());
}
