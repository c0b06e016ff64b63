//! Redis publish/subscribe (RESP2) from a client's side, over TCP as it is: there is no WebSocket
//! around it. Commands in and out; no sockets. A connection that subscribes can't publish.

use std::borrow::Cow;

use super::{Access, Incoming, MESSAGE_BYTES_MAX, Secret, Wait};

const END: &[u8] = b"\r\n";

/// The longest line taken from a server, in bytes: a status, an error or a length.
const LINE_BYTES_MAX: usize = 4096;

/// The most elements of an array taken from a server: more than any it sends here.
const ELEMENTS_MAX: usize = 16;

/// What is wrong with what does not parse.
const MALFORMED: Incoming<'static> = Incoming::Malformed("a reply of Redis");

/// Logs in if there is a password, and subscribes: each topic is answered. Who subscribes to
/// nothing asks for a sign of life.
pub(super) fn open(access: &Access, topics: &[&str], mut send: impl FnMut(&[u8])) -> Wait {
    let mut commands = Vec::new();
    if let Some(token) = &access.token {
        let words = ["AUTH"].into_iter().chain(access.user.as_deref());
        let words: Vec<&[u8]> = words.chain([Secret::reveal(token)]).map(str::as_bytes).collect();
        command(&mut commands, &words);
    }
    if topics.is_empty() {
        command(&mut commands, &[b"PING"]);
    } else {
        let words = ["SUBSCRIBE"].into_iter().chain(topics.iter().copied());
        command(&mut commands, &words.map(str::as_bytes).collect::<Vec<_>>());
    }
    send(&commands);
    Wait::Answers(topics.len().max(1) as u32)
}

/// Appends a PUBLISH; the answer says how many got it.
pub(super) fn publish(out: &mut Vec<u8>, topic: &str, payload: &[u8]) {
    command(out, &[b"PUBLISH", topic.as_bytes(), payload]);
}

/// Reads one reply, if all of it is there.
pub(super) fn read(bytes: &[u8]) -> Option<(Incoming<'_>, usize)> {
    let (line, used) = match line(bytes) {
        Ok(line) => line?,
        Err(malformed) => return Some((malformed, bytes.len())),
    };
    match line.split_first() {
        Some((b'+', b"PONG")) => Some((Incoming::Accepted { id: 0, position: None }, used)),
        Some((b'+' | b':', _)) => Some((Incoming::Noted, used)),
        Some((b'-', why)) => {
            let why = String::from_utf8_lossy(why).into_owned();
            Some((Incoming::Refused { id: None, why }, used))
        }
        Some((b'*', count)) => match number(count).filter(|&count| count <= ELEMENTS_MAX) {
            Some(count) => read_array(bytes, used, count),
            None => Some((MALFORMED, bytes.len())),
        },
        _ => Some((MALFORMED, bytes.len())),
    }
}

fn read_array(bytes: &[u8], begin: usize, count: usize) -> Option<(Incoming<'_>, usize)> {
    let (mut at, mut texts) = (begin, [&b""[..]; 3]);
    for place in 0..count {
        let (line, used) = match line(&bytes[at..]) {
            Ok(line) => line?,
            Err(malformed) => return Some((malformed, bytes.len())),
        };
        at += used;
        let Some((&kind, rest)) = line.split_first() else {
            return Some((MALFORMED, bytes.len()));
        };
        if kind != b'$' {
            continue; // a number stands in its line
        }
        let length = number(rest).filter(|&length| length <= MESSAGE_BYTES_MAX as usize);
        let Some(length) = length else { return Some((MALFORMED, bytes.len())) };
        let text = bytes.get(at..at + length)?;
        if bytes.get(at + length..at + length + END.len())? != END {
            return Some((MALFORMED, bytes.len()));
        }
        at += length + END.len();
        if let Some(place) = texts.get_mut(place) {
            *place = text;
        }
    }
    let incoming = match texts {
        [b"message", topic, payload] if count == 3 => {
            Incoming::Message { topic, seq: None, payload: Cow::Borrowed(payload) }
        }
        [b"subscribe", ..] => Incoming::Accepted { id: 0, position: None },
        _ => Incoming::Unknown,
    };
    Some((incoming, at))
}

/// The line at the begin and how many bytes it takes; none if its end has not come.
fn line(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, Incoming<'static>> {
    let end = bytes.iter().take(LINE_BYTES_MAX).position(|&byte| byte == b'\n');
    match end {
        Some(end) => match bytes[..end].strip_suffix(b"\r") {
            Some(line) => Ok(Some((line, end + 1))),
            None => Err(MALFORMED),
        },
        None if bytes.len() >= LINE_BYTES_MAX => Err(MALFORMED),
        None => Ok(None),
    }
}

fn number(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Appends a command: an array of texts.
fn command(out: &mut Vec<u8>, words: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(END);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::read_split;
    use super::*;

    #[test]
    fn a_session_opens_with_the_password_and_one_subscribe_or_a_sign_of_life() {
        let access = Access { token: Some(Secret::new("pw")), ..Access::default() };
        let mut sent = Vec::new();
        let wait = open(&access, &["a", "b/c"], |bytes| sent.extend_from_slice(bytes));
        let expected = b"*2\r\n$4\r\nAUTH\r\n$2\r\npw\r\n\
                         *3\r\n$9\r\nSUBSCRIBE\r\n$1\r\na\r\n$3\r\nb/c\r\n";
        assert_eq!((wait, sent.as_slice()), (Wait::Answers(2), &expected[..]));
        sent.clear();
        let wait = open(&Access::default(), &[], |bytes| sent.extend_from_slice(bytes));
        assert_eq!((wait, sent.as_slice()), (Wait::Answers(1), &b"*1\r\n$4\r\nPING\r\n"[..]));
    }

    #[test]
    fn replies_are_found_wherever_the_stream_is_cut() {
        let stream = b"+OK\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n:7\r\n\
            *3\r\n$7\r\nmessage\r\n$1\r\na\r\n$4\r\n\0\r\n\xff\r\n+PONG\r\n-ERR no\r\n";
        let accepted = Incoming::Accepted { id: 0, position: None };
        let expected = [
            Incoming::Noted,
            Incoming::Accepted { id: 0, position: None },
            Incoming::Noted,
            Incoming::Message { topic: b"a", seq: None, payload: Cow::Borrowed(b"\0\r\n\xff") },
            accepted,
            Incoming::Refused { id: None, why: "ERR no".into() },
        ];
        let expected: Vec<_> = expected.iter().map(|incoming| format!("{incoming:?}")).collect();
        for cut in 0..=stream.len() {
            assert_eq!(read_split(read, stream, cut), expected, "cut at {cut}");
        }
    }

    #[test]
    fn what_is_no_reply_is_malformed() {
        for bytes in [
            &b"hello\r\n"[..],
            b"*x\r\n",
            b"*99\r\n",
            b"*1\r\n$-1\r\n",
            b"\n",
            b"*1\r\n$1\r\nabc\r\n",
        ] {
            assert_eq!(read(bytes), Some((MALFORMED, bytes.len())), "{bytes:?}");
        }
    }

    #[test]
    fn a_publish_is_an_array_of_three_texts() {
        let mut out = Vec::new();
        publish(&mut out, "a", b"\0");
        assert_eq!(out, b"*3\r\n$7\r\nPUBLISH\r\n$1\r\na\r\n$1\r\n\0\r\n");
    }
}
