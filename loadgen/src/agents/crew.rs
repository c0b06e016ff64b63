//! All agents of a run, steered as one engine is: they get their parts of the plan, go through the
//! phases together, and their ledgers come back. Holds no connection to the target itself. Used by
//! the scenarios through [`Load`](super::Load).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::clock::{ClockQuality, Estimate};
use super::message::Order;
use super::seat::Seat;
use super::spread::{Spread, connections_max, connections_of, parts, threads_each};
use super::{AgentSeen, Harvest};
use crate::engine::{Phase, Plan, Progress, Pulse};
use crate::report::grouped;
use crate::sys;

/// Questions to a clock before connecting, when times are not critical yet.
const QUESTIONS_FIRST: u64 = 8;

/// Questions before and after measuring.
const QUESTIONS: u64 = 50;

/// How long an order takes to be followed, beyond its way.
const WORD_NS: u64 = 50_000_000;

/// The agents at work.
#[derive(Debug)]
pub struct Crew {
    posts: Vec<Post>,
    /// How many the plan has.
    topics: usize,
    begun_ns: u64,
    start_ns: AtomicU64,
}

/// One agent and its part.
#[derive(Debug)]
struct Post {
    seat: Seat,
    threads: usize,
    connections: u64,
    /// Whether it is on this machine's clock.
    has_our_clock: bool,
    clock: Mutex<Clock>,
}

/// What was found out about an agent's clock.
#[derive(Clone, Copy, Debug, Default)]
struct Clock {
    begin: Estimate,
    end: Option<Estimate>,
}

impl Crew {
    /// Starts so many processes, hands them their parts and lets them connect.
    ///
    /// # Errors
    ///
    /// A sentence for the user: a process can't be started.
    pub fn start(plan: &Plan, processes: usize) -> Result<Self, String> {
        let seats: Vec<Seat> = (1..=processes).map(Seat::start).collect::<Result<_, _>>()?;
        let threads = vec![threads_each(plan.threads, processes); processes];
        Self::assemble(plan, seats, &threads)
    }

    /// Calls the agents, hands them their parts and lets them connect. Each gets connections in
    /// proportion to its threads: `threads_asked`, or one per core of its own.
    ///
    /// # Errors
    ///
    /// A sentence for the user: an agent can't be reached, will not have us, or may not have so
    /// many files open.
    pub fn call(plan: &Plan, spread: &Spread, threads_asked: Option<u32>) -> Result<Self, String> {
        let token = spread.agent_token.as_deref().unwrap_or_default();
        let call = |address: &String| Seat::call(address, token);
        let seats: Vec<Seat> = spread.agents.iter().map(call).collect::<Result<_, _>>()?;
        let threads_of = |seat: &Seat| threads_asked.map_or(seat.welcome.cores, |n| n as usize);
        let threads: Vec<usize> =
            seats.iter().map(|seat| threads_of(seat).clamp(1, 1024)).collect();
        Self::assemble(plan, seats, &threads)
    }

    fn assemble(plan: &Plan, seats: Vec<Seat>, threads: &[usize]) -> Result<Self, String> {
        let our_clock = sys::clock_name();
        let mut posts = Vec::new();
        for (seat, (part, threads)) in seats.into_iter().zip(parts(threads)) {
            let connections = connections_of(plan, part, threads);
            let possible = connections_max(seat.welcome.open_files, threads);
            if connections > possible {
                return Err(format!(
                    "{}: {} of its {} connections are possible: its hard limit of open files is {}",
                    seat.name,
                    grouped(possible),
                    grouped(connections),
                    grouped(seat.welcome.open_files)
                ));
            }
            let has_our_clock = our_clock.is_some() && seat.welcome.clock == our_clock;
            let post = Post { seat, threads, connections, has_our_clock, clock: Mutex::default() };
            post.set_clock(QUESTIONS_FIRST);
            let plan = Plan { part, threads, ..plan.clone() };
            post.seat.order(&Order::Plan(Box::new(plan)));
            posts.push(post);
        }
        for post in &posts {
            post.seat.wait_planned()?;
        }
        let (topics, begun_ns) = (plan.topics.len(), sys::now_ns());
        let crew = Self { posts, topics, begun_ns, start_ns: AtomicU64::new(0) };
        crew.order(&Order::Begin);
        Ok(crew)
    }

    /// Workers of all agents together.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.posts.iter().map(|post| post.threads).sum()
    }

    /// When the connecting was begun.
    #[must_use]
    pub fn begun_ns(&self) -> u64 {
        self.begun_ns
    }

    /// When message 0 is due; 0 while that is not decided.
    #[must_use]
    pub fn start_ns(&self) -> u64 {
        self.start_ns.load(Ordering::Acquire)
    }

    /// What all of them have reached.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let start_ns = self.start_ns();
        let mut sum = Progress::default();
        for post in &self.posts {
            let said = post.seat.said();
            sum.add(&said.status.progress);
            // What it said before it began to publish does not mean that nothing is left to send.
            sum.to_send += u64::from(said.status.at_ns < start_ns);
        }
        // Not all speak at the same moment: some tell of messages whose sender did not yet.
        sum.expected = sum.expected.max(sum.delivered);
        sum
    }

    /// How all of them do.
    #[must_use]
    pub fn pulse(&self) -> Pulse {
        let mut sum = Pulse::default();
        for post in &self.posts {
            if let Some(pulse) = &post.seat.said().status.pulse {
                sum.add(pulse);
            }
        }
        sum
    }

    /// Processor time that they have used.
    #[must_use]
    pub fn cpu_ns(&self) -> u64 {
        self.posts.iter().map(|post| post.seat.said().status.cpu_ns).sum()
    }

    /// Whether one of them is lost.
    #[must_use]
    pub fn has_stopped(&self) -> bool {
        self.posts.iter().any(|post| post.seat.loss().is_some())
    }

    /// How long beforehand they must know when message 0 is due, beyond what one engine needs.
    #[must_use]
    pub fn notice_ns(&self) -> u64 {
        let there_and_back_ns = |post: &Post| 2 * post.clock().begin.uncertainty_ns;
        WORD_NS + self.posts.iter().map(there_and_back_ns).max().unwrap_or(0)
    }

    /// Begins to publish: message 0 is due at `start_ns`.
    pub fn publish(&self, start_ns: u64) {
        self.start_ns.store(start_ns, Ordering::Release);
        self.order(&Order::Publish { start_ns });
    }

    /// Moves on to a later phase other than [`Phase::Publish`]. While all is at rest before
    /// publishing, the clocks of other hosts are looked at.
    pub fn enter(&self, phase: Phase) {
        self.order(&Order::Enter(phase));
        if phase == Phase::Settle {
            self.posts.iter().for_each(|post| post.set_clock(QUESTIONS));
        }
    }

    /// Closes what is open and returns what the agents have seen, as far as they are still there.
    /// Who is lost is named.
    #[must_use]
    pub fn finish(self) -> Harvest {
        let mut faults: Vec<String> =
            self.posts.iter().filter_map(|post| post.seat.loss()).collect();
        for post in &self.posts {
            post.check_clock();
        }
        self.order(&Order::Finish);
        let mut harvest = Harvest::default();
        for post in &self.posts {
            let (ledgers, done) = match post.seat.wait_done() {
                Ok(done) => done,
                Err(why) => {
                    faults.push(why);
                    continue;
                }
            };
            if !ledgers.iter().all(|ledger| ledger.fits(self.topics)) {
                faults.push(format!("{} counted something else", post.seat.name));
                continue;
            }
            let share = |busiest: f64, share: f64| busiest.max(share);
            harvest.agents.push(AgentSeen {
                name: post.seat.name.clone(),
                pid: post.seat.welcome.pid,
                threads: post.threads,
                connections: post.connections,
                busiest_share: ledgers.iter().map(|ledger| ledger.cpu_share).fold(0.0, share),
                clock: post.quality(),
                stolen_share: done.stolen_share,
            });
            harvest.rss_grown_bytes += done.rss_grown_bytes.unwrap_or(0);
            harvest.ledgers.extend(ledgers);
        }
        harvest.fault = faults.into_iter().next();
        harvest
    }

    fn order(&self, order: &Order) {
        self.posts.iter().for_each(|post| post.seat.order(order));
    }
}

impl Post {
    fn clock(&self) -> Clock {
        *self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an agent on the run's clock, if it is not by itself.
    fn set_clock(&self, questions: u64) {
        if self.has_our_clock {
            return;
        }
        if let Some(begin) = self.seat.ask_clock(questions) {
            self.seat.order(&Order::SetClock { offset_ns: begin.offset_ns });
            *self.clock.lock().unwrap_or_else(PoisonError::into_inner) = Clock { begin, end: None };
        }
    }

    fn check_clock(&self) {
        if !self.has_our_clock {
            let end = self.seat.ask_clock(QUESTIONS);
            self.clock.lock().unwrap_or_else(PoisonError::into_inner).end = end;
        }
    }

    /// None for one that is on our clock.
    fn quality(&self) -> Option<ClockQuality> {
        let Clock { begin, end } = self.clock();
        (!self.has_our_clock).then(|| begin.judged_by(&end.unwrap_or(begin)))
    }
}
