//! What single settings accept that is neither a number nor one of a few words: each a function that
//! `Config` names as the parser of its value. Looks at nothing but the value.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;

use broker_proto::handshake::{AllowedOrigins, OriginError};
use broker_proto::topic::{Filter, TopicError};

/// An origin that the check of the opening handshake understands.
pub(super) fn origin(text: &str) -> Result<String, OriginError> {
    let text = text.trim().to_owned();
    AllowedOrigins::parse(std::slice::from_ref(&text)).map(|_| text)
}

/// An address and a port, or nothing.
pub(super) fn address_or_none(text: &str) -> Result<String, String> {
    match text.is_empty() || text.parse::<SocketAddr>().is_ok() {
        true => Ok(text.to_owned()),
        false => Err("an IP address and a port, such as 127.0.0.1:9090".to_owned()),
    }
}

/// A file, or none.
pub(super) fn path(text: &str) -> Result<PathBuf, Infallible> {
    Ok(text.into())
}

/// A filter of topics.
pub(super) fn filter(text: &str) -> Result<String, TopicError> {
    Filter::new(text).map(|filter| filter.as_str().to_owned())
}

/// The name of a cookie (RFC 6265 §4.1.1), or none.
pub(super) fn cookie_name(text: &str) -> Result<String, String> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    match text.bytes().all(is_token) {
        true => Ok(text.to_owned()),
        false => Err("a name of letters, digits and - _ . only".to_owned()),
    }
}

/// A filter that `tracing_subscriber` understands, checked here so that a slip shows at the start.
pub(super) fn log_filter(text: &str) -> Result<String, String> {
    match tracing_subscriber::EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
