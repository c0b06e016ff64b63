//! A run that is more than one process: its connections are shared out among agents, processes of
//! this machine or of others, which go through the phases together and whose ledgers are added up.
//! [`Load`] is what the scenarios steer, be it one engine or many agents. Opens no connection to a
//! target: that is the engines' work, here and there.

mod clock;
mod crew;
mod frame;
mod listen;
mod message;
mod seat;
mod secret;
mod serve;
mod spread;

use std::io;

pub use clock::{ClockQuality, Estimate, Exchange};
pub use crew::Crew;
pub use listen::{AgentFlags, run};
pub use spread::{PROCESSES_MAX, Processes, Spread};

use crate::engine::{Engine, Ledger, Phase, Plan, Progress, Pulse};
use crate::sys;

/// Notice that workers need of when message 0 is due: 50 ms.
const NOTICE_NS: u64 = 50_000_000;

/// A run under way, wherever its connections are. To be moved on to [`Phase::Drain`] and then
/// [`finish`](Self::finish)ed.
#[derive(Debug)]
pub enum Load {
    /// All of them are this process's.
    Here(Engine),
    /// They are the agents'.
    There(Crew),
}

/// What is left of a run.
#[derive(Debug, Default)]
pub struct Harvest {
    /// What each worker counted.
    pub ledgers: Vec<Ledger>,
    /// The agents, if there were some: those whose ledgers these are.
    pub agents: Vec<AgentSeen>,
    /// By how much the agents' memory grew.
    pub rss_grown_bytes: u64,
    /// Why not all ledgers are here, if they are not: a sentence for the user.
    pub fault: Option<String>,
}

/// One of several processes, as the report shows it.
#[derive(Clone, Debug)]
pub struct AgentSeen {
    /// `process 2`, or `agent` and its address.
    pub name: String,
    /// Its process on its machine.
    pub pid: u32,
    /// Its threads.
    pub threads: usize,
    /// How many of the connections were its.
    pub connections: u64,
    /// The processor time of its busiest thread while measuring, as a share of the time.
    pub busiest_share: f64,
    /// How well its times can be compared with those of others; none if it was on the same clock.
    pub clock: Option<ClockQuality>,
    /// The share of its machine's processor time that the host gave to others while measuring.
    pub stolen_share: Option<f64>,
}

impl Load {
    /// Starts the plan's connections where they belong.
    ///
    /// # Errors
    ///
    /// A sentence for the user, which begins with `FAILED`: the limit of open files forbids it, an
    /// agent can't be had, or the system gives no thread, poll or timer.
    pub fn start(plan: &Plan, spread: &Spread, threads_asked: Option<u32>) -> Result<Self, String> {
        let failed = |why: String| format!("FAILED: {why}");
        if !spread.agents.is_empty() {
            return Crew::call(plan, spread, threads_asked).map(Self::There).map_err(failed);
        }
        match spread.processes(plan, sys::raise_open_files())? {
            1 => Engine::start(plan.clone())
                .map(Self::Here)
                .map_err(|error| failed(format!("cannot start the threads: {error}"))),
            processes => Crew::start(plan, processes).map(Self::There).map_err(failed),
        }
    }

    /// Workers of all processes together.
    #[must_use]
    pub fn workers(&self) -> usize {
        match self {
            Self::Here(engine) => engine.workers(),
            Self::There(crew) => crew.workers(),
        }
    }

    /// When the connecting was begun.
    #[must_use]
    pub fn begun_ns(&self) -> u64 {
        match self {
            Self::Here(engine) => engine.begun_ns(),
            Self::There(crew) => crew.begun_ns(),
        }
    }

    /// When message 0 is due, on the clock of [`now_ns`](crate::sys::now_ns); 0 while that is not
    /// decided.
    #[must_use]
    pub fn start_ns(&self) -> u64 {
        match self {
            Self::Here(engine) => engine.start_ns(),
            Self::There(crew) => crew.start_ns(),
        }
    }

    /// Where the run stands. Of agents, no more is known than whether publishing has begun.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self {
            Self::Here(engine) => engine.phase(),
            Self::There(crew) if crew.start_ns() == 0 => Phase::Connect,
            Self::There(_) => Phase::Publish,
        }
    }

    /// What is reached by now, or was some milliseconds ago.
    #[must_use]
    pub fn progress(&self) -> Progress {
        match self {
            Self::Here(engine) => engine.progress(),
            Self::There(crew) => crew.progress(),
        }
    }

    /// How the workers do, taken a few times a second.
    #[must_use]
    pub fn pulse(&self) -> Pulse {
        match self {
            Self::Here(engine) => engine.pulse(),
            Self::There(crew) => crew.pulse(),
        }
    }

    /// Processor time that the load generator has used, all processes together.
    #[must_use]
    pub fn cpu_ns(&self) -> u64 {
        sys::process_cpu_ns()
            + match self {
                Self::Here(_) => 0,
                Self::There(crew) => crew.cpu_ns(),
            }
    }

    /// Whether a thread or an agent has ended before it was told to.
    #[must_use]
    pub fn has_stopped(&self) -> bool {
        match self {
            Self::Here(engine) => engine.has_stopped(),
            Self::There(crew) => crew.has_stopped(),
        }
    }

    /// How long before message 0 is due that must be decided.
    #[must_use]
    pub fn notice_ns(&self) -> u64 {
        match self {
            Self::Here(_) => NOTICE_NS,
            Self::There(crew) => NOTICE_NS + crew.notice_ns(),
        }
    }

    /// Begins to publish: message 0 is due at `start_ns` of [`now_ns`](crate::sys::now_ns).
    pub fn publish(&self, start_ns: u64) {
        match self {
            Self::Here(engine) => engine.publish(start_ns),
            Self::There(crew) => crew.publish(start_ns),
        }
    }

    /// Moves on to a later phase other than [`Phase::Publish`].
    pub fn enter(&self, phase: Phase) {
        match self {
            Self::Here(engine) => engine.enter(phase),
            Self::There(crew) => crew.enter(phase),
        }
    }

    /// Closes what is open and returns what was counted.
    ///
    /// # Errors
    ///
    /// If a worker's poll failed, or the worker panicked, in this process.
    pub fn finish(self) -> io::Result<Harvest> {
        match self {
            Self::Here(engine) => Ok(Harvest { ledgers: engine.finish()?, ..Harvest::default() }),
            Self::There(crew) => Ok(crew.finish()),
        }
    }
}
