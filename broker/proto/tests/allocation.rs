//! Publishing allocates nothing once the buffers have grown, in either encoding.

use broker_proto::bin;
use broker_proto::command::{Answer, Command, Epoch, Id, Level, Payload};
use broker_proto::json::{self, Parser};
use broker_proto::topic::Topic;
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
        let command = Command::Publish { topic, payload };
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
            let Ok(Command::Publish { topic, payload }) = request.command else { panic!() };
            let epoch = Epoch::new(u64::MAX);
            let answer = Answer::Published { epoch, seq: 7, level: Level::Accepted };
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
