//! What the tasks do.

use concurrent_futures::task;
use serde_bytes::ByteBuf;
use std::thread;
use std::time::Duration;

/// Longer than any limit here: a task that hangs.
const HANG: Duration = Duration::from_secs(5);

/// The initializer: panics that are wanted are not to be printed.
pub fn be_quiet((): ()) {
    std::panic::set_hook(Box::new(|_| ()));
}

pub fn mix(x: u64) -> u64 {
    (x ^ (x >> 31)).wrapping_mul(0x7fb5_d329_728e_a185).rotate_left(17)
}

/// A large argument, and a result of the same size.
pub fn shift(mut bytes: ByteBuf) -> ByteBuf {
    for byte in bytes.iter_mut() {
        *byte = byte.wrapping_add(1);
    }
    bytes
}

pub fn nap((time, x): (Duration, u64)) -> u64 {
    thread::sleep(time);
    mix(x)
}

pub fn panics(x: u64) -> u64 {
    panic!("no luck with {x}");
}

pub fn fails(x: u64) -> Result<u64, String> {
    Err(format!("no way with {x}"))
}

pub fn crash(_: u64) -> u64 {
    std::process::abort()
}

/// Ends without a result, as a library of somebody else's might.
pub fn leave(_: u64) -> u64 {
    std::process::exit(0)
}

pub fn crash_once(x: u64) -> u64 {
    if task::current().attempt() <= 1 { crash(x) } else { mix(x) }
}

pub fn panic_once(x: u64) -> u64 {
    if task::current().attempt() <= 1 { panics(x) } else { mix(x) }
}

pub fn hang(x: u64) -> u64 {
    thread::sleep(HANG);
    mix(x)
}

pub fn hang_once(x: u64) -> u64 {
    if task::current().attempt() <= 1 { hang(x) } else { mix(x) }
}

/// Returns early when it is asked to.
pub fn listen(x: u64) -> u64 {
    let mut naps = 0;
    while !task::current().should_stop() && naps < 100 {
        thread::sleep(Duration::from_millis(1));
        naps += 1;
    }
    mix(x)
}
