//! The kernel's own killer, in a control group that is too small. Where none can be made (it takes root, and here the memory
//! controller of version 1), there is nothing to see, and the test says so.

mod support;

use concurrent_futures_core::{ExecutorExt, KilledBy, OomEvidence};
use concurrent_futures_process::{ProcessPoolExecutor, StartMethod};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::*;

const MIB: usize = 1 << 20;

/// A control group below that of this process, gone with this value.
struct Group(PathBuf);

impl Group {
    fn with_memory(bytes: usize) -> io::Result<Group> {
        let membership = fs::read_to_string("/proc/self/cgroup")?;
        let line = membership.lines().find(|line| line.split(':').nth(1) == Some("memory"));
        let own = line.and_then(|line| line.splitn(3, ':').nth(2)).ok_or_else(|| io::Error::other("no version 1"))?;
        let top = Path::new("/sys/fs/cgroup/memory").join(own.trim_start_matches('/'));
        let group = Group(top.join(format!("concurrent-futures-{}", std::process::id())));
        fs::create_dir(&group.0)?;
        fs::write(group.0.join("memory.limit_in_bytes"), bytes.to_string())?;
        Ok(group)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Its processes are being reaped; it cannot go before them.
        eventually("the group is removed", || fs::remove_dir(&self.0).is_ok());
    }
}

#[test]
fn a_worker_that_the_kernel_kills_for_lack_of_memory_has_the_evidence() {
    let group = match Group::with_memory(512 * MIB) {
        Ok(group) => group,
        Err(error) => {
            eprintln!("no control group can be made here ({error}): nothing was tested");
            return;
        }
    };
    let script = format!("echo $$ > '{}/cgroup.procs' && exec \"$0\" \"$@\"", group.0.display());
    let me = std::env::current_exe().unwrap();
    let program = ["--exact", "program_in_a_small_group", "--ignored", "--nocapture"];
    let status = Command::new("sh").args(["-c", &script]).arg(me).args(program).status().unwrap();
    assert!(status.success(), "{status}");
}

#[test]
#[ignore = "started by another test"]
fn program_in_a_small_group() {
    for method in [StartMethod::ForkServer, StartMethod::Spawn] {
        let pool = ProcessPoolExecutor::builder().max_workers(2).start_method(method).build().unwrap();
        let place = Place::new();
        let mut gate = place.gate("gate");
        let neighbour = pool.submit(wait_at, gate.path());
        await_start(&neighbour);
        let greedy = pool.submit(|n: usize| std::hint::black_box(vec![1_u8; n]).len(), 1024 * MIB);
        let error = outcome(greedy).unwrap_err();
        let death = error.death().unwrap();
        let said = (death.signal(), death.killed_by(), death.oom());
        assert_eq!(said, (Some("SIGKILL"), KilledBy::Nobody, Some(OomEvidence::Cgroup)), "{error}");
        assert!(death.peak_memory().unwrap() > 256 * MIB as u64, "{error}");
        gate.open();
        outcome(neighbour).unwrap();
        // The evidence is not used twice.
        let killed = pool.submit(
            |()| {
                let me = rustix::process::getpid();
                rustix::process::kill_process(me, rustix::process::Signal::KILL).unwrap();
            },
            (),
        );
        // Somewhere else on this machine there may have been another.
        assert_ne!(outcome(killed).unwrap_err().death().unwrap().oom(), Some(OomEvidence::Cgroup));
    }
}
