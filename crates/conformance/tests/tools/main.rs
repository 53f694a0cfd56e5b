//! The tools of `multiprocessing`, each used by several processes at once, some of which die at any instant.
//! `docs/conformance.md` lists what is covered.

mod barriers;
mod conditions;
mod connections;
mod elsewhere;
mod events;
mod locks;
mod manager_deaths;
mod managers;
mod pool;
mod process;
mod process_ends;
mod process_fork;
mod process_kills;
mod process_start;
mod queues;
mod semaphores;
mod shareable_list;
mod shared_memory;
mod values;
