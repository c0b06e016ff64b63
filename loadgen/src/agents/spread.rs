//! How a run is spread: over how many processes, with how many threads each, and whether the limit
//! of open files allows that. Arithmetic and the flags for it; starts nothing. Asked by the
//! scenarios before a run.

use std::fmt;
use std::str::FromStr;

use clap::Args;

use crate::engine::{Part, Plan};
use crate::report::grouped;

/// The most processes of a run.
pub const PROCESSES_MAX: usize = 256;

/// Files that are no connections: standard streams, polls, timers, the result, the way to the run.
const FILES_BESIDE: u64 = 32;

/// Files that each thread needs: its poll and its timer, with room for one more of each.
const FILES_PER_THREAD: u64 = 4;

/// The flags about processes and hosts.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Processes and hosts")]
pub struct Spread {
    /// Processes of this machine that share the connections, each with its own limit of open
    /// files, up to 256; auto: as many as that limit requires [default: 1]
    #[arg(long, value_name = "N|auto", conflicts_with = "agents")]
    pub processes: Option<Processes>,
    /// Agents on other hosts that share the connections instead: HOST:PORT,HOST:PORT as each
    /// `loadgen agent --listen` says it. All must be of the same build.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    pub agents: Vec<String>,
    /// What the agents were given as their --token.
    #[arg(long, env = "LOADGEN_AGENT_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub agent_token: Option<String>,
}

/// How many processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Processes {
    /// So many, at least one.
    Exactly(usize),
    /// As few as the limit of open files allows.
    Auto,
}

impl FromStr for Processes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(count @ 1..=PROCESSES_MAX) => Ok(Self::Exactly(count)),
            _ if text == "auto" => Ok(Self::Auto),
            _ => Err(format!("neither auto nor a number from 1 to {PROCESSES_MAX}")),
        }
    }
}

impl fmt::Display for Processes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(count) => count.fmt(formatter),
            Self::Auto => formatter.write_str("auto"),
        }
    }
}

impl Spread {
    /// How many processes of this machine make the plan possible, where each may have so many files
    /// open; 1 is this process alone.
    ///
    /// # Errors
    ///
    /// What is possible instead, and what can be done: a sentence for the user.
    pub fn processes(&self, plan: &Plan, files: u64) -> Result<usize, String> {
        let fits = |count: usize| {
            let parts = parts(&vec![threads_each(plan.threads, count); count]);
            parts.iter().all(|&(part, threads)| {
                connections_of(plan, part, threads) <= connections_max(files, threads)
            })
        };
        let found = match self.processes.unwrap_or(Processes::Exactly(1)) {
            Processes::Exactly(count) if fits(count) => Ok(count),
            Processes::Exactly(count) => Err(count),
            Processes::Auto => (1..=PROCESSES_MAX).find(|&count| fits(count)).ok_or(PROCESSES_MAX),
        };
        found.map_err(|count| self.refusal(plan, files, count))
    }

    fn refusal(&self, plan: &Plan, files: u64, count: usize) -> String {
        let possible = count as u64 * connections_max(files, threads_each(plan.threads, count));
        let way_out = match self.processes {
            Some(Processes::Auto) => "",
            _ => "add --processes auto, ",
        };
        let processes = match count {
            1 => "one process".to_owned(),
            count => format!("{count} processes"),
        };
        format!(
            "FAILED: {} of {} connections are possible in {processes}: the hard limit of open \
             files is {}; {way_out}raise it (ulimit -Hn, LimitNOFILE=) or ask for fewer",
            grouped(possible.min(plan.connections())),
            grouped(plan.connections()),
            grouped(files)
        )
    }
}

/// Threads of each process, so that together they are about as many as were asked for.
#[must_use]
pub(super) fn threads_each(threads: usize, processes: usize) -> usize {
    (threads / processes).max(1)
}

/// The part of each of several engines with so many threads, with that number.
#[must_use]
pub(super) fn parts(threads: &[usize]) -> Vec<(Part, usize)> {
    let workers = threads.iter().sum();
    let mut first = 0;
    let mut parts = Vec::new();
    for &threads in threads {
        parts.push((Part { first, workers }, threads));
        first += threads;
    }
    parts
}

/// How many of the plan's connections an engine with this part has.
#[must_use]
pub(super) fn connections_of(plan: &Plan, part: Part, threads: usize) -> u64 {
    let share = |count: u32, worker: usize| {
        let after = u64::from(count).saturating_sub((part.first + worker) as u64);
        after.div_ceil(part.workers as u64)
    };
    (0..threads)
        .map(|worker| share(plan.subscribers, worker) + share(plan.publishers, worker))
        .sum()
}

/// How many connections a process may have that may have so many files open.
#[must_use]
pub(super) fn connections_max(files: u64, threads: usize) -> u64 {
    files.saturating_sub(FILES_BESIDE + FILES_PER_THREAD * threads as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Schedule;
    use crate::target::{Protocol, Target};

    fn plan(subscribers: u32, threads: usize) -> Plan {
        let target = Target::resolve("ws://127.0.0.1:1/", Protocol::Json).unwrap();
        let schedule = Schedule::new(1.0, 0.0, 1.0, 1);
        Plan::new(target, [subscribers, 1, 1], schedule, 64, threads)
    }

    fn spread(processes: Option<&str>) -> Spread {
        Spread { processes: processes.map(|text| text.parse().unwrap()), ..Spread::default() }
    }

    #[test]
    fn a_limit_of_open_files_that_is_too_low_is_named_with_what_it_allows() {
        let plan = plan(1000, 2);
        assert_eq!(spread(None).processes(&plan, 1041), Ok(1));
        let why = spread(None).processes(&plan, 1040).unwrap_err();
        assert_eq!(
            why,
            "FAILED: 1,000 of 1,001 connections are possible in one process: the hard limit of \
             open files is 1,040; add --processes auto, raise it (ulimit -Hn, LimitNOFILE=) or \
             ask for fewer"
        );
        let why = spread(Some("2")).processes(&plan, 300).unwrap_err();
        assert!(
            why.starts_with("FAILED: 528 of 1,001 connections are possible in 2 proc"),
            "{why}"
        );
    }

    #[test]
    fn auto_takes_as_few_processes_as_the_limit_allows() {
        let plan = plan(1000, 2);
        assert_eq!(spread(Some("auto")).processes(&plan, 1041), Ok(1));
        assert_eq!(spread(Some("auto")).processes(&plan, 1040), Ok(2));
        assert_eq!(spread(Some("auto")).processes(&plan, 400), Ok(3));
        let why = spread(Some("auto")).processes(&plan, 20).unwrap_err();
        assert!(why.starts_with("FAILED: 0 of 1,001"), "{why}");
        assert!(!why.contains("auto"), "{why}");
    }

    #[test]
    fn the_parts_of_engines_with_different_threads_hold_every_connection_once() {
        let plan = plan(103, 1);
        let parts = parts(&[2, 1, 4]);
        let counts: Vec<u64> =
            parts.iter().map(|&(part, threads)| connections_of(&plan, part, threads)).collect();
        assert_eq!(counts.iter().sum::<u64>(), plan.connections());
        assert_eq!(counts, [31, 15, 58]);
    }

    #[test]
    fn a_number_of_processes_is_a_number_or_auto() {
        for text in ["1", "256", "auto"] {
            assert_eq!(text.parse::<Processes>().unwrap().to_string(), text);
        }
        for text in ["0", "257", "", "-1", "all"] {
            assert!(text.parse::<Processes>().is_err(), "{text}");
        }
    }
}
