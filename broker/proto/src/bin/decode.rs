//! What a client reads: answers, messages and notices out of the payloads of binary frames. Called
//! by the load generator, and by tests that hold the encoder against it.

use super::reader::Reader;
use super::{
    DecodeError, ERROR, GAP, HAS_ID, HAS_POSITION, HAS_RECOVERED, IS_JSON, KIND, MESSAGE, OK,
    RECOVERED,
};
use crate::command::{Answer, Epoch, ErrorCode, GapReason, Level, Op, Payload, Stats};

/// One thing that the broker said. Topics are UTF-8, but not checked further.
#[derive(Clone, Copy, Debug, PartialEq)]
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
        /// Never [`Answer::Error`].
        answer: Answer<'a>,
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
        (OK, HAS_ID) => {
            let id = reader.number()?;
            ServerMessage::Ok { id, answer: read_success(&mut reader)? }
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
        (MESSAGE..=GAP, _) => return Err(DecodeError::BadFlags(head)),
        _ => return Err(DecodeError::UnknownValue(kind)),
    };
    reader.finish()?;
    Ok(message)
}

fn read_success<'a>(reader: &mut Reader<'a>) -> Result<Answer<'a>, DecodeError> {
    let code = reader.byte()?;
    Ok(match known(code, Op::from_code)? {
        Op::Publish => Answer::Published {
            epoch: Epoch::new(reader.number()?),
            seq: reader.number()?,
            level: known(reader.byte()?, Level::from_code)?,
        },
        Op::Subscribe => {
            let filter = reader.short_text()?;
            let flags = reader.byte()?;
            if flags & !(HAS_POSITION | HAS_RECOVERED | RECOVERED) != 0 {
                return Err(DecodeError::UnknownValue(flags));
            }
            let recovered = (flags & HAS_RECOVERED != 0).then_some(flags & RECOVERED != 0);
            let position = match flags & HAS_POSITION {
                0 => None,
                _ => Some((Epoch::new(reader.number()?), reader.number()?)),
            };
            Answer::Subscribed { filter, position, recovered }
        }
        Op::Unsubscribe => Answer::Unsubscribed { filter: reader.short_text()? },
        Op::Ping => Answer::Pong,
        Op::Connect => Answer::Connected { session: reader.number()? },
        Op::Stats => Answer::Stats(Stats {
            subscriptions: reader.number()?,
            received: reader.number()?,
            sent: reader.number()?,
            dropped: reader.number()?,
            pending: reader.number()?,
        }),
        Op::Pause | Op::Resume | Op::History | Op::Presence => {
            return Err(DecodeError::UnknownValue(code));
        }
    })
}

fn known<T>(code: u8, from_code: impl FnOnce(u8) -> Option<T>) -> Result<T, DecodeError> {
    from_code(code).ok_or(DecodeError::UnknownValue(code))
}
