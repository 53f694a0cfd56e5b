//! What the kernel counts when it kills for lack of memory.

use std::fs;
use std::path::PathBuf;

/// Which of the kernel's counts has grown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Evidence {
    /// That of the cgroup of this process, which its workers share unless somebody has moved them.
    Cgroup,
    /// That of the whole machine: it may have been any process.
    System,
}

/// The counts at the time of the last look.
#[derive(Debug)]
pub(crate) struct OomCounters {
    /// The file in which the count of this process's cgroup stands.
    cgroup_file: Option<PathBuf>,
    cgroup: Option<u64>,
    system: Option<u64>,
}

impl OomCounters {
    /// As they are now. Where a count cannot be read there is no evidence from it.
    pub(crate) fn now() -> Self {
        let membership = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let cgroup_file = candidates(&membership).into_iter().find(|file| read(file).is_some());
        let mut counters = OomCounters { cgroup_file, cgroup: None, system: None };
        counters.look();
        counters
    }

    /// What has changed since the last look. The kernel counts first and then kills, so a death that has been noticed has
    /// been counted.
    pub(crate) fn look(&mut self) -> Option<Evidence> {
        let cgroup = self.cgroup_file.as_ref().and_then(read);
        let system = read(&"/proc/vmstat".into());
        let before = (std::mem::replace(&mut self.cgroup, cgroup), std::mem::replace(&mut self.system, system));
        let grown = |before: Option<u64>, now: Option<u64>| before.zip(now).is_some_and(|(before, now)| now > before);
        if grown(before.0, cgroup) {
            Some(Evidence::Cgroup)
        } else if grown(before.1, system) {
            Some(Evidence::System)
        } else {
            None
        }
    }
}

/// The files that may have the count of the cgroup that `/proc/self/cgroup` names. In a container that does not see where
/// it lies in the machine's tree, the path is not there, and its own cgroup is at the top.
fn candidates(membership: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in membership.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let path = path.trim_start_matches('/');
        let (tops, name): (&[&str], _) = if controllers.is_empty() {
            (&["/sys/fs/cgroup", "/sys/fs/cgroup/unified"], "memory.events")
        } else if controllers.split(',').any(|controller| controller == "memory") {
            (&["/sys/fs/cgroup/memory"], "memory.oom_control")
        } else {
            continue;
        };
        for top in tops {
            let top = PathBuf::from(top);
            files.extend([top.join(path).join(name), top.join(name)]);
        }
    }
    files
}

fn read(file: &PathBuf) -> Option<u64> {
    count(&fs::read_to_string(file).ok()?)
}

/// The number after `oom_kill`, which all three kinds of file have in a line of its own.
fn count(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found_in_each_kind_of_file() {
        let events = "low 0\nhigh 0\nmax 17\noom 3\noom_kill 2\noom_group_kill 1\n";
        assert_eq!(count(events), Some(2));
        assert_eq!(count("oom_kill_disable 0\nunder_oom 0\noom_kill 5\n"), Some(5));
        assert_eq!(count("nr_free_pages 1\noom_kill 0\nnuma_hit 3\n"), Some(0));
        // Before 4.13 it was not counted.
        assert_eq!(count("oom_kill_disable 0\nunder_oom 0\n"), None);
        assert_eq!(count("oom_kill many\n"), None);
        assert_eq!(count(""), None);
    }

    #[test]
    fn both_versions_of_cgroups_are_looked_for() {
        let paths = |text: &str| candidates(text).iter().map(|file| file.display().to_string()).collect::<Vec<_>>();
        assert_eq!(
            paths("0::/user.slice/run-1.scope\n")[..2],
            ["/sys/fs/cgroup/user.slice/run-1.scope/memory.events", "/sys/fs/cgroup/memory.events"]
        );
        assert_eq!(
            paths("9:name=systemd:/\n4:cpu,memory:/a:b/c\n3:cpuset:/x\n"),
            ["/sys/fs/cgroup/memory/a:b/c/memory.oom_control", "/sys/fs/cgroup/memory/memory.oom_control"]
        );
        assert!(paths("nonsense").is_empty() && paths("").is_empty());
    }

    #[test]
    fn a_look_at_this_machine_does_no_harm() {
        let mut counters = OomCounters::now();
        eprintln!("{counters:?}");
        // Whether somebody else is being killed at this moment is not known.
        let _ = counters.look();
    }

    #[test]
    fn growth_is_evidence_once() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("memory.events");
        let write = |n: u32| fs::write(&file, format!("oom 9\noom_kill {n}\n")).unwrap();
        write(1);
        let mut counters = OomCounters { cgroup_file: Some(file.clone()), cgroup: None, system: None };
        counters.look();
        write(3);
        assert_eq!(counters.look(), Some(Evidence::Cgroup));
        assert_ne!(counters.look(), Some(Evidence::Cgroup));
    }
}
