//! Commands out of the payloads of binary frames. Called by the workers for every binary message
//! of a client that speaks this protocol.

use super::reader::Reader;
use super::{DecodeError, HAS_ID, HAS_MSG_ID, IS_FULL, IS_JSON, KIND};
use crate::command::{Command, CommandError, ErrorCode, Id, Op, Payload, Request, check_msg_id};
use crate::json;
use crate::topic::{Filter, Topic};

/// Hands `each` the one command in `bytes`, the payload of a binary frame. What is no command at
/// all is a request that is an error; its id is kept if it could be read. `scratch` checks JSON
/// payloads and reads the options of a subscribe.
///
/// ```
/// use broker_proto::bin::parse;
/// use broker_proto::command::{Command, Id, Payload};
/// use broker_proto::json::Parser;
///
/// parse(b"\x81\x05\x01t\x00\xff", &mut Parser::new(), |request| {
///     assert_eq!(request.id, Some(Id::Number(5)));
///     let Ok(Command::Publish { topic, payload, .. }) = request.command else { panic!() };
///     assert_eq!((topic.as_str(), payload), ("t", Payload::Opaque(b"\x00\xff")));
/// });
/// ```
pub fn parse(bytes: &[u8], scratch: &mut json::Parser, mut each: impl FnMut(Request<'_>)) {
    let mut reader = Reader::new(bytes);
    let (head, id) = match read_head(&mut reader) {
        Ok(head_and_id) => head_and_id,
        Err(error) => return each(Request { id: None, command: Err(error.into()) }),
    };
    match read_command(head, &mut reader, scratch) {
        Ok(Parsed::Whole(command)) => each(Request { id, command: Ok(command) }),
        Ok(Parsed::WithOptions(filter, text)) => scratch.with_options(text, filter, |options| {
            let command = options.map(|options| Command::Subscribe { filter, options });
            each(Request { id, command });
        }),
        Err(error) => each(Request { id, command: Err(error) }),
    }
}

/// A command, or a subscribe whose options must still be read.
enum Parsed<'a> {
    Whole(Command<'a>),
    WithOptions(Filter<'a>, &'a str),
}

fn read_head<'a>(reader: &mut Reader<'_>) -> Result<(u8, Option<Id<'a>>), DecodeError> {
    let head = reader.byte()?;
    let id = if head & HAS_ID == 0 { None } else { Some(Id::Number(reader.number()?)) };
    Ok((head, id))
}

fn read_command<'a>(
    head: u8,
    reader: &mut Reader<'a>,
    scratch: &mut json::Parser,
) -> Result<Parsed<'a>, CommandError> {
    let op = Op::from_code(head & KIND).ok_or_else(|| {
        CommandError::new(ErrorCode::UnknownOp, format!("no op has the number {}", head & KIND))
    })?;
    let flags = if op == Op::Publish { IS_JSON | IS_FULL | HAS_MSG_ID } else { 0 };
    if head & !(HAS_ID | flags | KIND) != 0 {
        return Err(DecodeError::BadFlags(head).into());
    }
    let command = match op {
        Op::Publish => {
            let topic = topic(reader)?;
            let msg_id = match head & HAS_MSG_ID {
                0 => None,
                _ => Some(check_msg_id(reader.short_text()?)?),
            };
            let payload = payload(head, reader.take_rest(), scratch)?;
            Command::Publish { topic, payload, count: head & IS_FULL != 0, msg_id }
        }
        Op::Subscribe => {
            let filter = filter(reader)?;
            match reader.take_rest_text()? {
                "" => Command::Subscribe { filter, options: Default::default() },
                text => return Ok(Parsed::WithOptions(filter, text)),
            }
        }
        Op::Unsubscribe => Command::Unsubscribe { filter: filter(reader)? },
        Op::Pause => Command::Pause { filter: filter(reader)? },
        Op::Resume => Command::Resume { filter: filter(reader)? },
        Op::History => Command::History { topic: topic(reader)?, limit: limit(reader)? },
        Op::Presence => Command::Presence { topic: topic(reader)? },
        Op::Connect => match reader.take_rest_text()? {
            "" => Command::Connect { token: None },
            token => Command::Connect { token: Some(token) },
        },
        Op::Stats if reader.is_at_end() => Command::Stats { filter: None },
        Op::Stats => Command::Stats { filter: Some(filter(reader)?) },
        Op::Ping => Command::Ping,
    };
    reader.finish()?;
    Ok(Parsed::Whole(command))
}

fn topic<'a>(reader: &mut Reader<'a>) -> Result<Topic<'a>, CommandError> {
    Ok(Topic::new(topic_text(reader)?)?)
}

fn filter<'a>(reader: &mut Reader<'a>) -> Result<Filter<'a>, CommandError> {
    Ok(Filter::new(topic_text(reader)?)?)
}

fn topic_text<'a>(reader: &mut Reader<'a>) -> Result<&'a str, CommandError> {
    reader.short_text().map_err(|error| match error {
        DecodeError::NotUtf8 => CommandError::new(ErrorCode::BadTopic, "the topic is not UTF-8"),
        error => error.into(),
    })
}

fn payload<'a>(
    head: u8,
    bytes: &'a [u8],
    scratch: &mut json::Parser,
) -> Result<Payload<'a>, CommandError> {
    if head & IS_JSON == 0 {
        return Ok(Payload::Opaque(bytes));
    }
    scratch.check_value(bytes)?;
    Ok(Payload::Json(bytes))
}

/// 0 leaves the limit to the broker.
fn limit(reader: &mut Reader<'_>) -> Result<Option<u32>, CommandError> {
    match u32::try_from(reader.number()?) {
        Ok(0) => Ok(None),
        Ok(limit) => Ok(Some(limit)),
        Err(_) => Err(CommandError::bad_request("the limit is above 4294967295")),
    }
}
