//! Attacks with frames, rows F of the list: what breaks RFC 6455, and what keeps to it and is
//! hostile all the same. What takes closing, time, floods or noise is in `closing`, `flood` and
//! `noise`.
//!
//! Frames stand here as hexadecimal, mostly masked with 00000000, so that they can be read.

#[path = "frames/closing.rs"]
mod closing;
#[path = "frames/flood.rs"]
mod flood;
#[path = "frames/noise.rs"]
mod noise;

use std::time::Duration;

use crate::guard::{KIB, attack, attack_alone, closed, counted};
use crate::support::broker::Broker;
use crate::support::ws_client::{PATIENCE, Received, WsClient};

const ECHO: &[&str] = &["--echo", "true"];
/// `message_bytes_max` by default.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Long enough for an answer that must not come.
const SHORT: Duration = Duration::from_millis(200);

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let pairs = digits.chunks(2).map(|pair| std::str::from_utf8(pair).expect("ASCII"));
    pairs.map(|pair| u8::from_str_radix(pair, 16).expect("two digits")).collect()
}

fn connect(broker: &Broker, path: &str) -> WsClient {
    WsClient::connect(broker.address(), path, &["altavoz.v1.json"]).expect("it upgrades")
}

/// Sends each of `attempts` on a connection of its own, to the echo and to the protocol. Nothing
/// but a close frame with this code may come, and then the end.
fn demand_close(broker: &Broker, code: u16, attempts: &[&str]) -> usize {
    for attempt in attempts {
        for path in ["/ws", "/echo"] {
            let mut client = connect(broker, path);
            client.send_raw(&hex(attempt)).expect("the connection is open");
            match client.receive(PATIENCE) {
                Some(Received::Close(Some((found, _)))) if found == code => {}
                other => panic!("{other:?} instead of {code} after {attempt} on {path}"),
            }
            assert_eq!(client.receive(PATIENCE), Some(Received::End), "{attempt} on {path}");
        }
    }
    attempts.len() * 2
}

#[test]
fn f_01_an_unmasked_frame_is_1002() {
    attack(ECHO, |broker| {
        let count = demand_close(broker, 1002, &["81 05 48656c6c6f", "81 00", "88 02 03e8"]);
        [closed("protocol", 1002, count)]
    });
}

#[test]
fn f_02_a_reserved_bit_is_1002() {
    attack(ECHO, |broker| {
        let bits = [
            "c1 85 00000000 48656c6c6f",
            "a1 85 00000000 48656c6c6f",
            "91 85 00000000 48656c6c6f",
            "f1 85 00000000 48656c6c6f",
            "c9 80 00000000",
            "01 81 00000000 61 c0 81 00000000 62",
        ];
        [closed("protocol", 1002, demand_close(broker, 1002, &bits))]
    });
}

#[test]
fn f_03_a_reserved_opcode_is_1002() {
    attack(ECHO, |broker| {
        let opcodes = ["83", "84", "85", "86", "87", "8b", "8c", "8d", "8e", "8f", "03", "0b"];
        let frames = opcodes.map(|first| format!("{first} 80 00000000"));
        let count = demand_close(broker, 1002, &frames.each_ref().map(String::as_str));
        [closed("protocol", 1002, count)]
    });
}

#[test]
fn f_04_a_fragmented_control_frame_is_1002() {
    attack(ECHO, |broker| {
        let fragmented = ["09 80 00000000", "08 80 00000000", "0a 80 00000000"];
        [closed("protocol", 1002, demand_close(broker, 1002, &fragmented))]
    });
}

#[test]
fn f_05_a_long_control_frame_is_1002_on_its_header() {
    attack(ECHO, |broker| {
        let headers = ["89 fe 007e", "8a fe 007e", "88 fe 007e", "89 ff 0000000000010000"];
        [closed(
            "protocol",
            1002,
            demand_close(broker, 1002, &headers.map(masked).each_ref().map(String::as_str)),
        )]
    });
}

fn masked(header: &str) -> String {
    format!("{header} 00000000")
}

#[test]
fn f_06_a_length_that_is_not_in_its_shortest_form_is_1002() {
    attack(ECHO, |broker| {
        let lengths = [
            "81 fe 0005 00000000 48656c6c6f",
            "81 fe 007d 00000000",
            "81 ff 0000000000000005 00000000 48656c6c6f",
            "82 ff 000000000000ffff 00000000",
            "89 fe 0000 00000000",
        ];
        [closed("protocol", 1002, demand_close(broker, 1002, &lengths))]
    });
}

#[test]
fn f_07_a_length_with_its_top_bit_set_is_1002() {
    attack(ECHO, |broker| {
        let lengths = ["82 ff 8000000000000001 00000000", "82 ff ffffffffffffffff 00000000"];
        [closed("protocol", 1002, demand_close(broker, 1002, &lengths))]
    });
}

/// Nothing is set aside for a length that was only claimed: neither one that is refused nor the
/// longest that is allowed.
#[test]
fn f_08_a_claimed_length_over_the_limit_is_1009_and_claims_no_memory() {
    const CLAIMS: usize = 400;
    attack_alone(ECHO, |broker, guard| {
        let lengths = [
            "82 ff 4000000000000000 00000000",
            "82 ff 7fffffffffffffff 00000000",
            "82 ff 0000000000010001 00000000",
            "01 81 00000000 61 80 ff 0000000000010000 00000000",
        ];
        let count = demand_close(broker, 1009, &lengths);
        let mut clients: Vec<WsClient> = (0..CLAIMS).map(|_| connect(broker, "/ws")).collect();
        for client in &mut clients {
            client.send_raw(&hex("82 ff 0000000000010000 00000000 00")).unwrap();
        }
        // All workers have read all of it when they answer what came later.
        for _ in 0..8 {
            connect(broker, "/ws").command(r#"{"id":1,"op":"ping"}"#);
        }
        let (held, allowed) = (guard.growth_bytes(), CLAIMS as u64 * 4 * KIB);
        assert!(held < allowed, "{CLAIMS} claims hold {held} bytes");
        [closed("too_large", 1009, count)]
    });
}

#[test]
fn f_10_a_continuation_of_nothing_is_1002() {
    attack(ECHO, |broker| {
        let continuations =
            ["80 80 00000000", "00 81 00000000 61", "81 82 00000000 7b7d 80 80 00000000"];
        let count = demand_close(broker, 1002, &continuations[..2]);
        let mut client = connect(broker, "/echo");
        client.send_raw(&hex(continuations[2])).unwrap();
        assert_eq!(client.receive_text(), "{}");
        assert_eq!(client.receive_close().0, 1002);
        [closed("protocol", 1002, count + 1)]
    });
}

#[test]
fn f_11_a_new_message_inside_another_is_1002() {
    attack(ECHO, |broker| {
        let nested = [
            "01 81 00000000 61 81 81 00000000 62",
            "01 80 00000000 01 80 00000000",
            "02 81 00000000 61 82 81 00000000 62",
        ];
        [closed("protocol", 1002, demand_close(broker, 1002, &nested))]
    });
}

#[test]
fn f_12_a_ping_between_fragments_is_answered_at_once_and_the_message_stays_whole() {
    attack(ECHO, |broker| {
        let mut client = connect(broker, "/echo");
        client.send_raw(&hex("01 82 00000000 4865 89 83 00000000 010203")).unwrap();
        assert_eq!(client.receive(PATIENCE), Some(Received::Pong(vec![1, 2, 3])));
        client.send_raw(&hex("00 82 00000000 6c6c 8a 80 00000000 89 80 00000000")).unwrap();
        assert_eq!(client.receive(PATIENCE), Some(Received::Pong(Vec::new())));
        client.send_raw(&hex("80 81 00000000 6f")).unwrap();
        assert_eq!(client.receive_text(), "Hello");
        [counted("altavoz_closes_total{reason=\"protocol\"}", 0)]
    });
}

#[test]
fn f_13_a_character_may_be_split_between_fragments() {
    attack(ECHO, |broker| {
        let mut client = connect(broker, "/echo");
        client.send_raw(&hex("01 81 00000000 c3 80 81 00000000 a9")).unwrap();
        assert_eq!(client.receive_text(), "é");
        let emoji = "01 81 00000000 f0 00 80 00000000 00 81 00000000 9f 00 81 00000000 93 \
                     80 81 00000000 a3";
        client.send_raw(&hex(emoji)).unwrap();
        assert_eq!(client.receive_text(), "📣");
        [counted("altavoz_closes_total{reason=\"invalid_payload\"}", 0)]
    });
}

#[test]
fn f_14_text_that_can_never_become_utf8_is_1007_before_its_message_ends() {
    attack(ECHO, |broker| {
        let (greek, beyond) = ("cebae1bdb9cf83cebcceb5", "f4908080");
        let mut count = 0;
        for path in ["/ws", "/echo"] {
            let mut client = connect(broker, path);
            client.send_raw(&hex(&format!("01 8b 00000000 {greek}"))).unwrap();
            assert_eq!(client.receive(SHORT), None);
            client.send_raw(&hex(&format!("00 84 00000000 {beyond}"))).unwrap();
            assert_eq!(client.receive_close().0, 1007);

            // The same inside one frame that never comes to its end, in three pieces.
            let mut client = connect(broker, path);
            client.send_raw(&hex(&format!("81 95 00000000 {greek}"))).unwrap();
            assert_eq!(client.receive(SHORT), None);
            client.send_raw(&hex("f4")).unwrap();
            assert_eq!(client.receive(SHORT), None);
            client.send_raw(&hex("90")).unwrap();
            assert_eq!(client.receive_close().0, 1007);
            count += 2;
        }
        [closed("invalid_payload", 1007, count)]
    });
}

#[test]
fn f_15_text_that_is_not_utf8_is_1007() {
    attack(ECHO, |broker| {
        let texts = [
            "81 83 00000000 eda080",
            "81 82 00000000 c080",
            "81 81 00000000 fe",
            "81 82 00000000 e282",
            "01 82 00000000 e282 80 80 00000000",
            "81 84 00000000 f8888080",
            "81 81 00000000 80",
        ];
        [closed("invalid_payload", 1007, demand_close(broker, 1007, &texts))]
    });
}

#[test]
fn f_21_fragments_that_add_up_to_more_than_a_message_are_1009() {
    attack(ECHO, |broker| {
        let mut count = 0;
        for path in ["/ws", "/echo"] {
            let mut client = connect(broker, path);
            client.send_raw(&hex("01 ff 0000000000010000 00000000")).unwrap();
            client.send_raw(&vec![b' '; MESSAGE_BYTES_MAX]).unwrap();
            assert_eq!(client.receive(SHORT), None, "just the limit");
            client.send_raw(&hex("80 81 00000000")).unwrap();
            assert_eq!(client.receive_close().0, 1009);
            count += 1;
        }
        [closed("too_large", 1009, count)]
    });
}

#[test]
fn f_28_a_message_of_the_other_kind_is_1003() {
    attack(&[], |broker| {
        let kinds = [
            ("altavoz.v1.json", "82 81 00000000 04"),
            ("altavoz.v1.bin", "81 82 00000000 7b7d"),
            ("altavoz.v1.json", "02 81 00000000 04 80 80 00000000"),
        ];
        for (protocol, frame) in kinds {
            let mut client = WsClient::connect(broker.address(), "/ws", &[protocol]).unwrap();
            client.send_raw(&hex(frame)).unwrap();
            assert_eq!(client.receive_close().0, 1003, "{frame} on {protocol}");
            client.send_raw(&hex("88 82 00000000 03eb")).unwrap();
            assert!(client.ends_within(PATIENCE));
        }
        [closed("unsupported", 1003, kinds.len())]
    });
}
