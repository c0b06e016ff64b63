//! Who subscribes to what, where that is no regular pattern: each subscriber has groups of
//! subscriptions, which it opens and closes as one, such as the panels of a dashboard or the rooms
//! of a chat. Pure data, part of the plan; read by all workers alike.

use std::ops::Range;

use broker_proto::topic::Filter;
use serde::{Deserialize, Serialize};

use super::Latest;

/// All subscriptions of a run. A subscriber's accounts are its topics in ascending order.
///
/// ```
/// use loadgen::engine::{Group, Layout};
///
/// let mut layout = Layout::new(6);
/// layout.push(vec![Group::of(vec![4, 5]), Group::of(vec![1])]);
/// assert_eq!(layout.topics_of(0), [1, 4, 5]);
/// assert_eq!((layout.place_of(0, 4), layout.place_of(0, 2)), (Some(1), None));
/// assert_eq!((layout.groups_of(0), layout.accounts(1)), (0..2, 1..3));
/// ```
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Layout {
    /// A subscribe asks for the last message of each topic.
    pub last: bool,
    /// A subscribe asks to be told who joins and leaves.
    pub presence: bool,
    /// Which groups are closed and opened again while messages flow.
    pub flips: Option<Flips>,
    groups: Vec<Group>,
    /// By subscriber: where its groups begin and end.
    of: Vec<Range<u32>>,
    /// By subscriber: all topics of its groups.
    topics: Vec<Vec<u32>>,
    /// By topic.
    subscribers: Vec<u64>,
}

/// What one subscriber opens and closes as one.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Group {
    /// Its topics, ascending, of which no other group of the subscriber has any.
    pub topics: Vec<u32>,
    /// The filter that matches all of them; none where each is subscribed to by itself.
    pub filter: Option<String>,
    /// Only the newest of each topic.
    pub latest: Option<Latest>,
    /// The place of its first topic among the subscriber's.
    place: u32,
}

/// Groups are closed in turn, at a steady rate, and opened again.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Flips {
    /// How many subscribers take part, at least one: the first so many.
    pub subscribers: u32,
    /// How many groups are closed in a second.
    pub per_second: f64,
    /// How long each stays closed.
    pub away_ns: u64,
}

impl Group {
    /// Every message of these topics, each subscribed to by itself.
    #[must_use]
    pub fn of(topics: Vec<u32>) -> Self {
        Self { topics, filter: None, latest: None, place: 0 }
    }

    /// The places of its topics among those of its subscriber.
    #[must_use]
    pub fn places(&self) -> Range<u32> {
        self.place..self.place + self.topics.len() as u32
    }

    /// What it subscribes to: filters, each with the place of the first topic it stands for.
    pub fn filters<'a>(&'a self, names: &'a [String]) -> impl Iterator<Item = (u32, &'a str)> {
        let one = self.filter.as_deref().map(|filter| (self.place, filter));
        let each = self.places().zip(&self.topics).filter(|_| self.filter.is_none());
        one.into_iter().chain(each.map(|(place, &topic)| (place, names[topic as usize].as_str())))
    }
}

impl Layout {
    /// Nobody yet, and so many topics.
    #[must_use]
    pub fn new(topics: u32) -> Self {
        Self {
            last: false,
            presence: false,
            flips: None,
            groups: Vec::new(),
            of: Vec::new(),
            topics: Vec::new(),
            subscribers: vec![0; topics as usize],
        }
    }

    /// Whether it is one for so many subscribers and topics, whoever made it.
    pub(super) fn fits(&self, subscribers: u32, topics: u32) -> bool {
        let groups_fit = |of: &Range<u32>, listed: &Vec<u32>| {
            let Some(groups) = self.groups.get(of.start as usize..of.end as usize) else {
                return false;
            };
            let mut place = 0;
            let follow = groups.iter().all(|group| {
                let is_next = group.place == place;
                place += group.topics.len() as u32;
                let is_filter = |filter: &String| Filter::new(filter).is_ok();
                is_next
                    && group.filter.as_ref().is_none_or(is_filter)
                    && group.latest.is_none_or(|latest| latest.is_sound())
            });
            let is_ascending = listed.is_sorted_by(|one, other| one < other);
            let are_there = listed.last().is_some_and(|&topic| topic < topics);
            let are_theirs = groups.iter().flat_map(|group| &group.topics).eq(listed);
            follow && is_ascending && are_there && are_theirs
        };
        self.of.len() == subscribers as usize
            && self.topics.len() == self.of.len()
            && self.subscribers.len() == topics as usize
            && self.of.iter().zip(&self.topics).all(|(of, listed)| groups_fit(of, listed))
            && self.flips.is_none_or(|flips| {
                (1..=subscribers).contains(&flips.subscribers) && flips.per_second > 0.0
            })
    }

    /// The next subscriber has these groups.
    pub fn push(&mut self, mut groups: Vec<Group>) {
        groups.sort_by(|one, other| one.topics.cmp(&other.topics));
        let begin = self.groups.len() as u32;
        let mut topics = Vec::new();
        for mut group in groups {
            group.place = topics.len() as u32;
            for &topic in &group.topics {
                self.subscribers[topic as usize] += 1;
                topics.push(topic);
            }
            self.groups.push(group);
        }
        debug_assert!(topics.is_sorted_by(|one, other| one < other), "groups overlap");
        self.of.push(begin..self.groups.len() as u32);
        self.topics.push(topics);
    }

    /// A subscriber's topics, in the order of its accounts.
    #[must_use]
    pub fn topics_of(&self, subscriber: u32) -> &[u32] {
        &self.topics[subscriber as usize]
    }

    /// Which of a subscriber's topics this is, from 0; none if it is not among them.
    #[must_use]
    pub fn place_of(&self, subscriber: u32, topic: u32) -> Option<u32> {
        self.topics_of(subscriber).binary_search(&topic).ok().map(|place| place as u32)
    }

    /// How many subscribe to a topic.
    #[must_use]
    pub fn subscribers_of(&self, topic: u32) -> u64 {
        self.subscribers[topic as usize]
    }

    /// The numbers of a subscriber's groups.
    #[must_use]
    pub fn groups_of(&self, subscriber: u32) -> Range<u32> {
        self.of[subscriber as usize].clone()
    }

    /// The group with this number.
    #[must_use]
    pub fn group(&self, number: u32) -> &Group {
        &self.groups[number as usize]
    }

    /// The places of a group's topics among those of its subscriber.
    #[must_use]
    pub fn accounts(&self, group: u32) -> Range<u32> {
        self.group(group).places()
    }

    /// The group of a subscriber's topic at this place.
    #[must_use]
    pub fn group_at(&self, subscriber: u32, place: u32) -> u32 {
        let groups = self.groups_of(subscriber);
        let own = &self.groups[groups.start as usize..groups.end as usize];
        groups.start + own.partition_point(|group| group.place <= place) as u32 - 1
    }

    /// All groups.
    #[must_use]
    pub fn group_count(&self) -> usize {
        self.groups.len()
    }
}

impl Flips {
    /// Whose group is to be closed next, and which of it counted from 0 on for ever, if by
    /// `after_ns` after the start it is time; `turn` counts them.
    pub fn next_due(&self, turn: &mut u64, after_ns: u64) -> Option<(u32, u64)> {
        let due_after_ns = ((*turn + 1) as f64 * 1e9 / self.per_second) as u64;
        if due_after_ns > after_ns {
            return None;
        }
        let subscribers = u64::from(self.subscribers);
        let next = ((*turn % subscribers) as u32, *turn / subscribers);
        *turn += 1;
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_stand_side_by_side_in_the_order_of_their_topics() {
        let mut layout = Layout::new(9);
        let wide = Group { filter: Some("a/+".into()), ..Group::of(vec![0, 1, 2]) };
        layout.push(vec![Group::of(vec![7]), wide, Group::of(vec![4, 5])]);
        layout.push(vec![Group::of(vec![5])]);
        assert_eq!(layout.topics_of(0), [0, 1, 2, 4, 5, 7]);
        assert_eq!([0, 2, 3, 4, 5].map(|place| layout.group_at(0, place)), [0, 0, 1, 1, 2]);
        assert_eq!((layout.group_at(1, 0), layout.subscribers_of(5)), (3, 2));
        assert!(layout.fits(2, 9) && !layout.fits(3, 9) && !layout.fits(2, 8));
        let mut broken = layout.clone();
        broken.topics[1] = vec![9];
        assert!(!broken.fits(2, 9));
        broken = layout.clone();
        broken.groups[1].place = 7;
        assert!(!broken.fits(2, 9));
        let names: Vec<String> = (0..9).map(|topic| format!("t{topic}")).collect();
        let filters = |group| layout.group(group).filters(&names).collect::<Vec<_>>();
        assert_eq!(filters(0), [(0, "a/+")]);
        assert_eq!(filters(1), [(3, "t4"), (4, "t5")]);
    }

    #[test]
    fn all_who_take_part_have_their_turn_before_anybody_has_another() {
        let flips = Flips { subscribers: 2, per_second: 10.0, away_ns: 0 };
        let mut turn = 0;
        assert_eq!(flips.next_due(&mut turn, 99_999_999), None);
        let due: Vec<_> = (0..4).map(|_| flips.next_due(&mut turn, 400_000_000)).collect();
        assert_eq!(due, [Some((0, 0)), Some((1, 0)), Some((0, 1)), Some((1, 1))]);
    }
}
