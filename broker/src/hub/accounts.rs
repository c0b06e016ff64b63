//! What became of the messages of a connection and of each of its subscriptions. A message that is
//! simply sent is counted by its list alone, whatever the number of subscribers; only what goes
//! otherwise is noted for the subscription, and what was sent is the rest.

use broker_proto::command::{Account, CommandError, Stats};
use broker_proto::topic::Filter;
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::Hub;
use super::newest::NO_LIST;
use super::session::{Seat, Session};
use super::slow::Slow;
use super::special::Stage;
use super::subscribing::not_subscribed;

/// What became of messages that were not simply sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// A newer one was sent instead.
    pub conflated: u64,
    /// It did not move enough, or another subscription delivers it.
    pub filtered: u64,
    /// A gap notice, or the end of the subscription, took its place.
    pub dropped: u64,
    /// The subscription was paused.
    pub skipped: u64,
}

/// The counts of one subscription, with what its list does not know.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// What was not sent.
    pub counts: Counts,
    /// Messages of the time before it.
    pub past: u64,
    /// Messages of its list that were not for it: it had them already, or gets them as past.
    pub had: u64,
}

/// The counts of one session. Nothing is put aside for it before the first.
#[derive(Debug, Default)]
pub struct Ledger(Option<Box<Books>>);

#[derive(Debug, Default)]
struct Books {
    all: Counts,
    /// By list, for the subscriptions that are held now.
    by_list: HashMap<u32, Tally, RandomState>,
}

impl Ledger {
    /// The counts of all subscriptions, those that have ended among them.
    pub fn all(&self) -> Counts {
        self.0.as_ref().map_or_else(Counts::default, |books| books.all)
    }

    /// The counts of the subscription to a list.
    pub fn of(&self, list: u32) -> Tally {
        let tally = self.0.as_ref().and_then(|books| books.by_list.get(&list));
        tally.copied().unwrap_or_default()
    }

    /// Adds to what became of a subscription's messages.
    pub fn add(&mut self, list: u32, counts: Counts) {
        let books = self.0.get_or_insert_default();
        books.all += counts;
        books.by_list.entry(list).or_default().counts += counts;
    }

    /// The same, for messages that were put aside, by the list that they came by.
    pub fn add_put_aside(&mut self, list: u32, counts: Counts) {
        match list {
            NO_LIST => self.add_ended(counts),
            list => self.add(list, counts),
        }
    }

    /// The same, for messages whose subscription has ended.
    pub fn add_ended(&mut self, counts: Counts) {
        self.0.get_or_insert_default().all += counts;
    }

    /// So many messages of the past were given to a subscription.
    pub fn add_past(&mut self, list: u32, count: u64) {
        self.0.get_or_insert_default().by_list.entry(list).or_default().past += count;
    }

    /// So many messages of the past were not given to a subscription, because it was paused.
    pub fn add_skipped_past(&mut self, list: u32, count: u64) {
        self.add(list, Counts::skipped(count));
        self.add_past(list, count);
    }

    /// So many messages of a list were not for its subscription.
    pub fn add_had(&mut self, list: u32, count: u64) {
        self.0.get_or_insert_default().by_list.entry(list).or_default().had += count;
    }

    /// A subscription has ended.
    pub fn end(&mut self, list: u32) {
        if let Some(books) = &mut self.0 {
            books.by_list.remove(&list);
        }
    }
}

impl Counts {
    /// One message was conflated.
    pub const CONFLATED: Self = Self { conflated: 1, filtered: 0, dropped: 0, skipped: 0 };
    /// One message was filtered.
    pub const FILTERED: Self = Self { conflated: 0, filtered: 1, dropped: 0, skipped: 0 };

    /// So many messages were dropped.
    pub fn dropped(count: u64) -> Self {
        Self { dropped: count, ..Self::default() }
    }

    /// So many messages were skipped.
    pub fn skipped(count: u64) -> Self {
        Self { skipped: count, ..Self::default() }
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.conflated += other.conflated;
        self.filtered += other.filtered;
        self.dropped += other.dropped;
        self.skipped += other.skipped;
    }
}

impl Hub {
    /// What became of all messages of a connection.
    pub(super) fn stats(&self, slot: u32) -> Stats {
        let now_ms = self.now_ms;
        let Some(session) = self.sessions.get(slot as usize) else { return Stats::default() };
        let mut counts = session.ledger.all();
        let mut pending = u64::from(session.unread.messages());
        for subscription in &session.subscriptions {
            let (open, waiting, _) = self.open_counts(subscription.list, subscription.seat());
            counts += open;
            pending += waiting;
        }
        let slow = session.slow.as_deref();
        pending += slow.map_or(0, Slow::messages);
        let sent = session.sent.saturating_sub(session.unread.messages().into());
        let Counts { conflated, filtered, dropped, skipped } = counts;
        Stats {
            subscriptions: session.subscriptions.len() as u64,
            received: session.published.as_ref().map_or(0, |published| published.count),
            matched: sent + pending + conflated + filtered + dropped + skipped,
            sent,
            conflated,
            filtered,
            dropped,
            skipped,
            pending,
            pending_bytes: session.unread.bytes() + slow.map_or(0, Slow::bytes),
            behind_ms: slow.map_or(0, |slow| now_ms - slow.since_ms),
        }
    }

    /// What became of the messages of one subscription.
    pub(super) fn account(
        &mut self,
        slot: u32,
        filter: Filter<'_>,
    ) -> Result<Account, CommandError> {
        // What was published before the command is delivered before the answer.
        self.deliver_waiting();
        let list = self.find_subscription(slot, filter).ok_or_else(|| not_subscribed(filter))?;
        let Some(session) = self.sessions.get(slot as usize) else {
            return Ok(Account::default());
        };
        let held = session.subscriptions.iter().find(|held| held.list == list);
        Ok(held.map_or_else(Account::default, |held| {
            let live = self.lists.peek(list).matched - held.since;
            self.account_of(session, list, held.seat(), live)
        }))
    }

    fn account_of(&self, session: &Session, list: u32, seat: Seat, live: u64) -> Account {
        let Tally { mut counts, past, had } = session.ledger.of(list);
        let (open, mut pending, had_now) = self.open_counts(list, seat);
        counts += open;
        pending += session.slow.as_deref().map_or(0, |slow| slow.messages_of(list));
        let Counts { conflated, filtered, dropped, skipped } = counts;
        let matched = (live + past + self.left_of(seat)).saturating_sub(had + had_now);
        let rest = pending + conflated + filtered + dropped + skipped;
        debug_assert!(matched >= rest, "{rest} of {matched}: {live} {past} {had} {counts:?}");
        let sent = matched.saturating_sub(rest);
        Account { matched, sent, conflated, filtered, dropped, skipped, pending }
    }

    /// What the stage that a subscription is in has counted so far, how many messages wait in it,
    /// and how many of its list were not for it.
    fn open_counts(&self, list: u32, seat: Seat) -> (Counts, u64, u64) {
        let Seat::Special(key) = seat else { return (Counts::default(), 0, 0) };
        let matched_now = self.lists.peek(list).matched;
        match &self.specials[key as usize].stage {
            Stage::Catching { matched } => (Counts::default(), 0, matched_now - matched),
            Stage::Served { cohort, since, .. } => {
                let cohort = &self.cohorts[*cohort as usize];
                let counts = Counts {
                    conflated: cohort.counts().conflated - since.conflated,
                    filtered: cohort.counts().filtered - since.filtered,
                    ..Counts::default()
                };
                (counts, cohort.waiting(), 0)
            }
            Stage::Paused { matched, left } => {
                let left = left.as_ref().map_or(0, |left| left.skipped);
                (Counts::skipped(matched_now - matched + left), 0, 0)
            }
        }
    }

    /// Messages of the past that a paused subscription is not given any more.
    fn left_of(&self, seat: Seat) -> u64 {
        let Seat::Special(key) = seat else { return 0 };
        match &self.specials[key as usize].stage {
            Stage::Paused { left: Some(left), .. } => left.skipped,
            _ => 0,
        }
    }
}
