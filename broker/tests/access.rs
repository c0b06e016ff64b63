//! Tokens in the hub, where the time is a number: to the millisecond when a warning comes and
//! when delivery ends.

#[path = "support/mint.rs"]
mod mint;

use std::sync::Arc;

use broker::auth::{Grants, Key, Terms, Verifier};
use broker::config::Config;
use broker::hub::protocol::Protocol;
use broker::hub::{Disconnect, Hub, MailStep, Shared};
use broker::metrics::Metrics;
use broker_proto::json::Parser;
use serde_json::{Value, json};

const WORKERS: usize = 2;
/// The time of day when the broker's clock is 0.
const BEGAN_UNIX_S: u64 = 1_700_000_000;

/// Hubs, and one session in slot 0 of each.
struct World {
    hubs: Vec<Hub>,
    now_ms: u64,
}

impl World {
    fn new(config: Config) -> Self {
        let alg = "HS256".parse().expect("an algorithm");
        let terms = Terms { alg, kid: None, issuer: None, audience: Vec::new() };
        let key = Key::from_secret(mint::SECRET.as_bytes(), terms).expect("it is long enough");
        let verifier = Verifier::new(vec![key], 0, Grants::nothing()).0;
        let shared = Shared::new(WORKERS, &config, 0).with_verifier(Arc::new(verifier));
        let (shared, config) = (Arc::new(shared), Arc::new(config));
        let metrics = Arc::new(Metrics::new(WORKERS));
        let hub = |at| Hub::new(at, shared.clone(), config.clone(), metrics.clone());
        let mut hubs: Vec<Hub> = (0..WORKERS).map(hub).collect();
        for (id, hub) in (1..).zip(&mut hubs) {
            hub.handle_clock(0, BEGAN_UNIX_S * 1_000);
            hub.open(0, id, Protocol::Json);
        }
        Self { hubs, now_ms: 0 }
    }

    fn ask(&mut self, worker: usize, command: &Value) -> Result<(), Disconnect> {
        let mut done = Ok(());
        let (hub, now_ms) = (&mut self.hubs[worker], self.now_ms);
        Parser::new().parse(&command.to_string(), |request| {
            done = hub.handle_request(0, &request, now_ms);
        });
        done
    }

    /// Shows a token that ends in so many seconds from the start.
    fn connect(&mut self, worker: usize, user: &str, seconds: u64) {
        let exp = BEGAN_UNIX_S + seconds;
        let claims = json!({"sub": user, "exp": exp, "sub_allow": ["#"], "pub_allow": ["#"]});
        let command = json!({"op": "connect", "token": mint::token(&claims)});
        assert_eq!(self.ask(worker, &command), Ok(()));
    }

    /// Lets every hub have a turn at this time; what each sends to its session.
    fn turn_at(&mut self, now_ms: u64) -> Vec<Vec<String>> {
        self.now_ms = now_ms;
        let said = self.hubs.iter_mut().map(|hub| {
            hub.handle_time(now_ms);
            while hub.handle_mail() != MailStep::Done {}
            let (mut touched, mut list) = (Vec::new(), Vec::new());
            hub.outbox.take_touched(&mut touched);
            let pending = hub.take_pending(0);
            let said = pending.map_or_else(Vec::new, |(pending, protocol)| {
                hub.outbox.list(pending, &mut list);
                let frames = list.iter().map(|frame| hub.outbox.bytes_of(*frame, protocol));
                let text = |bytes: &[u8]| {
                    let at = if bytes[1] < 126 { 2 } else { 4 };
                    String::from_utf8(bytes[at..].to_vec()).expect("it is text")
                };
                frames.map(text).collect()
            });
            hub.outbox.clear();
            said
        });
        said.collect()
    }

    fn ended(&mut self, worker: usize) -> Vec<(u32, u16)> {
        let ended = self.hubs[worker].take_ended();
        ended.into_iter().map(|(slot, why)| (slot, why.code.value())).collect()
    }
}

#[test]
fn a_warning_and_the_end_come_to_the_millisecond_and_nothing_after() {
    let mut world = World::new(Config::default());
    world.connect(0, "ana", 100);
    world.connect(1, "bea", 1_000);
    let subscribe = json!({"op": "subscribe", "topic": "t"});
    assert_eq!(world.ask(0, &subscribe), Ok(()));
    assert_eq!(world.hubs[0].next_due_ms(), Some(70_000));
    assert_eq!(world.turn_at(69_999)[0], [""; 0]);
    assert_eq!(world.turn_at(70_000)[0], [r#"{"expiring":{"in_ms":30000}}"#]);
    assert_eq!(world.hubs[0].next_due_ms(), Some(100_000));

    let publish = json!({"op": "publish", "topic": "t", "data": 1});
    assert_eq!(world.ask(1, &publish), Ok(()));
    assert_eq!(world.turn_at(99_999)[0], [r#"{"topic":"t","seq":1,"data":1}"#]);
    assert_eq!(world.ended(0), []);
    world.turn_at(100_000);
    assert_eq!(world.hubs[0].next_due_ms(), Some(0), "the worker must not sleep");
    assert_eq!(world.ended(0), [(0, 4401)]);
    // What the worker does then.
    world.hubs[0].unsubscribe_all(0);
    assert_eq!(world.ask(1, &publish), Ok(()));
    assert_eq!(world.turn_at(100_001)[0], [""; 0]);
    world.hubs[0].close(0);
    assert_eq!(world.hubs[0].next_due_ms(), None);
}

#[test]
fn a_renewed_token_moves_the_end_either_way() {
    let mut world = World::new(Config::default());
    for (seconds, due_ms) in [(100, 70_000), (3_600, 3_570_000), (60, 30_000), (20, 1)] {
        world.connect(0, "ana", seconds);
        assert_eq!(world.hubs[0].next_due_ms(), Some(due_ms), "{seconds}");
    }
    assert_eq!(world.turn_at(1)[0], [r#"{"expiring":{"in_ms":19999}}"#], "it is late already");
    world.turn_at(20_000);
    assert_eq!(world.ended(0), [(0, 4401)]);
}

#[test]
fn without_a_warning_only_the_end_comes() {
    let mut world = World::new(Config { token_warning_ms: 0, ..Config::default() });
    world.connect(0, "ana", 100);
    assert_eq!(world.hubs[0].next_due_ms(), Some(100_000));
    assert_eq!(world.turn_at(99_999)[0], [""; 0]);
    assert_eq!(world.turn_at(100_000)[0], [""; 0]);
    assert_eq!(world.ended(0), [(0, 4401)]);
}

#[test]
fn when_the_time_of_day_jumps_tokens_end_by_the_new_one() {
    let mut world = World::new(Config { token_warning_ms: 0, ..Config::default() });
    world.connect(0, "ana", 100);
    world.hubs[0].handle_clock(10_000, (BEGAN_UNIX_S + 10) * 1_000 + 400);
    assert_eq!(world.hubs[0].next_due_ms(), Some(100_000), "clocks are never quite even");
    world.hubs[0].handle_clock(10_000, (BEGAN_UNIX_S + 70) * 1_000);
    assert_eq!(world.hubs[0].next_due_ms(), Some(40_000), "the machine had been asleep");
    world.turn_at(40_000);
    assert_eq!(world.ended(0), [(0, 4401)]);
}

#[test]
fn a_warning_is_never_early_however_the_clocks_drift() {
    let mut world = World::new(Config { token_warning_ms: 30_000, ..Config::default() });
    world.connect(0, "ana", 100);
    world.hubs[0].handle_clock(10_000, (BEGAN_UNIX_S + 10) * 1_000 - 1);
    assert_eq!(world.hubs[0].next_due_ms(), Some(70_000), "clocks are never quite even");
    assert_eq!(world.turn_at(70_000)[0], [""; 0]);
    assert_eq!(world.turn_at(70_001)[0], [r#"{"expiring":{"in_ms":30000}}"#]);
}

#[test]
fn a_session_that_is_gone_before_its_end_is_heard_of_takes_nobody_with_it() {
    let mut world = World::new(Config::default());
    world.connect(0, "ana", 100);
    world.turn_at(100_000);
    world.hubs[0].close(0);
    world.hubs[0].open(0, 7, Protocol::Json);
    assert_eq!(world.ended(0), []);
}

#[test]
fn a_token_costs_twenty_commands() {
    let mut world = World::new(Config { commands_per_second_max: 100, ..Config::default() });
    let claims = json!({"exp": BEGAN_UNIX_S + 100});
    let command = json!({"op": "connect", "token": mint::token(&claims)});
    let taken = (0..100).take_while(|_| world.ask(0, &command).is_ok()).count();
    assert_eq!(taken, 10, "of a burst of two hundred commands");
}

#[test]
fn users_and_connections_publish_no_more_than_they_may() {
    let mut world = World::new(Config {
        publishes_per_second_max: 10,
        publishes_per_second_per_user_max: 15,
        commands_per_second_per_user_max: 5,
        ..Config::default()
    });
    world.connect(0, "ana", 100);
    world.connect(1, "ana", 100);
    let publish = json!({"id": 1, "op": "publish", "topic": "t", "data": 1});
    let ok = |said: &[String]| said.iter().filter(|text| text.contains(r#""ok""#)).count();
    let limited = |said: &[String], setting: &str| {
        let is = |text: &&String| text.contains("rate_limited") && text.contains(setting);
        said.iter().filter(is).count()
    };
    for worker in [0, 1] {
        (0..30).for_each(|_| assert_eq!(world.ask(worker, &publish), Ok(())));
    }
    let said = world.turn_at(0);
    assert_eq!((ok(&said[0]), limited(&said[0], "(publishes_per_second_max)")), (20, 10));
    assert_eq!((ok(&said[1]), limited(&said[1], "per_user_max")), (10, 10), "{:?}", said[1]);
    (0..12).for_each(|_| assert_eq!(world.ask(0, &json!({"id": 1, "op": "ping"})), Ok(())));
    let said = world.turn_at(0);
    assert_eq!((ok(&said[0]), limited(&said[0], "commands_per_second_per_user_max")), (10, 2));
}
