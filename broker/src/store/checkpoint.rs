//! How the log is kept short: when it has grown to about twice what is kept, all that is kept is
//! written once more, a little of it between the batches, and the segments before are removed. What is
//! kept is what the hub has in memory, so nothing is read for it, and what the hub has dropped is
//! gone from the disk with the old segments.
//!
//! Until they are removed all is on disk at least once; if there is no room for the copy, it is
//! removed and tried again later. Part of the keeper's thread.

use std::time::{Duration, Instant};

use super::disk::DiskError;
use super::keeper::{FRAME_BYTES, Health, Keeping};
use super::record::{MessageRecord, Record};
use crate::config::rules::Store;
use crate::hub::history::Kept;

/// Bytes by which the log may grow beyond twice what is kept.
const GROWTH_BYTES: u64 = 64 * 1024 * 1024;
/// Bytes that are written between two batches.
const STEP_BYTES: usize = 1024 * 1024;
/// How long none is begun after one that failed.
const RETRY: Duration = Duration::from_secs(10);

/// Where it stands.
#[derive(Debug)]
pub(super) struct Checkpoint {
    running: Option<Running>,
    /// What was kept when the last one was done, in bytes on disk.
    kept_bytes: u64,
    bytes_max: u64,
    not_before: Instant,
    /// Something that was seen is not in the log.
    is_needed: bool,
}

#[derive(Debug)]
struct Running {
    /// It was needed when it began.
    is_needed: bool,
    /// Topics that are still to be written.
    topics: Vec<u64>,
    /// One that is written in part.
    part: Option<Part>,
}

/// What is still to be written of a topic.
#[derive(Clone, Copy, Debug)]
struct Part {
    /// Its number in the hub.
    topic: u64,
    /// From this seq on.
    next: u64,
    /// What came later was written when it came; none before it is known.
    last: Option<u64>,
}

impl Checkpoint {
    /// None is running, and nothing is known of what is kept.
    pub(super) fn new(bytes_max: u64) -> Self {
        let not_before = Instant::now();
        Self { running: None, kept_bytes: 0, bytes_max, not_before, is_needed: false }
    }

    /// Whether the next piece is to be written.
    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Something that was seen could not be written: only what is in memory has it still.
    pub(super) fn need(&mut self) {
        self.is_needed = true;
    }

    /// Whether all that was seen is in the log.
    pub(super) fn is_exact(&self) -> bool {
        !self.is_needed && !self.running.as_ref().is_some_and(|running| running.is_needed)
    }

    /// Whether a log of so many bytes is too long. Half of what it may take is left for the new
    /// one; where what is kept takes most of it, not every write begins another.
    fn is_due(&self, bytes: u64) -> bool {
        let twice = self.kept_bytes.saturating_mul(2).saturating_add(GROWTH_BYTES);
        let least = self.kept_bytes + self.bytes_max / 8;
        bytes > twice.min(self.bytes_max / 2).max(least)
    }
}

impl Keeping {
    /// Begins a checkpoint if one is due, or goes on with it, by more than the batch before it.
    pub(super) fn check_point(&mut self, now: Instant, batch_bytes: u64) {
        if self.health == Health::Closed {
            self.checkpoint.running = None;
            self.disk.drop_copy();
            return;
        }
        let Some(mut running) = self.checkpoint.running.take() else {
            let is_due = self.checkpoint.is_needed || self.checkpoint.is_due(self.disk.bytes());
            if is_due && now >= self.checkpoint.not_before {
                self.begin(now);
            }
            return;
        };
        let done = self.go_on(&mut running, STEP_BYTES.max(2 * batch_bytes as usize));
        match done {
            Ok(true) => self.finish(now),
            Ok(false) => self.checkpoint.running = Some(running),
            Err(error) => {
                self.checkpoint.is_needed |= running.is_needed;
                self.give_up(&error, now);
            }
        }
    }

    fn begin(&mut self, now: Instant) {
        if let Err(error) = self.disk.begin_copy() {
            return self.give_up(&error, now);
        }
        self.dirty_since = None;
        let is_needed = std::mem::take(&mut self.checkpoint.is_needed);
        let topics = self.book.all();
        self.checkpoint.running = Some(Running { is_needed, topics, part: None });
    }

    /// There is no copy: the segments that are there stay, and the one at hand may have room.
    fn give_up(&mut self, error: &DiskError, now: Instant) {
        match error {
            DiskError::Full(_) => {
                tracing::error!(%error, "the store can't be written anew");
                self.counters().errors.add(1);
                self.checkpoint.not_before = now + RETRY;
            }
            DiskError::Broken(_) => drop(self.fail(error)),
        }
    }

    /// Writes about so many bytes of it; whether that was all.
    fn go_on(&mut self, running: &mut Running, step_bytes: usize) -> Result<bool, DiskError> {
        let mut bytes = 0;
        while bytes < step_bytes {
            let begin = |topic| Part { topic, next: 0, last: None };
            let part = running.part.take().or_else(|| running.topics.pop().map(begin));
            let Some(part) = part else {
                self.disk.sync_copy()?;
                return Ok(true);
            };
            let (written, rest) = self.write_part(part, FRAME_BYTES.min(step_bytes - bytes))?;
            (bytes, running.part) = (bytes + written, rest);
        }
        // Not all at the end: publishers would wait for that.
        self.disk.sync_copy()?;
        Ok(false)
    }

    /// Writes about so many bytes of what is kept of a topic: how many, and what is left.
    fn write_part(&mut self, part: Part, room: usize) -> Result<(usize, Option<Part>), DiskError> {
        let Some(topic) = self.book.find(part.topic).cloned() else { return Ok((0, None)) };
        let state = topic.look();
        if state.rule().store == Store::None {
            drop(state);
            self.book.forget(&topic);
            return Ok((0, None));
        }
        let (seq, last) = (state.seq, part.last.unwrap_or(state.seq));
        let left = state.history().into_iter().flat_map(|history| history.from_seq(part.next));
        let mut bytes = 0;
        let fits = |kept: &&Kept| {
            let has_room = bytes < room;
            bytes += kept.message.held_bytes();
            has_room && kept.message.seq() <= last
        };
        let kept: Vec<Kept> = left.take_while(fits).cloned().collect();
        drop(state);
        let told = self.book.tell(part.topic, seq, &mut self.frame);
        let Some(id) = told else { return Ok((0, None)) };
        for Kept { message, at_ms } in &kept {
            let (seq, payload) = (message.seq(), message.payload());
            let at_unix_ms = self.clock.unix_ms(*at_ms);
            self.frame.add(&Record::Message(MessageRecord { id, seq, at_unix_ms, payload }));
        }
        let bytes = self.frame.len();
        self.disk.append_copy(&mut self.frame)?;
        self.counters().bytes.add(bytes as u64);
        let next = kept.last().map(|kept| kept.message.seq() + 1).filter(|next| *next <= last);
        Ok((bytes, next.map(|next| Part { next, last: Some(last), ..part })))
    }

    /// All is in the new segments: the old ones go.
    fn finish(&mut self, now: Instant) {
        let before = self.disk.bytes();
        if let Err(error) = self.disk.end_copy() {
            tracing::warn!(%error, "old parts of the store can't be removed");
            self.checkpoint.not_before = now + RETRY;
        }
        let bytes = self.disk.bytes();
        self.checkpoint.kept_bytes = bytes;
        self.counters().checkpoints.add(1);
        tracing::debug!(before, bytes, "the store was written anew");
        if matches!(self.health, Health::Full(_)) {
            self.set_health(Health::Open);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn a_log_is_too_long_at_twice_what_is_kept_or_at_half_of_what_it_may_take() {
        let mut checkpoint = Checkpoint::new(1024 * MIB);
        assert!(!checkpoint.is_due(128 * MIB) && checkpoint.is_due(129 * MIB), "hardly worth it");
        checkpoint.kept_bytes = 100 * MIB;
        assert!(!checkpoint.is_due(264 * MIB) && checkpoint.is_due(265 * MIB));
        checkpoint.kept_bytes = 300 * MIB;
        assert!(!checkpoint.is_due(512 * MIB) && checkpoint.is_due(513 * MIB));
        checkpoint.kept_bytes = 500 * MIB;
        assert!(!checkpoint.is_due(628 * MIB), "not again and again when all of it is kept");
    }
}
