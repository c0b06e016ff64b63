//! The loads, as flags of the load generator. What each is for stands in docs/BENCHMARKS.md.

use clap::ValueEnum;

/// A load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// 1 topic, 1,000 subscribers, 100 messages a second.
    Fan,
    /// The same twice as often, ten messages at once.
    Burst,
    /// 500 topics, 500 subscribers of 50 topics each, 2,000 messages a second.
    Ticker,
    /// 5,000 topics with one subscriber each, 20,000 messages a second.
    Notify,
    /// 1 topic, 100 subscribers, 10,000 messages a second: a million deliveries.
    Flood,
    /// The same with 4 million deliveries a second.
    #[value(name = "flood4m")]
    Flood4M,
    /// The same with 6 million.
    #[value(name = "flood6m")]
    Flood6M,
    /// The same with 8 million.
    #[value(name = "flood8m")]
    Flood8M,
    /// 200 subscribers, 200 messages of 16 KB a second.
    Fat,
    /// Connections with a topic each and next to no messages.
    Idle,
}

impl Scenario {
    /// Those that run unless others are asked for.
    pub const USUAL: [Self; 8] = [
        Self::Fan,
        Self::Burst,
        Self::Ticker,
        Self::Notify,
        Self::Flood,
        Self::Flood4M,
        Self::Fat,
        Self::Idle,
    ];

    /// As it is called on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fan => "fan",
            Self::Burst => "burst",
            Self::Ticker => "ticker",
            Self::Notify => "notify",
            Self::Flood => "flood",
            Self::Flood4M => "flood4m",
            Self::Flood6M => "flood6m",
            Self::Flood8M => "flood8m",
            Self::Fat => "fat",
            Self::Idle => "idle",
        }
    }

    /// What is sent to whom, in words.
    #[must_use]
    pub fn about(self) -> &'static str {
        match self {
            Self::Fan => "1 topic, 1,000 subscribers, 100 messages a second",
            Self::Burst => "1 topic, 1,000 subscribers, 20 times a second 10 messages at once",
            Self::Ticker => "500 topics, 500 subscribers of 50 each, 2,000 messages a second",
            Self::Notify => "5,000 topics with one subscriber each, 20,000 messages a second",
            Self::Flood => "1 topic, 100 subscribers, 10,000 messages a second",
            Self::Flood4M => "1 topic, 100 subscribers, 40,000 messages a second",
            Self::Flood6M => "1 topic, 100 subscribers, 60,000 messages a second",
            Self::Flood8M => "1 topic, 100 subscribers, 80,000 messages a second",
            Self::Fat => "1 topic, 200 subscribers, 200 messages of 16 KB a second",
            Self::Idle => "many connections with a topic each, one message a second in all",
        }
    }

    /// Whether it is there to see what connections cost, not messages.
    #[must_use]
    pub fn is_idle(self) -> bool {
        self == Self::Idle
    }

    /// The load generator's subcommand and flags.
    #[must_use]
    pub fn flags(self, idle_connections: u32) -> String {
        let flood = |rate: u32| format!("fanout --subscribers 100 --rate {rate} --size 128");
        match self {
            Self::Fan => "fanout --subscribers 1000 --rate 100 --size 128".into(),
            Self::Burst => "fanout --subscribers 1000 --rate 200 --burst 10 --size 128".into(),
            Self::Ticker => {
                "ticker --symbols 500 --clients 500 --watch 50 --rate 2000 --size 136".into()
            }
            Self::Notify => "notify --users 5000 --publishers 4 --rate 20000 --size 128".into(),
            Self::Flood => flood(10_000),
            Self::Flood4M => flood(40_000),
            Self::Flood6M => flood(60_000),
            Self::Flood8M => flood(80_000),
            Self::Fat => "fanout --subscribers 200 --rate 200 --size 16384".into(),
            // Without a warm-up: what the server has used when measuring begins, it has used for
            // connections.
            Self::Idle => format!(
                "notify --users {idle_connections} --publishers 1 --rate 1 --size 128 --warmup 0"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use loadgen::options::Options;

    use super::*;

    #[test]
    fn every_scenario_is_a_command_line_of_the_load_generator() {
        for scenario in Scenario::value_variants() {
            let line = format!("loadgen {}", scenario.flags(15_000));
            let parsed = Options::try_parse_from(line.split(' '));
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
            assert_eq!(Scenario::from_str(scenario.name(), false), Ok(*scenario));
        }
    }
}
