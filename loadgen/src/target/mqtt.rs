//! MQTT 3.1.1 over WebSocket (subprotocol `mqtt`) with QoS 0, from a client's side. Packets may
//! share a WebSocket message or span several. Packets in and out; no frames, no sockets.

use std::borrow::Cow;

use super::{Access, Incoming, MESSAGE_BYTES_MAX, Secret, Wait};

/// MQTT 3.1.1 §3.12: a fixed header and nothing else.
pub(super) const PINGREQ: &[u8] = b"\xc0\0";

/// A server may drop a client from which nothing comes for one and a half times as long
/// (§3.1.2.10). [`KEEPALIVE_NS`](crate::engine::KEEPALIVE_NS) is less.
const KEEP_ALIVE_S: u16 = 60;

/// A password needs a user name (§3.1.2.9), whether or not the server looks at it.
const USER: &str = "loadgen";

const CONNECT: u8 = 0x10;
const CONNACK: u8 = 0x20;
const PUBLISH: u8 = 0x30;
const SUBSCRIBE: u8 = 0x82;
const SUBACK: u8 = 0x90;
const PINGRESP: u8 = 0xd0;

/// What a SUBACK says of a filter that was refused (§3.9.3).
const REFUSED: u8 = 0x80;

/// The longest remaining length that has four bytes.
const LENGTH_BYTES_MAX: usize = 4;

/// Sends CONNECT with a clean session and a client identifier of its own (§3.1).
pub(super) fn open(access: &Access, mut send: impl FnMut(&[u8])) -> Wait {
    send(&connect(access, &format!("lg{:016x}", fastrand::u64(..))));
    Wait::Hello
}

/// Sends one SUBSCRIBE per topic, with the packet identifiers from 1 (§3.8).
pub(super) fn welcome(topics: &[&str], mut send: impl FnMut(&[u8])) -> Wait {
    let mut packet = Vec::new();
    for (id, topic) in (1_u16..).zip(topics) {
        packet.clear();
        begin(&mut packet, SUBSCRIBE, 2 + text_bytes(topic) + 1);
        packet.extend_from_slice(&id.to_be_bytes());
        append_text(&mut packet, topic);
        packet.push(0); // QoS 0
        send(&packet);
    }
    Wait::Answers(topics.len() as u32)
}

/// Appends a PUBLISH with QoS 0 (§3.3).
pub(super) fn publish(out: &mut Vec<u8>, topic: &str, payload: &[u8]) {
    begin(out, PUBLISH, text_bytes(topic) + payload.len());
    append_text(out, topic);
    out.extend_from_slice(payload);
}

/// Reads one packet, if all of it is there.
pub(super) fn read(bytes: &[u8]) -> Option<(Incoming<'_>, usize)> {
    let (&kind, rest) = bytes.split_first()?;
    let Ok(length) = remaining_length(rest) else {
        return Some((Incoming::Malformed("the remaining length of a packet"), bytes.len()));
    };
    let (length, width) = length?;
    let body = rest.get(width..width + length)?;
    Some((read_packet(kind, body), 1 + width + length))
}

fn read_packet(kind: u8, body: &[u8]) -> Incoming<'_> {
    match (kind & 0xf0, body) {
        (PUBLISH, _) => read_publish(kind, body).unwrap_or(Incoming::Unknown),
        (CONNACK, [_, 0]) => Incoming::Hello { name: String::new() },
        (CONNACK, [_, code]) => {
            Incoming::Refused { id: Some(0), why: format!("CONNACK {code}: {}", refusal(*code)) }
        }
        (SUBACK, [high, low, code]) => {
            let id = u64::from(u16::from_be_bytes([*high, *low]));
            match *code {
                REFUSED => Incoming::Refused { id: Some(id), why: "SUBACK 128: refused".into() },
                _ => Incoming::Accepted { id, position: None },
            }
        }
        (PINGRESP, []) => Incoming::Noted,
        _ => Incoming::Unknown,
    }
}

/// A PUBLISH of QoS 0, which is all that was asked for.
fn read_publish(kind: u8, body: &[u8]) -> Option<Incoming<'_>> {
    if kind & 0x06 != 0 {
        return None;
    }
    let (length, rest) = body.split_first_chunk()?;
    let (topic, payload) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    Some(Incoming::Message { topic, seq: None, payload: Cow::Borrowed(payload) })
}

/// The return codes of §3.2.2.3.
fn refusal(code: u8) -> &'static str {
    match code {
        1 => "unacceptable protocol version",
        2 => "identifier rejected",
        3 => "server unavailable",
        4 => "bad user name or password",
        5 => "not authorized",
        _ => "unknown",
    }
}

fn connect(access: &Access, client_id: &str) -> Vec<u8> {
    let password = access.token.as_ref().map(Secret::reveal);
    let user = access.user.as_deref().or(password.map(|_| USER));
    let texts = [Some(client_id), user, password];
    let clean_session = 0x02;
    let flags = clean_session
        | if user.is_some() { 0x80 } else { 0 }
        | if password.is_some() { 0x40 } else { 0 };
    let mut packet = Vec::new();
    let header = b"\0\x04MQTT\x04";
    let bytes: usize = texts.iter().flatten().map(|text| text_bytes(text)).sum();
    begin(&mut packet, CONNECT, header.len() + 3 + bytes);
    packet.extend_from_slice(header);
    packet.push(flags);
    packet.extend_from_slice(&KEEP_ALIVE_S.to_be_bytes());
    for text in texts.into_iter().flatten() {
        append_text(&mut packet, text);
    }
    packet
}

/// Appends a fixed header (§2.2).
fn begin(out: &mut Vec<u8>, kind: u8, mut length: usize) {
    out.push(kind);
    while length > 0x7f {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

/// The remaining length and how many bytes it took; none if it is not complete.
fn remaining_length(bytes: &[u8]) -> Result<Option<(usize, usize)>, ()> {
    let mut length = 0;
    for (index, &byte) in bytes.iter().take(LENGTH_BYTES_MAX).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let is_bearable = length <= MESSAGE_BYTES_MAX as usize;
            return if is_bearable { Ok(Some((length, index + 1))) } else { Err(()) };
        }
    }
    if bytes.len() < LENGTH_BYTES_MAX { Ok(None) } else { Err(()) }
}

/// A text with its length in two bytes before it (§1.5.3).
fn append_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn text_bytes(text: &str) -> usize {
    2 + text.len()
}

#[cfg(test)]
mod tests {
    use super::super::tests::read_split;
    use super::*;

    #[test]
    fn a_session_opens_with_a_clean_connect_and_waits_for_its_answer() {
        let access = Access::default();
        assert_eq!(connect(&access, "lg0"), b"\x10\x0f\0\x04MQTT\x04\x02\0\x3c\0\x03lg0");
        let access = Access { token: Some(Secret::new("pw")), ..access };
        let expected = b"\x10\x1c\0\x04MQTT\x04\xc2\0\x3c\0\x03lg0\0\x07loadgen\0\x02pw";
        assert_eq!(connect(&access, "lg0"), expected);
        let access = Access { user: Some("me".into()), ..access };
        let expected = b"\x10\x17\0\x04MQTT\x04\xc2\0\x3c\0\x03lg0\0\x02me\0\x02pw";
        assert_eq!(connect(&access, "lg0"), expected);
        let mut packets = Vec::new();
        assert_eq!(open(&access, |packet| packets.push(packet.to_vec())), Wait::Hello);
        assert_eq!(packets.len(), 1);
        let hello = Incoming::Hello { name: String::new() };
        assert_eq!(read(b"\x20\x02\0\0"), Some((hello, 4)));
        let why = "CONNACK 5: not authorized".to_owned();
        assert_eq!(read(b"\x20\x02\0\x05"), Some((Incoming::Refused { id: Some(0), why }, 4)));
    }

    #[test]
    fn every_topic_is_subscribed_to_under_a_number_that_its_answer_names() {
        let mut packets = Vec::new();
        let wait = welcome(&["a", "b/c"], |packet| packets.push(packet.to_vec()));
        assert_eq!(wait, Wait::Answers(2));
        let expected = [&b"\x82\x06\0\x01\0\x01a\0"[..], b"\x82\x08\0\x02\0\x03b/c\0"];
        assert_eq!(packets, expected);
        let accepted = Incoming::Accepted { id: 2, position: None };
        assert_eq!(read(b"\x90\x03\0\x02\0"), Some((accepted, 5)));
        let why = "SUBACK 128: refused".to_owned();
        let refused = Incoming::Refused { id: Some(2), why };
        assert_eq!(read(b"\x90\x03\0\x02\x80"), Some((refused, 5)));
    }

    #[test]
    fn a_publish_goes_out_as_it_comes_in() {
        let mut packet = Vec::new();
        publish(&mut packet, "a/b", b"\0\xff");
        assert_eq!(packet, b"\x30\x07\0\x03a/b\0\xff");
        let message =
            Incoming::Message { topic: b"a/b", seq: None, payload: Cow::Borrowed(b"\0\xff") };
        assert_eq!(read(&packet), Some((message, 9)));
        let mut long = Vec::new();
        publish(&mut long, "t", &[7; 200]);
        assert!(long.starts_with(b"\x30\xcb\x01\0\x01t\x07\x07"));
        let message =
            Incoming::Message { topic: b"t", seq: None, payload: Cow::Borrowed(&[7; 200]) };
        assert_eq!(read(&long), Some((message, 206)));
    }

    #[test]
    fn packets_are_found_wherever_the_stream_is_cut() {
        let stream = b"\x20\x02\0\0\xd0\0\x30\x04\0\x01tx\x90\x03\0\x01\0";
        let expected = [
            r#"Hello { name: "" }"#,
            "Noted",
            r#"Message { topic: [116], seq: None, payload: [120] }"#,
            "Accepted { id: 1, position: None }",
        ];
        for cut in 0..=stream.len() {
            assert_eq!(read_split(read, stream, cut), expected, "cut at {cut}");
        }
    }

    #[test]
    fn what_is_not_asked_for_is_unknown_and_what_is_no_packet_is_malformed() {
        for bytes in
            [&b"\x32\x05\0\x01t\0\x01"[..], b"\x30\0", b"\x30\x02\0\x09", b"\x20\0", b"\0\0"]
        {
            assert_eq!(read(bytes), Some((Incoming::Unknown, bytes.len())), "{bytes:?}");
        }
        for bytes in [&b"\x30\xff\xff\xff\xff"[..], b"\x30\xff\xff\xff\x7f"] {
            let found = read(bytes);
            assert!(matches!(found, Some((Incoming::Malformed(_), 5))), "{bytes:?}: {found:?}");
        }
    }
}
