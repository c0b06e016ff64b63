//! Single cases, and all of them together: whatever is dropped, doubled or late, what is given out is
//! in order, once, and with what is told as lost makes up the whole.

use proptest::prelude::*;

use super::*;

const NUL: Place = Place { stretch: 0, number: 0 };

#[derive(Debug, Default)]
struct Log {
    arrivals: Arrivals,
    /// The numbers that were given out, and what was told as lost as its negative.
    seen: Vec<i64>,
    repeated: usize,
    now_ms: u64,
}

impl Log {
    fn receive(&mut self, number: u64) {
        self.receive_at(Place { number, ..NUL }, 0);
    }

    fn receive_at(&mut self, place: Place, heard_ms: u64) {
        let text = place.number.to_string();
        let Self { arrivals, seen, repeated, now_ms } = self;
        let out = |arrival: Arrival<'_>| note(seen, repeated, arrival);
        let payload = Payload::Json(text.as_bytes());
        arrivals.message((1, "t", place), payload, || Some(heard_ms), *now_ms, out);
    }

    fn reached(&mut self, place: Place, heard_ms: u64) {
        self.arrivals.reached(1, "t", place, heard_ms, self.now_ms);
    }

    fn wait(&mut self, ms: u64) {
        self.now_ms += ms;
        let Self { arrivals, seen, repeated, now_ms } = self;
        arrivals.expire(*now_ms, *now_ms, |arrival| note(seen, repeated, arrival));
    }
}

fn note(seen: &mut Vec<i64>, repeated: &mut usize, arrival: Arrival<'_>) {
    match arrival {
        Arrival::Message { payload, .. } => {
            let text = std::str::from_utf8(payload.bytes()).unwrap();
            seen.push(text.parse().unwrap());
        }
        Arrival::Lost { count, .. } => seen.push(-(count as i64)),
        Arrival::Repeated => *repeated += 1,
    }
}

#[test]
fn what_comes_twice_or_late_is_given_out_once_and_in_order() {
    let mut log = Log::default();
    for number in [1, 2, 2, 4, 3, 4, 1, 5] {
        log.receive(number);
    }
    log.wait(10 * HOLE_MS);
    assert_eq!((log.seen, log.repeated), (vec![1, 2, 3, 4, 5], 3));
}

#[test]
fn a_hole_that_lasts_is_a_loss_and_what_comes_for_it_later_is_not_taken() {
    let mut log = Log::default();
    log.receive(1);
    log.receive(4);
    log.wait(HOLE_MS - 1);
    assert_eq!(log.seen, [1]);
    log.wait(1);
    log.receive(2);
    log.receive(5);
    assert_eq!((log.seen, log.repeated), (vec![1, -2, 4, 5], 1));
}

#[test]
fn a_hole_is_left_open_while_what_came_could_not_be_looked_at() {
    let mut log = Log::default();
    log.receive(1);
    log.now_ms = 1_000;
    log.receive(3);
    let Log { arrivals, seen, repeated, .. } = &mut log;
    arrivals.expire(1_500, 999, |arrival| note(seen, repeated, arrival));
    assert_eq!(seen, &[1]);
    arrivals.expire(1_000 + HOLE_MS + BUSY_MS, 999, |arrival| note(seen, repeated, arrival));
    assert_eq!(seen, &[1, -1, 3]);
}

#[test]
fn the_end_of_a_burst_that_is_lost_is_found_by_the_heartbeat() {
    let mut log = Log::default();
    log.receive(1);
    log.reached(Place { number: 4, ..NUL }, 0);
    log.receive(2);
    log.wait(HOLE_MS);
    log.reached(Place { number: 4, ..NUL }, 0);
    log.wait(HOLE_MS);
    assert_eq!(log.seen, [1, 2, -2]);
}

#[test]
fn who_comes_later_begins_where_the_topic_is() {
    let mut log = Log::default();
    log.receive(7);
    log.receive(8);
    log.wait(HOLE_MS);
    assert_eq!(log.seen, [7, 8]);
    // The heartbeat may come before a message that it tells of.
    let mut log = Log::default();
    log.reached(Place { number: 7, ..NUL }, 0);
    log.receive(7);
    log.receive(8);
    log.wait(HOLE_MS);
    assert_eq!(log.seen, [7, 8]);
}

#[test]
fn who_was_there_before_the_count_began_knows_what_is_missing_at_its_start() {
    let mut log = Log { now_ms: 5_000, ..Log::default() };
    log.arrivals.beat(1, 50, 5_000);
    log.receive_at(Place { stretch: 50, number: 3 }, 1_000);
    log.wait(HOLE_MS);
    assert_eq!(log.seen, [-2, 3]);
    // Nothing of it came at all.
    let mut log = Log { now_ms: 5_000, ..Log::default() };
    log.arrivals.beat(1, 50, 5_000);
    log.reached(Place { stretch: 51, number: 2 }, 1_000);
    log.wait(HOLE_MS);
    assert_eq!(log.seen, [-2]);
    // Whoever subscribed just now does not know.
    let mut log = Log { now_ms: 5_000, ..Log::default() };
    log.arrivals.beat(1, 50, 5_000);
    log.receive_at(Place { stretch: 50, number: 3 }, 4_500);
    log.wait(HOLE_MS);
    assert_eq!(log.seen, [3]);
}

#[test]
fn a_new_stretch_begins_with_1() {
    let mut log = Log::default();
    log.receive(1);
    log.receive_at(Place { stretch: 400, number: 2 }, 0);
    log.receive(2);
    log.wait(HOLE_MS);
    assert_eq!((log.seen, log.repeated), (vec![1, -1, 2], 1));
}

#[test]
fn a_hole_with_too_much_behind_it_is_a_loss_at_once() {
    let mut log = Log::default();
    log.receive(1);
    (3..=HELD_MAX as u64 + 3).for_each(|number| log.receive(number));
    assert_eq!(log.seen[..3], [1, -1, 3]);
    assert_eq!(log.arrivals.held_bytes, 0);
}

#[test]
fn nobody_is_remembered_for_nothing() {
    let mut log = Log::default();
    log.receive(1);
    log.receive(3);
    log.arrivals.keep_topics(|_| false);
    assert_eq!((log.arrivals.lines, log.arrivals.held_bytes), (0, 0));
    log.wait(HOLE_MS);
    assert_eq!(log.seen, [1]);
    let mut none = Arrivals::default();
    let place = Place { number: 1, ..NUL };
    none.message((1, "t", place), Payload::Json(b"1"), || None, 0, |_| panic!("not wanted"));
    for run in 1..=2 * ORIGINS_MAX as u64 {
        none.beat(run, 1, 0);
    }
    assert_eq!(none.runs().count(), ORIGINS_MAX);
}

proptest! {
    #[test]
    fn all_that_was_sent_is_given_out_or_told_as_lost(
        fates in proptest::collection::vec((0_u8..10, 0_usize..4), 1..200),
    ) {
        let mut log = Log::default();
        log.receive(1);
        let mut waiting: Vec<(usize, u64)> = Vec::new();
        for (step, (fate, late)) in fates.iter().enumerate() {
            let number = step as u64 + 2;
            match fate {
                0 => {}
                1 => waiting.extend([(step, number), (step + late, number)]),
                _ => waiting.push((step + late, number)),
            }
            let ready = waiting.iter().filter(|(at, _)| *at <= step).map(|it| it.1);
            let ready: Vec<u64> = ready.collect();
            waiting.retain(|(at, _)| *at > step);
            ready.into_iter().for_each(|number| log.receive(number));
            log.wait(u64::from(*fate) * 30);
        }
        let last = fates.len() as u64 + 1;
        waiting.into_iter().for_each(|(_, number)| log.receive(number));
        log.reached(Place { number: last, ..NUL }, 0);
        log.wait(10 * HOLE_MS);
        let mut next = 1;
        for &seen in &log.seen {
            match seen {
                lost @ ..=-1 => next -= lost,
                number => {
                    prop_assert_eq!(number, next, "{:?}", log.seen);
                    next += 1;
                }
            }
        }
        prop_assert_eq!(next as u64, last + 1, "{:?}", log.seen);
        prop_assert_eq!(log.arrivals.held_bytes, 0);
    }
}

#[test]
fn runs_that_are_no_nodes_give_their_places_back() {
    let mut arrivals = Arrivals::default();
    let payload = Payload::Json(b"1");
    for run in 1..=ORIGINS_MAX as u64 + 1 {
        arrivals.message((run, "t", Place { number: 1, ..NUL }), payload, || Some(0), 0, |_| {});
    }
    assert_eq!(arrivals.runs().count(), ORIGINS_MAX);
    arrivals.forget_strangers(1, |run| run == 5);
    assert_eq!(arrivals.runs().count(), ORIGINS_MAX, "their heartbeats may still come");
    arrivals.forget_strangers(STRANGERS_MS, |_| false);
    assert_eq!(arrivals.runs().count(), ORIGINS_MAX, "not looked at yet");
    arrivals.forget_strangers(1 + STRANGERS_MS, |run| run == 5);
    assert_eq!(arrivals.runs().collect::<Vec<_>>(), [5]);
}
