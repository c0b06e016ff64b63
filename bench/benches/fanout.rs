//! A publish on its way through the hub, without sockets: from the command's text to the bytes that
//! each subscriber would be sent. The throughput is that of deliveries.

use bench::audience::Audience;
use bench::inputs::{PUBLISH, TOPIC, is_measured};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const SUBSCRIBERS: [u32; 4] = [1, 10, 1_000, 10_000];
const BURST: u32 = 10;

fn turns(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("publish to outbox");
    let counts: &[u32] = if is_measured() { &SUBSCRIBERS } else { &SUBSCRIBERS[..3] };
    for &count in counts {
        for (name, filters) in
            [("topic", &[TOPIC][..]), ("filter", &["ticker/+"]), ("both", &["ticker/+", TOPIC])]
        {
            let mut audience = Audience::new(count, filters);
            group.throughput(Throughput::Elements(u64::from(count)));
            group.bench_function(BenchmarkId::new(name, count), |bencher| {
                bencher.iter(|| {
                    let flushed = audience.turn(PUBLISH);
                    assert_eq!((flushed.writes, flushed.frames), (count.into(), count.into()));
                });
            });
        }
        let mut audience = Audience::new(count, &[TOPIC]);
        group.throughput(Throughput::Elements(u64::from(count * BURST)));
        group.bench_function(BenchmarkId::new("topic, 10 messages in a turn", count), |bencher| {
            bencher.iter(|| {
                (0..BURST).for_each(|_| audience.publish(PUBLISH));
                audience.deliver();
                let flushed = audience.flush();
                assert_eq!(flushed.frames, u64::from(count * BURST));
                assert_eq!(flushed.writes, u64::from(count));
            });
        });
    }
    group.finish();
}

/// Very many topics with one subscriber each, published on in an order that has nothing to do with
/// that of their making.
fn among_topics(criterion: &mut Criterion) {
    const EACH: u32 = 100;
    let mut group = criterion.benchmark_group("publish on one of");
    group.throughput(Throughput::Elements(1));
    let counts: &[u32] = if is_measured() { &[1_000, 100_000, 1_000_000] } else { &[1_000] };
    for &count in counts {
        let mut audience = Audience::new(count / EACH, &[]);
        let name = |number: u32| format!("user/{number}/notices");
        (0..count).for_each(|number| audience.subscribe(number / EACH, &name(number)));
        let step = 7919; // a prime
        let commands: Vec<String> = (0..count.min(100_000))
            .map(|at| name((u64::from(at) * step % u64::from(count)) as u32))
            .map(|topic| format!(r#"{{"op":"publish","topic":"{topic}","data":{{"unread":3}}}}"#))
            .collect();
        let mut next = commands.iter().cycle();
        group.bench_function(BenchmarkId::new("topics", count), |bencher| {
            bencher.iter(|| {
                let flushed = audience.turn(next.next().expect("it goes round"));
                assert_eq!(flushed.frames, 1);
            });
        });
    }
    group.finish();
}

/// Coming and going where few or very many are.
fn subscribing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("subscribe and unsubscribe");
    group.throughput(Throughput::Elements(1));
    let counts: &[u32] = if is_measured() { &[10, 1_000, 100_000] } else { &[10] };
    for &count in counts {
        let mut audience = Audience::new(count, &[TOPIC]);
        let mut number = 0;
        group.bench_function(BenchmarkId::new("subscribers", count), |bencher| {
            bencher.iter(|| {
                number = (number + 7919) % count;
                audience.unsubscribe(number, TOPIC);
                audience.subscribe(number, TOPIC);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, turns, among_topics, subscribing);
criterion_main!(benches);
