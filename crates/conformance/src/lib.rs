//! What the conformance suite is made of. The suite itself is in `tests/suite`, the list of what it covers in
//! `docs/conformance.md`. The fault suite is in `tests/faults`, with `docs/reliability.md`.
//!
//! A test is a function of the [`Kind`] of executor that it runs on, written once against the trait; [`tests!`] makes a
//! `#[test]` of it for every kind it is meant for. What a task does is seen through a [`Stage`], whatever thread or process
//! it runs in. What processes share is looked at after a kill at every instant: [`sweep`].

mod kind;
mod memory;
mod patience;
mod program;
mod stage;
pub mod stress;
mod suite;
pub mod sweep;

pub use kind::Kind;
pub use memory::Witness;
pub use patience::{PATIENCE, Soon, until};
pub use program::{Ended, Program, descendants, wait_for_end};
pub use stage::{Arrival, Stage, Ticket};
pub use suite::run;
