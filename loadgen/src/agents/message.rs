//! What a run and its agents say to each other, in this order: the agent greets, the run claims it,
//! the agent says what it has to offer; then orders one way and answers the other. Data only;
//! `serve` is the agent's end, `seat` the other.

use serde::{Deserialize, Serialize};

use crate::engine::{Ledger, Phase, Plan, Progress, Pulse};

/// The version of this protocol. Both ends must have the same.
pub(super) const PROTOCOL: u32 = 1;

/// The first word of an agent, to whoever connects.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Greeting {
    /// [`PROTOCOL`].
    pub(super) protocol: u32,
    /// The agent's version of loadgen.
    pub(super) loadgen: String,
    /// Drawn anew for each connection, so that a proof is good only once.
    pub(super) nonce: [u8; 16],
}

/// The answer to a greeting.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Claim {
    /// [`PROTOCOL`].
    pub(super) protocol: u32,
    /// The run's version of loadgen.
    pub(super) loadgen: String,
    /// What only those can make of the nonce who know the token.
    pub(super) proof: [u8; 32],
}

/// What an agent is and has.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Welcome {
    /// Its process on its host.
    pub(super) pid: u32,
    /// Cores that it may use.
    pub(super) cores: usize,
    /// Files that it may have open, connections included.
    pub(super) open_files: u64,
    /// Names the clock that it reads, if the system does: the same name, the same clock.
    pub(super) clock: Option<String>,
}

/// What the run wants of an agent.
#[derive(Debug, Deserialize, Serialize)]
pub(super) enum Order {
    /// To say what its clock shows, at once.
    Probe(u64),
    /// To add so much to its clock from now on, which makes it the run's.
    SetClock {
        /// In nanoseconds.
        offset_ns: i64,
    },
    /// To get ready for its part of this plan.
    Plan(Box<Plan>),
    /// To connect.
    Begin,
    /// To publish, message 0 at this time of the run's clock.
    Publish {
        /// In nanoseconds.
        start_ns: u64,
    },
    /// To go on to this phase, which is none of the above.
    Enter(Phase),
    /// To close what is open and hand over its ledgers.
    Finish,
}

/// What an agent has to say.
#[derive(Debug, Deserialize, Serialize)]
pub(super) enum Answer {
    /// The claim is good.
    Welcome(Welcome),
    /// It is not, or the plan is not: a sentence for the user. The connection ends.
    Refused(String),
    /// What its clock shows, without what was added to it.
    Probed {
        /// The number of the probe.
        probe: u64,
        /// In nanoseconds.
        now_ns: u64,
    },
    /// It is ready for its part.
    Planned,
    /// How it does, many times a second.
    Status(Box<Status>),
    /// The ledger of one of its workers.
    Ledger(Box<Ledger>),
    /// All ledgers are handed over.
    Done(Done),
}

/// How an agent does.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Status {
    /// When, on the run's clock.
    pub(super) at_ns: u64,
    /// What is reached.
    pub(super) progress: Progress,
    /// Processor time that its process has used for this run.
    pub(super) cpu_ns: u64,
    /// The pulse of its workers; not in every status.
    pub(super) pulse: Option<Pulse>,
}

/// What an agent knows in the end beside its ledgers.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(super) struct Done {
    /// By how much its memory grew from before the first connection until draining was over.
    pub(super) rss_grown_bytes: Option<u64>,
    /// The share of its machine's processor time that the host gave to others while measuring.
    pub(super) stolen_share: Option<f64>,
}
