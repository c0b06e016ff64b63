//! Commands in both encodings, the encoding of messages, and the matching of topics.

use std::hint::black_box;

use bench::inputs::{DATA, PUBLISH, TOPIC};
use broker_proto::command::{Command, Payload, Request};
use broker_proto::topic::{Filter, Topic};
use broker_proto::{bin, json};
use criterion::{Criterion, criterion_group, criterion_main};

fn parsing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    let mut parser = json::Parser::new();
    group.bench_function("json publish", |bencher| {
        bencher.iter(|| parser.parse(black_box(PUBLISH), demand_publish));
    });
    let batch = format!("[{}]", [PUBLISH; 20].join(","));
    group.bench_function("json batch of 20 publishes", |bencher| {
        bencher.iter(|| parser.parse(black_box(&batch), demand_publish));
    });
    let topic = Topic::new(TOPIC).expect("a valid topic");
    for (name, payload) in [
        ("bin publish of JSON", Payload::Json(DATA)),
        ("bin publish of bytes", Payload::Opaque(DATA)),
    ] {
        let mut command = Vec::new();
        bin::encode_command(&mut command, None, &Command::Publish { topic, payload });
        group.bench_function(name, |bencher| {
            bencher.iter(|| bin::parse(black_box(&command), &mut parser, demand_publish));
        });
    }
    group.finish();
}

fn demand_publish(request: Request<'_>) {
    assert!(matches!(black_box(request).command, Ok(Command::Publish { .. })));
}

fn encoding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("message");
    let topic = Topic::new(TOPIC).expect("a valid topic");
    let mut out = Vec::with_capacity(1024);
    group.bench_function("json", |bencher| {
        bencher.iter(|| {
            out.clear();
            json::encode_message(&mut out, black_box(topic), 12_345, Payload::Json(DATA));
            black_box(&out);
        });
    });
    group.bench_function("bin", |bencher| {
        bencher.iter(|| {
            out.clear();
            bin::encode_message(&mut out, black_box(topic), 12_345, Payload::Opaque(DATA));
            black_box(&out);
        });
    });
    group.finish();
}

fn matching(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("match");
    let topic = Topic::new("site/berlin/hall/3/press/17/temperature").expect("a valid topic");
    for (text, matches) in [
        ("site/berlin/hall/3/press/17/temperature", true),
        ("site/+/hall/+/press/+/temperature", true),
        ("site/berlin/#", true),
        ("site/+/hall/+/press/+/pressure", false),
    ] {
        let filter = Filter::new(text).expect("a valid filter");
        group.bench_function(text, |bencher| {
            bencher.iter(|| {
                assert_eq!(black_box(filter).matches(black_box(topic)), matches);
            });
        });
    }
    group.bench_function("check a topic", |bencher| {
        bencher.iter(|| Topic::new(black_box(TOPIC)));
    });
    group.finish();
}

criterion_group!(benches, parsing, encoding, matching);
criterion_main!(benches);
