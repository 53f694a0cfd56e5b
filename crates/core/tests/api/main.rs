//! What users see of the core, with executors that do nothing before the test says so: pending states last as long as a
//! test needs them, and nothing depends on time.

mod as_completed;
mod async_runtimes;
mod async_tasks;
mod callbacks;
mod chain;
mod children;
mod context;
mod drops;
mod errors;
mod executor;
mod future;
mod gather;
mod manual;
mod map;
mod map_buffered;
mod map_unordered;
mod policy;
mod promise;
mod races;
mod shared;
mod timeouts;
mod wait;
mod wakers;
mod wire;
