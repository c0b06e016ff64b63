//! `GET /api/v1/topics`, and of one topic its history and who is subscribed to it.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use broker_proto::command::{Answer, Epoch, Member, Past};
use broker_proto::json;
use broker_proto::topic::{Filter, Topic};
use serde::Deserialize;
use serde_json::{Value, json};

use super::problem::Problem;
use super::{Api, query};
use crate::config::keys::Scope;
use crate::hub::ask::{Ask, Told};
use crate::hub::desk::TopicView;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listing {
    prefix: Option<String>,
    filter: Option<String>,
    limit: Option<usize>,
    after: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Newest {
    limit: Option<u32>,
}

pub(super) async fn list(State(api): State<Arc<Api>>, request: Request) -> Response {
    page(&api, request.headers(), request.uri()).await.unwrap_or_else(IntoResponse::into_response)
}

pub(super) async fn history(
    State(api): State<Arc<Api>>,
    Path(topic): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    past(&api, &topic, &headers, &uri).unwrap_or_else(IntoResponse::into_response)
}

pub(super) async fn presence(
    State(api): State<Arc<Api>>,
    Path(topic): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    people(&api, &topic, &headers, &uri).unwrap_or_else(IntoResponse::into_response)
}

async fn page(api: &Api, headers: &HeaderMap, uri: &Uri) -> Result<Response, Problem> {
    let visitor = api.access.admit(headers, Scope::Read)?;
    let Listing { prefix, filter, limit, after } = query::parameters(uri)?;
    let limit = query::page(limit)?;
    let wrong = |error| Problem::from(broker_proto::command::CommandError::from(error));
    let filter = filter.as_deref().map(Filter::new).transpose().map_err(wrong)?;
    let prefix = prefix.unwrap_or_default();
    let wanted = |topic: Topic<'_>| {
        topic.as_str().starts_with(&*prefix)
            && filter.is_none_or(|filter| filter.matches(topic))
            && visitor.covers(topic)
    };
    let (topics, next) = api.desk.topics(after.unwrap_or(0), limit, wanted);
    let names = topics.iter().map(|view| view.topic.clone()).collect();
    let mut subscribers = vec![0; topics.len()];
    if !topics.is_empty() {
        for told in api.ask(api.desk.everyone(), Ask::Subscribers(names)).await? {
            let Told::Subscribers(counts) = told else { continue };
            subscribers.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
    }
    let topics: Vec<Value> =
        topics.iter().zip(subscribers).map(|(view, count)| described(api, view, count)).collect();
    let next = next.map(|place| place.to_string());
    Ok(super::json(json!({ "topics": topics, "next": next }).to_string()))
}

fn described(api: &Api, view: &TopicView, subscribers: u64) -> Value {
    json!({
        "topic": view.topic.as_str(),
        "epoch": view.topic.epoch().to_string(),
        "seq": view.seq,
        "subscribers": subscribers,
        "history": { "messages": view.kept, "bytes": view.kept_bytes },
        "last_published_ms": view.newest_ms.map(|ms| api.started_unix_ms + ms),
    })
}

fn past(api: &Api, name: &str, headers: &HeaderMap, uri: &Uri) -> Result<Response, Problem> {
    let visitor = api.access.admit(headers, Scope::Read)?;
    let Newest { limit } = query::parameters(uri)?;
    if limit == Some(0) {
        return Err(Problem::bad_request("`limit` must be 1 or more"));
    }
    let topic = query::topic(name)?;
    visitor.check(topic)?;
    let found = api.desk.history(topic, limit, api.now_ms());
    let (epoch, seq, kept) = found.unwrap_or((Epoch::new(0), 0, Vec::new()));
    let messages: Vec<Past<'_>> =
        kept.iter().map(|kept| Past { seq: kept.seq(), payload: kept.payload() }).collect();
    let mut text = Vec::new();
    let answer = Answer::History { topic: topic.as_str(), epoch, seq, messages: &messages };
    json::encode_success(&mut text, &answer);
    Ok(super::json(text))
}

fn people(api: &Api, name: &str, headers: &HeaderMap, uri: &Uri) -> Result<Response, Problem> {
    let visitor = api.access.admit(headers, Scope::Read)?;
    let query::Nothing {} = query::parameters(uri)?;
    let topic = query::topic(name)?;
    visitor.check(topic)?;
    let (people, count) = api.desk.presence(topic)?;
    let member = |person: &'_ crate::hub::presence::Person| (person.session, person.user.clone());
    let known: Vec<_> = people.iter().map(member).collect();
    let members: Vec<Member<'_>> = known
        .iter()
        .map(|(session, user)| Member { session: *session, user: user.as_deref() })
        .collect();
    let mut text = Vec::new();
    let answer = Answer::Presence { topic: topic.as_str(), count, members: &members };
    json::encode_success(&mut text, &answer);
    Ok(super::json(text))
}
