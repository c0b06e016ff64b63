//! A cohort: the subscribers of one list that want the same of its messages, served as one. What
//! is conflated, filtered or cut down to some fields is so once for all of them, and a rate has one
//! timer however many they are.
//!
//! Sans-IO and without sessions: it says what is to be sent when; the hub sends it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use broker_proto::command::Payload;
use foldhash::fast::RandomState;
use hashbrown::{Equivalent, HashMap};
use slab::Slab;

use super::message::Message;
use super::object::Object;
use super::wanted::Wanted;

/// Topics and keys whose values are told apart in one cohort. When there are more, those are
/// forgotten of which nothing waits; if something waits of all, a further one is sent at once.
pub const VALUES_MAX: usize = 131_072;
/// Set in the marks of keys, which no topic's number reaches.
const KEY_MARK: u64 = 1 << 63;
/// What comes of a rate falls due together with what is due within so many milliseconds, at most.
const GRID_MS_MAX: u64 = 50;

/// Subscribers that are served as one.
#[derive(Debug)]
pub struct Cohort {
    wanted: Arc<Wanted>,
    /// The list whose messages it gets.
    pub list: u32,
    /// Its subscribers, in no order.
    pub members: Vec<Member>,
    counts: Counts,
    index: HashMap<Key, u32, RandomState>,
    values: Slab<Value>,
    due: BinaryHeap<Reverse<(u64, u32)>>,
    /// When the hub will look at what is due.
    pub armed_ms: Option<u64>,
}

/// A subscriber in a cohort.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its session's slot.
    pub slot: u32,
    /// Its subscription, by its key among the hub's special ones.
    pub special: u32,
    /// What it has of each topic already, while it gets what was before.
    pub had: Option<Box<Had>>,
}

/// What a member has already of that which may still wait for its cohort.
#[derive(Clone, Debug, Default)]
pub struct Had {
    /// By topic: from which to which seq.
    seqs: HashMap<u64, (u64, u64), RandomState>,
    /// By topic: up to which seq what waited when it came is not for it.
    before: HashMap<u64, u64, RandomState>,
    /// From then on nothing older can come, in ms of the broker's clock; 0 while it still gets
    /// what was before.
    pub until_ms: u64,
}

impl Had {
    /// Whether a message would come a second time.
    pub fn has(&self, message: &Message) -> bool {
        let seqs = self.seqs.get(&message.topic().id());
        seqs.is_some_and(|(from, to)| (*from..=*to).contains(&message.seq()))
    }

    /// Whether a message waited in the cohort when the member came.
    pub fn was_before(&self, message: &Message) -> bool {
        self.before.get(&message.topic().id()).is_some_and(|seq| message.seq() <= *seq)
    }

    /// Of each topic that it has something of, by its number, up to which seq.
    pub fn topics(&self) -> impl Iterator<Item = (u64, u64)> {
        self.seqs.iter().map(|(&topic, &(_, to))| (topic, to))
    }

    /// A topic's numbering begins anew: it has nothing of that.
    fn forget(&mut self, topic: u64) {
        self.seqs.remove(&topic);
        self.before.remove(&topic);
    }

    /// It has the messages of a topic from one seq to another now, or newer ones in their place.
    pub fn note(&mut self, topic: u64, from: u64, to: u64) {
        self.seqs.insert(topic, (from, to));
    }
}

/// What became of the messages: `matched` is the sum of the others and of what waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages that came.
    pub matched: u64,
    /// Messages that were sent on.
    pub emitted: u64,
    /// Messages for which a newer one was taken.
    pub conflated: u64,
    /// Messages that did not move enough.
    pub filtered: u64,
}

/// A message to be sent to all members now.
#[derive(Debug)]
pub struct Emission {
    /// The message, cut down to the fields that are wanted.
    pub message: Arc<Message>,
    /// Messages with the same mark take each other's place where a subscriber is slow.
    pub mark: u64,
    /// The mark is that of a key, and means something in this cohort only.
    pub is_of_key: bool,
}

/// The payload of a message, read when a cohort first asks.
#[derive(Debug, Default)]
pub struct Reading<'a>(Option<Option<Object<'a>>>);

#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    topic: u64,
    key: Box<str>,
}

#[derive(Hash)]
struct KeyRef<'a> {
    topic: u64,
    key: &'a str,
}

/// What is known of one topic or key.
#[derive(Debug)]
struct Value {
    topic: u64,
    key: Box<str>,
    /// The newest message, if it was not sent yet.
    waiting: Option<Arc<Message>>,
    /// It waits only because it did not move enough.
    is_quiet: bool,
    /// From then on a message may be sent.
    free_ms: u64,
    /// When the silence has lasted too long.
    silence_ms: u64,
    /// When it stands among those that fall due.
    queued_ms: Option<u64>,
    /// The number that was sent last.
    last: Option<f64>,
    /// The message that was sent last, where later ones are held against it.
    sent: Option<Arc<Message>>,
}

impl Cohort {
    /// A cohort without members.
    pub fn new(wanted: Arc<Wanted>, list: u32) -> Self {
        Self {
            wanted,
            list,
            members: Vec::new(),
            counts: Counts::default(),
            index: HashMap::default(),
            values: Slab::new(),
            due: BinaryHeap::new(),
            armed_ms: None,
        }
    }

    /// What its members want.
    pub fn wanted(&self) -> &Arc<Wanted> {
        &self.wanted
    }

    /// What became of its messages so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// How many messages wait.
    pub fn waiting(&self) -> u64 {
        let c = &self.counts;
        c.matched - c.emitted - c.conflated - c.filtered
    }

    /// A message came; returns it if it is to be sent at once.
    pub fn handle_message<'a>(
        &mut self,
        message: &'a Arc<Message>,
        reading: &mut Reading<'a>,
        now_ms: u64,
    ) -> Option<Emission> {
        self.counts.matched += 1;
        let wanted = self.wanted.clone();
        let key =
            wanted.key.as_deref().and_then(|pointer| reading.object(message)?.pointed(pointer));
        let has_state = wanted.interval_ms > 0 || wanted.deadband.is_some() || wanted.key.is_some();
        let place = if has_state {
            self.place(message.topic().id(), key.unwrap_or(""), now_ms)
        } else {
            None
        };
        let Some(place) = place else {
            return Some(self.emit(message, now_ms, None));
        };
        let value = &mut self.values[place as usize];
        let number =
            wanted.deadband.as_ref().and_then(|band| reading.object(message)?.number(&band.field));
        let is_quiet = match (&wanted.deadband, number, value.last) {
            (Some(band), Some(number), Some(last)) => !band.is_left(last, number),
            _ => false,
        };
        if !is_quiet && now_ms >= value.free_ms {
            self.drop_waiting(place);
            return Some(self.emit(message, now_ms, Some((place, number))));
        }
        self.drop_waiting(place);
        let value = &mut self.values[place as usize];
        value.waiting = Some(message.clone());
        value.is_quiet = is_quiet;
        self.queue(place);
        None
    }

    /// The newest message of a topic or key as a new member is to have it: with a dead band the
    /// one that later messages are held against; where there is none yet, this becomes it, if all
    /// members have it.
    pub fn snapshot(&mut self, message: &Arc<Message>, now_ms: u64) -> Arc<Message> {
        let mut reading = Reading::default();
        let wanted = self.wanted.clone();
        let key =
            wanted.key.as_deref().and_then(|pointer| reading.object(message)?.pointed(pointer));
        let (topic, key) = (message.topic().id(), key.unwrap_or(""));
        let place = self.index.get(&KeyRef { topic, key }).copied();
        if let Some(sent) = place.and_then(|place| self.values[place as usize].sent.clone()) {
            return sent;
        }
        let snapshot = self.project(message);
        if let Some(band) = &wanted.deadband
            && (wanted.from_last || self.members.len() == 1)
            && let Some(place) = self.place(topic, key, now_ms)
        {
            let number = reading.object(message).and_then(|object| object.number(&band.field));
            self.note_sent(place, number, &snapshot, now_ms);
        }
        snapshot
    }

    /// The value of the member that tells a topic's values apart.
    pub fn key_of(&self, message: &Message) -> Box<str> {
        let mut reading = Reading::default();
        let pointer = self.wanted.key.as_deref();
        pointer.and_then(|pointer| reading.object(message)?.pointed(pointer)).unwrap_or("").into()
    }

    /// What a member that comes now must not get: all that waits.
    pub fn had_by_newcomer(&self) -> Option<Box<Had>> {
        if self.waiting() == 0 {
            return None;
        }
        let mut had = Had::default();
        for message in self.values.iter().filter_map(|(_, value)| value.waiting.as_ref()) {
            let seq = had.before.entry(message.topic().id()).or_default();
            *seq = message.seq().max(*seq);
        }
        Some(Box::new(had))
    }

    /// A topic's numbering begins anew: what waits of it is overtaken, and nobody has anything.
    pub fn forget(&mut self, topic: u64) {
        let values = self.values.iter().filter(|(_, value)| value.topic == topic);
        let places: Vec<u32> = values.map(|(place, _)| place as u32).collect();
        for place in places {
            self.drop_waiting(place);
            let value = &mut self.values[place as usize];
            (value.last, value.sent) = (None, None);
        }
        let had = self.members.iter_mut().filter_map(|member| member.had.as_deref_mut());
        had.for_each(|had| had.forget(topic));
    }

    /// When the next message falls due.
    pub fn next_due_ms(&self) -> Option<u64> {
        self.due.peek().map(|Reverse((at_ms, _))| *at_ms)
    }

    /// The next message that is due by now.
    pub fn take_due(&mut self, now_ms: u64) -> Option<Emission> {
        while self.next_due_ms()? <= now_ms {
            let Reverse((at_ms, place)) = self.due.pop()?;
            let Some(value) = self.values.get_mut(place as usize) else { continue };
            if value.queued_ms != Some(at_ms) {
                continue; // it was queued anew
            }
            value.queued_ms = None;
            if value.due_ms().is_none_or(|at_ms| at_ms > now_ms) {
                self.queue(place);
                continue;
            }
            let Some(message) = value.waiting.take() else { continue };
            let mut reading = Reading::default();
            let band = self.wanted.deadband.clone();
            let number = band.and_then(|band| reading.object(&message)?.number(&band.field));
            return Some(self.emit(&message, now_ms, Some((place, number))));
        }
        None
    }

    fn emit(
        &mut self,
        message: &Arc<Message>,
        now_ms: u64,
        value: Option<(u32, Option<f64>)>,
    ) -> Emission {
        self.counts.emitted += 1;
        let message = self.project(message);
        let (mark, is_of_key) = match value {
            Some((place, _)) if self.wanted.key.is_some() => (KEY_MARK | u64::from(place), true),
            _ => (message.topic().id(), false),
        };
        if let Some((place, number)) = value {
            self.note_sent(place, number, &message, now_ms);
        }
        Emission { message, mark, is_of_key }
    }

    /// The members have this message of a value, with this number in it, from now on.
    fn note_sent(&mut self, place: u32, number: Option<f64>, message: &Arc<Message>, now_ms: u64) {
        let (interval_ms, band) = (self.wanted.interval_ms, &self.wanted.deadband);
        let value = &mut self.values[place as usize];
        value.free_ms = later(now_ms, interval_ms);
        if let Some(band) = band {
            value.last = number.or(value.last);
            value.sent = Some(message.clone());
            if band.max_silence_ms > 0 {
                value.silence_ms = now_ms + u64::from(band.max_silence_ms);
            }
        }
    }

    /// A message cut down to the fields that are wanted. A payload that is no object has none to
    /// leave out, and stays as it is.
    fn project(&self, message: &Arc<Message>) -> Arc<Message> {
        if self.wanted.fields.is_empty() {
            return message.clone();
        }
        let Payload::Json(payload) = message.payload() else { return message.clone() };
        let Some(object) = Object::read(payload) else { return message.clone() };
        let mut cut = Vec::with_capacity(payload.len());
        object.project(&self.wanted.fields, &mut cut);
        Arc::new(message.with_payload(Payload::Json(&cut)))
    }

    /// What waits of a value is overtaken.
    fn drop_waiting(&mut self, place: u32) {
        let value = &mut self.values[place as usize];
        if value.waiting.take().is_some() {
            match value.is_quiet {
                true => self.counts.filtered += 1,
                false => self.counts.conflated += 1,
            }
        }
    }

    fn queue(&mut self, place: u32) {
        let value = &mut self.values[place as usize];
        if let Some(at_ms) = value.due_ms().filter(|_| value.waiting.is_some())
            && value.queued_ms.is_none_or(|queued_ms| at_ms < queued_ms)
        {
            value.queued_ms = Some(at_ms);
            self.due.push(Reverse((at_ms, place)));
        }
    }

    /// Where a value stands; None if there is no room to remember it.
    fn place(&mut self, topic: u64, key: &str, now_ms: u64) -> Option<u32> {
        if let Some(&place) = self.index.get(&KeyRef { topic, key }) {
            return Some(place);
        }
        if self.values.len() >= VALUES_MAX {
            self.forget_idle(now_ms);
            if self.values.len() >= VALUES_MAX {
                return None;
            }
        }
        let value = Value {
            topic,
            key: key.into(),
            waiting: None,
            is_quiet: false,
            free_ms: 0,
            silence_ms: 0,
            queued_ms: None,
            last: None,
            sent: None,
        };
        let place = self.values.insert(value) as u32;
        self.index.insert(Key { topic, key: key.into() }, place);
        Some(place)
    }

    fn forget_idle(&mut self, now_ms: u64) {
        let index = &mut self.index;
        self.values.retain(|_, value| {
            let stays = value.waiting.is_some() || value.free_ms > now_ms;
            if !stays {
                index.remove(&KeyRef { topic: value.topic, key: &value.key });
            }
            stays
        });
        let values = &self.values;
        self.due.retain(|Reverse((_, place))| values.contains(*place as usize));
    }
}

impl Value {
    /// When what waits falls due; never, if it is held back for good.
    fn due_ms(&self) -> Option<u64> {
        match self.is_quiet {
            false => Some(self.free_ms),
            true if self.silence_ms > 0 => Some(self.silence_ms.max(self.free_ms)),
            true => None,
        }
    }
}

impl<'a> Reading<'a> {
    fn object(&mut self, message: &'a Message) -> Option<&Object<'a>> {
        let read = || match message.payload() {
            Payload::Json(payload) => Object::read(payload),
            Payload::Opaque(_) => None,
        };
        self.0.get_or_insert_with(read).as_ref()
    }
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.topic == key.topic && *self.key == *key.key
    }
}

/// One interval on, and then up to the next point of a grid, so that what is due at about the same
/// time goes out together.
fn later(now_ms: u64, interval_ms: u32) -> u64 {
    let interval_ms = u64::from(interval_ms);
    let grid_ms = (interval_ms / 8).clamp(1, GRID_MS_MAX);
    (now_ms + interval_ms).next_multiple_of(grid_ms)
}

#[cfg(test)]
mod tests;
