//! What holds for every data path.

use super::*;
use crate::sys::poller::Ready;
use crate::wire::{DOWN, Head, Offsets, TaskHead, Ticket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const TOKEN: u64 = 5;
const PATHS: [DataPath; 2] = [DataPath::Ring, DataPath::Socket];

struct Rig {
    poller: Arc<Poller>,
    outbound: Arc<dyn Outbound>,
    inbound: Box<dyn Inbound>,
    worker: Handover,
}

/// A worker's end that need not be opened where it was made.
struct Handover(DataPath, Vec<OwnedFd>);

impl Handover {
    fn open(self) -> Box<dyn WorkerEnd> {
        open(self.0, self.1).unwrap()
    }
}

fn rig(path: DataPath) -> Rig {
    let poller = Arc::new(Poller::new().unwrap());
    let Pair { outbound, inbound, worker } = pair(path, Wiring { poller: poller.clone(), token: TOKEN }).unwrap();
    Rig { poller, outbound, inbound, worker: Handover(path, worker) }
}

fn task(seq: u32, len: usize) -> Down {
    Down::Task(TaskHead {
        ticket: Ticket { slot: 0, seq },
        call: Offsets { trampoline: 1, function: 2 },
        context: None,
        handles: false,
        announce: false,
        parts: 0,
        len: len as u64,
    })
}

fn reply(seq: u32, len: usize) -> Up {
    Up::Result {
        ticket: Ticket { slot: 0, seq },
        failed: false,
        again: false,
        retire: false,
        handles: false,
        parts: 0,
        len: len as u64,
    }
}

fn bytes(len: usize) -> Bytes {
    Bytes::from(vec![7; len])
}

/// What the supervisor does for one event. Gives what it has received.
fn turn(outbound: &dyn Outbound, inbound: &mut dyn Inbound, ready: Ready, budget: usize) -> Vec<Frame<Up>> {
    assert_eq!(ready.token, TOKEN);
    inbound.disarm();
    if inbound.is_quiet() || ready.writable {
        outbound.resume();
    }
    let mut frames = Vec::new();
    loop {
        let inflow = inbound.receive(budget, &mut frames).unwrap();
        if inflow == Inflow::End || !inbound.arm() {
            return frames;
        }
    }
}

/// What the supervisor does until `done`.
fn supervise(rig: &mut Rig, frames: &mut Vec<Frame<Up>>, done: impl Fn(&[Frame<Up>]) -> bool) {
    // As it arms all of them before it sleeps. The worker sends on meanwhile.
    while rig.inbound.arm() {
        rig.inbound.receive(1 << 20, frames).unwrap();
    }
    while !done(frames) {
        for ready in rig.poller.wait(None).unwrap() {
            frames.extend(turn(&*rig.outbound, &mut *rig.inbound, ready, 1 << 20));
        }
    }
}

#[test]
fn both_sides_send_large_bodies_at_the_same_time_and_neither_blocks_for_ever() {
    const LARGE: usize = 8 << 20;
    for path in PATHS {
        let mut rig = rig(path);
        let worker = std::mem::replace(&mut rig.worker, Handover(path, Vec::new()));
        let done = AtomicBool::new(false);
        thread::scope(|s| {
            s.spawn(|| {
                let mut worker = worker.open();
                for seq in 0..3 {
                    worker.send(reply(seq, LARGE), &vec![seq as u8; LARGE]).unwrap();
                    let (head, body) = worker.receive().unwrap().unwrap();
                    assert_eq!((head, body.stream.len()), (task(seq, LARGE), LARGE));
                }
                done.store(true, Ordering::Release);
            });
            for seq in 0..3 {
                rig.outbound.post(task(seq, LARGE), Some(&bytes(LARGE)));
            }
            rig.outbound.flush();
            let mut frames = Vec::new();
            supervise(&mut rig, &mut frames, |frames| frames.len() == 3);
            for (seq, (head, body)) in frames.iter().enumerate() {
                assert_eq!(*head, reply(seq as u32, LARGE));
                assert!(body.stream.iter().all(|byte| usize::from(*byte) == seq));
            }
            // The worker may still be reading its last task.
            while !done.load(Ordering::Acquire) {
                for ready in rig.poller.wait(Some(Duration::from_millis(5))).unwrap() {
                    assert!(turn(&*rig.outbound, &mut *rig.inbound, ready, 1).is_empty());
                }
            }
        });
    }
}

#[test]
fn frames_of_many_threads_arrive_whole_each_and_in_each_threads_order() {
    const EACH: u32 = 2000;
    for path in PATHS {
        let Rig { poller, outbound, worker, .. } = rig(path);
        let mut worker = worker.open();
        let stop = AtomicBool::new(false);
        thread::scope(|s| {
            for thread in 0..4_u16 {
                let outbound = &outbound;
                s.spawn(move || {
                    for seq in 0..EACH {
                        let ticket = Ticket { slot: thread, seq };
                        let Down::Task(head) = task(seq, 100) else { unreachable!() };
                        outbound.post(Down::Task(TaskHead { ticket, ..head }), Some(&bytes(100)));
                        outbound.flush();
                    }
                });
            }
            s.spawn(|| {
                while !stop.load(Ordering::Acquire) {
                    for ready in poller.wait(Some(Duration::from_millis(5))).unwrap() {
                        if ready.writable || path == DataPath::Ring {
                            outbound.resume();
                        }
                    }
                }
            });
            let mut next = [0_u32; 4];
            for _ in 0..4 * EACH {
                let (Down::Task(head), body) = worker.receive().unwrap().unwrap() else { panic!("not a task") };
                assert_eq!(body.stream.len(), 100);
                let next = &mut next[usize::from(head.ticket.slot)];
                assert_eq!(head.ticket.seq, *next);
                *next += 1;
            }
            stop.store(true, Ordering::Release);
        });
    }
}

#[test]
fn small_frames_behind_a_large_one_stay_behind_it() {
    for path in PATHS {
        let mut rig = rig(path);
        let worker = std::mem::replace(&mut rig.worker, Handover(path, Vec::new()));
        thread::scope(|s| {
            s.spawn(|| {
                let mut worker = worker.open();
                for seq in 0..60 {
                    let (head, body) = worker.receive().unwrap().unwrap();
                    assert_eq!((head, body.stream.len()), (task(seq, size(seq)), size(seq)));
                    worker.send(reply(seq, 0), &[]).unwrap();
                }
                worker.flush().unwrap();
            });
            for seq in 0..60 {
                rig.outbound.post(task(seq, size(seq)), Some(&bytes(size(seq))));
                rig.outbound.flush();
            }
            let mut frames = Vec::new();
            supervise(&mut rig, &mut frames, |frames| frames.len() == 60);
        });
        fn size(seq: u32) -> usize {
            if seq.is_multiple_of(20) { 1 << 20 } else { 10 }
        }
    }
}

#[test]
fn what_was_sent_before_the_end_counts() {
    for path in PATHS {
        let mut rig = rig(path);
        rig.outbound.post(task(1, 10), Some(&bytes(10)));
        rig.outbound.flush();
        let mut worker = rig.worker.open();
        worker.send(Up::Ready, &[]).unwrap();
        worker.send(reply(9, 3), b"abc").unwrap();
        worker.flush().unwrap();
        worker.send_raw(&reply(10, 3).encode()[..5]).unwrap();
        drop(worker);
        let mut frames = Vec::new();
        let until = Instant::now() + Duration::from_secs(60);
        while frames.len() < 2 {
            rig.inbound.receive(1 << 20, &mut frames).unwrap();
            assert!(Instant::now() < until);
        }
        assert_eq!(frames, [(Up::Ready, Content::default()), (reply(9, 3), b"abc".to_vec().into())]);
    }
}

#[test]
fn closing_drops_what_was_not_sent() {
    for path in PATHS {
        let rig = rig(path);
        let body = Arc::new(vec![0; 4 << 20]);
        rig.outbound.post(task(1, 4 << 20), Some(&Bytes::Large(body.clone())));
        rig.outbound.flush();
        assert_eq!(Arc::strong_count(&body), 2);
        rig.outbound.close();
        assert_eq!(Arc::strong_count(&body), 1);
        rig.outbound.resume();
        rig.outbound.post(task(2, 4 << 20), Some(&Bytes::Large(body.clone())));
        rig.outbound.flush();
        assert_eq!(Arc::strong_count(&body), 1);
    }
}

#[test]
fn noise_is_an_error_for_the_parent() {
    for path in PATHS {
        let Rig { mut inbound, worker, .. } = rig(path);
        worker.open().send_raw(&[0xee; 64]).unwrap();
        let error = inbound.receive(1 << 20, &mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}

#[test]
fn an_event_tells_of_what_comes_when_nobody_looks() {
    for path in PATHS {
        let mut rig = rig(path);
        let now = Some(Duration::ZERO);
        // Watching a bell begins with an event.
        rig.poller.wait(now).unwrap();
        assert!(!rig.inbound.arm() && rig.poller.wait(now).unwrap().is_empty());
        let mut worker = rig.worker.open();
        for seq in 0..3 {
            worker.send(reply(seq, 0), &[]).unwrap();
            worker.flush().unwrap();
            let ready = rig.poller.wait(Some(Duration::from_secs(60))).unwrap();
            assert_eq!(
                turn(&*rig.outbound, &mut *rig.inbound, ready[0], 1 << 20),
                [(reply(seq, 0), Content::default())]
            );
            assert!(rig.poller.wait(now).unwrap().is_empty());
        }
    }
}

/// The worker is told to read what is there, and that there is an end.
#[test]
fn a_worker_at_a_socket_sees_the_end_and_a_torn_frame() {
    let Rig { outbound, inbound, worker, .. } = rig(DataPath::Socket);
    let mut worker = worker.open();
    outbound.post(Down::End, None);
    outbound.flush();
    drop((outbound, inbound));
    assert_eq!(worker.receive().unwrap(), Some((Down::End, Content::default())));
    assert_eq!(worker.receive().unwrap(), None);

    let (ours, theirs) = crate::sys::socket::stream_pair().unwrap();
    rustix::io::write(&ours, &Down::End.encode()[..7]).unwrap();
    drop(ours);
    let mut worker = open(DataPath::Socket, vec![theirs]).unwrap();
    assert_eq!(worker.receive().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    const { assert!(DOWN > 7) };
}

#[test]
fn the_parent_at_a_socket_sees_the_end_also_when_frames_were_left_unread() {
    let Rig { outbound, mut inbound, worker, .. } = rig(DataPath::Socket);
    outbound.post(task(1, 10), Some(&bytes(10)));
    outbound.flush();
    let mut worker = worker.open();
    worker.send(Up::Ready, &[]).unwrap();
    worker.flush().unwrap();
    drop(worker);
    let mut frames = Vec::new();
    while inbound.receive(1 << 20, &mut frames).unwrap() != Inflow::End {}
    assert_eq!(frames, [(Up::Ready, Content::default())]);
    // Sending to nobody is silent and keeps nothing.
    let body = Arc::new(vec![0; 1 << 20]);
    outbound.post(task(2, 1 << 20), Some(&Bytes::Large(body.clone())));
    outbound.flush();
    assert_eq!(Arc::strong_count(&body), 1);
}

/// What is wrong with the worker's side of the parent's ring is found when something is sent, and told when something is received.
#[test]
fn a_worker_that_takes_more_than_there_is_costs_its_link() {
    let mut rig = rig(DataPath::Ring);
    let memory = concurrent_futures_ipc::SharedMemory::open(rig.worker.1[0].try_clone().unwrap(), ring::SIZE).unwrap();
    // SAFETY: the second line of the first ring begins with its head, which is within the memory.
    let head = unsafe { memory.start().add(128) };
    // SAFETY: mapped as long as the borrow, aligned, and any bit pattern is a valid atomic.
    let head = unsafe { head.cast::<std::sync::atomic::AtomicU64>().as_ref() };
    head.store(1 << 50, Ordering::Relaxed);
    rig.poller.wait(Some(Duration::ZERO)).unwrap();
    assert_eq!(rig.inbound.receive(1, &mut Vec::new()).unwrap(), Inflow::Dry);
    rig.outbound.post(task(1, 1 << 20), Some(&bytes(1 << 20)));
    rig.outbound.flush();
    // The supervisor is told.
    assert_eq!(rig.poller.wait(Some(Duration::from_secs(60))).unwrap()[0].token, TOKEN);
    let error = rig.inbound.receive(1, &mut Vec::new()).unwrap_err();
    assert!(error.to_string().contains("position in the ring"), "{error}");
}
