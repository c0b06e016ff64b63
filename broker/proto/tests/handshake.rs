//! What strangers do to the opening handshake, from outside: bytes in, bytes out. Each test names
//! the case of the attack list it covers; the deadlines and rates among them are the broker's.

use broker_proto::handshake::{AllowedOrigins, HeadLimits, HeadScanner, Refusal, Request, Upgrade};

const LINE: &str = "GET /ws HTTP/1.1";
const HOST: &str = "Host: h";
const UPGRADE: &str = "Upgrade: websocket";
const CONNECTION: &str = "Connection: Upgrade";
const VERSION: &str = "Sec-WebSocket-Version: 13";
const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";

/// The least valid request.
const BASE: [&str; 6] = [LINE, HOST, UPGRADE, CONNECTION, VERSION, KEY];

const ACCEPTED: &str = "HTTP/1.1 101 Switching Protocols\r\n\
    Upgrade: websocket\r\n\
    Connection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

fn head(lines: &[&str]) -> String {
    lines.join("\r\n") + "\r\n\r\n"
}

/// The least valid request with one line more.
fn with(line: &str) -> String {
    let mut lines = BASE.to_vec();
    lines.push(line);
    head(&lines)
}

/// The least valid request with `line` in place of `old`.
fn instead(old: &str, line: &str) -> String {
    head(&BASE.map(|each| if each == old { line } else { each }))
}

fn without(old: &str) -> String {
    let lines: Vec<&str> = BASE.into_iter().filter(|&line| line != old).collect();
    head(&lines)
}

fn answer_within(bytes: &[u8], limits: &HeadLimits) -> Result<String, Refusal> {
    let len = HeadScanner::default().scan(bytes, limits)?.expect("a whole head");
    let request = Request::parse(&bytes[..len], limits)?;
    let upgrade = Upgrade::from_request(&request)?;
    let mut out = Vec::new();
    upgrade.write_response(&mut out, upgrade.select_protocol(&["altavoz.v1.json"]), None);
    Ok(String::from_utf8(out).expect("a response is UTF-8"))
}

fn answer(bytes: impl AsRef<[u8]>) -> Result<String, Refusal> {
    answer_within(bytes.as_ref(), &HeadLimits::default())
}

/// The status of a refusal, and its whole response, which must close the connection.
fn refused(bytes: impl AsRef<[u8]>) -> (u16, String) {
    let bytes = bytes.as_ref();
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned();
    let refusal = answer(bytes).expect_err(&shown);
    let mut out = Vec::new();
    refusal.write_response(&mut out);
    let response = String::from_utf8(out).expect("a response is UTF-8");
    assert!(response.contains("\r\nConnection: close"), "{response}");
    (refusal.status(), response)
}

fn status(bytes: impl AsRef<[u8]>) -> u16 {
    refused(bytes).0
}

fn accepted() -> Result<String, Refusal> {
    Ok(format!("{ACCEPTED}\r\n"))
}

#[test]
fn the_least_valid_request_is_accepted() {
    assert_eq!(answer(head(&BASE)), accepted());
}

#[test]
fn h_01_a_header_over_the_limit_is_431_as_soon_as_the_limit_is_reached() {
    let request = with(&format!("X: {}", "a".repeat(9000)));
    assert_eq!(status(&request), 431);
    let mut scanner = HeadScanner::default();
    let limits = HeadLimits::default();
    assert_eq!(scanner.scan(&request.as_bytes()[..8191], &limits), Ok(None));
    assert_eq!(scanner.scan(&request.as_bytes()[..8192], &limits).unwrap_err().status(), 431);
}

#[test]
fn h_02_a_request_target_over_the_limit_is_414() {
    let line = format!("GET /{} HTTP/1.1", "a".repeat(8999));
    assert_eq!(status(instead(LINE, &line)), 414);
    assert_eq!(status(format!("GET /{}", "a".repeat(9000))), 414);
}

#[test]
fn h_03_two_thousand_headers_are_431_even_where_the_bytes_are_allowed() {
    let many = vec!["a:b"; 2000];
    let lines = [&[LINE, HOST], &many[..], &[UPGRADE, CONNECTION, VERSION, KEY]].concat();
    assert_eq!(status(head(&lines)), 431);
    let roomy = HeadLimits { head_bytes_max: 1 << 20, ..HeadLimits::default() };
    let refusal = answer_within(head(&lines).as_bytes(), &roomy).unwrap_err();
    assert_eq!(refusal.status(), 431);
    let exact = [&BASE[..], &["a:b"; 59]].concat();
    assert_eq!(answer(head(&exact)), accepted());
    let one_more = [&BASE[..], &["a:b"; 60]].concat();
    assert_eq!(status(head(&one_more)), 431);
}

#[test]
fn h_07_a_key_that_is_not_sixteen_bytes_of_base64_is_400() {
    for key in [
        "",
        "AAAA",
        "AAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAAAA=",
        "dGhlIHNhbXBsZSBub25jZQ",
        "dGhlIHNhbXBsZSBub25jZQ=",
        "dGhlIHNhbXBsZSBub25jZQ= =",
        "dGhlIHNhbXBsZSBub25jZ===",
        "dGhlIHNhbXBsZSBub25j!Q==",
        "dGhlIHNhbXBsZSBub25jZQ==, x",
        "dGhlIHNhbXBsZSBub25j\u{e9}==",
    ] {
        assert_eq!(status(instead(KEY, &format!("Sec-WebSocket-Key: {key}"))), 400, "{key}");
    }
    // Spaces around a value are no part of it (RFC 9110 §5.5).
    assert_eq!(answer(instead(KEY, &format!("{KEY} \t"))), accepted());
}

#[test]
fn h_08_a_missing_header_is_400_and_a_missing_upgrade_426() {
    for line in [HOST, CONNECTION, KEY] {
        assert_eq!(status(without(line)), 400, "{line}");
    }
    let (status, response) = refused(without(UPGRADE));
    assert_eq!(status, 426);
    assert!(response.contains("\r\nUpgrade: websocket\r\n"), "{response}");
}

#[test]
fn h_09_a_header_that_may_come_once_is_400_when_it_comes_twice() {
    for line in [KEY, VERSION, HOST, "Origin: http://h\r\nOrigin: http://h"] {
        assert_eq!(status(with(line)), 400, "{line}");
    }
}

#[test]
fn h_10_another_version_is_426_and_told_which() {
    for version in ["8", "12", "13, 8", "8, 13", "013", "+13", "13.0", ""] {
        let (status, response) =
            refused(instead(VERSION, &format!("Sec-WebSocket-Version: {version}")));
        assert_eq!(status, 426, "{version}");
        assert!(response.contains("\r\nSec-WebSocket-Version: 13\r\n"), "{response}");
    }
    assert_eq!(status(without(VERSION)), 426);
}

#[test]
fn h_11_only_get_opens_a_websocket() {
    for method in ["POST", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE", "GETS", "Get"] {
        let (status, response) = refused(instead(LINE, &format!("{method} /ws HTTP/1.1")));
        assert_eq!(status, 405, "{method}");
        assert!(response.contains("\r\nAllow: GET\r\n"), "{response}");
        assert_eq!(response.ends_with("\r\n\r\n"), method == "HEAD", "{response}");
    }
}

#[test]
fn h_12_other_http_versions_never_upgrade() {
    for (line, expected) in [
        ("GET /ws HTTP/1.0", 426),
        ("GET /ws HTTP/0.9", 505),
        ("GET /ws HTTP/2.0", 505),
        ("PRI * HTTP/2.0", 505),
        ("GET /ws HTTP/1.1x", 400),
        ("GET /ws HTTP/1.", 400),
        ("GET /ws HTTP/11", 400),
        ("GET /ws http/1.1", 400),
        ("GET /ws", 400),
        ("GET /ws HTTP/1.1 ", 400),
        ("GET  /ws HTTP/1.1", 400),
        ("GET\t/ws HTTP/1.1", 400),
    ] {
        assert_eq!(status(instead(LINE, line)), expected, "{line:?}");
    }
}

#[test]
fn h_13_a_folded_line_is_400() {
    assert_eq!(status(instead(UPGRADE, "Upgrade: web\r\n socket")), 400);
    assert_eq!(status(instead(UPGRADE, "Upgrade:\r\n\twebsocket")), 400);
}

#[test]
fn h_14_what_the_grammar_does_not_have_is_400() {
    for line in ["Host : h", " Host: h", "\tHost: h", "Host", ": h", "Ho st: h", "H\u{f6}st: h"] {
        assert_eq!(status(instead(HOST, line)), 400, "{line:?}");
    }
    for line in ["X: a\0b", "X\0: a", "X: a\rb", "X: a\nY: b", "X: a\u{7f}", "X: a\u{1}", "X: \r"] {
        assert_eq!(status(with(line)), 400, "{line:?}");
    }
    assert_eq!(status(head(&BASE).replace("\r\n", "\n")), 400);
    assert_eq!(status(format!("\r\n{}", head(&BASE))), 400);
}

#[test]
fn h_15_tokens_are_found_in_any_case_list_and_line() {
    for request in [
        instead(CONNECTION, "Connection: keep-alive, Upgrade"),
        instead(CONNECTION, "Connection: keep-alive\r\nconnection:upgrade"),
        instead(UPGRADE, "upgrade: WebSocket"),
        instead(UPGRADE, "Upgrade: h2c, websocket"),
    ] {
        assert_eq!(answer(&request), accepted(), "{request}");
    }
    assert_eq!(status(instead(UPGRADE, "Upgrade: websockets")), 426);
    assert_eq!(status(instead(CONNECTION, "Connection: no-upgrade")), 400);
}

#[test]
fn h_16_a_body_is_400_and_nothing_after_the_head_is_touched() {
    for line in [
        "Content-Length: 5",
        "Content-Length: 00",
        "Content-Length: ",
        "Content-Length: 0, 0",
        "Content-Length: 0\r\nContent-Length: 0",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: identity",
        "Content-Length: 0\r\nTransfer-Encoding: chunked",
    ] {
        assert_eq!(status(with(line) + "GET /"), 400, "{line}");
    }
    assert_eq!(answer(with("Content-Length: 0")), accepted());
}

#[test]
fn h_17_bytes_after_the_head_are_left_for_the_frames() {
    let frame = b"\x81\x85\0\0\0\0Hello";
    let bytes = [head(&BASE).as_bytes(), frame].concat();
    let len = HeadScanner::default().scan(&bytes, &HeadLimits::default()).unwrap().unwrap();
    assert_eq!(&bytes[len..], frame);
    assert_eq!(answer(&bytes), accepted());
}

#[test]
fn h_19_an_origin_is_compared_by_scheme_host_and_port() {
    let list = ["https://good.example".to_owned(), "http://localhost:3000".to_owned()];
    let allowed = AllowedOrigins::parse(&list).unwrap();
    let is_allowed = |origin: &str| {
        let request = with(&format!("Origin: {origin}"));
        let request = Request::parse(request.as_bytes(), &HeadLimits::default()).unwrap();
        allowed.allows(Upgrade::from_request(&request).unwrap().origin())
    };
    for origin in ["https://good.example", "https://GOOD.example:443", "http://localhost:3000"] {
        assert!(is_allowed(origin), "{origin}");
    }
    for origin in [
        "https://evil.example",
        "https://good.example.evil.com",
        "https://evilgood.example",
        "https://good.example:8443",
        "https://good.example.",
        "https://good.example/",
        "https://good.example@evil.example",
        "http://good.example",
        "http://localhost",
        "null",
        "NULL",
        "",
        "https://good.example, https://evil.example",
        "https://good.example https://evil.example",
        "good.example",
    ] {
        assert!(!is_allowed(origin), "{origin}");
    }
    assert!(allowed.allows(None));
    assert_eq!(status(with("Origin: https://g\u{f6}\u{f6}d.example")), 400);
}

#[test]
fn h_21_an_unknown_subprotocol_is_left_out_and_a_known_one_chosen() {
    let chosen = format!("{ACCEPTED}Sec-WebSocket-Protocol: altavoz.v1.json\r\n\r\n");
    assert_eq!(answer(with("Sec-WebSocket-Protocol: foo")), accepted());
    assert_eq!(answer(with("Sec-WebSocket-Protocol: ALTAVOZ.V1.JSON")), accepted());
    assert_eq!(answer(with("Sec-WebSocket-Protocol: bar, altavoz.v1.json")), Ok(chosen.clone()));
    let two_lines = "Sec-WebSocket-Protocol: bar\r\nSec-WebSocket-Protocol:,altavoz.v1.json ,";
    assert_eq!(answer(with(two_lines)), Ok(chosen));
}

#[test]
fn h_21_subprotocols_that_are_no_distinct_tokens_are_400() {
    for value in ["", ",", "a b", "a;b", "a/b", "\"a\"", "a, a", "a\r\nSec-WebSocket-Protocol: a"] {
        assert_eq!(status(with(&format!("Sec-WebSocket-Protocol: {value}"))), 400, "{value:?}");
    }
    for byte in 0x80..=0xff_u8 {
        let mut bytes = with("Sec-WebSocket-Protocol: a?").into_bytes();
        let at = bytes.len() - 5;
        bytes[at] = byte;
        assert_eq!(status(bytes), 400, "{byte:#x}");
    }
}

#[test]
fn h_21_long_lists_end_at_a_limit_and_never_quote_a_token() {
    let spaces = format!("Sec-WebSocket-Protocol: a{}b", " ".repeat(16 << 10));
    assert_eq!(status(with(&spaces)), 431);
    let roomy = HeadLimits { head_bytes_max: 1 << 20, ..HeadLimits::default() };
    let refusal = answer_within(with(&spaces).as_bytes(), &roomy).unwrap_err();
    assert_eq!(refusal.status(), 400);

    let list = |count: usize| {
        let names: Vec<String> = (0..count).map(|at| format!("bearer.{at}")).collect();
        with(&format!("Sec-WebSocket-Protocol: {}", names.join(",")))
    };
    assert_eq!(answer(list(32)), accepted());
    for request in [list(33), with("Sec-WebSocket-Protocol: bearer.a, bearer.a")] {
        let (status, response) = refused(request);
        assert_eq!(status, 400);
        assert!(!response.contains("bearer"), "{response}");
    }
}

#[test]
fn h_24_an_expectation_is_ignored() {
    assert_eq!(answer(with("Expect: 100-continue")), accepted());
}

#[test]
fn h_26_one_byte_at_a_time_makes_the_same_handshake() {
    let request = head(&BASE);
    let mut scanner = HeadScanner::default();
    for end in 1..request.len() {
        // Were a byte looked at twice, it would be a NUL by then.
        let mut bytes = vec![0; end];
        bytes[end - 1] = request.as_bytes()[end - 1];
        assert_eq!(scanner.scan(&bytes, &HeadLimits::default()), Ok(None), "byte {end}");
    }
    let found = scanner.scan(request.as_bytes(), &HeadLimits::default());
    assert_eq!(found, Ok(Some(request.len())));
}

#[test]
fn extension_offers_are_handed_up_and_a_syntax_error_is_400() {
    let line = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits; \
        server_max_window_bits=\"10\", x-other";
    let request = with(line);
    let request = Request::parse(request.as_bytes(), &HeadLimits::default()).unwrap();
    let upgrade = Upgrade::from_request(&request).unwrap();
    let [deflate, other] = upgrade.offers() else { panic!("{upgrade:?}") };
    assert_eq!((deflate.name, other.name), ("permessage-deflate", "x-other"));
    assert_eq!(deflate.params[0], ("client_max_window_bits", None));
    assert_eq!(deflate.params[1], ("server_max_window_bits", Some("10".into())));
    for value in ["", "a;", "a;b=", "a b", "a;b=\"c", "a;b=\"c d\"", "a;b=\u{e9}"] {
        assert_eq!(status(with(&format!("Sec-WebSocket-Extensions: {value}"))), 400, "{value:?}");
    }
    // None is used, so none is named.
    assert_eq!(answer(with(line)), accepted());
}
