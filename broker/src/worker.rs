//! A worker: one thread, one event loop, its own listener and its own connections, which live and
//! die here. Workers share nothing but what is in [`crate::hub::Shared`].
//!
//! A turn of the loop: take events → read → hand over to other workers → deliver the mailbox's
//! messages → one write per connection touched. Once a second: deadlines. The parts of the turn
//! are one file each; nothing here knows what a topic is, that is the hub's.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use broker_proto::handshake::{AllowedOrigins, HeadLimits};
use broker_proto::json;
use mio::event::Event;
use mio::{Events, Poll, Token, Waker};

use crate::config::Config;
use crate::control;
use crate::hub::session::Budget;
use crate::hub::workers::{before_sessions, members};
use crate::hub::{Hub, MailStep, Shared};
use crate::metrics::{Metrics, WorkerMetrics};
use crate::proxies::Proxies;
use crate::slots::Slots;
use crate::sys::ring::SendRing;

pub mod accept;
pub mod admission;
mod asked;
mod batch;
mod closing;
mod codec;
pub mod connection;
mod credentials;
mod deadlines;
mod drain;
pub mod events;
mod fault;
mod flush;
mod handshakes;
mod opening;
mod pressure;
mod proxied;
mod read;
mod system;

use self::accept::{Accepting, Door};
use self::admission::Admission;
use self::batch::Batch;
use self::codec::Codec;
use self::connection::{Connection, Ticks};
use self::drain::Drain;
use self::flush::Stage;
use self::handshakes::Handshakes;

const WAKER: Token = Token(usize::MAX);
/// The first listener's; those of the others follow. No connection has a slot with such a number.
const DOORS: usize = usize::MAX - 16;
/// Events taken from the kernel at once.
const EVENTS_MAX: usize = 1024;
/// Deadlines are looked at this often.
const SWEEP_MS: u64 = 1_000;
/// Lines a second that one worker may log about connections; the rest are counted only.
const LOG_LINES_PER_SECOND: u32 = 10;

/// What a worker is made of, besides its event loop.
#[derive(Debug)]
pub struct Parts {
    /// Its number, from 0.
    pub index: usize,
    /// What its sessions are told apart by from those of other nodes; 0 alone.
    pub node: u64,
    /// The settings.
    pub config: Arc<Config>,
    /// Which origins may open a WebSocket.
    pub origins: Arc<AllowedOrigins>,
    /// Who may connect.
    pub admission: Arc<Admission>,
    /// What all hubs share.
    pub shared: Arc<Shared>,
    /// All counters.
    pub metrics: Arc<Metrics>,
    /// Where requests go that are no WebSocket.
    pub control: control::Sender,
    /// When the broker's clock began.
    pub started: Instant,
}

/// One worker and its connections.
pub struct Worker {
    core: Core,
    poll: Poll,
    wakers: Arc<[Waker]>,
    doors: Vec<Door>,
    handshakes: Handshakes,
    admission: Arc<Admission>,
    proxies: Proxies,
    origins: Arc<AllowedOrigins>,
    head_limits: HeadLimits,
    control: control::Sender,
    started: Instant,
    now: Ticks,
    next_sweep_ms: u64,
    next_memory_ms: u64,
    connections: Slots<Connection>,
    /// By slot; swept densely.
    deadlines: Vec<Ticks>,
    next_generation: u32,
    /// The number of the newest session.
    last_session: u64,
    /// The one receive buffer, used by whichever connection is read.
    buffer: Vec<u8>,
    /// What came under TLS, of whichever connection is read; empty if TLS is not spoken.
    sealed: Vec<u8>,
    /// The answer to the handshake at hand.
    response: Vec<u8>,
    stage: Stage,
    /// Gathers the sends of a turn, if the settings ask for that.
    batch: Option<Batch>,
    deflated_stage: Stage,
    codec: Codec,
    touched: Vec<u32>,
    /// Connections with more to read than their turn's share.
    run_queue: VecDeque<(usize, u32)>,
    /// Connections that are not read because a mailbox they publish into is full.
    paused: Vec<(usize, u32)>,
    /// Connections of which so much waits that they step down the ladder.
    stepping: Vec<usize>,
    /// How far the broker has stopped, once it does.
    drain: Option<Drain>,
    log_budget: Budget,
}

/// What turns frames into requests, apart from the connections.
struct Core {
    index: usize,
    hub: Hub,
    parser: json::Parser,
    config: Arc<Config>,
    metrics: Arc<Metrics>,
    /// Time since the broker started, as of this turn.
    now_ms: u64,
    /// What runs touches nothing but one connection's own bytes: see `fault`.
    alone: bool,
}

/// A worker's event loop, made first, so that all workers' wakers are known when they start.
pub fn make_poll() -> io::Result<(Poll, Waker)> {
    let poll = Poll::new()?;
    let waker = Waker::new(poll.registry(), WAKER)?;
    Ok((poll, waker))
}

impl Worker {
    /// A worker that will accept at these doors.
    pub fn new(
        parts: Parts,
        poll: Poll,
        wakers: Arc<[Waker]>,
        mut doors: Vec<Door>,
    ) -> io::Result<Self> {
        for (token, door) in (DOORS..).zip(&mut doors) {
            door.register(poll.registry(), Token(token))?;
        }
        let Parts { index, node, config, origins, admission, shared, metrics, control, started } =
            parts;
        let hub = Hub::new(index, shared, config.clone(), metrics.clone());
        let head_limits = opening::head_limits(&config);
        let codec = Codec::new(&config);
        let handshakes = Handshakes::new(config.tls.handshakes_max);
        let proxies = Proxies::new(&config.proxies);
        let sealed = if config.tls.is_on() { read::READ_BYTES_MAX } else { 0 };
        let core = Core {
            index,
            hub,
            parser: json::Parser::new(),
            config,
            metrics,
            now_ms: 0,
            alone: false,
        };
        Ok(Self {
            core,
            poll,
            wakers,
            doors,
            handshakes,
            admission,
            proxies,
            origins,
            head_limits,
            control,
            started,
            now: 0,
            next_sweep_ms: SWEEP_MS,
            next_memory_ms: 0,
            connections: Slots::default(),
            deadlines: Vec::new(),
            next_generation: 0,
            last_session: before_sessions(node, index),
            buffer: vec![0; read::READ_BYTES_MAX],
            sealed: vec![0; sealed],
            response: Vec::new(),
            stage: Stage::default(),
            batch: None,
            deflated_stage: Stage::default(),
            codec,
            touched: Vec::new(),
            run_queue: VecDeque::new(),
            paused: Vec::new(),
            stepping: Vec::new(),
            drain: None,
            log_budget: Budget::default(),
        })
    }

    /// Runs until the broker has been drained.
    ///
    /// # Errors
    /// The kernel refuses to give events, which no turn can go on without, or io_uring if the
    /// settings ask for it.
    pub fn run(mut self) -> io::Result<()> {
        if self.core.config.io_uring {
            // Made by the thread that uses it.
            self.batch = Some(Batch::new(SendRing::new()?));
        }
        self.read_clock();
        self.tell_time_of_day();
        let mut events = Events::with_capacity(EVENTS_MAX);
        while !self.is_drained() {
            let timeout = self.timeout();
            match self.poll.poll(&mut events, Some(timeout)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => self.turn(&events),
            }
        }
        for slot in self.connections.iter().map(|(slot, _)| slot).collect::<Vec<_>>() {
            self.remove(slot, crate::metrics::CloseReason::GoingAway);
        }
        Ok(())
    }

    fn turn(&mut self, events: &Events) {
        self.core.hub.unpark();
        self.read_clock();
        self.core.counters().turns.add(1);
        self.step_down();
        self.core.hub.handle_time(self.core.now_ms);
        self.end_sessions();
        self.heed_memory();
        self.handshakes.begin_turn();
        // Whoever is put there from here on waits for the next turn: in each, one read for each.
        let waiting = self.run_queue.len();
        for event in events {
            match event.token() {
                WAKER => self.core.counters().wakes.add(1),
                Token(token @ DOORS..) => self.accept(token - DOORS),
                token => self.handle_event(token, event),
            }
            self.relieve();
        }
        self.accept_again();
        for _ in 0..waiting {
            let Some((slot, generation)) = self.run_queue.pop_front() else { break };
            if self.is_current(slot, generation) {
                self.read(slot);
            }
            self.relieve();
        }
        self.send_away();
        if self.core.now_ms >= self.next_sweep_ms {
            self.next_sweep_ms = self.core.now_ms + SWEEP_MS;
            self.tell_time_of_day();
            self.sweep();
            self.core.hub.handle_tick(self.core.now_ms);
            self.report();
        }
        self.deliver();
        self.shed();
        self.resume();
    }

    /// Flushes in the midst of a turn that has become too large to hold on to.
    fn relieve(&mut self) {
        if self.core.hub.must_flush() {
            self.deliver();
        }
    }

    /// Hands over, delivers and flushes what the mailbox has, as far as one turn goes. With more
    /// left the next poll does not sleep; nobody waits for the whole mailbox.
    fn deliver(&mut self) {
        loop {
            let step = self.core.hub.handle_mail();
            self.answer_asked();
            for worker in members(self.core.hub.take_wakes()) {
                // Fails only if the kernel is out of memory; the worker then wakes at its next
                // sweep.
                let _ = self.wakers[worker].wake();
            }
            if step == MailStep::Drain {
                self.begin_drain();
            }
            self.flush();
            if step != MailStep::Drain {
                return;
            }
        }
    }

    fn handle_event(&mut self, Token(token): Token, event: &Event) {
        let (slot, generation) = ((token & 0xffff_ffff), (token >> 32) as u32);
        if event.is_writable() && self.is_current(slot, generation) {
            self.flush_backlog(slot);
        }
        if event.is_readable() && self.is_current(slot, generation) {
            let connection = &mut self.connections[slot];
            connection.hung_up |= event.is_read_closed() || event.is_error();
            // One that stands in the run queue has its turn there, once.
            if !connection.queued {
                self.read(slot);
            }
        }
    }

    /// Reads again from publishers whose mailboxes have room now.
    fn resume(&mut self) {
        if self.paused.is_empty() || !self.core.hub.may_resume() {
            return;
        }
        for (slot, generation) in std::mem::take(&mut self.paused) {
            if self.is_current(slot, generation) {
                self.connections[slot].paused = false;
                self.connections[slot].heard = self.now;
                self.read_again(slot);
            }
        }
    }

    /// Whether a slot still holds the connection of that generation: an event or a place in a
    /// queue may be older than the connection that is there now.
    fn is_current(&self, slot: usize, generation: u32) -> bool {
        self.connections.get(slot).is_some_and(|found| found.generation == generation)
    }

    /// How long the next poll may sleep.
    fn timeout(&mut self) -> Duration {
        let has_work = !self.run_queue.is_empty()
            || !self.stepping.is_empty()
            || self.doors.iter().any(|door| door.accepting() == Accepting::NextTurn);
        if has_work || !self.core.hub.park() {
            return Duration::ZERO;
        }
        self.read_clock();
        let mut until = self.next_sweep_ms.min(self.next_memory_ms().unwrap_or(u64::MAX));
        for door in &self.doors {
            if let Accepting::PausedUntil(at_ms) = door.accepting() {
                until = until.min(at_ms);
            }
        }
        if let Some(at_ms) = self.core.hub.next_due_ms() {
            until = until.min(at_ms);
        }
        if let Some(drain) = &self.drain {
            until = until.min(drain.next_ms(self.core.now_ms));
        }
        Duration::from_millis(until.saturating_sub(self.core.now_ms))
    }

    /// Tokens end by the time of day.
    fn tell_time_of_day(&mut self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.core.hub.handle_clock(self.core.now_ms, now.as_millis() as u64);
    }

    fn read_clock(&mut self) {
        self.core.now_ms = self.started.elapsed().as_millis() as u64;
        self.now = (self.core.now_ms / 100) as Ticks;
    }

    /// Whether one more line about a connection may be logged in this second.
    fn may_log(&mut self) -> bool {
        self.log_budget.take(self.core.now_ms, LOG_LINES_PER_SECOND, LOG_LINES_PER_SECOND * 2)
    }
}

impl Core {
    fn counters(&self) -> &WorkerMetrics {
        &self.metrics.workers[self.index]
    }
}

fn token_of(slot: usize, generation: u32) -> Token {
    Token(slot | (generation as usize) << 32)
}
