//! A trie of topic filters, one level of the filter per step, and a value at each filter.
//!
//! Matching walks at most three ways per level (the literal, `+`, `#`) and never visits a node
//! twice, so it costs no more than the filters that share the topic's prefix. Depth is bounded by
//! the 32 levels a filter can have.

use broker_proto::topic::{Filter, Topic as TopicName};
use foldhash::fast::RandomState;
use hashbrown::HashMap;

/// Filters with a value each.
#[derive(Debug)]
pub struct Trie<V> {
    root: Node<V>,
    len: usize,
}

#[derive(Debug)]
struct Node<V> {
    literal: HashMap<Box<str>, Node<V>, RandomState>,
    plus: Option<Box<Node<V>>>,
    /// The filter that ends here.
    here: Option<V>,
    /// The filter that ends here with a `#` behind it.
    hash: Option<V>,
}

impl<V> Trie<V> {
    /// Whether there is no filter.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value of `filter`, put there by `make` if it has none yet.
    pub fn get_or_insert_with(&mut self, filter: Filter<'_>, make: impl FnOnce() -> V) -> &mut V {
        let mut node = &mut self.root;
        let mut ends_in_hash = false;
        for level in filter.levels() {
            match level {
                "#" => ends_in_hash = true,
                "+" => node = node.plus.get_or_insert_default(),
                _ => node = node.literal.entry(level.into()).or_default(),
            }
        }
        let slot = if ends_in_hash { &mut node.hash } else { &mut node.here };
        if slot.is_none() {
            self.len += 1;
        }
        slot.get_or_insert_with(make)
    }

    /// The value of `filter`, if it has one.
    pub fn get(&self, filter: Filter<'_>) -> Option<&V> {
        let mut node = &self.root;
        for level in filter.levels() {
            node = match level {
                "#" => return node.hash.as_ref(),
                "+" => node.plus.as_deref()?,
                _ => node.literal.get(level)?,
            };
        }
        node.here.as_ref()
    }

    /// Takes `filter` out, with the nodes that only it needed.
    pub fn remove(&mut self, filter: Filter<'_>) {
        let levels: Vec<&str> = filter.levels().collect();
        if self.root.remove(&levels) {
            self.len -= 1;
        }
    }

    /// Calls `each` with the value of every filter that matches `topic`.
    pub fn each_match(&self, topic: TopicName<'_>, each: &mut impl FnMut(&V)) {
        if self.is_empty() {
            return;
        }
        let mut levels = topic.levels();
        let Some(first) = levels.next() else { return };
        if !topic.is_system() {
            self.root.each_match(Some(first), levels, each);
            return;
        }
        // A topic that begins with `$` is out of reach of a wildcard in the first level.
        if let Some(child) = self.root.literal.get(first) {
            child.each_match(levels.next(), levels, each);
        }
    }
}

impl<V> Node<V> {
    fn each_match<'t>(
        &self,
        level: Option<&'t str>,
        mut rest: impl Iterator<Item = &'t str> + Clone,
        each: &mut impl FnMut(&V),
    ) {
        if let Some(value) = &self.hash {
            each(value);
        }
        let Some(level) = level else {
            if let Some(value) = &self.here {
                each(value);
            }
            return;
        };
        let next = rest.next();
        if let Some(child) = self.literal.get(level) {
            child.each_match(next, rest.clone(), each);
        }
        if let Some(child) = &self.plus {
            child.each_match(next, rest, each);
        }
    }

    /// Whether a value was there.
    fn remove(&mut self, levels: &[&str]) -> bool {
        let Some((level, rest)) = levels.split_first() else { return self.here.take().is_some() };
        match *level {
            "#" => self.hash.take().is_some(),
            "+" => {
                let Some(child) = &mut self.plus else { return false };
                let removed = child.remove(rest);
                if child.is_bare() {
                    self.plus = None;
                }
                removed
            }
            literal => {
                let Some(child) = self.literal.get_mut(literal) else { return false };
                let removed = child.remove(rest);
                if child.is_bare() {
                    self.literal.remove(literal);
                }
                removed
            }
        }
    }

    fn is_bare(&self) -> bool {
        self.literal.is_empty() && self.plus.is_none() && self.here.is_none() && self.hash.is_none()
    }
}

impl<V> Default for Trie<V> {
    fn default() -> Self {
        Self { root: Node::default(), len: 0 }
    }
}

impl<V> Default for Node<V> {
    fn default() -> Self {
        Self { literal: HashMap::default(), plus: None, here: None, hash: None }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Filters and topics over so few names that they often match.
    fn text(names: &'static [&'static str]) -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(names), 1..5).prop_map(|levels| levels.join("/"))
    }

    proptest! {
        #[test]
        fn it_finds_what_each_filter_matches_by_itself(
            filters in prop::collection::vec(text(&["a", "b", "+", "#", "$s", ""]), 0..20),
            removed in prop::collection::vec(any::<bool>(), 20),
            topics in prop::collection::vec(text(&["a", "b", "$s", ""]), 1..10),
        ) {
            let mut filters: Vec<_> = filters.iter().filter_map(|f| Filter::new(f).ok()).collect();
            filters.sort_by_key(|filter| filter.as_str());
            filters.dedup();
            let mut trie = Trie::default();
            for (at, filter) in filters.iter().enumerate() {
                trie.get_or_insert_with(*filter, || at);
            }
            for (at, filter) in filters.iter().enumerate().filter(|(at, _)| removed[*at]) {
                trie.remove(*filter);
                trie.remove(*filter);
                prop_assert!(trie.get_or_insert_with(*filter, || at + 100) == &(at + 100));
                trie.remove(*filter);
            }
            for (at, filter) in filters.iter().enumerate() {
                prop_assert_eq!(trie.get(*filter), (!removed[at]).then_some(&at));
            }
            for topic in topics.iter().filter_map(|topic| TopicName::new(topic).ok()) {
                let mut found = Vec::new();
                trie.each_match(topic, &mut |at| found.push(*at));
                found.sort_unstable();
                let kept = (0..filters.len()).filter(|at| !removed[*at]);
                let expected: Vec<_> = kept.filter(|at| filters[*at].matches(topic)).collect();
                prop_assert_eq!(found, expected);
            }
            for filter in &filters {
                trie.remove(*filter);
            }
            prop_assert!(trie.is_empty() && trie.root.is_bare());
        }
    }
}
