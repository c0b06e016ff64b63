//! The files in `deploy/` against the running broker: every metric that an alert or the dashboard
//! names is there, and every setting that the unit and the container pass is one.

#[path = "support/support.rs"]
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::broker::Broker;
use support::http;

fn file(name: &str) -> String {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every name in a text that begins as our metrics do.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !is_name(c)).filter(|word| word.starts_with("altavoz_"));
    words.map(str::to_owned).collect()
}

#[test]
fn every_metric_that_alerts_and_dashboard_name_is_there() {
    let broker = Broker::start(&["--tls-self-signed", "--tls-listen", "127.0.0.1:0"]);
    let shown = http::get(broker.address(), "/metrics").expect("the broker answers").text();
    let shown: BTreeSet<&str> =
        shown.lines().filter_map(|line| line.split(['{', ' ']).next()).collect();
    for name in ["prometheus/alerts.yml", "grafana/dashboard.json"] {
        let named = metrics_in(&file(name));
        assert!(named.len() >= 10, "{name} names only {named:?}");
        for metric in named {
            assert!(shown.contains(&*metric), "{name}: there is no {metric}");
        }
    }
}

#[test]
fn the_dashboard_is_json_and_each_of_its_panels_asks_for_something() {
    let dashboard: serde_json::Value =
        serde_json::from_str(&file("grafana/dashboard.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    assert!(panels.len() >= 8);
    for panel in panels {
        let targets = panel["targets"].as_array().expect("targets");
        assert!(targets.iter().all(|target| target["expr"].is_string()), "{panel}");
    }
}

#[test]
fn unit_and_container_pass_settings_that_there_are() {
    let help = Command::new(env!("CARGO_BIN_EXE_broker")).arg("--help").output();
    let help = String::from_utf8(help.expect("the broker runs").stdout).expect("UTF-8");
    for name in ["altavoz.service", "Containerfile"] {
        let text = file(name);
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let commands =
            lines.filter(|line| line.starts_with("ExecStart") || line.contains("[\"/usr"));
        let flags: Vec<&str> = commands
            .flat_map(|line| line.split([' ', '"']))
            .filter(|word| word.starts_with("--"))
            .collect();
        assert!(!flags.is_empty(), "{name}");
        for flag in flags {
            assert!(
                help.contains(&format!("{flag} ")) || help.contains(&format!("{flag}\n")),
                "{name}: {flag}"
            );
        }
    }
}
