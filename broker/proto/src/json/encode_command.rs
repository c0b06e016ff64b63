//! Commands as JSON text: what a client sends. Called by the load generator, and by tests that
//! hold the parser against it.

use super::encode::{append_base64, append_number, append_string};
use crate::command::{Command, Delta, Payload, Position, Since, SubscribeOptions};

/// Appends `command` with this id; without one its success is not answered. Members stand in the
/// order `id`, `op`, `topic`, then those of the command.
///
/// ```
/// use broker_proto::command::Command;
/// use broker_proto::json::encode_command;
///
/// let mut out = Vec::new();
/// encode_command(&mut out, Some(12), &Command::Ping);
/// assert_eq!(out, br#"{"id":12,"op":"ping"}"#);
/// ```
pub fn encode_command(out: &mut Vec<u8>, id: Option<u64>, command: &Command<'_>) {
    out.push(b'{');
    if let Some(id) = id {
        out.extend_from_slice(b"\"id\":");
        append_number(out, id);
        out.push(b',');
    }
    out.extend_from_slice(b"\"op\":\"");
    out.extend_from_slice(command.op().name().as_bytes());
    out.push(b'"');
    append_members(out, command);
    out.push(b'}');
}

fn append_members(out: &mut Vec<u8>, command: &Command<'_>) {
    match command {
        Command::Connect { token } => {
            if let Some(token) = token {
                append_text(out, "token", token);
            }
        }
        Command::Subscribe { filter, options } => {
            append_text(out, "topic", filter.as_str());
            append_options(out, options);
        }
        Command::Unsubscribe { filter }
        | Command::Pause { filter }
        | Command::Resume { filter } => append_text(out, "topic", filter.as_str()),
        Command::Publish { topic, payload, count, msg_id } => {
            append_text(out, "topic", topic.as_str());
            append_payload(out, *payload);
            if *count {
                append_key(out, "count");
                out.extend_from_slice(b"true");
            }
            if let Some(msg_id) = msg_id {
                append_text(out, "msg_id", msg_id);
            }
        }
        Command::History { topic, limit } => {
            append_text(out, "topic", topic.as_str());
            if let Some(limit) = limit {
                append_key(out, "limit");
                append_number(out, u64::from(*limit));
            }
        }
        Command::Presence { topic } => append_text(out, "topic", topic.as_str()),
        Command::Stats { filter } => {
            if let Some(filter) = filter {
                append_text(out, "topic", filter.as_str());
            }
        }
        Command::Ping => {}
    }
}

fn append_payload(out: &mut Vec<u8>, payload: Payload<'_>) {
    match payload {
        Payload::Json(value) => {
            append_key(out, "data");
            out.extend_from_slice(value);
        }
        Payload::Opaque(bytes) => {
            append_key(out, "base64");
            out.push(b'"');
            append_base64(out, bytes);
            out.push(b'"');
        }
    }
}

/// Appends the options that are not at their default as an object of their own; nothing at all if
/// there are none.
pub(crate) fn write_options(out: &mut Vec<u8>, options: &SubscribeOptions<'_>) {
    let start = out.len();
    append_options(out, options);
    if out.len() > start {
        // The members came with a comma before each.
        out[start] = b'{';
        out.push(b'}');
    }
}

fn append_options(out: &mut Vec<u8>, options: &SubscribeOptions<'_>) {
    if options.last {
        append_key(out, "last");
        out.extend_from_slice(b"true");
    }
    if let Some(since) = &options.since {
        append_key(out, "since");
        append_since(out, since);
    }
    if options.latest {
        append_text(out, "mode", "latest");
    } else if options.all {
        append_text(out, "mode", "all");
    }
    if let Some(rate) = options.max_rate {
        append_key(out, "max_rate");
        append_float(out, rate);
    }
    if let Some(key) = options.key {
        append_text(out, "key", key);
    }
    if !options.fields.is_empty() {
        append_key(out, "fields");
        append_list(out, &options.fields);
    }
    if let Some(deadband) = options.deadband {
        append_key(out, "deadband");
        out.extend_from_slice(b"{\"field\":");
        append_string(out, deadband.field);
        let (name, amount) = match deadband.delta {
            Delta::Absolute(amount) => ("abs", amount),
            Delta::Percent(amount) => ("pct", amount),
        };
        append_key(out, name);
        append_float(out, amount);
        if let Some(ms) = deadband.max_silence_ms {
            append_key(out, "max_silence_ms");
            append_number(out, ms.into());
        }
        out.push(b'}');
    }
    if options.presence {
        append_key(out, "presence");
        out.extend_from_slice(b"true");
    }
    if options.epochs {
        append_key(out, "epochs");
        out.extend_from_slice(b"true");
    }
}

fn append_since(out: &mut Vec<u8>, since: &Since<'_>) {
    match since {
        Since::At(position) => append_position(out, *position),
        Since::Topics(topics) => {
            out.push(b'{');
            for (index, (topic, position)) in topics.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                append_string(out, topic.as_str());
                out.push(b':');
                append_position(out, *position);
            }
            out.push(b'}');
        }
    }
}

fn append_position(out: &mut Vec<u8>, position: Position) {
    out.extend_from_slice(b"{\"epoch\":\"");
    position.epoch.append_to(out);
    out.extend_from_slice(b"\",\"seq\":");
    append_number(out, position.seq);
    out.push(b'}');
}

fn append_list(out: &mut Vec<u8>, names: &[&str]) {
    for (index, name) in names.iter().enumerate() {
        out.push(if index == 0 { b'[' } else { b',' });
        append_string(out, name);
    }
    out.push(b']');
}

/// `,"name":`
fn append_key(out: &mut Vec<u8>, name: &str) {
    out.push(b',');
    append_string(out, name);
    out.push(b':');
}

fn append_text(out: &mut Vec<u8>, name: &str, text: &str) {
    append_key(out, name);
    append_string(out, text);
}

/// The shortest text that reads as the same number again.
fn append_float(out: &mut Vec<u8>, number: f64) {
    out.extend_from_slice(number.to_string().as_bytes());
}
