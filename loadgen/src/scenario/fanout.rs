//! `loadgen fanout`: few topics, many subscribers, a constant rate of messages. Turns its flags
//! into a plan, checks that the machine's limits allow it, and shows the result.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;

use super::{Console, UNREACHABLE, USAGE, phases};
use crate::engine::{Engine, Plan, Schedule, Sources};
use crate::options::Fanout;
use crate::report::{Report, grouped, summary, to_json, verdict};
use crate::sys;
use crate::target::{Target, TargetError};

/// Files that are no connections: standard streams, polls, timers, the result.
const FILES_BESIDE: u64 = 32;

/// Files that each thread needs: its poll and its timer, with room for one more of each.
const FILES_PER_THREAD: u64 = 4;

/// Runs the scenario and returns the exit code.
pub(super) fn run(options: &Fanout) -> anyhow::Result<u8> {
    let console = Console { is_quiet: options.quiet };
    if let Err(why) = options.check() {
        console.complain(&why);
        return Ok(USAGE);
    }
    let target = match Target::resolve(&options.url, options.protocol) {
        Ok(target) => target,
        Err(error) => {
            console.complain(&error.to_string());
            let is_unknown = matches!(error, TargetError::Resolve { .. });
            return Ok(if is_unknown { UNREACHABLE } else { USAGE });
        }
    };
    // Before the run: a result that can't be kept is better known early.
    let file = match options.json.as_deref().map(File::create).transpose() {
        Ok(file) => file,
        Err(error) => {
            let path = options.json.as_deref().unwrap_or(Path::new(""));
            console.complain(&format!("{}: {error}", path.display()));
            return Ok(USAGE);
        }
    };
    let plan = plan(options, target);
    if let Some(why) = forbidden(&plan, sys::raise_open_files()) {
        console.verdict(&why);
        return Ok(UNREACHABLE);
    }
    let report = measure(options, plan, console)?;
    if let Some(mut file) = file {
        writeln!(file, "{:#}", to_json(&report)).context("cannot write the result")?;
    }
    console.summary(&summary(&report));
    console.verdict(&verdict(&report));
    Ok(report.outcome().exit_code())
}

fn measure(options: &Fanout, plan: Plan, console: Console) -> anyhow::Result<Report> {
    let interrupted = sys::watch_interrupt().context("cannot watch the interrupt key")?;
    let engine = Engine::start(plan.clone()).context("cannot start the threads")?;
    let drain_ns = (options.drain * 1e9) as u64;
    let course = phases::drive(&engine, &plan, &interrupted, drain_ns, console);
    let ledgers = engine.finish().context("a thread failed")?;
    Ok(Report::new("fanout", &options.url, plan, course, ledgers))
}

fn plan(options: &Fanout, target: Target) -> Plan {
    let run = fastrand::u32(..);
    let connections = u64::from(options.subscribers) + u64::from(options.publishers);
    Plan {
        sources: Sources::new(target.address, connections, sys::ports_per_source()),
        target,
        run,
        subscribers: options.subscribers,
        publishers: options.publishers,
        topics: (0..options.topics).map(|topic| format!("loadgen/{run:08x}/{topic}")).collect(),
        schedule: Schedule::new(options.rate, options.warmup, options.seconds, options.topics),
        payload_bytes: options.size as usize,
        threads: options.thread_count(),
    }
}

/// Why the limit of open files makes the plan impossible, if it does.
fn forbidden(plan: &Plan, files: u64) -> Option<String> {
    let beside = FILES_BESIDE + FILES_PER_THREAD * plan.threads as u64;
    let possible = files.saturating_sub(beside);
    (plan.connections() > possible).then(|| {
        format!(
            "FAILED: {} of {} connections are possible: the hard limit of open files is {}; raise \
             it (ulimit -Hn, LimitNOFILE=) or ask for fewer",
            grouped(possible),
            grouped(plan.connections()),
            grouped(files)
        )
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::options::{Command, Options};

    fn plan_of(arguments: &str) -> Plan {
        let all = format!("loadgen fanout --threads 2 {arguments}");
        let Command::Fanout(options) = Options::parse_from(all.split_whitespace()).command;
        plan(&options, Target::resolve(&options.url, options.protocol).unwrap())
    }

    #[test]
    fn the_flags_become_a_plan() {
        let plan = plan_of("--subscribers 20 --topics 3 --publishers 2 --rate 10 --seconds 2");
        assert_eq!((plan.connections(), plan.topics.len(), plan.payload_bytes), (22, 3, 128));
        assert_eq!((plan.schedule.messages(), plan.schedule.warmup_messages()), (30, 10));
        let prefix = format!("loadgen/{:08x}/", plan.run);
        assert!(plan.topics.iter().all(|topic| topic.starts_with(&prefix)));
    }

    #[test]
    fn a_limit_of_open_files_that_is_too_low_is_named_with_what_it_allows() {
        let plan = plan_of("--subscribers 1000");
        assert_eq!(forbidden(&plan, 1041), None);
        let why = forbidden(&plan, 1040).unwrap();
        assert!(why.starts_with("FAILED: 1,000 of 1,001 connections are possible"), "{why}");
    }
}
