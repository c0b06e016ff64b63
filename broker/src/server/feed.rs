//! The way of the demos' feeds into the broker: straight into the topics' order, as a worker's own
//! numbers go, with no connection in between. Made by `server`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use broker_proto::command::Payload;
use broker_proto::topic::Topic;
use mio::Waker;

use crate::demo::Publish;
use crate::hub::Shared;
use crate::hub::log::Waiting;
use crate::hub::protocol::Protocol;

/// How long a feed waits when a worker's mailbox is over its limit.
const PAUSE: Duration = Duration::from_millis(20);
/// Whose mail it is said to be; only that worker is woken once more when a mailbox is empty again.
const WORKER: usize = 0;

/// A function that publishes. `started` is when the workers' clocks were at 0.
pub(super) fn publisher(
    shared: Arc<Shared>,
    wakers: Arc<[Waker]>,
    started: Instant,
) -> Box<Publish<'static>> {
    Box::new(move |topic, payload| {
        let Ok(topic) = Topic::new(topic) else { return };
        let now_ms = started.elapsed().as_millis() as u64;
        let payload = Payload::Json(payload);
        // With the directory full, or the operator's limit on payloads below ours, the feed is
        // without that topic. One that it made stays in use, so nobody has to let it linger.
        let by = (Protocol::Json, Some(WORKER));
        let waiting = || Waiting::Nobody;
        let Ok(published) = shared.publish(topic, payload, by, None, now_ms, waiting) else {
            return;
        };
        for (index, waker) in wakers.iter().enumerate() {
            if published.wakes & (1 << index) != 0 {
                // Fails only if the kernel is out of memory; mail is seen at the next sweep.
                let _ = waker.wake();
            }
        }
        if published.full != 0 || published.is_slowed {
            std::thread::sleep(PAUSE);
        }
    })
}
