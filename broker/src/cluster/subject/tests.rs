//! Subjects as literals, and the two ways of matching held against each other.

use proptest::prelude::*;

use super::*;

fn topic(text: &str) -> String {
    of_topic("c", Topic::new(text).unwrap())
}

fn filter(text: &str) -> (String, Option<String>) {
    of_filter("c", Filter::new(text).unwrap())
}

/// Whether NATS delivers what is published on `subject` to who subscribed to `pattern`.
fn nats_matches(pattern: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for part in pattern.split('.') {
        match (part, tokens.next()) {
            (_, None) => return false,
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (part, Some(token)) if part == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

#[test]
fn a_topic_has_one_subject_in_which_nothing_means_something_else() {
    for (text, subject) in [
        ("ticker/ACME", "c.m.ticker.ACME"),
        ("a.b/*", "c.m.a%2Eb.%2A"),
        ("/a//b/", "c.m.%.a.%.b.%"),
        ("100%/>", "c.m.100%25.%3E"),
        ("é x", "c.m.%C3%A9%20x"),
        ("$SYS/broker", "c.s.$SYS.broker"),
    ] {
        assert_eq!(topic(text), subject);
        assert_eq!(to_topic("c", subject).as_deref(), Some(text));
    }
    assert_eq!(filter("ticker/+"), ("c.m.ticker.*".into(), None));
    assert_eq!(filter("ticker/#"), ("c.m.ticker".into(), Some("c.m.ticker.>".into())));
    assert_eq!(filter("#"), ("c.m.>".into(), None));
    assert_eq!(filter("/#"), ("c.m.%".into(), Some("c.m.%.>".into())));
}

#[test]
fn a_subject_of_others_is_no_topic() {
    for subject in [
        "c.m", "c.m.", "c.x.a", "d.m.a", "c.m.a..b", "c.m.%4", "c.m.%41", "c.m.%2e", "c.m.a*",
        "c.m.%2B", "c.m.$SYS", "c.s.a", "c.m.%FF", "c.m.%00", "c.m.a b",
    ] {
        assert_eq!(to_topic("c", subject), None, "{subject}");
    }
}

proptest! {
    #[test]
    fn every_topic_comes_back_from_its_subject(text in "[ -~é\u{1F600}]{1,40}") {
        prop_assume!(Topic::new(&text).is_ok());
        let subject = topic(&text);
        prop_assert!(subject.bytes().all(|byte| byte.is_ascii_graphic()));
        prop_assert!(subject.split('.').all(|token| !token.is_empty()));
        prop_assert_eq!(to_topic("c", &subject), Some(text));
    }

    #[test]
    fn nats_delivers_what_the_filter_matches(
        text in "[$]?[ab/.]{1,8}",
        pattern in "[$]?([ab.+]?/){0,3}([ab.]?|[+#])",
    ) {
        let (Ok(name), Ok(wanted)) = (Topic::new(&text), Filter::new(&pattern)) else {
            return Ok(());
        };
        let subject = topic(&text);
        let (first, second) = filter(&pattern);
        let delivered = nats_matches(&first, &subject)
            || second.is_some_and(|second| nats_matches(&second, &subject));
        prop_assert_eq!(delivered, wanted.matches(name), "{} {}", pattern, text);
    }

    #[test]
    fn no_subject_makes_it_panic(subject in "c\\.[ms]\\.[%.A-F0-9a-z$+#*>]{0,30}") {
        if let Some(text) = to_topic("c", &subject) {
            prop_assert_eq!(topic(&text), subject);
        }
    }
}

#[test]
fn what_is_told_of_members_has_subjects_of_its_own() {
    for text in ["room/5", "a.b/*", "$mine", "/"] {
        let topic = Topic::new(text).unwrap();
        let subject = of_members("c", topic);
        assert_eq!(to_members("c", &subject).as_deref(), Some(text));
        assert_eq!(to_topic("c", &subject), None);
        assert_eq!(to_members("c", &of_topic("c", topic)), None);
    }
    assert_eq!(of_members("c", Topic::new("room/5").unwrap()), "c.p.room.5");
    assert_eq!(to_members("c", "c.p"), None);
}
