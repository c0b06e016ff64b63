//! A handed-over socket as hyper sees it: first what the worker had read, then the network.
//!
//! A peer that takes nothing for too long while there is something to send is cut off; hyper has
//! deadlines for reading only. Made by the connection loop.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

pub(super) struct Socket<S> {
    read: Bytes,
    stream: S,
    stall_timeout: Duration,
    /// Runs while a write waits.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Socket<S> {
    /// `read` comes before all that `stream` still holds; a write that makes no progress within
    /// `stall_timeout` fails.
    pub(super) fn new(read: impl Into<Bytes>, stream: S, stall_timeout: Duration) -> Self {
        Self { read: read.into(), stream, stall_timeout, stalled: None }
    }

    /// Passes on what a write said, and starts, stops or heeds the deadline.
    fn watch<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let timeout = self.stall_timeout;
        let deadline = self.stalled.get_or_insert_with(|| Box::pin(sleep(timeout)));
        ready!(deadline.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let n = self.read.len().min(buffer.remaining());
        buffer.put_slice(&self.read[..n]);
        self.read.advance(n);
        if self.read.is_empty() {
            // Gives the memory back; a view at the end of it would keep it.
            self.read = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.watch(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.watch(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn run(test: impl Future<Output = ()>) {
        let builder = &mut tokio::runtime::Builder::new_current_thread();
        builder.enable_time().build().unwrap().block_on(test);
    }

    #[test]
    fn bytes_come_in_order_wherever_they_were_split() {
        const ALL: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        run(async {
            for split in 0..=ALL.len() {
                for step in [1, 3, 64] {
                    let (near, mut far) = duplex(64);
                    far.write_all(&ALL[split..]).await.unwrap();
                    drop(far);
                    let mut socket = Socket::new(ALL[..split].to_vec(), near, HOUR);
                    let mut got = Vec::new();
                    let mut buffer = vec![0; step];
                    loop {
                        let n = socket.read(&mut buffer).await.unwrap();
                        if n == 0 {
                            break;
                        }
                        got.extend_from_slice(&buffer[..n]);
                    }
                    assert_eq!(got, ALL, "split at {split}, read by {step}");
                }
            }
        });
    }

    #[test]
    fn a_peer_that_takes_nothing_is_cut_off() {
        run(async {
            let (near, far) = duplex(4);
            let mut socket = Socket::new(Vec::new(), near, Duration::from_millis(1));
            socket.write_all(b"full").await.unwrap();
            let error = socket.write_all(b"more").await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            drop(far);
        });
    }

    #[test]
    fn a_write_that_moves_on_starts_the_deadline_anew() {
        run(async {
            let (near, mut far) = duplex(1);
            let mut socket = Socket::new(Vec::new(), near, HOUR);
            let write = async { socket.write_all(b"slow").await.unwrap() };
            let mut got = [0; 4];
            let read = async { far.read_exact(&mut got).await.unwrap() };
            tokio::join!(write, read);
            assert_eq!(&got, b"slow");
            assert!(socket.stalled.is_none());
        });
    }
}
