//! The API without sockets and workers: what is let in, what is answered, and that its description
//! tells of all of it.

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request};
use serde_json::Value;
use tower::ServiceExt;

use super::*;
use crate::config::keys::{ApiKey, Scope, digest};
use crate::hub::Shared;

struct Answer {
    status: u16,
    headers: axum::http::HeaderMap,
    body: Value,
}

/// An API of a broker with one worker that answers nothing.
struct Setup {
    router: Router,
    runtime: tokio::runtime::Runtime,
}

fn setup(config: &Config) -> Setup {
    setup_of(config, Arc::new(Shared::new(1, config, 0)))
}

fn setup_of(config: &Config, shared: Arc<Shared>) -> Setup {
    let desk = Desk::new(shared, |_| {});
    let metrics = Arc::new(Metrics::new(1));
    let keys = Arc::new(ApiKeys::new(&config.api_key));
    let api = Api::new(config, Shown::new(config), keys, desk, metrics, Instant::now(), None);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    Setup { router: routes(api, None), runtime }
}

impl Setup {
    fn ask(&self, request: Request<Body>) -> Answer {
        self.runtime.block_on(async {
            let (parts, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
            let body = to_bytes(body, 1 << 22).await.unwrap();
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            Answer { status: parts.status.as_u16(), headers: parts.headers, body }
        })
    }

    fn publish(&self, body: &str) -> Answer {
        self.ask(post("/api/v1/publish").body(Body::from(body.to_owned())).unwrap())
    }

    fn get(&self, path: &str) -> Answer {
        self.ask(Request::get(path).body(Body::empty()).unwrap())
    }
}

fn post(path: &str) -> axum::http::request::Builder {
    Request::post(path).header("content-type", "application/json")
}

fn code(answer: &Answer) -> &str {
    answer.body["error"]["code"].as_str().unwrap_or_default()
}

fn key(name: &str, secret: &str, scopes: &[Scope], topics: &[&str]) -> ApiKey {
    ApiKey {
        name: name.to_owned(),
        sha256: digest(secret),
        scopes: scopes.to_vec(),
        topics: topics.iter().map(|&topic| topic.to_owned()).collect(),
    }
}

#[test]
fn messages_get_their_places_and_are_kept() {
    let setup = setup(&Config::default());
    let first = setup.publish(r#"{"topic":"a/b","data":{"x": 1.50}}"#);
    assert_eq!((first.status, &first.body["seq"]), (200, &1.into()));
    assert_eq!(first.body["level"], "accepted");
    let batch = setup.publish(r#"[{"topic":"a/b","data":2},{"topic":"c","base64":"AQI="}]"#);
    let seqs: Vec<_> = batch.body.as_array().unwrap().iter().map(|one| &one["seq"]).collect();
    assert_eq!(seqs, [2, 1]);
    let history = setup.get("/api/v1/topics/a%2Fb/history");
    assert_eq!(history.body["epoch"], first.body["epoch"]);
    let messages = &history.body["messages"];
    assert_eq!(messages.to_string(), r#"[{"data":{"x":1.5},"seq":1},{"data":2,"seq":2}]"#);
    assert_eq!(setup.get("/api/v1/topics/a%2Fb/history?limit=1").body["messages"][0]["seq"], 2);
    assert_eq!(setup.get("/api/v1/topics/none/history").body["seq"], 0);
}

#[test]
fn whom_to_disconnect_is_checked_before_anybody_is_asked() {
    let setup = setup(&Config::default());
    for (path, status) in [
        ("?user=ann&node=b", 400),
        ("?node=b", 400),
        ("", 400),
        ("/12?node=b", 400),
        ("/0000000000000000?node=b&reason=%00", 400),
        ("/0000000000000000?node=b&user=ann", 400),
        ("/0000000000000000?node=b&code=1000", 400),
        ("/0000000000000000?node=b", 404),
    ] {
        let uri = format!("/api/v1/connections{path}");
        let answer = setup.ask(Request::delete(uri).body(Body::empty()).unwrap());
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
    }
}

#[test]
fn of_a_batch_with_a_mistake_nothing_is_published() {
    let setup = setup(&Config::default());
    for (body, status, wanted) in [
        (r#"[{"topic":"a","data":1},{"topic":"a/#","data":1}]"#, 400, "bad_topic"),
        (r#"[{"topic":"a","data":1},{"topic":"$SYS/x","data":1}]"#, 403, "forbidden"),
        (r#"[{"topic":"a","data":1},{"topic":"a"}]"#, 400, "bad_request"),
        (r#"[{"topic":"a","data":1}"#, 400, "bad_request"),
        ("[]", 400, "bad_request"),
    ] {
        let answer = setup.publish(body);
        assert_eq!((answer.status, code(&answer)), (status, wanted), "{body}");
    }
    let second = setup.publish(r#"[{"topic":"a","data":1},7]"#);
    let message = second.body["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("message 1: "), "{message}");
    let many = format!("[{}]", vec![r#"{"topic":"a","data":1}"#; 10_001].join(","));
    assert_eq!(setup.publish(&many).status, 413);
    assert_eq!(setup.get("/api/v1/topics/a/history").body["seq"], 0);
}

#[test]
fn a_full_directory_is_told_before_anything_is_published() {
    let setup = setup(&Config { topics_max: 1, ..Config::default() });
    let answer = setup.publish(r#"[{"topic":"a","data":1},{"topic":"b","data":1}]"#);
    assert_eq!((answer.status, code(&answer)), (503, "unavailable"));
    assert_eq!(answer.headers["retry-after"], "1");
    assert_eq!(setup.publish(r#"{"topic":"a","data":1}"#).body["seq"], 1);
}

#[test]
fn while_a_worker_has_too_much_mail_nothing_is_published() {
    let config = Config { mailbox_bytes_max: 1_024, ..Config::default() };
    let shared = Arc::new(Shared::new(1, &config, 0));
    let name = broker_proto::topic::Topic::new("a").unwrap();
    let (topic, _) = shared.directory.find_or_create(name, 0).unwrap();
    topic.use_at(0).unwrap().join(0);
    let setup = setup_of(&config, shared.clone());
    let message = format!(r#"{{"topic":"a","data":"{}"}}"#, "x".repeat(1_024));
    assert_eq!(setup.publish(&message).status, 200);
    let refused = setup.publish(&message);
    assert_eq!((refused.status, code(&refused)), (503, "unavailable"));
    assert_eq!(refused.headers["retry-after"], "1");
    shared.mailbox(0).take(&mut std::collections::VecDeque::new());
    assert_eq!(setup.publish(&message).body["seq"], 2);
}

#[test]
fn the_same_publish_again_is_answered_alike_and_published_once() {
    let setup = setup(&Config::default());
    let publish = |key: &str, body: &'static str| {
        let request = post("/api/v1/publish").header("idempotency-key", key);
        setup.ask(request.body(Body::from(body)).unwrap())
    };
    let first = publish("k1", r#"{"topic":"a","data":1}"#);
    let again = publish("k1", r#"{"topic":"a","data":1}"#);
    assert_eq!(first.body, again.body);
    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert_eq!(publish("k2", r#"{"topic":"a","data":1}"#).body["seq"], 2);
    let other = publish("k1", r#"{"topic":"a","data":2}"#);
    assert_eq!((other.status, code(&other)), (422, "key_reused"));
    assert_eq!(publish("a b", r#"{"topic":"a","data":1}"#).status, 400);
}

#[test]
fn a_key_is_asked_for_before_the_body_and_is_good_for_what_it_says() {
    let config = Config {
        api_key: vec![
            key("feed", "feed-secret", &[Scope::Publish], &["a/#"]),
            key("eye", "eye-secret", &[Scope::Read], &["a/#"]),
        ],
        ..Config::default()
    };
    let setup = setup(&config);
    let ask = |authorization: &str, topic: &str| {
        let request = post("/api/v1/publish").header("authorization", authorization);
        let body = format!(r#"{{"topic":"{topic}","data":1}}"#);
        setup.ask(request.body(Body::from(body)).unwrap()).status
    };
    assert_eq!(setup.publish("not even JSON").status, 401);
    assert_eq!(setup.publish("").headers["www-authenticate"], "Bearer realm=\"altavoz\"");
    assert_eq!(ask("Bearer wrong", "a/b"), 401);
    assert_eq!(ask("Basic feed-secret", "a/b"), 401);
    assert_eq!(ask("Bearer eye-secret", "a/b"), 403);
    assert_eq!(ask("Bearer feed-secret", "b"), 403);
    assert_eq!(ask("bearer feed-secret", "a/b"), 200);
    let read = |path: &str| {
        let request = Request::get(path).header("authorization", "Bearer eye-secret");
        setup.ask(request.body(Body::empty()).unwrap()).status
    };
    assert_eq!(read("/api/v1/topics/a%2Fb/history"), 200);
    assert_eq!(read("/api/v1/topics/b/history"), 403);
    assert_eq!(read("/api/v1/connections"), 403);
    assert_eq!(read("/api/v1/settings"), 403);
    let url = "/api/v1/topics/a%2Fb/history?access_token=eye-secret";
    assert_eq!(setup.get(url).status, 400, "a key in the URL is none");
}

#[test]
fn without_a_key_only_a_broker_of_this_machine_is_open() {
    let listen = "0.0.0.0:0".parse().unwrap();
    let answer = setup(&Config { listen, ..Config::default() }).publish("{}");
    assert_eq!((answer.status, code(&answer)), (403, "forbidden"));
}

#[test]
fn settings_are_told_by_their_keys_to_who_may_administer() {
    let config = Config {
        workers: 3,
        api_key: vec![key("boss", "boss-secret", &[Scope::Admin], &["#"])],
        ..Config::default()
    };
    let request = Request::get("/api/v1/settings").header("authorization", "Bearer boss-secret");
    let answer = setup(&config).ask(request.body(Body::empty()).unwrap());
    assert_eq!((answer.status, &answer.body["settings"]["workers"]), (200, &3.into()));
    assert_eq!(answer.body["changed"].to_string(), r#"["api_key","workers"]"#);
    assert_eq!(answer.body["settings"]["api_key"][0]["sha256"], "***");
}

#[test]
fn a_parameter_that_is_not_known_or_not_right_is_refused() {
    let setup = setup(&Config::default());
    for path in [
        "/api/v1/topics?limit=0",
        "/api/v1/topics?limit=1001",
        "/api/v1/topics?limit=x",
        "/api/v1/topics?lim=1",
        "/api/v1/topics?filter=a%23",
        "/api/v1/topics/a/history?limit=0",
        "/api/v1/topics/a/history?after=1",
        "/api/v1/topics/a%0d%0ab/history",
        "/api/v1/topics/a%2F%2B/history",
        "/api/v1/topics/a/presence?x",
        "/api/v1/connections?after=zz",
        "/api/v1/connections?slow=maybe",
        "/api/v1/settings?x",
    ] {
        assert_eq!(setup.get(path).status, 400, "{path}");
    }
    assert_eq!(setup.get("/api/v1/topics/a/presence").status, 403);
    let silent = setup.get("/api/v1/connections");
    assert_eq!((silent.status, code(&silent)), (503, "unavailable"), "no worker answers here");
}

#[test]
fn the_description_tells_of_every_route_and_every_route_is_there() {
    let document: Value = serde_json::from_str(OPENAPI).unwrap();
    let setup = setup(&Config::default());
    for (path, methods) in document["paths"].as_object().unwrap() {
        let path = path.replace("{topic}", "t").replace("{session}", "zz");
        for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            let is_told = methods.get(method.as_str().to_lowercase()).is_some();
            let request = Request::builder().method(&method).uri(&path);
            let status = setup.ask(request.body(Body::empty()).unwrap()).status;
            assert_eq!(status != 404 && status != 405, is_told, "{method} {path}: {status}");
        }
    }
    // Every place where a route is made, against the paths told of.
    let source = include_str!("../api.rs");
    for path in source.split(".route(\"").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(document["paths"].get(path).is_some(), "{path} is not described");
    }
}
