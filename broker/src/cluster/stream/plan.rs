//! Which streams there are: one for each rule that keeps anything of its topics, and how a topic's
//! subject in it is written. Plain values, made of the settings alone, so that all nodes with the
//! same settings make the same.

use std::time::Duration;

use async_nats::jetstream::stream::{Config as StreamConfig, DiscardPolicy, StorageType};
use broker_proto::topic::Topic;
use sha2::{Digest, Sha256};

use crate::cluster::subject;
use crate::config::Config;
use crate::config::rules::{Rule, Rules};

/// Within which the server stores nothing twice.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);
/// Records live at least so long, however little their rule keeps: a reader may be that late.
const AGE_MIN: Duration = Duration::from_secs(600);
/// Records of a topic that are kept at least, for the same reason.
const RECORDS_MIN: u32 = 1_000;

/// The streams of a node.
#[derive(Debug)]
pub struct Plan {
    rules: Rules,
    streams: Vec<StreamPlan>,
}

/// One stream.
#[derive(Clone, Debug)]
pub struct StreamPlan {
    /// The filter of the rule whose topics it keeps; none for topics without a rule of their own.
    filter: Option<Box<str>>,
    /// Its name in JetStream.
    pub name: String,
    /// What its subjects begin with, without the last dot.
    prefix: String,
    messages_max: u32,
    age_max: Duration,
    bytes_max: u64,
    replicas: usize,
}

impl Plan {
    /// The streams by these settings.
    pub fn new(config: &Config) -> Self {
        let rules = Rules::new(config);
        let mut streams: Vec<StreamPlan> = Vec::new();
        let shared = rules.entries().filter(|(_, rule)| rule.keeps() && !rule.is_local);
        for (filter, rule) in shared {
            // Of two rules with one filter the first holds.
            if !streams.iter().any(|stream| stream.filter.as_deref() == filter) {
                streams.push(StreamPlan::new(config, filter, rule));
            }
        }
        Self { rules, streams }
    }

    /// All streams.
    pub fn streams(&self) -> &[StreamPlan] {
        &self.streams
    }

    /// The place of the stream that keeps a topic; none if none does.
    pub fn stream_of(&self, topic: Topic<'_>) -> Option<usize> {
        if topic.is_system() {
            return None;
        }
        let filter = self.rules.filter_of(topic);
        self.streams.iter().position(|stream| stream.filter.as_deref() == filter)
    }
}

impl StreamPlan {
    fn new(config: &Config, filter: Option<&str>, rule: &Rule) -> Self {
        let settings = &config.backplane;
        let token = match filter {
            None => "default".to_owned(),
            Some(filter) => {
                let digest = Sha256::digest(filter.as_bytes());
                digest[..8].iter().map(|byte| format!("{byte:02x}")).collect()
            }
        };
        // What is read again after a start must tell which publishes came before.
        let kept_ms = rule.history_ms.max(rule.last_ms).max(rule.retry_ms);
        Self {
            filter: filter.map(Into::into),
            name: format!("{}-h-{token}", settings.cluster),
            prefix: format!("{}.h.{token}", settings.cluster),
            messages_max: rule.history_messages.max(RECORDS_MIN),
            age_max: Duration::from_millis(kept_ms).max(AGE_MIN),
            bytes_max: settings.stream_bytes_max,
            replicas: usize::from(settings.nats_replicas),
        }
    }

    /// The subject of a topic's records.
    pub fn subject_of(&self, topic: Topic<'_>) -> String {
        subject::below(&self.prefix, topic)
    }

    /// The topic whose records have this subject, as it was written; none if it is no topic's.
    pub fn topic_of(&self, subject: &str) -> Option<String> {
        let tokens = subject.strip_prefix(&self.prefix)?.strip_prefix('.')?;
        subject::levels(tokens).filter(|text| Topic::new(text).is_ok())
    }

    /// What JetStream is asked for.
    pub fn config(&self) -> StreamConfig {
        let filter = self.filter.as_deref().unwrap_or("all other topics");
        StreamConfig {
            name: self.name.clone(),
            description: Some(format!("Altavoz: history of {filter}")),
            subjects: vec![format!("{}.>", self.prefix)],
            max_messages_per_subject: self.messages_max.into(),
            max_age: self.age_max,
            max_bytes: i64::try_from(self.bytes_max).unwrap_or(i64::MAX),
            discard: DiscardPolicy::Old,
            storage: StorageType::File,
            num_replicas: self.replicas,
            duplicate_window: DUPLICATE_WINDOW,
            allow_direct: true,
            ..StreamConfig::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::rules::RuleEntry;

    fn plan(rules: &str) -> Plan {
        let topic: Vec<RuleEntry> = serde_json::from_str(rules).unwrap();
        Plan::new(&Config { topic, ..Config::default() })
    }

    fn topic(text: &str) -> Topic<'_> {
        Topic::new(text).unwrap()
    }

    #[test]
    fn a_topic_is_in_the_stream_of_its_rule_or_in_none() {
        let plan = plan(
            r#"[{"filter":"pos/+","history_messages":0,"last_ms":0},
                {"filter":"orders/#","history_messages":7},
                {"filter":"orders/#","history_messages":9}]"#,
        );
        assert_eq!(plan.streams().len(), 2);
        assert_eq!(plan.stream_of(topic("pos/1")), None);
        assert_eq!(plan.stream_of(topic("$SYS/broker")), None);
        assert_eq!(plan.stream_of(topic("orders/1")), Some(0));
        assert_eq!(plan.stream_of(topic("other")), Some(1));
        assert_eq!(plan.streams()[1].name, "altavoz-h-default");
    }

    #[test]
    fn the_name_of_a_stream_hangs_on_the_filter_alone() {
        let name = |rules: &str| plan(rules).streams()[0].name.clone();
        let first = name(r#"[{"filter":"orders/#","history_messages":7}]"#);
        assert_eq!(first, name(r#"[{"filter":"orders/#","last_ms":5}]"#));
        assert_ne!(first, name(r#"[{"filter":"orders/+"}]"#));
    }

    #[test]
    fn a_subject_reads_back_as_the_topic_and_others_as_none() {
        let plan = plan("[]");
        let stream = &plan.streams()[0];
        for name in ["a", "a/b", "/a//", "a b/ü.*>%", "$x"] {
            let subject = stream.subject_of(topic(name));
            assert!(subject.starts_with("altavoz.h.default."), "{subject}");
            assert_eq!(stream.topic_of(&subject).as_deref(), Some(name));
        }
        for subject in ["altavoz.h.default", "altavoz.h.default.", "altavoz.h.other.a", "a"] {
            assert_eq!(stream.topic_of(subject), None, "{subject}");
        }
    }

    #[test]
    fn the_server_keeps_at_least_what_the_rule_does() {
        let plan = plan(r#"[{"filter":"a","history_messages":5000,"last_ms":7200000}]"#);
        let config = plan.streams()[0].config();
        assert_eq!(config.max_messages_per_subject, 5_000);
        assert_eq!(config.max_age, Duration::from_secs(7_200));
        assert!(config.duplicate_window <= config.max_age);
    }
}
