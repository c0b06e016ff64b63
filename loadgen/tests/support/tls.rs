//! TLS in front of any server, for tests: takes sessions on a port of its own, and passes the bytes
//! on to the server as they are. Two plain threads per connection; notes what clients asked for.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use rcgen::CertifiedKey;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::{HandshakeKind, ServerConfig, ServerConnection, SupportedProtocolVersion};

/// A certificate that nobody else issued.
pub(crate) struct Certificate {
    /// For a client to trust.
    pub(crate) file: tempfile::NamedTempFile,
    key: CertifiedKey<rcgen::KeyPair>,
}

/// What a client asked for, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) name: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) is_resumed: bool,
}

/// Ends with the test's process.
pub(crate) struct TlsFront {
    address: SocketAddr,
    sessions: Arc<Mutex<Vec<Session>>>,
}

impl Certificate {
    /// For these DNS names or addresses.
    pub(crate) fn new(names: &[&str]) -> Self {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let key = rcgen::generate_simple_self_signed(names).unwrap();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(key.cert.pem().as_bytes()).unwrap();
        Self { file, key }
    }

    /// As a flag of the load generator.
    pub(crate) fn flag(&self) -> String {
        format!("--ca {}", self.file.path().display())
    }
}

impl TlsFront {
    /// In front of `server`, which speaks plainly.
    pub(crate) fn start(
        server: SocketAddr,
        certificate: &Certificate,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let key = PrivateKeyDer::try_from(certificate.key.signing_key.serialize_der()).unwrap();
        let mut config =
            ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_protocol_versions(versions)
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![certificate.key.cert.der().clone()], key)
                .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let (config, sessions) = (Arc::new(config), Arc::new(Mutex::default()));
        let front = Self { address, sessions: Arc::clone(&sessions) };
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                let sessions = Arc::clone(&sessions);
                thread::spawn(move || serve(&client, server, connection, &sessions));
            }
        });
        front
    }

    /// By this name of the machine.
    pub(crate) fn url(&self, name: &str) -> String {
        format!("wss://{name}:{}/ws", self.address.port())
    }

    /// The sessions so far.
    pub(crate) fn sessions(&self) -> Vec<Session> {
        self.sessions.lock().unwrap().clone()
    }
}

/// Whatever fails ends the connection: what the client makes of it is what is tested.
fn serve(
    client: &TcpStream,
    server: SocketAddr,
    connection: ServerConnection,
    sessions: &Mutex<Vec<Session>>,
) {
    client.set_nodelay(true).unwrap();
    let server = TcpStream::connect(server).unwrap();
    server.set_nodelay(true).unwrap();
    let connection = Arc::new(Mutex::new(connection));
    let back = {
        let (connection, client, server) =
            (Arc::clone(&connection), client.try_clone().unwrap(), server.try_clone().unwrap());
        thread::spawn(move || pass_back(&server, &client, &connection))
    };
    pass_on(client, &server, &connection, sessions);
    let _ = server.shutdown(Shutdown::Both);
    let _ = back.join();
}

fn pass_on(
    mut client: &TcpStream,
    mut server: &TcpStream,
    connection: &Mutex<ServerConnection>,
    sessions: &Mutex<Vec<Session>>,
) -> Option<()> {
    let (mut bytes, mut plain, mut is_noted) = (vec![0; 16 * 1024], Vec::new(), false);
    loop {
        let length = client.read(&mut bytes).ok().filter(|&length| length > 0)?;
        let mut rest = &bytes[..length];
        while !rest.is_empty() {
            plain.clear();
            let mut session = connection.lock().unwrap();
            session.read_tls(&mut rest).ok()?;
            let state = session.process_new_packets();
            while session.wants_write() {
                session.write_tls(&mut client).ok()?;
            }
            plain.resize(state.ok()?.plaintext_bytes_to_read(), 0);
            session.reader().read_exact(&mut plain).ok()?;
            if !is_noted && !session.is_handshaking() {
                is_noted = true;
                sessions.lock().unwrap().push(note(&session));
            }
            drop(session);
            server.write_all(&plain).ok()?;
        }
    }
}

fn pass_back(mut server: &TcpStream, mut client: &TcpStream, connection: &Mutex<ServerConnection>) {
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = server.read(&mut bytes) {
        let mut session = connection.lock().unwrap();
        session.writer().write_all(&bytes[..length]).unwrap();
        while session.wants_write() {
            if session.write_tls(&mut client).is_err() {
                return;
            }
        }
    }
    let mut session = connection.lock().unwrap();
    session.send_close_notify();
    let _ = session.write_tls(&mut client);
    let _ = client.shutdown(Shutdown::Both);
}

fn note(session: &ServerConnection) -> Session {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Session {
        name: session.server_name().map(str::to_owned),
        protocol: session.alpn_protocol().map(text),
        is_resumed: session.handshake_kind() == Some(HandshakeKind::Resumed),
    }
}
