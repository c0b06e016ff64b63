//! Why a WebSocket connection ended, as the broker counts it.
//!
//! Coarser than a close code where that helps (all of a peer's protocol errors are one) and finer
//! where one code has several causes (1008 is a rate, a silence or a slow message). Workers choose.

/// Why a WebSocket connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// The peer closed with 1000, 1001 or no code.
    Normal,
    /// We are stopping: 1001.
    GoingAway,
    /// The peer broke RFC 6455: 1002.
    Protocol,
    /// The peer sent a kind of message its protocol has not: 1003.
    Unsupported,
    /// Text that was not UTF-8: 1007.
    InvalidPayload,
    /// A message longer than `message_bytes_max`: 1009.
    TooLarge,
    /// Too many control frames a second: 1008.
    RateLimited,
    /// More waits for it than `backlog_bytes_max`: 4408.
    TooSlow,
    /// More waits for all than `backlog_total_bytes_max`: 1013.
    Overloaded,
    /// No token came in time, it was not valid, or it has expired: 4401.
    Unauthorized,
    /// Who it is may not be here any more: 4403.
    Forbidden,
    /// No sign of life within `pong_timeout_ms` of a ping.
    PongTimeout,
    /// No whole request head within `handshake_timeout_ms`: 408.
    HandshakeTimeout,
    /// No command within `first_command_timeout_ms`: 1008.
    FirstCommandTimeout,
    /// A message took longer than `message_timeout_ms`: 1008.
    MessageTimeout,
    /// Nothing of the backlog was taken within `write_timeout_ms`.
    WriteTimeout,
    /// No answer to our close frame within `close_timeout_ms`.
    CloseTimeout,
    /// The socket ended or failed without a close frame.
    Lost,
    /// A fault of our own: 1011.
    Internal,
    /// Someone asked for it over the API: 4403.
    Disconnected,
}

impl CloseReason {
    /// Every reason, in the order of their numbers.
    pub const ALL: [Self; 20] = [
        Self::Normal,
        Self::GoingAway,
        Self::Protocol,
        Self::Unsupported,
        Self::InvalidPayload,
        Self::TooLarge,
        Self::RateLimited,
        Self::TooSlow,
        Self::Overloaded,
        Self::Unauthorized,
        Self::Forbidden,
        Self::PongTimeout,
        Self::HandshakeTimeout,
        Self::FirstCommandTimeout,
        Self::MessageTimeout,
        Self::WriteTimeout,
        Self::CloseTimeout,
        Self::Lost,
        Self::Internal,
        Self::Disconnected,
    ];

    /// How many reasons there are.
    pub const COUNT: usize = Self::ALL.len();

    /// The reason as metrics and logs spell it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::GoingAway => "going_away",
            Self::Protocol => "protocol",
            Self::Unsupported => "unsupported",
            Self::InvalidPayload => "invalid_payload",
            Self::TooLarge => "too_large",
            Self::RateLimited => "rate_limited",
            Self::TooSlow => "too_slow",
            Self::Overloaded => "overloaded",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::PongTimeout => "pong_timeout",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::FirstCommandTimeout => "first_command_timeout",
            Self::MessageTimeout => "message_timeout",
            Self::WriteTimeout => "write_timeout",
            Self::CloseTimeout => "close_timeout",
            Self::Lost => "lost",
            Self::Internal => "internal",
            Self::Disconnected => "disconnected",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_stands_at_its_own_number() {
        for (number, reason) in CloseReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, number, "{reason:?}");
        }
    }
}
