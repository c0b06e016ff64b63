//! What the sink knows: topics, who is subscribed, and what becomes of each delivery. Stages frames
//! at connections and never reads or writes a socket; told the time by the loop, which asks it
//! what is due.

mod frames;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};

use broker_proto::command::{Answer, Command, CommandError, Epoch, Id, Level, Payload, Request};
use broker_proto::topic::{Filter, Topic};
use broker_proto::ws::{CloseCode, Opcode, close_payload, encode_frame};
use slab::Slab;

use super::connection::{Connection, Kind};
use super::faults::{Fault, Faults, Stalls};
use super::injected::Injected;
use crate::options::SinkFlags;
use frames::{Mail, answer_frame, damaged, gap_frame, message_frame};

/// The most topics.
const TOPICS_MAX: usize = 1_000_000;

/// How long a delivery that is to be swapped waits for the next: 1 second.
const HOLD_NS: u64 = 1_000_000_000;

/// Topics live as long as the sink: one epoch for all.
const EPOCH: u64 = 1;

/// The number under which echoes are held, since they have no topic.
const ECHO: u32 = u32::MAX;

/// Topics, connections and faults.
pub(super) struct Exchange {
    pub(super) connections: Slab<Connection>,
    pub(super) faults: Faults,
    pub(super) stalls: Option<Stalls>,
    pub(super) injected: Injected,
    /// Those to be written in this turn.
    pub(super) touched: Vec<usize>,
    numbers: HashMap<String, u32>,
    topics: Vec<Feed>,
    /// When the first frame that a connection holds back is due.
    later: BinaryHeap<Reverse<(u64, usize)>>,
    /// Deliveries that wait for the next, in the order in which their wait is over.
    held: VecDeque<(u64, usize, u32)>,
    /// Closed while messages were shared out: to be taken off their topics.
    ended: Vec<usize>,
    flags: SinkFlags,
    closes_left: u64,
}

/// One topic.
struct Feed {
    name: String,
    seq: u64,
    subscribers: Vec<usize>,
    /// Its last message as it was published, kept where messages are to be misrouted.
    last: Option<(bool, Vec<u8>)>,
}

impl Exchange {
    pub(super) fn new(flags: &SinkFlags) -> Self {
        Self {
            connections: Slab::new(),
            faults: Faults::new(flags),
            stalls: Stalls::new(flags),
            injected: Injected::default(),
            touched: Vec::new(),
            numbers: HashMap::new(),
            topics: Vec::new(),
            later: BinaryHeap::new(),
            held: VecDeque::new(),
            ended: Vec::new(),
            flags: flags.clone(),
            closes_left: if flags.close_after.is_some() { flags.close_count } else { 0 },
        }
    }

    /// A command came from a connection.
    pub(super) fn handle_request(&mut self, from: usize, request: Request<'_>, now_ns: u64) {
        let id = request.id;
        match request.command {
            Err(error) => self.answer(from, id, &Answer::Error(&error)),
            Ok(Command::Publish { topic, payload, .. }) => {
                match self.publish(topic, payload, now_ns) {
                    Ok(seq) => {
                        let (epoch, level) = (Epoch::new(EPOCH), Level::Accepted);
                        self.answer(
                            from,
                            id,
                            &Answer::Published { epoch, seq, level, subscribers: None },
                        );
                    }
                    Err(error) => self.answer(from, id, &Answer::Error(&error)),
                }
            }
            Ok(Command::Subscribe { filter, options }) => {
                let refused = options.first_asked().map(CommandError::unavailable);
                match refused.map_or_else(|| self.subscribe(from, filter), Err) {
                    Ok(seq) => {
                        let position = Some((Epoch::new(EPOCH), seq));
                        let filter = filter.as_str();
                        self.answer(
                            from,
                            id,
                            &Answer::Subscribed { filter, position, epoch: None, recovered: None },
                        );
                        self.ping(from);
                    }
                    Err(error) => self.answer(from, id, &Answer::Error(&error)),
                }
            }
            Ok(Command::Unsubscribe { filter }) => {
                self.unsubscribe(from, filter);
                self.answer(from, id, &Answer::Unsubscribed { filter: filter.as_str() });
            }
            Ok(Command::Connect { .. }) => {
                self.answer(from, id, &Answer::Connected { session: from as u64 });
            }
            Ok(Command::Ping) => self.answer(from, id, &Answer::Pong),
            Ok(other) => {
                let error = CommandError::unavailable(other.op().name());
                self.answer(from, id, &Answer::Error(&error));
            }
        }
    }

    /// A message came on `/echo`.
    pub(super) fn handle_echo(&mut self, from: usize, opcode: Opcode, payload: &[u8], now_ns: u64) {
        if !self.connections.get(from).is_some_and(Connection::is_open) {
            return;
        }
        self.begin(now_ns);
        self.injected.echoed += 1;
        let mut frame = Vec::with_capacity(payload.len() + 10);
        encode_frame(&mut frame, opcode, payload);
        self.deliver(from, &frame, &Mail::Echo { opcode, payload }, now_ns);
        self.take_off_ended();
    }

    /// The client closes: what is held for it goes first, then the answer.
    pub(super) fn handle_close(&mut self, from: usize, code: CloseCode) {
        self.take_off(from);
        let Some(connection) = self.connections.get_mut(from) else { return };
        connection.ends_when_written = true;
        if connection.is_open() {
            self.injected.closed_by_client += 1;
            self.close(from, code, "");
        }
        self.touch(from);
    }

    /// A close frame goes out, and nothing after it.
    pub(super) fn close(&mut self, to: usize, code: CloseCode, reason: &str) {
        let Some(connection) = self.connections.get_mut(to).filter(|it| it.is_open()) else {
            return;
        };
        for (_, _, frame) in std::mem::take(&mut connection.held) {
            connection.stage(&frame);
        }
        connection.is_closing = true;
        self.stage_control(to, Opcode::Close, close_payload(code, reason).as_slice());
    }

    /// A pong or a close frame goes out.
    pub(super) fn stage_control(&mut self, to: usize, opcode: Opcode, payload: &[u8]) {
        let Some(connection) = self.connections.get_mut(to) else { return };
        let mut frame = Vec::with_capacity(payload.len() + 2);
        encode_frame(&mut frame, opcode, payload);
        connection.stage(&frame);
        self.touch(to);
    }

    /// The connection is gone.
    pub(super) fn remove(&mut self, which: usize) {
        self.take_off(which);
        drop(self.connections.try_remove(which));
    }

    /// To be written in this turn.
    pub(super) fn touch(&mut self, which: usize) {
        let Some(connection) = self.connections.get_mut(which) else { return };
        if !connection.is_touched {
            connection.is_touched = true;
            self.touched.push(which);
        }
    }

    /// When something is due by itself.
    pub(super) fn next_due_ns(&self) -> Option<u64> {
        let later = self.later.peek().map(|Reverse((due_ns, _))| *due_ns);
        let held = self.held.front().map(|&(due_ns, ..)| due_ns);
        let stall = self.stalls.as_ref().and_then(Stalls::next_ns);
        [later, held, stall].into_iter().flatten().min()
    }

    /// Stages what is due by now.
    pub(super) fn release(&mut self, now_ns: u64) {
        while let Some(&(due_ns, which, topic)) = self.held.front()
            && due_ns <= now_ns
        {
            self.held.pop_front();
            let Some(connection) = self.connections.get_mut(which) else { continue };
            let found = connection.held.iter().position(|held| (held.0, held.1) == (topic, due_ns));
            if let Some(at) = found {
                let (.., frame) = connection.held.swap_remove(at);
                self.stage(which, &frame, now_ns);
            }
        }
        while let Some(&Reverse((due_ns, which))) = self.later.peek()
            && due_ns <= now_ns
        {
            self.later.pop();
            let Some(connection) = self.connections.get_mut(which) else { continue };
            if let Some(next_ns) = connection.release(now_ns) {
                self.later.push(Reverse((next_ns, which)));
            }
            self.touch(which);
        }
    }

    fn begin(&mut self, now_ns: u64) {
        if let Some(stalls) = &mut self.stalls {
            stalls.handle_message(now_ns);
        }
    }

    /// Only a command with an id is answered, but errors always are.
    fn answer(&mut self, to: usize, id: Option<Id<'_>>, answer: &Answer<'_>) {
        if id.is_none() && !matches!(answer, Answer::Error(_)) {
            return;
        }
        let Some(connection) = self.connections.get_mut(to).filter(|it| it.is_open()) else {
            return;
        };
        let kind = connection.kind.unwrap_or(Kind::Json);
        connection.stage(&answer_frame(kind, id, answer));
        self.touch(to);
    }

    fn ping(&mut self, to: usize) {
        if self.flags.ping {
            self.injected.pings += 1;
            self.stage_control(to, Opcode::Ping, b"are you there?");
        }
    }

    /// The seq at which the topic stands.
    fn subscribe(&mut self, from: usize, filter: Filter<'_>) -> Result<u64, CommandError> {
        let topic = filter.as_topic().ok_or_else(|| CommandError::unavailable("a wildcard"))?;
        let number = self.number_of(topic)?;
        let feed = &mut self.topics[number as usize];
        let seq = feed.seq;
        if let Some(connection) = self.connections.get_mut(from)
            && !connection.subscriptions.contains(&number)
        {
            connection.subscriptions.push(number);
            feed.subscribers.push(from);
            self.injected.subscriptions += 1;
        }
        Ok(seq)
    }

    fn unsubscribe(&mut self, from: usize, filter: Filter<'_>) {
        let Some(&number) = self.numbers.get(filter.as_str()) else { return };
        if let Some(connection) = self.connections.get_mut(from) {
            connection.subscriptions.retain(|&other| other != number);
        }
        self.topics[number as usize].remove(from);
    }

    fn number_of(&mut self, topic: Topic<'_>) -> Result<u32, CommandError> {
        if let Some(&number) = self.numbers.get(topic.as_str()) {
            return Ok(number);
        }
        if self.topics.len() >= TOPICS_MAX {
            return Err(CommandError::unavailable("a topic more"));
        }
        let number = self.topics.len() as u32;
        let name = topic.as_str().to_owned();
        self.numbers.insert(name.clone(), number);
        self.topics.push(Feed { name, seq: 0, subscribers: Vec::new(), last: None });
        Ok(number)
    }

    /// The message's seq.
    fn publish(
        &mut self,
        topic: Topic<'_>,
        payload: Payload<'_>,
        now_ns: u64,
    ) -> Result<u64, CommandError> {
        self.begin(now_ns);
        let number = self.number_of(topic)?;
        self.injected.published += 1;
        let feed = &mut self.topics[number as usize];
        feed.seq += 1;
        let seq = feed.seq;
        let subscribers = std::mem::take(&mut feed.subscribers);
        let mail = Mail::Message { number, topic, seq, payload };
        // One frame for each kind that is asked for, however many get it.
        let [mut json, mut bin] = [None::<Vec<u8>>, None::<Vec<u8>>];
        for &to in &subscribers {
            let kind = self.connections[to].kind.unwrap_or(Kind::Json);
            let frame = if kind == Kind::Bin { &mut bin } else { &mut json };
            let frame = frame.get_or_insert_with(|| message_frame(kind, topic, seq, payload));
            self.deliver(to, frame, &mail, now_ns);
        }
        let feed = &mut self.topics[number as usize];
        feed.subscribers = subscribers;
        if self.flags.misroute.is_some() {
            feed.last = Some((matches!(payload, Payload::Json(_)), payload.bytes().to_vec()));
        }
        self.take_off_ended();
        Ok(seq)
    }

    /// One delivery, with what goes wrong about it.
    fn deliver(&mut self, to: usize, frame: &[u8], mail: &Mail<'_>, now_ns: u64) {
        self.injected.deliveries += 1;
        match (self.faults.next(self.injected.deliveries), mail) {
            (None, _) | (Some(Fault::Misroute), Mail::Echo { .. }) => {
                self.send(to, frame, mail, now_ns);
            }
            (Some(Fault::Drop), _) => self.leave_out(to, mail, now_ns),
            (Some(Fault::Corrupt), _) => {
                self.injected.corrupted += 1;
                let frame = damaged(self.kind_of(to), mail);
                self.send(to, &frame, mail, now_ns);
            }
            (Some(Fault::Misroute), &Mail::Message { number, seq, payload, .. }) => {
                self.injected.misrouted += 1;
                let frame = self.misrouted(to, number, seq, payload);
                self.send(to, &frame, mail, now_ns);
            }
            (Some(Fault::Duplicate), _) => {
                self.injected.duplicated += 1;
                self.send(to, &[frame, frame].concat(), mail, now_ns);
            }
            (Some(Fault::Reorder), _) => self.hold(to, frame, mail, now_ns),
        }
        self.close_if_its_time_has_come(to, mail);
    }

    fn kind_of(&self, which: usize) -> Kind {
        self.connections.get(which).and_then(|connection| connection.kind).unwrap_or(Kind::Json)
    }

    /// And, behind it, what waited for it.
    fn send(&mut self, to: usize, frame: &[u8], mail: &Mail<'_>, now_ns: u64) {
        self.stage(to, frame, now_ns);
        let Some(connection) = self.connections.get_mut(to) else { return };
        if connection.held.is_empty() {
            return;
        }
        let topic = mail.number().unwrap_or(ECHO);
        if let Some(at) = connection.held.iter().position(|held| held.0 == topic) {
            let (.., frame) = connection.held.swap_remove(at);
            self.injected.reordered += 1;
            self.stage(to, &frame, now_ns);
        }
    }

    fn stage(&mut self, to: usize, frame: &[u8], now_ns: u64) {
        let Some(connection) = self.connections.get_mut(to) else { return };
        match self.faults.hold_ns() {
            None => {
                connection.stage(frame);
                self.touch(to);
            }
            Some(hold_ns) => {
                self.injected.delayed += 1;
                if let Some(due_ns) = connection.stage_at(now_ns + hold_ns, frame) {
                    self.later.push(Reverse((due_ns, to)));
                }
            }
        }
    }

    fn leave_out(&mut self, to: usize, mail: &Mail<'_>, now_ns: u64) {
        self.injected.dropped += 1;
        if let (true, &Mail::Message { topic, seq, .. }) = (self.flags.gap, mail) {
            self.injected.gap_notices += 1;
            let frame = gap_frame(self.kind_of(to), topic, seq);
            self.stage(to, &frame, now_ns);
        }
    }

    /// It waits for the next, unless one waits already: then this is the next.
    fn hold(&mut self, to: usize, frame: &[u8], mail: &Mail<'_>, now_ns: u64) {
        let topic = mail.number().unwrap_or(ECHO);
        let Some(connection) = self.connections.get_mut(to) else { return };
        if connection.held.iter().any(|held| held.0 == topic) {
            return self.send(to, frame, mail, now_ns);
        }
        let due_ns = now_ns + HOLD_NS;
        connection.held.push((topic, due_ns, frame.to_vec()));
        self.held.push_back((due_ns, to, topic));
    }

    /// The last message of the next topic, if the connection is not subscribed to it; else the
    /// message itself under a name that nobody has.
    fn misrouted(&self, to: usize, number: u32, seq: u64, payload: Payload<'_>) -> Vec<u8> {
        let kind = self.kind_of(to);
        let next = (number as usize + 1) % self.topics.len();
        let is_foreign = !self.connections[to].subscriptions.contains(&(next as u32));
        let feed = &self.topics[next];
        if let (true, Some((is_json, bytes)), Ok(topic)) =
            (is_foreign, &feed.last, Topic::new(&feed.name))
        {
            let payload = if *is_json { Payload::Json(bytes) } else { Payload::Opaque(bytes) };
            return message_frame(kind, topic, feed.seq, payload);
        }
        let elsewhere = Topic::new("elsewhere").expect("it has no forbidden characters");
        message_frame(kind, elsewhere, seq, payload)
    }

    fn close_if_its_time_has_come(&mut self, to: usize, mail: &Mail<'_>) {
        let Some(connection) = self.connections.get_mut(to) else { return };
        connection.deliveries += 1;
        if self.closes_left == 0 || Some(connection.deliveries) != self.flags.close_after {
            return;
        }
        self.closes_left -= 1;
        self.injected.closed += 1;
        let mut reason = self.flags.close_reason.clone();
        if let Mail::Message { topic, seq, .. } = mail {
            reason = reason.replace("{seq}", &seq.to_string()).replace("{topic}", topic.as_str());
        }
        self.close(to, CloseCode::new(self.flags.close_code), &reason);
        self.ended.push(to);
    }

    fn take_off_ended(&mut self) {
        while let Some(which) = self.ended.pop() {
            self.take_off(which);
        }
    }

    /// From all its topics.
    fn take_off(&mut self, which: usize) {
        let Some(connection) = self.connections.get_mut(which) else { return };
        for number in std::mem::take(&mut connection.subscriptions) {
            self.topics[number as usize].remove(which);
        }
    }
}

impl Feed {
    fn remove(&mut self, subscriber: usize) {
        if let Some(at) = self.subscribers.iter().position(|&other| other == subscriber) {
            self.subscribers.swap_remove(at);
        }
    }
}
