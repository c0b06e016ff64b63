//! What very many topics cost in memory. Counted by the allocator for this thread, over the hub
//! without sockets.

use bench::audience::Audience;
use tikv_jemalloc_ctl::thread::{allocatedp, deallocatedp};

const TOPICS: u32 = 1 << 17;
/// Subscriptions of each subscriber.
const EACH: u32 = 64;

/// Bytes that this thread holds more after `work`.
fn held_by(work: impl FnOnce()) -> u64 {
    let (allocated, freed) =
        (allocatedp::read().expect("jemalloc counts"), deallocatedp::read().expect("it counts"));
    let before = allocated.get().wrapping_sub(freed.get());
    work();
    allocated.get().wrapping_sub(freed.get()).wrapping_sub(before)
}

fn name(number: u32) -> String {
    format!("user/{number}/notices")
}

#[test]
fn a_topic_with_one_subscriber_costs_at_most_250_bytes() {
    let mut audience = Audience::new(TOPICS / EACH, &[]);
    let subscribing = held_by(|| {
        for number in 0..TOPICS {
            audience.subscribe(number / EACH, &name(number));
        }
    });
    let each = subscribing / u64::from(TOPICS);
    println!("{each} bytes a topic with one subscriber, its name and the subscription included");
    assert!(each <= 250, "{each} bytes");
}

/// What the hub has for each, without the worker's 128 bytes for the connection.
#[test]
fn a_session_with_a_topic_of_its_own_costs_at_most_400_bytes() {
    // Tables that grow by doubling are three quarters full with so many: neither the best case nor
    // the worst.
    const SESSIONS: u32 = 3 << 15;
    let mut audience = None;
    let held = held_by(|| {
        let audience = audience.insert(Audience::new(SESSIONS, &[]));
        (0..SESSIONS).for_each(|number| audience.subscribe(number, &name(number)));
    });
    let each = held / u64::from(SESSIONS);
    println!("{each} bytes a session with a topic of its own");
    assert!(each <= 400, "{each} bytes");
}
