//! What comes from other nodes put in order: a topic's messages of one run are given out by their
//! numbers, each once, and what does not come is told as lost.
//!
//! The same message may come several times (two subscriptions match it), and one after its
//! successor (they wait in different queues), so a hole is left open for a while before it counts as
//! a loss. Knows no sockets and no clock. Called by `receiving`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use broker_proto::command::Payload;
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::envelope::Place;

mod beats;

use self::beats::Beats;

/// How long a hole may last before it counts as a loss, in ms.
pub(super) const HOLE_MS: u64 = 250;
/// How much longer it may last if what has come could not be looked at.
const BUSY_MS: u64 = 2_000;
/// Runs that are listened to; those of further ones are not taken.
const ORIGINS_MAX: usize = 1024;
/// A run that has sent no heartbeat is forgotten after twice this.
const STRANGERS_MS: u64 = 10_000;
/// Topics of all runs that are watched; messages of further ones are given out as they come.
const LINES_MAX: usize = 1_000_000;
/// Messages of a topic that wait behind a hole; with one more it counts as a loss at once.
const HELD_MAX: usize = 1024;
/// The same for their bytes, over all topics.
const HELD_BYTES_MAX: usize = 32 * 1024 * 1024;

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival<'a> {
    /// The next message of a topic.
    Message {
        /// The topic.
        topic: &'a str,
        /// What was published.
        payload: Payload<'a>,
    },
    /// So many messages of a topic will not come.
    Lost {
        /// The topic.
        topic: &'a str,
        /// How many.
        count: u64,
    },
    /// A message has come before.
    Repeated,
}

/// What was reached of which topic of which run.
#[derive(Debug, Default)]
pub struct Arrivals {
    origins: HashMap<u64, Origin, RandomState>,
    /// Topics with a hole, by when it counts as a loss.
    due: BinaryHeap<Reverse<(u64, u64, Arc<str>)>>,
    lines: usize,
    held_bytes: usize,
    next_look_ms: u64,
}

#[derive(Debug, Default)]
struct Origin {
    /// Nothing but messages had come of it when strangers were looked for last.
    is_suspect: bool,
    beats: Beats,
    lines: HashMap<Arc<str>, Line, RandomState>,
}

#[derive(Debug)]
struct Line {
    stretch: u64,
    /// The number that was given out, or told as lost, last.
    last: u64,
    /// It is only what a heartbeat said before any message came: the first one corrects it.
    is_guess: bool,
    /// The number that heartbeats say is reached.
    told: u64,
    /// Messages behind a hole.
    held: BTreeMap<u64, Held>,
    is_due: bool,
}

#[derive(Debug)]
struct Held {
    bytes: Box<[u8]>,
    is_json: bool,
}

impl Arrivals {
    /// A message has come at that time. `heard_ms` says since when messages of the topic come at
    /// all; it is asked if this is the first one. Without an answer nobody wants it any more.
    pub fn message(
        &mut self,
        (run, topic, place): (u64, &str, Place),
        payload: Payload<'_>,
        heard_ms: impl FnOnce() -> Option<u64>,
        now_ms: u64,
        mut out: impl FnMut(Arrival<'_>),
    ) {
        let Self { lines, due, held_bytes, .. } = self;
        let Some(origin) = open(&mut self.origins, run) else { return };
        if !origin.lines.contains_key(topic) {
            let Some(heard_ms) = heard_ms() else { return };
            if *lines >= LINES_MAX {
                return out(Arrival::Message { topic, payload });
            }
            let is_whole = origin.beats.has_heard(heard_ms, place.stretch);
            let last = if is_whole { 0 } else { place.number - 1 };
            origin.lines.insert(topic.into(), Line::new(place.stretch, last, false));
            *lines += 1;
        }
        let Some((key, line)) = origin.lines.get_key_value_mut(topic) else { return };
        if place.stretch > line.stretch {
            line.settle(topic, held_bytes, &mut out);
            *line = Line { is_due: line.is_due, ..Line::new(place.stretch, 0, false) };
        }
        if std::mem::take(&mut line.is_guess) && place.stretch == line.stretch {
            line.last = line.last.min(place.number - 1);
        }
        if place.stretch < line.stretch || place.number <= line.last {
            return out(Arrival::Repeated);
        }
        if place.number == line.last + 1 {
            line.last += 1;
            out(Arrival::Message { topic, payload });
            return line.give_held(topic, held_bytes, &mut out);
        }
        let is_new = line.hold(place.number, payload, held_bytes);
        if !is_new {
            return out(Arrival::Repeated);
        }
        if line.held.len() > HELD_MAX || *held_bytes > HELD_BYTES_MAX {
            line.settle(topic, held_bytes, &mut out);
        } else if !std::mem::replace(&mut line.is_due, true) {
            due.push(Reverse((now_ms + HOLE_MS, run, key.clone())));
        }
    }

    /// A run's heartbeat has come.
    pub fn beat(&mut self, run: u64, beat: u64, now_ms: u64) {
        if let Some(origin) = open(&mut self.origins, run) {
            origin.beats.note(beat, now_ms);
        }
    }

    /// A heartbeat says how far a topic is, whose messages have come since `heard_ms`.
    pub fn reached(&mut self, run: u64, topic: &str, place: Place, heard_ms: u64, now_ms: u64) {
        let Self { lines, due, .. } = self;
        let Some(origin) = open(&mut self.origins, run) else { return };
        if !origin.lines.contains_key(topic) {
            if *lines >= LINES_MAX {
                return;
            }
            let is_whole = origin.beats.has_heard(heard_ms, place.stretch);
            let last = if is_whole { 0 } else { place.number };
            origin.lines.insert(topic.into(), Line::new(place.stretch, last, !is_whole));
            *lines += 1;
        }
        let Some((key, line)) = origin.lines.get_key_value_mut(topic) else { return };
        if place.stretch > line.stretch && line.held.is_empty() && line.told <= line.last {
            *line = Line { is_due: line.is_due, ..Line::new(place.stretch, 0, false) };
        }
        if place.stretch != line.stretch || place.number <= line.last.max(line.told) {
            return;
        }
        line.told = place.number;
        if !std::mem::replace(&mut line.is_due, true) {
            due.push(Reverse((now_ms + HOLE_MS, run, key.clone())));
        }
    }

    /// Gives up holes that have lasted too long. `drained_ms` is when all that had come was last
    /// looked at: what fills the hole may still wait, so a hole that is younger is left for longer.
    pub fn expire(&mut self, now_ms: u64, drained_ms: u64, mut out: impl FnMut(Arrival<'_>)) {
        while let Some(Reverse((due_ms, ..))) = self.due.peek() {
            let is_drained = drained_ms + HOLE_MS >= *due_ms;
            if *due_ms > now_ms || !(is_drained || due_ms + BUSY_MS <= now_ms) {
                return;
            }
            let Some(Reverse((_, run, topic))) = self.due.pop() else { return };
            let line = self.origins.get_mut(&run).and_then(|it| it.lines.get_mut(&*topic));
            if let Some(line) = line {
                line.is_due = false;
                line.settle(&topic, &mut self.held_bytes, &mut out);
            }
        }
    }

    /// Topics that nobody here wants any more are forgotten.
    pub fn keep_topics(&mut self, is_wanted: impl Fn(&str) -> bool) {
        for origin in self.origins.values_mut() {
            origin.lines.retain(|topic, _| is_wanted(topic));
        }
        self.recount();
    }

    /// A run will not come back.
    pub fn forget(&mut self, run: u64) {
        self.origins.remove(&run);
        self.recount();
    }

    /// Runs that have sent messages for a while and are none that `is_known` by heartbeats are
    /// forgotten: they take the places of others.
    pub fn forget_strangers(&mut self, now_ms: u64, is_known: impl Fn(u64) -> bool) {
        if now_ms < self.next_look_ms {
            return;
        }
        self.next_look_ms = now_ms + STRANGERS_MS;
        let before = self.origins.len();
        self.origins.retain(|&run, origin| {
            let is_stranger = !is_known(run);
            let was_suspect = std::mem::replace(&mut origin.is_suspect, is_stranger);
            !(is_stranger && was_suspect)
        });
        if self.origins.len() < before {
            self.recount();
        }
    }

    /// The runs that anything was heard of.
    #[cfg(test)]
    pub fn runs(&self) -> impl Iterator<Item = u64> {
        self.origins.keys().copied()
    }

    fn recount(&mut self) {
        self.lines = self.origins.values().map(|origin| origin.lines.len()).sum();
        let held = self.origins.values().flat_map(|origin| origin.lines.values());
        self.held_bytes =
            held.flat_map(|line| line.held.values()).map(|held| held.bytes.len()).sum();
    }
}

fn open(origins: &mut HashMap<u64, Origin, RandomState>, run: u64) -> Option<&mut Origin> {
    let is_full = origins.len() >= ORIGINS_MAX;
    if is_full && !origins.contains_key(&run) {
        return None;
    }
    Some(origins.entry(run).or_default())
}

impl Line {
    fn new(stretch: u64, last: u64, is_guess: bool) -> Self {
        Self { stretch, last, is_guess, told: 0, held: BTreeMap::new(), is_due: false }
    }

    /// False if it is held already.
    fn hold(&mut self, number: u64, payload: Payload<'_>, held_bytes: &mut usize) -> bool {
        let std::collections::btree_map::Entry::Vacant(place) = self.held.entry(number) else {
            return false;
        };
        let bytes = payload.bytes();
        *held_bytes += bytes.len();
        place.insert(Held { bytes: bytes.into(), is_json: matches!(payload, Payload::Json(_)) });
        true
    }

    /// Gives out what follows on what was given out.
    fn give_held(
        &mut self,
        topic: &str,
        held_bytes: &mut usize,
        out: &mut impl FnMut(Arrival<'_>),
    ) {
        while let Some(entry) = self.held.first_entry() {
            if *entry.key() != self.last + 1 {
                return;
            }
            self.last += 1;
            let Held { bytes, is_json } = entry.remove();
            *held_bytes = held_bytes.saturating_sub(bytes.len());
            let payload = if is_json { Payload::Json(&bytes) } else { Payload::Opaque(&bytes) };
            out(Arrival::Message { topic, payload });
        }
    }

    /// What is missing is lost; what waits behind it is given out.
    fn settle(&mut self, topic: &str, held_bytes: &mut usize, out: &mut impl FnMut(Arrival<'_>)) {
        while let Some((&first, _)) = self.held.first_key_value() {
            self.lose_up_to(first - 1, topic, out);
            self.give_held(topic, held_bytes, out);
        }
        self.lose_up_to(self.told, topic, out);
    }

    fn lose_up_to(&mut self, number: u64, topic: &str, out: &mut impl FnMut(Arrival<'_>)) {
        if let count @ 1.. = number.saturating_sub(self.last) {
            self.last = number;
            out(Arrival::Lost { topic, count });
        }
    }
}

#[cfg(test)]
mod tests;
