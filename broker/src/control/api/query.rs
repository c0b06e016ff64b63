//! The parameters of a request: what follows the `?`, and what of the path names a thing. A
//! parameter that is not known is refused, so that a slip never passes for a default.

use axum::extract::Query;
use axum::http::Uri;
use broker_proto::topic::Topic;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// Things on one page, if none is asked for, and at most.
const PAGE: usize = 100;
const PAGE_MAX: usize = 1_000;

/// No parameters.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// The parameters behind the `?`.
///
/// # Errors
/// 400, with the name of what is wrong.
pub(super) fn parameters<T: DeserializeOwned>(uri: &Uri) -> Result<T, Problem> {
    match Query::try_from_uri(uri) {
        Ok(Query(parameters)) => Ok(parameters),
        Err(rejection) => {
            let text = rejection.body_text();
            let reason = text.rsplit_once("string: ").map_or(&*text, |(_, reason)| reason);
            Err(Problem::bad_request(format!("the query: {reason}")))
        }
    }
}

/// The size of a page.
///
/// # Errors
/// 400 if it is not from 1 to a thousand.
pub(super) fn page(limit: Option<usize>) -> Result<usize, Problem> {
    let limit = limit.unwrap_or(PAGE);
    if (1..=PAGE_MAX).contains(&limit) {
        return Ok(limit);
    }
    Err(Problem::bad_request(format!("`limit` must be from 1 to {PAGE_MAX}")))
}

/// The topic that a path names.
///
/// # Errors
/// 400 `bad_topic`.
pub(super) fn topic(name: &str) -> Result<Topic<'_>, Problem> {
    Ok(Topic::new(name).map_err(broker_proto::command::CommandError::from)?)
}

/// A session as connections are called: 16 hexadecimal digits.
///
/// # Errors
/// 400 if it is none.
pub(super) fn session(text: &str) -> Result<u64, Problem> {
    let is_session = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u64::from_str_radix(text, 16).ok().filter(|_| is_session);
    number.ok_or_else(|| Problem::bad_request("a session is 16 hexadecimal digits"))
}
