//! `loadgen notify`: very many topics with one subscriber each, and few messages for any of them.
//! Turns its flags into a plan; the rest is `run`'s.

use super::run::Scenario;
use crate::engine::Plan;
use crate::options::Notify;
use crate::target::Target;

/// Runs the scenario and returns the exit code.
pub(super) fn run(options: &Notify) -> anyhow::Result<u8> {
    scenario(options).run(|target| plan(options, target))
}

/// What is to be run.
pub(super) fn scenario(options: &Notify) -> Scenario<'_> {
    let (conduct, drain) = (&options.conduct, options.timing.drain);
    Scenario { name: "notify", conduct, drain, checked: options.check() }
}

/// What these flags ask for.
pub(super) fn plan(options: &Notify, target: Target) -> Plan {
    let Notify { users, publishers, rate, size, timing, conduct } = options;
    let schedule = timing.schedule(*rate, *users);
    let counts = [*users, *publishers, *users];
    Plan::new(target, counts, schedule, *size as usize, conduct.thread_count())
}
