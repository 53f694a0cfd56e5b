//! The environment variable that makes a run of this program a worker.

use std::env;
use std::ffi::OsString;

/// The variable's name. Its value names the version of this crate too, so that two versions in one program
/// leave each other's processes alone.
pub(crate) const NAME: &str = "CONCURRENT_FUTURES_BOOT";

/// What a run of this program becomes instead of running `main`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Worker,
    ForkServer,
    Process,
    /// Of the names of shared memory.
    Tracker,
}

impl Role {
    /// The variable's value for this role.
    pub(crate) fn value(self) -> &'static str {
        match self {
            Self::Worker => concat!(env!("CARGO_PKG_VERSION"), ";worker"),
            Self::ForkServer => concat!(env!("CARGO_PKG_VERSION"), ";forkserver"),
            Self::Process => concat!(env!("CARGO_PKG_VERSION"), ";process"),
            Self::Tracker => concat!(env!("CARGO_PKG_VERSION"), ";tracker"),
        }
    }

    /// The role that the environment asks for, if it asks this version of the crate.
    pub(crate) fn from_environment() -> Option<Self> {
        Self::from_value(&env::var_os(NAME)?)
    }

    fn from_value(value: &OsString) -> Option<Self> {
        [Self::Worker, Self::ForkServer, Self::Process, Self::Tracker].into_iter().find(|role| *value == role.value())
    }
}

/// Removes the variable, so that programs which this one starts do not inherit it.
///
/// # Safety
///
/// The variable has its value from the start of the process, and no other thread changes the environment
/// by other means than Rust's `std::env`.
pub(crate) unsafe fn remove() {
    // SAFETY: Rust code that uses the environment is kept out by a lock in std. A foreign thread (started by a
    // constructor that ran earlier) may be reading it: removing what was there at the start moves pointers
    // within the array and frees nothing, so such a reader sees each of them whole.
    unsafe { env::remove_var(NAME) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_values_of_this_version_are_understood() {
        for role in [Role::Worker, Role::ForkServer, Role::Process, Role::Tracker] {
            assert_eq!(Role::from_value(&role.value().into()), Some(role));
        }
        for value in ["", "worker", "0.0.0;worker", concat!(env!("CARGO_PKG_VERSION"), ";manager")] {
            assert_eq!(Role::from_value(&value.into()), None);
        }
    }
}
