//! The fault suite: what a process pool must survive, fault by fault, with both start methods, on both data paths, with and without handles. The
//! number in a test's name is that of the fault in `docs/reliability.md`.
//!
//! Each test (a *row*) runs in a program of its own, so that what it leaves behind can be counted: see [`row`].

mod aftermath;
mod bystanders;
mod codecs;
mod crashes;
mod documented;
mod ending;
mod fork_server;
mod ground;
mod lifecycle;
mod limits;
mod random_kills;
mod relay;
mod rings;
mod row;
mod scarcity;
mod signals;
mod starting;
mod strange_worlds;
mod torn;
mod users_code;
