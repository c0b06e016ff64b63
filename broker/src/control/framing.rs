//! Requests whose end could be read in two ways are refused, so that nothing in front of the broker
//! and the broker itself ever disagree about where the next one begins (RFC 9112 §6.3, §11.2).
//!
//! hyper refuses lengths that are no number or differ; the workers refuse a connection's first
//! request likewise. Here is what hyper lets through. A layer of the router.

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use super::answer;

/// Answers 400 to what is ambiguous and 501 to what is not understood, and ends every connection
/// after a request in chunks: of two lengths one may have been dropped before it came here.
pub(super) async fn refuse_ambiguous(request: Request, next: Next) -> Response {
    let headers = request.headers();
    if !headers.contains_key(header::TRANSFER_ENCODING) {
        return next.run(request).await;
    }
    match fault(headers) {
        Some((status, message)) => answer::last_error(status, "bad_request", message),
        None => answer::closing(next.run(request).await),
    }
}

fn fault(headers: &HeaderMap) -> Option<(StatusCode, &'static str)> {
    if headers.contains_key(header::CONTENT_LENGTH) {
        let message = "a request has a Content-Length or a Transfer-Encoding, not both";
        return Some((StatusCode::BAD_REQUEST, message));
    }
    let mut encodings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let first = encodings.next().map(|value| value.as_bytes().to_ascii_lowercase());
    match (first.as_deref(), encodings.next()) {
        (Some(b"chunked"), None) => None,
        (_, Some(_)) => Some((StatusCode::BAD_REQUEST, "Transfer-Encoding is there twice")),
        _ => Some((StatusCode::NOT_IMPLEMENTED, "the only Transfer-Encoding here is chunked")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status_of(lines: &[(&'static str, &'static str)]) -> Option<u16> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        fault(&headers).map(|(status, _)| status.as_u16())
    }

    #[test]
    fn a_body_has_one_length_that_all_understand() {
        assert_eq!(status_of(&[("transfer-encoding", "chunked")]), None);
        assert_eq!(status_of(&[("transfer-encoding", "Chunked")]), None);
        let both = [("content-length", "4"), ("transfer-encoding", "chunked")];
        assert_eq!(status_of(&both), Some(400));
        let twice = [("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")];
        assert_eq!(status_of(&twice), Some(400));
        for odd in ["chunked, chunked", "gzip, chunked", "chunked;a=b", "identity"] {
            assert_eq!(status_of(&[("transfer-encoding", odd)]), Some(501), "{odd}");
        }
    }
}
