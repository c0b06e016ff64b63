//! Altavoz's own protocols, `altavoz.v1.json` and `altavoz.v1.bin`, from a client's side. Payloads
//! of frames in and out; no frames, no sockets. Called by the engine for every message.

use std::borrow::Cow;

use broker_proto::bin::{self, ServerMessage};
use broker_proto::command::{Answer, Command, Member, Payload, Position};
use broker_proto::json;
use broker_proto::topic::{Filter, Topic};
use serde_json::Value;

use super::{Access, Delivery, Incoming, PresenceChange, Secret, Wait, Wish};

/// The answer to a connect has this id; those to subscribes have the numbers from 1.
const CONNECT_ID: u64 = 0;

/// What the plan's topics are known to be.
const VALID: &str = "the plan's topics are valid";

/// Which of the two is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// `altavoz.v1.json`.
    Json,
    /// `altavoz.v1.bin`.
    Bin,
}

impl Encoding {
    /// Says who it is if there is a token, and subscribes; each command is answered.
    pub(super) fn open(
        self,
        access: &Access,
        wishes: &[Wish<'_>],
        asks_number: bool,
        mut send: impl FnMut(&[u8]),
    ) -> Wait {
        let mut command = Vec::new();
        let connects = asks_number || access.token.is_some();
        if connects {
            let token = access.token.as_ref().map(Secret::reveal);
            let connect = Command::Connect { token };
            self.encode(&mut command, Some(CONNECT_ID), &connect);
            send(&command);
        }
        for wish in wishes {
            command.clear();
            self.subscribe(&mut command, wish);
            send(&command);
        }
        Wait::Answers(wishes.len() as u32 + u32::from(connects))
    }

    /// Appends the command that publishes `payload`. Only a failure is answered.
    pub(super) fn publish(self, out: &mut Vec<u8>, topic: &str, payload: &[u8]) {
        let topic = Topic::new(topic).expect(VALID);
        let payload = match self {
            Self::Json => Payload::Json(payload),
            Self::Bin => Payload::Opaque(payload),
        };
        self.encode(out, None, &Command::Publish { topic, payload, count: false, msg_id: None });
    }

    /// Reads the payload of one frame from the server.
    pub(super) fn read(self, bytes: &[u8]) -> Incoming<'_> {
        match self {
            Self::Json => match read_message(bytes) {
                Some(Delivery { topic, seq, payload }) => {
                    Incoming::Message { topic, seq: Some(seq), payload: Cow::Borrowed(payload) }
                }
                None => read_notice(bytes),
            },
            Self::Bin => read_binary(bytes),
        }
    }

    /// Appends the command that subscribes; the answer names its id.
    pub(super) fn subscribe(self, out: &mut Vec<u8>, wish: &Wish<'_>) {
        let filter = Filter::new(wish.filter).expect(VALID);
        let options = wish.options.clone();
        self.encode(out, Some(wish.id), &Command::Subscribe { filter, options });
    }

    /// Appends the command that ends a subscription; the answer names `id`.
    pub(super) fn unsubscribe(self, out: &mut Vec<u8>, id: u64, filter: &str) {
        let filter = Filter::new(filter).expect(VALID);
        self.encode(out, Some(id), &Command::Unsubscribe { filter });
    }

    fn encode(self, out: &mut Vec<u8>, id: Option<u64>, command: &Command<'_>) {
        match self {
            Self::Json => json::encode_command(out, id, command),
            Self::Bin => bin::encode_command(out, id, command),
        }
    }
}

/// A message, whose members come in a fixed order: found without parsing, since this is where the
/// load generator spends its time. The topics it uses need no escapes.
pub(super) fn read_message(bytes: &[u8]) -> Option<Delivery<'_>> {
    let rest = bytes.strip_prefix(br#"{"topic":""#)?;
    let (topic, rest) = rest.split_at(memchr::memchr(b'"', rest)?);
    let rest = rest.strip_prefix(br#"","seq":"#)?;
    let (seq, rest) = split_number(rest)?;
    let payload = rest.strip_prefix(br#","data":"#)?.strip_suffix(b"}")?;
    Some(Delivery { topic, seq, payload })
}

/// The number that `bytes` begin with, and what follows.
fn split_number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (mut number, mut digits) = (0_u64, 0);
    while let Some(digit @ b'0'..=b'9') = bytes.get(digits) {
        let digit = u64::from(digit - b'0');
        // No more than this many digits can be too many.
        number = match digits {
            0..19 => number * 10 + digit,
            _ => number.checked_mul(10)?.checked_add(digit)?,
        };
        digits += 1;
    }
    (digits > 0).then(|| (number, &bytes[digits..]))
}

/// Everything else is rare.
fn read_notice(bytes: &[u8]) -> Incoming<'static> {
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else { return Incoming::Unknown };
    let id = value["id"].as_u64();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if let Some(error) = value.get("error") {
        let why = format!("{}: {}", text(&error["code"]), text(&error["message"]));
        return Incoming::Refused { id, why };
    }
    if let (Some(id), Some(ok)) = (id, value.get("ok")) {
        let session = ok["session"].as_str().and_then(|text| u64::from_str_radix(text, 16).ok());
        if let Some(number) = session {
            return Incoming::Session { id, number };
        }
        let epoch = ok["epoch"].as_str().and_then(|text| text.parse().ok());
        let position = epoch.zip(ok["seq"].as_u64()).map(|(epoch, seq)| Position { epoch, seq });
        return accepted(id, position, ok["recovered"].as_bool());
    }
    if let Some(change) = read_presence(&value["presence"]) {
        return Incoming::Presence(change);
    }
    let is_noted = |notice: &str, member: &str| !value[notice][member].is_null();
    if is_noted("mode", "now")
        || is_noted("stale", "seq")
        || is_noted("live", "seq")
        || is_noted("epoch", "epoch")
    {
        return Incoming::Noted;
    }
    let gap = &value["gap"];
    match (gap["from"].as_u64(), gap["to"].as_u64()) {
        (Some(from), Some(to)) => Incoming::Gap { topic: text(&gap["topic"]), from, to },
        _ => Incoming::Unknown,
    }
}

/// Who joined or left: one, or several at once.
fn read_presence(notice: &Value) -> Option<PresenceChange> {
    let topic = notice["topic"].as_str()?.to_owned();
    let session = |member: &Value| {
        u64::from_str_radix(member["session"].as_str().unwrap_or_default(), 16).ok()
    };
    let sessions = |one: &str, many: &str| {
        let several = notice[many].as_array().into_iter().flatten();
        notice.get(one).into_iter().chain(several).filter_map(session).collect()
    };
    Some(PresenceChange {
        topic,
        joined: sessions("join", "joined"),
        left: sessions("leave", "left"),
    })
}

fn accepted(id: u64, position: Option<Position>, recovered: Option<bool>) -> Incoming<'static> {
    match recovered {
        Some(is_whole) => Incoming::Resumed { id, position, is_whole },
        None => Incoming::Accepted { id, position },
    }
}

fn read_binary(bytes: &[u8]) -> Incoming<'_> {
    match bin::decode_server(bytes) {
        Ok(ServerMessage::Message { topic, seq, payload }) => {
            let payload = Cow::Borrowed(payload.bytes());
            Incoming::Message { topic: topic.as_bytes(), seq: Some(seq), payload }
        }
        Ok(ServerMessage::Ok { id, answer }) => {
            if let Answer::Connected { session } = answer {
                return Incoming::Session { id, number: session };
            }
            let (position, recovered) = match answer {
                Answer::Subscribed { position, recovered, .. } => (position, recovered),
                _ => (None, None),
            };
            accepted(id, position.map(|(epoch, seq)| Position { epoch, seq }), recovered)
        }
        Ok(ServerMessage::Error { id, code, message }) => {
            Incoming::Refused { id, why: format!("{}: {message}", code.as_str()) }
        }
        Ok(ServerMessage::Gap { topic, from, to, .. }) => {
            Incoming::Gap { topic: topic.to_owned(), from, to }
        }
        Ok(ServerMessage::Presence { topic, joined, left, .. }) => {
            let sessions = |members: &[Member<'_>]| members.iter().map(|m| m.session).collect();
            let (joined, left) = (sessions(&joined), sessions(&left));
            Incoming::Presence(PresenceChange { topic: topic.to_owned(), joined, left })
        }
        Ok(
            ServerMessage::Mode { .. }
            | ServerMessage::Stale { .. }
            | ServerMessage::Live { .. }
            | ServerMessage::Epoch { .. }
            | ServerMessage::Expiring { .. }
            | ServerMessage::Unsubscribed { .. },
        ) => Incoming::Noted,
        Ok(ServerMessage::History { .. } | ServerMessage::Members { .. }) | Err(_) => {
            Incoming::Unknown
        }
    }
}

#[cfg(test)]
mod tests {
    use broker_proto::command::Epoch;

    use super::*;

    #[test]
    fn a_json_message_is_found_without_parsing_and_its_payload_is_left_alone() {
        let bytes = br#"{"topic":"a/b","seq":18,"data":{"s":"x,}"}}"#;
        let expected = Incoming::Message {
            topic: b"a/b",
            seq: Some(18),
            payload: Cow::Borrowed(br#"{"s":"x,}"}"#),
        };
        assert_eq!(Encoding::Json.read(bytes), expected);
    }

    #[test]
    fn json_answers_errors_and_gaps_are_told_apart() {
        let read = |text: &'static str| Encoding::Json.read(text.as_bytes());
        assert_eq!(
            read(r#"{"id":1,"ok":{"topic":"t"}}"#),
            Incoming::Accepted { id: 1, position: None }
        );
        assert_eq!(
            read(r#"{"id":2,"ok":{"topic":"t","epoch":"a","seq":41}}"#),
            Incoming::Accepted {
                id: 2,
                position: Some(Position { epoch: Epoch::new(10), seq: 41 })
            }
        );
        assert_eq!(
            read(r#"{"id":4,"ok":{"topic":"t","epoch":"a","seq":57,"recovered":true}}"#),
            Incoming::Resumed {
                id: 4,
                position: Some(Position { epoch: Epoch::new(10), seq: 57 }),
                is_whole: true
            }
        );
        let why = "forbidden: no".to_owned();
        assert_eq!(
            read(r#"{"id":null,"error":{"code":"forbidden","message":"no"}}"#),
            Incoming::Refused { id: None, why }
        );
        assert_eq!(
            read(r#"{"gap":{"topic":"t","from":3,"to":5,"reason":"overflow"}}"#),
            Incoming::Gap { topic: "t".into(), from: 3, to: 5 }
        );
        for text in ["", "[]", "{", r#"{"topic":"t","seq":x,"data":1}"#, r#"{"mode":{}}"#] {
            assert_eq!(read(text), Incoming::Unknown, "{text}");
        }
    }

    #[test]
    fn who_joins_and_leaves_is_told_alone_or_with_others() {
        let read = |text: &'static str| Encoding::Json.read(text.as_bytes());
        let change = |joined: &[u64], left: &[u64]| {
            let (joined, left) = (joined.to_vec(), left.to_vec());
            Incoming::Presence(PresenceChange { topic: "r".into(), joined, left })
        };
        let join = r#"{"presence":{"topic":"r","join":{"user":null,"session":"00000000000000ff"},"count":3}}"#;
        assert_eq!(read(join), change(&[255], &[]));
        let several = r#"{"presence":{"topic":"r","joined":[{"session":"1"},{"session":"2"}],"left":[{"session":"a"}]}}"#;
        assert_eq!(read(several), change(&[1, 2], &[10]));
        let binary = b"\x06\x01r\x01\xac\x02\x00\x00\x03";
        assert_eq!(Encoding::Bin.read(binary), change(&[300], &[]));
        let mode = r#"{"mode":{"topic":"r","now":"slow","reason":"slow"}}"#;
        assert_eq!(read(mode), Incoming::Noted);
        assert_eq!(read(r#"{"stale":{"topic":"r","seq":1,"silent_ms":5}}"#), Incoming::Noted);
        assert_eq!(read(r#"{"live":{"topic":"r","seq":2}}"#), Incoming::Noted);
        assert_eq!(read(r#"{"epoch":{"topic":"r","epoch":"a"}}"#), Incoming::Noted);
        assert_eq!(Encoding::Bin.read(b"\x07\x01r\x01\x05"), Incoming::Noted);
        let session = r#"{"id":0,"ok":{"session":"000000000000012c"}}"#;
        assert_eq!(read(session), Incoming::Session { id: 0, number: 300 });
    }

    #[test]
    fn a_seq_too_large_for_any_counter_is_no_message() {
        let bytes = br#"{"topic":"t","seq":18446744073709551616,"data":1}"#;
        assert_eq!(Encoding::Json.read(bytes), Incoming::Unknown);
    }

    #[test]
    fn a_binary_message_is_read_with_its_raw_payload() {
        let expected =
            Incoming::Message { topic: b"t", seq: Some(7), payload: Cow::Borrowed(b"\0\xff") };
        assert_eq!(Encoding::Bin.read(b"\x01\x01t\x07\0\xff"), expected);
        assert_eq!(Encoding::Bin.read(b""), Incoming::Unknown);
    }

    #[test]
    fn a_session_opens_with_the_token_if_there_is_one_and_then_the_subscribes() {
        let open = |encoding: Encoding, token: Option<&str>| {
            let access = Access { token: token.map(Secret::new), ..Access::default() };
            let mut commands = Vec::new();
            let wait = encoding.open(&access, &[Wish::plain(1, "t")], false, |command| {
                commands.push(command.to_vec());
            });
            (wait, commands)
        };
        let subscribe = br#"{"id":1,"op":"subscribe","topic":"t"}"#.to_vec();
        assert_eq!(open(Encoding::Json, None), (Wait::Answers(1), vec![subscribe.clone()]));
        let connect = br#"{"id":0,"op":"connect","token":"a.b"}"#.to_vec();
        let expected = (Wait::Answers(2), vec![connect, subscribe]);
        assert_eq!(open(Encoding::Json, Some("a.b")), expected);
        let expected = vec![b"\x85\0a.b".to_vec(), b"\x82\x01\x01t".to_vec()];
        assert_eq!(open(Encoding::Bin, Some("a.b")), (Wait::Answers(2), expected));
    }

    #[test]
    fn a_publish_is_written_as_the_protocol_has_it() {
        let mut json = Vec::new();
        Encoding::Json.publish(&mut json, "t", b"{}");
        assert_eq!(json, br#"{"op":"publish","topic":"t","data":{}}"#);
        let mut raw = Vec::new();
        Encoding::Bin.publish(&mut raw, "t", b"\0\xff");
        assert_eq!(raw, b"\x01\x01t\0\xff");
    }
}
