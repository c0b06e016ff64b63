//! Presence, from the hub's side: sessions come to and leave the topics that let it be known, and
//! those who asked are told.

use std::sync::Arc;

use broker_proto::command::{Answer, CommandError, ErrorCode, Id, Member, Notice};
use broker_proto::topic::Topic as TopicName;

use super::lists::Watched;
use super::log::{AskedId, Asker};
use super::mailbox::Mail;
use super::presence::{Members, Person, PresenceMail, Roster};
use super::rosters::{MembersAsked, MembersMail};
use super::topic::{Topic, TopicState};
use super::uplink::Upward;
use super::workers::WorkerSet;
use super::{Hub, Shared};
use crate::config::rules::Presence;

impl Shared {
    /// Whether anyone may ask who is subscribed to a topic.
    ///
    /// # Errors
    /// `forbidden`: the topic's rule keeps it to itself.
    pub(super) fn may_know_members(&self, name: TopicName<'_>) -> Result<(), CommandError> {
        if self.directory.rule_of(name).presence != Presence::None {
            return Ok(());
        }
        let message = format!("who is subscribed to {} is not told", name.as_str());
        Err(CommandError::new(ErrorCode::Forbidden, message))
    }

    /// Who is subscribed to exactly this topic on this node.
    pub(super) fn members_of(&self, name: TopicName<'_>) -> Roster {
        let topic = self.directory.find(name);
        topic.and_then(|topic| Some(topic.look().members()?.roster())).unwrap_or_default()
    }
}

impl Hub {
    /// Answers who is subscribed to exactly this topic; in a cluster, when the other nodes have
    /// said who is subscribed there.
    pub(super) fn answer_presence(
        &mut self,
        slot: u32,
        id: Option<Id<'_>>,
        name: TopicName<'_>,
    ) -> Result<(), CommandError> {
        self.shared.may_know_members(name)?;
        let rule = self.shared.directory.rule_of(name);
        if let Some(session) = self.session(slot).map(|session| session.id)
            && let Some(uplink) = self.shared.way_to_nodes(name, &rule)
        {
            let (id, worker) = (AskedId::new(id), self.worker);
            if uplink.is_full() {
                let message = "too much waits for the other nodes, ask again";
                return Err(CommandError::new(ErrorCode::Unavailable, message));
            }
            let asker = Asker { worker, slot, session, id, counts: false };
            uplink.push(Upward::Asked(MembersAsked { topic: name.as_str().into(), asker }), None);
            return Ok(());
        }
        // Changes that this worker has not told of yet come before the answer.
        self.deliver_waiting();
        let roster = self.shared.members_of(name);
        self.answer_roster(slot, id, name.as_str(), &roster);
        Ok(())
    }

    /// The same when all nodes have said so.
    pub(super) fn deliver_members(&mut self, mail: &MembersMail) {
        let MembersMail { asked: MembersAsked { topic, asker }, told } = mail;
        if self.session(asker.slot).is_none_or(|held| held.id != asker.session) {
            return;
        }
        match told {
            Ok(roster) => self.answer_roster(asker.slot, asker.id.id(), topic, roster),
            Err(error) => self.answer(asker.slot, asker.id.id(), &Answer::Error(error)),
        }
    }

    fn answer_roster(&mut self, slot: u32, id: Option<Id<'_>>, topic: &str, roster: &Roster) {
        let members = roster.members();
        let answer = Answer::Presence { topic, count: roster.count, members: &members };
        self.answer(slot, id, &answer);
    }

    /// A session has subscribed to a list: if that is a topic's, it is among its members.
    pub(super) fn remember_member(&mut self, slot: u32, list: u32) {
        let Some(topic) = self.topic_with_members(list) else { return };
        let Some(session) = self.session(slot) else { return };
        let person = Person { session: session.id, user: session.grants.shared_user().cloned() };
        let mut state = topic.look();
        if let Some(members) = state.members_mut() {
            members.join(person);
            self.tell_change(&topic, &mut state);
        }
    }

    /// A session has unsubscribed.
    pub(super) fn forget_member(&mut self, list: u32, session: u64) {
        let Some(topic) = self.topic_with_members(list) else { return };
        let mut state = topic.look();
        if let Some(members) = state.members_mut() {
            members.leave(session);
            self.tell_change(&topic, &mut state);
        }
    }

    /// Whether a session is told who comes and goes.
    pub(super) fn set_told(&mut self, slot: u32, list: u32, is_told: bool) {
        let worker = self.worker;
        let held = self.lists.list(list);
        let was_told = held.special.as_ref().is_some_and(|held| held.told.contains(&slot));
        if was_told == is_told {
            return;
        }
        let told = &mut held.special_mut().told;
        match is_told {
            true => told.insert(slot),
            false => told.remove(&slot),
        };
        let is_watched = !told.is_empty();
        held.shrink_special();
        let Some(topic) = self.topic_with_members(list) else { return };
        let mut state = topic.look();
        let Some(members) = state.members_mut() else { return };
        let before = members.watchers();
        let after = before & !(1 << worker) | u64::from(is_watched) << worker;
        members.set_watchers(after);
        if (before == 0) != (after == 0) {
            self.shared.watch_members(&topic, &state, after != 0);
        }
    }

    /// Tells those here who asked.
    pub(super) fn deliver_presence(&mut self, mail: &PresenceMail) {
        let Some(list) = self.lists.key_of_topic(&mail.topic) else { return };
        let told = self.lists.list(list).special.as_ref().map(|held| held.told.clone());
        let joined: Vec<_> = mail.change.joined.iter().map(member).collect();
        let left: Vec<_> = mail.change.left.iter().map(member).collect();
        let (topic, count) = (mail.topic.as_str(), mail.change.count);
        let notice = Notice::Presence { topic, joined: &joined, left: &left, count };
        for slot in told.into_iter().flatten() {
            self.tell_notice(slot, &notice);
        }
    }

    /// Once a second: tells of the changes that were gathered.
    pub(super) fn tell_gathered(&mut self) {
        for topic in std::mem::take(&mut self.changed) {
            let mut state = topic.look();
            self.post_change(&topic, &mut state);
        }
    }

    fn topic_with_members(&mut self, list: u32) -> Option<Arc<Topic>> {
        match &self.lists.list(list).watched {
            Watched::Topic { topic, .. } if topic.rule().presence == Presence::Members => {
                Some(topic.clone())
            }
            _ => None,
        }
    }

    fn tell_change(&mut self, topic: &Arc<Topic>, state: &mut TopicState) {
        let is_told_elsewhere = self.shared.way_to_nodes(topic.name(), state.rule()).is_some();
        let Some(members) = state.members_mut() else { return };
        if members.watchers() == 0 && !is_told_elsewhere {
            return;
        }
        if members.is_small() {
            self.post_change(topic, state);
        } else if !std::mem::replace(&mut members.is_due, true) {
            self.changed.push(topic.clone());
        }
    }

    fn post_change(&mut self, topic: &Arc<Topic>, state: &mut TopicState) {
        self.wakes |= self.shared.post_change(topic, state);
        if state.members_mut().is_some_and(Members::take_news) {
            self.shared.tell_nodes(topic, state);
        }
    }
}

impl Shared {
    /// Tells the workers whose subscribers want to know what has changed; returns those that must
    /// be woken. Called under the topic's lock.
    pub(super) fn post_change(&self, topic: &Arc<Topic>, state: &mut TopicState) -> WorkerSet {
        let Some(members) = state.members_mut() else { return 0 };
        let (workers, change) = (members.watchers(), members.take_change());
        if workers == 0 {
            return 0;
        }
        let mail = PresenceMail { topic: topic.clone(), change };
        self.post(workers, &Mail::Presence(Arc::new(mail)), state)
    }
}

impl Roster {
    /// Those that are remembered, as answers tell of them.
    pub fn members(&self) -> Vec<Member<'_>> {
        self.people.iter().map(member).collect()
    }
}

fn member(person: &Person) -> Member<'_> {
    Member { session: person.session, user: person.user.as_deref() }
}
