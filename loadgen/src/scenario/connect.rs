//! `loadgen connect`: opens connections and holds them, which tells how fast that goes and what a
//! connection costs. Turns its flags into a plan; the rest is `run`'s.

use super::run::Scenario;
use crate::engine::{Plan, Schedule};
use crate::options::Connect;
use crate::target::Target;

/// Runs the scenario and returns the exit code.
pub(super) fn run(options: &Connect) -> anyhow::Result<u8> {
    let conduct = &options.conduct;
    let scenario = Scenario { name: "connect", conduct, drain: 0.0, checked: Ok(()) };
    scenario.run(|target| plan(options, target))
}

fn plan(options: &Connect, target: Target) -> Plan {
    let schedule = Schedule::idle(options.seconds);
    let threads = options.conduct.thread_count();
    Plan { topics_each: 0, ..Plan::new(target, [options.connections, 0, 0], schedule, 0, threads) }
}
