//! `loadgen echo`: round trips; every connection sends, and gets its own messages back. Turns its
//! flags into a plan; the rest is `run`'s.

use super::run::Scenario;
use crate::engine::Plan;
use crate::options::EchoFlags;
use crate::target::Target;

/// Runs the scenario and returns the exit code.
pub(super) fn run(options: &EchoFlags) -> anyhow::Result<u8> {
    scenario(options).run(|target| plan(options, target))
}

/// What is to be run.
pub(super) fn scenario(options: &EchoFlags) -> Scenario<'_> {
    let (conduct, drain) = (&options.conduct, options.timing.drain);
    Scenario { name: "echo", conduct, drain, checked: options.check() }
}

/// What these flags ask for.
pub(super) fn plan(options: &EchoFlags, target: Target) -> Plan {
    let EchoFlags { connections, rate, size, timing, conduct } = options;
    let schedule = timing.schedule(*rate, *connections);
    let counts = [*connections; 3];
    let threads = conduct.thread_count();
    Plan { is_round_trip: true, ..Plan::new(target, counts, schedule, *size as usize, threads) }
}
