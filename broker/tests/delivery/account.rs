//! Every seq of a topic, once: as a message or within a gap notice. Holds no tests.

use std::collections::HashMap;

use serde_json::Value;

use crate::feed::Message;
use crate::viewer::Viewer;

/// What a connection got, and what it was told that it will not get.
#[derive(Debug, Default)]
pub(crate) struct Account {
    /// By topic the last seq that came or was told of.
    last: HashMap<String, u64>,
    /// Messages that came.
    pub(crate) delivered: u64,
    /// Those among them that came after the last gap notice.
    pub(crate) after_gap: u64,
    /// Messages that gap notices stand for.
    pub(crate) passed_over: u64,
    /// The mode notices, as they came.
    pub(crate) modes: Vec<String>,
    /// The reasons of the gaps, as they came.
    pub(crate) reasons: Vec<String>,
}

impl Account {
    /// The first that is to come of a topic is the one after `last`.
    pub(crate) fn after(topic: &str, last: u64) -> Self {
        Self::default().and_after(topic, last)
    }

    /// And of this topic as well.
    pub(crate) fn and_after(mut self, topic: &str, last: u64) -> Self {
        self.last.insert(topic.to_owned(), last);
        self
    }

    pub(crate) fn last(&self, topic: &str) -> u64 {
        self.last.get(topic).copied().unwrap_or(0)
    }

    /// Enters a text; fails if by it a seq is missing or comes twice. A topic begins anywhere.
    pub(crate) fn enter(&mut self, text: &str) {
        if let Some(message) = Message::parse(text) {
            self.advance(message.topic, message.seq, message.seq, text);
            self.delivered += 1;
            self.after_gap += 1;
            return;
        }
        let notice: Value = serde_json::from_str(text).expect("what comes is JSON");
        if notice.get("mode").is_some() {
            self.modes.push(text.to_owned());
            return;
        }
        let gap = notice.get("gap").unwrap_or_else(|| panic!("no message and no notice: {text}"));
        let seq = |name: &str| gap[name].as_u64().expect("a gap has both ends");
        let (from, to) = (seq("from"), seq("to"));
        assert!(from <= to, "{text}");
        self.advance(gap["topic"].as_str().expect("a gap has a topic"), from, to, text);
        self.passed_over += to - from + 1;
        self.after_gap = 0;
        self.reasons.push(gap["reason"].as_str().expect("a gap has a reason").to_owned());
    }

    /// Reads until everything of a topic up to `seq` has come or was told of.
    pub(crate) fn read_to(&mut self, viewer: &mut Viewer, topic: &str, seq: u64) {
        while self.last(topic) < seq {
            self.enter(&viewer.next());
        }
        assert_eq!(self.last(topic), seq);
    }

    fn advance(&mut self, topic: &str, from: u64, to: u64, text: &str) {
        match self.last.get_mut(topic) {
            Some(last) => {
                assert_eq!(from, *last + 1, "after seq {last} came {text}");
                *last = to;
            }
            None => {
                self.last.insert(topic.to_owned(), to);
            }
        }
    }
}
