//! What a `wss://` target has to prove, and sessions with it. Reads certificates, opens no socket.
//! The plan carries [`Trust`] as plain data; each worker makes a `Connector` of it, and the
//! client's socket speaks through its sessions.

mod insecure;

use std::io;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, ClientConnection, Error, RootCertStore};
use serde::{Deserialize, Serialize};

/// What is asked of a server before anything is sent to it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Trust {
    /// The name its certificate must bear, which is also said in the handshake (SNI) unless it is
    /// an address.
    pub name: String,
    /// Certificates in PEM, of which one must have issued it; `None` for those of the system.
    pub roots: Option<String>,
    /// Any certificate will do.
    pub is_insecure: bool,
    /// Sessions go on from earlier ones of the same worker where the server lets them, which
    /// spares both sides the certificate.
    pub resumes: bool,
}

impl Trust {
    /// The default: `name` must be proved to the system's certificates.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), roots: None, is_insecure: false, resumes: true }
    }

    /// Finds out before the run whether there is anything wrong with it.
    ///
    /// # Errors
    ///
    /// A certificate, the lack of one, or a name that is of no use.
    pub fn check(&self) -> Result<(), TlsError> {
        Connector::new(self).map(|_| ())
    }
}

/// Why a server cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The host of the URL is neither a DNS name nor an address.
    #[error("{0} is no name that a certificate could bear")]
    Name(String),
    /// The system has no certificates to trust.
    #[error("the system has no root certificates{0}; name the server's CA with --ca FILE")]
    NoSystemRoots(String),
    /// The file given has none.
    #[error("--ca: no certificate in PEM in it, or a broken one{0}")]
    NoRoots(String),
    /// The library refuses the settings.
    #[error("TLS: {0}")]
    Settings(#[from] Error),
}

/// Opens sessions with one server, and remembers what later ones can go on from.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Connector {
    /// For one worker.
    ///
    /// # Errors
    ///
    /// If there is nothing to trust, or no name to hold it against.
    pub(crate) fn new(trust: &Trust) -> Result<Self, TlsError> {
        // An IPv6 address stands in brackets in a URL.
        let bare = trust.name.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(bare).map_err(|_| TlsError::Name(trust.name.clone()))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let builder = match trust.is_insecure {
            true => insecure::accept_any(builder, provider),
            false => builder.with_root_certificates(roots(trust)?),
        };
        let mut config = builder.with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        if !trust.resumes {
            config.resumption = Resumption::disabled();
        }
        Ok(Self { config: Arc::new(config), name })
    }

    /// The begin of a session.
    pub(crate) fn session(&self) -> io::Result<ClientConnection> {
        ClientConnection::new(Arc::clone(&self.config), self.name.clone()).map_err(io::Error::other)
    }
}

fn roots(trust: &Trust) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    let Some(pem) = &trust.roots else {
        let found = rustls_native_certs::load_native_certs();
        // Some systems have odd ones among many: the others still count.
        store.add_parsable_certificates(found.certs);
        if store.is_empty() {
            let why = found.errors.first().map_or(String::new(), |error| format!(" ({error})"));
            return Err(TlsError::NoSystemRoots(why));
        }
        return Ok(store);
    };
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| TlsError::NoRoots(format!(": {error}")))?;
        store.add(certificate).map_err(|error| TlsError::NoRoots(format!(": {error}")))?;
    }
    if store.is_empty() {
        return Err(TlsError::NoRoots(String::new()));
    }
    Ok(store)
}

/// What went wrong with a session, and what to do about it.
pub(crate) fn explain(error: &Error) -> String {
    let why = match error {
        Error::InvalidCertificate(why) => why,
        Error::InvalidMessage(_) => return format!("TLS: {error}; is TLS spoken there?"),
        _ => return format!("TLS: {error}"),
    };
    let advice = match why {
        // The latter is that of an issuer with the name of one that is trusted.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "name its CA with --ca FILE, or accept any with --insecure"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "use a name of the certificate in --url, or accept any with --insecure"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "renew it, or accept any with --insecure"
        }
        _ => "accept any with --insecure",
    };
    format!("the server's certificate is not trusted: {why}; {advice}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trust(name: &str, roots: Option<&str>) -> Trust {
        Trust { roots: roots.map(str::to_owned), ..Trust::new(name) }
    }

    #[test]
    fn a_file_without_certificates_is_refused_and_says_why() {
        for (pem, part) in [
            ("", "no certificate in PEM"),
            ("some text", "no certificate in PEM"),
            ("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", ": "),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", ": "),
        ] {
            let error = Connector::new(&trust("localhost", Some(pem))).unwrap_err().to_string();
            assert!(error.starts_with("--ca: ") && error.contains(part), "{pem:?}: {error}");
        }
    }

    #[test]
    fn names_and_addresses_can_be_asked_for_and_nothing_else() {
        let open = |name: &str| {
            let trust = Trust { is_insecure: true, ..trust(name, None) };
            Connector::new(&trust).map(|connector| connector.session().is_ok())
        };
        for name in ["localhost", "a.example", "127.0.0.1", "[::1]"] {
            assert!(open(name).unwrap(), "{name}");
        }
        assert!(matches!(open("a b"), Err(TlsError::Name(_))));
    }

    #[test]
    fn a_certificate_that_is_not_trusted_comes_with_advice() {
        for (why, advice) in [
            (CertificateError::UnknownIssuer, "--ca FILE"),
            (CertificateError::BadSignature, "--ca FILE"),
            (CertificateError::NotValidForName, "--url"),
            (CertificateError::Expired, "renew it"),
            (CertificateError::Revoked, "--insecure"),
        ] {
            let text = explain(&Error::InvalidCertificate(why));
            assert!(text.contains(advice) && text.contains("not trusted"), "{text}");
        }
        assert_eq!(explain(&Error::DecryptError), "TLS: cannot decrypt peer's message");
    }
}
