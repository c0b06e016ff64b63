//! Behind real proxies: nginx and HAProxy, set up as docs/OPERATIONS.md says, from its very text.
//! WebSockets pass, the broker knows its clients' addresses, and what a client says of its own is
//! not believed.

#[path = "support/support.rs"]
mod support;

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use support::broker::Broker;
use support::http;
use support::process::Running;
use support::tls::{self, Certificate, Wire};
use support::tools;
use support::ws_client::{PATIENCE, WsClient};

/// Where the clients of the proxies come from.
const CLIENT: &str = "127.0.0.9";
/// Where proxies with the PROXY protocol come from, so that this test itself is not taken for one.
const PROXY: &str = "127.0.0.3";

/// A block of the operations manual, by its language and a word in it.
fn documented(language: &str, word: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/OPERATIONS.md");
    let text = fs::read_to_string(path).expect("the manual is there");
    let fence = format!("```{language}\n");
    let blocks = text.split(&fence).skip(1).filter_map(|rest| rest.split("```").next());
    let found = blocks.into_iter().find(|block| block.contains(word));
    found.unwrap_or_else(|| panic!("no block of {language} with {word}")).to_owned()
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound")
}

/// Replaces what must be there.
fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "no {from} in {text}");
    text.replace(from, to)
}

/// Starts a proxy with a configuration, and waits until it listens.
fn start(command: &mut Command, address: SocketAddr) -> Running {
    let mut running = Running::start(command).expect("the proxy can be run");
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(address).is_err() {
        let ended = running.wait(Duration::ZERO);
        let (out, log) = (running.stdout.text(), running.stderr.text());
        assert!(ended.is_none() && Instant::now() < deadline, "{ended:?} {out} {log}");
        thread::sleep(Duration::from_millis(20));
    }
    running
}

fn nginx(program: &Path, folder: &Path, server: &str, address: SocketAddr) -> Running {
    let place = folder.display();
    let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {place}/{name};\n"))
        .concat();
    let all = format!(
        "daemon off;\nmaster_process off;\npid {place}/pid;\nerror_log stderr;\n\
         events {{ worker_connections 256; }}\nhttp {{\naccess_log off;\n{paths}{server}\n}}\n"
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, all).expect("a file");
    start(Command::new(program).arg("-e").arg("stderr").arg("-c").arg(&file), address)
}

fn haproxy(program: &Path, folder: &Path, parts: &str, address: SocketAddr) -> Running {
    let file = folder.join("haproxy.cfg");
    let defaults = "global\n    maxconn 256\ndefaults\n    timeout connect 5s\n    \
        timeout client 60s\n    timeout server 60s\n";
    fs::write(&file, format!("{defaults}{parts}")).expect("a file");
    start(Command::new(program).arg("-db").arg("-f").arg(&file), address)
}

/// A WebSocket through a proxy, with claims of its own.
fn open(address: SocketAddr) -> WsClient {
    let stream = http::connect_from(CLIENT, address).expect("the proxy listens");
    let claims =
        [("X-Forwarded-For", "198.51.100.66"), ("Forwarded", "for=198.51.100.66;proto=https")];
    let opened =
        WsClient::over(Wire::Plain(stream), "feed.example", "/ws", &["altavoz.v1.json"], &claims);
    opened.expect("it upgrades")
}

/// Two clients through the proxy, one publishing to the other, and where the broker sees them.
fn demand_service(broker: &Broker, clients: [WsClient; 2]) {
    let [mut publisher, mut subscriber] = clients;
    let answer = subscriber.command(r#"{"id":1,"op":"subscribe","topic":"t"}"#);
    assert!(answer.contains(r#""ok""#), "{answer}");
    for seq in 1..=100 {
        let command = format!(r#"{{"op":"publish","topic":"t","data":{seq}}}"#);
        publisher.send_text(&command).expect("it is open");
        let wanted = format!(r#"{{"topic":"t","seq":{seq},"data":{seq}}}"#);
        assert_eq!(subscriber.receive_text(), wanted);
    }
    let text = http::get(broker.address(), "/api/v1/connections").expect("an answer").text();
    let list: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let connections = list["connections"].as_array().expect("a list");
    assert_eq!(connections.len(), 2);
    for connection in connections {
        let address = connection["address"].as_str().expect("a text");
        let host = address.split(':').next();
        assert_eq!(host, Some(CLIENT), "{list}");
    }
}

/// A request through the proxy; the broker's log must show whose it was.
fn demand_request(broker: &Broker, address: SocketAddr) {
    let request = b"GET /readyz HTTP/1.1\r\nHost: feed.example\r\nConnection: close\r\n\
        X-Forwarded-For: 198.51.100.66\r\n\r\n";
    for _ in 0..3 {
        let stream = http::connect_from(CLIENT, address).expect("the proxy listens");
        let answer = http::exchange_over(stream, request, PATIENCE).expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    // A line may be written a moment after its answer.
    let deadline = Instant::now() + PATIENCE;
    let is_request = |line: &&str| line.contains("HTTP request") && line.contains("readyz");
    let mut log = broker.stderr();
    while log.lines().filter(is_request).count() < 3 {
        assert!(Instant::now() < deadline, "{log}");
        thread::sleep(Duration::from_millis(10));
        log = broker.stderr();
    }
    let lines: Vec<&str> = log.lines().filter(is_request).collect();
    assert_eq!(lines.len(), 3, "{log}");
    assert!(lines.iter().all(|line| line.contains(CLIENT) && !line.contains("198.51")), "{log}");
}

fn broker(arguments: &[&str]) -> Broker {
    Broker::start(&[&["--workers", "2", "--log", "info,broker::control=debug"], arguments].concat())
}

#[test]
fn behind_nginx_by_x_forwarded_for() {
    let Some(program) = tools::nginx() else { return };
    let broker = broker(&["--trusted-proxies", "127.0.0.1"]);
    let (folder, address) = (tempfile::tempdir().expect("a folder"), free_address());
    let server = documented("nginx", "X-Forwarded-For");
    let server = replaced(&server, "listen 80;", &format!("listen {address};"));
    let server = replaced(&server, "127.0.0.1:8080", &broker.address().to_string());
    let _nginx = nginx(&program, folder.path(), &server, address);
    demand_service(&broker, [open(address), open(address)]);
    demand_request(&broker, address);
}

#[test]
fn behind_haproxy_by_the_standard_header() {
    let Some(program) = tools::haproxy() else { return };
    let arguments = ["--trusted-proxies", "127.0.0.1", "--client-address-from", "forwarded"];
    let broker = broker(&arguments);
    let (folder, address) = (tempfile::tempdir().expect("a folder"), free_address());
    let parts = documented("haproxy", "Forwarded");
    let parts = replaced(&parts, "bind :80", &format!("bind {address}"));
    let parts = replaced(&parts, "127.0.0.1:8080", &broker.address().to_string());
    let _haproxy = haproxy(&program, folder.path(), &parts, address);
    demand_service(&broker, [open(address), open(address)]);
    demand_request(&broker, address);
}

/// TLS goes through the proxy as it is.
#[test]
fn behind_haproxy_by_both_versions_of_the_proxy_protocol() {
    let Some(program) = tools::haproxy() else { return };
    let certificate = Certificate::new();
    let flags = certificate.flags();
    let told = ["--trusted-proxies", PROXY, "--client-address-from", "proxy_protocol"];
    let arguments: Vec<&str> = told.into_iter().chain(flags.iter().map(String::as_str)).collect();
    let parts = documented("haproxy", "send-proxy-v2");
    for version in ["send-proxy-v2", "send-proxy"] {
        let broker = broker(&arguments);
        let (folder, address) = (tempfile::tempdir().expect("a folder"), free_address());
        let parts = replaced(&parts, "bind :443", &format!("bind {address}"));
        let parts = replaced(&parts, "127.0.0.1:8443", &broker.tls_address().to_string());
        let parts = replaced(&parts, "send-proxy-v2", &format!("{version} source {PROXY}"));
        let _haproxy = haproxy(&program, folder.path(), &parts, address);
        let open = || {
            let stream = http::connect_from(CLIENT, address).expect("the proxy listens");
            let client = certificate.client(rustls::ALL_VERSIONS);
            let sealed = tls::over(stream, &client).expect("it speaks TLS");
            let wire = Wire::Tls(Box::new(sealed));
            WsClient::over(wire, "localhost", "/ws", &["altavoz.v1.json"], &[])
                .expect("it upgrades")
        };
        demand_service(&broker, [open(), open()]);
    }
}
