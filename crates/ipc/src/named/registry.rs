//! Which names there are, and who has them: `README.md` beside this file.

use super::name::Name;
use crate::file_size;
use rustix::fs::{
    AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, Stat, fallocate, flock, fstat, ftruncate, linkat, mkdir,
    open, openat, rmdir, statat, unlinkat,
};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::geteuid;
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Where named shared memory is, says POSIX's `shm_open` on Linux.
const NAMES: &str = "/dev/shm";
/// Names of ours that are not of objects; behind it the number of the user.
pub(super) const PREFIX: &str = ".concurrent-futures-";
/// Of the inode number in the name of an entry, with the dot behind it.
pub(super) const NUMBER: usize = 17;

/// How long who makes an object waits for the one who is just removing the last that had the name: microseconds, unless that one
/// has been stopped, or has no turn on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(10);

/// Only its owner may open it.
const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);
const FILE: OFlags = OFlags::CLOEXEC.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK);

/// A named object: a file in [`NAMES`] of one inode, and its entry in the register of its owner, if it is tracked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Object {
    pub(super) name: Name,
    user: u32,
    device: u64,
    inode: u64,
}

/// What became of the attempt to remove an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Removal {
    /// It is gone, or was before.
    Gone,
    /// Somebody has it.
    Held,
}

/// Makes the memory and, when `prepare` has filled it, its name. Killed before that, this leaves nothing.
///
/// `announce` is told what there will be just before there is something that somebody must remove.
pub(super) fn create(
    name: &Name,
    size: usize,
    prepare: impl FnOnce(&OwnedFd) -> io::Result<()>,
    announce: impl FnOnce(&Object),
) -> io::Result<(OwnedFd, Object)> {
    let len = u64::try_from(size).map_err(|_| io::ErrorKind::OutOfMemory)?;
    file_size::check(len)?;
    let fd = open(NAMES, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, PRIVATE)?;
    // Before it has a name, and before there is an entry: from its first moment on somebody has it.
    flock(&fd, FlockOperation::NonBlockingLockShared)?;
    ftruncate(&fd, len)?;
    // Now there is room for it, or never: later it would be a SIGBUS.
    let allocate = || retry_on_intr(|| fallocate(&fd, rustix::fs::FallocateFlags::empty(), 0, len));
    match allocate() {
        // What nobody has any more may fill it.
        Err(Errno::NOSPC) if scavenge().is_ok() => allocate()?,
        outcome => outcome?,
    }
    prepare(&fd)?;
    let object = Object::of(name.clone(), &fstat(&fd)?);
    announce(&object);
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let link = |directory: BorrowedFd<'_>, name: &str| linkat(CWD, &path, directory, name, AtFlags::SYMLINK_FOLLOW);
    loop {
        match link(Register::of_this_user()?.0.as_fd(), &object.entry()) {
            Ok(()) => break,
            // Somebody has removed the directory, which was empty.
            Err(Errno::NOENT) if statat(CWD, &path, AtFlags::empty()).is_ok() => {}
            Err(error) => return Err(error.into()),
        }
    }
    let patience = Instant::now() + PATIENCE;
    loop {
        match link(CWD, &path_of(name)) {
            Ok(()) => return Ok((fd, object)),
            // Perhaps it is one that nobody has any more.
            Err(Errno::EXIST) if remove_stale(name) && Instant::now() < patience => {}
            Err(error) => {
                object.remove_entry()?;
                return Err(error.into());
            }
        }
    }
}

/// Opens what has this name.
pub(super) fn open_by_name(name: &Name) -> io::Result<(OwnedFd, Object, usize)> {
    let fd = open(path_of(name), OFlags::RDWR | FILE, Mode::empty())?;
    let stat = fstat(&fd)?;
    let size = size_in(&stat)?;
    let object = Object::of(name.clone(), &stat);
    match hold(&fd) {
        Ok(()) => {}
        // Somebody removes it at this moment; or it is none of ours, and they may lock it as they like.
        Err(Errno::AGAIN) if object.is_tracked() => return Err(Errno::NOENT.into()),
        Err(Errno::AGAIN) => {}
        Err(error) => return Err(error.into()),
    }
    match fstat(&fd)?.st_nlink {
        0 => Err(Errno::NOENT.into()),
        _ => Ok((fd, object, size)),
    }
}

/// Opens once more what came from another process, whose open file this must not be: a file stays locked as long as the last
/// process has it open.
pub(super) fn open_again(fd: BorrowedFd<'_>, name: Name) -> io::Result<(OwnedFd, Object, usize)> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    if FileType::from_raw_mode(fstat(fd)?.st_mode) != FileType::RegularFile {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is no memory"));
    }
    let fd = open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    let stat = fstat(&fd)?;
    match hold(&fd) {
        // It loses its name at this moment.
        Ok(()) | Err(Errno::AGAIN) => Ok((fd, Object::of(name, &stat), size_in(&stat)?)),
        Err(error) => Err(error.into()),
    }
}

fn hold(fd: impl AsFd) -> rustix::io::Result<()> {
    flock(fd, FlockOperation::NonBlockingLockShared)
}

fn size_in(stat: &Stat) -> io::Result<usize> {
    match usize::try_from(stat.st_size) {
        Ok(size @ 1..) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => Ok(size),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "it is no memory, or has no size yet")),
    }
}

fn path_of(name: &Name) -> String {
    format!("{NAMES}/{}", name.as_str())
}

impl Object {
    fn of(name: Name, stat: &Stat) -> Object {
        Object { name, user: stat.st_uid, device: stat.st_dev, inode: stat.st_ino }
    }

    /// The name of its entry.
    fn entry(&self) -> String {
        format!("{:016x}.{}", self.inode, self.name.as_str())
    }

    /// For the tracker.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let numbers = [u64::from(self.user), self.device, self.inode].map(u64::to_ne_bytes);
        [numbers.as_flattened(), self.name.as_str().as_bytes()].concat()
    }

    /// What [`to_bytes`](Self::to_bytes) has given.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Object> {
        let (numbers, name) = bytes.split_at_checked(3 * size_of::<u64>())?;
        let (numbers, _) = numbers.as_chunks();
        let [user, device, inode] = [0, 1, 2].map(|place| u64::from_ne_bytes(numbers[place]));
        let name = Name::new(str::from_utf8(name).ok()?).ok()?;
        Some(Object { name, user: u32::try_from(user).ok()?, device, inode })
    }

    /// Whether it is removed when nobody has it any more.
    pub(super) fn is_tracked(&self) -> bool {
        Register::of(self.user)
            .and_then(|register| Ok(statat(&register.0, self.entry(), AtFlags::SYMLINK_NOFOLLOW)?))
            .is_ok()
    }

    /// Whether the name still is the name of this.
    fn has_its_name(&self) -> io::Result<bool> {
        match statat(CWD, path_of(&self.name), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok((stat.st_dev, stat.st_ino) == (self.device, self.inode)),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes its name away; the memory goes with the last process that has it.
    ///
    /// # Errors
    /// `NotFound`: it has none any more.
    pub(super) fn unlink(&self) -> io::Result<()> {
        if !self.has_its_name()? {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the shared memory has lost its name already"));
        }
        unlinkat(CWD, path_of(&self.name), AtFlags::empty())?;
        self.remove_entry()
    }

    /// From now on nobody removes it by himself.
    pub(super) fn remove_entry(&self) -> io::Result<()> {
        let register = match Register::of(self.user) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            register => register?,
        };
        match unlinkat(&register.0, self.entry(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        remove_directory(self.user);
        Ok(())
    }

    /// Removes it if it is tracked and nobody has it. With `wait` it waits until nobody has it.
    pub(super) fn remove_if_left(&self, wait: bool) -> io::Result<Removal> {
        let register = match Register::of(self.user) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Removal::Gone),
            register => register?,
        };
        register.remove_if_left(OsStr::new(&self.entry()), wait)
    }
}

/// The directory of one user with an entry for each object that is to be removed when nobody has it: a second name of the same
/// file, made of its inode number and its name.
pub(super) struct Register(OwnedFd);

impl Register {
    fn path(user: u32) -> PathBuf {
        PathBuf::from(format!("{NAMES}/{PREFIX}{user}"))
    }

    /// Makes it, if it is not there.
    fn of_this_user() -> io::Result<Register> {
        let user = geteuid().as_raw();
        loop {
            match Register::of(user) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                register => return register,
            }
            match mkdir(Register::path(user), Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn of(user: u32) -> io::Result<Register> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = open(Register::path(user), flags, Mode::empty())?;
        let stat = fstat(&directory)?;
        // Anybody can make anything in `/dev/shm`.
        if stat.st_uid != user || stat.st_mode & 0o022 != 0 {
            let what = format!("{}{user} in {NAMES} is not of its user alone", PREFIX);
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
        }
        Ok(Register(directory))
    }

    fn remove_if_left(&self, entry: &OsStr, wait: bool) -> io::Result<Removal> {
        let Some(name) = name_of_entry(entry) else { return Ok(Removal::Gone) };
        let fd = match openat(&self.0, entry, OFlags::RDONLY | FILE, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(Removal::Gone),
            fd => fd?,
        };
        let operation = if wait { FlockOperation::LockExclusive } else { FlockOperation::NonBlockingLockExclusive };
        match retry_on_intr(|| flock(&fd, operation)) {
            // Nobody has it, and who opens it now finds it locked.
            Ok(()) => {}
            Err(Errno::AGAIN) => return Ok(Removal::Held),
            Err(error) => return Err(error.into()),
        }
        let object = Object::of(name, &fstat(&fd)?);
        if object.entry().as_bytes() != entry.as_bytes() {
            // Nothing of ours.
            return Ok(Removal::Gone);
        }
        match statat(&self.0, entry, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => {}
            // Whoever had it until now has untracked it; or has removed it.
            Err(Errno::NOENT) => return Ok(Removal::Gone),
            Err(error) => return Err(error.into()),
        }
        if object.has_its_name()? {
            unlinkat(CWD, path_of(&object.name), AtFlags::empty())?;
        }
        object.remove_entry()?;
        Ok(Removal::Gone)
    }
}

impl fmt::Debug for Register {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Register").field(&self.0).finish()
    }
}

/// Whoever comes next makes it again.
fn remove_directory(user: u32) {
    // It fails as long as there is something in it.
    let _still_in_use = rmdir(Register::path(user));
}

/// An entry is the number of an inode and the name.
fn name_of_entry(entry: &OsStr) -> Option<Name> {
    let entry = entry.to_str()?;
    let (number, name) = entry.split_at_checked(NUMBER)?;
    let is_number = number.ends_with('.') && number[..NUMBER - 1].bytes().all(|byte| byte.is_ascii_hexdigit());
    is_number.then(|| Name::new(name).ok()).flatten()
}

/// Removes what has this name if it is tracked and nobody has it; `true`: it is gone, or somebody else is just removing it.
fn remove_stale(name: &Name) -> bool {
    let Ok(stat) = statat(CWD, path_of(name), AtFlags::SYMLINK_NOFOLLOW) else { return true };
    let object = Object::of(name.clone(), &stat);
    match object.is_tracked().then(|| object.remove_if_left(false)) {
        Some(Ok(Removal::Held)) => match open_by_name(name) {
            // Somebody removes it at this moment.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                std::thread::yield_now();
                true
            }
            Err(_) => false,
            // Somebody has it. Should that one have let go of it just now, it is this look that has kept the name.
            Ok((fd, object, _)) => {
                drop(fd);
                object.remove_if_left(false).is_ok_and(|removal| removal == Removal::Gone)
            }
        },
        // Removed by this, or by somebody else, who takes away the entry as the last. What is not tracked still has its name.
        Some(Ok(Removal::Gone) | Err(_)) | None => object.has_its_name().is_ok_and(|has_its_name| !has_its_name),
    }
}

/// Removes everything of this user that is tracked and that nobody has any more, and says how many entries are left.
pub(super) fn scavenge() -> io::Result<usize> {
    let user = geteuid().as_raw();
    let register = match Register::of(user) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        register => register?,
    };
    let entries = match std::fs::read_dir(Register::path(user)) {
        // Somebody else has removed the last entry, and the directory.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut left = 0;
    for entry in entries {
        left += match register.remove_if_left(&entry?.file_name(), false) {
            Ok(Removal::Gone) => 0,
            // What cannot be removed now must not keep others from being removed.
            Ok(Removal::Held) | Err(_) => 1,
        };
    }
    remove_directory(user);
    Ok(left)
}

/// Scavenges now and then: at the first call in this process, and when there have been as many more as there were entries.
pub(super) fn scavenge_in_time() {
    static CREDIT: AtomicUsize = AtomicUsize::new(0);
    if CREDIT.fetch_update(Relaxed, Relaxed, |credit| credit.checked_sub(1)).is_err() {
        // Errors are of others' entries; one's own are found when it makes one.
        CREDIT.store(scavenge().unwrap_or(0).max(16), Relaxed);
    }
}
