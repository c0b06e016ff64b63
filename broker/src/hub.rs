//! The hub: topics, subscriptions and what is to be sent to whom. One hub per worker; hubs share
//! nothing but [`Shared`].
//!
//! Sans-IO: no sockets, no clock, no threads. Requests and mail come in by `handle_*`, time is
//! passed in as milliseconds of the broker's clock, and what is to be sent lies in the
//! [`Outbox`] until the worker flushes it.
//!
//! | part | what it is |
//! |---|---|
//! | [`directory`], [`topic`] | every topic in use: epoch, seq, interested workers |
//! | [`interest`], [`trie`], [`workers`] | which workers have which wildcard filters |
//! | [`mailbox`], [`message`] | the hand-over between workers, and what is handed over |
//! | `queue`, `mail` | what a mailbox is made of; what is done with what lies there |
//! | [`delayed`] | messages that wait a little to go out together |
//! | [`lingering`] | topics that may be forgotten |
//! | [`lists`], [`subscribers`], [`session`], [`protocol`] | this worker's subscribers |
//! | [`history`], [`special`], [`cohort`] | what is kept of a topic, and those who do not simply get everything |
//! | [`wanted`], [`object`] | what they want, and the members of a payload they want it by |
//! | [`slow`], [`newest`] | sessions that do not keep up |
//! | [`accounts`] | what became of the messages |
//! | `notices`, `renumbered` | what is told of topics; what ends with a numbering |
//! | [`presence`], [`rosters`] | who is there, here and on other nodes |
//! | [`silence`] | which topics should have had a message |
//! | [`retries`] | publishes that may come again |
//! | [`access`], [`rates`] | who may do what, until when and how often |
//! | [`desk`], [`ask`] | for those who are no worker: publish, look, ask the workers |
//! | [`ways`], [`log`], [`commits`], [`uplink`] | the ways out of this process: to disk, to other nodes, and back |
//! | [`outbox`], [`backlog`] | what goes out in this turn, and what the kernel did not take |

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use broker_proto::ws::{CloseCode, Opcode};
use slab::Slab;
use smallvec::SmallVec;

use crate::config::Config;
use crate::metrics::accounts::dropped;
use crate::metrics::{CloseReason, Metrics, WorkerMetrics};
use crate::slots::places::Places;

pub mod access;
pub mod accounts;
pub mod ask;
pub mod backlog;
mod catching;
pub mod cohort;
mod commands;
pub mod commits;
pub mod delayed;
mod delivery;
pub mod desk;
pub mod directory;
mod events;
pub mod history;
pub mod interest;
mod ladder;
pub mod lingering;
pub mod lists;
pub mod log;
mod mail;
pub mod mailbox;
mod members;
pub mod message;
pub mod newest;
mod notices;
pub mod object;
pub mod outbox;
mod past;
mod pausing;
pub mod presence;
pub mod protocol;
mod queue;
pub mod rates;
mod renumbered;
pub mod retries;
pub mod rosters;
pub mod session;
pub mod shared;
pub mod silence;
pub mod slow;
pub mod special;
pub mod subscribers;
mod subscribing;
pub mod topic;
pub mod trie;
pub mod uplink;
pub mod wanted;
pub mod ways;
pub mod workers;

use self::access::Access;
use self::accounts::Counts;
use self::ask::Question;
use self::cohort::Cohort;
use self::delayed::Delayed;
use self::lingering::Lingering;
use self::lists::Lists;
use self::mailbox::Mail;
use self::notices::Asking;
use self::outbox::{NodeId, Outbox};
use self::protocol::Protocol;
use self::session::Session;
pub use self::shared::Shared;
use self::special::Special;
use self::topic::Topic;
use self::workers::{WorkerSet, members};

/// Bytes of frames after which a turn is flushed before it goes on.
const TURN_BYTES_MAX: usize = 1024 * 1024;
/// Topics that are looked at in one tick.
const TICK_TOPICS_MAX: usize = 16 * 1024;

/// One worker's part of the broker's state.
#[derive(Debug)]
pub struct Hub {
    worker: usize,
    shared: Arc<Shared>,
    config: Arc<Config>,
    metrics: Arc<Metrics>,
    sessions: Places<Session>,
    lists: Lists,
    /// What the worker flushes at the end of the turn.
    pub outbox: Outbox,
    mail: VecDeque<Mail>,
    /// How much mail was ever taken out of it.
    taken: u64,
    /// Messages among it that wait a little.
    delayed: Delayed,
    /// That of the rules by which they wait.
    rules_generation: u64,
    /// Topics this hub made, in the order in which to look whether they are still in use.
    lingering: Lingering,
    wakes: WorkerSet,
    /// Workers whose mailbox this hub found full, and a publisher was therefore paused.
    full: WorkerSet,
    publisher_paused: bool,
    /// More is published than goes into a log or to other nodes.
    is_slowed: bool,
    answer: Vec<u8>,
    /// The time of this turn, in ms of the broker's clock.
    now_ms: u64,
    /// Subscriptions that do not simply get everything.
    specials: Slab<Special>,
    cohorts: Slab<Cohort>,
    /// When which cohort has something due.
    timers: BinaryHeap<Reverse<(u64, u32)>>,
    /// Special subscriptions that are catching up, in turn.
    catching: VecDeque<u32>,
    /// New subscriptions that are still to be told of stale topics, in turn.
    asking: VecDeque<Asking>,
    /// The lists that match the topic at hand.
    keys: Vec<u32>,
    /// Slow sessions that the message at hand is for, with the list it came by.
    held: Vec<(u32, u32)>,
    /// Slow sessions whose sockets have taken all.
    drained: Vec<u32>,
    /// Sessions that are looked at once a second, because they do not keep up.
    slow_sessions: Vec<u32>,
    /// Bytes of memory of what is put aside for all of them.
    held_back_bytes: u64,
    /// Sessions that can't be served any more.
    hopeless: Vec<u32>,
    /// Topics with many members, of whom some came or went in this second.
    changed: Vec<Arc<Topic>>,
    access: Access,
    /// Questions that the worker is to answer.
    asked: Vec<Arc<Question>>,
    /// The topic up to which histories were given up for want of memory.
    squeezed_to: usize,
}

/// Why a session must end, with what its peer is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disconnect {
    /// The code of the close frame.
    pub code: CloseCode,
    /// The reason in the close frame.
    pub message: Cow<'static, str>,
    /// How it is counted.
    pub reason: CloseReason,
}

/// What [`Hub::handle_mail`] left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailStep {
    /// The mailbox was empty in the end.
    Done,
    /// The turn is large enough: flush, then go on.
    Flush,
    /// The broker is stopping.
    Drain,
}

impl Hub {
    /// The hub of worker `worker`, without sessions.
    pub fn new(
        worker: usize,
        shared: Arc<Shared>,
        config: Arc<Config>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            worker,
            shared,
            config,
            metrics,
            sessions: Places::default(),
            lists: Lists::default(),
            outbox: Outbox::new(),
            mail: VecDeque::new(),
            taken: 0,
            delayed: Delayed::default(),
            rules_generation: 0,
            lingering: Lingering::default(),
            wakes: 0,
            full: 0,
            publisher_paused: false,
            is_slowed: false,
            answer: Vec::new(),
            now_ms: 0,
            specials: Slab::new(),
            cohorts: Slab::new(),
            timers: BinaryHeap::new(),
            catching: VecDeque::new(),
            asking: VecDeque::new(),
            keys: Vec::new(),
            held: Vec::new(),
            drained: Vec::new(),
            slow_sessions: Vec::new(),
            held_back_bytes: 0,
            hopeless: Vec::new(),
            changed: Vec::new(),
            access: Access::default(),
            asked: Vec::new(),
            squeezed_to: 0,
        }
    }

    /// Opens a session in a free slot.
    pub fn open(&mut self, slot: u32, id: u64, protocol: Protocol) {
        let session = Session::new(id, protocol, self.shared.verifier.anonymous().clone());
        let earlier = self.sessions.put(slot as usize, session);
        debug_assert!(earlier.is_none(), "slot {slot} is taken");
    }

    /// Ends the session in `slot`, if there is one; the slot is free afterwards.
    pub fn close(&mut self, slot: u32) {
        self.unsubscribe_all(slot);
        self.forget_token(slot);
        self.sessions.take(slot as usize);
    }

    /// The session in `slot`, if one is open.
    pub fn session(&mut self, slot: u32) -> Option<&mut Session> {
        self.sessions.get_mut(slot as usize)
    }

    /// Takes a session out of all lists: nothing is delivered to it any more.
    pub fn unsubscribe_all(&mut self, slot: u32) {
        if let Some(session) = self.session(slot)
            && let Some(slow) = session.slow.take()
        {
            let (messages, counted_bytes) = (slow.messages(), slow.counted_bytes);
            session.ledger.add_ended(Counts::dropped(messages));
            self.count_dropped(dropped::ENDED, messages);
            self.held_back_bytes -= counted_bytes;
        }
        while let Some(subscription) =
            self.session(slot).and_then(|session| session.subscriptions.last().copied())
        {
            self.leave(slot, subscription.list);
        }
        if let Some(session) = self.session(slot) {
            session.subscriptions = SmallVec::new();
        }
    }

    /// Puts a frame for one session behind what is pending for it in this turn.
    pub fn send(&mut self, slot: u32, opcode: Opcode, payload: &[u8]) {
        let Some(session) = self.sessions.get_mut(slot as usize) else { return };
        let frame = self.outbox.add_own(session.protocol, opcode, payload);
        session.pending = self.outbox.append(slot, session.pending, frame);
    }

    /// Puts the answer to a session's handshake before all else.
    pub fn send_raw(&mut self, slot: u32, bytes: &[u8]) {
        let frame = self.outbox.add_raw(bytes);
        if let Some(session) = self.sessions.get_mut(slot as usize) {
            session.pending = self.outbox.append(slot, session.pending, frame);
        }
    }

    /// Whether this turn has something for a session.
    pub fn has_pending(&mut self, slot: u32) -> bool {
        self.session(slot).is_some_and(|session| session.pending != NodeId::root(session.protocol))
    }

    /// Whether this turn has become so large that it must be flushed before it goes on.
    pub fn must_flush(&self) -> bool {
        self.outbox.bytes() >= TURN_BYTES_MAX || self.shared.mailbox(self.worker).is_full()
    }

    /// Moves out what this turn has for a session, with the protocol it speaks; `None` if there is
    /// nothing.
    pub fn take_pending(&mut self, slot: u32) -> Option<(NodeId, Protocol)> {
        let session = self.session(slot)?;
        session.unread.end_page();
        let root = NodeId::root(session.protocol);
        let pending = std::mem::replace(&mut session.pending, root);
        (pending != root).then_some((pending, session.protocol))
    }

    /// Begins a turn: sends what is due by now, and a page to each of those who are catching up.
    pub fn handle_time(&mut self, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
        self.look_at_tokens();
        self.flush_drained();
        self.listen();
        self.deliver_due();
        self.catch_up();
        self.go_on_asking();
    }

    /// When [`handle_time`](Self::handle_time) has something to do, if nothing else comes first:
    /// now, at that time, or not at all.
    pub fn next_due_ms(&self) -> Option<u64> {
        let is_due = !self.drained.is_empty() || !self.hopeless.is_empty();
        if is_due || self.has_catching() || self.has_asking() {
            return Some(0);
        }
        let timer_ms = self.timers.peek().map(|Reverse((at_ms, _))| *at_ms);
        let due_ms = timer_ms.into_iter().chain(self.delayed.due_ms());
        due_ms.chain(self.access_due_ms()).chain(self.next_listen_ms()).min()
    }

    /// What all hubs share.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Moves out the questions that came with the mail.
    pub fn take_asked(&mut self) -> Vec<Arc<Question>> {
        std::mem::take(&mut self.asked)
    }

    /// Delivers what waits for its flush delay.
    fn deliver_delayed(&mut self) {
        self.delayed.release();
        while let Some((number, message)) = self.delayed.pop_due(self.now_ms) {
            self.deliver(&message, number);
        }
    }

    /// Mail up to this number was delivered.
    fn delivered(&self) -> u64 {
        self.delayed.first().map_or(self.taken, |number| number - 1)
    }

    /// Whether the worker may sleep; if so, a push into its mailbox asks for it to be woken.
    pub fn park(&mut self) -> bool {
        self.mail.is_empty() && self.shared.mailbox(self.worker).park()
    }

    /// The worker is awake: until it sleeps again, nobody has to wake it.
    pub fn unpark(&self) {
        self.shared.mailbox(self.worker).unpark();
    }

    /// The other workers that must be woken for what was handed to them in this turn.
    pub fn take_wakes(&mut self) -> WorkerSet {
        std::mem::take(&mut self.wakes) & !(1 << self.worker)
    }

    /// Whether a publish since the last call went into a full mailbox: its publisher must not be
    /// read until [`may_resume`](Self::may_resume).
    pub fn take_publisher_paused(&mut self) -> bool {
        std::mem::take(&mut self.publisher_paused)
    }

    /// Whether the mailboxes that were full are below their limit again.
    pub fn may_resume(&mut self) -> bool {
        let (shared, worker) = (&self.shared, self.worker);
        let full = self.full;
        let still = members(full).filter(|&at| shared.mailbox(at).is_full_for(worker));
        self.full = still.fold(0, |set, at| set | 1 << at);
        self.is_slowed = self.is_slowed && shared.is_slowed_for(worker);
        self.full == 0 && !self.is_slowed
    }

    /// Whether a mailbox that this worker's publishers fill is over its limit.
    pub fn is_blocked(&mut self) -> bool {
        (self.full != 0 || self.is_slowed) && !self.may_resume()
    }

    /// Once a second: forgets topics that nobody uses any more, as many as do not hold up the rest.
    pub fn handle_tick(&mut self, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
        self.climb();
        self.tell_gathered();
        let linger_ms = self.config.topic_linger_ms;
        for _ in 0..TICK_TOPICS_MAX {
            let Some(topic) = self.lingering.pop(now_ms) else { break };
            if !self.shared.retire_if_idle(&topic, now_ms, linger_ms) {
                self.lingering.push(topic, now_ms + linger_ms.max(1_000));
            }
        }
        self.lingering.shrink();
        self.lists.shrink();
        self.shared.directory.shrink();
    }

    fn counters(&self) -> &WorkerMetrics {
        &self.metrics.workers[self.worker]
    }
}

#[cfg(test)]
mod tests;
