//! What came of a publish over HTTP: the place of each message, or why it has none. Those on topics
//! with a log get theirs later, and one after the other.

use broker_proto::command::{Answer, CommandError, ErrorCode};
use broker_proto::json;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::idempotency;
use super::problem::Problem;
use crate::hub::log::{Came, Placed, Settled, Waiting};

/// The outcome of a request, with as many places as it has messages.
#[derive(Debug)]
pub(super) struct Outcome {
    is_batch: bool,
    settled: Vec<Option<Settled>>,
    /// How many subscribers each message has, if that was asked.
    subscribers: Vec<Option<u64>>,
    /// Those that are told later, with their places; at most one for each message.
    later: UnboundedReceiver<(usize, Settled)>,
}

/// Where logs tell of the messages of a request.
#[derive(Debug)]
pub(super) struct Later(UnboundedSender<(usize, Settled)>);

impl Later {
    /// Who waits for message `place` of the request.
    pub(super) fn waiting(&self, place: usize) -> Waiting {
        let sender = self.0.clone();
        Waiting::Call(Box::new(move |settled| {
            // Fails if the broker stops and nobody waits any more.
            let _ = sender.send((place, settled));
        }))
    }
}

impl Outcome {
    /// Of a request without messages yet.
    pub(super) fn new(is_batch: bool) -> (Self, Later) {
        let (sender, later) = unbounded_channel();
        let (settled, subscribers) = (Vec::new(), Vec::new());
        (Self { is_batch, settled, subscribers, later }, Later(sender))
    }

    /// The place of the next message.
    pub(super) fn next(&self) -> usize {
        self.settled.len()
    }

    /// What is known of the next message, and how many subscribers it has if that was asked;
    /// without a place it is told later.
    pub(super) fn enter(&mut self, done: Result<(Option<Placed>, Option<u64>), CommandError>) {
        let (placed, subscribers) = match done {
            Ok((placed, subscribers)) => (placed.map(Ok), subscribers),
            Err(error) => (Some(Err(error)), None),
        };
        self.settled.push(placed);
        self.subscribers.push(subscribers);
    }

    /// Whether nothing is waited for.
    pub(super) fn is_complete(&self) -> bool {
        self.settled.iter().all(Option::is_some)
    }

    /// Waits until all is known.
    pub(super) async fn complete(&mut self) {
        let mut waits = self.settled.iter().filter(|settled| settled.is_none()).count();
        while waits > 0
            && let Some((place, settled)) = self.later.recv().await
        {
            self.settled[place] = Some(settled);
            waits -= 1;
        }
    }

    /// How many of the messages came before, and were not published again.
    pub(super) fn repeats(&self) -> usize {
        self.placed().filter(|placed| placed.came == Came::Again).count()
    }

    /// Whether one came before under the same key, in another request.
    fn is_of_other(&self) -> bool {
        self.placed().any(|placed| placed.came == Came::InOtherRequest)
    }

    fn placed(&self) -> impl Iterator<Item = &Placed> {
        self.settled.iter().filter_map(|settled| settled.as_ref()?.as_ref().ok())
    }

    /// What the client is answered: an object, or an array of them.
    ///
    /// # Errors
    /// The only message was not published. In a batch that stands in its place. 422 if the key of the
    /// request was used for another, on whichever node.
    pub(super) fn answer(self) -> Result<Vec<u8>, Problem> {
        if self.is_of_other() {
            return Err(idempotency::reused());
        }
        let mut out = Vec::new();
        out.extend(self.is_batch.then_some(b'['));
        for (place, (settled, subscribers)) in
            self.settled.into_iter().zip(self.subscribers).enumerate()
        {
            out.extend((place > 0).then_some(b','));
            match settled.unwrap_or_else(|| Err(stopped())) {
                Ok(placed) => write_place(&mut out, placed, subscribers),
                Err(error) if self.is_batch => write_error(&mut out, &error),
                Err(error) => return Err(error.into()),
            }
        }
        out.extend(self.is_batch.then_some(b']'));
        Ok(out)
    }
}

/// Its log has ended without a word.
fn stopped() -> CommandError {
    CommandError::new(ErrorCode::Unavailable, "the broker stops")
}

fn write_place(out: &mut Vec<u8>, placed: Placed, subscribers: Option<u64>) {
    let Placed { epoch, seq, level, .. } = placed;
    json::encode_success(out, &Answer::Published { epoch, seq, level, subscribers });
}

/// What was fine when it was checked and is not any more: a topic was one too many, a disk is full.
fn write_error(out: &mut Vec<u8>, error: &CommandError) {
    let value = serde_json::json!({
        "error": { "code": error.code.as_str(), "message": &*error.message }
    });
    out.extend_from_slice(value.to_string().as_bytes());
}

#[cfg(test)]
mod tests {
    use broker_proto::command::{Epoch, Level};

    use super::*;

    #[tokio::test]
    async fn each_message_has_its_place_in_the_answer_whenever_it_is_told() {
        let (mut outcome, later) = Outcome::new(true);
        let epoch = Epoch::new(35);
        let mut calls = Vec::new();
        let at_once = Placed { epoch, seq: 7, level: Level::Accepted, came: Came::First };
        for done in [None, Some(at_once), None, None] {
            calls.extend(done.is_none().then(|| later.waiting(outcome.next())));
            outcome.enter(Ok((done, done.map(|_| 3))));
        }
        drop(later);
        // The last is never told: the log it was in is gone.
        calls.pop();
        assert!(!outcome.is_complete());
        for (waiting, seq) in calls.into_iter().rev().zip([2, 1]) {
            let Waiting::Call(call) = waiting else { panic!("{waiting:?}") };
            call(Ok(Placed { epoch, seq, level: Level::Durable, came: Came::Again }));
        }
        outcome.complete().await;
        assert_eq!(outcome.repeats(), 2);
        let answer = String::from_utf8(outcome.answer().unwrap()).unwrap();
        let expected = concat!(
            r#"[{"epoch":"z","seq":1,"level":"durable"},"#,
            r#"{"epoch":"z","seq":7,"level":"accepted","subscribers":3},"#,
            r#"{"epoch":"z","seq":2,"level":"durable"},"#,
            r#"{"error":{"code":"unavailable","message":"the broker stops"}}]"#
        );
        assert_eq!(answer, expected);
    }
}
