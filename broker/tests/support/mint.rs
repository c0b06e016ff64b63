//! Makes tokens for a broker under test: a secret in a file, key pairs, and what is signed with
//! them, also what nobody in his right mind would sign.
//!
//! A file that needs it takes it in with `#[path = "support/mint.rs"] mod mint;`.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

/// A secret of 32 bytes, made for tests.
pub(crate) const SECRET: &str = "a secret that is good for tests!";

/// The key pair of RFC 8037 §A.
pub(crate) const ED_PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
    -----END PRIVATE KEY-----\n";
/// The same's public half as a JWK, with `kid` `ed`.
pub(crate) const ED_JWK: &str = r#"{"kty":"OKP","crv":"Ed25519","kid":"ed","use":"sig","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

/// A key pair on P-256, made for tests.
pub(crate) const EC_PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\n\
    MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgfwNqPgrPx4amgT1Y\n\
    rPLWsymVSNSjDe08KnxsOo6vhnShRANCAARCKCxIRz6QKS5NvpCsMR4mzL15RAYu\n\
    l+rhxTyrB0fgGgKKv5YtPQ5LVuAXyMJ9s6qoTgH9qdQPsSJjr3HipGyW\n\
    -----END PRIVATE KEY-----\n";
/// Its public half.
pub(crate) const EC_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
    MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEQigsSEc+kCkuTb6QrDEeJsy9eUQG\n\
    Lpfq4cU8qwdH4BoCir+WLT0OS1bgF8jCfbOqqE4B/anUD7EiY69x4qRslg==\n\
    -----END PUBLIC KEY-----\n";
/// The same as a JWK, with `kid` `ec`.
pub(crate) const EC_JWK: &str = r#"{"kty":"EC","crv":"P-256","kid":"ec","alg":"ES256","x":"QigsSEc-kCkuTb6QrDEeJsy9eUQGLpfq4cU8qwdH4Bo","y":"Aoq_li09DktW4BfIwn2zqqhOAf2p1A-xImOvceKkbJY"}"#;

/// Seconds since 1970.
pub(crate) fn now_unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later").as_secs()
}

/// A file with this text, which is gone when dropped.
pub(crate) fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("there is room");
    file.write_all(text.as_bytes()).expect("there is room");
    file
}

/// Its path.
pub(crate) fn path(file: &NamedTempFile) -> &str {
    file.path().to_str().expect("a temporary path is text")
}

/// The claims of `ana` for an hour, with `more`.
pub(crate) fn claims(more: &Value) -> Value {
    let mut claims = json!({"sub": "ana", "exp": now_unix_s() + 3600});
    let object = claims.as_object_mut().expect("it is one");
    object.extend(more.as_object().expect("members to add").clone());
    claims
}

/// A token of `ana` with `more` claims, signed with [`SECRET`].
pub(crate) fn token(more: &Value) -> String {
    signed(&Header::default(), more, SECRET)
}

/// The same with another header or secret.
pub(crate) fn signed(header: &Header, more: &Value, secret: &str) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    encode(header, &claims(more), &key).expect("it can be signed")
}

/// A token of `ana` signed with the pair that `kid` names, `ed` or `ec`.
pub(crate) fn token_of(kid: &str, more: &Value) -> String {
    let (algorithm, key) = match kid {
        "ed" => (Algorithm::EdDSA, EncodingKey::from_ed_pem(ED_PRIVATE.as_bytes())),
        _ => (Algorithm::ES256, EncodingKey::from_ec_pem(EC_PRIVATE.as_bytes())),
    };
    let header = Header { kid: Some(kid.to_owned()), ..Header::new(algorithm) };
    encode(&header, &claims(more), &key.expect("a private key")).expect("it can be signed")
}
