//! What is known of a session while it does not keep up: on which rung of the ladder it stands,
//! and what it is still to get. Plain state; the ladder moves it.

use std::collections::VecDeque;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};

use super::message::Message;
use super::newest::{NO_LIST, Newest};
use super::topic::Topic;

/// The state of a slow session.
#[derive(Debug)]
pub struct Slow {
    /// Where it stands.
    pub rung: Rung,
    /// Of each topic or key the newest message.
    pub newest: Newest,
    /// Messages of topics whose oldest are dropped, with the list that each came by.
    pub queue: VecDeque<(u32, Arc<Message>)>,
    /// Bytes of memory held by the queue.
    pub queue_bytes: u64,
    /// What was dropped of each topic and not announced yet: from, to.
    pub gaps: HashMap<u64, (Arc<Topic>, u64, u64), RandomState>,
    /// The number of the message that was last put aside or passed on, among the worker's mail.
    pub stamp: u64,
    /// On the lowest rung: all that waits is going out now, page by page, since this time.
    pub flushing_since_ms: Option<u64>,
    /// Lists whose subscription was told that it is served otherwise.
    pub told: HashSet<u32, RandomState>,
    /// Its bytes as the worker's sum has them.
    pub counted_bytes: u64,
    /// Since when it is slow, in ms of the broker's clock.
    pub since_ms: u64,
    /// When something was last held back for it.
    pub held_back_ms: u64,
    /// When what it got last was handed to the kernel's or its backlog.
    pub flushed_ms: u64,
}

/// How far a session has stepped down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rung {
    /// All is as asked for; only what asked for the newest waits for the socket.
    Holding,
    /// The newest of each topic, as soon as the socket takes it.
    Latest,
    /// The newest of each topic, every two seconds at most.
    Slow,
}

/// What was dropped of one topic.
#[derive(Debug, Default)]
pub struct Dropped {
    /// The list of each message.
    pub lists: Vec<u32>,
    /// What the client must be told of: from, to. Nothing, if it asked for the newest only.
    pub gap: Option<(u64, u64)>,
}

impl Dropped {
    fn miss(&mut self, from: u64, to: u64) {
        let (first, last) = self.gap.unwrap_or((from, to));
        self.gap = Some((from.min(first), to.max(last)));
    }
}

impl Slow {
    /// A session that has just become slow.
    pub fn new(rung: Rung, now_ms: u64) -> Self {
        Self {
            rung,
            newest: Newest::default(),
            queue: VecDeque::new(),
            queue_bytes: 0,
            gaps: HashMap::default(),
            stamp: 0,
            flushing_since_ms: None,
            told: HashSet::default(),
            counted_bytes: 0,
            since_ms: now_ms,
            held_back_ms: now_ms,
            flushed_ms: now_ms,
        }
    }

    /// Lists whose subscription was told that it is served otherwise, in an order that a run
    /// repeats.
    pub fn told_in_order(&self) -> Vec<u32> {
        let mut told: Vec<u32> = self.told.iter().copied().collect();
        told.sort_unstable();
        told
    }

    /// Whether nothing waits for it here.
    pub fn is_empty(&self) -> bool {
        self.newest.is_empty() && self.queue.is_empty() && self.gaps.is_empty()
    }

    /// Messages that wait for it here.
    pub fn messages(&self) -> u64 {
        (self.newest.len() + self.queue.len()) as u64
    }

    /// Of them, those that came by a list.
    pub fn messages_of(&self, list: u32) -> u64 {
        let queued = self.queue.iter().filter(|(held, _)| *held == list).count();
        (self.newest.len_of(list) + queued) as u64
    }

    /// What came by a list belongs to no list any more.
    pub fn disown(&mut self, list: u32) {
        self.newest.disown(list);
        let own = self.queue.iter_mut().filter(|(held, _)| *held == list);
        own.for_each(|(held, _)| *held = NO_LIST);
    }

    /// Bytes of memory that they hold.
    pub fn bytes(&self) -> u64 {
        self.newest.bytes() + self.queue_bytes
    }

    /// Drops what waits of topics that are not to `stay`; returns how many messages that were.
    pub fn forget(&mut self, stay: impl Fn(&Topic) -> bool) -> u64 {
        let before = self.queue.len();
        self.queue.retain(|(_, message)| stay(message.topic()));
        self.queue_bytes = self.queue.iter().map(|(_, held)| held.held_bytes() as u64).sum();
        self.gaps.retain(|_, (topic, ..)| stay(topic));
        let dropped = (before - self.queue.len()) as u64;
        dropped + self.newest.retain(|message| stay(message.topic())).len() as u64
    }

    /// Drops what waits of a topic, and what was dropped of it before and not announced.
    pub fn drop_topic(&mut self, topic: u64) -> Dropped {
        let mut dropped = Dropped::default();
        if let Some((_, from, to)) = self.gaps.remove(&topic) {
            dropped.miss(from, to);
        }
        self.queue.retain(|(list, message)| {
            let stays = message.topic().id() != topic;
            if !stays {
                dropped.lists.push(*list);
                dropped.miss(message.seq(), message.seq());
                self.queue_bytes -= message.held_bytes() as u64;
            }
            stays
        });
        for entry in self.newest.retain(|message| message.topic().id() != topic) {
            dropped.lists.push(entry.list);
            if !entry.by_request {
                dropped.miss(entry.first_seq, entry.message.seq());
            }
        }
        dropped
    }

    /// Puts a message that came by a list, and is older than all that waits, before that.
    pub fn put_back(&mut self, list: u32, message: Arc<Message>) {
        self.queue_bytes += message.held_bytes() as u64;
        self.queue.push_front((list, message));
    }

    /// Puts a message that came by a list last.
    pub fn push(&mut self, list: u32, message: Arc<Message>) {
        self.queue_bytes += message.held_bytes() as u64;
        self.queue.push_back((list, message));
    }

    /// Drops the oldest of the queue while they are more than `bytes_max`; `each` gets the list of
    /// each.
    pub fn shrink(&mut self, bytes_max: u64, mut each: impl FnMut(u32)) {
        while self.queue_bytes > bytes_max
            && let Some((list, oldest)) = self.queue.pop_front()
        {
            self.queue_bytes -= oldest.held_bytes() as u64;
            let topic = oldest.topic();
            let gap = self.gaps.entry(topic.id());
            gap.or_insert_with(|| (topic.clone(), oldest.seq(), 0)).2 = oldest.seq();
            each(list);
        }
    }
}
