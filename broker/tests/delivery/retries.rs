//! Publishes that come again with the same `msg_id`: one message, one place, whichever way they come.

use broker_proto::ws::Opcode;

use crate::support::broker::Broker;
use crate::support::http;
use crate::support::ws_client::{PATIENCE, Received, WsClient};
use crate::viewer::{Viewer, broker_with, member};

fn publish(viewer: &mut Viewer, topic: &str, data: u64, msg_id: &str) -> String {
    viewer.answer(&format!(
        r#"{{"id":2,"op":"publish","topic":"{topic}","data":{data},"msg_id":"{msg_id}"}}"#
    ))
}

fn publish_over_http(broker: &Broker, body: &str) -> String {
    let request = format!(
        "POST /api/v1/publish HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let response = http::exchange(broker.address(), request.as_bytes(), PATIENCE);
    response.expect("the broker answers").text()
}

#[test]
fn p_19_a_retry_has_the_place_of_the_first_by_whichever_connection_it_comes() {
    for settings in [["--history-messages", "100"], ["--history-messages", "0"]] {
        let broker = Broker::start(&[&["--workers", "2"][..], &settings].concat());
        let (mut viewer, _) =
            Viewer::subscribe(&broker, r#"{"id":1,"op":"subscribe","topic":"t"}"#);
        let mut first = Viewer::connect(&broker);
        let answer = publish(&mut first, "t", 1, "a");
        assert!(answer.ends_with(r#","seq":1,"level":"accepted"}}"#), "{answer}");
        publish(&mut first, "t", 2, "b");
        drop(first);
        let mut others: Vec<Viewer> = (0..6).map(|_| Viewer::connect(&broker)).collect();
        for other in &mut others {
            assert_eq!(publish(other, "t", 1, "a"), answer);
        }
        // The same id on another topic is another message.
        let elsewhere = publish(&mut others[0], "u", 1, "b");
        assert!(elsewhere.ends_with(r#","seq":1,"level":"accepted"}}"#), "{elsewhere}");
        // Over HTTP, in a batch too, where the second is new and the third repeats it.
        let epoch = member(&answer, "epoch");
        let place = |seq, more: &str| {
            format!(r#"{{"epoch":"{epoch}","seq":{seq},"level":"accepted"{more}}}"#)
        };
        let one = r#"{"topic":"t","data":1,"msg_id":"a","count":true}"#;
        assert_eq!(publish_over_http(&broker, one), place(1, r#","subscribers":1"#));
        let new = r#"{"topic":"t","data":3,"msg_id":"c"}"#;
        let batch = format!("[{one},{new},{new}]");
        let answers = [place(1, r#","subscribers":1"#), place(3, ""), place(3, "")].join(",");
        assert_eq!(publish_over_http(&broker, &batch), format!("[{answers}]"));
        // And in the binary protocol.
        let mut raw = WsClient::connect(broker.address(), "/ws", &["altavoz.v1.bin"])
            .expect("the broker takes a handshake");
        raw.send_frame(Opcode::Binary, b"\xd1\x05\x01t\x01c3").expect("it is open");
        let Some(Received::Binary(bytes)) = raw.receive(PATIENCE) else { panic!("no answer") };
        assert_eq!(
            (&bytes[..3], &bytes[bytes.len() - 2..]),
            (&b"\x82\x05\x01"[..], &b"\x03\0"[..])
        );
        publish(&mut others[0], "t", 4, "d");
        for seq in 1..=4 {
            assert_eq!(viewer.next(), format!(r#"{{"topic":"t","seq":{seq},"data":{seq}}}"#));
        }
        assert_eq!(broker.metrics("altavoz_publish_repeats_total"), 7.0);
        assert_eq!(broker.metrics("altavoz_http_replays_total"), 3.0);
    }
}

#[test]
fn an_id_is_remembered_as_long_as_the_rule_says() {
    let rules = "[[topic]]\nfilter = \"short\"\nretry_ms = 1\n\
        [[topic]]\nfilter = \"never\"\nretry_ms = 0\n";
    let broker = broker_with(rules, &["--workers", "1"]);
    let mut publisher = Viewer::connect(&broker);
    publish(&mut publisher, "short", 1, "a");
    std::thread::sleep(std::time::Duration::from_millis(20));
    let again = publish(&mut publisher, "short", 1, "a");
    assert!(again.contains(r#""seq":2,"#), "{again}");
    let refused = publish(&mut publisher, "never", 1, "a");
    assert!(
        refused.contains(r#""code":"unavailable""#) && refused.contains("retry_ms"),
        "{refused}"
    );
    let taken = publisher.answer(r#"{"id":3,"op":"publish","topic":"never","data":1}"#);
    assert!(taken.contains(r#""seq":1,"#), "{taken}");
}

/// Remembering takes memory that topics may keep: it is counted, and has an end.
#[test]
fn with_no_room_to_remember_an_id_it_is_refused() {
    let settings =
        ["--history-total-bytes-max", "4096", "--history-messages", "0", "--last-ms", "0"];
    let broker = Broker::start(&[&["--workers", "1"][..], &settings].concat());
    let mut publisher = Viewer::connect(&broker);
    let mut taken = 0;
    let refused = loop {
        let answer = publish(&mut publisher, "t", taken, &format!("id-{taken}"));
        if answer.contains(r#""error""#) {
            break answer;
        }
        taken += 1;
        assert!(taken < 1_000, "there is room for ever");
    };
    assert!(refused.contains(r#""code":"unavailable""#), "{refused}");
    assert!((20..50).contains(&taken), "{taken} were remembered");
    let again = publish(&mut publisher, "t", 0, "id-0");
    assert!(again.contains(r#""seq":1,"#), "{again}");
}
