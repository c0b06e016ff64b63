//! `loadgen sink`: a small target with set faults, on which the load generator is tested, and the
//! floor that brokers are compared with. One thread and one loop: reads what came, lets the
//! exchange stage what follows from it, and writes once for each connection and turn. Never uses
//! the broker's code, only `broker-proto`. Called by the scenarios' dispatch.

mod connection;
mod exchange;
mod faults;
mod injected;

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use broker_proto::command::Request;
use broker_proto::ws::{CloseCode, Event, Opcode};
use broker_proto::{bin, json};
use mio::event::Event as Readiness;
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};
use serde_json::json;

pub use injected::Injected;

use crate::options::SinkFlags;
use crate::sys::{self, Alarm};
use connection::{Connection, Kind, Upgraded};
use exchange::Exchange;

const LISTENER: Token = Token(usize::MAX);
const ALARM: Token = Token(usize::MAX - 1);

/// Events taken at a time.
const EVENTS: usize = 1024;

/// What one read takes, shared by all connections.
const RECEIVE_BYTES: usize = 64 * 1024;

/// The longest sleep: how late a signal may be noticed.
const TICK_NS: u64 = 50_000_000;

/// Serves until SIGTERM or the interrupt key; then prints what was injected and returns the exit
/// code.
///
/// # Errors
///
/// If the address can't be listened on, or the system fails.
pub fn run(flags: &SinkFlags) -> anyhow::Result<u8> {
    if let Err(why) = flags.check() {
        let _ = writeln!(io::stderr().lock(), "loadgen: {why}");
        return Ok(2);
    }
    let is_over = sys::watch_end()?;
    let _ = sys::raise_open_files();
    let mut sink = Sink::new(flags)?;
    say(&announcement(sink.listener.local_addr()?, flags.json));
    sink.serve(&is_over)?;
    let injected = sink.injected();
    say(&if flags.json { format!("{}\n", injected.to_json()) } else { injected.to_text() });
    Ok(0)
}

/// A reader that went away is no reason to stop.
fn say(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn announcement(address: SocketAddr, is_json: bool) -> String {
    let (url, echo_url) = (format!("ws://{address}/ws"), format!("ws://{address}/echo"));
    match is_json {
        true => {
            let address = address.to_string();
            format!("{}\n", json!({"address": address, "url": url, "echo_url": echo_url}))
        }
        false => format!("listening on {url} and {echo_url}\n"),
    }
}

/// The loop and what it works with.
struct Sink {
    poll: Poll,
    listener: TcpListener,
    alarm: Alarm,
    exchange: Exchange,
    parser: json::Parser,
    buffer: Vec<u8>,
    /// Those of whom one read did not take all.
    unread: Vec<usize>,
    /// Connections may wait that the system could not give a file to.
    must_accept: bool,
}

impl Sink {
    fn new(flags: &SinkFlags) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind(flags.listen)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            alarm: Alarm::new(poll.registry(), ALARM)?,
            poll,
            listener,
            exchange: Exchange::new(flags),
            parser: json::Parser::new(),
            buffer: vec![0; RECEIVE_BYTES],
            unread: Vec::new(),
            must_accept: false,
        })
    }

    fn serve(&mut self, is_over: &AtomicBool) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        while !is_over.load(Ordering::Relaxed) {
            self.wait(&mut events)?;
            self.stall();
            if self.must_accept {
                self.accept();
            }
            for which in std::mem::take(&mut self.unread) {
                self.read(which);
            }
            for event in &events {
                self.handle_event(event);
            }
            self.exchange.release(sys::now_ns());
            self.flush();
        }
        Ok(())
    }

    fn injected(self) -> Injected {
        self.exchange.injected
    }

    fn wait(&mut self, events: &mut Events) -> io::Result<()> {
        let now_ns = sys::now_ns();
        let due_ns = self.exchange.next_due_ns().unwrap_or(u64::MAX);
        let mut wait_ns = due_ns.saturating_sub(now_ns).min(TICK_NS);
        if !self.unread.is_empty() {
            wait_ns = 0;
        } else if wait_ns > 0 && wait_ns < TICK_NS {
            self.alarm.set(due_ns)?;
        }
        match self.poll.poll(events, Some(Duration::from_nanos(wait_ns))) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }

    fn stall(&mut self) {
        let begun_ns = sys::now_ns();
        let due = self.exchange.stalls.as_mut().and_then(|stalls| stalls.take_due(begun_ns));
        if let Some(lasting) = due {
            thread::sleep(lasting);
            self.exchange.injected.stalls += 1;
            self.exchange.injected.stalled_us += (sys::now_ns() - begun_ns) / 1000;
        }
    }

    fn handle_event(&mut self, event: &Readiness) {
        match event.token() {
            LISTENER => self.accept(),
            ALARM => {}
            Token(which) => {
                if event.is_writable() {
                    self.exchange.touch(which);
                }
                if event.is_readable() || event.is_read_closed() || event.is_error() {
                    self.read(which);
                }
            }
        }
    }

    fn accept(&mut self) {
        self.must_accept = false;
        loop {
            match self.listener.accept() {
                Ok((mut socket, _)) => {
                    let _ = socket.set_nodelay(true);
                    let entry = self.exchange.connections.vacant_entry();
                    let interest = Interest::READABLE | Interest::WRITABLE;
                    let token = Token(entry.key());
                    if self.poll.registry().register(&mut socket, token, interest).is_ok() {
                        entry.insert(Connection::new(socket));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // No file is free, or the client went away meanwhile: others may wait.
                Err(_) => {
                    self.must_accept = true;
                    return;
                }
            }
        }
    }

    /// One read; what remains has its turn later.
    fn read(&mut self, which: usize) {
        let Some(connection) = self.exchange.connections.get_mut(which) else { return };
        let mut buffer = std::mem::take(&mut self.buffer);
        match connection.read(&mut buffer) {
            Ok(None) => {}
            Ok(Some(0)) | Err(_) => self.exchange.remove(which),
            Ok(Some(length)) => {
                if length == buffer.len() {
                    self.unread.push(which);
                }
                self.handle_bytes(which, &mut buffer[..length]);
            }
        }
        self.buffer = buffer;
    }

    fn handle_bytes(&mut self, which: usize, bytes: &mut [u8]) {
        let Exchange { connections, faults, injected, .. } = &mut self.exchange;
        let Some(connection) = connections.get_mut(which) else { return };
        if connection.kind.is_some() || connection.is_closing {
            return self.decode(which, bytes);
        }
        let mut is_refused = false;
        let upgraded = connection.upgrade(bytes, || {
            is_refused = faults.refuses();
            !is_refused
        });
        injected.refused += u64::from(is_refused);
        match upgraded {
            Upgraded::Incomplete => {}
            Upgraded::Refused => self.exchange.touch(which),
            Upgraded::Done(mut rest) => {
                injected.connections += 1;
                self.exchange.touch(which);
                self.decode(which, &mut rest);
            }
        }
    }

    fn decode(&mut self, which: usize, bytes: &mut [u8]) {
        let Some(connection) = self.exchange.connections.get_mut(which) else { return };
        let (Some(kind), Some(mut decoder)) = (connection.kind, connection.decoder.take()) else {
            return;
        };
        let now_ns = sys::now_ns();
        let mut at = 0;
        loop {
            match decoder.decode(&mut bytes[at..]) {
                Ok((_, None)) => break,
                Ok((used, Some(event))) => {
                    at += used;
                    self.handle_message(which, kind, event, now_ns);
                }
                Err(error) => {
                    self.exchange.close(which, error.close_code(), &error.to_string());
                    break;
                }
            }
        }
        if let Some(connection) = self.exchange.connections.get_mut(which) {
            connection.decoder = Some(decoder);
        }
    }

    fn handle_message(&mut self, from: usize, kind: Kind, event: Event<'_>, now_ns: u64) {
        let Self { exchange, parser, .. } = self;
        let handle = |request: Request<'_>| exchange.handle_request(from, request, now_ns);
        match (event, kind) {
            (Event::Text(text), Kind::Json) => parser.parse(text, handle),
            (Event::Binary(bytes), Kind::Bin) => bin::parse(bytes, parser, handle),
            (Event::Text(text), Kind::Echo) => {
                exchange.handle_echo(from, Opcode::Text, text.as_bytes(), now_ns);
            }
            (Event::Binary(bytes), Kind::Echo) => {
                exchange.handle_echo(from, Opcode::Binary, bytes, now_ns);
            }
            (Event::Text(_), Kind::Bin) | (Event::Binary(_), Kind::Json) => {
                exchange.close(from, CloseCode::UNSUPPORTED, "the protocol has no such messages");
            }
            (Event::Ping(payload), _) => exchange.stage_control(from, Opcode::Pong, payload),
            (Event::Pong(_), _) => exchange.injected.pongs += 1,
            (Event::Close(frame), _) => {
                let code = frame.map_or(CloseCode::NORMAL, |frame| frame.code);
                exchange.handle_close(from, code);
            }
        }
    }

    /// One write for each connection that was staged something, or can take more.
    fn flush(&mut self) {
        for which in std::mem::take(&mut self.exchange.touched) {
            let Some(connection) = self.exchange.connections.get_mut(which) else { continue };
            connection.is_touched = false;
            let written = connection.write();
            let is_overfull = connection.is_overfull();
            let is_over = connection.is_done() || is_overfull || written.is_err();
            self.exchange.injected.writes += written.unwrap_or(0);
            self.exchange.injected.cut += u64::from(is_overfull);
            if is_over {
                self.exchange.remove(which);
            }
        }
    }
}
