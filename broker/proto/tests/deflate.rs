//! Compressed messages on the wire (RFC 7692 §6, §7.2): the examples of the standard as bytes, both
//! ends against each other and against a second inflater, and what damage, bombs and cut streams
//! come to. A failing property prints the smallest case that shows it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "deflate/reference.rs"]
mod reference;

use broker_proto::ws::deflate::{
    Deflater, Inflater, Terms, Volume, WindowBits, encode_deflated_frame,
    encode_masked_deflated_frame,
};
use broker_proto::ws::{Decoder, Event, Opcode, ProtocolError, Role, encode_frame};
use proptest::collection::vec;
use proptest::prelude::*;

const LIMIT: u32 = 65_536;

const TAKEOVER: Terms = Terms { no_context_takeover: false, window_bits_max: None };
const NO_TAKEOVER: Terms = Terms { no_context_takeover: true, window_bits_max: None };

/// One end of a connection on which compression was agreed.
struct End {
    decoder: Decoder,
    inflater: Inflater,
    scratch: Vec<u8>,
}

impl End {
    fn new(role: Role, terms: Terms) -> Self {
        let decoder = Decoder::new(role, LIMIT);
        Self { decoder, inflater: Inflater::new(terms), scratch: Vec::new() }
    }

    /// Everything seen of these bytes, up to an error.
    fn feed(&mut self, bytes: &[u8]) -> Result<Vec<String>, ProtocolError> {
        let (mut bytes, mut at, mut seen) = (bytes.to_vec(), 0, Vec::new());
        loop {
            let Self { decoder, inflater, scratch } = self;
            let (used, event) = decoder.decode_deflated(&mut bytes[at..], inflater, scratch)?;
            at += used;
            match event {
                Some(event) => seen.push(format!("{event:?}")),
                None => return Ok(seen),
            }
        }
    }
}

fn client(terms: Terms) -> End {
    End::new(Role::Client, terms)
}

fn text(text: &str) -> Result<Vec<String>, ProtocolError> {
    Ok(vec![format!("Text({text:?})")])
}

#[test]
fn the_examples_of_the_standard_are_read() {
    // §7.2.3.1: one frame, then two fragments.
    let whole = b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00";
    assert_eq!(client(TAKEOVER).feed(whole), text("Hello"));
    let fragments = b"\x41\x03\xf2\x48\xcd\x80\x04\xc9\xc9\x07\x00";
    assert_eq!(client(TAKEOVER).feed(fragments), text("Hello"));
    // §7.2.3.2: the second message refers to the first, or stands on its own.
    let mut end = client(TAKEOVER);
    assert_eq!(end.feed(whole), text("Hello"));
    assert_eq!(end.feed(b"\xc1\x05\xf2\x00\x11\x00\x00"), text("Hello"));
    assert_eq!(end.inflater.volume(), Volume { message_bytes: 10, wire_bytes: 7 + 5 });
    assert_eq!(end.feed(whole), text("Hello"));
    // §7.2.3.3: a block without compression.
    let stored = b"\xc1\x0b\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00";
    assert_eq!(client(NO_TAKEOVER).feed(stored), text("Hello"));
    // §7.2.3.4: a block marked as the last, and a message after it.
    let last = b"\xc1\x08\xf3\x48\xcd\xc9\xc9\x07\x00\x00";
    for terms in [TAKEOVER, NO_TAKEOVER] {
        let mut end = client(terms);
        assert_eq!(end.feed(last), text("Hello"));
        assert_eq!(end.feed(whole), text("Hello"));
    }
    // §7.2.3.5: two blocks.
    let two = b"\xc1\x0d\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00";
    assert_eq!(client(TAKEOVER).feed(two), text("Hello"));
    // §7.2.3.6: an empty message.
    assert_eq!(client(TAKEOVER).feed(b"\xc1\x01\x00"), text(""));
}

#[test]
fn the_examples_of_the_standard_are_written() {
    let mut out = Vec::new();
    let mut deflater = Deflater::new(NO_TAKEOVER, 6);
    for _ in 0..2 {
        out.clear();
        encode_deflated_frame(&mut out, Opcode::Text, b"Hello", &mut deflater);
        assert_eq!(out, b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00");
    }
    let mut deflater = Deflater::new(TAKEOVER, 6);
    for expected in [&b"\xf2\x48\xcd\xc9\xc9\x07\x00"[..], b"\xf2\x00\x11\x00\x00"] {
        out.clear();
        deflater.deflate(b"Hello", &mut out);
        assert_eq!(out, expected);
    }
    out.clear();
    encode_deflated_frame(&mut out, Opcode::Binary, b"", &mut deflater);
    encode_deflated_frame(&mut out, Opcode::Binary, b"", &mut deflater);
    assert_eq!(out, b"\xc2\x01\x00\xc2\x01\x00");
    assert_eq!(deflater.volume(), Volume { message_bytes: 10, wire_bytes: 7 + 5 + 2 });
    out.clear();
    let key = [0x37, 0xfa, 0x21, 0x3d];
    encode_masked_deflated_frame(
        &mut out,
        Opcode::Text,
        b"Hello",
        key,
        &mut Deflater::new(TAKEOVER, 6),
    );
    assert_eq!(out, b"\xc1\x87\x37\xfa\x21\x3d\xc5\xb2\xec\xf4\xfe\xfd\x21");
    assert_eq!(End::new(Role::Server, TAKEOVER).feed(&out), text("Hello"));
}

#[test]
fn plain_messages_and_control_frames_go_on_as_they_were() {
    let mut end = client(TAKEOVER);
    assert_eq!(end.feed(b"\x81\x05Hello"), text("Hello"));
    // A ping between the fragments of a compressed message.
    let wire = b"\x41\x03\xf2\x48\xcd\x89\x02hi\x80\x04\xc9\xc9\x07\x00";
    let seen = ["Ping([104, 105])".to_owned(), "Text(\"Hello\")".to_owned()];
    assert_eq!(end.feed(wire), Ok(seen.to_vec()));
    // A plain message leaves the context alone.
    assert_eq!(end.feed(b"\x81\x02ab\xc1\x05\xf2\x00\x11\x00\x00").unwrap().len(), 2);
    assert_eq!(end.decoder.held_bytes(), 0);
}

#[test]
fn rsv1_where_it_does_not_belong_is_refused() {
    let refused = Err(ProtocolError::ReservedBits(0b100));
    assert_eq!(client(TAKEOVER).feed(b"\xc9\x00"), refused);
    assert_eq!(client(TAKEOVER).feed(b"\x41\x03\xf2\x48\xcd\xc0\x04\xc9\xc9\x07\x00"), refused);
    assert_eq!(client(TAKEOVER).feed(b"\x01\x00\xc0\x00"), refused);
    let mut plain = Decoder::new(Role::Client, LIMIT);
    let mut wire = *b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00";
    assert_eq!(plain.decode(&mut wire), Err(ProtocolError::ReservedBits(0b100)));
}

#[test]
fn what_is_inflated_must_be_utf8_where_it_is_text() {
    let mut deflater = Deflater::new(NO_TAKEOVER, 6);
    let mut wire = Vec::new();
    encode_deflated_frame(&mut wire, Opcode::Text, b"ab\xc3", &mut deflater);
    let mut end = client(NO_TAKEOVER);
    let error = end.feed(&wire).unwrap_err();
    assert_eq!((&error, error.close_code().value()), (&ProtocolError::InvalidText(2), 1007));
    assert_eq!(end.feed(b"\x81\x00"), Ok(vec![]), "nothing counts after an error");
    wire[0] = 0xc2;
    assert_eq!(client(NO_TAKEOVER).feed(&wire), Ok(vec!["Binary([97, 98, 195])".into()]));
}

#[test]
fn a_bomb_is_refused_at_the_limit_and_no_more_memory_is_taken_than_that() {
    let bomb = vec![0; 64 << 20];
    let mut wire = Vec::new();
    encode_deflated_frame(&mut wire, Opcode::Binary, &bomb, &mut Deflater::new(TAKEOVER, 9));
    assert!(wire.len() < LIMIT as usize * 9 / 8);
    let mut end = client(TAKEOVER);
    let error = end.feed(&wire).unwrap_err();
    assert_eq!(error, ProtocolError::MessageTooLong { bytes: 65_537, bytes_max: LIMIT });
    assert_eq!(error.close_code().value(), 1009);
    assert!(end.scratch.capacity() <= LIMIT as usize + 1, "{}", end.scratch.capacity());
    assert_eq!(end.decoder.held_bytes(), 0);
}

#[test]
fn a_message_of_exactly_the_limit_passes_whatever_it_compresses_to() {
    for byte in [Some(0), None] {
        let mut rng = 1_u64;
        let message: Vec<u8> = (0..LIMIT)
            .map(|_| {
                rng = rng.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                byte.unwrap_or((rng >> 33) as u8)
            })
            .collect();
        for level in [0, 1, 6, 9] {
            let mut deflater = Deflater::new(NO_TAKEOVER, level);
            let mut wire = Vec::new();
            encode_deflated_frame(&mut wire, Opcode::Binary, &message, &mut deflater);
            let mut end = client(NO_TAKEOVER);
            let Ok((_, Some(Event::Binary(seen)))) =
                end.decoder.decode_deflated(&mut wire, &mut end.inflater, &mut end.scratch)
            else {
                panic!("level {level}")
            };
            assert!(seen == message, "level {level}");
        }
    }
}

#[test]
fn one_inflater_serves_many_connections_where_no_context_is_taken_over() {
    let mut wire = Vec::new();
    encode_deflated_frame(&mut wire, Opcode::Text, b"Hello", &mut Deflater::new(NO_TAKEOVER, 6));
    let (mut inflater, mut scratch) = (Inflater::new(NO_TAKEOVER), Vec::new());
    let mut decoders = [Role::Client; 3].map(|role| Decoder::new(role, LIMIT));
    // Each is given its message in two pieces, all first ones first; one of them is damaged.
    let cut = 4;
    for (number, piece) in [0..cut, cut..wire.len()].into_iter().enumerate() {
        for (which, decoder) in decoders.iter_mut().enumerate() {
            let mut piece = wire[piece.clone()].to_vec();
            if (number, which) == (1, 1) {
                piece.fill(0xff);
            }
            let outcome = decoder.decode_deflated(&mut piece, &mut inflater, &mut scratch);
            match (number, which) {
                (0, _) => assert_eq!(outcome, Ok((cut, None))),
                (_, 1) => assert!(matches!(outcome, Err(ProtocolError::InvalidDeflate(_)))),
                _ => assert!(matches!(outcome, Ok((_, Some(Event::Text("Hello")))))),
            }
        }
    }
}

fn terms() -> impl Strategy<Value = Terms> {
    (any::<bool>(), proptest::option::of(8..=15_u8)).prop_map(|(no_context_takeover, bits)| Terms {
        no_context_takeover,
        window_bits_max: bits.and_then(WindowBits::new),
    })
}

/// Messages that repeat themselves and one another, near and far.
fn messages() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let piece = prop_oneof![
        3 => vec(any::<u8>(), 0..40),
        3 => (vec(b'a'..=b'd', 1..30), 1..20_usize).prop_map(|(part, times)| part.repeat(times)),
        1 => (any::<u8>(), 0..3000_usize).prop_map(|(byte, times)| vec![byte; times]),
        1 => Just((0..=255).collect::<Vec<u8>>()),
        1 => Just(br#"{"topic":"ticker/ACME","seq":18,"data":{"price":101.5}}"#.to_vec()),
    ];
    vec(vec(piece, 0..6).prop_map(|pieces| pieces.concat()), 1..8)
}

proptest! {
    #[test]
    fn both_roles_read_what_the_other_writes_however_it_is_split(
        terms in terms(),
        messages in messages(),
        level in 0..=10_u8,
        to in prop_oneof![Just(Role::Server), Just(Role::Client)],
        key in any::<[u8; 4]>(),
        plain in vec(any::<bool>(), 8),
        cuts in vec(1..300_usize, 0..40),
    ) {
        let (mut deflater, mut wire) = (Deflater::new(terms, level), Vec::new());
        for (message, &plain) in messages.iter().zip(&plain) {
            match (to, plain) {
                (Role::Client, false) => {
                    encode_deflated_frame(&mut wire, Opcode::Binary, message, &mut deflater);
                }
                (Role::Client, true) => encode_frame(&mut wire, Opcode::Binary, message),
                (Role::Server, _) => {
                    let out = &mut wire;
                    encode_masked_deflated_frame(out, Opcode::Binary, message, key, &mut deflater);
                }
            }
        }
        let mut end = End::new(to, terms);
        let (mut rest, mut seen) = (&wire[..], Vec::new());
        for cut in cuts.into_iter().chain([usize::MAX]) {
            let (piece, after) = rest.split_at(cut.min(rest.len()));
            rest = after;
            seen.extend(end.feed(piece).unwrap());
        }
        let expected: Vec<_> = messages.iter().map(|bytes| format!("Binary({bytes:?})")).collect();
        prop_assert_eq!(seen, expected);
    }

    #[test]
    fn a_second_inflater_reads_the_same_and_no_reference_leaves_the_window(
        terms in terms(),
        messages in messages(),
        level in 0..=9_u8,
    ) {
        let (mut deflater, mut history) = (Deflater::new(terms, level), Vec::new());
        for message in &messages {
            let mut payload = Vec::new();
            deflater.deflate(message, &mut payload);
            payload.extend([0x00, 0x00, 0xff, 0xff]);
            if terms.no_context_takeover {
                history.clear();
            }
            let seen = reference::inflate(&payload, &history).expect("whole blocks");
            prop_assert_eq!(&seen.bytes, message);
            prop_assert!(seen.farthest <= 1 << terms.window_bits().value(), "{}", seen.farthest);
            history.extend(message);
        }
    }

    #[test]
    fn a_message_that_is_cut_short_is_an_error(
        message in messages().prop_map(|messages| messages.concat()),
        level in 0..=9_u8,
        cut in any::<prop::sample::Index>(),
    ) {
        let mut payload = Vec::new();
        Deflater::new(TAKEOVER, level).deflate(&message, &mut payload);
        payload.truncate(cut.index(payload.len()));
        let whole = [&payload[..], &[0x00, 0x00, 0xff, 0xff]].concat();
        let expected = reference::inflate(&whole, &[]).map(|inflated| inflated.bytes);
        let mut scratch = Vec::new();
        let seen = Inflater::new(TAKEOVER).inflate(&payload, LIMIT, &mut scratch);
        match (seen, expected) {
            // What is left may be whole blocks.
            (Ok(seen), Some(expected)) => prop_assert_eq!(seen, &expected[..]),
            (Err(ProtocolError::InvalidDeflate(_)), _) => {}
            (seen, expected) => prop_assert!(false, "{seen:?} {expected:?}"),
        }
    }

    #[test]
    fn damage_and_noise_are_read_as_the_standard_has_it_or_refused_within_the_limit(
        message in messages().prop_map(|messages| messages.concat()),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        noise in proptest::option::of(vec(any::<u8>(), 0..200)),
        terms in terms(),
    ) {
        let mut payload = noise.clone().unwrap_or_default();
        if noise.is_none() {
            Deflater::new(TAKEOVER, 6).deflate(&message, &mut payload);
            for (place, byte) in changes {
                let place = place.index(payload.len());
                payload[place] = byte;
            }
        }
        let mut scratch = Vec::new();
        let seen = Inflater::new(terms).inflate(&payload, 5000, &mut scratch).map(<[u8]>::to_vec);
        prop_assert!(scratch.capacity() <= 5001);
        if let Ok(seen) = seen {
            prop_assert!(seen.len() <= 5000);
            payload.extend([0x00, 0x00, 0xff, 0xff]);
            let expected = reference::inflate(&payload, &[]).expect("what is read is whole");
            prop_assert_eq!(seen, expected.bytes);
        }
    }
}
