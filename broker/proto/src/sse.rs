//! Server-sent events (WHATWG HTML §9.2): messages as blocks of text for those who can only read,
//! and the cursor in an event's `id`, with which a client that comes back says where it was.
//!
//! A cursor is the position in each topic, `ticker/ACME@k3f9a1.42,orders@k3f9a2.7`; of the topic's
//! bytes all but letters, digits and a few marks are percent-encoded. Text in, text out. The
//! workers write with it.

use memchr::memchr2;

use crate::command::{Epoch, Position};
use crate::topic::Topic;

/// Longest cursor that is written, in bytes: it must fit a request's header.
pub const CURSOR_BYTES_MAX: usize = 4096;

/// Appends an event that holds this text, which may have several lines.
///
/// ```
/// let mut out = Vec::new();
/// broker_proto::sse::encode_event(&mut out, b"{\"a\":\n1}");
/// assert_eq!(out, b"data: {\"a\":\ndata: 1}\n\n");
/// ```
pub fn encode_event(out: &mut Vec<u8>, text: &[u8]) {
    let mut rest = text;
    loop {
        out.extend_from_slice(b"data: ");
        let Some(end) = memchr2(b'\n', b'\r', rest) else { break };
        out.extend_from_slice(&rest[..end]);
        out.push(b'\n');
        let is_pair = rest[end..].starts_with(b"\r\n");
        rest = &rest[end + 1 + usize::from(is_pair)..];
    }
    out.extend_from_slice(rest);
    out.extend_from_slice(b"\n\n");
}

/// The position of one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The topic's name.
    pub topic: Box<str>,
    /// Where its reader is.
    pub position: Position,
}

/// Appends the line `id:` with the cursor of these places, the last of them first and as many as
/// fit [`CURSOR_BYTES_MAX`].
pub fn encode_id(out: &mut Vec<u8>, places: &[Place]) {
    out.extend_from_slice(b"id: ");
    let start = out.len();
    for place in places.iter().rev() {
        let before = out.len();
        if before > start {
            out.push(b',');
        }
        for &byte in place.topic.as_bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => out.push(byte),
                b'/' | b'-' | b'_' | b'.' | b'~' | b':' | b'$' => out.push(byte),
                _ => out.extend_from_slice(format!("%{byte:02X}").as_bytes()),
            }
        }
        let Position { epoch, seq } = place.position;
        out.extend_from_slice(format!("@{epoch}.{seq}").as_bytes());
        if out.len() - start > CURSOR_BYTES_MAX {
            out.truncate(before);
            break;
        }
    }
    out.push(b'\n');
}

/// Reads a cursor; None if it is none of ours.
///
/// ```
/// let places = broker_proto::sse::parse_cursor("a%20b@k3f9a1.42,c@1.7").expect("a cursor");
/// assert_eq!((&*places[0].topic, places[0].position.seq), ("a b", 42));
/// assert_eq!(broker_proto::sse::parse_cursor("42"), None);
/// ```
pub fn parse_cursor(text: &str) -> Option<Vec<Place>> {
    text.split(',').map(parse_place).collect()
}

fn parse_place(text: &str) -> Option<Place> {
    let (name, position) = text.rsplit_once('@')?;
    let topic = percent_decoded(name)?;
    Topic::new(&topic).ok()?;
    let (epoch, seq) = position.split_once('.')?;
    let epoch: Epoch = epoch.parse().ok()?;
    let is_number = !seq.is_empty() && seq.bytes().all(|byte| byte.is_ascii_digit());
    let seq = seq.parse().ok().filter(|_| is_number)?;
    Some(Place { topic: topic.into(), position: Position { epoch, seq } })
}

/// The text that a percent-encoded one stands for (RFC 3986 §2.1); None if it is no UTF-8, or a
/// percent sign is not followed by two hexadecimal digits. A plus stands for itself.
pub fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let ([high, low], tail) = rest.split_first_chunk()?;
        let digit = |byte: u8| char::from(byte).to_digit(16);
        bytes.push((digit(*high)? * 16 + digit(*low)?) as u8);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(topic: &str, seq: u64) -> Place {
        Place { topic: topic.into(), position: Position { epoch: Epoch::new(35), seq } }
    }

    fn id(places: &[Place]) -> String {
        let mut out = Vec::new();
        encode_id(&mut out, places);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_kind_of_line_end_begins_a_line_of_data() {
        let event = |text: &str| {
            let mut out = Vec::new();
            encode_event(&mut out, text.as_bytes());
            String::from_utf8(out).unwrap()
        };
        assert_eq!(event("1"), "data: 1\n\n");
        assert_eq!(
            event("[\r\n1,\r2,\n\n3]\n"),
            "data: [\ndata: 1,\ndata: 2,\ndata: \ndata: 3]\ndata: \n\n"
        );
    }

    #[test]
    fn a_cursor_is_read_as_it_was_written_whatever_the_topics_are_called() {
        let places = [place("a/b", 1), place("é, @%", u64::MAX), place("x", 0)];
        let text = id(&places);
        assert_eq!(text, "id: x@z.0,%C3%A9%2C%20%40%25@z.18446744073709551615,a/b@z.1\n");
        let mut read = parse_cursor(text[4..].trim_end()).unwrap();
        read.reverse();
        assert_eq!(read, places);
    }

    #[test]
    fn a_cursor_that_would_be_too_long_keeps_what_came_last() {
        let places: Vec<_> =
            (0..200).map(|n| place(&format!("{n}/{}", "x".repeat(60)), n)).collect();
        let text = id(&places);
        assert!(text.len() <= "id: \n".len() + CURSOR_BYTES_MAX && text.starts_with("id: 199/"));
        let read = parse_cursor(text[4..].trim_end()).unwrap();
        assert!(read.len() > 50 && read[0] == places[199], "{}", read.len());
    }

    #[test]
    fn what_is_no_cursor_is_none() {
        for text in [
            "",
            "a",
            "a@",
            "a@z",
            "a@z.",
            "a@z.-1",
            "a@z.+1",
            "a/#@z.1",
            "@z.1",
            "a@Z.1",
            "%zz@z.1",
            "%2@z.1",
            "%ff@z.1",
            "a@z.1,",
            "a@z.18446744073709551616",
        ] {
            assert_eq!(parse_cursor(text), None, "{text:?}");
        }
    }
}
