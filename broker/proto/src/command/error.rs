//! Why a command failed, as its sender is told. Made by the codecs for commands that are wrong in
//! themselves and by the broker for those it refuses; must not hold more of a peer's text than
//! [`quoted`] lets through.

use std::borrow::Cow;
use std::fmt;

use crate::topic::TopicError;

/// The answer to a command that failed. It never closes the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandError {
    /// For programs.
    pub code: ErrorCode,
    /// For people: what is wrong and which value.
    pub message: Cow<'static, str>,
}

impl CommandError {
    /// An error with this code and message.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into() }
    }

    /// `bad_request`: the command is not formed as it must be.
    pub fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::BadRequest, message)
    }

    /// `unavailable`: the command or option `what` exists, but this broker cannot do it yet.
    pub fn unavailable(what: &str) -> Self {
        Self::new(ErrorCode::Unavailable, format!("`{what}` is not available yet"))
    }
}

impl From<TopicError> for CommandError {
    fn from(error: TopicError) -> Self {
        Self::new(ErrorCode::BadTopic, error.to_string())
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for CommandError {}

/// What kind of failure it was. The JSON protocol sends the name, the binary protocol the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ErrorCode {
    /// `bad_request`, 1: not a command, or not formed as the command must be.
    BadRequest = 1,
    /// `unknown_op`, 2: no command has this name.
    UnknownOp = 2,
    /// `unauthorized`, 3: a token is needed, or the one given is not valid.
    Unauthorized = 3,
    /// `forbidden`, 4: the client may not do this.
    Forbidden = 4,
    /// `bad_topic`, 5: the topic or filter breaks a rule.
    BadTopic = 5,
    /// `too_many_subscriptions`, 6: the connection has as many as it may.
    TooManySubscriptions = 6,
    /// `too_large`, 7: the payload or the answer is larger than allowed.
    TooLarge = 7,
    /// `rate_limited`, 8: too many commands in too short a time.
    RateLimited = 8,
    /// `unavailable`, 9: the broker cannot do this, or not now.
    Unavailable = 9,
    /// `internal`, 10: a fault of the broker.
    Internal = 10,
}

impl ErrorCode {
    /// Every code, in the order of its number from 1.
    pub const ALL: [Self; 10] = [
        Self::BadRequest,
        Self::UnknownOp,
        Self::Unauthorized,
        Self::Forbidden,
        Self::BadTopic,
        Self::TooManySubscriptions,
        Self::TooLarge,
        Self::RateLimited,
        Self::Unavailable,
        Self::Internal,
    ];

    /// The name in the JSON protocol.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::UnknownOp => "unknown_op",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::BadTopic => "bad_topic",
            Self::TooManySubscriptions => "too_many_subscriptions",
            Self::TooLarge => "too_large",
            Self::RateLimited => "rate_limited",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }

    /// The number in the binary protocol.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The code with this number.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code).checked_sub(1)?).copied()
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A peer's text as it may stand in a message: quoted, escaped and cut to 40 characters.
pub(crate) fn quoted(text: &str) -> String {
    const CHARS_MAX: usize = 40;
    match text.char_indices().nth(CHARS_MAX) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_codes_agree() {
        for (index, code) in ErrorCode::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(code.code()), index + 1);
            assert_eq!(ErrorCode::from_code(code.code()), Some(code));
        }
        assert_eq!(ErrorCode::from_code(0), None);
        assert_eq!(ErrorCode::from_code(11), None);
    }

    #[test]
    fn a_peers_text_is_cut_and_escaped() {
        assert_eq!(quoted("a\n\u{202e}"), r#""a\n\u{202e}""#);
        assert_eq!(quoted(&"é".repeat(41)), format!("\"{}\"…", "é".repeat(40)));
    }
}
