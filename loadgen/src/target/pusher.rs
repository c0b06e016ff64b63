//! Pusher Channels protocol 7, from a client's side: client events on private channels. Events in
//! and out; no frames, no sockets. The server does not send an event back to its sender.

use std::borrow::Cow;
use std::fmt::Write as _;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sha2::Sha256;

use super::{Access, Incoming, Wait};

/// Says that a quiet client is there.
pub(super) const PING: &[u8] = br#"{"event":"pusher:ping","data":{}}"#;

/// The answer to the server's ping.
pub(super) const PONG: &[u8] = br#"{"event":"pusher:pong","data":{}}"#;

/// What the messages are published as: clients may only send events of this prefix.
const EVENT: &str = "client-loadgen";

/// An event of the server.
#[derive(Deserialize)]
struct Event<'a> {
    event: &'a str,
    channel: Option<&'a str>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// The channel of a topic: only on private ones may clients send, and `/` has no place there.
pub(super) fn channel(topic: &str) -> String {
    format!("private-{}", topic.replace('/', "."))
}

/// Subscribes to the channels, with the proof that the app allows `socket_id` to do so.
pub(super) fn welcome(
    access: &Access,
    socket_id: &str,
    channels: &[&str],
    mut send: impl FnMut(&[u8]),
) -> Wait {
    for channel in channels {
        let data = json!({"auth": proof(access, socket_id, channel), "channel": channel});
        send(json!({"event": "pusher:subscribe", "data": data}).to_string().as_bytes());
    }
    Wait::Answers(channels.len() as u32)
}

/// Appends a client event. The payload travels as a text, so that it arrives byte for byte.
pub(super) fn publish(out: &mut Vec<u8>, channel: &str, payload: &[u8]) {
    let data = Value::from(String::from_utf8_lossy(payload));
    for part in [r#"{"event":""#, EVENT, r#"","channel":""#, channel, r#"","data":"#] {
        out.extend_from_slice(part.as_bytes());
    }
    out.extend_from_slice(data.to_string().as_bytes());
    out.push(b'}');
}

/// Reads one event.
pub(super) fn read(bytes: &[u8]) -> Incoming<'_> {
    let Ok(event) = serde_json::from_slice::<Event<'_>>(bytes) else { return Incoming::Unknown };
    match event.event {
        EVENT => read_message(&event).unwrap_or(Incoming::Unknown),
        "pusher_internal:subscription_succeeded" => Incoming::Accepted { id: 0, position: None },
        "pusher:connection_established" => match event.details()["socket_id"].as_str() {
            Some(socket_id) => Incoming::Hello { name: socket_id.to_owned() },
            None => Incoming::Unknown,
        },
        "pusher:ping" => Incoming::Ping,
        "pusher:pong" => Incoming::Noted,
        "pusher:error" | "pusher:subscription_error" => {
            let details = event.details();
            let code =
                [&details["code"], &details["status"]].into_iter().find(|code| !code.is_null());
            let message = [&details["message"], &details["error"]];
            let message = message.into_iter().find_map(Value::as_str).unwrap_or_default();
            let why = format!("{} {}: {message}", event.event, code.unwrap_or(&Value::Null));
            Incoming::Refused { id: None, why }
        }
        // Such as how many subscribe by now.
        other if other.starts_with("pusher_internal:") => Incoming::Noted,
        _ => Incoming::Unknown,
    }
}

/// A payload as it was published, or as JSON where the server unpacked it.
fn read_message<'a>(event: &Event<'a>) -> Option<Incoming<'a>> {
    let data = event.data?.get();
    let payload = match data.strip_prefix('"').and_then(|data| data.strip_suffix('"')) {
        None => Cow::Borrowed(data.as_bytes()),
        Some(text) if !text.contains('\\') => Cow::Borrowed(text.as_bytes()),
        Some(_) => Cow::Owned(serde_json::from_str::<String>(data).ok()?.into_bytes()),
    };
    Some(Incoming::Message { topic: event.channel?.as_bytes(), seq: None, payload })
}

impl Event<'_> {
    /// The data as a value, whether the server sends it as one or as a text that holds it.
    fn details(&self) -> Value {
        let parse = |text: &str| serde_json::from_str(text).unwrap_or_default();
        match parse(self.data.map_or("null", RawValue::get)) {
            Value::String(text) => parse(&text),
            value => value,
        }
    }
}

/// `key:signature`, with the HMAC-SHA256 of `socket_id:channel` in hexadecimal digits.
fn proof(access: &Access, socket_id: &str, channel: &str) -> String {
    let Some((key, secret)) = &access.app else { return String::new() };
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.reveal().as_bytes())
        .expect("HMAC takes keys of any length");
    mac.update(format!("{socket_id}:{channel}").as_bytes());
    let mut proof = format!("{key}:");
    for byte in mac.finalize().into_bytes() {
        write!(proof, "{byte:02x}").expect("a string takes all that is written");
    }
    proof
}

#[cfg(test)]
mod tests {
    use super::super::Secret;
    use super::*;

    fn access() -> Access {
        let app = ("278d425bdf160c739803".to_owned(), Secret::new("7ad3773142a6692b25b8"));
        Access { app: Some(app), ..Access::default() }
    }

    #[test]
    fn a_subscribe_holds_the_signature_that_the_protocol_gives_as_its_example() {
        let mut sent = Vec::new();
        let wait = welcome(&access(), "1234.1234", &["private-foobar"], |event| {
            sent.push(String::from_utf8(event.to_vec()).unwrap());
        });
        let signature = "58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4";
        let expected = format!(
            r#"{{"data":{{"auth":"278d425bdf160c739803:{signature}","channel":"private-foobar"}},"event":"pusher:subscribe"}}"#
        );
        assert_eq!((wait, sent), (Wait::Answers(1), vec![expected]));
    }

    #[test]
    fn a_payload_comes_as_it_went_whatever_a_server_makes_of_its_event() {
        let payload = br#"{"s":"01x","price":1.10}"#;
        let mut event = Vec::new();
        publish(&mut event, "private-a.0", payload);
        let text = r#"{"event":"client-loadgen","channel":"private-a.0","data":"{\"s\":\"01x\",\"price\":1.10}"}"#;
        assert_eq!(String::from_utf8(event).unwrap(), text);
        let other_order = r#"{"data":"{\"s\":\"01x\",\"price\":1.10}","channel":"private-a.0","event":"client-loadgen"}"#;
        let unpacked =
            r#"{"event":"client-loadgen","channel":"private-a.0","data":{"s":"01x","price":1.10}}"#;
        for text in [text, other_order, unpacked] {
            let message = Incoming::Message {
                topic: b"private-a.0",
                seq: None,
                payload: Cow::Borrowed(payload),
            };
            assert_eq!(read(text.as_bytes()), message, "{text}");
        }
    }

    #[test]
    fn the_servers_own_events_are_told_apart() {
        let read = |text: &'static str| read(text.as_bytes());
        let established = r#"{"event":"pusher:connection_established","data":"{\"socket_id\":\"12.34\",\"activity_timeout\":120}"}"#;
        assert_eq!(read(established), Incoming::Hello { name: "12.34".into() });
        let succeeded = r#"{"event":"pusher_internal:subscription_succeeded","channel":"private-a","data":"{}"}"#;
        assert_eq!(read(succeeded), Incoming::Accepted { id: 0, position: None });
        assert_eq!(read(r#"{"event":"pusher:ping"}"#), Incoming::Ping);
        assert_eq!(read(r#"{"event":"pusher:pong","data":{}}"#), Incoming::Noted);
        let error = r#"{"event":"pusher:error","data":{"code":4009,"message":"no"}}"#;
        let why = "pusher:error 4009: no".to_owned();
        assert_eq!(read(error), Incoming::Refused { id: None, why });
        let error = r#"{"event":"pusher:subscription_error","channel":"private-a","data":{"type":"AuthError","error":"bad","status":401}}"#;
        let why = "pusher:subscription_error 401: bad".to_owned();
        assert_eq!(read(error), Incoming::Refused { id: None, why });
        for text in ["", "{}", r#"{"event":"else"}"#, r#"{"event":"client-loadgen"}"#] {
            assert_eq!(read(text), Incoming::Unknown, "{text}");
        }
    }

    #[test]
    fn a_topic_becomes_the_name_of_a_private_channel() {
        assert_eq!(channel("loadgen/1/2"), "private-loadgen.1.2");
    }
}
