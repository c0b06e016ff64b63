//! A property of ledgers, whatever they hold: those of many workers, sent as data and added up,
//! make the report that one worker's makes who saw everything.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;

use super::receive::Receipt;
use super::{Ledger, Part, Plan, Schedule, Slow, SlowBook};
use crate::report::{Course, Report, to_json};
use crate::seconds::Seconds;
use crate::stamp::Stamp;
use crate::target::{Protocol, Target};

const SUBSCRIBERS: u32 = 12;
const TOPICS: u32 = 3;
const SLOW: u32 = 2;
const MEASURED_FROM_NS: u64 = 2_000_000_000;

/// What may happen to a worker.
#[derive(Clone, Debug)]
enum Event {
    Arrival { seq: u64, broker_seq: u64, intended_ns: u64, latency_ns: u64 },
    Gap { from: u64, to: u64 },
    Rejoin { position: u64 },
    Closed { why: u8 },
    Sent { lag_ns: u64, is_measured: bool },
    Failed { why: u8 },
    Ready { at_ns: u64 },
    Woken { late_ns: u64 },
    Pinged,
}

fn event() -> impl Strategy<Value = Event> {
    let times = || 0..6_000_000_000_u64;
    prop_oneof![
        6 => (1..20_u64, 1..25_u64, times(), times()).prop_map(
            |(seq, broker_seq, intended_ns, latency_ns)| Event::Arrival {
                seq, broker_seq, intended_ns, latency_ns
            }
        ),
        1 => (0..20_u64, 0..20_u64).prop_map(|(from, to)| Event::Gap { from, to }),
        1 => (0..40_u64).prop_map(|position| Event::Rejoin { position }),
        1 => (0..4_u8).prop_map(|why| Event::Closed { why }),
        3 => (times(), any::<bool>())
            .prop_map(|(lag_ns, is_measured)| Event::Sent { lag_ns, is_measured }),
        1 => (0..4_u8).prop_map(|why| Event::Failed { why }),
        1 => times().prop_map(|at_ns| Event::Ready { at_ns }),
        1 => (0..50_000_000_u64).prop_map(|late_ns| Event::Woken { late_ns }),
        1 => Just(Event::Pinged),
    ]
}

fn plan(workers: usize) -> Plan {
    let target = Target::resolve("ws://127.0.0.1:1/", Protocol::Json).unwrap();
    let schedule = Schedule::new(10.0, 2.0, 6.0, TOPICS);
    let mut plan = Plan::new(target, [SUBSCRIBERS, 1, TOPICS], schedule, 64, 1);
    plan.slow = Some(Slow { subscribers: SLOW, bytes_per_second: 0 });
    plan.part = Part { first: 0, workers };
    plan
}

/// The ledgers of so many workers to whom these events happened.
fn ledgers(workers: usize, events: &[(u32, Event)]) -> Vec<Ledger> {
    let plan = plan(workers);
    let mut ledgers: Vec<Ledger> = (0..workers)
        .map(|worker| {
            let mine = plan.subscribers_on(worker);
            let mut ledger = Ledger::new(&plan, mine.flat_map(|who| plan.topics_of(who)));
            ledger.slow = SlowBook::new(plan.slow_on(worker));
            ledger.seconds = Seconds::new(MEASURED_FROM_NS);
            ledger.split.begin(MEASURED_FROM_NS);
            ledger
        })
        .collect();
    for (who, event) in events {
        let owner = |worker: &usize| plan.part.place_of(*who, *worker).is_some();
        let worker = (0..workers).find(owner).unwrap();
        let place = plan.part.place_of(*who, worker).unwrap();
        apply(&mut ledgers[worker], place, *who % TOPICS, event, &plan);
    }
    ledgers
}

fn apply(ledger: &mut Ledger, place: usize, topic: u32, event: &Event, plan: &Plan) {
    let account = place as u32;
    match *event {
        Event::Arrival { seq, broker_seq, intended_ns, latency_ns } => {
            let stamp = Stamp { run: plan.run, publisher: 0, topic, seq, intended_ns };
            let now_ns = intended_ns + latency_ns;
            let kernel_ns = (seq % 3 > 0).then_some(now_ns - latency_ns / 3);
            let receipt = Receipt { kernel_ns, unseen_since_ns: 0, is_last: seq % 2 == 0 };
            let broker_seq = Some(broker_seq);
            ledger.handle_message(account, &stamp, broker_seq, now_ns, MEASURED_FROM_NS, &receipt);
        }
        Event::Gap { from, to } => ledger.accounts[place].1.handle_gap(from, to),
        Event::Rejoin { position } => ledger.handle_rejoin(account, position),
        Event::Closed { why } => {
            let why = format!("reason {why}");
            if !ledger.handle_closed(place, &why, plan) {
                ledger.closes.add(why);
            }
        }
        Event::Sent { lag_ns, is_measured } => ledger.handle_send(topic, 4, lag_ns, is_measured),
        Event::Failed { why } => ledger.failures.add(format!("reason {why}")),
        Event::Ready { at_ns } => ledger.last_ready_ns = ledger.last_ready_ns.max(at_ns),
        Event::Woken { late_ns } => ledger.hiccups.handle_wake(late_ns),
        Event::Pinged => ledger.pings += 1,
    }
}

fn as_sent(ledger: &Ledger) -> Ledger {
    rmp_serde::from_slice(&rmp_serde::to_vec_named(ledger).unwrap()).unwrap()
}

fn reported(workers: usize, ledgers: Vec<Ledger>) -> (Report, Value) {
    let course = Course { ready: 1, begun_ns: 1, start_ns: 1, ..Course::default() };
    let plan = Plan { part: Part::whole(1), ..plan(workers) };
    let report = Report::new("fanout", "ws://x/", plan, course, ledgers);
    let value = to_json(&report);
    (report, value)
}

proptest! {
    #[test]
    fn ledgers_of_many_workers_add_up_to_that_of_one_who_saw_everything(
        workers in 2..7_usize,
        events in vec((0..SUBSCRIBERS, event()), 0..300),
    ) {
        // Times that only the last counts of need an order that all have.
        let mut events = events;
        events.sort_by_key(|(_, event)| match event {
            Event::Arrival { intended_ns, latency_ns, .. } => intended_ns + latency_ns,
            _ => 0,
        });
        let one = reported(1, ledgers(1, &events));
        let many = reported(workers, ledgers(workers, &events).iter().map(as_sent).collect());
        prop_assert_eq!(&one.1, &many.1);
        prop_assert_eq!(&one.0.latency, &many.0.latency);
        prop_assert_eq!(&one.0.lag, &many.0.lag);
        prop_assert_eq!(&one.0.slow.latency, &many.0.slow.latency);
        prop_assert_eq!(&one.0.seconds, &many.0.seconds);
    }
}
