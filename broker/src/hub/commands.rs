//! What each command does. Every request is answered here, with its id if it has one.

use std::sync::Arc;

use broker_proto::command::{
    Answer, Command, CommandError, Epoch, ErrorCode, Id, Level, Payload, Request, Stats,
    SubscribeOptions,
};
use broker_proto::topic::{Filter, Topic as TopicName};
use broker_proto::ws::CloseCode;
use broker_proto::{bin, json};

use super::directory::DirectoryFull;
use super::lists::{Subscriber, Watched};
use super::protocol::Protocol;
use super::session::Subscription;
use super::topic::Topic;
use super::{Disconnect, Hub};
use crate::metrics::CloseReason;

/// Topics at and below this name are the broker's own.
const SYSTEM_TOPIC: &str = "$SYS";

impl Hub {
    /// Does what a client asks and puts the answer into the outbox.
    ///
    /// # Errors
    /// The session passed a limit that protects others, and must end.
    pub fn handle_request(
        &mut self,
        slot: u32,
        request: &Request<'_>,
        now_ms: u64,
    ) -> Result<(), Disconnect> {
        self.counters().commands.add(1);
        let command = match &request.command {
            Ok(Command::Publish { topic, payload }) => {
                return self.answer_publish(slot, request.id, *topic, *payload, now_ms);
            }
            Ok(command) => command,
            Err(error) => {
                self.spend(slot, now_ms)?;
                self.answer(slot, request.id, &Answer::Error(error));
                return Ok(());
            }
        };
        self.spend(slot, now_ms)?;
        let answered =
            match command {
                Command::Publish { .. } => return Ok(()),
                Command::Subscribe { filter, options } => {
                    self.subscribe(slot, *filter, options, now_ms).map(|position| {
                        Answer::Subscribed { filter: filter.as_str(), position, recovered: None }
                    })
                }
                Command::Unsubscribe { filter } => {
                    self.unsubscribe(slot, *filter);
                    Ok(Answer::Unsubscribed { filter: filter.as_str() })
                }
                Command::Connect { .. } => Ok(self.connected(slot)),
                Command::Ping => Ok(Answer::Pong),
                Command::Stats => Ok(Answer::Stats(self.stats(slot))),
                Command::Pause { .. }
                | Command::Resume { .. }
                | Command::History { .. }
                | Command::Presence { .. } => Err(CommandError::unavailable(command.op().name())),
            };
        match answered {
            Ok(answer) if request.id.is_some() => self.answer(slot, request.id, &answer),
            Ok(_) => {}
            Err(error) => self.answer(slot, request.id, &Answer::Error(&error)),
        }
        Ok(())
    }

    /// Publishes one of the broker's own numbers, on a topic below `$SYS`.
    pub fn publish_system(&mut self, topic: TopicName<'_>, payload: &[u8], now_ms: u64) {
        // With the directory full there is no topic to publish on, and nobody who could watch it.
        let _ = self.publish(topic, Payload::Json(payload), Protocol::Json, now_ms);
        // Nobody can be made to wait for having caused this one.
        self.publisher_paused = false;
    }

    fn answer_publish(
        &mut self,
        slot: u32,
        id: Option<Id<'_>>,
        topic: TopicName<'_>,
        payload: Payload<'_>,
        now_ms: u64,
    ) -> Result<(), Disconnect> {
        self.counters().publishes.add(1);
        let Some(session) = self.session(slot) else { return Ok(()) };
        let native = session.protocol;
        session.published += 1;
        let answered = if is_system(topic) {
            let name = topic.as_str();
            Err(CommandError::new(
                ErrorCode::Forbidden,
                format!("{name}: only the broker publishes there"),
            ))
        } else {
            self.publish(topic, payload, native, now_ms)
        };
        match answered {
            Ok((epoch, seq)) if id.is_some() => {
                let answer = Answer::Published { epoch, seq, level: Level::Accepted };
                self.answer(slot, id, &answer);
            }
            Ok(_) => {}
            Err(error) => {
                // Publishes are not counted against the allowance, but refusals are: each is
                // answered, and an answer costs more than the command.
                self.spend(slot, now_ms)?;
                self.answer(slot, id, &Answer::Error(&error));
            }
        }
        Ok(())
    }

    fn publish(
        &mut self,
        topic: TopicName<'_>,
        payload: Payload<'_>,
        native: Protocol,
        now_ms: u64,
    ) -> Result<(Epoch, u64), CommandError> {
        let published = self
            .shared
            .publish(topic, payload, native, self.worker, now_ms)
            .map_err(|e| full(&e))?;
        self.wakes |= published.wakes;
        if published.full != 0 {
            self.full |= published.full;
            self.publisher_paused = true;
        }
        if let Some(topic) = published.made {
            self.linger(topic, now_ms);
        }
        Ok((published.epoch, published.seq))
    }

    fn subscribe(
        &mut self,
        slot: u32,
        filter: Filter<'_>,
        options: &SubscribeOptions<'_>,
        now_ms: u64,
    ) -> Result<Option<(Epoch, u64)>, CommandError> {
        if let Some(option) = options.first_asked() {
            // Refused rather than passed over: the client would wait for what never comes.
            return Err(CommandError::unavailable(option));
        }
        if let Some(list) = self.find_subscription(slot, filter) {
            return Ok(self.position(list));
        }
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
        self.join(slot, list);
        Ok(self.position(list))
    }

    fn unsubscribe(&mut self, slot: u32, filter: Filter<'_>) {
        if let Some(list) = self.find_subscription(slot, filter) {
            // What was published before is for this subscription still: another one of the
            // session that goes on may have begun only behind it.
            self.deliver_waiting();
            self.leave(slot, list);
        }
    }

    /// The list of a topic; a new one is entered in the topic's set of workers first, so that
    /// every message behind the seq that is answered comes to this worker.
    fn list_of_topic(&mut self, name: TopicName<'_>, now_ms: u64) -> Result<u32, CommandError> {
        loop {
            let (topic, made) =
                self.shared.directory.find_or_create(name, now_ms).map_err(|e| full(&e))?;
            if let Some(list) = self.lists.key_of_topic(topic.id()) {
                return Ok(list);
            }
            let Ok(mut state) = topic.use_at(now_ms) else { continue };
            state.join(self.worker);
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
            self.shared.interest.join(filter, self.worker);
            let pushed = self.shared.mailbox(self.worker).pushed();
            if let Watched::Filter { from, .. } = &mut self.lists.list(list).watched {
                *from = pushed;
            }
        }
        list
    }

    fn join(&mut self, slot: u32, list: u32) {
        let Some(session) = self.sessions.get_mut(slot as usize).and_then(Option::as_mut) else {
            return;
        };
        let subscribers = &mut self.lists.list(list).subscribers;
        let place = subscribers.len() as u32;
        subscribers.push(Subscriber { slot, place: session.subscriptions.len() as u32 });
        if session.subscriptions.is_empty() {
            // Most connections have one subscription; don't round up to four.
            session.subscriptions.reserve_exact(1);
        }
        session.subscriptions.push(Subscription { list, place });
        self.counters().subscriptions.add(1);
    }

    /// Takes a session out of a list that it is in.
    pub(super) fn leave(&mut self, slot: u32, list: u32) {
        let Some(session) = self.session(slot) else { return };
        let Some(at) = session.subscriptions.iter().rposition(|held| held.list == list) else {
            return;
        };
        let left = session.subscriptions.swap_remove(at);
        if let Some(moved) = session.subscriptions.get(at).copied() {
            self.lists.list(moved.list).subscribers[moved.place as usize].place = at as u32;
        }
        let subscribers = &mut self.lists.list(left.list).subscribers;
        subscribers.swap_remove(left.place as usize);
        let moved = subscribers.get(left.place as usize).copied();
        let is_empty = subscribers.is_empty();
        if subscribers.capacity() > 64 && subscribers.len() * 4 < subscribers.capacity() {
            subscribers.shrink_to(subscribers.len() * 2);
        }
        if let Some(moved) = moved
            && let Some(session) = self.session(moved.slot)
        {
            session.subscriptions[moved.place as usize].place = left.place;
        }
        if is_empty {
            self.abandon(list);
        }
        self.counters().subscriptions.sub(1);
    }

    /// Nobody here wants a topic or filter any more.
    fn abandon(&mut self, list: u32) {
        match self.lists.remove(list) {
            Watched::Topic { topic, .. } => topic.leave(self.worker),
            Watched::Filter { filter, .. } => {
                let filter = Filter::new(&filter).expect("was checked on subscribing");
                self.shared.interest.leave(filter, self.worker);
            }
        }
    }

    fn find_subscription(&mut self, slot: u32, filter: Filter<'_>) -> Option<u32> {
        let session = self.sessions.get(slot as usize)?.as_ref()?;
        let mut held = session.subscriptions.iter().map(|subscription| subscription.list);
        held.find(|&list| self.lists.is_of(list, filter))
    }

    fn position(&mut self, list: u32) -> Option<(Epoch, u64)> {
        match &self.lists.list(list).watched {
            Watched::Topic { topic, seq } => Some((topic.epoch(), *seq)),
            Watched::Filter { .. } => None,
        }
    }

    fn linger(&mut self, topic: Arc<Topic>, now_ms: u64) {
        self.lingering.push_back((topic, now_ms + self.config.topic_linger_ms));
    }

    fn connected(&mut self, slot: u32) -> Answer<'static> {
        Answer::Connected { session: self.session(slot).map_or(0, |session| session.id) }
    }

    fn stats(&mut self, slot: u32) -> Stats {
        let Some(session) = self.session(slot) else { return Stats::default() };
        Stats {
            subscriptions: session.subscriptions.len() as u64,
            received: session.published,
            sent: session.sent.saturating_sub(session.waiting.into()),
            dropped: 0,
            pending: session.waiting.into(),
        }
    }

    /// Takes one command out of the session's allowance.
    fn spend(&mut self, slot: u32, now_ms: u64) -> Result<(), Disconnect> {
        let rate = self.config.commands_per_second_max;
        let Some(session) = self.session(slot) else { return Ok(()) };
        if session.budget.take(now_ms, rate, rate.saturating_mul(2)) {
            return Ok(());
        }
        Err(Disconnect {
            code: CloseCode::POLICY,
            message: "too many commands a second (commands_per_second_max)".into(),
            reason: CloseReason::RateLimited,
        })
    }

    fn answer(&mut self, slot: u32, id: Option<Id<'_>>, answer: &Answer<'_>) {
        if let Answer::Error(_) = answer {
            self.counters().command_errors.add(1);
        }
        let Some(protocol) = self.session(slot).map(|session| session.protocol) else { return };
        let mut text = std::mem::take(&mut self.answer);
        text.clear();
        match protocol {
            Protocol::Bin => bin::encode_answer(&mut text, id, answer),
            Protocol::Json | Protocol::Echo => json::encode_answer(&mut text, id, answer),
        }
        self.send(slot, protocol.opcode(), &text);
        self.counters().messages_out.add(1);
        self.answer = text;
    }
}

fn is_system(topic: TopicName<'_>) -> bool {
    topic.levels().next() == Some(SYSTEM_TOPIC)
}

fn full(full: &DirectoryFull) -> CommandError {
    let message = format!("the broker has {} topics, the limit", full.topics_max);
    CommandError::new(ErrorCode::Unavailable, message)
}
