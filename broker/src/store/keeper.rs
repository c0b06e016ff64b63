//! The thread that puts on disk what waits in the hub's log: all of it in one write, one wait for
//! the disk, then each message in its order gets its place, its subscribers and its answer. While
//! the disk is waited for, the next batch gathers.
//!
//! It alone gives seqs to the topics that are stored, and it alone writes. What can't be written is
//! refused and never answered as done later.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use broker_proto::command::{CommandError, ErrorCode, Level};

use super::bell::Bell;
use super::book::Book;
use super::checkpoint::Checkpoint;
use super::disk::{Disk, DiskError, Mark, Room};
use super::record::{Frame, MessageRecord, Record};
use crate::hub::Shared;
use crate::hub::desk::Desk;
use crate::hub::log::{Entry, Log, Pending, Work};
use crate::hub::topic::Topic;
use crate::hub::workers::WorkerSet;
use crate::metrics::{Metrics, StoreMetrics};
use crate::sys;

/// Bytes of a frame after which the next one begins: a burst need not be in memory twice.
pub(super) const FRAME_BYTES: usize = 4 * 1024 * 1024;
/// How long messages that nobody waits for may be written and not on disk.
const LAZY_SYNC: Duration = Duration::from_secs(1);
/// How long nothing is taken when there is no room.
const RETRY: Duration = Duration::from_secs(1);
/// How long the thread sleeps at most.
const REST: Duration = Duration::from_secs(1);

/// What the thread is called.
const NAME: &str = "store";

const NO_ROOM: &str = "the store has no room";
const CLOSED: &str = "the store is closed until the broker is restarted: the disk failed";

/// The thread, from outside.
#[derive(Debug)]
pub struct Keeper {
    thread: JoinHandle<()>,
    bell: Bell,
}

impl Keeper {
    /// Starts it. If it fails, the process ends: stored topics would wait for it for ever.
    ///
    /// # Errors
    /// The system gives no more threads.
    pub(super) fn start(keeping: Keeping) -> io::Result<Self> {
        let bell = keeping.bell.clone();
        let run = || {
            sys::run_or_exit(NAME, || {
                keeping.run();
                Ok(())
            });
        };
        let thread = thread::Builder::new().name(NAME.into()).spawn(run)?;
        Ok(Self { thread, bell })
    }

    /// Lets everything that was published be on disk, marks the end as clean, and ends. Nobody may
    /// publish any more.
    pub fn stop(self) {
        self.bell.stop();
        // Had it panicked, the process would have ended.
        let _ = self.thread.join();
    }
}

/// What the thread has.
#[derive(Debug)]
pub(super) struct Keeping {
    pub(super) shared: Arc<Shared>,
    pub(super) desk: Desk,
    pub(super) disk: Disk,
    pub(super) book: Book,
    pub(super) metrics: Arc<Metrics>,
    pub(super) bell: Bell,
    pub(super) clock: Clock,
    pub(super) health: Health,
    pub(super) checkpoint: Checkpoint,
    pub(super) frame: Frame,
    /// When something was first written that is not on disk.
    pub(super) dirty_since: Option<Instant>,
}

/// The broker's clock and the time of day.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// When the broker's clock was at 0.
    pub(super) started: Instant,
    /// What the time of day was then, in ms since 1970.
    pub(super) began_unix_ms: u64,
}

/// Whether the disk takes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    Open,
    /// There is no room; it is tried again then.
    Full(Instant),
    /// It failed: nothing is written any more.
    Closed,
}

/// A message with its place, written but not on disk.
#[derive(Debug)]
struct Placed {
    topic: Arc<Topic>,
    seq: u64,
    pending: Pending,
}

impl Clock {
    /// Now, by the broker's clock.
    pub(super) fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// The time of day at a time of the broker's clock.
    pub(super) fn unix_ms(&self, at_ms: u64) -> u64 {
        self.began_unix_ms + at_ms
    }
}

impl Keeping {
    fn run(mut self) {
        let (mut entries, mut placed) = (VecDeque::new(), Vec::new());
        let mut flushed = 0;
        loop {
            let asked = self.bell.wait(self.rests_until());
            let before = self.counters().bytes.get();
            self.take_all(&mut entries, &mut placed);
            let batch_bytes = self.counters().bytes.get() - before;
            if asked.flushes > flushed || asked.stops {
                let _ = self.sync();
                flushed = asked.flushes;
                self.bell.has_flushed(flushed);
            }
            if asked.stops {
                break;
            }
            self.look_after(batch_bytes);
        }
        self.end();
        self.bell.has_ended();
    }

    /// What the store counts.
    pub(super) fn counters(&self) -> &StoreMetrics {
        &self.metrics.store
    }

    fn rests_until(&self) -> Instant {
        let now = Instant::now();
        if self.checkpoint.is_running() {
            return now;
        }
        let lazy = self.dirty_since.map(|since| since + LAZY_SYNC);
        let retry = match self.health {
            Health::Full(until) => Some(until),
            Health::Open | Health::Closed => None,
        };
        lazy.into_iter().chain(retry).fold(now + REST, Instant::min)
    }

    /// What is due without anybody publishing.
    fn look_after(&mut self, batch_bytes: u64) {
        let now = Instant::now();
        if let Health::Full(until) = self.health
            && now >= until
        {
            self.set_health(Health::Open);
        }
        if self.dirty_since.is_some_and(|since| now >= since + LAZY_SYNC) {
            let _ = self.sync();
        }
        self.check_point(now, batch_bytes);
        self.counters().disk_bytes.set(self.disk.bytes());
    }

    /// Puts all on disk that waits in the log. In its order everything is delivered and answered
    /// then, or refused.
    fn take_all(&mut self, entries: &mut VecDeque<Entry>, placed: &mut Vec<Placed>) {
        let Some(log) = self.log() else { return };
        self.counters().queue_bytes.set(log.bytes());
        let waiting = log.take(entries);
        if entries.is_empty() {
            return;
        }
        let done = self.write(entries, placed);
        let done = done.and_then(|()| if placed.is_empty() { Ok(()) } else { self.sync() });
        self.settle(placed, done, waiting);
    }

    /// What waits for this thread.
    fn log(&self) -> Option<&Log> {
        self.shared.ways().disk.as_ref()
    }

    /// Writes all entries; on an error none of them is there. Those that are waited for are moved
    /// to `placed` in any case.
    fn write(
        &mut self,
        entries: &mut VecDeque<Entry>,
        placed: &mut Vec<Placed>,
    ) -> Result<(), &'static str> {
        let mut done = self.is_open();
        let (mark, unix_ms) = (self.disk.mark(), self.clock.unix_ms(self.clock.now_ms()));
        self.book.begin_batch();
        let (mut messages, mut seen) = (0, false);
        for entry in entries.drain(..) {
            messages += u64::from(!matches!(entry.work, Work::Forgotten));
            seen |= matches!(entry.work, Work::Written(_));
            placed.extend(self.put(entry, unix_ms));
            if self.frame.len() >= FRAME_BYTES || done.is_err() {
                done = done.and_then(|()| self.append(mark, Room::Limited));
                self.frame.clear();
            }
        }
        done = done.and_then(|()| self.append(mark, Room::Limited));
        self.frame.clear();
        if done.is_ok() {
            self.counters().batches.add(1);
            self.counters().messages.add(messages);
            return done;
        }
        self.book.undo_batch();
        if seen {
            // Nobody waits for these, and they are not on disk.
            self.checkpoint.need();
        }
        done
    }

    /// Puts an entry into the frame at hand; a message that waits for its seq is given it.
    fn put(&mut self, Entry { topic, work }: Entry, at_unix_ms: u64) -> Option<Placed> {
        if let Work::Forgotten = work {
            if let Some(id) = self.book.forget(&topic) {
                self.frame.add(&Record::Forgotten { id });
            }
            return None;
        }
        let id = self.book.note(&topic, self.disk.segment(), &mut self.frame);
        match work {
            Work::Publish(pending) => {
                let (seq, payload) = (self.book.next_seq(&topic), pending.payload());
                let message = MessageRecord { id, seq, at_unix_ms, payload };
                self.frame.add(&Record::Message(message));
                Some(Placed { topic, seq, pending })
            }
            Work::Written(message) => {
                let (seq, payload) = (message.seq(), message.payload());
                let message = MessageRecord { id, seq, at_unix_ms, payload };
                self.frame.add(&Record::Message(message));
                None
            }
            Work::Forgotten => None,
        }
    }

    /// Lets the hub deliver and answer what is on disk, or refuse what is not.
    fn settle(&self, placed: &mut Vec<Placed>, done: Result<(), &'static str>, waiting: WorkerSet) {
        let mut commits = self.desk.commit_at(self.clock.now_ms());
        commits.wake(waiting);
        for Placed { topic, seq, pending } in placed.drain(..) {
            match done {
                Ok(()) => commits.commit(&topic, topic.epoch(), seq, pending, Level::Durable),
                Err(reason) => {
                    let error = CommandError::new(ErrorCode::Unavailable, reason);
                    commits.fail(&topic, pending, error);
                }
            }
        }
    }

    fn is_open(&self) -> Result<(), &'static str> {
        match self.health {
            Health::Open => Ok(()),
            Health::Full(_) => Err(NO_ROOM),
            Health::Closed => Err(CLOSED),
        }
    }

    /// Writes the frame at hand.
    pub(super) fn append(&mut self, mark: Mark, room: Room) -> Result<(), &'static str> {
        let bytes = if self.frame.is_empty() { 0 } else { self.frame.len() as u64 };
        if let Err(error) = self.disk.append(&mut self.frame, mark, room) {
            return Err(self.fail(&error));
        }
        self.counters().bytes.add(bytes);
        if self.disk.is_dirty() {
            self.dirty_since.get_or_insert_with(Instant::now);
        }
        Ok(())
    }

    /// Waits for the disk, if there is something to wait for.
    pub(super) fn sync(&mut self) -> Result<(), &'static str> {
        if self.health == Health::Closed {
            return Err(CLOSED);
        }
        if !self.disk.is_dirty() {
            return Ok(());
        }
        let begin = Instant::now();
        if let Err(error) = self.disk.sync() {
            return Err(self.fail(&error));
        }
        self.counters().count_sync(begin.elapsed().as_nanos() as u64);
        self.dirty_since = None;
        Ok(())
    }

    /// What is told to those who wait for it.
    pub(super) fn fail(&mut self, error: &DiskError) -> &'static str {
        self.counters().errors.add(1);
        match error {
            DiskError::Full(_) => {
                tracing::error!(%error, "the store takes nothing for now");
                self.set_health(Health::Full(Instant::now() + RETRY));
                NO_ROOM
            }
            DiskError::Broken(_) => {
                tracing::error!(%error, "the store is closed; restart the broker");
                // What is written and not on disk stays so: there is nothing to come back for.
                self.dirty_since = None;
                self.set_health(Health::Closed);
                CLOSED
            }
        }
    }

    pub(super) fn set_health(&mut self, health: Health) {
        self.health = health;
        let Some(log) = self.log() else { return };
        let state = match health {
            Health::Open => {
                log.accept_again();
                0
            }
            Health::Full(_) => {
                log.refuse_all(NO_ROOM);
                1
            }
            Health::Closed => {
                log.refuse_all(CLOSED);
                2
            }
        };
        self.counters().state.set(state);
    }

    /// Marks the end, if all that was seen is on disk.
    fn end(&mut self) {
        self.disk.drop_copy();
        if !self.checkpoint.is_exact() || self.health == Health::Closed {
            tracing::warn!("not all that was published is on disk; the end is not marked as clean");
            return;
        }
        self.frame.add(&Record::Clean);
        let marked = self.append(self.disk.mark(), Room::Any).and_then(|()| self.sync());
        if marked.is_ok() {
            tracing::info!(bytes = self.disk.bytes(), "the store is closed, and clean");
        }
    }
}

#[cfg(test)]
mod tests;
