//! `POST /api/v1/publish`: one message, or up to ten thousand at once. All are checked before the
//! first is published, so that of a batch all or none is.
//!
//! Made for rates: one look at each topic, no hop to another thread, and one wake of each worker
//! for a whole batch.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use broker_proto::json::Publishes;
use tokio::time::sleep;

use super::access::Visitor;
use super::idempotency::{self, Key, Window};
use super::outcome::Outcome;
use super::problem::Problem;
use super::{Api, State as Work};
use crate::config::keys::Scope;
use crate::control::router::BODY_BYTES_MAX;
use crate::hub::retries::{Attempt, Part, Repeatable};

/// Most messages of one request.
const BATCH_MAX: usize = 10_000;
/// How long a request waits while a worker has more mail than it should, or a log or another node
/// more to take, and how often it looks.
const ROOM_WAITS: u32 = 250;
const ROOM_WAIT: Duration = Duration::from_millis(1);
/// Says that an answer was given before.
const REPLAYED: &str = "idempotency-replayed";

pub(super) async fn publish(State(api): State<Arc<Api>>, request: Request) -> Response {
    take(&api, request).await.unwrap_or_else(IntoResponse::into_response)
}

async fn take(api: &Arc<Api>, request: Request) -> Result<Response, Problem> {
    let visitor = api.access.admit(request.headers(), Scope::Publish)?;
    let key = Key::of(&visitor.name(), request.headers())?;
    check_head(request.headers())?;
    let body =
        Bytes::from_request(request, &()).await.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => too_long(),
            _ => Problem::bad_request("the body was not read to its end").last(),
        })?;
    api.wait_for_room().await?;
    match api.publish(&visitor, key, &body)? {
        Begun::Done(response) => Ok(response),
        Begun::Waits { outcome, key, body } => {
            let finished = tokio::spawn(api.clone().finish(outcome, key, body)).await;
            finished.unwrap_or_else(|_| Err(Problem::unavailable("the broker stops")))
        }
    }
}

/// How far a publish got at once.
enum Begun {
    /// It is answered.
    Done(Response),
    /// Some of its messages get their places from logs.
    Waits { outcome: Outcome, key: Option<Key>, body: Bytes },
}

/// What can be said without the body.
fn check_head(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let length = text(header::CONTENT_LENGTH).and_then(|text| text.parse::<u64>().ok());
    if length.is_some_and(|length| length > BODY_BYTES_MAX as u64) {
        return Err(too_long());
    }
    let media_type = text(header::CONTENT_TYPE).unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    let is_plain = text(header::CONTENT_ENCODING).is_none_or(|coding| coding == "identity");
    if essence.eq_ignore_ascii_case("application/json") && is_plain {
        return Ok(());
    }
    // Were other types taken, any page of the web could publish over a visitor's browser.
    let message = "the body must be `Content-Type: application/json`, not encoded";
    let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    Err(Problem::new(status, "unsupported_media_type", message).last())
}

fn too_long() -> Problem {
    Problem::too_large(format!("a body has at most {BODY_BYTES_MAX} bytes")).last()
}

/// An answer that was given before.
fn replayed(answer: Bytes) -> Response {
    let mut response = super::json(answer);
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

impl Api {
    /// Publishers are slowed down to what is delivered and made safe, like those with a WebSocket.
    async fn wait_for_room(&self) -> Result<(), Problem> {
        for _ in 0..ROOM_WAITS {
            if !self.desk.is_full() {
                return Ok(());
            }
            sleep(ROOM_WAIT).await;
        }
        Err(Problem::unavailable("more is published than delivered"))
    }

    /// Publishes a body, or finds what it was answered before. Nothing else of the API runs
    /// meanwhile, so two requests with one key can't both be the first.
    fn publish(&self, visitor: &Visitor, key: Option<Key>, body: &Bytes) -> Result<Begun, Problem> {
        let now_ms = self.now_ms();
        let mut work = self.state();
        let Work { parser, answered, under_way } = &mut *work;
        if let Some(key) = &key {
            if let Some(answer) = answered.find(key, body, now_ms)? {
                self.metrics.http.replays.add(1);
                return Ok(Begun::Done(replayed(answer)));
            }
            if under_way.contains(key) {
                let message = "the first publish with this Idempotency-Key is not answered yet";
                return Err(Problem::unavailable(message));
            }
        }
        let outcome = parser.parse_publishes(body, |messages| {
            let mut messages = messages?;
            self.check(visitor, &mut messages)?;
            let request = key.as_ref().map(|key| (key.text(), idempotency::short_digest(body)));
            self.carry_out(&visitor.name(), request, &mut messages, now_ms)
        })?;
        if outcome.is_complete() {
            let answer = self.conclude(answered, key, body, outcome)?;
            return Ok(Begun::Done(answer));
        }
        under_way.extend(key.clone());
        Ok(Begun::Waits { outcome, key, body: body.clone() })
    }

    /// Waits for the places that logs give, and answers. To be run to its end even if the client
    /// goes: what it repeats then must find this answer.
    async fn finish(
        self: Arc<Self>,
        mut outcome: Outcome,
        key: Option<Key>,
        body: Bytes,
    ) -> Result<Response, Problem> {
        outcome.complete().await;
        let mut work = self.state();
        let Work { answered, under_way, .. } = &mut *work;
        if let Some(key) = &key {
            under_way.remove(key);
        }
        self.conclude(answered, key, &body, outcome)
    }

    /// The answer, remembered under its key.
    fn conclude(
        &self,
        answered: &mut Window,
        key: Option<Key>,
        body: &[u8],
        outcome: Outcome,
    ) -> Result<Response, Problem> {
        let (count, repeats) = (outcome.next(), outcome.repeats());
        let answer = Bytes::from(outcome.answer()?);
        self.metrics.http.publishes.add(count as u64);
        self.metrics.http.replays.add(repeats as u64);
        if let Some(key) = key {
            answered.remember(key, body, answer.clone(), self.now_ms());
        }
        // Nothing of it is new: another node answered it before, or each message had its `msg_id`.
        Ok(if repeats == count { replayed(answer) } else { super::json(answer) })
    }

    /// Whether all of the messages can be published.
    fn check(&self, visitor: &Visitor, messages: &mut Publishes<'_, '_>) -> Result<(), Problem> {
        let (is_batch, count) = (messages.is_batch(), messages.len());
        if count == 0 {
            return Err(Problem::bad_request("the batch is empty"));
        }
        if count > BATCH_MAX {
            return Err(Problem::too_large(format!("a batch has at most {BATCH_MAX} messages")));
        }
        let (mut place, mut unknown) = (0, 0);
        messages.each(|message| {
            let checked = message.map_err(Problem::from).and_then(|message| {
                visitor.check(message.topic)?;
                self.desk.check(message.topic, message.payload)?;
                unknown += usize::from(!self.desk.knows(message.topic));
                Ok(())
            });
            place += 1;
            let about =
                |problem: Problem| if is_batch { problem.of_item(place - 1) } else { problem };
            checked.map_err(about)
        })?;
        // Those that are not there yet may be the same several times: then there is room anyway.
        if unknown > 0 { Ok(self.desk.has_room_for(unknown)?) } else { Ok(()) }
    }

    /// Publishes all, in their order. A retry is known by the name of its message if that has one, or
    /// by the key and digest of the request, if it has those.
    fn carry_out(
        &self,
        publisher: &str,
        request: Option<(&str, u64)>,
        messages: &mut Publishes<'_, '_>,
        now_ms: u64,
    ) -> Result<Outcome, Problem> {
        let (mut outcome, later) = Outcome::new(messages.is_batch());
        let mut batch = self.desk.publish_at(now_ms);
        messages.each(|message| {
            let place = outcome.next();
            let done = message.and_then(|message| {
                let waiting = || later.waiting(place);
                let counted = message.count.then_some(message.topic);
                let part = request.map(|(key, request)| {
                    let kept_ms = idempotency::KEPT_MS as u32;
                    Repeatable::Part(Part { publisher, key, place, request, kept_ms })
                });
                let named = message.msg_id.map(|msg_id| Attempt { publisher, msg_id });
                let repeatable = named.map(Repeatable::Message).or(part);
                let placed = batch.publish(message, repeatable, waiting)?;
                Ok((placed, counted.map(|topic| self.desk.subscribers_of(topic))))
            });
            outcome.enter(done);
            Ok::<(), Problem>(())
        })?;
        Ok(outcome)
    }
}
