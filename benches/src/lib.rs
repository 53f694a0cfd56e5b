//! What the benches share: options, interleaved rounds, medians, tables.
//!
//! A bench asks [`Bench`] for tables. A [`Table`] has a column for each setting and a row for each contender. The
//! contenders of a column are measured in interleaved rounds, so that a slow minute of the machine hits all of them, and
//! a cell is the median of the rounds. The first row is ours; behind every other figure stands how many times as fast
//! the first row is.
//!
//! ```
//! use concurrent_futures_benches::{Bench, Column, Options, Unit};
//!
//! let bench = Bench::new("example", Options::quick());
//! if let Some(mut table) = bench.table("sort", "Sorting a million numbers", Unit::MILLISECONDS) {
//!     let mut column = Column::new("ascending");
//!     column.row("ours", || 0.004); // a row gives one sample: seconds, or tasks per second
//!     column.row("theirs", || 0.006);
//!     table.measure(column);
//!     table.print();
//! }
//! ```

mod host;
mod options;
mod samples;
mod table;

pub use options::Options;
pub use samples::{Samples, median_of_each, seconds};
pub use table::{Bench, Column, Table, Unit};
