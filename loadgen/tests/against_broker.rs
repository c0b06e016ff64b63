//! The scenarios against this workspace's broker: everything must arrive, and the account must
//! hold what the flags say.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/real.rs"]
mod real;

use std::process::Command;

use real::RealBroker;
use serde_json::Value;

const LOADGEN: &str = env!("CARGO_BIN_EXE_loadgen");

/// A second of publishing; delivery is what is tested, whatever else the machine has to do.
const USUAL: &str = "--warmup 0.3 --seconds 0.7 --threads 2 --allow-invalid";

/// Runs a scenario with these flags and returns its result, which must be good.
fn run(broker: &RealBroker, flags: &str) -> Value {
    let file = tempfile::NamedTempFile::new().unwrap();
    let output = Command::new(LOADGEN)
        .args(flags.split_whitespace())
        .args(["--url", &broker.url()])
        .arg("--json")
        .arg(file.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{flags}\n{text}");
    serde_json::from_slice(&std::fs::read(file.path()).unwrap()).unwrap()
}

fn number(result: &Value, pointer: &str) -> u64 {
    let value = result.pointer(pointer).and_then(Value::as_u64);
    value.unwrap_or_else(|| panic!("no number at {pointer} in {result:#}"))
}

#[test]
fn every_connection_of_connect_is_held_and_the_brokers_memory_is_shared_out() {
    let broker = RealBroker::start(&[]);
    let flags = format!(
        "connect --connections 300 --seconds 0.5 --allow-invalid --target-pid {}",
        broker.pid()
    );
    let result = run(&broker, &flags);
    assert_eq!(number(&result, "/connections/ready"), 300);
    assert_eq!(number(&result, "/connections/closed_cleanly"), 300);
    assert_eq!(number(&result, "/messages/sent"), 0);
    let per_connection = result.pointer("/target/process/rss_bytes_per_connection");
    assert!(per_connection.is_some_and(Value::is_number), "{result:#}");
    let own = result.pointer("/generator/rss_bytes_per_connection");
    assert!(own.is_some_and(Value::is_number), "{result:#}");
}

/// The broker asks for a token, and everybody has one; without, no run begins.
#[test]
fn with_a_token_a_run_is_let_in_and_without_it_is_not() {
    let secret = "a secret that is good for tests!";
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), secret).unwrap();
    let broker = RealBroker::start(&["--auth-hmac-secret-file", file.path().to_str().unwrap()]);
    let claims = serde_json::json!({
        "sub": "loadgen", "exp": 4_000_000_000_u64, "sub_allow": ["#"], "pub_allow": ["#"],
    });
    let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
    let token = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap();
    for protocol in ["json", "bin"] {
        let flags = format!("fanout --subscribers 20 --rate 100 --protocol {protocol} {USUAL}");
        let result = run(&broker, &format!("{flags} --token {token}"));
        assert_eq!(number(&result, "/deliveries/delivered"), 1_400 + 600, "{protocol}");
        let mut without = Command::new(LOADGEN);
        without.args(flags.split_whitespace()).args(["--url", &broker.url()]);
        let output = without.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert_ne!(output.status.code(), Some(0), "{said}");
        assert!(said.contains("unauthorized") && !said.contains(&token), "{said}");
    }
}

#[test]
fn every_message_of_notify_reaches_its_one_user() {
    let broker = RealBroker::start(&[]);
    for protocol in ["json", "bin"] {
        let result = run(
            &broker,
            &format!("notify --users 200 --publishers 3 --rate 300 --protocol {protocol} {USUAL}"),
        );
        assert_eq!(number(&result, "/messages/sent"), 300, "{protocol}");
        assert_eq!(number(&result, "/deliveries/expected"), 300, "{protocol}");
        assert_eq!(number(&result, "/deliveries/delivered"), 300, "{protocol}");
        assert_eq!(number(&result, "/plan/topics"), 200);
    }
}

#[test]
fn every_update_of_ticker_reaches_all_who_watch_its_symbol() {
    let broker = RealBroker::start(&[]);
    for protocol in ["json", "bin"] {
        // 60 clients watch 5 of 20 symbols each: 15 clients per symbol.
        let result = run(
            &broker,
            &format!(
                "ticker --clients 60 --symbols 20 --watch 5 --publishers 3 --rate 300 \
                 --protocol {protocol} {USUAL}"
            ),
        );
        let sent = number(&result, "/messages/sent");
        assert_eq!(number(&result, "/messages/unsent"), 0, "{protocol}");
        assert_eq!(number(&result, "/deliveries/expected"), 15 * sent, "{protocol}");
        assert_eq!(number(&result, "/deliveries/delivered"), 15 * sent, "{protocol}");
        assert_eq!(number(&result, "/deliveries/strange"), 0, "{protocol}");
    }
}

#[test]
fn the_same_seed_gives_the_same_updates_and_constant_arrivals_are_as_many_as_asked() {
    let broker = RealBroker::start(&[]);
    let sent = |flags: &str| {
        let flags = format!("ticker --clients 10 --rate 200 {flags} {USUAL}");
        number(&run(&broker, &flags), "/messages/sent")
    };
    assert_eq!(sent("--seed 3"), sent("--seed 3"));
    assert_eq!(sent("--arrivals constant --zipf 0"), 200);
}

#[test]
fn what_churning_subscribers_miss_is_accounted_for_apart_and_nothing_is_lost() {
    let broker = RealBroker::start(&[]);
    for protocol in ["json", "bin"] {
        let result = run(
            &broker,
            &format!(
                "churn --subscribers 40 --percent 50 --leaves 60 --away 0.1 --topics 2 --rate 400 \
                 --protocol {protocol} {USUAL}"
            ),
        );
        let of = |name: &str| number(&result, &format!("/deliveries/{name}"));
        assert_eq!(of("expected"), 20 * 400, "{protocol}");
        assert_eq!(of("lost"), 0, "{protocol}");
        let missed = of("missed_while_disconnected");
        assert!(missed > 0, "{protocol}");
        assert_eq!(of("delivered") + missed, of("expected"), "{protocol}");
        assert!(number(&result, "/connections/left") > 20, "{protocol}");
        assert_eq!(number(&result, "/connections/ready"), 41, "{protocol}");
    }
}

#[test]
fn slow_readers_are_closed_with_what_they_got_whole_and_the_others_get_everything() {
    let limits = ["--backlog-bytes-max=16384", "--message-bytes-max=16384", "--overload=close"];
    let broker = RealBroker::start(&limits);
    for (protocol, speed) in [("json", 0), ("bin", 20_000)] {
        let result = run(
            &broker,
            &format!(
                "slow --subscribers 20 --slow-share 20 --slow-bytes-per-second {speed} \
                 --size 8192 --rate 600 --protocol {protocol} {USUAL}"
            ),
        );
        let of = |name: &str| number(&result, &format!("/deliveries/{name}"));
        assert_eq!((of("expected"), of("delivered")), (16 * 600, 16 * 600), "{protocol}");
        let slow = |name: &str| number(&result, &format!("/slow/{name}"));
        assert_eq!((slow("subscribers"), slow("lost"), slow("seq_breaks")), (4, 0, 0));
        assert_eq!(slow("delivered") + slow("after_close"), 4 * 600, "{protocol}");
        assert!(slow("after_close") > 0, "{protocol}: nobody was too slow");
        let closes = result.pointer("/slow/closed_by_server").and_then(Value::as_object).unwrap();
        let told = closes.keys().filter(|why| why.starts_with("4408 too slow, last seq N of "));
        assert_eq!(told.count(), closes.len(), "{protocol}: {closes:?}");
    }
}

#[test]
fn slow_readers_that_are_given_the_newest_alone_are_told_what_was_left_out() {
    let limits = ["--backlog-bytes-max=65536", "--message-bytes-max=16384"];
    let broker = RealBroker::start(&limits);
    for protocol in ["json", "bin"] {
        let result = run(
            &broker,
            &format!(
                "slow --subscribers 20 --slow-share 20 --slow-bytes-per-second 20000 --size 8192 \
                 --rate 600 --protocol {protocol} {USUAL}"
            ),
        );
        let slow = |name: &str| number(&result, &format!("/slow/{name}"));
        assert_eq!((slow("lost"), slow("seq_breaks"), slow("gap_notices")), (0, 0, 0));
        assert!(slow("left_out_with_notice") > 0, "{protocol}: nobody was too slow");
        let all = slow("delivered") + slow("left_out_with_notice") + slow("after_close");
        assert_eq!(all, 4 * 600, "{protocol}");
    }
}

#[test]
fn who_asks_for_the_newest_alone_gets_it_at_most_at_the_rate_asked_for_and_the_last_value() {
    let broker = RealBroker::start(&[]);
    for protocol in ["json", "bin"] {
        // 40 clients watch 5 of 10 symbols each, at 40 updates a second of each, 10 of them wanted.
        let result = run(
            &broker,
            &format!(
                "ticker --clients 40 --symbols 10 --watch 5 --rate 400 --zipf 0 --latest \
                 --max-rate 10 --protocol {protocol} {USUAL}"
            ),
        );
        let of = |name: &str| number(&result, &format!("/deliveries/{name}"));
        assert_eq!((of("lost"), of("strange"), of("out_of_order")), (0, 0, 0), "{protocol}");
        assert_eq!(of("delivered") + of("conflated"), of("expected"), "{protocol}");
        assert!(of("conflated") > of("delivered"), "{protocol}: {result:#}");
        assert_eq!(number(&result, "/latest/over_rate"), 0);
        assert_eq!(result["latest"]["late"], false);
    }
}

#[test]
fn panels_that_are_opened_again_begin_with_all_current_values() {
    let broker = RealBroker::start(&[]);
    for protocol in ["json", "bin"] {
        let result = run(
            &broker,
            &format!(
                "dashboard --users 20 --hosts 10 --rate 500 --flips 50 --away 0.1 --latest-share 0 \
                 --warmup 0.4 --seconds 1 --threads 2 --allow-invalid --protocol {protocol}"
            ),
        );
        let of = |name: &str| number(&result, &format!("/deliveries/{name}"));
        let accounted = of("delivered") + of("missed_while_disconnected");
        assert_eq!((of("lost"), accounted), (0, of("expected")), "{protocol}");
        assert!(of("missed_while_disconnected") > 0, "{protocol}");
        let groups = |name: &str| number(&result, &format!("/groups/{name}"));
        assert!(groups("opened") > 30, "{protocol}");
        assert_eq!(number(&result, "/groups/snapshot_us/count"), groups("opened"));
        assert_eq!((groups("without_value"), groups("after_end")), (0, 0), "{protocol}");
    }
}

#[test]
fn members_of_rooms_get_everything_and_see_each_other_come_and_go() {
    let broker = RealBroker::start(&["--presence=members"]);
    for protocol in ["json", "bin"] {
        // No room has more than the 50 members of whom each move is told at once.
        let result = run(
            &broker,
            &format!(
                "chat --users 60 --rooms 20 --member-of 2 --rate 200 --movers 20 --leaves 40 \
                 --away 0.2 --warmup 0.2 --seconds 1 --threads 2 --allow-invalid \
                 --protocol {protocol}"
            ),
        );
        let of = |name: &str| number(&result, &format!("/deliveries/{name}"));
        let accounted = of("delivered") + of("missed_while_disconnected");
        assert_eq!((of("lost"), accounted), (0, of("expected")), "{protocol}");
        for what in ["joins", "leaves"] {
            let seen = |name: &str| number(&result, &format!("/presence/{what}/{name}"));
            assert!(seen("happened") > 20, "{protocol}: {what}");
            assert_eq!(seen("seen"), seen("expected"), "{protocol}: {what}");
        }
    }
}
