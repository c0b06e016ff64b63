//! The hot paths by the number of instructions they take, counted by callgrind: the same on every
//! run, whatever else the machine does, so that a change of one per cent is seen. docs/BENCHMARKS.md
//! tells how to install what this needs; `cargo test` only builds it.

#![allow(missing_docs, unused_qualifications, reason = "in what the macros make")]

use std::hint::black_box;

use bench::audience::{Audience, Flushed};
use bench::inputs::{KEY, PUBLISH, TOPIC, ascii, client_frames};
use broker_proto::json::Parser;
use broker_proto::ws::{Decoder, Event, Role, mask};
use gungraun::{library_benchmark, library_benchmark_group, main};

const FRAMES: usize = 100;
const SUBSCRIBERS: u32 = 1_000;
const BURST: u32 = 10;
const MESSAGE_BYTES_MAX: u32 = 65_536;

fn frames() -> Vec<u8> {
    client_frames(FRAMES, PUBLISH.as_bytes())
}

/// A parser whose buffers have grown.
fn parser() -> Parser {
    let mut parser = Parser::new();
    parser.parse(PUBLISH, |_| {});
    parser
}

/// Subscribers whose hub has its buffers.
fn audience() -> Audience {
    let mut audience = Audience::new(SUBSCRIBERS, &[TOPIC]);
    for _ in 0..BURST {
        (0..BURST).for_each(|_| audience.publish(PUBLISH));
        audience.deliver();
        audience.flush();
    }
    audience
}

fn published() -> Audience {
    let mut audience = audience();
    audience.publish(PUBLISH);
    audience
}

fn published_often() -> Audience {
    let mut audience = audience();
    (0..BURST).for_each(|_| audience.publish(PUBLISH));
    audience
}

fn delivered() -> Audience {
    let mut audience = published();
    audience.deliver();
    audience
}

fn delivered_often() -> Audience {
    let mut audience = published_often();
    audience.deliver();
    audience
}

#[library_benchmark]
#[bench::bytes_128(ascii(128))]
#[bench::bytes_4096(ascii(4096))]
fn unmask(mut bytes: Vec<u8>) -> Vec<u8> {
    mask::apply(black_box(KEY), 0, &mut bytes);
    bytes
}

// 100 publishes in one read.
#[library_benchmark]
#[bench::publishes_100(frames())]
fn decode(mut stream: Vec<u8>) -> usize {
    let mut decoder = Decoder::new(Role::Server, MESSAGE_BYTES_MAX);
    let (mut at, mut messages) = (0, 0);
    while let Ok((used, Some(Event::Text(text)))) = decoder.decode(&mut stream[at..]) {
        black_box(text);
        at += used;
        messages += 1;
    }
    assert_eq!(messages, FRAMES);
    messages
}

#[library_benchmark]
#[bench::json(parser())]
fn parse_publish(mut parser: Parser) -> Parser {
    parser.parse(black_box(PUBLISH), |request| assert!(black_box(request).command.is_ok()));
    parser
}

#[library_benchmark]
#[bench::subscribers_1000(audience())]
fn publish(mut audience: Audience) -> Audience {
    audience.publish(black_box(PUBLISH));
    audience
}

#[library_benchmark]
#[bench::message_to_1000(published())]
#[bench::messages_10_to_1000(published_often())]
fn deliver(mut audience: Audience) -> Audience {
    audience.deliver();
    audience
}

#[library_benchmark]
#[bench::message_to_1000(delivered())]
#[bench::messages_10_to_1000(delivered_often())]
fn flush(mut audience: Audience) -> (Audience, Flushed) {
    let flushed = audience.flush();
    (audience, flushed)
}

library_benchmark_group!(
    name = codec;
    benchmarks = unmask, decode, parse_publish
);

library_benchmark_group!(
    name = hub;
    benchmarks = publish, deliver, flush
);

main!(library_benchmark_groups = codec, hub);
