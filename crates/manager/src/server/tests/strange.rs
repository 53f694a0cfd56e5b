//! Clients that break the rules, or come in crowds.

use super::*;
use crate::wire::auth;
use std::net::TcpStream;
use std::os::fd::AsFd;

fn has_ended(link: &mut Link) -> bool {
    crate::wire::link::readable(&*link, Some(Instant::now() + PATIENCE)).unwrap()
        && !matches!(link.receive(), Ok(Some(_)))
}

#[test]
fn who_breaks_the_rules_harms_himself_alone() {
    let server = Server::start();
    let lock = server.client.lock().unwrap();
    let event = server.client.event().unwrap();
    let mut oversized = frame(Op::Objects, 0, 0).header(0).unwrap();
    oversized[0..4].copy_from_slice(&u32::MAX.to_le_bytes());
    for garbage in [&[0xff; 64][..], &oversized] {
        let mut link = server.link();
        link.send_raw(garbage).unwrap();
        assert!(has_ended(&mut link));
    }
    // Unknown; another request, or nonsense, instead of a cancellation.
    for frames in [
        vec![Frame { code: 250, ..Frame::default() }],
        vec![frame(Op::Wait, event.raw().object(), WAIT), frame(Op::Objects, 0, 0)],
    ] {
        let mut link = server.link();
        frames.iter().for_each(|frame| link.send(frame, &[]).unwrap());
        assert!(has_ended(&mut link));
    }
    // Half a frame, for as long as it likes; with a lock.
    let mut stalled = server.link();
    stalled.send(&frame(Op::Acquire, lock.raw().object(), 0), &[]).unwrap();
    assert_eq!(stalled.receive().unwrap().unwrap().code, Status::Done as u8);
    stalled.send_raw(&[0; 10]).unwrap();
    server.is_well();
    assert!(lock.try_lock().unwrap().is_none());
    drop(stalled);
    assert!(matches!(lock.lock_timeout(PATIENCE), Err(crate::LockError::OwnerDied(_))));
}

#[test]
fn strangers_are_sent_away_and_crowd_nobody_out() {
    let server = Server::start();
    // More than there is room for at the door.
    let silent: Vec<TcpStream> = (0..300).map(|_| TcpStream::connect(server.tcp).unwrap()).collect();
    let remote = ManagerClient::connect(server.tcp, KEY).unwrap();
    assert_eq!(remote.list([1_u8]).unwrap().len().unwrap(), 1);
    server.is_well();
    drop(silent);
    let mut garbage = Link::new(TcpStream::connect(server.tcp).unwrap().into(), false);
    garbage.send_raw(&[7; 4096]).unwrap();
    while garbage.receive_exact::<1>(Instant::now() + PATIENCE).is_ok() {}
    for key in [&b"another key"[..], b"the ke", b"the key "] {
        assert!(matches!(ManagerClient::connect(server.tcp, key), Err(ManagerError::Refused(_))));
    }
    assert!(matches!(ManagerClient::connect(server.tcp, b""), Err(ManagerError::Invalid(_))));
    server.is_well();
}

/// More come at the same time than one could serve in a moment, and nobody of them is sent away.
#[test]
fn a_crowd_that_knows_the_key_is_let_in() {
    let server = Server::start();
    let remote = ManagerClient::connect(server.tcp, KEY).unwrap();
    for remote in [&server.remote, remote.remote()] {
        let mut links: Vec<Link> = (0..150).map(|_| remote.dial().unwrap()).collect();
        for link in &mut links {
            auth::introduce(link, remote.key(), Purpose::Calls).unwrap();
            link.send(&frame(Op::Objects, 0, 0), &[]).unwrap();
            assert_eq!(link.receive().unwrap().unwrap().number, 0);
        }
    }
}

#[test]
fn no_peer_reaches_code_that_is_not_for_calls() {
    let server = Server::start();
    let list = server.client.list([1_u8]).unwrap();
    let code: fn() = no_peer_reaches_code_that_is_not_for_calls;
    for number in [0, 1, u64::MAX, code as usize as u64, 0x1000, 0x1_0000] {
        for op in [Op::Call, Op::Make] {
            let asking = Asking::of(op, list.raw_handle().object()).number(number);
            let error = ask(&server.remote, asking, Outgoing::default(), Patience::None).unwrap_err();
            assert!(matches!(error, ManagerError::Invalid(_)), "{error}");
        }
    }
    // A genuine entry on an object of another type.
    let other = ManagedList::<String>::of(list.raw_handle().clone());
    assert!(
        matches!(other.push("text".to_owned()), Err(ManagerError::WrongType { found, .. }) if found.contains("u8"))
    );
    let queue = ManagedQueue::<u8>::of(list.raw_handle().clone());
    assert!(matches!(queue.put(1).unwrap_err().error, ManagerError::WrongType { .. }));
    let list = ManagedList::<u8>::of(server.client.event().unwrap().raw().clone());
    assert!(matches!(list.len(), Err(ManagerError::WrongType { found, .. }) if found == "an event"));
    let asking = Asking::of(Op::Set, 1 << 40);
    assert!(matches!(
        ask(&server.remote, asking, Outgoing::default(), Patience::None),
        Err(ManagerError::NoSuchObject)
    ));
}

/// Requests of any kind for objects of all kinds, whose clients wait for no answer: nothing is left of them.
#[test]
fn nothing_is_left_of_what_makes_no_sense() {
    let server = Server::start();
    let client = &server.client;
    let held = (client.lock().unwrap(), client.condition().unwrap(), client.semaphore(2).unwrap());
    let waited = (client.event().unwrap(), client.barrier(3).unwrap(), client.bounded_queue::<u8>(1).unwrap());
    let list = client.list([1_u8]).unwrap();
    let before = client.object_count().unwrap();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |limit: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % limit
    };
    for _ in 0..1000 {
        let mut link = server.link();
        for _ in 0..below(8) {
            // No name, which would keep an object.
            let code = match below(46) as u8 {
                code if code == Op::Publish as u8 => Op::Cancel as u8,
                code => code,
            };
            let (flags, object, number) = (below(4) as u8, below(2 * before as u64 + 2), below(4));
            let references = (0..below(3)).map(|_| below(2 * before as u64 + 2)).collect();
            let value = vec![below(256) as u8; below(20) as usize];
            let frame = Frame { code, flags, object, number, references, value, ..Frame::default() };
            let descriptors = [link.as_fd().try_clone_to_owned().unwrap()];
            let descriptors: Vec<_> = descriptors.iter().take(below(2) as usize).map(AsFd::as_fd).collect();
            // It may have sent him away already.
            let _ = link.send(&frame, &descriptors);
        }
    }
    server.is_well();
    until("nothing is left but an item of the queue", || {
        while matches!(waited.2.try_get(), Ok(_) | Err(ManagerError::Codec(_))) {}
        let waiting = waited.1.state().unwrap().waiting;
        (server.state.connections.lock().len(), waiting, client.object_count().unwrap()) == (1, 0, before)
    });
    drop(held.0.lock_timeout(PATIENCE).or_else(|error| error.recover().map(Some)).unwrap().expect("nobody has it"));
    drop(held.1.lock_timeout(PATIENCE).or_else(|error| error.recover().map(Some)).unwrap().expect("nobody has it"));
    assert_eq!(list.to_vec().unwrap(), [1]);
}
