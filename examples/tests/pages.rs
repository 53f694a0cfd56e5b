//! The examples that get pages, download and crawler, as whole programs, against a server on the loopback with slow, failing,
//! redirecting and hanging pages.

#[allow(dead_code, unused_imports, reason = "its users are the examples; here its own tests run")]
#[path = "../http/mod.rs"]
mod http;
#[allow(dead_code, reason = "as above")]
#[path = "../crawler/parse.rs"]
mod parse;
mod server;

use server::Server;
use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Output, Stdio};

/// `cargo test` builds the examples of a package before it runs the tests, beside them.
fn example(name: &str) -> Command {
    let test = std::env::current_exe().expect("the path of this test");
    let built = test.ancestors().nth(2).expect("target/<profile>");
    let program = built.join("examples").join(name);
    assert!(program.exists(), "{} is not built: run `cargo build --example {name}`", program.display());
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    command
}

fn lines(bytes: &[u8]) -> BTreeSet<String> {
    String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect()
}

fn download(list: &[String], args: &[&str]) -> (Output, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a directory");
    fs::write(folder.path().join("download.txt"), list.join("\n")).expect("a list");
    let output = example("download")
        .args(["--timeout", "5", "--into", "pages"])
        .args(args)
        .arg("download.txt")
        .current_dir(&folder)
        .output()
        .expect("the example starts");
    (output, folder)
}

#[test]
fn download_saves_what_comes_and_reports_what_does_not() {
    let server = Server::start();
    let paths = ["/", "/slow", "/moved", "/circle", "/flaky", "/broken", "/cut", "/chunked", "/hangs", "/missing"];
    let mut list = vec!["# pages".to_owned(), String::new(), "ftp://nowhere/".to_owned()];
    list.extend(paths.map(|path| server.url(path)));
    let (output, folder) = download(&list, &["--retries", "2"]);
    assert_eq!(output.status.code(), Some(1));
    let came: BTreeSet<String> = ["/", "/slow", "/moved", "/flaky", "/chunked"].map(|path| server.url(path)).into();
    let told: BTreeSet<String> =
        lines(&output.stdout).iter().map(|line| line.split("  ").last().unwrap_or_default().to_owned()).collect();
    assert_eq!(told, came);
    let errors = lines(&output.stderr);
    for (path, why) in [
        ("/circle", "more than 5 redirects"),
        ("/broken", "the server failed with status 500"),
        ("/cut", "the answer was cut short"),
        ("/hangs", "no answer in 5s"),
        ("/missing", "status 404"),
    ] {
        assert!(errors.contains(&format!("{}: {why}", server.url(path))), "{path}: {errors:#?}");
    }
    assert!(errors.contains("ftp://nowhere/: not an http address"), "{errors:#?}");
    assert!(errors.contains("download: 6 pages are missing"), "{errors:#?}");
    // What can get better is tried again, and what cannot is not.
    assert_eq!(["/flaky", "/broken", "/cut", "/hangs", "/missing"].map(|path| server.asked(path)), [3, 3, 3, 3, 1]);
    let saved: Vec<_> = fs::read_dir(folder.path().join("pages")).expect("a folder").map(Result::unwrap).collect();
    assert_eq!(saved.len(), 5, "{saved:?}");
    let chunked =
        saved.iter().find(|file| file.file_name().to_string_lossy().ends_with("chunked")).expect("it is there");
    assert_eq!(fs::read_to_string(chunked.path()).expect("a page"), "<title>in pieces</title>");
}

#[test]
fn download_is_content_when_all_is_well() {
    let server = Server::start();
    let list: Vec<_> = (0..20).map(|_| server.url("/slow")).collect();
    let (output, _folder) = download(&list, &[]);
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "no bar where there is no terminal: {output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 20);
    let (nobody, _folder) = download(&["http://127.0.0.1:1/".to_owned()], &["--retries", "0"]);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("refused"), "{nobody:?}");
}

#[test]
fn crawler_follows_links_on_its_server_and_reports_what_fails() {
    let server = Server::start();
    let output =
        example("crawler").args(["--timeout", "5", "--retries", "2", &server.url("/")]).output().expect("it starts");
    assert_eq!(output.status.code(), Some(1));
    let read = [
        ("/", "\"home\", 10 links"),
        ("/slow", "\"slow\", 0 links"),
        ("/moved", "\"there\", 1 links"),
        ("/flaky", "\"at last\", 0 links"),
        ("/chunked", "\"in pieces\", 0 links"),
    ];
    assert_eq!(lines(&output.stdout), read.map(|(path, what)| format!("{}: {what}", server.url(path))).into());
    let failed = [
        ("/circle", "more than 5 redirects"),
        ("/broken", "the server failed with status 500"),
        ("/cut", "the answer was cut short"),
        ("/hangs", "no answer in 5s"),
        ("/missing", "status 404"),
    ];
    let mut errors: BTreeSet<String> = failed.map(|(path, why)| format!("{}: {why}", server.url(path))).into();
    errors.insert("crawler: 5 pages could not be read".to_owned());
    assert_eq!(lines(&output.stderr), errors);
    assert_eq!(["/", "/flaky", "/hangs", "/missing"].map(|path| server.asked(path)), [1, 3, 3, 1]);
}

#[test]
fn crawler_stops_at_the_number_of_pages() {
    let server = Server::start();
    let output = example("crawler").args(["--pages", "2", &server.url("/")]).output().expect("it starts");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(lines(&output.stdout).len(), 2);
}

#[test]
fn a_wrong_command_line_is_refused_in_words() {
    for (program, args, why) in [
        ("download", &[][..], "no LIST"),
        ("download", &["a", "b"], "one LIST"),
        ("download", &["--timeout", "never", "a"], "--timeout: never"),
        ("download", &["--workers", "0", "a"], "--workers: 0"),
        ("crawler", &[], "no URL"),
        ("crawler", &["https://x/"], "no TLS"),
        ("crawler", &["--pages"], "--pages needs a value"),
    ] {
        let output = example(program).args(args).output().expect("it starts");
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(why), "{output:?}");
    }
    for program in ["download", "crawler"] {
        let output = example(program).arg("--help").output().expect("it starts");
        assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("Usage"));
    }
}
