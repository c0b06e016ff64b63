//! Each path's answer, without a socket.

use axum::body::{Body, to_bytes};
use tower::ServiceExt;

use super::*;
use crate::config::Config;

struct Answer {
    status: u16,
    headers: axum::http::HeaderMap,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    fn error_code(&self) -> String {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        assert!(body["error"]["message"].is_string(), "{body}");
        body["error"]["code"].as_str().unwrap().to_owned()
    }
}

fn ask_of(config: &Config, lifecycle: Lifecycle, method: &str, path: &str) -> Answer {
    let shared = Arc::new(crate::hub::Shared::new(1, config, 0));
    let parts = Parts {
        config: Arc::new(config.clone()),
        metrics: Arc::new(Metrics::new(1)),
        lifecycle: Arc::new(lifecycle),
        desk: crate::hub::desk::Desk::new(shared, |_| {}),
        cluster: None,
        started: std::time::Instant::now(),
    };
    let keys = Arc::new(ApiKeys::new(&config.api_key));
    let router = router(parts, Shown::new(config), keys);
    let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let response = router.oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 1 << 20).await.unwrap();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    })
}

fn ask(method: &str, path: &str) -> Answer {
    ask_of(&Config::default(), Lifecycle::new(), method, path)
}

#[test]
fn the_page_is_html_under_a_strict_policy() {
    let answer = ask("GET", "/");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{policy}");
    assert!(answer.body.contains("id=\"state\""));
}

#[test]
fn files_of_the_page_have_their_types_and_lifetimes() {
    let ours = ask("GET", "/assets/page.js");
    assert_eq!(ours.header("content-type"), Some("text/javascript; charset=utf-8"));
    assert_eq!(ours.header("cache-control"), Some("no-cache"));
    let theirs = ask("GET", "/assets/uplot-1.6.32/uPlot.iife.min.js");
    assert!(theirs.header("cache-control").unwrap().contains("immutable"));
    assert!(theirs.body.contains("uPlot"));
}

#[test]
fn every_answer_forbids_sniffing_and_says_how_long_to_keep_it() {
    for path in ["/", "/healthz", "/readyz", "/metrics", "/ws", "/nothing"] {
        let answer = ask("GET", path);
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert!(answer.header("cache-control").is_some(), "{path}");
    }
    assert_eq!(ask("GET", "/metrics").header("cache-control"), Some("no-store"));
}

#[test]
fn health_is_ok_in_every_phase() {
    for phase in [Phase::Starting, Phase::Ready, Phase::Draining] {
        let lifecycle = Lifecycle::new();
        lifecycle.advance(phase);
        let answer = ask_of(&Config::default(), lifecycle, "GET", "/healthz");
        assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
    }
}

#[test]
fn readiness_follows_the_phase() {
    let cases = [
        (Phase::Starting, 503, "starting"),
        (Phase::Ready, 200, "ready"),
        (Phase::Draining, 503, "draining"),
    ];
    for (phase, status, body) in cases {
        let lifecycle = Lifecycle::new();
        lifecycle.advance(phase);
        let answer = ask_of(&Config::default(), lifecycle, "GET", "/readyz");
        assert_eq!((answer.status, answer.body.as_str()), (status, body));
    }
}

#[test]
fn metrics_are_openmetrics_text() {
    let answer = ask("GET", "/metrics");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some(CONTENT_TYPE));
    assert!(answer.body.ends_with("# EOF\n"));
}

#[test]
fn a_plain_request_to_the_websocket_is_told_to_upgrade() {
    let answer = ask("GET", "/ws");
    assert_eq!(answer.status, 426);
    assert_eq!(answer.header("upgrade"), Some("websocket"));
    assert_eq!(answer.header("sec-websocket-version"), Some("13"));
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(answer.error_code(), "upgrade_required");
}

#[test]
fn echo_is_there_only_when_it_is_served() {
    assert_eq!(ask("GET", "/echo").status, 404);
    let config = Config { echo: true, ..Config::default() };
    assert_eq!(ask_of(&config, Lifecycle::new(), "GET", "/echo").status, 426);
}

#[test]
fn an_unknown_path_and_a_wrong_method_are_json_errors() {
    let answer = ask("GET", "/nothing");
    assert_eq!((answer.status, answer.error_code().as_str()), (404, "not_found"));
    for path in ["/", "/healthz", "/metrics", "/ws", "/assets/page.css"] {
        let answer = ask("POST", path);
        assert_eq!((answer.status, answer.error_code().as_str()), (405, "method_not_allowed"));
        assert_eq!(answer.header("allow"), Some("GET,HEAD"), "{path}");
    }
}

#[test]
fn head_has_no_body() {
    let answer = ask("HEAD", "/");
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
}
