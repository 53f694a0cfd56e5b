//! `docs/reliability.md` names only tests that there are, all of them, and every fault.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const LIST: &str = include_str!("../../../../docs/reliability.md");

/// Rows of this suite are listed as `topic::row_…`, those in the sources of the process pool as `process::row_…`.
#[test]
fn the_list_of_faults_and_the_rows_agree() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let process = here.join("../process/src");
    let mut rows = BTreeSet::new();
    for file in fs::read_dir(here.join("tests/faults")).expect("it is there").flatten() {
        let topic = file.path().file_stem().expect("a name").to_string_lossy().into_owned();
        rows.extend(rows_in(&file.path()).into_iter().map(|row| format!("{topic}::{row}")));
    }
    for file in ["fuzzing.rs", "pool/hostile.rs", "sys/pidfd.rs"] {
        rows.extend(rows_in(&process.join(file)).into_iter().map(|row| format!("process::{row}")));
    }
    let words = LIST.split('`').skip(1).step_by(2);
    let listed: BTreeSet<String> = words.filter(|words| words.contains("::row_")).map(str::to_owned).collect();
    assert_eq!(listed, rows);
    for fault in 1..=30 {
        let number = format!("::row_{fault:02}_");
        assert!(rows.iter().any(|row| row.contains(&number)), "no test for fault {fault}");
    }
}

fn rows_in(file: &Path) -> BTreeSet<String> {
    let source = fs::read_to_string(file).expect("a source file");
    let names = source.lines().filter_map(|line| line.trim_start().strip_prefix("fn row_"));
    names.filter_map(|rest| rest.split_once('(')).map(|(name, _)| format!("row_{name}")).collect()
}
