//! Everybody comes back at once, in the middle of a feed.

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use crate::account::Account;
use crate::feed;
use crate::support::broker::Broker;
use crate::viewer::{LiveFeed, Viewer, member};

#[test]
fn of_two_hundred_who_come_back_at_once_none_misses_anything() {
    const THREADS: usize = 20;
    const EACH: usize = 10;
    const AWAY: u64 = 50;
    let _alone = feed::alone();
    let broker = Broker::start(&[
        "--workers",
        "2",
        "--pin",
        "false",
        "--history-messages",
        "100000",
        "--history-bytes",
        "67108864",
    ]);
    let (mut witness, answer) =
        Viewer::subscribe(&broker, r#"{"id":1,"op":"subscribe","topic":"t"}"#);
    let epoch = member(&answer, "epoch");
    let live = LiveFeed::start(&broker, "t", Duration::from_millis(5));
    let mut seen = Account::after("t", 0);
    seen.read_to(&mut witness, "t", AWAY);

    let start = Arc::new(Barrier::new(THREADS + 1));
    let crowd: Vec<_> = (0..THREADS)
        .map(|_| {
            let address = broker.address();
            let (epoch, start) = (epoch.clone(), start.clone());
            thread::spawn(move || {
                start.wait();
                (0..EACH as u64)
                    .map(|number| {
                        let mut viewer = Viewer::connect_to(address);
                        let answer = viewer.answer(&format!(
                            r#"{{"id":1,"op":"subscribe","topic":"t","since":{{"epoch":"{epoch}","seq":{number}}}}}"#
                        ));
                        assert!(answer.ends_with(r#","recovered":true}}"#), "{answer}");
                        (viewer, Account::after("t", number), number)
                    })
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    start.wait();
    let crowd: Vec<_> =
        crowd.into_iter().flat_map(|thread| thread.join().expect("all are back")).collect();
    assert_eq!(crowd.len(), THREADS * EACH);
    let until = seen.last("t") + 100;
    seen.read_to(&mut witness, "t", until);
    let last = live.stop();
    for (mut viewer, mut account, began) in crowd {
        account.read_to(&mut viewer, "t", last);
        assert_eq!((account.delivered, account.passed_over), (last - began, 0));
        let stats = viewer.stats();
        assert_eq!((stats.sent, stats.pending), (last - began, 0), "{stats:?}");
    }
}
