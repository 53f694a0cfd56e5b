//! Runs this program again under valgrind, and reads what it counted.

use crate::work::{COUNT, NAMES};
use std::collections::BTreeMap;
use std::io::{Error, Result};
use std::path::Path;
use std::process::{Command, Stdio};

/// The argument with which the program does what is counted.
pub const COUNTED: &str = "--counted";

/// Instructions of one task, by the name of the count.
pub fn counts() -> Result<BTreeMap<String, f64>> {
    let folder = tempfile::tempdir()?;
    NAMES
        .into_iter()
        .map(|name| Ok((name.to_owned(), instructions(name, folder.path())? as f64 / COUNT as f64)))
        .collect()
}

fn instructions(name: &str, folder: &Path) -> Result<u64> {
    let file = folder.join(name);
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--quiet"]).arg(format!("--zero-before=*::count_{name}"));
    command.arg(format!("--callgrind-out-file={}", file.display()));
    command.arg(std::env::current_exe()?).args([COUNTED, name]).stdin(Stdio::null());
    let status = command.status().map_err(|error| Error::new(error.kind(), format!("valgrind: {error}")))?;
    if !status.success() {
        return Err(Error::other(format!("the program that is counted ends with {status}")));
    }
    let text = std::fs::read_to_string(&file)?;
    // The summary has everything since the start.
    let totals = text.lines().find_map(|line| line.strip_prefix("totals: ")?.trim().parse().ok());
    totals.ok_or_else(|| Error::other(format!("{} has no line with totals", file.display())))
}
