//! HTTP from a client's side, for subscribers that have no WebSocket: the requests for a stream of
//! events (`GET /sse`) and for a topic's newest messages (`GET /api/v1/topics/TOPIC/history`), and
//! what the latter is answered. Bytes in and out; no sockets. Called by the engine.

mod events;
mod response;

use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Access, Secret, Server};

pub use events::Events;
pub use response::Response;

/// The most topics that one stream of events is asked for: what the broker takes.
pub const STREAM_TOPICS_MAX: u32 = 32;

/// What a topic's history said.
#[derive(Debug, Deserialize)]
pub struct Past<'a> {
    /// The newest messages, the oldest of them first.
    #[serde(borrow)]
    pub messages: Vec<PastMessage<'a>>,
}

/// One message of it.
#[derive(Debug, Deserialize)]
pub struct PastMessage<'a> {
    /// The server's number of the message in its topic.
    pub seq: u64,
    /// What was published, as it stands there; none of one that is no JSON.
    #[serde(borrow, default)]
    pub data: Option<&'a RawValue>,
}

impl<'a> Past<'a> {
    /// Reads the body of an answer.
    ///
    /// # Errors
    ///
    /// If it is none.
    pub fn read(body: &'a [u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(body)
    }
}

/// The request for a stream of these topics. With `latest`, of the newest of each alone, at most so
/// many times a second if that is said.
#[must_use]
pub fn stream_request(
    server: &Server,
    access: &Access,
    topics: &[&str],
    latest: Option<Option<f64>>,
) -> Vec<u8> {
    let mut path = "/sse".to_owned();
    for (at, topic) in topics.iter().enumerate() {
        path += if at == 0 { "?topic=" } else { "&topic=" };
        encode(&mut path, topic);
    }
    if let Some(max_rate) = latest {
        path += "&mode=latest";
        if let Some(max_rate) = max_rate {
            let _ = write!(path, "&max_rate={max_rate}");
        }
    }
    request(&path, "text/event-stream", server, access)
}

/// The request for the newest `limit` messages of a topic.
#[must_use]
pub fn past_request(server: &Server, access: &Access, topic: &str, limit: u32) -> Vec<u8> {
    let mut path = "/api/v1/topics/".to_owned();
    encode(&mut path, topic);
    let _ = write!(path, "/history?limit={limit}");
    request(&path, "application/json", server, access)
}

fn request(path: &str, accept: &str, server: &Server, access: &Access) -> Vec<u8> {
    let mut text = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nAccept: {accept}\r\n", server.host);
    if let Some(token) = &access.token {
        let _ = write!(text, "Authorization: Bearer {}\r\n", token.reveal());
    }
    for (name, value) in &access.headers {
        let _ = write!(text, "{name}: {}\r\n", Secret::reveal(value));
    }
    text += "\r\n";
    text.into_bytes()
}

/// Percent-encodes all but what RFC 3986 §2.3 leaves as it is.
fn encode(out: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_name_topics_in_percent_encoding_and_carry_what_lets_us_in() {
        let (server, _) = Server::resolve("ws://127.0.0.1:8080/ws").unwrap();
        let mut access = Access::default();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        assert_eq!(
            text(stream_request(&server, &access, &["a/b", "c+"], None)),
            "GET /sse?topic=a%2Fb&topic=c%2B HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\
             Accept: text/event-stream\r\n\r\n"
        );
        let latest = text(stream_request(&server, &access, &["a"], Some(Some(2.5))));
        assert!(latest.starts_with("GET /sse?topic=a&mode=latest&max_rate=2.5 HTTP/1.1\r\n"));
        access.token = Some(Secret::new("x.y"));
        access.headers = vec![("Cookie".into(), Secret::new("a=b"))];
        assert_eq!(
            text(past_request(&server, &access, "a/b", 7)),
            "GET /api/v1/topics/a%2Fb/history?limit=7 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\
             Accept: application/json\r\nAuthorization: Bearer x.y\r\nCookie: a=b\r\n\r\n"
        );
    }

    #[test]
    fn a_history_is_read_with_its_payloads_as_they_were_published() {
        let body = br#"{"topic":"a","epoch":"k3","seq":9,"messages":[{"seq":8,"data":{"n": 1}},{"seq":9,"base64":"AA=="}]}"#;
        let past = Past::read(body).unwrap();
        let found: Vec<_> = past
            .messages
            .iter()
            .map(|message| (message.seq, message.data.map(RawValue::get)))
            .collect();
        assert_eq!(found, [(8, Some(r#"{"n": 1}"#)), (9, None)]);
        assert!(Past::read(br#"{"error":{}}"#).is_err());
    }
}
