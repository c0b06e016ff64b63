//! What this node's clients subscribe to, as far as NATS has to know: each filter once, and a while
//! longer than it is wanted, so that who comes back at once finds it there.
//!
//! Knows no sockets and no clock. Called by `receiving`.

use std::collections::VecDeque;

use broker_proto::topic::{Filter, Topic};

use crate::hub::trie::Trie;

/// How long a filter that nobody wants any more is kept, in ms.
const LINGER_MS: u64 = 5_000;

/// The filters.
#[derive(Debug, Default)]
pub struct Wanted {
    filters: Trie<Entry>,
    count: u64,
    /// Filters that nobody wants any more, by when that is too long.
    leaving: VecDeque<(u64, Box<str>)>,
}

#[derive(Debug)]
struct Entry {
    is_wanted: bool,
    /// Its place in `leaving` is the one of that time; earlier ones don't count.
    leaves_ms: u64,
    /// Since when NATS knows of it.
    since_ms: Option<u64>,
}

impl Wanted {
    /// The first client wants a filter. True if NATS does not know of it yet.
    pub fn want(&mut self, filter: Filter<'_>) -> bool {
        let mut is_new = false;
        let entry = self.filters.get_or_insert_with(filter, || {
            is_new = true;
            Entry { is_wanted: true, leaves_ms: 0, since_ms: None }
        });
        entry.is_wanted = true;
        self.count += u64::from(is_new);
        is_new
    }

    /// The last client that wanted it has gone.
    pub fn leave(&mut self, filter: Filter<'_>, now_ms: u64) {
        if self.filters.get(filter).is_none() {
            return;
        }
        let leaves_ms = now_ms + LINGER_MS;
        let entry = Entry { is_wanted: false, leaves_ms, since_ms: None };
        let entry = self.filters.get_or_insert_with(filter, || entry);
        (entry.is_wanted, entry.leaves_ms) = (false, leaves_ms);
        self.leaving.push_back((leaves_ms, filter.as_str().into()));
    }

    /// NATS knows of it now.
    pub fn subscribed(&mut self, filter: Filter<'_>, now_ms: u64) {
        let make = || Entry { is_wanted: true, leaves_ms: 0, since_ms: None };
        if self.filters.get(filter).is_some() {
            self.filters.get_or_insert_with(filter, make).since_ms = Some(now_ms);
        }
    }

    /// The next filter that nobody has wanted for long enough; it is forgotten.
    pub fn expire(&mut self, now_ms: u64) -> Option<Box<str>> {
        loop {
            let (at_ms, _) = self.leaving.front()?;
            if *at_ms > now_ms {
                return None;
            }
            let (at_ms, text) = self.leaving.pop_front()?;
            let Ok(filter) = Filter::new(&text) else { continue };
            let entry = self.filters.get(filter);
            if entry.is_some_and(|entry| !entry.is_wanted && entry.leaves_ms == at_ms) {
                self.filters.remove(filter);
                self.count -= 1;
                return Some(text);
            }
        }
    }

    /// Whether it is one of them.
    pub fn knows(&self, filter: Filter<'_>) -> bool {
        self.filters.get(filter).is_some()
    }

    /// Since when a topic's messages come; `None` if they don't.
    pub fn heard_ms(&self, topic: Topic<'_>) -> Option<u64> {
        let mut since_ms: Option<u64> = None;
        self.filters.each_match(topic, &mut |entry: &Entry| {
            let both = since_ms.into_iter().chain(entry.since_ms);
            since_ms = both.min();
        });
        since_ms
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> Filter<'_> {
        Filter::new(text).unwrap()
    }

    #[test]
    fn a_filter_lingers_and_who_comes_back_finds_it() {
        let mut wanted = Wanted::default();
        assert!(wanted.want(filter("a/+")));
        wanted.subscribed(filter("a/+"), 10);
        wanted.leave(filter("a/+"), 1_000);
        assert!(!wanted.want(filter("a/+")));
        assert_eq!(wanted.expire(1_000 + LINGER_MS), None, "it is wanted again");
        wanted.leave(filter("a/+"), 8_000);
        assert_eq!(wanted.expire(7_999 + LINGER_MS), None);
        assert_eq!(wanted.heard_ms(Topic::new("a/1").unwrap()), Some(10));
        assert_eq!(wanted.expire(8_000 + LINGER_MS).as_deref(), Some("a/+"));
        assert_eq!((wanted.count(), wanted.heard_ms(Topic::new("a/1").unwrap())), (0, None));
        wanted.leave(filter("b"), 0);
        assert_eq!(wanted.expire(u64::MAX), None);
    }

    #[test]
    fn a_topic_is_heard_since_the_first_filter_that_matches_it() {
        let mut wanted = Wanted::default();
        for (text, at_ms) in [("a/+", 20), ("a/#", 10), ("b", 5)] {
            wanted.want(filter(text));
            wanted.subscribed(filter(text), at_ms);
        }
        wanted.want(filter("a/1"));
        assert_eq!(wanted.heard_ms(Topic::new("a/1").unwrap()), Some(10));
        assert_eq!(wanted.heard_ms(Topic::new("c").unwrap()), None);
    }
}
