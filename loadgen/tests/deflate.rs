//! `--deflate` from outside: the built binary against the servers of other people's library and of
//! this workspace. Messages must arrive whatever is agreed on, and the result must say what it was.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../broker/tests/support/process.rs"]
#[allow(dead_code, reason = "a part of it is needed here")]
mod process;
#[path = "support/real.rs"]
#[allow(dead_code, reason = "a part of it is needed here")]
mod real;
#[path = "support/run.rs"]
#[allow(dead_code, reason = "a part of it is needed here")]
mod run;
#[path = "../../broker/tests/support/tools.rs"]
#[allow(dead_code, reason = "a part of it is needed here")]
mod tools;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use process::Running;
use real::RealBroker;
use run::Run;

const FLAGS: &str = "--deflate --subscribers 20 --topics 2 --rate 50 --seconds 0.6 --warmup 0 \
                     --threads 2 --size 500 --drain 2";

fn go(url: &str, flags: &str) -> Run {
    run::run("fanout", url, "", flags)
}

/// A server by the websockets library; its port is known once it says so.
struct Foreign {
    _running: Running,
    url: String,
}

impl Foreign {
    /// None where the library can't be had. `parameters` are those of its extension, as JSON.
    fn start(parameters: &str) -> Option<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign/deflate_server.py");
        let mut command = Command::new(tools::python()?.interpreter());
        let running = Running::start(command.arg(script).arg(parameters)).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while !running.stdout.text().ends_with('\n') {
            assert!(Instant::now() < deadline, "no port: {}", running.stderr.text());
            std::thread::sleep(Duration::from_millis(10));
        }
        let url = format!("ws://127.0.0.1:{}/", running.stdout.text().trim());
        Some(Self { _running: running, url })
    }
}

/// What became of the offer, by the result's own words.
fn answers(run: &Run) -> Vec<(String, u64)> {
    let answers = run.json.pointer("/wire/deflate/answers").unwrap().as_object().unwrap();
    answers.iter().map(|(what, count)| (what.clone(), count.as_u64().unwrap())).collect()
}

#[test]
fn a_foreign_server_is_understood_with_context_and_without_and_with_every_window() {
    for (parameters, agreed) in [
        ("{}", "permessage-deflate; client_max_window_bits=15"),
        (
            r#"{"server_max_window_bits": 12, "client_max_window_bits": 12}"#,
            "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12",
        ),
        (
            r#"{"server_no_context_takeover": true, "client_no_context_takeover": true,
                "server_max_window_bits": 9, "client_max_window_bits": 8}"#,
            "permessage-deflate; server_no_context_takeover; server_max_window_bits=9; \
             client_no_context_takeover; client_max_window_bits=8",
        ),
    ] {
        let Some(server) = Foreign::start(parameters) else { return };
        let run = go(&server.url, FLAGS);
        assert_eq!((run.code, run.number("/deliveries/delivered")), (0, 10 * 30));
        assert_eq!(answers(&run), [(agreed.to_owned(), 21)]);
        // 30 messages went out and each came back ten times, all of more than 500 bytes.
        let bytes = |place: &str| run.number(&format!("/wire/deflate/{place}"));
        assert!(bytes("in/message_bytes") > 300 * 500, "{:#}", run.json["wire"]);
        assert!(bytes("out/message_bytes") > 30 * 500, "{:#}", run.json["wire"]);
        assert!(2 * bytes("in/wire_bytes") < bytes("in/message_bytes"));
        assert!(2 * bytes("out/wire_bytes") < bytes("out/message_bytes"));
        assert!(run.out.contains(&format!(" deflate  21 × {agreed}\n")), "{}", run.out);
        assert!(run.out.contains(" deflate  in: "), "{}", run.out);
    }
}

#[test]
fn a_server_that_declines_is_spoken_to_without() {
    let Some(server) = Foreign::start("null") else { return };
    let ours = RealBroker::start(&[]);
    for url in [server.url.clone(), ours.url()] {
        let run = go(&url, FLAGS);
        assert_eq!((run.code, run.number("/deliveries/delivered")), (0, 10 * 30));
        assert_eq!(answers(&run), [("declined".to_owned(), 21)]);
        assert_eq!(run.number("/wire/deflate/in/wire_bytes"), 0);
    }
}

#[test]
fn nothing_is_offered_unless_it_is_asked_for() {
    let Some(server) = Foreign::start("{}") else { return };
    let run = go(&server.url, FLAGS.strip_prefix("--deflate ").unwrap());
    assert_eq!(run.code, 0);
    assert!(run.json["wire"]["deflate"].is_null(), "{:#}", run.json["wire"]);
}
