use super::outgoing::{Sending, Step};
use super::*;
use crate::Lock;
use concurrent_futures_core::Portable;
use concurrent_futures_core::attach::{self, Arrived};
use concurrent_futures_core::codec;
use futures::executor::block_on;
use futures::future::{join, join_all};
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(5);

/// As if it had gone to another process, and were decoded there as a `U`.
fn travelled_as<T: Serialize, U: Portable>(value: &T) -> Result<U, String> {
    let (mut beside, mut bytes) = (Vec::new(), Vec::new());
    attach::collect(&mut beside, || codec::encode(value, &mut bytes))
        .map_err(|error| error.into_message())
        .map(drop)?;
    attach::provide(Arrived::all(beside), || codec::decode(&bytes)).map_err(|error| error.into_message())
}

fn travelled<T: Portable>(value: T) -> T {
    travelled_as(&value).unwrap()
}

#[test]
fn both_directions_at_once_by_many_threads() {
    let (a, b) = pipe::<(u32, Vec<u8>), (u32, Vec<u8>)>().unwrap();
    const EACH: u32 = 300;
    thread::scope(|s| {
        for end in [&a, &b] {
            for sender in 0..3 {
                s.spawn(move || {
                    for n in 0..EACH {
                        let len = (n as usize * 7919) % 5000;
                        end.send((sender * EACH + n, vec![n as u8; len])).unwrap();
                    }
                });
            }
            s.spawn(move || {
                let mut seen = [0; 3];
                for _ in 0..3 * EACH {
                    let (n, bytes) = end.recv_timeout(LONG).unwrap();
                    let (sender, n) = (n / EACH, n % EACH);
                    assert_eq!(seen[sender as usize], n, "in order");
                    assert_eq!(bytes, vec![n as u8; (n as usize * 7919) % 5000]);
                    seen[sender as usize] += 1;
                }
            });
        }
    });
}

#[test]
fn a_deadline_is_kept_while_parts_of_a_message_keep_coming() {
    let (sender, receiver) = one_way::<()>().unwrap();
    let message: Vec<u8> = (0..1 << 20).map(|n: u32| n.to_le_bytes()[0]).collect();
    let mut sending = Sending::new(&sender.0, &message, &[]);
    let over = Some(Instant::now());
    let mut listener = receiver.0.listener().unwrap();
    for _ in 0..2 {
        // As much as there is room for; and so there is something again when it looks.
        assert_eq!(sending.step(true).unwrap(), Step::Wait);
        assert!(matches!(listener.turn(usize::MAX, over), Err(RecvError::TimedOut)));
    }
    drop(listener);
    assert_eq!(sending.step(true).unwrap(), Step::Wait);
    assert!(matches!(receiver.recv_timeout(Duration::ZERO), Err(RecvError::TimedOut)));
    // What has come until then is not lost.
    thread::scope(|s| {
        s.spawn(|| sending.send().unwrap());
        assert_eq!(receiver.recv_bytes(usize::MAX).unwrap(), message);
    });
}

#[test]
fn many_receivers_get_each_message_once() {
    let (sender, receiver) = one_way::<u64>().unwrap();
    const TOTAL: u64 = 2000;
    let sums: u64 = thread::scope(|s| {
        let threads: Vec<_> = (0..3)
            .map(|kind| {
                let receiver = &receiver;
                s.spawn(move || {
                    let mut sum = 0;
                    loop {
                        let message = match kind {
                            0 => receiver.recv(),
                            1 => block_on(receiver.recv_async()),
                            _ => {
                                wait(&[receiver], None).unwrap();
                                match receiver.try_recv() {
                                    Err(RecvError::Empty) => continue,
                                    other => other,
                                }
                            }
                        };
                        match message {
                            Ok(n) => sum += n,
                            Err(error) => {
                                assert!(matches!(error, RecvError::Ended), "{error:?}");
                                return sum;
                            }
                        }
                    }
                })
            })
            .collect();
        for n in 1..=TOTAL {
            sender.send(n).unwrap();
            if n % 100 == 0 {
                thread::sleep(Duration::from_micros(300));
            }
        }
        drop(sender);
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(sums, TOTAL * (TOTAL + 1) / 2);
}

#[test]
fn large_messages_block_until_they_are_read() {
    let (a, b) = pipe::<Vec<u8>, usize>().unwrap();
    let large = vec![3_u8; 16 << 20];
    thread::scope(|s| {
        s.spawn(|| {
            for message in b.iter().take(3) {
                b.send(message.unwrap().len()).unwrap();
            }
        });
        for len in [16 << 20, (256 << 10) - 12, 1] {
            a.send(large[..len].to_vec()).unwrap();
            assert_eq!(a.recv().unwrap(), len);
        }
    });
}

#[test]
fn two_who_send_as_much_as_pythons_pipe_holds_do_not_wait_for_each_other() {
    let (a, b) = pipe::<Vec<u8>, Vec<u8>>().unwrap();
    for end in [&a, &b] {
        end.send(vec![1; 208 << 10]).unwrap();
    }
    assert_eq!((a.recv().unwrap().len(), b.recv().unwrap().len()), (208 << 10, 208 << 10));
}

#[test]
fn the_end_of_file() {
    let (sender, receiver) = one_way::<String>().unwrap();
    assert!(!receiver.poll(SHORT).unwrap());
    sender.send("last".into()).unwrap();
    assert!(receiver.poll(Duration::ZERO).unwrap());
    drop(sender);
    assert_eq!(receiver.recv().unwrap(), "last");
    assert!(receiver.poll(Duration::ZERO).unwrap() && receiver.poll(LONG).unwrap());
    for _ in 0..2 {
        assert!(receiver.recv().unwrap_err().is_end() && receiver.try_recv().unwrap_err().is_end());
    }

    let (sender, receiver) = one_way::<String>().unwrap();
    drop(receiver);
    let error = sender.send("nobody".into()).unwrap_err();
    assert!(matches!(&error, SendError::Closed(text) if text == "nobody"), "{error:?}");
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::BrokenPipe);
}

#[test]
fn the_end_wakes_who_sleeps() {
    let (sender, receiver) = one_way::<Vec<u8>>().unwrap();
    thread::scope(|s| {
        let blocked = s.spawn(|| sender.send(vec![0; 1 << 20]).unwrap_err());
        // It is in the middle of its message.
        while !receiver.poll(Duration::MAX).unwrap() {}
        drop(receiver);
        assert!(matches!(blocked.join().unwrap(), SendError::Closed(_)));
    });
    let (sender, receiver) = one_way::<u8>().unwrap();
    thread::scope(|s| {
        let blocked = [s.spawn(|| receiver.recv()), s.spawn(|| block_on(receiver.recv_async()))];
        thread::sleep(SHORT);
        drop(sender);
        for thread in blocked {
            assert!(matches!(thread.join().unwrap(), Err(RecvError::Ended)));
        }
    });
}

#[test]
fn bytes_and_their_limits() {
    let (sender, receiver) = one_way::<()>().unwrap();
    sender.send_bytes(b"").unwrap();
    assert!(receiver.poll(Duration::ZERO).unwrap(), "a message of no bytes is one");
    assert_eq!(receiver.recv_bytes(0).unwrap(), b"");
    for text in [&b"one"[..], b"", b"three"] {
        sender.send_bytes(text).unwrap();
    }
    let mut buffer = [0; 4];
    assert_eq!(receiver.recv_bytes_into(&mut buffer).unwrap(), 3);
    assert_eq!(receiver.recv_bytes_into(&mut buffer).unwrap(), 0);
    assert!(matches!(receiver.recv_bytes(4), Err(RecvError::TooLong { len: 5, limit: 4 })));
    assert!(receiver.poll(Duration::ZERO).unwrap());
    let Err(RecvError::TooShort { message }) = receiver.recv_bytes_into(&mut buffer) else { panic!("it fits") };
    assert_eq!(message, b"three");
    assert!(!receiver.poll(Duration::ZERO).unwrap());
}

#[test]
fn what_cannot_be_decoded_costs_itself_alone() {
    let (sender, receiver) = one_way::<Vec<String>>().unwrap();
    sender.send_bytes(&[3, 200, 1]).unwrap();
    sender.send(vec!["right".into()]).unwrap();
    assert!(matches!(receiver.recv(), Err(RecvError::Decode(_))));
    assert_eq!(receiver.recv().unwrap(), ["right"]);
}

#[derive(Debug, Deserialize)]
struct Secret;

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("not for others"))
    }
}

#[test]
fn what_cannot_be_encoded_is_given_back() {
    let (sender, _receiver) = one_way::<Secret>().unwrap();
    let error = sender.send(Secret).unwrap_err();
    assert!(error.to_string().contains("not for others"), "{error}");
    let Secret = error.into_value();
}

#[test]
fn an_end_moves_with_what_is_in_it() {
    let (sender, receiver) = one_way::<u32>().unwrap();
    for n in 0..10 {
        sender.send(n).unwrap();
    }
    assert_eq!(receiver.recv().unwrap(), 0);
    let receiver = travelled(receiver);
    let sender = travelled(sender);
    sender.send(10).unwrap();
    drop(sender);
    assert_eq!(receiver.iter().map(Result::unwrap).collect::<Vec<_>>(), (1..=10).collect::<Vec<_>>());
}

#[test]
fn connections_travel_over_connections() {
    let (a, b) = pipe::<Vec<Connection<u32, u32>>, Receiver<String>>().unwrap();
    let (mut kept, mut sent) = (Vec::new(), Vec::new());
    for _ in 0..60 {
        let (one, other) = pipe().unwrap();
        kept.push(one);
        sent.push(other);
    }
    a.send(sent).unwrap();
    let (words, receiver) = one_way().unwrap();
    b.send(receiver).unwrap();
    words.send("over three".to_owned()).unwrap();
    for (n, there) in (0..).zip(b.recv().unwrap()) {
        kept[n as usize].send(n).unwrap();
        there.send(there.recv().unwrap() * 2).unwrap();
    }
    assert!((0..).zip(&kept).all(|(n, one)| one.recv().unwrap() == 2 * n));
    assert!(kept.iter().all(|one| matches!(one.recv(), Err(RecvError::Ended))));
    assert_eq!(a.recv().unwrap().recv().unwrap(), "over three");
}

#[test]
fn whoever_uses_it_first_has_it() {
    let (sender, receiver) = one_way::<u32>().unwrap();
    let (mut beside, mut bytes) = (Vec::new(), Vec::new());
    let _ = attach::collect(&mut beside, || codec::encode(&sender, &mut bytes)).unwrap();
    let received = || attach::provide(Arrived::all(beside.clone()), || codec::decode::<Sender<u32>>(&bytes));
    // It was not received, and is used here: so it stays.
    sender.send(1).unwrap();
    let words = received().unwrap_err().into_message();
    assert!(words.contains("in one process only"), "{words}");

    let there: Sender<u32> = travelled_as(&sender).unwrap();
    assert!(matches!(sender.send(2), Err(SendError::Moved(2))));
    assert!(travelled_as::<_, Sender<u32>>(&sender).unwrap_err().contains("was sent to another process"));
    drop(sender);
    there.send(3).unwrap();
    drop(there);
    drop((beside, bytes));
    assert_eq!(receiver.iter().map(Result::unwrap).collect::<Vec<_>>(), [1, 3]);
}

#[test]
fn what_is_lost_on_its_way_has_ended() {
    let (sender, receiver) = one_way::<u32>().unwrap();
    let mut beside = Vec::new();
    let _ = attach::collect(&mut beside, || codec::encode(&sender, &mut Vec::new())).unwrap();
    drop(sender);
    assert!(!receiver.poll(SHORT).unwrap(), "it may still arrive");
    drop(beside);
    assert!(receiver.recv().unwrap_err().is_end());
}

#[test]
fn what_is_in_use_does_not_travel() {
    let (sender, receiver) = one_way::<u32>().unwrap();
    thread::scope(|s| {
        let waits = s.spawn(|| receiver.recv().unwrap());
        let limit = Instant::now() + LONG;
        while !receiver.0.is_listened_to() {
            assert!(Instant::now() < limit);
            thread::yield_now();
        }
        let words = travelled_as::<_, Receiver<u32>>(&receiver).unwrap_err();
        assert!(words.contains("being used"), "{words}");
        sender.send(4).unwrap();
        assert_eq!(waits.join().unwrap(), 4);
    });
    travelled(receiver);
}

#[test]
fn handles_go_with_their_messages() {
    let (a, b) = pipe::<Vec<crate::SharedBytes>, ()>().unwrap();
    // Each is a file of its own: 300 take two packets, and the many messages more than the socket has room for.
    let many: Vec<_> = (0..300_u32).map(|n| crate::SharedBytes::from(vec![n as u8; 20_000])).collect();
    thread::scope(|s| {
        s.spawn(|| {
            a.send(many.clone()).unwrap();
            for one in &many {
                a.send(vec![one.clone()]).unwrap();
            }
            drop(a);
        });
        let mut messages = b.iter().map(Result::unwrap);
        assert_eq!(messages.next().unwrap(), many);
        for (one, message) in many.iter().zip(&mut messages) {
            assert_eq!(message, std::slice::from_ref(one));
        }
        assert!(messages.next().is_none());
    });
}

#[test]
fn async_ends_wait_without_a_thread() {
    let pairs: Vec<_> = (0..20).map(|_| pipe::<u64, u64>().unwrap()).collect();
    let all = pairs.iter().map(|(a, b)| async move {
        let there = async {
            for _ in 0..20 {
                b.send_async(b.recv_async().await.unwrap() + 1).await.unwrap();
            }
        };
        let here = async {
            let mut n = 0;
            for _ in 0..20 {
                a.send_async(n).await.unwrap();
                n = a.recv_async().await.unwrap();
            }
            assert_eq!(n, 20);
        };
        join(there, here).await;
    });
    block_on(join_all(all));
}

#[test]
fn an_async_send_waits_for_room_and_can_be_given_up() {
    let (sender, receiver) = one_way::<Vec<u8>>().unwrap();
    block_on(async {
        let (sent, ()) = join(sender.send_async(vec![1; 1 << 20]), async {
            assert_eq!(receiver.recv_async().await.unwrap().len(), 1 << 20);
        })
        .await;
        sent.unwrap();
    });
    // One that fits as a whole leaves nothing behind.
    sender.send(vec![2; 200 << 10]).unwrap();
    assert!(futures::FutureExt::now_or_never(sender.send_async(vec![3; 100 << 10])).is_none());
    assert_eq!(receiver.recv().unwrap()[0], 2);
    sender.send(vec![4; 10]).unwrap();
    assert_eq!(receiver.recv().unwrap(), [4; 10]);
    // A larger one does.
    assert!(futures::FutureExt::now_or_never(sender.send_async(vec![5; 1 << 20])).is_none());
    assert!(matches!(sender.send(vec![6]), Err(SendError::Torn(_))));
    drop(sender);
    assert!(matches!(receiver.recv(), Err(RecvError::Torn)));
}

#[test]
fn waiting_for_several() {
    let pipes: Vec<_> = (0..4).map(|_| one_way::<u32>().unwrap()).collect();
    let (mut reader, mut writer) = io::pipe().unwrap();
    let mut what: Vec<&dyn Pollable> = pipes.iter().map(|(_, receiver)| receiver as _).collect();
    what.push(&reader);
    let start = Instant::now();
    assert_eq!(wait(&what, Some(SHORT)).unwrap(), []);
    assert!(start.elapsed() >= SHORT);
    assert_eq!(wait(&what, Some(Duration::ZERO)).unwrap(), []);
    pipes[2].0.send(1).unwrap();
    writer.write_all(b"x").unwrap();
    assert_eq!(wait(&what, Some(LONG)).unwrap(), [2, 4]);
    assert_eq!(wait(&what, None).unwrap(), [2, 4]);
    assert_eq!(pipes[2].1.recv().unwrap(), 1);
    drop(what);
    reader.read_exact(&mut [0]).unwrap();

    let start = Instant::now();
    assert_eq!(wait(&[], Some(SHORT)).unwrap(), []);
    assert!(start.elapsed() >= SHORT);
    assert_eq!(wait(&[], None).unwrap_err().kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn waiting_while_others_receive() {
    let (sender, receiver) = one_way::<u32>().unwrap();
    let both = Barrier::new(2);
    thread::scope(|s| {
        // Takes them all, one by one, while the other one only watches.
        s.spawn(|| {
            for n in 0..500 {
                assert_eq!(receiver.recv_timeout(LONG).unwrap(), n);
                both.wait();
            }
        });
        for n in 0..500 {
            sender.send(n).unwrap();
            both.wait();
        }
    });
    // And two messages that come at once wake both.
    thread::scope(|s| {
        let threads = [(); 2].map(|()| s.spawn(|| receiver.recv_timeout(LONG).unwrap()));
        thread::sleep(SHORT);
        sender.send(1).unwrap();
        sender.send(2).unwrap();
        let mut sum = 0;
        for thread in threads {
            sum += thread.join().unwrap();
        }
        assert_eq!(sum, 3);
    });
}

#[test]
fn serialized_for_anything_else_it_says_so() {
    let (sender, receiver) = one_way::<u8>().unwrap();
    let (one, _other) = pipe::<u8, u8>().unwrap();
    for words in [
        codec::encode(&sender, &mut Vec::new()).unwrap_err().into_message(),
        codec::encode(&receiver, &mut Vec::new()).unwrap_err().into_message(),
        codec::encode(&one, &mut Vec::new()).unwrap_err().into_message(),
    ] {
        assert!(words.contains("can only travel"), "{words}");
    }
    receiver.poll(Duration::ZERO).unwrap();
    sender.send(1).unwrap();
    assert_eq!(receiver.recv().unwrap(), 1);
}

/// Polls it once and drops it.
fn begin_and_give_up<F: Future>(sending: F) {
    let mut sending = std::pin::pin!(sending);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(sending.as_mut().poll(&mut context).is_pending());
}

type WithLock = (Vec<u8>, Option<Lock>);

/// So that a third message of that size has to wait.
fn filled() -> (Sender<WithLock>, Receiver<WithLock>) {
    let (sender, receiver) = one_way().unwrap();
    for _ in 0..2 {
        sender.send((vec![0; 100 << 10], None)).unwrap();
    }
    (sender, receiver)
}

#[test]
fn handles_of_a_message_that_was_given_up_are_not_taken_for_those_of_another_one() {
    let (sender, receiver) = filled();
    let (given_up, kept) = (Lock::new().unwrap(), Lock::new().unwrap());
    let _held = kept.lock().unwrap();
    begin_and_give_up(sender.send_async((vec![0; 100 << 10], Some(given_up))));
    // Whoever has it next counts its messages anew.
    let sender = travelled(sender);
    sender.send((Vec::new(), Some(kept.clone()))).unwrap();
    for _ in 0..2 {
        receiver.recv().unwrap();
    }
    let (_, lock) = receiver.recv().unwrap();
    assert!(lock.unwrap().is_locked());
}

#[test]
fn handles_of_messages_that_were_given_up_do_not_fill_the_connection() {
    let (sender, receiver) = filled();
    let lock = Lock::new().unwrap();
    for _ in 0..1000 {
        begin_and_give_up(sender.send_async((vec![0; 100 << 10], Some(lock.clone()))));
    }
    for _ in 0..2 {
        receiver.recv().unwrap();
    }
    thread::scope(|s| {
        s.spawn(|| sender.send((Vec::new(), Some(lock.clone()))).unwrap());
        assert!(receiver.recv_timeout(LONG).unwrap().1.is_some());
    });
}

#[test]
fn handles_of_long_messages_that_were_given_up_do_not_fill_it_either() {
    let (sender, receiver) = one_way::<WithLock>().unwrap();
    // With their heads, all that there is room for.
    let half = vec![0; (128 << 10) - 8];
    for _ in 0..2 {
        sender.send_bytes(&half).unwrap();
    }
    let lock = Lock::new().unwrap();
    for _ in 0..1000 {
        begin_and_give_up(sender.send_async((vec![0; 200 << 10], Some(lock.clone()))));
    }
    for _ in 0..2 {
        receiver.recv_bytes(half.len()).unwrap();
    }
    thread::scope(|s| {
        s.spawn(|| sender.send((Vec::new(), Some(lock.clone()))).unwrap());
        let receiver = receiver;
        assert!(receiver.recv_timeout(LONG).unwrap().1.is_some());
    });
}

#[test]
fn an_end_is_not_sent_while_another_thread_begins_a_message() {
    let message = vec![0; 1 << 20];
    for _ in 0..1000 {
        let (sender, _receiver) = one_way::<()>().unwrap();
        let both = Barrier::new(2);
        let (mut beside, mut bytes) = (Vec::new(), Vec::new());
        let mut sending = Sending::new(&sender.0, &message, &[]);
        let (begun, encoded) = thread::scope(|s| {
            let begun = s.spawn(|| {
                both.wait();
                sending.step(false)
            });
            both.wait();
            let encoded = attach::collect(&mut beside, || codec::encode(&sender, &mut bytes));
            (begun.join().unwrap(), encoded)
        });
        // There is one that is in the middle of the message: the thread here, which has taken it back.
        assert_eq!(begun.unwrap(), Step::Wait);
        if encoded.is_ok() {
            let there: Result<Sender<()>, _> = attach::provide(Arrived::all(beside), || codec::decode(&bytes));
            assert!(there.is_err());
        }
    }
}
