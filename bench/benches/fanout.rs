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

criterion_group!(benches, turns);
criterion_main!(benches);
