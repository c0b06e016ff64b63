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
fn a_topic_with_one_subscriber_costs_at_most_300_bytes() {
    let mut audience = Audience::new(TOPICS / EACH, &[]);
    let subscribing = held_by(|| {
        for number in 0..TOPICS {
            audience.subscribe(number / EACH, &name(number));
        }
    });
    let each = subscribing / u64::from(TOPICS);
    println!("{each} bytes a topic with one subscriber, its name and the subscription included");
    assert!(each <= 300, "{each} bytes");
}
