//! A session: what the hub knows of one open WebSocket, apart from its bytes and its socket.

use std::sync::Arc;

use smallvec::SmallVec;

use super::accounts::Ledger;
use super::outbox::NodeId;
use super::protocol::Protocol;
use super::slow::Slow;
use crate::auth::Grants;

/// The state of one open connection in the hub. Its key is the connection's slot in its worker.
///
/// What a delivery looks at stands first, and stays together: it is in no cache, most times.
#[derive(Debug)]
#[repr(C)]
pub struct Session {
    /// What this turn has put aside for it; see [`super::outbox`].
    pub pending: NodeId,
    /// What it speaks.
    pub protocol: Protocol,
    /// What is known of it while it does not keep up.
    pub slow: Option<Box<Slow>>,
    /// Messages of its subscriptions that were queued or sent.
    pub sent: u64,
    /// What was given to it, but not to its peer yet.
    pub unread: Unread,
    /// What it is subscribed to; most have one subscription.
    pub subscriptions: SmallVec<[Subscription; 1]>,
    /// What it published; most never do.
    pub published: Option<Box<Published>>,
    /// Its number, unique in this process.
    pub id: u64,
    /// The allowance for commands.
    pub budget: Budget,
    /// Who it is and what it may do.
    pub grants: Arc<Grants>,
    /// When its token is to be looked at next, in ms of the broker's clock; 0 if never.
    pub look_at_ms: u64,
    /// What became of messages that were not simply sent.
    pub ledger: Ledger,
}

/// The publishes of a session.
#[derive(Debug, Default)]
pub struct Published {
    /// How many they were.
    pub count: u64,
    /// The allowance for them.
    pub budget: Budget,
}

/// What a session was given, but its peer has not got yet. Nothing is put aside for it while there
/// is none.
#[derive(Debug, Default)]
pub struct Unread(Option<Box<Waiting>>);

/// As of the last flush, and since then.
#[derive(Debug, Default)]
struct Waiting {
    messages: u32,
    paged_bytes: u32,
    bytes: u64,
}

/// Where a session stands in a list of subscribers.
#[derive(Clone, Copy, Debug)]
pub struct Subscription {
    /// The list, by its key in the hub's lists.
    pub list: u32,
    /// The seat; one that is special has the top bit set.
    seat: u32,
    /// How many messages the list had when the subscription was made.
    pub since: u64,
}

/// Where a subscription is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seat {
    /// Among the list's plain subscribers, at this place: it gets everything as it is.
    Plain(u32),
    /// Otherwise, see the special subscription of this key.
    Special(u32),
}

/// Set in a seat that is special.
const SPECIAL: u32 = 1 << 31;

impl Seat {
    /// Where a subscription is while it goes from one seat to another.
    pub const NONE: Self = Self::Plain(SPECIAL - 1);
}

impl Subscription {
    /// A subscription without a seat to a list that had so many messages.
    pub fn new(list: u32, since: u64) -> Self {
        let mut subscription = Self { list, seat: 0, since };
        subscription.sit(Seat::NONE);
        subscription
    }

    /// Where it is served.
    pub fn seat(&self) -> Seat {
        match self.seat & SPECIAL {
            0 => Seat::Plain(self.seat),
            _ => Seat::Special(self.seat & !SPECIAL),
        }
    }

    /// From here on it is served there.
    pub fn sit(&mut self, seat: Seat) {
        self.seat = match seat {
            Seat::Plain(place) => place,
            Seat::Special(key) => key | SPECIAL,
        };
    }
}

impl Unread {
    /// Messages among the backlog, as of the last flush.
    pub fn messages(&self) -> u32 {
        self.0.as_ref().map_or(0, |held| held.messages)
    }

    /// Bytes of the backlog, as of the last flush.
    pub fn bytes(&self) -> u64 {
        self.0.as_ref().map_or(0, |held| held.bytes)
    }

    /// Bytes of the past that the session was given since the last flush.
    pub fn paged_bytes(&self) -> u32 {
        self.0.as_ref().map_or(0, |held| held.paged_bytes)
    }

    /// The backlog is like that now.
    pub fn set_backlog(&mut self, messages: u32, bytes: u64) {
        if self.0.is_some() || bytes > 0 {
            let held = self.0.get_or_insert_default();
            (held.messages, held.bytes) = (messages, bytes);
            self.forget_if_none();
        }
    }

    /// So many bytes of the past were given to the session.
    pub fn add_page(&mut self, bytes: u32) {
        self.0.get_or_insert_default().paged_bytes += bytes;
    }

    /// What the session was given is flushed.
    pub fn end_page(&mut self) {
        if let Some(held) = &mut self.0 {
            held.paged_bytes = 0;
            self.forget_if_none();
        }
    }

    fn forget_if_none(&mut self) {
        self.0.take_if(|held| held.bytes == 0 && held.messages == 0 && held.paged_bytes == 0);
    }
}

impl Session {
    /// A session without subscriptions.
    pub fn new(id: u64, protocol: Protocol, grants: Arc<Grants>) -> Self {
        Self {
            pending: NodeId::root(protocol),
            protocol,
            subscriptions: SmallVec::new(),
            sent: 0,
            published: None,
            unread: Unread::default(),
            id,
            budget: Budget::default(),
            grants,
            look_at_ms: 0,
            ledger: Ledger::default(),
            slow: None,
        }
    }
}

/// A token bucket: `rate` a second, and a burst on top. Full at first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Budget {
    /// What was taken out and has not come back, in thousandths.
    spent_milli: u32,
    at_ms: u32,
}

const MILLI: u32 = 1_000;
/// So that a spent burst fits the field.
const BURST_MAX: u32 = 4_000_000;

impl Budget {
    /// Takes one out; false if there is none left. A `rate` of 0 means no limit; a burst above
    /// four million is cut to that.
    pub fn take(&mut self, now_ms: u64, rate: u32, burst: u32) -> bool {
        if rate == 0 {
            return true;
        }
        // The clock wraps after 49 days; a time that seems to lie far ahead lies a little behind.
        let elapsed = (now_ms as u32).wrapping_sub(self.at_ms);
        let elapsed = if elapsed > u32::MAX / 2 { 0 } else { elapsed };
        let back = u64::from(elapsed) * u64::from(rate);
        self.at_ms = self.at_ms.wrapping_add(elapsed);
        self.spent_milli = u64::from(self.spent_milli).saturating_sub(back) as u32;
        if self.spent_milli + MILLI > burst.min(BURST_MAX) * MILLI {
            return false;
        }
        self.spent_milli += MILLI;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unread_needs_no_memory_once_there_is_none() {
        let mut unread = Unread::default();
        unread.set_backlog(0, 0);
        unread.end_page();
        assert!(unread.0.is_none());
        unread.add_page(10);
        unread.set_backlog(2, 300);
        assert_eq!((unread.messages(), unread.bytes(), unread.paged_bytes()), (2, 300, 10));
        unread.end_page();
        assert_eq!((unread.messages(), unread.bytes(), unread.paged_bytes()), (2, 300, 0));
        unread.set_backlog(0, 0);
        assert!(unread.0.is_none());
    }

    #[test]
    fn a_budget_of_any_size_can_be_spent_without_overflow() {
        let mut budget = Budget::default();
        let taken = (0..4_000_010).filter(|_| budget.take(0, u32::MAX, u32::MAX)).count();
        assert_eq!(taken, 4_000_000);
        assert!(budget.take(1_000_000, u32::MAX, u32::MAX));
        assert!(budget.take(999_999, u32::MAX, u32::MAX));
    }

    #[test]
    fn a_budget_gives_its_burst_and_then_its_rate() {
        let mut budget = Budget::default();
        let taken = (0..100).filter(|_| budget.take(0, 10, 20)).count();
        assert_eq!(taken, 20);
        assert!(!budget.take(99, 10, 20));
        assert!(budget.take(200, 10, 20));
        let taken = (0..10_000).filter(|ms| budget.take(200 + ms, 10, 20)).count();
        assert!((99..=101).contains(&taken), "{taken} in ten seconds at 10 a second");
    }
}
