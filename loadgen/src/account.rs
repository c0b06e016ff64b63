//! The account of one subscription: which of the topic's messages came, which did not, which came
//! twice or out of turn. Exact as long as the holes stay within a named limit, and small while
//! nothing goes wrong. No clock, no bytes; kept by the engine's workers, closed after the run.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// The most separate holes remembered per subscription. With more, the oldest hole is taken for
/// lost: should one of its messages come after all, it counts as a duplicate.
pub const HOLES_MAX: usize = 4096;

/// What one subscriber got of one topic. 32 bytes while all is well.
///
/// ```
/// use loadgen::account::{Account, Arrival};
///
/// let mut account = Account::default();
/// assert_eq!(account.handle_message(1, Some(10)), Arrival::InOrder);
/// assert_eq!(account.handle_message(3, Some(12)), Arrival::InOrder); // 2 is missing so far
/// assert_eq!(account.handle_message(2, Some(11)), Arrival::OutOfOrder);
/// let totals = account.close(4);
/// assert_eq!((totals.expected, totals.delivered, totals.lost), (4, 3, 1));
/// ```
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Account {
    /// The highest publisher's seq that came.
    last: u64,
    /// The last seq that the broker gave; 0 before the first.
    broker_last: u64,
    delivered: u64,
    trouble: Option<Box<Trouble>>,
}

/// What a message meant to the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// New, and later than all before it.
    InOrder,
    /// New, but a later one came first.
    OutOfOrder,
    /// It had come before.
    Duplicate,
}

/// Sums over accounts. Every published message is in `delivered`, `lost`, `missed` or `conflated`
/// of every subscriber.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Totals {
    /// Messages that should have come.
    pub expected: u64,
    /// Of these, how many came at least once.
    pub delivered: u64,
    /// Of these, how many never came.
    pub lost: u64,
    /// Of these, how many were published while the subscriber was not connected.
    pub missed: u64,
    /// Of these, how many did not come because a newer one did, as was asked for.
    pub conflated: u64,
    /// Arrivals of a message that had come before.
    pub duplicated: u64,
    /// Messages that came after a later one of their publisher.
    pub out_of_order: u64,
    /// Times that the broker's own seq did not go on with the next number, and no gap notice said so.
    pub seq_breaks: u64,
    /// Gap notices of the broker.
    pub gap_notices: u64,
    /// Messages that gap notices declared missing.
    pub gap_messages: u64,
}

#[derive(Debug, Default, Deserialize, Serialize)]
struct Trouble {
    /// What is missing below `last`, in ascending order, none empty.
    holes: Vec<Range<u64>>,
    /// Messages of holes that were given up.
    given_up: u64,
    totals: Totals,
}

impl Account {
    /// A message came: `seq` is its publisher's number in the topic from 1, no higher than what
    /// will be published; `broker_seq` is the broker's, whatever it says. With a broker that does
    /// not number, there is nothing that could break.
    pub fn handle_message(&mut self, seq: u64, broker_seq: Option<u64>) -> Arrival {
        if let Some(broker_seq) = broker_seq {
            if self.broker_last != 0 && broker_seq != self.broker_last.saturating_add(1) {
                self.trouble().totals.seq_breaks += 1;
            }
            self.broker_last = broker_seq;
        }
        let arrival = self.place(seq);
        match arrival {
            Arrival::InOrder => self.delivered += 1,
            Arrival::OutOfOrder => {
                self.delivered += 1;
                self.trouble().totals.out_of_order += 1;
            }
            Arrival::Duplicate => self.trouble().totals.duplicated += 1,
        }
        arrival
    }

    /// A message came where only the newest is asked for: what lies between it and the last one is
    /// conflated, and nothing older may follow. The broker's number must have grown by as much as
    /// the publisher's.
    pub fn handle_latest(&mut self, seq: u64, broker_seq: Option<u64>) -> Arrival {
        if seq <= self.last {
            let is_again = seq == self.last;
            let totals = &mut self.trouble().totals;
            *(if is_again { &mut totals.duplicated } else { &mut totals.out_of_order }) += 1;
            return Arrival::Duplicate;
        }
        let step = seq - self.last;
        if let Some(broker_seq) = broker_seq {
            if self.broker_last != 0 && broker_seq != self.broker_last.saturating_add(step) {
                self.trouble().totals.seq_breaks += 1;
            }
            self.broker_last = broker_seq;
        }
        if step > 1 {
            self.trouble().totals.conflated += step - 1;
        }
        self.last = seq;
        self.delivered += 1;
        Arrival::InOrder
    }

    /// The first message came after a time in which nothing was asked for: where the topic stands.
    /// It may be the one that came last before, and none older. Returns how many were missed.
    pub fn handle_current(&mut self, seq: u64, broker_seq: Option<u64>) -> u64 {
        self.broker_last = broker_seq.unwrap_or(self.broker_last);
        if seq < self.last {
            self.trouble().totals.out_of_order += 1;
            return 0;
        }
        let missed = (seq - self.last).saturating_sub(1);
        if missed > 0 {
            self.trouble().totals.missed += missed;
        }
        self.delivered += u64::from(seq > self.last);
        self.last = seq;
        missed
    }

    /// The broker said that its messages `from` to `to`, both included, will not come.
    pub fn handle_gap(&mut self, from: u64, to: u64) {
        self.broker_last = self.broker_last.max(to);
        let totals = &mut self.trouble().totals;
        totals.gap_notices += 1;
        let missing = to.checked_sub(from).map_or(0, |more| more.saturating_add(1));
        totals.gap_messages = totals.gap_messages.saturating_add(missing);
    }

    /// The subscriber is back, and the broker's seq stood at `broker_seq` when it subscribed again:
    /// what was published since the last message that came was missed, not lost. Returns how much.
    pub fn handle_rejoin(&mut self, broker_seq: u64) -> u64 {
        let missed = broker_seq.saturating_sub(self.broker_last);
        if missed > 0 {
            self.broker_last = broker_seq;
            self.last = self.last.saturating_add(missed);
            let totals = &mut self.trouble().totals;
            totals.missed = totals.missed.saturating_add(missed);
        }
        missed
    }

    /// The highest publisher's seq that came; 0 before the first.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.last
    }

    /// The last seq that the broker gave; 0 before the first.
    #[must_use]
    pub fn broker_last(&self) -> u64 {
        self.broker_last
    }

    /// Whether it can be closed: one that came from elsewhere may be anything.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let holes = self.trouble.as_deref().map_or(&[][..], |trouble| &trouble.holes);
        holes.iter().all(|hole| hole.start < hole.end && hole.end <= self.last)
    }

    /// The sums, given how many messages were published on the topic.
    #[must_use]
    pub fn close(&self, published: u64) -> Totals {
        let mut totals =
            Totals { expected: published, delivered: self.delivered, ..Totals::default() };
        totals.lost = published.saturating_sub(self.last);
        if let Some(trouble) = &self.trouble {
            totals.lost += trouble.given_up;
            totals.lost += trouble.holes.iter().map(|hole| hole.end - hole.start).sum::<u64>();
            totals.add(&trouble.totals);
        }
        totals
    }

    fn place(&mut self, seq: u64) -> Arrival {
        if seq > self.last {
            if seq > self.last + 1 {
                let hole = self.last + 1..seq;
                self.trouble().add_hole(hole);
            }
            self.last = seq;
            return Arrival::InOrder;
        }
        let was_missing = self.trouble.as_mut().is_some_and(|trouble| trouble.fill(seq));
        if was_missing { Arrival::OutOfOrder } else { Arrival::Duplicate }
    }

    fn trouble(&mut self) -> &mut Trouble {
        self.trouble.get_or_insert_default()
    }
}

impl Trouble {
    fn add_hole(&mut self, hole: Range<u64>) {
        if self.holes.len() == HOLES_MAX {
            let oldest = self.holes.remove(0);
            self.given_up += oldest.end - oldest.start;
        }
        self.holes.push(hole);
    }

    /// Whether `seq` was missing; it no longer is then.
    fn fill(&mut self, seq: u64) -> bool {
        let at = self.holes.partition_point(|hole| hole.end <= seq);
        let Some(hole) = self.holes.get_mut(at).filter(|hole| hole.contains(&seq)) else {
            return false;
        };
        let after = seq + 1..hole.end;
        hole.end = seq;
        let before_is_empty = hole.is_empty();
        match (before_is_empty, after.is_empty()) {
            (true, true) => drop(self.holes.remove(at)),
            (true, false) => self.holes[at] = after,
            (false, true) => {}
            (false, false) => self.holes.insert(at + 1, after),
        }
        true
    }
}

impl Totals {
    /// Adds the sums of another account.
    pub fn add(&mut self, other: &Self) {
        self.expected += other.expected;
        self.delivered += other.delivered;
        self.lost += other.lost;
        self.missed = self.missed.saturating_add(other.missed);
        self.conflated += other.conflated;
        self.duplicated += other.duplicated;
        self.out_of_order += other.out_of_order;
        self.seq_breaks += other.seq_breaks;
        self.gap_notices += other.gap_notices;
        self.gap_messages = self.gap_messages.saturating_add(other.gap_messages);
    }

    /// Whether every expected message is delivered, lost, missed or conflated. Anything else means
    /// that messages came that nobody published.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        Some(self.expected)
            == (self.delivered + self.lost + self.conflated).checked_add(self.missed)
    }

    /// Whether everything came, once and in order, but for what was missed while disconnected and
    /// what was conflated by request, and the broker's own numbers agree.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let whole = Self {
            expected: self.expected,
            delivered: self.expected.saturating_sub(self.missed).saturating_sub(self.conflated),
            missed: self.missed,
            conflated: self.conflated,
            ..Self::default()
        };
        *self == whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(arrivals: &[u64]) -> Account {
        let mut account = Account::default();
        for (at, &seq) in arrivals.iter().enumerate() {
            account.handle_message(seq, Some(1 + at as u64));
        }
        account
    }

    #[test]
    fn an_account_without_trouble_is_clean_and_small() {
        assert!(after(&[1, 2, 3]).close(3).is_clean());
        assert!(Account::default().close(0).is_clean());
        assert_eq!(size_of::<Account>(), 32);
    }

    #[test]
    fn what_never_came_is_lost_at_the_front_in_the_middle_and_at_the_end() {
        let totals = after(&[2, 4]).close(6);
        assert_eq!((totals.delivered, totals.lost), (2, 4));
        assert!(totals.is_closed() && !totals.is_clean());
    }

    #[test]
    fn a_message_that_comes_again_is_a_duplicate_whether_late_or_at_once() {
        let totals = after(&[1, 1, 2, 3, 1]).close(3);
        assert_eq!((totals.delivered, totals.lost, totals.duplicated), (3, 0, 2));
        assert_eq!(totals.out_of_order, 0);
    }

    #[test]
    fn a_broker_that_does_not_number_is_held_to_the_publishers_numbers_alone() {
        let mut account = Account::default();
        for seq in [1, 2, 4, 4] {
            account.handle_message(seq, None);
        }
        let totals = account.close(4);
        assert_eq!((totals.delivered, totals.lost, totals.duplicated), (3, 1, 1));
        assert_eq!((totals.seq_breaks, account.broker_last()), (0, 0));
    }

    #[test]
    fn holes_are_filled_from_any_side() {
        for order in [[2, 3, 4], [4, 3, 2], [3, 2, 4], [3, 4, 2]] {
            let totals = after(&[1, 5, order[0], order[1], order[2]]).close(5);
            assert_eq!((totals.delivered, totals.lost), (5, 0), "{order:?}");
            assert_eq!((totals.out_of_order, totals.duplicated), (3, 0), "{order:?}");
        }
    }

    #[test]
    fn the_brokers_own_seq_must_go_on_by_one_or_a_gap_must_say_why() {
        let mut account = Account::default();
        account.handle_message(1, Some(7));
        account.handle_message(2, Some(9));
        account.handle_gap(10, 12);
        account.handle_message(6, Some(13));
        let totals = account.close(6);
        assert_eq!((totals.seq_breaks, totals.gap_notices, totals.gap_messages), (1, 1, 3));
        assert_eq!((totals.delivered, totals.lost), (3, 3));
    }

    #[test]
    fn what_was_published_while_disconnected_is_missed_and_what_is_absent_later_is_lost() {
        let mut account = after(&[1, 2, 3]);
        assert_eq!(account.handle_rejoin(7), 4);
        assert_eq!(account.handle_message(8, Some(8)), Arrival::InOrder);
        assert!(account.close(8).is_clean());
        account.handle_message(10, Some(10));
        let totals = account.close(10);
        assert_eq!((totals.delivered, totals.missed, totals.lost), (5, 4, 1));
        assert!(totals.is_closed() && !totals.is_clean());
        assert_eq!(account.handle_message(5, Some(11)), Arrival::Duplicate);
    }

    #[test]
    fn who_missed_nothing_goes_on_as_before_and_a_seq_beyond_all_that_was_sent_does_not_pass() {
        let mut account = after(&[1, 2]);
        assert_eq!(account.handle_rejoin(2), 0);
        account.handle_message(3, Some(3));
        assert!(account.close(3).is_clean());
        account.handle_rejoin(u64::MAX);
        let totals = account.close(3);
        assert!(!totals.is_closed() && !totals.is_clean());
    }

    #[test]
    fn where_the_newest_is_asked_for_the_others_are_conflated_and_the_last_one_must_come() {
        let mut account = Account::default();
        for seq in [3, 4, 9] {
            assert_eq!(account.handle_latest(seq, Some(seq + 10)), Arrival::InOrder);
        }
        let totals = account.close(9);
        assert_eq!((totals.delivered, totals.conflated, totals.lost), (3, 6, 0));
        assert!(totals.is_clean() && totals.is_closed());
        let totals = account.close(11);
        assert_eq!(totals.lost, 2);
        assert!(totals.is_closed() && !totals.is_clean());
    }

    #[test]
    fn where_the_newest_is_asked_for_nothing_older_may_follow_and_the_numbers_must_agree() {
        let mut account = Account::default();
        account.handle_latest(5, Some(5));
        assert_eq!(account.handle_latest(3, Some(3)), Arrival::Duplicate);
        assert_eq!(account.handle_latest(5, Some(5)), Arrival::Duplicate);
        account.handle_latest(8, Some(9));
        let totals = account.close(8);
        assert_eq!((totals.out_of_order, totals.duplicated, totals.seq_breaks), (1, 1, 1));
        assert_eq!((totals.delivered, totals.conflated), (2, 6));
    }

    #[test]
    fn the_current_value_may_be_known_and_what_lies_before_it_was_missed() {
        let mut account = after(&[1, 2]);
        assert_eq!(account.handle_current(2, Some(2)), 0);
        assert_eq!(account.handle_message(3, Some(3)), Arrival::InOrder);
        assert_eq!(account.handle_current(7, Some(7)), 3);
        account.handle_message(8, Some(8));
        let totals = account.close(8);
        assert!(totals.is_clean(), "{totals:?}");
        assert_eq!((totals.delivered, totals.missed), (5, 3));
        account.handle_current(6, Some(6));
        assert_eq!(account.close(8).out_of_order, 1);
    }

    #[test]
    fn a_broker_that_counts_to_the_end_of_all_numbers_does_no_harm() {
        let mut account = Account::default();
        account.handle_message(1, Some(u64::MAX));
        account.handle_message(2, Some(u64::MAX));
        account.handle_gap(0, u64::MAX);
        account.handle_gap(9, 3);
        let mut totals = account.close(2);
        totals.add(&totals.clone());
        assert_eq!((totals.gap_notices, totals.gap_messages), (4, u64::MAX));
    }

    #[test]
    fn with_too_many_holes_the_oldest_is_lost_and_the_account_still_closes() {
        let mut account = Account::default();
        let last = 2 * (HOLES_MAX as u64 + 1);
        for seq in (2..=last).step_by(2) {
            account.handle_message(seq, Some(seq));
        }
        assert_eq!(account.handle_message(1, Some(last + 1)), Arrival::Duplicate);
        assert_eq!(account.handle_message(3, Some(last + 2)), Arrival::OutOfOrder);
        let totals = account.close(last);
        assert_eq!(totals.lost, HOLES_MAX as u64);
        assert!(totals.is_closed());
    }
}
