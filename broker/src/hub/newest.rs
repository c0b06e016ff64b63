//! What a slow subscriber is still to get: of each topic or key the newest message alone, in the
//! order in which the first of each came. Bounded by the number of topics and keys.
//!
//! Holds messages and counts; whose they are and when they go out is the hub's to know.

use std::collections::VecDeque;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::message::Message;

/// Stands for the list of a subscription that has ended.
pub const NO_LIST: u32 = u32::MAX;

/// The newest messages, by what they take each other's place for.
#[derive(Debug, Default)]
pub struct Newest {
    /// Where each mark stands: its entry's number, counted from the first entry ever.
    index: HashMap<u64, u64, RandomState>,
    entries: VecDeque<Entry>,
    /// How many entries were ever taken out.
    taken: u64,
    bytes: u64,
}

/// One message that waits.
#[derive(Debug)]
pub struct Entry {
    /// The newest message.
    pub message: Arc<Message>,
    /// What tells it from the others: messages of the same mark take each other's place.
    pub mark: u64,
    /// The list that it came by.
    pub list: u32,
    /// The seq of the first message since the last that was sent.
    pub first_seq: u64,
    /// When that one came, in ms of the broker's clock.
    pub since_ms: u64,
    /// The subscriber asked for the newest only: what is passed over is not announced.
    pub by_request: bool,
}

impl Newest {
    /// Puts a message in that came by a list, for the one of its mark that is there; the list of
    /// the one that is passed over, if there was one. One that is older than what is there only
    /// counts as passed over.
    pub fn put(
        &mut self,
        mark: u64,
        (list, message): (u32, Arc<Message>),
        now_ms: u64,
        by_request: bool,
    ) -> Option<u32> {
        if let Some(&number) = self.index.get(&mark) {
            let entry = &mut self.entries[(number - self.taken) as usize];
            if message.seq() < entry.message.seq() {
                entry.first_seq = entry.first_seq.min(message.seq());
                return Some(list);
            }
            self.bytes += message.held_bytes() as u64;
            self.bytes -= entry.message.held_bytes() as u64;
            entry.message = message;
            return Some(std::mem::replace(&mut entry.list, list));
        }
        self.bytes += message.held_bytes() as u64;
        self.index.insert(mark, self.taken + self.entries.len() as u64);
        let first_seq = message.seq();
        let entry = Entry { message, mark, list, first_seq, since_ms: now_ms, by_request };
        self.entries.push_back(entry);
        None
    }

    /// Whether this very message is there already.
    pub fn holds(&self, mark: u64, message: &Message) -> bool {
        let entry = |number: &u64| &self.entries[(number - self.taken) as usize];
        self.index.get(&mark).map(entry).is_some_and(|entry| entry.message.seq() == message.seq())
    }

    /// Takes out the entry that has waited longest.
    pub fn take(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        self.taken += 1;
        self.index.remove(&entry.mark);
        self.bytes -= entry.message.held_bytes() as u64;
        Some(entry)
    }

    /// Whether a message of this mark waits.
    pub fn contains(&self, mark: u64) -> bool {
        self.index.contains_key(&mark)
    }

    /// Takes out the entries that are not to `stay`.
    pub fn retain(&mut self, stay: impl Fn(&Message) -> bool) -> VecDeque<Entry> {
        let entries = std::mem::take(&mut self.entries).into_iter();
        let (entries, gone) = entries.partition(|entry| stay(&entry.message));
        self.entries = entries;
        let (taken, entries) = (self.taken, &self.entries);
        self.index = (taken..).zip(entries).map(|(number, entry)| (entry.mark, number)).collect();
        self.bytes = entries.iter().map(|entry| entry.message.held_bytes() as u64).sum();
        gone
    }

    /// How many messages wait that came by a list.
    pub fn len_of(&self, list: u32) -> usize {
        self.entries.iter().filter(|entry| entry.list == list).count()
    }

    /// What came by a list belongs to no list any more.
    pub fn disown(&mut self, list: u32) {
        let own = self.entries.iter_mut().filter(|entry| entry.list == list);
        own.for_each(|entry| entry.list = NO_LIST);
    }

    /// The entry that has waited longest.
    pub fn oldest(&self) -> Option<&Entry> {
        self.entries.front()
    }

    /// How many messages wait.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of memory that the messages hold.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}
