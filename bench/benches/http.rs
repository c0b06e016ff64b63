//! Publishing over HTTP against a whole broker in this process, over the loopback: one connection
//! that is kept, one request after the other, many at once, and batches. The throughput is that of
//! messages.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use broker::config::Config;
use broker::server::Server;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const MESSAGE: &str = r#"{"topic":"ticker/ACME","data":{"price":101.5}}"#;
/// How each answer begins.
const STATUS: &[u8] = b"HTTP/1.1 200 OK\r\n";
/// Requests that are sent before the first is answered.
const PIPELINED: usize = 50;
const BATCHES: [usize; 3] = [10, 100, 1_000];

/// A connection on which answers are counted.
struct Publisher {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Publisher {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the broker listens");
        stream.set_nodelay(true).expect("a socket");
        Self { stream, read: Vec::new() }
    }

    /// Sends requests and waits for as many answers.
    fn publish(&mut self, requests: &[u8], count: usize) {
        self.stream.write_all(requests).expect("the broker reads");
        let mut chunk = [0; 64 * 1024];
        for _ in 0..count {
            while self.take_answer().is_none() {
                let len = self.stream.read(&mut chunk).expect("the broker answers");
                assert_ne!(len, 0, "the broker has closed");
                self.read.extend_from_slice(&chunk[..len]);
            }
        }
    }

    /// Takes one whole answer off what was read.
    fn take_answer(&mut self) -> Option<()> {
        let end = self.read.windows(4).position(|part| part == b"\r\n\r\n")? + 4;
        assert!(self.read.starts_with(STATUS), "{}", String::from_utf8_lossy(&self.read));
        let head = String::from_utf8_lossy(&self.read[..end]).to_ascii_lowercase();
        let (_, rest) = head.split_once("content-length: ").expect("answers say their length");
        let length: usize = rest.lines().next()?.parse().expect("a number");
        if self.read.len() < end + length {
            return None;
        }
        self.read.drain(..end + length);
        Some(())
    }
}

fn request(body: &str) -> Vec<u8> {
    let length = body.len();
    let head = "POST /api/v1/publish HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n";
    format!("{head}Content-Length: {length}\r\n\r\n{body}").into_bytes()
}

fn publish(criterion: &mut Criterion) {
    let listen = "127.0.0.1:0".parse().expect("an address");
    let config = Config { listen, workers: 1, pin: false, ..Config::default() };
    let server = Server::start(config).expect("a free port");
    let mut publisher = Publisher::connect(server.local_addr());
    let mut group = criterion.benchmark_group("publish over HTTP");
    let one = request(MESSAGE);
    group.throughput(Throughput::Elements(1));
    group.bench_function("one request after the other", |bencher| {
        bencher.iter(|| publisher.publish(&one, 1));
    });
    let many = one.repeat(PIPELINED);
    group.throughput(Throughput::Elements(PIPELINED as u64));
    group.bench_function(BenchmarkId::new("requests at once", PIPELINED), |bencher| {
        bencher.iter(|| publisher.publish(&many, PIPELINED));
    });
    for count in BATCHES {
        let batch = request(&format!("[{}]", vec![MESSAGE; count].join(",")));
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::new("batch", count), |bencher| {
            bencher.iter(|| publisher.publish(&batch, 1));
        });
    }
    group.finish();
    drop(publisher);
    server.stop();
}

criterion_group!(benches, publish);
criterion_main!(benches);
