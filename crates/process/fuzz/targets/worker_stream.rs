#![no_main]
//! Whatever a worker sends, its parent reads or refuses.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| concurrent_futures_process::fuzzing::stream_from_a_worker(bytes));
