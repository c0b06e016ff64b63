//! Connections that live long, seen from outside: publishers that never fall silent, readers that
//! are always late, peers that leave at a bad moment, topics that nobody holds for a while. What
//! each of them may expect holds however long it lasts.
//!
//! The durations here make the situation; none is asserted.

#[path = "support/feed.rs"]
mod feed;
#[path = "support/support.rs"]
mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use broker_proto::handshake::ClientHandshake;
use broker_proto::ws::{Opcode, encode_masked_frame};
use feed::{Ledger, await_metric, connect, filler, publish, publish_frame, reset, subscriber};
use rustix::process::{Pid, Signal, kill_process};
use support::broker::Broker;
use support::ws_client::{PATIENCE, WsClient};

const MIB: f64 = 1024.0 * 1024.0;

fn signal(broker: &Broker, signal: Signal) {
    let id = i32::try_from(broker.process_id()).ok().and_then(Pid::from_raw);
    kill_process(id.expect("it is the id of a child"), signal).expect("the child is not reaped");
}

/// What happens in `action` finds the broker busy elsewhere, and reaches it all at once.
fn while_it_stands_still<T>(broker: &Broker, action: impl FnOnce() -> T) -> T {
    signal(broker, Signal::STOP);
    let result = action();
    signal(broker, Signal::CONT);
    result
}

/// The most memory that was ever resident, in bytes.
fn peak_bytes(broker: &Broker) -> f64 {
    let status = fs::read_to_string(format!("/proc/{}/status", broker.process_id()))
        .expect("the broker runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    kib.expect("Linux tells it of every process") * 1024.0
}

fn closes(broker: &Broker, reason: &str) -> f64 {
    broker.metrics(&format!("altavoz_closes_total{{reason=\"{reason}\"}}"))
}

/// Its link is never idle, so every read ends inside some message; but each message is complete
/// within milliseconds.
#[test]
fn a_publisher_that_never_pauses_is_not_out_of_time() {
    const PART_BYTES: usize = 10_007;
    let broker = Broker::start(&["--workers", "1", "--message-timeout-ms", "2000"]);
    let mut publisher = connect(broker.address());
    let frame = publish_frame("t", &filler(20_000));
    let (mut buffered, mut published) = (Vec::new(), 0);
    let end = Instant::now() + Duration::from_secs(6);
    while Instant::now() < end {
        while buffered.len() <= PART_BYTES {
            buffered.extend_from_slice(&frame);
            published += 1;
        }
        publisher.send_raw(&buffered[..PART_BYTES]).expect("the publisher is not closed");
        buffered.drain(..PART_BYTES);
        thread::sleep(Duration::from_millis(1));
    }
    publisher.send_raw(&buffered).expect("the publisher is not closed");
    assert_eq!(publish(&mut publisher, "t", "0"), published + 1, "all were taken");
    assert_eq!(closes(&broker, "message_timeout"), 0.0);
}

/// They leave while the broker sends them what waits, which then is nobody's any more.
#[test]
fn the_backlogs_of_those_who_left_are_off_the_books() {
    const CLIENTS: usize = 24;
    const MESSAGES: u64 = 200;
    let _alone = feed::alone();
    let broker = Broker::start(&["--workers", "2", "--backlog-bytes-max", "67108864"]);
    let mut publisher = connect(broker.address());
    let data = filler(60_000);
    for _ in 0..2 {
        let clients: Vec<WsClient> =
            (0..CLIENTS).map(|_| subscriber(broker.address(), "t")).collect();
        for _ in 0..MESSAGES {
            publish(&mut publisher, "t", &data);
        }
        let late = CLIENTS as f64 / 2.0;
        await_metric(&broker, "altavoz_backlogged_connections", |count| count > late);
        let leaving: Vec<_> = (0..)
            .zip(clients)
            .map(|(number, client)| thread::spawn(move || read_some_and_leave(client, number)))
            .collect();
        for one in leaving {
            one.join().expect("it has left");
        }
    }
    for gauge in [
        "altavoz_subscriptions",
        "altavoz_backlogged_connections",
        "altavoz_backlog_bytes",
        "altavoz_backlog_total_bytes",
    ] {
        broker.wait_for_metric(gauge, 0.0, PATIENCE);
    }
}

/// The more a client's number, the more it reads first.
fn read_some_and_leave(client: WsClient, number: usize) {
    let limit = Duration::from_millis(500);
    client.stream().set_read_timeout(Some(limit)).expect("the limit is not zero");
    let (mut chunk, mut left) = (vec![0; 256 * 1024], number * 384 * 1024);
    while left > 0 {
        match client.stream().read(&mut chunk) {
            Ok(length @ 1..) => left = left.saturating_sub(length),
            _ => break,
        }
    }
    match number % 3 {
        0 => reset(client),
        1 => drop(client),
        _ => client.shutdown().expect("it is open"),
    }
}

/// The close frame is the one that does not fit any more.
#[test]
fn a_nearly_full_backlog_is_sent_whole_before_the_close() {
    const MAX: usize = 65_536;
    let broker = Broker::start(&[
        "--workers",
        "1",
        "--backlog-bytes-max",
        &MAX.to_string(),
        "--close-timeout-ms",
        "10000",
        "--write-timeout-ms",
        "60000",
        "--overload",
        "close",
    ]);
    let mut slow = subscriber(broker.address(), "t");
    let mut publisher = connect(broker.address());
    let mut published = 0;
    loop {
        let room = MAX - broker.metrics("altavoz_backlog_total_bytes") as usize;
        if room < 20 {
            break;
        }
        // The frame is to be a little smaller than the room, or larger than a small header needs.
        let header = if room < 126 { 2 } else { 4 };
        let around = format!(r#"{{"topic":"t","seq":{},"data":}}"#, published + 1).len();
        let bytes = room.min(50_000).saturating_sub(header + around + 3).max(2);
        assert!(header + around + bytes <= room, "{room} bytes of room, after {published}");
        published = publish(&mut publisher, "t", &filler(bytes));
        assert!(published < 10_000, "the kernel takes everything");
    }
    broker.send_sigterm();
    assert_eq!(publisher.receive_close().0, 1001);
    let mut ledger = Ledger::default();
    let (code, reason) = ledger.read_to_close(&mut slow);
    assert_eq!((code, ledger.count(), ledger.last("t")), (1001, published, published), "{reason}");
}

/// Its reads are far too few for the kernel to call the socket writable within the deadline.
#[test]
fn a_slow_but_steady_reader_is_not_given_up() {
    const STEPS: u64 = 24;
    let broker = Broker::start(&[
        "--workers",
        "1",
        "--write-timeout-ms",
        "2000",
        "--backlog-bytes-max",
        "16777216",
    ]);
    let mut slow = subscriber(broker.address(), "t");
    let socket = socket2::SockRef::from(slow.stream());
    socket.set_recv_buffer_size(64 * 1024).expect("the socket is open");
    let mut publisher = connect(broker.address());
    let mut published = 0;
    while broker.metrics("altavoz_backlog_total_bytes") < 4.0 * MIB {
        published = publish(&mut publisher, "t", &filler(60_000));
        assert!(published < 1_000, "the kernel takes everything");
    }
    let mut ledger = Ledger::default();
    for step in 1..=STEPS {
        ledger.read(&mut slow, step);
        thread::sleep(Duration::from_millis(250));
    }
    assert_eq!(broker.metrics("altavoz_backlogged_connections"), 1.0, "it was late all the time");
    assert_eq!(closes(&broker, "write_timeout"), 0.0);
    ledger.read(&mut slow, published);
    assert_eq!(ledger.last("t"), published);
}

/// The topics are looked at once in a linger time each, at different times; wherever in it their
/// subscriber leaves, they are there when it comes back soon.
#[test]
fn a_topic_waits_for_its_subscriber_to_come_back() {
    const TOPICS: usize = 6;
    let broker = Broker::start(&["--workers", "1", "--topic-linger-ms", "3000"]);
    let mut publisher = connect(broker.address());
    let subscribe = |client: &mut WsClient, topic: usize| {
        client.command(&format!(r#"{{"id":1,"op":"subscribe","topic":"t/{topic}"}}"#))
    };
    let mut client = connect(broker.address());
    let mut before = Vec::new();
    for topic in 0..TOPICS {
        publish(&mut publisher, &format!("t/{topic}"), "0");
        before.push(subscribe(&mut client, topic));
        thread::sleep(Duration::from_millis(500));
    }
    assert!(before[0].contains(r#""epoch":""#) && before[0].contains(r#""seq":1"#), "{before:?}");
    thread::sleep(Duration::from_millis(2_000));
    drop(client);
    broker.wait_for_metric("altavoz_subscriptions", 0.0, PATIENCE);
    thread::sleep(Duration::from_millis(1_200));
    let mut client = connect(broker.address());
    let after: Vec<String> = (0..TOPICS).map(|topic| subscribe(&mut client, topic)).collect();
    assert_eq!(after, before);
}

/// `printf … | nc -N`: all it has to say is there before the broker looks.
#[test]
fn whoever_says_everything_at_once_and_ends_its_side_is_answered() {
    let broker = Broker::start(&["--workers", "1"]);
    let mut bytes = Vec::new();
    let handshake = ClientHandshake::new(*b"the sample nonce");
    handshake.write_request(&mut bytes, "localhost", "/ws", &[feed::JSON], &[]);
    let command = br#"{"id":"only","op":"publish","topic":"t","data":1}"#;
    encode_masked_frame(&mut bytes, Opcode::Text, command, [9, 8, 7, 6]);
    let mut reader = subscriber(broker.address(), "t");
    let mut stream = while_it_stands_still(&broker, || {
        let mut stream = TcpStream::connect(broker.address()).expect("the kernel accepts");
        stream.write_all(&bytes).expect("the kernel takes it");
        stream.shutdown(std::net::Shutdown::Write).expect("it is open");
        stream
    });
    let mut answer = Vec::new();
    stream.set_read_timeout(Some(PATIENCE)).expect("the limit is not zero");
    stream.read_to_end(&mut answer).expect("the broker ends it too");
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert!(answer.contains(r#"{"id":"only","ok":{"#), "{answer}");
    assert_eq!(reader.receive_text(), r#"{"topic":"t","seq":1,"data":1}"#);
}

/// So many connections to one worker, of those to which the kernel leads.
fn connect_to(broker: &Broker, worker: usize, protocol: &str, count: usize) -> Vec<WsClient> {
    let sample = format!("altavoz_handshakes_total{{worker=\"{worker}\"}}");
    let (mut clients, mut others) = (Vec::new(), Vec::new());
    let mut before = broker.metrics(&sample);
    while clients.len() < count {
        let client = WsClient::connect(broker.address(), "/ws", &[protocol])
            .expect("the broker takes a handshake");
        let after = broker.metrics(&sample);
        if after > before { &mut clients } else { &mut others }.push(client);
        before = after;
    }
    clients
}

/// Each of a hundred connections has thousands of tiny publishes ready when the broker looks. What
/// it reads of them beyond the mailboxes' limit is of one connection, not of every one.
#[test]
fn a_full_mailbox_stops_every_publisher_of_a_worker() {
    const PUBLISHERS: usize = 100;
    const SUBSCRIBERS: usize = 40;
    const EACH: usize = 6_000;
    let _alone = feed::alone();
    let broker = Broker::start(&[
        "--workers",
        "2",
        "--pin",
        "false",
        "--mailbox-bytes-max",
        "65536",
        "--backlog-bytes-max",
        "1073741824",
        "--message-timeout-ms",
        "60000",
    ]);
    let expected = (PUBLISHERS * EACH) as u64;
    let readers: Vec<_> = connect_to(&broker, 1, feed::JSON, SUBSCRIBERS)
        .into_iter()
        .map(|mut client| {
            feed::subscribe(&mut client, "t");
            thread::spawn(move || {
                let mut ledger = Ledger::default();
                ledger.read(&mut client, expected);
            })
        })
        .collect();
    let mut frame = Vec::new();
    // Publish, to a topic of one byte, a payload of one byte.
    encode_masked_frame(&mut frame, Opcode::Binary, b"\x01\x01t1", [0; 4]);
    let burst = frame.repeat(EACH);
    let mut publishers = connect_to(&broker, 0, "altavoz.v1.bin", PUBLISHERS);
    let before = peak_bytes(&broker);
    while_it_stands_still(&broker, || {
        for publisher in &mut publishers {
            publisher.send_raw(&burst).expect("the kernel takes it");
        }
    });
    for reader in readers {
        reader.join().expect("it missed nothing");
    }
    let grown = peak_bytes(&broker) - before;
    let pauses = broker.metrics("altavoz_read_pauses_total");
    println!("{pauses} pauses; {} MiB more at the peak", grown / MIB);
    assert!(pauses > 0.0, "no mailbox was ever full: nothing is shown");
    assert!(grown < 40.0 * MIB, "{} MiB more at the peak", grown / MIB);
}
