//! Commands as payloads of binary frames: what a client sends. Called by the load generator, and
//! by tests that hold the parser against it.

use super::encode::append_short_text;
use super::{HAS_ID, HAS_MSG_ID, IS_FULL, IS_JSON, varint};
use crate::command::{Command, Payload};
use crate::json;

/// Appends `command` with this id; without one its success is not answered.
///
/// ```
/// use broker_proto::bin::encode_command;
/// use broker_proto::command::Command;
///
/// let mut out = Vec::new();
/// encode_command(&mut out, Some(12), &Command::Ping);
/// assert_eq!(out, [0x84, 0x0C]);
/// ```
pub fn encode_command(out: &mut Vec<u8>, id: Option<u64>, command: &Command<'_>) {
    let is_json = matches!(command, Command::Publish { payload: Payload::Json(_), .. });
    let is_full = matches!(command, Command::Publish { count: true, .. });
    let is_named = matches!(command, Command::Publish { msg_id: Some(_), .. });
    let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
    let flags = flag(is_json, IS_JSON) | flag(is_full, IS_FULL) | flag(id.is_some(), HAS_ID);
    let flags = flags | flag(is_named, HAS_MSG_ID);
    out.push(flags | command.op().code());
    if let Some(id) = id {
        varint::append(out, id);
    }
    match command {
        Command::Connect { token } => out.extend_from_slice(token.unwrap_or_default().as_bytes()),
        Command::Subscribe { filter, options } => {
            append_short_text(out, filter.as_str());
            json::write_options(out, options);
        }
        Command::Unsubscribe { filter }
        | Command::Pause { filter }
        | Command::Resume { filter } => append_short_text(out, filter.as_str()),
        Command::Publish { topic, payload, msg_id, .. } => {
            append_short_text(out, topic.as_str());
            if let Some(msg_id) = msg_id {
                append_short_text(out, msg_id);
            }
            out.extend_from_slice(payload.bytes());
        }
        Command::History { topic, limit } => {
            append_short_text(out, topic.as_str());
            varint::append(out, u64::from(limit.unwrap_or(0)));
        }
        Command::Presence { topic } => append_short_text(out, topic.as_str()),
        Command::Stats { filter } => {
            if let Some(filter) = filter {
                append_short_text(out, filter.as_str());
            }
        }
        Command::Ping => {}
    }
}
