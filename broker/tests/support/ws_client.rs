//! A blocking WebSocket client on the project's own codec. It can send what no decent client
//! would, byte for byte, and it does nothing by itself: no pongs, no answer to a close.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use broker_proto::handshake::{ClientHandshake, HeadLimits, HeadScanner};
use broker_proto::ws::deflate::{Inflater, Offer};
use broker_proto::ws::{
    CloseCode, Decoder, Event, Opcode, ProtocolError, Role, close_payload, encode_masked_frame,
};

use super::tls::Wire;

const KEY: [u8; 16] = *b"the sample nonce";
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const MESSAGE_BYTES_MAX: u32 = 64 * 1024 * 1024;
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// How long a test waits for what must come, where the time itself is not the point.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What came from the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// A close frame: its code and reason, if it held any.
    Close(Option<(u16, String)>),
    /// Bytes that break the protocol.
    Broken(ProtocolError),
    /// The end of the TCP stream.
    End,
    /// The connection was reset.
    Reset,
}

/// A connection, open or not.
pub(crate) struct WsClient {
    stream: Wire,
    decoder: Decoder,
    queue: VecDeque<Received>,
    chunk: Vec<u8>,
    protocol: Option<String>,
    /// What is inflated with and into, if compression was agreed on.
    deflate: Option<(Inflater, Vec<u8>)>,
}

impl WsClient {
    /// Opens a WebSocket on `path`, offering `protocols`.
    pub(crate) fn connect(address: SocketAddr, path: &str, protocols: &[&str]) -> io::Result<Self> {
        Self::connect_with(address, path, protocols, &[])
    }

    /// Like [`connect`](Self::connect), with further request headers.
    pub(crate) fn connect_with(
        address: SocketAddr,
        path: &str,
        protocols: &[&str],
        headers: &[(&str, &str)],
    ) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, CONNECT_LIMIT)?;
        stream.set_nodelay(true)?;
        Self::over(Wire::Plain(stream), &address.to_string(), path, protocols, headers)
    }

    /// Opens a WebSocket on a connection that is there already.
    pub(crate) fn over(
        wire: Wire,
        host: &str,
        path: &str,
        protocols: &[&str],
        headers: &[(&str, &str)],
    ) -> io::Result<Self> {
        Self::over_with(wire, &ClientHandshake::new(KEY), host, path, protocols, headers)
    }

    /// Opens a WebSocket on `path` that may be compressed, if the broker agrees to `offer`.
    pub(crate) fn connect_deflated(
        address: SocketAddr,
        path: &str,
        protocols: &[&str],
        offer: Offer,
    ) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, CONNECT_LIMIT)?;
        stream.set_nodelay(true)?;
        let handshake = ClientHandshake::new(KEY).with_deflate(offer);
        let host = address.to_string();
        Self::over_with(Wire::Plain(stream), &handshake, &host, path, protocols, &[])
    }

    /// Whether messages may be compressed.
    pub(crate) fn is_deflated(&self) -> bool {
        self.deflate.is_some()
    }

    fn over_with(
        wire: Wire,
        handshake: &ClientHandshake,
        host: &str,
        path: &str,
        protocols: &[&str],
        headers: &[(&str, &str)],
    ) -> io::Result<Self> {
        let mut client = Self {
            stream: wire,
            decoder: Decoder::new(Role::Client, MESSAGE_BYTES_MAX),
            queue: VecDeque::new(),
            chunk: vec![0; 64 * 1024],
            protocol: None,
            deflate: None,
        };
        let mut request = Vec::new();
        handshake.write_request(&mut request, host, path, protocols, headers);
        client.send_raw(&request)?;
        client.read_response(handshake, protocols)?;
        Ok(client)
    }

    /// The subprotocol the broker chose.
    pub(crate) fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    /// Sends `bytes` as they are.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends one whole masked frame.
    pub(crate) fn send_frame(&mut self, opcode: Opcode, payload: &[u8]) -> io::Result<()> {
        let mut frame = Vec::new();
        encode_masked_frame(&mut frame, opcode, payload, MASK);
        self.send_raw(&frame)
    }

    pub(crate) fn send_text(&mut self, text: &str) -> io::Result<()> {
        self.send_frame(Opcode::Text, text.as_bytes())
    }

    pub(crate) fn send_close(&mut self, code: CloseCode, reason: &str) -> io::Result<()> {
        self.send_frame(Opcode::Close, close_payload(code, reason).as_slice())
    }

    /// The next thing that comes, or `None` if nothing does within `limit`.
    pub(crate) fn receive(&mut self, limit: Duration) -> Option<Received> {
        let deadline = Instant::now() + limit;
        while self.queue.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.read(left);
        }
        self.queue.pop_front()
    }

    /// The next thing, which must be a text message.
    pub(crate) fn receive_text(&mut self) -> String {
        match self.receive(PATIENCE) {
            Some(Received::Text(text)) => text,
            other => panic!("expected a text message, got {other:?}"),
        }
    }

    /// The code and reason of the close frame that must come, maybe after messages.
    pub(crate) fn receive_close(&mut self) -> (u16, String) {
        loop {
            match self.receive(PATIENCE) {
                Some(Received::Close(Some(close))) => return close,
                Some(
                    Received::Text(_) | Received::Binary(_) | Received::Ping(_) | Received::Pong(_),
                ) => {}
                other => panic!("expected a close frame with a code, got {other:?}"),
            }
        }
    }

    /// Whether the broker ends the TCP connection within `limit`, whatever comes before.
    pub(crate) fn ends_within(&mut self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            match self.receive(deadline.saturating_duration_since(Instant::now())) {
                Some(Received::End | Received::Reset) => return true,
                Some(_) => {}
                None => return false,
            }
        }
    }

    /// Sends one text command and returns the text that comes next.
    pub(crate) fn command(&mut self, command: &str) -> String {
        self.send_text(command).expect("the broker reads commands");
        self.receive_text()
    }

    /// Ends our side of the TCP stream.
    pub(crate) fn shutdown(&self) -> io::Result<()> {
        self.stream.socket().shutdown(Shutdown::Write)
    }

    /// The socket itself, for options and for reading past the codec.
    pub(crate) fn stream(&self) -> &TcpStream {
        self.stream.socket()
    }

    /// What its bytes go through.
    pub(crate) fn wire(&mut self) -> &mut Wire {
        &mut self.stream
    }

    fn read_response(&mut self, handshake: &ClientHandshake, offered: &[&str]) -> io::Result<()> {
        self.stream.socket().set_read_timeout(Some(CONNECT_LIMIT))?;
        let mut scanner = HeadScanner::for_response();
        let mut received = Vec::new();
        let head_bytes = loop {
            let length = self.stream.read(&mut self.chunk)?;
            if length == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            received.extend_from_slice(&self.chunk[..length]);
            match scanner.scan(&received, &HeadLimits::default()) {
                Ok(Some(length)) => break length,
                Ok(None) => {}
                Err(refusal) => return Err(io::Error::other(format!("{refusal:?}"))),
            }
        };
        let (head, rest) = received.split_at_mut(head_bytes);
        let accepted = handshake.verify(head, offered).map_err(io::Error::other)?;
        self.protocol = accepted.protocol.map(str::to_owned);
        let agreement = accepted.deflate;
        self.deflate = agreement.map(|agreed| (Inflater::new(agreed.server), Vec::new()));
        decode(&mut self.decoder, &mut self.deflate, rest, &mut self.queue);
        Ok(())
    }

    fn read(&mut self, limit: Duration) {
        self.stream.socket().set_read_timeout(Some(limit)).expect("the limit is not zero");
        match self.stream.read(&mut self.chunk) {
            Ok(0) => self.queue.push_back(Received::End),
            Ok(length) => {
                let input = &mut self.chunk[..length];
                decode(&mut self.decoder, &mut self.deflate, input, &mut self.queue);
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock
                | io::ErrorKind::TimedOut
                | io::ErrorKind::Interrupted => {}
                _ => self.queue.push_back(Received::Reset),
            },
        }
    }
}

fn decode(
    decoder: &mut Decoder,
    deflate: &mut Option<(Inflater, Vec<u8>)>,
    mut input: &mut [u8],
    queue: &mut VecDeque<Received>,
) {
    loop {
        let decoded = match deflate {
            None => decoder.decode(input),
            Some((inflater, scratch)) => decoder.decode_deflated(input, inflater, scratch),
        };
        match decoded {
            Ok((used, Some(event))) => {
                queue.push_back(event.into());
                input = &mut input[used..];
            }
            Ok((_, None)) => return,
            Err(error) => {
                queue.push_back(Received::Broken(error));
                return;
            }
        }
    }
}

impl From<Event<'_>> for Received {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Text(text) => Self::Text(text.to_owned()),
            Event::Binary(bytes) => Self::Binary(bytes.to_vec()),
            Event::Ping(payload) => Self::Ping(payload.to_vec()),
            Event::Pong(payload) => Self::Pong(payload.to_vec()),
            Event::Close(close) => {
                Self::Close(close.map(|close| (close.code.value(), close.reason.to_owned())))
            }
        }
    }
}
