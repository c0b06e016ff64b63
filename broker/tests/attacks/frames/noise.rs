//! Bytes from a generator, and connections that are torn at every byte of what is valid.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use broker::sys;
use broker_proto::ws::{Decoder, Event, Opcode, Role, encode_masked_frame};
use socket2::SockRef;

use super::{MESSAGE_BYTES_MAX, hex};
use crate::guard::{attack_alone, counted};
use crate::support::broker::Broker;
use crate::support::ws_client::{PATIENCE, Received, WsClient};

const PROTOCOLS: [&str; 2] = ["altavoz.v1.json", "altavoz.v1.bin"];

/// What has to come of bytes, as the codec sees them that the broker is built on.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// Closed with this code.
    Closed(u16),
    /// The client's own close frame comes back.
    Answered,
    /// Nothing is wrong so far.
    Open,
}

fn fate_of(bytes: &[u8], protocol: &str) -> Fate {
    let mut decoder = Decoder::new(Role::Server, MESSAGE_BYTES_MAX as u32);
    let mut bytes = bytes.to_vec();
    let mut at = 0;
    loop {
        match decoder.decode(&mut bytes[at..]) {
            Err(error) => return Fate::Closed(error.close_code().value()),
            Ok((_, None)) => return Fate::Open,
            Ok((_, Some(Event::Close(_)))) => return Fate::Answered,
            Ok((_, Some(Event::Text(_)))) if protocol == PROTOCOLS[1] => return Fate::Closed(1003),
            Ok((_, Some(Event::Binary(_)))) if protocol == PROTOCOLS[0] => {
                return Fate::Closed(1003);
            }
            Ok((used, Some(_))) => at += used,
        }
    }
}

/// Garbage of one of three kinds: nothing but noise; whole frames of noise; whole commands with a
/// few bytes changed. Nothing that is longer than the rows ask for matters, since the first frame
/// mostly ends it.
fn garbage(random: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = Vec::new();
    match random.u8(0..3) {
        0 => bytes.extend((0..random.usize(1..65_536)).map(|_| random.u8(..))),
        1 => {
            for _ in 0..random.usize(1..20) {
                let payload: Vec<u8> = (0..random.usize(0..120)).map(|_| random.u8(..)).collect();
                let opcodes = [Opcode::Text, Opcode::Binary, Opcode::Ping, Opcode::Pong];
                let opcode = opcodes[random.usize(..4)];
                encode_masked_frame(&mut bytes, opcode, &payload, [random.u8(..); 4]);
            }
        }
        _ => {
            for number in 0..random.usize(1..20) {
                let command = format!(r#"{{"id":{number},"op":"publish","topic":"t","data":[]}}"#);
                encode_masked_frame(&mut bytes, Opcode::Text, command.as_bytes(), [0; 4]);
            }
            for _ in 0..random.usize(1..8) {
                let at = random.usize(..bytes.len());
                bytes[at] = random.u8(..);
            }
        }
    }
    bytes
}

/// Up to 64 KiB on each connection instead of the row's 1 MiB. Every one must end just as
/// the codec alone says, however its bytes were split; most of all never with 1011.
#[test]
fn f_29_garbage_ends_as_the_protocol_says() {
    let seed = match std::env::var("ALTAVOZ_TEST_SEED") {
        Ok(seed) => seed.parse().expect("a number"),
        Err(_) => RandomState::new().hash_one(0),
    };
    println!("ALTAVOZ_TEST_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    attack_alone(&[], |broker, _| {
        let mut ends = [0; 3];
        for number in 0..10_000 {
            let protocol = PROTOCOLS[random.usize(..2)];
            let bytes = garbage(&mut random);
            let fate = fate_of(&bytes, protocol);
            let mut client = WsClient::connect(broker.address(), "/ws", &[protocol]).unwrap();
            let split = random.usize(..=bytes.len());
            for part in [&bytes[..split], &bytes[split..]] {
                // Fails if the first part was the end of it.
                let _ = client.send_raw(part);
            }
            let end = end_of(&mut client, fate);
            assert_eq!(end, fate, "seed {seed}, connection {number}");
            ends[matches!(fate, Fate::Answered) as usize + 2 * (fate == Fate::Open) as usize] += 1;
        }
        println!("closed, answered, open: {ends:?}");
        assert!(ends[0] > 5_000, "seed {seed}: little of this is garbage, {ends:?}");
        [counted("altavoz_closes_total{reason=\"protocol\"}", 1_000).at_least()]
    });
}

/// Reads until the close frame, or until it is clear that none comes.
fn end_of(client: &mut WsClient, fate: Fate) -> Fate {
    if fate == Fate::Open {
        // An unfinished message can't be told from one that waits; so it is ended by us.
        client.shutdown().expect("the connection is open");
    }
    loop {
        match client.receive(PATIENCE) {
            Some(Received::Close(Some((code, _)))) if fate != Fate::Answered => {
                return Fate::Closed(code);
            }
            Some(Received::Close(_)) => return Fate::Answered,
            Some(Received::End | Received::Reset) => return Fate::Open,
            Some(Received::Broken(error)) => panic!("the broker broke the protocol: {error}"),
            Some(_) => {}
            None => panic!("neither a close frame nor an end, {fate:?} was expected"),
        }
    }
}

/// Valid sessions from the first byte to the last, as a client sends them.
fn sessions() -> [Vec<u8>; 2] {
    let open = |protocol: &str| {
        format!(
            "GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Protocol: {protocol}\r\n\r\n"
        )
        .into_bytes()
    };
    let mut json = open(PROTOCOLS[0]);
    let commands = [
        r#"{"id":1,"op":"subscribe","topic":"f/30/a"}"#,
        r#"[{"id":2,"op":"subscribe","topic":"f/30/+"},{"id":3,"op":"subscribe","topic":"f/#"}]"#,
        r#"{"id":4,"op":"publish","topic":"f/30/a","data":"x"}"#,
        r#"{"id":5,"op":"unsubscribe","topic":"f/#"}"#,
    ];
    for command in commands {
        encode_masked_frame(&mut json, Opcode::Text, command.as_bytes(), [1, 2, 3, 4]);
    }
    json.extend(hex("89 81 00000000 01"));
    json.extend(hex("01 82 00000000 7b22 8a 80 00000000 80 82 00000000 6122"));
    json.extend(hex("88 82 00000000 03e8"));

    let mut bin = open(PROTOCOLS[1]);
    for command in [
        "82 02 06 662f33302f2b",
        "82 03 06 662f33302f61",
        "81 05 06 662f33302f61 00ff",
        "83 06 06 662f33302f61",
    ] {
        encode_masked_frame(&mut bin, Opcode::Binary, &hex(command), [9, 8, 7, 6]);
    }
    bin.extend(hex("88 80 00000000"));
    [json, bin]
}

fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a socket");
    drop(stream);
}

/// Both with the reset right behind the bytes, and with the broker given time to read them.
#[test]
fn f_30_a_reset_at_any_byte_of_a_session_leaves_nothing_behind() {
    attack_alone(&["--topic-linger-ms", "1000"], |broker, _| {
        sys::raise_descriptor_limit();
        for session in sessions() {
            for cut in 0..=session.len() {
                let mut stream = TcpStream::connect(broker.address()).unwrap();
                stream.write_all(&session[..cut]).unwrap();
                reset(stream);
            }
            demand_baseline(broker);
            let before = broker.metrics("altavoz_received_bytes_total");
            let streams: Vec<TcpStream> = (0..=session.len())
                .map(|cut| {
                    let mut stream = TcpStream::connect(broker.address()).unwrap();
                    stream.write_all(&session[..cut]).unwrap();
                    stream
                })
                .collect();
            // The last was given its whole session, so the broker ends it when it has read it;
            // the others were sent before it. The canary only adds to the sum.
            let mut last = streams.last().unwrap();
            last.set_read_timeout(Some(PATIENCE)).unwrap();
            last.read_to_end(&mut Vec::new()).unwrap();
            let sum = session.len() * (session.len() + 1) / 2;
            let deadline = Instant::now() + PATIENCE;
            while broker.metrics("altavoz_received_bytes_total") < before + sum as f64 {
                assert!(Instant::now() < deadline, "the broker does not read what was sent");
            }
            streams.into_iter().for_each(reset);
            demand_baseline(broker);
        }
        [counted("altavoz_closes_total{reason=\"lost\"}", 100).at_least()]
    });
}

/// Nothing is there but the canary: two connections, one subscription, one topic and at times the
/// broker's own.
fn demand_baseline(broker: &Broker) {
    let most = [
        ("altavoz_connections", 2.0),
        ("altavoz_subscriptions", 1.0),
        ("altavoz_backlog_total_bytes", 0.0),
        ("altavoz_topics", 2.0),
    ];
    let deadline = Instant::now() + PATIENCE;
    loop {
        let now = most.map(|(gauge, _)| (gauge, broker.metrics(gauge)));
        if most.iter().zip(&now).all(|((_, most), (_, value))| value <= most) {
            return;
        }
        assert!(Instant::now() < deadline, "left over: {now:?}, at most {most:?}");
        thread::sleep(Duration::from_millis(50));
    }
}
