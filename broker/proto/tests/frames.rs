//! Frames as they lie on the wire, right and wrong, and what must come of them. Each test shows its
//! bytes; the ids are those of the project's list of attacks.

use broker_proto::ws::{CloseCode, Decoder, Event, Opcode, ProtocolError, Role, encode_frame};

const MESSAGE_BYTES_MAX: u32 = 65_536;

/// Above twice what was received, this is what a decoder may hold: its boxed state.
const STATE_BYTES_MAX: usize = 512;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).expect("ASCII");
        u8::from_str_radix(pair, 16).expect("hexadecimal")
    };
    digits.chunks(2).map(byte).collect()
}

fn server() -> Decoder {
    Decoder::new(Role::Server, MESSAGE_BYTES_MAX)
}

/// Feeds `wire` at once and writes down what came of it.
fn feed(decoder: &mut Decoder, wire: &[u8]) -> Result<Vec<String>, ProtocolError> {
    let mut input = wire.to_vec();
    let (mut at, mut events) = (0, Vec::new());
    loop {
        let (used, event) = decoder.decode(&mut input[at..])?;
        at += used;
        match event {
            Some(event) => events.push(format!("{event:?}")),
            None => {
                assert_eq!(at, input.len(), "no event means that all was consumed");
                return Ok(events);
            }
        }
    }
}

fn events(wire: &str) -> Vec<String> {
    feed(&mut server(), &hex(wire)).expect("valid frames")
}

/// The error of `wire` fed at once, after holding it against the error of `wire` byte by byte.
fn error(wire: &str) -> ProtocolError {
    let wire = hex(wire);
    let at_once = feed(&mut server(), &wire).expect_err("a violation");
    let mut decoder = server();
    let bytewise = wire.iter().find_map(|&byte| feed(&mut decoder, &[byte]).err());
    assert_eq!(bytewise.as_ref(), Some(&at_once), "{wire:02x?}");
    assert_eq!(decoder.held_bytes(), 0);
    at_once
}

fn refused(wire: &str) -> u16 {
    error(wire).close_code().value()
}

#[test]
fn f_01_an_unmasked_frame_from_a_client_is_refused() {
    assert_eq!(error("81 05 48656c6c6f"), ProtocolError::Unmasked);
    assert_eq!(refused("81 05"), 1002);
}

#[test]
fn f_01_a_masked_frame_from_a_server_is_refused() {
    let mut client = Decoder::new(Role::Client, MESSAGE_BYTES_MAX);
    let masked = feed(&mut client, &hex("81 85 37fa213d 7f9f4d5158"));
    assert_eq!(masked, Err(ProtocolError::Masked));
}

#[test]
fn f_02_reserved_bits_are_refused() {
    assert_eq!(error("c1 85 00000000 48656c6c6f"), ProtocolError::ReservedBits(0b100));
    assert_eq!(error("a1 85 00000000 48656c6c6f"), ProtocolError::ReservedBits(0b010));
    assert_eq!(error("91 85 00000000 48656c6c6f"), ProtocolError::ReservedBits(0b001));
    assert_eq!(error("f1 85 00000000 48656c6c6f"), ProtocolError::ReservedBits(0b111));
    assert_eq!(refused("c9 80 00000000"), 1002);
}

#[test]
fn f_03_reserved_opcodes_are_refused() {
    for opcode in [0x3, 0x4, 0x5, 0x6, 0x7, 0xb, 0xc, 0xd, 0xe, 0xf_u8] {
        let wire = format!("{:02x} 80 00000000", 0x80 | opcode);
        assert_eq!(error(&wire), ProtocolError::ReservedOpcode(opcode));
        assert_eq!(refused(&wire), 1002);
    }
}

#[test]
fn f_04_fragmented_control_frames_are_refused() {
    assert_eq!(error("09 80 00000000"), ProtocolError::FragmentedControl(Opcode::Ping));
    assert_eq!(error("08 80 00000000"), ProtocolError::FragmentedControl(Opcode::Close));
    assert_eq!(refused("0a 80 00000000"), 1002);
}

#[test]
fn f_05_a_ping_over_125_bytes_is_refused_on_its_header() {
    assert_eq!(error("89 fe"), ProtocolError::ControlTooLong(Opcode::Ping));
    assert_eq!(refused(&format!("89 fe 007e 00000000 {}", "00".repeat(126))), 1002);
    assert_eq!(refused("8a ff 0000000000010000 00000000"), 1002);
}

#[test]
fn f_05_a_ping_of_125_bytes_is_delivered() {
    let wire = format!("89 fd 00000000 {}", "61".repeat(125));
    assert_eq!(events(&wire), [format!("Ping({:?})", [0x61; 125])]);
}

#[test]
fn f_06_lengths_not_in_their_shortest_form_are_refused() {
    assert_eq!(error("81 fe 0005 00000000 48656c6c6f"), ProtocolError::NonMinimalLength(5));
    assert_eq!(error("81 fe 007d"), ProtocolError::NonMinimalLength(125));
    assert_eq!(
        error("81 ff 0000000000000005 00000000 48656c6c6f"),
        ProtocolError::NonMinimalLength(5)
    );
    assert_eq!(error("82 ff 000000000000ffff"), ProtocolError::NonMinimalLength(65_535));
    assert_eq!(refused("82 ff 000000000000ffff 00000000"), 1002);
}

#[test]
fn f_07_a_length_with_the_top_bit_set_is_refused() {
    assert_eq!(
        error("82 ff 8000000000000001 00000000"),
        ProtocolError::LengthTopBit(0x8000_0000_0000_0001)
    );
    assert_eq!(error("82 ff ffffffffffffffff 00000000"), ProtocolError::LengthTopBit(u64::MAX));
    assert_eq!(refused("82 ff 8000000000000000"), 1002);
}

#[test]
fn f_08_a_message_over_the_limit_is_refused_right_after_its_length() {
    for length in ["4000000000000000", "7fffffffffffffff", "0000000000010001"] {
        let wire = format!("82 ff {length}");
        assert_eq!(refused(&wire), 1009);
        let bytes = u64::from_str_radix(length, 16).expect("hexadecimal");
        let bytes_max = MESSAGE_BYTES_MAX;
        assert_eq!(error(&wire), ProtocolError::MessageTooLong { bytes, bytes_max });
    }
}

#[test]
fn f_08_nothing_is_allocated_from_a_claimed_length() {
    let mut decoder = Decoder::new(Role::Server, u32::MAX);
    assert_eq!(feed(&mut decoder, &hex("82 ff 00000000ffffffff 00000000")), Ok(vec![]));
    assert!(decoder.is_mid_message());
    assert!(decoder.held_bytes() <= STATE_BYTES_MAX);
    assert_eq!(feed(&mut decoder, &[0; 1000]), Ok(vec![]));
    assert!(decoder.held_bytes() <= 2 * 1000 + STATE_BYTES_MAX);
}

#[test]
fn f_08_a_message_of_exactly_the_limit_is_delivered() {
    let mut wire = hex("82 ff 0000000000010000 00000000");
    wire.resize(wire.len() + MESSAGE_BYTES_MAX as usize, 7);
    match server().decode(&mut wire) {
        Ok((_, Some(Event::Binary(payload)))) => assert_eq!(payload, [7; 65_536]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn f_10_a_continuation_without_a_start_is_refused() {
    assert_eq!(error("80 80 00000000"), ProtocolError::UnexpectedContinuation);
    assert_eq!(refused("00 80 00000000"), 1002);
    assert_eq!(refused("81 81 00000000 61  80 81 00000000 62"), 1002);
}

#[test]
fn f_11_a_new_message_inside_a_fragmented_one_is_refused() {
    assert_eq!(
        error("01 81 00000000 61  81 81 00000000 62"),
        ProtocolError::InterruptedMessage(Opcode::Text)
    );
    assert_eq!(refused("01 81 00000000 61  02 81 00000000 62"), 1002);
    assert_eq!(refused("01 80 00000000  81 80 00000000"), 1002);
}

#[test]
fn f_12_a_ping_between_fragments_comes_at_once_and_leaves_the_message_whole() {
    let wire = "01 81 00000000 61  89 82 00000000 6869  00 81 00000000 62  8a 80 00000000
                80 81 00000000 63";
    assert_eq!(events(wire), ["Ping([104, 105])", "Pong([])", "Text(\"abc\")"]);

    let mut decoder = server();
    assert_eq!(
        feed(&mut decoder, &hex("01 81 00000000 61 89 80 00000000")),
        Ok(vec!["Ping([])".into()])
    );
    assert!(decoder.is_mid_message());
}

#[test]
fn f_13_a_character_split_between_fragments_is_put_together() {
    assert_eq!(events("01 81 00000000 c3  80 81 00000000 a9"), ["Text(\"é\")"]);
    assert_eq!(
        events("01 81 00000000 f0  00 80 00000000  00 82 00000000 9f92  80 81 00000000 a9"),
        ["Text(\"💩\")"]
    );
}

#[test]
fn f_14_bad_utf8_fails_on_the_fragment_that_holds_it_before_the_last_one() {
    let wire = "01 8b 00000000 cebae1bdb9cf83cebcceb5  00 84 00000000 f4908080";
    assert_eq!(error(wire), ProtocolError::InvalidText(11));
    assert_eq!(refused(wire), 1007);
}

#[test]
fn f_14_bad_utf8_fails_inside_an_incomplete_frame() {
    let mut decoder = server();
    let chop = |decoder: &mut Decoder, bytes| feed(decoder, &hex(bytes));
    assert_eq!(chop(&mut decoder, "81 95 00000000 cebae1bdb9cf83cebcceb5 f4"), Ok(vec![]));
    assert_eq!(chop(&mut decoder, "90"), Err(ProtocolError::InvalidText(11)));
    assert_eq!(chop(&mut decoder, "8080 656469746564"), Ok(vec![]));
    assert_eq!(decoder.held_bytes(), 0);
}

#[test]
fn f_15_surrogates_overlong_forms_and_cut_characters_are_not_text() {
    for wire in [
        "81 83 00000000 eda080",
        "81 82 00000000 c080",
        "81 81 00000000 fe",
        "81 82 00000000 e282",
        "01 82 00000000 e282  80 80 00000000",
        "01 81 00000000 ff",
        "81 84 00000000 f4908080",
    ] {
        assert_eq!(error(wire), ProtocolError::InvalidText(0), "{wire}");
        assert_eq!(refused(wire), 1007);
    }
    assert_eq!(error("81 84 00000000 6162c3c3"), ProtocolError::InvalidText(2));
    assert_eq!(events("82 82 00000000 c080"), ["Binary([192, 128])"]);
}

#[test]
fn f_16_a_close_payload_of_one_byte_is_refused() {
    assert_eq!(error("88 81 00000000 03"), ProtocolError::TruncatedCloseCode);
    assert_eq!(refused("88 81 00000000 03"), 1002);
}

#[test]
fn f_17_close_codes_that_must_not_be_sent_are_refused() {
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        let wire = format!("88 82 00000000 {code:04x}");
        assert_eq!(error(&wire), ProtocolError::InvalidCloseCode(CloseCode::new(code)));
        assert_eq!(refused(&wire), 1002);
    }
}

#[test]
fn f_17_close_codes_that_may_be_sent_are_delivered() {
    for code in (1000..=1003).chain(1007..=1014).chain([3000, 3999, 4000, 4999_u16]) {
        let mut wire = hex(&format!("88 85 00000000 {code:04x} 627965"));
        let (used, event) = server()
            .decode(&mut wire)
            .map(|(used, event)| {
                let Some(Event::Close(Some(frame))) = event else { panic!("{event:?}") };
                (used, (frame.code.value(), frame.reason.to_owned()))
            })
            .expect("a valid code");
        assert_eq!((used, event), (11, (code, "bye".to_owned())));
    }
    assert_eq!(events("88 80 00000000"), ["Close(None)"]);
}

#[test]
fn f_18_a_close_reason_that_is_not_utf8_or_too_long_is_refused() {
    assert_eq!(error("88 84 00000000 03e8c080"), ProtocolError::InvalidCloseReason(0));
    assert_eq!(refused("88 84 00000000 03e8c080"), 1007);
    assert_eq!(refused(&format!("88 fe 007e 00000000 03e8 {}", "61".repeat(124))), 1002);
    assert_eq!(events(&format!("88 fd 00000000 03e8 {}", "61".repeat(123))).len(), 1);
}

#[test]
fn f_19_nothing_after_a_close_frame_is_reported() {
    let wire = "88 82 00000000 03e8  81 81 00000000 61  89 80 00000000";
    assert_eq!(events(wire), ["Close(Some(CloseFrame { code: CloseCode(1000), reason: \"\" }))"]);
}

#[test]
fn f_21_fragments_over_the_limit_are_refused_on_the_header_that_passes_it() {
    let mut decoder = Decoder::new(Role::Server, 200_000);
    let mut fragment = hex("02 ff 0000000000010000 00000000");
    fragment.resize(fragment.len() + 65_536, 7);
    for received in 1..=3 {
        assert_eq!(feed(&mut decoder, &fragment), Ok(vec![]));
        assert!(decoder.held_bytes() <= 2 * 65_536 * received + STATE_BYTES_MAX);
        assert!(decoder.held_bytes() <= 200_000 + STATE_BYTES_MAX);
        fragment[0] = 0x00;
    }
    let bytes = 4 * 65_536;
    let error = ProtocolError::MessageTooLong { bytes, bytes_max: 200_000 };
    assert_eq!(error.close_code(), CloseCode::TOO_LARGE);
    assert_eq!(feed(&mut decoder, &fragment[..10]), Err(error));
    assert_eq!(decoder.held_bytes(), 0);
}

#[test]
fn f_23_a_message_of_65536_one_byte_frames_is_delivered_and_holds_what_it_received() {
    let mut decoder = server();
    for received in 1..=65_535 {
        let mut frame = hex("00 81 00000000 61");
        frame[0] = if received == 1 { 0x01 } else { 0x00 };
        assert_eq!(decoder.decode(&mut frame), Ok((7, None)));
        assert!(decoder.held_bytes() <= 2 * received + STATE_BYTES_MAX, "after {received}");
    }
    match decoder.decode(&mut hex("80 81 00000000 62")) {
        Ok((7, Some(Event::Text(text)))) => {
            assert_eq!(text.len(), 65_536);
            assert!(text.ends_with("aab"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(decoder.decode(&mut []), Ok((0, None)));
    assert_eq!(decoder.held_bytes(), 0);
}

#[test]
fn f_23_the_same_in_one_input_is_decoded_in_one_call() {
    let mut wire = hex("02 81 00000000 61");
    for _ in 0..65_534 {
        wire.extend(hex("00 81 00000000 61"));
    }
    wire.extend(hex("80 81 00000000 61"));
    let length = wire.len();
    match server().decode(&mut wire) {
        Ok((used, Some(Event::Binary(message)))) => {
            assert_eq!((used, message), (length, &[b'a'; 65_536][..]));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_a_server_encodes_its_client_decodes() {
    let mut wire = Vec::new();
    encode_frame(&mut wire, Opcode::Text, "¡hola!".as_bytes());
    encode_frame(&mut wire, Opcode::Pong, b"");
    let mut client = Decoder::new(Role::Client, MESSAGE_BYTES_MAX);
    assert_eq!(feed(&mut client, &wire), Ok(vec!["Text(\"¡hola!\")".into(), "Pong([])".into()]));
}
