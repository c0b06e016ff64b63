//! One key, and the tokens that it vouches for: of one algorithm, one `kid`, one issuer. Called by
//! the verifier for every token that names it; made from what the settings name.

use std::str::FromStr;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, Header, Validation};

use super::TokenError;
use super::claims::Claims;

/// Longest `kid` that is looked at, in bytes.
const KID_BYTES_MAX: usize = 256;

/// What a token must say for a key to be asked about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The one algorithm of the key: a token of another never gets as far as its signature.
    pub alg: Alg,
    /// The `kid` that tokens name it by; none: they name none, or any.
    pub kid: Option<String>,
    /// Who tokens must be from (`iss`); none: from anybody who has the key.
    pub issuer: Option<String>,
    /// Whom tokens must be for (`aud`), one of these; none: they must name nobody.
    pub audience: Vec<String>,
}

/// A signature algorithm of RFC 7518 §3.1 or RFC 8037, by its name: HS256, HS384, HS512, RS256,
/// RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alg(Algorithm);

/// A key that tokens are held against.
#[derive(Clone, Debug)]
pub struct Key {
    kid: Option<String>,
    issuer: Option<String>,
    key: DecodingKey,
    /// Holds the algorithm.
    validation: Validation,
}

/// Why something is no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// There is no such algorithm here.
    #[error(
        "{0:?} is none of HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA"
    )]
    UnknownAlg(String),
    /// A secret is shorter than the algorithm's hash (RFC 7518 §3.2).
    #[error("the secret has {0} bytes, {1} are the least for this algorithm")]
    ShortSecret(usize, usize),
    /// A secret for an algorithm of public keys, or the reverse.
    #[error("HS256, HS384 and HS512 take a secret, all other algorithms a public key")]
    WrongKind,
    /// Not a public key in PEM of the algorithm's kind.
    #[error("not a public key in PEM of the kind that the algorithm takes")]
    NotAPublicKey,
}

impl Key {
    /// A secret shared with whoever makes the tokens, as long as the algorithm's hash at least.
    ///
    /// # Errors
    /// It is too short, or the algorithm takes none.
    pub fn from_secret(secret: &[u8], terms: Terms) -> Result<Self, KeyError> {
        let least = match terms.alg.0 {
            Algorithm::HS256 => 32,
            Algorithm::HS384 => 48,
            Algorithm::HS512 => 64,
            _ => return Err(KeyError::WrongKind),
        };
        if secret.len() < least {
            return Err(KeyError::ShortSecret(secret.len(), least));
        }
        Ok(Self::new(DecodingKey::from_secret(secret), terms))
    }

    /// The public key of whoever makes the tokens, in PEM.
    ///
    /// # Errors
    /// It is no key of the algorithm's kind.
    pub fn from_pem(pem: &[u8], terms: Terms) -> Result<Self, KeyError> {
        let key = match terms.alg.0.family() {
            AlgorithmFamily::Hmac => return Err(KeyError::WrongKind),
            AlgorithmFamily::Rsa => DecodingKey::from_rsa_pem(pem),
            AlgorithmFamily::Ec => DecodingKey::from_ec_pem(pem),
            AlgorithmFamily::Ed => DecodingKey::from_ed_pem(pem),
        };
        Ok(Self::new(key.map_err(|_| KeyError::NotAPublicKey)?, terms))
    }

    pub(super) fn new(key: DecodingKey, terms: Terms) -> Self {
        let Terms { alg: Alg(alg), kid, issuer, audience } = terms;
        let mut validation = Validation::new(alg);
        // The times are ours to check: the library would ask the system for the time.
        validation.validate_exp = false;
        if !audience.is_empty() {
            validation.set_audience(&audience);
            validation.required_spec_claims.insert("aud".to_owned());
        }
        Self { kid, issuer, key, validation }
    }

    /// Whether a token with this header may be of this key.
    pub(super) fn answers_to(&self, header: &Header) -> bool {
        let is_named = self.kid.is_none() || self.kid == header.kid;
        is_named && self.validation.algorithms.contains(&header.alg)
    }

    /// What a token says, if its signature is this key's and its issuer and audience are right.
    pub(super) fn check(&self, token: &str) -> Result<Claims, TokenError> {
        let checked = jsonwebtoken::decode::<Claims>(token, &self.key, &self.validation);
        let claims = checked.map_err(|error| refused(error.kind()))?.claims;
        if self.issuer.is_some() && self.issuer != claims.iss {
            return Err(TokenError::Issuer);
        }
        Ok(claims)
    }
}

/// The header of a token, which nobody has vouched for yet.
pub(super) fn header_of(token: &str) -> Result<Header, TokenError> {
    let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
    // What must be understood (RFC 7515 §4.1.11) is not.
    let is_simple = header.crit.is_none() && header.zip.is_none() && header.enc.is_none();
    let is_short = header.kid.as_ref().is_none_or(|kid| kid.len() <= KID_BYTES_MAX);
    if is_simple && is_short { Ok(header) } else { Err(TokenError::Malformed) }
}

fn refused(error: &ErrorKind) -> TokenError {
    match error {
        ErrorKind::InvalidSignature => TokenError::Signature,
        ErrorKind::InvalidAudience => TokenError::Audience,
        ErrorKind::MissingRequiredClaim(claim) if claim == "aud" => TokenError::Audience,
        ErrorKind::Json(_) | ErrorKind::MissingRequiredClaim(_) | ErrorKind::Utf8(_) => {
            TokenError::Claims
        }
        _ => TokenError::Malformed,
    }
}

impl FromStr for Alg {
    type Err = KeyError;

    fn from_str(name: &str) -> Result<Self, KeyError> {
        let alg = Algorithm::from_str(name).map_err(|_| KeyError::UnknownAlg(name.to_owned()))?;
        Ok(Self(alg))
    }
}

impl From<Algorithm> for Alg {
    fn from(alg: Algorithm) -> Self {
        Self(alg)
    }
}

impl From<Alg> for Algorithm {
    fn from(alg: Alg) -> Self {
        alg.0
    }
}
