//! The name that `ps` and `top` show.

use std::ffi::CString;
use std::io;
use std::ptr;

use super::procfs;

/// Sets the name of the calling thread, cut to the 15 bytes that the kernel keeps.
pub(crate) fn set_thread_name(name: &str) -> io::Result<()> {
    let bytes: Vec<u8> = name.bytes().filter(|&byte| byte != 0).take(15).collect();
    let name = CString::new(bytes).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    Ok(rustix::thread::set_name(&name)?)
}

/// Where the arguments lie that this process was started with. A fork has them at the same place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arguments {
    start: usize,
    room: usize,
}

impl Arguments {
    pub(crate) fn find() -> io::Result<Self> {
        let (start, end) = procfs::argument_area()?;
        Ok(Self { start, room: end - start })
    }

    /// Writes `title` over the arguments, cut to the room they have, so that `ps` shows it as the command line.
    ///
    /// # Safety
    ///
    /// This is the process that has found them, or a fork of it; no other thread runs, and nobody holds a reference to the
    /// argument strings.
    pub(crate) unsafe fn overwrite(self, title: &str) {
        let Some(longest) = self.room.checked_sub(1) else { return };
        let text = &title.as_bytes()[..title.len().min(longest)];
        let area = ptr::with_exposed_provenance_mut::<u8>(self.start);
        // SAFETY: the kernel has reported the area where it put the arguments, on this process's stack; it stays mapped
        // and writable for ever, and by the contract nobody else looks at it now.
        unsafe { ptr::write_bytes(area, 0, self.room) };
        // SAFETY: the text is at most as long as the area, and lies elsewhere: it is borrowed from a Rust string.
        unsafe { ptr::copy_nonoverlapping(text.as_ptr(), area, text.len()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_cut() {
        std::thread::spawn(|| {
            set_thread_name("a name with more than fifteen bytes").unwrap();
            assert_eq!(rustix::thread::name().unwrap().as_bytes(), b"a name with mor");
            set_thread_name("with\0zero").unwrap();
            assert_eq!(rustix::thread::name().unwrap().as_bytes(), b"withzero");
        })
        .join()
        .unwrap();
    }
}
