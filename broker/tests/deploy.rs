//! The files in `deploy/` against the running broker: every metric that an alert or the dashboard
//! names is there, and every setting that the unit and the container pass is one.

#[path = "support/support.rs"]
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use support::broker::Broker;
use support::{http, process, tools};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(name)
}

fn file(name: &str) -> String {
    let path = path(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What is in a file of YAML, document by document; none where that can't be read.
fn documents(name: &str) -> Option<Vec<Value>> {
    const READ: &str = "import json, sys, yaml; \
                        print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))";
    let mut read = Command::new(tools::yaml()?);
    read.args(["-c", READ]).arg(path(name));
    let text = process::run(&mut read, Duration::from_secs(20)).expect("it is YAML");
    Some(serde_json::from_str(&text).expect("JSON"))
}

fn help() -> String {
    let help = Command::new(env!("CARGO_BIN_EXE_broker")).arg("--help").output();
    String::from_utf8(help.expect("the broker runs").stdout).expect("UTF-8")
}

/// The texts that stand under a key anywhere in a value.
fn all_under<'v>(value: &'v Value, key: &str, found: &mut Vec<&'v str>) {
    match value {
        Value::Object(map) => {
            found.extend(map.get(key).and_then(Value::as_str));
            map.values().for_each(|value| all_under(value, key, found));
        }
        Value::Array(list) => list.iter().for_each(|value| all_under(value, key, found)),
        _ => {}
    }
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
    let dashboard: Value = serde_json::from_str(&file("grafana/dashboard.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    assert!(panels.len() >= 8);
    for panel in panels {
        let targets = panel["targets"].as_array().expect("targets");
        assert!(targets.iter().all(|target| target["expr"].is_string()), "{panel}");
    }
}

#[test]
fn unit_and_container_pass_settings_that_there_are() {
    let help = help();
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

#[test]
fn each_alert_has_a_name_of_its_own_an_expression_and_a_sentence() {
    let Some(alerts) = documents("prometheus/alerts.yml") else { return };
    let rules = alerts[0]["groups"][0]["rules"].as_array().expect("rules");
    let names: BTreeSet<&str> = rules.iter().filter_map(|rule| rule["alert"].as_str()).collect();
    assert_eq!(names.len(), rules.len());
    for rule in rules {
        assert!(rule["expr"].is_string() && rule["annotations"]["summary"].is_string(), "{rule}");
        assert!(
            ["page", "ticket", "info"].contains(&rule["labels"]["severity"].as_str().expect("one"))
        );
    }
}

#[test]
fn the_manifests_fit_together_and_ask_for_what_the_broker_has() {
    let Some(documents) = documents("kubernetes/altavoz.yaml") else { return };
    let of = |kind: &str| {
        let is_it = |document: &&Value| document["kind"] == kind;
        documents.iter().filter(is_it).collect::<Vec<_>>()
    };
    let nodes = of("StatefulSet")[0];
    let pod = &nodes["spec"]["template"];
    let labels = &pod["metadata"]["labels"];
    let container = &pod["spec"]["containers"][0];
    assert_eq!(&nodes["spec"]["selector"]["matchLabels"], labels);
    assert_eq!(&of("PodDisruptionBudget")[0]["spec"]["selector"]["matchLabels"], labels);
    let services = of("Service");
    assert!(services.iter().any(|it| it["metadata"]["name"] == nodes["spec"]["serviceName"]));
    for service in services {
        assert_eq!(&service["spec"]["selector"], labels);
        assert_eq!(service["spec"]["ports"][0]["targetPort"], container["ports"][0]["name"]);
    }
    let names = |list: &Value| -> BTreeSet<String> {
        let list = list.as_array().expect("a list").iter();
        list.map(|each| each["name"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(names(&container["volumeMounts"]), names(&pod["spec"]["volumes"]));

    let help = help();
    for name in names(&container["env"]) {
        let flag = name.trim_start_matches("ALTAVOZ_").to_lowercase().replace('_', "-");
        assert!(help.contains(&format!("--{flag} ")), "{name}");
    }
    let broker = Broker::start(&[]);
    let mut probes = Vec::new();
    all_under(container, "path", &mut probes);
    assert_eq!(probes, ["/healthz", "/readyz"]);
    for probe in probes {
        assert_eq!(http::get(broker.address(), probe).expect("it answers").status, 200);
    }
    // Where clients are sent away, and cut, in that time.
    let grace_ms = pod["spec"]["terminationGracePeriodSeconds"].as_u64().expect("seconds") * 1_000;
    let shown = http::get(broker.address(), "/api/v1/settings").expect("it answers").text();
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    let setting = |key: &str| shown["settings"][key].as_u64().unwrap_or_else(|| panic!("{shown}"));
    assert!(grace_ms > setting("drain_timeout_ms") + setting("close_timeout_ms"));
}
