//! Publishes that may come again: which `msg_id` has got which seq of a topic, so that a retry is
//! answered with the place that the message has and is not published once more, whichever
//! connection it comes by.
//!
//! Ids, no payloads: bounded in number and age, for every topic on which they are used, whether or
//! not it keeps messages. Their memory counts among what topics keep; where that is spent, an id is
//! refused rather than forgotten. No clock and no locks: the topic's lock guards it.

use std::collections::VecDeque;
use std::sync::Arc;

use broker_proto::command::Level;
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::history::Budget;

/// Ids that are remembered of one topic; the oldest are forgotten first. Those of messages that have
/// no place yet are not, and come on top: their log bounds them.
pub const IDS_MAX: usize = 1_000;
/// Bytes of memory that an id takes besides its text.
const ID_OVERHEAD: u64 = 96;

/// A publish that may have come before.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// Whose it is: the ids of one are not those of another.
    pub publisher: &'a str,
    /// What the publisher calls it.
    pub msg_id: &'a str,
}

/// A publish that may be repeated, and how that is known.
#[derive(Clone, Copy, Debug)]
pub enum Repeatable<'a> {
    /// Its publisher named the message.
    Message(Attempt<'a>),
    /// It came with a request that may come again as a whole.
    Part(Part<'a>),
}

/// One message of a request that may come again.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// Whose it is.
    pub publisher: &'a str,
    /// What the publisher calls the request.
    pub key: &'a str,
    /// Which of its messages it is.
    pub place: usize,
    /// A digest of the request, which is not 0: the same key must come with the same.
    pub request: u64,
    /// How long it is remembered, in milliseconds.
    pub kept_ms: u32,
}

/// What all nodes of a cluster know a publish by, where one order is made for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// No publisher's, and no message's and request's, can be that of another.
    pub text: String,
    /// A digest of the request that it came with; 0 if a retry may come with another.
    pub request: u64,
    /// How long it is remembered, in milliseconds.
    pub kept_ms: u32,
}

/// The ids of one topic.
#[derive(Debug, Default)]
pub struct Retries {
    /// The place of each message; none while its log has not given it one.
    places: HashMap<Arc<str>, Option<(u64, Level)>, RandomState>,
    /// The same, oldest first, with the time of each.
    order: VecDeque<(u64, Arc<str>)>,
    bytes: u64,
}

/// What is known of a publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// It came before, and has this seq and safety.
    Placed(u64, Level),
    /// It did not; this is what it is remembered by.
    New(Arc<str>),
    /// Another node may have taken it: whoever makes the topic's order finds out, by this.
    Anywhere(Name),
}

/// An id can't be remembered, so a retry would be published again; answered `unavailable`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CannotRemember {
    /// The topic's rule has `retry_ms = 0`.
    ByRule,
    /// What topics keep together has reached its limit.
    NoRoom,
    /// It is remembered, but its log has not given it a place yet.
    Underway,
}

impl Repeatable<'_> {
    /// What all nodes know it by, where the topic's rule remembers a `msg_id` for so long.
    ///
    /// # Errors
    /// The rule does not remember any.
    pub fn name(&self, retry_ms: u64) -> Result<Name, CannotRemember> {
        match self {
            Self::Message(_) if retry_ms == 0 => Err(CannotRemember::ByRule),
            Self::Message(attempt) => {
                let kept_ms = retry_ms.try_into().unwrap_or(u32::MAX);
                Ok(Name { text: format!("m{}", name(*attempt)), request: 0, kept_ms })
            }
            Self::Part(Part { publisher, key, place, request, kept_ms }) => {
                let text = format!("r{place}:{}", name(Attempt { publisher, msg_id: key }));
                Ok(Name { text, request: *request, kept_ms: *kept_ms })
            }
        }
    }
}

impl Retries {
    /// Whether a message came before.
    ///
    /// # Errors
    /// It can't be remembered, or has no place yet.
    pub fn find(
        &mut self,
        attempt: Attempt<'_>,
        (now_ms, retry_ms): (u64, u64),
        budget: &Budget,
    ) -> Result<Named, CannotRemember> {
        self.trim(now_ms, retry_ms, budget);
        if retry_ms == 0 {
            return Err(CannotRemember::ByRule);
        }
        let id = name(attempt);
        match self.places.get(&*id) {
            Some(Some((seq, level))) => Ok(Named::Placed(*seq, *level)),
            Some(None) => Err(CannotRemember::Underway),
            None if budget.is_spent() => Err(CannotRemember::NoRoom),
            None => Ok(Named::New(id.into())),
        }
    }

    /// Remembers a message that is new, with its place if it has one yet.
    pub fn remember(
        &mut self,
        id: Arc<str>,
        place: Option<(u64, Level)>,
        now_ms: u64,
        budget: &Budget,
    ) {
        while self.order.len() >= IDS_MAX && self.forget_oldest(budget) {}
        let before = self.bytes;
        self.bytes += size(&id);
        budget.change_bytes(before, self.bytes);
        self.places.insert(id.clone(), place);
        self.order.push_back((now_ms, id));
    }

    /// A message was given its place, if it is still remembered.
    pub fn place(&mut self, id: &str, place: (u64, Level)) {
        if let Some(held) = self.places.get_mut(id) {
            *held = Some(place);
        }
    }

    /// A message was not published after all.
    pub fn forget(&mut self, id: &str, budget: &Budget) {
        let Some(at) = self.order.iter().position(|(_, held)| **held == *id) else { return };
        if let Some((_, id)) = self.order.remove(at) {
            self.drop_id(&id, budget);
        }
    }

    /// Forgets what is too old, and has its place.
    pub fn trim(&mut self, now_ms: u64, retry_ms: u64, budget: &Budget) {
        let is_old = |at_ms: u64| now_ms.saturating_sub(at_ms) >= retry_ms;
        while self.order.front().is_some_and(|(at_ms, _)| is_old(*at_ms)) {
            if !self.forget_oldest(budget) {
                break;
            }
        }
        if self.order.is_empty() {
            (self.order, self.places) = Default::default();
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self, budget: &Budget) {
        budget.change_bytes(self.bytes, 0);
        *self = Self::default();
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// False if there is none, or its message has no place yet: a retry would be another message.
    fn forget_oldest(&mut self, budget: &Budget) -> bool {
        let is_placed = |id: &Arc<str>| self.places.get(&**id).is_none_or(Option::is_some);
        let Some((_, id)) = self.order.pop_front_if(|(_, id)| is_placed(id)) else { return false };
        self.drop_id(&id, budget);
        true
    }

    fn drop_id(&mut self, id: &str, budget: &Budget) {
        self.places.remove(id);
        let before = self.bytes;
        self.bytes -= size(id);
        budget.change_bytes(before, self.bytes);
    }
}

/// What an id is remembered as: no publisher's can be that of another.
fn name(Attempt { publisher, msg_id }: Attempt<'_>) -> String {
    format!("{}:{publisher}{msg_id}", publisher.len())
}

fn size(id: &str) -> u64 {
    id.len() as u64 + ID_OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000;

    fn seq_of(retries: &mut Retries, budget: &Budget, id: &str, next: u64, at: u64) -> u64 {
        let attempt = Attempt { publisher: "", msg_id: id };
        match retries.find(attempt, (at, MINUTE), budget).expect("it can be remembered") {
            Named::Placed(seq, _) => seq,
            Named::Anywhere(name) => panic!("{name:?}"),
            Named::New(id) => {
                retries.remember(id, Some((next, Level::Accepted)), at, budget);
                next
            }
        }
    }

    #[test]
    fn a_retry_has_the_seq_of_the_first_until_that_is_too_long_ago() {
        let (mut retries, budget) = (Retries::default(), Budget::new(1_000_000));
        assert_eq!(seq_of(&mut retries, &budget, "a", 1, 0), 1);
        assert_eq!(seq_of(&mut retries, &budget, "b", 2, 10), 2);
        assert_eq!(seq_of(&mut retries, &budget, "a", 3, 59_999), 1);
        assert_eq!(seq_of(&mut retries, &budget, "a", 3, 60_000), 3, "it is forgotten");
        assert_eq!(seq_of(&mut retries, &budget, "b", 4, 60_009), 2);
        retries.trim(200_000, MINUTE, &budget);
        assert!(retries.is_empty());
        assert_eq!(budget.bytes(), 0);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_counted() {
        let (mut retries, budget) = (Retries::default(), Budget::new(1_000_000));
        for number in 0..=IDS_MAX as u64 {
            assert_eq!(seq_of(&mut retries, &budget, &number.to_string(), number, 0), number);
        }
        assert_eq!(seq_of(&mut retries, &budget, "1", 9_999, 0), 1);
        let full = budget.bytes();
        assert_eq!(seq_of(&mut retries, &budget, "0", 9_999, 0), 9_999, "the oldest is forgotten");
        assert!(budget.bytes().abs_diff(full) < 8 && full >= 96 * IDS_MAX as u64);
        retries.clear(&budget);
        assert_eq!(budget.bytes(), 0);
    }

    #[test]
    fn publishers_do_not_share_their_ids() {
        let (mut retries, budget) = (Retries::default(), Budget::new(1_000_000));
        let mut is_new = |publisher, msg_id| {
            let found = retries.find(Attempt { publisher, msg_id }, (0, MINUTE), &budget);
            let Ok(Named::New(id)) = found else { return false };
            retries.remember(id, Some((1, Level::Accepted)), 0, &budget);
            true
        };
        assert!(is_new("a", "b1") && is_new("ab", "1") && is_new("", "ab1"));
        assert!(!is_new("a", "b1"));
    }

    #[test]
    fn a_message_that_a_log_has_not_placed_is_underway_and_one_that_failed_is_new() {
        let (mut retries, budget) = (Retries::default(), Budget::new(1_000_000));
        let attempt = Attempt { publisher: "", msg_id: "a" };
        for _ in 0..2 {
            let Ok(Named::New(id)) = retries.find(attempt, (0, MINUTE), &budget) else { panic!() };
            retries.remember(id.clone(), None, 0, &budget);
            let found = retries.find(attempt, (1, MINUTE), &budget);
            assert_eq!(found, Err(CannotRemember::Underway));
            retries.forget(&id, &budget);
        }
        assert_eq!(budget.bytes(), 0);
        let Ok(Named::New(id)) = retries.find(attempt, (0, MINUTE), &budget) else { panic!() };
        retries.remember(id.clone(), None, 0, &budget);
        retries.place(&id, (7, Level::Durable));
        let found = retries.find(attempt, (1, MINUTE), &budget);
        assert_eq!(found, Ok(Named::Placed(7, Level::Durable)));
    }

    #[test]
    fn what_is_underway_is_not_forgotten_however_long_that_takes_and_however_many_there_are() {
        let (mut retries, budget) = (Retries::default(), Budget::new(10_000_000));
        let begin = |retries: &mut Retries, msg_id: &str, at| {
            let attempt = Attempt { publisher: "", msg_id };
            let found = retries.find(attempt, (at, MINUTE), &budget)?;
            let Named::New(id) = found else { return Ok(found) };
            retries.remember(id.clone(), None, at, &budget);
            Ok(Named::New(id))
        };
        let count = IDS_MAX + 500;
        let mut ids = Vec::new();
        for number in 0..count {
            let Ok(Named::New(id)) = begin(&mut retries, &number.to_string(), 0) else { panic!() };
            ids.push(id);
        }
        for number in [0, count - 1] {
            let again = begin(&mut retries, &number.to_string(), 5 * MINUTE);
            assert_eq!(again, Err(CannotRemember::Underway), "{number}");
        }
        for (id, seq) in ids.iter().zip(1..) {
            retries.place(id, (seq, Level::Durable));
        }
        // Once they have their places they are forgotten like all others.
        assert!(begin(&mut retries, "another", 1).is_ok());
        assert_eq!(retries.order.len(), IDS_MAX);
        let first = begin(&mut retries, "0", 2);
        assert!(matches!(first, Ok(Named::New(_))), "{first:?}");
        retries.clear(&budget);
        assert_eq!((budget.bytes(), retries.is_empty()), (0, true));
    }

    #[test]
    fn what_can_not_be_remembered_is_refused() {
        let (mut retries, budget) = (Retries::default(), Budget::new(150));
        let attempt = |msg_id| Attempt { publisher: "", msg_id };
        let by_rule = retries.find(attempt("a"), (0, 0), &budget);
        assert_eq!(by_rule, Err(CannotRemember::ByRule));
        assert_eq!(seq_of(&mut retries, &budget, "a", 1, 0), 1);
        assert_eq!(seq_of(&mut retries, &budget, "b", 2, 0), 2);
        let refused = retries.find(attempt("c"), (0, MINUTE), &budget);
        assert_eq!(refused, Err(CannotRemember::NoRoom));
        assert_eq!(seq_of(&mut retries, &budget, "b", 3, 0), 2);
    }

    #[test]
    fn no_two_publishes_are_known_by_one_name() {
        let message = |publisher, msg_id| Repeatable::Message(Attempt { publisher, msg_id });
        let part = |publisher, key, place| {
            let (request, kept_ms) = (7, 300_000);
            Repeatable::Part(Part { publisher, key, place, request, kept_ms })
        };
        let all = [
            message("a", "b1"),
            message("ab", "1"),
            message("", "ab1"),
            part("a", "b1", 0),
            part("ab", "1", 0),
            part("", "ab1", 0),
            part("", "ab1", 1),
            part("", "1:0:ab1", 0),
        ];
        let names: Vec<Name> = all.iter().map(|it| it.name(MINUTE).unwrap()).collect();
        let texts: std::collections::HashSet<_> = names.iter().map(|name| &name.text).collect();
        assert_eq!(texts.len(), all.len(), "{names:?}");
        assert_eq!((names[0].request, names[0].kept_ms), (0, 60_000));
        assert_eq!((names[3].request, names[3].kept_ms), (7, 300_000));
        assert_eq!(message("", "a").name(0), Err(CannotRemember::ByRule));
        assert!(part("", "a", 0).name(0).is_ok(), "the rule is about messages");
    }
}
