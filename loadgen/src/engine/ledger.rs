//! Everything one worker counts during a run. No sockets and no clock: times are passed in. Written
//! by the worker and its clients, handed to the report at the end.

use std::collections::BTreeMap;

use broker_proto::ws::CloseCode;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::groups::{GroupBook, Part};
use super::layout::Layout;
use super::receive::Receipt;
use super::slow::{SlowBook, last_seq};
use super::storm::StormBook;
use super::wire::WireBook;
use super::{Peak, Plan, Split, Spread};
use crate::account::{Account, Arrival};
use crate::counts;
use crate::seconds::Seconds;
use crate::stamp::Stamp;

/// The longest time a histogram tells apart: one hour. Anything longer counts as that.
const NANOS_MAX: u64 = 3_600_000_000_000;

/// Three significant digits: every value is known to 0.1 per cent.
const DIGITS: u8 = 3;

/// Waking so much later than the timer is a hiccup: 10 ms.
pub const HICCUP_NS: u64 = 10_000_000;

/// The most different texts a tally holds; further ones are counted together.
const KINDS_MAX: usize = 32;

/// One worker's counts.
#[derive(Debug, Deserialize, Serialize)]
pub struct Ledger {
    /// The number of its worker among those of the whole run.
    pub worker: usize,
    /// The account of each of the worker's subscribers, with its topic.
    pub accounts: Vec<(u32, Account)>,
    /// From the intended send to the arrival, in nanoseconds, of what was published after the
    /// warm-up. Duplicates are not timed.
    #[serde(with = "counts")]
    pub latency: Histogram<u64>,
    /// From the intended to the actual send, in nanoseconds, after the warm-up.
    #[serde(with = "counts")]
    pub lag: Histogram<u64>,
    /// Messages sent, by topic; those of other workers' publishers are 0 here.
    pub sent: Vec<u64>,
    /// Of these, after the warm-up.
    pub sent_measured: u64,
    /// When the last connection became ready; 0 if none did.
    pub last_ready_ns: u64,
    /// When the last message was sent.
    pub last_send_ns: u64,
    /// When the last new message arrived.
    pub last_arrival_ns: u64,
    /// Messages with no stamp, or one that does not belong there: damaged, misrouted or foreign.
    pub strange: u64,
    /// Connections that failed, by reason.
    pub failures: Tally,
    /// Connections that ended without our doing, by close code and reason.
    pub closes: Tally,
    /// Commands that the server refused, by error.
    pub refusals: Tally,
    /// Connections whose closing handshake was completed at the end.
    pub closed_cleanly: u64,
    /// Pings answered.
    pub pings: u64,
    /// Connections closed on purpose during the run, to come back later.
    pub left: u64,
    /// Of these, how many are subscribed again.
    pub rejoined: u64,
    /// The worker's processor time while measuring, as a share of the time that passed.
    pub cpu_share: f64,
    /// Latencies by second, the warm-up's included, counted from the begin of measuring.
    pub seconds: Seconds,
    /// Whose part of the latency is whose.
    pub split: Split,
    /// When messages came to the first and to the last of their subscribers.
    pub spread: Spread,
    /// Sleeps that ended late while measuring.
    pub hiccups: Hiccups,
    /// What is kept apart of those who read slowly.
    pub slow: SlowBook,
    /// What became of those whose connections were cut.
    pub storm: StormBook,
    /// What became of groups of subscriptions.
    pub groups: GroupBook,
    #[serde(skip)]
    has_groups: bool,
    /// What was agreed on below the protocol.
    pub wire: WireBook,
    /// How much came of the newest alone, where all ask for that.
    pub peak: Peak,
    /// Which accounts are those of subscriptions to the newest alone; may be shorter.
    #[serde(skip)]
    pub(super) latest: Vec<bool>,
    pub(super) progress: super::Progress,
}

/// Sleeps from which the system woke a thread too late, because somebody else had its core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Hiccups {
    /// How many there were.
    pub count: u64,
    /// How late they were together.
    pub sum_ns: u64,
    /// How late the longest was.
    pub longest_ns: u64,
}

/// Counts by text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Tally(BTreeMap<String, u64>);

impl Ledger {
    /// An empty ledger for subscribers of these topics.
    pub(super) fn new(plan: &Plan, subscribed: impl Iterator<Item = u32>) -> Self {
        Self {
            worker: 0,
            accounts: subscribed.map(|topic| (topic, Account::default())).collect(),
            latency: histogram(),
            lag: histogram(),
            sent: vec![0; plan.topics.len()],
            sent_measured: 0,
            last_ready_ns: 0,
            last_send_ns: 0,
            last_arrival_ns: 0,
            strange: 0,
            failures: Tally::default(),
            closes: Tally::default(),
            refusals: Tally::default(),
            closed_cleanly: 0,
            pings: 0,
            left: 0,
            rejoined: 0,
            cpu_share: 0.0,
            seconds: Seconds::new(0),
            split: Split::new(),
            spread: Spread::new(),
            hiccups: Hiccups::default(),
            slow: SlowBook::new(0),
            storm: StormBook::new(0),
            groups: GroupBook::new(&[]),
            has_groups: false,
            latest: Vec::new(),
            peak: Peak::default(),
            wire: WireBook::default(),
            progress: super::Progress::default(),
        }
    }

    /// Whether it can be one of a run with so many topics: one that came from elsewhere may be
    /// anything.
    #[must_use]
    pub fn fits(&self, topics: usize) -> bool {
        let is_known =
            |(topic, account): &(u32, Account)| (*topic as usize) < topics && account.is_sound();
        self.sent.len() == topics && self.accounts.iter().all(is_known)
    }

    /// A message with this stamp came for the subscriber with account `index`.
    pub(super) fn handle_message(
        &mut self,
        index: u32,
        stamp: &Stamp,
        broker_seq: Option<u64>,
        now_ns: u64,
        measured_from_ns: u64,
        receipt: &Receipt,
    ) {
        match self.groups.handle_message(index, stamp.seq, stamp.intended_ns, now_ns) {
            Part::Live => {}
            Part::First => return self.handle_first(index, stamp.seq, broker_seq, now_ns),
            Part::AfterEnd => {
                self.strange += 1;
                return;
            }
        }
        if let Some(gone_to) = self.storm.take_gone(index) {
            let before = broker_seq.map_or(gone_to, |seq| gone_to.min(seq.saturating_sub(1)));
            self.handle_rejoin(index, before);
        }
        let (_, account) = &mut self.accounts[index as usize];
        let skipped = stamp.seq.saturating_sub(account.last() + 1);
        let progress = &mut self.progress;
        let is_latest = self.latest.get(index as usize).copied().unwrap_or(false);
        let arrival = match is_latest {
            true => account.handle_latest(stamp.seq, broker_seq),
            false => account.handle_message(stamp.seq, broker_seq),
        };
        match arrival {
            // Conflated by request: nobody waits for it.
            Arrival::InOrder if is_latest => progress.missed += skipped,
            Arrival::InOrder => progress.missing += skipped,
            Arrival::OutOfOrder => {
                progress.out_of_order += 1;
                progress.missing = progress.missing.saturating_sub(1);
            }
            Arrival::Duplicate => {
                progress.duplicated += 1;
                return;
            }
        }
        self.progress.delivered += 1;
        if is_latest {
            self.peak.handle_delivery(index, now_ns);
        }
        let latency_ns = now_ns.saturating_sub(stamp.intended_ns);
        let is_measured = stamp.intended_ns >= measured_from_ns;
        if (index as usize) < self.slow.accounts() {
            if is_measured {
                self.slow.latency.saturating_record(latency_ns);
            }
            return;
        }
        self.last_arrival_ns = now_ns;
        if self.storm.is_made_up(index, stamp.intended_ns) {
            return;
        }
        if is_latest && self.has_groups {
            if is_measured {
                self.groups.newest.saturating_record(latency_ns);
            }
            return;
        }
        self.seconds.record(now_ns, latency_ns);
        self.split.record(stamp.intended_ns, now_ns, receipt, is_measured);
        if is_measured {
            self.latency.saturating_record(latency_ns);
            self.spread.handle_delivery(stamp, now_ns);
        }
    }

    /// The first message came since the subscriber opened its group again: where the topic stands.
    fn handle_first(&mut self, index: u32, seq: u64, broker_seq: Option<u64>, now_ns: u64) {
        let (_, account) = &mut self.accounts[index as usize];
        let (last, missed) = (account.last(), account.handle_current(seq, broker_seq));
        self.progress.missed += missed;
        if seq > last {
            self.progress.delivered += 1;
            self.last_arrival_ns = now_ns;
        }
    }

    /// All subscribers want the newest alone, if the plan says so.
    pub(super) fn take_latest(&mut self, plan: &Plan) {
        if plan.latest.is_some() {
            self.latest = vec![true; self.accounts.len()];
            self.peak = Peak::of(self.accounts.len());
        }
    }

    /// The subscribers have groups.
    pub(super) fn take_groups(&mut self, layout: &Layout, subscribers: impl Iterator<Item = u32>) {
        let groups: Vec<_> = subscribers
            .flat_map(|subscriber| layout.groups_of(subscriber))
            .map(|number| layout.group(number))
            .collect();
        let accounts: Vec<u32> = groups.iter().map(|group| group.topics.len() as u32).collect();
        self.groups = GroupBook::new(&accounts);
        self.has_groups = true;
        let latest = groups
            .iter()
            .flat_map(|group| std::iter::repeat_n(group.latest.is_some(), group.topics.len()));
        self.latest = latest.collect();
    }

    /// The subscriber with account `index` is back, where the broker's seq stood at `position`.
    pub(super) fn handle_rejoin(&mut self, index: u32, position: u64) {
        let missed = self.accounts[index as usize].1.handle_rejoin(position);
        self.progress.missed = self.progress.missed.saturating_add(missed);
    }

    /// The server says that these messages will not come. Where it said that some of the past is
    /// gone, these are it: missed, not lost.
    pub(super) fn handle_gap(&mut self, index: u32, from: u64, to: u64) {
        let is_slow = (index as usize) < self.slow.accounts();
        match self.storm.take_gone(index) {
            Some(_) => self.handle_rejoin(index, to),
            // Who reads slowly may be given the newest alone, if that is said.
            None if is_slow => self.handle_rejoin(index, to),
            None => self.accounts[index as usize].1.handle_gap(from, to),
        }
    }

    /// The server closes the connection with account `index`. A slow reader may be told that it
    /// is too slow, or that the server is overloaded and it reads most slowly, if what came last
    /// is what the reason names.
    pub(super) fn handle_close_frame(&mut self, index: u32, code: CloseCode, reason: &str) {
        let (_, account) = &self.accounts[index as usize];
        let is_last = last_seq(reason).is_none_or(|seq| account.broker_last() == seq);
        let is_of_slow = matches!(code, CloseCode::TOO_SLOW | CloseCode::OVERLOADED);
        let is_right = is_of_slow && is_last;
        self.slow.handle_announced(index as usize, is_right);
    }

    /// A connection with account `index` is over; returns whether it is that of a slow reader, of
    /// whom that was to be expected. What it has not got of its topic is not waited for.
    pub(super) fn handle_closed(&mut self, index: usize, why: &str, plan: &Plan) -> bool {
        if !self.slow.handle_closed(index, why) {
            return false;
        }
        let (topic, account) = &self.accounts[index];
        let left = plan.schedule.messages_of(*topic).saturating_sub(account.last());
        self.progress.missed = self.progress.missed.saturating_add(left);
        true
    }

    /// A message of `topic` was handed to the socket, `lag_ns` after it was due; it is to reach
    /// `subscribers`.
    pub(super) fn handle_send(
        &mut self,
        topic: u32,
        subscribers: u64,
        lag_ns: u64,
        measured: bool,
    ) {
        self.sent[topic as usize] += 1;
        self.progress.sent += 1;
        self.progress.expected += subscribers;
        if measured {
            self.sent_measured += 1;
            self.lag.saturating_record(lag_ns);
            self.spread.handle_send(topic);
        }
    }
}

impl Hiccups {
    /// A sleep ended `late_ns` after its timer; within [`HICCUP_NS`] that is no hiccup.
    pub fn handle_wake(&mut self, late_ns: u64) {
        if late_ns >= HICCUP_NS {
            self.count += 1;
            self.sum_ns += late_ns;
            self.longest_ns = self.longest_ns.max(late_ns);
        }
    }

    /// Adds those of another thread.
    pub fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.sum_ns += other.sum_ns;
        self.longest_ns = self.longest_ns.max(other.longest_ns);
    }
}

impl Tally {
    /// One more of `what`.
    pub fn add(&mut self, what: String) {
        self.add_many(what, 1);
    }

    /// The counts, by text in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(what, &count)| (what.as_str(), count))
    }

    /// The sum of all counts.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.0.values().sum()
    }

    /// The text with the highest count.
    #[must_use]
    pub fn most_frequent(&self) -> Option<&str> {
        self.iter().max_by_key(|&(_, count)| count).map(|(what, _)| what)
    }

    /// Adds the counts of another tally.
    pub fn merge(&mut self, other: Self) {
        for (what, count) in other.0 {
            self.add_many(what, count);
        }
    }

    fn add_many(&mut self, what: String, count: u64) {
        let is_full = self.0.len() >= KINDS_MAX && !self.0.contains_key(&what);
        let what = if is_full { "other".to_owned() } else { what };
        *self.0.entry(what).or_default() += count;
    }
}

/// An empty histogram of nanoseconds. Those of all workers have one shape, so that they add up
/// exactly.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, NANOS_MAX, DIGITS).expect("the bounds and digits are valid")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_late_wake_is_a_hiccup() {
        let mut hiccups = Hiccups::default();
        for late_ns in [0, HICCUP_NS - 1, HICCUP_NS, 3 * HICCUP_NS] {
            hiccups.handle_wake(late_ns);
        }
        let seen = Hiccups { count: 2, sum_ns: 4 * HICCUP_NS, longest_ns: 3 * HICCUP_NS };
        assert_eq!(hiccups, seen);
        hiccups.add(&Hiccups { count: 1, sum_ns: HICCUP_NS, longest_ns: HICCUP_NS });
        assert_eq!((hiccups.count, hiccups.longest_ns), (3, 3 * HICCUP_NS));
    }

    #[test]
    fn a_tally_counts_every_text_up_to_its_limit_and_the_rest_together() {
        let mut tally = Tally::default();
        for kind in 0..KINDS_MAX + 5 {
            tally.add(format!("kind {kind:02}"));
        }
        tally.add("kind 00".into());
        assert_eq!(tally.sum(), KINDS_MAX as u64 + 6);
        assert_eq!(tally.iter().find(|(what, _)| *what == "other"), Some(("other", 5)));
        assert_eq!(tally.iter().next(), Some(("kind 00", 2)));
        assert_eq!(tally.most_frequent(), Some("other"));
    }
}
