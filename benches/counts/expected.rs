//! The file with what is expected.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::Command;

pub const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/counts/expected.txt");

const TOLERANCE: f64 = 1.05;

pub struct Expected {
    /// A count may be so many times as large.
    pub tolerance: f64,
    counts: BTreeMap<String, f64>,
}

impl Expected {
    /// A line of the file is a name and a number, or begins with `#`. Nothing is expected where there is no file.
    pub fn read() -> Expected {
        let text = std::fs::read_to_string(FILE).unwrap_or_default();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let entry = |line: &str| {
            let (name, count) = line.split_once(' ')?;
            Some((name.to_owned(), count.trim().parse().ok()?))
        };
        let mut counts: BTreeMap<String, f64> = lines.filter_map(entry).collect();
        Expected { tolerance: counts.remove("tolerance").unwrap_or(TOLERANCE), counts }
    }

    pub fn of(&self, name: &str) -> Option<f64> {
        self.counts.get(name).copied()
    }

    pub fn write(counts: &BTreeMap<String, f64>) {
        let mut text = "# Instructions per task, by valgrind's callgrind. Written by\n\
                        # cargo run --release -p concurrent-futures-benches --example counts -- --update\n"
            .to_owned();
        for line in [version("rustc", "--version"), version("ldd", "--version"), version("valgrind", "--version")] {
            writeln!(text, "# {line}").expect("a String takes all");
        }
        writeln!(text, "tolerance {}", Expected::read().tolerance).expect("a String takes all");
        for (name, count) in counts {
            writeln!(text, "{name} {count:.0}").expect("a String takes all");
        }
        std::fs::write(FILE, text).unwrap_or_else(|error| panic!("{FILE}: {error}"));
    }
}

/// The first line of what a program says about itself.
fn version(program: &str, argument: &str) -> String {
    let output = Command::new(program).arg(argument).output();
    let said =
        output.map_or_else(|error| error.to_string(), |output| String::from_utf8_lossy(&output.stdout).into_owned());
    said.lines().next().unwrap_or(program).to_owned()
}
