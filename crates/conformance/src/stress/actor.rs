//! A process that does one thing after the other.

use super::random::Random;
use super::world::{BRIEFLY, Deed, Parcel, World, locked};
use crate::PATIENCE;
use concurrent_futures::multiprocessing::list::Item;
use concurrent_futures::multiprocessing::managers::LockError;
use concurrent_futures::multiprocessing::{GetError, OwnerDied, PutError, SharedMemory};
use std::collections::HashMap;
use std::time::Instant;

/// Does what comes to its mind until it is told to stop, or killed.
pub(super) fn act((world, number, seed): (World, u64, u64)) {
    let mut actor = Actor { world, number, random: Random::new(seed), put: 0, seen: HashMap::new() };
    while !actor.world.is_stopped() {
        actor.do_something();
    }
}

/// A kill from outside seldom comes just when something is half done.
fn perhaps_die(random: &mut Random) {
    if random.below(1500) == 0 {
        let me = rustix::process::getpid();
        rustix::process::kill_process(me, rustix::process::Signal::KILL).expect("one may kill oneself");
    }
}

struct Actor {
    world: World,
    number: u64,
    random: Random,
    put: u64,
    /// Of each actor, the number of the last parcel that came from it.
    seen: HashMap<u64, u64>,
}

impl Actor {
    fn do_something(&mut self) {
        let begun = Instant::now();
        let deed = match self.random.below(100) {
            0..20 => self.put(),
            20..42 => self.get(),
            42..52 => self.move_some(),
            52..62 => self.transfer(),
            62..70 => self.pair(),
            70..76 => self.rows(),
            76..83 => self.permit(),
            83..86 => self.event(),
            86..89 => self.turn(),
            89..91 => self.meet(),
            91..96 => self.list(),
            96 => self.name(),
            _ => self.managed(),
        };
        if let Some(deed) = deed {
            self.world.did(deed);
            // Who misses his wake-up finds at his deadline that all is well.
            let took = begun.elapsed();
            assert!(took < PATIENCE / 2, "{} took {took:?}", deed.name());
        }
    }

    fn put(&mut self) -> Option<Deed> {
        let id = self.world.next_id();
        self.put += 1;
        let filling = vec![id as u8; self.random.below(2000)];
        match self.world.queue.put_timeout(Parcel { id, from: self.number, number: self.put, filling }, BRIEFLY) {
            Ok(()) => Some(Deed::Put),
            Err(PutError::TimedOut(_)) => None,
            Err(other) => panic!("put: {other}"),
        }
    }

    fn get(&mut self) -> Option<Deed> {
        let parcel = match self.world.queue.get_timeout(BRIEFLY) {
            Ok(parcel) => parcel,
            Err(GetError::TimedOut) => return None,
            Err(other) => panic!("get: {other}"),
        };
        self.world.receive(&parcel);
        let last = self.seen.insert(parcel.from, parcel.number);
        assert!(last < Some(parcel.number), "{} came after {last:?} from {}", parcel.number, parcel.from);
        Some(Deed::Got)
    }

    fn move_some(&mut self) -> Option<Deed> {
        let (from, to) = (self.random.below(16), self.random.below(16));
        let amount = self.random.below(100) as i64;
        let random = &mut self.random;
        self.world.ledger.move_some(&self.world, from, to, amount, &mut || perhaps_die(random));
        Some(Deed::Moved)
    }

    fn transfer(&mut self) -> Option<Deed> {
        let amount = self.random.below(100) as i64 - 50;
        let random = &mut self.random;
        self.world.transfers.transfer(&self.world, amount, &mut || perhaps_die(random));
        Some(Deed::Transferred)
    }

    fn pair(&mut self) -> Option<Deed> {
        let [one, other] = self.world.pair.update(|pair| pair.map(|one| one + 1));
        assert_eq!(one, other);
        Some(Deed::Paired)
    }

    /// All rows are equal, but when somebody has died meanwhile.
    fn rows(&mut self) -> Option<Deed> {
        let (mut rows, died) = locked(self.world.rows.lock_timeout(PATIENCE));
        let most = rows.iter().max().expect("there are some");
        if rows.iter().any(|row| row != most) {
            assert!(died, "somebody died in the middle of it, and nobody was told");
            self.world.repaired();
            rows.fill(.., most);
        }
        for row in 0..rows.len() {
            rows.set(row, most + 1);
            perhaps_die(&mut self.random);
        }
        Some(Deed::Rows)
    }

    fn permit(&mut self) -> Option<Deed> {
        let permit = self.world.semaphore.acquire_timeout(PATIENCE).expect("permits come back");
        assert!(self.world.pair.get()[0] <= self.world.pair.get()[1]);
        perhaps_die(&mut self.random);
        drop(permit);
        Some(Deed::Permits)
    }

    fn event(&mut self) -> Option<Deed> {
        assert!(self.world.event.wait_timeout(PATIENCE), "it is set again and again");
        Some(Deed::Events)
    }

    fn turn(&mut self) -> Option<Deed> {
        let (guard, _) = locked(self.world.turn_lock.lock_timeout(PATIENCE));
        let before = self.world.turn.get();
        let turned = || self.world.turn.get() != before;
        let (_guard, turned) = match self.world.turned.wait_for_timeout(guard, PATIENCE, turned) {
            Ok(outcome) | Err(OwnerDied(outcome)) => outcome,
        };
        assert!(turned, "it goes on and on");
        Some(Deed::Turns)
    }

    fn meet(&mut self) -> Option<Deed> {
        match self.world.barrier.wait_timeout(BRIEFLY) {
            Ok(place) => {
                assert!(place < 2);
                Some(Deed::Meetings)
            }
            // Nobody else has come, or one of the two was killed.
            Err(_) => {
                self.world.barrier.reset();
                None
            }
        }
    }

    /// The second element always is one letter, repeated.
    fn list(&mut self) -> Option<Deed> {
        let letter = char::from(b'a' + self.random.below(26) as u8).to_string();
        let changed = self.world.list.update(1, |old| match old {
            Item::Str(old) if old.chars().all(|one| old.starts_with(one)) => {
                letter.repeat(self.random.below(60)).into()
            }
            other => panic!("the list has {other}"),
        });
        changed.unwrap_or_else(|error| panic!("list: {error}"));
        Some(Deed::Items)
    }

    fn name(&mut self) -> Option<Deed> {
        let name = format!("{}-{}-{}", self.world.mark(), self.number, self.random.next());
        let memory = SharedMemory::create(name.as_str(), 1 + self.random.below(10_000));
        let memory = memory.unwrap_or_else(|error| panic!("named memory: {error}"));
        memory.fill(.., 7);
        perhaps_die(&mut self.random);
        let same = SharedMemory::open(&name).unwrap_or_else(|error| panic!("named memory: {error}"));
        assert!(same.size() == memory.size() && same.read(same.size() - 1..) == [7]);
        Some(Deed::Names)
    }

    fn managed(&mut self) -> Option<Deed> {
        let held = self.world.managed_lock.lock_timeout(PATIENCE);
        let held = held.or_else(|died| match died {
            LockError::OwnerDied(held) => Ok(Some(held)),
            LockError::Failed(error) => Err(error),
        });
        let held = held.unwrap_or_else(|error| panic!("manager: {error}")).expect("the manager's lock is to be had");
        let key = self.random.below(5) as u32;
        let counted = self.world.counts.modify_or_insert(key, 0, |count, ()| *count += 1, ());
        counted.unwrap_or_else(|error| panic!("manager: {error}"));
        perhaps_die(&mut self.random);
        drop(held);
        Some(Deed::Managed)
    }
}
