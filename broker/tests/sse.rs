//! Server-sent events from outside, against the real process: messages and notices as events, the
//! options of a subscribe, coming back with a cursor, and the end.

#[path = "support/support.rs"]
mod support;

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use support::broker::Broker;
use support::http;
use support::ws_client::{PATIENCE, WsClient};

/// The reading end of a stream.
struct Stream {
    socket: TcpStream,
    head: String,
    text: String,
    /// What a browser would send as `Last-Event-ID`.
    id: String,
}

impl Stream {
    fn open(broker: &Broker, target: &str, headers: &str) -> Self {
        let mut socket = TcpStream::connect(broker.address()).expect("the broker listens");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time");
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
        socket.write_all(request.as_bytes()).expect("the broker reads");
        let mut stream =
            Self { socket, head: String::new(), text: String::new(), id: String::new() };
        stream.head = stream.take_until("\r\n\r\n").expect("the broker answers");
        assert!(stream.head.starts_with("HTTP/1.1 200 OK\r\n"), "{}", stream.head);
        stream
    }

    fn take_until(&mut self, end: &str) -> Option<String> {
        let mut chunk = [0; 4096];
        loop {
            if let Some(at) = self.text.find(end) {
                let rest = self.text.split_off(at + end.len());
                return Some(std::mem::replace(&mut self.text, rest));
            }
            match self.socket.read(&mut chunk) {
                Ok(0) => return None,
                Ok(len) => self.text.push_str(std::str::from_utf8(&chunk[..len]).expect("UTF-8")),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("{error}; so far {:?}", self.text),
            }
        }
    }

    /// The data of the next event, as a browser puts it together; None at the end.
    fn event(&mut self) -> Option<String> {
        loop {
            let block = self.take_until("\n\n")?;
            let mut data = Vec::new();
            for line in block.lines() {
                if let Some(text) = line.strip_prefix("data: ") {
                    data.push(text);
                } else if let Some(id) = line.strip_prefix("id: ") {
                    id.clone_into(&mut self.id);
                }
            }
            if !data.is_empty() {
                return Some(data.join("\n"));
            }
        }
    }

    fn next(&mut self) -> String {
        self.event().expect("the stream goes on")
    }
}

fn publisher(broker: &Broker) -> WsClient {
    WsClient::connect(broker.address(), "/ws", &["altavoz.v1.json"]).expect("the broker upgrades")
}

fn publish(client: &mut WsClient, topic: &str, data: &str) {
    let text = format!(r#"{{"id":1,"op":"publish","topic":"{topic}","data":{data}}}"#);
    let answer = client.command(&text);
    assert!(answer.contains("\"ok\""), "{answer}");
}

/// Numbers that were published, out of the messages of a stream; answers may stand between them.
fn numbers(stream: &mut Stream, count: usize) -> Vec<u64> {
    let mut numbers = Vec::new();
    while numbers.len() < count {
        let text = stream.next();
        let message: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        match message["data"].as_u64() {
            Some(number) => numbers.push(number),
            None => assert_eq!(message["ok"]["recovered"], true, "{text}"),
        }
    }
    numbers
}

#[test]
fn a_stream_begins_with_the_answers_and_goes_on_with_what_is_published() {
    let broker = Broker::start(&["--workers", "2"]);
    let mut stream = Stream::open(&broker, "/sse?topic=a&topic=b/+", "");
    let head = stream.head.clone();
    assert!(head.contains("Content-Type: text/event-stream\r\n"), "{head}");
    assert!(head.contains("Cache-Control: no-store\r\n"), "{head}");
    let first = stream.next();
    assert!(first.starts_with(r#"{"id":0,"ok":{"topic":"a","epoch":""#), "{first}");
    let second = stream.next();
    assert!(second.starts_with(r#"{"id":1,"ok":{"topic":"b/+","epoch":""#), "{second}");
    let mut client = publisher(&broker);
    publish(&mut client, "b/1", "[1,\\n 2]".replace("\\n", "\n").as_str());
    publish(&mut client, "a", "\"x\"");
    assert_eq!(stream.next(), "{\"topic\":\"b/1\",\"seq\":1,\"data\":[1,\n 2]}");
    assert_eq!(stream.next(), r#"{"topic":"a","seq":1,"data":"x"}"#);
    assert_eq!(broker.metrics("altavoz_event_streams_total"), 1.0);
}

#[test]
fn who_comes_back_with_its_cursor_misses_nothing_and_gets_nothing_twice() {
    let broker = Broker::start(&["--workers", "2"]);
    let mut client = publisher(&broker);
    let topics = ["a", "b/1", "b/2"];
    let target = "/sse?topic=a&topic=b/%2B";
    let (mut expected, mut next) = (Vec::new(), 0..);
    let mut send = |client: &mut WsClient, count: usize| {
        for number in next.by_ref().take(count) {
            publish(client, topics[number as usize % topics.len()], &number.to_string());
            expected.push(number);
        }
    };
    let mut stream = Stream::open(&broker, target, "");
    (0..2).for_each(|_| drop(stream.next()));
    send(&mut client, 9);
    let mut seen = numbers(&mut stream, 9);
    for round in 0..3 {
        let id = stream.id.clone();
        drop(stream);
        send(&mut client, 6);
        stream = match round {
            0 => Stream::open(&broker, &format!("{target}&last_event_id={id}"), ""),
            _ => Stream::open(&broker, target, &format!("Last-Event-ID: {id}\r\n")),
        };
        seen.extend(numbers(&mut stream, 6));
    }
    send(&mut client, 3);
    seen.extend(numbers(&mut stream, 3));
    seen.sort_unstable();
    assert_eq!(seen, expected);
}

#[test]
fn a_cursor_before_anything_was_published_holds_too() {
    let broker = Broker::start(&["--workers", "2"]);
    let mut client = publisher(&broker);
    let mut stream = Stream::open(&broker, "/sse?topic=a", "");
    drop(stream.next());
    // The cursor follows the answer.
    publish(&mut client, "b", "0");
    publish(&mut client, "a", "1");
    assert_eq!(numbers(&mut stream, 1), [1]);
    let cursor = stream.id.clone();
    let at_start = cursor.replace(".1", ".0");
    let header = format!("Last-Event-ID: {at_start}\r\n");
    let mut again = Stream::open(&broker, "/sse?topic=a", &header);
    assert!(again.next().contains("\"recovered\":true"));
    assert_eq!(numbers(&mut again, 1), [1]);
    let foreign = "Last-Event-ID: some-other-server-42\r\n";
    let mut stranger = Stream::open(&broker, "/sse?topic=a", foreign);
    assert!(stranger.next().contains("\"recovered\":false"));
}

#[test]
fn options_are_those_of_a_subscribe() {
    let broker = Broker::start(&[]);
    let mut client = publisher(&broker);
    publish(&mut client, "t", r#"{"x":1,"y":2}"#);
    let mut stream = Stream::open(&broker, "/sse?topic=t&last=true&fields=y&mode=latest", "");
    assert!(stream.next().contains("\"ok\""));
    assert_eq!(stream.next(), r#"{"topic":"t","seq":1,"data":{"y":2}}"#);
}

#[test]
fn a_stream_that_can_not_be_opened_is_an_error_with_its_status() {
    let broker = Broker::start(&["--allow-origin", "https://a.example"]);
    for (target, status) in [
        ("/sse", 400),
        ("/sse?topic=a/%23/b", 400),
        ("/sse?topic=a&max_rate=2", 400),
        ("/sse?topic=a&presence=true", 403),
        ("/sse?topic=a&nonsense=1", 400),
    ] {
        let answer = http::get(broker.address(), target).expect("an answer");
        assert_eq!(answer.status, status, "{target}: {}", answer.text());
    }
    let foreign = b"GET /sse?topic=a HTTP/1.1\r\nHost: a\r\nOrigin: https://b.example\r\n\r\n";
    assert_eq!(http::exchange(broker.address(), foreign, PATIENCE).expect("an answer").status, 403);
    let post = b"POST /sse?topic=a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert_eq!(http::exchange(broker.address(), post, PATIENCE).expect("an answer").status, 405);
    let stream = Stream::open(&broker, "/sse?topic=a", "Origin: https://a.example\r\n");
    let head = &stream.head;
    assert!(head.contains("Access-Control-Allow-Origin: https://a.example\r\n"), "{head}");
    assert!(head.contains("Vary: Origin\r\n"), "{head}");
}

#[test]
fn on_a_kept_connection_a_stream_is_sent_to_a_fresh_one() {
    let broker = Broker::start(&[]);
    let requests = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n\
        GET /sse?topic=b/+ HTTP/1.1\r\nHost: a\r\n\r\n";
    let answer = http::exchange(broker.address(), requests, PATIENCE).expect("answers");
    let text = answer.text();
    assert!(text.contains("HTTP/1.1 307 Temporary Redirect\r\n"), "{text}");
    assert!(text.contains("location: /sse?topic=b/+\r\n"), "{text}");
    assert!(text.contains("connection: close\r\n"), "{text}");
}

#[test]
fn silence_is_broken_by_comments_and_a_stop_says_when_to_come_back() {
    let mut broker = Broker::start(&["--ping-interval-ms", "100", "--pong-timeout-ms", "100"]);
    let mut stream = Stream::open(&broker, "/sse?topic=a", "");
    drop(stream.next());
    let comments = (0..3).map(|_| stream.take_until(":\n\n").expect("a comment")).count();
    assert_eq!(comments, 3);
    broker.send_sigterm();
    let mut rest = String::new();
    while let Some(block) = stream.take_until("\n\n") {
        rest.push_str(&block);
    }
    assert!(rest.contains("retry: "), "{rest}");
    assert!(rest.contains(r#"data: {"close":{"code":1001,"reason":"reconnect in "#), "{rest}");
    assert!(broker.wait(PATIENCE).expect("it ends").success());
}

#[test]
fn who_reads_too_slowly_is_told_what_it_missed_and_goes_on() {
    let settings = ["--workers", "1", "--backlog-bytes-max", "262144", "--history-bytes", "100000"];
    let broker = Broker::start(&settings);
    let mut stream = Stream::open(&broker, "/sse?topic=t", "");
    drop(stream.next());
    let mut client = publisher(&broker);
    let filler = "x".repeat(16 * 1024);
    let began = Instant::now();
    // Until the kernel's buffers are full, and then more than the backlog holds.
    let mut count = 0_u64;
    while broker.metrics("altavoz_backlogged_connections") == 0.0 {
        assert!(began.elapsed() < Duration::from_secs(20), "{count} messages fit");
        for _ in 0..20 {
            count += 1;
            publish(&mut client, "t", &format!(r#"[{count},"{filler}"]"#));
        }
    }
    for _ in 0..100 {
        count += 1;
        publish(&mut client, "t", &format!(r#"[{count},"{filler}"]"#));
    }
    let (mut next, mut missed) = (1, 0);
    while next <= count {
        let event: serde_json::Value = serde_json::from_str(&stream.next()).expect("JSON");
        if let Some(gap) = event.get("gap") {
            assert_eq!(gap["from"], next, "{event}");
            let to = gap["to"].as_u64().expect("a number");
            missed += to + 1 - next;
            next = to + 1;
        } else if let Some(seq) = event["seq"].as_u64() {
            assert_eq!(seq, next, "a jump without a notice");
            next += 1;
        }
    }
    assert!(missed > 0, "nothing was held back");
}
