//! How it stands with the groups of a worker's subscribers, and what is counted of their opening
//! and closing: the time to all current values, and who saw whom join and leave. No sockets and no
//! clock; written by the worker and its clients, handed to the report at the end.

use std::collections::HashMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::ledger::histogram;
use crate::counts;

/// The most comings and goings that one worker's subscribers see and remember: 4 million, which
/// take 128 MB. Further ones are not looked for, so that some seem unseen.
pub const SIGHTINGS_MAX: usize = 4_000_000;

/// How long after the answer to its subscribe a topic's current value may be replaced by a newer
/// message: one second.
const VALUE_NS: u64 = 1_000_000_000;

/// What a worker notes of groups.
#[derive(Debug, Deserialize, Serialize)]
pub struct GroupBook {
    /// Groups that were opened again.
    pub opened: u64,
    /// Groups that were closed.
    pub closed: u64,
    /// From the subscribe to the last current value, in nanoseconds.
    #[serde(with = "counts")]
    pub snapshot: Histogram<u64>,
    /// Topics whose current value did not come when their group was opened.
    pub without_value: u64,
    /// Messages of a group after the answer to its unsubscribe.
    pub after_end: u64,
    /// When the closing began: from then on everybody leaves.
    pub ended_ns: u64,
    /// Who joined and left, and when it asked for that.
    pub moves: Vec<Move>,
    /// Who was seen to join and leave, by those who stay, and when.
    pub sightings: Vec<Move>,
    /// Live messages of subscriptions to the newest alone: as
    /// [`Ledger::latency`](super::Ledger::latency).
    #[serde(with = "counts")]
    pub newest: Histogram<u64>,
    /// By a subscriber's first account: the number of its session.
    #[serde(skip)]
    sessions: HashMap<u32, u64>,
    #[serde(skip)]
    states: Vec<State>,
    /// By account: the place of its group among the states.
    #[serde(skip)]
    group_of: Vec<u32>,
    /// By account: whether its next message is the first since it was opened.
    #[serde(skip)]
    fresh: Vec<bool>,
}

/// Someone joined or left a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Move {
    /// The number of its session.
    pub session: u64,
    /// The topic.
    pub topic: u32,
    /// It joined, else it left.
    pub is_join: bool,
    /// When.
    pub at_ns: u64,
}

/// Where a group stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// So many answers and current values are still to come. `answered_ns` is 0 before the last
    /// answer.
    Opening {
        since_ns: u64,
        answers: u32,
        values: u32,
        answered_ns: u64,
    },
    /// So many answers are still to come.
    Closing {
        answers: u32,
    },
    Closed,
}

/// What a message is to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// One of many.
    Live,
    /// The first since the group was opened: what the topic stood at.
    First,
    /// None: the group is closed.
    AfterEnd,
}

impl GroupBook {
    /// Every group is open; each has so many accounts, which follow each other.
    #[must_use]
    pub fn new(accounts_of_groups: &[u32]) -> Self {
        let group_of: Vec<u32> = (0..)
            .zip(accounts_of_groups)
            .flat_map(|(group, &accounts)| std::iter::repeat_n(group, accounts as usize))
            .collect();
        Self {
            opened: 0,
            closed: 0,
            snapshot: histogram(),
            without_value: 0,
            after_end: 0,
            ended_ns: u64::MAX,
            moves: Vec::new(),
            sightings: Vec::new(),
            newest: histogram(),
            sessions: HashMap::new(),
            states: vec![State::Open; accounts_of_groups.len()],
            fresh: vec![false; group_of.len()],
            group_of,
        }
    }

    /// Whether the group of an account is open with nothing outstanding.
    pub(super) fn is_open(&self, account: u32) -> bool {
        self.state(account) == Some(State::Open)
    }

    /// Whether the group of an account is closed, and that is answered.
    pub(super) fn is_closed(&self, account: u32) -> bool {
        self.state(account) == Some(State::Closed)
    }

    /// The group of an account is being closed, which so many answers will confirm.
    pub(super) fn handle_closing(&mut self, account: u32, answers: u32) {
        self.closed += 1;
        self.set(account, State::Closing { answers });
    }

    /// The group of these accounts is being opened again, which so many answers will confirm. With
    /// `has_values`, each account gets its current value.
    pub(super) fn handle_opening(
        &mut self,
        accounts: std::ops::Range<u32>,
        answers: u32,
        has_values: bool,
        now_ns: u64,
    ) {
        self.opened += 1;
        let values = if has_values { accounts.len() as u32 } else { 0 };
        let opening = State::Opening { since_ns: now_ns, answers, values, answered_ns: 0 };
        self.set(accounts.start, opening);
        for account in accounts {
            self.fresh[account as usize] = has_values;
        }
    }

    /// A subscribe or unsubscribe of an account's group was answered. Returns whether it was one
    /// that was waited for.
    pub(super) fn handle_answer(&mut self, account: u32, is_subscribe: bool, now_ns: u64) -> bool {
        let state = match (self.state(account), is_subscribe) {
            (Some(State::Closing { answers: 1 }), false) => State::Closed,
            (Some(State::Closing { answers }), false) if answers > 0 => {
                State::Closing { answers: answers - 1 }
            }
            (Some(State::Opening { since_ns, answers, values, .. }), true) if answers > 0 => {
                let answered_ns = if answers == 1 { now_ns } else { 0 };
                State::Opening { since_ns, answers: answers - 1, values, answered_ns }
            }
            _ => return false,
        };
        self.set(account, state);
        self.settle(account);
        true
    }

    /// The topic of an account has no message yet, so there is no current value to wait for.
    pub(super) fn handle_no_value(&mut self, account: u32, now_ns: u64) {
        if self.fresh.get(account as usize) == Some(&true) {
            self.take_value(account, now_ns);
        }
    }

    /// A message came for an account, due at `intended_ns` with this number of its publisher.
    pub(super) fn handle_message(
        &mut self,
        account: u32,
        seq: u64,
        intended_ns: u64,
        now_ns: u64,
    ) -> Part {
        let Some(state) = self.state(account) else { return Part::Live };
        if state == State::Closed {
            self.after_end += 1;
            return Part::AfterEnd;
        }
        if !self.fresh[account as usize] {
            return Part::Live;
        }
        // While the values come, a newer message may take the place of one; later it may not. The
        // first message of a topic had none before it.
        let is_late = matches!(state, State::Opening { answered_ns, .. }
            if answered_ns != 0 && intended_ns > answered_ns + VALUE_NS);
        self.without_value += u64::from(is_late && seq > 1);
        self.take_value(account, now_ns);
        Part::First
    }

    /// The closing begins. A value that has not come by now does not come.
    pub(super) fn handle_end(&mut self, now_ns: u64) {
        self.ended_ns = now_ns;
        self.without_value += self.fresh.iter().filter(|is_fresh| **is_fresh).count() as u64;
    }

    /// The session of the subscriber with this first account has this number.
    pub(super) fn handle_session(&mut self, first_account: u32, session: u64) {
        self.sessions.insert(first_account, session);
    }

    /// The subscriber with this first account asks to join or leave a topic.
    pub(super) fn handle_move(
        &mut self,
        first_account: u32,
        topic: u32,
        is_join: bool,
        at_ns: u64,
    ) {
        let session = self.sessions.get(&first_account).copied().unwrap_or(0);
        self.moves.push(Move { session, topic, is_join, at_ns });
    }

    /// Someone who stays saw this.
    pub(super) fn handle_sighting(&mut self, seen: Move) {
        if self.sightings.len() < SIGHTINGS_MAX {
            self.sightings.push(seen);
        }
    }

    /// Adds what another worker noted.
    pub(crate) fn add(&mut self, other: Self) {
        self.opened += other.opened;
        self.closed += other.closed;
        self.snapshot.add(other.snapshot).expect("all histograms have one shape");
        self.newest.add(other.newest).expect("all histograms have one shape");
        self.without_value += other.without_value;
        self.after_end += other.after_end;
        self.ended_ns = self.ended_ns.min(other.ended_ns);
        self.moves.extend(other.moves);
        self.sightings.extend(other.sightings);
    }

    fn take_value(&mut self, account: u32, now_ns: u64) {
        self.fresh[account as usize] = false;
        if let Some(State::Opening { since_ns, answers, values, answered_ns }) = self.state(account)
        {
            let values = values.saturating_sub(1);
            self.set(account, State::Opening { since_ns, answers, values, answered_ns });
            if values == 0 {
                self.snapshot.saturating_record(now_ns.saturating_sub(since_ns));
            }
            self.settle(account);
        }
    }

    /// Once all answers and values are there, the group is open.
    fn settle(&mut self, account: u32) {
        if let Some(State::Opening { answers: 0, values: 0, .. }) = self.state(account) {
            self.set(account, State::Open);
        }
    }

    fn state(&self, account: u32) -> Option<State> {
        let group = *self.group_of.get(account as usize)?;
        self.states.get(group as usize).copied()
    }

    fn set(&mut self, account: u32, state: State) {
        if let Some(&group) = self.group_of.get(account as usize) {
            self.states[group as usize] = state;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_open_again_once_all_answers_and_values_are_there() {
        let mut book = GroupBook::new(&[1, 3]);
        assert!(book.is_open(0) && book.is_open(3));
        book.handle_closing(1, 1);
        assert_eq!(book.handle_message(2, 5, 10, 11), Part::Live);
        assert!(book.handle_answer(1, false, 20));
        assert!(book.is_closed(3) && book.is_open(0));
        assert_eq!(book.handle_message(2, 6, 21, 22), Part::AfterEnd);
        book.handle_opening(1..4, 1, true, 100);
        assert!(book.handle_answer(1, true, 110) && !book.handle_answer(1, true, 111));
        assert_eq!(book.handle_message(1, 6, 50, 120), Part::First);
        assert_eq!(book.handle_message(1, 7, 115, 121), Part::Live);
        let late_ns = 111 + VALUE_NS;
        assert_eq!(book.handle_message(3, 9, late_ns, late_ns), Part::First);
        assert!(!book.is_open(1));
        book.handle_end(late_ns);
        assert_eq!(book.without_value, 2);
        book.handle_no_value(2, 150);
        assert!(book.is_open(1));
        assert_eq!((book.snapshot.len(), book.snapshot.max()), (1, 50));
        assert_eq!((book.opened, book.closed, book.after_end), (1, 1, 1));
    }

    #[test]
    fn without_values_to_wait_for_the_answers_are_enough() {
        let mut book = GroupBook::new(&[2]);
        book.handle_closing(0, 2);
        assert!(book.handle_answer(0, false, 1) && !book.is_closed(0));
        assert!(!book.handle_answer(0, true, 2));
        assert!(book.handle_answer(1, false, 3) && book.is_closed(0));
        book.handle_opening(0..2, 2, false, 4);
        assert!(book.handle_answer(0, true, 5) && book.handle_answer(1, true, 6));
        assert!(book.is_open(0));
        assert!(book.snapshot.is_empty());
    }

    #[test]
    fn where_there_are_no_groups_every_message_is_one_of_many() {
        let mut book = GroupBook::new(&[]);
        assert_eq!(book.handle_message(7, 1, 2, 3), Part::Live);
        assert!(!book.handle_answer(7, true, 1));
    }
}
