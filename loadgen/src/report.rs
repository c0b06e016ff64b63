//! The result of a run: what was asked, what was reached, the accounts, the times, and the verdict
//! with its exit code. Made from the workers' ledgers once they are done; counts nothing itself.
//! `report::text` and `report::page` show it to people, `report::json` and `report::csv` to
//! programs.

mod csv;
mod groups;
mod json;
mod machines;
mod newest;
mod outcome;
mod outputs;
mod page;
mod parts;
mod quantile;
mod rows;
mod servers;
mod slow;
mod storm;
mod text;
mod wire;

use std::collections::BTreeMap;
use std::mem;

use hdrhistogram::Histogram;

pub use csv::{COLUMNS, to_csv};
pub use groups::{Groups, Presence};
pub use json::to_json;
pub use newest::Newest;
pub use outcome::Outcome;
pub use outputs::{Files, Outputs};
pub use page::page;
pub use parts::{Absent, Parts};
pub use quantile::{QUANTILES, SAMPLES_BEYOND_MIN, quantile_ns};
pub use rows::{Row, rows};
pub use servers::ServerTotals;
pub use slow::SlowReaders;
pub use text::{complaints, grouped, summary, verdict};
pub(crate) use text::{rate, time};

use crate::account::Totals;
use crate::agents::AgentSeen;
use crate::engine::{Hiccups, Ledger, Plan, Spread, StormBook, Tally, WireBook, histogram};
use crate::seconds::{self, Seconds};
use crate::threshold::{Checked, Threshold};
use crate::verdict::{Evidence, Lateness, Trust, Verdict};
use crate::watch::Watched;

/// What the steering thread saw of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Course {
    /// Connections that were ready when connecting ended.
    pub ready: u64,
    /// When connecting began.
    pub begun_ns: u64,
    /// When message 0 was due; 0 if publishing was never begun.
    pub start_ns: u64,
    /// The interrupt key was pressed.
    pub is_interrupted: bool,
    /// An agent was lost, and what it had counted.
    pub is_partial: bool,
}

/// Everything there is to tell about a run.
#[derive(Debug)]
pub struct Report {
    /// The subcommand.
    pub scenario: &'static str,
    /// The target as it was given.
    pub url: String,
    /// What was to be done.
    pub plan: Plan,
    /// How it went.
    pub course: Course,
    /// The sums of all accounts, but for those of slow readers.
    pub totals: Totals,
    /// The same by server, where there are several.
    pub servers: Vec<ServerTotals>,
    /// Those who read slowly, if the plan has some.
    pub slow: SlowReaders,
    /// Those whose connections were cut, if the plan cuts some.
    pub storm: StormBook,
    /// What became of groups of subscriptions.
    pub groups: Groups,
    /// What became of subscriptions to the newest alone.
    pub newest: Newest,
    /// How long it took until the last connection was ready, its subscription answered.
    pub connecting_ns: u64,
    /// Messages sent, the warm-up's included.
    pub sent: u64,
    /// Messages sent after the warm-up.
    pub sent_measured: u64,
    /// Messages a second sent after the warm-up.
    pub achieved_rate: f64,
    /// Deliveries a second after the warm-up.
    pub delivered_rate: f64,
    /// Messages that no subscriber should have got.
    pub strange: u64,
    /// Connections that failed, by reason.
    pub failures: Tally,
    /// Connections that ended without our doing, by close code and reason.
    pub closes: Tally,
    /// What was agreed on below the protocol.
    pub wire: WireBook,
    /// Commands refused, by error.
    pub refusals: Tally,
    /// Connections whose closing handshake was completed.
    pub closed_cleanly: u64,
    /// Pings answered.
    pub pings: u64,
    /// Times that a connection was closed on purpose during the run, to come back later.
    pub left: u64,
    /// Times that one was subscribed again.
    pub rejoined: u64,
    /// From the intended send to the arrival, in nanoseconds.
    pub latency: Histogram<u64>,
    /// From the intended to the actual send, in nanoseconds.
    pub lag: Histogram<u64>,
    /// The processor time of the busiest thread while measuring, as a share of the time passed.
    pub busiest_share: f64,
    /// When messages came to the first and to the last of their subscribers.
    pub spread: Spread,
    /// What the network and the target, and what the load generator made of the latency.
    pub parts: Parts,
    /// Sleeps that ended late while measuring, of all threads.
    pub hiccups: Hiccups,
    /// Latencies by second, counted from the begin of measuring.
    pub seconds: BTreeMap<i64, Histogram<u64>>,
    /// What was seen from outside; to be set after [`new`](Self::new).
    pub watched: Watched,
    /// What was demanded; to be set after [`new`](Self::new).
    pub thresholds: Vec<Threshold>,
    /// An invalid measurement does not set the exit code; to be set after [`new`](Self::new).
    pub allows_invalid: bool,
    /// How much the load generator's own memory grew per connection; to be set after
    /// [`new`](Self::new).
    pub own_rss_bytes_per_connection: Option<u64>,
    /// The processes that shared the work, if it was shared; to be set after [`new`](Self::new).
    pub agents: Vec<AgentSeen>,
    /// Why what is here is not all, if it is not; to be set after [`new`](Self::new).
    pub fault: Option<String>,
}

/// Exit code of a run that missed a threshold.
const MISSED: u8 = 1;

/// Exit code of a run whose measurement is invalid.
const INVALID: u8 = 4;

impl Report {
    /// Adds up what the workers counted.
    #[must_use]
    pub fn new(
        scenario: &'static str,
        url: &str,
        plan: Plan,
        course: Course,
        ledgers: Vec<Ledger>,
    ) -> Self {
        let mut report = Self {
            scenario,
            url: url.to_owned(),
            course,
            totals: Totals::default(),
            servers: Vec::new(),
            slow: SlowReaders::new(),
            storm: StormBook::new(0),
            groups: Groups::new(),
            newest: Newest::default(),
            connecting_ns: 0,
            sent: 0,
            sent_measured: 0,
            achieved_rate: 0.0,
            delivered_rate: 0.0,
            strange: 0,
            failures: Tally::default(),
            closes: Tally::default(),
            wire: WireBook::default(),
            refusals: Tally::default(),
            closed_cleanly: 0,
            pings: 0,
            left: 0,
            rejoined: 0,
            latency: histogram(),
            lag: histogram(),
            busiest_share: 0.0,
            spread: Spread::new(),
            parts: Parts::new(plan.kernel_timestamps),
            hiccups: Hiccups::default(),
            seconds: BTreeMap::new(),
            watched: Watched::default(),
            thresholds: Vec::new(),
            allows_invalid: false,
            own_rss_bytes_per_connection: None,
            agents: Vec::new(),
            fault: None,
            plan,
        };
        report.close_accounts(&ledgers);
        report.rate(&ledgers);
        let mut by_second = Vec::new();
        for mut ledger in ledgers {
            by_second.push(mem::replace(&mut ledger.seconds, Seconds::new(0)));
            report.add(ledger);
        }
        report.parts.close();
        report.seconds = seconds::merge(by_second);
        report.groups.match_moves(&report.plan);
        report
    }

    /// The exit code of the process. Delivery counts first, then whether the measurement can be
    /// trusted, then what was demanded of it.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self.outcome() {
            Outcome::Delivered if self.trust() == Trust::Invalid && !self.allows_invalid => INVALID,
            Outcome::Delivered if self.checks().iter().any(|check| !check.is_met) => MISSED,
            outcome => outcome.exit_code(),
        }
    }

    /// Whether the measurement can be trusted; none if nothing was measured.
    #[must_use]
    pub fn judgement(&self) -> Option<Verdict> {
        (self.course.start_ns != 0).then(|| Verdict::on(&self.evidence()))
    }

    /// Every demand with what became of it; none if nothing was measured.
    #[must_use]
    pub fn checks(&self) -> Vec<Checked> {
        match self.course.start_ns {
            0 => Vec::new(),
            _ => self.thresholds.iter().map(|threshold| threshold.check(self)).collect(),
        }
    }

    /// How it came out. What is worst counts, but an interrupted run proves nothing either way.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        if self.course.is_interrupted {
            return Outcome::Interrupted;
        }
        if self.course.is_partial {
            return Outcome::AgentLost;
        }
        if self.course.start_ns == 0 {
            return Outcome::TooFewConnections;
        }
        let is_whole = self.totals.is_clean()
            && self.slow.totals.is_clean()
            && self.storm.absent == 0
            && self.groups.book.without_value == 0
            && self.newest.is_right(self.plan.latest)
            && self.unsent() == 0
            && self.strange == 0
            && self.closes.sum() == 0
            && self.refusals.sum() == 0
            && self.failures.sum() == 0;
        if is_whole { Outcome::Delivered } else { Outcome::Broken }
    }

    /// Messages of the schedule that were never sent.
    #[must_use]
    pub fn unsent(&self) -> u64 {
        self.plan.schedule.messages().saturating_sub(self.sent)
    }

    /// Messages a second that the schedule holds after the warm-up; 0 if it holds none.
    #[must_use]
    pub fn planned_rate(&self) -> f64 {
        let schedule = &self.plan.schedule;
        let messages = schedule.messages() - schedule.warmup_messages();
        let measured_ns = schedule.duration_ns() - schedule.measured_after_ns();
        messages as f64 * 1e9 / measured_ns.max(1) as f64
    }

    /// Connections made a second.
    #[must_use]
    pub fn connect_rate(&self) -> f64 {
        self.course.ready as f64 * 1e9 / self.connecting_ns.max(1) as f64
    }

    fn trust(&self) -> Trust {
        self.judgement().map_or(Trust::Valid, |verdict| verdict.trust)
    }

    fn evidence(&self) -> Evidence {
        let schedule = &self.plan.schedule;
        let measured_ns = schedule.duration_ns() - schedule.measured_after_ns();
        let threads_ns = measured_ns.max(1) as f64 * self.plan.part.workers as f64;
        Evidence {
            busiest_share: self.busiest_share,
            rate_share: self.rate_share(),
            lateness: self.lateness(&self.lag),
            own: self.lateness(&self.parts.own),
            hiccups: self.hiccups,
            hiccup_share: self.hiccups.sum_ns as f64 / threads_ns,
            stolen_share: self.stolen_share(),
            clock: self.clock_error(),
        }
    }

    /// The achieved rate as a share of what the schedule holds: arrivals drawn at random are not
    /// quite as many as asked for.
    fn rate_share(&self) -> f64 {
        let planned = self.planned_rate();
        if planned > 0.0 { self.achieved_rate / planned } else { 1.0 }
    }

    fn lateness(&self, lag: &Histogram<u64>) -> Option<Lateness> {
        QUANTILES[..3].iter().rev().find_map(|&(name, quantile)| {
            let lag_ns = quantile_ns(lag, quantile)?;
            let latency_ns = quantile_ns(&self.latency, quantile)?;
            Some(Lateness { quantile: name, lag_ns, latency_ns })
        })
    }

    fn close_accounts(&mut self, ledgers: &[Ledger]) {
        let mut published = vec![0; self.plan.topics.len()];
        for ledger in ledgers {
            for (sum, sent) in published.iter_mut().zip(&ledger.sent) {
                *sum += sent;
            }
        }
        self.newest.settle(ledgers);
        let allowed = self.plan.latest.map_or(u64::MAX, |latest| {
            latest.deliveries_max(self.newest.last_arrival_ns.saturating_sub(self.course.start_ns))
        });
        if self.course.is_partial {
            // What a lost agent sent shows in what others got of it.
            for (topic, account) in ledgers.iter().flat_map(|ledger| &ledger.accounts) {
                let published = &mut published[*topic as usize];
                *published = account.last().max(*published);
            }
        }
        self.servers = servers::totals(&self.plan, ledgers, &published);
        for ledger in ledgers {
            for (index, (topic, account)) in ledger.accounts.iter().enumerate() {
                let published = published[*topic as usize];
                match index < ledger.slow.accounts() {
                    true => self.slow.close(account, published, ledger.slow.is_cut(index)),
                    false => {
                        let totals = account.close(published);
                        self.newest.add(&totals, allowed);
                        self.totals.add(&totals);
                    }
                }
            }
        }
        self.sent = published.iter().sum();
    }

    /// Rates run from the intended start of measuring to its intended end, or to the last message
    /// if that was later: lateness lowers them, and nothing raises them. An interrupted run ends
    /// with its last message.
    fn rate(&mut self, ledgers: &[Ledger]) {
        let schedule = &self.plan.schedule;
        let begin_ns = self.course.start_ns + schedule.measured_after_ns();
        let end_ns = match self.course.is_interrupted {
            true => begin_ns + 1,
            false => self.course.start_ns + schedule.duration_ns(),
        };
        let last = |time: fn(&Ledger) -> u64| ledgers.iter().map(time).max().unwrap_or(0);
        let seconds = |last_ns: u64| (last_ns.max(end_ns) - begin_ns) as f64 / 1e9;
        let sum = |count: fn(&Ledger) -> u64| ledgers.iter().map(count).sum::<u64>() as f64;
        self.achieved_rate =
            sum(|ledger| ledger.sent_measured) / seconds(last(|ledger| ledger.last_send_ns));
        self.delivered_rate =
            sum(|ledger| ledger.latency.len()) / seconds(last(|ledger| ledger.last_arrival_ns));
    }

    fn add(&mut self, ledger: Ledger) {
        self.sent_measured += ledger.sent_measured;
        let connecting_ns = ledger.last_ready_ns.saturating_sub(self.course.begun_ns);
        self.connecting_ns = self.connecting_ns.max(connecting_ns);
        self.strange += ledger.strange;
        self.closed_cleanly += ledger.closed_cleanly;
        self.pings += ledger.pings;
        self.left += ledger.left;
        self.rejoined += ledger.rejoined;
        self.busiest_share = self.busiest_share.max(ledger.cpu_share);
        self.hiccups.add(&ledger.hiccups);
        self.failures.merge(ledger.failures);
        self.closes.merge(ledger.closes);
        self.refusals.merge(ledger.refusals);
        self.slow.add(ledger.slow);
        self.storm.add(ledger.storm);
        self.groups.book.add(ledger.groups);
        self.parts.add(ledger.split);
        self.spread.add(&ledger.spread);
        self.wire.add(ledger.wire);
        self.latency.add(ledger.latency).expect("all histograms have one shape");
        self.lag.add(ledger.lag).expect("all histograms have one shape");
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::engine::Schedule;
    use crate::target::{Protocol, Target};

    /// The report of a run in which `subscribers` got every one of 10 messages, or lost some.
    pub(crate) fn report(subscribers: u32, lost: u64) -> Report {
        let target = Target::resolve("ws://127.0.0.1:1/", Protocol::Json).unwrap();
        let schedule = Schedule::new(10.0, 0.0, 1.0, 1);
        let plan = Plan::new(target, [subscribers, 1, 1], schedule, 64, 1);
        let course = Course { ready: 1, begun_ns: 1, start_ns: 1, ..Course::default() };
        let mut report = Report::new("fanout", "ws://127.0.0.1:1/", plan, course, Vec::new());
        let expected = u64::from(subscribers) * 10;
        report.totals = Totals { expected, delivered: expected - lost, lost, ..Totals::default() };
        report.sent = 10;
        report.achieved_rate = 10.0;
        report
    }

    #[test]
    fn only_a_whole_run_is_delivered() {
        assert_eq!(report(3, 0).outcome(), Outcome::Delivered);
        assert_eq!(report(3, 1).outcome(), Outcome::Broken);
        let broken: [fn(&mut Report); 5] = [
            |report| report.totals.duplicated = 1,
            |report| report.totals.out_of_order = 1,
            |report| report.strange = 1,
            |report| report.closes.add("1001".into()),
            |report| report.sent = 9,
        ];
        for damage in broken {
            let mut report = report(3, 0);
            damage(&mut report);
            assert_eq!(report.outcome(), Outcome::Broken);
        }
    }

    #[test]
    fn delivery_goes_before_trust_and_trust_before_thresholds() {
        let mut report = report(3, 0);
        report.thresholds = vec!["lost=1".parse().unwrap()];
        assert_eq!(report.exit_code(), 1);
        report.busiest_share = 1.0;
        assert_eq!(report.exit_code(), 4);
        report.allows_invalid = true;
        assert_eq!(report.exit_code(), 1);
        report.thresholds = vec!["lost=0".parse().unwrap()];
        assert_eq!(report.exit_code(), 0);
        report.allows_invalid = false;
        report.strange = 1;
        assert_eq!(report.exit_code(), 5);
    }

    #[test]
    fn lateness_is_judged_at_the_highest_quantile_that_both_counts_support() {
        let mut report = report(3, 0);
        report.latency.record_n(8_000_000, 5000).unwrap();
        report.lag.record_n(2_000_000, 150).unwrap();
        assert_eq!(report.lateness(&report.lag).unwrap().quantile, "p90");
        assert!(report.judgement().unwrap().line().starts_with("SUSPECT: at p90 messages were"));
    }

    #[test]
    fn a_run_that_never_began_or_was_interrupted_is_said_to_be_so() {
        let mut report = report(3, 0);
        report.course.start_ns = 0;
        assert_eq!(report.outcome().exit_code(), 3);
        report.course.is_interrupted = true;
        assert_eq!(report.outcome().exit_code(), 130);
    }
}
