//! `loadgen churn`: messages flow while a part of the subscribers leaves and comes back all the
//! time. Turns its flags into a plan; the rest is `run`'s.

use super::run::Scenario;
use crate::engine::{Churn, Plan};
use crate::options::ChurnFlags;
use crate::target::Target;

/// Runs the scenario and returns the exit code.
pub(super) fn run(options: &ChurnFlags) -> anyhow::Result<u8> {
    scenario(options).run(|target| plan(options, target))
}

/// What is to be run.
pub(super) fn scenario(options: &ChurnFlags) -> Scenario<'_> {
    let (conduct, drain) = (&options.conduct, options.timing.drain);
    Scenario { name: "churn", conduct, drain, checked: options.check() }
}

/// What these flags ask for.
pub(super) fn plan(options: &ChurnFlags, target: Target) -> Plan {
    let ChurnFlags { subscribers, topics, publishers, rate, size, timing, conduct, .. } = options;
    let part = (f64::from(*subscribers) * options.percent / 100.0).ceil() as u32;
    let churn = Churn {
        subscribers: part.clamp(1, *subscribers),
        per_second: options.leaves,
        away_ns: (options.away * 1e9) as u64,
    };
    let counts = [*subscribers, *publishers, *topics];
    let schedule = timing.schedule(*rate, *topics);
    let threads = conduct.thread_count();
    Plan { churn: Some(churn), ..Plan::new(target, counts, schedule, *size as usize, threads) }
}
