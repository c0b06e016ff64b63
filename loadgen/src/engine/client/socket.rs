//! The bytes of one connection, plain or through TLS: the only place that knows the difference.
//! Never waits and never completes a handshake by itself: it does what the socket allows, and the
//! rest when the poll says so. Owned by the client.

use std::io::{self, Read as _, Write as _};

use mio::net::TcpStream;
use rustls::crypto::SupportedKxGroup;
use rustls::{ClientConnection, HandshakeKind};

use crate::engine::receive::Receiver;
use crate::tls::{Connector, explain};

/// An open socket.
pub(super) enum Socket {
    /// What is written is what travels.
    Plain(TcpStream),
    /// Boxed, since most runs have no use for it.
    Tls(Box<TlsSocket>),
}

/// A TLS session on its socket.
pub(super) struct TlsSocket {
    stream: TcpStream,
    session: ClientConnection,
}

impl Socket {
    /// The socket of a connection under way; a TLS session begins once it is made.
    pub(super) fn new(stream: TcpStream, connector: Option<&Connector>) -> io::Result<Self> {
        let Some(connector) = connector else { return Ok(Self::Plain(stream)) };
        let session = connector.session()?;
        Ok(Self::Tls(Box::new(TlsSocket { stream, session })))
    }

    /// Whether the TCP connection is made; an error if it failed.
    pub(super) fn is_connected(&self) -> io::Result<bool> {
        let stream = match self {
            Self::Plain(stream) => stream,
            Self::Tls(tls) => &tls.stream,
        };
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        match stream.peer_addr() {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            other => other.map(|_| true),
        }
    }

    /// Reads what there is, up to the end of `buffer`: less only if the socket has no more. 0 is the
    /// end of the connection. The receiver knows when the last of it came.
    pub(super) fn read(&mut self, receiver: &mut Receiver, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => receiver.read(stream, buffer),
            Self::Tls(tls) => tls.read(receiver, buffer),
        }
    }

    /// Takes as much as it can, which is 0 bytes only where `bytes` is empty or the socket is full.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = 0;
        while written < bytes.len() {
            let result = match self {
                Self::Plain(stream) => stream.write(&bytes[written..]),
                Self::Tls(tls) => tls.write(&bytes[written..]),
            };
            match result {
                Ok(0) => break,
                Ok(length) => written += length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }

    /// Gives the kernel what was taken and still lies here.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(tls) => tls.flush(),
        }
    }

    /// Whether all that was taken is with the kernel.
    pub(super) fn is_flushed(&self) -> bool {
        match self {
            Self::Plain(_) => true,
            Self::Tls(tls) => !tls.session.wants_write(),
        }
    }

    /// Says goodbye, as far as the socket takes it.
    pub(super) fn close(&mut self) {
        if let Self::Tls(tls) = self {
            tls.session.send_close_notify();
            // The connection is over either way.
            let _ = tls.flush();
        }
    }

    /// What the TLS session agreed on, and whether it went on from an earlier one; none without
    /// TLS. To be asked once the peer has answered.
    pub(super) fn tls(&self) -> Option<(String, bool)> {
        let Self::Tls(tls) = self else { return None };
        let session = &tls.session;
        let version = session.protocol_version().and_then(|version| version.as_str());
        let suite = session.negotiated_cipher_suite().map(|suite| suite.suite());
        let group = session.negotiated_key_exchange_group().map(SupportedKxGroup::name);
        let parts = [
            version.map(|version| version.replacen("TLSv1_", "TLS 1.", 1)),
            group.map(|group| format!("{group:?}")),
            suite.and_then(|suite| suite.as_str()).map(str::to_owned),
        ];
        let is_resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
        Some((parts.into_iter().flatten().collect::<Vec<_>>().join(" "), is_resumed))
    }
}

/// Reads with the kernel's times.
struct Timed<'a>(&'a mut TcpStream, &'a mut Receiver);

impl io::Read for Timed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.1.read(self.0, buffer)
    }
}

impl TlsSocket {
    fn read(&mut self, receiver: &mut Receiver, buffer: &mut [u8]) -> io::Result<usize> {
        let (mut filled, mut kernel_ns) = (0, None);
        while filled < buffer.len() {
            match self.session.reader().read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(length) => filled += length,
                // An end without the alert that announces it: the frames tell what was cut off.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    match self.receive(receiver) {
                        Ok(true) => kernel_ns = receiver.receipt().kernel_ns,
                        // No more than a part of a record, or one that is TLS's own.
                        Ok(false) => {}
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock && filled > 0 => {
                            break;
                        }
                        Err(error) => return Err(error),
                    }
                }
                Err(error) => return Err(error),
            }
        }
        // What was held from an earlier read has none.
        receiver.receipt().kernel_ns = kernel_ns;
        Ok(filled)
    }

    /// Takes records from the socket and answers what they ask; returns whether there is something
    /// to read now.
    fn receive(&mut self, receiver: &mut Receiver) -> io::Result<bool> {
        loop {
            match self.session.read_tls(&mut Timed(&mut self.stream, receiver)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        }?;
        let processed = self.session.process_new_packets();
        // An alert tells the peer what was wrong.
        let flushed = self.flush();
        let state = processed.map_err(|error| io::Error::other(explain(&error)))?;
        flushed.map(|()| state.plaintext_bytes_to_read() > 0)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.session.writer().write(bytes)?;
        self.flush()?;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut self.stream) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
