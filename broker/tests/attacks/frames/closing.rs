//! Close frames that are wrong, closing handshakes that one side leaves unfinished, and messages
//! that never come to their end.

use std::io::{ErrorKind, Write};
use std::thread;
use std::time::Duration;

use super::{ECHO, SHORT, connect, demand_close, hex};
use crate::guard::{MIB, attack, attack_alone, closed, counted};
use crate::support::ws_client::{PATIENCE, Received, WsClient};

#[test]
fn f_16_a_close_frame_of_one_byte_is_1002() {
    attack(ECHO, |broker| {
        [closed("protocol", 1002, demand_close(broker, 1002, &["88 81 00000000 03"]))]
    });
}

#[test]
fn f_17_a_close_code_that_must_not_be_sent_is_1002_and_every_other_comes_back() {
    attack(ECHO, |broker| {
        let bad = [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535];
        let frames = bad.map(|code: u16| format!("88 82 00000000 {code:04x}"));
        let count = demand_close(broker, 1002, &frames.each_ref().map(String::as_str));
        let good = (1000..=1003).chain(1007..=1014).chain([3000, 3999, 4000, 4408, 4999]);
        for code in good.clone() {
            let mut client = connect(broker, "/ws");
            client.send_raw(&hex(&format!("88 85 00000000 {code:04x} 627965"))).unwrap();
            assert_eq!(client.receive_close().0, code);
            assert_eq!(client.receive(PATIENCE), Some(Received::End), "{code}");
        }
        let mut client = connect(broker, "/ws");
        client.send_raw(&hex("88 80 00000000")).unwrap();
        assert_eq!(client.receive(PATIENCE), Some(Received::Close(None)));
        let normal = counted("altavoz_closes_total{reason=\"normal\"}", good.count() + 1);
        [closed("protocol", 1002, count), normal.at_least()]
    });
}

#[test]
fn f_18_a_close_reason_must_be_utf8_and_short() {
    attack(ECHO, |broker| {
        let reasons = ["88 84 00000000 03e8c080", "88 84 00000000 03e8e282"];
        let invalid = demand_close(broker, 1007, &reasons);
        let long = format!("88 fe 007e 00000000 03e8 {}", "61".repeat(124));
        let too_long = demand_close(broker, 1002, &[&long]);
        let mut client = connect(broker, "/ws");
        client.send_raw(&hex(&format!("88 fd 00000000 03e8 {}", "61".repeat(123)))).unwrap();
        assert_eq!(client.receive_close().0, 1000);
        [closed("invalid_payload", 1007, invalid), closed("protocol", 1002, too_long)]
    });
}

#[test]
fn f_19_nothing_counts_behind_a_close_frame() {
    attack(&[], |broker| {
        let mut watcher = connect(broker, "/ws");
        watcher.command(r#"{"id":1,"op":"subscribe","topic":"f/19"}"#);
        let publish = br#"{"op":"publish","topic":"f/19","data":1}"#;
        let behind =
            [&[0x81, 0x80 | publish.len() as u8, 0, 0, 0, 0], &publish[..], &hex("89 80 00000000")];
        let mut client = connect(broker, "/ws");
        client.send_raw(&[hex("88 82 00000000 03e8"), behind.concat()].concat()).unwrap();
        assert_eq!(client.receive_close().0, 1000);
        assert_eq!(client.receive(PATIENCE), Some(Received::End));
        // Whatever still comes is thrown away.
        let _ = client.send_raw(&behind.concat());
        watcher.send_text(r#"{"op":"publish","topic":"f/19","data":2}"#).unwrap();
        assert_eq!(watcher.receive_text(), r#"{"topic":"f/19","seq":1,"data":2}"#);
        [counted("altavoz_closes_total{reason=\"normal\"}", 1).at_least()]
    });
}

/// The client's ends stay open all the time, so that only the broker's deadlines end anything.
#[test]
fn f_20_a_closing_handshake_that_the_client_leaves_unfinished_is_cut() {
    const EACH: usize = 20;
    attack(&["--close-timeout-ms", "1500"], |broker| {
        let mut clients: Vec<WsClient> = (0..EACH * 3).map(|_| connect(broker, "/ws")).collect();
        for (at, client) in clients.iter_mut().enumerate() {
            match at % 3 {
                // It closes and never ends its side.
                0 => client.send_raw(&hex("88 82 00000000 03e8")).unwrap(),
                // It never answers the broker's close.
                1 => client.send_raw(&hex("82 80 00000000")).unwrap(),
                // It breaks the protocol and never ends its side.
                _ => client.send_raw(&hex("80 80 00000000")).unwrap(),
            }
        }
        let codes = [1000, 1003, 1002];
        for (at, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.receive_close().0, codes[at % 3]);
        }
        let turns = broker.metrics("altavoz_turns_total");
        thread::sleep(Duration::from_secs(1));
        let turned = broker.metrics("altavoz_turns_total") - turns;
        assert!(turned < 20_000.0, "{turned} turns in about a second: somebody spins");
        broker.wait_for_metric("altavoz_connections", 2.0, PATIENCE);
        for client in &mut clients {
            assert!(client.ends_within(PATIENCE));
        }
        [closed("unsupported", 1003, EACH), closed("protocol", 1002, EACH)]
    });
}

/// The row has 30 s and a byte a second; here everything is twenty times as fast.
#[test]
fn f_25_a_message_that_takes_too_long_is_1008() {
    attack(&["--message-timeout-ms", "1500"], |broker| {
        let mut frame = connect(broker, "/ws");
        frame.send_raw(&hex("81 fe 0400 00000000")).unwrap();
        let mut fragments = connect(broker, "/ws");
        let mut header = connect(broker, "/ws");
        header.send_raw(&hex("81")).unwrap();
        fragments.send_raw(&hex("01 81 00000000 20")).unwrap();
        let pause = || thread::sleep(Duration::from_millis(50));
        let mut drip = 0;
        while frame.receive(Duration::from_millis(1)).is_none() && drip < 400 {
            frame.send_raw(b" ").unwrap();
            // Pings between fragments are no progress of the message.
            fragments.send_raw(&hex("00 81 00000000 20 89 80 00000000")).unwrap();
            drip += 1;
            pause();
        }
        assert_eq!(fragments.receive_close().0, 1008);
        assert_eq!(header.receive_close().0, 1008);
        assert_eq!(frame.receive(SHORT), None, "the broker waits for the answer to its close");
        drop((frame, fragments, header));
        [closed("message_timeout", 1008, 3)]
    });
}

/// A closing handshake that the client begins while messages wait for it that it does not read.
#[test]
fn f_31_a_client_that_closes_and_does_not_read_is_cut() {
    attack_alone(&["--close-timeout-ms", "1500"], |broker, _| {
        let mut client = connect(broker, "/ws");
        client.command(r#"{"id":1,"op":"subscribe","topic":"f/31"}"#);
        let mut publisher = connect(broker, "/ws");
        let data = "x".repeat(60_000);
        let publish = format!(r#"{{"id":1,"op":"publish","topic":"f/31","data":"{data}"}}"#);
        for _ in 0..1_000 {
            let answer = publisher.command(&publish);
            assert!(answer.contains(r#""ok""#), "{answer}");
            if broker.metrics("altavoz_backlogged_connections") > 0.0 {
                break;
            }
        }
        broker.wait_for_metric("altavoz_backlogged_connections", 1.0, PATIENCE);
        let normal = broker.metrics("altavoz_closes_total{reason=\"normal\"}");
        client.send_raw(&hex("88 82 00000000 03e8")).unwrap();
        broker.wait_for_metric("altavoz_connections", 3.0, PATIENCE);
        drop(publisher);
        assert_eq!(broker.metrics("altavoz_closes_total{reason=\"normal\"}"), normal + 1.0);
        drop(client);
        [counted("altavoz_backlog_total_bytes", 0)]
    });
}

/// Whoever does not read its answers is not read either, and so can't make the broker hold them.
#[test]
fn f_32_a_client_that_does_not_read_its_answers_is_cut() {
    attack_alone(&["--echo", "true", "--write-timeout-ms", "2000"], |broker, guard| {
        let client = connect(broker, "/echo");
        let frame = [hex("82 fe ea60 00000000"), vec![b'a'; 60_000]].concat();
        let mut stream = client.stream();
        stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
        let mut held: f64 = 0.0;
        let mut rest = &frame[..];
        loop {
            match stream.write(rest) {
                Ok(0) => break,
                Ok(sent) if sent < rest.len() => rest = &rest[sent..],
                Ok(_) => rest = &frame,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    held = held.max(broker.metrics("altavoz_backlog_total_bytes"));
                }
                Err(_) => break,
            }
        }
        assert!((1.0..256.0 * 1024.0).contains(&held), "{held} bytes of answers waited");
        let peak = guard.peak_growth_bytes();
        assert!(peak < 16 * MIB, "{peak} bytes held");
        [counted("altavoz_closes_total{reason=\"write_timeout\"}", 1)]
    });
}
