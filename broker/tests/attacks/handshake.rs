//! Attacks on the opening handshake, rows H of the list: requests that are malformed, ambiguous,
//! too large, or in pieces. Those that come by the thousand are in `swarm`.

#[path = "handshake/swarm.rs"]
mod swarm;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::guard::{KIB, attack, attack_alone, counted, refused};
use crate::support::broker::Broker;
use crate::support::http::{self, Response};
use crate::support::ws_client::{PATIENCE, Received, WsClient};

const LINE: &str = "GET /ws HTTP/1.1";
const HOST: &str = "Host: h";
const UPGRADE: &str = "Upgrade: websocket";
const CONNECTION: &str = "Connection: Upgrade";
const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
const VERSION: &str = "Sec-WebSocket-Version: 13";
/// The least valid request.
const BASE: [&str; 6] = [LINE, HOST, UPGRADE, CONNECTION, KEY, VERSION];

fn head(lines: &[&str]) -> Vec<u8> {
    format!("{}\r\n\r\n", lines.join("\r\n")).into_bytes()
}

fn base() -> Vec<u8> {
    head(&BASE)
}

fn with(line: &str) -> Vec<u8> {
    head(&[&BASE[..], &[line]].concat())
}

/// [`BASE`] with another line in the place of `line`.
fn instead(line: &str, other: &str) -> Vec<u8> {
    head(&BASE.map(|it| if it == line { other } else { it }))
}

fn without(line: &str) -> Vec<u8> {
    head(&BASE.into_iter().filter(|it| *it != line).collect::<Vec<_>>())
}

fn send(broker: &Broker, request: &[u8]) -> Response {
    let sent = String::from_utf8_lossy(&request[..request.len().min(300)]).into_owned();
    let response = http::exchange(broker.address(), request, PATIENCE);
    response.unwrap_or_else(|error| panic!("{error}, after {sent:?}"))
}

/// Sends every request on a connection of its own. Each must get this status, once and with
/// nothing behind it, and the end of the connection.
fn demand_status(broker: &Broker, status: u16, requests: &[Vec<u8>]) {
    for request in requests {
        let sent = String::from_utf8_lossy(&request[..request.len().min(300)]).into_owned();
        let response = send(broker, request);
        assert_eq!(response.status, status, "{sent:?} got {}", response.text());
        if status == 101 {
            let accept = response.header("Sec-WebSocket-Accept");
            assert_eq!(accept, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{sent:?}");
            continue;
        }
        assert!(response.header("Connection").is_some_and(|it| it.starts_with("close")));
        let stated = response.header("Content-Length").and_then(|length| length.parse().ok());
        if !request.starts_with(b"HEAD ") {
            assert_eq!(stated, Some(response.body.len()), "{sent:?} got {response:?}");
        }
    }
}

/// Also: what is collected of a head until then is no more than twice the limit.
#[test]
fn h_01_a_header_of_9000_bytes_is_431() {
    attack_alone(&[], |broker, guard| {
        let header = format!("X: {}", "a".repeat(9_000));
        demand_status(broker, 431, &[with(&header)]);
        let mut parts: Vec<TcpStream> = Vec::new();
        for _ in 0..200 {
            let mut stream = TcpStream::connect(broker.address()).unwrap();
            stream.write_all(&with(&header)[..8_000]).unwrap();
            parts.push(stream);
        }
        broker.wait_for_metric("altavoz_connections", 202.0, PATIENCE);
        let (held, allowed) = (guard.growth_bytes(), 200 * 16 * KIB);
        assert!(held < allowed, "200 heads hold {held} bytes");
        for stream in &mut parts {
            stream.write_all(&[b'a'; 500]).unwrap();
        }
        [refused(431, 201)]
    });
}

#[test]
fn h_02_a_request_target_of_9000_bytes_is_414() {
    attack(&[], |broker| {
        let line = format!("GET /ws?{} HTTP/1.1", "a".repeat(9_000));
        let endless = format!("GET /{}", "a".repeat(9_000)).into_bytes();
        demand_status(broker, 414, &[instead(LINE, &line), endless]);
        [refused(414, 2)]
    });
}

#[test]
fn h_03_two_thousand_headers_before_the_upgrade_are_431() {
    attack(&[], |broker| {
        let many = ["a:"; 2_000];
        let last = [&[LINE, HOST], &many[..], &BASE[2..]].concat();
        let fewer = [&[LINE, HOST], &many[..61], &BASE[2..]].concat();
        demand_status(broker, 431, &[head(&last), head(&[&last[..2002], &[""]].concat())]);
        demand_status(broker, 431, &[head(&[&fewer[..], &["a:"]].concat())]);
        demand_status(broker, 101, &[head(&[&[LINE, HOST], &many[..59], &BASE[2..]].concat())]);
        [refused(431, 3)]
    });
}

/// Spaces around a value are no part of it (RFC 9110 §5.5), so a key with a space behind is whole.
#[test]
fn h_07_a_key_that_is_not_sixteen_bytes_of_base64_is_400() {
    attack(&[], |broker| {
        let keys = [
            "",
            "AAAA",
            "AAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAAAAA=",
            "dGhlIHNhbXBsZSBub25jZQ",
            "dGhlIHNhbXBsZSBub25jZQ=",
            "dGhlIHNhbXBsZSBub25jZQ= =",
            "dGhlIHNhbXBsZSBub25jZQ===",
            "dGhlIHNhbXBsZSBub25j!Q==",
            "dGhlIHNhbXBsZSBub25jZQ==, x",
        ];
        let requests = keys.map(|key| instead(KEY, &format!("Sec-WebSocket-Key: {key}")));
        demand_status(broker, 400, &requests);
        demand_status(broker, 101, &[instead(KEY, &format!("{KEY} \t"))]);
        [refused(400, keys.len())]
    });
}

#[test]
fn h_08_a_missing_header_is_400_and_a_missing_upgrade_426() {
    attack(&[], |broker| {
        demand_status(broker, 400, &[HOST, CONNECTION, KEY].map(without));
        demand_status(broker, 426, &[without(UPGRADE)]);
        let response = send(broker, &without(UPGRADE));
        assert_eq!(response.header("Upgrade"), Some("websocket"), "{}", response.head);
        [refused(400, 3), refused(426, 2)]
    });
}

#[test]
fn h_09_a_header_that_may_come_once_and_comes_twice_is_400() {
    attack(&[], |broker| {
        let twice = [KEY, VERSION, HOST, "Host: other"].map(with);
        demand_status(broker, 400, &twice);
        [refused(400, 4)]
    });
}

#[test]
fn h_10_another_version_is_426_and_told_which_is_spoken() {
    attack(&[], |broker| {
        let others = ["8", "12", "13, 8", "013", "", "-1"];
        let requests = others.map(|it| instead(VERSION, &format!("Sec-WebSocket-Version: {it}")));
        demand_status(broker, 426, &requests);
        demand_status(broker, 426, &[without(VERSION)]);
        let response = send(broker, &requests[0]);
        assert_eq!(response.header("Sec-WebSocket-Version"), Some("13"), "{}", response.head);
        [refused(426, others.len() + 2)]
    });
}

#[test]
fn h_11_another_method_is_405_and_never_101() {
    attack(&[], |broker| {
        let methods = ["POST", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE", "CONNECTED", "GETS"];
        let requests = methods.map(|method| instead(LINE, &format!("{method} /ws HTTP/1.1")));
        demand_status(broker, 405, &requests);
        let response = send(broker, &requests[1]);
        assert_eq!(response.header("Allow"), Some("GET"), "{}", response.head);
        assert!(response.body.is_empty(), "the answer to HEAD has no body");
        [refused(405, methods.len() + 1)]
    });
}

#[test]
fn h_12_another_http_version_never_upgrades() {
    attack(&[], |broker| {
        demand_status(broker, 426, &[instead(LINE, "GET /ws HTTP/1.0")]);
        let versions = ["HTTP/0.9", "HTTP/2.0", "HTTP/1.2"];
        demand_status(broker, 505, &versions.map(|it| instead(LINE, &format!("GET /ws {it}"))));
        let forms = ["HTTP/1.1x", "HTTP/1.10", "http/1.1", "HTTP /1.1", "HTTP/1,1", ""];
        demand_status(broker, 400, &forms.map(|it| instead(LINE, &format!("GET /ws {it}"))));
        [refused(426, 1), refused(505, versions.len()), refused(400, forms.len())]
    });
}

#[test]
fn h_13_a_folded_line_is_400() {
    attack(&[], |broker| {
        let folded = ["Upgrade: web\r\n socket", "Upgrade:\r\n\twebsocket"];
        demand_status(broker, 400, &folded.map(|lines| instead(UPGRADE, lines)));
        [refused(400, 2)]
    });
}

#[test]
fn h_14_lenient_spellings_of_http_are_400() {
    attack(&[], |broker| {
        let bare = String::from_utf8(base()).unwrap().replace("\r\n", "\n").into_bytes();
        let requests = [
            instead(HOST, "Host : h"),
            instead(HOST, " Host: h"),
            instead(HOST, "Host: h\nX: y"),
            instead(HOST, "Host: h\rX: y"),
            with("X: a\0b"),
            with("X"),
            with(": x"),
            with("X\u{7f}: x"),
            bare,
            [b"\r\n", &base()[..]].concat(),
            [b"\x16\x03\x01\x02\x00\x01\x00", &base()[..]].concat(),
        ];
        demand_status(broker, 400, &requests);
        [refused(400, requests.len())]
    });
}

#[test]
fn h_15_names_and_tokens_are_read_whatever_their_case() {
    attack(&[], |broker| {
        let requests = [
            instead(CONNECTION, "Connection: keep-alive, Upgrade"),
            instead(CONNECTION, "Connection: keep-alive\r\nConnection: , ,UPGRADE"),
            instead(UPGRADE, "upgrade: WebSocket"),
            instead(UPGRADE, "UPGRADE: h2c, wEbSoCkEt"),
            instead(LINE, "GET http://h/ws?a=b HTTP/1.1"),
        ];
        demand_status(broker, 101, &requests);
        // Two more are the canary's, one the guard's.
        [counted("altavoz_handshakes_total", requests.len() + 3)]
    });
}

#[test]
fn h_16_a_body_is_400_and_never_taken_for_a_request() {
    attack(&[], |broker| {
        let smuggled = "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n";
        let length = format!("Content-Length: {}", smuggled.len());
        let chunked = format!("{:x}\r\n{smuggled}\r\n0\r\n\r\n", smuggled.len());
        let requests = [
            [with("Content-Length: 5"), b"GET /".to_vec()].concat(),
            [with(&length), smuggled.into()].concat(),
            [with("Transfer-Encoding: chunked"), chunked.into()].concat(),
            with("Transfer-Encoding: identity"),
            with("Content-Length: 0\r\nContent-Length: 5"),
            with("Content-Length: -1"),
        ];
        demand_status(broker, 400, &requests);
        let answered = send(broker, &requests[1]).text();
        assert!(!answered.contains("HTTP/1.1"), "{answered}");
        [refused(400, requests.len() + 1)]
    });
}

#[test]
fn h_17_frames_right_behind_the_request_are_taken_once() {
    attack(&[], |broker| {
        let mut watcher = WsClient::connect(broker.address(), "/ws", &[]).unwrap();
        watcher.command(r#"{"id":1,"op":"subscribe","topic":"h/17"}"#);
        let command = br#"{"op":"publish","topic":"h/17","data":1}"#;
        let publish = [&[0x81, 0x80 | command.len() as u8, 0, 0, 0, 0], &command[..]].concat();
        let close = b"\x88\x82\0\0\0\0\x03\xe8";
        let mut stream = TcpStream::connect(broker.address()).unwrap();
        stream.write_all(&[&base()[..], &publish, close].concat()).unwrap();
        let mut answers = Vec::new();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.read_to_end(&mut answers).unwrap();
        assert!(answers.starts_with(b"HTTP/1.1 101 ") && answers.ends_with(b"\x88\x02\x03\xe8"));
        assert_eq!(watcher.receive_text(), r#"{"topic":"h/17","seq":1,"data":1}"#);
        watcher.send_text(r#"{"op":"publish","topic":"h/17","data":2}"#).unwrap();
        assert_eq!(watcher.receive_text(), r#"{"topic":"h/17","seq":2,"data":2}"#);
        [counted("altavoz_closes_total{reason=\"normal\"}", 1).at_least()]
    });
}

/// H-20, as far as there is something to it: who sends no origin is no browser, and is let in.
#[test]
fn h_19_only_a_listed_origin_may_open_a_websocket() {
    attack(&["--allow-origin", "https://good.example"], |broker| {
        let of = |origin: &str| with(&format!("Origin: {origin}"));
        let foreign = [
            "https://evil.example",
            "https://good.example.evil.com",
            "https://evilgood.example",
            "http://good.example",
            "https://good.example:8443",
            "https://good.example/",
            "https://good.example@evil.com",
            "null",
            "good.example",
            "",
        ];
        demand_status(broker, 403, &foreign.map(of));
        let good = ["https://good.example", "https://GOOD.example:443", "HTTPS://good.example"];
        demand_status(broker, 101, &good.map(of));
        demand_status(broker, 101, &[base()]);
        let twice = with("Origin: https://good.example\r\nOrigin: https://evil.example");
        demand_status(broker, 400, &[twice]);
        [refused(403, foreign.len()), refused(400, 1)]
    });
}

#[test]
fn h_21_subprotocols_are_chosen_from_a_list_that_is_checked() {
    attack(&[], |broker| {
        let of = |list: &str| format!("Sec-WebSocket-Protocol: {list}");
        for (list, chosen) in [
            ("foo", None),
            ("bar, altavoz.v1.json", Some("altavoz.v1.json")),
            ("altavoz.v1.bin,altavoz.v1.json", Some("altavoz.v1.bin")),
            ("ALTAVOZ.V1.JSON", None),
        ] {
            let response = send(broker, &with(&of(list)));
            assert_eq!(response.status, 101, "{list}");
            assert_eq!(response.header("Sec-WebSocket-Protocol"), chosen, "{list}");
        }
        demand_status(broker, 431, &[with(&of(&" ".repeat(16 * 1024)))]);
        demand_status(broker, 101, &[with(&of(&format!("a{}", " ".repeat(7_900))))]);
        let bytes: Vec<u8> = (0x80..=0xff).collect();
        let high =
            [&head(&BASE)[..head(&BASE).len() - 2], b"Sec-WebSocket-Protocol: ", &bytes].concat();
        demand_status(broker, 400, &[[&high[..], b"\r\n\r\n"].concat()]);
        let spaced = format!("a{}b", " ".repeat(7_900));
        let bad = ["a,a", "a b", ",", "", spaced.as_str()].map(|list| with(&of(list)));
        demand_status(broker, 400, &bad);
        [refused(431, 1), refused(400, bad.len() + 1)]
    });
}

#[test]
fn h_24_nobody_is_told_to_continue() {
    attack(&[], |broker| {
        demand_status(broker, 101, &[with("Expect: 100-continue")]);
        []
    });
}

#[test]
fn h_26_a_request_in_segments_of_one_byte_is_101() {
    attack(&[], |broker| {
        let mut stream = TcpStream::connect(broker.address()).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        for byte in base() {
            stream.write_all(&[byte]).unwrap();
        }
        let mut start = [0; 12];
        stream.read_exact(&mut start).unwrap();
        assert_eq!(&start, b"HTTP/1.1 101");
        []
    });
}

/// Whoever ends their side right behind their bytes, so that both come at once, is not kept until
/// some deadline.
#[test]
fn h_27_an_end_right_behind_the_request_is_seen_at_once() {
    attack_alone(&[], |broker, _| {
        let (request, mut streams) = (base(), Vec::new());
        for at in 0..400 {
            let mut stream = TcpStream::connect(broker.address()).unwrap();
            // Every other request lacks its last byte.
            stream.write_all(&request[..request.len() - at % 2]).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            streams.push(stream);
        }
        // Our ends stay open: only what was said counts.
        broker.wait_for_metric("altavoz_connections", 2.0, Duration::from_secs(8));
        let mut client = WsClient::connect(broker.address(), "/ws", &[]).unwrap();
        client.shutdown().unwrap();
        assert_eq!(client.receive(PATIENCE), Some(Received::End));
        drop(streams);
        [counted("altavoz_closes_total{reason=\"lost\"}", 201).at_least()]
    });
}
