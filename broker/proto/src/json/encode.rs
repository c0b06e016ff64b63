//! Answers, messages and notices as JSON text, appended to a buffer without a frame around them.
//! Must keep the order of members that docs/PROTOCOL.md promises. Called by the workers, once per
//! message however many subscribers there are.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::command::{Account, Answer, Epoch, GapReason, Id, Member, Notice, Past, Payload, Stats};
use crate::topic::Topic;

/// Appends the answer to the command called `id`. An id of None is written as `null`, which only
/// an error should need.
///
/// ```
/// use broker_proto::command::{Answer, Epoch, Id, Level};
/// use broker_proto::json::encode_answer;
///
/// let mut out = Vec::new();
/// let (epoch, level) = (Epoch::new(35), Level::Accepted);
/// let answer = Answer::Published { epoch, seq: 42, level, subscribers: None };
/// encode_answer(&mut out, Some(Id::Raw("\"a\"")), &answer);
/// assert_eq!(out, br#"{"id":"a","ok":{"epoch":"z","seq":42,"level":"accepted"}}"#);
/// ```
pub fn encode_answer(out: &mut Vec<u8>, id: Option<Id<'_>>, answer: &Answer<'_>) {
    out.extend_from_slice(b"{\"id\":");
    match id {
        None => out.extend_from_slice(b"null"),
        Some(Id::Raw(token)) => out.extend_from_slice(token.as_bytes()),
        Some(Id::Number(number)) => append_number(out, number),
    }
    match answer {
        Answer::Error(error) => {
            out.extend_from_slice(b",\"error\":{\"code\":\"");
            out.extend_from_slice(error.code.as_str().as_bytes());
            out.extend_from_slice(b"\",\"message\":");
            append_string(out, &error.message);
        }
        _ => {
            out.extend_from_slice(b",\"ok\":");
            encode_success(out, answer);
            out.push(b'}');
            return;
        }
    }
    out.extend_from_slice(b"}}");
}

/// Appends what an answer says, without an id around it: what stands in its `ok`, as an object.
/// An error says nothing here.
pub fn encode_success(out: &mut Vec<u8>, answer: &Answer<'_>) {
    out.push(b'{');
    append_success(out, answer);
    out.push(b'}');
}

fn append_success(out: &mut Vec<u8>, answer: &Answer<'_>) {
    match *answer {
        Answer::Connected { session } => {
            out.extend_from_slice(b"\"session\":\"");
            append_hex(out, session);
            out.push(b'"');
        }
        Answer::Subscribed { filter, position, epoch, recovered } => {
            append_topic(out, filter);
            if let (Some(epoch), None) = (epoch, position) {
                out.push(b',');
                append_epoch(out, epoch);
            }
            if let Some((epoch, seq)) = position {
                out.push(b',');
                append_position(out, epoch, seq);
            }
            match recovered {
                None => {}
                Some(true) => out.extend_from_slice(b",\"recovered\":true"),
                Some(false) => out.extend_from_slice(b",\"recovered\":false"),
            }
        }
        Answer::Unsubscribed { filter } | Answer::Paused { filter } => append_topic(out, filter),
        Answer::Resumed { filter, skipped } => {
            append_topic(out, filter);
            out.extend_from_slice(b",\"skipped\":");
            append_number(out, skipped);
        }
        Answer::History { topic, epoch, seq, messages } => {
            append_topic(out, topic);
            out.push(b',');
            append_position(out, epoch, seq);
            out.extend_from_slice(b",\"messages\":[");
            append_separated(out, messages, append_past);
            out.push(b']');
        }
        Answer::Presence { topic, count, members } => {
            append_topic(out, topic);
            out.extend_from_slice(b",\"count\":");
            append_number(out, count);
            out.extend_from_slice(b",\"members\":[");
            append_separated(out, members, append_member);
            out.push(b']');
        }
        Answer::Published { epoch, seq, level, subscribers } => {
            append_position(out, epoch, seq);
            out.extend_from_slice(b",\"level\":\"");
            out.extend_from_slice(level.as_str().as_bytes());
            out.push(b'"');
            if let Some(count) = subscribers {
                out.extend_from_slice(b",\"subscribers\":");
                append_number(out, count);
            }
        }
        Answer::Stats(stats) => append_counts(out, Stats::NAMES.into_iter().zip(stats.values())),
        Answer::Account { filter, account } => {
            append_topic(out, filter);
            out.push(b',');
            append_counts(out, Account::NAMES.into_iter().zip(account.values()));
        }
        Answer::Pong | Answer::Error(_) => {}
    }
}

fn append_counts(out: &mut Vec<u8>, counts: impl Iterator<Item = (&'static str, u64)>) {
    for (index, (name, count)) in counts.enumerate() {
        out.extend_from_slice(if index == 0 { b"\"" } else { b",\"" });
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        append_number(out, count);
    }
}

fn append_topic(out: &mut Vec<u8>, topic: &str) {
    out.extend_from_slice(b"\"topic\":");
    append_string(out, topic);
}

fn append_separated<T>(out: &mut Vec<u8>, items: &[T], append: impl Fn(&mut Vec<u8>, &T)) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        append(out, item);
    }
}

fn append_past(out: &mut Vec<u8>, past: &Past<'_>) {
    out.extend_from_slice(b"{\"seq\":");
    append_number(out, past.seq);
    append_payload(out, past.payload);
}

fn append_member(out: &mut Vec<u8>, member: &Member<'_>) {
    out.extend_from_slice(b"{\"user\":");
    match member.user {
        Some(user) => append_string(out, user),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"session\":\"");
    append_hex(out, member.session);
    out.extend_from_slice(b"\"}");
}

fn append_position(out: &mut Vec<u8>, epoch: Epoch, seq: u64) {
    append_epoch(out, epoch);
    out.push(b',');
    append_seq(out, seq);
}

fn append_epoch(out: &mut Vec<u8>, epoch: Epoch) {
    out.extend_from_slice(b"\"epoch\":\"");
    epoch.append_to(out);
    out.push(b'"');
}

fn append_seq(out: &mut Vec<u8>, seq: u64) {
    out.extend_from_slice(b"\"seq\":");
    append_number(out, seq);
}

/// Appends a message of `topic` and returns where its payload stands in `out`: the JSON value, or
/// the base64 digits of an opaque payload, which JSON cannot hold as it is.
///
/// ```
/// use broker_proto::command::Payload;
/// use broker_proto::json::encode_message;
/// use broker_proto::topic::Topic;
///
/// let mut out = Vec::new();
/// let payload = encode_message(&mut out, Topic::new("t")?, 7, Payload::Json(b"[1.0]"));
/// assert_eq!(out, br#"{"topic":"t","seq":7,"data":[1.0]}"#);
/// assert_eq!(&out[payload], b"[1.0]");
/// # Ok::<(), broker_proto::topic::TopicError>(())
/// ```
pub fn encode_message(
    out: &mut Vec<u8>,
    topic: Topic<'_>,
    seq: u64,
    payload: Payload<'_>,
) -> Range<usize> {
    out.reserve(message_bytes(topic, payload));
    out.extend_from_slice(b"{\"topic\":");
    append_string(out, topic.as_str());
    out.extend_from_slice(b",\"seq\":");
    append_number(out, seq);
    append_payload(out, payload)
}

/// The members of a message from `data` on, and the brace that ends it.
fn append_payload(out: &mut Vec<u8>, payload: Payload<'_>) -> Range<usize> {
    match payload {
        Payload::Json(value) => {
            out.extend_from_slice(b",\"data\":");
            let start = out.len();
            out.extend_from_slice(value);
            let end = out.len();
            out.push(b'}');
            start..end
        }
        Payload::Opaque(bytes) => {
            out.extend_from_slice(b",\"data\":null,\"base64\":\"");
            let range = append_base64(out, bytes);
            out.extend_from_slice(b"\"}");
            range
        }
    }
}

/// The most bytes that [`encode_message`] appends.
pub fn message_bytes(topic: Topic<'_>, payload: Payload<'_>) -> usize {
    /// Everything but topic and payload, with a seq of 20 digits.
    const AROUND: usize =
        r#"{"topic":"","seq":18446744073709551615,"data":null,"base64":""}"#.len();
    let payload_bytes = match payload {
        Payload::Json(value) => value.len(),
        Payload::Opaque(bytes) => bytes.len().div_ceil(3) * 4,
    };
    // Of the characters that JSON must escape, a topic can only hold two that take one byte more.
    AROUND + 2 * topic.as_str().len() + payload_bytes
}

/// Appends a notice that messages `from` to `to` of `topic` will not come.
pub fn encode_gap(out: &mut Vec<u8>, topic: Topic<'_>, from: u64, to: u64, reason: GapReason) {
    out.extend_from_slice(b"{\"gap\":{\"topic\":");
    append_string(out, topic.as_str());
    out.extend_from_slice(b",\"from\":");
    append_number(out, from);
    out.extend_from_slice(b",\"to\":");
    append_number(out, to);
    out.extend_from_slice(b",\"reason\":\"");
    out.extend_from_slice(reason.as_str().as_bytes());
    out.extend_from_slice(b"\"}}");
}

/// Appends a notice. The members `join` and `leave` tell of one who came or went, `joined` and
/// `left` of several at once.
pub fn encode_notice(out: &mut Vec<u8>, notice: &Notice<'_>) {
    match *notice {
        Notice::Mode { filter, now, reason } => {
            out.extend_from_slice(b"{\"mode\":{");
            append_topic(out, filter);
            out.extend_from_slice(b",\"now\":\"");
            out.extend_from_slice(now.as_str().as_bytes());
            out.extend_from_slice(b"\",\"reason\":\"");
            out.extend_from_slice(reason.as_str().as_bytes());
            out.extend_from_slice(b"\"}}");
        }
        Notice::Expiring { in_ms } => {
            out.extend_from_slice(b"{\"expiring\":{\"in_ms\":");
            append_number(out, in_ms);
            out.extend_from_slice(b"}}");
        }
        Notice::Unsubscribed { filter } => {
            out.extend_from_slice(b"{\"unsubscribed\":{");
            append_topic(out, filter);
            out.extend_from_slice(b",\"reason\":\"forbidden\"}}");
        }
        Notice::Presence { topic, joined, left, count } => {
            out.extend_from_slice(b"{\"presence\":{");
            append_topic(out, topic);
            match (joined, left) {
                ([member], []) => {
                    out.extend_from_slice(b",\"join\":");
                    append_member(out, member);
                }
                ([], [member]) => {
                    out.extend_from_slice(b",\"leave\":");
                    append_member(out, member);
                }
                _ => {
                    append_members(out, b",\"joined\":", joined);
                    append_members(out, b",\"left\":", left);
                }
            }
            out.extend_from_slice(b",\"count\":");
            append_number(out, count);
            out.extend_from_slice(b"}}");
        }
        Notice::Stale { topic, seq, silent_ms } => {
            out.extend_from_slice(b"{\"stale\":{");
            append_topic(out, topic);
            out.push(b',');
            append_seq(out, seq);
            out.extend_from_slice(b",\"silent_ms\":");
            append_number(out, silent_ms);
            out.extend_from_slice(b"}}");
        }
        Notice::Live { topic, seq } => {
            out.extend_from_slice(b"{\"live\":{");
            append_topic(out, topic);
            out.push(b',');
            append_seq(out, seq);
            out.extend_from_slice(b"}}");
        }
        Notice::Epoch { topic, epoch } => {
            out.extend_from_slice(b"{\"epoch\":{");
            append_topic(out, topic);
            out.push(b',');
            append_epoch(out, epoch);
            out.extend_from_slice(b"}}");
        }
    }
}

fn append_members(out: &mut Vec<u8>, name: &[u8], members: &[Member<'_>]) {
    out.extend_from_slice(name);
    out.push(b'[');
    append_separated(out, members, append_member);
    out.push(b']');
}

/// Appends `text` as a JSON string with its quotes (RFC 8259 §7).
pub(super) fn append_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut plain_from = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[plain_from..at]);
        plain_from = at + 1;
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[hex_digit(byte >> 4), hex_digit(byte & 15)]);
            }
        }
    }
    out.extend_from_slice(&bytes[plain_from..]);
    out.push(b'"');
}

/// Appends the decimal digits of `number`.
pub(super) fn append_number(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends 16 hexadecimal digits: a session is no number in JSON, where 2^53 is the limit of many.
fn append_hex(out: &mut Vec<u8>, number: u64) {
    out.extend((0..16).rev().map(|digit| hex_digit((number >> (4 * digit)) as u8 & 15)));
}

fn hex_digit(value: u8) -> u8 {
    if value < 10 { b'0' + value } else { b'a' + value - 10 }
}

/// Appends padded base64 (RFC 4648 §4) and returns where it stands.
pub(super) fn append_base64(out: &mut Vec<u8>, bytes: &[u8]) -> Range<usize> {
    let start = out.len();
    let end = start + bytes.len().div_ceil(3) * 4;
    out.resize(end, b'=');
    STANDARD
        .encode_slice(bytes, &mut out[start..])
        .expect("padded base64 has exactly four digits for three bytes");
    start..end
}
