//! What a figure depends on and a reader cannot see.

use std::fs::read_to_string;

/// The machine, in one line.
pub(crate) fn describe() -> String {
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let info = read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = field(&info, "model name").unwrap_or("unknown processor");
    let kernel = read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{cpus} CPUs ({model}), {} {}", std::env::consts::OS, kernel.trim())
}

/// How busy the machine is, with what we do ourselves: the load averages of 1, 5 and 15 minutes.
pub(crate) fn load() -> String {
    let load = read_to_string("/proc/loadavg").unwrap_or_default();
    load.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    let line = info.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_name() {
        let info = "processor\t: 0\nmodel name\t: Fast: 9000\n";
        assert_eq!(field(info, "model name"), Some("Fast: 9000"));
        assert_eq!(field(info, "flags"), None);
    }
}
