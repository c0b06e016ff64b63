//! What the segments hold, gathered while they are read: of each topic its name, its place in the
//! order, and where the messages stand that may still be kept. Payloads stay on disk.
//!
//! Decides which topics go on where they stood and which begin a new epoch, and which messages
//! there is room for. No files and no clock: pieces and the time of day are passed in.

use std::collections::{HashMap, VecDeque};

use broker_proto::command::{Level, Payload};

use super::reading::Piece;
use super::record::{MessageRecord, Record, TopicRecord};

/// What a message takes in memory besides its payload and its topic's name, rounded up.
const MESSAGE_BYTES: u64 = 512;

/// How much of a topic's past its rule may want.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Most messages.
    pub(super) messages: usize,
    /// How old they may be.
    pub(super) age_ms: u64,
    /// What is promised of those to come.
    pub(super) level: Level,
}

/// All that was read so far.
#[derive(Debug, Default)]
pub(super) struct Index {
    topics: HashMap<u64, Stored>,
    /// Pieces read, over all segments.
    pieces: u64,
    /// After how many of them something was left out last.
    damaged_at: Option<u64>,
    /// The last piece said that all is there.
    is_clean: bool,
}

/// A topic as the log has it.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) id: u64,
    pub(super) name: Box<str>,
    pub(super) epoch: u64,
    pub(super) seq: u64,
    level: Level,
    /// The messages that are there, by their seqs.
    pub(super) spots: VecDeque<Spot>,
    /// It begins a new epoch, or more or less is promised of it: the log does not know of it yet.
    pub(super) is_news: bool,
    /// The last of all pieces that told of it.
    told_at: u64,
    limits: Limits,
}

/// Where a message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) seq: u64,
    pub(super) at_unix_ms: u64,
    /// Which of the segments.
    pub(super) segment: u32,
    /// Where in it the payload begins.
    pub(super) offset: u64,
    pub(super) bytes: u32,
    pub(super) is_json: bool,
}

impl Index {
    /// Another segment begins.
    pub(super) fn begin_segment(&mut self) {
        self.is_clean = false;
    }

    /// Takes a piece of segment `segment`. `limits` says how much of a topic may be kept; `None`:
    /// nothing, its rule has it in the store no more.
    pub(super) fn take(
        &mut self,
        segment: u32,
        piece: Piece<'_>,
        limits: impl Fn(&str) -> Option<Limits>,
    ) {
        self.pieces += 1;
        self.is_clean = false;
        match piece {
            Piece::Damage => self.damaged_at = Some(self.pieces),
            Piece::Record(Record::Topic(topic), _) => self.take_topic(&topic, limits),
            Piece::Record(Record::Message(message), offset) => {
                self.take_message(segment, &message, offset);
            }
            Piece::Record(Record::Forgotten { id }, _) => {
                self.topics.remove(&id);
            }
            Piece::Record(Record::Clean, _) => self.is_clean = true,
        }
    }

    fn take_topic(&mut self, topic: &TopicRecord<'_>, limits: impl Fn(&str) -> Option<Limits>) {
        let told_at = self.pieces;
        if let Some(stored) = self.topics.get_mut(&topic.id) {
            if topic.epoch > stored.epoch {
                // What was lost of the epoch before is no part of this one.
                stored.seq = 0;
                stored.spots.retain(|spot| spot.seq <= topic.seq);
            }
            stored.epoch = stored.epoch.max(topic.epoch);
            stored.seq = stored.seq.max(topic.seq);
            (stored.level, stored.told_at) = (topic.level, told_at);
            return;
        }
        let Some(limits) = limits(topic.name) else { return };
        let stored = Stored {
            id: topic.id,
            name: topic.name.into(),
            epoch: topic.epoch,
            seq: topic.seq,
            level: topic.level,
            spots: VecDeque::new(),
            is_news: false,
            told_at,
            limits,
        };
        self.topics.insert(topic.id, stored);
    }

    fn take_message(&mut self, segment: u32, message: &MessageRecord<'_>, offset: u64) {
        let Some(stored) = self.topics.get_mut(&message.id) else { return };
        stored.told_at = self.pieces;
        stored.seq = stored.seq.max(message.seq);
        stored.add(Spot {
            seq: message.seq,
            at_unix_ms: message.at_unix_ms,
            segment,
            offset,
            bytes: message.payload.bytes().len() as u32,
            is_json: matches!(message.payload, Payload::Json(_)),
        });
    }

    /// The newest of all epochs that are there; 0 if there is none.
    pub(super) fn newest_epoch(&self) -> u64 {
        self.topics.values().map(|topic| topic.epoch).max().unwrap_or(0)
    }

    /// The messages that are there.
    pub(super) fn messages(&self) -> u64 {
        self.topics.values().map(|topic| topic.spots.len() as u64).sum()
    }

    /// The topics as they are to go on, by their names; those whose order can't be continued in
    /// the epochs that `mint` gives.
    pub(super) fn finish(self, unix_ms: u64, mut mint: impl FnMut() -> u64) -> Vec<Stored> {
        let (is_clean, damaged_at) = (self.is_clean, self.damaged_at.unwrap_or(0));
        let mut topics: Vec<Stored> = self.topics.into_values().collect();
        // Of one name the topic that was made last; the one before it was forgotten.
        topics.sort_unstable_by(|a, b| (&a.name, b.id).cmp(&(&b.name, a.id)));
        topics.dedup_by(|later, first| later.name == first.name);
        for topic in &mut topics {
            let is_whole = topic.keep_last_run();
            // What was seen of it may not be here: the next seqs must not be taken for those.
            let is_seen_beyond = topic.level == Level::Accepted && !is_clean;
            if !is_whole || is_seen_beyond || topic.told_at < damaged_at {
                topic.epoch = mint();
                topic.is_news = true;
            }
            let Limits { age_ms, level, .. } = topic.limits;
            topic.is_news |= topic.level != level;
            topic.level = level;
            topic.forget_until(|spot| unix_ms.saturating_sub(spot.at_unix_ms) >= age_ms);
        }
        topics
    }
}

impl Stored {
    /// What is known of it now, for the log.
    pub(super) fn record(&self) -> Record<'_> {
        let Self { id, epoch, seq, level, .. } = *self;
        Record::Topic(TopicRecord { id, epoch, seq, level, name: &self.name })
    }

    fn add(&mut self, spot: Spot) {
        match self.spots.back() {
            Some(last) if last.seq >= spot.seq => {
                // Written once more, or behind later ones: by a checkpoint.
                if let Err(place) = self.spots.binary_search_by_key(&spot.seq, |spot| spot.seq) {
                    self.spots.insert(place, spot);
                }
            }
            _ => self.spots.push_back(spot),
        }
        while self.spots.len() > self.limits.messages {
            self.spots.pop_front();
        }
    }

    /// Leaves those behind the last that is too old. What comes after one is kept no longer than
    /// that, though the clock may have been set back between the two.
    fn forget_until(&mut self, is_too_old: impl Fn(&Spot) -> bool) {
        let last = self.spots.iter().rposition(is_too_old);
        self.spots.drain(..last.map_or(0, |last| last + 1));
    }

    /// Leaves the messages that end with the newest one there is without a hole; false if there
    /// was a newer one.
    fn keep_last_run(&mut self) -> bool {
        let seqs: Vec<u64> = self.spots.iter().map(|spot| spot.seq).collect();
        let holes = seqs.windows(2).rposition(|pair| pair[0] + 1 != pair[1]);
        if let Some(hole) = holes {
            self.spots.drain(..=hole);
        }
        let newest = self.spots.back().map_or(self.seq, |spot| spot.seq);
        let is_whole = newest == self.seq;
        self.seq = newest;
        is_whole
    }

    fn held_bytes(&self, spot: &Spot) -> u64 {
        MESSAGE_BYTES + self.name.len() as u64 + u64::from(spot.bytes)
    }
}

/// Leaves out the oldest messages until the others take `bytes_max` at most: first every topic has
/// its newest, then every topic its newest but one, and so on. Returns how many were left out.
pub(super) fn fit(topics: &mut [Stored], bytes_max: u64) -> u64 {
    let all: u64 = topics.iter().map(|topic| topic.spots.len() as u64).sum();
    let (mut room, mut kept) = (bytes_max, 0);
    let mut counts = vec![0; topics.len()];
    let mut growing: Vec<usize> = (0..topics.len()).collect();
    while !growing.is_empty() {
        growing.retain(|&at| {
            let topic = &topics[at];
            let next = topic.spots.iter().rev().nth(counts[at]);
            let Some(left) = next.and_then(|spot| room.checked_sub(topic.held_bytes(spot))) else {
                return false;
            };
            (room, counts[at], kept) = (left, counts[at] + 1, kept + 1);
            true
        });
    }
    for (topic, count) in topics.iter_mut().zip(counts) {
        topic.spots.drain(..topic.spots.len() - count);
    }
    all - kept
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { messages: 3, age_ms: 1_000, level: Level::Durable };

    fn index(pieces: Vec<Piece<'static>>) -> Index {
        index_with(LIMITS, pieces)
    }

    fn index_with(limits: Limits, pieces: Vec<Piece<'static>>) -> Index {
        let mut index = Index::default();
        index.begin_segment();
        for piece in pieces {
            index.take(0, piece, |name| (name != "gone").then_some(limits));
        }
        index
    }

    fn topic(id: u64, level: Level, name: &'static str) -> Piece<'static> {
        Piece::Record(Record::Topic(TopicRecord { id, epoch: id, seq: 0, level, name }), 0)
    }

    fn message(id: u64, seq: u64) -> Piece<'static> {
        message_at(id, seq, 500)
    }

    fn message_at(id: u64, seq: u64, at_unix_ms: u64) -> Piece<'static> {
        let payload = Payload::Json(b"12345678");
        Piece::Record(Record::Message(MessageRecord { id, seq, at_unix_ms, payload }), seq)
    }

    fn seqs(topic: &Stored) -> Vec<u64> {
        topic.spots.iter().map(|spot| spot.seq).collect()
    }

    #[test]
    fn a_durable_topic_goes_on_where_it_stood() {
        let mut pieces = vec![topic(1, Level::Durable, "a")];
        pieces.extend((1..=5).map(|seq| message(1, seq)));
        // A checkpoint writes older ones again.
        pieces.extend([message(1, 4), message(1, 3), message(1, 2)]);
        let topics = index(pieces).finish(600, || panic!("no new epoch"));
        assert_eq!((topics[0].epoch, topics[0].seq, seqs(&topics[0])), (1, 5, vec![3, 4, 5]));
    }

    #[test]
    fn an_accepted_topic_goes_on_after_a_clean_end_only() {
        let pieces = || vec![topic(1, Level::Accepted, "a"), message(1, 1)];
        let topics = index(pieces()).finish(600, || 9);
        assert_eq!((topics[0].epoch, topics[0].seq, seqs(&topics[0])), (9, 1, vec![1]));
        let mut clean = pieces();
        clean.push(Piece::Record(Record::Clean, 0));
        let mut ended = index(clean);
        assert_eq!(index(pieces()).finish(600, || 9)[0].id, 1);
        ended.begin_segment();
        assert!(!ended.is_clean, "a later run has begun a segment and did not end it");
    }

    #[test]
    fn the_log_is_told_of_another_level_before_anybody_publishes() {
        let accepted = Limits { level: Level::Accepted, ..LIMITS };
        for (on_disk, limits, is_news) in [
            (Level::Durable, LIMITS, false),
            (Level::Durable, accepted, true),
            (Level::Accepted, LIMITS, true),
        ] {
            let clean = Piece::Record(Record::Clean, 0);
            let pieces = vec![topic(1, on_disk, "a"), message(1, 1), clean];
            let topics = index_with(limits, pieces).finish(600, || panic!("no new epoch"));
            assert_eq!(topics[0].is_news, is_news, "{on_disk:?} {limits:?}");
            let Record::Topic(told) = topics[0].record() else { panic!() };
            assert_eq!((told.level, told.seq), (limits.level, 1));
        }
        // What was promised holds: nobody has seen more than is there.
        let pieces = vec![topic(1, Level::Durable, "a"), message(1, 1)];
        let topics = index_with(accepted, pieces).finish(600, || panic!("no new epoch"));
        assert_eq!((topics[0].epoch, topics[0].is_news), (1, true));
    }

    #[test]
    fn a_new_epoch_forgets_what_was_lost_of_the_one_before() {
        let lost = TopicRecord { id: 1, epoch: 1, seq: 9, level: Level::Accepted, name: "a" };
        let renumbered = TopicRecord { epoch: 5, seq: 7, ..lost };
        let pieces = vec![
            Piece::Record(Record::Topic(lost), 0),
            message(1, 7),
            Piece::Record(Record::Topic(renumbered), 0),
            message(1, 8),
            Piece::Record(Record::Clean, 0),
        ];
        let topics = index(pieces).finish(600, || panic!("no new epoch"));
        assert_eq!((topics[0].epoch, topics[0].seq, seqs(&topics[0])), (5, 8, vec![7, 8]));
    }

    #[test]
    fn damage_costs_the_epoch_of_those_that_it_may_have_been_about() {
        let pieces = vec![
            topic(1, Level::Durable, "before"),
            message(1, 1),
            topic(2, Level::Durable, "across"),
            message(2, 1),
            topic(3, Level::Durable, "after"),
            Piece::Damage,
            message(2, 3),
            message(3, 1),
        ];
        let topics = index(pieces).finish(600, || 9);
        let found = |name: &str| topics.iter().find(|topic| &*topic.name == name).unwrap();
        assert_eq!((found("before").epoch, seqs(found("before"))), (9, vec![1]));
        assert_eq!((found("across").epoch, seqs(found("across"))), (2, vec![3]));
        assert_eq!((found("after").epoch, seqs(found("after"))), (3, vec![1]));
    }

    #[test]
    fn what_is_too_old_forgotten_or_no_longer_stored_is_left_out() {
        let pieces = vec![
            topic(1, Level::Durable, "a"),
            message(1, 1),
            topic(2, Level::Durable, "b"),
            Piece::Record(Record::Forgotten { id: 2 }, 0),
            topic(3, Level::Durable, "gone"),
            message(3, 1),
            topic(4, Level::Durable, "a"),
        ];
        let topics = index(pieces).finish(2_000, || panic!("no new epoch"));
        let left: Vec<_> = topics.iter().map(|topic| (topic.id, topic.seq)).collect();
        assert_eq!(left, [(4, 0)], "the later of one name, and nothing else");
        let topics = index(vec![topic(1, Level::Durable, "a"), message(1, 7)]).finish(2_000, || 9);
        assert_eq!((topics[0].epoch, topics[0].seq, seqs(&topics[0])), (1, 7, vec![]), "its age");
    }

    #[test]
    fn what_is_left_ends_with_the_newest_though_the_clock_was_set_back() {
        let left = |times: [u64; 3]| {
            let mut pieces = vec![topic(1, Level::Durable, "a")];
            pieces.extend((1..).zip(times).map(|(seq, at_ms)| message_at(1, seq, at_ms)));
            let topics = index(pieces).finish(3_000, || panic!("no new epoch"));
            (topics[0].seq, seqs(&topics[0]))
        };
        assert_eq!(left([2_500, 2_600, 1_000]), (3, vec![]), "the newest is too old");
        assert_eq!(left([2_500, 1_000, 2_600]), (3, vec![3]));
        assert_eq!(left([1_000, 2_500, 2_600]), (3, vec![2, 3]));
    }

    #[test]
    fn where_room_is_short_every_topic_has_its_newest_first() {
        let mut pieces = vec![topic(1, Level::Durable, "a"), topic(2, Level::Durable, "b")];
        pieces.extend((1..=3).map(|seq| message(1, seq)));
        pieces.push(message(2, 1));
        let mut topics = index(pieces).finish(600, || panic!("no new epoch"));
        let each = MESSAGE_BYTES + 1 + 8;
        assert_eq!(fit(&mut topics, 4 * each), 0);
        assert_eq!(fit(&mut topics, 3 * each), 1);
        assert_eq!((seqs(&topics[0]), seqs(&topics[1])), (vec![2, 3], vec![1]));
        assert_eq!(fit(&mut topics, 2 * each), 1);
        assert_eq!((seqs(&topics[0]), seqs(&topics[1])), (vec![3], vec![1]));
    }
}
