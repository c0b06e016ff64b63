//! The bare loop: what fan-out costs with next to no server around it. One thread, epoll, one
//! receive buffer; a read's publishes are copied behind each other and every subscriber gets what
//! it has of them in one send. No limits, no deadlines, no errors: only for measuring.

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::ops::Range;

use broker_proto::handshake::{HeadLimits, Request, Upgrade};
use broker_proto::ws::{Opcode, encode_frame, mask};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use super::{read_publish, read_subscribe, write_message, write_subscribed};

const LISTENER: Token = Token(usize::MAX);
const BUFFER_BYTES: usize = 256 * 1024;
/// What a subscriber may leave unread before it is dropped.
const UNSENT_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Serves on 127.0.0.1 until the process is ended.
///
/// # Errors
/// If the port is taken, or the system has no more descriptors.
pub fn serve(port: u16) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port)))?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let mut server = Server::default();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        }
        for event in &events {
            if event.token() == LISTENER {
                server.accept(&listener, &poll)?;
                continue;
            }
            let key = event.token().0;
            if event.is_writable() {
                server.flush(key);
            }
            if event.is_readable() {
                server.read(key, &mut buffer);
            }
        }
    }
}

#[derive(Default)]
struct Server {
    connections: Slab<Connection>,
    keys: HashMap<Vec<u8>, usize>,
    topics: Vec<Topic>,
    /// The frames that a read brought, one behind the other.
    frames: Vec<u8>,
    /// Of which topic they are, and where.
    brought: Vec<(usize, Range<usize>)>,
    text: Vec<u8>,
    /// Who has got something into its `unsent` in this read.
    touched: Vec<usize>,
}

#[derive(Default)]
struct Topic {
    seq: u64,
    subscribers: Vec<usize>,
}

struct Connection {
    stream: TcpStream,
    is_open: bool,
    subscribes: bool,
    /// The beginning of a head or frame whose end has not come.
    partial: Vec<u8>,
    /// What the socket did not take, or will be offered at the end of this read.
    unsent: Vec<u8>,
}

impl Server {
    fn accept(&mut self, listener: &TcpListener, poll: &Poll) -> io::Result<()> {
        loop {
            let mut stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            stream.set_nodelay(true)?;
            let entry = self.connections.vacant_entry();
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut stream, Token(entry.key()), interest)?;
            entry.insert(Connection {
                stream,
                is_open: false,
                subscribes: false,
                partial: Vec::new(),
                unsent: Vec::new(),
            });
        }
    }

    /// Reads until the socket is empty; after each read, what it brought goes out.
    fn read(&mut self, key: usize, buffer: &mut [u8]) {
        loop {
            let Some(connection) = self.connections.get_mut(key) else { return };
            let length = match connection.stream.read(buffer) {
                Ok(0) => return self.remove(key),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => return self.remove(key),
            };
            if connection.partial.is_empty() {
                let used = self.handle_bytes(key, &mut buffer[..length]);
                self.keep(key, &buffer[used..length]);
            } else {
                let mut bytes = std::mem::take(&mut connection.partial);
                bytes.extend_from_slice(&buffer[..length]);
                let used = self.handle_bytes(key, &mut bytes);
                self.keep(key, &bytes[used..]);
            }
            self.deliver();
            if length < buffer.len() {
                return;
            }
        }
    }

    fn keep(&mut self, key: usize, rest: &[u8]) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.partial = rest.to_vec();
        }
    }

    /// How many of the bytes were whole heads and frames.
    fn handle_bytes(&mut self, key: usize, bytes: &mut [u8]) -> usize {
        let mut at = 0;
        if !self.connections[key].is_open {
            let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
                return 0;
            };
            at = end + 4;
            self.upgrade(key, &bytes[..at]);
        }
        while let Some(frame) = Frame::find(&mut bytes[at..]) {
            let payload = &bytes[at + frame.payload.start..at + frame.payload.end];
            at += frame.payload.end;
            if frame.is_close {
                self.remove(key);
                return bytes.len();
            }
            self.handle_command(key, payload);
        }
        at
    }

    fn upgrade(&mut self, key: usize, head: &[u8]) {
        let mut answer = Vec::new();
        if let Ok(request) = Request::parse(head, &HeadLimits::default())
            && let Ok(upgrade) = Upgrade::from_request(&request)
        {
            let chosen = upgrade.select_protocol(&["altavoz.v1.json"]);
            upgrade.write_response(&mut answer, chosen, None);
        }
        self.connections[key].is_open = true;
        self.connections[key].send(&answer);
    }

    fn handle_command(&mut self, key: usize, text: &[u8]) {
        self.text.clear();
        if let Some((name, data)) = read_publish(text) {
            let Some(&topic) = self.keys.get(name) else { return };
            self.topics[topic].seq += 1;
            write_message(&mut self.text, name, self.topics[topic].seq, data);
            let start = self.frames.len();
            encode_frame(&mut self.frames, Opcode::Text, &self.text);
            self.brought.push((topic, start..self.frames.len()));
        } else if let Some((id, name)) = read_subscribe(text) {
            let next = self.topics.len();
            let topic = *self.keys.entry(name.to_vec()).or_insert(next);
            if topic == next {
                self.topics.push(Topic::default());
            }
            self.topics[topic].subscribers.push(key);
            write_subscribed(&mut self.text, id, name);
            let connection = &mut self.connections[key];
            connection.subscribes = true;
            let mut frame = Vec::with_capacity(self.text.len() + 4);
            encode_frame(&mut frame, Opcode::Text, &self.text);
            connection.send(&frame);
        }
    }

    /// Sends every subscriber what the read has brought for it, in one call.
    fn deliver(&mut self) {
        let Self { connections, topics, frames, brought, touched, .. } = self;
        let Some(&(first, _)) = brought.first() else { return };
        if brought.iter().all(|(topic, _)| *topic == first) {
            for &key in &topics[first].subscribers {
                connections[key].send(frames);
            }
        } else {
            for (topic, place) in brought.iter() {
                for &key in &topics[*topic].subscribers {
                    let unsent = &mut connections[key].unsent;
                    if unsent.is_empty() {
                        touched.push(key);
                    }
                    unsent.extend_from_slice(&frames[place.clone()]);
                }
            }
            touched.drain(..).for_each(|key| connections[key].flush());
        }
        brought.clear();
        frames.clear();
    }

    fn flush(&mut self, key: usize) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.flush();
        }
    }

    fn remove(&mut self, key: usize) {
        let Some(connection) = self.connections.try_remove(key) else { return };
        if connection.subscribes {
            for topic in &mut self.topics {
                topic.subscribers.retain(|subscriber| *subscriber != key);
            }
        }
    }
}

impl Connection {
    fn send(&mut self, bytes: &[u8]) {
        if !self.unsent.is_empty() {
            return self.unsent.extend_from_slice(bytes);
        }
        // A broken connection is noticed by its next read.
        let sent = self.stream.write(bytes).unwrap_or(0);
        self.unsent.extend_from_slice(&bytes[sent..]);
    }

    fn flush(&mut self) {
        if self.unsent.is_empty() {
            return;
        }
        let sent = self.stream.write(&self.unsent).unwrap_or(0);
        self.unsent.drain(..sent);
        if self.unsent.len() > UNSENT_BYTES_MAX {
            let _ = self.stream.shutdown(std::net::Shutdown::Both);
            self.unsent = Vec::new();
        }
    }
}

/// A whole frame at the front of some bytes, unmasked.
struct Frame {
    payload: Range<usize>,
    is_close: bool,
}

impl Frame {
    /// RFC 6455 §5.2, for masked frames that are whole messages.
    fn find(bytes: &mut [u8]) -> Option<Self> {
        let [first, second, ..] = *bytes else { return None };
        let (length, at) = match second & 0x7f {
            126 => (u64::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?)), 4),
            127 => (u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?), 10),
            short => (u64::from(short), 2),
        };
        let key: [u8; 4] = *bytes.get(at..)?.first_chunk()?;
        let payload = at + 4..at + 4 + length as usize;
        mask::apply(key, 0, bytes.get_mut(payload.clone())?);
        Some(Self { payload, is_close: first & 0x0f == 8 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_found_once_it_is_whole() {
        let mut bytes = b"\x81\x83\x01\x02\x03\x04\x60\x60\x60\x81".to_vec();
        assert!(Frame::find(&mut bytes[..8]).is_none());
        let frame = Frame::find(&mut bytes).unwrap();
        assert_eq!((frame.payload.clone(), frame.is_close), (6..9, false));
        assert_eq!(&bytes[frame.payload], b"abc");
    }
}
