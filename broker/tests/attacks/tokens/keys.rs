//! Attacks on the keys themselves: signatures that only look like some, names of keys that lead
//! elsewhere, and sets of keys that change or can't be had.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, Header};
use serde_json::json;

use super::mint::{EC_JWK, EC_PUBLIC, ED_JWK, SECRET, file, path, signed, token_of};
use super::{BYSTANDERS, bearer};
use crate::guard::{attack, counted, refused};
use crate::support::broker::Broker;
use crate::support::ws_client::PATIENCE;

/// Waits until a token gets this status.
fn await_status(broker: &Broker, token: &str, status: u16) {
    let deadline = Instant::now() + PATIENCE;
    while bearer(broker, token) != status {
        assert!(Instant::now() < deadline, "not {status}: {}", broker.stderr());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_03_a_signature_that_is_none_is_refused() {
    let key = file(EC_PUBLIC);
    let settings = file(&format!("[[auth.key]]\nalg = \"ES256\"\nkey_file = {:?}\n", path(&key)));
    let arguments = [&BYSTANDERS[..], &["--config", path(&settings)]].concat();
    attack(&arguments, |broker| {
        let good = token_of("ec", &json!({}));
        assert_eq!(bearer(broker, &good), 101);
        let (front, signature) = good.rsplit_once('.').expect("three parts");
        let bytes = URL_SAFE_NO_PAD.decode(signature).expect("base64");
        let mut der = vec![0x30, 68, 2, 32];
        der.extend_from_slice(&bytes[..32]);
        der.extend_from_slice(&[2, 32]);
        der.extend_from_slice(&bytes[32..]);
        let wrong = [vec![0; 64], bytes[..63].to_vec(), bytes[..32].to_vec(), Vec::new(), der];
        for signature in &wrong {
            let forged = format!("{front}.{}", URL_SAFE_NO_PAD.encode(signature));
            assert_eq!(bearer(broker, &forged), 401, "{signature:?}");
        }
        // The public key is known to all: it must not do as a secret.
        let header = Header { kid: None, ..Header::new(Algorithm::HS256) };
        for secret in [EC_PUBLIC, EC_PUBLIC.trim_end()] {
            assert_eq!(bearer(broker, &signed(&header, &json!({}), secret)), 401);
        }
        [refused(401, wrong.len() + 2)]
    });
}

#[test]
fn a_06_what_a_kid_says_is_not_followed_and_unknown_ones_do_not_hammer_the_source() {
    let (url, fetches) = serve(format!(r#"{{"keys":[{ED_JWK}]}}"#));
    let settings = file(&format!("[[auth.key]]\njwks_url = \"{url}\"\n"));
    let arguments = [&BYSTANDERS[..], &["--config", path(&settings)]].concat();
    attack(&arguments, |broker| {
        await_status(broker, &token_of("ed", &json!({})), 101);
        let fetched = fetches.load(Ordering::SeqCst);
        let kids = ["../../dev/null", "' OR 1=1 --", "http://127.0.0.1/", &"k".repeat(5_000)];
        for kid in kids {
            let header = Header { kid: Some(kid.to_owned()), ..Header::new(Algorithm::HS256) };
            assert_eq!(bearer(broker, &signed(&header, &json!({}), SECRET)), 401, "{kid}");
        }
        for number in 0..500 {
            let kid = Some(number.to_string());
            let header = Header { kid, ..Header::new(Algorithm::HS256) };
            assert_eq!(bearer(broker, &signed(&header, &json!({}), SECRET)), 401);
        }
        let more = fetches.load(Ordering::SeqCst) - fetched;
        // At the default of one look in half a minute, and the test takes less than a minute more.
        assert!(more <= 3, "{more} fetches for 504 tokens");
        assert_eq!(bearer(broker, &token_of("ed", &json!({}))), 101);
        [refused(401, 504).at_least()]
    });
}

#[test]
fn a_16_keys_that_are_gone_count_no_more_and_a_source_that_fails_changes_nothing() {
    let set = file(&format!(r#"{{"keys":[{ED_JWK}]}}"#));
    let table = format!("[[auth.key]]\njwks_file = {:?}\n", path(&set));
    let settings = file(&format!("jwks_refresh_ms = 200\njwks_retry_ms = 100\n{table}"));
    let arguments = [&BYSTANDERS[..], &["--config", path(&settings)]].concat();
    attack(&arguments, |broker| {
        let (old, new) = (token_of("ed", &json!({})), token_of("ec", &json!({})));
        assert_eq!((bearer(broker, &old), bearer(broker, &new)), (101, 401));
        std::fs::write(set.path(), format!(r#"{{"keys":[{ED_JWK},{EC_JWK}]}}"#)).expect("room");
        await_status(broker, &new, 101);
        assert_eq!(bearer(broker, &old), 101, "both for a while");
        std::fs::write(set.path(), format!(r#"{{"keys":[{EC_JWK}]}}"#)).expect("room");
        await_status(broker, &old, 401);
        for broken in ["", "{\"keys\":[]}", "not a set"] {
            std::fs::write(set.path(), broken).expect("room");
            std::thread::sleep(Duration::from_millis(500));
            assert_eq!(bearer(broker, &new), 101, "{broken:?}");
        }
        assert!(broker.stderr().contains("keys can't be renewed"), "the log tells");
        std::fs::remove_file(set.path()).expect("it was there");
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(bearer(broker, &new), 101);
        [counted("altavoz_tokens_accepted_total", 7).at_least()]
    });
}

#[test]
fn a_16_keys_that_could_not_be_renewed_for_too_long_are_given_up() {
    let set = file(&format!(r#"{{"keys":[{ED_JWK}]}}"#));
    let table = format!("[[auth.key]]\njwks_file = {:?}\n", path(&set));
    let times = "jwks_refresh_ms = 200\njwks_retry_ms = 100\njwks_age_ms_max = 300\n";
    let settings = file(&format!("{times}{table}"));
    let arguments = [&BYSTANDERS[..], &["--config", path(&settings)]].concat();
    attack(&arguments, |broker| {
        let token = token_of("ed", &json!({}));
        assert_eq!(bearer(broker, &token), 101);
        std::fs::write(set.path(), "").expect("room");
        await_status(broker, &token, 401);
        std::fs::write(set.path(), format!(r#"{{"keys":[{ED_JWK}]}}"#)).expect("room");
        await_status(broker, &token, 101);
        [refused(401, 1).at_least()]
    });
}

/// A server with this one answer; how often it was asked.
fn serve(body: String) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/jwks", listener.local_addr().expect("it is bound"));
    let count = Arc::new(AtomicUsize::new(0));
    let asked = count.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            asked.fetch_add(1, Ordering::SeqCst);
            let _ = stream.read(&mut [0; 4096]);
            let length = body.len();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close");
            let _ = stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes());
        }
    });
    (url, count)
}
