//! Handles of objects that a [`Manager`] serves: all that there is beside it.
//!
//! ```
//! use concurrent_futures::multiprocessing::managers::ManagedDict;
//! use concurrent_futures::multiprocessing::{Manager, Pool};
//!
//! fn note((squares, x): (ManagedDict<u64, u64>, u64)) {
//!     squares.insert(x, x * x).expect("the manager is there");
//! }
//!
//! let manager = Manager::new()?;
//! let squares = manager.dict([])?;
//! Pool::new(2)?.map(note, (0..4).map(|x| (squares.clone(), x)))?;
//! assert_eq!((squares.len()?, squares.get(&3)?), (4, Some(9)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub use concurrent_futures_manager::*;
