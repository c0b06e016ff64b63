//! `loadgen storm`: messages flow, and all connections are cut at once and come back. Turns its
//! flags into a plan; the rest is `run`'s.

use super::run::Scenario;
use crate::engine::{Plan, Storm};
use crate::options::StormFlags;
use crate::target::Target;

/// Runs the scenario and returns the exit code.
pub(super) fn run(options: &StormFlags) -> anyhow::Result<u8> {
    let (conduct, drain) = (&options.conduct, options.timing.drain);
    let scenario = Scenario { name: "storm", conduct, drain, checked: options.check() };
    scenario.run(|target| plan(options, target))
}

fn plan(options: &StormFlags, target: Target) -> Plan {
    let StormFlags { subscribers, topics, publishers, rate, size, timing, conduct, .. } = options;
    let part = (f64::from(*subscribers) * options.share / 100.0).ceil() as u32;
    let nanos = |seconds: f64| (seconds * 1e9) as u64;
    let every_s = options.every();
    let storm = Storm {
        subscribers: part.clamp(1, *subscribers),
        times: options.times,
        first_ns: nanos(timing.warmup + every_s / 2.0),
        every_ns: nanos(every_s),
        spread_ns: u64::from(options.spread) * 1_000_000,
        resumes: !options.forget,
    };
    let counts = [*subscribers, *publishers, *topics];
    let schedule = timing.schedule(*rate, *topics);
    let threads = conduct.thread_count();
    Plan { storm: Some(storm), ..Plan::new(target, counts, schedule, *size as usize, threads) }
}
