//! What holds for the topics of the demos: how much is kept of each, and where it is known who is
//! there. After the operator's own rules; none without the setting `demo`.

use serde::Deserialize;

use super::rules::RuleEntry;

const RULES: &str = r#"
    [[topic]]
    filter = "demo/candles/+"
    history_messages = 120
    history_ms = 600000
    last_ms = 0

    [[topic]]
    filter = "demo/ticker/+"
    history_messages = 1

    [[topic]]
    filter = "demo/firehose"
    history_messages = 0
    last_ms = 0

    [[topic]]
    filter = "demo/chat/#"
    presence = "members"
    history_ms = 3600000
    payload_bytes_max = 4096

    [[topic]]
    filter = "demo/board/lines"
    history_messages = 1000
    history_ms = 600000
    payload_bytes_max = 16384

    [[topic]]
    filter = "demo/#"
    history_ms = 600000
    payload_bytes_max = 16384
"#;

#[derive(Deserialize)]
struct File {
    topic: Vec<RuleEntry>,
}

/// The rules.
pub(super) fn rules() -> Vec<RuleEntry> {
    let File { topic } = toml::from_str(RULES).expect("a literal, read by a test");
    topic
}

#[cfg(test)]
mod tests {
    use broker_proto::topic::Topic;

    use crate::config::Config;
    use crate::config::rules::{Presence, Rules};

    #[test]
    fn the_demos_have_their_rules_and_others_are_not_touched_by_them() {
        let rules = Rules::new(&Config { demo: true, ..Config::default() });
        let of = |name| rules.of(Topic::new(name).unwrap());
        assert_eq!(of("demo/candles/ALDU").history_messages, 120);
        assert_eq!(of("demo/chat/lobby").presence, Presence::Members);
        assert!(!of("demo/firehose").keeps());
        assert!(of("demo/chat/lobby").is_local && of("$SYS/broker").is_local);
        assert_eq!(of("other"), Rules::new(&Config::default()).of(Topic::new("other").unwrap()));
    }
}
