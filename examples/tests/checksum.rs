//! The checksum example as a whole program, on every executor, beside `sha256sum`.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use sha2::{Digest, Sha256};
use tempfile::TempDir;

const EXECUTORS: [&str; 3] = ["serial", "thread", "process"];

/// `cargo test` builds the examples of a package before it runs the tests, beside them.
fn checksum() -> Command {
    let test = std::env::current_exe().expect("the path of this test");
    let built = test.ancestors().nth(2).expect("target/<profile>");
    let program = built.join("examples/checksum");
    assert!(program.exists(), "{} is not built: run `cargo build --example checksum`", program.display());
    Command::new(program)
}

fn run(executor: &str, directory: &Path, paths: &[&str]) -> Output {
    checksum()
        .args(["--executor", executor, "--workers=2"])
        .args(paths)
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .expect("the example starts")
}

fn names(stdout: &[u8]) -> Vec<&str> {
    let text = std::str::from_utf8(stdout).expect("UTF-8");
    text.lines().map(|line| &line[66..]).collect()
}

fn words(output: &[u8]) -> String {
    String::from_utf8_lossy(output).into_owned()
}

/// A directory with what it takes to get a checksum file wrong.
fn tree() -> TempDir {
    let root = tempfile::tempdir().expect("a directory");
    let at = |name: &[u8]| root.path().join(OsStr::from_bytes(name));
    let write = |name: &[u8], content: &[u8]| fs::write(at(name), content).expect("a file");
    fs::create_dir_all(at(b"d/deep")).expect("directories");
    for index in 0..100 {
        let index = format!("{index:03}");
        write(format!("d/{index}").as_bytes(), index.as_bytes());
    }
    write(b"d/deep/empty", b"");
    write(b"d/deep/larger than the buffer", &vec![b'x'; 70_001]);
    write(b"d/new\nline", b"1");
    write(b"d/carriage\rreturn", b"2");
    write(b"d/back\\slash", b"3");
    write(b"d/not \xff utf-8", b"4");
    write(b"d/ *blank", b"5");
    symlink("deep", at(b"d/link")).expect("a link");
    symlink("..", at(b"d/loop")).expect("a link");
    root
}

#[test]
fn every_executor_prints_the_same_bytes_and_sha256sum_accepts_them() {
    let root = tree();
    let outputs = EXECUTORS.map(|executor| run(executor, root.path(), &["d"]));
    for (executor, output) in EXECUTORS.iter().zip(&outputs) {
        assert!(output.status.success(), "{executor}: {}", output.status);
        assert_eq!(words(&output.stderr), "", "{executor}");
        assert!(output.stdout == outputs[0].stdout, "{executor} prints something else");
    }
    let lines = outputs[0].stdout.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(lines, 107, "every file has one line");

    let mut check = Command::new("sha256sum")
        .args(["--check", "--strict", "--quiet", "-"])
        .current_dir(root.path())
        .stdin(Stdio::piped())
        .spawn()
        .expect("sha256sum is there");
    let mut pipe = check.stdin.take().expect("a pipe");
    pipe.write_all(&outputs[0].stdout).expect("sha256sum reads");
    drop(pipe);
    assert!(check.wait().expect("an end").success());
}

#[test]
fn lines_are_escaped_as_sha256sum_does() {
    let root = tree();
    let hash =
        |content: &[u8]| -> String { Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect() };
    for (name, written, content) in [
        ("d/007", "d/007", "007"),
        ("d/ *blank", "d/ *blank", "5"),
        ("d/new\nline", "d/new\\nline", "1"),
        ("d/carriage\rreturn", "d/carriage\\rreturn", "2"),
        ("d/back\\slash", "d/back\\\\slash", "3"),
    ] {
        let before = if written == name { "" } else { "\\" };
        let output = run("thread", root.path(), &[name]);
        let expected = format!("{before}{}  {written}\n", hash(content.as_bytes()));
        assert_eq!(words(&output.stdout), expected);
    }
}

#[test]
fn the_order_is_that_of_the_names_with_a_directory_in_its_place() {
    let root = tempfile::tempdir().expect("a directory");
    let at = |name: &str| root.path().join(name);
    fs::create_dir_all(at("b/deep")).expect("directories");
    for name in ["c", "b/z", "b/deep/x", "a"] {
        fs::write(at(name), name).expect("a file");
    }
    symlink("c", at("link")).expect("a link");
    for executor in EXECUTORS {
        // a link that is asked for is followed; one that is met is not
        let output = run(executor, root.path(), &["link", "b", "."]);
        let expected = ["link", "b/deep/x", "b/z", "./a", "./b/deep/x", "./b/z", "./c"];
        assert_eq!(names(&output.stdout), expected, "{executor}");
    }
}

#[test]
fn what_cannot_be_read_is_told_with_its_path_and_the_rest_goes_on() {
    let root = tree();
    // the second opens and then cannot be read, not even by root
    let paths = ["d/000", "/proc/self/mem", "d/missing", "/dev/null", "d/001"];
    for executor in EXECUTORS {
        let output = run(executor, root.path(), &paths);
        assert_eq!(output.status.code(), Some(1), "{executor}");
        assert_eq!(names(&output.stdout), ["d/000", "d/001"], "{executor}");
        let told = words(&output.stderr);
        assert_eq!(told.lines().count(), 3, "{executor}: {told}");
        assert!(told.contains("/proc/self/mem: Input/output error"), "{executor}: {told}");
        assert!(told.contains("d/missing: No such file"), "{executor}: {told}");
        assert!(told.contains("/dev/null: not a regular file"), "{executor}: {told}");
    }
}

#[test]
fn a_reader_that_has_seen_enough_ends_it_quietly() {
    let root = tree();
    let often: Vec<PathBuf> = std::iter::repeat_n(root.path().join("d/deep"), 300).collect();
    for executor in EXECUTORS {
        let mut child = checksum()
            .args(["--executor", executor, "--workers=2"])
            .args(&often)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the example starts");
        let mut pipe = child.stdout.take().expect("a pipe");
        pipe.read_exact(&mut [0; 64]).expect("a hash");
        drop(pipe);
        let output = child.wait_with_output().expect("an end");
        assert!(output.status.success(), "{executor}: {}", output.status);
        assert_eq!(words(&output.stderr), "", "{executor}");
    }
}

#[test]
fn a_wrong_command_line_is_refused_in_words() {
    let refused = [
        (&[][..], "no PATH"),
        (&["-"], "./-"),
        (&["--fast", "a"], "--fast"),
        (&["a", "--workers"], "--workers needs a value"),
        (&["--workers", "0", "a"], "from 1 on"),
        (&["--workers=-2", "a"], "from 1 on"),
        (&["--executor", "gpu", "a"], "gpu"),
    ];
    for (args, why) in refused {
        let output = checksum().args(args).output().expect("the example starts");
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert_eq!(words(&output.stdout), "", "{args:?}");
        assert!(words(&output.stderr).contains(why), "{args:?}: {}", words(&output.stderr));
    }
}

#[test]
fn help_and_paths_that_look_like_options() {
    let root = tempfile::tempdir().expect("a directory");
    fs::write(root.path().join("--help"), "").expect("a file");
    let help = run("serial", root.path(), &["--help"]);
    assert!(help.status.success());
    assert!(words(&help.stdout).contains("Usage: checksum"));
    let file = run("serial", root.path(), &["--", "--help"]);
    assert_eq!(names(&file.stdout), ["--help"]);
}
