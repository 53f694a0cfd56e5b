//! Who this process is for the kernel: what it may do goes by that.

use rustix::process::getgroups;
use std::io;

/// The users and the groups of a process.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Credentials {
    /// Real, effective, saved.
    users: [libc::uid_t; 3],
    groups: [libc::gid_t; 3],
    more_groups: Vec<u32>,
}

impl Credentials {
    pub(crate) fn of_this_process() -> io::Result<Self> {
        let ([mut user, mut effective, mut saved], mut groups) = ([0; 3], [0; 3]);
        // SAFETY: the three are there to be written to.
        if unsafe { libc::getresuid(&raw mut user, &raw mut effective, &raw mut saved) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let [group, effective_group, saved_group] = &mut groups;
        // SAFETY: as above.
        if unsafe { libc::getresgid(group, effective_group, saved_group) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let more_groups = getgroups()?.into_iter().map(rustix::process::Gid::as_raw).collect();
        Ok(Self { users: [user, effective, saved], groups, more_groups })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_those_that_the_system_tells() {
        let this = Credentials::of_this_process().unwrap();
        assert_eq!(this.users[1], rustix::process::geteuid().as_raw());
        assert_eq!(this.groups[1], rustix::process::getegid().as_raw());
        assert_eq!(this, Credentials::of_this_process().unwrap());
    }
}
