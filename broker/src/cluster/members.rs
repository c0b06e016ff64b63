//! Topics of which somebody here is told who comes and goes: since when the other nodes' rosters are
//! heard, and when the others are asked for them. And what they answer to a client's question.
//!
//! A roster is whole, so a lost one is made good by the next. That there is a next one is seen to
//! here: the others are asked at the start, after whatever may have been lost, and now and then.
//! Knows no sockets and no clock. Called by `receiving`.

use std::collections::VecDeque;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use serde_json::Value;
use tokio::sync::oneshot;

use super::asking::Answers;
use crate::hub::presence::{MEMBERS_MAX, Roster};
use crate::hub::rosters::person;

/// The longest name of a user that tokens may hold, in bytes.
const USER_BYTES_MAX: usize = 255;
/// How often the others are asked anew, in ms.
const ROUND_MS: u64 = 30_000;
/// A node's first roster within this time of the beginning tells who was there before, in ms.
const BEGINNING_MS: u64 = 2_000;

/// The topics.
#[derive(Debug, Default)]
pub struct Watches {
    topics: HashMap<Box<str>, Watch, RandomState>,
    /// Of these the others are to be asked.
    to_ask: VecDeque<Box<str>>,
    next_round_ms: u64,
}

#[derive(Debug, Default)]
struct Watch {
    /// Since when rosters come, and what ends that when it is dropped.
    heard: Option<(u64, oneshot::Sender<()>)>,
    is_queued: bool,
}

impl Watches {
    /// Somebody here is told of a topic's members.
    pub fn watch(&mut self, topic: &str) {
        self.topics.entry(topic.into()).or_default();
        self.ask(topic);
    }

    /// Nobody is any more.
    pub fn leave(&mut self, topic: &str) {
        self.topics.remove(topic);
    }

    /// Something may have been lost: the others are asked about all topics.
    pub fn ask_all(&mut self) {
        for (topic, watch) in &mut self.topics {
            if !std::mem::replace(&mut watch.is_queued, true) {
                self.to_ask.push_back(topic.clone());
            }
        }
    }

    /// Whether the others are to be asked once more because time has passed.
    pub fn is_round_due(&mut self, now_ms: u64) -> bool {
        let is_due = now_ms >= self.next_round_ms;
        if is_due {
            self.next_round_ms = now_ms + ROUND_MS;
        }
        is_due
    }

    /// The next topic to ask the others about, and whether its rosters come.
    pub fn next_to_ask(&mut self) -> Option<(Box<str>, bool)> {
        while let Some(topic) = self.to_ask.pop_front() {
            if let Some(watch) = self.topics.get_mut(&topic) {
                watch.is_queued = false;
                return Some((topic, watch.heard.is_some()));
            }
        }
        None
    }

    /// The others could not be asked: they will be.
    pub fn ask(&mut self, topic: &str) {
        let Some(watch) = self.topics.get_mut(topic) else { return };
        if !std::mem::replace(&mut watch.is_queued, true) {
            self.to_ask.push_back(topic.into());
        }
    }

    /// A topic's rosters come from here on, until `end` is dropped.
    pub fn heard(&mut self, topic: &str, now_ms: u64, end: oneshot::Sender<()>) {
        if let Some(watch) = self.topics.get_mut(topic) {
            watch.heard = Some((now_ms, end));
        }
    }

    /// Whether a topic's rosters came only just, so that the first of each node is no news; none if
    /// nobody wants them.
    pub fn is_beginning(&self, topic: &str, now_ms: u64) -> Option<bool> {
        let (since_ms, _) = self.topics.get(topic)?.heard.as_ref()?;
        Some(now_ms < since_ms + BEGINNING_MS)
    }

    /// All topics.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        self.topics.keys().map(|topic| &**topic)
    }
}

/// What the other nodes have answered, as one roster. An answer that is none is left out, and so
/// counts as missing; the names of those that are.
pub fn read(answers: Answers) -> (Roster, Vec<String>) {
    let (mut all, mut missing) = (Roster::default(), answers.missing);
    for (node, value) in answers.of {
        match roster(&value) {
            Some(roster) => all = all.and(roster),
            None => missing.push(node),
        }
    }
    (all, missing)
}

fn roster(value: &Value) -> Option<Roster> {
    let (count, members) = (value["count"].as_u64()?, value["members"].as_array()?);
    let member = |member: &Value| {
        let session = u64::from_str_radix(member["session"].as_str()?, 16).ok()?;
        let user = member["user"].as_str().filter(|user| user.len() <= USER_BYTES_MAX);
        Some(person(session, user))
    };
    let people: Option<Vec<_>> = members.iter().take(MEMBERS_MAX).map(member).collect();
    Some(Roster { count, people: people? })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_others_are_asked_once_for_each_reason() {
        let mut watches = Watches::default();
        assert!(watches.is_round_due(5));
        assert!(!watches.is_round_due(ROUND_MS));
        watches.watch("a");
        watches.watch("a");
        watches.ask_all();
        assert_eq!(watches.next_to_ask(), Some(("a".into(), false)));
        assert_eq!(watches.next_to_ask(), None);
        assert_eq!(watches.is_beginning("a", 0), None, "nothing comes yet");
        let (end, mut ended) = oneshot::channel();
        watches.heard("a", 1_000, end);
        assert_eq!(watches.is_beginning("a", 1_001), Some(true));
        assert_eq!(watches.is_beginning("a", 1_000 + BEGINNING_MS), Some(false));
        watches.ask_all();
        assert_eq!(watches.next_to_ask(), Some(("a".into(), true)));
        watches.ask("a");
        watches.leave("a");
        assert_eq!(watches.next_to_ask(), None, "nobody wants to know");
        assert!(ended.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Closed));
        assert!(watches.is_round_due(ROUND_MS + 5));
    }

    #[test]
    fn answers_are_one_roster_and_what_is_none_is_missing() {
        let of = [
            ("b", json!({"count": 3, "members": [{"user": "ana", "session": "00000000000000ff"}]})),
            ("c", json!({"count": 1, "members": [{"user": null, "session": "01"}]})),
            ("d", json!({"count": 1, "members": [{"user": null, "session": 7}]})),
            ("e", json!([])),
        ];
        let of = of.map(|(node, value)| (node.to_owned(), value)).into();
        let (roster, missing) = read(Answers { of, missing: vec!["f".to_owned()] });
        assert_eq!((roster.count, &*missing), (4, &["f", "d", "e"].map(str::to_owned)[..]));
        assert_eq!(roster.people, [person(1, None), person(255, Some("ana"))]);
    }
}
