//! What a server's close frame says, as a text under which connections add up. Called by the client
//! for the tally of how connections ended.

use broker_proto::ws::{CloseCode, CloseFrame};

/// Code and reason. Where the protocol puts a number into the reason that differs from connection
/// to connection (when to come back, the last seq), an `N` stands for it, so that they add up.
pub(super) fn close_text(frame: &CloseFrame<'_>) -> String {
    let mut reason = frame.reason.to_owned();
    if matches!(frame.code, CloseCode::GOING_AWAY | CloseCode::TOO_SLOW | CloseCode::OVERLOADED) {
        let mut folded = String::with_capacity(reason.len());
        for char in reason.chars() {
            match char.is_ascii_digit() {
                false => folded.push(char),
                true if folded.ends_with('N') => {}
                true => folded.push('N'),
            }
        }
        reason = folded;
    }
    format!("{} {reason}", frame.code).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_that_differ_only_in_a_number_of_the_protocol_add_up() {
        let text = |code, reason| close_text(&CloseFrame { code, reason });
        assert_eq!(text(CloseCode::GOING_AWAY, "reconnect in 950 ms"), "1001 reconnect in N ms");
        assert_eq!(text(CloseCode::TOO_SLOW, "t at 7"), "4408 t at N");
        assert_eq!(text(CloseCode::TOO_SLOW, "12, 345"), "4408 N, N");
        assert_eq!(
            text(CloseCode::OVERLOADED, "overloaded, last seq 9 of t"),
            "1013 overloaded, last seq N of t"
        );
        assert_eq!(text(CloseCode::TOO_LARGE, "limit 65536"), "1009 limit 65536");
        assert_eq!(text(CloseCode::NORMAL, ""), "1000");
    }
}
