//! Attacks by way of proxies, or by who claims to be one: rows H from 28 on. A proxy that is trusted
//! has the address 127.0.0.2; the bystanders come from 127.0.0.1 and are nobody in particular.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use crate::guard::{attack, counted, refused};
use crate::support::broker::Broker;
use crate::support::http::{self, Response};
use crate::support::tls::{self, Certificate};
use crate::support::ws_client::PATIENCE;

const PROXY: &str = "127.0.0.2";
const TRUSTED: [&str; 2] = ["--trusted-proxies", PROXY];
const HEADERS: [&str; 2] = ["--client-address-from", "proxy_protocol"];
const LINE: &str = "PROXY TCP4 198.51.100.9 127.0.0.1 4711 80\r\n";
const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
/// The signature of version 2, PROXY, TCP over IPv4.
const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11";
const ADDRESSES: [u8; 12] = [198, 51, 100, 9, 127, 0, 0, 1, 0x12, 0x67, 0, 80];

fn binary() -> Vec<u8> {
    [BINARY, &[0, 12], &ADDRESSES].concat()
}

fn connect(broker: &Broker) -> TcpStream {
    http::connect_from(PROXY, broker.address()).expect("it listens")
}

fn send(broker: &Broker, from: &str, bytes: &[u8]) -> Response {
    let stream = http::connect_from(from, broker.address()).expect("it listens");
    http::exchange_over(stream, bytes, PATIENCE).expect("an answer")
}

/// A handshake with this line more; its status.
fn upgrade(broker: &Broker, from: &str, before: &str, line: &str) -> (u16, TcpStream) {
    let mut stream = http::connect_from(from, broker.address()).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("it is not zero");
    let request = format!(
        "{before}GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{line}\r\n"
    );
    stream.write_all(request.as_bytes()).expect("it is open");
    let mut start = [0; 12];
    stream.read_exact(&mut start).expect("an answer");
    let status = std::str::from_utf8(&start[9..]).expect("ASCII").parse().expect("a status");
    (status, stream)
}

/// The addresses that the broker has its connections from.
fn addresses(broker: &Broker) -> Vec<String> {
    let text = http::get(broker.address(), "/api/v1/connections").expect("an answer").text();
    let list: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let address = |it: &serde_json::Value| it["address"].as_str().expect("a text").to_owned();
    list["connections"].as_array().expect("a list").iter().map(address).collect()
}

#[test]
fn h_28_what_is_said_by_who_is_not_trusted_is_never_believed() {
    let arguments = [&TRUSTED[..], &HEADERS, &["--limit-loopback"]].concat();
    attack(&arguments, |broker| {
        for bytes in [[LINE.as_bytes(), HEALTH.as_bytes()].concat(), binary()] {
            assert_eq!(send(broker, "127.0.0.1", &bytes).status, 400, "{bytes:?}");
            assert_eq!(send(broker, "127.0.0.3", &bytes).status, 400, "{bytes:?}");
        }
        [refused(400, 4)]
    });
    attack(&TRUSTED, |broker| {
        let claims = "X-Forwarded-For: 198.51.100.9\r\nForwarded: for=198.51.100.9\r\n";
        let (status, _open) = upgrade(broker, "127.0.0.3", "", claims);
        assert_eq!(status, 101);
        let shown = addresses(broker);
        assert!(shown.iter().any(|it| it.starts_with("127.0.0.3:")), "{shown:?}");
        assert!(!shown.iter().any(|it| it.contains("198.51.100.9")), "{shown:?}");
        // From the proxy the one header counts, and of it the end; the other is the client's.
        let claims = "Forwarded: for=198.51.100.8\r\nX-Forwarded-For: 198.51.100.7, 192.0.2.5\r\n";
        let (status, _too) = upgrade(broker, PROXY, "", claims);
        assert_eq!(status, 101);
        let shown = addresses(broker);
        assert!(shown.contains(&"192.0.2.5".to_owned()), "{shown:?}");
        [counted("altavoz_handshakes_total", 5)]
    });
}

#[test]
fn h_29_a_header_in_pieces_is_read_and_one_without_an_end_is_dropped() {
    let arguments = [&TRUSTED[..], &HEADERS, &["--handshake-timeout-ms", "1500"]].concat();
    attack(&arguments, |broker| {
        for header in [LINE.as_bytes().to_vec(), binary()] {
            let mut stream = connect(broker);
            stream.set_nodelay(true).expect("it is open");
            for byte in [&header, HEALTH.as_bytes()].concat() {
                stream.write_all(&[byte]).expect("it is open");
            }
            let answer = http::exchange_over(stream, b"", PATIENCE).expect("an answer");
            assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
        }
        let ends = |mut stream: TcpStream| {
            stream.set_read_timeout(Some(PATIENCE)).expect("it is not zero");
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            assert_eq!(answer, b"", "nothing was asked");
        };
        // One waits for more, one says that there is none, one is silent.
        let mut torn = connect(broker);
        torn.write_all(&binary()[..20]).expect("it is open");
        let mut ended = connect(broker);
        ended.write_all(&LINE.as_bytes()[..20]).expect("it is open");
        ended.shutdown(Shutdown::Write).expect("it is open");
        [ended, torn, connect(broker)].into_iter().for_each(ends);
        let sample = "altavoz_refusals_total{status=\"408\"}";
        [counted(sample, 2)]
    });
}

#[test]
fn h_30_a_header_that_is_too_long_broken_or_missing_is_400() {
    attack(&[&TRUSTED[..], &HEADERS].concat(), |broker| {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(108 - 16));
        assert_eq!(long.len(), 108);
        let bad: [Vec<u8>; 7] = [
            long.into_bytes(),
            "PROXY ".bytes().chain([b'x'; 9000]).collect(),
            [BINARY, &[0xff, 0xff], &ADDRESSES].concat(),
            [BINARY, &[0, 11], &ADDRESSES].concat(),
            b"PROXY TCP4 198.51.100.9 127.0.0.1 4711\r\n".to_vec(),
            b"PROXY TCP4 198.51.100.9 127.0.0.1 4711 80\nGET".to_vec(),
            HEALTH.into(),
        ];
        let count = bad.len();
        for bytes in bad {
            assert_eq!(send(broker, PROXY, &bytes).status, 400, "{bytes:?}");
        }
        [refused(400, count)]
    });
}

#[test]
fn h_31_limits_of_an_address_are_those_of_the_client_and_not_of_its_proxy() {
    let limits = ["--connections-per-address-max", "3"];
    attack(&[&TRUSTED[..], &limits].concat(), |broker| {
        let by =
            |client: &str| upgrade(broker, PROXY, "", &format!("X-Forwarded-For: {client}\r\n"));
        let held: Vec<_> = (0..3).map(|_| by("198.51.100.9")).collect();
        assert!(held.iter().all(|(status, _)| *status == 101));
        assert_eq!(by("203.0.113.1, 198.51.100.9").0, 429, "an invention in front changes nothing");
        let others: Vec<_> = (1..9).map(|n| by(&format!("198.51.100.10{n}"))).collect();
        assert!(others.iter().all(|(status, _)| *status == 101));
        assert_eq!(by("198.51.100.9, not-an-address").0, 400);
        drop(held);
        broker.wait_for_metric("altavoz_connections", 10.0, PATIENCE);
        assert_eq!(by("198.51.100.9").0, 101);
        [refused(429, 1), refused(400, 1)]
    });
    attack(&[&TRUSTED[..], &HEADERS, &limits].concat(), |broker| {
        let held: Vec<_> = (0..3).map(|_| upgrade(broker, PROXY, LINE, "")).collect();
        assert!(held.iter().all(|(status, _)| *status == 101));
        assert_eq!(upgrade(broker, PROXY, LINE, "").0, 429);
        let other = LINE.replace("198.51.100.9", "198.51.100.10");
        assert_eq!(upgrade(broker, PROXY, &other, "X-Forwarded-For: 198.51.100.9\r\n").0, 101);
        let shown = addresses(broker);
        assert!(shown.contains(&"198.51.100.9:4711".to_owned()), "{shown:?}");
        [refused(429, 1)]
    });
}

/// Before TLS nothing can be answered: the connection ends.
#[test]
fn h_32_on_the_tls_port_the_header_comes_first_and_in_the_clear() {
    let certificate = Certificate::new();
    let flags = certificate.flags();
    let flags = flags.iter().map(String::as_str);
    let arguments: Vec<&str> = TRUSTED.into_iter().chain(HEADERS).chain(flags).collect();
    attack(&arguments, |broker| {
        let client = certificate.client(rustls::ALL_VERSIONS);
        let connect = || http::connect_from(PROXY, broker.tls_address()).expect("it listens");
        for header in [LINE.as_bytes().to_vec(), binary()] {
            let mut stream = connect();
            stream.write_all(&header).expect("it is open");
            let mut stream = tls::over(stream, &client).expect("it speaks TLS");
            stream.write_all(HEALTH.as_bytes()).expect("it is open");
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer);
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        }
        assert!(tls::over(connect(), &client).is_err(), "the header is missing");
        let mut sealed = tls::connect(broker.tls_address(), &client).expect("it speaks TLS");
        sealed.write_all([LINE, HEALTH].concat().as_bytes()).expect("it is open");
        let mut answer = String::new();
        let _ = sealed.read_to_string(&mut answer);
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        [refused(400, 2)]
    });
}
