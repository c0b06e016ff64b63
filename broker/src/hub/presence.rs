//! Who is subscribed to a topic, where its rule lets that be known, and what is told of it: each
//! coming and going at once while the topic is small, once a second when it is larger, and only
//! how many there are when it is very large.
//!
//! Guarded by the topic's lock, so that everybody hears of it in one order.

use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::topic::Topic;
use super::workers::WorkerSet;

/// With more members than this, comings and goings are gathered for a second.
pub const TOLD_AT_ONCE_MAX: u64 = 50;
/// So many members are remembered; of further ones only the number is known.
pub const MEMBERS_MAX: usize = 1_000;

/// A session that is subscribed to a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The number of the connection.
    pub session: u64,
    /// Who it is, if a token said so.
    pub user: Option<Arc<str>>,
}

/// The members of one topic.
#[derive(Debug, Default)]
pub struct Members {
    here: HashMap<u64, Option<Arc<str>>, RandomState>,
    count: u64,
    /// Workers with a subscriber that wants to be told.
    pub watchers: WorkerSet,
    change: Change,
    /// Somebody has undertaken to tell of the change within a second.
    pub is_due: bool,
}

/// Who came and who went, and has not been told of yet.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// Who came.
    pub joined: Vec<Person>,
    /// Who went.
    pub left: Vec<Person>,
    /// How many there are afterwards.
    pub count: u64,
}

/// A change on its way to those who want to know.
#[derive(Clone, Debug)]
pub struct PresenceMail {
    /// The topic.
    pub topic: Arc<Topic>,
    /// What changed.
    pub change: Change,
}

impl Members {
    /// A session has subscribed.
    pub fn join(&mut self, person: Person) {
        self.count += 1;
        if self.here.len() >= MEMBERS_MAX {
            return;
        }
        self.here.insert(person.session, person.user.clone());
        if self.watchers != 0 {
            match self.change.left.iter().position(|left| left.session == person.session) {
                Some(at) => drop(self.change.left.swap_remove(at)),
                None => self.change.joined.push(person),
            }
        }
    }

    /// A session is no longer subscribed.
    pub fn leave(&mut self, session: u64) {
        self.count = self.count.saturating_sub(1);
        let Some(user) = self.here.remove(&session) else { return };
        if self.watchers != 0 {
            match self.change.joined.iter().position(|joined| joined.session == session) {
                Some(at) => drop(self.change.joined.swap_remove(at)),
                None => self.change.left.push(Person { session, user }),
            }
        }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Those that are remembered.
    pub fn here(&self) -> impl Iterator<Item = Person> {
        self.here.iter().map(|(&session, user)| Person { session, user: user.clone() })
    }

    /// Whether a change is to be told of at once, not gathered.
    pub fn is_small(&self) -> bool {
        self.count <= TOLD_AT_ONCE_MAX
    }

    /// What has changed since the last call; above [`MEMBERS_MAX`] only the number.
    pub fn take_change(&mut self) -> Change {
        self.is_due = false;
        let mut change = std::mem::take(&mut self.change);
        if self.count > MEMBERS_MAX as u64 {
            change = Change::default();
        }
        change.count = self.count;
        change
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(session: u64) -> Person {
        Person { session, user: None }
    }

    #[test]
    fn who_comes_and_goes_within_one_change_is_not_told_of() {
        let mut members = Members { watchers: 1, ..Members::default() };
        members.join(person(1));
        members.join(person(2));
        members.leave(1);
        let change = members.take_change();
        assert_eq!((change.joined, change.left, change.count), (vec![person(2)], vec![], 1));
        members.leave(2);
        members.join(person(2));
        let change = members.take_change();
        assert!(change.joined.is_empty() && change.left.is_empty());
    }

    #[test]
    fn of_very_many_only_the_number_is_told() {
        let mut members = Members { watchers: 1, ..Members::default() };
        (0..=MEMBERS_MAX as u64).for_each(|session| members.join(person(session)));
        let change = members.take_change();
        assert_eq!((change.joined.len(), change.count), (0, MEMBERS_MAX as u64 + 1));
        assert_eq!(members.here().count(), MEMBERS_MAX);
        members.leave(MEMBERS_MAX as u64);
        assert_eq!(members.count(), MEMBERS_MAX as u64);
    }
}
