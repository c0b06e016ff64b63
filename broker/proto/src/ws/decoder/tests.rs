//! What the decoder keeps and what it does not: size, borrowing, release.

use super::*;

const LIMIT: u32 = 65_536;

/// "Hello" with the key of RFC 6455 §5.7.
const HELLO: [u8; 11] = *b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";

const _: () = assert!(size_of::<Decoder>() <= 32, "an idle connection pays for every byte");

#[test]
fn a_frame_whole_in_the_input_is_borrowed_from_it_and_nothing_is_held() {
    let mut input = HELLO;
    let span = input.as_ptr_range();
    let mut decoder = Decoder::new(Role::Server, LIMIT);
    match decoder.decode(&mut input) {
        Ok((11, Some(Event::Text(text)))) => {
            assert_eq!(text, "Hello");
            assert!(span.contains(&text.as_ptr()));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(decoder.held_bytes(), 0);
    assert!(!decoder.is_mid_message());
}

#[test]
fn a_control_frame_between_fragments_is_borrowed_too() {
    let mut decoder = Decoder::new(Role::Client, LIMIT);
    let mut input = *b"\x01\x01a\x89\x02hi";
    let span = input.as_ptr_range();
    match decoder.decode(&mut input) {
        Ok((7, Some(Event::Ping(payload)))) => assert!(span.contains(&payload.as_ptr())),
        other => panic!("{other:?}"),
    }
    assert!(decoder.is_mid_message());
}

#[test]
fn an_assembled_message_is_released_by_the_next_call() {
    let mut decoder = Decoder::new(Role::Server, LIMIT);
    let mut input = HELLO;
    let (head, tail) = input.split_at_mut(8);
    assert_eq!(decoder.decode(head), Ok((8, None)));
    assert!(decoder.is_mid_message());
    assert!(decoder.held_bytes() > 0);

    assert_eq!(decoder.decode(tail), Ok((3, Some(Event::Text("Hello")))));
    assert!(!decoder.is_mid_message());
    assert!(decoder.held_bytes() > 0);

    assert_eq!(decoder.decode(&mut []), Ok((0, None)));
    assert_eq!(decoder.held_bytes(), 0);
}

#[test]
fn a_split_header_counts_as_a_begun_message() {
    let mut decoder = Decoder::new(Role::Server, LIMIT);
    assert_eq!(decoder.decode(&mut [0x81]), Ok((1, None)));
    assert!(decoder.is_mid_message());
}

#[test]
fn an_empty_frame_split_after_its_header_needs_no_further_byte() {
    let mut decoder = Decoder::new(Role::Server, LIMIT);
    assert_eq!(decoder.decode(&mut [0x8a]), Ok((1, None)));
    assert_eq!(decoder.decode(&mut [0x80, 1, 2, 3, 4]), Ok((5, Some(Event::Pong(b"")))));
    assert!(!decoder.is_mid_message());
}

#[test]
fn after_a_close_frame_everything_is_consumed_and_ignored() {
    let mut decoder = Decoder::new(Role::Client, LIMIT);
    let mut input = *b"\x01\x01a\x88\x00\x81\x02hi\xff\xff";
    assert_eq!(decoder.decode(&mut input), Ok((5, Some(Event::Close(None)))));
    assert_eq!(decoder.decode(&mut input[5..]), Ok((6, None)));
    assert_eq!(decoder.held_bytes(), 0);
    assert!(!decoder.is_mid_message());
}

#[test]
fn after_an_error_everything_is_consumed_and_nothing_is_held() {
    let mut decoder = Decoder::new(Role::Client, LIMIT);
    assert_eq!(decoder.decode(&mut b"\x01\x01a".to_vec()), Ok((3, None)));
    assert!(decoder.decode(&mut b"\x02\x01b".to_vec()).is_err());
    assert_eq!(decoder.held_bytes(), 0);
    assert_eq!(decoder.decode(&mut b"\x81\x02hi".to_vec()), Ok((4, None)));
}

#[test]
fn a_split_close_frame_drops_the_message_it_cuts_short() {
    let mut decoder = Decoder::new(Role::Client, LIMIT);
    let mut fragment = vec![0x02, 126, 0x40, 0x00];
    fragment.resize(4 + 0x4000, 7);
    assert_eq!(decoder.decode(&mut fragment), Ok((4 + 0x4000, None)));
    assert!(decoder.held_bytes() >= 0x4000);
    assert_eq!(decoder.decode(&mut b"\x88\x02\x03".to_vec()), Ok((3, None)));
    assert!(matches!(decoder.decode(&mut [0xe8]), Ok((1, Some(Event::Close(Some(_)))))));
    assert!(decoder.held_bytes() < 1024);
}
