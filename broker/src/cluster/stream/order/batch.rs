//! Messages that go into the stream together, with those who wait for them.

use std::collections::HashSet;

use super::super::record::{Draft, Identity, Message};

/// Messages in their order, and as many waiters as `P`.
#[derive(Debug)]
pub(super) struct Batch<P> {
    pub(super) draft: Draft,
    pub(super) waiters: Vec<P>,
    /// When it is given up, by the clock of this node in milliseconds.
    pub(super) deadline_ms: u64,
}

/// What is to become of a message that may have come before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict<A> {
    /// It goes into the stream.
    Goes,
    /// One before it in the batch is the same: it is looked at again behind that.
    Later,
    /// It does not, and its waiter is told this.
    Told(A),
}

impl<P> Batch<P> {
    /// Without messages yet.
    pub(super) fn new(deadline_ms: u64) -> Self {
        Self { draft: Draft::default(), waiters: Vec::new(), deadline_ms }
    }

    pub(super) fn push(&mut self, message: Message<'_>, waiter: P) {
        self.draft.push(message);
        self.waiters.push(waiter);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    /// Takes out what `judge` does not let go, and tells; returns what comes twice in it.
    pub(super) fn sift<A: Copy>(
        &mut self,
        judge: impl Fn(&Identity) -> Option<A>,
        mut tell: impl FnMut(P, A),
    ) -> Option<Self> {
        if !self.draft.is_named() {
            return None;
        }
        let mut met = HashSet::new();
        let mut verdict = |message: Message<'_>| match message.identity {
            None => Verdict::Goes,
            Some(identity) => match judge(&identity) {
                Some(answer) => Verdict::Told(answer),
                None if met.insert(identity.id) => Verdict::Goes,
                None => Verdict::Later,
            },
        };
        let verdicts: Vec<Verdict<A>> = self.draft.messages().map(&mut verdict).collect();
        if verdicts.iter().all(|verdict| matches!(verdict, Verdict::Goes)) {
            return None;
        }
        let before = std::mem::replace(self, Self::new(self.deadline_ms));
        let mut later = Self::new(self.deadline_ms);
        let messages = before.draft.messages().zip(before.waiters);
        for ((message, waiter), verdict) in messages.zip(verdicts) {
            match verdict {
                Verdict::Goes => self.push(message, waiter),
                Verdict::Later => later.push(message, waiter),
                Verdict::Told(answer) => tell(waiter, answer),
            }
        }
        Some(later).filter(|later| !later.is_empty())
    }
}
