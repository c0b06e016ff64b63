//! Coming back: what was missed, then what is live, without a seam.

use std::time::Duration;

use broker_proto::ws::Opcode;

use crate::account::Account;
use crate::feed::{self, filler, publish};
use crate::support::broker::Broker;
use crate::support::ws_client::{PATIENCE, Received, WsClient};
use crate::viewer::{LiveFeed, Viewer, member, publish_all};

fn since(topic: &str, epoch: &str, seq: u64) -> String {
    format!(
        r#"{{"id":1,"op":"subscribe","topic":"{topic}","since":{{"epoch":"{epoch}","seq":{seq}}}}}"#
    )
}

/// It leaves and comes back in the middle of the stream, to whichever worker takes it.
fn come_and_go(workers: &str) {
    const ROUNDS: u64 = 12;
    let broker = Broker::start(&[
        "--workers",
        workers,
        "--pin",
        "false",
        "--history-messages",
        "100000",
        "--history-bytes",
        "67108864",
    ]);
    let (_, answer) = Viewer::subscribe(&broker, r#"{"id":1,"op":"subscribe","topic":"t"}"#);
    let epoch = member(&answer, "epoch");
    let live = LiveFeed::start(&broker, "t", Duration::from_millis(1));
    let mut account = Account::after("t", 0);
    for _ in 0..ROUNDS {
        let (mut viewer, answer) =
            Viewer::subscribe(&broker, &since("t", &epoch, account.last("t")));
        assert!(answer.ends_with(r#","recovered":true}}"#), "{answer}");
        let until = account.last("t") + 50;
        account.read_to(&mut viewer, "t", until);
    }
    let (mut viewer, _) = Viewer::subscribe(&broker, &since("t", &epoch, account.last("t")));
    let last = live.stop();
    account.read_to(&mut viewer, "t", last);
    assert_eq!((account.delivered, account.passed_over), (last, 0));
}

#[test]
fn whoever_comes_back_has_no_seam_between_the_past_and_the_present() {
    come_and_go("1");
}

#[test]
fn it_has_none_on_two_workers_either() {
    come_and_go("2");
}

#[test]
fn what_is_no_longer_kept_is_told_of_first() {
    let broker = Broker::start(&["--workers", "1", "--history-messages", "10"]);
    let mut publisher = feed::connect(broker.address());
    publish_all(&mut publisher, "t", 1..=30);
    let (_, answer) = Viewer::subscribe(&broker, r#"{"id":1,"op":"subscribe","topic":"t"}"#);
    let epoch = member(&answer, "epoch");

    let (mut viewer, answer) = Viewer::subscribe(&broker, &since("t", &epoch, 5));
    let expected =
        format!(r#"{{"id":1,"ok":{{"topic":"t","epoch":"{epoch}","seq":30,"recovered":false}}}}"#);
    assert_eq!(answer, expected);
    let gap = r#"{"gap":{"topic":"t","from":6,"to":20,"reason":"expired"}}"#;
    assert_eq!(viewer.next(), gap);
    for seq in 21..=30 {
        assert_eq!(viewer.next(), format!(r#"{{"topic":"t","seq":{seq},"data":{seq}}}"#));
    }
    publish(&mut publisher, "t", "31");
    assert_eq!(viewer.next(), r#"{"topic":"t","seq":31,"data":31}"#);

    // The oldest that is kept is the next: nothing is missing.
    let (mut viewer, answer) = Viewer::subscribe(&broker, &since("t", &epoch, 21));
    assert!(answer.ends_with(r#","seq":31,"recovered":true}}"#), "{answer}");
    assert_eq!(viewer.next(), r#"{"topic":"t","seq":22,"data":22}"#);
    // And one before it is missing.
    let (mut viewer, answer) = Viewer::subscribe(&broker, &since("t", &epoch, 20));
    assert!(answer.ends_with(r#","seq":31,"recovered":false}}"#), "{answer}");
    let gap = r#"{"gap":{"topic":"t","from":21,"to":21,"reason":"expired"}}"#;
    assert_eq!(viewer.next(), gap);
    assert_eq!(viewer.next(), r#"{"topic":"t","seq":22,"data":22}"#);
}

#[test]
fn where_nothing_is_kept_all_that_was_missed_is_told_of() {
    let broker = Broker::start(&["--workers", "1", "--history-messages", "0", "--last-ms", "0"]);
    let (_witness, answer) = Viewer::subscribe(&broker, r#"{"id":1,"op":"subscribe","topic":"t"}"#);
    let epoch = member(&answer, "epoch");
    let mut publisher = feed::connect(broker.address());
    publish_all(&mut publisher, "t", 1..=7);
    let (mut viewer, answer) = Viewer::subscribe(&broker, &since("t", &epoch, 2));
    assert!(answer.ends_with(r#","seq":7,"recovered":false}}"#), "{answer}");
    publish(&mut publisher, "t", "8");
    let gap = r#"{"gap":{"topic":"t","from":3,"to":7,"reason":"expired"}}"#;
    assert_eq!(viewer.next(), gap);
    assert_eq!(viewer.next(), r#"{"topic":"t","seq":8,"data":8}"#);
    // Whoever has all has missed nothing, though nothing is kept.
    let (_, answer) = Viewer::subscribe(&broker, &since("t", &epoch, 8));
    assert!(answer.ends_with(r#","seq":8,"recovered":true}}"#), "{answer}");
}

/// It does not fit into one page, nor into what may wait for a socket.
#[test]
fn a_long_history_comes_in_pages_between_which_others_are_served() {
    const KEPT: u64 = 5_000;
    let broker = Broker::start(&[
        "--workers",
        "2",
        "--pin",
        "false",
        "--history-messages",
        "100000",
        "--history-bytes",
        "67108864",
        "--backlog-bytes-max",
        "65536",
    ]);
    let (_, answer) = Viewer::subscribe(&broker, r#"{"id":1,"op":"subscribe","topic":"t"}"#);
    let epoch = member(&answer, "epoch");
    let mut publisher = feed::connect(broker.address());
    publish_all(&mut publisher, "t", 1..=KEPT);
    let live = LiveFeed::start(&broker, "t", Duration::from_millis(1));
    let mut account = Account::after("t", 0);
    let (mut viewer, answer) = Viewer::subscribe(&broker, &since("t", &epoch, 0));
    assert!(answer.ends_with(r#","recovered":true}}"#), "{answer}");
    account.read_to(&mut viewer, "t", KEPT + 100);
    let last = live.stop();
    account.read_to(&mut viewer, "t", last);
    assert_eq!((account.delivered, account.passed_over), (last, 0));
    assert_eq!(account.modes, Vec::<String>::new());
}

#[test]
fn history_tells_the_newest_that_are_kept() {
    let broker = Broker::start(&["--workers", "1", "--history-messages", "10"]);
    let mut publisher = feed::connect(broker.address());
    publish_all(&mut publisher, "t", 1..=30);
    let (mut viewer, answer) =
        Viewer::subscribe(&broker, r#"{"id":1,"op":"subscribe","topic":"t"}"#);
    let epoch = member(&answer, "epoch");
    let answer = viewer.answer(r#"{"id":2,"op":"history","topic":"t","limit":2}"#);
    let messages = r#"[{"seq":29,"data":29},{"seq":30,"data":30}]"#;
    let expected = format!(
        r#"{{"id":2,"ok":{{"topic":"t","epoch":"{epoch}","seq":30,"messages":{messages}}}}}"#
    );
    assert_eq!(answer, expected);
    let answer = viewer.answer(r#"{"id":3,"op":"history","topic":"t"}"#);
    assert!(answer.contains(r#""messages":[{"seq":21,"data":21},"#), "{answer}");
}

/// A client of the binary protocol comes back, byte by byte.
#[test]
fn the_binary_protocol_recovers_as_well() {
    let broker = Broker::start(&["--workers", "1"]);
    let mut publisher = feed::connect(broker.address());
    publish_all(&mut publisher, "t", 1..=4);
    let (_, answer) = Viewer::subscribe(&broker, r#"{"id":1,"op":"subscribe","topic":"t"}"#);
    let epoch = member(&answer, "epoch");
    let mut client = WsClient::connect(broker.address(), "/ws", &["altavoz.v1.bin"])
        .expect("the broker takes a handshake");
    let binary = |client: &mut WsClient| match client.receive(PATIENCE) {
        Some(Received::Binary(bytes)) => bytes,
        other => panic!("expected a binary message, got {other:?}"),
    };
    let options = format!(r#"{{"since":{{"epoch":"{epoch}","seq":2}}}}"#);
    let command = [&b"\x82\x04\x01t"[..], options.as_bytes()].concat();
    client.send_frame(Opcode::Binary, &command).expect("it is open");
    let answer = binary(&mut client);
    // Success of 4, a subscribe to `t`, with a position, and recovered; then epoch and seq 4.
    assert!(answer.starts_with(b"\x82\x04\x02\x01t\x07"), "{answer:02x?}");
    assert!(answer.ends_with(b"\x04"), "{answer:02x?}");
    assert_eq!(binary(&mut client), b"\x11\x01t\x033");
    assert_eq!(binary(&mut client), b"\x11\x01t\x044");
    publish(&mut publisher, "t", "5");
    assert_eq!(binary(&mut client), b"\x11\x01t\x055");
    // A position that is no longer there, of a numbering that never was.
    client
        .send_frame(Opcode::Binary, b"\x82\x05\x01t{\"since\":{\"epoch\":\"1\",\"seq\":4}}")
        .expect("it is open");
    let answer = binary(&mut client);
    assert!(answer.starts_with(b"\x82\x05\x02\x01t\x03"), "{answer:02x?}");
}

/// It asks for all of it and does not read; meanwhile the topic goes on, and forgets.
#[test]
fn what_gets_too_old_while_a_slow_client_catches_up_is_told_of() {
    const KEPT: u64 = 200;
    let _alone = feed::alone();
    let broker = Broker::start(&[
        "--workers",
        "1",
        "--history-messages",
        &KEPT.to_string(),
        "--history-bytes",
        "67108864",
    ]);
    let (_, answer) = Viewer::subscribe(&broker, r#"{"id":1,"op":"subscribe","topic":"t"}"#);
    let epoch = member(&answer, "epoch");
    let mut publisher = feed::connect(broker.address());
    let data = filler(50_000);
    for _ in 0..KEPT {
        publish(&mut publisher, "t", &data);
    }
    let mut viewer = Viewer::connect(&broker);
    let socket = socket2::SockRef::from(viewer.client().stream());
    socket.set_recv_buffer_size(16 * 1024).expect("the socket is open");
    let answer = viewer.answer(&since("t", &epoch, 0));
    assert!(answer.ends_with(r#","recovered":true}}"#), "{answer}");
    let mut last = 0;
    for _ in 0..KEPT + 50 {
        last = publish(&mut publisher, "t", &data);
    }
    let mut account = Account::after("t", 0);
    account.read_to(&mut viewer, "t", last);
    assert!(account.passed_over > 0, "nothing got too old");
    assert!(account.reasons.iter().any(|reason| reason == "expired"), "{:?}", account.reasons);
    assert_eq!(account.delivered + account.passed_over, last);
    let stats = viewer.stats();
    for text in viewer.early() {
        account.enter(&text);
    }
    assert_eq!((stats.sent, stats.pending), (account.delivered, 0), "{stats:?}");
}

#[test]
fn in_mode_latest_only_the_newest_of_what_was_missed_comes() {
    let broker = Broker::start(&["--workers", "1"]);
    let mut publisher = feed::connect(broker.address());
    publish_all(&mut publisher, "t", 1..=9);
    let (_, answer) = Viewer::subscribe(&broker, r#"{"id":1,"op":"subscribe","topic":"t"}"#);
    let epoch = member(&answer, "epoch");
    let latest = |seq| since("t", &epoch, seq).replace(r#""since""#, r#""mode":"latest","since""#);
    let (mut viewer, answer) = Viewer::subscribe(&broker, &latest(4));
    assert!(answer.ends_with(r#","seq":9,"recovered":true}}"#), "{answer}");
    assert_eq!(viewer.next(), r#"{"topic":"t","seq":9,"data":9}"#);
    // Whoever has it gets nothing.
    let (mut other, answer) = Viewer::subscribe(&broker, &latest(9));
    assert!(answer.ends_with(r#","seq":9,"recovered":true}}"#), "{answer}");
    publish(&mut publisher, "t", "10");
    for viewer in [&mut viewer, &mut other] {
        assert_eq!(viewer.next(), r#"{"topic":"t","seq":10,"data":10}"#);
    }
}
