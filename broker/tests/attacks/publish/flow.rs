//! Floods, slow readers, and peers that vanish.

use std::io::{ErrorKind, Write as _};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use broker_proto::ws::{CloseCode, Opcode, encode_masked_frame};

use super::feed::{
    self, Ledger, await_metric, connect, filler, publish, publish_frame, subscriber, sync,
};
use crate::guard::{attack, attack_alone, closed};
use crate::support::broker::Broker;
use crate::support::ws_client::{PATIENCE, Received, WsClient};

#[test]
fn p_11_a_flood_of_publishes_arrives_whole_and_starves_nobody() {
    const MESSAGES: u64 = 300_000;
    attack_alone(&["--commands-per-second-max", "1000000"], |broker, _| {
        let mut reader = subscriber(broker.address(), "flood");
        let mut other = connect(broker.address());
        let address = broker.address();
        let flooder = thread::spawn(move || {
            let mut client = connect(address);
            let burst = publish_frame("flood", "0").repeat(1000);
            for _ in 0..MESSAGES / 1000 {
                client.send_raw(&burst).expect("the broker reads publishes");
            }
            sync(&mut client);
        });
        let reading = thread::spawn(move || {
            let mut ledger = Ledger::default();
            ledger.read(&mut reader, MESSAGES);
            ledger.last("flood")
        });
        // Others get their turn all the while.
        let mut turns = 0;
        while !flooder.is_finished() {
            sync(&mut other);
            turns += 1;
        }
        flooder.join().expect("the flood is over");
        println!("another connection had {turns} round trips during {MESSAGES} publishes");
        assert!(turns >= 5, "another connection had {turns} round trips");
        assert_eq!(reading.join().expect("the reader has not failed"), MESSAGES);
        drop(other);
        []
    });
}

#[test]
fn p_11_a_publisher_that_does_not_read_its_answers_is_not_read_either() {
    attack_alone(&[], |broker, _| {
        let client = connect(broker.address());
        client.stream().set_write_timeout(Some(Duration::from_secs(1))).expect("it is not zero");
        let mut burst = Vec::new();
        for _ in 0..1000 {
            let command = br#"{"id":1,"op":"publish","topic":"t","data":0}"#;
            encode_masked_frame(&mut burst, Opcode::Text, command, [0; 4]);
        }
        let mut written = 0_u64;
        let blocked = loop {
            match client.stream().write(&burst) {
                Ok(length) => written += length as u64,
                Err(error) => break error,
            }
            assert!(written < 256 * 1024 * 1024, "the broker reads on and on");
        };
        assert!(matches!(blocked.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{blocked}");
        let waiting = broker.metrics("altavoz_backlog_total_bytes");
        println!("{written} bytes were taken; {waiting} bytes of answers wait");
        assert!(waiting > 0.0 && waiting < 384.0 * 1024.0, "{waiting} bytes of answers wait");
        // It is not cut for what it did: once it reads, its answers come, in order.
        let mut client = client;
        let mut last = 0;
        for _ in 0..1000 {
            let answer = client.receive_text();
            let seq = answer.split_once(r#""seq":"#).and_then(|(_, rest)| rest.split_once(','));
            let seq: u64 =
                seq.and_then(|(seq, _)| seq.parse().ok()).expect("an answer to a publish");
            assert_eq!(seq, last + 1);
            last = seq;
        }
        drop(client);
        []
    });
}

/// Many subscribers that do not read for a while: what waits for them is one copy of each payload,
/// not a hundred. The first megabytes lie in the kernel.
#[test]
fn p_12_a_payload_that_waits_for_many_is_held_once() {
    const SUBSCRIBERS: usize = 100;
    const MESSAGES: u64 = 100;
    const BYTES: usize = 60_000;
    let settings = ["--backlog-bytes-max", "8388608", "--history-messages", "0", "--last-ms", "0"];
    attack_alone(&settings, |broker, _| {
        let mut clients: Vec<WsClient> =
            (0..SUBSCRIBERS).map(|_| subscriber(broker.address(), "hot")).collect();
        let before = broker.metrics("altavoz_allocated_bytes");
        let mut publisher = connect(broker.address());
        let data = filler(BYTES);
        for seq in 1..=MESSAGES {
            assert_eq!(publish(&mut publisher, "hot", &data), seq);
        }
        let delivered = MESSAGES as f64 * SUBSCRIBERS as f64;
        await_metric(broker, "altavoz_deliveries_total", |count| count >= delivered);
        let waiting = broker.metrics("altavoz_backlog_total_bytes");
        let held = broker.metrics("altavoz_allocated_bytes") - before;
        println!("{waiting} bytes wait, held in {held} bytes");
        assert!(waiting > 20.0 * 1024.0 * 1024.0, "only {waiting} bytes wait: nothing is shown");
        assert!(held * 8.0 < waiting, "{held} bytes are held for {waiting} that wait");
        for client in &mut clients {
            let mut ledger = Ledger::default();
            ledger.read(client, MESSAGES);
            assert_eq!(ledger.last("hot"), MESSAGES);
        }
        drop((clients, publisher));
        []
    });
}

const RACE: [&str; 8] = [
    "--overload",
    "close",
    "--backlog-bytes-max",
    "262144",
    "--close-timeout-ms",
    "10000",
    "--commands-per-second-max",
    "1000000",
];

/// One slow reader and three fast ones on the same topic, until the slow one is cut off.
struct Race<'b> {
    broker: &'b Broker,
    slow: WsClient,
    fast: Vec<thread::JoinHandle<Ledger>>,
    publisher: WsClient,
    published: u64,
}

impl<'b> Race<'b> {
    fn start(broker: &'b Broker) -> Self {
        let slow = subscriber(broker.address(), "t/1");
        let fast = ["t/1", "t/+", "#"].map(|filter| {
            let mut client = subscriber(broker.address(), filter);
            thread::spawn(move || {
                let mut ledger = Ledger::default();
                loop {
                    let text = client.receive_text();
                    let message = ledger.enter(&text);
                    if message.is_some_and(|message| message.data == "\"end\"") {
                        return ledger;
                    }
                }
            })
        });
        let publisher = connect(broker.address());
        Self { broker, slow, fast: fast.into(), publisher, published: 0 }
    }

    /// Publishes until the slow reader has lost its subscription.
    fn publish_until_the_cut(&mut self) {
        let burst = publish_frame("t/1", &filler(1000)).repeat(50);
        let subscriptions = self.broker.metrics("altavoz_subscriptions");
        while self.broker.metrics("altavoz_subscriptions") == subscriptions {
            self.publisher.send_raw(&burst).expect("the broker reads publishes");
            sync(&mut self.publisher);
            self.published += 50;
            assert!(self.published < 200_000, "nobody is too slow");
        }
    }

    /// The fast readers have received everything, also what came after the cut.
    fn finish(mut self) {
        assert_eq!(publish(&mut self.publisher, "t/1", "\"end\""), self.published + 1);
        for reader in self.fast {
            let ledger = reader.join().expect("it missed nothing");
            assert_eq!(ledger.last("t/1"), self.published + 1);
        }
    }
}

/// A cut must say the truth: every message from the first to the last that it names came, and none
/// besides.
fn demand_honest_cut(ledger: &Ledger, close: &(u16, String), published: u64) {
    let last = ledger.last("t/1");
    assert_eq!(*close, (4408, format!("too slow, last seq {last} of t/1")));
    assert_eq!(ledger.count(), last, "every message from the first to the last");
    eprintln!("the slow one got {last} of {published} messages");
    assert!(last < published, "it was cut off");
}

#[test]
fn p_13_a_reader_that_stops_is_cut_off_and_told_exactly_where() {
    attack_alone(&RACE, |broker, _| {
        let mut race = Race::start(broker);
        race.publish_until_the_cut();
        let mut ledger = Ledger::default();
        let close = ledger.read_to_close(&mut race.slow);
        demand_honest_cut(&ledger, &close, race.published);
        race.slow.send_close(CloseCode::NORMAL, "").expect("it may be answered");
        assert!(race.slow.ends_within(PATIENCE));
        race.finish();
        [closed("too_slow", 4408, 1)]
    });
}

#[test]
fn p_13_a_reader_that_trickles_is_cut_off_and_told_exactly_where() {
    attack_alone(&RACE, |broker, _| {
        let mut race = Race::start(broker);
        let mut slow = std::mem::replace(&mut race.slow, connect(broker.address()));
        let (hurry, hurried) = mpsc::channel::<()>();
        let trickle = thread::spawn(move || {
            let mut ledger = Ledger::default();
            let mut is_slow = true;
            loop {
                match slow.receive(PATIENCE) {
                    Some(Received::Text(text)) => ledger.enter(&text),
                    Some(Received::Close(Some(close))) => return (ledger, close),
                    other => panic!("after {} messages came {other:?}", ledger.count()),
                };
                is_slow = is_slow && hurried.recv_timeout(Duration::from_millis(2)).is_err();
            }
        });
        race.publish_until_the_cut();
        hurry.send(()).expect("it still reads");
        let (ledger, close) = trickle.join().expect("it missed nothing");
        demand_honest_cut(&ledger, &close, race.published);
        race.finish();
        [closed("too_slow", 4408, 1)]
    });
}

/// Only the pings tell: nothing else is sent to it, and it sends nothing.
#[test]
fn p_16_a_peer_that_answers_no_ping_is_dropped_with_its_subscriptions() {
    attack(&["--ping-interval-ms", "1000", "--pong-timeout-ms", "1000"], |broker| {
        let mut silent: Vec<WsClient> =
            (0..20).map(|number| subscriber(broker.address(), &format!("t/{number}"))).collect();
        let mut alive = subscriber(broker.address(), "alive");
        let dropped = "altavoz_closes_total{reason=\"pong_timeout\"}";
        let mut answered = 0;
        while broker.metrics(dropped) < 20.0 || answered < 4 {
            if let Some(received) = alive.receive(Duration::from_millis(100)) {
                let Received::Ping(payload) = received else { panic!("{received:?}") };
                alive.send_frame(Opcode::Pong, &payload).expect("whoever answers stays");
                answered += 1;
            }
        }
        assert_eq!(broker.metrics(dropped), 20.0);
        // The canary's subscription is left, and the one of whoever answers.
        assert_eq!(broker.metrics("altavoz_subscriptions"), 2.0);
        for client in &mut silent {
            // Its ping came; no close frame follows, for nobody seemed to be there to read it.
            assert_eq!(client.receive(PATIENCE), Some(Received::Ping(Vec::new())));
            let end = client.receive(PATIENCE);
            assert!(matches!(end, Some(Received::End | Received::Reset)), "{end:?}");
        }
        drop((silent, alive));
        []
    });
}

/// Connections die in the middle of a frame, by RST, while messages are on their way to them; the
/// slots they leave are taken by others at once, who must get their own topic and nothing else.
#[test]
fn p_17_resets_in_the_middle_of_a_fan_out_harm_nobody_else() {
    const ROUNDS: usize = 40;
    const CLIENTS: usize = 25;
    attack_alone(&["--commands-per-second-max", "1000000"], |broker, _| {
        let flood = super::Flood::start(broker, "hot/a", 2);
        for round in 0..ROUNDS {
            let mut doomed = Vec::new();
            for number in 0..CLIENTS {
                let mut client = connect(broker.address());
                client
                    .send_text(r#"{"op":"subscribe","topic":"hot/+"}"#)
                    .expect("the broker reads commands");
                if number % 3 != 0 {
                    assert!(client.receive_text().starts_with(r#"{"topic":"hot/a","#));
                }
                doomed.push(client);
            }
            for (number, mut client) in doomed.into_iter().enumerate() {
                // Of the header alone, of the mask, of the payload.
                let part = [2, 4, 9][number % 3];
                client.send_raw(&publish_frame("never", "0")[..part]).expect("it is open");
                feed::reset(client);
            }
            let topic = format!("own/{round}");
            let mut fresh: Vec<WsClient> =
                (0..4).map(|_| subscriber(broker.address(), &topic)).collect();
            publish(&mut connect(broker.address()), &topic, "0");
            for client in &mut fresh {
                let message = format!(r#"{{"topic":"{topic}","seq":1,"data":0}}"#);
                assert_eq!(client.receive_text(), message);
            }
        }
        flood.stop();
        // What is left is the canary's subscription.
        broker.wait_for_metric("altavoz_subscriptions", 1.0, PATIENCE);
        assert_eq!(broker.metrics("altavoz_panics_total"), 0.0);
        let lost = broker.metrics("altavoz_closes_total{reason=\"lost\"}");
        assert!(lost >= (ROUNDS * CLIENTS) as f64, "{lost} connections were lost");
        []
    });
}
