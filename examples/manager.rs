//! Objects that a manager's server holds, changed by child processes: a value, an array, a list, a dictionary, under a lock; and an
//! account, which is a type of this program.
//!
//! ```sh
//! cargo run --release --example manager
//! ```

use concurrent_futures::multiprocessing::managers::{
    Handle, ManagedArray, ManagedDict, ManagedList, ManagedLock, ManagedValue, ManagerError,
};
use concurrent_futures::multiprocessing::{Manager, Process};
use std::error::Error;

type Shared = (ManagedValue<f64>, ManagedArray<i32>, ManagedList<String>, ManagedDict<String, u32>, ManagedLock);

/// What each child does.
fn child((name, (value, array, list, dict, lock)): (String, Shared)) -> Result<(), ManagerError> {
    value.update(|value, by| *value += by, 1.5)?;
    for place in 0..array.len()? {
        array.update(place, |element, ()| *element -= 1, ())?;
    }
    list.push(format!("{name} was here"))?;
    // What takes two calls is one step for those who take the lock.
    for _ in 0..100 {
        let _guard = lock.lock().or_else(|error| error.recover())?;
        let count = dict.get("count")?.unwrap_or(0);
        dict.insert("count".to_owned(), count + 1)?;
    }
    Ok(())
}

struct Account {
    balance: i64,
}

impl Account {
    fn open(balance: i64) -> Account {
        Account { balance }
    }

    /// Runs in the server, one call at a time.
    fn withdraw(&mut self, amount: i64) -> Result<i64, String> {
        if amount > self.balance {
            return Err(format!("there are only {}", self.balance));
        }
        self.balance -= amount;
        Ok(self.balance)
    }
}

fn spend((account, amount): (Handle<Account>, i64)) -> Result<(), Box<dyn Error>> {
    match account.call(Account::withdraw, amount)? {
        Ok(left) => println!("withdrew {amount}: {left} left"),
        Err(why) => println!("did not withdraw {amount}: {why}"),
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let manager = Manager::new()?;
    let (value, array) = (manager.value(0.0)?, manager.array(0..5)?);
    let (list, dict, lock) = (manager.list([])?, manager.dict([])?, manager.lock()?);

    let shared: Shared = (value.clone(), array.clone(), list.clone(), dict.clone(), lock);
    let children = ["Ann", "Bob", "Cid"].map(|name| Process::start(child, (name.to_owned(), shared.clone())));
    for child in children {
        println!("a child ended with {}", child?.join()?);
    }
    list.sort()?;
    println!("value: {}", value.get()?);
    println!("array: {:?}", array.to_vec()?);
    println!("list: {:?}", list.to_vec()?);
    println!("dict: {:?}", dict.to_map()?);

    let account = manager.object(Account::open, 100)?;
    for amount in [70, 70] {
        Process::start(spend, (account.clone(), amount))?.join()?;
    }

    drop((value, array, list, dict, shared));
    manager.shutdown()?;
    println!("afterwards: {}", account.call(|account, ()| account.balance, ()).unwrap_err());
    Ok(())
}
