//! Tokens good and bad against a verifier. Tokens are made by the library that checks them, except
//! those that it would never make, which are put together by hand.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::*;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const OTHER: &[u8] = b"fedcba9876543210fedcba9876543210";
const NOW: u64 = 1_800_000_000;
/// The key pair of RFC 8037 §A, its private half as RFC 8410 has it.
const ED_PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
    -----END PRIVATE KEY-----\n";
const ED_X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

fn terms(alg: &str) -> Terms {
    Terms { alg: alg.parse().unwrap(), kid: None, issuer: None, audience: Vec::new() }
}

fn verifier(keys: Vec<Key>) -> Verifier {
    Verifier::new(keys, 0, Grants::nothing()).0
}

fn hs256() -> Verifier {
    verifier(vec![Key::from_secret(SECRET, terms("HS256")).unwrap()])
}

fn signed(claims: &Value, secret: &[u8]) -> String {
    encode(&Header::default(), claims, &EncodingKey::from_secret(secret)).unwrap()
}

fn claims(more: &Value) -> Value {
    let mut claims = json!({"sub": "ana", "exp": NOW + 60, "sub_allow": ["a/#"]});
    let more = more.as_object().unwrap().clone();
    claims.as_object_mut().unwrap().extend(more);
    claims
}

fn refusal(verifier: &Verifier, token: &str) -> TokenError {
    verifier.verify(token, NOW).expect_err(token)
}

#[test]
fn a_valid_token_gives_user_permissions_and_end() {
    let token = signed(&claims(&json!({"pub_allow": ["b"]})), SECRET);
    let grants = hs256().verify(&token, NOW).unwrap();
    assert_eq!((grants.user(), grants.expires_unix_s()), (Some("ana"), Some(NOW + 60)));
    let filter = |text| broker_proto::topic::Filter::new(text).unwrap();
    assert!(grants.may_subscribe(filter("a/b")) && !grants.may_subscribe(filter("b")));
    assert!(grants.may_publish(broker_proto::topic::Topic::new("b").unwrap()));
}

#[test]
fn a_token_of_no_algorithm_or_another_is_refused() {
    for alg in ["none", "None", "nOnE", "HS384", "RS256", "ES256", "EdDSA", "XX", ""] {
        let head = URL_SAFE_NO_PAD.encode(json!({"alg": alg, "typ": "JWT"}).to_string());
        let body = URL_SAFE_NO_PAD.encode(claims(&json!({})).to_string());
        for signature in ["", "AAAA", &"A".repeat(86)] {
            let refused = refusal(&hs256(), &format!("{head}.{body}.{signature}"));
            let unknown = [TokenError::Malformed, TokenError::UnknownKey];
            assert!(unknown.contains(&refused), "{alg}: {refused:?}");
        }
    }
    let admin = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJzdWIiOiJhZG1pbiIsImV4cCI6NDEwMjQ0NDgwMH0.";
    assert_eq!(refusal(&hs256(), admin), TokenError::Malformed);
}

#[test]
fn a_public_key_is_never_taken_for_a_secret() {
    let key =
        Key::new(jsonwebtoken::DecodingKey::from_ed_components(ED_X).unwrap(), terms("EdDSA"));
    let verifier = verifier(vec![key]);
    for secret in [ED_X.as_bytes(), &URL_SAFE_NO_PAD.decode(ED_X).unwrap()] {
        let token = signed(&claims(&json!({})), secret);
        assert_eq!(refusal(&verifier, &token), TokenError::UnknownKey);
    }
    assert_eq!(Key::from_secret(SECRET, terms("ES256")).unwrap_err(), KeyError::WrongKind);
    assert_eq!(Key::from_pem(SECRET, terms("HS256")).unwrap_err(), KeyError::WrongKind);
    assert_eq!(Key::from_pem(SECRET, terms("ES256")).unwrap_err(), KeyError::NotAPublicKey);
    assert_eq!(
        Key::from_secret(&SECRET[1..], terms("HS256")).unwrap_err(),
        KeyError::ShortSecret(31, 32)
    );
}

#[test]
fn a_changed_token_and_one_of_another_key_are_refused() {
    let good = signed(&claims(&json!({})), SECRET);
    assert_eq!(refusal(&hs256(), &signed(&claims(&json!({})), OTHER)), TokenError::Signature);
    let (front, signature) = good.rsplit_once('.').unwrap();
    let (head, _) = front.split_once('.').unwrap();
    let more = URL_SAFE_NO_PAD.encode(claims(&json!({"sub": "root"})).to_string());
    assert_eq!(refusal(&hs256(), &format!("{head}.{more}.{signature}")), TokenError::Signature);
    assert_eq!(refusal(&hs256(), &format!("{front}.")), TokenError::Signature);
    assert_eq!(refusal(&hs256(), front), TokenError::Malformed);
    assert_eq!(refusal(&hs256(), &format!("{good}.{signature}")), TokenError::Malformed);
}

#[test]
fn times_hold_to_the_second_with_a_leeway_for_the_beginning_only() {
    let at = |more: Value| hs256().verify(&signed(&claims(&more), SECRET), NOW).map(drop);
    assert_eq!(at(json!({"exp": NOW + 1})), Ok(()));
    assert_eq!(at(json!({"exp": NOW as f64 + 1.5})), Ok(()));
    assert_eq!(at(json!({"exp": NOW})), Err(TokenError::Expired));
    assert_eq!(at(json!({"exp": 0})), Err(TokenError::Expired));
    for claim in ["nbf", "iat"] {
        assert_eq!(at(json!({claim: NOW + 30})), Ok(()), "{claim}");
        assert_eq!(at(json!({claim: NOW + 31})), Err(TokenError::NotYet), "{claim}");
        assert_eq!(at(json!({claim: "0"})), Err(TokenError::Claims), "{claim}");
    }
    for exp in [json!("4102444800"), json!(null), json!(true), json!([NOW + 60]), json!(-1)] {
        assert_eq!(at(json!({"exp": exp})), Err(TokenError::Claims), "{exp}");
    }
    let without = signed(&json!({"sub": "ana", "sub_allow": ["#"]}), SECRET);
    assert_eq!(refusal(&hs256(), &without), TokenError::Claims);
}

#[test]
fn claims_that_make_no_sense_refuse_the_token() {
    let many: Vec<String> = (0..=FILTERS_MAX).map(|n| n.to_string()).collect();
    for more in [
        json!({"sub": ""}),
        json!({"sub": 7}),
        json!({"sub": "a\nb"}),
        json!({"sub": "é".repeat(128)}),
        json!({"sub_allow": "#"}),
        json!({"sub_allow": ["a/#/b"]}),
        json!({"pub_allow": [""]}),
        json!({"pub_allow": many}),
    ] {
        assert_eq!(
            refusal(&hs256(), &signed(&claims(&more), SECRET)),
            TokenError::Claims,
            "{more}"
        );
    }
    let repeated = format!("{{\"sub\":\"ana\",\"sub\":\"root\",\"exp\":{}}}", NOW + 60);
    let head = URL_SAFE_NO_PAD.encode("{\"alg\":\"HS256\"}");
    let front = format!("{head}.{}", URL_SAFE_NO_PAD.encode(repeated));
    let key = EncodingKey::from_secret(SECRET);
    let signature =
        jsonwebtoken::crypto::sign(front.as_bytes(), &key, jsonwebtoken::Algorithm::HS256);
    let token = format!("{front}.{}", signature.unwrap());
    assert_eq!(refusal(&hs256(), &token), TokenError::Claims);
}

#[test]
fn issuer_and_audience_must_be_those_of_the_key() {
    let key = |issuer: Option<&str>, audience: &[&str]| {
        let issuer = issuer.map(str::to_owned);
        let audience = audience.iter().map(|&name| name.to_owned()).collect();
        Key::from_secret(SECRET, Terms { issuer, audience, ..terms("HS256") }).unwrap()
    };
    let check = |key: Key, more: Value| {
        verifier(vec![key]).verify(&signed(&claims(&more), SECRET), NOW).map(drop)
    };
    let issuer = || key(Some("https://idp.example"), &[]);
    assert_eq!(check(issuer(), json!({"iss": "https://idp.example"})), Ok(()));
    assert_eq!(check(issuer(), json!({})), Err(TokenError::Issuer));
    assert_eq!(check(issuer(), json!({"iss": "https://evil.example"})), Err(TokenError::Issuer));
    assert_eq!(check(issuer(), json!({"iss": ["https://idp.example"]})), Err(TokenError::Claims));
    let audience = || key(None, &["chat", "feed"]);
    assert_eq!(check(audience(), json!({"aud": "feed"})), Ok(()));
    assert_eq!(check(audience(), json!({"aud": ["x", "chat"]})), Ok(()));
    for aud in [json!("x"), json!(["x"]), json!([]), json!(7), json!(null)] {
        assert_eq!(check(audience(), json!({"aud": aud})), Err(TokenError::Audience), "{aud}");
    }
    assert_eq!(check(audience(), json!({})), Err(TokenError::Audience));
    // RFC 7519 §4.1.3: whoever is not named must not take it.
    assert_eq!(check(key(None, &[]), json!({"aud": "chat"})), Err(TokenError::Audience));
}

#[test]
fn a_key_with_a_kid_answers_to_that_alone_and_what_a_kid_says_is_never_followed() {
    let keyed = Terms { kid: Some("1".to_owned()), ..terms("HS256") };
    let (verifier, asked) =
        Verifier::new(vec![Key::from_secret(SECRET, keyed).unwrap()], 1, Grants::nothing());
    let with_kid = |kid: Option<&str>| {
        let header = Header { kid: kid.map(str::to_owned), ..Header::default() };
        encode(&header, &claims(&json!({})), &EncodingKey::from_secret(SECRET)).unwrap()
    };
    assert!(verifier.verify(&with_kid(Some("1")), NOW).is_ok());
    assert!(asked.try_recv().is_err());
    for kid in [None, Some(""), Some("../../dev/null"), Some("' OR 1=1 --"), Some("1\0")] {
        assert_eq!(refusal(&verifier, &with_kid(kid)), TokenError::UnknownKey, "{kid:?}");
    }
    assert!(asked.try_recv().is_ok(), "somebody is to look for new keys");
    assert!(asked.try_recv().is_err(), "once, however many ask");
    assert_eq!(refusal(&verifier, &with_kid(Some(&"k".repeat(257)))), TokenError::Malformed);
    let long = signed(&claims(&json!({"x": "x".repeat(8 * 1024)})), SECRET);
    assert_eq!(refusal(&verifier, &long), TokenError::TooLong);
}

#[test]
fn what_must_be_understood_and_is_not_refuses_the_token() {
    let header = Header { crit: Some(vec!["exp".to_owned()]), ..Header::default() };
    let token = encode(&header, &claims(&json!({})), &EncodingKey::from_secret(SECRET)).unwrap();
    assert_eq!(refusal(&hs256(), &token), TokenError::Malformed);
}

#[test]
fn keys_of_a_set_come_and_go_and_secrets_in_it_are_passed_over() {
    let set = json!({"keys": [
        {"kty": "OKP", "crv": "Ed25519", "x": ED_X, "kid": "ed", "use": "sig"},
        {"kty": "OKP", "crv": "Ed25519", "x": ED_X, "kid": "enc", "use": "enc"},
        {"kty": "oct", "k": URL_SAFE_NO_PAD.encode(SECRET), "kid": "oct", "alg": "HS256"},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "rsa"},
        {"kty": "new", "kid": "unknown"},
        7,
    ]});
    let keys = keys_of(set.to_string().as_bytes(), None, None, &[]).unwrap();
    assert_eq!(keys.len(), 1);
    let (verifier, _asked) = Verifier::new(Vec::new(), 1, Grants::nothing());
    assert!(verifier.is_active(), "keys are to come");
    let header =
        Header { kid: Some("ed".to_owned()), ..Header::new(jsonwebtoken::Algorithm::EdDSA) };
    let key = EncodingKey::from_ed_pem(ED_PRIVATE.as_bytes()).unwrap();
    let token = encode(&header, &claims(&json!({})), &key).unwrap();
    assert_eq!(refusal(&verifier, &token), TokenError::UnknownKey);
    verifier.replace(0, keys);
    assert!(verifier.verify(&token, NOW).is_ok());
    let oct = Header { kid: Some("oct".to_owned()), ..Header::default() };
    let forged = encode(&oct, &claims(&json!({})), &EncodingKey::from_secret(SECRET)).unwrap();
    assert_eq!(refusal(&verifier, &forged), TokenError::UnknownKey);
    verifier.replace(0, Vec::new());
    assert_eq!(refusal(&verifier, &token), TokenError::UnknownKey);

    let count = |text: &str| keys_of(text.as_bytes(), None, None, &[]).map(|keys| keys.len());
    assert_eq!(count(r#"{"keys":[7]}"#), Err(JwksError::NoKey(1)));
    assert!(matches!(count("[]"), Err(JwksError::NotASet(_))));
    let wanted = Some("ES256".parse().unwrap());
    assert!(keys_of(set.to_string().as_bytes(), wanted, None, &[]).is_err(), "of another alg");
}

#[test]
fn a_revoked_users_earlier_tokens_are_refused_for_a_day() {
    let verifier = hs256();
    let made = |iat: u64| signed(&claims(&json!({"iat": iat, "exp": NOW * 2})), SECRET);
    verifier.revoke("ana", NOW);
    assert_eq!(refusal(&verifier, &made(NOW)), TokenError::Revoked);
    assert_eq!(refusal(&verifier, &signed(&claims(&json!({})), SECRET)), TokenError::Revoked);
    assert!(verifier.verify(&made(NOW + 1), NOW).is_ok());
    let other = signed(&claims(&json!({"sub": "bea"})), SECRET);
    assert!(verifier.verify(&other, NOW).is_ok());
}

#[test]
fn equal_permissions_are_held_once_and_let_go_when_nobody_has_them() {
    let verifier = hs256();
    let of = |user: &str, filter: &str| {
        let claims = claims(&json!({"sub": user, "sub_allow": [filter]}));
        verifier.verify(&signed(&claims, SECRET), NOW).unwrap()
    };
    let held = (of("ana", "a/#"), of("bea", "a/#"));
    assert_eq!(locked(&verifier.shared).len(), 1);
    for number in 0..10_000 {
        of("ana", &format!("room/{number}"));
    }
    assert!(locked(&verifier.shared).len() < 2_000);
    assert!(!locked(&verifier.shared).is_empty(), "{held:?}");
}

/// Damaged tokens, from a seed: whatever comes, none is taken and nothing panics.
#[test]
fn garbage_is_refused_whatever_it_is() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let good = signed(&claims(&json!({"pub_allow": ["x/+"], "iss": "i"})), SECRET);
    let verifier = hs256();
    for _ in 0..20_000 {
        let mut bytes = good.clone().into_bytes();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..bytes.len().max(1));
            if at >= bytes.len() {
                continue;
            }
            match random.u8(..5) {
                0 => bytes[at] = random.u8(..),
                1 => bytes[at] ^= 1 << random.u8(..7),
                2 => drop(bytes.remove(at)),
                3 => bytes.insert(at, *random.choice(b".=-_A{\"\\ \0").unwrap()),
                _ => bytes.truncate(at.max(1)),
            }
        }
        let text = String::from_utf8_lossy(&bytes);
        assert!(text == good || verifier.verify(&text, NOW).is_err(), "{text}");
    }
    for _ in 0..20_000 {
        let part = |random: &mut fastrand::Rng| {
            let bytes: Vec<u8> = (0..random.usize(..64)).map(|_| random.u8(..)).collect();
            URL_SAFE_NO_PAD.encode(bytes)
        };
        let parts: Vec<String> = (0..random.usize(1..5)).map(|_| part(&mut random)).collect();
        let text = parts.join(".");
        assert!(verifier.verify(&text, NOW).is_err(), "{text}");
    }
}
