//! `docs/conformance.md` names only tests that there are.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

const LIST: &str = include_str!("../../../../docs/conformance.md");

/// Every `topic::test` in the list is a function of this suite, of the suite of the tools or of a test program of its own, every `core::topic::test` one of core's
/// tests, and every `ipc::…::test` and `manager::…::test` one beside their code, or a module of tests.
#[test]
fn every_test_that_is_listed_exists() {
    let mut sources = Sources::default();
    let mut listed = 0;
    for name in LIST.split('`').skip(1).step_by(2).filter(|words| is_test(words)) {
        let parts: Vec<&str> = name.split("::").collect();
        let found = match parts[..] {
            ["core", ref rest @ ..] => sources.has("../core/tests/api", rest),
            [part @ ("ipc" | "manager"), ref rest @ ..] => sources.has(&format!("../{part}/src"), rest),
            ref all => sources.has("tests/suite", all) || sources.has("tests/tools", all) || sources.has("tests", all),
        };
        assert!(found, "`{name}` is listed, and there is no such test");
        listed += 1;
    }
    assert!(listed > 100, "only {listed} names were found");
}

/// Files that were read, by their path.
#[derive(Default)]
struct Sources(HashMap<PathBuf, String>);

impl Sources {
    /// Whether a file below `folder` that the first parts name has what the others name: a test, perhaps in `mod tests`, or all tests.
    fn has(&mut self, folder: &str, parts: &[&str]) -> bool {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        (1..=parts.len()).any(|split| {
            let (file, rest) = parts.split_at(split);
            let path = folder.join(file.join("/")).with_extension("rs");
            let source = self.0.entry(path).or_insert_with_key(|path| fs::read_to_string(path).unwrap_or_default());
            match rest {
                [test] | ["tests", test] if source.contains(&format!("fn {test}(")) => true,
                ["tests"] => source.contains("mod tests"),
                [] => file.last() == Some(&"tests") && source.contains("#[test]"),
                _ => false,
            }
        })
    }
}

/// Words in backticks that look like the name of a test.
fn is_test(words: &str) -> bool {
    words.contains("::") && words.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_:".contains(c))
}
