//! Subscriptions come, change and go: from the commands to a seat in a list, plain or special, and
//! back. Every way in and out passes here, so that lists, cohorts and sessions agree about who
//! sits where.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use broker_proto::command::{CommandError, Epoch, ErrorCode, SubscribeOptions};
use broker_proto::topic::{Filter, Topic as TopicName};
use hashbrown::HashMap;

use super::Hub;
use super::accounts::Counts as AccountCounts;
use super::catching::HAD_MS;
use super::cohort::{Cohort, Counts, Member};
use super::commands::full;
use super::lists::{List, Watched};
use super::session::{Seat, Subscription};
use super::special::{Catching, Special, Stage};
use super::subscribers::Subscriber;
use super::wanted::Wanted;
use crate::config::rules::Presence;
use crate::metrics::accounts::dropped;

/// What came of a subscribe.
pub(super) struct Subscribed {
    /// Where the topic stands, for a filter without wildcards.
    pub(super) position: Option<(Epoch, u64)>,
    /// For a filter with wildcards: the epoch of positions from here on.
    pub(super) epoch: Option<Epoch>,
    /// Its list.
    pub(super) list: u32,
    /// With `since`: whether everything after it will come.
    pub(super) recovered: Option<bool>,
    /// The subscription that is to get what was before, once the answer is out.
    pub(super) catching: Option<u32>,
}

impl Hub {
    pub(super) fn subscribe(
        &mut self,
        slot: u32,
        filter: Filter<'_>,
        options: &SubscribeOptions<'_>,
        now_ms: u64,
    ) -> Result<Subscribed, CommandError> {
        let rule = filter.as_topic().map(|topic| self.shared.directory.rule_of(topic));
        let wanted = Wanted::new(options, rule.as_deref())?;
        if options.presence && rule.is_none_or(|rule| rule.presence == Presence::None) {
            let message = format!("who is subscribed to {} is not told", filter.as_str());
            return Err(CommandError::new(ErrorCode::Forbidden, message));
        }
        if options.last && filter.is_wildcard() && wanted.key.is_some() {
            let message = "`last` with `key` needs a topic without wildcards";
            return Err(CommandError::bad_request(message));
        }
        let held = self.find_subscription(slot, filter);
        if held.is_some() || filter.is_wildcard() {
            // What waits is not for whoever joins now, who may have been given newer messages.
            self.deliver_delayed();
        }
        let list = match held {
            Some(list) => {
                // What was caught up with may have run ahead of the mail; that must not come again.
                self.deliver_waiting();
                self.unseat(slot, list);
                list
            }
            None => self.enter(slot, filter, now_ms)?,
        };
        self.set_told(slot, list, options.presence);
        self.set_epochs(slot, list, options.epochs);
        let (start, recovered) = self.start_of(list, options, &wanted);
        if let Some(is_whole) = recovered {
            self.counters().accounts.recoveries[usize::from(!is_whole)].add(1);
        }
        let catching = self.seat_and_catch(slot, list, &wanted, start);
        // What begins after this is read begins with a message that comes here, and is announced.
        let epoch = filter.is_wildcard().then(|| self.shared.directory.newest_epoch());
        Ok(Subscribed { position: self.position(list), epoch, list, recovered, catching })
    }

    pub(super) fn unsubscribe(&mut self, slot: u32, filter: Filter<'_>) {
        if let Some(list) = self.find_subscription(slot, filter) {
            // What was published before is for this subscription still: another one of the
            // session that goes on may have begun only behind it.
            self.deliver_waiting();
            self.leave(slot, list);
        }
    }

    /// Takes a session out of a list that it is in.
    pub(super) fn leave(&mut self, slot: u32, list: u32) {
        self.set_told(slot, list, false);
        self.set_epochs(slot, list, false);
        self.ask_no_more(slot, list);
        self.unseat(slot, list);
        if let Some(slow) = self.session(slot).and_then(|session| session.slow.as_deref_mut()) {
            slow.told.remove(&list);
            slow.disown(list);
        }
        let Some(session) = self.session(slot) else { return };
        let Some(at) = session.subscriptions.iter().rposition(|held| held.list == list) else {
            return;
        };
        let id = session.id;
        session.ledger.end(list);
        session.subscriptions.swap_remove(at);
        if let Some(moved) = session.subscriptions.get(at).copied() {
            match moved.seat() {
                Seat::Plain(place) => {
                    self.lists.list(moved.list).subscribers[place as usize].place = at as u32;
                }
                Seat::Special(key) => self.specials[key as usize].place = at as u32,
            }
        }
        self.forget_member(list, id);
        self.count_subscriber(list, false);
        if self.lists.list(list).is_empty() {
            self.abandon(list);
        }
        self.counters().subscriptions.sub(1);
    }

    /// Publishers can ask how many subscriptions there are.
    fn count_subscriber(&self, list: u32, is_new: bool) {
        match &self.lists.peek(list).watched {
            Watched::Topic { topic, .. } if is_new => {
                topic.subscribers.fetch_add(1, Ordering::Relaxed);
            }
            Watched::Topic { topic, .. } => {
                topic.subscribers.fetch_sub(1, Ordering::Relaxed);
            }
            Watched::Filter(held) => {
                let filter = Filter::new(&held.filter).expect("was checked on subscribing");
                self.shared.interest.count(filter, is_new);
            }
        }
    }

    /// Whether a session is told the epochs of topics that begin under a filter.
    fn set_epochs(&mut self, slot: u32, list: u32, is_told: bool) {
        let list = self.lists.list(list);
        let is_exact = list.topic().is_some();
        if is_told && !is_exact {
            list.special_mut().epochs.insert(slot);
        } else if let Some(held) = &mut list.special
            && held.epochs.remove(&slot)
        {
            list.shrink_special();
        }
    }

    /// Enters a new subscription, which has no seat yet.
    fn enter(&mut self, slot: u32, filter: Filter<'_>, now_ms: u64) -> Result<u32, CommandError> {
        let held = self.session(slot).map_or(0, |session| session.subscriptions.len());
        let limit = self.config.subscriptions_max;
        if held >= limit as usize {
            let message = format!("this connection has {limit} subscriptions, the limit");
            return Err(CommandError::new(ErrorCode::TooManySubscriptions, message));
        }
        let list = match filter.as_topic() {
            Some(topic) => self.list_of_topic(topic, now_ms)?,
            None => self.list_of_filter(filter),
        };
        let matched = self.lists.peek(list).matched;
        let Some(session) = self.session(slot) else { return Ok(list) };
        session.subscriptions.push(Subscription::new(list, matched));
        self.remember_member(slot, list);
        self.count_subscriber(list, true);
        self.counters().subscriptions.add(1);
        Ok(list)
    }

    /// Seats a subscription where it is served from now on.
    pub(super) fn seat(&mut self, slot: u32, list: u32, wanted: &Arc<Wanted>) {
        if !wanted.is_plain() {
            self.seat_in_cohort(slot, list, wanted);
            return;
        }
        let Some(place) = self.place_of(slot, list) else { return };
        let subscribers = &mut self.lists.list(list).subscribers;
        let seat = Seat::Plain(subscribers.len() as u32);
        subscribers.push(Subscriber { slot, place });
        self.set_seat(slot, place, seat);
    }

    /// The same, with what was before: whoever wants everything gets that first, the others in
    /// between. Returns the key of the subscription if there is something to catch up with.
    pub(super) fn seat_and_catch(
        &mut self,
        slot: u32,
        list: u32,
        wanted: &Arc<Wanted>,
        start: Option<Box<Catching>>,
    ) -> Option<u32> {
        let Some(start) = start else {
            self.seat(slot, list, wanted);
            return None;
        };
        let key = match !wanted.is_jumpy() {
            true => {
                let matched = self.lists.list(list).matched;
                self.seat_special(slot, list, wanted, Stage::Catching { matched })
            }
            false => self.seat_in_cohort(slot, list, wanted),
        };
        let special = &mut self.specials[key as usize];
        special.catching = Some(start);
        if let Stage::Served { cohort, place, .. } = special.stage {
            let member = &mut self.cohorts[cohort as usize].members[place as usize];
            member.had.get_or_insert_default().until_ms = 0;
        }
        self.catching.push_back(key);
        Some(key)
    }

    fn seat_in_cohort(&mut self, slot: u32, list: u32, wanted: &Arc<Wanted>) -> u32 {
        let special = self.lists.list(list).special_mut();
        let equal = |key: &&u32| *self.cohorts[**key as usize].wanted() == *wanted;
        let cohort = special.cohorts.iter().find(equal).copied();
        let cohort = cohort.unwrap_or_else(|| {
            let key = self.cohorts.insert(Cohort::new(wanted.clone(), list)) as u32;
            special.cohorts.push(key);
            key
        });
        let served = &self.cohorts[cohort as usize];
        let mut since = served.counts();
        since.matched -= served.waiting();
        let place = served.members.len() as u32;
        let stage = Stage::Served { cohort, place, since };
        let special = self.seat_special(slot, list, wanted, stage);
        let served = &mut self.cohorts[cohort as usize];
        let (mut had, waiting) = (served.had_by_newcomer(), served.waiting());
        if let Some(had) = &mut had {
            had.until_ms = self.now_ms + u64::from(wanted.interval_ms) + HAD_MS;
        }
        served.members.push(Member { slot, special, had });
        if let Some(session) = self.session(slot).filter(|_| waiting > 0) {
            session.ledger.add_past(list, waiting);
        }
        special
    }

    /// Seats a subscription among the special ones of its list; returns its key.
    pub(super) fn seat_special(
        &mut self,
        slot: u32,
        list: u32,
        wanted: &Arc<Wanted>,
        stage: Stage,
    ) -> u32 {
        let place = self.place_of(slot, list).unwrap_or_default();
        let (is_catching, is_paused) =
            (matches!(stage, Stage::Catching { .. }), matches!(stage, Stage::Paused { .. }));
        let wanted = wanted.clone();
        let special = Special { slot, place, list, wanted, stage, catching: None };
        let key = self.specials.insert(special) as u32;
        let held = self.lists.list(list).special_mut();
        held.count += 1;
        held.paused += u32::from(is_paused);
        if is_catching {
            held.catching.push(key);
        }
        self.counters().accounts.paused.add(is_paused.into());
        self.set_seat(slot, place, Seat::Special(key));
        key
    }

    /// Takes a subscription off its seat, wherever that is; it stays in the list.
    pub(super) fn unseat(&mut self, slot: u32, list: u32) {
        let Some(place) = self.place_of(slot, list) else { return };
        let Some(session) = self.session(slot) else { return };
        let subscription = &mut session.subscriptions[place as usize];
        let seat = subscription.seat();
        subscription.sit(Seat::NONE);
        match seat {
            Seat::NONE => return,
            Seat::Plain(place) => self.unseat_plain(list, place),
            Seat::Special(key) => self.unseat_special(key),
        }
        self.forget_held_back(slot, list);
    }

    /// What was put aside for a slow session by this subscription comes no more.
    fn forget_held_back(&mut self, slot: u32, list: u32) {
        let Self { sessions, lists, .. } = self;
        let Some(session) = sessions.get_mut(slot as usize) else { return };
        let Some(slow) = &mut session.slow else { return };
        let others = session.subscriptions.iter().filter(|held| held.list != list);
        let others: Vec<&List> = others.map(|held| lists.peek(held.list)).collect();
        let dropped = slow.forget(|topic| others.iter().any(|list| list.matches(topic)));
        session.ledger.add(list, AccountCounts::dropped(dropped));
        self.count_dropped(dropped::ENDED, dropped);
        self.settle_held_back(slot);
    }

    fn unseat_plain(&mut self, list: u32, place: u32) {
        let subscribers = &mut self.lists.list(list).subscribers;
        subscribers.swap_remove(place as usize);
        if let Some(moved) = subscribers.get(place as usize).copied() {
            self.set_seat(moved.slot, moved.place, Seat::Plain(place));
        }
    }

    fn unseat_special(&mut self, key: u32) {
        let Special { slot, list, stage, catching, .. } = self.specials.remove(key as usize);
        if catching.is_some() {
            self.catching.retain(|held| *held != key);
        }
        let held = self.lists.list(list).special_mut();
        held.count -= 1;
        match stage {
            Stage::Catching { matched } => {
                held.catching.retain(|held| *held != key);
                let had = self.lists.list(list).matched - matched;
                if let Some(session) = self.session(slot).filter(|_| had > 0) {
                    session.ledger.add_had(list, had);
                }
            }
            Stage::Served { cohort, place, since } => self.leave_cohort(slot, cohort, place, since),
            Stage::Paused { matched, left } => {
                held.paused -= 1;
                if held.paused == 0 {
                    held.touched = HashMap::default();
                }
                let left = left.map_or(0, |left| left.skipped);
                let skipped = self.lists.list(list).matched - matched + left;
                self.counters().accounts.paused.sub(1);
                self.counters().accounts.skipped.add(left);
                if let Some(session) = self.session(slot) {
                    session.ledger.add(list, AccountCounts::skipped(skipped));
                    session.ledger.add_past(list, left);
                }
            }
        }
        self.lists.list(list).shrink_special();
    }

    fn leave_cohort(&mut self, slot: u32, cohort: u32, place: u32, since: Counts) {
        let served = &mut self.cohorts[cohort as usize];
        served.members.swap_remove(place as usize);
        if let Some(moved) = served.members.get(place as usize)
            && let Stage::Served { place: at, .. } =
                &mut self.specials[moved.special as usize].stage
        {
            *at = place;
        }
        let (counts, waiting) = (served.counts(), served.waiting());
        let (is_empty, list) = (served.members.is_empty(), served.list);
        if let Some(session) = self.session(slot) {
            let counts = AccountCounts {
                conflated: counts.conflated - since.conflated,
                filtered: counts.filtered - since.filtered,
                dropped: waiting,
                skipped: 0,
            };
            session.ledger.add(list, counts);
        }
        self.count_dropped(dropped::ENDED, waiting);
        if is_empty {
            self.cohorts.remove(cohort as usize);
            self.lists.list(list).special_mut().cohorts.retain(|held| *held != cohort);
        }
    }

    /// What a subscription wants.
    pub(super) fn wanted_of(&self, slot: u32, list: u32) -> Arc<Wanted> {
        let seat = self.seat_of(slot, list);
        match seat {
            Some(Seat::Special(key)) => self.specials[key as usize].wanted.clone(),
            _ => Arc::default(),
        }
    }

    pub(super) fn seat_of(&self, slot: u32, list: u32) -> Option<Seat> {
        let session = self.sessions.get(slot as usize)?;
        session.subscriptions.iter().find(|held| held.list == list).map(Subscription::seat)
    }

    fn place_of(&self, slot: u32, list: u32) -> Option<u32> {
        let session = self.sessions.get(slot as usize)?;
        let place = session.subscriptions.iter().rposition(|held| held.list == list)?;
        Some(place as u32)
    }

    fn set_seat(&mut self, slot: u32, place: u32, seat: Seat) {
        if let Some(session) = self.session(slot) {
            session.subscriptions[place as usize].sit(seat);
        }
    }

    /// The list of a topic; a new one is entered in the topic's set of workers first, so that
    /// every message behind the seq that is answered comes to this worker.
    fn list_of_topic(&mut self, name: TopicName<'_>, now_ms: u64) -> Result<u32, CommandError> {
        loop {
            let (topic, made) =
                self.shared.directory.find_or_create(name, now_ms).map_err(|e| full(&e))?;
            if let Some(list) = self.lists.key_of_topic(&topic) {
                return Ok(list);
            }
            let Ok(mut state) = topic.use_at(now_ms) else { continue };
            if state.join(self.worker) {
                self.shared.want(&topic, &state, true);
            }
            let seq = state.seq;
            drop(state);
            if made {
                self.linger(topic.clone(), now_ms);
            }
            return Ok(self.lists.add_topic(topic, seq));
        }
    }

    fn list_of_filter(&mut self, filter: Filter<'_>) -> u32 {
        let (list, made) = self.lists.of_filter(filter);
        if made {
            let shared = &self.shared;
            shared.interest.join(filter, self.worker, || shared.want_filter(filter, true));
            let pushed = self.shared.mailbox(self.worker).pushed();
            if let Watched::Filter(held) = &mut self.lists.list(list).watched {
                held.from = pushed;
            }
        }
        list
    }

    /// Nobody here wants a topic or filter any more.
    fn abandon(&mut self, list: u32) {
        match self.lists.remove(list) {
            Watched::Topic { topic, .. } => {
                topic.leave(self.worker, |state| self.shared.want(&topic, state, false));
            }
            Watched::Filter(held) => {
                let filter = Filter::new(&held.filter).expect("was checked on subscribing");
                let shared = &self.shared;
                shared.interest.leave(filter, self.worker, || shared.want_filter(filter, false));
            }
        }
    }

    pub(super) fn find_subscription(&mut self, slot: u32, filter: Filter<'_>) -> Option<u32> {
        let session = self.sessions.get(slot as usize)?;
        let mut held = session.subscriptions.iter().map(|subscription| subscription.list);
        held.find(|&list| self.lists.is_of(list, filter))
    }

    fn position(&mut self, list: u32) -> Option<(Epoch, u64)> {
        match &self.lists.list(list).watched {
            Watched::Topic { topic, seq } => Some((topic.epoch(), *seq)),
            Watched::Filter(_) => None,
        }
    }
}

pub(super) fn not_subscribed(filter: Filter<'_>) -> CommandError {
    CommandError::bad_request(format!("not subscribed to {}", filter.as_str()))
}
