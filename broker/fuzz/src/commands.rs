//! Commands in both encodings, topics and filters: what bytes mean. What could be read must come back
//! the same when it is written and read again.

use broker_proto::command::Request;
use broker_proto::topic::{Filter, Topic};
use broker_proto::{bin, json};

/// A text message.
pub fn commands_json(data: &[u8]) {
    let mut parser = json::Parser::new();
    // Each has at most one message, or it says what is wrong with the whole.
    parser.parse_publishes(data, |publishes| {
        if let Ok(mut publishes) = publishes {
            let mut count = 0;
            let all = publishes.each(|_| {
                count += 1;
                Ok::<(), ()>(())
            });
            assert_eq!((all, count), (Ok(()), publishes.len()));
        }
    });
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut written = Vec::new();
    parser.parse(text, |request| {
        let mut out = Vec::new();
        if let Ok(command) = &request.command {
            json::encode_command(&mut out, None, command);
            written.push((describe(&request), out));
        }
    });
    for (read, text) in written {
        let text = String::from_utf8(text).expect("it writes text");
        let mut again = Vec::new();
        parser.parse(&text, |request| again.push(describe(&request)));
        assert_eq!(again, [read], "{text}");
    }
}

/// A binary message of a client, and the same bytes as one of the broker's.
pub fn commands_bin(data: &[u8]) {
    let mut parser = json::Parser::new();
    let mut written = None;
    bin::parse(data, &mut parser, |request| {
        if let Ok(command) = &request.command {
            let mut out = Vec::new();
            bin::encode_command(&mut out, None, command);
            written = Some((describe(&request), out));
        }
    });
    if let Some((read, bytes)) = written {
        let mut again = Vec::new();
        bin::parse(&bytes, &mut parser, |request| again.push(describe(&request)));
        assert_eq!(again, [read], "{bytes:x?}");
    }
    // A client must survive what it gets.
    let _ = bin::decode_server(data);
}

/// A command without what it is called: that is its sender's.
fn describe(request: &Request<'_>) -> String {
    format!("{:?}", request.command)
}

/// Two filters and a topic, a line each.
pub fn topics(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.split('\n');
    let mut next = || lines.next().unwrap_or_default();
    let (first, second, topic) = (Filter::new(next()), Filter::new(next()), Topic::new(next()));
    for filter in [&first, &second].into_iter().flatten() {
        assert_eq!(filter.is_wildcard(), filter.as_topic().is_none());
        assert!(filter.covers(*filter), "{filter:?} covers itself");
        if let Ok(topic) = topic {
            assert_eq!(
                filter.matches(topic),
                matches_plainly(*filter, topic),
                "{filter:?} {topic:?}"
            );
        }
    }
    if let (Ok(first), Ok(second), Ok(topic)) = (first, second, topic)
        && first.covers(second)
        && second.matches(topic)
    {
        assert!(first.matches(topic), "{first:?} covers {second:?} but does not match {topic:?}");
    }
}

/// MQTT 5.0 §4.7 as it stands there, level by level.
fn matches_plainly(filter: Filter<'_>, topic: Topic<'_>) -> bool {
    let (wanted, levels): (Vec<_>, Vec<_>) = (filter.levels().collect(), topic.levels().collect());
    // A wildcard at the front does not match what begins with a dollar.
    if topic.as_str().starts_with('$') && ["+", "#"].contains(&wanted[0]) {
        return false;
    }
    for (at, level) in wanted.iter().enumerate() {
        match (*level, levels.get(at)) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (level, Some(is)) if level == *is => {}
            _ => return false,
        }
    }
    wanted.len() == levels.len()
}
