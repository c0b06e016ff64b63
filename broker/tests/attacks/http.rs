//! Attacks on the HTTP API, rows W of the list: requests with two ends, bodies that are too long,
//! too slow or no good, and publishes that race.

#[path = "http/access.rs"]
mod access;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use crate::guard::{MIB, attack, attack_alone, counted, refused};
use crate::support::broker::Broker;
use crate::support::http::{self, Response};
use crate::support::ws_client::PATIENCE;

const PUBLISH: &str = "POST /api/v1/publish HTTP/1.1\r\nHost: h\r\n";
const JSON: &str = "Content-Type: application/json\r\n";
const GOOD: &str = r#"{"topic":"attack","data":1}"#;

fn send(broker: &Broker, request: &str) -> Response {
    let response = http::exchange(broker.address(), request.as_bytes(), PATIENCE);
    response.unwrap_or_else(|error| panic!("{error}, after {request:?}"))
}

/// A publish with these headers, and what follows them.
fn publish(broker: &Broker, headers: &str, body: &str) -> Response {
    send(broker, &format!("{PUBLISH}{JSON}{headers}\r\n{body}"))
}

/// A publish of this body as it should be sent, on a connection of its own.
fn publish_body(broker: &Broker, headers: &str, body: &str) -> Response {
    let length = body.len();
    publish(broker, &format!("{headers}Connection: close\r\nContent-Length: {length}\r\n"), body)
}

/// How many messages the topic of the attacks has got.
fn published(broker: &Broker) -> u64 {
    let path = "GET /api/v1/topics/attack/history HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    let answer: serde_json::Value =
        serde_json::from_slice(&send(broker, path).body).expect("an answer in JSON");
    answer["seq"].as_u64().expect("a number")
}

/// Only one answer, and the end of the connection: nothing behind the body was taken for a request.
fn demand_one_answer(response: &Response, status: &[u16], sent: &str) {
    assert!(status.contains(&response.status), "{} after {sent:?}", response.status);
    let text = response.text();
    assert!(!text.contains("HTTP/1.1 "), "{text:?} after {sent:?}");
}

const SMUGGLED: &str = "0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: h\r\n\r\n";

#[test]
fn w_01_a_length_and_chunks_are_400_and_nothing_behind_is_read() {
    attack(&[], |broker| {
        for both in [
            "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        ] {
            demand_one_answer(&publish(broker, both, SMUGGLED), &[400], both);
            // The same as the second request of a connection, which no worker sees.
            let first = "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n";
            let later = format!("{first}{PUBLISH}{JSON}{both}\r\n{SMUGGLED}");
            let text = send(broker, &later).text();
            assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{text}");
            assert!(text.contains("HTTP/1.1 400 "), "{text}");
        }
        assert_eq!(published(broker), 0);
        [refused(400, 2)]
    });
}

#[test]
fn w_02_a_length_that_is_not_one_number_is_400() {
    attack(&[], |broker| {
        let lengths = [
            "Content-Length: 27\r\nContent-Length: 28\r\n",
            "Content-Length: 27\r\nContent-Length: 27\r\n",
            "Content-Length: 5,5\r\n",
            "Content-Length: +5\r\n",
            "Content-Length: 0x5\r\n",
            "Content-Length: 5 5\r\n",
            "Content-Length: -1\r\n",
            "Content-Length:\r\n",
            "Content-Length: 18446744073709551616\r\n",
        ];
        for length in lengths {
            demand_one_answer(&publish(broker, length, GOOD), &[400], length);
        }
        assert_eq!(published(broker), 0);
        [refused(400, lengths.len())]
    });
}

#[test]
fn w_03_a_transfer_encoding_other_than_chunked_is_refused() {
    attack(&[], |broker| {
        let codings = [
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding: chunked, chunked\r\n",
            "Transfer-Encoding: chunked;a=b\r\n",
            "Transfer-Encoding: \x0bchunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        ];
        for coding in codings {
            demand_one_answer(&publish(broker, coding, SMUGGLED), &[400, 501], coding);
        }
        let old =
            format!("POST /api/v1/publish HTTP/1.0\r\n{JSON}Transfer-Encoding: chunked\r\n\r\n");
        demand_one_answer(&send(broker, &old), &[400], &old);
        assert_eq!(published(broker), 0);
        [refused(400, codings.len() + 1)]
    });
}

#[test]
fn w_05_credentials_are_looked_at_before_the_body() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("altavoz.toml");
    let table = "[[api_key]]\nname = \"k\"\nscopes = [\"publish\"]\nsha256 = \
        \"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"\n";
    std::fs::write(&file, table).expect("a file");
    attack(&["--config", file.to_str().expect("a path")], |broker| {
        for authorization in
            ["", "Authorization: Bearer wrong\r\n", "Authorization: Basic dGVzdA==\r\n"]
        {
            // Of the body, nothing is sent: whoever waited for it would not answer.
            let headers = format!("{authorization}Content-Length: 1000000\r\n");
            let response = publish(broker, &headers, "");
            demand_one_answer(&response, &[401], &headers);
            assert_eq!(response.header("WWW-Authenticate"), Some("Bearer realm=\"altavoz\""));
        }
        assert_eq!(publish_body(broker, "Authorization: Bearer test\r\n", GOOD).status, 200);
        [counted("altavoz_http_answers_total{status=\"401\"}", 3)]
    });
}

#[test]
fn w_06_a_body_over_a_mebibyte_is_413_at_once_or_at_the_limit() {
    attack_alone(&[], |broker, guard| {
        let told = format!("Content-Length: {}\r\n", MIB + 1);
        demand_one_answer(&publish(broker, &told, ""), &[413], &told);
        // Without an end in sight: the broker must not read on for long, nor keep what came.
        let mut stream = TcpStream::connect(broker.address()).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time");
        let head = format!("{PUBLISH}{JSON}Transfer-Encoding: chunked\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("the broker reads");
        let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x1_0000));
        let sent = (0..4096).take_while(|_| stream.write_all(chunk.as_bytes()).is_ok()).count();
        assert!(sent < 4096, "all of {sent} chunks were read");
        let mut answer = Vec::new();
        // The end may come as a reset, as we went on writing.
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 413 "), "{answer}");
        assert!(guard.peak_growth_bytes() < 32 * MIB, "{}", guard.peak_growth_bytes());
        [counted("altavoz_http_answers_total{status=\"413\"}", 2)]
    });
}

#[test]
fn w_07_what_is_no_message_is_refused_and_not_published() {
    attack(&[], |broker| {
        let bad = [
            "",
            "x",
            "{",
            "[",
            "null",
            "7",
            "{}x",
            "\u{feff}{}",
            "[]",
            "[[]]",
            "{\"topic\":1}",
            "{\"topic\":\"attack\",\"data\":1}garbage",
            "{\"topic\":\"attack\",\"data\":1,\"seq\":9}",
            "{\"topic\":\"attack\",\"data\":1,\"base64\":\"\"}",
        ];
        for body in bad {
            assert_eq!(publish_body(broker, "", body).status, 400, "{body:?}");
        }
        let mut latin = format!("{PUBLISH}{JSON}Connection: close\r\nContent-Length: 29\r\n\r\n");
        latin.push_str(r#"{"topic":"attack","data":""#);
        let mut bytes = latin.into_bytes();
        bytes.extend_from_slice(b"\xe9\"}");
        let answer = http::exchange(broker.address(), &bytes, PATIENCE).expect("an answer");
        assert_eq!(answer.status, 400);
        for kind in ["", "Content-Type: text/plain\r\n", "Content-Type: application/jsonp\r\n"] {
            let length = GOOD.len();
            let text = format!("{PUBLISH}{kind}Content-Length: {length}\r\n\r\n{GOOD}");
            assert_eq!(send(broker, &text).status, 415, "{kind:?}");
        }
        assert_eq!(publish_body(broker, "Content-Encoding: gzip\r\n", GOOD).status, 415);
        assert_eq!(published(broker), 0);
        [counted("altavoz_http_answers_total{status=\"415\"}", 4)]
    });
}

#[test]
fn w_08_a_batch_is_published_as_a_whole_or_not_at_all() {
    attack(&[], |broker| {
        let batch = |count: usize| format!("[{}]", vec![GOOD; count].join(","));
        assert_eq!(publish_body(broker, "", &batch(10_001)).status, 413);
        let mut items = vec![GOOD; 100];
        items[57] = r#"{"topic":"attack/#","data":1}"#;
        let response = publish_body(broker, "", &format!("[{}]", items.join(",")));
        assert_eq!(response.status, 400);
        assert!(response.text().contains("message 57: "), "{}", response.text());
        assert_eq!(published(broker), 0);
        assert_eq!(publish_body(broker, "", &batch(10_000)).status, 200);
        assert_eq!(published(broker), 10_000);
        [counted("altavoz_http_publishes_total", 10_000)]
    });
}

#[test]
fn w_09_a_body_that_trickles_is_408() {
    attack(&["--http-request-timeout-ms", "500"], |broker| {
        let mut stream = TcpStream::connect(broker.address()).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time");
        let head = format!("{PUBLISH}{JSON}Content-Length: 1000\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("the broker reads");
        let mut writer = stream.try_clone().expect("the same socket");
        let trickle = thread::spawn(move || {
            while writer.write_all(b" ").is_ok() {
                thread::sleep(Duration::from_millis(50));
            }
        });
        let mut answer = String::new();
        // Bytes that were still on their way may make the end a reset.
        let _ = stream.read_to_string(&mut answer);
        drop(stream);
        trickle.join().expect("it ends when the broker does");
        assert!(answer.starts_with("HTTP/1.1 408 ") || answer.is_empty(), "{answer}");
        [counted("altavoz_http_answers_total", 1).at_least()]
    });
}

#[test]
fn w_10_a_thousand_requests_at_once_are_answered_in_order() {
    attack(&[], |broker| {
        let mut stream = TcpStream::connect(broker.address()).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time");
        let mut writer = stream.try_clone().expect("the same socket");
        let write = thread::spawn(move || {
            for number in 0..1_000 {
                let end = if number == 999 { "Connection: close\r\n" } else { "" };
                let head = format!("{PUBLISH}{JSON}{end}Content-Length: {}\r\n\r\n", GOOD.len());
                writer.write_all((head + GOOD).as_bytes()).expect("the broker reads");
            }
        });
        let mut answers = String::new();
        stream.read_to_string(&mut answers).expect("all answers");
        write.join().expect("all is written");
        let seqs: Vec<u64> = answers
            .split("\"seq\":")
            .skip(1)
            .filter_map(|rest| rest.split(',').next()?.parse().ok())
            .collect();
        assert!(seqs.iter().copied().eq(1..=1_000), "{seqs:?}");
        [counted("altavoz_http_publishes_total", 1_000)]
    });
}

#[test]
fn w_11_what_is_not_there_is_404_or_405_whatever_the_method() {
    attack(&[], |broker| {
        for (line, status) in [
            ("GET /api/v2/topics", 404),
            ("GET /api/v1/", 404),
            ("GET /api/v1/topics/a/b/history", 404),
            ("GET /../etc/passwd", 404),
            ("TRACE /api/v1/topics", 405),
            ("TRACE /", 405),
            ("PUT /api/v1/publish", 405),
            ("GET /api/v1/publish", 405),
            ("DELETE /api/v1/topics", 405),
        ] {
            let text = format!(
                "{line} HTTP/1.1\r\nHost: h\r\nX-Secret: echo\r\nConnection: close\r\n\r\n"
            );
            let response = send(broker, &text);
            assert_eq!(response.status, status, "{line}");
            assert!(!response.text().contains("X-Secret"), "{line}: the request came back");
            assert!(
                status != 405 || response.header("Allow").is_some(),
                "{line}: {}",
                response.head
            );
        }
        [counted("altavoz_http_answers_total{status=\"404\"}", 4)]
    });
}

#[test]
fn w_12_two_publishes_that_race_with_one_key_are_one_message() {
    attack(&[], |broker| {
        for round in 1..=20 {
            let answers: Vec<String> = thread::scope(|scope| {
                let race = || publish_body(broker, &format!("Idempotency-Key: r{round}\r\n"), GOOD);
                let racers: Vec<_> = (0..4).map(|_| scope.spawn(race)).collect();
                let answer = |response: Response| (response.status, response.text());
                let answers = racers.into_iter().map(|it| answer(it.join().expect("an answer")));
                answers
                    .inspect(|(status, _)| assert_eq!(*status, 200))
                    .map(|(_, text)| text)
                    .collect()
            });
            assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
            assert_eq!(published(broker), round);
        }
        [counted("altavoz_http_replays_total", 60)]
    });
}

#[test]
fn w_13_what_can_not_be_published_now_is_503_and_never_200() {
    attack(&["--topics-max", "3"], |broker| {
        let batch: Vec<String> =
            (0..10).map(|n| format!(r#"{{"topic":"attack/{n}","data":1}}"#)).collect();
        let response = publish_body(broker, "", &format!("[{}]", batch.join(",")));
        assert_eq!(response.status, 503, "{}", response.text());
        assert_eq!(response.header("Retry-After"), Some("1"));
        assert_eq!(broker.metrics("altavoz_http_publishes_total"), 0.0);
        [counted("altavoz_http_answers_total{status=\"503\"}", 1)]
    });
}

#[test]
fn w_14_line_ends_in_a_path_or_a_parameter_split_no_answer() {
    attack(&[], |broker| {
        for path in [
            "/api/v1/topics/a%0d%0aX-Evil:%201/history",
            "/api/v1/topics?prefix=a%0d%0aX-Evil:%201&limit=x%0d%0aX-Evil:%201",
            "/sse?topic=a%0d%0aX-Evil:%201",
            "/sse?topic=a&last_event_id=a%0d%0aX-Evil:%201&mode=%0d%0aX-Evil:%201",
            "/api/v1/connections?after=%0d%0aX-Evil:%201",
        ] {
            let text = format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
            let response = send(broker, &text);
            assert_eq!(response.status, 400, "{path}");
            assert!(response.header("X-Evil").is_none(), "{path}: {}", response.head);
            assert!(!response.text().contains("\r\nX-Evil"), "{path}: {}", response.text());
        }
        [counted("altavoz_http_answers_total{status=\"400\"}", 3)]
    });
}
