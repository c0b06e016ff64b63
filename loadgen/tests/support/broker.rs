//! A tiny broker for tests, one plain thread per connection, which can do on request what a broker
//! must never do. Built from `broker-proto`'s server side; no performance, no limits.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use broker_proto::command::{Answer, Command, CommandError, Epoch, GapReason, Id, Payload, Since};
use broker_proto::handshake::{HeadLimits, HeadScanner, Refusal, Request, Upgrade};
use broker_proto::topic::{Filter, Topic};
use broker_proto::ws::{CloseCode, Decoder, Event, Opcode, Role, close_payload, encode_frame};
use broker_proto::{bin, json};

/// What to do wrong with one message for one subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Not sent at all.
    Drop,
    /// Not sent, and a gap notice says so.
    Gap,
    /// Sent twice.
    Twice,
    /// Sent after the next one.
    AfterNext,
    /// One digit of the stamp is overwritten.
    Damage,
    /// Sent under another topic's name.
    WrongTopic,
    /// Instead of it, the connection is closed with 1011 `boom`.
    Close,
    /// Instead of it, the connection is closed with 4408, and this is said to be the last seq.
    Cut { last_seq: u64 },
}

/// How this broker misbehaves.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    /// By subscriber, in the order of subscribing from 0, and message of the topic from 1.
    pub(crate) by_message: HashMap<(usize, u64), Fault>,
    /// Upgrades beyond this many are answered with 503.
    pub(crate) connections_max: Option<u64>,
    /// Every subscriber is pinged right after its subscription.
    pub(crate) pings: bool,
    /// Before a message with this seq is fanned out, nothing happens for so long.
    pub(crate) stall: Option<(u64, Duration)>,
    /// Nothing is fanned out before [`TestBroker::release`].
    pub(crate) is_held: bool,
    /// Who asks for the newest alone gets every so many-th message.
    pub(crate) newest_of: u64,
    /// Before this subscriber gets a message, nothing happens for so long.
    pub(crate) pause_before: Option<(usize, Duration)>,
    /// What becomes of a subscribe that asks for the past.
    pub(crate) recovery: Recovery,
    /// Who asks for the last message of a topic does not get it.
    pub(crate) without_last: bool,
    /// Every so many-th joining or leaving is not told; 0 to tell all.
    pub(crate) untold: usize,
}

/// What this broker gives of the past.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Recovery {
    /// Nothing: asking for it is answered with `unavailable`.
    #[default]
    Unavailable,
    /// The last so many messages of a topic, and a gap notice for what is gone.
    Last(usize),
    /// All is said to be recovered, and the first message of it is not.
    Lies,
}

/// A broker on a port of its own; it ends with the test's process.
pub(crate) struct TestBroker {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    faults: Faults,
    topics: Mutex<Topics>,
    connections: AtomicU64,
    sessions: AtomicU64,
    pongs: AtomicU64,
    normal_closes: AtomicU64,
    gate: Gate,
    fanned_out: AtomicU64,
}

/// Closed until it is opened once.
#[derive(Default)]
struct Gate {
    is_open: Mutex<bool>,
    opened: Condvar,
}

#[derive(Default)]
struct Topics {
    subscribers: HashMap<String, Vec<Subscriber>>,
    seqs: HashMap<String, u64>,
    /// How often someone joined or left.
    moves: usize,
    /// All payloads, for those who ask for the past.
    past: HashMap<String, Vec<(bool, Vec<u8>)>>,
    count: usize,
}

struct Subscriber {
    ordinal: usize,
    connection: Connection,
    held: Option<Vec<u8>>,
    is_closed: bool,
    /// Of how many messages it gets one.
    newest_of: u64,
    /// Whether it is told who joins and leaves.
    is_told: bool,
}

/// The sending half; frames go out whole.
#[derive(Clone)]
struct Connection {
    stream: Arc<Mutex<TcpStream>>,
    is_binary: bool,
    session: u64,
}

impl TestBroker {
    pub(crate) fn start(faults: Faults) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            faults,
            topics: Mutex::default(),
            connections: AtomicU64::new(0),
            sessions: AtomicU64::new(0),
            pongs: AtomicU64::new(0),
            normal_closes: AtomicU64::new(0),
            gate: Gate::default(),
            fanned_out: AtomicU64::new(0),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&accepting);
                thread::spawn(move || shared.serve(stream));
            }
        });
        Self { address, shared }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/ws", self.address)
    }

    /// Pongs received.
    pub(crate) fn pongs(&self) -> u64 {
        self.shared.pongs.load(Ordering::SeqCst)
    }

    /// Lets what was held be fanned out, and all that follows; returns once so many messages are.
    pub(crate) fn release(&self, messages: u64) {
        *self.shared.gate.is_open.lock().unwrap() = true;
        self.shared.gate.opened.notify_all();
        while self.shared.fanned_out.load(Ordering::SeqCst) < messages {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Close frames received with code 1000.
    pub(crate) fn normal_closes(&self) -> u64 {
        self.shared.normal_closes.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn serve(&self, mut stream: TcpStream) {
        stream.set_nodelay(true).unwrap();
        let Some((is_binary, rest)) = self.upgrade(&mut stream) else { return };
        let stream_out = stream.try_clone().unwrap();
        let session = self.sessions.fetch_add(1, Ordering::SeqCst) + 1;
        let stream_out = Arc::new(Mutex::new(stream_out));
        let connection = Connection { stream: stream_out, is_binary, session };
        let mut decoder = Decoder::new(Role::Server, 1 << 20);
        let mut parser = json::Parser::new();
        let mut bytes = rest;
        loop {
            let mut at = 0;
            while let (used, Some(event)) = decoder.decode(&mut bytes[at..]).unwrap() {
                at += used;
                match event {
                    Event::Text(text) => {
                        parser.parse(text, |request| self.handle(request, &connection));
                    }
                    Event::Binary(payload) => {
                        bin::parse(payload, &mut parser, |request| {
                            self.handle(request, &connection);
                        });
                    }
                    Event::Ping(payload) => connection.send(Opcode::Pong, payload),
                    Event::Pong(_) => drop(self.pongs.fetch_add(1, Ordering::SeqCst)),
                    Event::Close(frame) => {
                        let is_normal = frame.is_some_and(|frame| frame.code == CloseCode::NORMAL);
                        self.normal_closes.fetch_add(u64::from(is_normal), Ordering::SeqCst);
                        let echo = close_payload(CloseCode::NORMAL, "");
                        connection.send(Opcode::Close, echo.as_slice());
                        let _ = stream.shutdown(Shutdown::Both);
                        return;
                    }
                }
            }
            bytes = match read_some(&mut stream) {
                Some(bytes) => bytes,
                None => return,
            };
        }
    }

    /// Whether the binary protocol was chosen, and what came after the head.
    fn upgrade(&self, stream: &mut TcpStream) -> Option<(bool, Vec<u8>)> {
        let limits = HeadLimits::default();
        let (mut scanner, mut bytes) = (HeadScanner::default(), Vec::new());
        let length = loop {
            bytes.extend_from_slice(&read_some(stream)?);
            if let Some(length) = scanner.scan(&bytes, &limits).unwrap() {
                break length;
            }
        };
        let request = Request::parse(&bytes[..length], &limits).unwrap();
        let upgrade = Upgrade::from_request(&request).unwrap();
        let mut response = Vec::new();
        let number = self.connections.fetch_add(1, Ordering::SeqCst) + 1;
        if self.faults.connections_max.is_some_and(|max| number > max) {
            Refusal::unavailable("full").write_response(&mut response);
            let _ = stream.write_all(&response);
            return None;
        }
        let protocol = upgrade.select_protocol(&["altavoz.v1.json", "altavoz.v1.bin"]);
        upgrade.write_response(&mut response, protocol, None);
        stream.write_all(&response).ok()?;
        Some((protocol == Some("altavoz.v1.bin"), bytes.split_off(length)))
    }

    fn handle(&self, request: broker_proto::command::Request<'_>, connection: &Connection) {
        match request.command.unwrap() {
            Command::Subscribe { filter, options } => {
                if options.since.is_some() && self.faults.recovery == Recovery::Unavailable {
                    let error = CommandError::unavailable("since");
                    return connection.answer(request.id, &Answer::Error(&error));
                }
                let mut topics = self.topics.lock().unwrap();
                let name = filter;
                let filter = filter.as_str();
                let last = topics.seqs.get(filter).copied().unwrap_or(0);
                let position = (!name.is_wildcard()).then_some((Epoch::new(1), last));
                let since = match options.since {
                    Some(Since::At(position)) => Some(position.seq),
                    _ => None,
                };
                let from = since.map(|seq| self.first_kept(last).max(seq + 1));
                let recovered = since.zip(from).map(|(seq, from)| from == seq + 1);
                let recovered = recovered.map(|is_whole| is_whole || self.lies());
                let answer = Answer::Subscribed { filter, position, epoch: None, recovered };
                connection.answer(request.id, &answer);
                if let Some((since, from)) = since.zip(from) {
                    self.catch_up(&topics, filter, since, from, connection);
                }
                if options.last && !self.faults.without_last {
                    tell_last(&topics, name, connection);
                }
                if options.presence {
                    self.tell_move(&mut topics, filter, connection.session, "join");
                }
                if self.faults.pings {
                    connection.send(Opcode::Ping, b"are you there?");
                }
                let ordinal = topics.count;
                topics.count += 1;
                let connection = connection.clone();
                let newest_of = if options.latest { self.faults.newest_of } else { 1 };
                let (held, is_closed, is_told) = (None, false, options.presence);
                let subscriber =
                    Subscriber { ordinal, connection, held, is_closed, newest_of, is_told };
                topics.subscribers.entry(filter.to_owned()).or_default().push(subscriber);
            }
            Command::Unsubscribe { filter } => {
                let mut topics = self.topics.lock().unwrap();
                let filter = filter.as_str();
                let held = topics.subscribers.entry(filter.to_owned()).or_default();
                held.retain(|other| other.connection.session != connection.session);
                connection.answer(request.id, &Answer::Unsubscribed { filter });
                self.tell_move(&mut topics, filter, connection.session, "leave");
            }
            Command::Connect { .. } => {
                connection.answer(request.id, &Answer::Connected { session: connection.session });
            }
            Command::Publish { topic, payload, .. } => self.publish(topic, payload),
            other => panic!("not a command of the load generator: {other:?}"),
        }
    }

    fn tell_move(&self, topics: &mut Topics, topic: &str, session: u64, what: &str) {
        topics.moves += 1;
        if self.faults.untold > 0 && topics.moves.is_multiple_of(self.faults.untold) {
            return;
        }
        let member = format!(r#"{{"user":null,"session":"{session:016x}"}}"#);
        let text = format!(r#"{{"presence":{{"topic":"{topic}","{what}":{member}}}}}"#);
        for subscriber in topics.subscribers.get(topic).into_iter().flatten() {
            if subscriber.is_told {
                subscriber.connection.send(Opcode::Text, text.as_bytes());
            }
        }
    }

    fn lies(&self) -> bool {
        self.faults.recovery == Recovery::Lies
    }

    fn first_kept(&self, last: u64) -> u64 {
        match self.faults.recovery {
            Recovery::Last(kept) => (last + 1).saturating_sub(kept as u64),
            _ => 0,
        }
    }

    /// What was published from `from` on, and a notice of what is gone before that.
    fn catch_up(&self, topics: &Topics, name: &str, since: u64, from: u64, to: &Connection) {
        let topic = Topic::new(name).unwrap();
        if from > since + 1 {
            to.gap(topic, since + 1, from - 1);
        }
        let past = topics.past.get(name).into_iter().flatten();
        let skipped = from as usize - 1 + usize::from(self.lies());
        for (seq, (is_json, bytes)) in (1..).zip(past).skip(skipped) {
            let payload = if *is_json { Payload::Json(bytes) } else { Payload::Opaque(bytes) };
            to.write(&to.message(topic, seq, payload));
        }
    }

    fn publish(&self, topic: Topic<'_>, payload: Payload<'_>) {
        if self.faults.is_held {
            let is_open = self.gate.is_open.lock().unwrap();
            drop(self.gate.opened.wait_while(is_open, |is_open| !*is_open).unwrap());
        }
        let mut topics = self.topics.lock().unwrap();
        let counter = topics.seqs.entry(topic.as_str().to_owned()).or_default();
        *counter += 1;
        let seq = *counter;
        let kept = (matches!(payload, Payload::Json(_)), payload.bytes().to_vec());
        topics.past.entry(topic.as_str().to_owned()).or_default().push(kept);
        if let Some((_, pause)) = self.faults.stall.filter(|stall| stall.0 == seq) {
            thread::sleep(pause);
        }
        let matches = |filter: &String| Filter::new(filter).unwrap().matches(topic);
        let lists = topics.subscribers.iter_mut().filter(|(filter, _)| matches(filter));
        for subscriber in lists.flat_map(|(_, list)| list) {
            let fault = self.faults.by_message.get(&(subscriber.ordinal, seq)).copied();
            let pause = self.faults.pause_before.filter(|pause| pause.0 == subscriber.ordinal);
            if let Some((_, pause)) = pause {
                thread::sleep(pause);
            }
            subscriber.deliver(topic, seq, payload, fault);
        }
        self.fanned_out.fetch_add(1, Ordering::SeqCst);
    }
}

/// The last message of every topic that matches.
fn tell_last(topics: &Topics, filter: Filter<'_>, to: &Connection) {
    for (name, past) in &topics.past {
        let topic = Topic::new(name).unwrap();
        if let Some((is_json, bytes)) = past.last().filter(|_| filter.matches(topic)) {
            let payload = if *is_json { Payload::Json(bytes) } else { Payload::Opaque(bytes) };
            to.write(&to.message(topic, past.len() as u64, payload));
        }
    }
}

impl Subscriber {
    fn deliver(&mut self, topic: Topic<'_>, seq: u64, payload: Payload<'_>, fault: Option<Fault>) {
        if self.is_closed || !seq.is_multiple_of(self.newest_of) {
            return;
        }
        let frame = self.connection.message(topic, seq, payload);
        match fault {
            None => self.connection.write(&frame),
            Some(Fault::Drop | Fault::Cut { .. }) => {}
            Some(Fault::Gap) => self.connection.gap(topic, seq, seq),
            Some(Fault::Twice) => self.connection.write(&[&frame[..], &frame[..]].concat()),
            Some(Fault::AfterNext) => return self.held = Some(frame),
            Some(Fault::Damage) => {
                let mut bytes = payload.bytes().to_vec();
                bytes[10] = b'!';
                let damaged = match payload {
                    Payload::Json(_) => Payload::Json(&bytes),
                    Payload::Opaque(_) => Payload::Opaque(&bytes),
                };
                self.connection.write(&self.connection.message(topic, seq, damaged));
            }
            Some(Fault::WrongTopic) => {
                let wrong = Topic::new("elsewhere").unwrap();
                self.connection.write(&self.connection.message(wrong, seq, payload));
            }
            Some(Fault::Close) => {
                let boom = close_payload(CloseCode::INTERNAL, "boom");
                self.connection.send(Opcode::Close, boom.as_slice());
                self.is_closed = true;
            }
        }
        if let Some(Fault::Cut { last_seq }) = fault {
            let reason = format!("too slow, last seq {last_seq} of {}", topic.as_str());
            let payload = close_payload(CloseCode::TOO_SLOW, &reason);
            self.connection.send(Opcode::Close, payload.as_slice());
            self.is_closed = true;
        }
        if let Some(held) = self.held.take() {
            self.connection.write(&held);
        }
    }
}

impl Connection {
    fn opcode(&self) -> Opcode {
        if self.is_binary { Opcode::Binary } else { Opcode::Text }
    }

    fn message(&self, topic: Topic<'_>, seq: u64, payload: Payload<'_>) -> Vec<u8> {
        let (mut text, mut frame) = (Vec::new(), Vec::new());
        match self.is_binary {
            true => drop(bin::encode_message(&mut text, topic, seq, payload)),
            false => drop(json::encode_message(&mut text, topic, seq, payload)),
        }
        encode_frame(&mut frame, self.opcode(), &text);
        frame
    }

    fn answer(&self, id: Option<Id<'_>>, answer: &Answer<'_>) {
        let mut text = Vec::new();
        match self.is_binary {
            true => bin::encode_answer(&mut text, id, answer),
            false => json::encode_answer(&mut text, id, answer),
        }
        self.send(self.opcode(), &text);
    }

    fn gap(&self, topic: Topic<'_>, from: u64, to: u64) {
        let mut text = Vec::new();
        match self.is_binary {
            true => bin::encode_gap(&mut text, topic, from, to, GapReason::Overflow),
            false => json::encode_gap(&mut text, topic, from, to, GapReason::Overflow),
        }
        self.send(self.opcode(), &text);
    }

    fn send(&self, opcode: Opcode, payload: &[u8]) {
        let mut frame = Vec::new();
        encode_frame(&mut frame, opcode, payload);
        self.write(&frame);
    }

    /// A client that went away is not this broker's business.
    fn write(&self, frame: &[u8]) {
        let _ = self.stream.lock().unwrap().write_all(frame);
    }
}

fn read_some(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = vec![0; 16 * 1024];
    let length = stream.read(&mut bytes).ok().filter(|&length| length > 0)?;
    bytes.truncate(length);
    Some(bytes)
}
