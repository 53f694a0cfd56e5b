//! Tables: settings across, contenders down, in interleaved rounds.

use crate::samples::Samples;
use crate::{Options, host};
use std::fmt::Write;
use std::time::Instant;

/// What a cell counts, and how it is shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unit {
    name: &'static str,
    /// One of the unit, in samples.
    scale: f64,
    more_is_faster: bool,
}

impl Unit {
    /// Samples are tasks per second.
    pub const MILLION_PER_SECOND: Unit = Unit { name: "million/s", scale: 1e6, more_is_faster: true };
    /// Samples are tasks per second.
    pub const THOUSAND_PER_SECOND: Unit = Unit { name: "thousand/s", scale: 1e3, more_is_faster: true };
    /// Samples are seconds.
    pub const MICROSECONDS: Unit = Unit { name: "µs", scale: 1e-6, more_is_faster: false };
    /// Samples are seconds.
    pub const MILLISECONDS: Unit = Unit { name: "ms", scale: 1e-3, more_is_faster: false };
    /// Samples are bytes.
    pub const KIBIBYTES: Unit = Unit { name: "KiB", scale: 1024.0, more_is_faster: false };
    /// Samples are parts of one.
    pub const PERCENT: Unit = Unit { name: "%", scale: 1e-2, more_is_faster: true };
}

/// A run of a bench program.
#[derive(Debug)]
pub struct Bench {
    options: Options,
    begun: Instant,
}

impl Bench {
    /// Begins the output with the name and the machine.
    pub fn new(name: &str, options: Options) -> Bench {
        println!("# {name}\n");
        println!("{}; allocator: the system's; mode: {}; load: {}.", host::describe(), options.mode(), host::load());
        println!("Medians of {} interleaved rounds, ± half the distance of the quartiles;", options.rounds());
        println!("in brackets how many times as fast the first row is (below 1: it is slower).");
        Bench { options, begun: Instant::now() }
    }

    /// What was asked for.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Whether something that is no table is asked for.
    pub fn wants(&self, name: &str) -> bool {
        self.options.wants_table(name)
    }

    /// The machine, in one line.
    pub fn machine(&self) -> String {
        host::describe()
    }

    /// A new table; `None` when the command line leaves it out. `name` is what the command line calls it.
    pub fn table(&self, name: &str, title: &str, unit: Unit) -> Option<Table<'_>> {
        self.options.wants_table(name).then(|| Table {
            options: &self.options,
            name: name.to_owned(),
            title: title.to_owned(),
            unit,
            notes: Vec::new(),
            columns: Vec::new(),
            rows: Vec::new(),
        })
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        println!("\nLoad at the end: {}; took {} s.", host::load(), self.begun.elapsed().as_secs());
    }
}

/// Contenders down, settings across.
#[derive(Debug)]
pub struct Table<'a> {
    options: &'a Options,
    name: String,
    title: String,
    unit: Unit,
    notes: Vec<String>,
    columns: Vec<String>,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    name: String,
    /// One for each column.
    cells: Vec<Option<Samples>>,
}

impl Table<'_> {
    /// Adds a line below the title: the workload in words.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// Measures a column: every row once unrecorded, then in rounds, in each of which another row begins.
    pub fn measure(&mut self, column: Column<'_>) {
        eprintln!("{}: {}", self.name, column.name);
        let mut rows = column.rows;
        rows.retain(|(name, _)| self.options.wants_row(name));
        for (_, sample) in &mut rows {
            sample();
        }
        let mut samples = vec![Samples::default(); rows.len()];
        for round in 0..self.options.rounds() {
            for place in 0..rows.len() {
                let turn = (round + place) % rows.len();
                let sample = (rows[turn].1)();
                samples[turn].push(sample);
            }
        }
        self.add(column.name, rows.into_iter().map(|(name, _)| name).zip(samples));
    }

    /// The median of a cell that was measured.
    pub fn median(&self, row: &str, column: &str) -> Option<f64> {
        let row = self.rows.iter().find(|known| known.name == row)?;
        let column = self.columns.iter().position(|known| known == column)?;
        row.cells[column].as_ref().map(Samples::median)
    }

    /// Prints the table.
    pub fn print(self) {
        print!("{}", self.to_markdown());
    }

    fn add(&mut self, column: String, cells: impl Iterator<Item = (String, Samples)>) {
        let before = self.columns.len();
        self.columns.push(column);
        for (name, samples) in cells {
            let known = self.rows.iter().position(|row| row.name == name);
            let place = known.unwrap_or_else(|| {
                self.rows.push(Row { name, cells: vec![None; before] });
                self.rows.len() - 1
            });
            self.rows[place].cells.push(Some(samples));
        }
        for row in &mut self.rows {
            row.cells.resize(before + 1, None);
        }
    }

    fn to_markdown(&self) -> String {
        let mut head = vec![self.unit.name.to_owned()];
        head.extend(self.columns.iter().cloned());
        let mut lines = vec![head];
        for (place, row) in self.rows.iter().enumerate() {
            let mut line = vec![row.name.clone()];
            for (column, cell) in row.cells.iter().enumerate() {
                let first = self.rows[0].cells[column].as_ref().filter(|_| place > 0);
                line.push(cell.as_ref().map_or(String::new(), |cell| self.cell(cell, first)));
            }
            lines.push(line);
        }
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..=self.columns.len()).map(width).collect();

        let mut out = format!("\n## {}\n\n", self.title);
        self.notes.iter().for_each(|note| writeln!(out, "{note}").expect("a String takes all"));
        if !self.notes.is_empty() {
            out.push('\n');
        }
        for (number, line) in lines.iter().enumerate() {
            for (text, width) in line.iter().zip(&widths) {
                write!(out, "| {text:width$} ").expect("a String takes all");
            }
            out.push_str("|\n");
            if number == 0 {
                widths.iter().for_each(|width| write!(out, "|{:-<1$}", "", width + 2).expect("a String takes all"));
                out.push_str("|\n");
            }
        }
        out
    }

    fn cell(&self, cell: &Samples, first: Option<&Samples>) -> String {
        let mut text = format!("{} ±{:.0} %", figure(cell.median() / self.unit.scale), 100.0 * cell.spread());
        if let Some(first) = first {
            let (ours, theirs) = (first.median(), cell.median());
            let faster = if self.unit.more_is_faster { ours / theirs } else { theirs / ours };
            write!(text, " ({}×)", figure(faster)).expect("a String takes all");
        }
        text
    }
}

/// One setting, and who is to be measured at it.
pub struct Column<'a> {
    name: String,
    rows: Vec<(String, Box<dyn FnMut() -> f64 + 'a>)>,
}

impl<'a> Column<'a> {
    /// A setting, in words.
    pub fn new(name: impl Into<String>) -> Column<'a> {
        Column { name: name.into(), rows: Vec::new() }
    }

    /// A contender; `sample` measures once and gives seconds or tasks per second, as the table's unit says.
    pub fn row(&mut self, name: impl Into<String>, sample: impl FnMut() -> f64 + 'a) {
        self.rows.push((name.into(), Box::new(sample)));
    }
}

impl std::fmt::Debug for Column<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rows = self.rows.iter().map(|(name, _)| name);
        f.debug_struct("Column").field("name", &self.name).field("rows", &rows.collect::<Vec<_>>()).finish()
    }
}

/// Three digits, as far as there are so many before the point.
fn figure(value: f64) -> String {
    let decimals = match value.abs() {
        v if v >= 99.95 => 0,
        v if v >= 9.995 => 1,
        v if v >= 0.0995 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn rounds_are_interleaved_and_each_begins_with_another() {
        let bench = Bench::new("test", Options::quick());
        let mut table = bench.table("order", "Order", Unit::MILLISECONDS).unwrap();
        let order = RefCell::new(String::new());
        let mut column = Column::new("c");
        for name in ["a", "b"] {
            let order = &order;
            column.row(name, move || {
                order.borrow_mut().push_str(name);
                1.0
            });
        }
        table.measure(column);
        assert_eq!(*order.borrow(), "ab abbaab".replace(' ', ""));
    }

    #[test]
    fn ratios_say_how_many_times_as_fast_the_first_row_is() {
        for (unit, ratio) in [(Unit::MILLISECONDS, "2.00×"), (Unit::MILLION_PER_SECOND, "0.50×")] {
            let bench = Bench::new("test", Options::quick());
            let mut table = bench.table("ratio", "Ratio", unit).unwrap();
            let mut column = Column::new("c");
            column.row("ours", || 0.010);
            column.row("theirs", || 0.020);
            table.measure(column);
            let markdown = table.to_markdown();
            assert!(markdown.contains(ratio), "{markdown}");
            assert!(!markdown.contains("1.00×"), "{markdown}");
        }
    }

    #[test]
    fn a_row_may_be_missing_in_a_column() {
        let bench = Bench::new("test", Options::quick());
        let mut table = bench.table("gaps", "Gaps", Unit::MICROSECONDS).unwrap();
        for (name, rows) in [("1", ["ours", "one"]), ("2", ["ours", "other"])] {
            let mut column = Column::new(name);
            rows.into_iter().for_each(|row| column.row(row, || 1e-6));
            table.measure(column);
        }
        let lines: Vec<String> =
            table.to_markdown().lines().filter(|l| l.starts_with('|')).map(str::to_owned).collect();
        assert_eq!(lines.len(), 5);
        assert!(lines.iter().all(|line| line.matches('|').count() == 4), "{lines:#?}");
        assert_eq!((table.median("ours", "2"), table.median("one", "2")), (Some(1e-6), None));
    }

    #[test]
    fn figures_have_three_digits() {
        let shown: Vec<String> = [1234.5, 99.96, 12.345, 1.2345, 0.12345, 0.0123].map(figure).to_vec();
        assert_eq!(shown, ["1234", "100", "12.3", "1.23", "0.12", "0.012"]);
    }
}
