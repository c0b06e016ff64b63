//! `loadgen ticker`: a market's symbols, of which few are updated often and many seldom, and
//! clients that watch some of them. Turns its flags into a plan; the rest is `run`'s.

use super::run::Scenario;
use crate::engine::{Plan, Popularity, Schedule};
use crate::options::Ticker;
use crate::payload::Body;
use crate::target::Target;

/// Runs the scenario and returns the exit code.
pub(super) fn run(options: &Ticker) -> anyhow::Result<u8> {
    scenario(options).run(|target| plan(options, target))
}

/// What is to be run.
pub(super) fn scenario(options: &Ticker) -> Scenario<'_> {
    let (conduct, drain) = (&options.conduct, options.timing.drain);
    Scenario { name: "ticker", conduct, drain, checked: options.check() }
}

/// What these flags ask for.
pub(super) fn plan(options: &Ticker, target: Target) -> Plan {
    let Ticker { clients, symbols, watch, publishers, size, timing, conduct, .. } = options;
    let popularity = Popularity { topics: *symbols, zipf: options.zipf };
    let times = [timing.warmup, timing.seconds];
    let schedule = Schedule::drawn(options.rate, times, options.arrivals, popularity, options.seed);
    let counts = [*clients, *publishers, *symbols];
    let threads = conduct.thread_count();
    Plan {
        topics_each: *watch,
        body: Body::Quote,
        ..Plan::new(target, counts, schedule, *size as usize, threads)
    }
}
