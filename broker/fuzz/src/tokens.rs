//! Tokens: whoever has not got the secret makes none that is taken, whatever he does to one that is.

use std::sync::LazyLock;

use broker::auth::{Grants, Key, Terms, Verifier};

/// Signed with the secret below: `{"alg":"HS256"}` and
/// `{"sub":"ana","exp":4000000000,"sub_allow":["room/#"]}`.
const TOKEN: &str = concat!(
    "eyJhbGciOiJIUzI1NiJ9.",
    "eyJzdWIiOiJhbmEiLCJleHAiOjQwMDAwMDAwMDAsInN1Yl9hbGxvdyI6WyJyb29tLyMiXX0.",
    "ebC8hc1ZRqLpSax2VxzE7peSLK1qmoB4W_BWhz3e_P8",
);
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let alg = "HS256".parse().expect("it is known");
    let terms = Terms { alg, kid: None, issuer: None, audience: Vec::new() };
    let key = Key::from_secret(SECRET, terms).expect("it is long enough");
    Verifier::new(vec![key], 0, Grants::nothing()).0
});

/// A token.
pub fn tokens(data: &[u8]) {
    let Ok(token) = std::str::from_utf8(data) else { return };
    if let Ok(grants) = VERIFIER.verify(token, 1_800_000_000) {
        assert_eq!(token, TOKEN, "another spelling is taken");
        assert_eq!(grants.user(), Some("ana"));
    }
}
