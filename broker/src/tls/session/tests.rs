//! A session against the library's own client, in memory.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::cipher::{OutboundChunks, OutboundPlainMessage};
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, ConnectionTrafficSecrets, ContentType, DigitallySignedStruct,
    ProtocolVersion, SignatureScheme,
};

use super::*;
use crate::config::tls::Tls;
use crate::tls::Keyring;

const PLAIN_BYTES: usize = 64 * 1024;

/// Both ends, and what the server has read.
struct Pair {
    client: ClientConnection,
    server: Session,
    plain: Vec<u8>,
    got: Vec<u8>,
}

impl Pair {
    fn new() -> Self {
        let keyring = Keyring::load(&Tls { self_signed: true, ..Tls::default() }).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let client = ClientConnection::new(client_config(), name).unwrap();
        let (plain, got) = (vec![0; PLAIN_BYTES], Vec::new());
        Self { client, server: keyring.session().unwrap(), plain, got }
    }

    fn open() -> Self {
        let mut pair = Self::new();
        while pair.client.is_handshaking() || pair.server.is_handshaking() {
            pair.pass(usize::MAX).unwrap();
            pair.pass_back();
        }
        pair
    }

    /// Hands what the client has to say to the server, in pieces.
    fn pass(&mut self, piece: usize) -> Result<(), Refused> {
        let mut sealed = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut sealed).unwrap();
        }
        for piece in sealed.chunks(piece.min(PLAIN_BYTES - UNSEALED_SURPLUS_BYTES_MAX)) {
            let len = self.server.unseal(piece, &mut self.plain)?;
            self.got.extend_from_slice(&self.plain[..len]);
        }
        Ok(())
    }

    fn pass_back(&mut self) {
        let mut sealed = Vec::new();
        assert!(self.server.send(&mut sealed).unwrap());
        let mut sealed = &sealed[..];
        while !sealed.is_empty() {
            self.client.read_tls(&mut sealed).unwrap();
            self.client.process_new_packets().unwrap();
        }
    }

    fn say(&mut self, bytes: &[u8]) {
        self.client.set_buffer_limit(None);
        self.client.writer().write_all(bytes).unwrap();
    }

    fn heard(&mut self) -> Vec<u8> {
        let mut heard = vec![0; 1024 * 1024];
        let len = self.client.reader().read(&mut heard).unwrap_or(0);
        heard.truncate(len);
        heard
    }
}

/// Takes so many bytes and then no more.
struct Narrow(usize);

impl Write for Narrow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(self.0);
        self.0 -= taken;
        if taken == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(taken) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn bytes_come_as_they_were_sent_however_they_are_cut() {
    for piece in [1, 7, 1000, usize::MAX] {
        let mut pair = Pair::new();
        while pair.client.is_handshaking() || pair.server.is_handshaking() {
            pair.pass(piece).unwrap();
            pair.pass_back();
        }
        let sent: Vec<u8> = (0..200_000_u32).map(|n| n as u8).collect();
        for some in sent.chunks(40_000) {
            pair.say(some);
            pair.pass(piece).unwrap();
        }
        assert!(pair.got == sent, "in pieces of {piece}");
    }
}

#[test]
fn nothing_is_sealed_before_the_handshake_is_over() {
    let mut pair = Pair::new();
    assert_eq!(pair.server.seal(b"too early"), 0);
    pair.pass(usize::MAX).unwrap();
    assert_eq!(pair.server.seal(b"too early"), 0);
}

#[test]
fn what_waits_to_be_sent_is_counted_and_bounded() {
    let mut pair = Pair::open();
    assert_eq!(pair.server.unsent(), 0);
    let much = vec![b'x'; 1024 * 1024];
    let sealed = pair.server.seal(&much);
    assert!((32 * 1024..=64 * 1024).contains(&sealed), "{sealed}");
    let unsent = pair.server.unsent();
    assert!(unsent > sealed && unsent < sealed + 1024, "{unsent}");
    assert!(!pair.server.send(&mut Narrow(1000)).unwrap());
    assert_eq!(pair.server.unsent(), unsent - 1000);
}

#[test]
fn an_end_is_told_from_a_stream_that_is_cut_off() {
    let mut pair = Pair::open();
    pair.say(b"last words");
    pair.pass(usize::MAX).unwrap();
    assert!(!pair.server.is_ended());
    pair.client.send_close_notify();
    pair.pass(usize::MAX).unwrap();
    assert!(pair.server.is_ended());
    assert_eq!(pair.got, b"last words");

    pair.server.seal(b"good-bye");
    pair.server.end();
    pair.server.end();
    pair.pass_back();
    assert_eq!(pair.heard(), b"good-bye");
}

#[test]
fn what_is_no_tls_is_refused_once_and_answered_by_an_alert() {
    let mut pair = Pair::new();
    let refused = pair.server.unseal(b"GET / HTTP/1.1\r\n\r\n", &mut pair.plain).unwrap_err();
    assert!(matches!(refused, Refused(rustls::Error::InvalidMessage(_))), "{refused}");
    let mut alert = Vec::new();
    assert!(pair.server.send(&mut alert).unwrap());
    assert_eq!(alert[0], 0x15, "an alert");
    assert_eq!(pair.server.unseal(b"more", &mut pair.plain).unwrap(), 0);
    assert_eq!(pair.server.seal(b"never"), 0);
}

#[test]
fn new_keys_without_end_are_refused() {
    let mut pair = Pair::open();
    let refused = (0..1000).find_map(|_| {
        pair.client.refresh_traffic_keys().unwrap();
        pair.pass(usize::MAX).err()
    });
    assert!(refused.is_some(), "a thousand were taken");
}

#[test]
fn records_without_content_are_refused_in_the_end() {
    let mut pair = Pair::open();
    let mut server = pair.server;
    let (mut seq, secrets) = pair.client.dangerous_extract_secrets().unwrap().tx;
    let ConnectionTrafficSecrets::Aes256Gcm { key, iv } = secrets else { panic!("another suite") };
    let suite = aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384.tls13().unwrap();
    let mut encrypter = suite.aead_alg.encrypter(key, iv);
    let refused = (0..100_000).find_map(|_| {
        let empty = OutboundPlainMessage {
            typ: ContentType::ApplicationData,
            version: ProtocolVersion::TLSv1_3,
            payload: OutboundChunks::Single(&[]),
        };
        let record = encrypter.encrypt(empty, seq).unwrap().encode();
        seq += 1;
        server.unseal(&record, &mut pair.plain).err()
    });
    assert!(refused.is_some() && seq < 100, "{refused:?} after {seq}");
}

#[test]
fn talk_that_says_nothing_is_forgiven_when_something_is_said_in_between() {
    let mut pair = Pair::open();
    for round in 0..100 {
        pair.client.refresh_traffic_keys().unwrap();
        pair.say(b"x");
        pair.pass(usize::MAX).unwrap();
        pair.pass_back();
        assert_eq!(pair.got.len(), round + 1);
    }
}

fn client_config() -> Arc<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let any = Arc::new(Any(provider.signature_verification_algorithms));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(any)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.enable_secret_extraction = true;
    Arc::new(config)
}

/// Takes any certificate: who the server is does not matter here.
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
