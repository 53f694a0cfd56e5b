//! Instructions per task, counted by valgrind: they repeat on a machine where times do not.
//!
//! ```text
//! cargo run --release -p concurrent-futures-benches --example counts               # fails when a count has grown
//! cargo run --release -p concurrent-futures-benches --example counts -- --update   # the counts of now are expected
//! ```
//!
//! `expected.txt` beside this file has what is expected, and how far a count may be above it.

mod callgrind;
mod expected;
mod work;

use expected::Expected;
use std::process::ExitCode;

const HELP: &str = "\
counts [--update]

Counts instructions per task under valgrind and compares them with benches/counts/expected.txt.

--update   writes them there instead
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => report(false),
        ["--update"] => report(true),
        [callgrind::COUNTED, name] => work::count(name),
        _ => {
            print!("{HELP}");
            ExitCode::from(2)
        }
    }
}

fn report(update: bool) -> ExitCode {
    let counts = match callgrind::counts() {
        Ok(counts) => counts,
        Err(error) => {
            eprintln!("nothing could be counted: {error}");
            return ExitCode::from(3);
        }
    };
    if update {
        Expected::write(&counts);
        println!("written to {}", expected::FILE);
        return ExitCode::SUCCESS;
    }
    let expected = Expected::read();
    println!("| instructions per task | expected | now | |\n|---|---|---|---|");
    let mut good = true;
    for (name, count) in &counts {
        let verdict = match expected.of(name) {
            None => "not in the file",
            Some(known) if *count > known * expected.tolerance => "GROWN",
            Some(known) if *count < known / expected.tolerance => "less: to be updated",
            Some(_) => "as expected",
        };
        good &= !matches!(verdict, "GROWN" | "not in the file");
        let known = expected.of(name).map_or_else(|| "-".to_owned(), |known| format!("{known:.0}"));
        println!("| {name} | {known} | {count:.0} | {verdict} |");
    }
    if good {
        return ExitCode::SUCCESS;
    }
    eprintln!(
        "A task costs more instructions than it did. If that is meant, or another compiler or C library has brought it, run\n\
         cargo run --release -p concurrent-futures-benches --example counts -- --update\n\
         and say in the commit why."
    );
    ExitCode::FAILURE
}
