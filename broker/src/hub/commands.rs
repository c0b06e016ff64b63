//! What each command does. Every request is answered here, with its id if it has one.

use std::sync::Arc;

use broker_proto::command::{
    Answer, Command, CommandError, Epoch, ErrorCode, Id, Past, Payload, Publish, Request,
};
use broker_proto::topic::Topic as TopicName;
use broker_proto::ws::CloseCode;
use broker_proto::{bin, json};

use super::directory::DirectoryFull;
use super::log::{AskedId, Asker, Came, Placed, Waiting};
use super::mailbox::SettledMail;
use super::message::Message;
use super::pausing::Resumed;
use super::protocol::Protocol;
use super::retries::{Attempt, Repeatable};
use super::shared::PublishError;
use super::subscribing::Subscribed;
use super::topic::Topic;
use super::{Disconnect, Hub};
use crate::auth::Grants;
use crate::metrics::CloseReason;

/// Messages that `history` answers with if no limit is given, and at most.
const HISTORY_LIMIT: u32 = 100;
const HISTORY_LIMIT_MAX: u32 = 1_000;
/// Bytes of an answer that count as one command more.
const ANSWER_BYTES_PER_COMMAND: usize = 512;
/// Bytes of memory of the messages that it answers with at most.
const HISTORY_BYTES_MAX: usize = 512 * 1024;

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
            Ok(Command::Publish { topic, payload, count, msg_id }) => {
                let (topic, payload, count, msg_id) = (*topic, *payload, *count, *msg_id);
                let publish = Publish { topic, payload, count, msg_id };
                return self.answer_publish(slot, request.id, publish, now_ms);
            }
            Ok(Command::Connect { token }) => {
                self.spend(slot, now_ms)?;
                self.now_ms = self.now_ms.max(now_ms);
                return self.answer_connect(slot, request.id, *token);
            }
            Ok(command) => command,
            Err(error) => {
                self.spend(slot, now_ms)?;
                self.answer(slot, request.id, &Answer::Error(error));
                return Ok(());
            }
        };
        self.spend(slot, now_ms)?;
        self.now_ms = self.now_ms.max(now_ms);
        let allowed = self.allow_command(slot, now_ms);
        let done = allowed.and_then(|()| self.carry_out(slot, request.id, command, now_ms));
        if let Err(error) = done {
            self.answer(slot, request.id, &Answer::Error(&error));
        }
        Ok(())
    }

    /// Does what any command but a publish asks for, and answers if it is done.
    fn carry_out(
        &mut self,
        slot: u32,
        id: Option<Id<'_>>,
        command: &Command<'_>,
        now_ms: u64,
    ) -> Result<(), CommandError> {
        match command {
            Command::Publish { .. } | Command::Connect { .. } => {}
            Command::Subscribe { filter, options } => {
                self.check_subscribe(slot, *filter)?;
                let done = self.subscribe(slot, *filter, options, now_ms)?;
                let Subscribed { position, epoch, list, recovered, catching } = done;
                let filter = filter.as_str();
                let answer = Answer::Subscribed { filter, position, epoch, recovered };
                self.answer_if_asked(slot, id, &answer);
                self.ask_no_more(slot, list);
                self.tell_stale(slot, list);
                self.begin_to_catch_up(catching);
            }
            Command::Unsubscribe { filter } => {
                self.unsubscribe(slot, *filter);
                let filter = filter.as_str();
                self.answer_if_asked(slot, id, &Answer::Unsubscribed { filter });
            }
            Command::Pause { filter } => {
                self.pause(slot, *filter)?;
                self.answer_if_asked(slot, id, &Answer::Paused { filter: filter.as_str() });
            }
            Command::Resume { filter } => {
                let Resumed { skipped, list, catching } = self.resume(slot, *filter)?;
                let filter = filter.as_str();
                self.answer_if_asked(slot, id, &Answer::Resumed { filter, skipped });
                self.tell_stale(slot, list);
                self.begin_to_catch_up(catching);
            }
            Command::History { topic, limit } if id.is_some() => {
                self.check_see(slot, *topic)?;
                self.answer_history(slot, id, *topic, *limit)?;
            }
            Command::History { .. } => {}
            Command::Presence { topic } => {
                self.check_see(slot, *topic)?;
                self.answer_presence(slot, id, *topic)?;
            }
            Command::Ping => self.answer_if_asked(slot, id, &Answer::Pong),
            Command::Stats { filter: None } => {
                let stats = self.stats(slot);
                self.answer_if_asked(slot, id, &Answer::Stats(stats));
            }
            Command::Stats { filter: Some(filter) } => {
                let account = self.account(slot, *filter)?;
                let filter = filter.as_str();
                self.answer_if_asked(slot, id, &Answer::Account { filter, account });
            }
        }
        Ok(())
    }

    fn answer_if_asked(&mut self, slot: u32, id: Option<Id<'_>>, answer: &Answer<'_>) {
        if id.is_some() {
            self.answer(slot, id, answer);
        }
    }

    /// The first page follows the answer at once.
    pub(super) fn begin_to_catch_up(&mut self, special: Option<u32>) {
        if special.is_some() {
            self.catching.rotate_right(1);
            self.catch_up_one();
        }
    }

    /// Answers what is kept of a topic: the newest messages, as many as are asked for and fit.
    fn answer_history(
        &mut self,
        slot: u32,
        id: Option<Id<'_>>,
        name: TopicName<'_>,
        limit: Option<u32>,
    ) -> Result<(), CommandError> {
        let Some(topic) = self.shared.directory.find(name) else {
            let (epoch, seq) = (Epoch::new(0), 0);
            let answer = Answer::History { topic: name.as_str(), epoch, seq, messages: &[] };
            self.answer(slot, id, &answer);
            return Ok(());
        };
        let (seq, kept) = newest_of(&topic, limit, self.now_ms);
        let bytes: usize = kept.iter().map(|message| message.held_bytes()).sum();
        self.spend_on_answer(slot, bytes)?;
        let past = kept.iter().map(|kept| Past { seq: kept.seq(), payload: kept.payload() });
        let messages: Vec<_> = past.collect();
        let (topic, epoch) = (name.as_str(), topic.epoch());
        self.answer(slot, id, &Answer::History { topic, epoch, seq, messages: &messages });
        Ok(())
    }

    /// A long answer counts for as many commands as it has stretches of half a KiB.
    fn spend_on_answer(&mut self, slot: u32, bytes: usize) -> Result<(), CommandError> {
        let (now_ms, rate) = (self.now_ms, self.config.commands_per_second_max);
        let Some(session) = self.session(slot) else { return Ok(()) };
        let burst = rate.saturating_mul(2);
        let mut cost = 0..bytes / ANSWER_BYTES_PER_COMMAND;
        if cost.all(|_| session.budget.take(now_ms, rate, burst)) {
            return Ok(());
        }
        let message = "too many long answers a second (commands_per_second_max)";
        Err(CommandError::new(ErrorCode::RateLimited, message))
    }

    /// Publishes one of the broker's own numbers, on a topic below `$SYS`.
    pub fn publish_system(&mut self, topic: TopicName<'_>, payload: &[u8], now_ms: u64) {
        // With the directory full there is no topic to publish on, and nobody who could watch it.
        let payload = Payload::Json(payload);
        let _ = self.publish(topic, payload, Protocol::Json, None, now_ms, || Waiting::Nobody);
        // Nobody can be made to wait for having caused this one.
        self.publisher_paused = false;
    }

    fn answer_publish(
        &mut self,
        slot: u32,
        id: Option<Id<'_>>,
        publish: Publish<'_>,
        now_ms: u64,
    ) -> Result<(), Disconnect> {
        let Publish { topic, payload, count: counts, msg_id } = publish;
        self.counters().publishes.add(1);
        let worker = self.worker;
        let Some(session) = self.session(slot) else { return Ok(()) };
        let (native, session_id) = (session.protocol, session.id);
        session.published.get_or_insert_default().count += 1;
        let waiting = || {
            let (session, id) = (session_id, AskedId::new(id));
            Waiting::Client(Box::new(Asker { worker, slot, session, id, counts }))
        };
        let has_right = session.grants.may_publish(topic);
        let publisher = msg_id.map(|_| publisher_of(&session.grants));
        let named = publisher.as_deref().zip(msg_id);
        let repeatable =
            named.map(|(publisher, msg_id)| Repeatable::Message(Attempt { publisher, msg_id }));
        let answered = may_publish(topic).and_then(|()| match has_right {
            true => self
                .allow_publish(slot, now_ms)
                .and_then(|()| self.publish(topic, payload, native, repeatable, now_ms, waiting)),
            false => Err(self.no_right(slot, "publish", topic.as_str())),
        });
        match answered {
            Ok(Some(Placed { epoch, seq, level, .. })) if id.is_some() => {
                let subscribers = counts.then(|| self.shared.subscribers_of(topic));
                let answer = Answer::Published { epoch, seq, level, subscribers };
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
        repeatable: Option<Repeatable<'_>>,
        now_ms: u64,
        waiting: impl FnOnce() -> Waiting,
    ) -> Result<Option<Placed>, CommandError> {
        let published = self
            .shared
            .publish(topic, payload, (native, Some(self.worker)), repeatable, now_ms, waiting)
            .map_err(|error| self.refused(topic, error, now_ms))?;
        if published.place.is_some_and(|placed| placed.came == Came::Again) {
            self.counters().accounts.repeats.add(1);
        }
        self.wakes |= published.wakes;
        if published.full != 0 {
            self.full |= published.full;
            self.publisher_paused = true;
        }
        if published.is_slowed {
            (self.is_slowed, self.publisher_paused) = (true, true);
        }
        if let Some(topic) = published.made {
            self.linger(topic, now_ms);
        }
        Ok(published.place)
    }

    /// What became of a publish that had to wait is answered, if its publisher is still here.
    pub(super) fn deliver_settled(&mut self, mail: &SettledMail) {
        let SettledMail { slot, session, id, settled, subscribers } = mail;
        if self.session(*slot).is_none_or(|held| held.id != *session) {
            return;
        }
        let (id, subscribers) = (id.id(), *subscribers);
        match settled {
            Ok(Placed { epoch, seq, level, came }) => {
                let (epoch, seq, level) = (*epoch, *seq, *level);
                if *came == Came::Again {
                    self.counters().accounts.repeats.add(1);
                }
                let answer = Answer::Published { epoch, seq, level, subscribers };
                self.answer_if_asked(*slot, id, &answer);
            }
            Err(error) => self.answer(*slot, id, &Answer::Error(error)),
        }
    }

    fn refused(&mut self, topic: TopicName<'_>, error: PublishError, now_ms: u64) -> CommandError {
        let error = error.explain(topic);
        error.1.into_iter().for_each(|made| self.linger(made, now_ms));
        error.0
    }

    pub(super) fn linger(&mut self, topic: Arc<Topic>, now_ms: u64) {
        self.lingering.push(topic, now_ms + self.config.topic_linger_ms);
    }

    /// Takes one command out of the session's allowance.
    pub(super) fn spend(&mut self, slot: u32, now_ms: u64) -> Result<(), Disconnect> {
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

    pub(super) fn answer(&mut self, slot: u32, id: Option<Id<'_>>, answer: &Answer<'_>) {
        if let Answer::Error(_) = answer {
            self.counters().command_errors.add(1);
        }
        let Some(protocol) = self.session(slot).map(|session| session.protocol) else { return };
        let mut text = std::mem::take(&mut self.answer);
        text.clear();
        match protocol {
            Protocol::Bin => bin::encode_answer(&mut text, id, answer),
            Protocol::Json | Protocol::Echo | Protocol::Sse => {
                json::encode_answer(&mut text, id, answer);
            }
        }
        self.send(slot, protocol.opcode(), &text);
        self.counters().messages_out.add(1);
        self.answer = text;
    }
}

/// The seq of a topic's newest message, and the newest that are history, oldest first: as many as
/// are asked for and fit an answer.
pub(super) fn newest_of(
    topic: &Topic,
    limit: Option<u32>,
    now_ms: u64,
) -> (u64, Vec<Arc<Message>>) {
    let limit = limit.unwrap_or(HISTORY_LIMIT).min(HISTORY_LIMIT_MAX) as usize;
    let state = topic.look();
    let past = state.history().into_iter().flat_map(|h| h.past(now_ms, state.rule()));
    let mut bytes = 0;
    let fits = |message: &Arc<Message>| {
        bytes += message.held_bytes();
        bytes <= HISTORY_BYTES_MAX
    };
    let newest = past.rev().map(|kept| kept.message.clone());
    let mut kept: Vec<_> = newest.take(limit).take_while(fits).collect();
    kept.reverse();
    (state.seq, kept)
}

/// Whose the ids of retries are: all connections of a user share them, and so do all without one.
fn publisher_of(grants: &Grants) -> String {
    grants.user().map_or_else(String::new, |user| format!("user {user}"))
}

/// Whether clients may publish on a topic of that name at all.
///
/// # Errors
/// `forbidden`: the topic is the broker's own.
pub(super) fn may_publish(topic: TopicName<'_>) -> Result<(), CommandError> {
    if topic.levels().next() != Some(SYSTEM_TOPIC) {
        return Ok(());
    }
    let message = format!("{}: only the broker publishes there", topic.as_str());
    Err(CommandError::new(ErrorCode::Forbidden, message))
}

pub(super) fn full(full: &DirectoryFull) -> CommandError {
    let message = format!("the broker has {} topics, the limit", full.topics_max);
    CommandError::new(ErrorCode::Unavailable, message)
}
