//! One file per scenario, and what they have in common: the run, its phases and the output. A
//! scenario makes a plan from its flags; the engine does the work. Called by `main`.

mod chat;
mod churn;
mod connect;
mod dashboard;
mod echo;
mod fanout;
mod find;
mod follow;
mod notify;
mod phases;
mod run;
mod slow;
mod storm;
mod ticker;

use std::io::{self, Write as _};

use crate::options::{Command, Options};
use crate::{agents, compare, doctor, library, sink, view};

/// Exit code of a command line that makes no sense.
const USAGE: u8 = 2;

/// Exit code where the target cannot be reached or the machine's limits forbid the connections.
const UNREACHABLE: u8 = 3;

/// Does what the command line asks for and returns the exit code.
///
/// # Errors
///
/// If the system fails the load generator itself: no threads, no timers, a file that can't be
/// written. Everything about the target is in the exit code.
pub fn run(options: &Options) -> anyhow::Result<u8> {
    match &options.command {
        Command::Chat(options) => chat::run(options),
        Command::Churn(options) => churn::run(options),
        Command::Connect(options) => connect::run(options),
        Command::Echo(options) => echo::run(options),
        Command::Dashboard(options) => dashboard::run(options),
        Command::Fanout(options) => fanout::run(options),
        Command::Find(options) => find::run(options),
        Command::Notify(options) => notify::run(options),
        Command::Slow(options) => slow::run(options),
        Command::Storm(options) => storm::run(options),
        Command::Ticker(options) => ticker::run(options),
        Command::List => Ok(print(&library::list())),
        Command::Show { name } => match library::show(name) {
            Ok(text) => Ok(print(text)),
            Err(why) => Ok(refuse(&why)),
        },
        Command::Run { file, flags } => match library::load(file, flags) {
            Ok(options) => run(&options),
            Err(error) => Ok(refuse(&error.to_string())),
        },
        Command::Agent(flags) => agents::run(flags),
        Command::Compare(options) => Ok(compare::run(options)),
        Command::Sink(options) => sink::run(options),
        Command::Doctor => Ok(doctor::run()),
    }
}

fn print(text: &str) -> u8 {
    Console { is_quiet: false }.summary(text);
    0
}

fn refuse(why: &str) -> u8 {
    Console { is_quiet: true }.complain(why);
    USAGE
}

/// Where a run's lines go: results to the standard output, progress and complaints to the standard
/// error. A reader that went away is no reason to stop.
#[derive(Clone, Copy, Debug)]
struct Console {
    /// Nothing but the verdict and complaints.
    is_quiet: bool,
}

impl Console {
    /// What is going on; not while the screen shows it.
    fn progress(self, line: &str) {
        if !self.is_quiet && !view::is_open() {
            let _ = writeln!(io::stderr().lock(), "{line}");
        }
    }

    /// Why it can't be done.
    fn complain(self, line: &str) {
        let _ = writeln!(io::stderr().lock(), "loadgen: {line}");
    }

    /// What decided the exit code, for those who do not get the summary.
    fn decided_by(self, lines: &[String]) {
        if self.is_quiet {
            lines.iter().for_each(|line| self.verdict(line));
        }
    }

    /// The lines above the verdict.
    fn summary(self, lines: &str) {
        if !self.is_quiet {
            let _ = io::stdout().lock().write_all(lines.as_bytes());
        }
    }

    /// The last line.
    fn verdict(self, line: &str) {
        let _ = writeln!(io::stdout().lock(), "{line}");
    }
}
