//! What those who are no worker may ask a worker, and what it answers. A question travels in the
//! mailbox like a message, so it is answered as of its place between the messages.
//!
//! The [`desk`](super::desk) puts the questions; workers answer them, with what their hub knows.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use broker_proto::command::{Serving, Stats};
use broker_proto::ws::CloseCode;

use super::Hub;
use super::ladder::serving;
use super::topic::Topic;

/// What is asked.
#[derive(Debug)]
pub enum Ask {
    /// How many subscriptions match each of these topics.
    Subscribers(Box<[Arc<Topic>]>),
    /// The connections whose session numbers follow `after`, the lowest `limit` of them.
    Connections {
        /// Only sessions above this number.
        after: u64,
        /// How many at most.
        limit: usize,
        /// Only those of this user.
        user: Option<Box<str>>,
    },
    /// Close connections.
    Disconnect {
        /// Which.
        whom: Whom,
        /// The code of the close frame.
        code: CloseCode,
        /// The reason in it.
        reason: Cow<'static, str>,
    },
}

/// Whose connections are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// The one with this session number.
    Session(u64),
    /// All of this user.
    User(Box<str>),
}

/// What a worker answers.
#[derive(Debug)]
pub enum Told {
    /// The numbers, in the order of the topics.
    Subscribers(Vec<u64>),
    /// The connections, in the order of their sessions.
    Connections(Vec<Connected>),
    /// How many connections it began to close.
    Disconnected(u64),
}

/// A connection as its worker knows it.
#[derive(Clone, Debug)]
pub struct Connected {
    /// The number of its session.
    pub session: u64,
    /// Who it is, if a token said so.
    pub user: Option<Arc<str>>,
    /// The peer's address and port; empty if the connection is broken.
    pub address: String,
    /// The name of what it speaks.
    pub protocol: &'static str,
    /// What it is subscribed to; the first [`FILTERS_MAX`].
    pub filters: Vec<Box<str>>,
    /// What became of its messages.
    pub stats: Stats,
    /// How it is served, as a mode notice says it.
    pub mode: &'static str,
}

/// Filters of a connection that are listed; of further ones only the number is told.
pub const FILTERS_MAX: usize = 20;

/// A question with the way back for its answer.
pub struct Question {
    /// What is asked.
    pub ask: Ask,
    answer: Box<dyn Fn(Told) + Send + Sync>,
}

impl Question {
    /// A question; `answer` is called once by every worker that it is put to, on the worker's own
    /// thread, and must not block.
    pub fn new(ask: Ask, answer: impl Fn(Told) + Send + Sync + 'static) -> Self {
        Self { ask, answer: Box::new(answer) }
    }

    /// Answers it.
    pub fn answer(&self, told: Told) {
        (self.answer)(told);
    }
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question").field("ask", &self.ask).finish_non_exhaustive()
    }
}

impl Hub {
    /// How many subscriptions here match each of these topics.
    pub fn subscribers_of(&mut self, topics: &[Arc<Topic>]) -> Vec<u64> {
        let mut keys = std::mem::take(&mut self.keys);
        let count = |topic: &Arc<Topic>| {
            self.lists.keys_of(topic, &mut keys);
            keys.iter().map(|&key| self.lists.peek(key).len()).sum()
        };
        let counts = topics.iter().map(count).collect();
        self.keys = keys;
        counts
    }

    /// What this hub knows of the session in `slot`; the address is left to the worker.
    pub fn describe(&mut self, slot: u32) -> Option<Connected> {
        let stats = self.stats(slot);
        let session = self.sessions.get(slot as usize)?;
        let lists = session.subscriptions.iter().take(FILTERS_MAX);
        let rung = session.slow.as_ref().map(|slow| slow.rung);
        Some(Connected {
            session: session.id,
            user: session.grants.shared_user().cloned(),
            address: String::new(),
            protocol: session.protocol.name(),
            filters: lists.map(|held| self.lists.peek(held.list).filter().into()).collect(),
            stats,
            mode: rung.map_or(Serving::All, serving).as_str(),
        })
    }
}
