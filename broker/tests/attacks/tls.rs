//! T: TLS. What is no TLS, handshakes that stall or come in floods, streams that are cut, and a
//! certificate that changes under load.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use broker_proto::ws::Opcode;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ALL_VERSIONS, ClientConnection};

use crate::guard::{Told, attack, attack_alone, counted, refused};
use crate::support::broker::Broker;
use crate::support::tls::{Certificate, TlsStream, Wire, connect};
use crate::support::ws_client::{PATIENCE, WsClient};

const ALERT: u8 = 0x15;
const PROTOCOL_VERSION: u8 = 70;
const HANDSHAKE_FAILURE: u8 = 40;
const NO_APPLICATION_PROTOCOL: u8 = 120;

/// Runs `what` against a broker that shows `certificate`, with these arguments besides.
fn on_tls<const N: usize>(
    certificate: &Certificate,
    arguments: &[&str],
    what: impl FnOnce(&Broker) -> [Told; N],
) {
    let flags = certificate.flags();
    let flags = flags.iter().map(String::as_str).chain(arguments.iter().copied());
    attack_alone(&flags.collect::<Vec<_>>(), |broker, _| what(broker));
}

/// Sends these bytes; what comes back until the end.
fn exchange(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("it is not zero");
    // Whoever refuses early may close while we still write.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

/// The description in the alert that must be the answer.
fn alert(answer: &[u8]) -> u8 {
    assert!(answer.len() >= 7 && answer[0] == ALERT, "no alert: {answer:x?}");
    answer[6]
}

/// The first flight of a client that means it.
fn client_hello(certificate: &Certificate) -> Vec<u8> {
    let name = ServerName::try_from("localhost").expect("it is a name");
    let client = ClientConnection::new(certificate.client(&[&TLS13]), name);
    let mut bytes = Vec::new();
    client.expect("it is set up").write_tls(&mut bytes).expect("to memory");
    bytes
}

/// A ClientHello with this version, these cipher suites and extensions.
fn hello(version: [u8; 2], suites: &[[u8; 2]], extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let length = |len: usize| u16::try_from(len).expect("it is short").to_be_bytes();
    let mut body = [&version[..], &[7; 32], &[0]].concat();
    body.extend(length(suites.len() * 2));
    body.extend(suites.concat());
    body.extend([1, 0]);
    let list: Vec<u8> = extensions
        .iter()
        .flat_map(|(id, data)| [&id.to_be_bytes()[..], &length(data.len()), data].concat())
        .collect();
    body.extend(length(list.len()));
    body.extend(list);
    let message = [&[1, 0], &length(body.len())[..], &body].concat();
    [&[0x16, 3, 1], &length(message.len())[..], &message].concat()
}

fn open(broker: &Broker, certificate: &Certificate) -> WsClient {
    let stream = connect(broker.tls_address(), &certificate.client(ALL_VERSIONS));
    let wire = Wire::Tls(Box::new(stream.expect("it speaks TLS")));
    WsClient::over(wire, "localhost", "/ws", &["altavoz.v1.json"], &[]).expect("it upgrades")
}

fn session(client: &mut WsClient) -> &mut TlsStream {
    let Wire::Tls(stream) = client.wire() else { panic!("it is sealed") };
    stream
}

#[test]
fn t_01_plain_text_on_the_tls_port_is_answered_by_an_alert() {
    on_tls(&Certificate::new(), &[], |broker| {
        let answer = exchange(broker.tls_address(), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        alert(&answer);
        [counted("altavoz_tls_failures_total", 1)]
    });
}

#[test]
fn t_02_a_client_hello_on_the_plain_port_is_refused() {
    let hello = client_hello(&Certificate::new());
    attack(&[], |broker| {
        let answer = exchange(broker.address(), &hello);
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400 "), "{answer:x?}");
        [refused(400, 1)]
    });
}

/// Some say nothing, some stop after their first flight. There is never room for more than the
/// limit, and all are gone at the deadline.
#[test]
fn t_04_handshakes_that_stall_are_few_and_short() {
    const CONNECTIONS: usize = 400;
    const MAX: usize = 50;
    let certificate = Certificate::new();
    let hello = client_hello(&certificate);
    let max = MAX.to_string();
    let limits = ["--tls-handshakes-max", &max, "--handshake-timeout-ms", "2000"];
    on_tls(&certificate, &limits, |broker| {
        let stalled: Vec<TcpStream> = (0..CONNECTIONS)
            .map(|at| {
                let mut stream = TcpStream::connect(broker.tls_address()).expect("it listens");
                if at % 2 == 0 {
                    // May be shed while it still says so.
                    let _ = stream.write_all(&hello);
                }
                let open = broker_handshakes(broker, at);
                assert!(open <= 2.0 * MAX as f64, "{open} at once");
                stream
            })
            .collect();
        let answer = open(broker, &certificate).command(r#"{"id":1,"op":"ping"}"#);
        assert_eq!(answer, r#"{"id":1,"ok":{}}"#);
        broker.wait_for_metric("altavoz_tls_handshaking", 0.0, PATIENCE);
        drop(stalled);
        let shed = CONNECTIONS - 2 * MAX;
        [counted("altavoz_tls_shed_total", shed).at_least()]
    });
}

/// Handshakes that are open, looked at now and then.
fn broker_handshakes(broker: &Broker, at: usize) -> f64 {
    if at % 50 == 49 { broker.metrics("altavoz_tls_handshaking") } else { 0.0 }
}

#[test]
fn t_08_who_has_nothing_in_common_with_us_is_told_by_an_alert() {
    const ECDHE_AES: [u8; 2] = [0xc0, 0x2b];
    let groups = (10, vec![0, 2, 0, 23]);
    let schemes = (13, vec![0, 2, 4, 3]);
    let points = (11, vec![1, 0]);
    let list = |protocol: &[u8]| {
        let len = u8::try_from(protocol.len()).expect("it is short");
        [&[0, len + 1, len], protocol].concat()
    };
    let name = |name: &[u8]| {
        let len = u16::try_from(name.len()).expect("it is short");
        [&(len + 3).to_be_bytes()[..], &[0], &len.to_be_bytes(), name].concat()
    };
    let common = || vec![groups.clone(), schemes.clone(), points.clone()];
    let with = |id: u16, data: Vec<u8>| [common(), vec![(id, data)]].concat();
    on_tls(&Certificate::new(), &[], |broker| {
        let ask = |bytes: &[u8]| exchange(broker.tls_address(), bytes);
        for old in [[3, 1], [3, 2]] {
            assert_eq!(alert(&ask(&hello(old, &[ECDHE_AES], &common()))), PROTOCOL_VERSION);
        }
        // RSA key exchange with 3DES.
        let weak = alert(&ask(&hello([3, 3], &[[0, 10]], &common())));
        assert_eq!(weak, HANDSHAKE_FAILURE);
        let h2 = alert(&ask(&hello([3, 3], &[ECDHE_AES], &with(16, list(b"h2")))));
        assert_eq!(h2, NO_APPLICATION_PROTOCOL);
        // Names that are none, and far too long ones: an alert, or it goes on; never more.
        for odd in [name(b"a b\0"), name(&[b'a'; 10_000]), vec![0xff; 9]] {
            let mut stream = TcpStream::connect(broker.tls_address()).expect("it listens");
            stream.set_read_timeout(Some(PATIENCE)).expect("it is not zero");
            stream.write_all(&hello([3, 3], &[ECDHE_AES], &with(0, odd))).expect("it is taken");
            let mut first = [0];
            stream.read_exact(&mut first).expect("it answers");
            assert!([ALERT, 0x16].contains(&first[0]), "{first:x?}");
        }
        [counted("altavoz_tls_failures_total", 4).at_least()]
    });
}

#[test]
fn t_09_new_keys_without_end_and_early_data_get_nowhere() {
    let certificate = Certificate::new();
    on_tls(&certificate, &[], |broker| {
        let mut client = open(broker, &certificate);
        client.command(r#"{"id":1,"op":"ping"}"#);
        let stream = session(&mut client);
        for _ in 0..1000 {
            if stream.conn.refresh_traffic_keys().is_err() || stream.flush().is_err() {
                break;
            }
        }
        broker.wait_for_metric("altavoz_tls_failures_total", 1.0, PATIENCE);
        assert!(client.ends_within(PATIENCE));

        let mut config = (*certificate.client(&[&TLS13])).clone();
        config.enable_early_data = true;
        let config = config.into();
        for _ in 0..2 {
            let name = ServerName::try_from("localhost").expect("it is a name");
            let mut early =
                ClientConnection::new(std::sync::Arc::clone(&config), name).expect("it is set up");
            assert!(early.early_data().is_none(), "a ticket allows early data");
            let mut stream = connect(broker.tls_address(), &config).expect("it speaks TLS");
            stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").expect("it is open");
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).expect("it answers, its tickets first");
        }
        [counted("altavoz_tls_failures_total", 1)]
    });
}

/// By a client that can: it asks for new keys in the midst of a session of TLS 1.2, is told no, and
/// gets nothing answered on that connection any more.
#[test]
fn t_06_a_renegotiation_is_refused() {
    let Some(program) = crate::support::tools::openssl() else { return };
    let certificate = Certificate::new();
    on_tls(&certificate, &[], |broker| {
        let mut client = std::process::Command::new(&program)
            .args(["s_client", "-tls1_2", "-servername", "localhost", "-connect"])
            .arg(broker.tls_address().to_string())
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("it can be run");
        let mut input = client.stdin.take().expect("it is piped");
        broker.wait_for_metric("altavoz_tls_handshakes_total", 1.0, PATIENCE);
        // A line of its own with this letter is a command to the program.
        input.write_all(b"R\n").expect("it runs");
        thread::sleep(Duration::from_millis(500));
        let _ = input.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        drop(input);
        let said = client.wait_with_output().expect("it ends");
        let text = [said.stdout, said.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        assert!(text.contains("RENEGOTIATING"), "{text}");
        assert!(text.contains("no renegotiation"), "{text}");
        assert!(!text.contains("HTTP/1.1 200"), "{text}");
        [counted("altavoz_tls_handshakes_total", 1)]
    });
}

/// First a good pair, then broken ones. Nobody who is there is dropped, whatever is in the files.
#[test]
fn t_10_a_certificate_changes_under_load_and_a_broken_one_does_not() {
    let mut certificate = Certificate::new();
    let flags = certificate.flags();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    attack_alone(&flags, |broker, _| {
        let mut old_ones: Vec<WsClient> = (0..20).map(|_| open(broker, &certificate)).collect();
        let old_client = certificate.client(ALL_VERSIONS);
        let reload = |sample: &str| {
            let before = broker.metrics(sample);
            broker.send_sighup();
            broker.wait_for_metric(sample, before + 1.0, PATIENCE);
        };
        certificate.renew();
        reload("altavoz_tls_reloads_total");
        // Trusts the new one alone.
        open(broker, &certificate).command(r#"{"id":1,"op":"ping"}"#);
        let stale = connect(broker.tls_address(), &old_client);
        assert!(stale.is_err(), "the old certificate is still shown");

        let key = std::fs::read_to_string(certificate.key()).expect("it is there");
        let cert = std::fs::read_to_string(certificate.cert()).expect("it is there");
        let other = std::fs::read_to_string(Certificate::new().key()).expect("it is there");
        for (cert, key) in [("broken", key.as_str()), (&cert, "broken"), (&cert, &other)] {
            certificate.put(cert, key);
            reload("altavoz_tls_reload_errors_total");
            open(broker, &certificate).command(r#"{"id":1,"op":"ping"}"#);
        }
        for client in &mut old_ones {
            assert_eq!(client.command(r#"{"id":2,"op":"ping"}"#), r#"{"id":2,"ok":{}}"#);
        }
        [counted("altavoz_tls_reloads_total", 1), counted("altavoz_tls_reload_errors_total", 3)]
    });
}

/// In the middle of a message, after one, and in the body of a request: the end of the TCP stream
/// completes nothing.
#[test]
fn t_11_a_stream_that_is_cut_ends_nothing_but_itself() {
    let certificate = Certificate::new();
    on_tls(&certificate, &[], |broker| {
        let mut watcher = open(broker, &certificate);
        watcher.command(r#"{"id":1,"op":"subscribe","topic":"cut"}"#);
        for half in [true, false] {
            let mut client = open(broker, &certificate);
            client.command(r#"{"id":1,"op":"subscribe","topic":"other"}"#);
            if half {
                let publish = br#"{"op":"publish","topic":"cut","data":1}"#;
                let head = [0x81, 0x80 | publish.len() as u8, 0, 0, 0, 0];
                client.send_raw(&head).expect("it is open");
                client.send_raw(&publish[..20]).expect("it is open");
            }
            client.stream().shutdown(Shutdown::Write).expect("it is open");
            assert!(client.ends_within(PATIENCE));
        }
        let mut request =
            connect(broker.tls_address(), &certificate.client(&[&TLS12])).expect("it speaks TLS");
        let head = b"POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf";
        request.write_all(head).expect("it is open");
        request.sock.shutdown(Shutdown::Write).expect("it is open");
        let mut answer = Vec::new();
        let _ = request.read_to_end(&mut answer);
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");

        // The watcher got nothing of the half: what it gets is this.
        watcher
            .send_frame(Opcode::Text, br#"{"op":"publish","topic":"cut","data":2}"#)
            .expect("it is open");
        assert_eq!(watcher.receive_text(), r#"{"topic":"cut","seq":1,"data":2}"#);
        [
            counted("altavoz_tls_truncated_total", 2).at_least(),
            counted("altavoz_closes_total{reason=\"lost\"}", 2).at_least(),
        ]
    });
}

/// Each makes the broker sign, and goes no further. The canary judges the delay.
#[test]
fn t_12_a_flood_of_handshakes_leaves_room_for_messages() {
    const THREADS: usize = 4;
    const EACH: usize = 150;
    let certificate = Certificate::new();
    let hello = client_hello(&certificate);
    on_tls(&certificate, &["--tls-handshakes-max", "20"], |broker| {
        let address = broker.tls_address();
        let floods: Vec<_> = (0..THREADS)
            .map(|_| {
                let hello = hello.clone();
                thread::spawn(move || {
                    let mut held = std::collections::VecDeque::new();
                    for _ in 0..EACH {
                        let Ok(mut stream) = TcpStream::connect(address) else { continue };
                        let _ = stream.write_all(&hello);
                        held.push_back(stream);
                        if held.len() > 30 {
                            held.pop_front();
                        }
                        thread::sleep(Duration::from_millis(2));
                    }
                })
            })
            .collect();
        // One who means well gets in during it.
        let answer = open(broker, &certificate).command(r#"{"id":1,"op":"ping"}"#);
        assert_eq!(answer, r#"{"id":1,"ok":{}}"#);
        for flood in floods {
            flood.join().expect("it does not panic");
        }
        broker.wait_for_metric("altavoz_tls_handshaking", 0.0, PATIENCE);
        [counted("altavoz_tls_handshakes_total", 1).at_least()]
    });
}
