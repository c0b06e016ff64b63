//! A subscriber without a WebSocket: a stream of events, or polls of its topics one after the other
//! on one connection. Turns bytes into the same deliveries as frames would be. Part of the client,
//! which owns the socket and the stage.

use super::{Client, Desk, Duty, Framing, Stage, Talk};
use crate::target::http::{Events, Past, Response, past_request, stream_request};
use crate::target::{POLL_LIMIT_MAX, Polling, Transport};

/// How the last event of a stream begins: what a close frame would say.
const CLOSE_EVENT: &[u8] = br#"{"close":"#;

/// A connection that speaks HTTP.
pub(super) struct Http {
    response: Response,
    /// What came of the body and is not handled.
    body: Vec<u8>,
    polling: Option<Polling>,
    /// Which of its topics is asked for, and how much of that; none between two polls.
    asked: Option<(u32, u32)>,
    /// Whether the last answer left the connection open.
    keeps_alive: bool,
}

impl Http {
    /// Whether the connection may end without harm: nothing has come of an answer.
    pub(super) fn is_between_polls(&self) -> bool {
        self.polling.is_some() && self.response.is_awaited()
    }
}

impl Client {
    /// The TCP connection is there: asks for what a subscriber without a WebSocket wants. Returns
    /// whether this is one.
    pub(super) fn begin_http(&mut self, desk: &mut Desk<'_>) -> std::io::Result<bool> {
        let Duty::Subscribe { subscriber, .. } = self.duty else { return Ok(false) };
        let (plan, target) = (desk.plan, &desk.plan.target);
        let polling = match target.wire.transport {
            Transport::Ws => return Ok(false),
            Transport::Sse => None,
            Transport::Poll(polling) => Some(polling),
        };
        self.stage = Stage::Subscribing { left: plan.accounts_of(subscriber) };
        self.framing = Framing::Http(Box::new(Http {
            response: Response::default(),
            body: Vec::new(),
            polling,
            asked: None,
            keeps_alive: true,
        }));
        if let Some(polling) = polling {
            return self.ask(0, polling.limit, desk).map(|()| true);
        }
        let server = &target.servers.all()[plan.server_of(self.duty)];
        let latest = plan.latest.map(|latest| latest.max_rate);
        let topics = plan.names_for(self.duty);
        let request = stream_request(server, &target.access, &topics, latest);
        desk.ledger.wire.traffic.handle_request(request.len());
        self.send(&request).map(|()| true)
    }

    /// It is this client's turn to poll: asks for its first topic, unless it is still about it
    /// from the last time.
    ///
    /// # Errors
    ///
    /// If the connection is broken; its end will be reported on the next read.
    pub(in crate::engine) fn poll(&mut self, desk: &mut Desk<'_>) -> std::io::Result<()> {
        let Framing::Http(http) = &self.framing else { return Ok(()) };
        match http.polling {
            Some(polling) if self.is_ready() && http.asked.is_none() && http.keeps_alive => {
                self.ask(0, polling.limit, desk)
            }
            _ => Ok(()),
        }
    }

    /// Asks for the newest `limit` messages of its topic at `place`.
    fn ask(&mut self, place: u32, limit: u32, desk: &mut Desk<'_>) -> std::io::Result<()> {
        let (Framing::Http(http), Duty::Subscribe { subscriber, .. }) =
            (&mut self.framing, self.duty)
        else {
            return Ok(());
        };
        let (plan, target) = (desk.plan, &desk.plan.target);
        let Some(topic) = plan.topics_of(subscriber).nth(place as usize) else { return Ok(()) };
        http.asked = Some((place, limit));
        let server = &target.servers.all()[plan.server_of(self.duty)];
        let topic = &plan.topics[topic as usize];
        let request = past_request(server, &target.access, topic, limit);
        desk.ledger.wire.traffic.handle_request(request.len());
        self.send(&request)
    }

    /// Bytes came on a connection that speaks HTTP. The error says why it must end.
    pub(super) fn decode_http(
        &mut self,
        bytes: &[u8],
        now_ns: u64,
        desk: &mut Desk<'_>,
    ) -> Result<(), String> {
        let mut at = 0;
        while at < bytes.len() {
            let Framing::Http(http) = &mut self.framing else { return Ok(()) };
            let Http { response, body, polling, .. } = &mut **http;
            at += response.handle_bytes(&bytes[at..], body)?;
            let is_last = at == bytes.len();
            match (response.status(), polling.is_some()) {
                (0, _) => {}
                (200, false) => {
                    let is_over = response.is_done();
                    self.handle_events(is_last, now_ns, desk)?;
                    if is_over {
                        return Err("the stream of events ended".to_owned());
                    }
                }
                (200, true) if response.is_done() => self.handle_past(is_last, now_ns, desk)?,
                (200, true) => {}
                (status, _) if response.is_done() => {
                    return Err(format!("HTTP {status}: {}", String::from_utf8_lossy(body)));
                }
                // What is wrong stands in the body.
                _ => {}
            }
        }
        Ok(())
    }

    /// Handles the events that are whole: each is a message of the JSON protocol.
    fn handle_events(
        &mut self,
        is_last: bool,
        now_ns: u64,
        desk: &mut Desk<'_>,
    ) -> Result<(), String> {
        let Framing::Http(http) = &mut self.framing else { return Ok(()) };
        let (duty, length) = (self.duty, http.body.len());
        let (stage, partial) = (&mut self.stage, &mut self.partial);
        let mut outcome = Ok(());
        let used = Events::read(&http.body, |data, end| {
            if outcome.is_err() {
                return;
            }
            if data.starts_with(CLOSE_EVENT) {
                outcome = Err(close_reason(data));
                return;
            }
            desk.receiver.receipt().is_last = is_last && end == length;
            let talk = Talk { duty, stage: &mut *stage, partial: &mut *partial, now_ns };
            outcome = talk.handle_message(data, desk).map(drop);
        });
        http.body.drain(..used);
        if http.body.is_empty() {
            http.body = Vec::new();
        }
        outcome
    }

    /// Handles a whole answer to a poll, and asks what follows from it.
    fn handle_past(
        &mut self,
        is_last: bool,
        now_ns: u64,
        desk: &mut Desk<'_>,
    ) -> Result<(), String> {
        let (Framing::Http(http), Duty::Subscribe { subscriber, account }) =
            (&mut self.framing, self.duty)
        else {
            return Ok(());
        };
        let Some((place, limit)) = http.asked.take() else {
            return Err("an answer that nobody asked for".to_owned());
        };
        http.keeps_alive = http.response.keeps_alive();
        http.response = Response::default();
        let body = std::mem::take(&mut http.body);
        let past = Past::read(&body).map_err(|error| format!("no history: {error}"))?;
        let (topic, held) = &desk.ledger.accounts[(account + place) as usize];
        let known = held.broker_last();
        let first = past.messages.first().map_or(0, |message| message.seq);
        if first > known + 1 && limit < POLL_LIMIT_MAX && http.keeps_alive {
            return self.ask(place, POLL_LIMIT_MAX, desk).map_err(|error| error.to_string());
        }
        let topic = desk.plan.topics[*topic as usize].as_bytes();
        for (at, message) in past.messages.iter().enumerate() {
            if message.seq <= known {
                continue;
            }
            desk.receiver.receipt().is_last = is_last && at + 1 == past.messages.len();
            let payload = message.data.map_or(&b""[..], |data| data.get().as_bytes());
            let (duty, stage, partial) = (self.duty, &mut self.stage, &mut self.partial);
            let mut talk = Talk { duty, stage, partial, now_ns };
            talk.handle_delivery(topic, Some(message.seq), payload, desk);
        }
        if let Stage::Subscribing { left } = &mut self.stage {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.stage = Stage::Ready;
            }
        }
        let Framing::Http(http) = &self.framing else { return Ok(()) };
        let (next, polling) = (place + 1, http.polling);
        match polling {
            Some(polling) if next < desk.plan.accounts_of(subscriber) && http.keeps_alive => {
                self.ask(next, polling.limit, desk).map_err(|error| error.to_string())
            }
            _ => Ok(()),
        }
    }
}

/// The close code and the reason that the last event names.
fn close_reason(data: &[u8]) -> String {
    let said: serde_json::Value = serde_json::from_slice(data).unwrap_or_default();
    let reason = said["close"]["reason"].as_str().unwrap_or_default();
    format!("{} {reason}", said["close"]["code"].as_u64().unwrap_or(0))
}
