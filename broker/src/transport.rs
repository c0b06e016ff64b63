//! A connection's socket: non-blocking reads and writes of plaintext bytes. Knows nothing of
//! frames; workers call it.

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;

use mio::event::Source;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

/// A connected, non-blocking socket.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
}

/// What a read or a write came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// So many bytes were moved; at least one.
    Moved(usize),
    /// Nothing can be moved now; an event will tell when.
    WouldBlock,
    /// The peer has ended its side (reads only), or the connection is broken.
    Ended,
}

impl Socket {
    /// Takes over an accepted stream.
    pub fn new(stream: TcpStream) -> Self {
        Self { stream }
    }

    /// Asks for events of both directions, edge-triggered, once and for all.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.stream.register(registry, token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Reads into `buffer`, which must not be empty.
    pub fn read(&mut self, buffer: &mut [u8]) -> Outcome {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Outcome::Ended,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return Outcome::of(result),
            }
        }
    }

    /// Writes from `bytes`, which must not be empty.
    pub fn write(&mut self, bytes: &[u8]) -> Outcome {
        loop {
            match self.stream.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return Outcome::of(result),
            }
        }
    }

    /// Writes from several slices in one call; they must not all be empty.
    pub fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> Outcome {
        loop {
            match self.stream.write_vectored(slices) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return Outcome::of(result),
            }
        }
    }

    /// Ends our side: the peer reads the end of the stream behind what was written.
    pub fn shutdown_write(&self) {
        // Fails only on a socket that is broken anyway, which the next read tells.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// The address of the peer, for logs; empty if the connection is broken.
    pub fn peer(&self) -> String {
        self.stream.peer_addr().map_or_else(|_| String::new(), |peer| peer.to_string())
    }

    /// Gives the stream away, without events.
    pub fn into_stream(mut self, registry: &Registry) -> std::net::TcpStream {
        // Fails only if the stream was never registered.
        let _ = self.stream.deregister(registry);
        self.stream.into()
    }
}

impl Outcome {
    fn of(result: io::Result<usize>) -> Self {
        match result {
            Ok(moved) => Self::Moved(moved),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Self::WouldBlock,
            Err(_) => Self::Ended,
        }
    }
}
