//! Records on the wire, and what is none.

use proptest::prelude::*;

use super::*;

fn first(seq: u64) -> Position {
    Position { epoch: Epoch::new(0x0102_0304_0506_0708), seq }
}

const ORIGIN: Origin = Origin { node: 0xAAAA_BBBB, nonce: 3 };

#[test]
fn a_record_on_the_wire() {
    let mut draft = Draft::default();
    draft.push(Payload::Json(b"7").into());
    draft.push(Payload::Opaque(b"\xFF\0").into());
    let bytes = draft.place(first(258), ORIGIN);
    let wire = b"\x01\
        \x01\x02\x03\x04\x05\x06\x07\x08\
        \0\0\0\0\0\0\x01\x02\
        \0\0\0\0\xAA\xAA\xBB\xBB\0\0\0\0\0\0\0\x03\
        \0\x02\
        \0\0\0\x037\
        \0\0\0\x04\xFF\0";
    assert_eq!(bytes, wire);
    let record = Record::decode(bytes).unwrap();
    assert_eq!((record.first, record.origin), (first(258), ORIGIN));
    assert_eq!((record.count, record.last_seq()), (2, 259));
    let payloads: Vec<_> = record.messages().map(|message| message.payload).collect();
    assert_eq!(payloads, [Payload::Json(b"7"), Payload::Opaque(b"\xFF\0")]);
}

#[test]
fn what_is_cut_or_has_more_behind_it_is_no_record() {
    let mut draft = Draft::default();
    draft.push(Payload::Json(b"[1,2]").into());
    let whole = draft.place(first(1), ORIGIN).to_vec();
    for length in 1..whole.len() {
        assert_eq!(Record::decode(&whole[..length]), Err(RecordError::Damaged), "{length}");
    }
    let mut longer = whole.clone();
    longer.push(0);
    assert_eq!(Record::decode(&longer), Err(RecordError::Damaged));
    let later = [&[3], &whole[1..]].concat();
    assert_eq!(Record::decode(&later), Err(RecordError::Version));
    assert_eq!(Record::decode(b""), Err(RecordError::Version));
}

#[test]
fn a_record_without_messages_or_beyond_the_last_seq_is_none() {
    let mut none = Draft::default();
    assert_eq!(Record::decode(none.place(first(1), ORIGIN)), Err(RecordError::Damaged));
    let mut draft = Draft::default();
    draft.push(Payload::Json(b"1").into());
    for seq in [0, u64::MAX - 1, u64::MAX] {
        let decoded = Record::decode(draft.place(first(seq), ORIGIN));
        assert_eq!(decoded, Err(RecordError::Damaged), "{seq}");
    }
}

#[test]
fn a_draft_has_room_until_it_is_full() {
    let mut draft = Draft::default();
    let payload = Message::from(Payload::Opaque(b"12345678"));
    assert!(draft.has_room_for(payload, Draft::bytes_for(payload)));
    assert!(!draft.has_room_for(payload, Draft::bytes_for(payload) - 1));
    for _ in 0..MESSAGES_MAX {
        assert!(draft.has_room_for(payload, usize::MAX));
        draft.push(payload);
    }
    assert!(!draft.has_room_for(payload, usize::MAX));
    assert!(Record::decode(draft.place(first(1), ORIGIN)).is_ok());
}

const IDENTITY: Identity =
    Identity { id: *b"0123456789abcdef", request: 0x0A0B, kept_ms: 0x0001_D4C0 };

fn named(payload: Payload<'_>) -> Message<'_> {
    Message { payload, identity: Some(IDENTITY) }
}

#[test]
fn a_record_with_an_identity_on_the_wire() {
    let mut draft = Draft::default();
    draft.push(Payload::Json(b"7").into());
    draft.push(named(Payload::Json(b"8")));
    let bytes = draft.place(first(1), ORIGIN);
    let wire = b"\x02\
        \x01\x02\x03\x04\x05\x06\x07\x08\
        \0\0\0\0\0\0\0\x01\
        \0\0\0\0\xAA\xAA\xBB\xBB\0\0\0\0\0\0\0\x03\
        \0\x02\
        \0\0\0\x037\
        \x80\0\0\x03\
        0123456789abcdef\
        \0\0\0\0\0\0\x0A\x0B\
        \0\x01\xD4\xC0\
        8";
    assert_eq!(bytes, wire);
    let record = Record::decode(bytes).unwrap();
    let messages: Vec<_> = record.messages().collect();
    assert_eq!(messages, [Payload::Json(b"7").into(), named(Payload::Json(b"8"))]);
    // The first version knows of none.
    let first_version = [&[1], &wire[1..]].concat();
    assert_eq!(Record::decode(&first_version), Err(RecordError::Damaged));
    for length in 1..wire.len() {
        assert_eq!(Record::decode(&wire[..length]), Err(RecordError::Damaged), "{length}");
    }
}

#[test]
fn nobody_makes_us_remember_for_longer_than_we_would() {
    let mut draft = Draft::default();
    let identity = Some(Identity { kept_ms: u32::MAX, ..IDENTITY });
    draft.push(Message { payload: Payload::Json(b"1"), identity });
    let record = Record::decode(draft.place(first(1), ORIGIN)).unwrap();
    let read = record.messages().next().and_then(|message| message.identity).unwrap();
    assert_eq!(read.kept_ms, KEPT_MS_MAX);
}

proptest! {
    #[test]
    fn what_is_written_reads_back(
        payloads in prop::collection::vec(
            (any::<bool>(), prop::option::of(any::<([u8; 16], u64)>()), prop::collection::vec(any::<u8>(), 0..40)),
            1..20,
        ),
        seq in 1..u64::MAX / 2,
        node: u64,
        nonce: u64,
    ) {
        let mut draft = Draft::default();
        let mut messages = Vec::new();
        for (is_json, identity, bytes) in &payloads {
            let payload = if *is_json { Payload::Json(bytes) } else { Payload::Opaque(bytes) };
            let identity = identity.map(|(id, request)| Identity { id, request, kept_ms: 7 });
            messages.push(Message { payload, identity });
        }
        messages.iter().for_each(|message| draft.push(*message));
        prop_assert_eq!(draft.messages().collect::<Vec<_>>(), messages.clone());
        let origin = Origin { node, nonce };
        let record = Record::decode(draft.place(first(seq), origin)).unwrap();
        prop_assert_eq!((record.first, record.origin), (first(seq), origin));
        prop_assert_eq!(record.messages().collect::<Vec<_>>(), messages);
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(
        mut bytes in prop::collection::vec(any::<u8>(), 0..200),
        version in 0..4_u8,
        count in 0..4_u16,
        is_named: bool,
    ) {
        if version > 0 && bytes.len() > HEADER_BYTES {
            bytes[0] = version;
            bytes[COUNT_AT..HEADER_BYTES].copy_from_slice(&count.to_be_bytes());
            // Lengths that are not far beyond the end.
            bytes[HEADER_BYTES] = u8::from(is_named) << 7;
            bytes.iter_mut().skip(HEADER_BYTES + 1).take(2).for_each(|byte| *byte = 0);
        }
        if let Ok(record) = Record::decode(&bytes) {
            prop_assert_eq!(record.messages().count(), usize::from(record.count));
        }
    }
}
