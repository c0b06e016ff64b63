//! `GET /api/v1/topics`, and of one topic its history and who is subscribed to it.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use broker_proto::command::{Answer, Epoch, Past};
use broker_proto::json;
use broker_proto::topic::{Filter, Topic};
use serde::Deserialize;
use serde_json::{Value, json};

use super::elsewhere::{self, Page};
use super::problem::Problem;
use super::{Api, query};
use crate::cluster::asking::Question;
use crate::config::keys::Scope;
use crate::hub::ask::{Ask, Told};
use crate::hub::desk::TopicView;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listing {
    prefix: Option<String>,
    filter: Option<String>,
    limit: Option<usize>,
    after: Option<String>,
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
    people(&api, &topic, &headers, &uri).await.unwrap_or_else(IntoResponse::into_response)
}

async fn page(api: &Api, headers: &HeaderMap, uri: &Uri) -> Result<Response, Problem> {
    let visitor = api.access.admit(headers, Scope::Read)?;
    let Listing { prefix, filter, limit, after } = query::parameters(uri)?;
    let limit = elsewhere::limit(api, query::page(limit)?);
    let prefix = prefix.unwrap_or_default();
    let from = elsewhere::cursor(api, after.as_deref());
    let question = Question::Topics {
        prefix: prefix.clone(),
        filter: filter.clone(),
        limit,
        from: from.clone(),
    };
    let what = What::new(&prefix, filter.as_deref())?;
    let own = async {
        match from.on(elsewhere::node_of(api)) {
            Some(after) => local(api, &what, (limit, after), |topic| visitor.covers(topic)).await,
            None => Ok(Page::default()),
        }
    };
    let is_shown = |item: &Value| {
        let topic = item["topic"].as_str().and_then(|name| Topic::new(name).ok());
        topic.is_some_and(|topic| visitor.covers(topic))
    };
    elsewhere::list(api, "topics", (question, &from, limit), own, is_shown).await
}

/// Which topics are wanted.
pub(super) struct What<'a> {
    prefix: &'a str,
    filter: Option<Filter<'a>>,
}

impl<'a> What<'a> {
    /// Those that begin with `prefix` and match `filter`.
    ///
    /// # Errors
    /// 400 if it is no filter.
    pub(super) fn new(prefix: &'a str, filter: Option<&'a str>) -> Result<Self, Problem> {
        let wrong = |error| Problem::from(broker_proto::command::CommandError::from(error));
        let filter = filter.map(Filter::new).transpose().map_err(wrong)?;
        Ok(Self { prefix, filter })
    }

    fn is(&self, topic: Topic<'_>) -> bool {
        topic.as_str().starts_with(self.prefix)
            && self.filter.is_none_or(|filter| filter.matches(topic))
    }
}

/// This node's topics from a place on.
pub(super) async fn local(
    api: &Api,
    what: &What<'_>,
    (limit, after): (usize, &str),
    keeps: impl Fn(Topic<'_>) -> bool,
) -> Result<Page, Problem> {
    let is_place = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let place = match after {
        "" => Some(0),
        text => text.parse().ok().filter(|_| is_place(text)),
    };
    let place = place.ok_or_else(|| Problem::bad_request("`after` is the `next` of a page"))?;
    let wanted = |topic: Topic<'_>| what.is(topic) && keeps(topic);
    let (topics, next) = api.desk.topics(place, limit, wanted);
    let names = topics.iter().map(|view| view.topic.clone()).collect();
    let mut subscribers = vec![0; topics.len()];
    if !topics.is_empty() {
        for told in api.ask(api.desk.everyone(), Ask::Subscribers(names)).await? {
            let Told::Subscribers(counts) = told else { continue };
            subscribers.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
    }
    let items =
        topics.iter().zip(subscribers).map(|(view, count)| described(api, view, count)).collect();
    Ok(Page { items, next: next.map(|place| place.to_string()) })
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

async fn people(
    api: &Api,
    name: &str,
    headers: &HeaderMap,
    uri: &Uri,
) -> Result<Response, Problem> {
    let visitor = api.access.admit(headers, Scope::Read)?;
    let query::Nothing {} = query::parameters(uri)?;
    let topic = query::topic(name)?;
    visitor.check(topic)?;
    let mut people = members(api, topic)?;
    let Some(handle) = &api.cluster else { return Ok(super::json(people.to_string())) };
    let question = Question::Presence { topic: name.to_owned() };
    let answers = handle.ask(&question, "").await;
    let mut all = Vec::new();
    let mut count = 0;
    let own = (handle.node().to_owned(), people.clone());
    for (node, part) in [own].into_iter().chain(answers.of) {
        count += part["count"].as_u64().unwrap_or(0);
        let members = part["members"].as_array().into_iter().flatten();
        all.extend(members.map(|member| elsewhere::with_node(member.clone(), &node)));
    }
    people["count"] = count.into();
    people["members"] = all.into();
    people["missing"] = answers.missing.into();
    Ok(super::json(people.to_string()))
}

/// Who is subscribed to a topic on this node.
pub(super) fn members(api: &Api, topic: Topic<'_>) -> Result<Value, Problem> {
    let roster = api.desk.presence(topic)?;
    let members = roster.members();
    let mut text = Vec::new();
    let answer = Answer::Presence { topic: topic.as_str(), count: roster.count, members: &members };
    json::encode_success(&mut text, &answer);
    serde_json::from_slice(&text).map_err(|_| Problem::unavailable("the list can't be read"))
}
