//! Channels and shared memory of `ipc-channel` as arguments and results. On threads they are handed over as they are.

use crate::tasks::square;
use concurrent_futures::ipc_channel::ipc::{IpcReceiver, IpcSender, IpcSharedMemory, channel};
use concurrent_futures::{CodecStep, ExecutorExt};
use concurrent_futures_conformance::{Kind, PATIENCE, Soon, Stage, Ticket, tests};
use serde::{Deserialize, Serialize};

fn count((sender, up_to): (IpcSender<u32>, u32)) -> u32 {
    for number in 0..up_to {
        sender.send(number).unwrap();
    }
    up_to
}

fn a_task_streams_partial_results(kind: Kind) {
    let ex = kind.pool(1);
    let (sender, receiver) = channel().unwrap();
    let future = ex.submit(count, (sender, 100));
    for number in 0..100 {
        assert_eq!(receiver.try_recv_timeout(PATIENCE).unwrap(), number);
    }
    assert_eq!(future.soon().unwrap(), 100);
    assert!(receiver.try_recv_timeout(PATIENCE).is_err(), "the task's end of the channel is closed");
}

fn a_task_holds_a_conversation(kind: Kind) {
    fn echo((input, output): (IpcReceiver<Option<String>>, IpcSender<String>)) -> usize {
        let mut answered = 0;
        while let Some(text) = input.recv().unwrap() {
            output.send(text.to_uppercase()).unwrap();
            answered += 1;
        }
        answered
    }
    let ex = kind.pool(1);
    let ((to_task, input), (output, from_task)) = (channel().unwrap(), channel().unwrap());
    let future = ex.submit(echo, (input, output));
    for word in ["one", "two"] {
        to_task.send(Some(word.to_string())).unwrap();
        assert_eq!(from_task.try_recv_timeout(PATIENCE).unwrap(), word.to_uppercase());
        assert!(future.running());
    }
    to_task.send(None).unwrap();
    assert_eq!(future.soon().unwrap(), 2);
}

fn a_task_gives_channels_back(kind: Kind) {
    fn open(greeting: String) -> (IpcReceiver<String>, Option<IpcSender<u8>>) {
        let (sender, receiver) = channel().unwrap();
        sender.send(greeting).unwrap();
        (receiver, Some(channel().unwrap().0))
    }
    let ex = kind.pool(1);
    let (receiver, sender) = ex.submit(open, "hello".to_string()).soon().unwrap();
    assert_eq!(receiver.try_recv_timeout(PATIENCE).unwrap(), "hello");
    assert!(sender.is_some());
}

#[derive(Serialize, Deserialize)]
struct Image {
    name: String,
    pixels: IpcSharedMemory,
}

fn shared_memory_travels_in_both_directions(kind: Kind) {
    fn invert(image: Image) -> Image {
        let pixels: Vec<u8> = image.pixels.iter().map(|pixel| !pixel).collect();
        Image { name: image.name + ", inverted", pixels: IpcSharedMemory::from_bytes(&pixels) }
    }
    let ex = kind.pool(1);
    let pixels = IpcSharedMemory::from_bytes(&[7; 1_000_000]);
    let image = ex.submit(invert, Image { name: "a cat".to_string(), pixels }).soon().unwrap();
    assert_eq!(image.name, "a cat, inverted");
    assert!(image.pixels.len() == 1_000_000 && image.pixels.iter().all(|pixel| *pixel == !7));
}

fn the_items_of_a_map_may_have_them(kind: Kind) {
    let ex = kind.pool(2);
    for chunksize in [1, 2, 5] {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..5).map(|_| channel().unwrap()).unzip();
        let results = ex.tasks(count, senders.into_iter().zip(0..)).chunksize(chunksize).map();
        assert!(results.map(Result::unwrap).eq(0..5));
        for (receiver, up_to) in receivers.into_iter().zip(0..) {
            for number in 0..up_to {
                assert_eq!(receiver.try_recv_timeout(PATIENCE).unwrap(), number, "chunksize {chunksize}");
            }
        }
    }
}

struct Stubborn;

impl Serialize for Stubborn {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("I stay here"))
    }
}

impl<'de> Deserialize<'de> for Stubborn {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("how did I get here?"))
    }
}

fn a_failure_beside_them_spoils_nothing_else(kind: Kind) {
    let ex = kind.pool(1);
    let (sender, receiver) = channel::<u32>().unwrap();
    let (spare_sender, spare_receiver) = channel::<u32>().unwrap();
    // The handles have been met when the encoding fails.
    let error =
        ex.submit(|_: (IpcSender<u32>, IpcReceiver<u32>, Stubborn)| (), (sender.clone(), spare_receiver, Stubborn));
    assert_eq!(error.soon().unwrap_err().codec().unwrap().step(), CodecStep::EncodeArgument);
    let result = ex.submit(|sender: IpcSender<u32>| (sender, Stubborn), sender.clone());
    assert_eq!(result.soon().map(drop).unwrap_err().codec().unwrap().step(), CodecStep::EncodeResult);
    drop(spare_sender);
    // The next sends of this thread, plain and as a task, carry what they should and nothing else.
    assert_eq!(ex.submit(square, 3).soon().unwrap(), 9);
    sender.send(1).unwrap();
    assert_eq!(receiver.recv().unwrap(), 1);
    assert_eq!(ex.submit(count, (sender, 3)).soon().unwrap(), 3);
    assert!([0, 1, 2].iter().all(|number| receiver.try_recv_timeout(PATIENCE).unwrap() == *number));
}

fn a_context_cannot_have_them_in_processes(kind: Kind) {
    let ex = kind.pool(1);
    let (sender, receiver) = channel::<u32>().unwrap();
    let result = ex.with_context(sender).submit(|sender: &IpcSender<u32>, x: u32| sender.send(x).is_ok(), 7).soon();
    if kind.is_process() {
        let error = result.unwrap_err();
        assert!(error.codec().unwrap().message().contains("context"), "{error}");
    } else {
        assert!(result.unwrap());
        assert_eq!(receiver.recv().unwrap(), 7);
    }
}

fn a_dead_worker_closes_its_end(kind: Kind) {
    fn hold((ticket, sender): (Ticket, IpcSender<u32>)) {
        sender.send(1).unwrap();
        ticket.enter("held");
    }
    let (ex, stage) = (kind.processes(1).build().unwrap(), Stage::new());
    let (sender, receiver) = channel().unwrap();
    let future = ex.submit(hold, (stage.ticket(), sender));
    let _arrival = stage.next();
    assert_eq!(receiver.try_recv_timeout(PATIENCE).unwrap(), 1);
    ex.kill_workers();
    assert!(receiver.try_recv_timeout(PATIENCE).is_err());
    assert!(future.soon().unwrap_err().is_worker_death());
}

/// A receiver can be sent only once: it must not be buffered at a worker that may die before it starts the task.
fn a_receiver_survives_the_death_of_the_worker_before_it(kind: Kind) {
    fn read(input: IpcReceiver<u32>) -> u32 {
        input.recv().unwrap()
    }
    let (ex, stage) = (kind.processes(1).build().unwrap(), Stage::new());
    let running = ex.submit(|ticket: Ticket| ticket.enter("held"), stage.ticket());
    let arrival = stage.next();
    let (sender, receiver) = channel().unwrap();
    let future = ex.submit(read, receiver);
    let pid = i32::try_from(arrival.pid()).ok().and_then(rustix::process::Pid::from_raw).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    assert!(running.soon().unwrap_err().is_worker_death());
    sender.send(7).unwrap();
    assert_eq!(future.soon().unwrap(), 7);
}

tests! {
    all {
        a_task_streams_partial_results,
        a_task_gives_channels_back,
        shared_memory_travels_in_both_directions,
        the_items_of_a_map_may_have_them,
        a_context_cannot_have_them_in_processes,
    }
    parallel {
        a_task_holds_a_conversation,
    }
    process {
        a_failure_beside_them_spoils_nothing_else,
        a_dead_worker_closes_its_end,
        a_receiver_survives_the_death_of_the_worker_before_it,
    }
}
