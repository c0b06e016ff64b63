//! A feed that falls silent, seen by clients of both protocols.

use broker_proto::ws::Opcode;

use crate::feed::{self, publish};
use crate::support::ws_client::{PATIENCE, Received, WsClient};
use crate::viewer::{Viewer, broker_with};

const RULE: &str = "[[topic]]\nfilter = \"feed/#\"\nexpect_every_ms = 100\n";

fn silent_ms(text: &str, start: &str) -> u64 {
    let rest = text.strip_prefix(start).unwrap_or_else(|| panic!("{text}, not {start}"));
    rest.trim_end_matches('}').parse().expect("a number")
}

#[test]
fn a_silent_feed_is_stale_until_its_next_message() {
    let broker = broker_with(RULE, &["--workers", "2"]);
    let (mut early, _) =
        Viewer::subscribe(&broker, r#"{"id":1,"op":"subscribe","topic":"feed/+"}"#);
    let mut binary = WsClient::connect(broker.address(), "/ws", &["altavoz.v1.bin"])
        .expect("the broker takes a handshake");
    binary.send_frame(Opcode::Binary, b"\x82\x01\x06feed/a").expect("it lives");
    assert!(matches!(binary.receive(PATIENCE), Some(Received::Binary(_))), "the answer");
    let mut publisher = feed::connect(broker.address());
    publish(&mut publisher, "feed/a", "1");
    assert_eq!(early.next(), r#"{"topic":"feed/a","seq":1,"data":1}"#);
    let stale = r#"{"stale":{"topic":"feed/a","seq":1,"silent_ms":"#;
    assert!(silent_ms(&early.next(), stale) >= 100);
    let (mut late, _) = Viewer::subscribe(&broker, r#"{"id":1,"op":"subscribe","topic":"feed/a"}"#);
    assert!(silent_ms(&late.next(), stale) >= 100);
    publish(&mut publisher, "feed/a", "2");
    for viewer in [&mut early, &mut late] {
        assert_eq!(viewer.next(), r#"{"live":{"topic":"feed/a","seq":2}}"#);
        assert_eq!(viewer.next(), r#"{"topic":"feed/a","seq":2,"data":2}"#);
    }
    let mut next = || match binary.receive(PATIENCE) {
        Some(Received::Binary(bytes)) => bytes,
        other => panic!("expected a binary message, got {other:?}"),
    };
    assert_eq!(next(), b"\x11\x06feed/a\x011");
    assert!(next().starts_with(b"\x07\x06feed/a\x01"));
    assert_eq!(next(), b"\x08\x06feed/a\x02");
    assert_eq!(next(), b"\x11\x06feed/a\x022");
}
