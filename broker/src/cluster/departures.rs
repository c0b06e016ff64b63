//! The numbers of what this node sends: each topic's messages are counted, and heartbeats tell how
//! far the count is, so that the others know what they have missed.
//!
//! Knows no sockets and no clock: beats are its time. Called by `sending`.

use std::collections::VecDeque;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::envelope::Place;

/// How often a count is told after the last message: heartbeats may be lost too. For longer than it
/// takes to find that a node is gone: when it is back, all counts are told anew.
const TELLS: u8 = 5;
/// Beats after which a topic that nothing was published on is forgotten; a later message begins a
/// new stretch.
const FORGET_BEATS: u64 = 300;
/// The same while there are more than half of [`LINES_MAX`].
const FORGET_BEATS_MIN: u64 = 10;
/// Most topics that are counted; for a further one the one that was looked at longest ago is
/// forgotten.
const LINES_MAX: usize = 1_000_000;
/// Topics that are looked at in one beat whether they can be forgotten.
const SWEEP_MAX: usize = 32 * 1024;

/// What is counted.
#[derive(Debug, Default)]
pub struct Departures {
    lines: HashMap<Arc<str>, Line, RandomState>,
    /// Topics whose count is to be told.
    to_tell: VecDeque<Arc<str>>,
    /// All topics, in the order in which to look whether they can be forgotten.
    to_sweep: VecDeque<Arc<str>>,
    beat: u64,
}

#[derive(Debug)]
struct Line {
    place: Place,
    /// The beat after which it was published on last.
    beat: u64,
    tells_left: u8,
    is_queued: bool,
}

impl Departures {
    /// The place of the next message of a topic; `None` if there are too many topics of which each
    /// began in this second.
    pub fn next(&mut self, topic: &str) -> Option<Place> {
        let beat = self.beat;
        if !self.lines.contains_key(topic) {
            if self.lines.len() >= LINES_MAX {
                self.forget_oldest()?;
            }
            let topic: Arc<str> = topic.into();
            let place = Place { stretch: beat, number: 0 };
            let line = Line { place, beat, tells_left: 0, is_queued: false };
            self.lines.insert(topic.clone(), line);
            self.to_sweep.push_back(topic);
        }
        let (topic, line) = self.lines.get_key_value_mut(topic)?;
        line.place.number += 1;
        line.beat = beat;
        line.tells_left = TELLS;
        if !std::mem::replace(&mut line.is_queued, true) {
            self.to_tell.push_back(topic.clone());
        }
        Some(line.place)
    }

    /// Its next message begins a new stretch, which must have another name.
    fn forget_oldest(&mut self) -> Option<()> {
        let oldest = self.to_sweep.front()?;
        if self.lines.get(oldest).is_some_and(|line| line.place.stretch == self.beat) {
            return None;
        }
        let oldest = self.to_sweep.pop_front()?;
        self.lines.remove(&oldest);
        Some(())
    }

    /// A second has passed; its number.
    pub fn beat(&mut self) -> u64 {
        self.beat += 1;
        self.beat
    }

    /// Gives `tell` what is to be told now, at most `limit` topics.
    pub fn tell(&mut self, limit: usize, mut tell: impl FnMut(&str, Place)) {
        for _ in 0..limit.min(self.to_tell.len()) {
            let Some(topic) = self.to_tell.pop_front() else { return };
            let Some(line) = self.lines.get_mut(&*topic) else { continue };
            tell(&topic, line.place);
            line.tells_left = line.tells_left.saturating_sub(1);
            line.is_queued = line.tells_left > 0;
            if line.is_queued {
                self.to_tell.push_back(topic);
            }
        }
    }

    /// All counts are to be told: somebody may have missed something.
    pub fn tell_all(&mut self) {
        for (topic, line) in &mut self.lines {
            line.tells_left = line.tells_left.max(1);
            if !std::mem::replace(&mut line.is_queued, true) {
                self.to_tell.push_back(topic.clone());
            }
        }
    }

    /// Forgets topics that nothing was published on for long. Not to be called while the others
    /// can't be told of them.
    pub fn forget(&mut self) {
        let is_crowded = self.lines.len() > LINES_MAX / 2;
        let age = if is_crowded { FORGET_BEATS_MIN } else { FORGET_BEATS };
        for _ in 0..SWEEP_MAX.min(self.to_sweep.len()) {
            let Some(topic) = self.to_sweep.pop_front() else { return };
            let Some(line) = self.lines.get(&*topic) else { continue };
            if !line.is_queued && line.beat + age <= self.beat {
                self.lines.remove(&*topic);
            } else {
                self.to_sweep.push_back(topic);
            }
        }
    }

    /// The topics that may have been forgotten by their subscribers wait as if just published on:
    /// nothing is forgotten for a while.
    pub fn refresh(&mut self) {
        for line in self.lines.values_mut() {
            line.beat = self.beat;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(departures: &mut Departures) -> Vec<(String, u64)> {
        let mut told = Vec::new();
        departures.tell(100, |topic, place| told.push((topic.to_owned(), place.number)));
        told
    }

    #[test]
    fn a_count_is_told_several_times_after_the_last_message() {
        let mut departures = Departures::default();
        for number in 1..=5 {
            assert_eq!(departures.next("a"), Some(Place { stretch: 0, number }));
        }
        assert_eq!(told(&mut departures), [("a".to_owned(), 5)]);
        departures.next("a");
        for _ in 0..TELLS {
            assert_eq!(told(&mut departures), [("a".to_owned(), 6)]);
        }
        assert_eq!(told(&mut departures), []);
        departures.tell_all();
        assert_eq!(told(&mut departures), [("a".to_owned(), 6)]);
        assert_eq!(told(&mut departures), []);
    }

    #[test]
    fn a_topic_that_was_forgotten_begins_a_new_stretch() {
        let mut departures = Departures::default();
        departures.next("a");
        for _ in 0..FORGET_BEATS {
            departures.beat();
            told(&mut departures);
            departures.forget();
        }
        let place = Place { stretch: FORGET_BEATS, number: 1 };
        assert_eq!(departures.next("a"), Some(place));
        assert_eq!(departures.lines.len(), 1);
    }

    #[test]
    fn the_oldest_gives_way_and_begins_a_stretch_of_another_name() {
        let mut departures = Departures::default();
        departures.next("a");
        departures.next("b");
        assert_eq!(departures.forget_oldest(), None, "it could not be told from what was");
        departures.beat();
        assert_eq!(departures.forget_oldest(), Some(()));
        assert_eq!(departures.next("a"), Some(Place { stretch: 1, number: 1 }));
        assert_eq!(departures.next("b"), Some(Place { stretch: 0, number: 2 }));
    }

    #[test]
    fn what_is_still_to_be_told_is_not_forgotten() {
        let mut departures = Departures::default();
        departures.next("a");
        for _ in 0..2 * FORGET_BEATS {
            departures.beat();
            departures.forget();
        }
        assert_eq!(told(&mut departures), [("a".to_owned(), 1)]);
    }
}
