use super::*;
use std::io::{Read, Write};
use std::os::fd::BorrowedFd;

fn pipes(n: usize) -> (Vec<io::PipeReader>, Vec<Attachment>) {
    (0..n).map(|_| io::pipe().unwrap()).map(|(reader, writer)| (reader, Attachment::new(writer.into()))).unzip()
}

fn ends() -> (Tray, Tray) {
    let (ours, theirs) = Tray::pair().unwrap();
    (ours, Tray::of(theirs))
}

fn take_all(arrived: Arrived, count: u32) -> Vec<OwnedFd> {
    attach::provide(arrived, || (0..count).map(|place| attach::take(place).unwrap().into_fd().unwrap()).collect())
}

/// Everything that has been written by those who are gone.
fn read_to_end(mut reader: io::PipeReader) -> String {
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn descriptors_arrive_in_their_order_both_ways() {
    let (mut ours, mut theirs) = ends();
    for down in [true, false] {
        let (from, to) = if down { (&mut ours, &mut theirs) } else { (&mut theirs, &mut ours) };
        // One packet, several, and exactly full ones.
        for count in [1, 3, MAX_FDS, MAX_FDS + 1, 2 * MAX_FDS] {
            let (readers, attachments) = pipes(count);
            let attached = from.send(&attachments).unwrap();
            drop(attachments);
            assert_eq!((attached.count as usize, packets(&[])), (count, 0));
            for (n, writer) in take_all(to.receive(attached).unwrap(), attached.count).into_iter().enumerate() {
                write!(std::fs::File::from(writer), "{n}").unwrap();
            }
            for (n, reader) in readers.into_iter().enumerate() {
                assert_eq!(read_to_end(reader), n.to_string());
            }
        }
    }
}

#[test]
fn what_was_given_up_is_passed_over_and_closed() {
    let (mut ours, theirs) = ends();
    let (mut lost, attachments) = pipes(1);
    ours.send(&attachments).unwrap();
    drop(attachments);
    let (_kept, attachments) = pipes(2);
    let attached = ours.send(&attachments).unwrap();
    assert!(!theirs.receive(attached).unwrap().is_empty());
    assert_eq!(read_to_end(lost.remove(0)), "", "its other end is closed");
}

#[test]
fn the_same_can_be_sent_again() {
    let (mut ours, theirs) = ends();
    let (mut readers, attachments) = pipes(1);
    for n in 0..3 {
        let attached = ours.send(&attachments).unwrap();
        let [writer] = <[OwnedFd; 1]>::try_from(take_all(theirs.receive(attached).unwrap(), 1)).unwrap();
        write!(std::fs::File::from(writer), "{n}").unwrap();
    }
    drop(attachments);
    assert_eq!(read_to_end(readers.remove(0)), "012");
}

#[track_caller]
fn is_refused(tray: &Tray, number: u32, count: u32, words: &str) {
    let error = tray.receive(Attached { number, count }).unwrap_err();
    assert!(error.kind() == io::ErrorKind::InvalidData && error.to_string().contains(words), "{error}");
}

#[test]
fn a_peer_that_breaks_the_protocol_is_found_out() {
    let zero = std::fs::File::open("/dev/zero").unwrap();
    let descriptors = |n| vec![zero.as_fd(); n];
    let (ours, theirs) = ends();
    let send =
        |bytes: &[u8], descriptors: &[BorrowedFd<'_>]| message::send(&theirs.socket, bytes, descriptors).unwrap();

    is_refused(&ours, 1, 1, "did not send");
    send(b"x", &descriptors(1));
    is_refused(&ours, 1, 1, "none");
    send(&head(1, 0), &[]);
    is_refused(&ours, 1, 1, "none");
    send(&head(1, MAX_FDS + 1), &descriptors(2));
    is_refused(&ours, 1, 1, "none");
    send(&head(1, 1), &descriptors(2));
    is_refused(&ours, 1, 2, "more descriptors");
    send(&head(1, 3), &descriptors(3));
    is_refused(&ours, 1, 2, "more descriptors");
    send(&head(1, 1), &descriptors(1));
    is_refused(&ours, 1, 2, "did not send");
    send(&head(2, 1), &descriptors(1));
    is_refused(&ours, 1, 1, "did not send");
    drop(theirs);
    // A program that another test starts may have a copy until it has come to its exec.
    let is_closed =
        || ours.receive(Attached { number: 1, count: 1 }).is_err_and(|error| error.to_string().contains("closed"));
    let limit = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !is_closed() {
        assert!(std::time::Instant::now() < limit);
        std::thread::yield_now();
    }
}

/// It claims to have sent them, as if this process had had no room.
#[test]
fn what_is_missing_is_known_to_be() {
    let (ours, theirs) = ends();
    let zero = std::fs::File::open("/dev/zero").unwrap();
    message::send(&theirs.socket, &head(1, 2), &[zero.as_fd()]).unwrap();
    message::send(&theirs.socket, &head(1, 1), &[zero.as_fd()]).unwrap();
    let arrived = ours.receive(Attached { number: 1, count: 3 }).unwrap();
    attach::provide(arrived, || {
        assert!(attach::take(0).is_ok());
        for place in 1..3 {
            assert_eq!(attach::take(place).unwrap_err(), attach::AttachError::Lost);
        }
        assert_eq!(attach::take(3).unwrap_err(), attach::AttachError::Unknown(3));
    });
}

#[test]
fn as_many_packets_as_may_be_under_way_have_room() {
    let (mut ours, theirs) = ends();
    let (_readers, attachments) = pipes(1);
    // More, for contexts, and for what was given up.
    let attached: Vec<_> = (0..PACKETS_MAX + 32).map(|_| ours.send(&attachments).unwrap()).collect();
    for attached in attached {
        theirs.receive(attached).unwrap();
    }
}
