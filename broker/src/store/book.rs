//! The topics that are stored: the number each has in the log, whether the segment at hand knows
//! it, and the seqs that were given in the batch at hand. Writes nothing by itself.

use std::collections::HashMap;
use std::sync::Arc;

use broker_proto::command::Level;

use super::record::{Frame, Record, TopicRecord};
use crate::config::rules::Store;
use crate::hub::topic::Topic;

/// All of them, by their numbers in the hub.
#[derive(Debug, Default)]
pub(super) struct Book {
    topics: HashMap<u64, Page>,
    batch: u64,
}

#[derive(Debug)]
struct Page {
    topic: Arc<Topic>,
    /// Its number in the store.
    id: u64,
    /// The segment that was told of it last, and what it was told to be promised.
    told: u64,
    level: Level,
    /// The batch that touched it last, and the seq given last in that.
    batch: u64,
    seq: u64,
}

impl Book {
    /// Enters a topic that the store knows by a number of its own.
    pub(super) fn enter(&mut self, topic: Arc<Topic>, id: u64) {
        self.topics.insert(topic.id(), Page::new(topic, id));
    }

    /// A batch begins.
    pub(super) fn begin_batch(&mut self) {
        self.batch += 1;
    }

    /// Nothing of the batch at hand was written.
    pub(super) fn undo_batch(&mut self) {
        let batch = self.batch;
        self.topics.values_mut().filter(|page| page.batch == batch).for_each(|page| page.told = 0);
    }

    /// The number of a topic in the store, which the segment is told first if it does not know it.
    pub(super) fn note(&mut self, topic: &Arc<Topic>, segment: u64, frame: &mut Frame) -> u64 {
        let new = || Page::new(topic.clone(), topic.id());
        let page = self.topics.entry(topic.id()).or_insert_with(new);
        if page.batch != self.batch {
            let state = topic.look();
            (page.batch, page.seq) = (self.batch, state.seq);
            let level = level_of(state.rule().store);
            drop(state);
            if page.level != level {
                (page.told, page.level) = (0, level);
            }
        }
        if page.told != segment {
            page.told = segment;
            page.tell(page.level, page.seq, frame);
        }
        page.id
    }

    /// The next seq of a topic that was noted in this batch.
    pub(super) fn next_seq(&mut self, topic: &Topic) -> u64 {
        self.topics.get_mut(&topic.id()).map_or(0, |page| {
            page.seq += 1;
            page.seq
        })
    }

    /// Takes a topic out; its number, if it was there.
    pub(super) fn forget(&mut self, topic: &Topic) -> Option<u64> {
        self.topics.remove(&topic.id()).map(|page| page.id)
    }

    /// The numbers in the hub of all topics.
    pub(super) fn all(&self) -> Vec<u64> {
        self.topics.keys().copied().collect()
    }

    /// A topic, if it is still here.
    pub(super) fn find(&self, hub_id: u64) -> Option<&Arc<Topic>> {
        self.topics.get(&hub_id).map(|page| &page.topic)
    }

    /// Tells a copy of a topic, with the seq of its newest message; its number. The segment at hand
    /// hears nothing of that.
    pub(super) fn tell(&self, hub_id: u64, seq: u64, frame: &mut Frame) -> Option<u64> {
        let page = self.topics.get(&hub_id)?;
        page.tell(level_of(page.topic.rule().store), seq, frame);
        Some(page.id)
    }
}

impl Page {
    fn new(topic: Arc<Topic>, id: u64) -> Self {
        Self { topic, id, told: 0, level: Level::Accepted, batch: 0, seq: 0 }
    }

    fn tell(&self, level: Level, seq: u64, frame: &mut Frame) {
        let (epoch, name) = (self.topic.epoch().value(), self.topic.as_str());
        frame.add(&Record::Topic(TopicRecord { id: self.id, epoch, seq, level, name }));
    }
}

/// What is promised of the messages of a topic with that rule.
pub(super) fn level_of(store: Store) -> Level {
    match store {
        Store::Durable => Level::Durable,
        Store::Accepted | Store::None => Level::Accepted,
    }
}

#[cfg(test)]
mod tests {
    use broker_proto::command::Epoch;
    use broker_proto::topic::Topic as TopicName;

    use super::*;
    use crate::config::Config;
    use crate::config::rules::Rules;

    #[test]
    fn the_segment_at_hand_is_told_of_a_topic_whatever_a_copy_was_told() {
        let name = TopicName::new("d/1").unwrap();
        let rule = Rules::new(&Config::default()).of(name);
        let topic = Arc::new(Topic::new(name, Epoch::new(7), rule, 0));
        let (mut book, mut frame) = (Book::default(), Frame::new());
        book.begin_batch();
        book.note(&topic, 3, &mut frame);
        let told = frame.len();
        // The disk was full: neither the batch nor the copy is there.
        book.undo_batch();
        frame.clear();
        assert_eq!(book.tell(topic.id(), 0, &mut frame), Some(7));
        frame.clear();
        book.begin_batch();
        book.note(&topic, 3, &mut frame);
        assert_eq!(frame.len(), told);
        book.note(&topic, 3, &mut frame);
        assert_eq!(frame.len(), told, "once");
    }
}
