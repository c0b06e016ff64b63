//! What nodes send each other, as bytes: one form for messages, heartbeats, questions and answers.
//!
//! ```text
//! version 1 · kind 1 · run 8 · body …                · with a shared secret: MAC 32
//!   message:  stretch 8 · number 8 · payload …
//!   beat:     beat 8 · leaving 1 · connections 8 · name length 1 · name
//!             · any number of: topic length 1 · topic · stretch 8 · number 8
//!   plea:     nothing
//!   question, answer: number 8 · JSON …
//!   roster:   count 8 · any number of: session 8 · user length 1 · user
//!   who:      topic length 1 · topic
//! ```
//!
//! Numbers are big-endian. The bytes may come from anybody: all lengths are looked at, what is not
//! sound gives `None`, and nothing here allocates by what a length says.

use broker_proto::command::Payload;
use broker_proto::topic::Topic;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::de::IgnoredAny;
use sha2::Sha256;

use crate::hub::presence::MEMBERS_MAX;

/// The version of all this; another is not understood.
const VERSION: u8 = 1;
/// Version, kind and run.
const HEAD_BYTES: usize = 10;
const MAC_BYTES: usize = 32;
/// The greatest number of a message and of a stretch that is believed: no node gets there.
const NUMBER_MAX: u64 = 1 << 53;
/// What a message has besides its payload, in bytes.
pub(super) const MESSAGE_OVERHEAD: usize = HEAD_BYTES + 16 + MAC_BYTES;

/// Kinds, as they stand in the second byte.
const JSON: u8 = 1;
const OPAQUE: u8 = 2;
const BEAT: u8 = 3;
const PLEA: u8 = 4;
const QUESTION: u8 = 5;
const ANSWER: u8 = 6;
const ROSTER: u8 = 7;
const WHO: u8 = 8;

/// Something that a node sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// The run of the node that sent it.
    pub run: u64,
    /// What it holds.
    pub body: Body<'a>,
}

/// What an envelope holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// A message of the topic that its subject names.
    Message {
        /// Its place among those of its topic and run.
        place: Place,
        /// What was published.
        payload: Payload<'a>,
    },
    /// A node is alive.
    Beat(Beat<'a>),
    /// A node may have missed something: all others are to tell the places of all their topics.
    Plea,
    /// A node wants to know something.
    Question {
        /// What the answer says it is the answer to.
        number: u64,
        /// The question.
        json: &'a [u8],
    },
    /// The answer.
    Answer {
        /// That of the question.
        number: u64,
        /// The answer.
        json: &'a [u8],
    },
    /// Who is subscribed on the node to the topic that the subject names.
    Roster {
        /// How many there are.
        count: u64,
        /// Those that are told of; with too many of them, none.
        people: People<'a>,
    },
    /// A node wants to know who is subscribed to a topic on each of the others.
    Who(Topic<'a>),
}

/// Where a message stands among those of its topic and run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The beat before which the run began to count from 1.
    pub stretch: u64,
    /// The number in the stretch, from 1.
    pub number: u64,
}

/// A heartbeat. One second's may come in several envelopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beat<'a> {
    /// How many seconds the run has lasted.
    pub beat: u64,
    /// The node is about to stop.
    pub is_leaving: bool,
    /// Connections of its clients.
    pub connections: u64,
    /// The node's name.
    pub node: &'a str,
    /// Topics, and what was reached in each.
    pub reached: Reached<'a>,
}

/// The topics in a heartbeat, each with its newest place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached<'a>(&'a [u8]);

/// The members in a roster: the number of each session, and the user's name if it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct People<'a>(&'a [u8]);

/// Signs envelopes with the secret that all nodes share, if there is one.
pub struct Seal(Option<Hmac<Sha256>>);

impl Seal {
    /// Signs with this secret; an empty one signs nothing.
    pub fn new(secret: &[u8]) -> Self {
        let keyed = || Hmac::new_from_slice(secret).expect("HMAC takes keys of any length");
        Self((!secret.is_empty()).then(keyed))
    }

    /// Signs what is to be published on this subject.
    pub fn close(&self, subject: &str, mut envelope: Vec<u8>) -> Vec<u8> {
        if let Some(mac) = self.over(subject, &envelope) {
            envelope.extend_from_slice(&mac.finalize().into_bytes());
        }
        envelope
    }

    /// What came on this subject without its signature; `None` if that is not of one of us.
    pub fn open<'a>(&self, subject: &str, envelope: &'a [u8]) -> Option<&'a [u8]> {
        if self.0.is_none() {
            return Some(envelope);
        }
        let (envelope, signature) =
            envelope.split_at_checked(envelope.len().checked_sub(MAC_BYTES)?)?;
        self.over(subject, envelope)?.verify_slice(signature).ok()?;
        Some(envelope)
    }

    fn over(&self, subject: &str, envelope: &[u8]) -> Option<Hmac<Sha256>> {
        let mut mac = self.0.clone()?;
        // No subject holds a NUL, so the two can't be cut elsewhere.
        for part in [subject.as_bytes(), &[0], envelope] {
            mac.update(part);
        }
        Some(mac)
    }
}

impl<'a> Envelope<'a> {
    /// Reads an envelope, without its signature; `None` if it is none.
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let version = reader.byte()?;
        let kind = reader.byte()?;
        let run = reader.number()?;
        if version != VERSION || run == 0 {
            return None;
        }
        let body = match kind {
            JSON | OPAQUE => {
                let place = reader.place()?;
                let payload = match kind {
                    JSON => checked(Payload::Json(reader.0)),
                    _ => Payload::Opaque(reader.0),
                };
                Body::Message { place, payload }
            }
            BEAT => Body::Beat(Beat::decode(reader)?),
            PLEA if reader.0.is_empty() => Body::Plea,
            QUESTION => Body::Question { number: reader.number()?, json: reader.0 },
            ANSWER => Body::Answer { number: reader.number()?, json: reader.0 },
            ROSTER => {
                let (count, people) = (reader.number()?, People(reader.0));
                people.is_sound().then_some(Body::Roster { count, people })?
            }
            WHO => {
                let topic = Topic::new(reader.text()?).ok()?;
                reader.0.is_empty().then_some(Body::Who(topic))?
            }
            _ => return None,
        };
        Some(Self { run, body })
    }
}

impl<'a> Beat<'a> {
    fn decode(mut reader: Reader<'a>) -> Option<Self> {
        let beat = reader.number()?;
        let is_leaving = reader.byte()? != 0;
        let connections = reader.number()?;
        let node = reader.text()?;
        let reached = Reached(reader.0);
        let is_sound = !node.is_empty() && reached.count() == reached.measure()?;
        is_sound.then_some(Self { beat, is_leaving, connections, node, reached })
    }
}

impl<'a> Reached<'a> {
    /// How many entries there are by their lengths alone; `None` if they do not end at the end.
    fn measure(&self) -> Option<usize> {
        let (mut reader, mut count) = (Reader(self.0), 0);
        while !reader.0.is_empty() {
            reader.text()?;
            reader.place()?;
            count += 1;
        }
        Some(count)
    }
}

impl<'a> Iterator for Reached<'a> {
    type Item = (Topic<'a>, Place);

    fn next(&mut self) -> Option<Self::Item> {
        let mut reader = Reader(self.0);
        let topic = Topic::new(reader.text()?).ok()?;
        let place = reader.place()?;
        self.0 = reader.0;
        Some((topic, place))
    }
}

impl People<'_> {
    /// Whether they end at the end, and are no more than a node tells of.
    fn is_sound(mut self) -> bool {
        self.by_ref().take(MEMBERS_MAX).for_each(drop);
        self.0.is_empty()
    }
}

impl<'a> Iterator for People<'a> {
    type Item = (u64, Option<&'a str>);

    fn next(&mut self) -> Option<Self::Item> {
        let mut reader = Reader(self.0);
        let (session, user) = (reader.number()?, reader.text()?);
        self.0 = reader.0;
        Some((session, Some(user).filter(|user| !user.is_empty())))
    }
}

/// What says that it is JSON and is not comes as bytes: nobody may write into our clients' frames.
pub(super) fn checked(payload: Payload<'_>) -> Payload<'_> {
    match payload {
        Payload::Json(bytes) if serde_json::from_slice::<IgnoredAny>(bytes).is_err() => {
            Payload::Opaque(bytes)
        }
        payload => payload,
    }
}

/// A message as an envelope.
pub fn message(run: u64, place: Place, payload: Payload<'_>) -> Vec<u8> {
    let kind = if matches!(payload, Payload::Json(_)) { JSON } else { OPAQUE };
    let bytes = payload.bytes();
    let mut envelope = head(kind, run, MESSAGE_OVERHEAD + bytes.len());
    push_place(&mut envelope, place);
    envelope.extend_from_slice(bytes);
    envelope
}

/// A heartbeat; [`push_reached`] adds to it.
pub fn beat(run: u64, (beat, is_leaving): (u64, bool), connections: u64, node: &str) -> Vec<u8> {
    let mut envelope = head(BEAT, run, 64 + node.len());
    envelope.extend_from_slice(&beat.to_be_bytes());
    envelope.push(is_leaving.into());
    envelope.extend_from_slice(&connections.to_be_bytes());
    push_text(&mut envelope, node);
    envelope
}

/// Adds a topic, and what was reached in it, to a heartbeat.
pub fn push_reached(envelope: &mut Vec<u8>, topic: &str, place: Place) {
    push_text(envelope, topic);
    push_place(envelope, place);
}

/// A plea.
pub fn plea(run: u64) -> Vec<u8> {
    head(PLEA, run, HEAD_BYTES + MAC_BYTES)
}

/// A question, or with `is_answer` the answer to one.
pub fn question(run: u64, number: u64, json: &[u8], is_answer: bool) -> Vec<u8> {
    let kind = if is_answer { ANSWER } else { QUESTION };
    let mut envelope = head(kind, run, HEAD_BYTES + 8 + MAC_BYTES + json.len());
    envelope.extend_from_slice(&number.to_be_bytes());
    envelope.extend_from_slice(json);
    envelope
}

/// Who is subscribed to a topic on this node.
pub fn roster<'a>(
    run: u64,
    count: u64,
    people: impl Iterator<Item = (u64, Option<&'a str>)>,
) -> Vec<u8> {
    let mut envelope = head(ROSTER, run, 64);
    envelope.extend_from_slice(&count.to_be_bytes());
    for (session, user) in people {
        envelope.extend_from_slice(&session.to_be_bytes());
        push_text(&mut envelope, user.unwrap_or_default());
    }
    envelope
}

/// The question who is subscribed to a topic.
pub fn who(run: u64, topic: &str) -> Vec<u8> {
    let mut envelope = head(WHO, run, HEAD_BYTES + 1 + topic.len() + MAC_BYTES);
    push_text(&mut envelope, topic);
    envelope
}

fn head(kind: u8, run: u64, capacity: usize) -> Vec<u8> {
    let mut envelope = Vec::with_capacity(capacity);
    envelope.extend_from_slice(&[VERSION, kind]);
    envelope.extend_from_slice(&run.to_be_bytes());
    envelope
}

fn push_place(envelope: &mut Vec<u8>, place: Place) {
    envelope.extend_from_slice(&place.stretch.to_be_bytes());
    envelope.extend_from_slice(&place.number.to_be_bytes());
}

/// Names of nodes, topics and users are shorter than 256 bytes; what would not be is cut.
fn push_text(envelope: &mut Vec<u8>, text: &str) {
    let bytes = &text.as_bytes()[..text.floor_char_boundary(255)];
    envelope.push(bytes.len() as u8);
    envelope.extend_from_slice(bytes);
}

/// What is still to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<u64> {
        let (bytes, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        Some(u64::from_be_bytes(*bytes))
    }

    fn place(&mut self) -> Option<Place> {
        let place = Place { stretch: self.number()?, number: self.number()? };
        let is_sound = place.stretch <= NUMBER_MAX && (1..=NUMBER_MAX).contains(&place.number);
        is_sound.then_some(place)
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = self.byte()?;
        let (bytes, rest) = self.0.split_at_checked(length.into())?;
        self.0 = rest;
        std::str::from_utf8(bytes).ok()
    }
}

#[cfg(test)]
mod tests;
