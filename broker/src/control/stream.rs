//! The network as the control plane sees it: a socket, on which TLS goes on where the worker left
//! it.
//!
//! A handshake was over before the first request was read, so there is none here. Used by the
//! connection loop beneath its own socket.

use std::io::{self, ErrorKind, IoSlice, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::tls::{Session, UNSEALED_SURPLUS_BYTES_MAX};

/// Sealed bytes that are read at once.
const READ_BYTES: usize = 16 * 1024;

/// A socket, sealed or not.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream>),
}

/// A socket with its TLS session.
pub(super) struct TlsStream {
    stream: TcpStream,
    session: Box<Session>,
    /// What was unsealed and not asked for yet: from `taken` to `ready`. Its memory is there only
    /// while something is being read.
    plain: Vec<u8>,
    taken: usize,
    ready: usize,
}

impl Stream {
    /// `session` is that of the bytes on `stream`, if they are sealed.
    pub(super) fn new(stream: TcpStream, session: Option<Box<Session>>) -> Self {
        match session {
            None => Self::Plain(stream),
            Some(session) => Self::Tls(Box::new(TlsStream {
                stream,
                session,
                plain: Vec::new(),
                taken: 0,
                ready: 0,
            })),
        }
    }
}

impl TlsStream {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.taken == self.ready {
            if self.session.is_ended() {
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_unseal(context))?;
        }
        let some = &self.plain[self.taken..self.ready];
        let some = &some[..some.len().min(buffer.remaining())];
        buffer.put_slice(some);
        self.taken += some.len();
        if self.taken == self.ready {
            self.plain = Vec::new();
            (self.taken, self.ready) = (0, 0);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_unseal(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut sealed = [0; READ_BYTES];
        let mut sealed = ReadBuf::new(&mut sealed);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut sealed))?;
        if sealed.filled().is_empty() {
            // Without the session's own end this may be the work of anybody on the way.
            return Poll::Ready(Err(ErrorKind::UnexpectedEof.into()));
        }
        self.plain.resize(READ_BYTES + UNSEALED_SURPLUS_BYTES_MAX, 0);
        self.taken = 0;
        let unsealed = self.session.unseal(sealed.filled(), &mut self.plain);
        // What TLS answers to that; if it has to wait, it goes with the next write.
        let sent = self.send(context);
        self.ready = unsealed.map_err(|refused| io::Error::new(ErrorKind::InvalidData, refused))?;
        match sent {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Ready when nothing waits any more.
    fn send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut out = Out { stream: &mut self.stream, context };
        match self.session.send(&mut out)? {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    }

    /// Nothing is sealed before all that was is out.
    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.send(context))?;
        let taken = self.session.seal(bytes);
        if taken == 0 && !bytes.is_empty() {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        // What does not go out now is asked for by the next write or flush.
        match self.send(context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(taken)),
        }
    }

    fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.session.end();
        ready!(self.send(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// A socket as something that can be written to, or would block and wakes the task later.
struct Out<'s, 'c, 'w> {
    stream: &'s mut TcpStream,
    context: &'c mut Context<'w>,
}

impl Out<'_, '_, '_> {
    fn unless_pending(written: Poll<io::Result<usize>>) -> io::Result<usize> {
        match written {
            Poll::Ready(result) => result,
            Poll::Pending => Err(ErrorKind::WouldBlock.into()),
        }
    }
}

impl Write for Out<'_, '_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Self::unless_pending(Pin::new(&mut *self.stream).poll_write(self.context, bytes))
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        Self::unless_pending(Pin::new(&mut *self.stream).poll_write_vectored(self.context, parts))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(tls) => tls.poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(tls) => tls.poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, parts),
            Self::Tls(tls) => {
                let some = parts.iter().find(|part| !part.is_empty());
                tls.poll_write(context, some.map_or(&[], |part| part))
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        matches!(self, Self::Plain(_))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(tls) => tls.send(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(tls) => tls.poll_shutdown(context),
        }
    }
}
