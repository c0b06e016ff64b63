//! A worker's mailbox: what other workers (and itself) hand to it, in order.
//!
//! Bounded in bytes, softly: what has its seq must get through, so a push always succeeds, and
//! tells the pusher when the limit is passed. The pusher then stops reading from those who fill
//! it until the mailbox is emptied; it can overshoot by what was already read, no more. Knows
//! nothing of threads' wakers: it says who must be woken.

use std::collections::VecDeque;
use std::sync::Arc;

use broker_proto::command::{Epoch, GapReason};

use super::ask::Question;
use super::log::{AskedId, Settled};
use super::message::Message;
use super::presence::PresenceMail;
use super::queue::Queue;
use super::rosters::MembersMail;
use super::silence::SilenceMail;
use super::topic::Topic;
use super::workers::WorkerSet;

/// What lies in a mailbox.
#[derive(Clone, Debug)]
pub enum Mail {
    /// Deliver this to your subscribers.
    Message(Arc<Message>),
    /// Tell those who want to know who came and went.
    Presence(Arc<PresenceMail>),
    /// Tell those who are subscribed that a topic fell silent, or is live again.
    Silence(Arc<SilenceMail>),
    /// Tell those who are subscribed that messages are missing.
    Gap(Arc<GapMail>),
    /// Tell them that a topic's numbering begins anew, in this epoch.
    Renumbered(Arc<Topic>, Epoch),
    /// Answer a publish.
    Settled(Arc<SettledMail>),
    /// Tell a client who is subscribed to a topic.
    Members(Arc<MembersMail>),
    /// Others' members of this topic have changed: those who want to know are to be told within a
    /// second.
    Changed(Arc<Topic>),
    /// Look after this topic: someone who is no worker has made it.
    Made(Arc<Topic>),
    /// Answer this.
    Question(Arc<Question>),
    /// Stop accepting, say goodbye to everyone, and end.
    Drain,
}

/// Messages of a topic that never come.
#[derive(Clone, Debug)]
pub struct GapMail {
    /// The topic.
    pub topic: Arc<Topic>,
    /// The first that is missing.
    pub from: u64,
    /// The last.
    pub to: u64,
    /// Why.
    pub reason: GapReason,
}

/// What came of a publish whose answer had to wait.
#[derive(Debug)]
pub struct SettledMail {
    /// The publisher's slot.
    pub slot: u32,
    /// Its session's number: the slot may be another's by now.
    pub session: u64,
    /// What it called the command.
    pub id: AskedId,
    /// The place the message was given, or why it was not.
    pub settled: Settled,
    /// How many subscribers there were, if it asked.
    pub subscribers: Option<u64>,
}

/// The queue between workers.
#[derive(Debug)]
pub struct Mailbox(Queue<Mail, Owner>);

/// What is known of the worker whose mailbox it is.
#[derive(Debug, Default)]
struct Owner {
    /// How much mail was ever put in.
    pushed: u64,
    /// It sleeps, or is about to: whoever pushes must wake it.
    parked: bool,
}

/// What came of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The owner must be woken.
    pub wake: bool,
    /// The mailbox is over its limit: stop reading from the publisher.
    pub full: bool,
}

impl Mailbox {
    /// An empty mailbox that asks for a pause above `bytes_max`.
    pub fn new(bytes_max: u64) -> Self {
        Self(Queue::new(bytes_max))
    }

    /// Puts `mail` last. A worker `from` that is told `full` is remembered, and named by the
    /// [`take`](Self::take) that empties the mailbox.
    pub fn push(&self, mail: Mail, from: Option<usize>) -> Pushed {
        let bytes = mail.held_bytes();
        let mut queue = self.0.lock();
        let full = queue.push(mail, bytes, from);
        let owner = queue.state();
        owner.pushed += 1;
        Pushed { wake: std::mem::take(&mut owner.parked), full }
    }

    /// Moves all mail behind what is in `into`; returns the workers that waited for this.
    pub fn take(&self, into: &mut VecDeque<Mail>) -> WorkerSet {
        let mut queue = self.0.lock();
        queue.state().parked = false;
        queue.take(into)
    }

    /// The owner wants to sleep: true if the mailbox is empty, and from then on a push says `wake`.
    pub fn park(&self) -> bool {
        let mut queue = self.0.lock();
        let is_empty = queue.len() == 0;
        queue.state().parked = is_empty;
        is_empty
    }

    /// The owner is awake: it looks in before it sleeps, so no push has to wake it.
    pub fn unpark(&self) {
        self.0.lock().state().parked = false;
    }

    /// How much mail was ever put in: tells what was there before a point in time.
    pub fn pushed(&self) -> u64 {
        self.0.lock().state().pushed
    }

    /// Whether it is over its limit; if so, the worker `from` is named by the
    /// [`take`](Self::take) that empties it.
    pub fn is_full_for(&self, from: usize) -> bool {
        self.0.is_full_for(from)
    }

    /// Whether it is over its limit.
    pub fn is_full(&self) -> bool {
        self.0.is_full()
    }

    /// Bytes of memory held by the mail in it.
    pub fn bytes(&self) -> u64 {
        self.0.bytes()
    }
}

impl Mail {
    /// Whether it asks the worker to stop.
    pub fn is_drain(&self) -> bool {
        matches!(self, Self::Drain)
    }

    fn held_bytes(&self) -> u64 {
        match self {
            Self::Message(message) => message.held_bytes() as u64,
            Self::Members(mail) => mail.held_bytes() as u64,
            Self::Settled(_) => size_of::<SettledMail>() as u64,
            Self::Presence(_) | Self::Silence(_) | Self::Gap(_) | Self::Renumbered(..) => 0,
            Self::Made(_) | Self::Changed(_) | Self::Question(_) | Self::Drain => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_wakes_a_parked_owner_once_and_an_owner_with_mail_cannot_park() {
        let mailbox = Mailbox::new(1_000);
        assert!(mailbox.park());
        assert!(mailbox.push(Mail::Drain, None).wake);
        assert!(!mailbox.push(Mail::Drain, None).wake);
        assert!(!mailbox.park());
        let mut mail = VecDeque::new();
        mailbox.take(&mut mail);
        assert_eq!(mail.len(), 2);
        assert!(mailbox.park());
        mailbox.unpark();
        assert!(!mailbox.push(Mail::Drain, None).wake);
        assert!(!mailbox.park());
    }
}
