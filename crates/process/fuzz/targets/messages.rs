#![no_main]
//! The first message of a pool, and the error that a worker says its task has ended with.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    concurrent_futures_process::fuzzing::first_message(bytes);
    concurrent_futures_process::fuzzing::error_of_a_task(bytes);
});
