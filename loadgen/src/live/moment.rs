//! What is shown of a run at one time, and what never changes about it. Plain data; put together
//! by `Live`, read by the view and by the Prometheus page.

use hdrhistogram::Histogram;

use super::Look;
use crate::engine::{Phase, Plan, Progress, Schedule};
use crate::verdict::Verdict;

/// What never changes during a run.
#[derive(Clone, Debug)]
pub struct About {
    /// The subcommand.
    pub scenario: &'static str,
    /// The target as it was given.
    pub url: String,
    /// The protocol that is spoken there.
    pub protocol: &'static str,
    /// Connections that are to be made.
    pub connections: u64,
    /// Threads of the load generator.
    pub threads: usize,
    /// What is published when.
    pub schedule: Schedule,
    /// Connections are opened and held, and nothing is published.
    pub is_holding: bool,
}

/// Where a run stands, as a person would say it. Stages only ever go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Connections are made, subscriptions sent and answered.
    Connecting,
    /// Half a second of rest.
    Settling,
    /// Messages go out, and are not timed.
    WarmingUp,
    /// Messages go out, or connections are held.
    Measuring,
    /// What is under way arrives.
    Draining,
    /// Closing handshakes.
    Closing,
}

/// What the target uses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TargetUse {
    /// Cores, over the last second.
    pub cores: f64,
    /// Memory that is in use and resident.
    pub rss_bytes: u64,
}

/// A run at one time. Times in nanoseconds; what is recent is of the last second.
#[derive(Clone, Debug)]
pub struct Moment {
    /// Where it stands.
    pub stage: Stage,
    /// Since connecting began.
    pub elapsed_ns: u64,
    /// Until publishing or holding ends; none where nobody can know.
    pub left_ns: Option<u64>,
    /// How much of the stage is done, from 0 to 1.
    pub done_share: f64,
    /// What was reached.
    pub progress: Progress,
    /// Connections made a second, recently.
    pub connect_rate: f64,
    /// Messages sent a second, recently.
    pub sent_rate: f64,
    /// Deliveries a second, recently.
    pub delivered_rate: f64,
    /// Latency of what arrived recently.
    pub recent: Histogram<u64>,
    /// Latency since measuring began; before that, since publishing did.
    pub whole: Histogram<u64>,
    /// 99 per cent of the measured messages were sent no later than so long after they were due.
    pub lag_ns: u64,
    /// The processor time of the busiest thread since measuring began, as a share of the time.
    pub busiest_share: f64,
    /// Cores that the load generator uses.
    pub own_cores: f64,
    /// Of that, what looking on takes.
    pub looking_share: f64,
    /// What the target uses, if it is watched.
    pub target: Option<TargetUse>,
    /// Whether the measurement could be trusted if it ended now; none before it has begun well.
    pub judgement: Option<Verdict>,
    /// Deliveries of each second so far, the latest last; at most
    /// [`HISTORY_MAX`](super::HISTORY_MAX).
    pub delivered_by_second: Vec<u64>,
    /// The longest latency of each second, 0 where nothing arrived.
    pub slowest_by_second: Vec<u64>,
}

impl Stage {
    /// All, in their order.
    pub const ALL: [Self; 6] = [
        Self::Connecting,
        Self::Settling,
        Self::WarmingUp,
        Self::Measuring,
        Self::Draining,
        Self::Closing,
    ];

    /// A word or two.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Settling => "settling",
            Self::WarmingUp => "warming up",
            Self::Measuring => "measuring",
            Self::Draining => "draining",
            Self::Closing => "closing",
        }
    }
}

impl About {
    /// What a plan says of its run.
    #[must_use]
    pub fn new(scenario: &'static str, url: &str, plan: &Plan) -> Self {
        Self {
            scenario,
            url: url.to_owned(),
            protocol: plan.target.protocol.name(),
            connections: plan.connections(),
            threads: plan.threads,
            schedule: plan.schedule.clone(),
            is_holding: plan.is_holding(),
        }
    }

    /// Where a run is that looks so.
    #[must_use]
    pub fn stage(&self, look: &Look) -> Stage {
        match look.phase {
            Phase::Connect => Stage::Connecting,
            Phase::Settle => Stage::Settling,
            Phase::Publish if look.at_ns < look.start_ns + self.schedule.measured_after_ns() => {
                Stage::WarmingUp
            }
            // Where the engine runs elsewhere, it does not tell more than this.
            Phase::Publish
                if look.at_ns >= look.start_ns + self.schedule.duration_ns()
                    && look.progress.to_send == 0 =>
            {
                Stage::Draining
            }
            Phase::Publish => Stage::Measuring,
            Phase::Drain => Stage::Draining,
            Phase::Close => Stage::Closing,
        }
    }

    /// How long publishing or holding still takes, where that is known.
    pub(super) fn left_ns(&self, stage: Stage, look: &Look) -> Option<u64> {
        let end_ns = look.start_ns + self.schedule.duration_ns();
        let is_known = matches!(stage, Stage::WarmingUp | Stage::Measuring);
        is_known.then(|| end_ns.saturating_sub(look.at_ns))
    }

    /// How much of a stage is done: of connections, of the schedule, or of what must arrive.
    pub(super) fn done_share(&self, stage: Stage, look: &Look) -> f64 {
        let progress = &look.progress;
        let (done, all) = match stage {
            Stage::Connecting => (progress.ready + progress.failed, self.connections),
            Stage::WarmingUp | Stage::Measuring => {
                (look.at_ns.saturating_sub(look.start_ns), self.schedule.duration_ns())
            }
            Stage::Draining => {
                (progress.delivered.saturating_add(progress.missed), progress.expected)
            }
            Stage::Settling | Stage::Closing => (1, 1),
        };
        if all == 0 { 1.0 } else { (done as f64 / all as f64).min(1.0) }
    }
}
