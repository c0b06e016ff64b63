//! Who asks too much, reads too little, shows a key where all can read it, or looks at what is for
//! operators: rows W-09, W-11, W-15 and A-15.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::{JSON, PUBLISH, publish_body, send};
use crate::guard::{MIB, alone, attack, beside_others, counted};
use crate::support::broker::Broker;
use crate::support::http;
use crate::support::ws_client::PATIENCE;

/// The SHA-256 of `test`.
const TABLE: &str = "[[api_key]]\nname = \"k\"\nscopes = [\"publish\", \"read\"]\nsha256 = \
    \"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"\n";
const KEY: &str = "Authorization: Bearer test\r\n";
const GOOD: &str = r#"{"topic":"attack","data":1}"#;

fn with_key(arguments: &[&str], what: impl FnOnce(&[&str])) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("altavoz.toml");
    std::fs::write(&file, TABLE).expect("a file");
    what(&[&["--config", file.to_str().expect("a path")], arguments].concat());
}

/// Not under the eyes of the guard: what is kept of the topic stays.
#[test]
fn w_09_a_reader_that_takes_nothing_of_an_answer_is_cut() {
    let limits = ["--write-timeout-ms", "1000", "--history-messages", "1000"];
    let room = ["--history-bytes", "67108864"];
    let _room = alone();
    let broker = Broker::start(&[&limits[..], &room].concat());
    let idle = descriptors_at_rest(&broker);
    let data = "x".repeat(60_000);
    let message = format!(r#"{{"topic":"attack","data":"{data}"}}"#);
    let batch = format!("[{}]", vec![message.as_str(); 16].join(","));
    (0..20).for_each(|_| assert_eq!(publish_body(&broker, "", &batch).status, 200));
    assert_eq!(descriptors_at_rest(&broker), idle);
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let socket = socket.expect("a socket");
    socket.set_recv_buffer_size(16 * 1024).expect("it is an option");
    socket.connect(&broker.address().into()).expect("it listens");
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("a time");
    let path = "GET /api/v1/topics/attack/history?limit=1000 HTTP/1.1\r\nHost: h\r\n\r\n";
    stream.write_all(path.as_bytes()).expect("the broker reads");
    let deadline = Instant::now() + PATIENCE;
    for is_there in [true, false] {
        while (broker.open_fds() > idle) != is_there {
            assert!(Instant::now() < deadline, "is it there? {is_there} would be right");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    let mut answer = Vec::new();
    // Whatever the kernel had, and no more.
    let _ = stream.read_to_end(&mut answer);
    assert!((answer.len() as u64) < 18 * MIB, "all {} bytes came", answer.len());
    assert_eq!(broker.metrics("altavoz_http_publishes_total"), 320.0);
}

/// Open descriptors once no answer is on its way any more.
fn descriptors_at_rest(broker: &Broker) -> usize {
    let deadline = Instant::now() + PATIENCE;
    let mut last = (broker.open_fds(), 0);
    while last.1 < 10 {
        assert!(Instant::now() < deadline, "they come and go");
        std::thread::sleep(Duration::from_millis(20));
        let now = broker.open_fds();
        last = if now == last.0 { (now, last.1 + 1) } else { (now, 0) };
    }
    last.0
}

/// Not among the attacks of the guard, which looks at the metrics where they are not any more.
#[test]
fn w_11_what_is_for_operators_is_not_shown_to_clients() {
    let _room = beside_others();
    let broker = Broker::start(&["--workers", "2", "--admin-listen", "127.0.0.1:0"]);
    let status = |address, path: &str| http::get(address, path).expect("an answer").status;
    for path in ["/metrics", "/console"] {
        assert_eq!(status(broker.address(), path), 404, "{path}");
        assert_eq!(status(broker.address(), &format!("{path}?a")), 404, "{path}");
        assert_eq!(status(broker.admin_address(), path), 200, "{path}");
    }
    // Nor behind a request that is answered.
    let two = "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\nGET /metrics HTTP/1.1\r\nHost: h\r\n\
        Connection: close\r\n\r\n";
    let text = send(&broker, two).text();
    assert!(text.contains("HTTP/1.1 404") && !text.contains("altavoz_"), "{text}");
    for address in [broker.address(), broker.admin_address()] {
        assert_eq!(status(address, "/healthz"), 200);
        assert_eq!(status(address, "/api/openapi.json"), 200);
    }
}

#[test]
fn w_15_who_asks_too_often_is_429_and_nobody_else_is() {
    let limit = ["--api-requests-per-second-max", "5", "--limit-loopback"];
    with_key(&limit, |arguments| {
        attack(arguments, |broker| {
            let mut answers: Vec<_> = (0..30).map(|_| publish_body(broker, KEY, GOOD)).collect();
            let refused = answers.iter().filter(|answer| answer.status == 429).count();
            assert!(refused >= 10, "only {refused} of 30");
            assert!(answers.iter().all(|answer| [200, 429].contains(&answer.status)));
            answers.retain(|answer| answer.status == 429);
            assert!(answers.iter().all(|answer| answer.header("Retry-After") == Some("1")));
            assert!(answers[0].text().contains("rate_limited"), "{}", answers[0].text());
            // Those who guess are slowed down, by address; the key has its own allowance.
            let wrong = "Authorization: Bearer wrong\r\n";
            let guesses: Vec<u16> =
                (0..30).map(|_| publish_body(broker, wrong, GOOD).status).collect();
            assert!(guesses.iter().all(|status| [401, 429].contains(status)), "{guesses:?}");
            assert!(guesses.contains(&429) && guesses[0] == 401, "{guesses:?}");
            std::thread::sleep(Duration::from_millis(1100));
            assert_eq!(publish_body(broker, KEY, GOOD).status, 200);
            assert_eq!(http::get(broker.address(), "/healthz").expect("an answer").status, 200);
            [counted("altavoz_http_answers_total{status=\"429\"}", 10).at_least()]
        });
    });
}

/// Without keys the API is for who sits at this machine, whatever way others come.
#[test]
fn a_17_an_api_without_keys_is_closed_to_who_comes_through_a_proxy() {
    attack(&["--trusted-proxies", "127.0.0.2"], |broker| {
        let ask = |from: &str, header: &str| {
            let stream = http::connect_from(from, broker.address()).expect("it listens");
            let text = format!(
                "GET /api/v1/topics HTTP/1.1\r\nHost: h\r\n{header}Connection: close\r\n\r\n"
            );
            http::exchange_over(stream, text.as_bytes(), PATIENCE).expect("an answer").status
        };
        assert_eq!(ask("127.0.0.2", "X-Forwarded-For: 192.0.2.1\r\n"), 403);
        assert_eq!(ask("127.0.0.2", "X-Forwarded-For: 127.0.0.1, 192.0.2.1\r\n"), 403);
        assert_eq!(ask("127.0.0.1", "X-Forwarded-For: 192.0.2.1\r\n"), 200, "nobody's word");
        assert_eq!(ask("127.0.0.2", ""), 200);
        [counted("altavoz_http_answers_total{status=\"403\"}", 2)]
    });
}

#[test]
fn a_15_a_key_in_the_address_is_refused_though_it_is_right() {
    with_key(&[], |arguments| {
        attack(arguments, |broker| {
            for query in ["key=test", "api_key=test", "limit=1&access_token=test", "token=test"] {
                for header in ["", KEY] {
                    let text = format!(
                        "GET /api/v1/topics?{query} HTTP/1.1\r\nHost: h\r\n{header}\
                         Connection: close\r\n\r\n"
                    );
                    let answer = send(broker, &text);
                    assert_eq!(answer.status, 400, "{query}");
                    assert!(!answer.text().contains("test"), "{}", answer.text());
                }
            }
            let text = format!(
                "{}{JSON}{KEY}Connection: close\r\nContent-Length: {}\r\n\r\n{GOOD}",
                PUBLISH.replace("/publish", "/publish?key=test"),
                GOOD.len()
            );
            assert_eq!(send(broker, &text).status, 400);
            [counted("altavoz_http_answers_total{status=\"400\"}", 9)]
        });
    });
}
