//! Subscribers without a WebSocket, against this workspace's broker: the account closes over
//! server-sent events and polls as it does over a WebSocket, and what travelled is counted.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(dead_code, reason = "a broker tells more than is needed here")]

#[path = "support/real.rs"]
mod real;
#[path = "support/run.rs"]
mod run;

use real::RealBroker;
use run::{Run, run};
use serde_json::Value;

const USUAL: &str = "--warmup 0.2 --seconds 0.5 --threads 2 --drain 1";

fn of(run: &Run, pointer: &str) -> f64 {
    let value = run.json.pointer(pointer).and_then(Value::as_f64);
    value.unwrap_or_else(|| panic!("no number at {pointer} in {:#}", run.json))
}

#[test]
fn every_message_comes_once_and_in_order_whatever_it_comes_over() {
    let broker = RealBroker::start(&["--history-messages", "1000"]);
    let url = &broker.url();
    let all_over = |transport: &str| {
        for (scenario, flags) in [
            ("fanout", "--subscribers 40 --topics 2 --rate 200"),
            ("fanout", "--subscribers 20 --rate 1000 --burst 20 --processes 2"),
            ("notify", "--users 40 --rate 200"),
            ("ticker", "--clients 20 --symbols 12 --watch 4 --rate 200"),
        ] {
            let flags = format!("{flags} --transport {transport}");
            let run = run(scenario, url, USUAL, &flags);
            assert_eq!(run.code, 0, "{scenario} {flags}");
            let [expected, delivered, lost, duplicated, out_of_order] = run.account();
            assert!(expected > 0, "{scenario} {flags}");
            assert_eq!([delivered, lost, duplicated, out_of_order], [expected, 0, 0, 0], "{flags}");
            assert_eq!((run.of("seq_breaks"), run.of("strange")), (0, 0), "{scenario} {flags}");
            // Each delivery brings the payload at least.
            let bytes = of(&run, "/wire/traffic/received_bytes_per_delivery");
            assert!(bytes > of(&run, "/plan/payload_bytes"), "{scenario} {flags}: {bytes}");
            let requests = of(&run, "/wire/traffic/requests");
            assert_eq!(requests > 0.0, transport.starts_with("poll"), "{scenario} {flags}");
        }
    };
    std::thread::scope(|scope| {
        for transport in ["ws", "sse", "poll --poll-ms 100"] {
            scope.spawn(move || all_over(transport));
        }
    });
}

#[test]
fn a_poll_that_asks_for_too_few_asks_again() {
    let broker = RealBroker::start(&["--history-messages", "1000"]);
    let flags = "--subscribers 10 --rate 400 --transport poll --poll-ms 200 --poll-limit 1";
    let run = run("fanout", &broker.url(), USUAL, flags);
    assert_eq!((run.code, run.of("lost")), (0, 0));
}

#[test]
fn a_connection_for_polls_that_is_made_anew_is_nobody_who_came_back() {
    let broker = RealBroker::start(&["--handshake-timeout-ms", "300"]);
    let flags = "--subscribers 4 --rate 10 --seconds 2 --transport poll --poll-ms 1500";
    let run = run("fanout", &broker.url(), USUAL, flags);
    assert!(of(&run, "/wire/traffic/reconnects") > 0.0);
    assert_eq!(of(&run, "/connections/rejoined"), 0.0);
}

#[test]
fn what_is_no_longer_kept_when_a_poll_comes_is_lost_and_said_to_be() {
    let broker = RealBroker::start(&["--history-messages", "5"]);
    let flags = "--subscribers 10 --rate 400 --transport poll --poll-ms 300";
    let run = run("fanout", &broker.url(), USUAL, flags);
    assert_eq!(run.code, 5);
    assert!(run.of("lost") > 0 && run.of("seq_breaks") > 0);
    assert_eq!(run.of("delivered") + run.of("lost"), run.of("expected"));
}

#[test]
fn the_newest_alone_can_be_had_as_events() {
    let broker = RealBroker::start(&[]);
    let flags = "--clients 20 --symbols 4 --watch 4 --zipf 0 --rate 400 --latest --max-rate 10 \
                 --transport sse";
    let run = run("ticker", &broker.url(), USUAL, flags);
    assert_eq!((run.code, run.of("lost")), (0, 0));
    assert!(run.of("conflated") > run.of("delivered"));
}

#[test]
fn a_broker_that_refuses_is_told_apart_from_one_that_is_not_there() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "a secret that is good for tests!").unwrap();
    let broker = RealBroker::start(&["--auth-hmac-secret-file", file.path().to_str().unwrap()]);
    for transport in ["sse", "poll"] {
        let flags = format!("--subscribers 3 --transport {transport}");
        let run = run("fanout", &broker.url(), USUAL, &flags);
        assert_eq!(run.code, 3);
        assert!(run.json["connections"]["failed"].to_string().contains("HTTP 401"), "{}", run.out);
    }
}

#[test]
fn a_transport_is_refused_where_it_makes_no_sense() {
    for (scenario, flags, why) in [
        ("churn", "--transport sse", "is for fanout, notify and ticker"),
        ("connect", "--transport poll", "is for fanout, notify and ticker"),
        ("fanout", "--transport sse --protocol bin", "is for --protocol json"),
        ("ticker", "--transport poll --latest", "--latest is for ws and sse"),
        ("ticker", "--transport sse --watch 33", "at most 32 topics"),
    ] {
        let run = run(scenario, "ws://127.0.0.1:1/ws", "", flags);
        assert_eq!(run.code, 2, "{scenario} {flags}");
        assert!(run.err.contains(why), "{scenario} {flags}: {}", run.err);
    }
}
