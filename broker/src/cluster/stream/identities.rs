//! Which messages of a topic came with an identity, and which places they have: what tells a publish
//! that comes again, on whichever node, from one that is new.
//!
//! Filled from what the reader has seen and nothing else, so that all nodes know the same. Bounded in
//! number and age; the memory counts among what topics keep, and where that is spent what was read
//! can't be remembered: then nothing is said to be new until that would have been forgotten anyway.
//! No clock: the times are passed in.

use std::collections::VecDeque;

use broker_proto::command::Position;
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::record::Identity;
use crate::hub::history::Budget;

/// Identities that are remembered of one topic; the oldest are forgotten first. As many as the
/// messages of the largest request.
pub const IDS_MAX: usize = 10_000;
/// Bytes of memory that one takes.
const ID_BYTES: u64 = 136;

/// Those of one topic.
#[derive(Debug, Default)]
pub struct Identities {
    held: HashMap<[u8; 16], Held, RandomState>,
    /// The same, oldest first, with their seqs.
    order: VecDeque<(u64, [u8; 16])>,
    /// When the newest record was stored that was read, in ms since 1970.
    newest_unix_ms: u64,
    /// Until then one may be missing here.
    blind_until_ms: u64,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    place: Position,
    request: u64,
    /// By the clock of this node, since it was read.
    until_ms: u64,
    /// By that of the server, since it was stored: what is old when it is read counts as old as soon
    /// as something newer is.
    until_unix_ms: u64,
}

/// What is known of a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It did not come before.
    New,
    /// It did, and has this place.
    Repeat(Position),
    /// It did, there, but as a part of another request.
    OtherRequest(Position),
    /// It may have come before: there is no room to remember all.
    NoRoom,
}

/// When something was stored, in ms since 1970, and when it was read, in ms of this node's clock.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// By the server's clock.
    pub unix_ms: u64,
    /// By ours.
    pub now_ms: u64,
}

impl Identities {
    /// Whether a publish came before.
    pub fn find(&self, identity: &Identity, now_ms: u64, budget: &Budget) -> Found {
        match self.held.get(&identity.id).filter(|held| !self.is_old(held, now_ms)) {
            Some(Held { place, request, .. }) => {
                let is_same =
                    *request == 0 || identity.request == 0 || *request == identity.request;
                if is_same { Found::Repeat(*place) } else { Found::OtherRequest(*place) }
            }
            None if self.blind_until_ms > now_ms || budget.is_spent() => Found::NoRoom,
            None => Found::New,
        }
    }

    /// Remembers what was read. An identity that is remembered already keeps its place.
    pub fn remember(
        &mut self,
        identity: &Identity,
        place: Position,
        Times { unix_ms, now_ms }: Times,
        budget: &Budget,
    ) {
        self.newest_unix_ms = self.newest_unix_ms.max(unix_ms);
        self.trim(now_ms, budget);
        let kept_ms = u64::from(identity.kept_ms);
        if self.held.get(&identity.id).is_some_and(|held| !self.is_old(held, now_ms)) {
            return;
        }
        if budget.is_spent() {
            self.blind_until_ms = self.blind_until_ms.max(now_ms + kept_ms);
            return;
        }
        while self.order.len() >= IDS_MAX {
            self.forget_oldest(budget);
        }
        let (until_ms, until_unix_ms) = (now_ms + kept_ms, unix_ms + kept_ms);
        let held = Held { place, request: identity.request, until_ms, until_unix_ms };
        self.held.insert(identity.id, held);
        self.order.push_back((place.seq, identity.id));
        budget.change_bytes(0, ID_BYTES);
    }

    /// Forgets what is too old.
    pub fn trim(&mut self, now_ms: u64, budget: &Budget) {
        while let Some((seq, id)) = self.order.front() {
            let held = self.held.get(id).filter(|held| held.place.seq == *seq);
            if held.is_some_and(|held| !self.is_old(held, now_ms)) {
                break;
            }
            self.forget_oldest(budget);
        }
        if self.order.is_empty() {
            (self.held, self.order) = Default::default();
        }
    }

    /// Forgets everything: the numbering begins anew.
    pub fn clear(&mut self, budget: &Budget) {
        budget.change_bytes(self.order.len() as u64 * ID_BYTES, 0);
        *self = Self::default();
    }

    /// Whether there is nothing to be known.
    pub fn is_empty(&self, now_ms: u64) -> bool {
        self.order.is_empty() && self.blind_until_ms <= now_ms
    }

    fn is_old(&self, held: &Held, now_ms: u64) -> bool {
        held.until_ms <= now_ms || held.until_unix_ms <= self.newest_unix_ms
    }

    fn forget_oldest(&mut self, budget: &Budget) {
        let Some((seq, id)) = self.order.pop_front() else { return };
        // It may have come again since, and have another place.
        if self.held.get(&id).is_some_and(|held| held.place.seq == seq) {
            self.held.remove(&id);
        }
        budget.change_bytes(ID_BYTES, 0);
    }
}

#[cfg(test)]
mod tests {
    use broker_proto::command::Epoch;

    use super::*;

    const MINUTE: u64 = 60_000;

    fn identity(number: u64, request: u64) -> Identity {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&number.to_be_bytes());
        Identity { id, request, kept_ms: MINUTE as u32 }
    }

    fn place(seq: u64) -> Position {
        Position { epoch: Epoch::new(7), seq }
    }

    fn live(now_ms: u64) -> Times {
        Times { unix_ms: 1_000_000 + now_ms, now_ms }
    }

    #[test]
    fn a_retry_finds_the_place_of_the_first_until_that_is_too_long_ago() {
        let (mut ids, budget) = (Identities::default(), Budget::new(1_000_000));
        ids.remember(&identity(1, 0), place(1), live(0), &budget);
        // What a stranger writes does not take its place.
        ids.remember(&identity(1, 0), place(2), live(1), &budget);
        let find = |ids: &Identities, now_ms| ids.find(&identity(1, 0), now_ms, &budget);
        assert_eq!(find(&ids, MINUTE - 1), Found::Repeat(place(1)));
        assert_eq!(find(&ids, MINUTE), Found::New);
        ids.remember(&identity(1, 0), place(9), live(MINUTE), &budget);
        assert_eq!(find(&ids, MINUTE + 1), Found::Repeat(place(9)));
        ids.trim(2 * MINUTE, &budget);
        assert_eq!((ids.is_empty(2 * MINUTE), budget.bytes()), (true, 0));
    }

    #[test]
    fn what_was_old_when_it_was_read_is_forgotten_with_the_next_that_is_newer() {
        let (mut ids, budget) = (Identities::default(), Budget::new(1_000_000));
        let at = |unix_ms| Times { unix_ms, now_ms: 5 };
        ids.remember(&identity(1, 0), place(1), at(10 * MINUTE), &budget);
        ids.remember(&identity(2, 0), place(2), at(11 * MINUTE - 1), &budget);
        assert_eq!(ids.find(&identity(1, 0), 5, &budget), Found::Repeat(place(1)));
        ids.remember(&identity(3, 0), place(3), at(11 * MINUTE), &budget);
        assert_eq!(ids.find(&identity(1, 0), 5, &budget), Found::New);
        assert_eq!(ids.find(&identity(2, 0), 5, &budget), Found::Repeat(place(2)));
        assert_eq!(budget.bytes(), 2 * ID_BYTES);
    }

    #[test]
    fn another_request_is_told_from_the_same_and_one_without_a_digest_fits_any() {
        let (mut ids, budget) = (Identities::default(), Budget::new(1_000_000));
        ids.remember(&identity(1, 5), place(1), live(0), &budget);
        let find = |request| ids.find(&identity(1, request), 0, &budget);
        assert_eq!(find(5), Found::Repeat(place(1)));
        assert_eq!(find(0), Found::Repeat(place(1)));
        assert_eq!(find(6), Found::OtherRequest(place(1)));
    }

    #[test]
    fn they_are_bounded_in_number_and_counted() {
        let (mut ids, budget) = (Identities::default(), Budget::new(u64::MAX / 2));
        for number in 0..=IDS_MAX as u64 {
            ids.remember(&identity(number, 0), place(number + 1), live(0), &budget);
        }
        assert_eq!(budget.bytes(), IDS_MAX as u64 * ID_BYTES);
        assert_eq!(ids.find(&identity(0, 0), 0, &budget), Found::New, "the oldest is forgotten");
        assert_eq!(ids.find(&identity(1, 0), 0, &budget), Found::Repeat(place(2)));
        ids.clear(&budget);
        assert_eq!((ids.is_empty(0), budget.bytes()), (true, 0));
    }

    #[test]
    fn where_there_is_no_room_nothing_is_said_to_be_new_until_it_would_have_been_forgotten() {
        let (mut ids, budget) = (Identities::default(), Budget::new(ID_BYTES - 1));
        ids.remember(&identity(1, 0), place(1), live(0), &budget);
        ids.remember(&identity(2, 0), place(2), live(10), &budget);
        assert_eq!(ids.find(&identity(1, 0), 20, &budget), Found::Repeat(place(1)));
        assert_eq!(ids.find(&identity(2, 0), 20, &budget), Found::NoRoom);
        ids.trim(MINUTE, &budget);
        assert_eq!(budget.bytes(), 0, "there is room again");
        assert_eq!(ids.find(&identity(2, 0), MINUTE, &budget), Found::NoRoom);
        assert!(!ids.is_empty(MINUTE));
        assert_eq!(ids.find(&identity(2, 0), MINUTE + 10, &budget), Found::New);
    }
}
