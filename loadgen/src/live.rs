//! A run while it goes on, as one plain struct: put together five times a second from what the
//! engine tells, wherever that runs. No clock, no terminal, no network: what was seen comes in as a
//! [`Look`], and out comes a [`Moment`] for the view and for Prometheus. Nothing here is reported.

mod moment;

use std::collections::VecDeque;

use hdrhistogram::Histogram;

pub use moment::{About, Moment, Stage, TargetUse};

use crate::agents::Load;
use crate::engine::{Phase, Progress, Pulse};
use crate::host::HostCpu;
use crate::report::quantile_ns;
use crate::seconds::SECOND_NS;
use crate::sys;
use crate::target_process::Usage;
use crate::verdict::{Evidence, Lateness, Verdict};

/// What happened so long ago still counts as now: what rates and the latest latencies are of.
const RECENT_NS: u64 = SECOND_NS;

/// Seconds of history kept: more than any terminal has columns.
pub const HISTORY_MAX: usize = 512;

/// Looks kept to tell what is recent: with more of them in that time, it is less long.
const LOOKS_MAX: usize = 16;

/// So much after measuring began, there is enough to judge by.
const JUDGED_AFTER_NS: u64 = SECOND_NS;

/// A message that was due so long ago should have been sent.
const SENT_WITHIN_NS: u64 = SECOND_NS / 10;

/// What was seen of a run at one time. Of a run in several processes: the sums.
#[derive(Clone, Debug)]
pub struct Look {
    /// When.
    pub at_ns: u64,
    /// When connecting began.
    pub begun_ns: u64,
    /// When message 0 is due; 0 while that is not decided.
    pub start_ns: u64,
    /// Where the engine stands.
    pub phase: Phase,
    /// What it has reached.
    pub progress: Progress,
    /// What its workers told.
    pub pulse: Pulse,
    /// Processor time of the load generator since its start.
    pub own_cpu_ns: u64,
    /// Of that, what looking on took.
    pub looking_cpu_ns: u64,
    /// What the target had used, if it is watched and still runs.
    pub target: Option<Usage>,
    /// The machine's processor time.
    pub host: Option<HostCpu>,
}

impl Look {
    /// What there is to see now. To be called by the thread that looks on, whose processor time is
    /// counted as that of looking.
    #[must_use]
    pub fn at(load: &Load, target_pid: Option<u32>) -> Self {
        Self {
            at_ns: sys::now_ns(),
            begun_ns: load.begun_ns(),
            start_ns: load.start_ns(),
            phase: load.phase(),
            progress: load.progress(),
            pulse: load.pulse(),
            own_cpu_ns: load.cpu_ns(),
            looking_cpu_ns: sys::thread_cpu_ns(),
            target: target_pid.and_then(Usage::of),
            host: HostCpu::read(),
        }
    }
}

/// What is remembered from look to look.
#[derive(Debug)]
pub struct Live {
    about: About,
    /// The looks of the last [`RECENT_NS`], and the one before them.
    looks: VecDeque<Look>,
    /// When the history was last added to.
    second_ns: u64,
    delivered_by_second: VecDeque<u64>,
    slowest_by_second: VecDeque<u64>,
    /// The machine's processor time when measuring began.
    host_before: Option<HostCpu>,
}

impl Live {
    /// Of a run of which nothing was seen yet.
    #[must_use]
    pub fn new(about: About) -> Self {
        Self {
            about,
            looks: VecDeque::new(),
            second_ns: 0,
            delivered_by_second: VecDeque::new(),
            slowest_by_second: VecDeque::new(),
            host_before: None,
        }
    }

    /// What is to be shown after this look. Looks come in the order of their times.
    pub fn handle_look(&mut self, look: Look) -> Moment {
        let stage = self.about.stage(&look);
        if stage == Stage::Measuring && self.host_before.is_none() {
            self.host_before = look.host;
        }
        self.forget_before(look.at_ns.saturating_sub(RECENT_NS));
        let before = self.looks.front().unwrap_or(&look);
        let passed_ns = look.at_ns.saturating_sub(before.at_ns);
        let rate = |count: fn(&Progress) -> u64| {
            let more = count(&look.progress).saturating_sub(count(&before.progress));
            more as f64 * 1e9 / passed_ns.max(1) as f64
        };
        let cores = |cpu_ns: u64| cpu_ns as f64 / passed_ns.max(1) as f64;
        let used = |cpu_ns: fn(&Look) -> u64| cpu_ns(&look).saturating_sub(cpu_ns(before));
        let target = look.target.zip(before.target).map(|(now, then)| TargetUse {
            cores: cores(now.cpu_ns.saturating_sub(then.cpu_ns)),
            rss_bytes: now.rss_bytes,
        });
        let recent = recent(&look.pulse.latency, &before.pulse.latency);
        let mut moment = Moment {
            stage,
            elapsed_ns: look.at_ns.saturating_sub(look.begun_ns),
            left_ns: self.about.left_ns(stage, &look),
            done_share: self.about.done_share(stage, &look),
            progress: look.progress,
            connect_rate: rate(|progress| progress.ready),
            sent_rate: rate(|progress| progress.sent),
            delivered_rate: rate(|progress| progress.delivered),
            recent,
            whole: look.pulse.latency.clone(),
            lag_ns: look.pulse.lag_ns,
            busiest_share: look.pulse.busiest_share,
            own_cores: cores(used(|look| look.own_cpu_ns)),
            looking_share: cores(used(|look| look.looking_cpu_ns)),
            target,
            judgement: self.judgement(stage, &look),
            delivered_by_second: Vec::new(),
            slowest_by_second: Vec::new(),
        };
        self.remember(look, &moment);
        moment.delivered_by_second = self.delivered_by_second.iter().copied().collect();
        moment.slowest_by_second = self.slowest_by_second.iter().copied().collect();
        moment
    }

    /// What the run is.
    #[must_use]
    pub fn about(&self) -> &About {
        &self.about
    }

    /// Keeps one look that is no later than `since_ns`, and what came after it.
    fn forget_before(&mut self, since_ns: u64) {
        while self.looks.get(1).is_some_and(|second| second.at_ns <= since_ns)
            || self.looks.len() >= LOOKS_MAX
        {
            self.looks.pop_front();
        }
    }

    fn remember(&mut self, look: Look, moment: &Moment) {
        if look.at_ns >= self.second_ns + SECOND_NS {
            self.second_ns = look.at_ns;
            push(&mut self.delivered_by_second, moment.delivered_rate.round() as u64);
            push(&mut self.slowest_by_second, moment.recent.max());
        }
        self.looks.push_back(look);
    }

    /// The verdict on the measurement as far as it has come; none before there is something.
    fn judgement(&self, stage: Stage, look: &Look) -> Option<Verdict> {
        let begun_ns = look.start_ns + self.about.schedule.measured_after_ns();
        let measured_ns = look.at_ns.saturating_sub(begun_ns);
        if stage < Stage::Measuring || measured_ns < JUDGED_AFTER_NS {
            return None;
        }
        let pulse = &look.pulse;
        let latency_ns = quantile_ns(&pulse.latency, 0.99);
        let lag_ns = pulse.lag_ns;
        let threads_ns = measured_ns as f64 * self.about.threads as f64;
        let stolen = look.host.zip(self.host_before);
        Some(Verdict::on(&Evidence {
            busiest_share: pulse.busiest_share,
            rate_share: self.rate_share(look),
            lateness: latency_ns.map(|latency_ns| Lateness { quantile: "p99", lag_ns, latency_ns }),
            hiccups: pulse.hiccups,
            hiccup_share: pulse.hiccups.sum_ns as f64 / threads_ns,
            stolen_share: stolen.map(|(now, then)| now.stolen_share_since(then)),
            ..Evidence::default()
        }))
    }

    /// Of what should have been sent since measuring began, how much was.
    fn rate_share(&self, look: &Look) -> f64 {
        let schedule = &self.about.schedule;
        let passed_ns = look.at_ns.saturating_sub(look.start_ns + SENT_WITHIN_NS);
        let warmup = schedule.warmup_messages();
        let due = schedule.due_by(passed_ns).saturating_sub(warmup);
        let sent = look.progress.sent.saturating_sub(warmup);
        if due == 0 { 1.0 } else { (sent as f64 / due as f64).min(1.0) }
    }
}

/// What was recorded since `before`; everything if counting began anew since then.
fn recent(now: &Histogram<u64>, before: &Histogram<u64>) -> Histogram<u64> {
    let mut recent = now.clone();
    match recent.subtract(before) {
        Ok(()) => recent,
        Err(_) => now.clone(),
    }
}

fn push(history: &mut VecDeque<u64>, value: u64) {
    if history.len() == HISTORY_MAX {
        history.pop_front();
    }
    history.push_back(value);
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::engine::Schedule;
    use crate::verdict::Trust;

    /// Ten connections and 100 messages a second for a second of warm-up and ten to measure.
    pub(crate) fn about() -> About {
        About {
            scenario: "fanout",
            url: "ws://127.0.0.1:8080/ws".into(),
            protocol: "altavoz.v1.json",
            connections: 10,
            threads: 2,
            schedule: Schedule::new(100.0, 1.0, 10.0, 1),
            is_holding: false,
        }
    }

    /// A look `at_s` seconds after message 0 was due, with so much delivered that took 1 ms each.
    pub(crate) fn look(at_s: f64, phase: Phase, delivered: u64) -> Look {
        let mut pulse = Pulse::default();
        pulse.latency.record_n(1_000_000, delivered).unwrap();
        let sent = (at_s * 100.0) as u64;
        Look {
            at_ns: 10 * SECOND_NS + (at_s * 1e9) as u64,
            begun_ns: 9 * SECOND_NS,
            start_ns: 10 * SECOND_NS,
            phase,
            progress: Progress { ready: 10, sent, delivered, ..Progress::default() },
            pulse,
            own_cpu_ns: (at_s * 5e8) as u64,
            looking_cpu_ns: (at_s * 1e7) as u64,
            target: Some(Usage { cpu_ns: (at_s * 2e9) as u64, rss_bytes: 1 << 20 }),
            host: None,
        }
    }

    #[test]
    fn rates_and_the_latest_latencies_are_of_the_last_second() {
        let mut live = Live::new(about());
        live.handle_look(look(2.0, Phase::Publish, 1_000));
        let mut moment = live.handle_look(look(2.5, Phase::Publish, 3_000));
        for (at_s, delivered) in [(3.0, 10_000), (3.5, 13_000), (4.0, 20_000)] {
            moment = live.handle_look(look(at_s, Phase::Publish, delivered));
        }
        assert_eq!(moment.stage, Stage::Measuring);
        assert!((moment.delivered_rate - 10_000.0).abs() < 1.0, "{}", moment.delivered_rate);
        assert!(
            (moment.own_cores - 0.5).abs() < 1e-6 && (moment.looking_share - 0.01).abs() < 1e-6
        );
        assert!(moment.target.is_some_and(|target| (target.cores - 2.0).abs() < 1e-6));
        assert_eq!((moment.recent.len(), moment.whole.len()), (10_000, 20_000));
        assert_eq!(moment.left_ns, Some(7 * SECOND_NS));
        assert_eq!(moment.delivered_by_second, [0, 9_000, 10_000]);
    }

    #[test]
    fn latencies_begin_anew_where_measuring_does() {
        let mut live = Live::new(about());
        assert_eq!(live.handle_look(look(0.9, Phase::Publish, 500)).stage, Stage::WarmingUp);
        let moment = live.handle_look(look(1.1, Phase::Publish, 20));
        assert_eq!((moment.stage, moment.recent.len()), (Stage::Measuring, 20));
    }

    #[test]
    fn the_measurement_is_judged_while_it_goes_on() {
        let mut live = Live::new(about());
        assert_eq!(live.handle_look(look(1.5, Phase::Publish, 100)).judgement, None);
        let trust = |moment: Moment| moment.judgement.map(|verdict| verdict.trust);
        assert_eq!(trust(live.handle_look(look(3.0, Phase::Publish, 9_000))), Some(Trust::Valid));
        let mut late = look(4.0, Phase::Publish, 9_000);
        late.progress.sent = 250;
        assert_eq!(trust(live.handle_look(late)), Some(Trust::Invalid));
    }

    #[test]
    fn the_history_keeps_the_latest_seconds() {
        let mut live = Live::new(about());
        let mut moment = live.handle_look(look(0.0, Phase::Publish, 0));
        for second in 1..HISTORY_MAX + 10 {
            let delivered = second as u64 * 100;
            moment = live.handle_look(look(second as f64, Phase::Publish, delivered));
        }
        assert_eq!(moment.delivered_by_second.len(), HISTORY_MAX);
        assert_eq!(moment.slowest_by_second.last(), Some(&moment.recent.max()));
    }
}
