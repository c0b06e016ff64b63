//! Topics and filters from outside: what is refused, and that matching agrees with the examples of
//! the MQTT specification and with a naive model.

use broker_proto::topic::{Filter, Topic, TopicError};
use proptest::prelude::*;

/// Whether `filter` matches `topic`, as the specification puts it, level by level.
fn model_matches(filter: &[&str], topic: &[&str]) -> bool {
    match (filter, topic) {
        ([], []) => true,
        (["#"], _) => true,
        (["+", filter @ ..], [_, topic @ ..]) => model_matches(filter, topic),
        ([level, filter @ ..], [name, topic @ ..]) => level == name && model_matches(filter, topic),
        _ => false,
    }
}

fn model(filter: &str, topic: &str) -> bool {
    let starts_with_wildcard = filter.starts_with('+') || filter.starts_with('#');
    let levels = |text: &'_ str| text.split('/').map(str::to_owned).collect::<Vec<_>>();
    let (filter_levels, topic_levels) = (levels(filter), levels(topic));
    let filter_levels: Vec<&str> = filter_levels.iter().map(String::as_str).collect();
    let topic_levels: Vec<&str> = topic_levels.iter().map(String::as_str).collect();
    !(topic.starts_with('$') && starts_with_wildcard)
        && model_matches(&filter_levels, &topic_levels)
}

fn matches(filter: &str, topic: &str) -> bool {
    Filter::new(filter).expect(filter).matches(Topic::new(topic).expect(topic))
}

/// Few different levels, so that filters match topics often.
fn levels(choice: &'static [&'static str]) -> impl Strategy<Value = Vec<&'static str>> {
    prop::collection::vec(prop::sample::select(choice), 1..6)
}

/// Filters of up to three levels and a `#`, as text; some are none.
fn filters() -> impl Strategy<Value = String> {
    let choice = prop::sample::select(&["", "a", "b", "$a", "+", "+"][..]);
    let few = prop::collection::vec(choice, 0..4);
    (few, any::<bool>()).prop_map(|(mut levels, ends_with_hash)| {
        levels.extend(ends_with_hash.then_some("#"));
        levels.join("/")
    })
}

/// All topics of up to four levels out of those of [`filters`] and one more.
fn every_topic() -> Vec<String> {
    const NAMES: [&str; 5] = ["", "a", "b", "$a", "z"];
    let mut topics: Vec<String> = NAMES.map(str::to_owned).to_vec();
    let mut from = 0;
    for _ in 1..4 {
        let longer = topics[from..].iter().flat_map(|t| NAMES.map(|name| format!("{t}/{name}")));
        let longer: Vec<String> = longer.collect();
        from = topics.len();
        topics.extend(longer);
    }
    topics.retain(|topic| !topic.is_empty());
    topics
}

proptest! {
    #[test]
    fn matching_agrees_with_the_model(
        names in levels(&["", "a", "b", "$a", "é"]),
        filter in levels(&["", "a", "b", "$a", "é", "+", "+"]),
        ends_with_hash in any::<bool>(),
    ) {
        let topic = names.join("/");
        let filter = filter.join("/") + if ends_with_hash { "/#" } else { "" };
        prop_assume!(!topic.is_empty() && !filter.is_empty());
        prop_assert_eq!(matches(&filter, &topic), model(&filter, &topic), "{} {}", filter, topic);
    }

    #[test]
    fn a_topic_made_a_filter_of_matches(
        names in levels(&["", "a", "b", "$a", "é"]),
        plus in prop::collection::vec(any::<bool>(), 6),
        cut in 1..7_usize,
    ) {
        let topic = names.join("/");
        prop_assume!(!topic.is_empty());
        let mut filter: Vec<&str> =
            names.iter().zip(&plus).map(|(name, &plus)| if plus { "+" } else { name }).collect();
        if cut <= filter.len() {
            filter.truncate(cut);
            filter.push("#");
        }
        let filter = filter.join("/");
        let is_hidden = topic.starts_with('$') && filter.starts_with('+');
        prop_assume!(!filter.is_empty());
        prop_assert_eq!(matches(&filter, &topic), !is_hidden, "{} {}", filter, topic);
    }

    #[test]
    fn a_filter_covers_another_if_and_only_if_it_matches_all_that_the_other_does(
        broad in filters(),
        narrow in filters(),
    ) {
        // The parent of `/#` is the empty text, which is no topic: there `covers` may be too strict.
        prop_assume!(narrow != "/#");
        let (covering, covered) = (Filter::new(&broad), Filter::new(&narrow));
        let (Ok(covering), Ok(covered)) = (covering, covered) else { return Ok(()) };
        let counterexample = every_topic()
            .into_iter()
            .find(|topic| matches(&narrow, topic) && !matches(&broad, topic));
        prop_assert_eq!(covering.covers(covered), counterexample.is_none(),
            "{} {} {:?}", broad, narrow, counterexample);
    }

    #[test]
    fn any_text_is_judged_without_a_panic(text in any::<String>()) {
        let topic = Topic::new(&text);
        let filter = Filter::new(&text);
        prop_assert!(topic.is_err() || filter.is_ok(), "a topic is a filter too: {:?}", text);
        if let (Ok(topic), Ok(filter)) = (topic, filter) {
            prop_assert!(filter.matches(topic));
            prop_assert_eq!(filter.as_topic(), Some(topic));
            prop_assert!(!filter.is_wildcard());
        }
    }
}

#[test]
fn the_examples_of_the_mqtt_specification_hold() {
    let player = "sport/tennis/player1/#";
    for topic in [
        "sport/tennis/player1",
        "sport/tennis/player1/ranking",
        "sport/tennis/player1/score/wimbledon",
    ] {
        assert!(matches(player, topic), "{topic}");
    }
    assert!(matches("sport/#", "sport"));
    assert!(matches("#", "any/topic/at/all"));
    assert!(matches("sport/tennis/+", "sport/tennis/player1"));
    assert!(!matches("sport/tennis/+", "sport/tennis/player1/ranking"));
    assert!(!matches("sport/+", "sport"));
    assert!(matches("sport/+", "sport/"));
    assert!(matches("+/+", "/finance"));
    assert!(matches("/+", "/finance"));
    assert!(!matches("+", "/finance"));
    for filter in ["sport/tennis#", "sport/tennis/#/ranking", "sport+", "a/+b", "##", "#/a"] {
        let verdict = Filter::new(filter);
        assert!(matches!(verdict, Err(TopicError::MisplacedWildcard(_))), "{filter}");
    }
    for filter in ["+", "+/tennis/#", "sport/+/player1", "#", "+/+/#"] {
        assert_eq!(Filter::new(filter).map(Filter::is_wildcard), Ok(true), "{filter}");
    }
}

#[test]
fn topics_of_the_system_are_hidden_from_leading_wildcards() {
    assert!(!matches("#", "$SYS/broker"));
    assert!(!matches("+/broker", "$SYS/broker"));
    assert!(!matches("+", "$SYS"));
    assert!(matches("$SYS/#", "$SYS/broker"));
    assert!(matches("$SYS/+", "$SYS/broker"));
    assert!(matches("$SYS/broker", "$SYS/broker"));
    assert!(matches("a/+", "a/$SYS"), "only the first level counts");
    assert!(Topic::new("$").unwrap().is_system());
    assert!(!Topic::new("a$").unwrap().is_system());
}

#[test]
fn lengths_are_counted_in_bytes_from_1_to_255() {
    assert_eq!(Topic::new(""), Err(TopicError::Empty));
    assert!(Topic::new("a").is_ok());
    assert!(Topic::new(&"a".repeat(255)).is_ok());
    assert_eq!(Topic::new(&"a".repeat(256)), Err(TopicError::TooLong(256)));
    assert_eq!(Topic::new(&"é".repeat(128)), Err(TopicError::TooLong(256)));
    assert_eq!(Filter::new(&"a".repeat(65_536)), Err(TopicError::TooLong(65_536)));
}

#[test]
fn there_are_at_most_32_levels_and_any_may_be_empty() {
    assert!(Topic::new(&"/".repeat(31)).is_ok());
    assert_eq!(Topic::new(&"/".repeat(32)), Err(TopicError::TooManyLevels(33)));
    assert_eq!(Filter::new(&"/".repeat(65_400)), Err(TopicError::TooLong(65_400)));
    assert_ne!(Topic::new("a"), Topic::new("a/"));
    assert_eq!(Topic::new("/a//").unwrap().levels().collect::<Vec<_>>(), ["", "a", "", ""]);
}

#[test]
fn characters_that_mislead_or_control_are_refused() {
    let forbidden = [
        '\0',
        '\u{1}',
        '\n',
        '\u{1f}',
        '\u{7f}',
        '\u{80}',
        '\u{9f}',
        '\u{61c}',
        '\u{200e}',
        '\u{200f}',
        '\u{202a}',
        '\u{202e}',
        '\u{2066}',
        '\u{2069}',
        '\u{fdd0}',
        '\u{fdef}',
        '\u{fffe}',
        '\u{ffff}',
        '\u{1fffe}',
        '\u{10ffff}',
    ];
    for c in forbidden {
        let text = format!("a/{c}");
        assert_eq!(Topic::new(&text), Err(TopicError::ForbiddenCharacter(c)), "{c:?}");
        assert_eq!(Filter::new(&text), Err(TopicError::ForbiddenCharacter(c)), "{c:?}");
    }
    for c in [' ', '~', '"', '\\', 'é', '\u{200d}', '\u{fffd}', '\u{fdcf}', '😀'] {
        assert!(Topic::new(&format!("a/{c}")).is_ok(), "{c:?}");
    }
}

#[test]
fn a_topic_holds_no_wildcard() {
    assert_eq!(Topic::new("a/#"), Err(TopicError::WildcardInTopic('#')));
    assert_eq!(Topic::new("+/b"), Err(TopicError::WildcardInTopic('+')));
    assert_eq!(Topic::new("a+b"), Err(TopicError::WildcardInTopic('+')));
}

#[test]
fn a_refusal_names_the_value() {
    let message = |text: &str| Filter::new(text).unwrap_err().to_string();
    assert_eq!(message(&"a".repeat(256)), "the topic is 256 bytes long, at most 255 are allowed");
    assert_eq!(message(&"/".repeat(40)), "the topic has 41 levels, at most 32 are allowed");
    assert_eq!(message("a\u{202e}"), "the topic holds the forbidden character U+202E");
    assert_eq!(
        message("a/#/b"),
        "the wildcard # is misplaced: + fills a level, # fills the last one"
    );
}
