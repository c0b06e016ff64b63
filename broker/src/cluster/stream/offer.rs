//! Offers one record to JetStream and says what became of it.
//!
//! What was answered is certain; what was not may have been stored, or may be yet.

use std::error::Error;

use async_nats::jetstream::Context;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;

use super::order::{Attempt, Refusal};
use super::sequencer::Outcome;

/// What JetStream says in front of the number of the record that it has.
const CONFLICT: &str = "wrong last sequence";

/// Offers a record to a stream under a subject.
pub async fn offer(
    context: &Context,
    stream: &str,
    subject: String,
    attempt: Attempt,
) -> (Outcome, Option<PublishError>) {
    let id = format!("{:016x}-{:x}", attempt.origin.node, attempt.origin.nonce);
    let message = PublishMessage::build()
        .payload(attempt.record)
        .message_id(id)
        .expected_stream(stream)
        .expected_last_subject_sequence(attempt.expected);
    let sent = context.send_publish(subject, message).await;
    let answered = match sent {
        Ok(sent) => sent.await,
        Err(error) => Err(error),
    };
    match answered {
        Ok(_) => (Outcome::Stored, None),
        Err(error) => (outcome_of(&error), Some(error)),
    }
}

fn outcome_of(error: &PublishError) -> Outcome {
    let source = error.source().map(ToString::to_string);
    match error.kind() {
        PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe => Outcome::Unknown,
        PublishErrorKind::StreamNotFound
        | PublishErrorKind::MaxAckPending
        | PublishErrorKind::MaxPayloadExceeded
        | PublishErrorKind::WrongLastMessageId => Outcome::Refused(Refusal::Failed),
        PublishErrorKind::WrongLastSequence | PublishErrorKind::Other => match source {
            Some(text) if text.starts_with(CONFLICT) => {
                Outcome::Refused(Refusal::Conflict(newest_in(&text)))
            }
            // An error that JetStream answered with; others come before anything was sent.
            _ => Outcome::Refused(Refusal::Failed),
        },
    }
}

/// The number in `wrong last sequence: 5 (code 400, …)`.
fn newest_in(text: &str) -> Option<u64> {
    let rest = text.strip_prefix(CONFLICT)?.strip_prefix(':')?.trim_start();
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conflict_names_the_newest_record_if_the_server_did() {
        let of = |kind, text: &str| outcome_of(&PublishError::with_source(kind, text.to_owned()));
        let text = "wrong last sequence: 41 (code 400, error code 10071)";
        let conflict = |newest| Outcome::Refused(Refusal::Conflict(newest));
        assert_eq!(of(PublishErrorKind::WrongLastSequence, text), conflict(Some(41)));
        let text = "wrong last sequence (code 400, error code 10164)";
        assert_eq!(of(PublishErrorKind::Other, text), conflict(None));
        let text = "insufficient resources (code 503, error code 10023)";
        assert_eq!(of(PublishErrorKind::Other, text), Outcome::Refused(Refusal::Failed));
        assert_eq!(of(PublishErrorKind::TimedOut, ""), Outcome::Unknown);
    }
}
