//! Attacks on what the broker has only so much of, rows R of the list: descriptors, connections
//! and work are here, memory that fills up in `memory`.

#[path = "resources/ceiling.rs"]
mod ceiling;
#[path = "resources/memory.rs"]
mod memory;

use std::fs;
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use broker_proto::ws::CloseCode;

use crate::canary::Canary;
use crate::guard::{Guard, alone, attack_alone, counted};
use crate::publish::feed::{
    self, Ledger, await_metric, connect, publish, publish_frame, subscribe, subscriber, sync,
};
use crate::support::broker::Broker;
use crate::support::http;
use crate::support::ws_client::{PATIENCE, WsClient};

/// Replaces `command` by the same with a limit on open files.
fn limit_open_files(command: &mut Command, limit: u32) {
    let mut limited = Command::new("prlimit");
    limited.arg(format!("--nofile={limit}")).arg(command.get_program()).args(command.get_args());
    for (name, _) in command.get_envs().filter(|(_, value)| value.is_none()) {
        limited.env_remove(name);
    }
    *command = limited;
}

/// Processor time that a process has used so far, of all its threads, in clock ticks of 10 ms.
fn processor_ticks(broker: &Broker) -> u64 {
    let path = format!("/proc/{}/stat", broker.process_id());
    let stat = fs::read_to_string(path).expect("the broker runs");
    // The name in parentheses may hold spaces; utime and stime are fields 14 and 15.
    let (_, fields) = stat.rsplit_once(')').expect("the name is in parentheses");
    let mut fields = fields.split_whitespace().skip(11);
    let mut next = || -> u64 { fields.next().and_then(|n| n.parse().ok()).expect("a number") };
    next() + next()
}

/// With a limit on connections above the one on descriptors, accepting is what fails.
#[test]
fn r_01_running_out_of_descriptors_neither_spins_nor_harms_who_is_there() {
    let _room = alone();
    broker::sys::raise_descriptor_limit();
    let settings = ["--workers", "2", "--connections-max", "100000", "--pin", "false"];
    let broker = Broker::start_with(&settings, |command| limit_open_files(command, 256));
    assert_eq!(broker.metrics("altavoz_open_files_max"), 256.0);
    let guard = Guard::new(&broker);
    let canary = Canary::start(&broker);

    let open = |_| TcpStream::connect(broker.address()).expect("the kernel takes it");
    let crowd: Vec<TcpStream> = (0..400).map(open).collect();
    while broker.open_fds() < 256 {
        thread::yield_now();
    }
    let (began, ticks) = (Instant::now(), processor_ticks(&broker));
    thread::sleep(Duration::from_millis(1500));
    let used = (processor_ticks(&broker) - ticks) as f64 / 100.0;
    let share = used / began.elapsed().as_secs_f64();
    println!("out of descriptors it uses {:.1} % of a core", share * 100.0);
    assert!(share < 0.3, "it spins: {share} of a core");
    canary.finish();

    drop(crowd);
    assert_eq!(connect(broker.address()).command(r#"{"id":1,"op":"ping"}"#), r#"{"id":1,"ok":{}}"#);
    let errors = broker.metrics("altavoz_accept_errors_total");
    assert!((1.0..200.0).contains(&errors), "{errors} accepts failed");
    let lines = broker.stderr().matches("can't accept").count();
    assert!((1..=4).contains(&lines), "{lines} lines in the log: {}", broker.stderr());
    guard.check();
}

#[test]
fn r_06_a_full_broker_refuses_with_503_and_takes_the_next_when_one_has_left() {
    let _room = alone();
    let broker =
        Broker::start(&["--workers", "2", "--connections-max", "20", "--log-format", "json"]);
    let canary = Canary::start(&broker);
    let mut clients: Vec<WsClient> = (0..18).map(|_| connect(broker.address())).collect();
    for _ in 0..30 {
        let request = format!(
            "GET /ws HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
            broker.address()
        );
        let response = http::exchange(broker.address(), request.as_bytes(), PATIENCE)
            .expect("a refusal is an answer");
        assert_eq!(response.status, 503, "{}", response.head);
        assert_eq!(response.header("Retry-After"), Some("1"));
        assert!(response.text().contains(r#""code":"unavailable""#), "{}", response.text());
    }
    clients.iter_mut().for_each(sync);
    // Who watches over it hears from it all the same.
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(http::get(broker.address(), path).expect("an answer").status, 200, "{path}");
    }
    let page = http::get(broker.address(), "/").expect("an answer");
    assert_eq!(page.status, 503, "{}", page.text());
    drop(clients.pop());
    let deadline = Instant::now() + PATIENCE;
    let mut last = loop {
        // The broker sees the end a moment after us.
        match WsClient::connect(broker.address(), "/ws", &[]) {
            Ok(client) => break client,
            Err(error) => assert!(Instant::now() < deadline, "nobody is let in: {error}"),
        }
    };
    sync(&mut last);
    drop((clients, last));
    canary.finish();
    await_metric(&broker, "altavoz_connections", |connections| connections == 0.0);
    assert!(broker.metrics("altavoz_refusals_total{status=\"503\"}") >= 30.0);
    assert_eq!(broker.metrics("altavoz_handshakes_total"), 21.0);
}

/// The row's twenty thousand, scaled down to two.
#[test]
fn r_07_an_idle_connection_costs_less_than_4_kib() {
    const COUNT: usize = 2000;
    broker::sys::raise_descriptor_limit();
    attack_alone(&["--first-command-timeout-ms", "0"], |broker, guard| {
        let resident = broker.rss_bytes();
        let idle: Vec<WsClient> = (0..COUNT).map(|_| connect(broker.address())).collect();
        let idle_bytes = guard.growth_bytes() / COUNT as u64;
        let mut busy: Vec<WsClient> = (0..COUNT)
            .map(|number| subscriber(broker.address(), &format!("t/{}", number % 10)))
            .collect();
        // Not their difference: what the first left behind is used again by the second, so that it
        // can be anything.
        let subscribed_bytes = guard.growth_bytes() / (2 * COUNT as u64);
        let resident = broker.rss_bytes().saturating_sub(resident) / (2 * COUNT as u64);
        println!(
            "a connection: {idle_bytes} bytes idle, {subscribed_bytes} where half of them \
             subscribe, {resident} of resident memory"
        );
        assert!(idle_bytes < 4096, "{idle_bytes} bytes each");
        assert!(subscribed_bytes < 4096, "{subscribed_bytes} bytes each");
        // They are all there.
        let mut publisher = connect(broker.address());
        for topic in 0..10 {
            publish(&mut publisher, &format!("t/{topic}"), "1");
        }
        for client in &mut busy {
            assert!(client.receive_text().ends_with(r#","seq":1,"data":1}"#));
        }
        drop((idle, busy));
        []
    });
}

/// Who is subscribed to the hot topic sits on one worker; all that the other worker does about it
/// is to hand over what its own clients publish.
#[test]
fn r_08_a_hot_topic_on_one_worker_leaves_the_other_alone() {
    const HOT: u64 = 60_000;
    let settings = ["--commands-per-second-max", "1000000", "--backlog-bytes-max", "16777216"];
    attack_alone(&settings, |broker, _| {
        let mut workers = [Vec::new(), Vec::new()];
        while workers.iter().any(|clients| clients.len() < 20) {
            let before = broker.metrics("altavoz_handshakes_total{worker=\"0\"}");
            let client = connect(broker.address());
            let after = broker.metrics("altavoz_handshakes_total{worker=\"0\"}");
            workers[usize::from(after == before)].push(client);
        }
        let [mut hot, mut cool] = workers;
        println!("{} connections on the one worker, {} on the other", hot.len(), cool.len());
        let readers: Vec<_> = hot
            .drain(..20)
            .map(|mut client| {
                thread::spawn(move || {
                    subscribe(&mut client, "hot");
                    Ledger::default().read(&mut client, HOT);
                })
            })
            .collect();
        // With the canary's.
        await_metric(broker, "altavoz_subscriptions", |count| count == 21.0);
        let mail = broker.metrics("altavoz_mail_total{worker=\"1\"}");

        let mut publisher = cool.pop().expect("there are twenty");
        let publishing = thread::spawn(move || {
            let burst = publish_frame("hot", "0").repeat(100);
            for _ in 0..HOT / 100 {
                publisher.send_raw(&burst).expect("the broker reads publishes");
            }
            sync(&mut publisher);
        });
        let mut turns = 0;
        while readers.iter().any(|reader| !reader.is_finished()) {
            sync(&mut cool[turns % 19]);
            turns += 1;
        }
        publishing.join().expect("it was not closed");
        for reader in readers {
            reader.join().expect("it missed nothing");
        }
        let mail = broker.metrics("altavoz_mail_total{worker=\"1\"}") - mail;
        println!("{turns} round trips on the other worker, which took {mail} messages");
        assert!(turns >= 3, "{turns} round trips");
        assert!(mail < HOT as f64 / 4.0, "{mail} messages went to a worker that wants none");
        []
    });
}

#[test]
fn r_08_connections_spread_over_the_workers() {
    attack_alone(&[], |broker, _| {
        let clients: Vec<WsClient> = (0..400).map(|_| connect(broker.address())).collect();
        for worker in 0..2 {
            let sample = format!("altavoz_handshakes_total{{worker=\"{worker}\"}}");
            let share = broker.metrics(&sample);
            println!("worker {worker} has {share} of {}", clients.len());
            assert!(share > 100.0, "worker {worker} has {share} of 400");
        }
        drop(clients);
        []
    });
}

/// The row's half hour, scaled down to a few thousand connections that come and go in every way
/// there is; the guard demands that nothing of them stays.
#[test]
fn r_11_connections_that_come_and_go_leave_nothing() {
    const ROUNDS: usize = 600;
    attack_alone(&[], |broker, _| {
        for round in 0..ROUNDS {
            let silent = TcpStream::connect(broker.address()).expect("it listens");
            let mut halfway = WsClient::connect(broker.address(), "/ws", &[]).expect("it upgrades");
            let mut polite = subscriber(broker.address(), &format!("churn/{round}"));
            let rude = subscriber(broker.address(), "churn/+");
            let status = http::get(broker.address(), "/healthz").expect("it answers").status;
            assert_eq!(status, 200);
            halfway.send_raw(&[0x81, 0xfe]).expect("it is open");
            polite.send_close(CloseCode::NORMAL, "").expect("it is open");
            assert_eq!(polite.receive_close().0, 1000);
            assert!(polite.ends_within(PATIENCE));
            feed::reset(rude);
            drop((silent, halfway));
        }
        broker.wait_for_metric("altavoz_subscriptions", 1.0, PATIENCE);
        let handshakes = 3 * ROUNDS + 3;
        [
            counted("altavoz_handshakes_total", handshakes),
            counted("altavoz_http_requests_total", ROUNDS).at_least(),
            counted("altavoz_closes_total{reason=\"normal\"}", ROUNDS).at_least(),
            counted("altavoz_closes_total{reason=\"lost\"}", 2 * ROUNDS).at_least(),
        ]
    });
}

/// As far as one node goes: that no port is left for a connection looks to it like any other that
/// fails, and those to a port where nobody listens all fail.
#[test]
fn r_05_connections_to_nats_that_all_fail_are_tried_at_leisure_and_leak_nothing() {
    const FAILED: &str = "altavoz_cluster_errors_total";
    let nats = ["--backplane", "nats", "--nats-url", "nats://127.0.0.1:1"];
    // What keeps something needs the other nodes, and the bystanders shall do without.
    let settings = [&nats[..], &["--history-messages", "0", "--last-ms", "0"]].concat();
    attack_alone(&settings, |broker, _| {
        let deadline = Instant::now() + PATIENCE;
        let mut failed = 0.0;
        while failed < 4.0 {
            assert!(Instant::now() < deadline, "{failed} attempts");
            thread::sleep(Duration::from_millis(50));
            failed = broker.metrics(FAILED);
        }
        // Each pause is twice the one before; without them there would be thousands by now.
        assert!(failed < 40.0, "{failed} attempts");
        assert_eq!(broker.metrics("altavoz_cluster_up"), 0.0);
        [counted(FAILED, 4).at_least()]
    });
}
