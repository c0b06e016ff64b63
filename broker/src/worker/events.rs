//! Server-sent events on a worker: `GET /sse` becomes a session of the hub like a WebSocket, and
//! what it is sent goes out with the cursor of where the reader then is.
//!
//! The cursor stands in front of each message while the reader keeps up. Nothing behind a backlog
//! has one, for it may be taken back; when the backlog is out, the cursor follows it.

use std::sync::Arc;

use broker_proto::command::{Id, Position};
use broker_proto::handshake::Refusal;
use broker_proto::sse::{self, Place};

use super::Worker;
use super::connection::Phase;
use crate::auth::Grants;
use crate::hub::backlog::Waiting;
use crate::hub::message::Message;
use crate::hub::outbox::Frame;
use crate::hub::protocol::Protocol;
use crate::metrics::CloseReason;
use crate::transport::Outcome;

mod request;

pub(super) use request::Asked;

/// Topics of which a stream's place is remembered.
const PLACES_MAX: usize = 128;
/// With more of them the cursor stands only in front of a turn's last message.
const PLACES_EACH_MAX: usize = 8;

/// Where the reader of a stream is, in each topic; what came last stands last.
#[derive(Debug, Default)]
pub struct Cursor {
    places: Vec<Place>,
}

impl Cursor {
    /// The reader has this message, or is about to. Returns the place it had before, to be put
    /// back if it never gets it.
    fn note(&mut self, message: &Message) -> Option<Place> {
        let topic = message.topic();
        let position = Position { epoch: topic.epoch(), seq: message.seq() };
        self.set(topic.as_str(), position)
    }

    fn set(&mut self, topic: &str, position: Position) -> Option<Place> {
        let at = self.places.iter().rposition(|place| *place.topic == *topic);
        let old = at.map(|at| self.places.remove(at));
        if self.places.len() >= PLACES_MAX {
            self.places.remove(0);
        }
        let topic = old.as_ref().map_or_else(|| topic.into(), |old| old.topic.clone());
        self.places.push(Place { topic, position });
        old
    }

    /// The reader did not get a message: it is where it was before.
    fn take_back(&mut self, message: &Message, old: Option<Place>) {
        self.places.retain(|place| *place.topic != *message.topic().as_str());
        self.places.extend(old);
    }

    fn is_short(&self) -> bool {
        self.places.len() <= PLACES_EACH_MAX
    }
}

impl Worker {
    /// Opens a stream for a request that asks for one, or says why not.
    pub(super) fn open_stream(&mut self, slot: usize, asked: &Asked, grants: Option<Arc<Grants>>) {
        self.last_session += 1;
        let (slot32, now_ms) = (slot as u32, self.core.now_ms);
        self.core.hub.open(slot32, self.last_session, Protocol::Sse);
        self.core.hub.send_raw(slot32, &asked.response);
        if let Some(grants) = grants {
            self.core.hub.admit(slot32, grants);
        }
        if self.core.hub.needs_token(slot32) {
            return self.refuse_stream(slot, &Refusal::unauthorized("a token is needed"));
        }
        let mut cursor = Cursor::default();
        let mut failed = None;
        for (number, (topic, command)) in asked.commands.iter().enumerate() {
            let hub = &mut self.core.hub;
            self.core.parser.parse(command, |mut request| {
                request.id = Some(Id::Number(number as u64));
                match hub.subscribe_stream(slot32, &request, now_ms) {
                    Ok(Some(position)) => drop(cursor.set(topic, position)),
                    Ok(None) => asked.places_of(topic).for_each(|place| {
                        cursor.set(&place.topic, place.position);
                    }),
                    Err(error) => failed = Some(error),
                }
            });
            if let Some(error) = failed {
                return self.refuse_stream(slot, &request::refusal(&error));
            }
        }
        let Some(connection) = self.connections.get_mut(slot) else { return };
        connection.phase = Phase::Open;
        connection.since = self.now;
        connection.commanded = true;
        connection.cursor = Some(Box::new(cursor));
        self.core.counters().event_streams.add(1);
        self.arm(slot);
    }

    fn refuse_stream(&mut self, slot: usize, refusal: &Refusal) {
        self.core.hub.take_pending(slot as u32);
        self.core.hub.close(slot as u32);
        self.refuse(slot, refusal);
    }

    /// Sends what the turn, whose list is staged, has for a stream without a backlog.
    pub(super) fn flush_stream(&mut self, slot: usize) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let Some(cursor) = &mut connection.cursor else { return };
        let (outbox, list) = (&self.core.hub.outbox, &self.stage.list);
        let bytes = &mut self.response;
        bytes.clear();
        let message_of = |frame| match outbox.frame(frame) {
            Frame::Shared(message) => Some(message),
            Frame::Own(_) => None,
        };
        let last = list.iter().rposition(|&frame| message_of(frame).is_some());
        // The end of each frame among the bytes, and what a message has changed.
        let mut ends = Vec::with_capacity(list.len());
        for (at, &frame) in list.iter().enumerate() {
            let noted = message_of(frame).map(|message| cursor.note(message));
            if noted.is_some() && (cursor.is_short() || Some(at) == last) {
                sse::encode_id(bytes, &cursor.places);
            }
            bytes.extend_from_slice(outbox.bytes_of(frame, Protocol::Sse));
            ends.push((bytes.len(), noted));
        }
        if last.is_none() && !cursor.places.is_empty() {
            // After what was subscribed to, or a backlog, that the reader may come back here.
            sse::encode_id(bytes, &cursor.places);
            bytes.push(b'\n');
        }
        let counters = &self.core.metrics.workers[self.core.index];
        counters.sends.add(1);
        let sent = match connection.socket.write(bytes) {
            Outcome::Moved(sent) => sent,
            Outcome::WouldBlock => 0,
            Outcome::Ended => return self.remove(slot, CloseReason::Lost),
        };
        counters.bytes_out.add(sent as u64);
        let unsent = connection.socket.unsent();
        if sent == bytes.len() && unsent == 0 {
            if matches!(connection.phase, Phase::Finishing) {
                self.finish(slot);
            }
            return;
        }
        // The frame that was begun is ended as it is; those behind it wait without a cursor.
        let begun = ends.iter().position(|(end, _)| sent < *end).unwrap_or(ends.len());
        let start = ends.get(begun).map_or(bytes.len(), |(end, _)| *end);
        let mut backlog = self.stage.rest(outbox, Protocol::Sse, begun + 1);
        backlog.push_first(Waiting::Own(bytes[sent..start].into()));
        backlog.set_sealed(unsent);
        for ((_, noted), &frame) in ends.into_iter().zip(list).skip(begun + 1).rev() {
            if let (Some(old), Some(message)) = (noted, message_of(frame)) {
                cursor.take_back(message, old);
            }
        }
        connection.backlog = Some(Box::new(backlog));
        connection.progress = self.now;
        counters.backlogged.add(1);
        self.arm(slot);
        self.settle_backlog(slot, 0);
    }

    /// Some of a stream's backlog is out: its reader is further, and if that was all, is told so.
    pub(super) fn follow_stream(&mut self, slot: usize) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let (Some(cursor), Some(backlog)) = (&mut connection.cursor, &mut connection.backlog)
        else {
            return;
        };
        for message in backlog.take_out() {
            cursor.note(&message);
        }
        if backlog.is_empty() && connection.closing.is_open() {
            // A comment, so that the flush has something to put the cursor behind.
            self.core.hub.send_raw(slot as u32, b":\n");
        }
    }
}
