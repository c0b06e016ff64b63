//! `loadgen ticker`: a market's symbols, of which few are updated often and many seldom, and
//! clients that watch some of them. Turns its flags into a plan; the rest is `run`'s.

use super::run::Scenario;
use crate::engine::{Latest, Plan, Popularity, Schedule};
use crate::options::Ticker;
use crate::payload::Body;
use crate::target::Target;

/// Runs the scenario and returns the exit code.
pub(super) fn run(options: &Ticker) -> anyhow::Result<u8> {
    scenario(options).run(|target| plan(options, target))
}

/// What is to be run.
pub(super) fn scenario(options: &Ticker) -> Scenario<'_> {
    let conduct = &options.conduct;
    // The newest may come an interval after the last send.
    let interval = options.max_rate.map_or(0.0, |rate| 1.0 / rate);
    let drain = options.timing.drain.max(interval + 1.0);
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
        latest: options.latest.then_some(Latest { max_rate: options.max_rate }),
        ..Plan::new(target, counts, schedule, *size as usize, threads)
    }
}
