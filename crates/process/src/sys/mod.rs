//! Linux, made safe and small: one kernel concept per file.
//!
//! Everything here opens descriptors with close-on-exec and retries calls that a signal interrupted.

pub(crate) mod abort;
pub(crate) mod allocator;
pub(crate) mod bell;
pub(crate) mod blob;
pub(crate) mod capture;
pub(crate) mod children;
pub(crate) mod clock;
pub(crate) mod credentials;
pub(crate) mod exit;
pub(crate) mod huge_pages;
pub(crate) mod oom;
pub(crate) mod overflow;
pub(crate) mod pidfd;
pub(crate) mod poller;
pub(crate) mod procfs;
pub(crate) mod resources;
pub(crate) mod shared_page;
pub(crate) mod signals;
pub(crate) mod socket;
pub(crate) mod stdio;
pub(crate) mod title;
pub(crate) mod wait;

pub(crate) use concurrent_futures_ipc::message;
