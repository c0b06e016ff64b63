//! Opening handshakes by the thousand: clients that say nothing, that say it slowly, or that come
//! too often.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use broker::sys;
use socket2::{Domain, Socket, Type};

use super::base;
use crate::guard::{KIB, MIB, attack_alone, counted, refused};
use crate::support::broker::Broker;
use crate::support::ws_client::{PATIENCE, WsClient};

/// Connects `count` times, from an address that no other swarm of late has used up the ports of.
fn swarm(broker: &Broker, count: usize) -> Vec<TcpStream> {
    static SWARMS: AtomicU8 = AtomicU8::new(1);
    sys::raise_descriptor_limit();
    let [.., high, low] = std::process::id().to_be_bytes();
    let local = Ipv4Addr::new(127, high | 1, low, SWARMS.fetch_add(1, Ordering::Relaxed));
    (0..count).map(|_| connect_from(local, broker.address())).collect()
}

fn connect_from(local: Ipv4Addr, address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("there are descriptors");
    socket.bind(&SocketAddr::new(IpAddr::V4(local), 0).into()).expect("all of 127/8 is ours");
    socket.connect(&address.into()).expect("the broker listens");
    socket.into()
}

/// What came on a connection that has ended, be it by a reset.
fn rest_of(stream: &mut TcpStream) -> Vec<u8> {
    stream.set_read_timeout(Some(PATIENCE)).expect("it is not zero");
    let mut received = Vec::new();
    let mut chunk = [0; 1024];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return received,
            Ok(length) => received.extend_from_slice(&chunk[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return received,
            Err(error) => panic!("the connection did not end: {error}"),
        }
    }
}

/// The row has 5 s and a byte every 2 s; here everything is four times as fast.
#[test]
fn h_05_two_thousand_heads_a_byte_at_a_time_are_dropped() {
    const COUNT: usize = 2_000;
    attack_alone(&["--handshake-timeout-ms", "1250"], |broker, guard| {
        let mut streams = swarm(broker, COUNT);
        let request = base();
        let began = Instant::now();
        let mut bytes = request.iter();
        let mut most = 0;
        while broker.metrics("altavoz_connections") > 2.0 {
            assert!(began.elapsed() < PATIENCE, "slow clients are still connected");
            let byte = bytes.next().expect("the head is long enough");
            for stream in &mut streams {
                // Fails on those that are dropped already.
                let _ = stream.write_all(&[*byte]);
            }
            most = most.max(guard.growth_bytes());
            WsClient::connect(broker.address(), "/ws", &[]).expect("others still get in");
            thread::sleep(Duration::from_millis(500));
        }
        assert!(most < COUNT as u64 * 4 * KIB, "{most} bytes held");
        for stream in &mut streams {
            let answer = rest_of(stream);
            assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 408 "), "{answer:?}");
        }
        [refused(408, COUNT)]
    });
}

/// Not worth an answer: browsers open spare connections on which nothing is ever said.
#[test]
fn h_06_five_thousand_silent_connections_are_dropped() {
    const COUNT: usize = 5_000;
    attack_alone(&["--handshake-timeout-ms", "1500"], |broker, guard| {
        let mut streams = swarm(broker, COUNT);
        for stream in &mut streams {
            assert_eq!(rest_of(stream), b"");
        }
        let peak = guard.peak_growth_bytes();
        assert!(peak < COUNT as u64 * 4 * KIB + 16 * MIB, "{peak} bytes held");
        [counted("altavoz_refusals_total{status=\"408\"}", COUNT)]
    });
}

/// As fast as they come, up to some thousands a second. The bystanders come from another address,
/// which is not held to account for it.
#[test]
fn h_25_who_connects_too_often_is_turned_away() {
    const COUNT: usize = 5_000;
    const RATE: usize = 100;
    let limit = ["--limit-loopback", "true", "--connects-per-second-per-address-max", "100"];
    attack_alone(&limit, |broker, _| {
        let began = Instant::now();
        let streams = swarm(broker, COUNT);
        let most = RATE * 10 + (began.elapsed().as_secs_f64() * RATE as f64) as usize + RATE;
        let least = COUNT - most.min(COUNT - 1);
        WsClient::connect(broker.address(), "/ws", &[]).expect("others still get in");
        drop(streams);
        [refused(429, least).at_least()]
    });
}
