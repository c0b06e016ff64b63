//! nchan over WebSocket, from a client's side: the channel stands in the URL, a message is its payload
//! and nothing else. Below the path of the target, `sub/CHANNEL` is expected to be a subscriber's
//! location and `pub/CHANNEL` a publisher's. Payloads in and out; no frames, no sockets.

use std::borrow::Cow;

use super::Incoming;

/// How the answer to a publish begins.
const ANSWER: &[u8] = b"queued messages:";

/// The channel of a topic, as it stands in a path.
pub(super) fn channel(topic: &str) -> String {
    topic.replace('/', ".")
}

/// The path for one of a channel's subscribers, or for its publisher.
pub(super) fn resource(path: &str, channel: &str, is_publisher: bool) -> String {
    let kind = if is_publisher { "pub" } else { "sub" };
    format!("{}/{kind}/{channel}", path.trim_end_matches('/'))
}

/// A message is its payload.
pub(super) fn publish(out: &mut Vec<u8>, payload: &[u8]) {
    out.extend_from_slice(payload);
}

/// What came: for a publisher, how many the channel holds; for a subscriber, what was published.
pub(super) fn read(bytes: &[u8]) -> Incoming<'_> {
    match bytes.starts_with(ANSWER) {
        true => Incoming::Noted,
        false => Incoming::Message { topic: b"", seq: None, payload: Cow::Borrowed(bytes) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_channel_is_in_the_path_and_a_message_is_its_payload() {
        assert_eq!(resource("/ws", &channel("a/b"), false), "/ws/sub/a.b");
        assert_eq!(resource("/", "c", true), "/pub/c");
        let answer = b"queued messages: 1\r\nlast requested: -1 sec. ago\r\n";
        assert_eq!(read(answer), Incoming::Noted);
        let message = Incoming::Message { topic: b"", seq: None, payload: Cow::Borrowed(b"{}") };
        assert_eq!(read(b"{}"), message);
    }
}
