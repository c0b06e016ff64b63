//! Socket.IO 4 over WebSocket (Engine.IO protocol 4, Socket.IO protocol 5), from a client's side.
//! What its server does with events is the application's: here `subscribe` with a topic, which is
//! acknowledged, and `publish` with a topic and a text, which comes back to all who subscribed as
//! `message`. Packets in and out; no frames, no sockets.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::{Incoming, Wait};

/// The answer to the server's ping (Engine.IO `2`).
pub(super) const PONG: &[u8] = b"3";

/// The begin of a message as the server's library writes it.
const MESSAGE: &str = r#"42["message","#;

/// Asks to be connected to the main namespace; the server's own packets come first.
pub(super) fn open(mut send: impl FnMut(&[u8])) -> Wait {
    send(b"40");
    Wait::Hello
}

/// Subscribes to the topics, each to be acknowledged under its number from 1.
pub(super) fn welcome(topics: &[&str], mut send: impl FnMut(&[u8])) -> Wait {
    for (id, topic) in (1..).zip(topics) {
        send(format!("42{id}{}", json!(["subscribe", topic])).as_bytes());
    }
    Wait::Answers(topics.len() as u32)
}

/// Appends an event. The payload travels as a text, so that it arrives byte for byte.
pub(super) fn publish(out: &mut Vec<u8>, topic: &str, payload: &[u8]) {
    let event = json!(["publish", topic, String::from_utf8_lossy(payload)]);
    out.extend_from_slice(format!("42{event}").as_bytes());
}

/// Reads one packet.
pub(super) fn read(bytes: &[u8]) -> Incoming<'_> {
    let Ok(text) = std::str::from_utf8(bytes) else { return Incoming::Unknown };
    if let Some(rest) = text.strip_prefix(MESSAGE) {
        return read_message(rest).unwrap_or(Incoming::Unknown);
    }
    match text.get(..1) {
        // The session of Engine.IO, the end of a transport, an answer to a probe.
        Some("0" | "3" | "6") => return Incoming::Noted,
        Some("2") => return Incoming::Ping,
        _ => {}
    }
    match text.get(..2) {
        Some("40") => {
            let details: Value = serde_json::from_str(&text[2..]).unwrap_or_default();
            let name = details["sid"].as_str().unwrap_or_default().to_owned();
            Incoming::Hello { name }
        }
        Some("43") => {
            let digits = text[2..].split('[').next().unwrap_or_default();
            match digits.parse() {
                Ok(id) => Incoming::Accepted { id, position: None },
                Err(_) => Incoming::Unknown,
            }
        }
        Some("44") => {
            let details: Value = serde_json::from_str(&text[2..]).unwrap_or_default();
            let why = details["message"].as_str().unwrap_or("refused").to_owned();
            Incoming::Refused { id: None, why }
        }
        _ => Incoming::Unknown,
    }
}

/// `"topic","payload"]`
fn read_message(rest: &str) -> Option<Incoming<'_>> {
    // No topic of ours needs an escape.
    let (topic, text) = rest.strip_prefix('"')?.split_once(r#"",""#)?;
    let text = text.strip_suffix(r#""]"#)?;
    let payload = match text.contains('\\') {
        false => Cow::Borrowed(text.as_bytes()),
        true => {
            let text: String = serde_json::from_str(&format!("\"{text}\"")).ok()?;
            Cow::Owned(text.into_bytes())
        }
    };
    Some(Incoming::Message { topic: topic.as_bytes(), seq: None, payload })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_connected_and_then_subscribes_with_acknowledgements() {
        let mut sent = Vec::new();
        let mut send = |packet: &[u8]| sent.push(String::from_utf8(packet.to_vec()).unwrap());
        assert_eq!(open(&mut send), Wait::Hello);
        assert_eq!(welcome(&["a/b", "c"], &mut send), Wait::Answers(2));
        assert_eq!(sent, ["40", r#"421["subscribe","a/b"]"#, r#"422["subscribe","c"]"#]);
        assert_eq!(read(br#"0{"sid":"x","upgrades":[]}"#), Incoming::Noted);
        assert_eq!(read(br#"40{"sid":"abc"}"#), Incoming::Hello { name: "abc".into() });
        assert_eq!(read(b"432[]"), Incoming::Accepted { id: 2, position: None });
        let why = "no".to_owned();
        assert_eq!(read(br#"44{"message":"no"}"#), Incoming::Refused { id: None, why });
        assert_eq!(read(b"2"), Incoming::Ping);
    }

    #[test]
    fn a_payload_comes_as_it_went() {
        let payload = br#"{"s":"01x", "price":1.10 }"#;
        let mut packet = Vec::new();
        publish(&mut packet, "a/b", payload);
        let text = r#"42["publish","a/b","{\"s\":\"01x\", \"price\":1.10 }"]"#;
        assert_eq!(String::from_utf8(packet).unwrap(), text);
        let message = text.replace("publish", "message");
        let expected =
            Incoming::Message { topic: b"a/b", seq: None, payload: Cow::Borrowed(payload) };
        assert_eq!(read(message.as_bytes()), expected);
        for wrong in ["", "4", "42", r#"42["message"]"#, r#"42["message","a"]"#, "43x[]", "45"] {
            assert_eq!(read(wrong.as_bytes()), Incoming::Unknown, "{wrong}");
        }
    }
}
