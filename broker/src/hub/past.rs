//! What of a topic's past a subscription is to get: read from the topic's history under its lock, a
//! page at a time. Sends nothing and remembers nothing; called by those who catch up.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use broker_proto::command::Position;

use super::catching::PAGE_BYTES;
use super::cohort::Cohort;
use super::history::{History, Kept};
use super::message::Message;
use super::special::Start;
use super::topic::Topic;
use super::wanted::Wanted;
use super::{Hub, TICK_TOPICS_MAX};

/// Messages of one page.
const PAGE_MESSAGES: usize = 64;

/// What is to be sent of a topic now.
pub(super) struct Page {
    /// What can't be sent any more: from, to.
    pub(super) gap: Option<(u64, u64)>,
    pub(super) messages: Vec<Arc<Message>>,
    /// Where to go on; None: up to `newest` all is sent.
    pub(super) next: Option<Start>,
    /// The seq of the topic's newest message, if this page has to do with it.
    pub(super) newest: Option<u64>,
}

impl Hub {
    /// What to send of a topic. On a topic's own subscription up to what is `delivered` here.
    pub(super) fn page(
        &self,
        topic: &Topic,
        start: Start,
        delivered: Option<u64>,
        wanted: &Wanted,
    ) -> Page {
        let state = topic.look();
        let (rule, now_ms) = (state.rule(), self.now_ms);
        let last = delivered.unwrap_or(state.seq);
        let is_due = |kept: &&Kept| kept.message.seq() <= last;
        let history = state.history();
        let from = match start {
            Start::Last(from_ms) => {
                let kept = history.into_iter().flat_map(History::all);
                return newest(kept.filter(is_due).filter(|kept| kept.at_ms >= from_ms), wanted);
            }
            Start::LastFrom(seq) => {
                let kept = history.into_iter().flat_map(History::all);
                let kept = kept.filter(is_due).filter(|kept| kept.message.seq() >= seq);
                return newest(kept, wanted);
            }
            Start::Seq(seq) => seq,
            Start::Time(from_ms) => {
                let mut past = history.into_iter().flat_map(|h| h.past(now_ms, rule));
                let first = past.find(|kept| kept.at_ms >= from_ms);
                // What is gone may have been published before; of this topic the client has
                // nothing, so none of it comes.
                let is_torn = history.is_some_and(|h| h.has_dropped_since(from_ms));
                match first {
                    _ if is_torn => 1,
                    Some(first) => first.message.seq(),
                    None => return Page::nothing(),
                }
            }
        };
        let past = history.into_iter().flat_map(|history| history.from_seq(from));
        let mut past = past.take_while(is_due).peekable();
        let first = past.peek().map_or(last + 1, |kept| kept.message.seq());
        let gap = (from < first).then(|| (from, first - 1));
        let (mut messages, mut bytes) = (Vec::new(), 0);
        for kept in past {
            if messages.len() >= PAGE_MESSAGES || bytes >= PAGE_BYTES {
                let next = Some(Start::Seq(kept.message.seq()));
                return Page { gap, messages, next, newest: None };
            }
            bytes += kept.message.held_bytes();
            messages.push(kept.message.clone());
        }
        Page { gap, messages, next: None, newest: Some(last) }
    }

    /// Again and again, on one worker: while memory is short, all topics give up what they keep but
    /// for their last message, a stretch of them at a time.
    pub fn squeeze_history(&mut self, is_short: bool) {
        let shared = self.shared.clone();
        shared.history.squeeze(is_short);
        if !is_short {
            self.squeezed_to = 0;
            return;
        }
        let mut topics = Vec::new();
        let next = shared.directory.scan(self.squeezed_to, TICK_TOPICS_MAX, |_| true, &mut topics);
        topics.iter().for_each(|topic| topic.trim(self.now_ms, &shared.history));
        self.squeezed_to = next.unwrap_or(0);
    }

    /// Where a topic is to be gone on with after a position, and whether all of that is there.
    pub(super) fn after(
        &self,
        topic: &Topic,
        position: Position,
        delivered: Option<u64>,
        is_latest: bool,
    ) -> (Start, bool) {
        let state = topic.look();
        let last = delivered.unwrap_or(state.seq);
        let history = state.history();
        let mut past = history.into_iter().flat_map(|h| h.past(self.now_ms, state.rule()));
        let oldest = past.next().map_or(state.seq + 1, |kept| kept.message.seq());
        if !self.shared.directory.is_comparable(position, topic) || position.seq > last {
            // The client knows another numbering: what is here is all new to it.
            let start = if is_latest { Start::Last(0) } else { Start::Seq(oldest) };
            return (start, false);
        }
        let next = position.seq + 1;
        let start = if is_latest { Start::LastFrom(next) } else { Start::Seq(next) };
        (start, next >= oldest || next > last)
    }
}

/// Whether a message is in its topic's history.
pub(super) fn is_kept(message: &Message) -> bool {
    let state = message.topic().look();
    let mut kept = state.history().into_iter().flat_map(|history| history.from_seq(message.seq()));
    kept.next().is_some_and(|kept| kept.message.seq() == message.seq() && message.is_of_now())
}

/// To begin with the last value of a topic, and go on with everything: its seq, if it is kept.
pub(super) fn last_of(topic: &Topic, delivered: Option<u64>) -> Option<Start> {
    let state = topic.look();
    let last = delivered.unwrap_or(state.seq);
    let mut kept = state.history()?.all().rev();
    let kept = kept.find(|kept| kept.message.seq() <= last)?;
    Some(Start::Seq(kept.message.seq()))
}

impl Page {
    fn nothing() -> Self {
        Self { gap: None, messages: Vec::new(), next: None, newest: None }
    }
}

/// The newest message, or of each key the newest, oldest first.
fn newest<'k>(kept: impl DoubleEndedIterator<Item = &'k Kept>, wanted: &Wanted) -> Page {
    let mut messages = VecDeque::new();
    let mut seen = HashSet::new();
    let cohort = Cohort::new(Arc::new(wanted.clone()), 0);
    for kept in kept.rev() {
        if wanted.key.is_none() || seen.insert(cohort.key_of(&kept.message)) {
            messages.push_front(kept.message.clone());
        }
        if wanted.key.is_none() {
            break;
        }
    }
    let newest = messages.back().map(|message| message.seq());
    Page { gap: None, messages: messages.into(), next: None, newest }
}

/// When the message at a position was published, if it is kept.
pub(super) fn time_of(topic: &Topic, position: Position) -> Option<u64> {
    let state = topic.look();
    let mut kept = state.history()?.all();
    kept.find(|kept| kept.message.seq() == position.seq).map(|kept| kept.at_ms)
}
