//! Who may use the API: whoever brings one of the keys, for what the key is good for. With no key
//! in the settings, whoever can reach a broker that listens on this machine alone.
//!
//! Asked before a request's body is read. A key is compared by its SHA-256, in a time that says
//! nothing about it.

use axum::http::{HeaderMap, header};
use broker_proto::topic::Topic;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::problem::Problem;
use crate::config::Config;
use crate::config::keys::{ApiKey, Scope};

/// The longest credential that is looked at, in bytes.
const CREDENTIAL_BYTES_MAX: usize = 8 * 1024;

/// The keys.
pub(super) struct Access {
    keys: Vec<([u8; 32], ApiKey)>,
    is_open: bool,
}

/// Who asks.
#[derive(Clone, Copy)]
pub(super) struct Visitor<'a> {
    key: Option<(usize, &'a ApiKey)>,
}

impl Access {
    pub(super) fn new(config: &Config) -> Self {
        let keys = config.api_key.iter().map(|key| (bytes_of(&key.sha256), key.clone())).collect();
        let is_open = config.api_key.is_empty() && config.listen.ip().is_loopback();
        Self { keys, is_open }
    }

    /// Lets a request in that may do this.
    ///
    /// # Errors
    /// 401 without a key that is known, 403 with one that is not good for this.
    pub(super) fn admit(&self, headers: &HeaderMap, scope: Scope) -> Result<Visitor<'_>, Problem> {
        if self.is_open {
            return Ok(Visitor { key: None });
        }
        if self.keys.is_empty() {
            let message = "the API is closed: there is no [[api_key]] in the settings, and the \
                broker listens beyond its own machine";
            return Err(Problem::forbidden(message).last());
        }
        let (place, key) = self.find(headers)?;
        if !key.allows(scope) {
            let message = format!("the key {} is not good for {}", key.name, name_of(scope));
            return Err(Problem::forbidden(message).last());
        }
        Ok(Visitor { key: Some((place, key)) })
    }

    fn find(&self, headers: &HeaderMap) -> Result<(usize, &ApiKey), Problem> {
        let refused = |message| Problem::unauthorized(message).last();
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let value =
            values.next().ok_or_else(|| refused("`Authorization: Bearer KEY` is missing"))?;
        if values.next().is_some() {
            return Err(refused("Authorization is there twice"));
        }
        let credential = value.to_str().ok().and_then(|text| {
            let (scheme, rest) = text.split_once(' ')?;
            scheme.eq_ignore_ascii_case("Bearer").then(|| rest.trim())
        });
        let credential = credential
            .filter(|text| !text.is_empty() && text.len() <= CREDENTIAL_BYTES_MAX)
            .ok_or_else(|| refused("Authorization must be `Bearer KEY`"))?;
        let digest = Sha256::digest(credential);
        // All are compared, whichever it is.
        let place = self.keys.iter().enumerate().fold(None, |found, (place, (known, _))| {
            if bool::from(known.as_slice().ct_eq(&digest)) { Some(place) } else { found }
        });
        let place = place.ok_or_else(|| refused("the key is not known"))?;
        Ok((place, &self.keys[place].1))
    }
}

impl Visitor<'_> {
    /// Whether this topic may be used.
    pub(super) fn covers(&self, topic: Topic<'_>) -> bool {
        self.key.is_none_or(|(_, key)| key.covers(topic))
    }

    /// As [`covers`](Self::covers).
    ///
    /// # Errors
    /// 403 if not.
    pub(super) fn check(&self, topic: Topic<'_>) -> Result<(), Problem> {
        match self.key {
            Some((_, key)) if !key.covers(topic) => {
                let topic = topic.as_str();
                Err(Problem::forbidden(format!("the key {} is not good for {topic}", key.name)))
            }
            _ => Ok(()),
        }
    }

    /// Tells visitors apart: the place of the key among all.
    pub(super) fn number(&self) -> usize {
        self.key.map_or(usize::MAX, |(place, _)| place)
    }
}

fn name_of(scope: Scope) -> &'static str {
    match scope {
        Scope::Publish => "publish",
        Scope::Read => "read",
        Scope::Admin => "admin",
    }
}

/// The bytes of a digest, which the settings have checked.
fn bytes_of(digest: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digest.as_bytes().chunks(2)) {
        let text = std::str::from_utf8(pair).unwrap_or_default();
        *byte = u8::from_str_radix(text, 16).unwrap_or_default();
    }
    bytes
}
