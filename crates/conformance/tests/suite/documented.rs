//! `docs/conformance.md` names only tests that there are.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

const LIST: &str = include_str!("../../../../docs/conformance.md");

/// Every `topic::test` in the list is a function of this suite, every `core::topic::test` one of core's tests.
#[test]
fn every_test_that_is_listed_exists() {
    let suite = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite");
    let core = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/tests/api");
    let mut sources = HashMap::new();
    let mut listed = 0;
    for name in LIST.split('`').skip(1).step_by(2).filter(|words| is_test(words)) {
        let (folder, rest) = match name.strip_prefix("core::") {
            Some(rest) => (&core, rest),
            None => (&suite, name),
        };
        let (topic, test) = rest.rsplit_once("::").expect("a test has a topic");
        let path = folder.join(topic).with_extension("rs");
        let source = sources.entry(path.clone()).or_insert_with(|| fs::read_to_string(&path).unwrap_or_default());
        assert!(source.contains(&format!("fn {test}(")), "`{name}` is listed, but {} has no such test", path.display());
        listed += 1;
    }
    assert!(listed > 100, "only {listed} names were found");
}

/// Words in backticks that look like the name of a test.
fn is_test(words: &str) -> bool {
    words.contains("::") && words.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_:".contains(c))
}
