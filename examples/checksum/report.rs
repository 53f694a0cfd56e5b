//! What the user sees: results on stdout, complaints and the bar on stderr.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::Hashed;
use crate::line::line;
use crate::progress::Progress;

pub struct Report {
    bar: Option<Progress>,
    any_failed: bool,
}

impl Report {
    pub fn new(paths: &[PathBuf]) -> Self {
        Report { bar: Progress::on_terminal(paths), any_failed: false }
    }

    /// Writes a whole line, which `Stdout` passes on at once: a reader on a pipe sees each result
    /// as it comes.
    pub fn hashed(&mut self, path: &Path, hashed: &Hashed) -> io::Result<()> {
        if let Some(bar) = &mut self.bar {
            bar.erase_for_stdout();
        }
        io::stdout().write_all(&line(&hashed.sha256, path))?;
        if let Some(bar) = &mut self.bar {
            bar.advance(hashed.bytes);
        }
        Ok(())
    }

    pub fn failed(&mut self, path: &Path, why: &dyn Display) {
        self.any_failed = true;
        if let Some(bar) = &mut self.bar {
            bar.erase();
        }
        eprintln!("checksum: {}: {why}", path.display());
        if let Some(bar) = &mut self.bar {
            bar.advance(0);
        }
    }

    pub fn exit_code(&self) -> ExitCode {
        if self.any_failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}
