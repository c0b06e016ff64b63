//! What no single setting's range can say: which values can't hold together.
//!
//! Each rule names both settings as the operator wrote them, and why. Called by `load` at the end.

use std::collections::BTreeMap;

use super::load::Origin;
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
    if config.drain_timeout_ms + config.close_timeout_ms > SHUTDOWN_MS_MAX {
        return Err(format!(
            "{} and {} are more than {SHUTDOWN_MS_MAX} together: stopping may take no longer",
            spell("drain_timeout_ms", config.drain_timeout_ms),
            spell("close_timeout_ms", config.close_timeout_ms),
        ));
    }
    Ok(())
}

/// Who may come in, and whether the operator has said so.
fn access(config: &Config, origins: &BTreeMap<String, Origin>) -> Result<(), String> {
    let spell =
        |key: &str, value: &str| origins.get(key).unwrap_or(&Origin::Default).spell(key, value);
    if !config.has_keys() && !config.listen.ip().is_loopback() && !config.open {
        let listen = spell("listen", &config.listen.to_string());
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
