//! The constructor that runs before `main`.

use super::BootRefusal;
use super::init_array::{Constructor, following};
use super::intercept;

/// The linker puts this address into the program's list of functions to call before `main`.
#[used]
// SAFETY: what the section holds are functions of this type, which is what the C library calls.
#[unsafe(link_section = ".init_array")]
static ENTRY: Constructor = before_main;

// The arguments are passed on and never looked at.
#[cfg(target_env = "gnu")]
extern "C" fn before_main(argc: i32, argv: *const *const libc::c_char, environment: *const *const libc::c_char) {
    intercept(|| run_following(|constructor| constructor(argc, argv, environment)));
}

#[cfg(not(target_env = "gnu"))]
extern "C" fn before_main() {
    intercept(|| run_following(|constructor| constructor()));
}

/// Runs the constructors that this one, which will not return, would keep from running: those of the
/// program's C++ statics, of `inventory`, of `ctor`.
fn run_following(call: impl Fn(Constructor)) -> Result<(), BootRefusal> {
    following(&raw const ENTRY)?.into_iter().for_each(call);
    Ok(())
}
