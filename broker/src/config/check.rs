//! What no single setting's range can say: which values can't hold together.
//!
//! Each rule names both settings as the operator wrote them, and why. Called by `load` at the end.

use std::collections::BTreeMap;
use std::path::Path;

use super::load::Origin;
use super::tls::Tls;
use super::{Config, SHUTDOWN_MS_MAX};

/// The first rule that is broken, as a line for the operator.
pub(super) fn together(config: &Config, origins: &BTreeMap<String, Origin>) -> Result<(), String> {
    let spell = |key: &str, value: u64| {
        origins.get(key).unwrap_or(&Origin::Default).spell(key, &value.to_string())
    };
    let at_most = |small: (&str, u64), large: (&str, u64), why: &str| {
        if small.1 <= large.1 {
            return Ok(());
        }
        Err(format!("{} is more than {}: {why}", spell(small.0, small.1), spell(large.0, large.1)))
    };
    let message = ("message_bytes_max", u64::from(config.message_bytes_max));
    let backlog = ("backlog_bytes_max", config.backlog_bytes_max);
    at_most(message, backlog, "one long message would close a subscriber that is not slow")?;
    at_most(
        backlog,
        ("backlog_total_bytes_max", config.backlog_total_bytes_max),
        "one connection would use up what all may use",
    )?;
    at_most(
        message,
        ("mailbox_bytes_max", config.mailbox_bytes_max),
        "a long message could never pass from one worker to another",
    )?;
    access(config, origins)?;
    if let Some(conflict) = config.backplane.conflict() {
        return Err(conflict);
    }
    if config.drain_timeout_ms + config.close_timeout_ms > SHUTDOWN_MS_MAX {
        return Err(format!(
            "{} and {} are more than {SHUTDOWN_MS_MAX} together: stopping may take no longer",
            spell("drain_timeout_ms", config.drain_timeout_ms),
            spell("close_timeout_ms", config.close_timeout_ms),
        ));
    }
    store(config)?;
    tls(config, origins)
}

/// Rules that keep something on disk, and where that is.
fn store(config: &Config) -> Result<(), String> {
    let Some(rule) = config.topic.iter().find(|rule| rule.is_stored()) else { return Ok(()) };
    let filter = &rule.filter;
    if config.store.dir.as_os_str().is_empty() {
        return Err(format!("the rule for {filter} has a store: set store_dir to its folder"));
    }
    if config.backplane.is_on() {
        return Err(format!(
            "the rule for {filter} has a store: with a backplane, what is kept is kept there"
        ));
    }
    Ok(())
}

/// What has to come together for TLS, and what rules each other out.
fn tls(config: &Config, origins: &BTreeMap<String, Origin>) -> Result<(), String> {
    let Config { listen, tls, .. } = config;
    let spell = |key: &str, value: &dyn ToString| {
        origins.get(key).unwrap_or(&Origin::Default).spell(key, &value.to_string())
    };
    let is_named = |path: &Path| !path.as_os_str().is_empty();
    let (cert, key) =
        (spell("tls_cert", &tls.cert.display()), spell("tls_key", &tls.key.display()));
    match (is_named(&tls.cert), is_named(&tls.key)) {
        (true, false) => {
            return Err(format!("{cert} without tls_key: a certificate is of no use without it"));
        }
        (false, true) => {
            return Err(format!("{key} without tls_cert: a key proves nothing without it"));
        }
        (true, true) if tls.self_signed => {
            let made = spell("tls_self_signed", &true);
            return Err(format!("{cert} and {made}: there can be only one certificate"));
        }
        _ => {}
    }
    if !tls.is_on() {
        if tls.listen != Tls::default().listen {
            let listen = spell("tls_listen", &tls.listen);
            return Err(format!(
                "{listen} without a certificate: add tls_cert and tls_key, or tls_self_signed"
            ));
        }
        if !tls.plain {
            let plain = spell("plain", &false);
            return Err(format!("{plain} without a certificate: nothing would be listened on"));
        }
    } else if tls.plain && tls.listen == *listen && listen.port() != 0 {
        let (plain, sealed) = (spell("listen", listen), spell("tls_listen", &tls.listen));
        return Err(format!("{plain} and {sealed} are the same: one port speaks TLS or does not"));
    }
    Ok(())
}

/// Who may come in, and whether the operator has said so.
fn access(config: &Config, origins: &BTreeMap<String, Origin>) -> Result<(), String> {
    let spell =
        |key: &str, value: &str| origins.get(key).unwrap_or(&Origin::Default).spell(key, value);
    let plain = config.tls.plain.then_some(("listen", config.listen));
    let sealed = config.tls.is_on().then_some(("tls_listen", config.tls.listen));
    let admin = config.admin_address().map(|address| ("admin_listen", address));
    let mut listens = plain.into_iter().chain(sealed).chain(admin);
    let reachable = listens.find(|(_, address)| !address.ip().is_loopback());
    if let Some((key, address)) = reachable
        && !config.has_keys()
        && !config.open
    {
        let listen = spell(key, &address.to_string());
        return Err(format!(
            "{listen}: others than this machine can connect, and nobody has to say who they are. \
             Set keys for tokens (auth_hmac_secret_file, or [[auth.key]] in the file), or open = \
             true to let in everybody"
        ));
    }
    if config.auth_cookie.is_empty() {
        return Ok(());
    }
    let cookie = spell("auth_cookie", &config.auth_cookie);
    if !config.has_keys() {
        return Err(format!("{cookie}: there are no keys that a token could be held against"));
    }
    if config.allow_origin.is_empty() {
        return Err(format!(
            "{cookie}: browsers send a cookie whatever page asks them to connect; set allow_origin \
             to the pages that may"
        ));
    }
    Ok(())
}
