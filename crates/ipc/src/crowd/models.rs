//! The rule as the receivers of a connection keep it (`connection/incoming.rs`, where the messages, the descriptors and the end are), over all
//! interleavings. As the models of the ring: a wake-up that is lost is a deadlock.

use super::Crowd;
use crate::ring::{Consumer, Place, Producer, Wake};
use loom::sync::{Arc, Mutex};
use loom::thread;

/// One end, which receives; a message is a byte.
struct End {
    place: Place,
    incoming: Mutex<Incoming>,
    crowd: Crowd,
}

struct Incoming {
    consumer: Consumer,
    /// Taken out of the ring, and not received.
    stock: Vec<u8>,
}

impl End {
    fn incoming(&self) -> impl std::ops::DerefMut<Target = Incoming> + '_ {
        self.incoming.lock().expect("no model panics here")
    }

    fn rouse(&self, joined: bool) {
        self.crowd.rouse(joined, || self.place.ring()).unwrap();
    }

    /// As `End::look`, by one that has joined or not.
    fn look(&self, joined: bool) -> Option<u8> {
        let mut incoming = self.incoming();
        let Incoming { consumer, stock } = &mut *incoming;
        if stock.is_empty() {
            stock.reserve(4);
            consumer.read(stock, 4).unwrap();
        }
        let taken = (!stock.is_empty()).then(|| stock.remove(0));
        drop(incoming);
        if taken.is_some() {
            self.rouse(joined);
        }
        taken
    }

    /// As `Listener::is_ready`.
    fn is_ready(&self) -> bool {
        let mut incoming = self.incoming();
        !incoming.stock.is_empty() || incoming.consumer.arm(Wake::ByDoorbell).unwrap()
    }

    /// As `End::receive`.
    fn receive(&self) -> u8 {
        if let Some(byte) = self.look(false) {
            return byte;
        }
        self.crowd.join();
        let byte = self.take();
        self.leave();
        byte
    }

    /// By one that has joined.
    fn take(&self) -> u8 {
        let mut ear = self.place.ear();
        loop {
            ear.forget();
            if !self.is_ready() {
                ear.sleep();
            } else if let Some(byte) = self.look(true) {
                return byte;
            }
        }
    }

    /// As the drop of a `Listening`.
    fn leave(&self) {
        self.crowd.leave();
        self.rouse(false);
    }

    /// As a `wait` whose time is over, or a future that is dropped.
    fn give_up(&self) {
        self.crowd.join();
        self.place.ear().forget();
        self.is_ready();
        self.leave();
    }
}

fn connection() -> (Producer, Arc<End>) {
    let place = Place::of(4);
    let incoming = Mutex::new(Incoming { consumer: Consumer::new(place.share()), stock: Vec::new() });
    (Producer::new(place.share()), Arc::new(End { place, incoming, crowd: Crowd::new() }))
}

fn send(producer: &mut Producer, bytes: &[u8]) {
    assert_eq!(producer.write(bytes).unwrap(), bytes.len());
    producer.publish();
    producer.ringer().ring().unwrap();
}

fn check(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

/// Two receive one each of what `write` sends.
fn two_receive(write: fn(&mut Producer)) {
    check(move || {
        let (mut producer, end) = connection();
        let other = thread::spawn({
            let end = end.clone();
            move || end.receive()
        });
        let writer = thread::spawn(move || write(&mut producer));
        let ours = end.receive();
        writer.join().unwrap();
        assert_eq!(u32::from(ours) + u32::from(other.join().unwrap()), u32::from(b'a') + u32::from(b'b'));
    });
}

#[test]
fn loom_two_that_receive_get_what_comes_at_once() {
    two_receive(|producer| send(producer, b"ab"));
}

#[test]
fn loom_two_that_receive_get_what_comes_one_after_the_other() {
    two_receive(|producer| {
        send(producer, b"a");
        send(producer, b"b");
    });
}

/// As one that keeps its `Watch`.
#[test]
fn loom_one_that_takes_and_goes_on_listening_leaves_nobody_asleep() {
    check(|| {
        let (mut producer, end) = connection();
        let other = thread::spawn({
            let end = end.clone();
            move || end.receive()
        });
        let writer = thread::spawn(move || send(&mut producer, b"ab"));
        end.crowd.join();
        end.take();
        other.join().unwrap();
        end.leave();
        writer.join().unwrap();
    });
}

#[test]
fn loom_one_that_gives_up_leaves_nobody_asleep() {
    check(|| {
        let (mut producer, end) = connection();
        let other = thread::spawn({
            let end = end.clone();
            move || end.give_up()
        });
        let writer = thread::spawn(move || send(&mut producer, b"a"));
        assert_eq!(end.receive(), b'a');
        other.join().unwrap();
        writer.join().unwrap();
    });
}
