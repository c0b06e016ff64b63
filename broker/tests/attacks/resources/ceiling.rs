//! Memory that runs short in all (R-03): what is given up first, second and third, and that it
//! never comes to an abort. And the number of connections of one address.

use std::time::{Duration, Instant};

use crate::guard::{attack, attack_alone, beside_others, closed, counted, refused};
use crate::publish::feed::{await_metric, connect, filler, publish_frame, subscriber, sync};
use crate::support::broker::Broker;
use crate::support::ws_client::{PATIENCE, Received, WsClient};

/// Messages of 60 KiB on so many topics, not faster than memory is looked at.
fn publish_much(client: &mut WsClient, topics: usize, each: usize) {
    let data = filler(60 * 1024);
    for message in 0..topics * each {
        let topic = format!("t/{}", message % topics);
        client.send_raw(&publish_frame(&topic, &data)).expect("it is read");
        if message % 20 == 19 {
            sync(client);
            std::thread::sleep(Duration::from_millis(30));
        }
    }
    sync(client);
}

fn may_connect(broker: &Broker) -> bool {
    WsClient::connect(broker.address(), "/ws", &["altavoz.v1.json"]).is_ok()
}

#[test]
fn r_03_new_clients_are_refused_and_histories_given_up_until_there_is_room() {
    let short = ["--history-ms", "3000", "--last-ms", "3000", "--topic-linger-ms", "100"];
    attack_alone(&[&short[..], &["--memory-bytes-max", "33554432"]].concat(), |broker, _| {
        let mut publisher = connect(broker.address());
        let deadline = Instant::now() + PATIENCE;
        // Every topic may keep a MiB, so this would be 60 MiB.
        while may_connect(broker) {
            assert!(Instant::now() < deadline, "it lets everybody in: {}", broker.stderr());
            publish_much(&mut publisher, 60, 2);
        }
        let log = |step: &str| broker.stderr().contains(&format!(r#""step":"{step}""#));
        while !(log("trim") && log("none")) {
            assert!(Instant::now() < deadline, "{}", broker.stderr());
            publish_much(&mut publisher, 60, 1);
            std::thread::sleep(Duration::from_millis(20));
        }
        drop(publisher);
        while !may_connect(broker) {
            assert!(Instant::now() < deadline, "it lets nobody in: {}", broker.stderr());
            std::thread::sleep(Duration::from_millis(50));
        }
        [refused(503, 1).at_least()]
    });
}

#[test]
fn r_03_the_largest_backlogs_are_cut_before_memory_is_at_its_end() {
    let wide = ["--backlog-bytes-max", "1073741824", "--overload", "close"];
    let keep_nothing = ["--history-messages", "0", "--last-ms", "0"];
    let ceiling = ["--memory-bytes-max", "33554432", "--write-timeout-ms", "60000"];
    attack_alone(&[&wide[..], &keep_nothing, &ceiling].concat(), |broker, _| {
        let mut slow = subscriber(broker.address(), "t/0");
        let mut publisher = connect(broker.address());
        let overloaded = r#"altavoz_closes_total{reason="overloaded"}"#;
        let deadline = Instant::now() + PATIENCE;
        while !broker.stderr().contains(r#""code":1013"#) {
            assert!(Instant::now() < deadline, "it is not cut: {}", broker.stderr());
            publish_much(&mut publisher, 1, 20);
        }
        while matches!(slow.receive(PATIENCE), Some(Received::Text(_) | Received::Ping(_))) {}
        drop(slow);
        await_metric(broker, overloaded, |count| count == 1.0);
        // Until there is room again, the bystander that is to come is refused.
        await_metric(broker, "altavoz_memory_pressure", |pressure| pressure == 0.0);
        [closed("overloaded", 1013, 1)]
    });
}

#[test]
fn r_06_one_address_has_so_many_connections_and_others_have_theirs() {
    let _room = beside_others();
    let limits = ["--connections-per-address-max", "3", "--limit-loopback"];
    let broker = Broker::start(&limits);
    let held: Vec<WsClient> = (0..3).map(|_| connect(broker.address())).collect();
    let refusal = crate::support::http::get(broker.address(), "/healthz").expect("an answer");
    assert_eq!((refusal.status, refusal.header("Retry-After")), (429, Some("1")));
    drop(held);
    let deadline = Instant::now() + PATIENCE;
    while !may_connect(&broker) {
        assert!(Instant::now() < deadline, "what was given back does not count");
    }
}

#[test]
fn p_11_who_publishes_more_than_allowed_is_told_and_harms_nobody() {
    attack(&["--publishes-per-second-max", "200"], |broker| {
        let mut client = connect(broker.address());
        let mut watcher = subscriber(broker.address(), "flood");
        let command = r#"{"id":1,"op":"publish","topic":"flood","data":1}"#;
        let answers: Vec<String> = (0..1_000).map(|_| client.command(command)).collect();
        let ok = answers.iter().filter(|text| text.contains(r#""ok""#)).count();
        let limited = answers.iter().filter(|text| text.contains("rate_limited")).count();
        assert!(ok >= 400 && limited > 0 && ok + limited == 1_000, "{ok} {limited}");
        for seq in 1..=ok {
            let message = format!(r#"{{"topic":"flood","seq":{seq},"data":1}}"#);
            assert_eq!(watcher.receive_text(), message);
        }
        [counted("altavoz_command_errors_total", limited)]
    });
}
