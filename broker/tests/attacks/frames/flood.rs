//! More frames than anyone needs: floods of pings and pongs, and a message in as many fragments
//! as it has bytes.

use std::time::Instant;

use broker_proto::ws::{Opcode, encode_masked_frame};

use super::{MESSAGE_BYTES_MAX, connect, hex};
use crate::guard::{KIB, MIB, attack_alone, closed, counted};
use crate::support::broker::Broker;
use crate::support::ws_client::{PATIENCE, Received};

/// Each of so many clients sends a message of 65,535 bytes, a byte a fragment; the last byte is
/// held back until the memory has been looked at.
#[test]
fn f_23_a_message_in_65535_fragments_of_one_byte_is_delivered() {
    const CLIENTS: usize = 8;
    attack_alone(&[], |broker, guard| {
        let start = r#"{"op":"publish","topic":"f/23","data":""#;
        let data = "x".repeat(MESSAGE_BYTES_MAX - 1 - start.len() - r#""}"#.len());
        let message = format!(r#"{start}{data}"}}"#);
        assert_eq!(message.len(), 65_535);
        let (last, all_but_last) = message.as_bytes().split_last().unwrap();
        let mut fragments = Vec::new();
        for (at, byte) in all_but_last.iter().enumerate() {
            fragments.extend_from_slice(&[u8::from(at == 0), 0x81, 0, 0, 0, 0, *byte]);
        }
        let mut watcher = connect(broker, "/ws");
        watcher.command(r#"{"id":1,"op":"subscribe","topic":"f/23"}"#);
        let before = guard.growth_bytes();
        let received = broker.metrics("altavoz_received_bytes_total");
        let mut clients: Vec<_> = (0..CLIENTS).map(|_| connect(broker, "/ws")).collect();
        for client in &mut clients {
            client.send_raw(&fragments).unwrap();
        }
        let wanted = received + (fragments.len() * CLIENTS) as f64;
        let deadline = Instant::now() + PATIENCE;
        while broker.metrics("altavoz_received_bytes_total") < wanted {
            assert!(Instant::now() < deadline, "the fragments are not read");
        }
        let held = guard.growth_bytes().saturating_sub(before);
        // A buffer grows by doubling; the rest is the connections' and the allocator's threads'.
        let allowed = (CLIENTS * 2 * MESSAGE_BYTES_MAX) as u64 + 512 * KIB;
        assert!(held < allowed, "{CLIENTS} messages hold {held} bytes");
        for (seq, client) in (1..).zip(&mut clients) {
            client.send_raw(&[0x80, 0x81, 0, 0, 0, 0, *last]).unwrap();
            let expected = format!(r#"{{"topic":"f/23","seq":{seq},"data":"{data}"}}"#);
            assert!(watcher.receive_text() == expected, "message {seq} is not what was sent");
        }
        [counted("altavoz_publishes_total", CLIENTS).at_least()]
    });
}

#[test]
fn f_26_a_flood_of_pings_is_1008() {
    attack_alone(&[], |broker, guard| {
        flood(broker, Opcode::Ping);
        let peak = guard.peak_growth_bytes();
        assert!(peak < 16 * MIB, "{peak} bytes held");
        [closed("rate_limited", 1008, 1)]
    });
}

#[test]
fn f_27_a_flood_of_pongs_is_1008() {
    attack_alone(&[], |broker, guard| {
        flood(broker, Opcode::Pong);
        let peak = guard.peak_growth_bytes();
        assert!(peak < 16 * MIB, "{peak} bytes held");
        [closed("rate_limited", 1008, 1)]
    });
}

/// Sends a million control frames of 125 bytes without reading, then demands the close frame. As
/// many as are allowed were answered before.
fn flood(broker: &Broker, opcode: Opcode) {
    const BATCHES: usize = 10_000;
    let mut client = connect(broker, "/ws");
    let mut batch = Vec::new();
    for _ in 0..100 {
        encode_masked_frame(&mut batch, opcode, &[b'x'; 125], [0; 4]);
    }
    for _ in 0..BATCHES {
        // Fails when the broker has waited for the answer to its close frame long enough.
        if client.send_raw(&batch).is_err() {
            break;
        }
    }
    let mut pongs = 0;
    let code = loop {
        match client.receive(PATIENCE) {
            Some(Received::Pong(_)) => pongs += 1,
            Some(Received::Close(Some((code, _)))) => break code,
            other => panic!("{other:?} after {pongs} pongs"),
        }
    };
    assert_eq!(code, 1008);
    match opcode {
        Opcode::Ping => assert!((1_000..5_000).contains(&pongs), "{pongs} pongs"),
        _ => assert_eq!(pongs, 0),
    }
    // Fails if the time for this answer is over, which is an end too.
    let _ = client.send_raw(&hex("88 82 00000000 03f0"));
    assert!(client.ends_within(PATIENCE));
}

/// RFC 6455 §5.5.3: of the pings that can't be answered yet, only the newest needs to be.
#[test]
fn f_26_of_the_pongs_that_wait_only_the_newest_is_kept() {
    const PINGS: u32 = 100_000;
    let limits = ["--control-frames-per-second-max", "1000000", "--write-timeout-ms", "60000"];
    attack_alone(&limits, |broker, guard| {
        let mut client = connect(broker, "/ws");
        client.command(r#"{"id":1,"op":"ping"}"#);
        let mut payload = [0; 125];
        for number in 0..PINGS {
            payload[..4].copy_from_slice(&number.to_be_bytes());
            client.send_frame(Opcode::Ping, &payload).unwrap();
        }
        broker.wait_for_metric("altavoz_backlogged_connections", 1.0, PATIENCE);
        let waits = broker.metrics("altavoz_backlog_total_bytes");
        assert!(waits <= 128.0 * 1024.0, "{waits} bytes wait");
        assert!(guard.growth_bytes() < 2 * MIB, "{} bytes held", guard.growth_bytes());
        let mut answered = Vec::new();
        while answered.last() != Some(&(PINGS - 1)) {
            match client.receive(PATIENCE) {
                Some(Received::Pong(payload)) => {
                    answered.push(u32::from_be_bytes(payload[..4].try_into().unwrap()));
                }
                other => panic!("{other:?} after pong {:?}", answered.last()),
            }
        }
        assert!(answered.is_sorted(), "pongs are in the order of their pings");
        assert!(answered.len() < PINGS as usize, "none was skipped");
        [counted("altavoz_closes_total{reason=\"rate_limited\"}", 0)]
    });
}
