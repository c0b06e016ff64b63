//! The HTTP API at `/api/v1`: publishing, topics, connections, settings. What applications and operators use
//! that keep no WebSocket.
//!
//! Everything here runs on the control plane's one thread. Topics are read and messages published
//! directly; what only a worker knows is asked for by mail and awaited. Merged into the router.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use broker_proto::json::Parser;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use crate::cluster::asking::{Asked, Handle};
use crate::config::Config;
use crate::hub::ask::{Ask, Told};
use crate::hub::desk::Desk;
use crate::hub::workers::WorkerSet;
use crate::metrics::Metrics;

mod access;
mod connections;
mod elsewhere;
mod idempotency;
mod outcome;
mod pace;
mod problem;
mod publish;
mod query;
mod settings;
mod topics;

use self::access::Access;
pub use self::access::ApiKeys;
use self::idempotency::{Key, Window};
use self::problem::Problem;
use super::shown::Shown;

/// Questions to the workers that may be open at once; one more is answered 503.
const QUESTIONS_MAX: usize = 16;
/// Time for the workers to answer; then 503.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// The description of the API, held against the routes by a test.
const OPENAPI: &str = include_str!("../../web/openapi.json");

/// What the handlers share.
pub(super) struct Api {
    desk: Desk,
    access: Access,
    shown: Shown,
    metrics: Arc<Metrics>,
    started: Instant,
    started_unix_ms: u64,
    /// The other nodes, if there are any.
    cluster: Option<Handle>,
    questions: Semaphore,
    /// Held for as long as one request is carried out, never while it is waited for.
    state: Mutex<State>,
}

/// What one request after the other works with.
#[derive(Default)]
struct State {
    parser: Parser,
    answered: Window,
    /// Keys of publishes that wait for a log to be answered.
    under_way: HashSet<Key>,
}

/// The routes of the API. What other nodes ask is answered too: `asked` is where it comes from, and
/// then this must be called within a runtime.
pub(super) fn routes(api: Api, asked: Option<mpsc::Receiver<Asked>>) -> Router {
    let api = Arc::new(api);
    if let Some(asked) = asked {
        tokio::spawn(elsewhere::serve(api.clone(), asked));
    }
    Router::new()
        .route("/api/v1/publish", post(publish::publish))
        .route("/api/v1/topics", get(topics::list))
        .route("/api/v1/topics/{topic}/history", get(topics::history))
        .route("/api/v1/topics/{topic}/presence", get(topics::presence))
        .route("/api/v1/connections", get(connections::list).delete(connections::close_user))
        .route("/api/v1/connections/{session}", delete(connections::close_one))
        .route("/api/v1/settings", get(settings::show))
        .route("/api/v1/nodes", get(elsewhere::nodes))
        .route("/api/openapi.json", get(async || json(OPENAPI)))
        .layer(from_fn_with_state(api.clone(), pace::pace))
        .with_state(api)
}

impl Api {
    pub(super) fn new(
        config: &Config,
        shown: Shown,
        keys: Arc<ApiKeys>,
        desk: Desk,
        metrics: Arc<Metrics>,
        started: Instant,
        cluster: Option<Handle>,
    ) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            access: Access::new(config, keys, desk.verifier().clone()),
            shown,
            desk,
            metrics,
            started,
            started_unix_ms: now.saturating_sub(started.elapsed()).as_millis() as u64,
            cluster,
            questions: Semaphore::new(QUESTIONS_MAX),
            state: Mutex::new(State::default()),
        }
    }

    /// The time of the broker's clock, in ms.
    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic while the lock is held leaves whole values behind.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a question to workers and waits for all their answers.
    async fn ask(&self, workers: WorkerSet, ask: Ask) -> Result<Vec<Told>, Problem> {
        let Ok(_open) = self.questions.try_acquire() else {
            return Err(Problem::unavailable("too many questions to the workers are open"));
        };
        let count = workers.count_ones() as usize;
        let (sender, mut answers) = mpsc::channel(count.max(1));
        self.desk.ask(workers, ask, move |told| {
            // Fails only if nobody waits any more.
            let _ = sender.try_send(told);
        });
        let mut told = Vec::with_capacity(count);
        let all = async {
            while told.len() < count
                && let Some(one) = answers.recv().await
            {
                told.push(one);
            }
        };
        match timeout(ANSWER_TIMEOUT, all).await {
            Ok(()) if told.len() == count => Ok(told),
            _ => Err(Problem::unavailable("the workers did not answer in time")),
        }
    }
}

/// 200 with this JSON text.
fn json(text: impl IntoResponse) -> Response {
    let mut response = text.into_response();
    let value = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, value);
    response
}

#[cfg(test)]
mod tests;
