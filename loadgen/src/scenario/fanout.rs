//! `loadgen fanout`: few topics, many subscribers, a constant rate of messages. Turns its flags
//! into a plan; the rest is `run`'s.

use super::run::Scenario;
use crate::engine::Plan;
use crate::options::Fanout;
use crate::target::Target;

/// Runs the scenario and returns the exit code.
pub(super) fn run(options: &Fanout) -> anyhow::Result<u8> {
    scenario(options).run(|target| plan(options, target))
}

/// What is to be run.
pub(super) fn scenario(options: &Fanout) -> Scenario<'_> {
    let (conduct, drain) = (&options.conduct, options.timing.drain);
    Scenario { name: "fanout", conduct, drain, checked: options.check() }
}

/// What these flags ask for.
pub(super) fn plan(options: &Fanout, target: Target) -> Plan {
    let Fanout { subscribers, publishers, topics, rate, burst, size, timing, conduct } = options;
    let counts = [*subscribers, *publishers, *topics];
    let schedule = timing.schedule(*rate, *topics).in_bursts(*burst);
    Plan::new(target, counts, schedule, *size as usize, conduct.thread_count())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::options::{Command, Options};

    #[test]
    fn the_flags_become_a_plan() {
        let flags = "--subscribers 20 --topics 3 --publishers 2 --rate 10 --seconds 2";
        let all = format!("loadgen fanout {flags}");
        let Command::Fanout(options) = Options::parse_from(all.split_whitespace()).command else {
            panic!("not fanout: {all}")
        };
        let conduct = &options.conduct;
        let plan = plan(&options, conduct.to.resolve(conduct.protocol).unwrap());
        assert_eq!((plan.connections(), plan.topics.len(), plan.payload_bytes), (22, 3, 128));
        assert_eq!((plan.schedule.messages(), plan.schedule.warmup_messages()), (30, 10));
        let prefix = format!("loadgen/{:08x}/", plan.run);
        assert!(plan.topics.iter().all(|topic| topic.starts_with(&prefix)));
    }
}
