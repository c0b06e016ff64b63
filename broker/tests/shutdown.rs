//! Stopping: everyone gets what was published before and is told when to come back, nobody new is
//! let in, and whoever does not want to wait is obeyed.

#[path = "support/feed.rs"]
mod feed;
#[path = "support/support.rs"]
mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::thread;
use std::time::{Duration, Instant};

use broker_proto::ws::CloseCode;
use feed::{Ledger, await_metric, connect, filler, publish, publish_frame, subscriber};
use rustix::process::{Pid, Signal, kill_process};
use support::broker::Broker;
use support::ws_client::{PATIENCE, Received, WsClient};

fn signal(broker: &Broker, signal: Signal) {
    let id = i32::try_from(broker.process_id()).ok().and_then(Pid::from_raw);
    kill_process(id.expect("it is the id of a child"), signal).expect("the child is not reaped");
}

/// Waits until the broker has said that it stops.
fn await_stop(broker: &Broker) {
    let deadline = Instant::now() + PATIENCE;
    while !broker.stderr().contains("stopping; once more to stop at once") {
        assert!(Instant::now() < deadline, "{}", broker.stderr());
        thread::sleep(Duration::from_millis(5));
    }
}

/// The milliseconds of `reconnect in N ms`.
fn delay(reason: &str) -> u64 {
    let delay = reason.strip_prefix("reconnect in ").and_then(|rest| rest.strip_suffix(" ms"));
    delay.and_then(|delay| delay.parse().ok()).unwrap_or_else(|| panic!("{reason}"))
}

/// No tenth of `0..=spread` may hold more than three times its share.
fn demand_spread(delays: &[u64], spread: u64) {
    let mut tenths = [0; 10];
    for &delay in delays {
        assert!(delay <= spread, "{delay} of at most {spread}");
        tenths[(delay * 10 / (spread + 1)) as usize] += 1;
    }
    eprintln!("by tenths of the {spread} ms: {tenths:?}");
    assert!(tenths.iter().all(|count| count * 10 <= delays.len() * 3), "{tenths:?}");
}

/// A tenth of what ask for, at ten times the rate.
#[test]
fn x_01_everyone_gets_what_was_published_and_then_a_time_to_come_back() {
    drain(1_000, Duration::from_millis(5), 5_000);
}

/// Takes 20,000 descriptors and, built for release, less than a minute.
#[test]
#[ignore = "a measurement: run it by itself, with --release"]
fn x_01_x_03_ten_thousand_are_sent_away_without_a_loss_and_come_back_spread() {
    drain(10_000, Duration::from_millis(50), 10_000);
}

/// So many subscribers under load, two messages in each `pause`: what was published and answered
/// before the signal reaches everyone, without a hole, and then 1001 with a time to come back, which
/// are spread over `spread` milliseconds.
fn drain(clients: usize, pause: Duration, spread: u64) {
    let _alone = feed::alone();
    let mut broker = Broker::start(&[
        "--workers",
        "2",
        "--pin",
        "false",
        "--reconnect-spread-ms",
        &spread.to_string(),
        "--close-timeout-ms",
        "10000",
        "--commands-per-second-max",
        "1000000",
    ]);
    let mut clients: Vec<WsClient> =
        (0..clients).map(|_| subscriber(broker.address(), "load")).collect();
    let mut publisher = connect(broker.address());
    let data = filler(200);
    for _ in 0..100 {
        publish(&mut publisher, "load", &data);
    }
    let load = start_load(&broker, pause);
    await_metric(&broker, "altavoz_publishes_total", |count| count > 120.0);
    let answered = publish(&mut publisher, "load", &data);
    broker.send_sigterm();
    let began = Instant::now();

    let mut delays = Vec::new();
    for client in &mut clients {
        let mut ledger = Ledger::default();
        let (code, reason) = ledger.read_to_close(client);
        assert_eq!(code, 1001, "{reason}");
        assert!(ledger.last("load") >= answered, "{} of {answered}", ledger.last("load"));
        assert_eq!(ledger.count(), ledger.last("load"), "from the first on");
        delays.push(delay(&reason));
        client.send_close(CloseCode::GOING_AWAY, "").expect("the broker waits for the answer");
    }
    eprintln!("{} clients were sent away within {:?}", delays.len(), began.elapsed());
    demand_spread(&delays, spread);
    assert_eq!(publisher.receive_close().0, 1001);
    publisher.send_close(CloseCode::GOING_AWAY, "").expect("the broker waits for the answer");
    load.join().expect("the load was closed like everyone");
    let status = broker.wait(PATIENCE).expect("all have gone, so it ends");
    assert_eq!(status.code(), Some(0), "{}", broker.stderr());
    assert!(!broker.stderr().contains("panicked"), "{}", broker.stderr());
}

/// A connection that publishes until it is told that the broker stops.
fn start_load(broker: &Broker, pause: Duration) -> thread::JoinHandle<()> {
    let mut client = connect(broker.address());
    thread::spawn(move || {
        let burst = publish_frame("load", &filler(200)).repeat(2);
        loop {
            if client.send_raw(&burst).is_err() {
                return;
            }
            match client.receive(pause) {
                Some(Received::Close(Some((1001, _)))) => break,
                None => {}
                other => panic!("a publisher without ids receives nothing, but {other:?}"),
            }
        }
        // It may have been cut off while it still wrote.
        let _ = client.send_close(CloseCode::GOING_AWAY, "");
    })
}

/// `GET /readyz` on a connection that is kept; the status and the body.
fn ask_ready(stream: &mut TcpStream) -> (String, String) {
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: altavoz\r\n\r\n").expect("it is kept open");
    let mut text = String::new();
    let mut chunk = [0; 1024];
    loop {
        let length = stream.read(&mut chunk).expect("an answer comes");
        text.push_str(str::from_utf8(&chunk[..length]).expect("it is text"));
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let head = head.to_ascii_lowercase();
        let (_, wanted) = head.split_once("content-length: ").expect("its length is known");
        let wanted = wanted.split_whitespace().next().and_then(|n| n.parse().ok());
        if wanted == Some(body.len()) {
            let status = head.split(' ').nth(1).unwrap_or_default().to_owned();
            return (status, body.to_owned());
        }
    }
}

#[test]
fn x_01_nobody_new_is_let_in_and_readiness_says_why() {
    let mut broker = Broker::start(&["--workers", "2", "--close-timeout-ms", "3000"]);
    let mut health = TcpStream::connect(broker.address()).expect("it listens");
    assert_eq!(ask_ready(&mut health), ("200".into(), "ready".into()));
    // Whoever does not answer the close frame keeps the broker waiting.
    let mut stubborn = subscriber(broker.address(), "t");
    let mut halfway = TcpStream::connect(broker.address()).expect("it listens");
    halfway.write_all(b"GET /ws HTTP/1.1\r\n").expect("it is open");
    await_metric(&broker, "altavoz_connections", |count| count == 2.0);
    broker.send_sigterm();
    assert_eq!(stubborn.receive_close().0, 1001);

    assert_eq!(ask_ready(&mut health), ("503".into(), "draining".into()));
    let mut refusal = String::new();
    halfway.read_to_string(&mut refusal).expect("it is answered");
    assert!(refusal.starts_with("HTTP/1.1 503 "), "{refusal}");
    // A connection may still wait in the kernel when its listener goes, and is reset then.
    let refused = WsClient::connect(broker.address(), "/ws", &[]);
    assert!(refused.is_err(), "nobody new is let in");
    let status = broker.wait(PATIENCE).expect("it waits for the stubborn one no longer than 3 s");
    assert_eq!(status.code(), Some(0));
    assert!(stubborn.ends_within(PATIENCE));
}

/// A client that reads slowly gets its backlog before the close frame too.
#[test]
fn x_01_what_waits_for_a_slow_reader_is_sent_before_the_close() {
    const MESSAGES: u64 = 150;
    let _alone = feed::alone();
    let mut broker = Broker::start(&[
        "--workers",
        "2",
        "--backlog-bytes-max",
        "16777216",
        "--close-timeout-ms",
        "10000",
    ]);
    let mut slow = subscriber(broker.address(), "t");
    let mut publisher = connect(broker.address());
    for seq in 1..=MESSAGES {
        assert_eq!(publish(&mut publisher, "t", &filler(60_000)), seq);
    }
    let waiting = broker.metrics("altavoz_backlog_total_bytes");
    assert!(waiting > 1024.0 * 1024.0, "only {waiting} bytes wait: nothing is shown");
    broker.send_sigterm();
    assert_eq!(publisher.receive_close().0, 1001);
    let mut ledger = Ledger::default();
    let (code, reason) = ledger.read_to_close(&mut slow);
    assert_eq!((code, ledger.count(), ledger.last("t")), (1001, MESSAGES, MESSAGES));
    delay(&reason);
    drop((slow, publisher));
    assert_eq!(broker.wait(PATIENCE).expect("all have gone").code(), Some(0));
}

#[test]
fn x_02_a_second_signal_ends_it_at_once() {
    for (first, second) in
        [(Signal::TERM, Signal::TERM), (Signal::TERM, Signal::INT), (Signal::INT, Signal::INT)]
    {
        let settings = ["--drain-timeout-ms", "20000", "--close-timeout-ms", "10000"];
        let mut broker = Broker::start(&settings);
        let mut stubborn = subscriber(broker.address(), "t");
        signal(&broker, first);
        await_stop(&broker);
        assert_eq!(stubborn.receive_close().0, 1001);
        assert_eq!(broker.wait(Duration::ZERO), None, "it waits for the close to be answered");
        signal(&broker, second);
        let status = broker.wait(PATIENCE).expect("it ends");
        assert_eq!((status.code(), status.signal()), (Some(130), None), "{first:?} {second:?}");
    }
}

#[test]
fn a_broker_without_clients_ends_on_either_signal() {
    for which in [Signal::TERM, Signal::INT] {
        let mut broker = Broker::start(&["--workers", "2"]);
        signal(&broker, which);
        assert_eq!(broker.wait(PATIENCE).expect("nothing keeps it").code(), Some(0), "{which:?}");
    }
}
