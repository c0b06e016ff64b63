//! Topics whose order is made elsewhere: what is published on them goes into a log (the disk's, or
//! the cluster's), is given its seq there, and comes back to be delivered when it is safe.
//!
//! This is the way there: a queue, filled under each topic's lock and so in its order, and emptied
//! by the one who writes the log. Bounded in bytes. Knows no threads: whoever makes it says how its
//! reader is woken. The way back is in [`commits`](super::commits).

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use broker_proto::command::{CommandError, Epoch, ErrorCode, Id, Level, Payload};

use super::message::Message;
use super::protocol::Protocol;
use super::queue::Queue;
use super::retries::Name;
use super::topic::Topic;
use super::workers::WorkerSet;

/// Entries that room is kept for when a burst is over.
const ENTRIES_KEPT: usize = 1_024;

/// What is to be put into a log, in order, at most about `bytes_max`.
pub struct Log {
    /// What waits, and why nothing is taken, if so.
    queue: Queue<Entry, Option<&'static str>>,
    wake: Box<dyn Fn() + Send + Sync>,
}

/// Something to be put into a log.
#[derive(Debug)]
pub struct Entry {
    /// The topic.
    pub topic: Arc<Topic>,
    /// What about it.
    pub work: Work,
}

/// What a log is to do.
#[derive(Debug)]
pub enum Work {
    /// Give this the topic's next seq, and commit it or let it fail.
    Publish(Pending),
    /// Write this, which was published already.
    Written(Arc<Message>),
    /// Nothing of the topic is kept any more: it was forgotten.
    Forgotten,
}

/// A message without a seq, and who waits for one.
#[derive(Debug)]
pub struct Pending {
    bytes: Box<[u8]>,
    is_json: bool,
    /// What its publisher speaks.
    pub(super) native: Protocol,
    /// What a retry of it is known by here.
    pub(super) named: Option<Arc<str>>,
    /// And on all nodes, where they share the topic's order.
    name: Option<Box<Name>>,
    pub(super) waiting: Waiting,
}

/// Who is told what came of a publish.
pub enum Waiting {
    /// Nobody.
    Nobody,
    /// A client, by a command.
    Client(Box<Asker>),
    /// Whoever gave this; called once, on any thread, and must not block.
    Call(Box<dyn FnOnce(Settled) + Send>),
}

/// What came of it.
pub type Settled = Result<Placed, CommandError>;

/// The place a message was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The topic's epoch.
    pub epoch: Epoch,
    /// The message's seq in it.
    pub seq: u64,
    /// How safe it is.
    pub level: Level,
    /// Whether this publish put it there.
    pub came: Came,
}

/// Whether a publish is the first of its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// It is, or has no name to know it by.
    First,
    /// It came before, and was not published again.
    Again,
    /// Its name came before in another request, whose message has the place. It was not published.
    InOtherRequest,
}

/// A client that waits for the answer to a publish.
#[derive(Debug)]
pub struct Asker {
    /// Its worker.
    pub worker: usize,
    /// Its slot there.
    pub slot: u32,
    /// The number of its session: the slot may be another's by then.
    pub session: u64,
    /// What it called the command.
    pub id: AskedId,
    /// It wants to know how many subscribers there are.
    pub counts: bool,
}

/// The name of a command, kept for the answer.
#[derive(Debug)]
pub enum AskedId {
    /// As it was written, in JSON; none if the client wants to know of errors only.
    Raw(Option<Box<str>>),
    /// Of the binary protocol.
    Number(u64),
}

impl Log {
    /// An empty log; publishers are slowed down above `bytes_max` and refused above twice that.
    /// `wake` is called when something comes into the empty log, from any thread, and must not
    /// block.
    pub fn new(bytes_max: u64, wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self { queue: Queue::new(bytes_max), wake: Box::new(wake) }
    }

    /// Puts an entry last. Called under its topic's lock. True: publishers should wait; `from` is
    /// then named by the [`take`](Self::take) that empties the log.
    ///
    /// # Errors
    /// `unavailable`: nothing is taken now, or no more.
    pub fn append(&self, entry: Entry, from: Option<usize>) -> Result<bool, CommandError> {
        let mut queue = self.queue.lock();
        let is_publish = !matches!(entry.work, Work::Forgotten);
        if let Some(reason) = queue.state().filter(|_| is_publish) {
            return Err(unavailable(reason));
        }
        let bytes = entry.held_bytes();
        if is_publish && queue.bytes() + bytes > self.queue.bytes_max().saturating_mul(2) {
            return Err(unavailable("more is published than can be made safe"));
        }
        let is_full = queue.push(entry, bytes, from);
        let is_first = queue.len() == 1;
        drop(queue);
        if is_first {
            (self.wake)();
        }
        Ok(is_full)
    }

    /// Moves all that waits behind what is in `into`; returns the workers whose publishers waited
    /// for this, which must be woken.
    pub fn take(&self, into: &mut VecDeque<Entry>) -> WorkerSet {
        let mut queue = self.queue.lock();
        let waited = queue.take(into);
        queue.shrink_to(ENTRIES_KEPT);
        waited
    }

    /// From here on publishes are answered `unavailable`, with this reason.
    pub fn refuse_all(&self, reason: &'static str) {
        *self.queue.lock().state() = Some(reason);
    }

    /// Publishes are taken again.
    pub fn accept_again(&self) {
        *self.queue.lock().state() = None;
    }

    /// Why publishes are refused, if they are.
    pub fn refuses(&self) -> Option<&'static str> {
        *self.queue.lock().state()
    }

    /// Whether publishers should wait; if so, the worker `from` is named by the
    /// [`take`](Self::take) that empties the log.
    pub fn is_full_for(&self, from: usize) -> bool {
        self.queue.is_full_for(from)
    }

    /// Whether publishers should wait.
    pub fn is_full(&self) -> bool {
        self.queue.is_full()
    }

    /// Bytes of memory held by what waits.
    pub fn bytes(&self) -> u64 {
        self.queue.bytes()
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => f.write_str("Nobody"),
            Self::Client(asker) => asker.fmt(f),
            Self::Call(_) => f.write_str("Call"),
        }
    }
}

impl Entry {
    fn held_bytes(&self) -> u64 {
        let payload = match &self.work {
            Work::Publish(pending) => pending.bytes.len(),
            Work::Written(message) => message.held_bytes(),
            Work::Forgotten => 0,
        };
        (size_of::<Self>() + payload) as u64
    }
}

impl Pending {
    /// A copy of the payload, with who waits.
    pub(super) fn new(
        payload: Payload<'_>,
        native: Protocol,
        named: Option<Arc<str>>,
        waiting: Waiting,
    ) -> Self {
        let is_json = matches!(payload, Payload::Json(_));
        Self { bytes: payload.bytes().into(), is_json, native, named, name: None, waiting }
    }

    /// The same that is known on all nodes by this name, if it has one.
    pub(super) fn known_by(self, name: Option<Name>) -> Self {
        Self { name: name.map(Box::new), ..self }
    }

    /// What a retry of it is known by on all nodes.
    pub fn name(&self) -> Option<&Name> {
        self.name.as_deref()
    }

    /// What was published.
    pub fn payload(&self) -> Payload<'_> {
        if self.is_json { Payload::Json(&self.bytes) } else { Payload::Opaque(&self.bytes) }
    }
}

impl AskedId {
    /// The same to keep.
    pub fn new(id: Option<Id<'_>>) -> Self {
        match id {
            Some(Id::Number(number)) => Self::Number(number),
            Some(Id::Raw(text)) => Self::Raw(Some(text.into())),
            None => Self::Raw(None),
        }
    }

    /// The same to answer with.
    pub fn id(&self) -> Option<Id<'_>> {
        match self {
            Self::Number(number) => Some(Id::Number(*number)),
            Self::Raw(text) => text.as_deref().map(Id::Raw),
        }
    }
}

fn unavailable(reason: &'static str) -> CommandError {
    CommandError::new(ErrorCode::Unavailable, reason)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use broker_proto::topic::Topic as TopicName;

    use super::*;
    use crate::config::Config;
    use crate::config::rules::Rules;

    fn entry(bytes: usize) -> Entry {
        let name = TopicName::new("t").unwrap();
        let rule = Rules::new(&Config::default()).of(name);
        let topic = Arc::new(Topic::new(name, Epoch::new(1), rule, 0));
        let payload = vec![b'1'; bytes];
        let payload = Payload::Json(&payload);
        Entry {
            topic,
            work: Work::Publish(Pending::new(payload, Protocol::Json, None, Waiting::Nobody)),
        }
    }

    #[test]
    fn publishers_are_slowed_down_and_then_refused_and_the_reader_is_woken_once() {
        let wakes = Arc::new(AtomicU32::new(0));
        let counted = wakes.clone();
        let wake = move || {
            counted.fetch_add(1, Ordering::Relaxed);
        };
        let log = Log::new(1_000, wake);
        assert!(!log.append(entry(100), Some(3)).unwrap());
        assert!(log.append(entry(1_000), Some(3)).unwrap());
        assert!(log.append(entry(1_000), None).is_err());
        assert_eq!(wakes.load(Ordering::Relaxed), 1);
        let mut taken = VecDeque::new();
        assert_eq!(log.take(&mut taken), 1 << 3);
        assert_eq!((taken.len(), log.bytes(), log.is_full_for(3)), (2, 0, false));
        log.refuse_all("it is away");
        assert_eq!(log.append(entry(1), None).unwrap_err().message, "it is away");
        log.accept_again();
        assert!(log.append(entry(1), None).is_ok());
    }
}
