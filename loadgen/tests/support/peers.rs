//! Other people's servers with a WebSocket listener on a free port, each with one token that lets
//! clients in. They are fetched where they are missing, and end with the value.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::process::{Running, run};
use super::tools;

/// What lets clients in.
pub(crate) const TOKEN: &str = "hunter2-is-no-secret";

/// How long a server may take to listen.
const START_LIMIT: Duration = Duration::from_secs(20);

/// A port that was free a moment ago may be taken before the server listens on it.
const ATTEMPTS: usize = 5;

/// A running server.
pub(crate) struct Peer {
    pub(crate) url: String,
    _running: Running,
    _folder: TempDir,
}

/// nats-server, whose token is [`TOKEN`]; none if it can't be had.
pub(crate) fn nats() -> Option<Peer> {
    let program = tools::nats_server()?;
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let path = folder.path();
    let settings = format!(
        "host: 127.0.0.1\nport: -1\nports_file_dir: {path:?}\nauthorization {{ token: {TOKEN:?} }}\n\
         websocket {{ host: 127.0.0.1, port: -1, no_tls: true }}\n"
    );
    fs::write(path.join("nats.conf"), settings).expect("the folder is ours");
    let mut command = Command::new(program);
    let mut running =
        Running::start(command.arg("--config").arg(path.join("nats.conf"))).expect("it starts");
    let url = wait_for(&mut running, |_| websocket_of(path)).expect("it listens");
    Some(Peer { url, _running: running, _folder: folder })
}

/// Mosquitto, where user `loadgen` has [`TOKEN`] as the password; none if it can't be had.
pub(crate) fn mosquitto() -> Option<Peer> {
    let program = tools::mosquitto()?;
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let passwords = folder.path().join("passwords");
    let mut hash = Command::new("mosquitto_passwd");
    run(hash.args(["-b", "-c"]).arg(&passwords).args(["loadgen", TOKEN]), START_LIMIT)
        .expect("the password is hashed");
    for _ in 0..ATTEMPTS {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let address = free.expect("there is a free port");
        let path = folder.path().join("mosquitto.conf");
        // Version 2.0.11 does not start without a listener of another kind.
        let settings = format!(
            "listener 0 {}\nlistener {} 127.0.0.1\nprotocol websockets\nallow_anonymous false\n\
             password_file {}\nuser root\n",
            folder.path().join("socket").display(),
            address.port(),
            passwords.display()
        );
        fs::write(&path, settings).expect("the folder is ours");
        let mut command = Command::new(&program);
        let mut running = Running::start(command.arg("-c").arg(&path)).expect("it starts");
        let runs = |running: &Running| running.stderr.text().contains(" running\n").then_some(());
        if wait_for(&mut running, runs).is_some() {
            return Some(Peer {
                url: format!("ws://{address}/"),
                _running: running,
                _folder: folder,
            });
        }
        eprintln!("{}", running.stderr.text());
    }
    panic!("mosquitto does not listen")
}

/// A server of our own in Python's `websockets`: Pusher Channels with an app of this key, whose
/// secret is [`TOKEN`], and an echo; none if Python or the library can't be had. The URL has no
/// path.
pub(crate) fn channels(app_key: &str) -> Option<Peer> {
    let python = tools::python()?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/channels.py");
    let mut command = Command::new(python.interpreter());
    let mut running =
        Running::start(command.arg(script).args([app_key, TOKEN])).expect("it starts");
    let port = |text: &str| text.trim().parse::<u16>().ok();
    let port = running.wait_for_output(START_LIMIT, port).expect("it prints its port");
    let folder = tempfile::tempdir().expect("there is room for a folder");
    Some(Peer { url: format!("ws://127.0.0.1:{port}"), _running: running, _folder: folder })
}

/// The address in the file that nats-server writes when it listens.
fn websocket_of(folder: &Path) -> Option<String> {
    let files = fs::read_dir(folder).ok()?;
    let path = files
        .flatten()
        .map(|file| file.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "ports"))?;
    let ports: Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    Some(ports["websocket"][0].as_str()?.to_owned())
}

/// Asks until there is an answer, the process has ended, or it takes too long.
fn wait_for<T>(running: &mut Running, answer: impl Fn(&Running) -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + START_LIMIT;
    loop {
        let has_ended = running.wait(Duration::ZERO).is_some();
        match answer(running) {
            _ if has_ended => return None,
            Some(answer) => return Some(answer),
            None if Instant::now() >= deadline => return None,
            None => thread::sleep(Duration::from_millis(10)),
        }
    }
}
