//! What can change while the broker runs, each with the settings that belong to it: see `reload`.
//! Called once, by `server`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::reload::Part;
use crate::config::Config;
use crate::config::rules::Rules;
use crate::control::{ApiKeys, Shown};
use crate::hub::Shared;
use crate::keys::Keys;
use crate::metrics::Metrics;
use crate::tls::{Certificate, Keyring};

/// The rules for topics, and the settings that they are filled up from. Which of them nodes keep
/// something by together can't change: it says where each topic's order is made.
pub(super) fn topic_rules(config: &Config, shared: &Arc<Shared>) -> Part {
    const SETTINGS: &[&str] = &[
        "topic",
        "history_messages",
        "history_ms",
        "history_bytes",
        "last_ms",
        "overload",
        "presence",
    ];
    let shared = shared.clone();
    let before = config.backplane.is_on().then(|| Rules::new(config).places());
    Part::new("topic rules", SETTINGS, move |config| {
        let (shared, rules) = (shared.clone(), Rules::new(config));
        if before.as_ref().is_some_and(|before| *before != rules.places()) {
            let reason = "in a cluster the filters of rules, and which of them keep something, \
                          can't change while the broker runs";
            return Err(reason.to_owned());
        }
        Ok(Box::new(move || shared.directory.replace_rules(rules)))
    })
}

/// The certificate, whether the settings name other files or the same with something else in them.
pub(super) fn certificate(keyring: &Arc<Keyring>, metrics: &Arc<Metrics>) -> Part {
    let (keyring, metrics) = (keyring.clone(), metrics.clone());
    Part::new("certificate", &["tls_cert", "tls_key"], move |config| {
        let (keyring, metrics) = (keyring.clone(), metrics.clone());
        match keyring.prepare(&config.tls) {
            Ok(new) => Ok(Box::new(move || {
                keyring.replace(new);
                metrics.tls_reloads.fetch_add(1, Ordering::Relaxed);
                let Certificate { fingerprint, .. } = keyring.certificate();
                tracing::info!(%fingerprint, "the certificate for new connections");
            })),
            Err(error) => {
                metrics.tls_reload_errors.fetch_add(1, Ordering::Relaxed);
                Err(error.to_string())
            }
        }
    })
}

/// The keys for tokens, whether the settings name other files or the same with something else in
/// them. Sets of keys are not among them: they are looked at anyway.
pub(super) fn token_keys(config: &Arc<Config>, shared: &Arc<Shared>) -> Part {
    const SETTINGS: &[&str] = &["auth", "auth_hmac_secret_file"];
    let (config, shared) = (config.clone(), shared.clone());
    Part::new("keys for tokens", SETTINGS, move |new| {
        let keys = Keys::reload(&config, new).map_err(|error| error.to_string())?;
        let shared = shared.clone();
        Ok(Box::new(move || shared.verifier.replace_fixed(keys)))
    })
}

/// The keys to the HTTP API.
pub(super) fn api_keys(keys: Arc<ApiKeys>) -> Part {
    Part::new("keys to the API", &["api_key"], move |config| {
        let (keys, new) = (keys.clone(), config.api_key.clone());
        Ok(Box::new(move || keys.replace(&new)))
    })
}

/// What the API shows of the settings, which has none of its own.
pub(super) fn shown(shown: Shown) -> Part {
    Part::new("settings shown", &[], move |config| {
        let (shown, config) = (shown.clone(), config.clone());
        Ok(Box::new(move || shown.replace(&config)))
    })
}
