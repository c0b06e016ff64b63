//! TLS for the tests: certificates in files, clients that trust them, and a stream that is sealed
//! or not. Opens connections, holds no tests.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::CertifiedKey;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
    StreamOwned, SupportedProtocolVersion,
};

/// A certificate for `localhost` that nobody else issued, and its key, in files that are gone when
/// it is dropped.
pub(crate) struct Certificate {
    folder: tempfile::TempDir,
    der: CertificateDer<'static>,
}

impl Certificate {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let made = make();
        let der = made.cert.der().clone();
        let certificate = Self { folder, der };
        certificate.put(&made.cert.pem(), &made.signing_key.serialize_pem());
        certificate
    }

    /// Puts another in its place, in the files and for the clients from now on.
    pub(crate) fn renew(&mut self) {
        let made = make();
        self.der = made.cert.der().clone();
        self.put(&made.cert.pem(), &made.signing_key.serialize_pem());
    }

    /// Puts this into the files, whatever it is.
    pub(crate) fn put(&self, cert: &str, key: &str) {
        fs::write(self.cert(), cert).expect("it can be written");
        fs::write(self.key(), key).expect("it can be written");
    }

    pub(crate) fn cert(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    /// The flags of a broker that proves itself with it, on a free port.
    pub(crate) fn flags(&self) -> [String; 6] {
        let path = |path: PathBuf| path.to_str().expect("it is UTF-8").to_owned();
        let [listen, cert, key] = ["--tls-listen", "--tls-cert", "--tls-key"].map(str::to_owned);
        [listen, "127.0.0.1:0".to_owned(), cert, path(self.cert()), key, path(self.key())]
    }

    /// What a client trusts that trusts it alone.
    pub(crate) fn client(
        &self,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).expect("it is one");
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("they are known")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    }
}

/// A client that takes any certificate, so that it can be looked at.
pub(crate) fn trusting() -> Arc<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let any = Arc::new(Any(provider.signature_verification_algorithms));
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("they are known")
        .dangerous()
        .with_custom_certificate_verifier(any)
        .with_no_client_auth();
    Arc::new(config)
}

#[derive(Debug)]
struct Any(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Any {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

fn make() -> CertifiedKey<rcgen::KeyPair> {
    rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("one can be made")
}

/// Opens a TLS session with the broker at `address`, its handshake included.
pub(crate) fn connect(address: SocketAddr, client: &Arc<ClientConfig>) -> io::Result<TlsStream> {
    over(TcpStream::connect(address)?, client)
}

/// The same on a connection that is there already.
pub(crate) fn over(stream: TcpStream, client: &Arc<ClientConfig>) -> io::Result<TlsStream> {
    let name = ServerName::try_from("localhost").expect("it is a name");
    let session = ClientConnection::new(client.clone(), name).map_err(io::Error::other)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(super::ws_client::PATIENCE))?;
    let mut stream = StreamOwned::new(session, stream);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

pub(crate) type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// What a client's bytes go through.
pub(crate) enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream>),
}

impl Wire {
    /// The socket beneath.
    pub(crate) fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => &stream.sock,
        }
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}
