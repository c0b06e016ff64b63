//! The settings read again on SIGHUP, from outside: taken over whole or not at all, and the log says
//! which.

#[path = "support/feed.rs"]
mod feed;
#[path = "support/mint.rs"]
mod mint;
#[path = "support/support.rs"]
mod support;

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use broker::config::keys::digest;
use jsonwebtoken::Header;
use serde_json::json;
use support::broker::Broker;
use support::http;
use support::ws_client::{PATIENCE, WsClient};
use tempfile::NamedTempFile;

const TAKEN: &str = "the settings were read again";
const REFUSED: &str = "the settings were not taken over; the old ones hold";

/// A broker whose settings file can be changed.
struct Reloadable {
    broker: Broker,
    file: NamedTempFile,
}

impl Reloadable {
    fn start(settings: &str) -> Self {
        let file = NamedTempFile::new().expect("a file can be made");
        fs::write(&file, settings).expect("it can be written");
        let path = file.path().to_str().expect("the path is UTF-8");
        let broker = Broker::start(&["--config", path, "--workers", "2"]);
        Self { broker, file }
    }

    /// Makes these the settings; the line of the log about it.
    fn reload(&self, settings: &str) -> String {
        let before = self.lines().len();
        fs::write(&self.file, settings).expect("it can be written");
        self.broker.send_sighup();
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(line) = self.lines().get(before) {
                return line.clone();
            }
            assert!(Instant::now() < deadline, "no line in {}", self.broker.stderr());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// The lines of the log about settings that were read again.
    fn lines(&self) -> Vec<String> {
        let log = self.broker.stderr();
        let is_about = |line: &&str| line.contains(TAKEN) || line.contains(REFUSED);
        log.lines().filter(is_about).map(str::to_owned).collect()
    }
}

/// What becomes of a publish of eleven bytes on a topic.
fn publish(client: &mut WsClient, topic: &str) -> String {
    let command = format!(r#"{{"id":1,"op":"publish","topic":"{topic}","data":"123456789"}}"#);
    let answer = client.command(&command);
    let outcome = if answer.contains(r#""ok""#) { "ok" } else { "too_large" };
    assert!(answer.contains(outcome), "{answer}");
    outcome.to_owned()
}

#[test]
fn rules_change_for_topics_in_use_and_for_those_to_come() {
    let rules = |bytes: u32| {
        format!("[[topic]]\nfilter = \"a/#\"\npayload_bytes_max = {bytes}\nhistory_messages = 0\n")
    };
    let running = Reloadable::start(&rules(10));
    let mut client = feed::connect(running.broker.address());
    assert_eq!(publish(&mut client, "a/old"), "too_large");
    assert_eq!(publish(&mut client, "b"), "ok");
    let line = running.reload(&rules(11));
    assert!(line.contains(TAKEN) && line.contains("changed=topic"), "{line}");
    assert_eq!(publish(&mut client, "a/old"), "ok", "the topic was in use before");
    assert_eq!(publish(&mut client, "a/new"), "ok");
    let shown = http::get(running.broker.address(), "/api/v1/settings");
    let shown = shown.expect("the broker answers").text();
    assert!(shown.contains(r#""payload_bytes_max":11"#), "{shown}");
    let line = running.reload("payload_bytes_max = 1\n");
    assert!(line.contains(REFUSED) && line.contains("unknown key `payload_bytes_max`"), "{line}");
    let line = running.reload("");
    assert!(line.contains(TAKEN), "{line}");
    assert_eq!(publish(&mut client, "a/new"), "ok");
}

#[test]
fn a_file_that_is_wrong_or_changes_what_is_fixed_leaves_all_as_it_was() {
    let rule = "[[topic]]\nfilter = \"a\"\npayload_bytes_max = 10\n";
    let running = Reloadable::start(rule);
    let mut client = feed::connect(running.broker.address());
    let wrong = [
        ("[[topic]\nfilter = \"a\"\n", "line 1"),
        ("[[topic]]\nfilter = \"a/#/b\"\n", "[[topic]] number 1: filter"),
        ("[[topic]]\nfilter = \"a\"\npayload = 11\n", "unknown field `payload`"),
        ("historry_ms = 1\n", "did you mean `history_ms`?"),
        ("history_ms = -1\n", "history_ms = -1"),
        ("headers_max = 10\nlast_ms = 1\n", "headers_max can't change while the broker runs"),
    ];
    for (settings, why) in wrong {
        let line = running.reload(settings);
        assert!(line.contains(REFUSED) && line.contains(why), "{settings}: {line}");
        assert_eq!(publish(&mut client, "a"), "too_large", "{settings}");
    }
    let line = running.reload(&format!("last_ms = 1\n{rule}"));
    assert!(line.contains(TAKEN) && line.contains("changed=last_ms"), "{line}");
}

#[test]
fn in_a_cluster_it_stays_as_it_is_which_topics_keep_something() {
    let nats = "backplane = \"nats\"\nnats_url = [\"nats://127.0.0.1:1\"]\nlast_ms = 0\n";
    let with = |rule: &str| format!("{nats}[[topic]]\nfilter = \"a/#\"\n{rule}\n");
    let running = Reloadable::start(&with("history_messages = 0"));
    let line = running.reload(&with("history_messages = 5"));
    assert!(line.contains(REFUSED) && line.contains("in a cluster the filters"), "{line}");
    let line = running.reload(&with("history_messages = 0\npayload_bytes_max = 10"));
    assert!(line.contains(TAKEN), "{line}");
}

#[test]
fn who_is_there_is_told_no_more_once_the_rule_forbids_it() {
    let running = Reloadable::start("[[topic]]\nfilter = \"room/#\"\npresence = \"members\"\n");
    let mut client = feed::subscriber(running.broker.address(), "room/1");
    let ask = r#"{"id":3,"op":"presence","topic":"room/1"}"#;
    assert!(client.command(ask).contains(r#""count":1"#));
    running.reload("");
    assert!(client.command(ask).contains("forbidden"));
    running.reload("presence = \"members\"\n");
    // Nobody has counted who came to this topic; a new one is counted from its beginning.
    assert!(client.command(ask).contains("forbidden"));
    feed::subscribe(&mut client, "room/2");
    let answer = client.command(r#"{"id":4,"op":"presence","topic":"room/2"}"#);
    assert!(answer.contains(r#""count":1"#), "{answer}");
}

/// The table of a key to the API.
fn api_key(key: &str) -> String {
    format!("[[api_key]]\nname = \"k\"\nscopes = [\"read\"]\nsha256 = \"{}\"\n", digest(key))
}

/// The status of a question to the API by who has this key.
fn ask(broker: &Broker, key: &str) -> u16 {
    let request = format!(
        "GET /api/v1/topics HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {key}\r\n\
         Connection: close\r\n\r\n"
    );
    http::exchange(broker.address(), request.as_bytes(), PATIENCE).expect("an answer").status
}

#[test]
fn keys_to_the_api_change_while_the_broker_runs() {
    let running = Reloadable::start(&api_key("the first key of all"));
    let ask = |key: &str| ask(&running.broker, key);
    assert_eq!((ask("the first key of all"), ask("the second key")), (200, 401));
    let line = running.reload(&api_key("the second key"));
    assert!(line.contains(TAKEN) && line.contains("changed=api_key"), "{line}");
    assert_eq!((ask("the first key of all"), ask("the second key")), (401, 200));
    let line = running.reload("[[api_key]]\nname = \"k\"\nscopes = []\nsha256 = \"1\"\n");
    assert!(line.contains(REFUSED) && line.contains("[[api_key]] number 1: scopes"), "{line}");
    assert_eq!(ask("the second key"), 200);
}

#[test]
fn keys_for_tokens_change_whole_or_not_at_all() {
    const OTHER: &str = "another secret of thirty-two byte";
    let (first, second) = (mint::file(mint::SECRET), mint::file(OTHER));
    let key = |file: &NamedTempFile| {
        format!("[[auth.key]]\nalg = \"HS256\"\nsecret_file = {:?}\n", mint::path(file))
    };
    let running = Reloadable::start(&[key(&first), api_key("the key")].concat());
    let may = json!({"sub_allow": ["a"], "pub_allow": ["a"]});
    let tokens = [mint::token(&may), mint::signed(&Header::default(), &may, OTHER)].map(|token| {
        let connect = "altavoz.v1.json".to_owned();
        [connect, format!("bearer.{token}")]
    });
    let open = |which: usize| {
        let protocols = tokens[which].each_ref().map(String::as_str);
        WsClient::connect(running.broker.address(), "/ws", &protocols).ok()
    };
    let mut there = open(0).expect("its token is good");
    assert!(open(1).is_none());

    let line = running.reload(&[key(&first), key(&second), api_key("the key")].concat());
    assert!(line.contains(TAKEN) && line.contains("changed=auth"), "{line}");
    assert!(open(0).is_some() && open(1).is_some(), "both for a while");
    let line = running.reload(&[key(&second), api_key("the key")].concat());
    assert!(line.contains(TAKEN), "{line}");
    assert!(open(0).is_none() && open(1).is_some());
    let answer = there.command(r#"{"id":1,"op":"publish","topic":"a","data":1}"#);
    assert!(answer.contains(r#""ok""#), "who was let in stays until the token expires: {answer}");

    // Something is wrong with the keys: those to the API do not change either.
    let set = mint::file(&format!(r#"{{"keys":[{}]}}"#, mint::ED_JWK));
    let wrong = [
        (key(&mint::file("short")), "keys for tokens: "),
        (
            format!("{}[[auth.key]]\njwks_file = {:?}\n", key(&second), mint::path(&set)),
            "sets of keys (jwks) can't change",
        ),
        (String::new(), "whether there are keys at all can't change"),
    ];
    for (keys, why) in wrong {
        let line = running.reload(&[keys, api_key("the other key")].concat());
        assert!(line.contains(REFUSED) && line.contains(why), "{why}: {line}");
        assert_eq!(ask(&running.broker, "the key"), 200);
        assert!(open(0).is_none() && open(1).is_some());
    }
    // The same file with another secret in it.
    fs::write(second.path(), mint::SECRET).expect("it can be written");
    let line = running.reload(&[key(&second), api_key("the key")].concat());
    assert!(line.contains(TAKEN), "{line}");
    assert!(open(0).is_some() && open(1).is_none());
}
