//! A fault that is made on purpose, in a whole broker.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::config::Config;
use crate::server::Server;

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";

fn send(address: SocketAddr, first: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(first).unwrap();
    stream
}

/// A masked text frame, with a mask of zeros.
fn frame(text: &str) -> Vec<u8> {
    [&[0x81, 0x80 | text.len() as u8, 0, 0, 0, 0], text.as_bytes()].concat()
}

fn read_until(stream: &mut TcpStream, end: &[u8]) -> Vec<u8> {
    let (mut got, mut chunk) = (Vec::new(), [0; 1024]);
    while !got.windows(end.len()).any(|part| part == end) {
        let len = stream.read(&mut chunk).unwrap();
        assert_ne!(len, 0, "ended after {:?}", String::from_utf8_lossy(&got));
        got.extend_from_slice(&chunk[..len]);
    }
    got
}

#[test]
fn x_18_a_fault_ends_its_connection_with_1011_and_no_other() {
    let listen = "127.0.0.1:0".parse().unwrap();
    let server = Server::start(Config { listen, workers: 1, ..Config::default() }).unwrap();
    let ping = frame(r#"{"id":1,"op":"ping"}"#);
    let mut bystander = send(server.local_addr(), &[UPGRADE.as_bytes(), &ping].concat());
    read_until(&mut bystander, br#"{"id":1,"ok":{}}"#);

    let fault = frame(super::super::read::FAULT);
    let mut victim = send(server.local_addr(), &[UPGRADE.as_bytes(), &fault].concat());
    let mut got = Vec::new();
    victim.read_to_end(&mut got).unwrap();
    let close = [&[0x88, 2 + 21, 0x03, 0xf3][..], b"a fault of the broker"].concat();
    assert!(got.ends_with(&close), "{:?}", String::from_utf8_lossy(&got));

    bystander.write_all(&frame(r#"{"id":2,"op":"ping"}"#)).unwrap();
    read_until(&mut bystander, br#"{"id":2,"ok":{}}"#);
    let mut scrape =
        send(server.local_addr(), b"GET /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    let mut text = String::new();
    scrape.read_to_string(&mut text).unwrap();
    assert!(text.contains("altavoz_panics_total{worker=\"0\"} 1\n"), "{text}");
    drop(bystander);
    server.stop();
}
