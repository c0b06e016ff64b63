//! However a byte stream is split, it decodes to the same events and the same error, and the
//! decoder holds no more than what it received warrants. Streams are random: valid ones, valid
//! ones with bytes changed, and garbage. A failure prints the smallest stream that shows it.

use broker_proto::ws::{Decoder, Event, Opcode, ProtocolError, Role};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

/// Above twice what was received, this is what a decoder may hold: its boxed state.
const STATE_BYTES_MAX: usize = 512;

#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

impl From<Event<'_>> for Seen {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Text(text) => Self::Text(text.to_owned()),
            Event::Binary(bytes) => Self::Binary(bytes.to_owned()),
            Event::Ping(payload) => Self::Ping(payload.to_owned()),
            Event::Pong(payload) => Self::Pong(payload.to_owned()),
            Event::Close(frame) => {
                Self::Close(frame.map(|frame| (frame.code.value(), frame.reason.to_owned())))
            }
        }
    }
}

/// A frame to be written for either role.
#[derive(Clone, Debug)]
struct Frame {
    opcode: Opcode,
    fin: bool,
    payload: Vec<u8>,
    key: [u8; 4],
}

impl Frame {
    /// Written from RFC 6455 §5.2 alone, not with the encoder under test elsewhere.
    fn write(&self, to: Role, out: &mut Vec<u8>) {
        let mask_bit = if to == Role::Server { 0x80 } else { 0 };
        out.push(if self.fin { 0x80 } else { 0 } | self.opcode as u8);
        match self.payload.len() {
            length @ 0..=125 => out.push(mask_bit | length as u8),
            length @ 126..=65_535 => {
                out.push(mask_bit | 126);
                out.extend((length as u16).to_be_bytes());
            }
            length => {
                out.push(mask_bit | 127);
                out.extend((length as u64).to_be_bytes());
            }
        }
        if to == Role::Server {
            out.extend(self.key);
            out.extend(self.payload.iter().enumerate().map(|(i, byte)| byte ^ self.key[i % 4]));
        } else {
            out.extend(&self.payload);
        }
    }
}

/// Frames in order, and what must be seen of them.
#[derive(Clone, Debug, Default)]
struct Stream {
    frames: Vec<Frame>,
    seen: Vec<Seen>,
}

impl Stream {
    fn wire(&self, to: Role) -> Vec<u8> {
        let mut out = Vec::new();
        for frame in &self.frames {
            frame.write(to, &mut out);
        }
        out
    }

    fn append(mut self, other: &Self) -> Self {
        self.frames.extend_from_slice(&other.frames);
        self.seen.extend_from_slice(&other.seen);
        self
    }
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Server), Just(Role::Client)]
}

fn control() -> impl Strategy<Value = Stream> {
    (any::<bool>(), vec(any::<u8>(), 0..=125), any::<[u8; 4]>()).prop_map(|(ping, payload, key)| {
        let (opcode, seen) = match ping {
            true => (Opcode::Ping, Seen::Ping(payload.clone())),
            false => (Opcode::Pong, Seen::Pong(payload.clone())),
        };
        Stream { frames: vec![Frame { opcode, fin: true, payload, key }], seen: vec![seen] }
    })
}

/// A payload and whether it is text. Now and then long enough for a 64-bit length.
fn payload() -> impl Strategy<Value = (bool, Vec<u8>)> {
    let text = |chars: Vec<char>| chars.into_iter().collect::<String>().into_bytes();
    prop_oneof![
        8 => vec(any::<char>(), 0..120).prop_map(move |chars| (true, text(chars))),
        8 => vec(any::<u8>(), 0..300).prop_map(|bytes| (false, bytes)),
        1 => (65_500..65_600_usize).prop_map(|length| (false, vec![7; length])),
    ]
}

/// A message cut anywhere, within characters too, with control frames between its fragments.
fn message() -> impl Strategy<Value = Stream> {
    let cuts = vec((any::<Index>(), proptest::option::of(control())), 0..5);
    (payload(), cuts, any::<[u8; 4]>()).prop_map(|((is_text, payload), mut cuts, key)| {
        let (mut opcode, seen) = match is_text {
            true => {
                let text = String::from_utf8(payload.clone()).expect("made from characters");
                (Opcode::Text, Seen::Text(text))
            }
            false => (Opcode::Binary, Seen::Binary(payload.clone())),
        };
        cuts.sort_by_key(|(cut, _)| cut.index(payload.len() + 1));
        let (mut stream, mut start) = (Stream::default(), 0);
        for (cut, control) in cuts {
            let end = cut.index(payload.len() + 1);
            let fragment = payload[start..end].to_vec();
            stream.frames.push(Frame { opcode, fin: false, payload: fragment, key });
            stream = stream.append(&control.unwrap_or_default());
            (opcode, start) = (Opcode::Continuation, end);
        }
        stream.frames.push(Frame { opcode, fin: true, payload: payload[start..].to_vec(), key });
        stream.seen.push(seen);
        stream
    })
}

/// A close frame, and a frame after it that nobody may see.
fn close() -> impl Strategy<Value = Stream> {
    let code = prop_oneof![1000..=1003_u16, 1007..=1014_u16, 3000..=4999_u16];
    let reason = vec(any::<char>(), 0..=30).prop_map(String::from_iter);
    (proptest::option::of((code, reason)), any::<[u8; 4]>()).prop_map(|(close, key)| {
        let payload = close
            .as_ref()
            .map_or(Vec::new(), |(code, reason)| [&code.to_be_bytes(), reason.as_bytes()].concat());
        let after = Frame { opcode: Opcode::Ping, fin: true, payload: vec![], key };
        let close_frame = Frame { opcode: Opcode::Close, fin: true, payload, key };
        Stream { frames: vec![close_frame, after], seen: vec![Seen::Close(close)] }
    })
}

fn stream() -> impl Strategy<Value = Stream> {
    let part = prop_oneof![3 => message(), 1 => control()];
    (vec(part, 0..6), proptest::option::of(close())).prop_map(|(parts, close)| {
        let all = parts.iter().fold(Stream::default(), Stream::append);
        all.append(&close.unwrap_or_default())
    })
}

/// Valid for a while: a stream with some bytes changed, inserted or cut off.
fn broken_stream() -> impl Strategy<Value = (Role, Vec<u8>)> {
    let changes = vec((any::<Index>(), any::<u8>(), any::<bool>()), 1..4);
    (stream(), role(), changes, any::<Index>()).prop_map(|(stream, role, changes, end)| {
        let mut wire = stream.wire(role);
        for (at, byte, inserts) in changes {
            let at = at.index(wire.len() + 1);
            match wire.get_mut(at) {
                Some(old) if !inserts => *old = byte,
                _ => wire.insert(at, byte),
            }
        }
        if end.index(4) == 0 {
            wire.truncate(end.index(wire.len() + 1));
        }
        (role, wire)
    })
}

fn garbage() -> impl Strategy<Value = (Role, Vec<u8>)> {
    (role(), vec(any::<u8>(), 0..400))
}

/// Lengths of the pieces, used in turn.
fn pieces() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![Just(vec![1]), vec(1..20_usize, 1..8), vec(1..3000_usize, 1..8)]
}

/// Feeds `wire` in pieces; what was seen, and the error that ended it. Checks on the way that all
/// is consumed and that the decoder holds no more than twice what it got since it was last empty.
fn decode(
    (role, message_bytes_max): (Role, u32),
    wire: &[u8],
    pieces: &[usize],
) -> (Vec<Seen>, Option<ProtocolError>) {
    let mut decoder = Decoder::new(role, message_bytes_max);
    let (mut seen, mut error, mut received) = (Vec::new(), None, 0);
    let (mut rest, mut turns) = (wire.to_vec(), pieces.iter().cycle());
    let mut rest = &mut rest[..];
    while let (false, Some(&piece)) = (rest.is_empty(), turns.next()) {
        let (input, after) = rest.split_at_mut(piece.min(rest.len()));
        rest = after;
        received += input.len();
        let mut at = 0;
        loop {
            match decoder.decode(&mut input[at..]) {
                Ok((used, Some(event))) => {
                    at += used;
                    seen.push(event.into());
                }
                Ok((used, None)) => {
                    assert_eq!(at + used, input.len(), "no event, but not all was consumed");
                    break;
                }
                Err(failure) => {
                    assert_eq!(error.replace(failure), None, "a second error");
                    break;
                }
            }
            assert!(decoder.held_bytes() <= 2 * received + STATE_BYTES_MAX);
        }
        assert!(decoder.held_bytes() <= 2 * received + STATE_BYTES_MAX);
        if decoder.held_bytes() == 0 {
            received = 0;
        }
    }
    (seen, error)
}

proptest! {
    #[test]
    fn any_split_of_a_valid_stream_gives_its_events(
        stream in stream(), role in role(), pieces in pieces()
    ) {
        let (wire, setting) = (stream.wire(role), (role, 1 << 20));
        let (seen, error) = decode(setting, &wire, &[usize::MAX]);
        prop_assert_eq!(error, None);
        prop_assert_eq!(&seen, &stream.seen);
        prop_assert_eq!(decode(setting, &wire, &pieces), (seen, None));
    }

    #[test]
    fn a_split_changes_neither_the_error_nor_the_events_before_it(
        (role, wire) in broken_stream(), limit in prop_oneof![Just(1 << 20), 1..400_u32],
        pieces in pieces()
    ) {
        let at_once = decode((role, limit), &wire, &[usize::MAX]);
        prop_assert_eq!(decode((role, limit), &wire, &pieces), at_once);
    }

    #[test]
    fn garbage_never_panics_and_fails_the_same_however_it_is_split(
        (role, wire) in garbage(), limit in 1..400_u32, pieces in pieces()
    ) {
        let at_once = decode((role, limit), &wire, &[usize::MAX]);
        if let Some(error) = &at_once.1 {
            prop_assert!([1002, 1007, 1009].contains(&error.close_code().value()));
        }
        prop_assert_eq!(decode((role, limit), &wire, &pieces), at_once);
    }
}
