//! Compressed messages from outside: everyone gets the same, compressed or not, and a message is
//! compressed once for all.

#[path = "support/support.rs"]
mod support;

use std::fmt::Write as _;

use broker_proto::ws::deflate::{Offer, Terms, WindowBits};
use support::broker::Broker;
use support::ws_client::{PATIENCE, Received, WsClient};

const JSON: &str = "altavoz.v1.json";
const BIN: &str = "altavoz.v1.bin";
const SUBSCRIBE: &str = r#"{"id":1,"op":"subscribe","topic":"t"}"#;

fn subscriber(broker: &Broker, offer: Option<Offer>) -> WsClient {
    let client = match offer {
        Some(offer) => WsClient::connect_deflated(broker.address(), "/ws", &[JSON], offer),
        None => WsClient::connect(broker.address(), "/ws", &[JSON]),
    };
    let mut client = client.expect("it upgrades");
    assert!(client.command(SUBSCRIBE).contains(r#""ok""#));
    client
}

/// JSON of a few kilobytes that is different for every seed, and like what dashboards get.
fn table(seed: u32, rows: u32) -> String {
    let mut text = String::from("[");
    for row in 0..rows {
        let n = (seed + 1).wrapping_mul(2_654_435_761).wrapping_add(row * 40_503);
        let comma = if row == 0 { "" } else { "," };
        write!(text, r#"{comma}{{"symbol":"S{}","price":{}.{:02}}}"#, row, n % 9000, n % 97)
            .expect("writing to memory does not fail");
    }
    text + "]"
}

#[test]
fn everyone_gets_the_same_and_each_message_is_compressed_once() {
    const MESSAGES: u32 = 20;
    let broker = Broker::start(&["--workers", "2", "--pin", "false", "--deflate"]);
    let small = Offer {
        server: Terms { no_context_takeover: false, window_bits_max: WindowBits::new(9) },
        ..Offer::BROWSER
    };
    let offers = [Some(Offer::BROWSER); 6].into_iter().chain([None, None, Some(small)]);
    let mut subscribers: Vec<WsClient> = offers.map(|offer| subscriber(&broker, offer)).collect();
    assert!(subscribers[8].is_deflated(), "a small window can be agreed on too");
    let mut publisher = WsClient::connect(broker.address(), "/ws", &[JSON]).unwrap();
    let (mut expected, mut compressed) = (Vec::new(), 0);
    for seq in 1..=MESSAGES {
        // Of two, one is worth it.
        let data = if seq % 2 == 0 { table(seq, 60) } else { "7".to_owned() };
        publisher.send_text(&format!(r#"{{"op":"publish","topic":"t","data":{data}}}"#)).unwrap();
        let message = format!(r#"{{"topic":"t","seq":{seq},"data":{data}}}"#);
        compressed += if seq % 2 == 0 { message.len() } else { 0 };
        expected.push(message);
    }
    for subscriber in &mut subscribers {
        for message in &expected {
            assert_eq!(&subscriber.receive_text(), message);
        }
    }
    let (before, after) = ("altavoz_deflate_in_bytes_total", "altavoz_deflate_out_bytes_total");
    broker.wait_for_metric(before, compressed as f64, PATIENCE);
    let ratio = broker.metrics(before) / broker.metrics(after);
    assert!(ratio > 2.0, "only to 1/{ratio}");
}

#[test]
fn the_binary_protocol_is_compressed_likewise() {
    let broker = Broker::start(&["--workers", "1", "--deflate"]);
    let client = WsClient::connect_deflated(broker.address(), "/ws", &[BIN], Offer::BROWSER);
    let mut client = client.unwrap();
    let mut publisher = WsClient::connect(broker.address(), "/ws", &[JSON]).unwrap();
    // Subscribe, id 1, to `t`, and what comes first is its answer.
    let mut command = Vec::new();
    let filter = broker_proto::topic::Filter::new("t").unwrap();
    let options = broker_proto::command::SubscribeOptions::default();
    let request = broker_proto::command::Command::Subscribe { filter, options };
    broker_proto::bin::encode_command(&mut command, Some(1), &request);
    client.send_frame(broker_proto::ws::Opcode::Binary, &command).unwrap();
    assert!(matches!(client.receive(PATIENCE), Some(Received::Binary(_))));
    let data = table(1, 60);
    publisher.send_text(&format!(r#"{{"op":"publish","topic":"t","data":{data}}}"#)).unwrap();
    let Some(Received::Binary(message)) = client.receive(PATIENCE) else { panic!("no message") };
    assert!(message.ends_with(data.as_bytes()));
}

#[test]
fn what_a_client_compresses_is_a_command_like_any_other() {
    let broker = Broker::start(&["--workers", "1", "--deflate"]);
    let mut client = subscriber(&broker, Some(Offer::BROWSER));
    let mut bytes = Vec::new();
    let terms = Terms { no_context_takeover: true, window_bits_max: None };
    let mut deflater = broker_proto::ws::deflate::Deflater::new(terms, 6);
    for seq in 1..=3 {
        bytes.clear();
        let data = table(seq, 40);
        let command = format!(r#"{{"op":"publish","topic":"t","data":{data}}}"#);
        broker_proto::ws::deflate::encode_masked_deflated_frame(
            &mut bytes,
            broker_proto::ws::Opcode::Text,
            command.as_bytes(),
            [1, 2, 3, 4],
            &mut deflater,
        );
        client.send_raw(&bytes).unwrap();
        let message = format!(r#"{{"topic":"t","seq":{seq},"data":{data}}}"#);
        assert_eq!(client.receive_text(), message);
    }
}

/// What the kernel does not take waits, some of it compressed and some not.
#[test]
fn a_reader_that_pauses_gets_everything_in_order() {
    /// The kernel takes some megabytes before anything waits.
    const MESSAGES_MAX: u32 = 60_000;
    const TOGETHER: u32 = 500;
    let limits = ["--backlog-bytes-max", "268435456", "--mailbox-bytes-max", "67108864"];
    let broker =
        Broker::start(&[&["--workers", "2", "--pin", "false", "--deflate"], &limits[..]].concat());
    let mut reader = subscriber(&broker, Some(Offer::BROWSER));
    let mut publisher = WsClient::connect(broker.address(), "/ws", &[JSON]).unwrap();
    let mut expected = Vec::new();
    let mut left_to_wait = 4 * TOGETHER;
    for seq in 1..=MESSAGES_MAX {
        let data = table(seq, [2, 300, 600][seq as usize % 3]);
        publisher.send_text(&format!(r#"{{"op":"publish","topic":"t","data":{data}}}"#)).unwrap();
        expected.push(format!(r#"{{"topic":"t","seq":{seq},"data":{data}}}"#));
        if seq % TOGETHER > 0 {
            continue;
        }
        assert_eq!(publisher.command(r#"{"id":9,"op":"ping"}"#), r#"{"id":9,"ok":{}}"#);
        if broker.metrics("altavoz_backlogged_connections") > 0.0 {
            left_to_wait -= TOGETHER;
        }
        if left_to_wait == 0 {
            break;
        }
    }
    assert_eq!(left_to_wait, 0, "nothing waited");
    for message in &expected {
        assert!(&reader.receive_text() == message, "not {message:.60}");
    }
    broker.wait_for_metric("altavoz_backlog_total_bytes", 0.0, PATIENCE);
}

#[test]
fn nothing_is_compressed_unless_the_operator_wants_it() {
    let broker = Broker::start(&["--workers", "1"]);
    assert!(!subscriber(&broker, Some(Offer::BROWSER)).is_deflated());
}
