//! Answers, messages and notices as payloads of binary frames, appended to a buffer without the
//! frame around them. Called by the workers, once per message however many subscribers there are.

use std::ops::Range;

use super::{
    EPOCH, ERROR, EXPIRING, GAP, HAS_EPOCH, HAS_ID, HAS_POSITION, HAS_RECOVERED, IS_FULL, IS_JSON,
    LIVE, MESSAGE, MODE, OK, PRESENCE, RECOVERED, STALE, UNSUBSCRIBED, varint,
};
use crate::command::{Answer, GapReason, Id, Member, Notice, Op, Past, Payload};
use crate::topic::{TOPIC_BYTES_MAX, Topic};

/// Appends the answer to the command called `id`. An id that is no number of 64 bits, which this
/// protocol's commands cannot have, is left out like None.
///
/// ```
/// use broker_proto::bin::encode_answer;
/// use broker_proto::command::{Answer, Id};
///
/// let mut out = Vec::new();
/// encode_answer(&mut out, Some(Id::Number(7)), &Answer::Pong);
/// assert_eq!(out, [0x82, 0x07, 0x04]);
/// ```
pub fn encode_answer(out: &mut Vec<u8>, id: Option<Id<'_>>, answer: &Answer<'_>) {
    let kind = match answer {
        Answer::Error(_) => ERROR,
        Answer::Published { subscribers: Some(_), .. } | Answer::Account { .. } => IS_FULL | OK,
        _ => OK,
    };
    append_head(out, kind, id);
    match *answer {
        Answer::Error(error) => {
            out.push(error.code.code());
            out.extend_from_slice(error.message.as_bytes());
        }
        Answer::Connected { session } => {
            out.push(Op::Connect.code());
            varint::append(out, session);
        }
        Answer::Subscribed { filter, position, epoch, recovered } => {
            out.push(Op::Subscribe.code());
            append_short_text(out, filter);
            let mut flags = match (position, epoch) {
                (Some(_), _) => HAS_POSITION,
                (None, Some(_)) => HAS_EPOCH,
                (None, None) => 0,
            };
            flags |= match recovered {
                None => 0,
                Some(false) => HAS_RECOVERED,
                Some(true) => HAS_RECOVERED | RECOVERED,
            };
            out.push(flags);
            if let Some((epoch, seq)) = position {
                varint::append(out, epoch.value());
                varint::append(out, seq);
            } else if let Some(epoch) = epoch {
                varint::append(out, epoch.value());
            }
        }
        Answer::Unsubscribed { filter } => {
            out.push(Op::Unsubscribe.code());
            append_short_text(out, filter);
        }
        Answer::Published { epoch, seq, level, subscribers } => {
            out.push(Op::Publish.code());
            varint::append(out, epoch.value());
            varint::append(out, seq);
            out.push(level.code());
            if let Some(count) = subscribers {
                varint::append(out, count);
            }
        }
        Answer::Pong => out.push(Op::Ping.code()),
        Answer::Stats(stats) => {
            out.push(Op::Stats.code());
            stats.values().into_iter().for_each(|count| varint::append(out, count));
        }
        Answer::Account { filter, account } => {
            out.push(Op::Stats.code());
            append_short_text(out, filter);
            account.values().into_iter().for_each(|count| varint::append(out, count));
        }
        Answer::Paused { filter } => {
            out.push(Op::Pause.code());
            append_short_text(out, filter);
        }
        Answer::Resumed { filter, skipped } => {
            out.push(Op::Resume.code());
            append_short_text(out, filter);
            varint::append(out, skipped);
        }
        Answer::History { topic, epoch, seq, messages } => {
            out.push(Op::History.code());
            append_short_text(out, topic);
            varint::append(out, epoch.value());
            varint::append(out, seq);
            varint::append(out, messages.len() as u64);
            messages.iter().for_each(|past| append_past(out, past));
        }
        Answer::Presence { topic, count, members } => {
            out.push(Op::Presence.code());
            append_short_text(out, topic);
            varint::append(out, count);
            append_members(out, members);
        }
    }
}

fn append_head(out: &mut Vec<u8>, kind: u8, id: Option<Id<'_>>) {
    let number = match id {
        Some(Id::Number(number)) => Some(number),
        Some(Id::Raw(token)) => token.parse().ok(),
        None => None,
    };
    match number {
        Some(number) => {
            out.push(HAS_ID | kind);
            varint::append(out, number);
        }
        None => out.push(kind),
    }
}

fn append_past(out: &mut Vec<u8>, past: &Past<'_>) {
    varint::append(out, past.seq);
    out.push(if matches!(past.payload, Payload::Json(_)) { IS_JSON } else { 0 });
    varint::append(out, past.payload.bytes().len() as u64);
    out.extend_from_slice(past.payload.bytes());
}

fn append_members(out: &mut Vec<u8>, members: &[Member<'_>]) {
    varint::append(out, members.len() as u64);
    for member in members {
        varint::append(out, member.session);
        out.push(u8::from(member.user.is_some()));
        if let Some(user) = member.user {
            append_short_text(out, user);
        }
    }
}

/// Appends a message of `topic` and returns where its payload stands in `out`.
///
/// ```
/// use broker_proto::bin::encode_message;
/// use broker_proto::command::Payload;
/// use broker_proto::topic::Topic;
///
/// let mut out = Vec::new();
/// let payload = encode_message(&mut out, Topic::new("t")?, 7, Payload::Opaque(b"\x00\xff"));
/// assert_eq!(out, b"\x01\x01t\x07\x00\xff");
/// assert_eq!(payload, 4..6);
/// # Ok::<(), broker_proto::topic::TopicError>(())
/// ```
pub fn encode_message(
    out: &mut Vec<u8>,
    topic: Topic<'_>,
    seq: u64,
    payload: Payload<'_>,
) -> Range<usize> {
    out.reserve(message_bytes(topic, payload));
    out.push(match payload {
        Payload::Json(_) => IS_JSON | MESSAGE,
        Payload::Opaque(_) => MESSAGE,
    });
    append_short_text(out, topic.as_str());
    varint::append(out, seq);
    let start = out.len();
    out.extend_from_slice(payload.bytes());
    start..out.len()
}

/// The most bytes that [`encode_message`] appends.
pub fn message_bytes(topic: Topic<'_>, payload: Payload<'_>) -> usize {
    // The head, the length of the topic, and a seq of ten bytes.
    1 + 1 + topic.as_str().len() + 10 + payload.bytes().len()
}

/// Appends a notice that messages `from` to `to` of `topic` will not come.
pub fn encode_gap(out: &mut Vec<u8>, topic: Topic<'_>, from: u64, to: u64, reason: GapReason) {
    out.push(GAP);
    append_short_text(out, topic.as_str());
    varint::append(out, from);
    varint::append(out, to);
    out.push(reason.code());
}

/// Appends a notice.
pub fn encode_notice(out: &mut Vec<u8>, notice: &Notice<'_>) {
    match *notice {
        Notice::Mode { filter, now, reason } => {
            out.push(MODE);
            append_short_text(out, filter);
            out.extend_from_slice(&[now.code(), reason.code()]);
        }
        Notice::Expiring { in_ms } => {
            out.push(EXPIRING);
            varint::append(out, in_ms);
        }
        Notice::Unsubscribed { filter } => {
            out.push(UNSUBSCRIBED);
            append_short_text(out, filter);
        }
        Notice::Presence { topic, joined, left, count } => {
            out.push(PRESENCE);
            append_short_text(out, topic);
            append_members(out, joined);
            append_members(out, left);
            varint::append(out, count);
        }
        Notice::Stale { topic, seq, silent_ms } => {
            out.push(STALE);
            append_short_text(out, topic);
            varint::append(out, seq);
            varint::append(out, silent_ms);
        }
        Notice::Live { topic, seq } => {
            out.push(LIVE);
            append_short_text(out, topic);
            varint::append(out, seq);
        }
        Notice::Epoch { topic, epoch } => {
            out.push(EPOCH);
            append_short_text(out, topic);
            varint::append(out, epoch.value());
        }
    }
}

/// One byte of length, then the text: a topic, a filter or a user, which are never longer than that.
pub(super) fn append_short_text(out: &mut Vec<u8>, text: &str) {
    debug_assert!(text.len() <= TOPIC_BYTES_MAX, "topics and filters are checked");
    let bytes = &text.as_bytes()[..text.len().min(TOPIC_BYTES_MAX)];
    out.push(bytes.len() as u8);
    out.extend_from_slice(bytes);
}
