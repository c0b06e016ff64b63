//! More than a slow reader can take, to show what becomes of it. Costs next to nothing while nobody
//! is subscribed, for nothing is kept of it. Called by `demo`.

use super::{Now, Publish};

/// Messages a second.
const RATE: u64 = 100;
/// Length of one, in bytes: together 1.6 MB a second.
const PADDING_BYTES: usize = 16 * 1024;

#[derive(Default)]
pub(super) struct Firehose {
    published: u64,
    payload: String,
}

impl Firehose {
    pub(super) fn advance(&mut self, now: Now, publish: &mut Publish<'_>) {
        if self.payload.is_empty() {
            self.payload = format!(r#"{{"padding":"{}"}}"#, "x".repeat(PADDING_BYTES));
        }
        let due = now.running_ms * RATE / 1_000;
        for _ in self.published..due {
            publish("demo/firehose", self.payload.as_bytes());
        }
        self.published = due.max(self.published);
    }
}
