//! Fetches a set of keys over HTTP or HTTPS. Follows no redirect, which could lead out of what the
//! operator has named, and trusts what the system trusts. Blocks: called on the thread `keys` alone.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// Longest set that is read, in bytes.
const BODY_BYTES_MAX: u64 = 1024 * 1024;
/// For the whole of a fetch.
const TIMEOUT: Duration = Duration::from_secs(10);

/// An HTTP client.
pub(super) struct Fetcher(Agent);

impl Fetcher {
    /// A client that trusts the certificates of the system.
    pub(super) fn new() -> io::Result<Self> {
        let found = rustls_native_certs::load_native_certs();
        let trusted = found.certs.iter().map(|found| Certificate::from_der(found).to_owned());
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::Specific(Arc::new(trusted.collect())))
            .unversioned_rustls_crypto_provider(Arc::new(provider))
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .timeout_global(Some(TIMEOUT))
            .max_redirects(0)
            .max_redirects_will_error(true)
            .proxy(None)
            .user_agent(concat!("altavoz/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self(config.into()))
    }

    /// What is at `url`.
    pub(super) fn fetch(&self, url: &str) -> Result<Vec<u8>, String> {
        let mut response = self.0.get(url).call().map_err(|error| error.to_string())?;
        let body = response.body_mut().with_config().limit(BODY_BYTES_MAX);
        body.read_to_vec().map_err(|error| error.to_string())
    }
}

impl fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fetcher")
    }
}
