//! Members of a topic on several nodes: each tells the others who is subscribed on it, whole every
//! time, so that what is lost is made good by what comes next. And the command that asks for all.
//!
//! The way there is the [`uplink`](super::uplink); what comes back is given to the
//! [`Desk`]. What is done with it is in [`presence`](super::presence).

use std::sync::Arc;

use broker_proto::command::CommandError;
use broker_proto::topic::Topic as TopicName;

use super::Shared;
use super::desk::Desk;
use super::log::Asker;
use super::mailbox::Mail;
use super::presence::{MEMBERS_MAX, Members, Person, Roster};
use super::topic::{Topic, TopicState};
use super::uplink::{Uplink, Upward};

/// Who is subscribed to a topic on this node, for the others.
#[derive(Debug)]
pub struct RosterMail {
    /// The topic.
    pub topic: Box<str>,
    /// Its members; of more than [`MEMBERS_MAX`] only how many there are.
    pub roster: Roster,
}

/// A client's question who is subscribed to a topic.
#[derive(Debug)]
pub struct MembersAsked {
    /// The topic.
    pub topic: Box<str>,
    /// Who asks.
    pub asker: Asker,
}

/// The answer to it.
#[derive(Debug)]
pub struct MembersMail {
    /// The question.
    pub asked: MembersAsked,
    /// Who is subscribed, on all nodes, or why that can't be said.
    pub told: Result<Roster, CommandError>,
}

impl RosterMail {
    /// Bytes of memory it takes besides itself.
    pub(super) fn held_bytes(&self) -> usize {
        self.topic.len() + self.roster.held_bytes()
    }
}

impl MembersAsked {
    /// The same.
    pub(super) fn held_bytes(&self) -> usize {
        self.topic.len()
    }
}

impl MembersMail {
    /// Bytes of memory it takes.
    pub(super) fn held_bytes(&self) -> usize {
        size_of::<Self>() + self.told.as_ref().map_or(0, Roster::held_bytes)
    }
}

impl Roster {
    /// Names are counted each, though one may be shared.
    fn held_bytes(&self) -> usize {
        let names = self.people.iter().flat_map(|person| &person.user);
        size_of_val(&*self.people) + names.map(|user| user.len()).sum::<usize>()
    }

    /// With the members of another node.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.count = self.count.saturating_add(other.count);
        self.people.extend(other.people);
        self.people.sort_unstable_by_key(|person| person.session);
        self.people.truncate(MEMBERS_MAX);
        self
    }
}

impl Shared {
    /// Tells the other nodes who is subscribed here, whether they want to know or not. Called under
    /// the topic's lock.
    pub(super) fn tell_nodes(&self, topic: &Topic, state: &TopicState) {
        let uplink = self.way_to_nodes(topic.name(), state.rule());
        let (Some(uplink), Some(members)) = (uplink, state.members()) else { return };
        tell(uplink, topic.name(), members.roster());
    }

    /// The first subscriber here that is told of a topic's members came, or the last one left; called
    /// under its lock.
    pub(super) fn watch_members(&self, topic: &Topic, state: &TopicState, watched: bool) {
        if let Some(uplink) = self.way_to_nodes(topic.name(), state.rule()) {
            uplink.push(Upward::Watched { topic: topic.as_str().into(), watched }, None);
        }
    }
}

/// Left out while more waits to be told than should: who wants to know asks now and then.
fn tell(uplink: &Uplink, topic: TopicName<'_>, mut roster: Roster) {
    if uplink.is_full() {
        return;
    }
    if roster.count > MEMBERS_MAX as u64 {
        roster.people = Vec::new();
    }
    let mail = RosterMail { topic: topic.as_str().into(), roster };
    uplink.push(Upward::Roster(mail), None);
}

impl Desk {
    /// Another node wants to know who is subscribed here: all are told.
    pub fn tell_members(&self, name: TopicName<'_>) {
        let shared = self.shared();
        let rule = shared.directory.rule_of(name);
        let Some(uplink) = shared.way_to_nodes(name, &rule) else { return };
        match shared.directory.find(name) {
            Some(topic) => shared.tell_nodes(&topic, &topic.look()),
            None => tell(uplink, name, Roster::default()),
        }
    }

    /// Another node, of that run, tells who is subscribed there; `known` is what
    /// [`Members::replace`](super::presence::Members::replace) takes. False if nobody here wants to
    /// know any more.
    pub fn take_members(&self, run: u64, name: TopicName<'_>, roster: Roster, known: bool) -> bool {
        self.change_members(name, |members| members.replace(run, roster, known))
    }

    /// Another node, of that run, is gone. False if nobody here wants to know any more.
    pub fn lose_members(&self, run: u64, name: TopicName<'_>) -> bool {
        self.change_members(name, |members| members.lose(run))
    }

    /// `change` says whether there is something to know.
    fn change_members(
        &self,
        name: TopicName<'_>,
        change: impl FnOnce(&mut Members) -> bool,
    ) -> bool {
        let shared = self.shared();
        let Some(topic) = shared.directory.find(name) else { return false };
        let mut state = topic.look();
        let is_wanted = |members: &&mut Members| members.watchers() != 0;
        let Some(members) = state.members_mut().filter(is_wanted) else { return false };
        if !change(members) {
            return true;
        }
        let wakes = if members.is_small() {
            shared.post_change(&topic, &mut state)
        } else if std::mem::replace(&mut members.is_due, true) {
            0
        } else {
            // One that has somebody to tell.
            let worker = members.watchers().trailing_zeros() as usize;
            let pushed = shared.mailbox(worker).push(Mail::Changed(topic.clone()), None);
            u64::from(pushed.wake) << worker
        };
        drop(state);
        self.wake(wakes);
        true
    }

    /// Answers a client who is subscribed to a topic, with those on this node added as of now.
    pub fn answer_members(&self, asked: MembersAsked, told: Result<Roster, CommandError>) {
        let worker = asked.asker.worker;
        let Ok(name) = TopicName::new(&asked.topic) else { return };
        let told = told.map(|others| self.shared().members_of(name).and(others));
        let mail = Mail::Members(Arc::new(MembersMail { asked, told }));
        let pushed = self.shared().mailbox(worker).push(mail, None);
        self.wake(u64::from(pushed.wake) << worker);
    }
}

/// A member as another node tells of it.
pub fn person(session: u64, user: Option<&str>) -> Person {
    Person { session, user: user.map(Into::into) }
}
