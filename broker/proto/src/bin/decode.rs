//! What a client reads: answers, messages and notices out of the payloads of binary frames. Called
//! by the load generator, and by tests that hold the encoder against it.

use super::reader::Reader;
use super::{
    DecodeError, EPOCH, ERROR, EXPIRING, GAP, HAS_EPOCH, HAS_ID, HAS_POSITION, HAS_RECOVERED,
    IS_FULL, IS_JSON, KIND, LIVE, MESSAGE, MODE, OK, PRESENCE, RECOVERED, STALE, UNSUBSCRIBED,
};
use crate::command::{
    Account, Answer, Epoch, ErrorCode, GapReason, Level, Member, ModeReason, Op, Past, Payload,
    Serving, Stats,
};

/// One thing that the broker said. Topics are UTF-8, but not checked further.
#[derive(Clone, Debug, PartialEq)]
pub enum ServerMessage<'a> {
    /// A message of a topic.
    Message {
        /// The topic.
        topic: &'a str,
        /// Its number within the topic's epoch, from 1.
        seq: u64,
        /// As it was published; JSON is not parsed here.
        payload: Payload<'a>,
    },
    /// The command with this id succeeded.
    Ok {
        /// The command's id.
        id: u64,
        /// Never [`Answer::Error`], nor one of those that have a variant of their own below.
        answer: Answer<'a>,
    },
    /// The answer to the `history` with this id, see [`Answer::History`].
    History {
        /// The command's id.
        id: u64,
        /// The topic.
        topic: &'a str,
        /// The topic's epoch.
        epoch: Epoch,
        /// The seq of the topic's newest message.
        seq: u64,
        /// The messages, oldest first.
        messages: Vec<Past<'a>>,
    },
    /// The answer to the `presence` with this id, see [`Answer::Presence`].
    Members {
        /// The command's id.
        id: u64,
        /// The topic.
        topic: &'a str,
        /// How many are there.
        count: u64,
        /// Who they are, as far as the broker tells.
        members: Vec<Member<'a>>,
    },
    /// The command with this id failed, or one without an id.
    Error {
        /// The command's id, if it had one.
        id: Option<u64>,
        /// For programs.
        code: ErrorCode,
        /// For people.
        message: &'a str,
    },
    /// Messages of a topic will not come.
    Gap {
        /// The topic.
        topic: &'a str,
        /// The first seq missing.
        from: u64,
        /// The last seq missing.
        to: u64,
        /// Why.
        reason: GapReason,
    },
    /// A subscription is served otherwise, see [`Notice::Mode`](crate::command::Notice::Mode).
    Mode {
        /// The filter.
        filter: &'a str,
        /// How it is served now.
        now: Serving,
        /// Why.
        reason: ModeReason,
    },
    /// The token expires in so many milliseconds.
    Expiring {
        /// How many.
        in_ms: u64,
    },
    /// A subscription is no longer allowed, and has ended.
    Unsubscribed {
        /// The filter.
        filter: &'a str,
    },
    /// Someone came or went, see [`Notice::Presence`](crate::command::Notice::Presence).
    Presence {
        /// The topic.
        topic: &'a str,
        /// Who came.
        joined: Vec<Member<'a>>,
        /// Who went.
        left: Vec<Member<'a>>,
        /// How many are there now.
        count: u64,
    },
    /// A topic fell silent, see [`Notice::Stale`](crate::command::Notice::Stale).
    Stale {
        /// The topic.
        topic: &'a str,
        /// The seq of its last message.
        seq: u64,
        /// For how long it has been silent, in milliseconds.
        silent_ms: u64,
    },
    /// A topic that was stale has a message again.
    Live {
        /// The topic.
        topic: &'a str,
        /// The seq of the message.
        seq: u64,
    },
    /// A topic has begun, see [`Notice::Epoch`](crate::command::Notice::Epoch).
    Epoch {
        /// The topic.
        topic: &'a str,
        /// Its epoch.
        epoch: Epoch,
    },
}

/// Reads `bytes`, the payload of one binary frame from a broker.
///
/// ```
/// use broker_proto::bin::{ServerMessage, decode_server};
/// use broker_proto::command::Payload;
///
/// let message = decode_server(b"\x11\x01t\x07[1]")?;
/// let payload = Payload::Json(b"[1]");
/// assert_eq!(message, ServerMessage::Message { topic: "t", seq: 7, payload });
/// # Ok::<(), broker_proto::bin::DecodeError>(())
/// ```
pub fn decode_server(bytes: &[u8]) -> Result<ServerMessage<'_>, DecodeError> {
    let mut reader = Reader::new(bytes);
    let head = reader.byte()?;
    let (kind, flags) = (head & KIND, head & !KIND);
    let message = match (kind, flags) {
        (MESSAGE, 0 | IS_JSON) => {
            let (topic, seq) = (reader.short_text()?, reader.number()?);
            let bytes = reader.take_rest();
            let payload = match flags {
                IS_JSON => Payload::Json(bytes),
                _ => Payload::Opaque(bytes),
            };
            ServerMessage::Message { topic, seq, payload }
        }
        (OK, HAS_ID | HAS_FULL) => {
            let id = reader.number()?;
            read_success(id, flags == HAS_FULL, &mut reader)?
        }
        (ERROR, 0 | HAS_ID) => {
            let id = if flags == HAS_ID { Some(reader.number()?) } else { None };
            let code = known(reader.byte()?, ErrorCode::from_code)?;
            ServerMessage::Error { id, code, message: reader.take_rest_text()? }
        }
        (GAP, 0) => ServerMessage::Gap {
            topic: reader.short_text()?,
            from: reader.number()?,
            to: reader.number()?,
            reason: known(reader.byte()?, GapReason::from_code)?,
        },
        (MODE, 0) => ServerMessage::Mode {
            filter: reader.short_text()?,
            now: known(reader.byte()?, Serving::from_code)?,
            reason: known(reader.byte()?, ModeReason::from_code)?,
        },
        (PRESENCE, 0) => ServerMessage::Presence {
            topic: reader.short_text()?,
            joined: read_members(&mut reader)?,
            left: read_members(&mut reader)?,
            count: reader.number()?,
        },
        (STALE, 0) => ServerMessage::Stale {
            topic: reader.short_text()?,
            seq: reader.number()?,
            silent_ms: reader.number()?,
        },
        (LIVE, 0) => ServerMessage::Live { topic: reader.short_text()?, seq: reader.number()? },
        (EPOCH, 0) => ServerMessage::Epoch {
            topic: reader.short_text()?,
            epoch: Epoch::new(reader.number()?),
        },
        (EXPIRING, 0) => ServerMessage::Expiring { in_ms: reader.number()? },
        (UNSUBSCRIBED, 0) => ServerMessage::Unsubscribed { filter: reader.short_text()? },
        (MESSAGE..=EPOCH | EXPIRING | UNSUBSCRIBED, _) => {
            return Err(DecodeError::BadFlags(head));
        }
        _ => return Err(DecodeError::UnknownValue(kind)),
    };
    reader.finish()?;
    Ok(message)
}

/// The flags of a success in its fuller form.
const HAS_FULL: u8 = HAS_ID | IS_FULL;

fn read_success<'a>(
    id: u64,
    is_full: bool,
    reader: &mut Reader<'a>,
) -> Result<ServerMessage<'a>, DecodeError> {
    let code = reader.byte()?;
    let op = known(code, Op::from_code)?;
    if is_full && !matches!(op, Op::Publish | Op::Stats) {
        return Err(DecodeError::BadFlags(HAS_FULL | OK));
    }
    let answer = match op {
        Op::Publish => Answer::Published {
            epoch: Epoch::new(reader.number()?),
            seq: reader.number()?,
            level: known(reader.byte()?, Level::from_code)?,
            subscribers: if is_full { Some(reader.number()?) } else { None },
        },
        Op::Subscribe => {
            let filter = reader.short_text()?;
            let flags = reader.byte()?;
            if flags & !(HAS_POSITION | HAS_RECOVERED | RECOVERED | HAS_EPOCH) != 0 {
                return Err(DecodeError::UnknownValue(flags));
            }
            let recovered = (flags & HAS_RECOVERED != 0).then_some(flags & RECOVERED != 0);
            let position = match flags & HAS_POSITION {
                0 => None,
                _ => Some((Epoch::new(reader.number()?), reader.number()?)),
            };
            let epoch = match flags & HAS_EPOCH {
                0 => None,
                _ => Some(Epoch::new(reader.number()?)),
            };
            Answer::Subscribed { filter, position, epoch, recovered }
        }
        Op::Unsubscribe => Answer::Unsubscribed { filter: reader.short_text()? },
        Op::Ping => Answer::Pong,
        Op::Connect => Answer::Connected { session: reader.number()? },
        Op::Stats if is_full => {
            let filter = reader.short_text()?;
            let mut values = [0; Account::NAMES.len()];
            for value in &mut values {
                *value = reader.number()?;
            }
            Answer::Account { filter, account: Account::from_values(values) }
        }
        Op::Stats => {
            let mut values = [0; Stats::NAMES.len()];
            for value in &mut values {
                *value = reader.number()?;
            }
            Answer::Stats(Stats::from_values(values))
        }
        Op::Pause => Answer::Paused { filter: reader.short_text()? },
        Op::Resume => Answer::Resumed { filter: reader.short_text()?, skipped: reader.number()? },
        Op::History => {
            let (topic, epoch) = (reader.short_text()?, Epoch::new(reader.number()?));
            let (seq, count) = (reader.number()?, reader.number()?);
            // Grows by what is there, not by what is claimed.
            let messages = (0..count).map(|_| read_past(reader)).collect::<Result<_, _>>()?;
            return Ok(ServerMessage::History { id, topic, epoch, seq, messages });
        }
        Op::Presence => {
            let (topic, count) = (reader.short_text()?, reader.number()?);
            let members = read_members(reader)?;
            return Ok(ServerMessage::Members { id, topic, count, members });
        }
    };
    Ok(ServerMessage::Ok { id, answer })
}

fn read_past<'a>(reader: &mut Reader<'a>) -> Result<Past<'a>, DecodeError> {
    let (seq, flags) = (reader.number()?, reader.byte()?);
    let length = reader.number()?;
    let bytes = reader.bytes(length)?;
    let payload = match flags {
        0 => Payload::Opaque(bytes),
        IS_JSON => Payload::Json(bytes),
        _ => return Err(DecodeError::UnknownValue(flags)),
    };
    Ok(Past { seq, payload })
}

fn read_members<'a>(reader: &mut Reader<'a>) -> Result<Vec<Member<'a>>, DecodeError> {
    let count = reader.number()?;
    (0..count).map(|_| read_member(reader)).collect()
}

fn read_member<'a>(reader: &mut Reader<'a>) -> Result<Member<'a>, DecodeError> {
    let session = reader.number()?;
    let user = match reader.byte()? {
        0 => None,
        1 => Some(reader.short_text()?),
        other => return Err(DecodeError::UnknownValue(other)),
    };
    Ok(Member { session, user })
}

fn known<T>(code: u8, from_code: impl FnOnce(u8) -> Option<T>) -> Result<T, DecodeError> {
    from_code(code).ok_or(DecodeError::UnknownValue(code))
}
