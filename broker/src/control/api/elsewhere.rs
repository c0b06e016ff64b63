//! The other nodes of the cluster: asked for their part of a list, and answered when they ask. A
//! broker that is alone has no such part, and its answers look as if there were none.
//!
//! What a node is asked it does as its own API would, by the functions of `connections` and
//! `topics`. Who may ask was looked at where the request came in.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::connections::Close;
use super::problem::Problem;
use super::{Api, connections, query, topics};
use crate::cluster::asking::{Asked, Cursor, Handle, Question};
use crate::config::keys::Scope;

/// Things on a page of several nodes, at most: what a node answers must fit one message.
const PAGE_MAX: usize = 100;

/// A part of a list.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Page {
    /// The things, as they are shown.
    pub(super) items: Vec<Value>,
    /// Where to go on, if there are more.
    pub(super) next: Option<String>,
}

/// Answers what other nodes ask, for as long as they can.
pub(super) async fn serve(api: Arc<Api>, mut asked: mpsc::Receiver<Asked>) {
    while let Some(asked) = asked.recv().await {
        let api = api.clone();
        tokio::spawn(async move {
            // Without an answer, whoever asked names this node as missing.
            if let Ok(value) = answer(&api, &asked.question).await {
                asked.answer(&value);
            }
        });
    }
}

pub(super) async fn nodes(State(api): State<Arc<Api>>, headers: HeaderMap, uri: Uri) -> Response {
    let listed = list_nodes(&api, &headers, &uri);
    listed.unwrap_or_else(IntoResponse::into_response)
}

fn list_nodes(api: &Api, headers: &HeaderMap, uri: &Uri) -> Result<Response, Problem> {
    api.access.admit(headers, Scope::Read)?;
    let query::Nothing {} = query::parameters(uri)?;
    let alone = || json!({ "node": null, "others": [] });
    let list = api.cluster.as_ref().map_or_else(alone, |handle| handle.list(api.now_ms()));
    Ok(super::json(list.to_string()))
}

/// What this node says to a question of another.
async fn answer(api: &Api, question: &Question) -> Result<Value, Problem> {
    let node = node_of(api);
    let page = match question {
        Question::Connections { user, slow_only, limit, from } => match from.on(node) {
            Some(after) => {
                let limit = (*limit).min(PAGE_MAX);
                connections::local(api, (user.clone(), *slow_only), limit, after).await?
            }
            None => Page::default(),
        },
        Question::Topics { prefix, filter, limit, from } => match from.on(node) {
            Some(after) => {
                let what = topics::What::new(prefix, filter.as_deref())?;
                let limit = (*limit).min(PAGE_MAX);
                topics::local(api, &what, (limit, after), |_| true).await?
            }
            None => Page::default(),
        },
        Question::Presence { topic } => return topics::members(api, query::topic(topic)?),
        Question::Disconnect { user, session, code, reason } => {
            let session = match session {
                Some((on, _)) if on != node => return Ok(0.into()),
                Some((_, session)) => Some(&**session),
                None => None,
            };
            let whose = (session, user.as_deref());
            let close = Close::new(whose, Some(*code), reason.clone())?;
            return Ok(connections::close_here(api, &close).await?.into());
        }
    };
    serde_json::to_value(page).map_err(|_| Problem::unavailable("the page can't be written"))
}

/// This node's name; empty if it is alone.
pub(super) fn node_of(api: &Api) -> &str {
    api.cluster.as_ref().map_or("", Handle::node)
}

/// How many things a page of all nodes may hold.
pub(super) fn limit(api: &Api, limit: usize) -> usize {
    if api.cluster.is_some() { limit.min(PAGE_MAX) } else { limit }
}

/// Where a list begins: at this place of this node's part, or `NODE/PLACE`.
pub(super) fn cursor(api: &Api, after: Option<&str>) -> Cursor {
    let (node, after) = match (after, api.cluster.is_some()) {
        (None, _) => return Cursor::default(),
        (Some(after), true) => after.split_once('/').unwrap_or((node_of(api), after)),
        (Some(after), false) => ("", after),
    };
    Cursor { node: node.to_owned(), after: after.to_owned() }
}

/// The list of all nodes, called `name`: this node's `own` part, if the list has not passed it, and
/// what the others answer.
pub(super) async fn list(
    api: &Api,
    name: &str,
    (question, from, limit): (Question, &Cursor, usize),
    own: impl Future<Output = Result<Page, Problem>>,
    is_shown: impl Fn(&Value) -> bool,
) -> Result<Response, Problem> {
    let Some(handle) = &api.cluster else {
        let Page { items, next } = own.await?;
        return Ok(super::json(json!({ name: items, "next": next }).to_string()));
    };
    let others = handle.ask(&question, &from.node);
    let (own, others) = tokio::join!(own, others);
    let mut missing = others.missing;
    let mut pages = Vec::new();
    if from.on(handle.node()).is_some() {
        pages.push((handle.node().to_owned(), own?));
    }
    for (node, value) in others.of {
        match serde_json::from_value::<Page>(value) {
            Ok(mut page) => {
                page.items.retain(&is_shown);
                pages.push((node, page));
            }
            Err(_) => missing.push(node),
        }
    }
    pages.sort_by(|(a, _), (b, _)| a.cmp(b));
    let Page { items, next } = merge(pages, limit);
    let list = json!({ name: items, "next": next, "missing": missing });
    Ok(super::json(list.to_string()))
}

/// One page of those of several nodes, in their order: whole ones, as many as fit.
fn merge(pages: Vec<(String, Page)>, limit: usize) -> Page {
    let mut items: Vec<Value> = Vec::new();
    for (node, page) in pages {
        if !items.is_empty() && items.len() + page.items.len() > limit {
            return Page { items, next: Some(format!("{node}/")) };
        }
        items.extend(page.items.into_iter().map(|item| with_node(item, &node)));
        if let Some(after) = page.next {
            return Page { items, next: Some(format!("{node}/{after}")) };
        }
    }
    Page { items, next: None }
}

/// A thing with the name of its node.
pub(super) fn with_node(mut item: Value, node: &str) -> Value {
    if let (Value::Object(members), false) = (&mut item, node.is_empty()) {
        members.insert("node".to_owned(), node.into());
    }
    item
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;
    use std::time::Instant;

    use broker_proto::topic::Topic;

    use super::super::access::ApiKeys;
    use super::*;
    use crate::config::Config;
    use crate::control::Shown;
    use crate::hub::Shared;
    use crate::hub::ask::{Ask, Told};
    use crate::hub::desk::Desk;
    use crate::hub::mailbox::Mail;
    use crate::metrics::Metrics;

    /// An API whose one worker answers at once that it has no connections, and notes how many it
    /// was asked for.
    fn api(shared: &Arc<Shared>, limits: &Arc<Mutex<Vec<usize>>>) -> Api {
        let (worker, limits) = (shared.clone(), limits.clone());
        worker.mailbox(0).park();
        let desk = Desk::new(shared.clone(), move |_| {
            let mut mail = VecDeque::new();
            worker.mailbox(0).take(&mut mail);
            worker.mailbox(0).park();
            for mail in mail {
                let Mail::Question(question) = mail else { continue };
                question.answer(match &question.ask {
                    Ask::Connections { limit, .. } => {
                        limits.lock().unwrap().push(*limit);
                        Told::Connections(Vec::new())
                    }
                    Ask::Subscribers(topics) => Told::Subscribers(vec![0; topics.len()]),
                    Ask::Disconnect { .. } => Told::Disconnected(0),
                });
            }
        });
        let (config, metrics) = (Config::default(), Arc::new(Metrics::new(1)));
        let (shown, keys) = (Shown::new(&config), Arc::new(ApiKeys::new(&config.api_key)));
        Api::new(&config, shown, keys, desk, metrics, Instant::now(), None)
    }

    #[test]
    fn another_node_gets_no_more_than_a_page_whatever_it_asks_for() {
        let shared = Arc::new(Shared::new(1, &Config::default(), 0));
        for number in 0..3 * PAGE_MAX {
            let name = format!("t/{number}");
            shared.directory.find_or_create(Topic::new(&name).unwrap(), 0).unwrap();
        }
        let limits = Arc::default();
        let api = api(&shared, &limits);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (limit, from) = (usize::MAX, Cursor::default());
        let connections =
            Question::Connections { user: None, slow_only: false, limit, from: from.clone() };
        runtime.block_on(answer(&api, &connections)).map_err(drop).unwrap();
        assert_eq!(*limits.lock().unwrap(), [PAGE_MAX + 1]);
        let topics = Question::Topics { prefix: String::new(), filter: None, limit, from };
        let page = runtime.block_on(answer(&api, &topics)).map_err(drop).unwrap();
        assert_eq!(page["items"].as_array().map(Vec::len), Some(PAGE_MAX));
    }

    fn page(items: &[u64], next: Option<&str>) -> Page {
        let items = items.iter().map(|item| json!({ "n": item })).collect();
        Page { items, next: next.map(str::to_owned) }
    }

    #[test]
    fn pages_of_nodes_are_one_list_that_goes_on_where_it_was_cut() {
        let of = |pages: &[(&str, &[u64], Option<&str>)], limit| {
            let own = |(node, items, next): &(&str, &[u64], Option<&str>)| {
                ((*node).to_owned(), page(items, *next))
            };
            let Page { items, next } = merge(pages.iter().map(own).collect(), limit);
            (items.iter().map(|item| item["n"].as_u64().unwrap()).collect::<Vec<_>>(), next)
        };
        let all: &[(&str, &[u64], Option<&str>)] =
            &[("a", &[1, 2], None), ("b", &[3], None), ("c", &[4, 5], Some("x"))];
        assert_eq!(of(all, 9), (vec![1, 2, 3, 4, 5], Some("c/x".to_owned())));
        assert_eq!(of(all, 3), (vec![1, 2, 3], Some("c/".to_owned())));
        assert_eq!(of(&all[..2], 3), (vec![1, 2, 3], None));
        assert_eq!(with_node(json!({ "n": 1 }), "a"), json!({ "n": 1, "node": "a" }));
    }
}
