//! Whether a plan that came from elsewhere can be run: an engine takes its plan for sound, as those
//! of the scenarios are. Asked by an agent before it starts one.

use super::{Plan, TOPICS_EACH_MAX};

/// The longest payload, in bytes.
const PAYLOAD_BYTES_MAX: usize = 64 << 20;

impl Plan {
    /// What its numbers must be to each other.
    ///
    /// # Errors
    ///
    /// What is wrong, for whoever made it.
    pub fn check(&self) -> Result<(), String> {
        let topics = u32::try_from(self.topics.len()).unwrap_or(u32::MAX);
        let is_paired = self.publishers == self.subscribers && topics == self.subscribers;
        let rules = [
            (self.target.servers.is_sound(), "servers"),
            (self.target.wire.transport.is_sound(), "transport"),
            (!self.is_round_trip || is_paired, "connections that send to themselves"),
            (self.topics_each <= TOPICS_EACH_MAX.min(topics), "topics of a subscriber"),
            (self.schedule.fits(topics), "topics of the schedule"),
            (self.payload_bytes <= PAYLOAD_BYTES_MAX, "payload bytes"),
            (self.slow.is_none_or(|slow| slow.subscribers <= self.subscribers), "slow readers"),
            (self.churn.is_none_or(|churn| churn.subscribers > 0), "subscribers that leave"),
            (self.churn.is_none_or(|churn| churn.per_second > 0.0), "leaves a second"),
            (self.storm.is_none_or(|storm| storm.fits(self.subscribers)), "storms"),
            (self.latest.is_none_or(|latest| latest.is_sound()), "updates a second"),
            (
                self.layout.as_ref().is_none_or(|layout| layout.fits(self.subscribers, topics)),
                "groups of subscriptions",
            ),
        ];
        match rules.iter().find(|(is_kept, _)| !is_kept) {
            Some((_, what)) => Err(format!("the plan is not sound: {what}")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Churn, Latest, Layout, Schedule};
    use crate::target::{Protocol, Target};

    fn plan() -> Plan {
        let target = Target::resolve("ws://127.0.0.1:1/", Protocol::Json).unwrap();
        Plan::new(target, [11, 3, 4], Schedule::new(1.0, 0.0, 1.0, 4), 64, 2)
    }

    #[test]
    fn a_plan_of_a_scenario_is_sound_and_one_that_would_break_an_engine_is_named() {
        assert_eq!(plan().check(), Ok(()));
        let idle = Plan { topics_each: 0, schedule: Schedule::idle(1.0), ..plan() };
        let idle = Plan { publishers: 0, topics: Vec::new(), ..idle };
        assert_eq!(idle.check(), Ok(()));
        type Break = fn(&mut Plan);
        let broken: [(Break, &str); 7] = [
            (|plan| plan.is_round_trip = true, "connections that send to themselves"),
            (|plan| plan.topics_each = 5, "topics of a subscriber"),
            (|plan| plan.topics.truncate(3), "topics of the schedule"),
            (|plan| plan.payload_bytes = usize::MAX, "payload bytes"),
            (
                |plan| plan.churn = Some(Churn { subscribers: 0, per_second: 1.0, away_ns: 0 }),
                "subscribers that leave",
            ),
            (|plan| plan.latest = Some(Latest { max_rate: Some(0.0) }), "updates a second"),
            (|plan| plan.layout = Some(Layout::new(4)), "groups of subscriptions"),
        ];
        for (breaks, what) in broken {
            let mut plan = plan();
            breaks(&mut plan);
            assert_eq!(plan.check(), Err(format!("the plan is not sound: {what}")));
        }
    }
}
