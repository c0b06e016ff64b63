//! What very many sessions cost in the hub, and what is given back when they are gone. Counted in
//! bytes and places; nothing here looks at a clock.

use broker_proto::command::SubscribeOptions;
use broker_proto::topic::Filter;

use super::lists::List;
use super::message::Message;
use super::*;
use crate::slots::places::STRETCH;

const MANY: u32 = 5_000;
const FEW: u32 = 100;

/// A hub with so many sessions, each with one subscription, to a topic of its own.
fn hub_with(sessions: u32) -> Hub {
    let config = Arc::new(Config::default());
    let shared = Arc::new(Shared::new(1, &config, 0));
    let mut hub = Hub::new(0, shared, config, Arc::new(Metrics::new(1)));
    for slot in 0..sessions {
        hub.open(slot, slot.into(), Protocol::Json);
        let name = format!("user/{slot}");
        let filter = Filter::new(&name).unwrap();
        hub.subscribe(slot, filter, &SubscribeOptions::default(), 0).unwrap();
    }
    hub
}

/// Places for sessions, for lists, and in the order of topics.
fn capacities(hub: &Hub) -> [usize; 3] {
    [hub.sessions.capacity(), hub.lists.capacity(), hub.shared.directory.capacity()]
}

/// Some ticks, in which topics that nobody uses are forgotten.
fn rest(hub: &mut Hub) {
    let linger_ms = hub.config.topic_linger_ms.max(1_000);
    (0..4).for_each(|_| hub.handle_tick(hub.now_ms + 2 * linger_ms));
}

#[test]
fn what_each_session_needs_is_short() {
    // On machines of 64 bits; each of them stands in a table, some a million times.
    assert!(size_of::<Option<Session>>() <= 104, "{}", size_of::<Option<Session>>());
    assert!(size_of::<Option<List>>() <= 56, "{}", size_of::<Option<List>>());
    // With the two counts of their `Arc`s, 16 bytes, these have their own.
    assert!(size_of::<Topic>() <= 112, "{}", size_of::<Topic>());
    assert!(size_of::<Message>() <= 80, "{}", size_of::<Message>());
}

#[test]
fn what_a_burst_of_sessions_needed_is_given_back() {
    let mut hub = hub_with(MANY);
    assert!(capacities(&hub).iter().all(|&places| places >= MANY as usize));
    (FEW..MANY).for_each(|slot| hub.close(slot));
    rest(&mut hub);
    assert_eq!(hub.shared.directory.len(), u64::from(FEW));
    let after = capacities(&hub);
    assert!(after.iter().all(|&places| places <= STRETCH), "{after:?}");
    // Those that are left are where they were.
    for slot in 0..FEW {
        let name = format!("user/{slot}");
        assert!(hub.find_subscription(slot, Filter::new(&name).unwrap()).is_some(), "{name}");
    }
}

#[test]
fn one_session_that_came_last_keeps_the_memory_of_few() {
    let mut hub = hub_with(MANY);
    (FEW..MANY - 1).for_each(|slot| hub.close(slot));
    rest(&mut hub);
    let after = capacities(&hub);
    assert!(after.iter().all(|&places| places <= 2 * STRETCH), "{after:?}");
    hub.close(MANY - 1);
    rest(&mut hub);
    let after = capacities(&hub);
    assert!(after.iter().all(|&places| places <= STRETCH), "{after:?}");
}
