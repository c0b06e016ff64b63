//! What a server's message means to one client: a step on the way into its session, a delivery for
//! its account, or something that should not have come. Keeps what is incomplete; touches no
//! socket. Called by the client for every message.

use broker_proto::command::Position;
use broker_proto::ws::encode_masked_frame;

use super::group_talk::{handle_answer, handle_presence};
use super::{Desk, Duty, Stage, frame_of, mask_key};
use crate::engine::Plan;
use crate::stamp::Stamp;
use crate::target::{Delivery, Incoming, MESSAGE_BYTES_MAX};

/// The begin of a command whose end comes in another frame.
#[derive(Default)]
pub(super) struct Partial(Vec<u8>);

/// What of a client its server's messages change.
pub(super) struct Talk<'a> {
    pub(super) duty: Duty,
    pub(super) stage: &'a mut Stage,
    pub(super) partial: &'a mut Option<Box<Partial>>,
    pub(super) now_ns: u64,
}

impl Talk<'_> {
    /// What the server said in one frame. Returns the frames to answer with, mostly none; the error
    /// says why the connection is of no use.
    pub(super) fn handle_message(
        mut self,
        bytes: &[u8],
        desk: &mut Desk<'_>,
    ) -> Result<Vec<u8>, String> {
        let mut answer = Vec::new();
        let Some(mut held) = self.partial.take() else {
            let used = self.handle_commands(bytes, desk, &mut answer)?;
            if used < bytes.len() {
                *self.partial = Some(Box::new(Partial(bytes[used..].to_vec())));
            }
            return Ok(answer);
        };
        held.0.extend_from_slice(bytes);
        let used = self.handle_commands(&held.0, desk, &mut answer)?;
        held.0.drain(..used);
        if held.0.len() > MESSAGE_BYTES_MAX as usize {
            return Err("protocol error: a command without an end".to_owned());
        }
        *self.partial = (!held.0.is_empty()).then_some(held);
        Ok(answer)
    }

    /// Handles what is complete; returns how many bytes that was.
    fn handle_commands(
        &mut self,
        bytes: &[u8],
        desk: &mut Desk<'_>,
        answer: &mut Vec<u8>,
    ) -> Result<usize, String> {
        if let Some(Delivery { topic, seq, payload }) =
            desk.plan.target.protocol.read_delivery(bytes)
        {
            self.handle_delivery(topic, Some(seq), payload, desk);
            return Ok(bytes.len());
        }
        let mut at = 0;
        while let Some((incoming, used)) = desk.plan.target.protocol.read(&bytes[at..]) {
            at += used;
            self.handle(incoming, desk, answer)?;
            if at == bytes.len() {
                break;
            }
        }
        Ok(at)
    }

    fn handle(
        &mut self,
        incoming: Incoming<'_>,
        desk: &mut Desk<'_>,
        answer: &mut Vec<u8>,
    ) -> Result<(), String> {
        let Desk { plan, ledger, .. } = desk;
        match incoming {
            Incoming::Message { topic, seq, payload } => {
                self.handle_delivery(topic, seq, &payload, desk);
            }
            Incoming::Hello { name } => self.handle_hello(&name, plan, answer),
            Incoming::Accepted { id, position } => {
                let is_ready = matches!(self.stage, Stage::Ready);
                if !is_ready || !handle_answer(id, position, self.duty, self.now_ns, desk) {
                    self.handle_accepted(id, position, desk);
                }
            }
            Incoming::Session { id, number } => {
                self.handle_answer(id, desk);
                if let Duty::Subscribe { account, .. } = self.duty {
                    desk.ledger.groups.handle_session(account, number);
                }
            }
            Incoming::Presence(change) => handle_presence(&change, self.duty, self.now_ns, desk),
            Incoming::Resumed { id, position, is_whole } => {
                if let Some(account) = self.handle_answer(id, desk) {
                    let storm = &mut desk.ledger.storm;
                    storm.handle_resumed(account, position, is_whole, self.now_ns);
                }
            }
            Incoming::Refused { id: Some(id), why } => {
                let again = plan.ask_again(id, &why, self.duty, ledger);
                answer.extend(again.ok_or(why)?);
            }
            // Before the session is open, every command is one that opens it.
            Incoming::Refused { why, .. } if !matches!(self.stage, Stage::Ready) => {
                return Err(why);
            }
            Incoming::Refused { why, .. } => ledger.refusals.add(why),
            Incoming::Gap { topic, from, to } => {
                let number = plan.topics.iter().position(|name| *name == topic);
                match number.and_then(|number| account_of(plan, self.duty, number as u32)) {
                    Some(account) => ledger.handle_gap(account, from, to),
                    None => ledger.strange += 1,
                }
            }
            Incoming::Ping => {
                ledger.pings += 1;
                let protocol = plan.target.protocol;
                answer.extend(frame_of(protocol.opcode(), protocol.pong()));
            }
            Incoming::Noted => {}
            Incoming::Unknown => ledger.strange += 1,
            Incoming::Malformed(what) => return Err(format!("protocol error: {what}")),
        }
        Ok(())
    }

    /// A message came, over whatever it was.
    pub(super) fn handle_delivery(
        &mut self,
        topic: &[u8],
        seq: Option<u64>,
        payload: &[u8],
        desk: &mut Desk<'_>,
    ) {
        let Desk { plan, ledger, receiver, measured_from_ns, .. } = desk;
        ledger.progress.arrivals += 1;
        if let Duty::Subscribe { .. } = self.duty {
            ledger.wire.traffic.handle_delivery();
        }
        let stamp = plan.stamp_in(topic, payload);
        match stamp.and_then(|stamp| Some((stamp, account_of(plan, self.duty, stamp.topic)?))) {
            Some((stamp, account)) => {
                let (now_ns, receipt) = (self.now_ns, receiver.receipt());
                ledger.handle_message(account, &stamp, seq, now_ns, *measured_from_ns, receipt);
            }
            None => ledger.strange += 1,
        }
    }

    /// A server may say hello again later, with news that are none for us.
    fn handle_hello(&mut self, name: &str, plan: &Plan, answer: &mut Vec<u8>) {
        if matches!(self.stage, Stage::Greeting) {
            let opcode = plan.target.protocol.opcode();
            let wait = plan.target.welcome(name, &plan.names_for(self.duty), |command| {
                encode_masked_frame(answer, opcode, command, mask_key());
            });
            *self.stage = Stage::until(wait);
        }
    }

    fn handle_accepted(&mut self, id: u64, position: Option<Position>, desk: &mut Desk<'_>) {
        let Some(account) = self.handle_answer(id, desk) else { return };
        desk.ledger.storm.handle_subscribed(account, position);
        // Before the first message there is nothing to be missed.
        let is_rejoin = desk.measured_from_ns != u64::MAX;
        if let (true, Some(position)) = (is_rejoin, position) {
            desk.ledger.handle_rejoin(account, position.seq);
        }
    }

    /// One of the commands that open the session succeeded; returns the account it is about.
    fn handle_answer(&mut self, id: u64, desk: &mut Desk<'_>) -> Option<u32> {
        let Stage::Subscribing { left } = self.stage else {
            desk.ledger.strange += 1;
            return None;
        };
        *left -= 1;
        if *left == 0 {
            *self.stage = Stage::Ready;
        }
        let Duty::Subscribe { subscriber, account } = self.duty else { return None };
        let is_subscribe = (1..=u64::from(desk.plan.accounts_of(subscriber))).contains(&id);
        is_subscribe.then(|| account + (id - 1) as u32)
    }
}

/// The account that a client keeps of this topic, if it subscribes to it.
pub(super) fn account_of(plan: &Plan, duty: Duty, topic: u32) -> Option<u32> {
    let Duty::Subscribe { subscriber, account } = duty else { return None };
    Some(account + plan.place_of(subscriber, topic)?)
}

impl Plan {
    /// The number of the server that a client with this duty is connected to.
    pub(super) fn server_of(&self, duty: Duty) -> usize {
        match duty {
            Duty::Subscribe { subscriber, .. } => self.target.servers.of_subscriber(subscriber),
            Duty::Publish { publisher } => self.target.servers.of_publisher(publisher),
        }
    }

    /// The topics that a client with this duty subscribes to.
    pub(super) fn names_for(&self, duty: Duty) -> Vec<&str> {
        let subscribes = self.target.protocol.publishers_subscribe();
        match duty {
            Duty::Publish { .. } if !subscribes => Vec::new(),
            _ => self.names_of(duty).collect(),
        }
    }

    /// The topics that a client with this duty has to do with.
    pub(super) fn names_of(&self, duty: Duty) -> impl Iterator<Item = &str> {
        let (subscriber, publisher) = match duty {
            Duty::Subscribe { subscriber, .. } => (Some(subscriber), None),
            Duty::Publish { publisher } => (None, Some(publisher)),
        };
        let subscribed = subscriber.into_iter().flat_map(|subscriber| self.topics_of(subscriber));
        let published = publisher.into_iter().flat_map(|publisher| {
            (publisher..self.topics.len() as u32).step_by(self.publishers as usize)
        });
        subscribed.chain(published).map(|topic| self.topics[topic as usize].as_str())
    }

    /// The stamp of a message as it must be on this topic, or none.
    fn stamp_in(&self, topic: &[u8], payload: &[u8]) -> Option<Stamp> {
        let stamp = self.body.read(payload)?;
        let name = self.topics.get(stamp.topic as usize)?;
        let is_ours = stamp.run == self.run
            && (name.as_bytes() == topic || self.target.protocol.has_topic_in_url())
            && payload.len() == self.payload_bytes
            && self.schedule.has(stamp.topic, stamp.seq)
            && stamp.publisher == self.publisher_of(stamp.topic);
        is_ours.then_some(stamp)
    }
}
