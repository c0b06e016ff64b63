//! The frames that the sink sends, sound and damaged, in each of its protocols. Functions of
//! values; called by the exchange for what it delivers.

use broker_proto::command::{Answer, GapReason, Id, Payload};
use broker_proto::topic::Topic;
use broker_proto::ws::{Opcode, encode_frame};
use broker_proto::{bin, json};

use crate::sink::connection::Kind;

/// The byte that is damaged: in a stamp, a digit in JSON and a part of the topic's number in
/// binary.
const DAMAGED_AT: usize = 10;

/// What one delivery carries.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mail<'a> {
    Message { number: u32, topic: Topic<'a>, seq: u64, payload: Payload<'a> },
    Echo { opcode: Opcode, payload: &'a [u8] },
}

impl Mail<'_> {
    /// The number of its topic.
    pub(super) fn number(&self) -> Option<u32> {
        match self {
            Self::Message { number, .. } => Some(*number),
            Self::Echo { .. } => None,
        }
    }
}

/// A message of a topic.
pub(super) fn message_frame(
    kind: Kind,
    topic: Topic<'_>,
    seq: u64,
    payload: Payload<'_>,
) -> Vec<u8> {
    let mut text = Vec::new();
    match kind {
        Kind::Bin => drop(bin::encode_message(&mut text, topic, seq, payload)),
        Kind::Json | Kind::Echo => drop(json::encode_message(&mut text, topic, seq, payload)),
    }
    framed(kind, &text)
}

/// The answer to a command.
pub(super) fn answer_frame(kind: Kind, id: Option<Id<'_>>, answer: &Answer<'_>) -> Vec<u8> {
    let mut text = Vec::new();
    match kind {
        Kind::Bin => bin::encode_answer(&mut text, id, answer),
        Kind::Json | Kind::Echo => json::encode_answer(&mut text, id, answer),
    }
    framed(kind, &text)
}

/// The notice that one message will not come.
pub(super) fn gap_frame(kind: Kind, topic: Topic<'_>, seq: u64) -> Vec<u8> {
    let mut text = Vec::new();
    match kind {
        Kind::Bin => bin::encode_gap(&mut text, topic, seq, seq, GapReason::Overflow),
        Kind::Json | Kind::Echo => {
            json::encode_gap(&mut text, topic, seq, seq, GapReason::Overflow);
        }
    }
    framed(kind, &text)
}

/// The delivery with one byte of its payload changed, in a frame that is sound.
pub(super) fn damaged(kind: Kind, mail: &Mail<'_>) -> Vec<u8> {
    match *mail {
        Mail::Message { topic, seq, payload, .. } => {
            let bytes = with_one_byte_changed(payload.bytes());
            let payload = match payload {
                Payload::Json(_) => Payload::Json(&bytes),
                Payload::Opaque(_) => Payload::Opaque(&bytes),
            };
            message_frame(kind, topic, seq, payload)
        }
        Mail::Echo { opcode, payload } => {
            let mut frame = Vec::new();
            encode_frame(&mut frame, opcode, &with_one_byte_changed(payload));
            frame
        }
    }
}

/// To a character that is ASCII before and after, where it is within text of the load generator.
fn with_one_byte_changed(payload: &[u8]) -> Vec<u8> {
    let mut bytes = payload.to_vec();
    let at = DAMAGED_AT.min(bytes.len().saturating_sub(1));
    if let Some(byte) = bytes.get_mut(at) {
        *byte = if *byte == b'!' { b'?' } else { b'!' };
    }
    bytes
}

fn framed(kind: Kind, text: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(text.len() + 10);
    encode_frame(&mut frame, kind.opcode(), text);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_changes_one_byte_of_the_payload_and_nothing_of_the_frame() {
        let topic = Topic::new("t").unwrap();
        let mail = |payload| Mail::Message { number: 0, topic, seq: 7, payload };
        let sound = br#"{"s":"0123456789"}"#;
        assert_eq!(
            damaged(Kind::Json, &mail(Payload::Json(sound))),
            b"\x81\x2f{\"topic\":\"t\",\"seq\":7,\"data\":{\"s\":\"0123!56789\"}}"
        );
        assert_eq!(damaged(Kind::Bin, &mail(Payload::Opaque(b"!"))), b"\x82\x05\x01\x01t\x07?");
        let echo = Mail::Echo { opcode: Opcode::Text, payload: b"" };
        assert_eq!(damaged(Kind::Echo, &echo), b"\x81\x00");
    }
}
