//! Publishing allocates nothing once the buffers have grown, in either encoding, nor do compressing
//! and inflating; and what those hold is no more than their docs say.

use broker_proto::bin;
use broker_proto::command::{Answer, Command, Epoch, Id, Level, Payload};
use broker_proto::json::{self, Parser};
use broker_proto::topic::Topic;
use broker_proto::ws::deflate::{
    Deflater, Inflater, LEVEL_DEFAULT, Terms, WindowBits, encode_deflated_frame,
};
use broker_proto::ws::{Decoder, Event, Opcode, Role};
use tikv_jemalloc_ctl::thread::allocatedp;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Bytes that this thread allocates during `work`.
fn allocated_by(mut work: impl FnMut()) -> u64 {
    let counter = allocatedp::read().expect("jemalloc counts");
    let before = counter.get();
    work();
    counter.get() - before
}

#[test]
fn publishing_allocates_nothing_after_the_first_time() {
    let topic = Topic::new("ticker/ACME").unwrap();
    let batch =
        br#"[{"op":"publish","topic":"a","data":1},{"op":"publish","topic":"b","data":{}}]"#;
    let (mut commands, mut frames) = (vec![batch.to_vec()], Vec::new());
    for payload in [Payload::Json(br#"{"price":101.5,"note":"\u00e9"}"#), Payload::Opaque(&[7; 99])]
    {
        let command = Command::Publish { topic, payload, count: false, msg_id: None };
        let (mut text, mut frame) = (Vec::new(), Vec::new());
        json::encode_command(&mut text, Some(7), &command);
        bin::encode_command(&mut frame, Some(7), &command);
        commands.push(text);
        frames.push(frame);
    }
    let texts: Vec<String> = commands.into_iter().map(|c| String::from_utf8(c).unwrap()).collect();
    let (mut parser, mut out, mut published) = (Parser::new(), Vec::new(), 0);
    let mut round = || {
        out.clear();
        let mut publish = |request: broker_proto::command::Request<'_>| {
            let Ok(Command::Publish { topic, payload, .. }) = request.command else { panic!() };
            let epoch = Epoch::new(u64::MAX);
            let answer =
                Answer::Published { epoch, seq: 7, level: Level::Accepted, subscribers: None };
            json::encode_message(&mut out, topic, 7, payload);
            json::encode_answer(&mut out, request.id.or(Some(Id::Number(7))), &answer);
            bin::encode_message(&mut out, topic, 7, payload);
            bin::encode_answer(&mut out, request.id, &answer);
            published += 1;
        };
        for text in &texts {
            parser.parse(text, &mut publish);
        }
        for frame in &frames {
            bin::parse(frame, &mut parser, &mut publish);
        }
    };
    assert!(allocated_by(&mut round) > 0, "the buffers grow, and the counter counts");
    assert_eq!(allocated_by(&mut round), 0);
    assert_eq!(published, 12);
}

#[test]
fn compressing_and_inflating_allocate_nothing_after_the_first_time() {
    for no_context_takeover in [false, true] {
        let terms = Terms { no_context_takeover, window_bits_max: None };
        let mut deflater = Deflater::new(terms, LEVEL_DEFAULT);
        let mut inflater = Inflater::new(terms);
        let mut decoder = Decoder::new(Role::Client, 65_536);
        let (mut wire, mut scratch) = (Vec::new(), Vec::new());
        let message = "ticker/ACME 101.5 ".repeat(100);
        let mut round = || {
            wire.clear();
            encode_deflated_frame(&mut wire, Opcode::Text, message.as_bytes(), &mut deflater);
            match decoder.decode_deflated(&mut wire, &mut inflater, &mut scratch) {
                Ok((_, Some(Event::Text(text)))) => assert_eq!(text, message),
                other => panic!("{other:?}"),
            }
        };
        assert!(allocated_by(&mut round) > 0, "the buffers grow, and the counter counts");
        assert_eq!(allocated_by(&mut round), 0);
    }
}

#[test]
fn compressors_and_inflaters_take_the_memory_that_their_docs_name() {
    let terms = |bits| Terms { no_context_takeover: false, window_bits_max: WindowBits::new(bits) };
    let deflater = |bits| {
        let bytes = allocated_by(|| drop(Deflater::new(terms(bits), LEVEL_DEFAULT)));
        println!("a deflater with {bits} window bits: {bytes} bytes");
        bytes
    };
    let inflater = allocated_by(|| drop(Inflater::new(terms(15))));
    println!("an inflater: {inflater} bytes");
    assert!((32 << 10..64 << 10).contains(&inflater));
    assert!((64 << 10..400 << 10).contains(&deflater(15)));
    assert!(deflater(8) < deflater(15));
}
