//! Who is subscribed to a topic, where its rule lets that be known, and what is told of it: each
//! coming and going at once while the topic is small, once a second when it is larger, and only
//! how many there are when it is very large. Those on other nodes are among them while somebody
//! here is told.
//!
//! Guarded by the topic's lock, so that everybody hears of it in one order.

use std::collections::BTreeMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};

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
    /// What other nodes told last, by their runs.
    elsewhere: BTreeMap<u64, Roster>,
    watchers: WorkerSet,
    change: Change,
    /// Who is subscribed on this node has changed since the other nodes were told.
    is_news: bool,
    /// Somebody has undertaken to tell of the change within a second.
    pub is_due: bool,
}

/// Who is subscribed to a topic on one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    /// How many there are.
    pub count: u64,
    /// Those of them that are remembered, at most [`MEMBERS_MAX`], in the order of their sessions.
    pub people: Vec<Person>,
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
        self.is_news = true;
        if self.here.len() >= MEMBERS_MAX {
            return;
        }
        self.here.insert(person.session, person.user.clone());
        self.came(person);
    }

    /// A session is no longer subscribed.
    pub fn leave(&mut self, session: u64) {
        self.count = self.count.saturating_sub(1);
        self.is_news = true;
        let Some(user) = self.here.remove(&session) else { return };
        self.went(Person { session, user });
    }

    /// Another node tells who is subscribed there now. Who was there before this node knew, which
    /// is `known` to whoever asked, is counted and not told as one who comes. Whether that is
    /// another roster than before; to be called while somebody here wants to know.
    pub fn replace(&mut self, run: u64, roster: Roster, known: bool) -> bool {
        let old = self.elsewhere.insert(run, roster).unwrap_or_default();
        let Some(new) = self.elsewhere.get(&run).filter(|new| **new != old) else { return false };
        let (here, were) = (sessions(&new.people), sessions(&old.people));
        let came = new.people.iter().filter(|person| !known && !were.contains(&person.session));
        let came: Vec<Person> = came.cloned().collect();
        came.into_iter().for_each(|person| self.came(person));
        let went = old.people.into_iter().filter(|person| !here.contains(&person.session));
        went.for_each(|person| self.went(person));
        true
    }

    /// Another node is gone, and those who were subscribed there; whether there were any.
    pub fn lose(&mut self, run: u64) -> bool {
        let Some(old) = self.elsewhere.remove(&run) else { return false };
        old.people.into_iter().for_each(|person| self.went(person));
        old.count > 0
    }

    /// Workers with a subscriber that wants to be told, from here on. What is not told of yet, and
    /// what is known of other nodes, is forgotten with the last of them.
    pub fn set_watchers(&mut self, watchers: WorkerSet) {
        self.watchers = watchers;
        if watchers == 0 {
            self.change = Change::default();
            self.elsewhere = BTreeMap::new();
        }
    }

    /// Workers with a subscriber that wants to be told.
    pub fn watchers(&self) -> WorkerSet {
        self.watchers
    }

    /// How many there are, with those on other nodes.
    pub fn count(&self) -> u64 {
        self.elsewhere.values().fold(self.count, |sum, other| sum.saturating_add(other.count))
    }

    /// Those on this node.
    pub fn roster(&self) -> Roster {
        let person = |(&session, user): (_, &Option<_>)| Person { session, user: user.clone() };
        let mut people: Vec<Person> = self.here.iter().map(person).collect();
        people.sort_unstable_by_key(|person| person.session);
        Roster { count: self.count, people }
    }

    /// Whether the other nodes are to be told who is here; they are, from here on.
    pub fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.is_news)
    }

    fn came(&mut self, person: Person) {
        if self.watchers != 0 {
            note(&mut self.change.joined, &mut self.change.left, person);
        }
    }

    fn went(&mut self, person: Person) {
        if self.watchers != 0 {
            note(&mut self.change.left, &mut self.change.joined, person);
        }
    }

    /// Whether a change is to be told of at once, not gathered.
    pub fn is_small(&self) -> bool {
        self.count() <= TOLD_AT_ONCE_MAX
    }

    /// What has changed since the last call; above [`MEMBERS_MAX`] only the number.
    pub fn take_change(&mut self) -> Change {
        self.is_due = false;
        let mut change = std::mem::take(&mut self.change);
        let count = self.count();
        if count > MEMBERS_MAX as u64 {
            change = Change::default();
        }
        change.count = count;
        change
    }
}

/// Notes what a session did, unless it undoes what is noted of it already.
fn note(done: &mut Vec<Person>, undone: &mut Vec<Person>, person: Person) {
    match undone.iter().position(|noted| noted.session == person.session) {
        Some(at) => drop(undone.swap_remove(at)),
        None => done.push(person),
    }
}

fn sessions(people: &[Person]) -> HashSet<u64, RandomState> {
    people.iter().map(|person| person.session).collect()
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
        assert_eq!(members.roster().people.len(), MEMBERS_MAX);
        members.leave(MEMBERS_MAX as u64);
        assert_eq!(members.count(), MEMBERS_MAX as u64);
    }

    fn roster(sessions: &[u64]) -> Roster {
        let people: Vec<Person> = sessions.iter().copied().map(person).collect();
        Roster { count: people.len() as u64, people }
    }

    #[test]
    fn those_on_other_nodes_come_and_go_with_their_rosters() {
        let mut members = Members { watchers: 1, ..Members::default() };
        members.join(person(1));
        assert!(members.replace(7, roster(&[70, 71]), true));
        let change = members.take_change();
        assert_eq!((change.joined, change.count), (vec![person(1)], 3), "70 and 71 were there");
        members.replace(7, roster(&[71, 72]), false);
        members.replace(8, roster(&[80]), false);
        assert!(!members.replace(8, roster(&[80]), false), "nothing new");
        let change = members.take_change();
        assert_eq!((change.joined, change.count), (vec![person(72), person(80)], 4));
        assert_eq!(change.left, [person(70)]);
        assert!(members.lose(7));
        assert!(!members.lose(7));
        let change = members.take_change();
        assert_eq!((change.left, change.count), (vec![person(71), person(72)], 2));
        assert_eq!(members.roster(), roster(&[1]), "this node's own");
        members.set_watchers(0);
        assert_eq!(members.count(), 1);
        assert!(members.take_news() && !members.take_news(), "of what was done here alone");
        members.replace(8, roster(&[81]), false);
        assert!(!members.take_news());
    }
}
