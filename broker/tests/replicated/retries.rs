//! The same publish on several nodes, at once and one after the other, by `msg_id` and by
//! `Idempotency-Key`: one message, one place. And over the end of the node that took the first, and an
//! answer that was lost.

use std::sync::Barrier;
use std::thread;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::broker::Broker;
use crate::support::http::{self, Response};
use crate::{Cluster, PATIENCE, answer, client, node};

const ROUNDS: u64 = 40;
/// All that is published on a topic of which 100 messages are kept.
const MIXED: u64 = 20;

/// Publishes over HTTP, with these headers besides.
fn post(broker: &Broker, headers: &str, body: &str) -> Response {
    let address = broker.address();
    let request = format!(
        "POST /api/v1/publish HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    http::exchange(address, request.as_bytes(), PATIENCE).expect("it answers")
}

fn with_key(broker: &Broker, key: &str, body: &str) -> Response {
    post(broker, &format!("Idempotency-Key: {key}\r\n"), body)
}

fn is_replayed(response: &Response) -> bool {
    response.header("Idempotency-Replayed") == Some("true")
}

fn place(response: &Response) -> Value {
    assert_eq!(response.status, 200, "{}", response.text());
    serde_json::from_slice(&response.body).expect("JSON")
}

/// Does this with several brokers at the same moment.
fn race<T: Send>(brokers: &[&Broker], publish: impl Fn(&Broker) -> T + Sync) -> Vec<T> {
    let start = Barrier::new(brokers.len());
    let run = |broker| {
        start.wait();
        publish(broker)
    };
    let run = &run;
    thread::scope(|scope| {
        let racers: Vec<_> =
            brokers.iter().map(|&broker| scope.spawn(move || run(broker))).collect();
        racers.into_iter().map(|racer| racer.join().expect("an answer")).collect()
    })
}

/// What is kept of a topic, as a node tells when it has read so many messages.
fn history(broker: &Broker, topic: &str, messages: u64) -> Vec<u64> {
    broker.wait_for_metric("altavoz_stream_messages_total", messages as f64, PATIENCE);
    let path = format!("/api/v1/topics/{}/history?limit=1000", topic.replace('/', "%2F"));
    let page = http::get(broker.address(), &path).expect("it answers").text();
    let page: Value = serde_json::from_str(&page).expect("JSON");
    let messages = page["messages"].as_array().unwrap_or_else(|| panic!("{page}"));
    messages.iter().map(|message| message["data"].as_u64().expect("a number")).collect()
}

/// Publishes that race on two nodes, with another two of the three each time; the third comes late.
fn race_over_http(cluster: &Cluster, publish: impl Fn(&Broker, u64) -> Response + Sync) {
    let brokers: Vec<&Broker> = cluster.brokers.iter().collect();
    for round in 1..=ROUNDS {
        let left_out = round as usize % 3;
        let racers: Vec<&Broker> =
            (0..3).filter(|at| *at != left_out).map(|at| brokers[at]).collect();
        let answers = race(&racers, |broker| publish(broker, round));
        let places: Vec<Value> = answers.iter().map(place).collect();
        assert_eq!(places[0], places[1], "one message has one place");
        assert_eq!(places[0]["seq"], round);
        let replayed = answers.iter().filter(|answer| is_replayed(answer)).count();
        assert_eq!(replayed, 1, "one of them published it");
        // The third comes late.
        let late = publish(brokers[left_out], round);
        assert_eq!((place(&late), is_replayed(&late)), (places[0].clone(), true));
    }
}

#[test]
fn w_12_a_key_that_races_on_two_nodes_is_one_message() {
    let Some(cluster) = Cluster::start() else { return };
    race_over_http(&cluster, |broker, round| {
        with_key(broker, &format!("r{round}"), &format!(r#"{{"topic":"t/1","data":{round}}}"#))
    });
    for broker in &cluster.brokers {
        assert_eq!(history(broker, "t/1", ROUNDS), (1..=ROUNDS).collect::<Vec<_>>());
        // Whichever node took it, the key is taken.
        let other = with_key(broker, "r1", r#"{"topic":"t/1","data":999}"#);
        assert_eq!(other.status, 422, "{}", other.text());
        assert!(other.text().contains("key_reused"), "{}", other.text());
    }
    let replays = cluster.brokers.iter().map(|it| it.metrics("altavoz_http_replays_total"));
    assert_eq!(replays.sum::<f64>(), 2.0 * ROUNDS as f64);
}

#[test]
fn w_12_a_msg_id_that_races_on_two_nodes_is_one_message() {
    let Some(cluster) = Cluster::start() else { return };
    race_over_http(&cluster, |broker, round| {
        post(broker, "", &format!(r#"{{"topic":"t/1","data":{round},"msg_id":"m{round}"}}"#))
    });
    for broker in &cluster.brokers {
        assert_eq!(history(broker, "t/1", ROUNDS), (1..=ROUNDS).collect::<Vec<_>>());
    }
}

#[test]
fn w_12_a_msg_id_over_websockets_of_three_nodes_is_one_message_among_others() {
    let Some(cluster) = Cluster::start() else { return };
    let brokers: Vec<&Broker> = cluster.brokers.iter().collect();
    let told = race(&brokers, |broker| {
        let mut client = client(broker);
        let publish = |number: u64, more: &str| {
            format!(r#"{{"id":{number},"op":"publish","topic":"t/2","data":{number}{more}}}"#)
        };
        // All publish all, and each some of its own, without waiting.
        let named: Vec<String> =
            (1..=MIXED).map(|at| publish(at, &format!(r#","msg_id":"m{at}""#))).collect();
        let own = (1..=MIXED).map(|at| publish(1_000 + at, ""));
        let all: Vec<String> = named
            .iter()
            .cloned()
            .zip(own)
            .flat_map(|(named, own)| [named.clone(), own, named])
            .collect();
        client.send_text(&format!("[{}]", all.join(","))).expect("it reads");
        let mut seqs = vec![Value::Null; MIXED as usize];
        for _ in 0..all.len() {
            let told: Value = serde_json::from_str(&client.receive_text()).expect("JSON");
            let (id, seq) = (told["id"].as_u64().expect("an id"), &told["ok"]["seq"]);
            assert!(seq.is_u64(), "{told}");
            if id <= MIXED {
                let known = &mut seqs[id as usize - 1];
                assert!(known.is_null() || known == seq, "{told}: {known}");
                *known = seq.clone();
            }
        }
        seqs
    });
    assert!(told.iter().all(|seqs| *seqs == told[0]), "{told:?}");
    for broker in &brokers {
        let kept = history(broker, "t/2", 4 * MIXED);
        let mut named: Vec<u64> = kept.iter().copied().filter(|number| *number <= MIXED).collect();
        assert_eq!(named, (1..=MIXED).collect::<Vec<_>>(), "each once, in the order of all");
        named.extend(kept.iter().filter(|number| **number > MIXED));
        assert_eq!(named.len() as u64, 4 * MIXED);
    }
    let repeats = brokers.iter().map(|broker| broker.metrics("altavoz_publish_repeats_total"));
    assert_eq!(repeats.sum::<f64>(), 5.0 * MIXED as f64);
    let retries = brokers.iter().map(|broker| broker.metrics("altavoz_stream_retries_total"));
    assert_eq!(retries.sum::<f64>(), 5.0 * MIXED as f64);
}

#[test]
fn w_12_a_batch_whose_key_races_on_two_nodes_is_published_once() {
    const EACH: u64 = 300;
    let Some(cluster) = Cluster::start() else { return };
    let [a, b, c] = &cluster.brokers[..] else { panic!("three nodes") };
    for round in 1..=5 {
        let message = |at: u64| format!(r#"{{"topic":"t/{}","data":{at}}}"#, at % 2);
        let first = (round - 1) * EACH;
        let batch: Vec<String> = (first..first + EACH).map(message).collect();
        let batch = format!("[{}]", batch.join(","));
        let key = format!("batch-{round}");
        let answers = race(&[a, b], |broker| with_key(broker, &key, &batch));
        let places: Vec<Value> = answers.iter().map(place).collect();
        assert_eq!(places[0], places[1]);
        assert!(answers.iter().filter(|answer| is_replayed(answer)).count() <= 1);
        let late = with_key(c, &key, &batch);
        assert_eq!((place(&late), is_replayed(&late)), (places[0].clone(), true));
        let other = with_key(c, &format!("batch-{round}"), r#"[{"topic":"t/0","data":0}]"#);
        assert_eq!(other.status, 422, "{}", other.text());
        for broker in [a, b, c] {
            for at in 0..2 {
                let kept = history(broker, &format!("t/{at}"), round * EACH);
                let expected: Vec<u64> =
                    (0..round * EACH).filter(|number| number % 2 == at).collect();
                assert!(expected.ends_with(&kept) && kept.len() >= 100, "{kept:?}");
            }
        }
    }
}

#[test]
fn w_12_a_retry_has_the_place_of_the_first_when_the_node_that_took_it_is_killed() {
    let Some(mut cluster) = Cluster::start() else { return };
    let body = r#"{"topic":"t/3","data":7}"#;
    let named = r#"{"topic":"t/3","data":8,"msg_id":"m"}"#;
    let first = [with_key(&cluster.brokers[0], "k", body), post(&cluster.brokers[0], "", named)];
    let places = first.each_ref().map(place);
    drop(cluster.brokers.remove(0));
    let again = node(&cluster.server.url(), "a", &[]);
    again.wait_for_metric("altavoz_stream_ready", 1.0, PATIENCE);
    for broker in [&cluster.brokers[0], &again, &cluster.brokers[1]] {
        let retries = [with_key(broker, "k", body), post(broker, "", named)];
        assert_eq!(retries.each_ref().map(place), places);
        assert!(retries.iter().all(is_replayed));
        let other = with_key(broker, "k", r#"{"topic":"t/3","data":9}"#);
        assert_eq!(other.status, 422, "{}", other.text());
        assert_eq!(history(broker, "t/3", 2), [7, 8]);
    }
}

#[test]
fn w_12_whoever_got_no_answer_repeats_it_on_another_node_and_has_it_once() {
    let Some(cluster) = Cluster::start() else { return };
    let [a, b, _] = &cluster.brokers[..] else { panic!("three nodes") };
    let mut reader = client(b);
    answer(&mut reader, r#"{"id":1,"op":"subscribe","topic":"t/4"}"#);
    let body = r#"{"topic":"t/4","data":7}"#;
    assert_eq!(place(&post(a, "", r#"{"topic":"t/4","data":1}"#))["seq"], 1);
    // NATS stands still until the node gives up.
    cluster.server.signal(Signal::STOP);
    let unsure = with_key(a, "k", body);
    assert_eq!(unsure.status, 503, "{}", unsure.text());
    cluster.server.signal(Signal::CONT);
    // The nodes may have lost it meanwhile.
    let retry = |broker: &Broker| loop {
        let told = with_key(broker, "k", body);
        match told.status {
            200 => return place(&told),
            503 => thread::sleep(std::time::Duration::from_millis(50)),
            _ => panic!("{}", told.text()),
        }
    };
    let places = race(&[a, b], retry);
    assert_eq!(places[0], places[1]);
    assert_eq!(places[0]["seq"], 2);
    for broker in &cluster.brokers {
        assert_eq!(history(broker, "t/4", 2), [1, 7]);
    }
}

#[test]
fn a_msg_id_is_refused_where_there_is_no_room_to_remember_it_and_known_where_it_is() {
    let Some(server) = crate::nats::NatsServer::start() else { return };
    let urls = [server.url(), server.url(), server.url()];
    let cluster = Cluster::of(server, &urls, &["--history-total-bytes-max", "4096"]);
    let [a, b, _] = &cluster.brokers[..] else { panic!("three nodes") };
    let publish = |broker: &Broker, number: u64| {
        post(broker, "", &format!(r#"{{"topic":"t","data":1,"msg_id":"m{number}"}}"#))
    };
    let mut taken = 0;
    let refused = loop {
        let told = publish(a, taken);
        if told.status != 200 {
            break told;
        }
        taken += 1;
        assert!(taken < 1_000, "there is room for ever");
    };
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.text().contains("history_total_bytes_max"), "{}", refused.text());
    b.wait_for_metric("altavoz_stream_messages_total", taken as f64, PATIENCE);
    let (known, new) = (publish(b, 0), publish(b, taken));
    assert_eq!((place(&known)["seq"].as_u64(), is_replayed(&known)), (Some(1), true));
    assert_eq!(new.status, 503, "{}", new.text());
    assert_eq!(post(b, "", r#"{"topic":"t","data":1}"#).status, 200, "without one it is taken");
}
