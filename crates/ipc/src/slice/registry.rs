//! The blocks that this process has in common with others, so that what comes back, or comes twice, is mapped once.

use super::block::{Block, Identity};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, LazyLock, Weak};

static KNOWN: LazyLock<Mutex<HashMap<Identity, Weak<Block>>>> = LazyLock::new(Mutex::default);

/// A block that is about to leave this process.
pub(super) fn add(identity: Identity, block: &Arc<Block>) {
    KNOWN.lock().insert(identity, Arc::downgrade(block));
}

/// The block that is known by this name, or else the one that is made now.
pub(super) fn find_or_open(identity: Identity, open: impl FnOnce() -> io::Result<Block>) -> io::Result<Arc<Block>> {
    let mut known = KNOWN.lock();
    if let Some(block) = known.get(&identity).and_then(Weak::upgrade) {
        return Ok(block);
    }
    let block = Arc::new(open()?);
    known.insert(identity, Arc::downgrade(&block));
    Ok(block)
}

/// A block is gone. One that has been opened under the same name meanwhile stays.
pub(super) fn remove(identity: Identity) {
    let mut known = KNOWN.lock();
    if known.get(&identity).is_some_and(|block| block.strong_count() == 0) {
        known.remove(&identity);
    }
}
