//! A number and an array that a child process changes, and its parent sees: the first program of Python's document about shared
//! memory between processes.
//!
//! ```sh
//! cargo run --release --example shared_values
//! ```

use concurrent_futures::multiprocessing::{Array, OwnerDied, Process, Value};

fn change((number, array): (Value<f64>, Array<i32>)) {
    number.set(3.25);
    // Locked once for all of it: nobody sees it half done.
    let mut array = array.lock().unwrap_or_else(OwnerDied::into_guard);
    for index in 0..array.len() {
        array.update(index, |element| -element);
    }
}

fn add((number, array): (Value<f64>, Array<i32>)) {
    for _ in 0..1000 {
        number.update(|number| number + 1.0);
        array.update(0, |element| element + 1);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let number = Value::new(0.0)?;
    let array = Array::new(0..10)?;
    println!("before: {} {:?}", number.get(), array.to_vec());

    // Handles of the same memory travel, not copies of what is in it.
    Process::start(change, (number.clone(), array.clone()))?.join()?;
    println!("after: {} {:?}", number.get(), array.to_vec());

    // Four at once, and nothing is lost: each change is made under the lock.
    let processes = [(); 4].map(|()| Process::start(add, (number.clone(), array.clone())));
    for process in processes {
        process?.join()?;
    }
    println!("counted: {} and {}", number.get(), array.get(0));
    Ok(())
}
