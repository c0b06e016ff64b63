//! Who is there: comings and goings, the list, and topics where nobody is told.

use std::collections::BTreeSet;
use std::thread;

use serde_json::Value;

use crate::support::broker::Broker;
use crate::support::ws_client::WsClient;
use crate::viewer::{Viewer, broker_with, member};

const RULES: &str = r#"
    [[topic]]
    filter = "room/#"
    presence = "members"
"#;
const WATCH: &str = r#"{"id":1,"op":"subscribe","topic":"room/5","presence":true}"#;
const JOIN: &str = r#"{"id":1,"op":"subscribe","topic":"room/5"}"#;

/// A connection that has said who it is; its session.
fn someone(broker: &Broker) -> (Viewer, String) {
    let mut viewer = Viewer::connect(broker);
    let answer = viewer.answer(r#"{"id":1,"op":"connect"}"#);
    let session = member(&answer, "session");
    assert_eq!(session.len(), 16, "{answer}");
    (viewer, session)
}

/// The next notice that is not of the watcher itself.
fn next_of_others(watcher: &mut Viewer, own: &str) -> String {
    loop {
        let text = watcher.next();
        if !text.contains(own) {
            return text;
        }
    }
}

fn demand_presence(workers: &str) {
    let broker = broker_with(RULES, &["--workers", workers, "--pin", "false"]);
    let (mut watcher, own) = someone(&broker);
    assert!(watcher.answer(WATCH).starts_with(r#"{"id":1,"ok":{"topic":"room/5""#));
    let mut others = Vec::new();
    for count in 2..=7 {
        let (mut other, session) = someone(&broker);
        assert!(other.answer(JOIN).starts_with(r#"{"id":1,"ok":{"topic":"room/5""#));
        let expected = format!(
            r#"{{"presence":{{"topic":"room/5","join":{{"user":null,"session":"{session}"}},"count":{count}}}}}"#
        );
        assert_eq!(next_of_others(&mut watcher, &own), expected);
        others.push((other, session));
    }

    // Everybody who may be told can ask; who is not there is none the less told.
    let mut sessions: BTreeSet<&str> = others.iter().map(|(_, session)| session.as_str()).collect();
    sessions.insert(&own);
    let members: Vec<String> = sessions
        .iter()
        .map(|session| format!(r#"{{"user":null,"session":"{session}"}}"#))
        .collect();
    let expected = format!(
        r#"{{"id":2,"ok":{{"topic":"room/5","count":7,"members":[{}]}}}}"#,
        members.join(",")
    );
    let mut stranger = Viewer::connect(&broker);
    let ask = r#"{"id":2,"op":"presence","topic":"room/5"}"#;
    assert_eq!(stranger.answer(ask), expected);
    let empty = stranger.answer(r#"{"id":3,"op":"presence","topic":"room/empty"}"#);
    assert_eq!(empty, r#"{"id":3,"ok":{"topic":"room/empty","count":0,"members":[]}}"#);

    // A filter makes nobody a member; to subscribe again is no second coming.
    stranger.answer(r#"{"id":4,"op":"subscribe","topic":"room/+"}"#);
    others[0].0.answer(r#"{"id":5,"op":"subscribe","topic":"room/5","last":true}"#);

    // They go in three ways.
    for (number, (mut other, session)) in others.into_iter().enumerate() {
        let count = 6 - number;
        match number % 3 {
            0 => {
                other.answer(r#"{"id":6,"op":"unsubscribe","topic":"room/5"}"#);
            }
            1 => crate::feed::reset(other.into_client()),
            _ => drop(other),
        }
        let expected = format!(
            r#"{{"presence":{{"topic":"room/5","leave":{{"user":null,"session":"{session}"}},"count":{count}}}}}"#
        );
        assert_eq!(next_of_others(&mut watcher, &own), expected);
    }
}

#[test]
fn comings_and_goings_are_told_of_one_by_one() {
    demand_presence("1");
}

#[test]
fn they_are_across_workers() {
    demand_presence("2");
}

#[test]
fn where_it_is_not_allowed_nobody_is_told() {
    let broker = broker_with(RULES, &["--workers", "1"]);
    let mut viewer = Viewer::connect(&broker);
    for command in [
        r#"{"id":1,"op":"presence","topic":"secret/5"}"#,
        r#"{"id":1,"op":"subscribe","topic":"secret/5","presence":true}"#,
        r#"{"id":1,"op":"subscribe","topic":"room/+","presence":true}"#,
        r#"{"id":1,"op":"presence","topic":"$SYS/broker"}"#,
    ] {
        let answer = viewer.answer(command);
        let is_error = answer.starts_with(r#"{"id":1,"error":{"code":"forbidden","#)
            || command.contains('+') && answer.starts_with(r#"{"id":1,"error":{"code":"bad_"#);
        assert!(is_error, "{command}: {answer}");
    }
    // A refused subscription is none.
    let answer = viewer.answer(r#"{"id":2,"op":"stats"}"#);
    assert!(answer.starts_with(r#"{"id":2,"ok":{"subscriptions":0,"#), "{answer}");
}

/// Above fifty they are gathered. Nobody is left out and nobody is told of twice.
#[test]
fn of_many_who_come_together_lists_are_told() {
    const MANY: usize = 120;
    let broker = broker_with(RULES, &["--workers", "2", "--pin", "false"]);
    let (mut watcher, own) = someone(&broker);
    watcher.answer(WATCH);
    let (mut others, mut expected): (Vec<Viewer>, BTreeSet<String>) = Default::default();
    for _ in 0..MANY {
        let (viewer, session) = someone(&broker);
        others.push(viewer);
        expected.insert(session);
    }
    let chunks: Vec<Vec<Viewer>> = {
        let mut rest = others;
        let mut chunks = Vec::new();
        while !rest.is_empty() {
            chunks.push(rest.split_off(rest.len().saturating_sub(MANY / 4)));
        }
        chunks
    };
    let joining: Vec<_> = chunks
        .into_iter()
        .map(|mut chunk| {
            thread::spawn(move || {
                for viewer in &mut chunk {
                    viewer.answer(JOIN);
                }
                chunk
            })
        })
        .collect();
    let others: Vec<Viewer> =
        joining.into_iter().flat_map(|thread| thread.join().expect("they were let in")).collect();
    let told = gather(&mut watcher, &own, "join", "joined", MANY as u64 + 1);
    assert_eq!(told, expected);

    let clients: Vec<WsClient> = others.into_iter().map(Viewer::into_client).collect();
    drop(clients);
    let told = gather(&mut watcher, &own, "leave", "left", 1);
    assert_eq!(told, expected);
}

/// Those that notices tell of until `count` are there; some of them must be lists.
fn gather(watcher: &mut Viewer, own: &str, one: &str, many: &str, count: u64) -> BTreeSet<String> {
    let (mut told, mut lists) = (BTreeSet::new(), 0);
    loop {
        let text = watcher.next();
        let value: Value = serde_json::from_str(&text).expect("notices are JSON");
        let notice = &value["presence"];
        assert_eq!(notice["topic"], "room/5", "{text}");
        let list = notice[many].as_array().cloned();
        lists += usize::from(list.is_some());
        let people = list.unwrap_or_else(|| notice.get(one).cloned().into_iter().collect());
        for person in people {
            let session = person["session"].as_str().expect("each has one").to_owned();
            if session != own {
                assert!(told.insert(session), "told of twice: {text}");
            }
        }
        if notice["count"] == count {
            assert!(lists > 0, "all were told of one by one");
            return told;
        }
    }
}
