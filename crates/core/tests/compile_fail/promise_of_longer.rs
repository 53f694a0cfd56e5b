//! A promise is invariant: one that takes what lives shorter is none that owns what lives for ever.

use concurrent_futures_core::Promise;

fn lengthen<'a>(promise: Promise<&'a str>) -> Promise<&'static str> {
    promise
}

fn shorten<'a>(promise: Promise<&'static str>) -> Promise<&'a str> {
    promise
}

fn main() {
    let _ = (lengthen, shorten);
}
