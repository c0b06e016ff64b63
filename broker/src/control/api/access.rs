//! Who may use the API: whoever brings one of the keys, for what the key is good for, or a token,
//! for publishing and reading what the token allows. With neither in the settings, whoever can
//! reach a broker that listens on this machine alone.
//!
//! Asked before a request's body is read. A key is compared by its SHA-256, in a time that says
//! nothing about it.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::{HeaderMap, header};
use broker_proto::topic::Topic;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::problem::Problem;
use crate::auth::{Grants, Verifier};
use crate::config::Config;
use crate::config::keys::{ApiKey, Scope};

/// The longest credential that is looked at, in bytes.
const CREDENTIAL_BYTES_MAX: usize = 8 * 1024;

/// The keys.
pub(super) struct Access {
    keys: Vec<([u8; 32], ApiKey)>,
    verifier: Arc<Verifier>,
    is_local: bool,
}

/// Who asks, and for what.
pub(super) struct Visitor<'a> {
    who: Who<'a>,
    scope: Scope,
}

enum Who<'a> {
    Anyone,
    Key(&'a ApiKey),
    Token(Arc<Grants>),
}

impl Access {
    pub(super) fn new(config: &Config, verifier: Arc<Verifier>) -> Self {
        let keys = config.api_key.iter().map(|key| (bytes_of(&key.sha256), key.clone())).collect();
        Self { keys, verifier, is_local: config.listen.ip().is_loopback() }
    }

    /// Lets a request in that may do this.
    ///
    /// # Errors
    /// 401 without a key or token that is known, 403 with one that is not good for this.
    pub(super) fn admit(&self, headers: &HeaderMap, scope: Scope) -> Result<Visitor<'_>, Problem> {
        if self.keys.is_empty() && !self.verifier.is_active() {
            if self.is_local {
                return Ok(Visitor { who: Who::Anyone, scope });
            }
            let message = "the API is closed: there is no [[api_key]] in the settings, and the \
                broker listens beyond its own machine";
            return Err(Problem::forbidden(message).last());
        }
        let who = self.find(credential(headers)?)?;
        let refused = match &who {
            Who::Key(key) if !key.allows(scope) => Some(format!("the key {}", key.name)),
            Who::Token(_) if scope == Scope::Admin => Some("a token".to_owned()),
            _ => None,
        };
        match refused {
            None => Ok(Visitor { who, scope }),
            Some(what) => {
                let message = format!("{what} is not good for {}", name_of(scope));
                Err(Problem::forbidden(message).last())
            }
        }
    }

    /// Refuses all tokens of a user that were made until now.
    pub(super) fn revoke(&self, user: &str) {
        if self.verifier.is_active() {
            self.verifier.revoke(user, unix_s());
        }
    }

    fn find(&self, credential: &str) -> Result<Who<'_>, Problem> {
        let digest = Sha256::digest(credential);
        // All are compared, whichever it is.
        let key = self.keys.iter().fold(None, |found, (known, key)| {
            if bool::from(known.as_slice().ct_eq(&digest)) { Some(key) } else { found }
        });
        match key {
            Some(key) => Ok(Who::Key(key)),
            None if self.verifier.is_active() => match self.verifier.verify(credential, unix_s()) {
                Ok(grants) => Ok(Who::Token(grants)),
                Err(error) => Err(Problem::unauthorized(error.to_string()).last()),
            },
            None => Err(Problem::unauthorized("the key is not known").last()),
        }
    }
}

/// What a request brings.
fn credential(headers: &HeaderMap) -> Result<&str, Problem> {
    let refused = |message: &'static str| Problem::unauthorized(message).last();
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or_else(|| refused("`Authorization: Bearer KEY` is missing"))?;
    if values.next().is_some() {
        return Err(refused("Authorization is there twice"));
    }
    let credential = value.to_str().ok().and_then(|text| {
        let (scheme, rest) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("Bearer").then(|| rest.trim())
    });
    credential
        .filter(|text| !text.is_empty() && text.len() <= CREDENTIAL_BYTES_MAX)
        .ok_or_else(|| refused("Authorization must be `Bearer KEY`"))
}

fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs())
}

impl Visitor<'_> {
    /// Whether this topic may be used.
    pub(super) fn covers(&self, topic: Topic<'_>) -> bool {
        match &self.who {
            Who::Anyone => true,
            Who::Key(key) => key.covers(topic),
            Who::Token(grants) if self.scope == Scope::Publish => grants.may_publish(topic),
            Who::Token(grants) => grants.may_see(topic),
        }
    }

    /// As [`covers`](Self::covers).
    ///
    /// # Errors
    /// 403 if not.
    pub(super) fn check(&self, topic: Topic<'_>) -> Result<(), Problem> {
        if self.covers(topic) {
            return Ok(());
        }
        let (what, topic) = (name_of(self.scope), topic.as_str());
        Err(Problem::forbidden(format!("no right to {what} {topic}")))
    }

    /// Tells visitors apart.
    pub(super) fn name(&self) -> String {
        match &self.who {
            Who::Anyone => String::new(),
            Who::Key(key) => format!("key {}", key.name),
            Who::Token(grants) => format!("user {}", grants.user().unwrap_or_default()),
        }
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
