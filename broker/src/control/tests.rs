//! The control plane with real sockets: hand-over, keep-alive, bad peers, the end.

use std::io::{Read, Write};
use std::net::TcpListener;

use super::*;

struct Plane {
    control: Control,
    sender: Sender,
    listener: TcpListener,
}

fn plane() -> Plane {
    plane_for(serve::CONNECTIONS_MAX)
}

fn plane_for(connections_max: usize) -> Plane {
    let config = Arc::new(Config::default());
    let shared = Arc::new(crate::hub::Shared::new(1, &config, 0));
    let parts = Parts {
        config,
        metrics: Arc::new(Metrics::new(1)),
        lifecycle: Arc::new(Lifecycle::new()),
        desk: Desk::new(shared, |_| {}),
        cluster: None,
        started: Instant::now(),
    };
    let (control, sender, _signals) = start_with(parts, connections_max).unwrap();
    Plane { control, sender, listener: TcpListener::bind("127.0.0.1:0").unwrap() }
}

impl Plane {
    /// A connection that was handed over with these bytes read; the peer's end of it.
    fn hand(&self, read: &[u8]) -> TcpStream {
        let near = TcpStream::connect(self.listener.local_addr().unwrap()).unwrap();
        near.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let (socket, peer) = self.listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        self.sender
            .try_hand(Handed {
                socket,
                tls: None,
                is_admin: false,
                peer: peer.into(),
                read: read.to_vec(),
            })
            .unwrap();
        near
    }

    fn stop(self) {
        self.control.stop(Duration::from_secs(20));
    }
}

fn read_to_end(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_request_that_was_read_whole_is_answered() {
    let plane = plane();
    let peer = plane.hand(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let answer = read_to_end(peer);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
    plane.stop();
}

#[test]
fn a_connection_is_kept_for_requests_that_were_not_read_yet() {
    let plane = plane();
    // The worker had read one request and the beginning of the next.
    let mut peer = plane.hand(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /no");
    peer.write_all(b"thing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let answers = read_to_end(peer);
    assert!(answers.starts_with("HTTP/1.1 200 OK\r\n"), "{answers}");
    assert!(answers.contains("HTTP/1.1 404 Not Found\r\n"), "{answers}");
    plane.stop();
}

#[test]
fn a_request_to_the_websocket_ends_the_connection() {
    let plane = plane();
    let answer = read_to_end(plane.hand(b"GET /ws HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert!(answer.starts_with("HTTP/1.1 426 Upgrade Required\r\n"), "{answer}");
    assert!(answer.contains("\r\nupgrade: websocket\r\n"), "{answer}");
    assert!(answer.contains("\r\nsec-websocket-version: 13\r\n"), "{answer}");
    plane.stop();
}

#[test]
fn a_body_that_nobody_reads_harms_nobody() {
    let plane = plane();
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\nabc";
    let answer = read_to_end(plane.hand(head));
    assert!(answer.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"), "{answer}");
    plane.stop();
}

#[test]
fn nonsense_is_answered_400() {
    let plane = plane();
    let answer = read_to_end(plane.hand(b"GET  HTTP nonsense\r\n\r\n"));
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    plane.stop();
}

#[test]
fn one_connection_too_many_is_answered_503_and_the_next_after_one_ended_is_served() {
    let plane = plane_for(3);
    // Each was answered, so it was counted, and is kept for a next request.
    let mut peers: Vec<TcpStream> = Vec::new();
    for _ in 0..3 {
        let mut peer = plane.hand(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut first = [0; 12];
        peer.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        peers.push(peer);
    }
    let refused = read_to_end(plane.hand(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert!(refused.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{refused}");
    drop(peers);
    loop {
        let mut peer = plane.hand(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut first = [0; 12];
        peer.read_exact(&mut first).unwrap();
        if &first == b"HTTP/1.1 200" {
            break;
        }
    }
    plane.stop();
}

#[test]
fn stopping_ends_idle_connections_and_takes_no_more() {
    let plane = plane();
    let mut idle = plane.hand(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut first = [0; 12];
    idle.read_exact(&mut first).unwrap();
    let Plane { control, sender, listener } = plane;
    control.stop(Duration::from_secs(20));
    assert!(read_to_end(idle).ends_with("ok"));

    let _near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (socket, peer) = listener.accept().unwrap();
    let back = sender
        .try_hand(Handed {
            socket,
            tls: None,
            is_admin: false,
            peer: peer.into(),
            read: b"GET".to_vec(),
        })
        .unwrap_err();
    assert_eq!(back.read, b"GET");
}

#[test]
fn stopping_does_not_wait_longer_than_its_grace() {
    let plane = plane();
    let mut peer = plane.hand(b"GET / HTTP/1.1\r\nHost: a\r\n");
    plane.control.stop(Duration::ZERO);
    // The end is what counts: cut off in the middle of a head.
    let mut rest = Vec::new();
    let _ = peer.read_to_end(&mut rest);
}
