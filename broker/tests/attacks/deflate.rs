//! D: compression. Bombs, damage, and offers that ask for what is not there; what comes must cost
//! no more than a message that is allowed.

use std::io::Read;
use std::thread;

use broker_proto::ws::deflate::{Deflater, LEVEL_DEFAULT, Offer, Terms};
use broker_proto::ws::{FrameHeader, Opcode};

use crate::guard::{KIB, attack, attack_alone, closed, counted};
use crate::support::broker::Broker;
use crate::support::http;
use crate::support::ws_client::{PATIENCE, Received, WsClient};

const ON: [&str; 2] = ["--deflate", "--echo"];

fn open(broker: &Broker) -> WsClient {
    let client = WsClient::connect_deflated(broker.address(), "/echo", &[], Offer::BROWSER);
    let client = client.expect("it upgrades");
    assert!(client.is_deflated(), "compression was not agreed on");
    client
}

fn deflated(message: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    Deflater::new(Terms::default(), LEVEL_DEFAULT).deflate(message, &mut bytes);
    bytes
}

/// A frame from a client, compressed, masked with zeros.
fn frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader::new(opcode, payload.len(), Some([0; 4]));
    let mut frame = [header.as_slice(), payload].concat();
    frame[0] |= 0x40;
    frame
}

/// The close code that these bytes are answered with.
fn answer(broker: &Broker, bytes: &[u8]) -> u16 {
    let mut client = open(broker);
    client.send_raw(bytes).expect("it is open");
    let (code, _) = client.receive_close();
    assert!(client.ends_within(PATIENCE));
    code
}

/// 64 MiB of zeros in 65 KB.
#[test]
fn d_01_a_bomb_is_not_inflated_beyond_the_limit() {
    let bomb = frame(Opcode::Binary, &deflated(&vec![0; 64 << 20]));
    attack_alone(&ON, |broker, guard| {
        assert!(bomb.len() < 70_000, "{}", bomb.len());
        assert_eq!(answer(broker, &bomb), 1009);
        assert!(guard.growth_bytes() < 1024 * KIB, "{} bytes", guard.growth_bytes());
        [closed("too_large", 1009, 1)]
    });
}

#[test]
fn d_02_a_bomb_in_pieces_from_many_at_once_is_none_either() {
    const CONNECTIONS: usize = 100;
    let payload = deflated(&vec![0; 8 << 20]);
    let mut bomb = Vec::new();
    let pieces: Vec<&[u8]> = payload.chunks(payload.len() / 100).collect();
    for (at, piece) in pieces.iter().enumerate() {
        let opcode: u8 = if at == 0 { 0x42 } else { 0 };
        let fin: u8 = if at + 1 == pieces.len() { 0x80 } else { 0 };
        let len = u8::try_from(piece.len()).expect("pieces are short");
        bomb.extend_from_slice(&[fin | opcode, 0x80 | len, 0, 0, 0, 0]);
        bomb.extend_from_slice(piece);
    }
    attack_alone(&ON, |broker, guard| {
        let clients: Vec<_> = (0..CONNECTIONS).map(|_| open(broker)).collect();
        let senders: Vec<_> = clients
            .into_iter()
            .map(|mut client| {
                let bomb = bomb.clone();
                thread::spawn(move || {
                    client.send_raw(&bomb).expect("it is open");
                    client.receive_close().0
                })
            })
            .collect();
        for sender in senders {
            assert_eq!(sender.join().expect("it does not panic"), 1009);
        }
        let growth = guard.growth_bytes();
        assert!(growth < 16 * 1024 * KIB, "{growth} bytes");
        [counted("altavoz_closes_total{reason=\"too_large\"}", CONNECTIONS)]
    });
}

/// Before anybody has said who he is nothing is inflated, for nothing was agreed on.
#[test]
fn d_03_where_tokens_are_needed_nothing_is_compressed() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let secret = folder.path().join("secret");
    std::fs::write(&secret, [b'k'; 48]).expect("it can be written");
    let secret = secret.to_str().expect("it is UTF-8");
    let broker = Broker::start(&["--deflate", "--auth-hmac-secret-file", secret]);
    let offered = format!(
        "GET /ws HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
        broker.address()
    );
    let answer = http::exchange(broker.address(), offered.as_bytes(), PATIENCE);
    let answer = answer.expect("it answers");
    assert_eq!(answer.header("Sec-WebSocket-Extensions"), None, "{}", answer.head);
}

#[test]
fn d_04_damage_ends_the_connection() {
    attack(&ON, |broker| {
        assert_eq!(answer(broker, b"\xc1\x84\0\0\0\0\xff\xff\xff\xff"), 1007);
        // Valid, but not text.
        assert_eq!(answer(broker, &frame(Opcode::Text, &deflated(b"\xc0\x80"))), 1007);
        [closed("invalid_payload", 1007, 2)]
    });
}

/// RFC 7692 §7.2.3.4.
#[test]
fn d_06_a_block_that_is_marked_as_the_last_is_a_message() {
    attack(&ON, |broker| {
        let mut client = open(broker);
        client.send_raw(b"\xc1\x88\0\0\0\0\xf3\x48\xcd\xc9\xc9\x07\x00\x00").expect("it is open");
        assert_eq!(client.receive(PATIENCE), Some(Received::Text("Hello".to_owned())));
        []
    });
}

#[test]
fn d_07_what_follows_the_last_block_never_comes_with_the_next_message() {
    attack(&ON, |broker| {
        let mut client = open(broker);
        client
            .send_raw(b"\xc1\x8d\0\0\0\0\xf3\x48\xcd\xc9\xc9\x07\x00\x72\x0d\xf3\xf4\x01\x00")
            .expect("it is open");
        let first = client.receive(PATIENCE);
        if let Some(Received::Text(text)) = &first {
            assert!(text.starts_with("Hello"), "{text}");
            client.send_raw(b"\xc1\x87\0\0\0\0\xf2\x48\xcd\xc9\xc9\x07\x00").expect("it is open");
            assert_eq!(client.receive(PATIENCE), Some(Received::Text("Hello".to_owned())));
        } else {
            assert!(matches!(first, Some(Received::Close(Some((1007, _))))), "{first:?}");
        }
        []
    });
}

#[test]
fn d_09_the_bit_of_compression_stands_at_the_begin_of_messages_alone() {
    attack(&ON, |broker| {
        for wrong in [
            // On a continuation; on a ping; the other reserved bits.
            &b"\x41\x81\0\0\0\0\xf2\x40\x80\0\0\0\0"[..],
            b"\xc9\x80\0\0\0\0",
            b"\xa1\x80\0\0\0\0",
            b"\x91\x80\0\0\0\0",
        ] {
            assert_eq!(answer(broker, wrong), 1002, "{wrong:x?}");
        }
        // Nothing was agreed on.
        let mut plain = WsClient::connect(broker.address(), "/echo", &[]).expect("it upgrades");
        plain.send_raw(b"\xc1\x85\0\0\0\0Hello").expect("it is open");
        assert_eq!(plain.receive_close().0, 1002);
        [closed("protocol", 1002, 5)]
    });
}

#[test]
fn d_10_an_offer_that_is_wrong_is_passed_over_for_the_next() {
    attack(&ON, |broker| {
        let wrong = [
            "server_max_window_bits=7",
            "server_max_window_bits=16",
            "server_max_window_bits=08",
            "server_max_window_bits",
            "server_max_window_bits=-1",
            "client_max_window_bits=0",
            "client_no_context_takeover=1",
            "unknown",
            "client_max_window_bits; client_max_window_bits",
        ];
        for wrong in wrong {
            for (offer, is_taken) in [
                (format!("permessage-deflate; {wrong}"), false),
                (format!("permessage-deflate; {wrong}, permessage-deflate"), true),
            ] {
                let request = format!(
                    "GET /echo HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
                     Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Extensions: {offer}\r\n\r\n"
                );
                let answer = http::exchange(broker.address(), request.as_bytes(), PATIENCE);
                let answer = answer.expect("it answers");
                assert_eq!(answer.status, 101, "{offer}: {}", answer.head);
                let taken = answer.header("Sec-WebSocket-Extensions").is_some();
                assert_eq!(taken, is_taken, "{offer}: {}", answer.head);
            }
        }
        []
    });
}

/// Whether the next frame is compressed, and how long its payload is on the wire.
fn next_on_the_wire(client: &WsClient) -> (bool, usize) {
    let mut stream = client.stream();
    stream.set_read_timeout(Some(PATIENCE)).expect("it is not zero");
    let mut read = |bytes: &mut [u8]| stream.read_exact(bytes).expect("a frame comes");
    let mut head = [0; 2];
    read(&mut head);
    let len = match head[1] {
        126 => {
            let mut len = [0; 2];
            read(&mut len);
            usize::from(u16::from_be_bytes(len))
        }
        short => usize::from(short),
    };
    read(&mut vec![0; len]);
    (head[0] & 0x40 != 0, len)
}

/// What a stranger chooses stands in one message with what he must not learn, and he sees how long it
/// comes out: shorter, where he has guessed right. On topics that are not compressed it does not tell.
#[test]
fn d_13_by_its_length_a_message_tells_nothing_where_compression_is_off() {
    const SECRET: &str = "kDf83hWq0PzL72mXbV6sYtRn41GjUcEa";
    const WRONG: &str = "Zq9TnB4xLw7RcK2vHy8MfJ5sPd3GgEu6";
    let rules = tempfile::NamedTempFile::new().expect("a file");
    let rule = "[[topic]]\nfilter = \"private/#\"\ncompress = false\n";
    std::fs::write(rules.path(), rule).expect("a file");
    let path = rules.path().to_str().expect("a path");
    attack(&["--deflate", "--config", path], |broker| {
        let lengths = |topic: &str| {
            let opened = WsClient::connect_deflated(broker.address(), "/ws", &[], Offer::BROWSER);
            let mut watcher = opened.expect("it upgrades");
            let command = format!(r#"{{"id":1,"op":"subscribe","topic":"{topic}"}}"#);
            assert!(watcher.command(&command).contains("ok"));
            let mut publisher =
                WsClient::connect(broker.address(), "/ws", &[]).expect("it upgrades");
            let frames = [SECRET, WRONG].map(|guess| {
                let (secret, pad) = (SECRET, "-".repeat(600));
                let data = format!(r#"{{"secret":"{secret}","guess":"{guess}","pad":"{pad}"}}"#);
                let command = format!(r#"{{"op":"publish","topic":"{topic}","data":{data}}}"#);
                publisher.send_text(&command).expect("it is open");
                next_on_the_wire(&watcher)
            });
            let history = format!(r#"{{"id":2,"op":"history","topic":"{topic}"}}"#);
            watcher.send_text(&history).expect("it is open");
            (frames, next_on_the_wire(&watcher).0)
        };
        let ([right, wrong], _) = lengths("public/a");
        assert!(right.0 && wrong.0 && right.1 < wrong.1, "nothing is shown: {right:?} {wrong:?}");
        let ([right, wrong], is_answer_compressed) = lengths("private/a");
        assert_eq!(right, wrong);
        assert!(!right.0 && !is_answer_compressed);
        []
    });
}

#[test]
fn d_14_idle_connections_share_what_compresses_for_them() {
    const CONNECTIONS: usize = 300;
    const BYTES_MAX: u64 = 4 * KIB;
    attack_alone(&ON, |broker, guard| {
        let exchange = |client: &mut WsClient| {
            let message = frame(Opcode::Text, &deflated(&[b'x'; 2000]));
            client.send_raw(&message).expect("it is open");
            assert_eq!(client.receive(PATIENCE), Some(Received::Text("x".repeat(2000))));
        };
        // The two workers' compressors and inflaters.
        for _ in 0..8 {
            exchange(&mut open(broker));
        }
        let before = guard.growth_bytes();
        let clients: Vec<WsClient> = (0..CONNECTIONS)
            .map(|_| {
                let mut client = open(broker);
                exchange(&mut client);
                client
            })
            .collect();
        let each = guard.growth_bytes().saturating_sub(before) / CONNECTIONS as u64;
        assert!(each < BYTES_MAX, "{each} bytes each");
        drop(clients);
        []
    });
}
