//! `loadgen slow`: as `fanout`, while a part of the subscribers reads slowly. Turns its flags into
//! a plan; the rest is `run`'s.

use super::run::Scenario;
use crate::engine::{Plan, Slow};
use crate::options::SlowFlags;
use crate::target::Target;

/// Runs the scenario and returns the exit code.
pub(super) fn run(options: &SlowFlags) -> anyhow::Result<u8> {
    scenario(options).run(|target| plan(options, target))
}

/// What is to be run.
pub(super) fn scenario(options: &SlowFlags) -> Scenario<'_> {
    let (conduct, drain) = (&options.conduct, options.timing.drain);
    Scenario { name: "slow", conduct, drain, checked: options.check() }
}

/// What these flags ask for.
pub(super) fn plan(options: &SlowFlags, target: Target) -> Plan {
    let SlowFlags { subscribers, topics, publishers, rate, size, timing, conduct, .. } = options;
    let part = (f64::from(*subscribers) * options.slow_share / 100.0).ceil() as u32;
    let slow = Slow {
        subscribers: part.clamp(1, *subscribers),
        bytes_per_second: options.slow_bytes_per_second,
    };
    let counts = [*subscribers, *publishers, *topics];
    let schedule = timing.schedule(*rate, *topics);
    let threads = conduct.thread_count();
    Plan { slow: Some(slow), ..Plan::new(target, counts, schedule, *size as usize, threads) }
}
