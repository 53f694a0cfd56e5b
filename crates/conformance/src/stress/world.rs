//! What the actors share, and what must hold of it.

use crate::PATIENCE;
use concurrent_futures::multiprocessing::list::Item;
use concurrent_futures::multiprocessing::managers::{ManagedDict, ManagedLock};
use concurrent_futures::multiprocessing::{
    Array, Barrier, BoundedSemaphore, Condition, Event, Lock, Manager, OwnerDied, Queue, RLock, RawArray, RawValue,
    ShareableList, TryLockError, Value,
};
use serde::{Deserialize, Serialize};
use std::io;
use std::time::Duration;

/// Something that an actor does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    Put,
    Got,
    Moved,
    Transferred,
    Paired,
    Rows,
    Permits,
    Events,
    Turns,
    Meetings,
    Items,
    Names,
    Managed,
    Echoes,
}

impl Deed {
    pub(super) const ALL: [Deed; 14] = [
        Deed::Put,
        Deed::Got,
        Deed::Moved,
        Deed::Transferred,
        Deed::Paired,
        Deed::Rows,
        Deed::Permits,
        Deed::Events,
        Deed::Turns,
        Deed::Meetings,
        Deed::Items,
        Deed::Names,
        Deed::Managed,
        Deed::Echoes,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Deed::Put => "put",
            Deed::Got => "got",
            Deed::Moved => "lock",
            Deed::Transferred => "rlock",
            Deed::Paired => "value",
            Deed::Rows => "array",
            Deed::Permits => "semaphore",
            Deed::Events => "event",
            Deed::Turns => "condition",
            Deed::Meetings => "barrier",
            Deed::Items => "list",
            Deed::Names => "named",
            Deed::Managed => "manager",
            Deed::Echoes => "pipe",
        }
    }
}

/// What goes through the queue.
#[derive(Serialize, Deserialize)]
pub(super) struct Parcel {
    pub(super) id: u64,
    /// Who has put it, and the how manieth of his it is.
    pub(super) from: u64,
    pub(super) number: u64,
    /// All of them the last byte of the id.
    pub(super) filling: Vec<u8>,
}

/// Permits of the semaphore.
pub(super) const PERMITS: u32 = 3;
/// Of each account, at first.
const BALANCE: i64 = 1000;
/// So many parcels cannot be under way at once.
const WINDOW: usize = 1 << 16;

/// Handles of everything.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct World {
    /// In the names of what it makes.
    mark: String,
    stopped: RawValue<u32>,
    deeds: RawArray<u64>,
    repairs: RawValue<u64>,

    pub(super) queue: Queue<Parcel>,
    ids: RawValue<u64>,
    /// By the end of its number: the parcel that was received last, plus one.
    received: RawArray<u64>,

    pub(super) ledger: Ledger,
    pub(super) transfers: Transfers,
    pub(super) pair: Value<[u64; 2]>,
    pub(super) rows: Array<u64>,
    pub(super) semaphore: BoundedSemaphore,
    pub(super) event: Event,
    pub(super) turn: RawValue<u64>,
    pub(super) turn_lock: RLock,
    pub(super) turned: Condition,
    pub(super) barrier: Barrier,
    pub(super) list: ShareableList,
    pub(super) counts: ManagedDict<u32, u64>,
    pub(super) managed_lock: ManagedLock,
}

/// Accounts that are changed two at a time, by plain stores under a lock; with a log from which it is undone what somebody has left half
/// done.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Ledger {
    lock: Lock,
    accounts: RawArray<i64>,
    /// Whether the rest is valid, two accounts, and what they had.
    log: RawArray<i64>,
}

/// Two values that share a recursive lock, and the log of what is to become of them.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Transfers {
    lock: RLock,
    from: Value<i64>,
    to: Value<i64>,
    log: RawArray<i64>,
}

impl World {
    pub(super) fn new(manager: &Manager) -> io::Result<World> {
        let counts = manager.dict([]).map_err(io::Error::other)?;
        let managed_lock = manager.lock().map_err(io::Error::other)?;
        let lock = RLock::new()?;
        Ok(World {
            mark: format!("stress {}", std::process::id()),
            stopped: RawValue::new(0)?,
            deeds: RawArray::zeroed(Deed::ALL.len())?,
            repairs: RawValue::new(0)?,
            queue: Queue::bounded(64)?,
            ids: RawValue::new(0)?,
            received: RawArray::zeroed(WINDOW)?,
            ledger: Ledger { lock: Lock::new()?, accounts: RawArray::new([BALANCE; 16])?, log: RawArray::zeroed(5)? },
            transfers: Transfers {
                from: Value::with_lock(BALANCE, &lock)?,
                to: Value::with_lock(BALANCE, &lock)?,
                lock,
                log: RawArray::zeroed(3)?,
            },
            pair: Value::new([0; 2])?,
            rows: Array::zeroed(8)?,
            semaphore: BoundedSemaphore::new(PERMITS)?,
            event: Event::new()?,
            turn: RawValue::new(0)?,
            turn_lock: RLock::new()?,
            turned: Condition::new()?,
            barrier: Barrier::new(2)?,
            list: ShareableList::new([Item::None, "x".repeat(60).into()])?,
            counts,
            managed_lock,
        })
    }

    pub(super) fn mark(&self) -> &str {
        &self.mark
    }

    pub(super) fn stop(&self) {
        self.stopped.set(1);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.get() != 0
    }

    pub(super) fn did(&self, deed: Deed) {
        self.deeds.fetch_add(deed as usize, 1);
    }

    pub(super) fn times(&self, deed: Deed) -> u64 {
        self.deeds.get(deed as usize)
    }

    pub(super) fn repaired(&self) {
        self.repairs.fetch_add(1);
    }

    pub(super) fn repairs(&self) -> u64 {
        self.repairs.get()
    }

    pub(super) fn next_id(&self) -> u64 {
        self.ids.fetch_add(1)
    }

    /// Notes that a parcel has come; it must not have come before.
    pub(super) fn receive(&self, parcel: &Parcel) {
        let before = self.received.update(parcel.id as usize % WINDOW, |_| parcel.id + 1);
        assert!(before != parcel.id + 1, "parcel {} came twice", parcel.id);
        assert!(parcel.filling.iter().all(|byte| *byte == parcel.id as u8), "parcel {} is spoilt", parcel.id);
    }

    /// What the process does that is not killed: it signals.
    pub(super) fn tick(&self) {
        let turn = self.turn.fetch_add(1);
        if turn.is_multiple_of(2) {
            self.event.set()
        } else {
            self.event.clear()
        }
        let _lock = locked(self.turn_lock.lock_timeout(PATIENCE));
        self.turned.notify_all();
    }

    /// When all have ended.
    pub(super) fn complaints(&self, kills: u64) -> io::Result<Vec<String>> {
        let mut complaints = Vec::new();
        let mut check = |is_so: bool, what: String| {
            if !is_so {
                complaints.push(what)
            }
        };
        // Killed between a deed and its being counted, each process has at most one of each too few.
        let mut rest = 0;
        while let Ok(parcel) = self.queue.try_get() {
            self.receive(&parcel);
            rest += 1;
        }
        let (put, got) = (self.times(Deed::Put), self.times(Deed::Got) + rest);
        check(put.abs_diff(got) <= kills, format!("{put} parcels were put, {got} were received, with {kills} kills"));
        let sum = self.ledger.settle(self);
        check(sum == 16 * BALANCE, format!("{sum} is in the accounts"));
        let sum = self.transfers.settle(self);
        check(sum == 2 * BALANCE, format!("{sum} was transferred"));
        let [one, other] = self.pair.get();
        check(one == other, format!("{one} and {other} are no pair"));
        let paired = self.times(Deed::Paired);
        check(one.abs_diff(paired) <= kills, format!("{one} updates, {paired} counted, with {kills} kills"));
        let permits: Vec<_> = (0..PERMITS).map(|_| self.semaphore.acquire_timeout(PATIENCE)).collect();
        let back = permits.iter().flatten().count();
        check(back == PERMITS as usize && self.semaphore.try_acquire().is_none(), format!("{back} permits are back"));
        drop(permits);
        self.barrier.reset();
        let met = std::thread::scope(|s| {
            let other = s.spawn(|| self.barrier.wait_timeout(PATIENCE).is_ok());
            self.barrier.wait_timeout(PATIENCE).is_ok() && other.join().expect("it does not panic")
        });
        check(met, "nobody meets at the barrier".to_owned());
        let managed = self.times(Deed::Managed);
        let counted: u64 = self.counts.values().map_err(io::Error::other)?.iter().sum();
        check(
            managed.abs_diff(counted) <= kills,
            format!("{counted} in the manager, {managed} counted, {kills} kills"),
        );
        Ok(complaints)
    }
}

/// A lock must be had within a minute.
pub(super) fn locked<G>(tried: Result<G, TryLockError<G>>) -> (G, bool) {
    match tried {
        Ok(guard) => (guard, false),
        Err(TryLockError::OwnerDied(OwnerDied(guard))) => (guard, true),
        Err(TryLockError::WouldBlock) => panic!("a lock was not to be had within {PATIENCE:?}"),
    }
}

impl Ledger {
    /// Moves something from one account to another one, in steps.
    pub(super) fn move_some(&self, world: &World, from: usize, to: usize, amount: i64, step: &mut dyn FnMut()) {
        let (_guard, died) = locked(self.lock.lock_timeout(PATIENCE));
        self.repair(world, died);
        let (old_from, old_to) = (self.accounts.get(from), self.accounts.get(to));
        for (place, value) in [from as i64, old_from, to as i64, old_to].into_iter().enumerate() {
            self.log.set(place + 1, value);
        }
        self.log.set(0, 1);
        step();
        self.accounts.set(from, old_from - amount);
        step();
        self.accounts.update(to, |balance| balance + amount);
        step();
        self.log.set(0, 0);
    }

    fn repair(&self, world: &World, died: bool) {
        if self.log.get(0) == 0 {
            return;
        }
        assert!(died, "somebody died in the middle of it, and nobody was told");
        world.repaired();
        self.accounts.set(self.log.get(3) as usize, self.log.get(4));
        self.accounts.set(self.log.get(1) as usize, self.log.get(2));
        self.log.set(0, 0);
    }

    fn settle(&self, world: &World) -> i64 {
        let (_guard, died) = locked(self.lock.lock_timeout(PATIENCE));
        self.repair(world, died);
        self.accounts.iter().sum()
    }
}

impl Transfers {
    /// Moves something from one value to the other one, each of which locks again what is locked.
    pub(super) fn transfer(&self, world: &World, amount: i64, step: &mut dyn FnMut()) {
        let (_guard, died) = locked(self.lock.lock_timeout(PATIENCE));
        self.repair(world, died);
        self.log.set(1, self.from.get() - amount);
        self.log.set(2, self.to.get() + amount);
        self.log.set(0, 1);
        step();
        self.from.update(|from| from - amount);
        step();
        self.to.update(|to| to + amount);
        self.log.set(0, 0);
    }

    /// Does what was to be done.
    fn repair(&self, world: &World, died: bool) {
        if self.log.get(0) == 0 {
            return;
        }
        assert!(died, "somebody died in the middle of it, and nobody was told");
        world.repaired();
        self.from.set(self.log.get(1));
        self.to.set(self.log.get(2));
        self.log.set(0, 0);
    }

    fn settle(&self, world: &World) -> i64 {
        let (_guard, died) = locked(self.lock.lock_timeout(PATIENCE));
        self.repair(world, died);
        self.from.get() + self.to.get()
    }
}

/// How long somebody may wait for what need not come.
pub(super) const BRIEFLY: Duration = Duration::from_millis(20);
