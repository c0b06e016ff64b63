//! Who a client is and what it may do: checks tokens (JWT, RFC 7519) and answers what they allow.
//!
//! A [`Verifier`] holds the keys and turns a token into [`Grants`]; everything else asks the grants.
//! Sans-IO: reads no clock, file or network. The time is passed in, keys are put in by `keys`.
//! Called by the workers' hubs and by the control plane. What it says about a token never holds any
//! of it.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};

mod claims;
mod grants;
mod jwks;
mod key;
#[cfg(test)]
mod tests;

use self::claims::Claims;
pub use self::grants::{FILTERS_MAX, Grants, Permissions};
pub use self::jwks::{JWKS_KEYS_MAX, JwksError, keys_of};
pub use self::key::{Key, KeyError, Terms};

/// Longest token that is looked at, in bytes.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// How far the clocks of those who make tokens may be ahead of ours, in seconds: `nbf` and `iat`
/// may lie so far in the future. `exp` holds to the second.
pub const LEEWAY_S: u64 = 30;

/// Longest name of a user, in bytes of UTF-8.
pub const USER_BYTES_MAX: usize = 255;

/// For how long a user's [revocation](Verifier::revoke) is remembered: a day, in seconds.
pub const REVOKED_KEPT_S: u64 = 24 * 3600;

/// Users whose tokens are revoked at once; beyond it those revoked first are forgotten first.
const REVOKED_MAX: usize = 65_536;
/// Equal permissions that are shared; from so many on, those nobody holds any more are dropped.
const SHARED_MIN: usize = 256;

/// Checks tokens.
///
/// ```
/// use broker::auth::{Grants, Key, Terms, Verifier};
///
/// let terms = Terms { alg: "HS256".parse()?, kid: None, issuer: None, audience: vec![] };
/// let key = Key::from_secret(b"0123456789abcdef0123456789abcdef", terms)?;
/// let (verifier, _) = Verifier::new(vec![key], 0, Grants::nothing());
/// // {"alg":"HS256"} . {"sub":"ana","exp":4000000000,"sub_allow":["room/#"]}
/// let token = concat!(
///     "eyJhbGciOiJIUzI1NiJ9.",
///     "eyJzdWIiOiJhbmEiLCJleHAiOjQwMDAwMDAwMDAsInN1Yl9hbGxvdyI6WyJyb29tLyMiXX0.",
///     "ebC8hc1ZRqLpSax2VxzE7peSLK1qmoB4W_BWhz3e_P8",
/// );
/// let grants = verifier.verify(token, 1_800_000_000)?;
/// assert_eq!(grants.user(), Some("ana"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Verifier {
    /// Those that stand in the settings.
    fixed: RwLock<Arc<[Key]>>,
    /// Those of each source of keys that change, such as a JWKS.
    fetched: RwLock<Box<[Arc<[Key]>]>>,
    anonymous: Arc<Grants>,
    shared: Mutex<HashSet<Arc<Permissions>, RandomState>>,
    /// Until when tokens of a user must not have been made, in seconds since 1970.
    revoked: Mutex<HashMap<Box<str>, u64, RandomState>>,
    asks: SyncSender<()>,
}

/// Why a token is refused. At a handshake the peer sees 401, after a `connect` the error
/// `unauthorized` and 4401; which of these it was stands in the message. In the order of how far
/// the token got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum TokenError {
    /// It is longer than [`TOKEN_BYTES_MAX`].
    #[error("the token is longer than {TOKEN_BYTES_MAX} bytes")]
    TooLong,
    /// It is no JWT, or one with an algorithm or an extension that is not known here.
    #[error("the token is not a JWT that is understood here")]
    Malformed,
    /// No key has this `kid` and `alg`.
    #[error("no key fits the token's kid and alg")]
    UnknownKey,
    /// The signature is wrong.
    #[error("the token's signature is wrong")]
    Signature,
    /// A claim is missing, of the wrong type or beyond its limit.
    #[error("the token lacks a claim, or has one that makes no sense")]
    Claims,
    /// `iss` is not who the key belongs to.
    #[error("the token is from another issuer")]
    Issuer,
    /// `aud` does not name this broker, or names somebody where the key is for nobody in particular.
    #[error("the token is for another audience")]
    Audience,
    /// `nbf` or `iat` is more than [`LEEWAY_S`] ahead.
    #[error("the token is not valid yet")]
    NotYet,
    /// `exp` is past.
    #[error("the token has expired")]
    Expired,
    /// Its user's tokens were revoked after it was made.
    #[error("the token was revoked")]
    Revoked,
}

impl Verifier {
    /// A verifier with these keys and with `sources` places for keys that are
    /// [put in](Self::replace) later. `anonymous` is what clients without a token may do. The
    /// receiver gets a word when a token names a key that is not known; there is room for one.
    pub fn new(fixed: Vec<Key>, sources: usize, anonymous: Grants) -> (Self, Receiver<()>) {
        let (asks, asked) = sync_channel(1);
        let verifier = Self {
            fixed: RwLock::new(fixed.into()),
            fetched: RwLock::new((0..sources).map(|_| Arc::default()).collect()),
            anonymous: Arc::new(anonymous),
            shared: Mutex::default(),
            revoked: Mutex::default(),
            asks,
        };
        (verifier, asked)
    }

    /// A verifier that looks at no token and lets everybody do everything.
    pub fn open() -> Self {
        Self::new(Vec::new(), 0, Grants::everything()).0
    }

    /// Whether tokens are looked at: there are keys, or there will be.
    pub fn is_active(&self) -> bool {
        !self.fixed().is_empty() || !self.fetched().is_empty()
    }

    /// What a client without a token may do.
    pub fn anonymous(&self) -> &Arc<Grants> {
        &self.anonymous
    }

    /// What the bearer of `token` may do at this time.
    ///
    /// # Errors
    /// [`TokenError`]: the token is not valid. Nothing tells which part of which key refused it.
    pub fn verify(&self, token: &str, now_unix_s: u64) -> Result<Arc<Grants>, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLong);
        }
        let header = key::header_of(token)?;
        let (fixed, fetched) = (self.fixed(), self.fetched().to_vec());
        let all = fixed.iter().chain(fetched.iter().flat_map(|keys| keys.iter()));
        let mut refused = TokenError::UnknownKey;
        for key in all.filter(|key| key.answers_to(&header)) {
            match key.check(token).and_then(|claims| claims.hold_at(now_unix_s)) {
                Ok(claims) => return self.grant(&claims),
                Err(error) => refused = refused.max(error),
            }
        }
        if refused == TokenError::UnknownKey {
            // One word is enough until it is heard.
            let _ = self.asks.try_send(());
        }
        Err(refused)
    }

    /// Puts the present keys of a source, numbered from 0, in the place of the earlier ones: what
    /// is not among them is refused from now on.
    pub fn replace(&self, source: usize, keys: Vec<Key>) {
        let mut fetched = self.fetched.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = fetched.get_mut(source) {
            *place = keys.into();
        }
    }

    /// Puts other keys in the place of those that were given at the start, likewise. Who was let in
    /// before stays until his token expires.
    pub fn replace_fixed(&self, keys: Vec<Key>) {
        *self.fixed.write().unwrap_or_else(PoisonError::into_inner) = keys.into();
    }

    /// Refuses, for a day ([`REVOKED_KEPT_S`]), all tokens of `user` that were made (`iat`) up to
    /// now or do not tell when. His connections are
    /// for the caller to end.
    pub fn revoke(&self, user: &str, now_unix_s: u64) {
        let mut revoked = locked(&self.revoked);
        if revoked.len() >= REVOKED_MAX {
            revoked.retain(|_, at| *at + REVOKED_KEPT_S > now_unix_s);
        }
        if revoked.len() >= REVOKED_MAX
            && let Some(first) =
                revoked.iter().min_by_key(|(_, at)| **at).map(|(user, _)| user.clone())
        {
            revoked.remove(&first);
        }
        revoked.insert(user.into(), now_unix_s);
    }

    fn grant(&self, claims: &Claims) -> Result<Arc<Grants>, TokenError> {
        if self.is_revoked(claims) {
            return Err(TokenError::Revoked);
        }
        let permissions = Permissions::new(&claims.sub_allow, &claims.pub_allow);
        let permissions = self.share(permissions.map_err(|_| TokenError::Claims)?);
        Ok(Arc::new(Grants::of_user(&claims.sub, permissions, claims.exp)))
    }

    fn is_revoked(&self, claims: &Claims) -> bool {
        let revoked = locked(&self.revoked);
        revoked.get(claims.sub.as_str()).is_some_and(|at| claims.iat.is_none_or(|iat| iat <= *at))
    }

    /// Very many users have the same permissions: they are kept once.
    fn share(&self, permissions: Permissions) -> Arc<Permissions> {
        let mut shared = locked(&self.shared);
        if let Some(same) = shared.get(&permissions) {
            return same.clone();
        }
        if shared.len() >= SHARED_MIN && shared.len() == shared.capacity() {
            shared.retain(|held| Arc::strong_count(held) > 1);
        }
        let permissions = Arc::new(permissions);
        shared.insert(permissions.clone());
        permissions
    }

    fn fixed(&self) -> Arc<[Key]> {
        self.fixed.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn fetched(&self) -> std::sync::RwLockReadGuard<'_, Box<[Arc<[Key]>]>> {
        self.fetched.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A panic while one of these locks is held leaves whole values behind.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
