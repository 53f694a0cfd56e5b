//! What can be sent to another process cannot be serialized for anything else, and says so in words.

use concurrent_futures::SharedBytes;
use concurrent_futures::codec;
use serde::Serialize;

/// Why it was refused.
fn refused(handle: &impl Serialize) -> String {
    assert!(postcard::to_allocvec(handle).is_err(), "a codec of somebody else's took it");
    codec::encode(handle, &mut Vec::new()).expect_err("nobody is there who would send it").into_message()
}

#[test]
fn shared_bytes() {
    let words = refused(&SharedBytes::from(vec![1, 2, 3]));
    assert!(words.contains("SharedSlice"), "{words}");
}
