//! The way to the other nodes for topics that every node numbers for itself: what is published here,
//! and what this node's subscribers want of the others, in the order in which it happened.
//!
//! A mailbox like a worker's, whose reader is the cluster's connection.

use std::collections::VecDeque;
use std::fmt;

use super::mailbox::{Mail, Mailbox};
use super::workers::WorkerSet;

/// What goes out to the other nodes.
pub struct Uplink {
    mailbox: Mailbox,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Uplink {
    /// An empty uplink that slows publishers down above `bytes_max`. `wake` is called when its
    /// reader sleeps and something has come; from any thread, and must not block.
    pub fn new(bytes_max: u64, wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self { mailbox: Mailbox::new(bytes_max), wake: Box::new(wake) }
    }

    /// Puts mail last; whether a publisher on worker `from` should wait.
    pub(super) fn push(&self, mail: Mail, from: Option<usize>) -> bool {
        let pushed = self.mailbox.push(mail, from);
        if pushed.wake {
            (self.wake)();
        }
        pushed.full
    }

    /// Moves out what waits: [`Mail::Message`] and [`Mail::Wanted`]. Returns the workers whose
    /// publishers waited for this, which must be woken.
    pub fn take(&self, into: &mut VecDeque<Mail>) -> WorkerSet {
        self.mailbox.take(into)
    }

    /// The reader wants to sleep: true if nothing waits, and from then on it will be woken.
    pub fn park(&self) -> bool {
        self.mailbox.park()
    }

    /// Whether it is over its limit; if so, the worker `from` is named by the next
    /// [`take`](Self::take).
    pub(super) fn is_full_for(&self, from: usize) -> bool {
        self.mailbox.is_full_for(from)
    }

    /// Bytes of memory held by what waits.
    pub fn bytes(&self) -> u64 {
        self.mailbox.bytes()
    }
}

impl fmt::Debug for Uplink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Uplink").field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}
