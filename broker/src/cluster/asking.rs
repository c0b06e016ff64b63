//! What one node asks the others: lists, who is there, and to end connections. The HTTP API asks, for
//! clients `sending` too, and the API of each other node answers.
//!
//! A question goes to all nodes at once and is waited for a bounded time; who has not answered is
//! named. Knows nothing of NATS: questions and answers pass through channels.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::names::Names;
use super::nodes::Nodes;

/// How long the other nodes have to answer.
pub const ANSWER_TIMEOUT: Duration = Duration::from_millis(900);
/// Questions and answers on their way to NATS; one more is not sent.
const OUTGOING_MAX: usize = 64;
/// Questions of other nodes that wait for the API; one more is not answered.
const ASKED_MAX: usize = 64;

/// What a node may be asked.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
pub enum Question {
    /// A page of its connections.
    Connections {
        /// Only those of this user.
        user: Option<String>,
        /// Only those that do not keep up.
        slow_only: bool,
        /// How many at most.
        limit: usize,
        /// Where to begin.
        from: Cursor,
    },
    /// A page of its topics.
    Topics {
        /// Only those that begin with this.
        prefix: String,
        /// Only those that match this filter.
        filter: Option<String>,
        /// How many at most.
        limit: usize,
        /// Where to begin.
        from: Cursor,
    },
    /// Who is subscribed to a topic there.
    Presence {
        /// The topic.
        topic: String,
    },
    /// To close connections: all of the user, or the one of the session on the node.
    Disconnect {
        /// Whose.
        user: Option<String>,
        /// The node and the session there.
        session: Option<(String, String)>,
        /// The code of the close frame.
        code: u16,
        /// The reason in it.
        reason: String,
    },
}

/// A place in a list that goes through one node after the other, in the order of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// The node.
    pub node: String,
    /// The place in its own list; empty at the start.
    pub after: String,
}

impl Cursor {
    /// Where the list of this node goes on; `None` if it is behind.
    pub fn on(&self, node: &str) -> Option<&str> {
        match node.cmp(&self.node) {
            std::cmp::Ordering::Less => None,
            std::cmp::Ordering::Equal => Some(&self.after),
            std::cmp::Ordering::Greater => Some(""),
        }
    }
}

/// What came of a question.
#[derive(Debug, Default)]
pub struct Answers {
    /// Each node's answer, by its name, in their order.
    pub of: Vec<(String, Value)>,
    /// The nodes that have not answered.
    pub missing: Vec<String>,
}

/// The way to the other nodes, for those who ask.
#[derive(Clone, Debug)]
pub struct Handle {
    names: Arc<Names>,
    nodes: Arc<Nodes>,
    pending: Arc<Pending>,
    outgoing: mpsc::Sender<Outgoing>,
}

/// The API's place: it asks by the handle, and answers what is asked.
#[derive(Debug)]
pub struct Seat {
    /// To ask.
    pub handle: Handle,
    /// What others ask.
    pub asked: mpsc::Receiver<Asked>,
}

/// The other end, for the cluster's thread.
#[derive(Debug)]
#[cfg_attr(not(feature = "nats"), allow(dead_code, reason = "there is no such thread"))]
pub struct Inside {
    /// Who we are.
    pub names: Arc<Names>,
    /// The other nodes.
    pub nodes: Arc<Nodes>,
    /// To ask for clients.
    pub(super) handle: Handle,
    pub(super) pending: Arc<Pending>,
    pub(super) outgoing: mpsc::Receiver<Outgoing>,
    pub(super) replies: mpsc::Sender<Outgoing>,
    pub(super) asked: mpsc::Sender<Asked>,
}

/// A question or an answer on its way to NATS.
#[derive(Debug)]
#[cfg_attr(not(feature = "nats"), allow(dead_code, reason = "nothing goes there"))]
pub(super) struct Outgoing {
    /// The run that is answered; none for a question.
    pub(super) to: Option<u64>,
    pub(super) number: u64,
    pub(super) json: Vec<u8>,
}

/// A question of another node.
#[derive(Debug)]
pub struct Asked {
    /// What is asked.
    pub question: Question,
    pub(super) run: u64,
    pub(super) number: u64,
    pub(super) replies: mpsc::Sender<Outgoing>,
}

impl Asked {
    /// Answers it; does not wait.
    pub fn answer(self, value: &Value) {
        let json = value.to_string().into_bytes();
        // Full or closed: whoever asked finds that this node has not answered.
        let _ = self.replies.try_send(Outgoing { to: Some(self.run), number: self.number, json });
    }
}

/// Who waits for answers.
#[derive(Debug, Default)]
pub(super) struct Pending {
    last: AtomicU64,
    waiting: Mutex<Waiting>,
}

/// Where the answers to a question go, each with the run that gave it, by the question's number.
type Waiting = HashMap<u64, mpsc::Sender<(u64, Vec<u8>)>>;

impl Pending {
    /// An answer has come.
    #[cfg(feature = "nats")]
    pub(super) fn deliver(&self, number: u64, run: u64, json: &[u8]) {
        if let Some(sender) = self.lock().get(&number) {
            // Full only if nodes answer more than once.
            let _ = sender.try_send((run, json.to_vec()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // A panic while the lock is held leaves whole values behind.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The two ends.
pub fn pair(names: Names) -> (Seat, Inside) {
    let (names, nodes) = (Arc::new(names), Arc::<Nodes>::default());
    let pending = Arc::<Pending>::default();
    let (sender, outgoing) = mpsc::channel(OUTGOING_MAX);
    let (asked_sender, asked) = mpsc::channel(ASKED_MAX);
    let replies = sender.clone();
    let handle = Handle {
        names: names.clone(),
        nodes: nodes.clone(),
        pending: pending.clone(),
        outgoing: sender,
    };
    let seat = Seat { handle: handle.clone(), asked };
    (seat, Inside { names, nodes, handle, pending, outgoing, replies, asked: asked_sender })
}

impl Handle {
    /// The name of this node.
    pub fn node(&self) -> &str {
        &self.names.node
    }

    /// The run of this node.
    pub fn run(&self) -> u64 {
        self.names.run
    }

    /// This node and the others, as they are listed.
    pub fn list(&self, now_ms: u64) -> Value {
        json!({ "node": self.node(), "others": self.nodes.view(now_ms) })
    }

    /// Asks all other nodes and waits for those from the one called `from` on, in the order of
    /// their names, at most [`ANSWER_TIMEOUT`].
    pub async fn ask(&self, question: &Question, from: &str) -> Answers {
        let mut left = self.nodes.alive();
        left.retain(|(_, name)| &**name >= from);
        let mut answers = Answers::default();
        if left.is_empty() {
            return answers;
        }
        let number = self.pending.last.fetch_add(1, Ordering::Relaxed) + 1;
        let (sender, mut receiver) = mpsc::channel(left.len());
        self.pending.lock().insert(number, sender);
        let _waiting = WaitsFor { pending: &self.pending, number };
        let json = serde_json::to_vec(question).unwrap_or_default();
        let is_sent = self.outgoing.try_send(Outgoing { to: None, number, json }).is_ok();
        let (of, missing, waiting) = (&mut answers.of, &mut answers.missing, &mut left);
        let all = async move {
            while !waiting.is_empty()
                && let Some((run, json)) = receiver.recv().await
            {
                let Some(at) = waiting.iter().position(|(known, _)| *known == run) else {
                    continue;
                };
                let (_, name) = waiting.swap_remove(at);
                match serde_json::from_slice(&json) {
                    Ok(value) => of.push((name, value)),
                    Err(_) => missing.push(name),
                }
            }
        };
        let patience = if is_sent { ANSWER_TIMEOUT } else { Duration::ZERO };
        // Who has not answered by then is left.
        let _ = timeout(patience, all).await;
        answers.missing.extend(left.into_iter().map(|(_, name)| name));
        answers.missing.sort();
        answers.of.sort_by(|(a, _), (b, _)| a.cmp(b));
        answers
    }
}

/// Somebody waits for the answers to a question, until this is dropped: also when whoever asked has
/// gone and the rest of [`Handle::ask`] is never run.
struct WaitsFor<'p> {
    pending: &'p Pending,
    number: u64,
}

impl Drop for WaitsFor<'_> {
    fn drop(&mut self) {
        self.pending.lock().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::super::nodes::Sign;
    use super::*;

    #[test]
    fn a_list_goes_on_at_its_node_and_begins_anew_at_the_next() {
        let cursor = Cursor { node: "b".into(), after: "7".into() };
        assert_eq!((cursor.on("a"), cursor.on("b"), cursor.on("c")), (None, Some("7"), Some("")));
        assert_eq!(Cursor::default().on("a"), Some(""));
    }

    #[test]
    fn who_has_gone_waits_for_nothing() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (seat, inside) = pair(Names { cluster: "c".into(), node: "a".into(), run: 1 });
        let sign = Sign { node: "b", beat: 1, is_leaving: false, connections: 0 };
        inside.nodes.note(2, sign, 0);
        runtime.block_on(async {
            let question = Question::Presence { topic: "t".into() };
            let asking = seat.handle.ask(&question, "");
            assert!(timeout(Duration::from_millis(1), asking).await.is_err());
        });
        assert!(inside.pending.lock().is_empty());
    }

    #[test]
    fn who_answers_is_told_and_who_does_not_is_named() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let names = Names { cluster: "c".into(), node: "a".into(), run: 1 };
        let (seat, mut inside) = pair(names);
        for (run, node) in [(2, "b"), (3, "c"), (4, "A")] {
            let sign = Sign { node, beat: 1, is_leaving: false, connections: 0 };
            inside.nodes.note(run, sign, 0);
        }
        let answers = runtime.block_on(async {
            let handle = seat.handle.clone();
            let question = Question::Presence { topic: "t".into() };
            let asking = tokio::spawn(async move { handle.ask(&question, "b").await });
            let Some(Outgoing { to: None, number, json }) = inside.outgoing.recv().await else {
                panic!("a question");
            };
            assert_eq!(json, br#"{"ask":"presence","topic":"t"}"#);
            inside.pending.deliver(number, 9, b"9");
            inside.pending.deliver(number, 2, b"5");
            inside.pending.deliver(number + 1, 3, b"6");
            asking.await.unwrap()
        });
        assert_eq!(answers.of, [("b".to_owned(), Value::from(5))]);
        assert_eq!(answers.missing, ["c"]);
        assert!(inside.pending.lock().is_empty());
    }
}
