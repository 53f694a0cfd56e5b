//! What users see of the thread pool. Tasks are held back by gates, so that nothing depends on time.

mod async_tasks;
mod blocked;
mod bounded;
mod elastic;
mod end_of_main;
mod gate;
mod init;
mod limited;
mod nested;
mod panics;
mod priority;
mod scope;
mod scope_end;
mod shutdown;
mod starved;
mod stress;
mod workers;
