//! The broker as a process: what keeps it from starting, and what it survives.

#[path = "support/support.rs"]
mod support;

use std::io::Write;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use support::broker::Broker;
use support::process::Running;
use support::ws_client::{PATIENCE, Received, WsClient};

const JSON: &str = "altavoz.v1.json";

/// Starts it and demands that it ends with an error before it listens; what it wrote about it.
fn refusal(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_broker"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ALTAVOZ_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).envs(variables.iter().copied()).stdin(Stdio::null());
    let mut running = Running::start(&mut command).expect("the broker can be run");
    let status = running.wait(PATIENCE).unwrap_or_else(|| {
        panic!("it runs in spite of {arguments:?} {variables:?}: {}", running.stdout.text())
    });
    // The collecting threads may still hold the last bytes.
    thread::sleep(Duration::from_millis(20));
    let (stdout, stderr) = (running.stdout.text(), running.stderr.text());
    assert!(matches!(status.code(), Some(1 | 2)), "{status}: {stderr}");
    assert_eq!(stdout, "", "it must not say that it listens");
    stderr
}

/// Settings, each with a value that cannot be; nor can 0, but for `workers`.
const LIMITS: [(&str, &str); 19] = [
    ("head_bytes_max", "65537"),
    ("headers_max", "-1"),
    ("message_bytes_max", "124"),
    ("backlog_bytes_max", "1023"),
    ("backlog_total_bytes_max", "1 GiB"),
    ("mailbox_bytes_max", "1e9"),
    ("subscriptions_max", "1000001"),
    ("control_frames_per_second_max", "18446744073709551616"),
    ("handshake_timeout_ms", "3600001"),
    ("message_timeout_ms", "10s"),
    ("write_timeout_ms", ""),
    ("ping_interval_ms", "0x10"),
    ("pong_timeout_ms", " 5000"),
    ("close_timeout_ms", "30001"),
    ("topics_max", "100000001"),
    ("topic_linger_ms", "+"),
    ("drain_timeout_ms", "25001"),
    ("workers", "65"),
    ("listen", "localhost"),
];

#[test]
fn x_17_a_limit_of_zero_or_beyond_its_range_is_refused_by_name_wherever_it_stands() {
    let file = tempfile::Builder::new().suffix(".toml").tempfile().expect("there is room");
    for (key, beyond) in LIMITS {
        let zero_is_wrong = key != "workers";
        for value in ["0", beyond].into_iter().skip(usize::from(!zero_is_wrong)) {
            let flag = format!("--{}", key.replace('_', "-"));
            let message = refusal(&[&format!("{flag}={value}")], &[]);
            assert!(message.contains(&flag), "{key} = {value}: {message}");

            let variable = format!("ALTAVOZ_{}", key.to_uppercase());
            // An empty variable counts as not set.
            if !value.is_empty() {
                let message = refusal(&[], &[(&variable, value)]);
                assert!(message.contains(&variable), "{key} = {value}: {message}");
            }

            let line =
                if value == "0" { format!("{key} = 0\n") } else { format!("{key} = {value:?}\n") };
            file.as_file().set_len(0).expect("it is ours");
            std::fs::write(file.path(), line).expect("it is ours");
            let message = refusal(&["--config", &file.path().to_string_lossy()], &[]);
            assert!(message.contains(key), "{key} = {value}: {message}");
        }
    }
}

#[test]
fn x_17_a_setting_that_does_not_exist_is_refused_by_name() {
    let mut file = tempfile::Builder::new().suffix(".toml").tempfile().expect("there is room");
    for key in ["lisen", "listen_", "PING_INTERVAL_MS", "ping-interval-ms", "check", "workers.n"] {
        file.as_file().set_len(0).expect("it is ours");
        std::fs::write(file.path(), format!("{key} = 1\n")).expect("it is ours");
        let message = refusal(&["--config", &file.path().to_string_lossy()], &[]);
        let name = key.split('.').next().unwrap_or_default();
        assert!(message.contains(name), "{key}: {message}");
    }
    for text in ["listen", "= 1", "listen = ", "[listen", "\u{0}", "a = 1\na = 2\n"] {
        std::fs::write(file.path(), text).expect("it is ours");
        let message = refusal(&["--config", &file.path().to_string_lossy()], &[]);
        assert!(message.contains(&*file.path().to_string_lossy()), "{text:?}: {message}");
    }
    file.flush().expect("it is ours");
    let message = refusal(&["--config", "/nowhere/altavoz.toml"], &[]);
    assert!(message.contains("/nowhere/altavoz.toml"), "{message}");
    assert!(refusal(&["--pingg-interval-ms", "1"], &[]).contains("--pingg-interval-ms"));
}

#[test]
fn x_17_settings_that_cannot_hold_together_are_refused_by_name() {
    let pairs = [
        (["--message-bytes-max", "1048577"], "backlog-bytes-max"),
        (["--backlog-bytes-max", "2147483648"], "backlog-total-bytes-max"),
        (["--mailbox-bytes-max", "65535"], "message-bytes-max"),
        (["--close-timeout-ms", "10001"], "drain-timeout-ms"),
    ];
    for (arguments, other) in pairs {
        let message = refusal(&arguments, &[]);
        assert!(message.contains(arguments[0]), "{arguments:?}: {message}");
        let other_key = other.replace('-', "_");
        assert!(message.contains(other) || message.contains(&other_key), "{message}");
    }
}

#[test]
fn an_address_that_is_taken_is_named() {
    let other = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = other.local_addr().expect("it is bound").to_string();
    let message = refusal(&["--listen", &address], &[]);
    assert!(message.contains(&address), "{message}");
}

/// Workers share their port with each other, not with the workers of a second broker.
#[test]
fn a_second_broker_on_the_same_port_is_refused() {
    let broker = Broker::start(&[]);
    let address = broker.address().to_string();
    let message = refusal(&["--listen", &address], &[]);
    assert!(message.contains(&address), "{message}");
}

/// X-13 as far as one node goes: stopped like a debugger would stop it, or a machine that is moved,
/// for longer than any ping may stay unanswered.
#[test]
fn x_13_a_process_that_was_frozen_goes_on_with_everyone_who_is_there() {
    let broker = Broker::start(&["--ping-interval-ms", "1000", "--pong-timeout-ms", "1000"]);
    let mut subscriber =
        WsClient::connect(broker.address(), "/ws", &[JSON]).expect("the broker takes a handshake");
    subscriber.command(r#"{"id":1,"op":"subscribe","topic":"t"}"#);
    let id = i32::try_from(broker.process_id()).ok().and_then(Pid::from_raw);
    let id = id.expect("it is the id of a child");
    kill_process(id, Signal::STOP).expect("the child is not reaped");
    // What comes meanwhile waits in the kernel.
    for _ in 0..30 {
        subscriber.send_text(r#"{"op":"publish","topic":"t","data":0}"#).expect("it is open");
        thread::sleep(Duration::from_millis(100));
    }
    kill_process(id, Signal::CONT).expect("the child is not reaped");
    let mut messages = 0;
    while messages < 30 {
        match subscriber.receive(PATIENCE) {
            Some(Received::Text(text)) => {
                messages += 1;
                let message = format!(r#"{{"topic":"t","seq":{messages},"data":0}}"#);
                assert_eq!(text, message);
            }
            Some(Received::Ping(payload)) => {
                let pong = broker_proto::ws::Opcode::Pong;
                subscriber.send_frame(pong, &payload).expect("it is open");
            }
            other => panic!("after {messages} messages came {other:?}"),
        }
    }
    assert_eq!(subscriber.command(r#"{"id":2,"op":"ping"}"#), r#"{"id":2,"ok":{}}"#);
}
