//! NATS over WebSocket, from a client's side: lines of text, payloads with their length before
//! them. Commands may share a WebSocket message or span several. No frames, no sockets.

use std::borrow::Cow;

use serde_json::json;

use super::{Access, Incoming, MESSAGE_BYTES_MAX, Wait};

/// The answer to the server's PING.
pub(super) const PONG: &[u8] = b"PONG\r\n";

/// The longest line taken from a server, in bytes. That of a large cluster's INFO may have some
/// kilobytes.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// How a message begins, and a payload ends.
const MSG: &[u8] = b"MSG ";
const END: &[u8] = b"\r\n";

/// Says who it is, subscribes, and asks for a sign of life: a SUB is not answered, but the PONG
/// comes after all that were refused.
pub(super) fn welcome(access: &Access, topics: &[&str], mut send: impl FnMut(&[u8])) -> Wait {
    let mut commands = connect(access).into_bytes();
    for (id, topic) in (1..).zip(topics) {
        commands.extend_from_slice(format!("SUB {topic} {id}\r\n").as_bytes());
    }
    commands.extend_from_slice(b"PING\r\n");
    send(&commands);
    Wait::Answers(1)
}

/// Appends a PUB.
pub(super) fn publish(out: &mut Vec<u8>, topic: &str, payload: &[u8]) {
    let length = payload.len().to_string();
    for part in [b"PUB ", topic.as_bytes(), b" ", length.as_bytes(), END, payload, END] {
        out.extend_from_slice(part);
    }
}

/// Reads one command, if all of it is there.
pub(super) fn read(bytes: &[u8]) -> Option<(Incoming<'_>, usize)> {
    let Some(length) = bytes.iter().take(LINE_BYTES_MAX).position(|&byte| byte == b'\n') else {
        let is_too_long = bytes.len() >= LINE_BYTES_MAX;
        return is_too_long.then_some((Incoming::Malformed("a line without an end"), bytes.len()));
    };
    let line = bytes[..length].strip_suffix(b"\r").unwrap_or(&bytes[..length]);
    match line.strip_prefix(MSG) {
        Some(arguments) => read_message(arguments, &bytes[length + 1..], length + 1),
        None => Some((read_notice(line), length + 1)),
    }
}

/// `subject sid [reply-to] #bytes`, and then the payload.
fn read_message<'a>(
    arguments: &'a [u8],
    rest: &'a [u8],
    line_bytes: usize,
) -> Option<(Incoming<'a>, usize)> {
    let malformed = |what| Some((Incoming::Malformed(what), line_bytes + rest.len()));
    let mut words = arguments.split(|&byte| byte == b' ');
    let (Some(topic), Some(size)) = (words.next(), words.next_back()) else {
        return malformed("the arguments of a MSG");
    };
    let size = str::from_utf8(size).ok().and_then(|size| size.parse().ok());
    let Some(size) = size.filter(|&size: &usize| size <= MESSAGE_BYTES_MAX as usize) else {
        return malformed("the size of a MSG");
    };
    let (payload, after) = rest.split_at_checked(size)?;
    let end = after.get(..END.len())?;
    if end != END {
        return malformed("the end of a MSG");
    }
    let message = Incoming::Message { topic, seq: None, payload: Cow::Borrowed(payload) };
    Some((message, line_bytes + size + END.len()))
}

fn read_notice(line: &[u8]) -> Incoming<'_> {
    let word = line.split(|&byte| byte == b' ' || byte == b'\t').next().unwrap_or_default();
    match word {
        b"INFO" => Incoming::Hello { name: String::new() },
        b"PING" => Incoming::Ping,
        b"PONG" => Incoming::Accepted { id: 1, position: None },
        b"+OK" => Incoming::Noted,
        b"-ERR" => Incoming::Refused { id: None, why: String::from_utf8_lossy(line).into_owned() },
        _ => Incoming::Unknown,
    }
}

/// A client that has all it publishes come back to it where it subscribes, and wants no headers.
fn connect(access: &Access) -> String {
    let mut options = json!({
        "verbose": false,
        "pedantic": false,
        "echo": true,
        "headers": false,
        "protocol": 1,
        "lang": "rust",
        "name": "loadgen",
        "version": env!("CARGO_PKG_VERSION"),
    });
    let token = access.token.as_ref().map(|token| token.reveal().to_owned());
    match (&access.user, token) {
        (Some(user), token) => {
            options["user"] = user.as_str().into();
            options["pass"] = token.into();
        }
        (None, Some(token)) => options["auth_token"] = token.into(),
        (None, None) => {}
    }
    format!("CONNECT {options}\r\n")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::Secret;
    use super::super::tests::read_split;
    use super::*;

    #[test]
    fn a_session_opens_with_connect_the_subscribes_and_a_ping() {
        let mut sent = Vec::new();
        let wait = welcome(&Access::default(), &["a.b", "c"], |bytes| sent.push(bytes.to_vec()));
        assert_eq!((wait, sent.len()), (Wait::Answers(1), 1));
        let text = String::from_utf8(sent.remove(0)).unwrap();
        let (connect, rest) = text.split_once("\r\n").unwrap();
        assert_eq!(rest, "SUB a.b 1\r\nSUB c 2\r\nPING\r\n");
        let options: Value =
            serde_json::from_str(connect.strip_prefix("CONNECT ").unwrap()).unwrap();
        assert_eq!((&options["verbose"], &options["echo"]), (&false.into(), &true.into()));
        assert!(options.get("auth_token").is_none() && options.get("user").is_none());
    }

    #[test]
    fn a_token_goes_alone_or_with_a_user() {
        let alone = Access { token: Some(Secret::new("s\"3")), ..Access::default() };
        assert!(connect(&alone).contains(r#""auth_token":"s\"3""#));
        let both = Access { user: Some("me".into()), ..alone };
        let text = connect(&both);
        assert!(text.contains(r#""pass":"s\"3""#) && text.contains(r#""user":"me""#), "{text}");
        assert!(!text.contains("auth_token"));
    }

    #[test]
    fn a_publish_names_its_length() {
        let mut out = Vec::new();
        publish(&mut out, "a.b", b"\0\r\n");
        assert_eq!(out, b"PUB a.b 3\r\n\0\r\n\r\n");
    }

    #[test]
    fn commands_are_found_wherever_the_stream_is_cut() {
        let stream = b"INFO {\"headers\":true}\r\n+OK\r\nPING\r\nPONG\r\n\
            MSG a.b 1 4\r\n\r\n\0x\r\nMSG c 2 _INBOX.1 0\r\n\r\n-ERR 'Stale Connection'\r\n";
        let expected = [
            r#"Hello { name: "" }"#,
            "Noted",
            "Ping",
            "Accepted { id: 1, position: None }",
            "Message { topic: [97, 46, 98], seq: None, payload: [13, 10, 0, 120] }",
            "Message { topic: [99], seq: None, payload: [] }",
            r#"Refused { id: None, why: "-ERR 'Stale Connection'" }"#,
        ];
        for cut in 0..=stream.len() {
            assert_eq!(read_split(read, stream, cut), expected, "cut at {cut}");
        }
    }

    #[test]
    fn what_is_no_command_is_unknown_and_what_hides_where_the_next_begins_is_malformed() {
        assert_eq!(read(b"HELLO\r\n"), Some((Incoming::Unknown, 7)));
        let endless = [b'x'; LINE_BYTES_MAX];
        let long = b"MSG a 1 999999999\r\n";
        for bytes in [&b"MSG a 1 -1\r\n"[..], b"MSG a\r\n", long, b"MSG a 1 1\r\nxyz", &endless] {
            let found = read(bytes);
            let is_malformed =
                matches!(&found, Some((Incoming::Malformed(_), used)) if *used == bytes.len());
            assert!(is_malformed, "{found:?}");
        }
    }
}
