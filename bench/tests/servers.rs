//! The small servers do what the broker does with the few commands that they know, seen by a client
//! that is not ours: or the comparison would compare different work.

use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use bench::servers::{bare, tungstenite as naive};
use tungstenite::{Message, WebSocket};

type Client = WebSocket<TcpStream>;

/// Starts a server on a free port; it ends with this process.
fn start(serve: fn(u16) -> std::io::Result<()>) -> u16 {
    let free = TcpListener::bind(("127.0.0.1", 0)).expect("there is a free port");
    let port = free.local_addr().expect("it is bound").port();
    drop(free);
    thread::spawn(move || serve(port));
    port
}

fn connect(port: u16) -> Client {
    let deadline = Instant::now() + Duration::from_secs(10);
    let stream = loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => break stream,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        thread::sleep(Duration::from_millis(5));
    };
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("it is a socket");
    let (client, _) = tungstenite::client(format!("ws://127.0.0.1:{port}/ws"), stream)
        .expect("the handshake is answered");
    client
}

fn subscribe(client: &mut Client, topic: &str) {
    say(client, &format!(r#"{{"id":1,"op":"subscribe","topic":"{topic}"}}"#));
    hear(client, &format!(r#"{{"id":1,"ok":{{"topic":"{topic}"}}}}"#));
}

fn say(client: &mut Client, text: &str) {
    client.send(Message::text(text)).expect("the connection is open");
}

fn hear(client: &mut Client, text: &str) {
    assert_eq!(client.read().expect("a message comes"), Message::text(text));
}

#[test]
fn both_small_servers_number_what_is_published_and_send_it_to_every_subscriber() {
    for serve in [bare::serve, naive::serve] {
        let port = start(serve);
        let [mut first, mut second, mut publisher] = [(); 3].map(|()| connect(port));
        subscribe(&mut first, "a/b");
        subscribe(&mut first, "c");
        subscribe(&mut second, "a/b");
        let long = "x".repeat(100_000);
        let long = format!(r#"{{"op":"publish","topic":"a/b","data":"{long}"}}"#);
        for text in [
            r#"{"op":"publish","topic":"a/b","data":{"n":1}}"#,
            r#"{"op":"publish","topic":"c","data":[]}"#,
            r#"{"op":"publish","topic":"nobody","data":0}"#,
            long.as_str(),
        ] {
            publisher.write(Message::text(text)).expect("the connection is open");
        }
        publisher.flush().expect("the connection is open");
        hear(&mut first, r#"{"topic":"a/b","seq":1,"data":{"n":1}}"#);
        hear(&mut first, r#"{"topic":"c","seq":1,"data":[]}"#);
        hear(&mut second, r#"{"topic":"a/b","seq":1,"data":{"n":1}}"#);
        let data = &long[long.find(r#""data":"#).expect("it has data")..];
        let message = format!(r#"{{"topic":"a/b","seq":2,{data}"#);
        hear(&mut first, &message);
        hear(&mut second, &message);
        drop(second);
        say(&mut publisher, r#"{"op":"publish","topic":"a/b","data":3}"#);
        hear(&mut first, r#"{"topic":"a/b","seq":3,"data":3}"#);
    }
}
