//! One command out of one JSON object: which members it has, that it may have them, and what they
//! say. Called by the parser for each object of a message; reads values, never text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::options;
use super::parse::refused;
use super::tape::Value;
use crate::command::{Command, CommandError, ErrorCode, Id, Op, Payload, Publish, Request};
use crate::command::{ID_BYTES_MAX, check_msg_id, quoted};
use crate::topic::{Filter, Topic};

/// Hands `each` the commands of a message, in order.
pub(super) fn requests(
    message: &Value<'_, '_>,
    opaque: &mut Vec<u8>,
    each: &mut impl FnMut(Request<'_>),
) {
    let Some(mut batch) = message.elements() else {
        return each(request(message, opaque));
    };
    let Some(first) = batch.next() else {
        return each(refused(CommandError::bad_request("the batch is empty")));
    };
    each(request(&first, opaque));
    for value in batch {
        each(request(&value, opaque));
    }
}

/// Reads an object that is a publish and nothing else: no `op` and no `id`.
pub(super) fn publish<'a>(
    object: &Value<'_, 'a>,
    opaque: &'a mut Vec<u8>,
) -> Result<Publish<'a>, CommandError> {
    let wrong = || CommandError::bad_request("a message to publish is a JSON object");
    let fields = Fields::collect(object).ok_or_else(wrong)?;
    if let Some(key) = fields.repeated {
        return Err(CommandError::bad_request(format!("`{key}` is given twice")));
    }
    fields.check_members(Op::Publish, TOPIC | DATA | BASE64 | COUNT | MSG_ID, object)?;
    let topic = Topic::new(fields.topic(Op::Publish)?)?;
    let (count, msg_id) = (fields.count()?, fields.msg_id()?);
    Ok(Publish { topic, payload: fields.payload(opaque)?, count, msg_id })
}

fn request<'a>(object: &Value<'_, 'a>, opaque: &'a mut Vec<u8>) -> Request<'a> {
    let Some(fields) = Fields::collect(object) else {
        let error = CommandError::bad_request("a command is a JSON object");
        return Request { id: None, command: Err(error) };
    };
    match fields.id() {
        Ok(id) => Request { id, command: fields.command(object, opaque) },
        Err(error) => Request { id: None, command: Err(error) },
    }
}

/// The known members of a command, as bits of a set; those of a subscribe's options are
/// [`options::MEMBERS`].
const ID: u32 = 1 << 16;
const OP: u32 = 1 << 17;
const TOPIC: u32 = 1 << 18;
const DATA: u32 = 1 << 19;
const BASE64: u32 = 1 << 20;
const TOKEN: u32 = 1 << 21;
const LIMIT: u32 = 1 << 22;
const COUNT: u32 = 1 << 23;
const MSG_ID: u32 = 1 << 24;

fn member_bit(key: &str) -> Option<u32> {
    match key {
        "id" => Some(ID),
        "op" => Some(OP),
        "topic" => Some(TOPIC),
        "data" => Some(DATA),
        "base64" => Some(BASE64),
        "token" => Some(TOKEN),
        "limit" => Some(LIMIT),
        "count" => Some(COUNT),
        "msg_id" => Some(MSG_ID),
        _ => options::member_bit(key),
    }
}

/// The members that a command may have.
fn members_of(op: Op) -> u32 {
    ID | OP
        | match op {
            Op::Publish => TOPIC | DATA | BASE64 | COUNT | MSG_ID,
            Op::Subscribe => TOPIC | options::MEMBERS,
            Op::Unsubscribe | Op::Pause | Op::Resume | Op::Presence | Op::Stats => TOPIC,
            Op::History => TOPIC | LIMIT,
            Op::Connect => TOKEN,
            Op::Ping => 0,
        }
}

/// The members of one object, sorted by name.
#[derive(Default)]
struct Fields<'t, 'a> {
    seen: u32,
    /// The first key that no command has.
    unknown: Option<&'a str>,
    /// The first key that came twice.
    repeated: Option<&'a str>,
    id: Option<Value<'t, 'a>>,
    op: Option<Value<'t, 'a>>,
    topic: Option<Value<'t, 'a>>,
    /// `data` or `base64`.
    payload: Option<Value<'t, 'a>>,
    token: Option<Value<'t, 'a>>,
    limit: Option<Value<'t, 'a>>,
    count: Option<Value<'t, 'a>>,
    msg_id: Option<Value<'t, 'a>>,
}

impl<'t, 'a> Fields<'t, 'a> {
    /// None if the value is no object.
    fn collect(object: &Value<'t, 'a>) -> Option<Self> {
        let mut fields = Self::default();
        for (key, value) in object.members()? {
            let Some(bit) = member_bit(key) else {
                fields.unknown.get_or_insert(key);
                continue;
            };
            if fields.seen & bit != 0 {
                fields.repeated.get_or_insert(key);
            }
            fields.seen |= bit;
            match bit {
                ID => fields.id = Some(value),
                OP => fields.op = Some(value),
                TOPIC => fields.topic = Some(value),
                DATA | BASE64 => fields.payload = Some(value),
                TOKEN => fields.token = Some(value),
                LIMIT => fields.limit = Some(value),
                COUNT => fields.count = Some(value),
                MSG_ID => fields.msg_id = Some(value),
                _ => {}
            }
        }
        Some(fields)
    }

    fn id(&self) -> Result<Option<Id<'a>>, CommandError> {
        let Some(value) = self.id else { return Ok(None) };
        let raw = value.raw();
        let is_string = value.as_str().is_some();
        let is_integer = raw.strip_prefix('-').unwrap_or(raw).bytes().all(|b| b.is_ascii_digit());
        if !is_string && !is_integer {
            return Err(CommandError::bad_request("`id` must be an integer or a string"));
        }
        if raw.len() > ID_BYTES_MAX {
            let message = format!("`id` is {} bytes long, more than {ID_BYTES_MAX}", raw.len());
            return Err(CommandError::bad_request(message));
        }
        Ok(Some(Id::Raw(raw)))
    }

    fn command(
        &self,
        object: &Value<'_, 'a>,
        opaque: &'a mut Vec<u8>,
    ) -> Result<Command<'a>, CommandError> {
        if let Some(key) = self.repeated {
            return Err(CommandError::bad_request(format!("`{key}` is given twice")));
        }
        let op = self.op()?;
        self.check_members(op, members_of(op), object)?;
        Ok(match op {
            Op::Publish => {
                let topic = Topic::new(self.topic(op)?)?;
                let (count, msg_id) = (self.count()?, self.msg_id()?);
                Command::Publish { topic, payload: self.payload(opaque)?, count, msg_id }
            }
            Op::Subscribe => {
                let filter = self.filter(op)?;
                let options = match self.seen & options::MEMBERS {
                    0 => Default::default(),
                    _ => options::read(object, filter)?,
                };
                Command::Subscribe { filter, options }
            }
            Op::Unsubscribe => Command::Unsubscribe { filter: self.filter(op)? },
            Op::Pause => Command::Pause { filter: self.filter(op)? },
            Op::Resume => Command::Resume { filter: self.filter(op)? },
            Op::History => {
                let topic = Topic::new(self.topic(op)?)?;
                Command::History { topic, limit: self.limit()? }
            }
            Op::Presence => Command::Presence { topic: Topic::new(self.topic(op)?)? },
            Op::Connect => Command::Connect { token: self.token()? },
            Op::Stats if self.topic.is_none() => Command::Stats { filter: None },
            Op::Stats => Command::Stats { filter: Some(self.filter(op)?) },
            Op::Ping => Command::Ping,
        })
    }

    fn op(&self) -> Result<Op, CommandError> {
        let value = self.op.ok_or_else(|| CommandError::bad_request("`op` is missing"))?;
        let name =
            value.as_str().ok_or_else(|| CommandError::bad_request("`op` must be a string"))?;
        Op::from_name(name).ok_or_else(|| {
            CommandError::new(ErrorCode::UnknownOp, format!("no op is called {}", quoted(name)))
        })
    }

    /// A misspelt or misplaced member is refused, never passed over in silence.
    fn check_members(
        &self,
        op: Op,
        members: u32,
        object: &Value<'_, 'a>,
    ) -> Result<(), CommandError> {
        let excess = self.seen & !members;
        if self.unknown.is_none() && excess == 0 {
            return Ok(());
        }
        let is_excess = |key: &&str| member_bit(key).is_none_or(|bit| bit & excess != 0);
        let mut keys = object.members().into_iter().flatten().map(|(key, _)| key);
        let key = keys.find(is_excess).unwrap_or_default();
        Err(CommandError::bad_request(format!("`{}` takes no member {}", op.name(), quoted(key))))
    }

    fn topic(&self, op: Op) -> Result<&'a str, CommandError> {
        let missing = || CommandError::bad_request(format!("`{}` needs a `topic`", op.name()));
        let value = self.topic.ok_or_else(missing)?;
        value.as_str().ok_or_else(|| CommandError::bad_request("`topic` must be a string"))
    }

    fn filter(&self, op: Op) -> Result<Filter<'a>, CommandError> {
        Ok(Filter::new(self.topic(op)?)?)
    }

    fn payload(&self, opaque: &'a mut Vec<u8>) -> Result<Payload<'a>, CommandError> {
        if self.seen & DATA != 0 && self.seen & BASE64 != 0 {
            return Err(CommandError::bad_request("`data` and `base64` exclude each other"));
        }
        let missing = CommandError::bad_request("`publish` needs a member `data`");
        let value = self.payload.ok_or(missing)?;
        if self.seen & DATA != 0 {
            return Ok(Payload::Json(value.raw().as_bytes()));
        }
        let wrong = || CommandError::bad_request("`base64` must be a string of padded base64");
        opaque.clear();
        STANDARD.decode_vec(value.as_str().ok_or_else(wrong)?, opaque).map_err(|_| wrong())?;
        Ok(Payload::Opaque(opaque))
    }

    fn token(&self) -> Result<Option<&'a str>, CommandError> {
        let Some(value) = self.token else { return Ok(None) };
        let text =
            value.as_str().ok_or_else(|| CommandError::bad_request("`token` must be a string"))?;
        Ok(Some(text))
    }

    fn count(&self) -> Result<bool, CommandError> {
        let Some(value) = self.count else { return Ok(false) };
        value.as_bool().ok_or_else(|| CommandError::bad_request("`count` must be true or false"))
    }

    fn msg_id(&self) -> Result<Option<&'a str>, CommandError> {
        let Some(value) = self.msg_id else { return Ok(None) };
        let wrong = || CommandError::bad_request("`msg_id` must be a string");
        Ok(Some(check_msg_id(value.as_str().ok_or_else(wrong)?)?))
    }

    fn limit(&self) -> Result<Option<u32>, CommandError> {
        let Some(value) = self.limit else { return Ok(None) };
        match value.as_u64().and_then(|limit| u32::try_from(limit).ok()) {
            Some(limit) if limit > 0 => Ok(Some(limit)),
            _ => Err(CommandError::bad_request("`limit` must be an integer from 1 to 4294967295")),
        }
    }
}
