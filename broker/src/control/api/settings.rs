//! `GET /api/v1/settings`: what holds, with nothing in it that would let somebody in.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};

use super::problem::Problem;
use super::{Api, query};
use crate::config::keys::Scope;

pub(super) async fn show(State(api): State<Arc<Api>>, headers: HeaderMap, uri: Uri) -> Response {
    told(&api, &headers, &uri).unwrap_or_else(IntoResponse::into_response)
}

fn told(api: &Api, headers: &HeaderMap, uri: &Uri) -> Result<Response, Problem> {
    api.access.admit(headers, Scope::Admin)?;
    let query::Nothing {} = query::parameters(uri)?;
    Ok(super::json(api.shown.text().to_string()))
}
