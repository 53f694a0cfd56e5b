//! The command line of a bench.

use std::path::{Path, PathBuf};
use std::process::exit;

const HELP: &str = "\
cargo bench -p concurrent-futures-benches --bench NAME -- [OPTION]... [TABLE]...

TABLE           measure only the tables whose name contains this text
--row TEXT      measure only the rows whose name contains this text (for a profiler)
--quick         little work and few rounds: to see that everything runs, not to quote a figure
--rounds N      rounds of each column
--svg DIR       write plots to this folder, where the bench has some
";

/// What was asked for on the command line.
#[derive(Clone, Debug, Default)]
pub struct Options {
    quick: bool,
    rounds: Option<usize>,
    tables: Vec<String>,
    rows: Vec<String>,
    svg: Option<PathBuf>,
}

impl Options {
    /// Reads the command line. `None`: the program was not started by `cargo bench` but by `cargo test`, which starts
    /// benches too when it is asked for all targets; nothing is to be measured then.
    ///
    /// Prints the usage and ends the program when asked for it, and when an argument makes no sense.
    pub fn from_args() -> Option<Options> {
        match parse(std::env::args().skip(1).collect()) {
            Ok(options) => options,
            Err(Stop::Help) => {
                print!("{HELP}");
                exit(0)
            }
            Err(Stop::Nonsense(what)) => {
                eprint!("{what}\n\n{HELP}");
                exit(2)
            }
        }
    }

    /// As `--quick`.
    pub fn quick() -> Options {
        Options { quick: true, ..Options::default() }
    }

    /// How much of something: the first in quick mode, the second in full.
    pub fn pick<T>(&self, quick: T, full: T) -> T {
        if self.quick { quick } else { full }
    }

    /// How often each row of a column is measured.
    pub fn rounds(&self) -> usize {
        self.rounds.unwrap_or(self.pick(3, 9))
    }

    /// The folder for plots, if there are to be some.
    pub fn svg(&self) -> Option<&Path> {
        self.svg.as_deref()
    }

    pub(crate) fn wants_table(&self, name: &str) -> bool {
        self.tables.is_empty() || self.tables.iter().any(|text| name.contains(text.as_str()))
    }

    pub(crate) fn wants_row(&self, name: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|text| name.contains(text.as_str()))
    }

    pub(crate) fn mode(&self) -> &'static str {
        self.pick("quick: these figures mean little", "full")
    }
}

#[derive(Debug, PartialEq)]
enum Stop {
    Help,
    Nonsense(String),
}

fn parse(args: Vec<String>) -> Result<Option<Options>, Stop> {
    if !args.iter().any(|arg| arg == "--bench" || arg == "--help") {
        return Ok(None);
    }
    let mut options = Options::default();
    let nonsense = |what: &str| Err(Stop::Nonsense(what.to_owned()));
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--bench" => {}
            "--quick" => options.quick = true,
            "--help" => return Err(Stop::Help),
            "--rounds" => match args.next().and_then(|n| n.parse().ok()) {
                Some(n) if n > 0 => options.rounds = Some(n),
                _ => return nonsense("--rounds wants a number above zero"),
            },
            "--svg" => match args.next() {
                Some(folder) => options.svg = Some(folder.into()),
                None => return nonsense("--svg wants a folder"),
            },
            "--row" => match args.next() {
                Some(text) => options.rows.push(text),
                None => return nonsense("--row wants a text"),
            },
            _ if arg.starts_with("--") => return nonsense(&format!("no such option: {arg}")),
            _ => options.tables.push(arg),
        }
    }
    Ok(Some(options))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Option<Options>, Stop> {
        parse(line.split_whitespace().map(str::to_owned).collect())
    }

    #[test]
    fn only_cargo_bench_measures() {
        assert!(parsed("").unwrap().is_none());
        assert!(parsed("--list --format terse").unwrap().is_none());
        assert!(parsed("--bench").unwrap().is_some());
        assert!(parsed("--quick --bench").unwrap().is_some());
    }

    #[test]
    fn texts_choose_tables_and_rows() {
        let options = parsed("--bench submit map --row rayon").unwrap().unwrap();
        assert!(options.wants_table("submit") && options.wants_table("map-cheap"));
        assert!(!options.wants_table("latency"));
        assert!(options.wants_row("rayon spawn") && !options.wants_row("tokio"));
        assert!(Options::quick().wants_table("any") && Options::quick().wants_row("any"));
    }

    #[test]
    fn nonsense_is_refused() {
        for line in ["--bench --rounds 0", "--rounds --bench", "--bench --row", "--bench --svg", "--fast --bench"] {
            assert!(matches!(parsed(line), Err(Stop::Nonsense(_))), "{line}");
        }
        assert_eq!(parsed("--help").unwrap_err(), Stop::Help);
    }
}
