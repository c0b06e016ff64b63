//! One thread's event loop: opens its share of the connections a few at a time, reads what comes,
//! publishes what is due, and follows the phases. Shares nothing with other workers but the phase
//! and its gauges. Started by the engine; returns its ledger.

mod absent;
mod panels;
mod polls;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mio::event::Event;
use mio::{Events, Interest, Poll, Token};

use super::client::{Change, Client, Codecs, Desk, Duty, End};
use super::keepalive::Keepalive;
use super::publisher::Publishers;
use super::receive::{Polled, Receiver};
use super::shared::{Phase, Shared};
use super::slow::{READ_EVERY_NS, SLOW_RECEIVE_BYTES, SlowBook};
use super::storm::StormBook;
use super::turns::Turns;
use super::{CONNECT_TIMEOUT_NS, CONNECTING_MAX, Ledger, PULSE_EVERY_NS, Plan, Spread};
use crate::seconds::Seconds;
use crate::sys::{self, Alarm};
use crate::tls::Connector;
use absent::Cut;
use panels::Shut;
pub(super) use panels::UNSUBSCRIBE;
use polls::polls_of;

/// Events taken from one poll: few, so that publishing is never put off for long.
const EVENTS_MAX: usize = 256;

/// Bytes of the receive buffer that all clients of a worker share.
const RECEIVE_BYTES: usize = 64 * 1024;

/// The longest a worker sleeps: how late it may learn of a new phase.
const TICK_NS: u64 = 20_000_000;

/// How long to wait for the server's close frames.
const CLOSE_TIMEOUT_NS: u64 = 2_000_000_000;

const ALARM: Token = Token(usize::MAX - 1);

/// One thread's part of a run.
pub(super) struct Worker {
    index: usize,
    plan: Arc<Plan>,
    shared: Arc<Shared>,
    poll: Poll,
    alarm: Alarm,
    alarm_at_ns: u64,
    phase: Phase,
    clients: Vec<Client>,
    /// Clients up to here were opened, or failed to.
    opened: usize,
    /// Clients that were opened and may not be ready yet, with the time they were.
    connecting: VecDeque<(usize, u64)>,
    connecting_count: usize,
    /// Clients that left, with the time at which they come back.
    away: VecDeque<(usize, u64)>,
    /// How many turns to leave have come.
    turn: u64,
    cut: Cut,
    /// Groups that are closed.
    shut: VecDeque<Shut>,
    /// Clients that have a socket.
    open: usize,
    /// Clients that have more to read than one turn allows.
    unread: VecDeque<usize>,
    /// When the slow readers last read.
    slow_since_ns: u64,
    keepalive: Keepalive,
    /// Where subscribers poll: whose turn it is.
    polls: Option<Turns>,
    publishers: Publishers,
    ledger: Ledger,
    buffer: Vec<u8>,
    receiver: Receiver,
    /// Begin TLS sessions where the target asks for them, one for each server.
    connectors: Vec<Connector>,
    codecs: Codecs,
    measured_from_ns: u64,
    /// The clock and the thread's processor time when measuring began.
    measuring_since: Option<(u64, u64)>,
    close_until_ns: u64,
    /// When the pulse was last taken.
    pulse_ns: u64,
}

impl Worker {
    pub(super) fn new(index: usize, plan: Arc<Plan>, shared: Arc<Shared>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let alarm = Alarm::new(poll.registry(), ALARM)?;
        let mut clients = Vec::new();
        let mut account = 0;
        for subscriber in plan.subscribers_on(index) {
            clients.push(Client::new(Duty::Subscribe { subscriber, account }));
            account += plan.accounts_of(subscriber);
        }
        let mut publishers = Publishers::default();
        for (place, number) in plan.publishers_on(index).enumerate() {
            if plan.is_round_trip {
                publishers.add(&plan, number, place);
                continue;
            }
            publishers.add(&plan, number, clients.len());
            clients.push(Client::new(Duty::Publish { publisher: number }));
        }
        clients.shrink_to_fit();
        let topics = plan.subscribers_on(index).flat_map(|subscriber| plan.topics_of(subscriber));
        let mut ledger = Ledger::new(&plan, topics);
        ledger.take_latest(&plan);
        if let Some(layout) = &plan.layout {
            ledger.take_groups(layout, plan.subscribers_on(index));
        }
        let resuming = if plan.storm.is_some() { ledger.accounts.len() } else { 0 };
        ledger.storm = StormBook::new(resuming);
        ledger.slow = SlowBook::new(plan.slow_on(index) * plan.topics_each as usize);
        ledger.spread = Spread::follow(&plan, index);
        let connectors = plan.target.trusts().map(|trust| Connector::new(&trust));
        let connectors = connectors.collect::<Result<_, _>>().map_err(io::Error::other)?;
        let polls = polls_of(&plan);
        ledger.worker = plan.part.first + index;
        Ok(Self {
            index,
            ledger,
            receiver: Receiver::new(plan.kernel_timestamps),
            connectors,
            polls,
            codecs: Codecs::default(),
            plan,
            shared,
            poll,
            alarm,
            alarm_at_ns: 0,
            phase: Phase::Connect,
            clients,
            opened: 0,
            connecting: VecDeque::new(),
            connecting_count: 0,
            away: VecDeque::new(),
            turn: 0,
            cut: Cut::default(),
            shut: VecDeque::new(),
            open: 0,
            unread: VecDeque::new(),
            slow_since_ns: sys::now_ns(),
            keepalive: Keepalive::new(sys::now_ns()),
            publishers,
            buffer: vec![0; RECEIVE_BYTES],
            measured_from_ns: u64::MAX,
            measuring_since: None,
            close_until_ns: u64::MAX,
            pulse_ns: 0,
        })
    }

    /// Runs until the closing is done.
    pub(super) fn run(mut self) -> io::Result<Ledger> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        loop {
            self.follow_phase();
            match self.phase {
                Phase::Connect => self.connect(),
                Phase::Publish => {
                    self.publish();
                    self.churn();
                    self.storm();
                    self.flip();
                }
                Phase::Drain => {
                    self.churn();
                    self.storm();
                    self.flip();
                }
                Phase::Close if self.is_closed() => return Ok(self.abandon()),
                _ => {}
            }
            self.keepalive.send_due(&self.plan, &mut self.clients, &mut self.ledger);
            self.poll_due();
            self.read_slowly();
            for _ in 0..self.unread.len() {
                let Some(index) = self.unread.pop_front() else { break };
                self.read(index);
            }
            self.ledger.spread.merge(self.shared.spread(), false);
            self.show();
            self.show_pulse();
            self.wait(&mut events)?;
            for event in &events {
                self.handle_event(event);
            }
        }
    }

    fn follow_phase(&mut self) {
        let phase = self.shared.phase();
        if phase == self.phase {
            return;
        }
        self.phase = phase;
        match phase {
            Phase::Connect | Phase::Settle => {}
            Phase::Publish => {
                let start_ns = self.shared.start_ns();
                self.measured_from_ns = start_ns + self.plan.schedule.measured_after_ns();
                self.ledger.seconds = Seconds::new(self.measured_from_ns);
                self.ledger.split.begin(self.measured_from_ns);
                self.publishers.start(&self.plan, start_ns);
            }
            Phase::Drain => self.end_publishing(),
            Phase::Close => {
                self.end_publishing();
                self.end_absences();
                self.close_until_ns = sys::now_ns() + CLOSE_TIMEOUT_NS;
                for index in 0..self.clients.len() {
                    let change = self.clients[index].close();
                    self.handle_change(index, change);
                }
            }
        }
    }

    fn connect(&mut self) {
        let now_ns = sys::now_ns();
        while let Some(&(index, since_ns)) = self.connecting.front() {
            let client = &mut self.clients[index];
            if client.is_open() && !client.is_ready() {
                if now_ns < since_ns + CONNECT_TIMEOUT_NS {
                    break;
                }
                let change = client.abort("timed out".to_owned());
                self.handle_change(index, change);
            }
            self.connecting.pop_front();
        }
        while self.connecting_count < self.connecting_max() && self.opened < self.clients.len() {
            self.opened += 1;
            self.open(self.opened - 1, now_ns);
        }
    }

    fn open(&mut self, index: usize, now_ns: u64) {
        let number = self.plan.part.unique(self.index, index);
        let is_slow = index < self.ledger.slow.accounts();
        let receive_bytes = is_slow.then_some(SLOW_RECEIVE_BYTES);
        let server = self.clients[index].server(&self.plan);
        let address = self.plan.target.servers.all()[server].address;
        let connector = self.connectors.get(server);
        let opened =
            self.plan.sources.open(number, address, receive_bytes).and_then(|mut socket| {
                let interest = Interest::READABLE | Interest::WRITABLE;
                self.poll.registry().register(&mut socket, Token(index), interest)?;
                if self.clients[index].is_subscriber() {
                    self.receiver.prepare(&socket);
                }
                self.clients[index].handle_opened(socket, connector)
            });
        match opened {
            Ok(()) => {
                self.open += 1;
                self.connecting_count += 1;
                self.connecting.push_back((index, now_ns));
            }
            Err(error) => self.handle_unreached(index, error.to_string()),
        }
    }

    fn connecting_max(&self) -> usize {
        (CONNECTING_MAX / self.plan.part.workers).max(1)
    }

    fn publish(&mut self) {
        if self.measuring_since.is_none() {
            let now_ns = sys::now_ns();
            if now_ns >= self.measured_from_ns {
                self.measuring_since = Some((now_ns, sys::thread_cpu_ns()));
                self.ledger.wire.traffic.count(true);
            }
        }
        let (clients, codecs) = (&mut self.clients, &mut self.codecs);
        self.publishers.send_due(&self.plan, clients, codecs, &mut self.ledger);
    }

    fn end_publishing(&mut self) {
        self.publishers.stop();
        self.ledger.wire.traffic.count(false);
        // Twice, since the end may be there already, behind bytes that one short read takes.
        let slow = 0..self.ledger.slow.accounts();
        self.unread.extend(slow.clone().chain(slow));
        self.ledger.cpu_share = self.busy_share(sys::now_ns());
        self.measuring_since = None;
    }

    /// The thread's processor time since measuring began, as a share of the time; what it was in
    /// the end once that is over.
    fn busy_share(&self, now_ns: u64) -> f64 {
        self.measuring_since.map_or(self.ledger.cpu_share, |(since_ns, cpu_ns)| {
            let used_ns = sys::thread_cpu_ns() - cpu_ns;
            used_ns as f64 / (now_ns - since_ns).max(1) as f64
        })
    }

    fn is_closed(&self) -> bool {
        self.open == 0 || sys::now_ns() >= self.close_until_ns
    }

    /// Drops what the server did not close in time.
    fn abandon(mut self) -> Ledger {
        for index in 0..self.clients.len() {
            if self.clients[index].is_open() {
                let change = self.clients[index].abort(String::new());
                self.handle_change(index, change);
            }
        }
        self.ledger.spread.merge(self.shared.spread(), true);
        self.ledger.split.clock_steps += u64::from(self.receiver.has_stepped_by_now());
        self.ledger
    }

    fn wait(&mut self, events: &mut Events) -> io::Result<()> {
        let now_ns = sys::now_ns();
        let due_ns = self.publishers.next_due_ns().unwrap_or(u64::MAX).min(self.next_poll_ns());
        let mut wait_ns = due_ns.saturating_sub(now_ns).min(TICK_NS);
        if !self.unread.is_empty() {
            wait_ns = 0;
        } else if wait_ns < TICK_NS && due_ns != self.alarm_at_ns {
            self.alarm.set(due_ns)?;
            self.alarm_at_ns = due_ns;
        }
        match self.poll.poll(events, Some(Duration::from_nanos(wait_ns))) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        let (until_ns, woke_ns) = (now_ns + wait_ns, sys::now_ns());
        if wait_ns > 0 && self.measuring_since.is_some() {
            self.ledger.hiccups.handle_wake(woke_ns.saturating_sub(until_ns));
        }
        let is_full = events.iter().count() >= EVENTS_MAX;
        self.receiver.handle_poll(Polled { began_ns: now_ns, until_ns, woke_ns, is_full });
        self.ledger.split.clock_steps += u64::from(self.receiver.has_stepped(woke_ns));
        Ok(())
    }

    fn handle_event(&mut self, event: &Event) {
        if event.token() == ALARM {
            return;
        }
        let index = event.token().0;
        if event.is_writable() {
            let change = self.with_desk(index, Client::handle_writable);
            self.handle_change(index, change);
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.read(index);
        }
        // The end may be there already, behind bytes that one short read took: no event follows.
        if event.is_read_closed() && self.clients[index].is_open() && !self.waits_to_read(index) {
            self.unread.push_back(index);
        }
    }

    /// Lets the slow readers read what they may by now. What else waits for them is no matter of
    /// events: it is there at the next time.
    fn read_slowly(&mut self) {
        let Some(slow) = self.plan.slow else { return };
        let now_ns = sys::now_ns();
        let passed_ns = now_ns.saturating_sub(self.slow_since_ns);
        let bytes = slow.bytes_in(passed_ns).min(RECEIVE_BYTES);
        if passed_ns < READ_EVERY_NS || bytes == 0 {
            return;
        }
        self.slow_since_ns = now_ns;
        for index in 0..self.ledger.slow.accounts() {
            if !self.waits_to_read(index) {
                continue;
            }
            let mut desk = Desk {
                plan: &self.plan,
                ledger: &mut self.ledger,
                buffer: &mut self.buffer[..bytes],
                receiver: &mut self.receiver,
                codecs: &mut self.codecs,
                measured_from_ns: self.measured_from_ns,
            };
            let change = self.clients[index].read_once(&mut desk);
            if change != Change::More {
                self.handle_change(index, change);
            }
        }
    }

    /// Whether a client reads slowly now: once it is ready, until nothing is published any more.
    fn waits_to_read(&self, index: usize) -> bool {
        let is_slow = index < self.ledger.slow.accounts();
        is_slow && self.phase < Phase::Drain && self.clients[index].is_ready()
    }

    fn read(&mut self, index: usize) {
        if self.waits_to_read(index) {
            return;
        }
        let was_ready = self.clients[index].is_ready();
        let change = self.with_desk(index, Client::handle_readable);
        // It may become ready and end within one read.
        let is_ready =
            self.clients[index].is_ready() || matches!(change, Change::Ended(End::Closed(_)));
        if is_ready && !was_ready {
            if self.phase == Phase::Connect {
                self.ledger.progress.ready += 1;
                self.ledger.last_ready_ns = sys::now_ns();
            } else {
                self.handle_back(index);
            }
            self.connecting_count -= 1;
        }
        self.handle_change(index, change);
    }

    fn with_desk(
        &mut self,
        index: usize,
        call: impl FnOnce(&mut Client, &mut Desk<'_>) -> Change,
    ) -> Change {
        let mut desk = Desk {
            plan: &self.plan,
            ledger: &mut self.ledger,
            buffer: &mut self.buffer,
            receiver: &mut self.receiver,
            codecs: &mut self.codecs,
            measured_from_ns: self.measured_from_ns,
        };
        call(&mut self.clients[index], &mut desk)
    }

    fn handle_change(&mut self, index: usize, change: Change) {
        let end = match change {
            Change::None => return,
            Change::More => return self.unread.push_back(index),
            Change::Ended(end) => end,
        };
        self.open -= 1;
        match end {
            End::Failed(why) => {
                self.connecting_count -= 1;
                self.handle_unreached(index, why);
            }
            End::Closed(why) => {
                if !self.ledger.handle_closed(index, &why, &self.plan) {
                    self.ledger.closes.add(why);
                }
                self.ledger.progress.closed += 1;
            }
            End::Idle => self.ledger.wire.traffic.reconnects += 1,
            End::Finished { .. } if self.phase < Phase::Close => {
                let away_ns = self.plan.churn.map_or(0, |churn| churn.away_ns);
                self.away.push_back((index, sys::now_ns() + away_ns));
            }
            End::Finished { cleanly } => self.ledger.closed_cleanly += u64::from(cleanly),
        }
    }

    fn show(&self) {
        let gauges = self.shared.gauges(self.index);
        let progress = &self.ledger.progress;
        for (gauge, number) in [
            (&gauges.ready, progress.ready),
            (&gauges.failed, progress.failed),
            (&gauges.closed, progress.closed),
            (&gauges.sent, progress.sent),
            (&gauges.expected, progress.expected),
            (&gauges.delivered, progress.delivered),
            (&gauges.missed, progress.missed),
            (&gauges.arrivals, progress.arrivals),
            (&gauges.to_send, self.publishers.to_send() as u64),
            (&gauges.missing, progress.missing),
            (&gauges.duplicated, progress.duplicated),
            (&gauges.out_of_order, progress.out_of_order),
        ] {
            gauge.store(number, Ordering::Relaxed);
        }
    }

    fn show_pulse(&mut self) {
        let now_ns = sys::now_ns();
        if now_ns < self.pulse_ns + PULSE_EVERY_NS {
            return;
        }
        let busy_share = self.busy_share(now_ns);
        if let Some(mut pulse) = self.shared.own_pulse(self.index) {
            pulse.take(&self.ledger, busy_share);
            self.pulse_ns = now_ns;
        }
    }
}
