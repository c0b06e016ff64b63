//! Answers that several routes share: errors, always JSON, of the one shape the protocol publishes.
//!
//! Says nothing a peer sent back to it. Called by the router and by the connection loop.

use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

/// `{"error":{"code":…,"message":…}}` with this status.
pub(super) fn error(status: StatusCode, code: &str, message: &str) -> Response {
    let body = serde_json::json!({ "error": { "code": code, "message": message } });
    (status, axum::Json(body)).into_response()
}

/// As [`error`], and the connection ends with it.
pub(super) fn last_error(status: StatusCode, code: &str, message: &str) -> Response {
    closing(error(status, code, message))
}

/// The same answer, and the connection ends with it.
pub(super) fn closing(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

pub(super) fn not_found() -> Response {
    error(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path")
}

pub(super) fn method_not_allowed() -> Response {
    error(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "this path does not take this method",
    )
}

/// RFC 6455 §4.2.2 and RFC 9110 §15.5.22: says what to ask for instead.
pub(super) fn upgrade_required() -> Response {
    let mut response = last_error(
        StatusCode::UPGRADE_REQUIRED,
        "upgrade_required",
        "this path is a WebSocket: open a connection of its own with a handshake of version 13",
    );
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    response
}

/// A stream of events is served by a worker, which only a connection's first request reaches. A
/// kept connection is ended, and the client sent to the same place on another one, which every
/// browser follows by itself (RFC 9110 §15.4.8).
pub(super) fn again_on_a_fresh_connection(uri: &Uri) -> Response {
    let place = uri.path_and_query().map_or("/", |target| target.as_str());
    let mut response = last_error(
        StatusCode::TEMPORARY_REDIRECT,
        "fresh_connection",
        "events need a connection of their own: ask for them on a new one",
    );
    if let Ok(place) = HeaderValue::from_str(place) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    response
}

/// The answer to a connection too many, written without a task of its own.
pub(super) const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    Connection: close\r\nContent-Type: application/json\r\nContent-Length: 70\r\nRetry-After: 1\r\n\r\n\
    {\"error\":{\"code\":\"unavailable\",\"message\":\"too many HTTP connections\"}}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_made_answer_gives_its_true_length() {
        let text = std::str::from_utf8(TOO_MANY).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{}", body.len());
        serde_json::from_str::<serde_json::Value>(body).unwrap();
    }
}
