//! Topics and filters as NATS subjects: levels become tokens, `+` becomes `*`, and `#` becomes `>`
//! and the parent. Every byte that NATS does not take in a token, and every one that means
//! something to it, is escaped, so that a topic has one subject and a subject one topic.
//!
//! All subjects of a cluster begin with its name. Behind it stands a letter for what it is: `m`
//! messages, `s` those of topics that begin with `$`, which no `#` at the top matches, `h` what
//! JetStream keeps, `p` who is subscribed to a topic, `b` heartbeats, `q` questions, `a` answers, `i`
//! inboxes.

use broker_proto::topic::{Filter, Topic};

/// What stands for the bytes that can't stand for themselves: it, and two hexadecimal digits. Alone
/// it is an empty level.
const ESCAPE: u8 = b'%';

/// The letter of what is told of members.
const MEMBERS: &str = "p";

/// The subject of a topic's messages.
pub fn of_topic(cluster: &str, topic: Topic<'_>) -> String {
    let mut subject = format!("{cluster}.{}", space(topic.as_str()));
    push_levels(&mut subject, topic.levels());
    subject
}

/// The same below another beginning, `prefix`, for what is kept.
pub fn below(prefix: &str, topic: Topic<'_>) -> String {
    let mut subject = prefix.to_owned();
    push_levels(&mut subject, topic.levels());
    subject
}

/// The subjects that together match what a filter matches: one, or with a `#` two.
pub fn of_filter(cluster: &str, filter: Filter<'_>) -> (String, Option<String>) {
    let mut subject = format!("{cluster}.{}", space(filter.as_str()));
    let Some(parent) = filter.as_str().strip_suffix('#') else {
        push_levels(&mut subject, filter.levels());
        return (subject, None);
    };
    // `#` alone has no parent: every topic has a level.
    let Some(parent) = parent.strip_suffix('/') else {
        return (subject + ".>", None);
    };
    push_levels(&mut subject, parent.split('/'));
    let below = format!("{subject}.>");
    (subject, Some(below))
}

/// Where a run takes answers to what it has asked.
pub fn of_answers(cluster: &str, run: u64) -> String {
    format!("{cluster}.a.{run:016x}")
}

/// The topic whose subject this is, as it was written; none if it is no topic's.
pub fn to_topic(cluster: &str, subject: &str) -> Option<String> {
    let rest = subject.strip_prefix(cluster)?.strip_prefix('.')?;
    let (letter, tokens) = rest.split_once('.')?;
    let text = levels(tokens)?;
    let is_whole = matches!(letter, "m" | "s") && Topic::new(&text).is_ok();
    (is_whole && letter == space(&text)).then_some(text)
}

/// The subject of what is told of a topic's members.
pub fn of_members(cluster: &str, topic: Topic<'_>) -> String {
    below(&format!("{cluster}.{MEMBERS}"), topic)
}

/// The topic whose members are told of on this subject; none if it is no such subject.
pub fn to_members(cluster: &str, subject: &str) -> Option<String> {
    let rest = subject.strip_prefix(cluster)?.strip_prefix('.')?;
    let tokens = rest.strip_prefix(MEMBERS)?.strip_prefix('.')?;
    levels(tokens).filter(|text| Topic::new(text).is_ok())
}

/// The levels that these tokens stand for, with slashes between; none if they can't be of ours.
pub fn levels(tokens: &str) -> Option<String> {
    let mut text = Vec::with_capacity(tokens.len());
    for (place, token) in tokens.split('.').enumerate() {
        if place > 0 {
            text.push(b'/');
        }
        if token.as_bytes() != [ESCAPE] {
            push_unescaped(&mut text, token)?;
        }
    }
    String::from_utf8(text).ok()
}

fn space(text: &str) -> &'static str {
    if text.starts_with('$') { "s" } else { "m" }
}

fn push_levels<'a>(subject: &mut String, levels: impl Iterator<Item = &'a str>) {
    for level in levels {
        subject.push('.');
        match level {
            "" => subject.push(char::from(ESCAPE)),
            "+" => subject.push('*'),
            level => level.bytes().for_each(|byte| push_escaped(subject, byte)),
        }
    }
}

fn push_escaped(subject: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    if is_plain(byte) {
        subject.push(char::from(byte));
    } else {
        let (high, low) = (usize::from(byte >> 4), usize::from(byte & 15));
        subject.extend([ESCAPE, DIGITS[high], DIGITS[low]].map(char::from));
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'.' | b'*' | b'>' | ESCAPE)
}

/// Undoes [`push_escaped`], and takes nothing that it would not have made.
fn push_unescaped(text: &mut Vec<u8>, token: &str) -> Option<()> {
    let mut bytes = token.bytes();
    if token.is_empty() {
        return None;
    }
    while let Some(byte) = bytes.next() {
        if byte != ESCAPE {
            is_plain(byte).then(|| text.push(byte))?;
            continue;
        }
        let byte = (digit(bytes.next()?)? << 4) | digit(bytes.next()?)?;
        (!is_plain(byte)).then(|| text.push(byte))?;
    }
    Some(())
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
