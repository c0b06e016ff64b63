//! The connection to NATS: made by the settings, made anew by itself, and what is known of it.
//!
//! Never blocks the start and never gives up. Whoever sends asks [`Bus::is_up`] first: what is
//! published while NATS is away would wait in the client, and be late when it comes.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ConnectOptions, Event, ServerAddr};
use tokio::sync::watch;

use super::names::Names;
use crate::config::Config;
use crate::config::backplane::{Backplane, is_named};
use crate::metrics::Metrics;

/// Silence after which the server is pinged; two such pings without an answer end the connection.
const PING_INTERVAL: Duration = Duration::from_secs(2);
/// Time for a connection and its handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Messages that wait to be written; beyond, senders wait, and then give up.
const OUTGOING_MAX: usize = 8 * 1024;
/// Messages of one subscription that wait to be taken; beyond, the newest are dropped, which is
/// told as a gap.
const INCOMING_MAX: usize = 8 * 1024;
/// Pause before a second attempt to connect; it doubles with each further one.
const RETRY_MS: u64 = 100;
/// The longest pause between two attempts.
const RETRY_MS_MAX: u64 = 5_000;
/// The shortest secret that nodes may share, in bytes.
const SECRET_BYTES_MIN: usize = 32;

/// What all tasks of a node's cluster share.
#[derive(Clone, Debug)]
pub struct Bus {
    /// The connection.
    pub client: Client,
    /// Who we are.
    pub names: Arc<Names>,
    /// How the connection stands, and when that changes.
    pub standing: watch::Receiver<Standing>,
    /// All counters; those of the cluster are in `metrics.cluster`.
    pub metrics: Arc<Metrics>,
}

/// How the connection stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// It is there.
    pub is_up: bool,
    /// How often it was made.
    pub connects: u64,
    /// How often messages were dropped because they were not taken fast enough.
    pub drops: u64,
}

/// What the files of the settings hold.
pub(super) struct Secrets {
    password: String,
    token: String,
    nkey: String,
    credentials: String,
    /// What nodes sign with; empty if they don't.
    pub(super) shared: Vec<u8>,
}

impl Secrets {
    /// Reads the files that the settings name; the error is a line for the operator.
    pub(super) fn read(settings: &Backplane) -> Result<Self, String> {
        let secrets = Self {
            password: line_of("nats_password_file", &settings.nats_password_file)?,
            token: line_of("nats_token_file", &settings.nats_token_file)?,
            nkey: line_of("nats_nkey_file", &settings.nats_nkey_file)?,
            credentials: text_of("nats_credentials_file", &settings.nats_credentials_file)?,
            shared: line_of("cluster_secret_file", &settings.cluster_secret_file)?.into_bytes(),
        };
        let (file, shared) = (&settings.cluster_secret_file, secrets.shared.len());
        if is_named(file) && shared < SECRET_BYTES_MIN {
            let file = file.display();
            return Err(format!(
                "cluster_secret_file: {file}: {shared} bytes, at least {SECRET_BYTES_MIN} are needed"
            ));
        }
        for (key, file) in [
            ("nats_tls_ca", &settings.nats_tls_ca),
            ("nats_tls_cert", &settings.nats_tls_cert),
            ("nats_tls_key", &settings.nats_tls_key),
        ] {
            // Read by the client at every attempt; a wrong name should show at the start.
            text_of(key, file)?;
        }
        Ok(secrets)
    }
}

/// Reads the files that the settings name, and looks whether what they and the settings say can be
/// understood; the error is a line for the operator.
pub(super) fn check(settings: &Backplane) -> Result<Secrets, String> {
    let secrets = Secrets::read(settings)?;
    addresses(settings).map_err(|error| format!("nats_url: {error}"))?;
    options(settings, &secrets).map_err(|error| format!("nats_credentials_file: {error}"))?;
    Ok(secrets)
}

fn addresses(settings: &Backplane) -> io::Result<Vec<ServerAddr>> {
    let parse = |url: &String| {
        url.parse()
            .map_err(|error: io::Error| io::Error::new(error.kind(), format!("{url}: {error}")))
    };
    settings.nats_url.iter().map(parse).collect()
}

fn text_of(key: &str, file: &Path) -> Result<String, String> {
    if !is_named(file) {
        return Ok(String::new());
    }
    std::fs::read_to_string(file).map_err(|error| format!("{key}: {}: {error}", file.display()))
}

fn line_of(key: &str, file: &Path) -> Result<String, String> {
    let text = text_of(key, file)?.trim().to_owned();
    match is_named(file) && text.is_empty() {
        true => Err(format!("{key}: {}: the file is empty", file.display())),
        false => Ok(text),
    }
}

impl Bus {
    /// Begins to connect; returns at once. Must be called within a runtime.
    ///
    /// # Errors
    /// An address or credentials that can't be understood.
    pub(super) async fn connect(
        config: &Config,
        names: Arc<Names>,
        secrets: &Secrets,
        metrics: Arc<Metrics>,
    ) -> io::Result<Self> {
        let settings = &config.backplane;
        let addresses = addresses(settings)?;
        let (sender, standing) = watch::channel(Standing::default());
        let sender = Arc::new(sender);
        let counted = metrics.clone();
        let options = options(settings, secrets)?
            .name(format!("altavoz {}", names.node))
            .event_callback(move |event| {
                note(&event, &sender, &counted);
                std::future::ready(())
            });
        let client = options.connect(addresses).await.map_err(io::Error::other)?;
        Ok(Self { client, names, standing, metrics })
    }

    /// Whether the connection is there, as far as this end knows.
    pub fn is_up(&self) -> bool {
        self.client.connection_state() == State::Connected
    }
}

fn options(settings: &Backplane, secrets: &Secrets) -> io::Result<ConnectOptions> {
    let mut options = ConnectOptions::new()
        .retry_on_initial_connect()
        .no_echo()
        .ping_interval(PING_INTERVAL)
        .connection_timeout(CONNECT_TIMEOUT)
        .client_capacity(OUTGOING_MAX)
        .subscription_capacity(INCOMING_MAX)
        .custom_inbox_prefix(format!("{}.i", settings.cluster))
        .reconnect_delay_callback(pause);
    if is_named(&settings.nats_tls_ca) {
        options = options.add_root_certificates(settings.nats_tls_ca.clone()).require_tls(true);
    }
    if is_named(&settings.nats_tls_cert) {
        let (cert, key) = (settings.nats_tls_cert.clone(), settings.nats_tls_key.clone());
        options = options.add_client_certificate(cert, key);
    }
    if !secrets.credentials.is_empty() {
        options = options.credentials(&secrets.credentials)?;
    }
    if !secrets.nkey.is_empty() {
        options = options.nkey(secrets.nkey.clone());
    }
    if !secrets.token.is_empty() {
        options = options.token(secrets.token.clone());
    }
    if !settings.nats_user.is_empty() {
        options = options.user_and_password(settings.nats_user.clone(), secrets.password.clone());
    }
    Ok(options)
}

/// How long to wait before this attempt. Half of it is random, so that nodes that lost the same
/// server don't come back at the same moment.
fn pause(attempt: usize) -> Duration {
    let Some(doublings) = attempt.checked_sub(2) else { return Duration::ZERO };
    let most = (RETRY_MS << doublings.min(16)).min(RETRY_MS_MAX);
    Duration::from_millis(fastrand::u64(most / 2..=most))
}

/// Counts what happened to the connection, and tells who waits for it.
fn note(event: &Event, standing: &watch::Sender<Standing>, metrics: &Metrics) {
    let counters = &metrics.cluster;
    match event {
        Event::Connected => {
            tracing::info!("connected to NATS");
            counters.connects.fetch_add(1, Ordering::Relaxed);
            counters.is_up.store(1, Ordering::Relaxed);
            standing.send_modify(|now| {
                now.is_up = true;
                now.connects += 1;
            });
        }
        Event::Disconnected | Event::Closed => {
            tracing::warn!("the connection to NATS is lost; topics go on on this node alone");
            counters.is_up.store(0, Ordering::Relaxed);
            standing.send_modify(|now| now.is_up = false);
        }
        Event::SlowConsumer(_) => {
            counters.drops.fetch_add(1, Ordering::Relaxed);
            standing.send_modify(|now| now.drops += 1);
        }
        Event::ServerError(error) => {
            // The server may have dropped something: a slow consumer, a subject not permitted.
            tracing::warn!(%error, "NATS says");
            counters.errors.fetch_add(1, Ordering::Relaxed);
            standing.send_modify(|now| now.drops += 1);
        }
        Event::ClientError(error) => {
            tracing::debug!(%error, "no connection to NATS");
            counters.errors.fetch_add(1, Ordering::Relaxed);
        }
        Event::LameDuckMode | Event::Draining => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_are_not_alike() {
        assert_eq!(pause(1), Duration::ZERO);
        for attempt in 2..100 {
            let most = (RETRY_MS << (attempt - 2).min(16)).min(RETRY_MS_MAX);
            let waited = pause(attempt).as_millis() as u64;
            assert!((most / 2..=most).contains(&waited), "attempt {attempt}: {waited} ms");
        }
        let far: std::collections::BTreeSet<_> = (0..50).map(|_| pause(20)).collect();
        assert!(far.len() > 10, "{far:?}");
    }

    #[test]
    fn an_address_that_cannot_be_understood_is_named() {
        let with = |url: &str| Backplane { nats_url: vec![url.to_owned()], ..Backplane::default() };
        assert!(check(&with("nats://127.0.0.1:4222")).is_ok());
        let error = check(&with("nats://a:99999")).err().unwrap();
        assert!(error.starts_with("nats_url: nats://a:99999: "), "{error}");
    }

    #[test]
    fn a_secret_that_is_too_short_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        let settings = Backplane { cluster_secret_file: file.clone(), ..Backplane::default() };
        assert!(Secrets::read(&settings).is_err(), "there is no such file");
        std::fs::write(&file, "short\n").unwrap();
        assert!(Secrets::read(&settings).err().unwrap().contains("at least 32"));
        std::fs::write(&file, "x".repeat(32)).unwrap();
        assert_eq!(Secrets::read(&settings).unwrap_or_else(|e| panic!("{e}")).shared.len(), 32);
    }
}
