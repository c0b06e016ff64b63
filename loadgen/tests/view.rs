//! The screen of a terminal while a run goes on, through a pseudo-terminal as a user has one: what
//! stands on it, and that the terminal is given back on every way out.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(dead_code, reason = "the broker can do more wrong than is needed here")]

#[path = "support/broker.rs"]
mod broker;
#[path = "support/terminal.rs"]
mod terminal;

use broker::{Fault, Faults, TestBroker};
use rustix::process::{Signal, kill_process};
use terminal::{TestTerminal, wait_for_end};

/// 51 connections and 5,000 deliveries a second for as long as a busy machine may need to show them.
const RUN: &str = "fanout --subscribers 50 --rate 100 --seconds 3 --warmup 0.5 --threads 2 \
                   --drain 1 --allow-invalid";

/// The same for longer than any test looks: it has to be ended.
const LONG: &str = "fanout --subscribers 50 --rate 100 --seconds 600 --warmup 0 --threads 2";

fn start(size: [u16; 2], flags: &str, broker: &TestBroker) -> TestTerminal {
    TestTerminal::start(size, &format!("{flags} --url {}", broker.url()), &[])
}

#[test]
fn a_run_shows_its_numbers_and_leaves_its_summary_behind() {
    let by_message = [((0, 30), Fault::Drop), ((1, 40), Fault::Twice)].into_iter().collect();
    let broker = TestBroker::start(Faults { by_message, ..Faults::default() });
    let pid = std::process::id();
    // High enough that what was there before stays in sight, however much the summary has to say.
    let mut terminal = start([80, 48], &format!("{RUN} --target-pid {pid}"), &broker);
    let screen = terminal.wait_for("the numbers of a second", |screen| {
        screen.contains("1 missing · 1 duplicated · 0 out of order")
            && screen.contains("measuring  ━")
            && screen.contains('█')
    });
    for text in [
        "loadgen fanout  ws://127.0.0.1:",
        "q ends the run",
        "connections  51 of 51 ready",
        " of 100/s · ",
        "under way",
        "latency        p50      p90      p99    p99.9      max",
        "last second ",
        "so far ",
        "generator  0.",
        "2 threads",
        "target  ",
        "resident",
        "measurement  ",
        "by second",
    ] {
        assert!(screen.contains(text), "no {text:?} in\n{screen}");
    }
    assert!(terminal.is_on_the_screen() && terminal.has_colours());
    let screen = terminal.finish(5);
    let summary = screen.lines().filter(|line| !line.is_empty()).collect::<Vec<_>>().join("");
    for text in ["before the run", "      target  ws://", "BROKEN: ", "1 lost, 1 duplicated"] {
        assert!(summary.contains(text), "no {text:?} in\n{screen}");
    }
    assert!(!screen.contains("q ends the run") && !screen.contains("connecting"), "{screen}");
}

#[test]
fn q_ends_the_run_and_gives_the_terminal_back_before_the_rest_is_told() {
    let broker = TestBroker::start(Faults::default());
    let mut terminal = start([80, 24], LONG, &broker);
    terminal.wait_for("the screen", |screen| screen.contains("measuring  ━"));
    terminal.press("q");
    let screen = terminal.finish(130);
    assert!(screen.contains("draining\n"), "{screen}");
    assert!(screen.contains("INTERRUPTED: "), "{screen}");
}

#[test]
fn the_interrupt_key_ends_the_run_as_q_does() {
    let broker = TestBroker::start(Faults::default());
    let mut terminal = start([80, 24], LONG, &broker);
    terminal.wait_for("the screen", |screen| screen.contains("measuring  ━"));
    terminal.press("\x03");
    assert!(terminal.finish(130).contains("INTERRUPTED: "));
}

#[test]
fn signals_give_the_terminal_back_too() {
    let broker = TestBroker::start(Faults::default());
    // The interrupt ends the run with its report, the others the process.
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT] {
        let mut terminal = start([80, 24], LONG, &broker);
        terminal.wait_for("the screen", |screen| screen.contains("measuring  ━"));
        kill_process(terminal.pid(), signal).unwrap();
        let screen = match signal {
            Signal::INT => terminal.finish(130),
            _ => terminal.finish_by(signal),
        };
        assert_eq!(screen.contains("INTERRUPTED: "), signal == Signal::INT, "{screen}");
    }
}

#[test]
fn a_run_does_not_outlive_its_terminal() {
    let broker = TestBroker::start(Faults::default());
    let terminal = start([80, 24], LONG, &broker);
    terminal.wait_for("the screen", |screen| screen.contains("measuring  ━"));
    terminal.close();
}

#[test]
fn a_terminal_that_takes_nothing_any_more_does_not_hold_up_a_signal() {
    let broker = TestBroker::start(Faults::default());
    let terminal = start([80, 24], LONG, &broker);
    terminal.wait_for("the screen", |screen| screen.contains("measuring  ━"));
    terminal.stall();
    let program = terminal.pid();
    kill_process(program, Signal::TERM).unwrap();
    wait_for_end(program);
}

#[test]
fn the_screen_follows_the_terminals_size() {
    let broker = TestBroker::start(Faults::default());
    let mut terminal = start([40, 10], LONG, &broker);
    let is_small = |screen: &str| screen.contains("connections 51 of 51 ready\n");
    let screen = terminal.wait_for("the small screen", is_small);
    assert!(!screen.contains("p99.9") && screen.contains("  delivered "), "{screen}");
    terminal.resize([100, 30]);
    let screen = terminal.wait_for("the large screen", |screen| screen.contains("p99.9      max"));
    assert!(screen.contains(" connections  51 of 51 ready\n"), "{screen}");
    terminal.resize([20, 4]);
    terminal.wait_for("the tiny screen", |screen| {
        screen.lines().next().is_some_and(|line| line.starts_with("measuring"))
    });
    terminal.press("q");
    terminal.finish(130);
}

#[test]
fn who_wants_no_colours_gets_none() {
    let broker = TestBroker::start(Faults::default());
    let flags = format!("{LONG} --url {}", broker.url());
    let mut terminal = TestTerminal::start([80, 24], &flags, &[("NO_COLOR", "1")]);
    terminal.wait_for("the screen", |screen| screen.contains("measuring  ━"));
    assert!(!terminal.has_colours());
    terminal.press("q");
    terminal.finish(130);
}

#[test]
fn who_wants_lines_or_nothing_gets_no_screen() {
    let broker = TestBroker::start(Faults::default());
    let lines = |flags: &str, variables: &[(&str, &str)]| {
        let flags = format!("{RUN} --seconds 0.3 --url {} {flags}", broker.url());
        let mut terminal = TestTerminal::start([80, 24], &flags, variables);
        let screen = terminal.finish(0);
        assert!(!terminal.was_on_the_screen(), "{flags} {variables:?}");
        screen
    };
    assert!(lines("--plain", &[]).contains("\nmeasuring\n"));
    assert!(lines("", &[("TERM", "dumb")]).contains("\nmeasuring\n"));
    assert!(!lines("--quiet", &[]).contains("measuring"));
}
