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
    if config.drain_timeout_ms + config.close_timeout_ms > SHUTDOWN_MS_MAX {
        return Err(format!(
            "{} and {} are more than {SHUTDOWN_MS_MAX} together: stopping may take no longer",
            spell("drain_timeout_ms", config.drain_timeout_ms),
            spell("close_timeout_ms", config.close_timeout_ms),
        ));
    }
    Ok(())
}
