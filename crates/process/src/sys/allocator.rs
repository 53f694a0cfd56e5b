//! What the C library's allocator does with large blocks that are freed.
//!
//! It gives each block of more than 32 MiB back to the kernel when it is freed, and takes new pages for the next. To fill
//! those costs twice what it costs to fill memory that is there. Where it is another allocator, or another C library,
//! nothing happens here.

/// From now on blocks of up to so many bytes come from the heap and stay there when they are freed, so many bytes in all,
/// until [`trim`]. `false`: that cannot be, or somebody has set the allocator up otherwise, who will know why.
#[cfg(target_env = "gnu")]
pub(crate) fn keep_freed(bytes: usize) -> bool {
    let Ok(bytes) = libc::c_int::try_from(bytes) else { return false };
    !is_set_up() && set(libc::M_MMAP_THRESHOLD, bytes) && set(libc::M_TRIM_THRESHOLD, bytes)
}

/// As the allocator would be by itself after blocks of that size, but for what is kept: see [`trim`].
#[cfg(target_env = "gnu")]
pub(crate) fn keep_no_more() {
    const MMAP: libc::c_int = 32 << 20;
    set(libc::M_MMAP_THRESHOLD, MMAP);
    set(libc::M_TRIM_THRESHOLD, 2 * MMAP);
}

/// Gives what is free back to the kernel.
#[cfg(target_env = "gnu")]
pub(crate) fn trim() {
    // SAFETY: always allowed, on any thread.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(target_env = "gnu")]
fn set(what: libc::c_int, value: libc::c_int) -> bool {
    // SAFETY: takes the allocator's own lock and sets one of its numbers.
    (unsafe { libc::mallopt(what, value) }) == 1
}

/// Whether the environment says how it is to be.
#[cfg(target_env = "gnu")]
fn is_set_up() -> bool {
    let tunables = std::env::var_os("GLIBC_TUNABLES");
    tunables.is_some_and(|list| list.to_string_lossy().contains("glibc.malloc."))
        || ["MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"].iter().any(|name| std::env::var_os(name).is_some())
}

#[cfg(not(target_env = "gnu"))]
pub(crate) fn keep_freed(_bytes: usize) -> bool {
    false
}

#[cfg(not(target_env = "gnu"))]
pub(crate) fn keep_no_more() {}

#[cfg(not(target_env = "gnu"))]
pub(crate) fn trim() {}
