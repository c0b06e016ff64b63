//! The way to the other nodes for what every node has of its own: messages of topics that every node
//! numbers for itself, what this node's subscribers want of the others, and who is subscribed, in the
//! order in which it happened.
//!
//! A queue like a mailbox, whose reader is the cluster's connection.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use super::message::Message;
use super::queue::Queue;
use super::rosters::{MembersAsked, RosterMail};
use super::workers::WorkerSet;

/// What goes out to the other nodes.
#[derive(Debug)]
pub enum Upward {
    /// This was published here.
    Message(Arc<Message>),
    /// The first subscriber to a filter came, or the last one left.
    Wanted {
        /// The topic or filter.
        filter: Box<str>,
        /// Whether it is wanted from here on.
        wanted: bool,
    },
    /// The first who is told of a topic's members came, or the last one left.
    Watched {
        /// The topic.
        topic: Box<str>,
        /// Whether others' members are to be known from here on.
        watched: bool,
    },
    /// These are subscribed to a topic here.
    Roster(RosterMail),
    /// A client asks who is subscribed to a topic.
    Asked(MembersAsked),
}

/// The queue, and how its reader is woken.
pub struct Uplink {
    /// What waits, and whether the reader sleeps, or is about to.
    queue: Queue<Upward, bool>,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Uplink {
    /// An empty uplink that slows publishers down above `bytes_max`. `wake` is called when its
    /// reader sleeps and something has come; from any thread, and must not block.
    pub fn new(bytes_max: u64, wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self { queue: Queue::new(bytes_max), wake: Box::new(wake) }
    }

    /// Puts something last; whether a publisher on worker `from` should wait.
    pub(super) fn push(&self, upward: Upward, from: Option<usize>) -> bool {
        let bytes = upward.held_bytes();
        let mut queue = self.queue.lock();
        let is_full = queue.push(upward, bytes, from);
        let sleeps = std::mem::take(queue.state());
        drop(queue);
        if sleeps {
            (self.wake)();
        }
        is_full
    }

    /// Moves out what waits. Returns the workers whose publishers waited for this, which must be
    /// woken.
    pub fn take(&self, into: &mut VecDeque<Upward>) -> WorkerSet {
        let mut queue = self.queue.lock();
        *queue.state() = false;
        queue.take(into)
    }

    /// The reader wants to sleep: true if nothing waits, and from then on it will be woken.
    pub fn park(&self) -> bool {
        let mut queue = self.queue.lock();
        let is_empty = queue.len() == 0;
        *queue.state() = is_empty;
        is_empty
    }

    /// Whether it is over its limit.
    pub(super) fn is_full(&self) -> bool {
        self.queue.is_full()
    }

    /// Whether it is over its limit; if so, the worker `from` is named by the next
    /// [`take`](Self::take).
    pub(super) fn is_full_for(&self, from: usize) -> bool {
        self.queue.is_full_for(from)
    }

    /// Bytes of memory held by what waits.
    pub fn bytes(&self) -> u64 {
        self.queue.bytes()
    }
}

impl Upward {
    fn held_bytes(&self) -> u64 {
        let more = match self {
            Self::Message(message) => message.held_bytes(),
            Self::Wanted { filter: text, .. } | Self::Watched { topic: text, .. } => text.len(),
            Self::Roster(mail) => mail.held_bytes(),
            Self::Asked(asked) => asked.held_bytes(),
        };
        (size_of::<Self>() + more) as u64
    }
}

impl fmt::Debug for Uplink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Uplink").field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}
