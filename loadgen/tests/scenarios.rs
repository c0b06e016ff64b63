//! Scenarios as files, from outside: what is listed, shown and run, and what is refused.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(dead_code, reason = "a run tells more than is needed here")]

#[path = "support/run.rs"]
mod run;
#[path = "support/sink.rs"]
mod sink;

use std::fs;
use std::process::Command;

use run::{Run, run};
use sink::{Injected, Sink};

const LOADGEN: &str = env!("CARGO_BIN_EXE_loadgen");

/// Exit code, standard output and standard error.
fn loadgen(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(LOADGEN).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn every_scenario_that_is_listed_can_be_shown_and_the_file_says_what_it_is() {
    let (code, list, _) = loadgen(&["list"]);
    assert_eq!((code, list.lines().count()), (0, 11));
    for line in list.lines() {
        let (name, about) = line.split_once(": ").unwrap();
        let (code, file, _) = loadgen(&["show", name]);
        assert_eq!(code, 0);
        assert!(file.starts_with(&format!("# {name}: {about}\n")), "{file}");
        assert!(file.contains(&format!("\nscenario = \"{name}\"\n")), "{file}");
    }
    let (code, _, complaint) = loadgen(&["show", "nothing"]);
    assert_eq!(code, 2);
    assert!(
        complaint
            .starts_with("loadgen: there is no scenario nothing; there are chat, churn, connect, ")
    );
}

#[test]
fn a_file_is_run_and_flags_win_over_it() {
    let sink = Sink::start("");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    let text = "scenario = \"fanout\"\nsubscribers = 5\nrate = 50\nseconds = 600\nwarmup = 0\n\
                quiet = true\nallow-invalid = true\n";
    fs::write(&path, text).unwrap();
    let file = path.to_str().unwrap();
    let (code, out, _) = loadgen(&["run", file, "--seconds", "0.2", "--url", &sink.url()]);
    assert_eq!(code, 0);
    assert_eq!(
        out,
        "OK: 5 subscribers × 10 messages = 50 delivered, 0 lost, 0 duplicated, 0 out of order\n"
    );
}

#[test]
fn a_file_with_a_key_that_is_no_flag_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    fs::write(&path, "scenario = \"ticker\"\nsymbol = 5\n").unwrap();
    let file = path.to_str().unwrap();
    let (code, out, complaint) = loadgen(&["run", file]);
    assert_eq!((code, out.as_str()), (2, ""));
    let expected = format!("loadgen: {file}: unknown key `symbol`; is `symbols` meant?\n");
    assert_eq!(complaint, expected);
    assert_eq!(loadgen(&["run", "/no/such/file.toml"]).0, 2);
}

#[test]
fn connections_are_opened_held_and_closed_with_no_subscription() {
    let sink = Sink::start("");
    let flags = ["connect", "--connections", "30", "--seconds", "0.2", "--allow-invalid"];
    let (code, out, _) = loadgen(&[&flags[..], &["--url", &sink.url()]].concat());
    assert_eq!(code, 0);
    assert!(out.ends_with("OK: 30 connections opened and held, none lost\n"), "{out}");
    assert_eq!(sink.stop().count("closed_by_client"), 30);
}

#[test]
fn connections_that_are_refused_are_counted_by_their_reason() {
    let sink = Sink::start("--refuse-percent 50");
    let flags = "--connections 30 --seconds 0.2";
    let run = run("connect", &sink.url(), flags, "");
    let refused = sink.stop().count("refused");
    assert!((1..30).contains(&refused), "{refused}");
    assert_eq!(run.code, 3);
    let line = format!("failed  {refused} × the server answered 503, not 101\n");
    assert!(run.out.contains(&line), "{}", run.out);
    let verdict = format!("FAILED: {} of 30 connections reached: ", 30 - refused);
    assert!(run.last_line().starts_with(&verdict), "{}", run.out);
}

#[test]
fn what_is_lost_after_coming_back_is_told_from_what_was_missed_while_away() {
    // The only subscriber leaves once, after 1.4 s.
    let sink = Sink::start("--drop 7");
    let usual = "--subscribers 1 --leaves 0.7 --away 0.05 --rate 100 --seconds 2 --warmup 0 \
                 --drain 0.3";
    let run = run("churn", &sink.url(), usual, "");
    let injected = sink.stop();
    assert_eq!(run.code, 5);
    assert_eq!([run.number("/connections/left"), run.number("/connections/rejoined")], [1, 1]);
    let [lost, missed] = ["lost", "missed_while_disconnected"].map(|name| run.of(name));
    // What was lost right before leaving can't be told from what was missed.
    let dropped = injected.count("dropped");
    assert!(lost == dropped || lost + 1 == dropped, "{lost} lost, {dropped} dropped");
    assert!(lost > 0 && missed > 0, "{}", run.out);
    assert_eq!(run.of("delivered") + lost + missed, 200);
    assert_eq!(missed, 200 - injected.count("deliveries") + (dropped - lost));
}

/// A run with one subscriber, a slow one, against a sink that does this to it.
fn slow(faults: &[&str]) -> (Run, Injected) {
    let sink = Sink::with(faults);
    let usual = "--subscribers 1 --slow-share 100 --slow-bytes-per-second 1000 --rate 50 \
                 --seconds 0.4 --warmup 0 --drain 0.3";
    let run = run("slow", &sink.url(), usual, "");
    (run, sink.stop())
}

#[test]
fn a_slow_reader_that_is_not_closed_must_get_everything() {
    let (run, _) = slow(&[]);
    assert_eq!(run.code, 0);
    assert_eq!([run.number("/slow/delivered"), run.number("/slow/latency_us/count")], [20, 20]);
    assert_eq!(run.number("/latency_us/count"), 0, "they are timed apart");
    assert_eq!(run.of("expected"), 0, "they are accounted for apart");
    let (run, injected) = slow(&["--drop", "20"]);
    assert_eq!((run.code, run.number("/slow/lost"), injected.count("dropped")), (5, 1, 1));
}

/// Closes the only subscriber after its tenth message, with this code and reason.
fn closed_with<'a>(code: &'a str, reason: &'a str) -> [&'a str; 6] {
    ["--close-after", "10", "--close-code", code, "--close-reason", reason]
}

#[test]
fn a_slow_reader_may_be_closed_if_what_it_got_is_whole_and_ends_where_the_reason_says() {
    for (code, word) in [("4408", "too slow"), ("1013", "overloaded")] {
        let reason = format!("{word}, last seq {{seq}} of {{topic}}");
        let (run, injected) = slow(&closed_with(code, &reason));
        assert_eq!((run.code, injected.count("closed")), (0, 1), "{code}");
        assert_eq!([run.number("/slow/delivered"), run.number("/slow/lost")], [10, 0]);
        assert_eq!(run.number("/slow/after_close"), 10);
        let reasons = run.json["slow"]["closed_by_server"].as_object().unwrap();
        let text = reasons.keys().next().unwrap();
        assert!(text.starts_with(&format!("{code} {word}, last seq N of ")), "{text}");
    }
    let right = "too slow, last seq {seq} of {topic}";
    let with_a_hole = [&closed_with("4408", right)[..], &["--drop", "5"]].concat();
    let ended_elsewhere = closed_with("4408", "too slow, last seq 12 of t");
    let for_no_reason_of_its_own = closed_with("1011", "boom");
    for faults in [&with_a_hole[..], &ended_elsewhere, &for_no_reason_of_its_own] {
        assert_eq!(slow(faults).0.code, 5, "{faults:?}");
    }
}
