use super::*;
use futures::executor::block_on;
use futures::future::{join_all, select};
use std::io::{Read, Write, pipe};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::Wake;

#[test]
fn many_wait_for_one_descriptor_and_for_many() {
    let (reader, mut writer) = pipe().unwrap();
    let (other, mut other_writer) = pipe().unwrap();
    let waiting: Vec<_> = (0..10).map(|n| readable(if n % 2 == 0 { &reader } else { &other }).unwrap()).collect();
    let all = thread::spawn(|| block_on(join_all(waiting)));
    writer.write_all(b"x").unwrap();
    other_writer.write_all(b"x").unwrap();
    assert!(all.join().unwrap().into_iter().all(|outcome| outcome.is_ok()));
}

#[test]
fn what_is_readable_already_and_what_has_ended() {
    let (reader, writer) = pipe().unwrap();
    drop(writer);
    block_on(readable(&reader).unwrap()).unwrap();
    block_on(readable(&reader).unwrap()).unwrap();
}

#[test]
fn the_descriptor_may_be_closed_and_the_future_dropped() {
    let (reader, mut writer) = pipe().unwrap();
    let (left, kept) = (readable(&reader).unwrap(), readable(&reader).unwrap());
    drop(left);
    let mut again = reader.try_clone().unwrap();
    drop(reader);
    writer.write_all(b"x").unwrap();
    block_on(kept).unwrap();
    again.read_exact(&mut [0]).unwrap();
    drop(readable(&again).unwrap());
}

#[test]
fn the_last_waker_is_woken_and_one_that_panics_keeps_nobody_asleep() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("a waker that panics (a test wants this)");
        }
    }
    struct Counts(AtomicUsize);
    impl Wake for Counts {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let (reader, mut writer) = pipe().unwrap();
    let never = Arc::new(Counts(AtomicUsize::new(0)));
    let mut panics = pin!(readable(&reader).unwrap());
    let mut moved = pin!(readable(&reader).unwrap());
    let waker = Waker::from(never.clone());
    assert!(moved.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    let waker = Waker::from(Arc::new(Panics));
    assert!(panics.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    let waiting = thread::scope(|s| {
        let both = s.spawn(|| block_on(moved));
        writer.write_all(b"x").unwrap();
        both.join().unwrap()
    });
    waiting.unwrap();
    block_on(panics).unwrap();
    assert!(never.0.load(Ordering::Relaxed) <= 1);
}

#[test]
fn a_file_is_refused() {
    let file = std::fs::File::open("/proc/self/exe").unwrap();
    assert_eq!(readable(&file).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
}

#[test]
fn nothing_is_left_of_those_that_are_gone() {
    let (reader, mut writer) = pipe().unwrap();
    let (never, _open) = pipe().unwrap();
    for _ in 0..1000 {
        let never = readable(&never).unwrap();
        writer.write_all(b"x").unwrap();
        block_on(select(readable(&reader).unwrap(), never)).factor_first().0.unwrap();
        (&reader).read_exact(&mut [0]).unwrap();
    }
    let reactor = Reactor::of_this_process().unwrap();
    // Those of the tests beside this one may be there, some dozens.
    assert!(reactor.waiting.lock().len() < 500);
}

#[test]
fn a_waker_that_is_replaced_may_be_the_last_owner_of_a_future() {
    struct Owns(#[expect(dead_code, reason = "it is owned")] Ready);
    impl Wake for Owns {
        fn wake(self: Arc<Self>) {}
    }
    let (reader, _writer) = pipe().unwrap();
    let mut polled = pin!(readable(&reader).unwrap());
    let waker = Waker::from(Arc::new(Owns(readable(&reader).unwrap())));
    assert!(polled.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    drop(waker);
    // Now it goes, and the future in it.
    assert!(polled.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
}
