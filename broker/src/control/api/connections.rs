//! `/api/v1/connections`: who is connected, what became of their messages, and closing them.
//!
//! A connection's session number says which worker has it, so a page asks one worker after the
//! other and no more of them than it needs.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use broker_proto::command::Stats;
use broker_proto::ws::CloseCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::elsewhere::{self, Page};
use super::problem::Problem;
use super::{Api, query};
use crate::cluster::asking::Question;
use crate::config::keys::Scope;
use crate::hub::ask::{Ask, Connected, Told, Whom};
use crate::hub::workers::{WorkerSet, worker_of};

/// What those who are closed are told, if nothing else is said.
const REASON: &str = "disconnected by an operator";

/// How a connection is served that keeps up.
const IN_STEP: &str = "all";
/// Connections that one request for slow ones looks at, before it says where to go on.
const SCAN_MAX: usize = 4_096;
/// How many of them a worker describes at once.
const SCAN_STRETCH: usize = 256;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listing {
    user: Option<String>,
    slow: Option<bool>,
    limit: Option<usize>,
    after: Option<String>,
}

/// Which connections a page is to hold.
struct Wanted {
    after: u64,
    limit: usize,
    user: Option<String>,
    slow_only: bool,
}

/// How to close.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Closing {
    user: Option<String>,
    /// The node that has the session; this one if it is left out. Never with a user.
    node: Option<String>,
    code: Option<u16>,
    reason: Option<String>,
}

pub(super) async fn list(State(api): State<Arc<Api>>, request: Request) -> Response {
    page(&api, request.headers(), request.uri()).await.unwrap_or_else(IntoResponse::into_response)
}

pub(super) async fn close_one(
    State(api): State<Arc<Api>>,
    Path(session): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let closed = disconnect(&api, Some(&session), &headers, &uri).await;
    closed.unwrap_or_else(IntoResponse::into_response)
}

pub(super) async fn close_user(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    disconnect(&api, None, &headers, &uri).await.unwrap_or_else(IntoResponse::into_response)
}

async fn page(api: &Api, headers: &HeaderMap, uri: &Uri) -> Result<Response, Problem> {
    api.access.admit(headers, Scope::Admin)?;
    let Listing { user, slow, limit, after } = query::parameters(uri)?;
    let limit = elsewhere::limit(api, query::page(limit)?);
    let from = elsewhere::cursor(api, after.as_deref());
    let slow_only = slow == Some(true);
    let question =
        Question::Connections { user: user.clone(), slow_only, limit, from: from.clone() };
    let after = from.on(elsewhere::node_of(api));
    let own = async {
        match after {
            Some(after) => local(api, (user, slow_only), limit, after).await,
            None => Ok(Page::default()),
        }
    };
    elsewhere::list(api, "connections", (question, &from, limit), own, |_| true).await
}

/// This node's connections from a session on: those of a user, or all, and if `slow_only` is set
/// those that do not keep up.
pub(super) async fn local(
    api: &Api,
    (user, slow_only): (Option<String>, bool),
    limit: usize,
    after: &str,
) -> Result<Page, Problem> {
    let after = if after.is_empty() { 0 } else { query::session(after)? };
    let (found, next) = find(api, Wanted { after, limit, user, slow_only }).await?;
    Ok(Page { items: found.iter().map(described).collect(), next: next.map(name_of) })
}

/// The connections of a page, and where the next one begins after, if there is another.
async fn find(api: &Api, wanted: Wanted) -> Result<(Vec<Connected>, Option<u64>), Problem> {
    let Wanted { mut after, limit, user, slow_only } = wanted;
    let (mut found, mut looked_at) = (Vec::new(), 0);
    for worker in worker_of(after)..api.desk.workers() {
        loop {
            // One more than the page tells whether there is another.
            let count = if slow_only { SCAN_STRETCH } else { limit + 1 - found.len() };
            let user = user.as_deref().map(Into::into);
            let mut seen: Vec<Connected> = Vec::new();
            for told in api.ask(1 << worker, Ask::Connections { after, limit: count, user }).await?
            {
                let Told::Connections(connections) = told else { continue };
                seen.extend(connections);
            }
            looked_at += seen.len();
            after = seen.last().map_or(after, |last| last.session);
            let is_last = seen.len() < count;
            found.extend(seen.into_iter().filter(|one| !slow_only || one.mode != IN_STEP));
            if found.len() > limit {
                found.truncate(limit);
                let next = found.last().map(|last| last.session);
                return Ok((found, next));
            }
            if is_last {
                break;
            }
            if looked_at >= SCAN_MAX {
                return Ok((found, Some(after)));
            }
        }
    }
    Ok((found, None))
}

fn described(connection: &Connected) -> Value {
    let stats: Map<String, Value> = Stats::NAMES
        .into_iter()
        .zip(connection.stats.values())
        .map(|(name, count)| (name.to_owned(), count.into()))
        .collect();
    let filters: Vec<&str> = connection.filters.iter().map(|filter| &**filter).collect();
    json!({
        "session": name_of(connection.session),
        "user": connection.user.as_deref(),
        "address": connection.address,
        "protocol": connection.protocol,
        "mode": connection.mode,
        "subscriptions": filters,
        "stats": stats,
    })
}

/// A session as it is called everywhere.
fn name_of(session: u64) -> String {
    format!("{session:016x}")
}

async fn disconnect(
    api: &Api,
    session: Option<&str>,
    headers: &HeaderMap,
    uri: &Uri,
) -> Result<Response, Problem> {
    api.access.admit(headers, Scope::Admin)?;
    let Closing { user, node, code, reason } = query::parameters(uri)?;
    if session.is_none() && node.is_some() {
        return Err(Problem::bad_request(
            "`node` goes with a session: a user is looked for on all",
        ));
    }
    let reason = reason.unwrap_or_else(|| REASON.to_owned());
    let close = Close::new((session, user.as_deref()), code, reason)?;
    let node = node.filter(|node| node != elsewhere::node_of(api));
    let mut closed = 0;
    if node.is_none() {
        closed = close_here(api, &close).await?;
    }
    let mut missing = Vec::new();
    if let (Some(handle), true) = (&api.cluster, session.is_none() || node.is_some()) {
        let first = node.clone().unwrap_or_default();
        let session = session.map(|session| (first.clone(), session.to_owned()));
        let (code, reason) = (close.code.value(), close.reason);
        let question = Question::Disconnect { user, session, code, reason };
        let answers = handle.ask(&question, &first).await;
        closed += answers.of.iter().filter_map(|(_, count)| count.as_u64()).sum::<u64>();
        missing = answers.missing;
    }
    if let (0, Some(node)) = (closed, node.filter(|node| missing.contains(node))) {
        return Err(Problem::unavailable(format!("the node {node} does not answer")));
    }
    if closed == 0 && session.is_some() {
        return Err(not_here());
    }
    let answer = match &api.cluster {
        None => json!({ "disconnected": closed }),
        Some(_) => json!({ "disconnected": closed, "missing": missing }),
    };
    Ok(super::json(answer.to_string()))
}

/// Which connections to close, and what they are told.
pub(super) struct Close {
    whom: Whom,
    code: CloseCode,
    reason: String,
}

impl Close {
    /// That of a session, or those of a user.
    ///
    /// # Errors
    /// 400 if it is neither or both, or what they are told can't be said in a close frame.
    pub(super) fn new(
        (session, user): (Option<&str>, Option<&str>),
        code: Option<u16>,
        reason: String,
    ) -> Result<Self, Problem> {
        let whom = match (session, user) {
            (Some(session), None) => Whom::Session(query::session(session)?),
            (None, Some(user)) => Whom::User(user.into()),
            (Some(_), Some(_)) => {
                return Err(Problem::bad_request("`user` and a session exclude each other"));
            }
            (None, None) => return Err(Problem::bad_request("`user` is missing")),
        };
        if reason.len() > 123 || reason.chars().any(char::is_control) {
            return Err(Problem::bad_request("`reason` is a text of at most 123 bytes"));
        }
        Ok(Self { whom, code: code_of(code)?, reason })
    }
}

/// Closes connections of this node and revokes the user's tokens; how many.
pub(super) async fn close_here(api: &Api, close: &Close) -> Result<u64, Problem> {
    let Close { whom, code, reason } = close;
    let workers = workers_of(api, whom)?;
    if let (Whom::User(user), true) = (whom, *code != CloseCode::GOING_AWAY) {
        api.access.revoke(user);
    }
    let reason = reason.clone().into();
    let ask = Ask::Disconnect { whom: whom.clone(), code: *code, reason };
    let mut closed = 0;
    for told in api.ask(workers, ask).await? {
        let Told::Disconnected(count) = told else { continue };
        closed += count;
    }
    Ok(closed)
}

/// The workers that may have connections of these.
fn workers_of(api: &Api, whom: &Whom) -> Result<WorkerSet, Problem> {
    match whom {
        Whom::User(_) => Ok(api.desk.everyone()),
        Whom::Session(session) => match worker_of(*session) {
            worker if worker < api.desk.workers() => Ok(1 << worker),
            _ => Err(not_here()),
        },
    }
}

fn not_here() -> Problem {
    Problem::not_found("no connection has this session")
}

/// RFC 6455 §7.4.2: the codes of our own that tell a client what to do next.
fn code_of(code: Option<u16>) -> Result<CloseCode, Problem> {
    match code {
        None | Some(4403) => Ok(CloseCode::FORBIDDEN),
        Some(4401) => Ok(CloseCode::UNAUTHORIZED),
        Some(1001) => Ok(CloseCode::GOING_AWAY),
        Some(_) => Err(Problem::bad_request("`code` is 1001, 4401 or 4403")),
    }
}
