//! What a notification centre is for: orders, deployments, alerts and people, every few seconds
//! one of them. Called by `demo`.

use fastrand::Rng;
use serde_json::json;

use super::{Now, Publish};

/// The shortest and longest time between two, in milliseconds.
const PAUSE_MS: std::ops::Range<u64> = 800..3_500;
const CHANNELS: [&str; 4] = ["orders", "deploys", "alerts", "people"];
const CUSTOMERS: [&str; 6] = ["Ana", "Bilal", "Chen", "Dana", "Emil", "Fatou"];
const SERVICES: [&str; 5] = ["checkout", "search", "billing", "images", "mail"];

pub(super) struct Notices {
    next_ms: u64,
    count: u64,
    random: Rng,
}

impl Notices {
    pub(super) fn new(seed: u64) -> Self {
        Self { next_ms: 0, count: 0, random: Rng::with_seed(seed ^ 1) }
    }

    pub(super) fn advance(&mut self, now: Now, publish: &mut Publish<'_>) {
        if now.running_ms < self.next_ms {
            return;
        }
        self.next_ms = now.running_ms + self.random.u64(PAUSE_MS);
        self.count += 1;
        let channel = CHANNELS[self.random.usize(..CHANNELS.len())];
        let (level, title, text) = self.compose(channel);
        let payload = json!({
            "number": self.count, "level": level, "title": title, "text": text, "at_ms": now.unix_ms,
        });
        publish(&format!("demo/notices/{channel}"), payload.to_string().as_bytes());
    }

    fn compose(&mut self, channel: &str) -> (&'static str, String, String) {
        let customer = CUSTOMERS[self.random.usize(..CUSTOMERS.len())];
        let service = SERVICES[self.random.usize(..SERVICES.len())];
        let number = self.random.u32(2..400);
        match channel {
            "orders" => (
                "info",
                format!("Order {}", 7_000 + self.count),
                format!("{customer} ordered for {number} €."),
            ),
            "deploys" => (
                "good",
                format!("{service} is out"),
                format!("Version 2.{} went live in {number} s.", self.count),
            ),
            "alerts" if number.is_multiple_of(3) => (
                "bad",
                format!("{service} answers slowly"),
                format!("The 99th percentile is at {} ms.", number * 9),
            ),
            "alerts" => {
                ("good", format!("{service} is well again"), format!("It took {number} s."))
            }
            _ => (
                "info",
                format!("{customer} wrote to you"),
                format!("About {service}: have a look when you can?"),
            ),
        }
    }
}
