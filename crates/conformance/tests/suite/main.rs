//! The conformance suite: every test is written once and runs on every executor that it makes sense on, as
//! `topic::executor::test`. What is covered, and what is not and why, is in `docs/conformance.md`.

mod as_completed;
mod async_tasks;
mod callbacks;
mod cancel;
mod context;
mod deadlock;
mod deaths;
mod documented;
mod handles;
mod initializer;
mod map;
mod memory;
mod nested;
mod programs;
mod races;
mod recycling;
mod shutdown;
mod submit;
mod tasks;
mod threads;
mod timeouts;
mod wait;
mod workers;
