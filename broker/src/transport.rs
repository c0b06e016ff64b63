//! A connection's socket: non-blocking reads and writes of plain bytes, sealed by TLS or not.
//! Knows nothing of frames; workers call it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};

use mio::event::Source;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::tls::{Refused, Session, UNSEALED_SURPLUS_BYTES_MAX};

/// A connected, non-blocking socket.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    tls: Option<Box<Session>>,
}

/// What a write came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// So many bytes were taken; at least one, if any were offered. Under TLS some of them may
    /// wait sealed: see [`Socket::unsent`].
    Moved(usize),
    /// Nothing can be taken now; an event will tell when.
    WouldBlock,
    /// The connection is broken.
    Ended,
}

/// What a read came to.
#[derive(Debug)]
pub enum Input {
    /// So many bytes came. Under TLS it may be none, where only TLS itself has gone on.
    Bytes {
        /// How many.
        len: usize,
        /// The socket may hold more, of which no event tells.
        more: bool,
    },
    /// Nothing is there now; an event will tell when.
    WouldBlock,
    /// The peer has ended its side, or the connection is broken.
    Ended,
    /// The stream ended where TLS does not let it: the peer did not do that, or not on purpose.
    Truncated,
    /// What came is not TLS as it is spoken here; the peer was told, as far as that was possible.
    Refused(Refused),
}

impl Socket {
    /// Takes over an accepted stream, on which everything is sealed if there is a session.
    pub fn new(stream: TcpStream, tls: Option<Box<Session>>) -> Self {
        Self { stream, tls }
    }

    /// Asks for events of both directions, edge-triggered, once and for all.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.stream.register(registry, token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Reads into `buffer`; `sealed` is for what comes under TLS, and is used for nothing else.
    /// Both must have room for [`UNSEALED_SURPLUS_BYTES_MAX`] and more.
    pub fn read(&mut self, buffer: &mut [u8], sealed: &mut [u8]) -> Input {
        let Some(session) = &mut self.tls else {
            return match read(&mut self.stream, buffer) {
                Ok(0) => Input::Ended,
                Ok(len) => Input::Bytes { len, more: len == buffer.len() },
                Err(error) => Input::of(&error),
            };
        };
        if session.is_ended() {
            return Input::Ended;
        }
        let room = sealed.len().min(buffer.len() - UNSEALED_SURPLUS_BYTES_MAX);
        let came = match read(&mut self.stream, &mut sealed[..room]) {
            Ok(0) if session.is_handshaking() || session.has_failed() => return Input::Ended,
            Ok(0) => return Input::Truncated,
            Ok(came) => came,
            Err(error) => return Input::of(&error),
        };
        let unsealed = session.unseal(&sealed[..came], buffer);
        // What TLS answers; what of it does not go out now does when the socket has room, and
        // that it broke is told by the next read.
        let _ = session.send(&mut self.stream);
        match unsealed {
            Ok(len) => Input::Bytes { len, more: came == room || session.is_ended() },
            Err(refused) => Input::Refused(refused),
        }
    }

    /// Looks at what the peer has sent first of all, without taking it: no TLS has been spoken yet.
    /// What lies there already is seen again.
    pub fn peek(&self, buffer: &mut [u8]) -> Input {
        loop {
            return match self.stream.peek(buffer) {
                Ok(0) => Input::Ended,
                Ok(len) => Input::Bytes { len, more: false },
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Input::of(&error),
            };
        }
    }

    /// Takes off as many bytes as fit `buffer`, all of which a [`peek`](Self::peek) has seen. False
    /// if the connection is broken.
    pub fn skip(&mut self, buffer: &mut [u8]) -> bool {
        read(&mut self.stream, buffer).is_ok_and(|len| len == buffer.len())
    }

    /// The address of the peer.
    pub fn peer_address(&self) -> Option<SocketAddr> {
        self.stream.peer_addr().ok()
    }

    /// Writes from `bytes`, which must not be empty unless something is [unsent](Self::unsent).
    /// That goes first.
    pub fn write(&mut self, bytes: &[u8]) -> Outcome {
        match &mut self.tls {
            None => write(&mut self.stream, bytes),
            Some(session) => write_sealed(&mut self.stream, session, bytes),
        }
    }

    /// The descriptor, where bytes go to the peer as they are.
    pub fn plain(&self) -> Option<BorrowedFd<'_>> {
        self.tls.is_none().then(|| self.stream.as_fd())
    }

    /// Sealed bytes that the kernel did not take yet. Always 0 without TLS.
    #[inline]
    pub fn unsent(&mut self) -> usize {
        self.tls.as_mut().map_or(0, |session| session.unsent())
    }

    /// Sends what TLS has to say for itself and could not before: the socket has room again.
    pub fn flush(&mut self) {
        if let Some(session) = &mut self.tls {
            // That the connection is broken is told by the next read.
            let _ = session.send(&mut self.stream);
        }
    }

    /// Ends our side: the peer reads the end of the stream behind what was written.
    pub fn shutdown_write(&mut self) {
        if let Some(session) = &mut self.tls {
            session.end();
            // If the kernel has no room for this either, the peer sees an end without a good-bye.
            let _ = session.send(&mut self.stream);
        }
        // Fails only on a socket that is broken anyway, which the next read tells.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Whether TLS is not agreed on yet: nothing can be said to the peer.
    pub fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|session| session.is_handshaking())
    }

    /// Whether its TLS session goes on from an earlier one.
    pub fn is_resumed(&self) -> bool {
        self.tls.as_ref().is_some_and(|session| session.is_resumed())
    }

    /// The address of the peer, for logs; empty if the connection is broken.
    pub fn peer(&self) -> String {
        self.stream.peer_addr().map_or_else(|_| String::new(), |peer| peer.to_string())
    }

    /// Gives the stream away, without events, and its TLS session.
    pub fn into_parts(
        mut self,
        registry: &Registry,
    ) -> (std::net::TcpStream, Option<Box<Session>>) {
        // Fails only if the stream was never registered.
        let _ = self.stream.deregister(registry);
        (self.stream.into(), self.tls)
    }
}

impl Input {
    fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock => Self::WouldBlock,
            _ => Self::Ended,
        }
    }
}

fn read(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn write(stream: &mut TcpStream, bytes: &[u8]) -> Outcome {
    loop {
        match stream.write(bytes) {
            Ok(moved) => return Outcome::Moved(moved),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Outcome::WouldBlock,
            Err(_) => return Outcome::Ended,
        }
    }
}

/// Seals no more before all that was sealed is out, so what waits is bounded by what the library
/// seals at once.
fn write_sealed(stream: &mut TcpStream, session: &mut Session, bytes: &[u8]) -> Outcome {
    let mut moved = 0;
    loop {
        match session.send(stream) {
            Ok(true) => {}
            Ok(false) if moved == 0 => return Outcome::WouldBlock,
            Ok(false) => return Outcome::Moved(moved),
            Err(_) => return Outcome::Ended,
        }
        match session.seal(&bytes[moved..]) {
            0 if moved == 0 && !bytes.is_empty() => return Outcome::WouldBlock,
            0 => return Outcome::Moved(moved),
            sealed => moved += sealed,
        }
    }
}
