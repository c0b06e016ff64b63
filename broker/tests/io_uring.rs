//! The sends of a turn in one call: the same messages, in the same order, whole, also where sockets
//! take a part only or nothing. Where the system allows no io_uring, the tests say so and pass.

#[path = "support/feed.rs"]
mod feed;
#[path = "support/support.rs"]
mod support;

use broker::sys::ring::SendRing;
use broker_proto::ws::CloseCode;
use feed::{Ledger, filler, publish_frame, subscriber, sync};
use support::broker::Broker;
use support::ws_client::WsClient;

fn broker(arguments: &[&str]) -> Option<Broker> {
    // In a thread of its own: where a ring goes, system calls of its thread may be interrupted.
    let tried = std::thread::spawn(|| SendRing::new().map(drop)).join().expect("it does not panic");
    if let Err(error) = tried {
        eprintln!("no io_uring here ({error}): skipped");
        return None;
    }
    Some(Broker::start(&[&["--workers", "1", "--io-uring"], arguments].concat()))
}

#[test]
fn many_subscribers_get_everything_in_order() {
    let Some(broker) = broker(&[]) else { return };
    // Some have equal lists, some have not, and there are more than go in one call.
    let filters = ["a", "b", "+", "#"];
    broker::sys::raise_descriptor_limit();
    let mut clients: Vec<WsClient> =
        (0..1_200).map(|at| subscriber(broker.address(), filters[at % 4])).collect();
    let mut publisher = feed::connect(broker.address());
    for number in 0..60 {
        let topic = ["a", "b"][number % 2];
        let frames: Vec<u8> =
            (0..number % 7 + 1).flat_map(|_| publish_frame(topic, &filler(120))).collect();
        publisher.send_raw(&frames).expect("the broker reads");
    }
    sync(&mut publisher);
    let ledgers = clients.iter_mut().enumerate().map(|(at, client)| {
        let mut ledger = Ledger::default();
        let of = |parity: usize| (parity..60).step_by(2).map(|number| number as u64 % 7 + 1);
        let count = match at % 4 {
            0 => of(0).sum(),
            1 => of(1).sum(),
            _ => of(0).chain(of(1)).sum::<u64>(),
        };
        ledger.read(client, count);
        ledger.count()
    });
    let delivered: u64 = ledgers.sum();
    // And an answer to each, the publisher's too.
    let sent = delivered + clients.len() as u64 + 1;
    assert_eq!(broker.metrics("altavoz_messages_sent_total"), sent as f64);
}

#[test]
fn frames_larger_than_a_socket_takes_arrive_whole_and_a_stalled_reader_harms_nobody() {
    let arguments = ["--overload", "close", "--message-bytes-max", "300000"];
    let Some(broker) = broker(&arguments) else { return };
    let mut stalled = subscriber(broker.address(), "t");
    let mut clients: Vec<WsClient> = (0..20).map(|_| subscriber(broker.address(), "t")).collect();
    let mut publisher = feed::connect(broker.address());
    let mut ledgers: Vec<Ledger> = clients.iter().map(|_| Ledger::default()).collect();
    for number in 1..=60 {
        publisher.send_raw(&publish_frame("t", &filler(250_000))).expect("the broker reads");
        // One at a time, so that what waits for the others stays within their limit.
        for (client, ledger) in clients.iter_mut().zip(&mut ledgers) {
            ledger.read(client, number);
        }
    }
    let (code, reason) = Ledger::default().read_to_close(&mut stalled);
    assert_eq!(code, CloseCode::TOO_SLOW.value(), "{reason}");
    assert!(broker.metrics("altavoz_sends_total") > 1_000.0);
}
