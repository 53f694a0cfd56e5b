//! Connections: CPython's `_TestConnection`, `_TestPoll`, `_TestPicklingConnections`, `TestWait` and `TestIgnoreEINTR`,
//! what of them has a meaning here; and ends whose processes are killed.

use crate::process::end;
use concurrent_futures::multiprocessing::connection::{Pollable, wait};
use concurrent_futures::multiprocessing::{
    Connection, Process, Receiver, RecvError, SendError, Sender, SharedBytes, one_way, pipe,
};
use concurrent_futures::{ExecutorExt, ProcessPoolExecutor, attach, codec};
use concurrent_futures_conformance::sweep::{Sweep, alone};
use concurrent_futures_conformance::{PATIENCE, Soon};
use serde::Serialize;
use std::cell::{Cell, RefCell};
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

fn echo(connection: Connection<Vec<u8>, Vec<u8>>) {
    while let Ok(message) = connection.recv() {
        connection.send(message).expect("somebody hears it");
    }
}

fn echo_bytes(connection: Connection<(), ()>) {
    while let Ok(message) = connection.recv_bytes(usize::MAX) {
        connection.send_bytes(&message).expect("somebody hears it");
    }
}

#[test]
fn what_is_sent_comes_back_from_another_process() {
    let (ours, theirs) = pipe().unwrap();
    let process = Process::start(echo, theirs).unwrap();
    for len in [0, 1, 10, 100_000, 16 << 20] {
        let message: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
        ours.send(message.clone()).unwrap();
        assert!(ours.poll(PATIENCE).unwrap());
        assert!(ours.recv_timeout(PATIENCE).unwrap() == message, "{len} bytes");
        assert!(!ours.poll(Duration::ZERO).unwrap());
    }
    drop(ours);
    assert!(end(&process).success());
}

#[test]
fn bytes_and_parts_of_them_go_as_they_are() {
    let (ours, theirs) = pipe().unwrap();
    let process = Process::start(echo_bytes, theirs).unwrap();
    let message = b"abcdefghijklmnopqrstuvwxyz";
    for part in [&message[..], &message[5..], &message[7..15], &message[26..]] {
        ours.send_bytes(part).unwrap();
        assert_eq!(ours.recv_bytes(part.len()).unwrap(), part);
    }
    // They are not run together, and one of nothing is one.
    for part in [&b"one"[..], b"", b"three"] {
        ours.send_bytes(part).unwrap();
    }
    for part in [&b"one"[..], b"", b"three"] {
        assert!(ours.poll(PATIENCE).unwrap());
        assert_eq!(ours.recv_bytes(100).unwrap(), part);
    }
    ours.send_bytes(message).unwrap();
    let mut buffer = [0; 10];
    let Err(RecvError::TooShort { message: whole }) = ours.recv_bytes_into(&mut buffer) else { panic!("it fits") };
    assert_eq!(whole, message);
    ours.send_bytes(message).unwrap();
    assert!(matches!(ours.recv_bytes(25), Err(RecvError::TooLong { len: 26, limit: 25 })));
    assert_eq!(ours.recv_bytes(26).unwrap(), message);
    drop(ours);
    assert!(end(&process).success());
}

#[test]
fn an_end_in_a_process_that_ends_is_closed() {
    fn closes(connection: Connection<u32, u32>) {
        connection.send(1).expect("it is there");
    }
    let (ours, theirs) = pipe::<u32, u32>().unwrap();
    let process = Process::start(closes, theirs).unwrap();
    assert_eq!(ours.recv_timeout(PATIENCE).unwrap(), 1);
    assert!(ours.poll(PATIENCE).unwrap(), "the end of file can be polled");
    assert!(matches!(ours.recv(), Err(RecvError::Ended)));
    assert!(end(&process).success());
    assert!(matches!(ours.send(2), Err(SendError::Closed(2))));
}

fn waits_and_sends(connection: Connection<Vec<u8>, u32>) {
    let Ok(len) = connection.recv() else { return };
    // It does not come to its end: the other side reads less.
    let _ = connection.send(vec![1; len as usize]);
}

#[test]
fn a_process_that_is_killed_leaves_nobody_waiting() {
    // While we wait for it.
    let (ours, theirs) = pipe::<u32, Vec<u8>>().unwrap();
    let process = Process::start(waits_and_sends, theirs).unwrap();
    std::thread::scope(|s| {
        let waits = s.spawn(|| ours.recv());
        process.kill().unwrap();
        assert!(matches!(waits.join().unwrap(), Err(RecvError::Ended)));
    });
    assert_eq!(end(&process).signal(), Some(9));

    // In the middle of a message.
    let (ours, theirs) = pipe::<u32, Vec<u8>>().unwrap();
    let process = Process::start(waits_and_sends, theirs).unwrap();
    ours.send(10 << 20).unwrap();
    assert!(ours.poll(PATIENCE).unwrap());
    process.kill().unwrap();
    end(&process);
    assert!(matches!(ours.recv(), Err(RecvError::Torn)));

    // While we are in the middle of one that is too large for anybody to have room for it.
    let (ours, theirs) = pipe::<Vec<u8>, Vec<u8>>().unwrap();
    let process = Process::start(crate::process::sleeps_with, theirs).unwrap();
    std::thread::scope(|s| {
        let sends = s.spawn(|| ours.send(vec![1; 10 << 20]));
        while ours.try_recv().is_ok() {}
        process.kill().unwrap();
        assert!(matches!(sends.join().unwrap(), Err(SendError::Closed(_))));
    });
    end(&process);

    // And whoever sends often enough learns of it without ever waiting.
    let (ours, theirs) = pipe::<Vec<u8>, Vec<u8>>().unwrap();
    let process = Process::start(crate::process::sleeps_with, theirs).unwrap();
    process.kill().unwrap();
    end(&process);
    let limit = Instant::now() + PATIENCE;
    while ours.send(vec![1]).is_ok() {
        assert!(Instant::now() < limit, "it sends to nobody");
    }
}

#[test]
fn ends_travel_with_tasks_and_over_each_other() {
    fn doubles((numbers, results): (Receiver<u32>, Sender<u32>)) -> u32 {
        let mut count = 0;
        for number in &numbers {
            results.send(2 * number.expect("a number")).expect("somebody wants it");
            count += 1;
        }
        count
    }
    let ex = ProcessPoolExecutor::new(2).unwrap();
    let (numbers, theirs) = one_way().unwrap();
    let (results, hear) = one_way().unwrap();
    let future = ex.submit(doubles, (theirs, results));
    for number in 0..1000 {
        numbers.send(number).unwrap();
    }
    drop(numbers);
    let heard: Vec<_> = (&hear).into_iter().take(1000).map(Result::unwrap).collect();
    assert_eq!(heard, (0..1000).map(|n| 2 * n).collect::<Vec<_>>());
    assert_eq!(future.soon().unwrap(), 1000);

    // Ends as a result, and others in a message that was sent by a process that is gone when it is received.
    type Ends = (Vec<Sender<u32>>, Receiver<Vec<Receiver<u32>>>, Receiver<String>);
    fn makes(count: u32) -> Ends {
        let mut senders = Vec::new();
        let mut receivers = Vec::new();
        for _ in 0..count {
            let (sender, receiver) = one_way().expect("descriptors");
            senders.push(sender);
            receivers.push(receiver);
        }
        let (over, hear) = one_way().expect("a pipe");
        over.send(receivers).expect("they go");
        let (words, hear_words) = one_way().expect("a pipe");
        words.send("sent and left".to_owned()).expect("room");
        (senders, hear, hear_words)
    }
    let (senders, receivers, words) = ex.submit(makes, 50).soon().unwrap();
    drop(ex);
    assert_eq!(words.recv().unwrap(), "sent and left");
    let receivers = receivers.recv().unwrap();
    for (n, (sender, receiver)) in (0..).zip(senders.iter().zip(&receivers)) {
        sender.send(n).unwrap();
        assert_eq!(receiver.recv().unwrap(), n);
    }
}

#[test]
fn hundreds_of_descriptors_travel_with_one_message() {
    fn sums(connection: Connection<u64, Vec<SharedBytes>>) {
        let all = connection.recv().expect("they come");
        connection
            .send(all.iter().map(|bytes| bytes.iter().map(|&byte| u64::from(byte)).sum::<u64>()).sum())
            .expect("it goes");
    }
    let (ours, theirs) = pipe::<Vec<SharedBytes>, u64>().unwrap();
    let process = Process::start(sums, theirs).unwrap();
    let all: Vec<_> = (0..300_u32).map(|n| SharedBytes::from(vec![(n % 3) as u8; 20_000])).collect();
    ours.send(all).unwrap();
    assert_eq!(ours.recv_timeout(PATIENCE).unwrap(), 300 * 20_000);
    assert!(end(&process).success());
}

#[test]
fn waiting_for_connections_sockets_and_processes_at_once() {
    fn writes((connection, n): (Sender<(u32, u32)>, u32)) {
        for k in 0..10 {
            connection.send((n, k)).expect("somebody reads");
        }
    }
    let mut receivers = Vec::new();
    let mut processes = Vec::new();
    for n in 0..4 {
        let (sender, receiver) = one_way().unwrap();
        processes.push(Process::start(writes, (sender, n)).unwrap());
        receivers.push(receiver);
    }
    let mut messages = Vec::new();
    let limit = Instant::now() + PATIENCE;
    while !receivers.is_empty() {
        assert!(Instant::now() < limit);
        let what: Vec<&dyn Pollable> = receivers.iter().map(|receiver| receiver as _).collect();
        let mut ready = wait(&what, Some(PATIENCE)).unwrap();
        ready.reverse();
        for place in ready {
            match receivers[place].recv() {
                Ok(message) => messages.push(message),
                Err(RecvError::Ended) => drop(receivers.remove(place)),
                Err(error) => panic!("{error}"),
            }
        }
    }
    messages.sort_unstable();
    assert_eq!(messages, (0..4).flat_map(|n| (0..10).map(move |k| (n, k))).collect::<Vec<_>>());
    for process in &processes {
        assert_eq!(wait(&[process], Some(PATIENCE)).unwrap(), [0], "its end");
        assert!(end(process).success());
    }

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (mut a, b) = UnixStream::pair().unwrap();
    let process = Process::start(crate::process::sleeps, ()).unwrap();
    let what: [&dyn Pollable; 3] = [&listener, &b, &process];
    let begun = Instant::now();
    assert_eq!(wait(&what, Some(Duration::from_millis(20))).unwrap(), []);
    assert!(begun.elapsed() >= Duration::from_millis(20));
    let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    assert_eq!(wait(&what, Some(PATIENCE)).unwrap(), [0]);
    a.write_all(b"x").unwrap();
    assert_eq!(wait(&what, Some(PATIENCE)).unwrap(), [0, 1]);
    process.kill().unwrap();
    assert_eq!(wait(&what[2..], Some(PATIENCE)).unwrap(), [0]);
    end(&process);
}

/// Signals whose handler does nothing come all the time, and end no wait.
#[test]
fn signals_end_no_wait() {
    fn disturbed(connection: Connection<Vec<u8>, Vec<u8>>) -> bool {
        extern "C" fn nothing(_: libc::c_int) {}
        // SAFETY: these are integers, an address that may be null, and a set of signals.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        // Without SA_RESTART: calls are interrupted.
        action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
        // SAFETY: a handler that does nothing may run at any instant.
        assert_eq!(unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()) }, 0);
        connection.send(Vec::new()).expect("it is there");
        let message = connection.recv().expect("a message, and no error");
        connection.send(message).expect("it goes as a whole");
        wait(&[&connection], None).expect("no error") == [0] && connection.recv().is_ok_and(|last| last.is_empty())
    }
    fn run(connection: Connection<Vec<u8>, Vec<u8>>) {
        assert!(disturbed(connection));
    }
    let (ours, theirs) = pipe::<Vec<u8>, Vec<u8>>().unwrap();
    let process = Process::start(run, theirs).unwrap();
    assert!(ours.recv_timeout(PATIENCE).unwrap().is_empty());
    let disturb = || {
        for _ in 0..30 {
            // SAFETY: our own child, which has not been waited for.
            assert_eq!(unsafe { libc::kill(process.pid() as i32, libc::SIGUSR1) }, 0);
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    disturb();
    std::thread::scope(|s| {
        s.spawn(|| ours.send(vec![1; 2 << 20]).unwrap());
        disturb();
    });
    disturb();
    assert_eq!(ours.recv().unwrap().len(), 2 << 20);
    disturb();
    ours.send(Vec::new()).unwrap();
    assert!(end(&process).success());
}

/// As if its process had been killed: nothing is said, the kernel closes what it has.
fn let_go(end: impl Serialize) {
    let mut beside = Vec::new();
    let lent = attach::collect(&mut beside, || codec::encode(&end, &mut Vec::new()));
    assert!(lent.is_ok());
}

/// What a receiver finds after each kill: nothing, or the whole message.
fn sender_killed_at_every_instant((): ()) -> (u64, u64) {
    let shared = SharedBytes::from(vec![7; 20_000]);
    let current = RefCell::new(one_way::<(u32, SharedBytes)>().expect("a pipe"));
    let whole = Cell::new(0);
    let swept = Sweep::every(1009).run(
        || current.borrow().0.send((5, shared.clone())).expect("somebody is there"),
        |_| {
            let (sender, receiver) = current.replace(one_way().expect("a pipe"));
            let_go(sender);
            match receiver.recv_timeout(PATIENCE) {
                Ok((5, bytes)) if bytes == shared => whole.set(whole.get() + 1),
                Err(RecvError::Ended) => return,
                other => panic!("{other:?}"),
            }
            assert!(matches!(receiver.recv_timeout(PATIENCE), Err(RecvError::Ended)));
        },
    );
    (swept.kills, whole.get())
}

#[test]
fn sweep_of_a_send() {
    let (kills, whole) = alone(sender_killed_at_every_instant, ());
    assert!(0 < whole && whole < kills, "{whole} of {kills}");
}

/// The sender goes on, and learns of it.
fn receiver_killed_at_every_instant((): ()) -> u64 {
    let new = || {
        let (sender, receiver) = one_way::<Vec<u8>>().expect("a pipe");
        sender.send(vec![1; 1000]).expect("room");
        (sender, receiver)
    };
    let current = RefCell::new(new());
    let swept = Sweep::every(61).run(
        || {
            let (_, receiver) = &*current.borrow();
            assert_eq!(receiver.recv().expect("it is there").len(), 1000);
        },
        |_| {
            let (sender, receiver) = current.replace(new());
            let_go(receiver);
            // More than there is room for: it does not come to its end, and does not wait for ever.
            assert!(matches!(sender.send(vec![1; 1 << 20]), Err(SendError::Closed(_))));
        },
    );
    swept.kills
}

#[test]
fn sweep_of_a_recv() {
    assert!(alone(receiver_killed_at_every_instant, ()) > 10);
}

/// A receiver that sleeps, and is woken, at every instant of that.
fn sleeping_receiver_killed((): ()) -> u64 {
    let current = RefCell::new(one_way::<u32>().expect("a pipe"));
    let slept = Cell::new(0);
    Sweep::every(331)
        .when_blocked(|| {
            slept.set(slept.get() + 1);
            current.borrow().0.send(1).expect("room");
        })
        .run(
            || {
                let (_, receiver) = &*current.borrow();
                // Without the looks that `recv` begins with.
                assert_eq!(wait(&[receiver], None).expect("no error"), [0]);
                assert_eq!(receiver.try_recv().expect("it is there"), 1);
            },
            |_| {
                let (sender, receiver) = current.replace(one_way().expect("a pipe"));
                let_go(receiver);
                assert!(
                    matches!(sender.send(2), Err(SendError::Closed(2))) || sender.send_bytes(&[1; 1 << 20]).is_err()
                );
            },
        );
    slept.get()
}

#[test]
fn sweep_of_a_recv_that_sleeps() {
    assert!(alone(sleeping_receiver_killed, ()) > 10);
}

/// The parent drops its copies of the child's ends, and the child never those of the parent's.
fn talks_to_a_forked_child((): ()) {
    for killed in [true, false] {
        let (ours, theirs) = pipe::<Vec<u8>, Vec<u8>>().expect("a pipe");
        // SAFETY: this process does nothing else, and the child nothing but to answer.
        let child = unsafe { Process::target(echo, theirs).start_fork() }.expect("a child");
        for n in 0..10 {
            ours.send(vec![n]).expect("it is there");
            assert_eq!(ours.recv_timeout(PATIENCE).expect("an answer"), [n]);
        }
        if killed {
            child.kill().expect("it is ours");
            assert!(matches!(ours.recv_timeout(PATIENCE), Err(RecvError::Ended)));
            end(&child);
        } else {
            drop(ours);
            assert!(end(&child).success());
        }
    }
}

#[test]
fn an_end_goes_on_in_a_forked_child() {
    alone(talks_to_a_forked_child, ());
}

#[test]
fn errors_become_those_of_io() {
    let (sender, receiver) = one_way::<u32>().unwrap();
    drop(sender);
    let received = || -> io::Result<u32> { Ok(receiver.recv()?) };
    assert_eq!(received().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}
