//! What becomes of a result, from outside: the verdict on the measurement, thresholds, the series
//! by second, the target's use of processor and memory, the page, `compare` and `doctor`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(dead_code, reason = "what the sink did is not asked here")]

#[path = "support/sink.rs"]
mod sink;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sink::Sink;
use tempfile::TempDir;

const LOADGEN: &str = env!("CARGO_BIN_EXE_loadgen");

/// 100 subscribers and 20 messages in 0.4 s.
const SMALL: &str = "--subscribers 100 --rate 50 --seconds 0.4 --warmup 0 --threads 2 --drain 1";

/// A finished process.
struct Done {
    code: i32,
    out: String,
    err: String,
}

fn loadgen(arguments: &[&str]) -> Done {
    let output = Command::new(LOADGEN).args(arguments).output().unwrap();
    let done = Done {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    };
    eprintln!("{}\n{}", done.err, done.out);
    done
}

/// A small run against a sound sink with these flags besides.
fn fanout(flags: &[&str]) -> Done {
    let sink = Sink::start("");
    let url = sink.url();
    let small = SMALL.split_whitespace();
    let all: Vec<&str> = ["fanout", "--url", &url].into_iter().chain(small).collect();
    loadgen(&[&all, flags].concat())
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// A folder, and the path of a file in it as text.
fn place(name: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name).to_str().unwrap().to_owned();
    (folder, path)
}

#[test]
fn a_missed_threshold_is_printed_with_its_value_and_sets_the_exit_code() {
    let (_folder, path) = place("run.json");
    let met = ["--threshold", "lost<=0.1%", "--threshold", "delivered=2000"];
    let missed = ["--threshold", "max < 1ns", "--threshold", "p99.9<1s"];
    let common = ["--allow-invalid", "--json", path.as_str()];
    let done = fanout(&[&common[..], &met].concat());
    assert_eq!(done.code, 0);
    assert!(done.out.contains("threshold  lost<=0.1% met: 0 %\n"));
    assert!(done.out.contains("threshold  delivered=2000 met: 2000\n"));
    let done = fanout(&[&common[..], &met, &missed].concat());
    assert_eq!(done.code, 1);
    assert!(done.out.contains("threshold  max<1ns MISSED: "));
    // 2,000 samples tell nothing of one in a thousand: that demand is not met.
    assert!(done.out.contains("threshold  p99.9<1s MISSED: not known"));
    assert!(done.out.lines().last().unwrap().starts_with("MISSED: 100 subscribers × 20"));
    let result = json(Path::new(&path));
    assert_eq!(result["verdict"]["exit_code"], 1);
    assert_eq!(result["thresholds"].as_array().unwrap().len(), 4);
    assert_eq!(result["thresholds"][1]["met"], true);
}

#[test]
fn a_wrong_threshold_is_told_which_names_there_are_before_anything_is_opened() {
    let done = loadgen(&["fanout", "--threshold", "p98<1ms"]);
    assert_eq!(done.code, 2);
    assert!(done.err.contains("unknown name p98; known are p50, p90, p99, p99.9, max"));
    let done = loadgen(&["fanout", "--threshold", "p99<20"]);
    assert_eq!(done.code, 2);
    assert!(done.err.contains("needs a time in ns, us, ms or s"));
}

/// Runs for two seconds of which the process is stopped for half a second; returns the result.
fn stopped_in_between(faults: &str, flags: &[&str]) -> Done {
    let sink = Sink::start(faults);
    let mut child = Command::new(LOADGEN)
        .args(["fanout", "--url", &sink.url(), "--subscribers", "20", "--rate", "50"])
        .args(["--seconds", "2", "--warmup", "0", "--threads", "2"])
        .args(flags)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line == "measuring"), "measuring was never announced");
    thread::sleep(Duration::from_millis(300)); // well into it
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::STOP).unwrap();
    thread::sleep(Duration::from_millis(500));
    kill_process(pid, Signal::CONT).unwrap();
    lines.for_each(drop);
    let mut out = String::new();
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    eprintln!("{out}");
    Done { code: child.wait().unwrap().code().unwrap(), out, err: String::new() }
}

#[test]
fn a_generator_that_was_kept_from_running_calls_its_measurement_invalid() {
    let done = stopped_in_between("", &[]);
    assert_eq!(done.code, 4);
    assert!(done.out.contains("measurement  INVALID: "));
    assert!(done.out.contains("generator threads were woken late"));
    let last = done.out.lines().last().unwrap();
    assert!(last.starts_with("INVALID: 20 subscribers × 100 messages = 2,000 delivered"));
}

#[test]
fn an_invalid_measurement_can_be_allowed_and_is_still_called_so() {
    let done = stopped_in_between("", &["--allow-invalid"]);
    assert_eq!(done.code, 0);
    assert!(done.out.contains("measurement  INVALID: "));
    assert!(done.out.lines().last().unwrap().starts_with("OK: "));
}

#[test]
fn broken_delivery_goes_before_an_invalid_measurement() {
    // The 1,500th of 2,000 deliveries.
    let done = stopped_in_between("--drop 1500", &["--drain", "0", "--threshold", "lost=1"]);
    assert_eq!(done.code, 5);
    assert!(done.out.contains("measurement  INVALID: "));
    assert!(done.out.contains("threshold  lost=1 met: 1\n"));
}

#[test]
fn the_seconds_of_a_run_add_up_to_the_whole() {
    let (folder, path) = place("run.json");
    let csv = folder.path().join("run.csv");
    let flags = ["--allow-invalid", "--seconds", "2.5", "--json", &path, "--csv"];
    let sink = Sink::start("");
    let url = sink.url();
    let given = ["fanout", "--url", &url, "--subscribers", "50", "--rate", "100", "--warmup", "1"];
    let done = loadgen(&[&given[..], &flags, &[csv.to_str().unwrap()]].concat());
    assert_eq!(done.code, 0);
    let result = json(Path::new(&path));
    let rows = result["series"].as_array().unwrap();
    let sum = |name: &str| rows.iter().map(|row| row[name].as_u64().unwrap()).sum::<u64>();
    assert_eq!((sum("sent"), sum("delivered")), (350, 17_500));
    // The second that measuring began with is a row of its own: looks follow it, never precede it.
    let at = |row: &Value| row["at_s"].as_f64().unwrap();
    assert!(rows.iter().any(|row| at(row) < 0.0) && rows.iter().any(|row| at(row) >= 0.0));
    assert!(rows.iter().any(|row| row["p99_us"].is_f64()), "5,000 samples a second suffice");
    assert_eq!(rows.last().unwrap()["connections"], 51);
    let text = fs::read_to_string(csv).unwrap();
    assert_eq!(text.lines().count(), rows.len() + 1);
    assert!(text.starts_with("at_s,seconds,sent,delivered,connections,"));
}

/// Serves a page of metrics whose counter of writes grows by 1,000 with every look. It takes so
/// long to answer.
fn metrics_page(answers_after: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/metrics", listener.local_addr().unwrap());
    thread::spawn(move || {
        for (look, stream) in (1..).zip(listener.incoming()) {
            let mut stream = stream.unwrap();
            let mut request = BufReader::new(stream.try_clone().unwrap()).lines();
            assert_eq!(request.next().unwrap().unwrap(), "GET /metrics HTTP/1.0");
            assert!(request.any(|line| line.unwrap().is_empty()), "the head has no end");
            thread::sleep(answers_after);
            let body = format!("altavoz_sends_total{{worker=\"0\"}} {}\n", look * 1000);
            stream.write_all(format!("HTTP/1.0 200 OK\r\n\r\n{body}").as_bytes()).unwrap();
        }
    });
    url
}

#[test]
fn the_targets_processor_time_memory_and_writes_are_shared_out() {
    let (_folder, path) = place("run.json");
    let (pid, page) = (std::process::id().to_string(), metrics_page(Duration::ZERO));
    let watch = ["--target-pid", &pid, "--target-metrics", &page];
    // Long, so that a look which comes late on a busy machine still finds deliveries after it.
    let long = ["--allow-invalid", "--seconds", "2", "--rate", "20", "--json", &path];
    let done = fanout(&[&long[..], &watch[..]].concat());
    assert_eq!(done.code, 0);
    assert!(done.out.contains("target uses  "));
    let result = json(Path::new(&path));
    let process = &result["target"]["process"];
    assert!(process["rss_bytes"].as_u64().unwrap() > 1_000_000);
    assert!(process["cpu_us_per_delivery"].is_f64() && process["cores"].is_f64());
    assert!(process["rss_bytes_per_connection"].is_f64());
    // 1,000 writes for at most 4,000 deliveries.
    let sends = process["sends_per_delivery"].as_f64();
    assert!(sends.is_some_and(|sends| sends >= 0.25), "{process:#}");
}

#[test]
fn writes_that_are_told_late_are_set_against_what_was_delivered_until_then() {
    let (_folder, path) = place("run.json");
    let page = metrics_page(Duration::from_secs(1));
    let flags = "--allow-invalid --seconds 2 --rate 20 --json";
    let flags: Vec<_> = flags.split_whitespace().chain([path.as_str()]).collect();
    assert_eq!(fanout(&[&flags[..], &["--target-metrics", &page]].concat()).code, 0);
    // The first answer comes after a second, with half of the 4,000 deliveries made: 1,000 writes
    // are left for the other half. Later, it is more for each.
    let sends = json(Path::new(&path))["target"]["process"]["sends_per_delivery"].as_f64();
    assert!(sends.is_none_or(|sends| sends >= 0.4), "{sends:?}");
}

#[test]
fn a_target_process_that_does_not_run_is_a_usage_error() {
    let done = fanout(&["--target-pid", "4194305"]);
    assert_eq!(done.code, 2);
    assert!(done.err.contains("--target-pid 4194305: no such process"));
    assert_eq!(fanout(&["--target-metrics", "https://127.0.0.1/"]).code, 2);
}

#[test]
fn the_page_is_one_file_with_the_result_in_it() {
    let (_folder, path) = place("report.html");
    assert_eq!(fanout(&["--allow-invalid", "--html", &path]).code, 0);
    let page = fs::read_to_string(&path).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"));
    let (_, rest) = page.split_once("id=\"data\">").unwrap();
    let (data, _) = rest.split_once("</script>").unwrap();
    let runs: Value = serde_json::from_str(data).unwrap();
    assert_eq!(runs[0]["name"], "fanout");
    assert_eq!(runs[0]["result"]["deliveries"]["delivered"], 2000);
}

#[test]
fn compare_puts_results_side_by_side_and_refuses_what_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (before, after, page) = (file("before.json"), file("after.json"), file("both.html"));
    for path in [&before, &after] {
        assert_eq!(fanout(&["--allow-invalid", "--json", path]).code, 0);
    }
    let done = loadgen(&["compare", &before, &after, "--html", &page]);
    assert_eq!(done.code, 0);
    assert!(done.out.lines().next().unwrap().trim_start().starts_with("before"));
    let p50 = done.out.lines().find(|line| line.contains("latency p50")).unwrap();
    assert!(p50.ends_with(" %)"), "{p50}");
    assert!(fs::read_to_string(&page).unwrap().contains("\"name\":\"after\""));

    fs::write(&after, "{\"other\": 1}").unwrap();
    let done = loadgen(&["compare", &before, &after]);
    assert_eq!(done.code, 2);
    assert!(done.err.contains("after.json is no result that --json wrote"));
    assert_eq!(loadgen(&["compare", &before]).code, 2);
    let nowhere = PathBuf::from("/no/such/file.json");
    assert_eq!(loadgen(&["compare", &before, nowhere.to_str().unwrap()]).code, 2);
}

#[test]
fn the_doctor_finds_a_low_limit_and_says_what_to_do() {
    let script = format!("ulimit -n 256; exec {LOADGEN} doctor");
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("open files  POOR  256, one for each connection\n"), "{text}");
    assert!(text.contains("LimitNOFILE="), "{text}");
    assert!(text.contains("cores  "), "{text}");
}
