//! Conformance in compression by the Autobahn cases of sections 12 and 13, which the `kosoku` suite
//! runs against the broker's `/echo`, and against the codec of `broker-proto` in both roles: there a
//! bare echo stands in for both ends, a thread and a socket around the codec, that takes context over
//! and knows every window, which the broker does not.

#[path = "support/support.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use broker_proto::handshake::{ClientHandshake, HeadLimits, HeadScanner, Request, Upgrade};
use broker_proto::ws::deflate::{
    Agreement, Deflater, Inflater, LEVEL_DEFAULT, Offer, Terms, encode_deflated_frame,
    encode_masked_deflated_frame, select,
};
use broker_proto::ws::{
    CloseCode, Decoder, Event, Opcode, Role, close_payload, encode_frame, encode_masked_frame,
};
use support::broker::Broker;
use support::process::{Running, run};
use support::tools;

/// Which cases are run: the suite's arguments, how many that are, and how many of them are of section
/// 12, for which a browser's offer will do. In section 13 the suite takes those who can do without
/// context.
struct Selection {
    cases: &'static [&'static str],
    count: usize,
    of_browsers: usize,
}

/// Two sizes of every kind of data and every choice of parameters: a thousand messages each.
const CUT: Selection = Selection {
    cases: &["-i", "12.*.3", "-i", "12.*.13", "-i", "13.*.3", "-i", "13.*.13"],
    count: 24,
    of_browsers: 10,
};
/// Every size, too.
const ALL: Selection =
    Selection { cases: &["-i", "12.*", "-i", "13.*"], count: 216, of_browsers: 90 };
const SUITE_LIMIT: Duration = Duration::from_secs(3600);
const PATIENCE: Duration = Duration::from_secs(60);
const MESSAGE_BYTES_MAX: u32 = 16 << 20;
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const AGENT: &str = "altavoz";

#[test]
fn d_16_the_broker_conforms_in_compression() {
    hold_broker("deflate-broker", &CUT);
}

#[test]
fn d_16_the_server_role_conforms_in_compression() {
    hold_server("deflate-server", &CUT);
}

#[test]
fn d_16_the_client_role_conforms_in_compression() {
    hold_client("deflate-client", &CUT);
}

/// `cargo test --release -p broker --test autobahn_deflate -- --ignored every_case`
#[test]
#[ignore = "takes a quarter of an hour"]
fn d_16_every_case_of_both_sections_is_right() {
    hold_broker("deflate-broker-all", &ALL);
    hold_server("deflate-server-all", &ALL);
    hold_client("deflate-client-all", &ALL);
}

fn hold_broker(name: &str, selection: &Selection) {
    let Some(python) = tools::python() else { return };
    let arguments = ["--echo", "--deflate", "--deflate-bytes-min", "0"];
    let limits = ["--message-bytes-max", "16777216", "--backlog-bytes-max", "33554432"];
    let more = ["--mailbox-bytes-max", "33554432", "--first-command-timeout-ms", "0"];
    let broker = Broker::start(&[&arguments[..], &limits, &more].concat());
    let reports = fresh_reports(name);
    let mut suite = Command::new(python.kosoku());
    suite.args(selection.cases).arg("-o").arg(&reports).arg(broker.ws_url("/echo"));
    run(&mut suite, SUITE_LIMIT).expect("kosoku runs to its end");
    demand_conformance(&reports, selection);
    assert!(broker.metrics("altavoz_deflate_in_bytes_total") > 0.0, "nothing was compressed");
}

fn hold_server(name: &str, selection: &Selection) {
    let Some(python) = tools::python() else { return };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a free port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || echo(serve(stream)?, Role::Server));
        }
    });
    let reports = fresh_reports(name);
    let mut suite = Command::new(python.kosoku());
    suite.args(selection.cases).arg("-o").arg(&reports).arg(format!("ws://{address}/"));
    run(&mut suite, SUITE_LIMIT).expect("kosoku runs to its end");
    demand_conformance(&reports, selection);
}

fn hold_client(name: &str, selection: &Selection) {
    let Some(python) = tools::python() else { return };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a free port");
    let address = listener.local_addr().expect("it is bound");
    drop(listener);
    let reports = fresh_reports(name);
    let mut suite = Command::new(python.kosoku());
    suite.args(["-m", "fuzzingserver"]).args(selection.cases);
    let suite = suite.arg("-o").arg(&reports).arg(address.to_string());
    let _running = Running::start(suite).expect("kosoku can be run");
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < deadline, "it does not listen on {address}");
        thread::sleep(Duration::from_millis(20));
    }
    for case in 1..=selection.count {
        let mut offer = Offer::BROWSER;
        offer.client.no_context_takeover = case > selection.of_browsers;
        let open = connect(address, &format!("/runCase?case={case}&agent={AGENT}"), offer);
        // It fails where the suite hangs up first, which is its right: it has its verdict.
        let _ = echo(open.expect("the suite listens"), Role::Client);
    }
    let open = connect(address, &format!("/updateReports?agent={AGENT}"), Offer::BROWSER);
    let _ = echo(open.expect("the suite listens"), Role::Client);
    let deadline = Instant::now() + PATIENCE;
    // It may be there before it is whole.
    let is_whole = |index: Vec<u8>| serde_json::from_slice::<serde_json::Value>(&index).is_ok();
    while !fs::read(reports.join("index.json")).is_ok_and(is_whole) {
        assert!(Instant::now() < deadline, "no reports");
        thread::sleep(Duration::from_millis(50));
    }
    demand_conformance(&reports, selection);
}

/// An open connection, with what came after the head.
struct Open {
    stream: TcpStream,
    rest: Vec<u8>,
    agreement: Option<Agreement>,
}

fn serve(mut stream: TcpStream) -> io::Result<Open> {
    let (head, rest) = read_head(&mut stream, HeadScanner::default())?;
    let request = Request::parse(&head, &HeadLimits::default()).map_err(io::Error::other)?;
    let upgrade = Upgrade::from_request(&request).map_err(io::Error::other)?;
    let agreement = select(upgrade.offers(), Terms::default(), Terms::default());
    let mut response = Vec::new();
    upgrade.write_response(&mut response, None, agreement.as_ref());
    stream.write_all(&response)?;
    Ok(Open { stream, rest, agreement })
}

fn connect(address: SocketAddr, path: &str, offer: Offer) -> io::Result<Open> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let handshake = ClientHandshake::new(*b"the sample nonce").with_deflate(offer);
    let mut request = Vec::new();
    handshake.write_request(&mut request, &address.to_string(), path, &[], &[]);
    stream.write_all(&request)?;
    let (head, rest) = read_head(&mut stream, HeadScanner::for_response())?;
    let agreement = handshake.verify(&head, &[]).map_err(io::Error::other)?.deflate;
    Ok(Open { stream, rest, agreement })
}

fn read_head(stream: &mut TcpStream, mut scanner: HeadScanner) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let length = stream.read(&mut chunk)?;
        bytes.extend_from_slice(&chunk[..length]);
        let found = scanner.scan(&bytes, &HeadLimits::default()).map_err(io::Error::other)?;
        match found {
            Some(length) => {
                let rest = bytes.split_off(length);
                return Ok((bytes, rest));
            }
            None if length == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            None => {}
        }
    }
}

/// Sends back what comes, compressed where that was agreed on, until the connection ends.
fn echo(open: Open, role: Role) -> io::Result<()> {
    let Open { mut stream, rest: mut bytes, agreement } = open;
    let terms = agreement.unwrap_or_default();
    let (theirs, ours) = match role {
        Role::Server => (terms.client, terms.server),
        Role::Client => (terms.server, terms.client),
    };
    let mut decoder = Decoder::new(role, MESSAGE_BYTES_MAX);
    let (mut inflater, mut scratch) = (Inflater::new(theirs), Vec::new());
    let mut deflater = agreement.map(|_| Deflater::new(ours, LEVEL_DEFAULT));
    loop {
        let (mut at, mut out, mut is_over) = (0, Vec::new(), false);
        loop {
            let step = match agreement {
                Some(_) => decoder.decode_deflated(&mut bytes[at..], &mut inflater, &mut scratch),
                None => decoder.decode(&mut bytes[at..]),
            };
            let (used, event) = match step {
                Ok(step) => step,
                Err(error) => {
                    let payload = close_payload(error.close_code(), "");
                    send(&mut out, role, Opcode::Close, payload.as_slice(), None);
                    is_over = true;
                    break;
                }
            };
            at += used;
            let (opcode, payload) = match event {
                None => break,
                Some(Event::Text(text)) => (Opcode::Text, text.as_bytes()),
                Some(Event::Binary(bytes)) => (Opcode::Binary, bytes),
                Some(Event::Ping(payload)) => (Opcode::Pong, payload),
                Some(Event::Pong(_)) => continue,
                Some(Event::Close(frame)) => {
                    let code = frame.map_or(CloseCode::NORMAL, |frame| frame.code);
                    let payload = close_payload(code, "");
                    send(&mut out, role, Opcode::Close, payload.as_slice(), None);
                    is_over = role == Role::Server;
                    continue;
                }
            };
            send(&mut out, role, opcode, payload, deflater.as_mut());
        }
        stream.write_all(&out)?;
        bytes.resize(64 * 1024, 0);
        let length = if is_over { 0 } else { stream.read(&mut bytes)? };
        if length == 0 {
            return Ok(());
        }
        bytes.truncate(length);
    }
}

fn send(
    out: &mut Vec<u8>,
    role: Role,
    opcode: Opcode,
    payload: &[u8],
    deflater: Option<&mut Deflater>,
) {
    match (role, deflater.filter(|_| !opcode.is_control())) {
        (Role::Server, None) => encode_frame(out, opcode, payload),
        (Role::Client, None) => encode_masked_frame(out, opcode, payload, KEY),
        (Role::Server, Some(deflater)) => encode_deflated_frame(out, opcode, payload, deflater),
        (Role::Client, Some(deflater)) => {
            encode_masked_deflated_frame(out, opcode, payload, KEY, deflater);
        }
    }
}

/// Every case ran with compression and is strictly right.
fn demand_conformance(reports: &Path, selection: &Selection) {
    let index = fs::read(reports.join("index.json")).expect("the suite wrote its reports");
    let agents: BTreeMap<String, BTreeMap<String, serde_json::Value>> =
        serde_json::from_slice(&index).expect("the index is as it always was");
    let verdicts = agents.values().next().expect("one agent was tested");
    let wrong: Vec<_> = verdicts
        .iter()
        .filter(|(_, case)| case["behavior"] != "OK" || case["behaviorClose"] != "OK")
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}\nreports: {}", reports.display());
    assert_eq!(verdicts.len(), selection.count, "every case ran");
}

fn fresh_reports(name: &str) -> PathBuf {
    let reports = tools::target_directory().join("autobahn").join(name);
    if reports.exists() {
        fs::remove_dir_all(&reports).expect("it is ours");
    }
    reports
}
