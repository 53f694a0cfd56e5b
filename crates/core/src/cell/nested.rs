//! Callbacks inside callbacks.

use crate::PoolId;

/// How many cells of a chain this thread is running callbacks of, each inside the one before, and whose the last is that
/// has a home.
pub(super) struct Nested {
    before: (u32, Option<PoolId>),
}

thread_local! {
    static NESTED: std::cell::Cell<(u32, Option<PoolId>)> = const { std::cell::Cell::new((0, None)) };
}

impl Nested {
    const LIMIT: u32 = 32;

    pub(super) fn begin(home: Option<PoolId>) -> Nested {
        let before = NESTED.get();
        NESTED.set((before.0 + 1, home));
        Nested { before }
    }

    pub(super) fn too_deep() -> bool {
        NESTED.get().0 >= Self::LIMIT
    }

    pub(super) fn home() -> Option<PoolId> {
        NESTED.get().1
    }
}

impl Drop for Nested {
    fn drop(&mut self) {
        NESTED.set(self.before);
    }
}
