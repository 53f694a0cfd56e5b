//! What `/proc` says about processes.

use std::fs;
use std::io;

use super::exit::ExitReport;

/// How many threads this process has.
pub(crate) fn thread_count() -> io::Result<usize> {
    Stat::read("self")?.number(20).ok_or_else(invalid)
}

/// The processes whose parent is this one, zombies included.
pub(crate) fn children_of_self() -> io::Result<Vec<i32>> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        if let Some(pid) = name.to_str().and_then(|name| name.parse().ok())
            && is_child_of_self(pid)
        {
            children.push(pid);
        }
    }
    Ok(children)
}

/// Whether the process that has this pid now is a child of this one. One that has gone is none.
pub(crate) fn is_child_of_self(pid: i32) -> bool {
    let parent = Stat::read(&pid.to_string()).ok().and_then(|stat| stat.number::<u32>(4));
    parent == Some(std::process::id())
}

/// A number of `/proc/self/statm`, in pages: 0 is the size, 1 what is resident, 5 data and stack.
pub(crate) fn memory_pages(index: usize) -> io::Result<u64> {
    let text = fs::read_to_string("/proc/self/statm")?;
    text.split_ascii_whitespace().nth(index).and_then(|field| field.parse().ok()).ok_or_else(invalid)
}

/// Where the arguments of this process lie in its memory: first byte and one past the last.
pub(crate) fn argument_area() -> io::Result<(usize, usize)> {
    let stat = Stat::read("self")?;
    match (stat.number(48), stat.number(49)) {
        (Some(start), Some(end)) if start != 0 && start <= end => Ok((start, end)),
        _ => Err(invalid()),
    }
}

/// Where the kernel has put the program headers of the file that it was asked to run.
pub(crate) fn program_headers() -> io::Result<usize> {
    const AT_PHDR: usize = 3;
    let bytes = auxiliary_vector()?;
    let (words, _) = bytes.as_chunks::<{ size_of::<usize>() }>();
    let (entries, _) = words.as_chunks::<2>();
    let mut entries = entries.iter().map(|entry| entry.map(usize::from_ne_bytes));
    entries.find_map(|[key, value]| (key == AT_PHDR).then_some(value)).ok_or_else(invalid)
}

/// What the kernel has told this process when it began. The file is not readable for a process that has given up
/// privileges; the call, which can be made since Linux 6.4, needs no descriptor either.
fn auxiliary_vector() -> io::Result<Vec<u8>> {
    const PR_GET_AUXV: libc::c_int = 0x4155_5856;
    let mut bytes = vec![0_u8; 1024];
    // SAFETY: the kernel writes to the buffer at most as many bytes as are said to be its length; the two numbers that are
    // not used must be zero.
    let len = unsafe { libc::prctl(PR_GET_AUXV, bytes.as_mut_ptr(), bytes.len(), 0_usize, 0_usize) };
    match usize::try_from(len) {
        // What was not all of it is of no use.
        Ok(len) if len <= bytes.len() => {
            bytes.truncate(len);
            Ok(bytes)
        }
        _ => fs::read("/proc/self/auxv"),
    }
}

/// How process `pid` ended, while it is a zombie. The caller makes sure that the pid is still that process.
pub(crate) fn zombie_exit(pid: i32) -> io::Result<Option<ExitReport>> {
    let stat = Stat::read(&pid.to_string())?;
    if stat.field(3) != Some("Z") {
        return Ok(None);
    }
    Ok(stat.number(52).map(ExitReport::from_wait_status))
}

/// `/proc/<pid>/stat`, fields numbered from one as proc(5) does. The second, the name, is left out.
struct Stat {
    after_name: String,
}

impl Stat {
    fn read(pid: &str) -> io::Result<Self> {
        let bytes = fs::read(format!("/proc/{pid}/stat"))?;
        // The name is in brackets and may hold anything, also spaces and brackets: the last one counts.
        let end = bytes.iter().rposition(|&byte| byte == b')').ok_or_else(invalid)?;
        let after_name = String::from_utf8(bytes[end + 1..].to_vec()).map_err(|_| invalid())?;
        Ok(Self { after_name })
    }

    fn field(&self, number: usize) -> Option<&str> {
        self.after_name.split_ascii_whitespace().nth(number.checked_sub(3)?)
    }

    fn number<N: std::str::FromStr>(&self, number: usize) -> Option<N> {
        self.field(number)?.parse().ok()
    }
}

fn invalid() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "/proc is not as proc(5) describes it")
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn threads_are_counted() {
        let before = thread_count().unwrap();
        assert!(before >= 1);
        let (hold, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || wait.recv().is_err());
        // Other tests of this binary come and go beside this one, so only the presence is sure.
        assert!(thread_count().unwrap() >= 2);
        drop(hold);
        assert!(thread.join().unwrap());
    }

    #[test]
    fn a_child_is_listed_until_it_is_reaped_and_its_exit_can_be_read_before() {
        let mut child = Command::new("sh").args(["-c", "read x; exit 9"]).stdin(Stdio::piped()).spawn().unwrap();
        let pid = child.id() as i32;
        assert!(children_of_self().unwrap().contains(&pid));
        assert_eq!(zombie_exit(pid).unwrap(), None);

        drop(child.stdin.take());
        let child_pid = rustix::process::Pid::from_child(&child);
        let keep = rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT;
        rustix::process::waitid(rustix::process::WaitId::Pid(child_pid), keep).unwrap();
        assert_eq!(zombie_exit(pid).unwrap(), Some(ExitReport::Code(9)));
        assert!(children_of_self().unwrap().contains(&pid));

        child.wait().unwrap();
        assert!(!children_of_self().unwrap().contains(&pid));
    }

    #[test]
    fn what_the_kernel_tells_is_what_the_file_has() {
        let file = fs::read("/proc/self/auxv").unwrap();
        // The call gives the unused places at its end, too.
        assert!(auxiliary_vector().unwrap().starts_with(&file));
    }

    #[test]
    fn the_argument_area_is_found() {
        let (start, end) = argument_area().unwrap();
        assert!(end > start);
    }
}
