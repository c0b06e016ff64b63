//! Attacks with tokens, rows A of the list, and what a token does not allow: P-04, P-20 and P-25 as
//! far as they are about permissions, H-20. Where keys come from is in `keys`. The bystanders have
//! no token: the settings let them have their own topics.

#[path = "tokens/keys.rs"]
mod keys;
#[path = "../support/mint.rs"]
mod mint;

use jsonwebtoken::Header;
use serde_json::{Value, json};

use crate::guard::{Told, attack, attack_alone, beside_others, closed, counted, refused};
use crate::publish::feed::{JSON, connect, publish, subscriber};
use crate::support::broker::Broker;
use crate::support::ws_client::{PATIENCE, Received, WsClient};
use mint::{SECRET, file, now_unix_s, path, signed, token};

/// What the bystanders may do.
const BYSTANDERS: [&str; 4] =
    ["--anonymous-subscribe", "canary/+", "--anonymous-publish", "canary/+"];

/// Runs an attack on a broker that takes tokens signed with [`SECRET`].
fn attack_with_secret<const N: usize>(
    arguments: &[&str],
    attack_it: impl FnOnce(&Broker) -> [Told; N],
) {
    let secret = file(SECRET);
    let keyed = ["--auth-hmac-secret-file", path(&secret)];
    attack(&[&BYSTANDERS[..], &keyed, arguments].concat(), attack_it);
}

/// The status of a handshake with these headers; 101 if it succeeds.
fn status(broker: &Broker, headers: &[(&str, &str)]) -> u16 {
    let lines: String =
        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{lines}\r\n"
    );
    let answer = crate::support::http::exchange(broker.address(), request.as_bytes(), PATIENCE);
    answer.expect("an answer").status
}

fn bearer(broker: &Broker, token: &str) -> u16 {
    status(broker, &[("Authorization", &format!("Bearer {token}"))])
}

/// Shows a token by `connect`, which must be refused with the error and then the close code.
fn demand_refused(broker: &Broker, token: &str) {
    let mut client = connect(broker.address());
    let command = json!({"id": 1, "op": "connect", "token": token}).to_string();
    let answer = client.command(&command);
    assert!(answer.starts_with(r#"{"id":1,"error":{"code":"unauthorized","#), "{answer}");
    let (code, reason) = client.receive_close();
    assert_eq!(code, 4401, "{reason}");
    assert!(!token.split('.').any(|part| part.len() > 4 && reason.contains(part)), "{reason}");
}

fn admit(client: &mut WsClient, token: &str) -> String {
    client.command(&json!({"id": 9, "op": "connect", "token": token}).to_string())
}

/// A connection of `ana` with `more` claims.
fn admitted(broker: &Broker, more: &Value) -> WsClient {
    let mut client = connect(broker.address());
    let answer = admit(&mut client, &token(more));
    assert!(answer.starts_with(r#"{"id":9,"ok":{"session":""#), "{answer}");
    client
}

fn error_code(answer: &str) -> String {
    let rest = answer.split_once(r#""error":{"code":""#);
    rest.unwrap_or_else(|| panic!("no error: {answer}"))
        .1
        .split('"')
        .next()
        .unwrap_or("")
        .to_owned()
}

#[test]
fn a_01_a_token_without_an_algorithm_is_none() {
    attack_with_secret(&[], |broker| {
        let payload = "eyJzdWIiOiJhZG1pbiIsImV4cCI6NDEwMjQ0NDgwMH0";
        let heads = [
            "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0",
            "eyJhbGciOiJOb25lIiwidHlwIjoiSldUIn0",
            "eyJhbGciOiJuT25FIiwidHlwIjoiSldUIn0",
        ];
        for head in heads {
            let forged = format!("{head}.{payload}.");
            assert_eq!(bearer(broker, &forged), 401);
            let protocols = format!("altavoz.v1.json, bearer.{forged}");
            assert_eq!(status(broker, &[("Sec-WebSocket-Protocol", &protocols)]), 401);
            demand_refused(broker, &forged);
        }
        [refused(401, 6), closed("unauthorized", 4401, 3), tokens_refused(9)]
    });
}

#[test]
fn a_02_a_valid_token_is_taken_wherever_it_may_stand_and_never_echoed() {
    let more = json!({"sub_allow": ["a/#"], "pub_allow": ["a/#"]});
    attack_with_secret(&[], |broker| {
        let token = token(&more);
        assert_eq!(bearer(broker, &token), 101);
        let named = format!("bearer.{token}");
        let client = WsClient::connect(broker.address(), "/ws", &[&named, JSON]);
        let mut client = client.expect("it upgrades");
        assert_eq!(client.protocol(), Some(JSON));
        assert_eq!(publish(&mut client, "a/b", "1"), 1);
        assert_eq!(publish(&mut admitted(broker, &more), "a/b", "1"), 2);
        [counted("altavoz_tokens_accepted_total", 3)]
    });
}

#[test]
fn a_05_a_token_before_its_time_after_it_or_for_somebody_else_is_refused() {
    attack_with_secret(&[], |broker| {
        let now = now_unix_s();
        let wrong = [
            json!({"nbf": now + 120}),
            json!({"iat": now + 120}),
            json!({"exp": now}),
            json!({"exp": (now + 60).to_string()}),
            json!({"aud": "another"}),
            json!({"aud": ["another", "one"]}),
            json!({"sub": ""}),
            json!({"sub_allow": ["a/#/b"]}),
        ];
        for more in &wrong {
            assert_eq!(bearer(broker, &token(more)), 401, "{more}");
        }
        let other = signed(&Header::default(), &json!({}), "another secret of thirty-two byte");
        assert_eq!(bearer(broker, &other), 401);
        assert_eq!(bearer(broker, &token(&json!({"nbf": now + 10}))), 101, "clocks differ");
        [refused(401, 9)]
    });
}

#[test]
fn a_09_a_token_that_expires_is_warned_of_and_ends_the_session() {
    attack_with_secret(&["--token-warning-ms", "1000"], |broker| {
        let more = json!({"exp": now_unix_s() + 3, "sub_allow": ["a"], "pub_allow": ["a"]});
        let mut client = admitted(broker, &more);
        let notice = client.receive_text();
        let in_ms = notice.strip_prefix(r#"{"expiring":{"in_ms":"#).expect(&notice);
        let in_ms: u64 = in_ms.trim_end_matches('}').parse().expect(&notice);
        assert!(in_ms <= 1000, "{notice}");
        assert_eq!(client.receive_close(), (4401, "the token has expired".to_owned()));
        assert_eq!(bearer(broker, &token(&more)), 401);
        [closed("unauthorized", 4401, 1), refused(401, 1)]
    });
}

#[test]
fn a_09_a_new_token_in_time_keeps_the_session() {
    attack_with_secret(&["--token-warning-ms", "1000"], |broker| {
        let more = |seconds: u64| {
            let exp = now_unix_s() + seconds;
            json!({"exp": exp, "sub_allow": ["a"], "pub_allow": ["a"]})
        };
        let mut client = admitted(broker, &more(3));
        crate::publish::feed::subscribe(&mut client, "a");
        assert!(client.receive_text().starts_with(r#"{"expiring":{"in_ms":"#));
        assert!(admit(&mut client, &token(&more(3600))).contains("ok"));
        // The old one's end passes, and the warning that would have come for the new one does not.
        assert_eq!(client.receive(std::time::Duration::from_millis(2_500)), None);
        client.send_text(r#"{"op":"publish","topic":"a","data":1}"#).expect("it is open");
        assert_eq!(client.receive_text(), r#"{"topic":"a","seq":1,"data":1}"#);
        [counted("altavoz_tokens_refused_total", 0)]
    });
}

#[test]
fn a_10_a_session_stays_its_users() {
    attack_with_secret(&[], |broker| {
        let mut client = admitted(broker, &json!({}));
        let answer = admit(&mut client, &token(&json!({"sub": "bea"})));
        assert_eq!(error_code(&answer), "forbidden");
        assert_eq!(client.receive_close().0, 4403);
        [closed("forbidden", 4403, 1)]
    });
}

#[test]
fn a_11_a_user_who_is_sent_away_gets_nothing_more_and_does_not_come_back_by_the_same_token() {
    let operator = file("an-operator's-key-that-is-long\n");
    let secret = file(SECRET);
    let table = format!(
        "[[api_key]]\nname = \"operator\"\nkey_file = {:?}\nscopes = [\"admin\"]\n",
        path(&operator)
    );
    let settings = file(&table);
    let keyed = ["--auth-hmac-secret-file", path(&secret), "--config", path(&settings)];
    attack(&[&BYSTANDERS[..], &keyed].concat(), |broker| {
        let more = json!({"sub_allow": ["a"], "iat": now_unix_s()});
        let token = token(&more);
        let mut first = connect(broker.address());
        let mut second = connect(broker.address());
        for client in [&mut first, &mut second] {
            assert!(admit(client, &token).contains("ok"));
            crate::publish::feed::subscribe(client, "a");
        }
        let mut other = admitted(broker, &json!({"sub": "bea", "pub_allow": ["a"]}));
        let request = "DELETE /api/v1/connections?user=ana HTTP/1.1\r\nHost: h\r\n\
            Connection: close\r\nAuthorization: Bearer an-operator's-key-that-is-long\r\n\r\n";
        let answer = crate::support::http::exchange(broker.address(), request.as_bytes(), PATIENCE);
        let answer = answer.expect("an answer");
        assert_eq!((answer.status, answer.text().as_str()), (200, r#"{"disconnected":2}"#));
        publish(&mut other, "a", "1");
        for client in [&mut first, &mut second] {
            match client.receive(PATIENCE) {
                Some(Received::Close(Some((4403, _)))) => {}
                other => panic!("expected the end, got {other:?}"),
            }
        }
        assert_eq!(bearer(broker, &token), 401, "what was made until now is worth nothing");
        [closed("disconnected", 4403, 2), refused(401, 1)]
    });
}

#[test]
fn a_13_without_a_token_nothing_is_done_and_in_time_nobody_stays() {
    let _room = beside_others();
    let secret = file(SECRET);
    let keyed = ["--auth-hmac-secret-file", path(&secret), "--first-command-timeout-ms", "1000"];
    let broker = Broker::start(&keyed);
    let mut idle = connect(broker.address());
    let mut busy = connect(broker.address());
    for command in [
        r#"{"id":1,"op":"subscribe","topic":"a"}"#,
        r#"{"id":2,"op":"publish","topic":"a","data":1}"#,
        r##"{"id":3,"op":"subscribe","topic":"#"}"##,
        r#"{"id":4,"op":"history","topic":"a"}"#,
        r#"{"id":5,"op":"presence","topic":"a"}"#,
    ] {
        assert_eq!(error_code(&busy.command(command)), "unauthorized", "{command}");
    }
    assert_eq!(busy.command(r#"{"id":6,"op":"ping"}"#), r#"{"id":6,"ok":{}}"#);
    for client in [&mut idle, &mut busy] {
        let (code, reason) = client.receive_close();
        assert_eq!((code, reason.contains("first_command_timeout_ms")), (4401, true), "{reason}");
    }
    let mut named = admitted(&broker, &json!({"sub_allow": ["a"]}));
    assert!(
        admit(&mut named, &token(&json!({"sub_allow": ["a"]}))).contains("ok"),
        "twice is fine"
    );
    assert_eq!(named.receive(std::time::Duration::from_millis(2_500)), None, "it may stay");
    let mut without = connect(broker.address());
    assert_eq!(error_code(&without.command(r#"{"id":1,"op":"connect"}"#)), "unauthorized");
    assert_eq!(without.receive_close().0, 4401);
}

#[test]
fn a_14_long_tokens_and_very_many_bad_ones_harm_nobody() {
    let secret = file(SECRET);
    let keyed = ["--auth-hmac-secret-file", path(&secret)];
    attack_alone(&[&BYSTANDERS[..], &keyed].concat(), |broker, _| {
        let long = token(&json!({"x": "x".repeat(8 * 1024)}));
        demand_refused(broker, &long);
        assert_eq!(bearer(broker, &long), 431, "the head is too long");
        let bad = signed(&Header::default(), &json!({}), "another secret of thirty-two byte");
        for _ in 0..1_000 {
            assert_eq!(bearer(broker, &bad), 401);
        }
        [refused(401, 1_000), tokens_refused(1_001)]
    });
}

#[test]
fn p_04_what_a_token_does_not_allow_is_forbidden() {
    attack_with_secret(&[], |broker| {
        let more = json!({"sub_allow": ["tenant/7/#"], "pub_allow": ["tenant/7/in"]});
        let mut client = admitted(broker, &more);
        let forbidden =
            ["#", "+", "$SYS/#", "$SYS/broker", "tenant/#", "tenant/+/a", "a/+/#", "+/7/#"];
        for filter in forbidden {
            let command = json!({"id": 1, "op": "subscribe", "topic": filter}).to_string();
            assert_eq!(error_code(&client.command(&command)), "forbidden", "{filter}");
        }
        for op in ["history", "presence"] {
            let command = json!({"id": 1, "op": op, "topic": "tenant/8/a"}).to_string();
            assert_eq!(error_code(&client.command(&command)), "forbidden", "{op}");
        }
        let since =
            r#"{"id":1,"op":"subscribe","topic":"tenant/8/a","since":{"epoch":"a","seq":1}}"#;
        assert_eq!(error_code(&client.command(since)), "forbidden");
        for topic in ["tenant/8/in", "tenant/7/out", "$SYS/broker"] {
            let command = json!({"id": 1, "op": "publish", "topic": topic, "data": 1}).to_string();
            assert_eq!(error_code(&client.command(&command)), "forbidden", "{topic}");
        }
        for filter in ["tenant/7/#", "tenant/7/+/a", "tenant/7"] {
            crate::publish::feed::subscribe(&mut client, filter);
        }
        let mut stranger = admitted(broker, &json!({"sub": "bea", "pub_allow": ["#"]}));
        publish(&mut stranger, "tenant/8/a", "\"theirs\"");
        publish(&mut stranger, "tenant/7/a", "\"ours\"");
        assert_eq!(client.receive_text(), r#"{"topic":"tenant/7/a","seq":1,"data":"ours"}"#);
        []
    });
}

#[test]
fn p_25_a_permission_that_is_gone_ends_the_subscription_with_a_notice() {
    attack_with_secret(&[], |broker| {
        let mut client = admitted(broker, &json!({"sub_allow": ["a/#", "b"]}));
        for filter in ["a/+", "a/b", "b"] {
            crate::publish::feed::subscribe(&mut client, filter);
        }
        let mut publisher = admitted(broker, &json!({"sub": "bea", "pub_allow": ["#"]}));
        publish(&mut publisher, "a/b", "1");
        assert_eq!(client.receive_text(), r#"{"topic":"a/b","seq":1,"data":1}"#);
        let fewer = token(&json!({"sub_allow": ["a/b", "b"]}));
        client.send_text(&json!({"id": 9, "op": "connect", "token": fewer}).to_string()).unwrap();
        let notice = r#"{"unsubscribed":{"topic":"a/+","reason":"forbidden"}}"#;
        assert_eq!(client.receive_text(), notice);
        assert!(client.receive_text().starts_with(r#"{"id":9,"ok":"#));
        publish(&mut publisher, "a/c", "1");
        publish(&mut publisher, "a/b", "2");
        assert_eq!(client.receive_text(), r#"{"topic":"a/b","seq":2,"data":2}"#);
        []
    });
}

#[test]
fn h_20_where_a_cookie_may_carry_the_token_who_sends_no_origin_is_refused() {
    let named = ["--auth-cookie", "session", "--allow-origin", "https://good.example"];
    let secret = file(SECRET);
    let keyed = ["--auth-hmac-secret-file", path(&secret)];
    // Without a canary, which sends no origin.
    let _room = beside_others();
    let broker = Broker::start(&[&keyed[..], &named].concat());
    let token = token(&json!({"sub_allow": ["a"]}));
    let cookie = format!("x=1; session={token}");
    let good = ("Origin", "https://good.example");
    assert_eq!(status(&broker, &[("Cookie", &cookie)]), 403);
    assert_eq!(status(&broker, &[]), 403);
    for origin in ["https://evil.example", "https://good.example.evil.com", "null"] {
        assert_eq!(status(&broker, &[("Cookie", &cookie), ("Origin", origin)]), 403, "{origin}");
    }
    assert_eq!(bearer(&broker, &token), 101, "a page can't send this one");
    assert_eq!(status(&broker, &[good, ("Cookie", "session=a.b.c")]), 401);
    let headers = [good, ("Cookie", cookie.as_str())];
    let client = WsClient::connect_with(broker.address(), "/ws", &[JSON], &headers);
    crate::publish::feed::subscribe(&mut client.expect("it upgrades"), "a");
}

/// A-12, and A-15 as far as it is about the address.
#[test]
fn a_12_no_token_or_secret_is_ever_shown() {
    let _room = beside_others();
    let secret = file(SECRET);
    let keyed = ["--auth-hmac-secret-file", path(&secret), "--auth-cookie", "session"];
    let more = ["--allow-origin", "https://a.example", "--log", "trace"];
    let broker = Broker::start(&[&keyed[..], &more].concat());
    let valid = token(&json!({"sub_allow": ["a"]}));
    let bad = signed(&Header::default(), &json!({}), "another secret of thirty-two byte");
    for token in [&valid, &bad] {
        bearer(&broker, token);
        let protocols = format!("altavoz.v1.json, bearer.{token}");
        status(&broker, &[("Sec-WebSocket-Protocol", &protocols)]);
        status(&broker, &[("Sec-WebSocket-Protocol", &format!("{protocols}, bearer.{token}"))]);
        let cookie = format!("session={token}");
        status(&broker, &[("Origin", "https://a.example"), ("Cookie", &cookie)]);
        status(&broker, &[("Origin", "https://b.example"), ("Cookie", &cookie)]);
        for path in [format!("/ws?token={token}"), format!("/nowhere?token={token}")] {
            let _ = WsClient::connect(broker.address(), &path, &[JSON]);
            let _ = crate::support::http::get(broker.address(), &path);
        }
        let headers = [("Authorization", format!("Bearer {valid}"))];
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        let client = WsClient::connect_with(broker.address(), "/ws", &[JSON], &headers);
        let mut client = client.expect("it upgrades");
        let command = json!({"id": 1, "op": "connect", "token": token}).to_string();
        let said = client.command(&command);
        let wrong = json!({"id": 1, "op": "connect", "token": token, "more": token}).to_string();
        let said = [said, client.send_text(&wrong).map_or(String::new(), |()| last(&mut client))];
        let metrics = crate::support::http::get(broker.address(), "/metrics").expect("it answers");
        let shown = [broker.stderr(), broker.stdout(), metrics.text(), said.concat()].concat();
        for part in token.split('.').chain([SECRET]) {
            assert!(!shown.contains(part), "{part} in {shown}");
        }
    }
}

fn last(client: &mut WsClient) -> String {
    match client.receive(PATIENCE) {
        Some(Received::Text(text)) => text,
        other => format!("{other:?}"),
    }
}

/// So many tokens were looked at and found wrong.
fn tokens_refused(count: usize) -> Told {
    counted("altavoz_tokens_refused_total", count)
}

#[test]
fn p_04_what_nobody_in_particular_may_do_is_set_apart() {
    attack_with_secret(&[], |broker| {
        let mut nobody = subscriber(broker.address(), "canary/x");
        for topic in ["a", "#", "canary/#"] {
            let command = json!({"id": 1, "op": "subscribe", "topic": topic}).to_string();
            assert_eq!(error_code(&nobody.command(&command)), "unauthorized", "{topic}");
        }
        assert_eq!(publish(&mut connect(broker.address()), "canary/x", "1"), 1);
        assert_eq!(nobody.receive_text(), r#"{"topic":"canary/x","seq":1,"data":1}"#);
        []
    });
}
