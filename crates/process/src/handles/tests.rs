use super::*;
use crate::sys::message;
use crate::sys::socket::{packet_pair, set_nonblocking};
use crate::wire::Ticket;
use concurrent_futures_core::codec::{CodecFailure, decode, encode};
use ipc_channel::ipc::{self, IpcBytesSender, IpcReceiver, IpcSender, IpcSharedMemory};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// A value that is ready to travel.
type Sent = (Vec<u8>, Parcel);

#[track_caller]
fn pack<T: Serialize>(value: &T) -> Sent {
    assert_clean();
    let mut bytes = Vec::new();
    assert!(encode(value, &mut bytes).expect("it can be written").handles);
    let parcel = Parcel::pack().expect("there is room").expect("there are handles");
    assert_clean();
    (bytes, parcel)
}

fn unpack<T: DeserializeOwned>((bytes, mut parcel): Sent) -> Result<T, CodecFailure> {
    let mut outcome = None;
    parcel.unpack(&mut || outcome = Some(decode(&bytes))).expect("it was packed");
    outcome.expect("the decoding was run")
}

/// Nothing is parked in this thread.
#[track_caller]
fn assert_clean() {
    let (sender, _receiver) = ipc::channel::<Vec<u8>>().expect("a channel");
    assert_eq!(parked::park(&sender).expect("a number"), 0, "no channel is parked");
    assert!(!parked::has_regions().expect("a number"), "no region is parked");
    sender.send(vec![]).expect("room");
}

fn channel() -> (IpcSender<String>, IpcReceiver<String>) {
    ipc::channel().expect("a channel")
}

fn says(sender: &IpcSender<String>, receiver: &IpcReceiver<String>) {
    sender.send("hello".to_owned()).expect("room");
    assert_eq!(receiver.recv().expect("a message"), "hello");
}

/// For what is so when all have closed it: a program that another test starts may have a copy until it has come to its exec.
#[track_caller]
fn until(what: &str, mut is: impl FnMut() -> bool) {
    let limit = Instant::now() + Duration::from_secs(20);
    while !is() {
        assert!(Instant::now() < limit, "{what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// All senders are closed. A program that another test starts may have a copy until it has come to its exec.
fn is_closed(receiver: &IpcReceiver<String>) -> bool {
    let outcome = receiver.try_recv_timeout(Duration::from_secs(20));
    matches!(outcome, Err(ipc_channel::TryRecvError::IpcError(ipc_channel::IpcError::Disconnected)))
}

#[test]
fn every_kind_of_handle_travels() {
    let (sender, receiver) = channel();
    let sender = unpack::<IpcSender<String>>(pack(&sender)).expect("it arrived");
    says(&sender, &receiver);
    let receiver = unpack::<IpcReceiver<String>>(pack(&receiver)).expect("it arrived");
    says(&sender, &receiver);

    let memory = IpcSharedMemory::from_bytes(b"shared");
    let same = unpack::<IpcSharedMemory>(pack(&memory)).expect("it arrived");
    assert_eq!(&same[..], b"shared");

    let (sender, receiver) = ipc::bytes_channel().expect("a channel");
    let sender = unpack::<IpcBytesSender>(pack(&sender)).expect("it arrived");
    sender.send(b"bytes").expect("room");
    assert_eq!(receiver.recv().expect("a message"), b"bytes");
}

#[derive(Serialize, Deserialize)]
struct Work {
    number: u64,
    reply: Transparent<IpcSender<String>>,
    tables: Vec<IpcSharedMemory>,
    orders: Option<IpcReceiver<String>>,
    empty: IpcSharedMemory,
}

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Transparent<T>(T);

#[test]
fn handles_travel_wherever_they_are_in_a_value() {
    let (reply, replies) = channel();
    let (order, orders) = channel();
    let tables = [b"one".as_slice(), b"two"].map(IpcSharedMemory::from_bytes).to_vec();
    let empty = IpcSharedMemory::from_bytes(b"");
    let work = Work { number: 7, reply: Transparent(reply), tables, orders: Some(orders), empty };
    let work = unpack::<Work>(pack(&work)).expect("it arrived");
    assert_eq!(
        (work.number, &work.tables[0][..], &work.tables[1][..], work.empty.len()),
        (7, &b"one"[..], &b"two"[..], 0)
    );
    says(&work.reply.0, &replies);
    says(&order, &work.orders.expect("it was there"));

    let (reply, replies) = channel();
    says(&unpack::<Transparent<IpcSender<String>>>(pack(&Transparent(reply))).expect("it arrived").0, &replies);
    let memory = Transparent(Box::new(IpcSharedMemory::from_byte(3, 3)));
    assert_eq!(unpack::<Transparent<Box<IpcSharedMemory>>>(pack(&memory)).expect("it arrived").0[..], [3; 3]);
}

#[test]
fn a_false_alarm_makes_no_parcel() {
    let mut bytes = Vec::new();
    assert!(encode(&Transparent(0u64), &mut bytes).expect("it can be written").handles);
    assert!(Parcel::pack().expect("there is room").is_none());
    assert_clean();
    assert!(encode(&IpcSharedMemory::from_bytes(b""), &mut bytes).expect("it can be written").handles);
    assert!(Parcel::pack().expect("there is room").is_none());
    assert_clean();
}

#[test]
fn too_many_handles_are_an_error() {
    // Hidden from core, which refuses known handles before they are too many.
    let (sender, receiver) = channel();
    let most = (0..63).map(|_| Transparent(sender.clone())).collect::<Vec<_>>();
    assert_eq!(unpack::<Vec<Transparent<IpcSender<String>>>>(pack(&most)).expect("they arrived").len(), 63);

    let many = (0..64).map(|_| Transparent(sender.clone())).collect::<Vec<_>>();
    assert!(encode(&many, &mut Vec::new()).expect("it can be written").handles);
    let error = Parcel::pack().expect_err("too many");
    assert!(error.to_string().contains("more than 64"));
    assert_clean();
    drop((sender, most, many));
    assert!(is_closed(&receiver));
}

#[test]
fn a_failed_encoding_leaves_the_thread_clean() {
    #[derive(Serialize)]
    struct Bad(IpcSender<String>, #[serde(serialize_with = "fail")] ());
    fn fail<S: serde::Serializer>((): &(), _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("no"))
    }
    let (sender, receiver) = channel();
    let failure = encode(&Bad(sender, ()), &mut Vec::new()).expect_err("it fails");
    assert!(failure.handles());
    forget_parked();
    assert_clean();
    assert!(is_closed(&receiver), "the bad value's sender and what was parked of it");
}

#[test]
fn what_the_decoding_does_not_take_is_closed() {
    let (sender, receiver) = channel();
    let sent = pack(&(Transparent(0u64), sender));
    assert!(unpack::<(u8, u8, u8)>(sent).is_err());
    assert!(is_closed(&receiver));

    // Damaged bytes.
    let (sender, receiver) = channel();
    let (mut bytes, parcel) = pack(&vec![sender]);
    bytes[1] = 9;
    let failure = unpack::<Vec<IpcSender<String>>>((bytes, parcel)).expect_err("there is no ninth channel");
    assert!(failure.message().starts_with("panicked"), "{failure}");
    assert!(is_closed(&receiver));

    // Never unpacked.
    let (sender, receiver) = channel();
    drop(pack(&sender));
    drop(sender);
    assert!(is_closed(&receiver));
}

#[test]
fn a_panic_of_the_decoding_comes_out_of_unpack() {
    let (sender, receiver) = channel();
    let (_, mut parcel) = pack(&sender);
    drop(sender);
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        parcel.unpack(&mut || std::panic::resume_unwind(Box::new(17)))
    }));
    assert_eq!(panic.expect_err("it panics").downcast_ref(), Some(&17));
    assert!(is_closed(&receiver));

    let mut runs = 0;
    assert!(parcel.unpack(&mut || runs += 1).is_err(), "once only");
    assert_eq!(runs, 0);
}

#[test]
fn one_decoding_may_unpack_another_parcel() {
    #[derive(Debug)]
    struct Nested(String);
    impl<'de> Deserialize<'de> for Nested {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let last = u8::deserialize(deserializer)?;
            let inner = unpack::<IpcSharedMemory>(pack(&IpcSharedMemory::from_byte(last, 2))).expect("it arrived");
            Ok(Nested(format!("{:?}", &inner[..])))
        }
    }
    let memory = IpcSharedMemory::from_byte(1, 1);
    let (memory, nested) = unpack::<(IpcSharedMemory, Nested)>(pack(&(memory, 5u8))).expect("it arrived");
    assert_eq!((&memory[..], nested.0.as_str()), (&[1][..], "[5, 5]"));
}

#[test]
fn what_a_user_left_parked_does_no_harm() {
    let (stray, strays) = channel();
    let (sender, receiver) = channel();
    let park = || parked::park(&stray).expect("a number");
    park();
    let mut bytes = Vec::new();
    assert!(encode(&sender, &mut bytes).expect("it can be written").handles);
    let parcel = Parcel::pack().expect("there is room").expect("there are handles");
    assert_clean();
    says(&unpack::<IpcSender<String>>((bytes, parcel)).expect("it arrived"), &receiver);

    let (mut parent, mut worker) = lanes();
    for _ in 0..2 {
        let (bytes, parcel) = pack(&sender);
        park();
        parent.send(TICKET, parcel).expect("the lane is open");
        assert_clean();
        let parcel = worker.receive(TICKET).expect("it was sent");
        says(&unpack::<IpcSender<String>>((bytes, parcel)).expect("it arrived"), &receiver);
        std::mem::swap(&mut parent, &mut worker);
    }
    drop(stray);
    assert!(is_closed(&strays));
}

const TICKET: Ticket = Ticket { slot: 3, seq: 9 };
const OTHER: Ticket = Ticket { slot: 3, seq: 10 };

/// One end of an open lane, whichever.
enum Lane {
    Parent(ParentLane),
    Worker(WorkerLane),
}

impl Lane {
    fn send(&mut self, ticket: Ticket, parcel: Parcel) -> io::Result<()> {
        match self {
            Lane::Parent(lane) => lane.send(ticket, parcel),
            Lane::Worker(lane) => lane.send(ticket, parcel, &mut already_open),
        }
    }

    fn receive(&mut self, ticket: Ticket) -> io::Result<Parcel> {
        match self {
            Lane::Parent(lane) => lane.receive(ticket),
            Lane::Worker(lane) => lane.receive(ticket, &mut already_open),
        }
    }
}

fn already_open() -> io::Result<()> {
    panic!("the lane is open")
}

/// The parent's end of a control socket, and the worker's lane that hears the other end.
fn controlled() -> (OwnedFd, WorkerLane) {
    let (ours, theirs) = packet_pair().expect("a pair");
    let (pass_on, coming) = mpsc::channel();
    thread::spawn(move || {
        while let Ok(Some(mut message)) = message::receive(&theirs, &mut [0; 64]) {
            if pass_on.send(message.fds.pop()).is_err() {
                break;
            }
        }
    });
    (ours, WorkerLane::new(coming))
}

/// Both ends of a lane that has carried a parcel each way.
fn lanes() -> (Lane, Lane) {
    let (control, mut worker) = controlled();
    let (asked, asks) = mpsc::channel();
    let (sender, receiver) = channel();
    let (_, parcel) = pack(&receiver);
    let mut parent = ParentLane::default();
    parent.send(OTHER, parcel).expect("it waits");
    let worker = thread::spawn(move || {
        let mut ask = || asked.send(()).map_err(io::Error::other);
        let parcel = worker.receive(OTHER, &mut ask).expect("the parent answers");
        worker.send(OTHER, parcel, &mut already_open).expect("the lane is open");
        worker
    });
    asks.recv().expect("the worker asks");
    parent.open(control.as_fd()).expect("it is there");
    let worker = worker.join().expect("no panic");
    let parcel = parent.receive(OTHER).expect("it was sent");
    drop(parcel);
    until("the receiver has come back and is closed", || sender.send(String::new()).is_err());
    (Lane::Parent(parent), Lane::Worker(worker))
}

#[test]
fn a_lane_carries_parcels_both_ways() {
    let (mut parent, mut worker) = lanes();
    for _ in 0..3 {
        let (sender, receiver) = channel();
        let (bytes, parcel) = pack(&sender);
        parent.send(TICKET, parcel).expect("the lane is open");
        let parcel = worker.receive(TICKET).expect("it was sent");
        let (sender, _) = (unpack::<IpcSender<String>>((bytes, parcel)).expect("it arrived"), sender);
        says(&sender, &receiver);

        let (bytes, parcel) = pack(&(receiver, IpcSharedMemory::from_byte(9, 9)));
        worker.send(TICKET, parcel).expect("the lane is open");
        let parcel = parent.receive(TICKET).expect("it was sent");
        let (receiver, memory) = unpack::<(IpcReceiver<String>, IpcSharedMemory)>((bytes, parcel)).expect("it arrived");
        says(&sender, &receiver);
        assert_eq!(memory[..], [9; 9]);
    }
}

#[test]
fn a_worker_opens_the_lane_for_its_first_result() {
    let (control, mut lane) = controlled();
    let (asked, asks) = mpsc::channel();
    let (sender, receiver) = channel();
    let worker = thread::spawn(move || {
        let (bytes, parcel) = pack(&sender);
        let mut ask = || asked.send(()).map_err(io::Error::other);
        lane.send(TICKET, parcel, &mut ask).expect("the parent answers");
        bytes
    });
    let mut parent = ParentLane::default();
    asks.recv().expect("the worker asks");
    parent.open(control.as_fd()).expect("it is there");
    // The worker is gone, but what it sent is there.
    let bytes = worker.join().expect("no panic");
    let parcel = parent.receive(TICKET).expect("it was sent");
    says(&unpack::<IpcSender<String>>((bytes, parcel)).expect("it arrived"), &receiver);
    until("no more", || parent.receive(TICKET).expect_err("no more").kind() == io::ErrorKind::ConnectionReset);
}

#[test]
fn a_parcel_finds_its_task() {
    let (mut parent, mut worker) = lanes();
    for (ticket, byte) in [(OTHER, 1), (TICKET, 2)] {
        let (_, parcel) = pack(&IpcSharedMemory::from_byte(byte, 1));
        parent.send(ticket, parcel).expect("the lane is open");
    }
    let parcel = worker.receive(TICKET).expect("it was sent");
    let memory = unpack::<IpcSharedMemory>((vec![0], parcel)).expect("it arrived");
    assert_eq!(memory[..], [2]);
}

#[test]
fn a_parent_never_waits_for_a_worker() {
    let (mut parent, worker) = lanes();
    assert_eq!(parent.receive(TICKET).expect_err("nothing was sent").kind(), io::ErrorKind::InvalidData);
    // More than there are slots.
    for _ in 0..100 {
        let (_, parcel) = pack(&IpcSharedMemory::from_byte(1, 1));
        parent.send(TICKET, parcel).expect("there is room");
    }
    drop(worker);
    let (_, parcel) = pack(&IpcSharedMemory::from_byte(1, 1));
    parent.send(TICKET, parcel).expect("nobody is there: it is as good as sent");
    assert_clean();

    let mut closed = ParentLane::default();
    assert_eq!(closed.receive(TICKET).expect_err("no lane").kind(), io::ErrorKind::InvalidData);
    let (control, _) = packet_pair().expect("a pair");
    until("nobody is there", || closed.open(control.as_fd()).is_err_and(|error| worker_is_gone(&error)));
    // One that asks again and again, and takes nothing.
    let (control, _deaf) = packet_pair().expect("a pair");
    set_nonblocking(&control, true).expect("a socket");
    let error = (0..10_000).find_map(|_| closed.open(control.as_fd()).err()).expect("there is an end to it");
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn a_worker_without_a_parent_gets_an_error() {
    let (parent, mut worker) = lanes();
    drop(parent);
    assert_eq!(worker.receive(TICKET).expect_err("nobody is there").kind(), io::ErrorKind::ConnectionReset);
    let (_, parcel) = pack(&IpcSharedMemory::from_byte(1, 1));
    assert!(worker.send(TICKET, parcel).is_err());

    // It may try again to open a lane.
    let (control, mut worker) = controlled();
    let refused = worker.receive(TICKET, &mut || Err(io::ErrorKind::BrokenPipe.into()));
    assert_eq!(refused.expect_err("it cannot ask").kind(), io::ErrorKind::BrokenPipe);
    let lost = worker.receive(TICKET, &mut || message::send(&control, b"lane", &[]));
    assert!(lost.expect_err("no descriptor").to_string().contains("no descriptor"));
    let mut parent = ParentLane::default();
    let (_, parcel) = pack(&IpcSharedMemory::from_byte(1, 1));
    parent.send(TICKET, parcel).expect("it waits");
    // What is sent waits in the sockets, so one thread can play both.
    let parcel = worker.receive(TICKET, &mut || parent.open(control.as_fd())).expect("the parent answers");
    assert_eq!(unpack::<IpcSharedMemory>((vec![0], parcel)).expect("it arrived")[..], [1]);
    drop((parent, control));
    let (_, mut worker) = controlled();
    let alone = worker.receive(TICKET, &mut || Ok(())).expect_err("nobody is there");
    assert_eq!(alone.kind(), io::ErrorKind::ConnectionReset);
}
