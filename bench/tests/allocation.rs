//! What a message costs in memory: its publish allocates it, once; its deliveries allocate nothing.
//! Counted by the allocator for this thread, over the hub and its outbox, without sockets.

use bench::audience::Audience;
use bench::inputs::{PUBLISH, TOPIC};
use tikv_jemalloc_ctl::thread::allocatedp;

const SUBSCRIBERS: u32 = 100;
const PUBLISHES: u64 = 10_000;
/// Turns in which buffers grow to their size.
const WARM_UP: u64 = 100;

/// Bytes that this thread allocates during `work`.
fn allocated_by(work: impl FnOnce()) -> u64 {
    let counter = allocatedp::read().expect("jemalloc counts");
    let before = counter.get();
    work();
    counter.get() - before
}

/// What publishing and what delivering allocates, in bytes, `together` messages in a turn.
fn allocated(audience: &mut Audience, publishes: u64, together: u64) -> [u64; 2] {
    let (mut publishing, mut delivering, mut delivered) = (0, 0, 0);
    for _ in 0..publishes / together {
        publishing += allocated_by(|| (0..together).for_each(|_| audience.publish(PUBLISH)));
        delivering += allocated_by(|| {
            audience.deliver();
            delivered += audience.flush().frames;
        });
    }
    assert!(delivered > 0 && delivered.is_multiple_of(publishes), "{delivered} deliveries");
    [publishing, delivering]
}

#[test]
fn a_million_deliveries_allocate_nothing() {
    for filters in [&[TOPIC][..], &["ticker/+"], &["#", TOPIC]] {
        for together in [1, 10] {
            let mut audience = Audience::new(SUBSCRIBERS, filters);
            let [_, first] = allocated(&mut audience, WARM_UP * together, together);
            assert!(first > 0, "the buffers grow, and the counter counts");
            let [publishing, delivering] = allocated(&mut audience, PUBLISHES, together);
            assert_eq!(delivering, 0, "{filters:?}, {together} in a turn");
            assert!(publishing > 0, "a message is allocated when it is published");
        }
    }
}

#[test]
fn a_publish_allocates_as_much_for_one_subscriber_as_for_a_hundred() {
    let [one, hundred] = [1, SUBSCRIBERS].map(|subscribers| {
        let mut audience = Audience::new(subscribers, &[TOPIC]);
        allocated(&mut audience, WARM_UP, 1);
        allocated(&mut audience, PUBLISHES, 1)[0]
    });
    assert_eq!(one, hundred);
    println!("{} bytes a publish of {} bytes", one / PUBLISHES, PUBLISH.len());
}

#[test]
fn a_publish_that_nobody_wants_allocates_nothing() {
    let mut audience = Audience::new(SUBSCRIBERS, &["elsewhere"]);
    let publish = |audience: &mut Audience| {
        allocated_by(|| (0..PUBLISHES).for_each(|_| audience.publish(PUBLISH)))
    };
    assert!(publish(&mut audience) > 0, "the topic is made");
    assert_eq!(publish(&mut audience), 0);
}
