//! Keys out of a JSON Web Key Set (RFC 7517 §5). Reads bytes that somebody else fetched; keys that
//! are not for signatures, not of a kind known here or without a clear algorithm are passed over.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use serde::Deserialize;

use super::key::{Alg, Key, Terms};

/// Most keys that are taken of one set.
pub const JWKS_KEYS_MAX: usize = 64;

/// A set that gives no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwksError {
    /// Not a JSON object with a list `keys`.
    #[error("not a JWKS: {0}")]
    NotASet(String),
    /// No key in it can be used.
    #[error("none of its {0} keys is a public key of a known kind, for signatures, with an alg")]
    NoKey(usize),
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<serde_json::Value>,
}

/// The keys of a set. Its tokens must be from `issuer` and for one of `audience`, if these are
/// given. `alg` is the algorithm of keys that do not name theirs; keys that name another are passed
/// over. Secrets in a set are passed over too: whoever can read the set could make tokens.
///
/// # Errors
/// It is no set, or holds no key that can be used.
pub fn keys_of(
    text: &[u8],
    alg: Option<Alg>,
    issuer: Option<&str>,
    audience: &[String],
) -> Result<Vec<Key>, JwksError> {
    let set: Set =
        serde_json::from_slice(text).map_err(|error| JwksError::NotASet(error.to_string()))?;
    let count = set.keys.len();
    let jwks = set.keys.into_iter().filter_map(|value| serde_json::from_value::<Jwk>(value).ok());
    let keys = jwks.filter_map(|jwk| {
        let alg = algorithm_of(&jwk, alg.map(Algorithm::from))?;
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        let issuer = issuer.map(str::to_owned);
        let terms =
            Terms { alg: alg.into(), kid: jwk.common.key_id, issuer, audience: audience.to_vec() };
        Some(Key::new(key, terms))
    });
    let keys: Vec<Key> = keys.take(JWKS_KEYS_MAX).collect();
    if keys.is_empty() { Err(JwksError::NoKey(count)) } else { Ok(keys) }
}

/// The one algorithm of a key: its own, that of the settings, or the only one its curve has.
fn algorithm_of(jwk: &Jwk, wanted: Option<Algorithm>) -> Option<Algorithm> {
    let is_for_signatures = match (&jwk.common.public_key_use, &jwk.common.key_operations) {
        (Some(purpose), _) => *purpose == PublicKeyUse::Signature,
        (None, Some(operations)) => operations.contains(&KeyOperations::Verify),
        (None, None) => true,
    };
    let by_kind = match &jwk.algorithm {
        AlgorithmParameters::EllipticCurve(point) => match point.curve {
            EllipticCurve::P256 => Some(Algorithm::ES256),
            EllipticCurve::P384 => Some(Algorithm::ES384),
            _ => return None,
        },
        AlgorithmParameters::OctetKeyPair(point) => match point.curve {
            EllipticCurve::Ed25519 => Some(Algorithm::EdDSA),
            _ => return None,
        },
        AlgorithmParameters::RSA(_) => None,
        _ => return None,
    };
    let named = jwk.common.key_algorithm.map(Algorithm::try_from).transpose().ok()?;
    let alg = named.or(by_kind).or(wanted)?;
    let fits = match by_kind {
        Some(only) => alg == only,
        None => alg.family() == AlgorithmFamily::Rsa,
    };
    let is_wanted = wanted.is_none_or(|wanted| wanted == alg);
    (is_for_signatures && fits && is_wanted).then_some(alg)
}
