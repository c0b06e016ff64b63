//! Who may use the API: whoever brings one of the keys, for what the key is good for, or a token,
//! for publishing and reading what the token allows. With neither in the settings, whoever can
//! reach a broker that listens on this machine alone.
//!
//! Asked before a request's body is read. A key is compared by its SHA-256, in a time that says
//! nothing about it.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::{HeaderMap, header};
use broker_proto::topic::Topic;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::pace::Rates;
use super::problem::Problem;
use crate::auth::{Grants, Verifier};
use crate::config::Config;
use crate::config::keys::{ApiKey, Scope};

/// The longest credential that is looked at, in bytes.
const CREDENTIAL_BYTES_MAX: usize = 8 * 1024;

/// The keys to the API, which may be replaced while the broker runs.
#[derive(Debug, Default)]
pub struct ApiKeys(RwLock<Arc<[Known]>>);

/// A key by its SHA-256.
type Known = ([u8; 32], Arc<ApiKey>);

/// Who is let in.
pub(super) struct Access {
    keys: Arc<ApiKeys>,
    rates: Rates,
    verifier: Arc<Verifier>,
    is_local: bool,
}

/// Who asks, and for what.
pub(super) struct Visitor {
    who: Who,
    scope: Scope,
}

enum Who {
    Anyone,
    Key(Arc<ApiKey>),
    Token(Arc<Grants>),
}

impl ApiKeys {
    /// Those of the settings.
    pub fn new(keys: &[ApiKey]) -> Self {
        let all = Self::default();
        all.replace(keys);
        all
    }

    /// From the next request on these are the keys, and no others.
    pub fn replace(&self, keys: &[ApiKey]) {
        let keys = keys.iter().map(|key| (bytes_of(&key.sha256), Arc::new(key.clone()))).collect();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    fn all(&self) -> Arc<[Known]> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Access {
    pub(super) fn new(config: &Config, keys: Arc<ApiKeys>, verifier: Arc<Verifier>) -> Self {
        let rates = Rates::new(config);
        Self { keys, rates, verifier, is_local: config.listen.ip().is_loopback() }
    }

    /// Whether there is nothing that a visitor could show: then only this machine is let in.
    pub(super) fn is_open(&self) -> bool {
        self.keys.all().is_empty() && !self.verifier.is_active()
    }

    /// Lets a request in that may do this.
    ///
    /// # Errors
    /// 401 without a key or token that is known, 403 with one that is not good for this, 429 with one
    /// that was used too often in a second.
    pub(super) fn admit(&self, headers: &HeaderMap, scope: Scope) -> Result<Visitor, Problem> {
        if self.is_open() {
            if self.is_local {
                return Ok(Visitor { who: Who::Anyone, scope });
            }
            return Err(closed());
        }
        let who = self.find(credential(headers)?)?;
        let refused = match &who {
            Who::Key(key) if !key.allows(scope) => Some(format!("the key {}", key.name)),
            Who::Token(_) if scope == Scope::Admin => Some("a token".to_owned()),
            _ => None,
        };
        match refused {
            None => {
                let visitor = Visitor { who, scope };
                self.rates.take_for(&visitor)?;
                Ok(visitor)
            }
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

    /// How often one may ask.
    pub(super) fn rates(&self) -> &Rates {
        &self.rates
    }

    fn find(&self, credential: &str) -> Result<Who, Problem> {
        let digest = Sha256::digest(credential);
        // All are compared, whichever it is.
        let all = self.keys.all();
        let key = all.iter().fold(None, |found, (known, key)| {
            if bool::from(known.as_slice().ct_eq(&digest)) { Some(key) } else { found }
        });
        match key {
            Some(key) => Ok(Who::Key(key.clone())),
            None if self.verifier.is_active() => match self.verifier.verify(credential, unix_s()) {
                Ok(grants) => Ok(Who::Token(grants)),
                Err(error) => Err(Problem::unauthorized(error.to_string()).last()),
            },
            None => Err(Problem::unauthorized("the key is not known").last()),
        }
    }
}

/// What those are told who have nothing to show, where there is nothing to be shown.
pub(super) fn closed() -> Problem {
    let message = "the API is closed: there is no [[api_key]] in the settings, and the request or the \
        broker's address is not of its own machine";
    Problem::forbidden(message).last()
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

impl Visitor {
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
