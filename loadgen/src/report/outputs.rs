//! What becomes of a result: the flags that every scenario has for it, and the files they name.
//! The files are made before the run, since a result that can't be kept is better known early.
//! Decides nothing about the run; flattened into the scenarios' flags and called by them.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;

use super::{Report, page, to_csv, to_json};
use crate::target_process::{MetricsPage, Usage};
use crate::threshold::Threshold;
use crate::watch::Watch;

/// The flags about the result.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Result")]
pub struct Outputs {
    /// Write the result to this file as JSON too; `loadgen compare` reads it.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write what happened in each second to this file as CSV.
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Write a page with plots to this file: whole in itself, to be opened in any browser.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Demand something of the result, as in p99<20ms, lost=0 or rate>=99%; if it is missed, the
    /// exit code is 1. Can be given many times. A wrong name lists those that are known.
    #[arg(long, value_name = "DEMAND")]
    pub threshold: Vec<Threshold>,
    /// Watch the processor time and memory of this process, the target on this machine.
    #[arg(long, value_name = "PID")]
    pub target_pid: Option<u32>,
    /// Ask the target's metrics how many writes it needs per delivery (altavoz_sends_total).
    #[arg(long, value_name = "URL", value_parser = MetricsPage::parse)]
    pub target_metrics: Option<MetricsPage>,
    /// Do not end with code 4 where the measurement is INVALID: for checking deliveries on a
    /// machine too busy to time them. The report still says so.
    #[arg(long)]
    pub allow_invalid: bool,
}

/// The files that a result goes to, open and empty.
#[derive(Debug)]
pub struct Files {
    json: Option<File>,
    csv: Option<File>,
    html: Option<File>,
}

impl Outputs {
    /// Makes the files.
    ///
    /// # Errors
    ///
    /// A sentence for the user: a file can't be made, or the process to watch does not run.
    pub fn open(&self) -> Result<Files, String> {
        if let Some(pid) = self.target_pid
            && Usage::of(pid).is_none()
        {
            return Err(format!("--target-pid {pid}: no such process, or no /proc here"));
        }
        let create = |path: &Option<PathBuf>| path.as_deref().map(create).transpose();
        Ok(Files { json: create(&self.json)?, csv: create(&self.csv)?, html: create(&self.html)? })
    }

    /// What is to be watched besides the engine, from now on: before that is started.
    #[must_use]
    pub fn watch(&self) -> Watch {
        Watch::new(self.target_pid, self.target_metrics.clone())
    }
}

impl Files {
    /// Writes the result in each form that was asked for.
    ///
    /// # Errors
    ///
    /// If a file can't be written.
    pub fn write(self, report: &Report) -> io::Result<()> {
        let value = to_json(report);
        let page = page(&[(report.scenario.to_owned(), value.clone())]);
        self.write_all_of(&value, &to_csv(report), &page)
    }

    /// Writes what stands for several results, each form where it was asked for.
    ///
    /// # Errors
    ///
    /// If a file can't be written.
    pub fn write_all_of(self, value: &Value, csv: &str, page: &str) -> io::Result<()> {
        if let Some(mut file) = self.json {
            writeln!(file, "{value:#}")?;
        }
        if let Some(mut file) = self.csv {
            file.write_all(csv.as_bytes())?;
        }
        if let Some(mut file) = self.html {
            file.write_all(page.as_bytes())?;
        }
        Ok(())
    }
}

fn create(path: &Path) -> Result<File, String> {
    File::create(path).map_err(|error| format!("{}: {error}", path.display()))
}
