//! TLS from outside: `wss://` and `https://` on one port, beside the plain one or alone, in both
//! versions, with certificates from files or made on the spot.

#[path = "support/support.rs"]
mod support;

use std::io::{Read, Write};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::ALL_VERSIONS;
use rustls::version::{TLS12, TLS13};
use sha2::{Digest, Sha256};
use support::broker::Broker;
use support::tls::{self, Certificate, TlsStream, Wire};
use support::ws_client::{PATIENCE, Received, WsClient};

fn start(certificate: &Certificate, arguments: &[&str]) -> Broker {
    let flags = certificate.flags();
    let flags = flags.iter().map(String::as_str);
    let plain = ["--workers", "2", "--pin", "false"];
    Broker::start(
        &plain.into_iter().chain(flags).chain(arguments.iter().copied()).collect::<Vec<_>>(),
    )
}

fn open(broker: &Broker, client: &Arc<rustls::ClientConfig>) -> WsClient {
    let stream = tls::connect(broker.tls_address(), client).expect("it speaks TLS");
    let wire = Wire::Tls(Box::new(stream));
    WsClient::over(wire, "localhost", "/ws", &["altavoz.v1.json"], &[]).expect("it upgrades")
}

fn session(client: &mut WsClient) -> &TlsStream {
    let Wire::Tls(stream) = client.wire() else { panic!("it is sealed") };
    stream
}

#[test]
fn messages_pass_between_plain_and_sealed_connections_in_both_versions() {
    let certificate = Certificate::new();
    let broker = start(&certificate, &[]);
    for (version, offer) in
        [(rustls::ProtocolVersion::TLSv1_3, &TLS13), (rustls::ProtocolVersion::TLSv1_2, &TLS12)]
    {
        let mut sealed = open(&broker, &certificate.client(&[offer]));
        assert_eq!(session(&mut sealed).conn.protocol_version(), Some(version));
        assert_eq!(session(&mut sealed).conn.alpn_protocol(), Some(&b"http/1.1"[..]));
        let mut plain = WsClient::connect(broker.address(), "/ws", &["altavoz.v1.json"]).unwrap();
        let subscribe = r#"{"id":1,"op":"subscribe","topic":"t"}"#;
        assert!(plain.command(subscribe).contains(r#""ok""#));
        assert!(sealed.command(subscribe).contains(r#""ok""#));

        // Several records, and not a whole number of them.
        let long = format!(r#""{}""#, "x".repeat(50_000));
        for data in ["1", &long] {
            let publish = format!(r#"{{"op":"publish","topic":"t","data":{data}}}"#);
            for publisher in [&mut plain, &mut sealed] {
                publisher.send_text(&publish).unwrap();
            }
            for subscriber in [&mut plain, &mut sealed] {
                for _ in 0..2 {
                    let message = subscriber.receive_text();
                    assert!(message.ends_with(&format!(r#""data":{data}}}"#)), "{message:.80}");
                }
            }
        }
    }
}

#[test]
fn the_page_and_the_metrics_are_there_by_https_on_a_kept_connection() {
    let certificate = Certificate::new();
    let broker = start(&certificate, &[]);
    for version in [&TLS13, &TLS12] {
        let client = certificate.client(&[version]);
        let mut stream = tls::connect(broker.tls_address(), &client).unwrap();
        // The second request begins in the record of the first, and so comes with the hand-over.
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /met").unwrap();
        let mut first = [0; 15];
        stream.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"HTTP/1.1 200 OK");
        stream.write_all(b"rics HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        stream
            .write_all(b"GET /assets/uplot-1.6.32/uPlot.iife.min.js HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut rest = Vec::new();
        // Ends with the good-bye that TLS asks for, or this fails.
        stream.read_to_end(&mut rest).unwrap();
        let text = String::from_utf8_lossy(&rest);
        assert!(text.contains("altavoz_tls_handshakes_total"), "{text:.500}");
        assert!(rest.len() > 50_000, "the file is whole: {}", rest.len());
    }
}

#[test]
fn tls_alone_leaves_no_plain_port() {
    let certificate = Certificate::new();
    let flags = certificate.flags();
    let mut command = Command::new(env!("CARGO_BIN_EXE_broker"));
    command.args(["--workers", "1", "--pin", "false", "--plain=false"]).args(&flags);
    let mut broker = support::process::Running::start(&mut command).unwrap();
    let line = broker
        .wait_for_output(PATIENCE, |text| text.split_once('\n').map(|(line, _)| line.to_owned()))
        .expect("it says where it listens");
    let (_, rest) = line.split_once("listening on https://").expect("by TLS");
    let address = rest.split_once(" (wss://").unwrap().0.parse().unwrap();
    let mut stream = tls::connect(address, &certificate.client(ALL_VERSIONS)).unwrap();
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(!broker.stdout.text().contains("http://"), "{}", broker.stdout.text());
}

#[test]
fn a_certificate_made_on_the_spot_is_the_one_whose_fingerprint_is_printed() {
    let arguments = ["--workers", "1", "--tls-self-signed", "--tls-listen", "127.0.0.1:0"];
    let broker = Broker::start(&arguments);
    let client = tls::trusting();
    let stream = tls::connect(broker.tls_address(), &client).unwrap();
    let shown = &stream.conn.peer_certificates().expect("it has one")[0];
    let hex: Vec<String> = Sha256::digest(shown).iter().map(|byte| format!("{byte:02X}")).collect();
    let line = format!("self-signed certificate, SHA-256 {}\n", hex.join(":"));
    assert!(broker.stdout().contains(&line), "{line} in {}", broker.stdout());
}

#[test]
fn a_client_that_comes_back_resumes_its_session() {
    let certificate = Certificate::new();
    let broker = start(&certificate, &[]);
    for version in [&TLS13, &TLS12] {
        let before = broker.metrics("altavoz_tls_resumed_total");
        let client = certificate.client(&[version]);
        for _ in 0..2 {
            // The answer shows that the tickets have come, which are sent before it.
            let answer = open(&broker, &client).command(r#"{"id":1,"op":"ping"}"#);
            assert_eq!(answer, r#"{"id":1,"ok":{}}"#);
        }
        broker.wait_for_metric("altavoz_tls_resumed_total", before + 1.0, PATIENCE);
    }
}

/// What the kernel does not take waits, sealed in part; the order and every byte must survive it.
#[test]
fn a_reader_that_pauses_gets_everything_in_order() {
    const MESSAGES: u64 = 400;
    let certificate = Certificate::new();
    let limits = ["--backlog-bytes-max", "67108864", "--mailbox-bytes-max", "67108864"];
    let broker = start(&certificate, &limits);
    let mut reader = open(&broker, &certificate.client(ALL_VERSIONS));
    reader.command(r#"{"id":1,"op":"subscribe","topic":"t"}"#);
    let mut publisher = WsClient::connect(broker.address(), "/ws", &["altavoz.v1.json"]).unwrap();
    let data = "y".repeat(60_000);
    for _ in 0..MESSAGES {
        let publish = format!(r#"{{"op":"publish","topic":"t","data":"{data}"}}"#);
        publisher.send_text(&publish).unwrap();
    }
    assert_eq!(publisher.command(r#"{"id":9,"op":"ping"}"#), r#"{"id":9,"ok":{}}"#);
    assert!(broker.metrics("altavoz_backlogged_connections") > 0.0, "nothing waited");
    for seq in 1..=MESSAGES {
        let text = reader.receive_text();
        assert!(text.contains(&format!(r#""seq":{seq},"#)), "{text:.80}, not {seq}");
        assert_eq!(text.len(), text.find("yyy").unwrap() + data.len() + 2);
        if seq % 50 == 0 {
            thread::sleep(Duration::from_millis(20));
        }
    }
    broker.wait_for_metric("altavoz_backlog_total_bytes", 0.0, PATIENCE);
}

#[test]
fn who_is_sent_away_gets_the_close_frame_and_the_good_bye_of_tls() {
    let certificate = Certificate::new();
    let mut broker = start(&certificate, &["--reconnect-spread-ms", "0"]);
    let mut client = open(&broker, &certificate.client(ALL_VERSIONS));
    client.command(r#"{"id":1,"op":"ping"}"#);
    broker.send_sigterm();
    assert_eq!(client.receive_close().0, 1001);
    client.send_close(broker_proto::ws::CloseCode::GOING_AWAY, "").unwrap();
    // Without the good-bye the library calls it an unexpected end, which would be a reset here.
    assert_eq!(client.receive(PATIENCE), Some(Received::End));
    drop(client);
    assert!(broker.wait(PATIENCE).expect("it ends").success());
}

#[test]
fn settings_that_do_not_go_together_are_refused_by_name() {
    let certificate = Certificate::new();
    let (cert, key) = (certificate.cert(), certificate.key());
    let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
    for (arguments, says) in [
        (vec!["--tls-cert", cert], "without tls_key"),
        (vec!["--tls-key", key], "without tls_cert"),
        (vec!["--tls-cert", cert, "--tls-key", key, "--tls-self-signed"], "only one certificate"),
        (vec!["--tls-listen", "127.0.0.1:1"], "without a certificate"),
        (vec!["--plain=false"], "nothing would be listened on"),
        (
            vec!["--tls-self-signed", "--listen", "127.0.0.1:9", "--tls-listen", "127.0.0.1:9"],
            "are the same",
        ),
        (vec!["--tls-cert", "/no/such", "--tls-key", key], "/no/such: "),
        (vec!["--tls-cert", key, "--tls-key", key], "no certificate in PEM"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_broker"));
        if !arguments.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        let output = command.args(&arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains(says), "{arguments:?}: {text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}

/// Printed for the documentation, and bounded.
#[test]
fn an_idle_connection_costs_a_few_kilobytes() {
    const CONNECTIONS: usize = 200;
    const BYTES_MAX: u64 = 24 * 1024;
    let certificate = Certificate::new();
    let broker = start(&certificate, &[]);
    let allocated = || broker.metrics("altavoz_allocated_bytes") as u64;
    let client = certificate.client(&[&TLS13]);
    drop(open(&broker, &client));
    let before = allocated();
    let mut open_ones = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut one = open(&broker, &client);
        one.command(r#"{"id":1,"op":"ping"}"#);
        open_ones.push(one);
    }
    let sealed = allocated().saturating_sub(before) / CONNECTIONS as u64;
    println!("an idle connection by TLS: {sealed} bytes");
    assert!(sealed < BYTES_MAX, "{sealed} bytes");
}
