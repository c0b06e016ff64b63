//! The `loadgen` binary: reads the command line, runs the scenario, ends with its exit code.
//! Everything else is in the library.

use std::process::ExitCode;

use clap::Parser as _;
use loadgen::options::Options;

fn main() -> anyhow::Result<ExitCode> {
    Ok(ExitCode::from(loadgen::scenario::run(&Options::parse())?))
}
