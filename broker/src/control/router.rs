//! What HTTP finds at which path, and the headers every answer carries.
//!
//! Knows no sockets, so that tests call it without one. Built once by `control::start`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::api::{self, Api, ApiKeys};
use super::shown::Shown;
use super::{Lifecycle, Parts, Phase, answer, assets, framing};
use crate::cluster::trouble::Trouble;
use crate::metrics::Metrics;
use crate::metrics::prometheus::{CONTENT_TYPE, Exposition};

/// Longest request body that is read, in bytes; a longer one is answered 413.
pub(super) const BODY_BYTES_MAX: usize = 1024 * 1024;

/// The routes of the control plane.
pub(super) fn router(parts: Parts, shown: Shown, keys: Arc<ApiKeys>) -> Router {
    let Parts { config, metrics, lifecycle, desk, cluster, started } = parts;
    let exposition = Arc::new(Exposition::new(metrics.clone()));
    let (handle, asked) = cluster.map(|seat| (seat.handle, seat.asked)).unzip();
    let api = Api::new(&config, shown, keys, desk, metrics.clone(), started, handle);
    let mut router = Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/readyz", get(ready).with_state((lifecycle, metrics.clone())))
        .route("/metrics", get(scrape).with_state(exposition))
        .route("/ws", get(async || answer::upgrade_required()))
        .route("/sse", get(async |uri: Uri| answer::again_on_a_fresh_connection(&uri)))
        .merge(assets::routes(config.demo))
        .merge(api::routes(api, asked));
    if config.echo {
        router = router.route("/echo", get(async || answer::upgrade_required()));
    }
    router
        .fallback(async || answer::not_found())
        .method_not_allowed_fallback(async || answer::method_not_allowed())
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn(framing::refuse_ambiguous))
        .layer(from_fn(hide))
        .layer(from_fn(with_common_headers))
        .layer(from_fn_with_state(metrics, count))
}

/// Marks a request that came where only clients should: what is for operators is elsewhere.
#[derive(Clone, Copy, Debug)]
pub(super) struct FromClients;

/// What is for operators, if they have a listener of their own.
const FOR_OPERATORS: [&str; 2] = ["/metrics", "/console"];

async fn hide(request: Request, next: Next) -> Response {
    let is_hidden = request.extensions().get::<FromClients>().is_some()
        && FOR_OPERATORS.contains(&request.uri().path());
    if is_hidden { answer::not_found() } else { next.run(request).await }
}

/// Whether to send clients here: not before all workers listen and what other nodes published has
/// been read, nor once they are sent away.
async fn ready(State((lifecycle, metrics)): State<(Arc<Lifecycle>, Arc<Metrics>)>) -> Response {
    let is_behind = metrics.stream.is_behind.load(Ordering::Relaxed) != 0;
    let reading = Trouble::now(&metrics).map_or("reading", Trouble::advice);
    let (status, phase) = match lifecycle.phase() {
        Phase::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
        Phase::Ready if is_behind => (StatusCode::SERVICE_UNAVAILABLE, reading),
        Phase::Ready => (StatusCode::OK, "ready"),
        Phase::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
    };
    (status, phase).into_response()
}

async fn scrape(State(exposition): State<Arc<Exposition>>) -> Response {
    match exposition.render() {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics could not be written");
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            answer::error(status, "internal", "metrics could not be written")
        }
    }
}

/// Counts the answers by their kind.
async fn count(State(metrics): State<Arc<Metrics>>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    metrics.http.count_answer(response.status().as_u16());
    response
}

async fn with_common_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests;
