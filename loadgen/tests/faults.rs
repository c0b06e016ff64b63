//! `loadgen` against `loadgen sink`, which does exactly the wrong that it is told to: the report
//! must show that, no more and no less, and the exit code with it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/run.rs"]
mod run;
#[path = "support/sink.rs"]
mod sink;

use run::fanout;
use sink::Sink;

/// What reaches 200 subscribers of one topic of 20 messages, as [seq](Vec) by subscriber, where a
/// delivery with a number that `every` divides is replaced by what `instead` says.
fn received(every: u64, instead: impl Fn(&mut Vec<u64>, u64)) -> Vec<Vec<u64>> {
    let (subscribers, messages) = (200, 20);
    let mut received = vec![Vec::new(); subscribers];
    for seq in 1..=messages {
        for (subscriber, seqs) in received.iter_mut().enumerate() {
            let delivery = (seq - 1) * subscribers as u64 + subscriber as u64 + 1;
            match delivery.is_multiple_of(every) {
                true => instead(seqs, seq),
                false => seqs.push(seq),
            }
        }
    }
    received
}

/// How often a subscriber's seqs do not go on by one.
fn breaks(received: &[Vec<u64>]) -> u64 {
    let pairs = received.iter().flat_map(|seqs| seqs.windows(2));
    pairs.filter(|pair| pair[1] != pair[0] + 1).count() as u64
}

#[test]
fn a_sound_sink_is_found_sound_in_both_protocols() {
    for protocol in ["json", "bin"] {
        let sink = Sink::start("");
        let run = fanout(&sink.url(), &format!("--protocol {protocol}"));
        let injected = sink.stop();
        assert_eq!(run.code, 0, "{protocol}");
        assert_eq!(
            run.last_line(),
            "OK: 200 subscribers × 20 messages = 4,000 delivered, 0 lost, 0 duplicated, \
             0 out of order"
        );
        assert_eq!(run.account(), [4000, 4000, 0, 0, 0]);
        assert_eq!(run.number("/latency_us/count"), 4000);
        assert_eq!(run.number("/connections/ready"), 201);
        assert_eq!(run.number("/connections/closed_cleanly"), 201);
        let counts =
            ["connections", "subscriptions", "published", "deliveries", "closed_by_client"]
                .map(|name| injected.count(name));
        assert_eq!(counts, [201, 200, 20, 4000, 201]);
    }
}

#[test]
fn what_is_left_out_is_lost_to_the_message() {
    for (protocol, every) in [("json", 7), ("bin", 200), ("json", 199)] {
        let sink = Sink::start(&format!("--drop {every}"));
        let run = fanout(&sink.url(), &format!("--protocol {protocol}"));
        let dropped = sink.stop().count("dropped");
        assert_eq!(dropped, 4000 / every);
        assert_eq!((run.code, run.account()), (5, [4000, 4000 - dropped, dropped, 0, 0]));
        assert_eq!(run.of("seq_breaks"), breaks(&received(every, |_, _| {})), "every {every}");
        assert_eq!(run.of("strange"), 0);
        let verdict = format!("{dropped} lost, 0 duplicated, 0 out of order");
        assert!(run.last_line().starts_with("BROKEN: ") && run.last_line().contains(&verdict));
    }
}

#[test]
fn what_is_left_out_by_chance_is_counted_by_both_sides_alike() {
    let sink = Sink::start("--drop-percent 3 --seed 11");
    let run = fanout(&sink.url(), "");
    let dropped = sink.stop().count("dropped");
    assert!((40..400).contains(&dropped), "of 4,000, about 120: {dropped}");
    assert_eq!((run.code, run.account()), (5, [4000, 4000 - dropped, dropped, 0, 0]));
}

#[test]
fn a_loss_that_is_announced_is_a_loss_without_a_break_in_the_seq() {
    for protocol in ["json", "bin"] {
        let sink = Sink::start("--drop 37 --gap");
        let run = fanout(&sink.url(), &format!("--protocol {protocol}"));
        let injected = sink.stop();
        let dropped = 4000 / 37;
        assert_eq!([injected.count("dropped"), injected.count("gap_notices")], [dropped; 2]);
        assert_eq!((run.code, run.account()), (5, [4000, 4000 - dropped, dropped, 0, 0]));
        assert_eq!(["gap_notices", "gap_messages"].map(|name| run.of(name)), [dropped; 2]);
        assert_eq!(run.of("seq_breaks"), 0, "{protocol}");
    }
}

#[test]
fn what_comes_twice_is_duplicated_and_everything_is_delivered() {
    for protocol in ["json", "bin"] {
        let sink = Sink::start("--duplicate 33");
        let run = fanout(&sink.url(), &format!("--protocol {protocol}"));
        let twice = 4000 / 33;
        assert_eq!(sink.stop().count("duplicated"), twice);
        assert_eq!((run.code, run.account()), (5, [4000, 4000, 0, twice, 0]), "{protocol}");
        assert_eq!(run.of("seq_breaks"), twice);
        assert_eq!(run.number("/latency_us/count"), 4000, "a duplicate is not timed");
    }
}

#[test]
fn what_is_swapped_with_its_next_is_out_of_order_and_nothing_is_lost() {
    // 211 is prime to 200 and larger: no two neighbours of a subscriber are swapped, and the last
    // of them, delivery 3,798, has a next.
    let sink = Sink::start("--reorder 211");
    let run = fanout(&sink.url(), "");
    let swapped = 4000 / 211;
    assert_eq!(sink.stop().count("reordered"), swapped);
    assert_eq!((run.code, run.account()), (5, [4000, 4000, 0, 0, swapped]));
    // 1, 3, 2, 4: three breaks for each, but two at the begin or the end.
    let order = received(211, |_, _| {});
    let swapped_in = |seqs: &Vec<u64>| {
        let mut seqs = seqs.clone();
        for missing in 1..=20 {
            if !seqs.contains(&missing) {
                let next = seqs.iter().position(|&seq| seq == missing + 1).unwrap();
                seqs.insert(next + 1, missing);
            }
        }
        seqs
    };
    let order: Vec<_> = order.iter().map(swapped_in).collect();
    assert_eq!(run.of("seq_breaks"), breaks(&order));
}

#[test]
fn damaged_messages_are_strange_and_do_not_count_as_delivered() {
    for protocol in ["json", "bin"] {
        let sink = Sink::start("--corrupt 500");
        let run = fanout(&sink.url(), &format!("--protocol {protocol}"));
        assert_eq!(sink.stop().count("corrupted"), 8);
        assert_eq!((run.code, run.account()), (5, [4000, 3992, 8, 0, 0]), "{protocol}");
        assert_eq!(run.of("strange"), 8);
    }
}

#[test]
fn another_topics_message_is_strange_whether_there_is_such_a_topic_or_not() {
    for (flags, expected) in [("", 4000), ("--topics 2", 2000)] {
        let sink = Sink::start("--misroute 150");
        let run = fanout(&sink.url(), flags);
        let misrouted = sink.stop().count("misrouted");
        assert_eq!(misrouted, expected / 150);
        let account = [expected, expected - misrouted, misrouted, 0, 0];
        assert_eq!((run.code, run.account()), (5, account), "{flags}");
        assert_eq!(run.of("strange"), misrouted, "{flags}");
    }
}

#[test]
fn a_connection_closed_by_the_server_is_counted_with_code_and_reason() {
    let sink = Sink::with(&["--close-after", "11", "--close-count", "3", "--close-reason", "boom"]);
    let run = fanout(&sink.url(), "");
    assert_eq!(sink.stop().count("closed"), 3);
    // What the three do not get any more is lost: 9 of 20 each.
    assert_eq!((run.code, run.account()), (5, [4000, 3973, 27, 0, 0]));
    assert_eq!(run.number("/connections/closed_by_server/1011 boom"), 3);
    assert!(run.last_line().ends_with("3 connections closed by the server"));
}

#[test]
fn handshakes_that_are_refused_are_counted_with_their_status() {
    let sink = Sink::start("--refuse-percent 25 --seed 3");
    let run = fanout(&sink.url(), "");
    let injected = sink.stop();
    let refused = injected.count("refused");
    assert!(refused > 0 && injected.count("connections") == 201 - refused);
    assert_eq!(run.code, 3);
    assert_eq!(
        run.last_line(),
        format!(
            "FAILED: {} of 201 connections reached: the server answered 503, not 101",
            201 - refused
        )
    );
    assert_eq!(run.number("/connections/failed/the server answered 503, not 101"), refused);
}

#[test]
fn pings_are_answered() {
    let sink = Sink::start("--ping");
    let run = fanout(&sink.url(), "");
    let injected = sink.stop();
    assert_eq!((run.code, injected.count("pings"), injected.count("pongs")), (0, 200, 200));
    assert_eq!(run.number("/connections/pings_answered"), 200);
}

#[test]
fn many_faults_at_once_are_told_apart() {
    let sink = Sink::start(
        "--drop 101 --corrupt 211 --misroute 307 --duplicate 53 --reorder 401 --delay 2 --jitter 3",
    );
    let run = fanout(&sink.url(), "--topics 4 --publishers 2 --rate 200");
    let injected = sink.stop();
    let of = |name: &str| injected.count(name);
    let deliveries = of("deliveries");
    let lost = of("dropped") + of("corrupted") + of("misrouted");
    assert_eq!(of("dropped"), deliveries / 101);
    assert!(["misrouted", "duplicated", "reordered"].iter().all(|name| of(name) > 0));
    let account = [deliveries, deliveries - lost, lost, of("duplicated"), of("reordered")];
    assert_eq!((run.code, run.account()), (5, account));
    assert_eq!(run.of("strange"), of("corrupted") + of("misrouted"));
}

#[test]
fn no_delivery_is_faster_than_the_delay_and_jitter_keeps_the_order() {
    let sink = Sink::start("--delay 30 --jitter 20 --seed 5");
    let run = fanout(&sink.url(), "");
    assert_eq!((run.code, run.account()), (0, [4000, 4000, 0, 0, 0]));
    assert_eq!(sink.stop().count("delayed"), 4000);
    // The curve begins with the least. A histogram's value is exact to a thousandth.
    let least = &run.json["latency_curve_us"][0];
    assert_eq!(least[0], 0.0);
    assert!(least[1].as_f64().unwrap() >= 30_000.0 * 0.999, "{least}");
}

#[test]
fn a_stall_makes_late_what_was_due_during_it_and_nothing_else() {
    let sink = Sink::start("--stall-at 0.7 --stall-for 500");
    let run = fanout(&sink.url(), "--subscribers 50 --rate 100 --seconds 2");
    let injected = sink.stop();
    assert_eq!((run.code, run.account()), (0, [10_000, 10_000, 0, 0, 0]));
    let stalled_us = injected.count("stalled_us") as f64;
    assert!(injected.count("stalls") == 1 && stalled_us >= 500_000.0);
    // 50 of 200 messages are due in the stall, 10 ms apart: the first waits 500 ms, the last 0 to
    // 10 ms. A generator that waits for the server would have seen one late message of 200.
    let curve = run.json["latency_curve_us"].as_array().unwrap();
    let at = |share: f64| {
        let point = curve.iter().rfind(|point| point[0].as_f64().unwrap() <= share).unwrap();
        (point[0].as_f64().unwrap(), point[1].as_f64().unwrap())
    };
    for share in [0.8, 0.85, 0.9, 0.95, 0.98] {
        // So many of 200 messages come later than this one, which waits 10 ms less for each.
        let (share, latency_us) = at(share);
        let least_us = 500_000.0 - 10_000.0 * (200.0 * (1.0 - share) + 1.0);
        assert!(latency_us >= least_us, "{latency_us} µs at {share}, at least {least_us}");
    }
    // Where nothing else stood still, the stall accounts for a quarter of the samples.
    if run.json["verdict"]["measurement"] != "INVALID" && stalled_us < 550_000.0 {
        let (_, latency_us) = at(0.6);
        assert!(latency_us < stalled_us / 2.0, "{latency_us} µs without a stall");
    }
}
