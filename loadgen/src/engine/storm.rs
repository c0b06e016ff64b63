//! When everybody's connection is cut at once, and what is counted of their coming back. No sockets
//! and no clock; the plan says when, each worker keeps the book of its own subscribers.

use broker_proto::command::Position;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::ledger::{Tally, histogram};
use crate::counts;

/// The most storms of one run.
pub const STORMS_MAX: u32 = 1000;

/// The connections of a part of the subscribers are cut, all in one moment, and each comes back
/// after a time of its own.
///
/// ```
/// use loadgen::engine::Storm;
///
/// let storm = Storm { subscribers: 9, times: 2, first_ns: 500, every_ns: 1000, spread_ns: 0, resumes: true };
/// assert_eq!([0, 1, 2].map(|number| storm.due_after_ns(number)), [Some(500), Some(1500), None]);
/// ```
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Storm {
    /// How many subscribers take part, at least one: the first so many.
    pub subscribers: u32,
    /// How many storms there are, at most [`STORMS_MAX`].
    pub times: u32,
    /// When the first is, after the start of publishing.
    pub first_ns: u64,
    /// From one to the next.
    pub every_ns: u64,
    /// Each comes back after a random time up to this.
    pub spread_ns: u64,
    /// Whether those who come back ask for what they missed.
    pub resumes: bool,
}

/// What a worker notes of storms.
#[derive(Debug, Deserialize, Serialize)]
pub struct StormBook {
    /// Connections that were cut.
    pub cut: u64,
    /// From the cut to the last answer to the new subscribes, in nanoseconds.
    #[serde(with = "counts")]
    pub back: Histogram<u64>,
    /// The longest of these, by storm.
    pub last_back_ns: Vec<u64>,
    /// Attempts to come back that failed, by reason.
    pub failed: Tally,
    /// Connections that were not back in the end.
    pub absent: u64,
    /// Subscriptions whose past the server said to deliver whole.
    pub resumed: u64,
    /// Subscriptions of which it said that something of it is gone.
    pub not_resumed: u64,
    /// Subscriptions that were refused with what was missed and made again without.
    pub refused: u64,
    /// Messages published before their subscriber was back, and delivered.
    pub made_up: u64,
    /// By account; nothing where there are no storms.
    #[serde(skip)]
    seats: Vec<Seat>,
}

/// What there is to know of one subscription.
#[derive(Clone, Copy, Debug, Default)]
struct Seat {
    /// Where the topic stood when it was subscribed to last.
    position: Option<Position>,
    /// When that was, if it was not the first time.
    back_ns: u64,
    /// Not all of the past is there: up to this seq, messages may be absent until one comes.
    gone_to: Option<u64>,
}

impl Storm {
    /// Whether there are so many subscribers, and no more storms than may be.
    pub(super) fn fits(&self, subscribers: u32) -> bool {
        (1..=subscribers).contains(&self.subscribers) && self.times <= STORMS_MAX
    }

    /// When a storm comes, in nanoseconds after the start of publishing; the first has number 0.
    #[must_use]
    pub fn due_after_ns(&self, number: u32) -> Option<u64> {
        (number < self.times).then(|| self.first_ns + u64::from(number) * self.every_ns)
    }
}

impl StormBook {
    /// An empty book for so many accounts.
    #[must_use]
    pub fn new(accounts: usize) -> Self {
        Self {
            cut: 0,
            back: histogram(),
            last_back_ns: Vec::new(),
            failed: Tally::default(),
            absent: 0,
            resumed: 0,
            not_resumed: 0,
            refused: 0,
            made_up: 0,
            seats: vec![Seat::default(); accounts],
        }
    }

    /// A connection is back that was cut so long ago in this storm.
    pub(super) fn handle_back(&mut self, storm: u32, nanos: u64) {
        self.back.saturating_record(nanos);
        let storm = storm as usize;
        if self.last_back_ns.len() <= storm {
            self.last_back_ns.resize(storm + 1, 0);
        }
        self.last_back_ns[storm] = self.last_back_ns[storm].max(nanos);
    }

    /// The subscribe of an account was answered.
    pub(super) fn handle_subscribed(&mut self, account: u32, position: Option<Position>) {
        if let Some(seat) = self.seats.get_mut(account as usize) {
            seat.position = position;
        }
    }

    /// Where to go on from, given the last seq that came; none if it never was subscribed.
    pub(super) fn since(&self, account: u32, last_seq: u64) -> Option<Position> {
        let Position { epoch, seq } = self.seats.get(account as usize)?.position?;
        Some(Position { epoch, seq: last_seq.max(seq) })
    }

    /// The subscribe of an account that is back was answered, and what it missed is to follow.
    pub(super) fn handle_resumed(
        &mut self,
        account: u32,
        position: Option<Position>,
        is_whole: bool,
        now_ns: u64,
    ) {
        self.resumed += u64::from(is_whole);
        self.not_resumed += u64::from(!is_whole);
        if let Some(seat) = self.seats.get_mut(account as usize) {
            seat.back_ns = now_ns;
            seat.gone_to = position.filter(|_| !is_whole).map(|position| position.seq);
            seat.position = position;
        }
    }

    /// Something comes for an account: up to which seq its past may be gone without being lost, if
    /// that is still open.
    pub(super) fn take_gone(&mut self, account: u32) -> Option<u64> {
        self.seats.get_mut(account as usize)?.gone_to.take()
    }

    /// The accounts of which nothing came since, though not all of the past is there.
    pub(super) fn take_all_gone(&mut self) -> Vec<(u32, u64)> {
        let seats = (0..).zip(&mut self.seats);
        seats.filter_map(|(account, seat)| Some((account, seat.gone_to.take()?))).collect()
    }

    /// A message that was due at `intended_ns` came: whether it makes up for the time away.
    pub(super) fn is_made_up(&mut self, account: u32, intended_ns: u64) -> bool {
        let seat = self.seats.get(account as usize);
        let is_made_up = seat.is_some_and(|seat| intended_ns < seat.back_ns);
        self.made_up += u64::from(is_made_up);
        is_made_up
    }

    /// Adds what another worker noted.
    pub(crate) fn add(&mut self, other: Self) {
        self.cut += other.cut;
        self.back.add(other.back).expect("all histograms have one shape");
        let storms = self.last_back_ns.len().max(other.last_back_ns.len());
        self.last_back_ns.resize(storms, 0);
        for (mine, theirs) in self.last_back_ns.iter_mut().zip(other.last_back_ns) {
            *mine = (*mine).max(theirs);
        }
        self.failed.merge(other.failed);
        self.absent += other.absent;
        self.resumed += other.resumed;
        self.not_resumed += other.not_resumed;
        self.refused += other.refused;
        self.made_up += other.made_up;
    }
}

#[cfg(test)]
mod tests {
    use broker_proto::command::Epoch;

    use super::*;

    fn at(seq: u64) -> Position {
        Position { epoch: Epoch::new(9), seq }
    }

    #[test]
    fn who_comes_back_goes_on_from_the_last_message_or_from_where_it_subscribed() {
        let mut book = StormBook::new(2);
        assert_eq!(book.since(0, 5), None);
        book.handle_subscribed(0, Some(at(3)));
        assert_eq!(book.since(0, 0), Some(at(3)));
        assert_eq!(book.since(0, 7), Some(at(7)));
        assert_eq!(book.since(1, 7), None);
    }

    #[test]
    fn what_is_gone_counts_until_something_comes() {
        let mut book = StormBook::new(3);
        book.handle_resumed(0, Some(at(9)), false, 100);
        book.handle_resumed(1, Some(at(8)), true, 100);
        book.handle_resumed(2, Some(at(7)), false, 100);
        assert_eq!(
            (book.take_gone(0), book.take_gone(0), book.take_gone(1)),
            (Some(9), None, None)
        );
        assert_eq!(book.take_all_gone(), [(2, 7)]);
        assert_eq!((book.resumed, book.not_resumed), (1, 2));
        assert!(book.is_made_up(1, 99) && !book.is_made_up(1, 100));
        assert_eq!(book.made_up, 1);
    }

    #[test]
    fn the_last_one_back_of_all_workers_counts_for_each_storm() {
        let (mut one, mut other) = (StormBook::new(0), StormBook::new(0));
        one.handle_back(0, 30);
        other.handle_back(0, 50);
        other.handle_back(1, 20);
        one.add(other);
        assert_eq!((one.last_back_ns, one.back.len()), (vec![50, 20], 3));
    }
}
