//! The settings as an operator meets them: the binary's help, `--check`, its messages and its exit
//! status.

use std::io::Write;
use std::process::{Command, Output};

struct Ran {
    status: i32,
    stdout: String,
    stderr: String,
}

fn broker(arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_broker"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ALTAVOZ_") {
            command.env_remove(name);
        }
    }
    let ran = command.args(arguments).envs(variables.iter().copied()).output();
    let Output { status, stdout, stderr } = ran.expect("the broker can be run");
    let text = |bytes| String::from_utf8(bytes).expect("it writes UTF-8");
    Ran { status: status.code().expect("it exits"), stdout: text(stdout), stderr: text(stderr) }
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(".toml").tempfile().expect("a file can be made");
    file.write_all(text.as_bytes()).expect("it can be written");
    file
}

/// The line of `--check` about one setting, its spaces made one.
fn line(report: &str, key: &str) -> String {
    let start = format!("{key} = ");
    let line = report.lines().find(|line| line.starts_with(&start));
    line.unwrap_or_else(|| panic!("{key} in {report}"))
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn check_shows_every_setting_with_its_origin_and_starts_nothing() {
    let file = file("headers_max = 10\nworkers = 1\n");
    let path = file.path().to_str().unwrap();
    let variables = [("ALTAVOZ_WORKERS", "2"), ("ALTAVOZ_ECHO", "true")];
    let ran = broker(&["--check", "--config", path, "--echo=false"], &variables);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    assert_eq!(line(&ran.stdout, "headers_max"), format!("headers_max = 10 # {path}"));
    assert_eq!(line(&ran.stdout, "workers"), "workers = 2 # environment");
    assert_eq!(line(&ran.stdout, "echo"), "echo = false # flag");
    assert_eq!(line(&ran.stdout, "message_bytes_max"), "message_bytes_max = 65536 # default");
}

#[test]
fn what_check_prints_can_be_used_as_the_file() {
    let first = broker(&["--check", "--allow-origin", "https://a.example", "--pin=false"], &[]);
    let file = file(&first.stdout);
    let again = broker(&["--check", "--config", file.path().to_str().unwrap()], &[]);
    assert_eq!(again.status, 0, "{}", again.stderr);
    let values = |report: &str| -> Vec<String> {
        report.lines().map(|line| line.split('#').next().unwrap().trim().to_owned()).collect()
    };
    assert_eq!(values(&again.stdout), values(&first.stdout));
}

#[test]
fn a_mistake_in_the_file_stops_the_start_with_one_line() {
    let file = file("lisen = \"127.0.0.1:0\"\n");
    let path = file.path().to_str().unwrap();
    let ran = broker(&["--config", path], &[]);
    assert_eq!(ran.status, 2);
    assert_eq!(ran.stdout, "");
    let message = format!("error: {path}: unknown key `lisen`; did you mean `listen`?\n");
    assert_eq!(ran.stderr, message);
}

#[test]
fn a_wrong_variable_is_named() {
    let ran = broker(&[], &[("ALTAVOZ_PING_INTERVAL_MS", "soon")]);
    assert_eq!(ran.status, 2);
    assert!(ran.stderr.starts_with("error: ALTAVOZ_PING_INTERVAL_MS=soon: "), "{}", ran.stderr);
}

#[test]
fn a_wrong_flag_is_named_with_what_would_be_right() {
    let ran = broker(&["--workers", "65"], &[]);
    assert_eq!(ran.status, 2);
    assert!(ran.stderr.contains("'--workers <N>': 65 is not in 0..=64"), "{}", ran.stderr);
    let ran = broker(&["--worker", "2"], &[]);
    assert!(ran.stderr.contains("--workers"), "{}", ran.stderr);
}

#[test]
fn help_and_version_go_to_standard_output() {
    let help = broker(&["--help"], &[]);
    assert_eq!((help.status, help.stderr.as_str()), (0, ""));
    for part in ["Deadlines:", "ALTAVOZ_LISTEN", "[default: 127.0.0.1:8080]", "Examples:"] {
        assert!(help.stdout.contains(part), "{part}");
    }
    let version = broker(&["--version"], &[]);
    assert_eq!(version.stdout, format!("broker {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn every_setting_of_the_check_is_in_the_help() {
    let help = broker(&["--help"], &[]).stdout;
    for line in broker(&["--check"], &[]).stdout.lines() {
        let key = line.split(' ').next().unwrap();
        assert!(help.contains(&format!("--{} ", key.replace('_', "-"))), "{key}");
        assert!(help.contains(&format!("[ALTAVOZ_{}]", key.to_uppercase())), "{key}");
    }
}
