//! The opening handshake: a browser's request to the 101 that answers it, and what of that is only
//! finding the headers.

use std::hint::black_box;

use broker_proto::handshake::{HeadLimits, HeadScanner, Request, Upgrade, accept_key};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// As Chromium sends it.
const HEAD: &[u8] = b"GET /ws HTTP/1.1\r\n\
    Host: 127.0.0.1:8080\r\n\
    Connection: Upgrade\r\n\
    Pragma: no-cache\r\n\
    Cache-Control: no-cache\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
    Chrome/126.0.0.0 Safari/537.36\r\n\
    Upgrade: websocket\r\n\
    Origin: http://127.0.0.1:8080\r\n\
    Sec-WebSocket-Version: 13\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-GB,en;q=0.9\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\
    Sec-WebSocket-Protocol: altavoz.v1.json\r\n\r\n";

fn handshake(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("handshake");
    group.throughput(Throughput::Elements(1));
    let limits = HeadLimits::default();
    let mut out = Vec::with_capacity(512);
    group.bench_function("request to response", |bencher| {
        bencher.iter(|| {
            out.clear();
            let mut scanner = HeadScanner::default();
            let length = scanner.scan(black_box(HEAD), &limits).expect("within the limits");
            let head = &HEAD[..length.expect("it is whole")];
            let request = Request::parse(head, &limits).expect("a valid request");
            let upgrade = Upgrade::from_request(&request).expect("a valid handshake");
            let protocol = upgrade.select_protocol(&["altavoz.v1.bin", "altavoz.v1.json"]);
            upgrade.write_response(&mut out, protocol, None);
            black_box(&out);
        });
    });
    group.bench_function("httparse alone", |bencher| {
        bencher.iter(|| {
            let mut headers = [httparse::EMPTY_HEADER; 64];
            let mut request = httparse::Request::new(&mut headers);
            request.parse(black_box(HEAD)).is_ok()
        });
    });
    group.bench_function("tungstenite, with its socket", |bencher| {
        bencher.iter(|| answer_tungstenite(black_box(HEAD)));
    });
    group.bench_function("accept key", |bencher| {
        bencher.iter(|| accept_key(black_box("dGhlIHNhbXBsZSBub25jZQ==")));
    });
    group.finish();
}

/// The same with tungstenite: its parser, its checks, its response.
fn answer_tungstenite(head: &[u8]) -> usize {
    let mut stream = std::io::Cursor::new(head.to_vec());
    tungstenite::accept(&mut stream).expect("a valid handshake");
    stream.into_inner().len()
}

criterion_group!(benches, handshake);
criterion_main!(benches);
