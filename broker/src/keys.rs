//! Where the keys for tokens come from: files, environment variables, and sets of keys (JWKS) at
//! an address, which a thread looks at again from time to time. Decides nothing about a token, that
//! is `auth`'s. Called by `server` when the broker starts. No secret is ever logged or quoted.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use broker_proto::topic::TopicError;

use crate::auth::{Grants, Key, KeyError, Terms, Verifier, keys_of};
use crate::config::Config;
use crate::config::auth::{KeyEntry, Place};

mod fetch;

use self::fetch::Fetcher;

/// Largest file with a key, a secret or a set of keys that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The keys of a broker, and what is needed to keep them up to date.
#[derive(Debug)]
pub struct Keys {
    /// Checks tokens against them.
    pub verifier: Arc<Verifier>,
    sources: Vec<Source>,
    asked: Receiver<()>,
    times: Times,
}

/// Why the keys that the settings name can't be had. The broker does not start.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {reason}")]
pub struct KeysError {
    /// What was looked at: a file, a variable, a setting.
    what: String,
    /// What is wrong with it.
    reason: String,
}

/// A set of keys that may change.
#[derive(Debug)]
struct Source {
    entry: KeyEntry,
    place: Place,
    /// When it last gave keys.
    had: Option<Instant>,
}

/// When sets are looked at.
#[derive(Clone, Copy, Debug)]
struct Times {
    refresh: Duration,
    /// The least between two looks, however many tokens name unknown keys.
    gap: Duration,
    age_max: Duration,
}

impl Keys {
    /// Reads the keys. Sets at an address are fetched by [`watch`](Self::watch).
    ///
    /// # Errors
    /// A file or variable can't be read, or holds no key of the kind that is expected.
    pub fn load(config: &Config) -> Result<Self, KeysError> {
        let (fixed, sets) = read_entries(config)?;
        let source = |(entry, place)| Source { entry, place, had: None };
        let sources: Vec<Source> = sets.into_iter().map(source).collect();
        let is_active = !(fixed.is_empty() && sources.is_empty());
        let anonymous = anonymous(config, is_active)
            .map_err(|reason| error(&"anonymous_subscribe, anonymous_publish", &reason))?;
        let (verifier, asked) = Verifier::new(fixed, sources.len(), anonymous);
        let times = Times {
            refresh: Duration::from_millis(config.jwks_refresh_ms),
            gap: Duration::from_millis(config.jwks_retry_ms),
            age_max: Duration::from_millis(config.jwks_age_ms_max),
        };
        let mut keys = Self { verifier: Arc::new(verifier), sources, asked, times };
        for (number, source) in keys.sources.iter_mut().enumerate() {
            if let Place::JwksFile(path) = source.place.clone() {
                source
                    .look(number, &keys.verifier, None)
                    .map_err(|e| error(&path.display(), &e))?;
            }
        }
        Ok(keys)
    }

    /// The keys that other settings name, but for sets of keys: those are looked at by a thread that
    /// goes on as it is, so they must be the same as in `old`.
    ///
    /// # Errors
    /// As [`load`](Self::load); or the sets are others; or there were no keys and there are some now,
    /// or none any more, which changes what everybody else may do.
    pub fn reload(old: &Config, new: &Config) -> Result<Vec<Key>, KeysError> {
        let sets = |config: &Config| -> Vec<KeyEntry> {
            let is_set = |entry: &&KeyEntry| entry.jwks_file.is_some() || entry.jwks_url.is_some();
            config.auth.iter().filter(is_set).cloned().collect()
        };
        let fault = |reason: &str| Err(error(&"[[auth.key]]", &reason));
        if sets(old) != sets(new) {
            return fault("sets of keys (jwks) can't change while the broker runs");
        }
        if old.has_keys() != new.has_keys() {
            return fault("whether there are keys at all can't change while the broker runs");
        }
        Ok(read_entries(new)?.0)
    }

    /// Starts the thread, named `keys`, that looks at sets of keys again; without such sets there
    /// is none. It ends by itself some time after the verifier is gone.
    ///
    /// # Errors
    /// The system gives no thread, or no certificates to trust are found for an address.
    pub fn watch(self) -> std::io::Result<Arc<Verifier>> {
        let Self { verifier, sources, asked, times } = self;
        if sources.is_empty() {
            return Ok(verifier);
        }
        let is_url = |source: &Source| matches!(source.place, Place::JwksUrl(_));
        let fetcher = sources.iter().any(is_url).then(Fetcher::new).transpose()?;
        let weak = Arc::downgrade(&verifier);
        let watch = move || watch(&weak, sources, &asked, times, fetcher.as_ref());
        thread::Builder::new().name("keys".into()).spawn(watch)?;
        Ok(verifier)
    }
}

fn watch(
    verifier: &Weak<Verifier>,
    mut sources: Vec<Source>,
    asked: &Receiver<()>,
    times: Times,
    fetcher: Option<&Fetcher>,
) {
    let mut looked: Option<Instant> = None;
    loop {
        let wait = looked.map_or(Duration::ZERO, |_| times.refresh);
        match asked.recv_timeout(wait) {
            // A token names a key that is not known: maybe it is new.
            Ok(()) => {
                let since = looked.map_or(times.gap, |looked| looked.elapsed());
                thread::sleep(times.gap.saturating_sub(since));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let Some(verifier) = verifier.upgrade() else { return };
        for (number, source) in sources.iter_mut().enumerate() {
            source.look_again(number, &verifier, times, fetcher);
        }
        // Who asked until now has been answered.
        let _ = asked.try_recv();
        looked = Some(Instant::now());
    }
}

impl Source {
    fn look_again(
        &mut self,
        number: usize,
        verifier: &Verifier,
        times: Times,
        fetcher: Option<&Fetcher>,
    ) {
        let Err(reason) = self.look(number, verifier, fetcher) else { return };
        let is_stale = self.had.is_none_or(|had| had.elapsed() > times.age_max);
        let what = match &self.place {
            Place::JwksUrl(url) => url.clone(),
            Place::JwksFile(path) => path.display().to_string(),
            _ => String::new(),
        };
        if is_stale {
            verifier.replace(number, Vec::new());
            tracing::error!(jwks = what, reason, "no keys: tokens that need them are refused");
        } else {
            tracing::warn!(jwks = what, reason, "keys can't be renewed; those known stay in force");
        }
    }

    /// Puts the keys that the set has now in the place of those before.
    fn look(
        &mut self,
        number: usize,
        verifier: &Verifier,
        fetcher: Option<&Fetcher>,
    ) -> Result<(), String> {
        let text = match (&self.place, fetcher) {
            (Place::JwksFile(path), _) => read(path)?,
            (Place::JwksUrl(url), Some(fetcher)) => fetcher.fetch(url)?,
            _ => return Err("not a set of keys".to_owned()),
        };
        let alg = self.entry.alg.as_deref().map(str::parse).transpose();
        let alg = alg.map_err(|error: KeyError| error.to_string())?;
        let keys = keys_of(&text, alg, self.entry.issuer.as_deref(), &self.entry.audience);
        verifier.replace(number, keys.map_err(|error| error.to_string())?);
        self.had = Some(Instant::now());
        Ok(())
    }
}

/// The keys that stand in the settings, and the sets of keys that they name.
type Entries = (Vec<Key>, Vec<(KeyEntry, Place)>);

fn read_entries(config: &Config) -> Result<Entries, KeysError> {
    let mut entries = config.auth.clone();
    if !config.auth_hmac_secret_file.as_os_str().is_empty() {
        entries.push(KeyEntry::hmac(config.auth_hmac_secret_file.clone()));
    }
    let (mut fixed, mut sets) = (Vec::new(), Vec::new());
    for entry in entries {
        let place = entry.place().map_err(|reason| error(&"[[auth.key]]", &reason))?;
        match place {
            Place::JwksFile(_) | Place::JwksUrl(_) => sets.push((entry, place)),
            _ => fixed.push(read_key(&entry, &place)?),
        }
    }
    Ok((fixed, sets))
}

fn read_key(entry: &KeyEntry, place: &Place) -> Result<Key, KeysError> {
    let alg = entry.alg.as_deref().unwrap_or_default();
    let alg = alg.parse().map_err(|wrong: KeyError| error(&"[[auth.key]]: alg", &wrong))?;
    let (kid, issuer) = (entry.kid.clone(), entry.issuer.clone());
    let terms = Terms { alg, kid, issuer, audience: entry.audience.clone() };
    let (what, key) = match place {
        Place::SecretVariable(name) => {
            let secret = std::env::var(name).map_err(|_| error(&name, &"is not set"))?;
            (name.clone(), Key::from_secret(secret.as_bytes(), terms))
        }
        Place::SecretFile(path) => {
            let secret = read(path).map_err(|reason| error(&path.display(), &reason))?;
            (path.display().to_string(), Key::from_secret(without_line_end(&secret), terms))
        }
        Place::KeyFile(path) | Place::JwksFile(path) => {
            let pem = read(path).map_err(|reason| error(&path.display(), &reason))?;
            (path.display().to_string(), Key::from_pem(&pem, terms))
        }
        Place::JwksUrl(url) => (url.clone(), Err(KeyError::NotAPublicKey)),
    };
    key.map_err(|wrong| error(&what, &wrong))
}

fn without_line_end(text: &[u8]) -> &[u8] {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.strip_suffix(b"\r").unwrap_or(text)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let path: PathBuf = path.into();
    let size = std::fs::metadata(&path).map_err(|error| error.to_string())?.len();
    if size > FILE_BYTES_MAX {
        return Err(format!("has {size} bytes, at most {FILE_BYTES_MAX} are read"));
    }
    std::fs::read(path).map_err(|error| error.to_string())
}

/// What clients without a token may do: what is set; and of what is not set nothing if there are
/// tokens, everything if there are none.
fn anonymous(config: &Config, is_active: bool) -> Result<Grants, TopicError> {
    let (subscribe, publish) = (&config.anonymous_subscribe, &config.anonymous_publish);
    let set = Grants::anonymous(Some(subscribe), Some(publish))?;
    let unset = if is_active { Grants::nothing() } else { Grants::everything() };
    Ok(match (subscribe.is_empty(), publish.is_empty()) {
        (true, true) => unset,
        (true, false) => unset.with_publish_of(&set),
        (false, true) => set.with_publish_of(&unset),
        (false, false) => set,
    })
}

fn error(what: &dyn fmt::Display, reason: &dyn fmt::Display) -> KeysError {
    KeysError { what: what.to_string(), reason: reason.to_string() }
}
