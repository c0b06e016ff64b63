//! Memory that fills up: what waits for all slow readers together, and the mailboxes between
//! workers.

use std::thread;
use std::time::Duration;

use broker_proto::ws::Opcode;

use crate::canary::Canary;
use crate::guard::{Guard, alone, attack_alone};
use crate::publish::feed::{
    Ledger, await_metric, connect, filler, publish, publish_frame, subscribe, subscriber, sync,
};
use crate::support::broker::Broker;
use crate::support::ws_client::{PATIENCE, Received, WsClient};

const MIB: f64 = 1024.0 * 1024.0;

/// Readers of `filter` that read all the time until the message `"end"`; how many messages came.
fn fast_readers(broker: &Broker, filter: &str, count: usize) -> Vec<thread::JoinHandle<u64>> {
    let start = |_| {
        let mut client = subscriber(broker.address(), filter);
        thread::spawn(move || {
            let mut ledger = Ledger::default();
            loop {
                let text = client.receive_text();
                let message = ledger.enter(&text);
                if message.is_some_and(|message| message.data == "\"end\"") {
                    return ledger.count();
                }
            }
        })
    };
    (0..count).map(start).collect()
}

/// The row's five thousand slow readers, scaled down to forty, on one worker, so that which of
/// them go is certain: the slowest, which are those that do not read at all.
#[test]
fn r_04_when_all_backlogs_together_are_too_large_the_slowest_are_cut_off() {
    const CAP: f64 = 8.0 * MIB;
    let _room = alone();
    let broker = Broker::start(&[
        "--workers",
        "1",
        "--backlog-bytes-max",
        "4194304",
        "--backlog-total-bytes-max",
        "8388608",
        "--commands-per-second-max",
        "1000000",
        "--close-timeout-ms",
        "10000",
    ]);
    let guard = Guard::new(&broker);
    let canary = Canary::start(&broker);
    let mut slow: Vec<WsClient> = (0..40).map(|_| subscriber(broker.address(), "t")).collect();
    let fast = fast_readers(&broker, "t", 4);
    let all = broker.metrics("altavoz_subscriptions");
    let mut publisher = connect(broker.address());
    let burst = publish_frame("t", &filler(4000)).repeat(10);
    let (mut published, mut most) = (0, 0.0_f64);
    while broker.metrics("altavoz_subscriptions") > all - 20.0 {
        publisher.send_raw(&burst).expect("the broker reads publishes");
        sync(&mut publisher);
        published += 10;
        most = most.max(broker.metrics("altavoz_backlog_total_bytes"));
        assert!(published < 20_000, "nobody is cut off");
    }
    let end = publish(&mut publisher, "t", "\"end\"");
    assert_eq!(end, published + 1);
    for reader in fast {
        assert_eq!(reader.join().expect("it missed nothing"), end);
    }
    println!("{most} bytes waited at most, of {CAP} allowed");
    assert!(most > CAP / 2.0 && most <= CAP, "{most} bytes waited");

    let cut = slow.iter_mut().filter_map(|client| read_to_the_cut(client, end)).count();
    println!("{cut} of {} slow readers were cut off", slow.len());
    assert!((20..40).contains(&cut), "{cut} were cut off");
    drop((slow, publisher));
    canary.finish();
    broker.wait_for_metric("altavoz_closes_total{reason=\"overloaded\"}", cut as f64, PATIENCE);
    assert!(broker.logs("overloaded, last seq", PATIENCE), "{}", broker.stderr());
    guard.check();
}

/// Reads what a slow reader gets in the end: everything, or as much as its close frame says.
fn read_to_the_cut(client: &mut WsClient, end: u64) -> Option<u64> {
    let mut ledger = Ledger::default();
    while ledger.last("t") < end {
        match client.receive(PATIENCE) {
            Some(Received::Text(text)) => {
                ledger.enter(&text).expect("only messages are on their way");
            }
            Some(Received::Ping(payload)) => {
                client.send_frame(Opcode::Pong, &payload).expect("the connection lives");
            }
            Some(Received::Close(Some(close))) => {
                let last = ledger.last("t");
                assert_eq!(close, (1013, format!("overloaded, last seq {last} of t")));
                assert_eq!(ledger.count(), last, "every message from the first to the last");
                return Some(last);
            }
            other => panic!("after {} messages came {other:?}", ledger.count()),
        }
    }
    assert_eq!(ledger.count(), end);
    None
}

/// On several workers each cuts its own; the sum is what must hold.
#[test]
fn r_04_the_cap_holds_over_all_workers() {
    let settings = ["--message-bytes-max", "4096", "--backlog-bytes-max", "1048576"];
    let settings = [&settings[..], &["--backlog-total-bytes-max", "4194304"]].concat();
    let settings = [&settings[..], &["--commands-per-second-max", "1000000"]].concat();
    let settings = [&settings[..], &["--overload", "close"]].concat();
    attack_alone(&settings, |broker, _| {
        let slow: Vec<WsClient> = (0..40).map(|_| subscriber(broker.address(), "t")).collect();
        let mut publisher = connect(broker.address());
        let burst = publish_frame("t", &filler(3000)).repeat(10);
        let (mut published, mut most) = (0, 0.0_f64);
        // The canary's subscription stays.
        while broker.metrics("altavoz_subscriptions") > 1.0 {
            publisher.send_raw(&burst).expect("the broker reads publishes");
            sync(&mut publisher);
            published += 10;
            most = most.max(broker.metrics("altavoz_backlog_total_bytes"));
            assert!(published < 40_000, "nobody is cut off");
        }
        println!("{most} bytes waited at most, when {published} messages were published");
        // A worker that is within its share leaves it to the others, which may come to it only
        // when they have delivered the burst too.
        let burst = (slow.len() * burst.len()) as f64;
        assert!(most > 2.0 * MIB && most <= 4.0 * MIB + burst, "{most} bytes waited");
        await_metric(broker, "altavoz_backlog_total_bytes", |bytes| bytes <= 4.0 * MIB);
        drop((slow, publisher));
        []
    });
}

/// Publishers on all workers fill small mailboxes: those who fill them are read later, nothing is
/// lost, and the two workers do not wait for each other for ever.
#[test]
fn r_09_full_mailboxes_make_publishers_wait_and_lose_nothing() {
    const PUBLISHERS: usize = 8;
    const EACH: u64 = 5000;
    let mailboxes = ["--message-bytes-max", "8192", "--mailbox-bytes-max", "8192"];
    // Room for everything, so that no reader counts as slow where the machine is busy.
    let settings = [&mailboxes[..], &["--backlog-bytes-max", "16777216"]].concat();
    attack_alone(&settings, |broker, _| {
        let start_reader = |number: usize| {
            let mut client = connect(broker.address());
            subscribe(&mut client, if number.is_multiple_of(2) { "flood/+" } else { "flood/#" });
            thread::spawn(move || {
                let mut ledger = Ledger::default();
                ledger.read(&mut client, PUBLISHERS as u64 * EACH);
                (0..PUBLISHERS).map(|n| ledger.last(&format!("flood/{n}"))).collect::<Vec<_>>()
            })
        };
        let readers: Vec<_> = (0..6).map(start_reader).collect();
        let (address, start) = (broker.address(), std::sync::Barrier::new(PUBLISHERS));
        thread::scope(|scope| {
            for number in 0..PUBLISHERS {
                let start = &start;
                scope.spawn(move || {
                    let mut client = connect(address);
                    let frame = publish_frame(&format!("flood/{number}"), &filler(200));
                    let burst = frame.repeat(100);
                    start.wait();
                    for _ in 0..EACH / 100 {
                        client.send_raw(&burst).expect("the broker reads publishes");
                    }
                    sync(&mut client);
                });
            }
        });
        for reader in readers {
            assert_eq!(reader.join().expect("it missed nothing"), [EACH; PUBLISHERS]);
        }
        let pauses = broker.metrics("altavoz_read_pauses_total");
        println!("publishers had to wait {pauses} times");
        assert!(pauses > 0.0, "the mailboxes were never full");
        broker.wait_for_metric("altavoz_mailbox_bytes", 0.0, Duration::from_secs(10));
        []
    });
}
