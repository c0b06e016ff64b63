//! Servers to compare the broker with, as small as they can be: they speak the part of
//! `altavoz.v1.json` that the load generator uses and no more. They trust their clients, check
//! nothing, and are no use for anything else. Run as `bench serve`, by the peers runner.

pub mod bare;
pub mod tungstenite;

/// What a publish of the load generator begins with, up to the topic's name.
pub const PUBLISH: &str = r#"{"op":"publish","topic":""#;

/// The topic and the data of a publish, found by their places.
///
/// ```
/// let text = br#"{"op":"publish","topic":"a/b","data":{"n":1}}"#;
/// assert_eq!(bench::servers::read_publish(text), Some((&b"a/b"[..], &b"{\"n\":1}"[..])));
/// ```
#[must_use]
pub fn read_publish(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = text.strip_prefix(PUBLISH.as_bytes())?;
    let (topic, rest) = rest.split_at(rest.iter().position(|&byte| byte == b'"')?);
    Some((topic, rest.strip_prefix(br#"","data":"#)?.strip_suffix(b"}")?))
}

/// The id and the topic of a subscribe.
///
/// ```
/// let text = br#"{"id":7,"op":"subscribe","topic":"a/b"}"#;
/// assert_eq!(bench::servers::read_subscribe(text), Some((&b"7"[..], &b"a/b"[..])));
/// ```
#[must_use]
pub fn read_subscribe(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = text.strip_prefix(br#"{"id":"#)?;
    let (id, rest) = rest.split_at(rest.iter().position(|&byte| byte == b',')?);
    Some((id, rest.strip_prefix(br#","op":"subscribe","topic":""#)?.strip_suffix(br#""}"#)?))
}

/// Appends the answer to a subscribe.
pub fn write_subscribed(out: &mut Vec<u8>, id: &[u8], topic: &[u8]) {
    let parts = [br#"{"id":"#, id, br#","ok":{"topic":""#, topic, br#""}}"#];
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

/// Appends a message of a topic.
pub fn write_message(out: &mut Vec<u8>, topic: &[u8], seq: u64, data: &[u8]) {
    let seq = seq.to_string();
    let parts =
        [br#"{"topic":""#, topic, br#"","seq":"#, seq.as_bytes(), br#","data":"#, data, b"}"];
    parts.iter().for_each(|part| out.extend_from_slice(part));
}
