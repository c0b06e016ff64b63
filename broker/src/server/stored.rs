//! The store, before there is anything else: what it holds says when the broker's clock and its epochs
//! begin. Without the setting `store_dir` there is none. Called by `server` when the broker starts.

use std::io;
use std::time::Instant;

use crate::config::Config;
use crate::hub::ways::Ways;
use crate::metrics::Metrics;
use crate::store::Opened;

/// What the store says before the broker starts.
pub(super) struct Stored {
    pub(super) opened: Option<Opened>,
    pub(super) ways: Ways,
    /// When the broker's clock was at 0: now, or earlier if older messages are taken over.
    pub(super) started: Instant,
    /// When its epochs begin.
    pub(super) unix_ms: u64,
}

/// Opens it, if there is one, and reads what it holds.
///
/// # Errors
/// It can't be used.
pub(super) fn open(config: &Config, metrics: &Metrics, unix_ms: u64) -> io::Result<Stored> {
    let (now, mut ways) = (Instant::now(), Ways::default());
    if config.store.dir.as_os_str().is_empty() {
        return Ok(Stored { opened: None, ways, started: now, unix_ms });
    }
    let opened = Opened::open(config, unix_ms, &metrics.store).map_err(io::Error::other)?;
    ways.disk = Some(opened.log(config.mailbox_bytes_max));
    let started = now.checked_sub(opened.oldest_age()).unwrap_or(now);
    let unix_ms = opened.started_unix_ms();
    Ok(Stored { opened: Some(opened), ways, started, unix_ms })
}
