//! Results are decoded by whoever waits for them. That is the user's code: it may take long, and wait for others.

use concurrent_futures_core::{ExecutorExt, Future};
use concurrent_futures_process::{DataPath, ProcessPoolExecutor};
use serde::{Deserialize, Deserializer, Serialize};
use std::sync::Mutex;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

static OTHER: Mutex<Option<Future<u64>>> = Mutex::new(None);

/// Waits for another task while it is decoded in the parent.
#[derive(Serialize)]
struct Needy(u64);

impl<'de> Deserialize<'de> for Needy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ms = u64::deserialize(deserializer)?;
        let other = OTHER.lock().unwrap().take();
        match other.map(|other| other.result_timeout(LONG)) {
            Some(Err(_)) => Err(serde::de::Error::custom("the other task is not done")),
            Some(Ok(_)) | None => Ok(Needy(ms)),
        }
    }
}

fn nap(ms: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(ms));
    ms
}

fn needy(ms: u64) -> Needy {
    Needy(nap(ms))
}

#[test]
fn a_result_whose_decoding_waits_for_another_task_of_the_same_worker_is_decoded() {
    for path in [DataPath::Ring, DataPath::Socket] {
        let pool = ProcessPoolExecutor::builder().max_workers(1).data_path(path).build().unwrap();
        pool.warm_up().unwrap();
        // So long that the thread that waits for it sleeps.
        let first = pool.submit(needy, 20);
        *OTHER.lock().unwrap() = Some(pool.submit(nap, 100));
        assert_eq!(first.result().unwrap().0, 20, "{path:?}");
    }
}
