//! The certificate that the broker proves itself with, read from files or made on the spot, and
//! replaced while it runs: whole, or not at all.
//!
//! Sessions that are open keep what they began with. Made and reloaded by `server`; workers ask it
//! for sessions.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::NoServerSessionStorage;
use sha2::{Digest as _, Sha256};

use super::session::Session;
use crate::config::tls::Tls;

/// Certificate and key in use.
#[derive(Debug)]
pub struct Keyring {
    current: RwLock<Current>,
}

/// What of the certificate can be shown to people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// SHA-256 of the certificate itself (DER), as browsers and `openssl x509 -fingerprint` show
    /// it: 32 pairs of hexadecimal digits with colons between them.
    pub fingerprint: Arc<str>,
    /// It was made when the broker started, and nobody vouches for it.
    pub is_self_signed: bool,
}

/// Why a certificate can't be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// A file that can't be read, or has no certificate or key in PEM.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The two do not belong together, or the library takes them for no use.
    #[error("the certificate and its key can't be used: {0}")]
    Refused(#[from] rustls::Error),
    /// No certificate could be made.
    #[error("no self-signed certificate could be made: {0}")]
    Making(#[from] rcgen::Error),
    /// The settings ask for no TLS at all.
    #[error("neither tls_cert and tls_key nor tls_self_signed is set")]
    NotAsked,
}

/// A certificate that can be used, with all that TLS needs.
#[derive(Clone, Debug)]
pub struct Current {
    config: Arc<ServerConfig>,
    certificate: Certificate,
}

impl Keyring {
    /// Reads the files that the settings name, or makes a certificate if they ask for that.
    ///
    /// # Errors
    ///
    /// [`KeyringError`], which names the file and what is wrong.
    pub fn load(settings: &Tls) -> Result<Self, KeyringError> {
        let current = match settings.files() {
            Some((cert, key)) => read(cert, key)?,
            _ if settings.self_signed => make(settings.listen.ip())?,
            _ => return Err(KeyringError::NotAsked),
        };
        Ok(Self { current: RwLock::new(current) })
    }

    /// Reads the files that the settings name now, and changes nothing yet. A certificate that was
    /// made stays what it is.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn prepare(&self, settings: &Tls) -> Result<Current, KeyringError> {
        match settings.files() {
            Some((cert, key)) => read(cert, key),
            _ if settings.self_signed => Ok(self.current()),
            _ => Err(KeyringError::NotAsked),
        }
    }

    /// From now on connections get this.
    ///
    /// Tickets for sessions under the old certificate are of no use afterwards: whoever comes
    /// back is shown the new one.
    pub fn replace(&self, new: Current) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
    }

    /// The certificate in use.
    pub fn certificate(&self) -> Certificate {
        self.current().certificate
    }

    /// The begin of a session with a client.
    ///
    /// # Errors
    ///
    /// As the library demands; settings that it took once do not fail.
    pub fn session(&self) -> Result<Session, KeyringError> {
        Ok(Session::new(self.current().config)?)
    }

    fn current(&self) -> Current {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn read(cert: &Path, key: &Path) -> Result<Current, KeyringError> {
    let wrong = |path: &Path| {
        let path = path.to_owned();
        move |error: rustls::pki_types::pem::Error| KeyringError::File {
            path,
            reason: fault(&error),
        }
    };
    let chain = CertificateDer::pem_file_iter(cert)
        .map_err(wrong(cert))?
        .collect::<Result<Vec<_>, _>>()
        .map_err(wrong(cert))?;
    if chain.is_empty() {
        let reason = "no certificate in PEM in it".to_owned();
        return Err(KeyringError::File { path: cert.to_owned(), reason });
    }
    let key = PrivateKeyDer::from_pem_file(key).map_err(wrong(key))?;
    current(chain, key, false)
}

/// What the library says about a file, without the contents of it.
fn fault(error: &rustls::pki_types::pem::Error) -> String {
    use rustls::pki_types::pem::Error;
    match error {
        Error::Io(error) => error.to_string(),
        Error::NoItemsFound => "no private key in PEM in it".to_owned(),
        _ => "broken PEM in it".to_owned(),
    }
}

/// A certificate for this machine as it calls itself, and for the address it listens on.
fn make(listen: IpAddr) -> Result<Current, KeyringError> {
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    if !listen.is_unspecified() && !names.contains(&listen.to_string()) {
        names.push(listen.to_string());
    }
    let made = rcgen::generate_simple_self_signed(names)?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    current(vec![made.cert.der().clone()], key.into(), true)
}

fn current(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    is_self_signed: bool,
) -> Result<Current, KeyringError> {
    let fingerprint = fingerprint(&chain[0]);
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // What a session goes on from lies with the client, sealed: here it takes no memory.
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    let certificate = Certificate { fingerprint, is_self_signed };
    Ok(Current { config: Arc::new(config), certificate })
}

fn fingerprint(certificate: &CertificateDer<'_>) -> Arc<str> {
    let mut text = String::new();
    for byte in Sha256::digest(certificate) {
        let colon = if text.is_empty() { "" } else { ":" };
        // Writing to a string does not fail.
        let _ = write!(text, "{colon}{byte:02X}");
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct Files {
        folder: tempfile::TempDir,
    }

    impl Files {
        fn new() -> Self {
            let files = Self { folder: tempfile::tempdir().unwrap() };
            let (cert, key) = pair();
            files.put("cert.pem", &cert);
            files.put("key.pem", &key);
            files
        }

        fn put(&self, name: &str, text: &str) {
            fs::write(self.folder.path().join(name), text).unwrap();
        }

        fn settings(&self) -> Tls {
            let path = |name| self.folder.path().join(name);
            Tls { cert: path("cert.pem"), key: path("key.pem"), ..Tls::default() }
        }
    }

    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn a_reload_takes_the_new_pair_whole_or_keeps_the_old_one() {
        let files = Files::new();
        let keyring = Keyring::load(&files.settings()).unwrap();
        let reload = || keyring.prepare(&files.settings()).map(|new| keyring.replace(new));
        let first = keyring.certificate();
        reload().unwrap();
        assert_eq!(keyring.certificate(), first);

        let (cert, key) = pair();
        files.put("cert.pem", &cert);
        let error = reload().unwrap_err().to_string();
        assert!(error.starts_with("the certificate and its key can't be used"), "{error}");
        assert_eq!(keyring.certificate(), first);

        files.put("key.pem", &key);
        reload().unwrap();
        assert_ne!(keyring.certificate(), first);
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_with_its_name_and_without_its_contents() {
        for (name, text, says) in [
            ("cert.pem", "", "no certificate in PEM in it"),
            ("cert.pem", "secret", "no certificate in PEM in it"),
            (
                "cert.pem",
                "-----BEGIN CERTIFICATE-----\nsecret!\n-----END CERTIFICATE-----\n",
                "broken",
            ),
            ("key.pem", "secret", "no private key in PEM in it"),
            ("key.pem", "-----BEGIN PRIVATE KEY-----\nsecret\n", "broken PEM in it"),
        ] {
            let files = Files::new();
            files.put(name, text);
            let error = Keyring::load(&files.settings()).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(says), "{text:?}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
        let missing = Tls { cert: "/no/such/file".into(), ..Files::new().settings() };
        let error = Keyring::load(&missing).unwrap_err().to_string();
        assert!(error.starts_with("/no/such/file: "), "{error}");
    }

    #[test]
    fn a_certificate_is_made_only_if_that_is_asked_for() {
        assert!(matches!(Keyring::load(&Tls::default()), Err(KeyringError::NotAsked)));
        let settings = Tls { self_signed: true, ..Tls::default() };
        let made = Keyring::load(&settings).unwrap();
        let certificate = made.certificate();
        assert!(certificate.is_self_signed);
        assert_eq!(certificate.fingerprint.len(), 32 * 3 - 1);
        assert_eq!(made.prepare(&settings).unwrap().certificate, certificate);
    }
}
