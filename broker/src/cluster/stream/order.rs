//! One topic's way into the stream: what waits to be published, the one record that is on its way,
//! and what is known of those that are there.
//!
//! A record is offered for the place behind the newest one that this node has seen, and the server
//! stores it only if that is still the newest: of all records that are offered for one place, at
//! most one is stored. What was published is only ever what the node's reader has seen. So whoever
//! has a record stored has seen all before it, and knows of each message in it whether it came before:
//! a publish that is repeated, on whichever nodes, is one message. Decides, and does nothing:
//! [`Sequencer`](super::sequencer::Sequencer) carries it out.

use std::collections::VecDeque;

use broker_proto::command::{Epoch, Position};
use bytes::Bytes;

use super::identities::{Found, Identities, Times};
use super::record::{Draft, Identity, Message, Origin, Record};
use crate::hub::history::Budget;
use batch::Batch;
pub use terms::{Attempt, GivenUp, Limits, Refusal, Repeat, Seen, Stamp, Told};

mod batch;
mod terms;

/// How long an attempt whose fate is unknown rests before it is sent again, in milliseconds.
const RETRY_MS: u64 = 250;
/// How long a record that was not the first is waited for before the server is asked again.
const BEHIND_MS: u64 = 200;
/// Most times that another record may have been first before a publish is given up.
const TRIES_MAX: u32 = 250;

/// One topic, with those who wait for an answer as `P`.
#[derive(Debug)]
pub struct Order<P> {
    /// The newest record in the stream that is known: its number there; 0 for none.
    last: u64,
    /// The newest message that was seen.
    place: Option<Position>,
    /// What is in the stream does not lead to `place`: the next record of this node begins anew.
    begins: bool,
    waiting: VecDeque<Batch<P>>,
    flight: Option<Box<Flight<P>>>,
    /// What retries are known by; nothing is put aside before the first.
    identities: Option<Box<Identities>>,
}

#[derive(Debug)]
struct Flight<P> {
    batch: Batch<P>,
    nonce: u64,
    /// The record behind which it is offered.
    expected: u64,
    stage: Stage,
    /// An attempt under `nonce` may have been stored or may be yet: it is repeated as it is.
    is_unsure: bool,
    tries: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// To be sent.
    Due,
    /// The server has not answered yet.
    Sent,
    /// Another record was first, and the reader has not come to it. Asked again at that time.
    Behind { until_ms: u64 },
    /// It may have been stored. Sent again at that time.
    Unknown { until_ms: u64 },
    /// It was, and the reader has not come to it.
    Stored,
}

impl<P> Default for Order<P> {
    fn default() -> Self {
        Self {
            last: 0,
            place: None,
            begins: false,
            waiting: VecDeque::new(),
            flight: None,
            identities: None,
        }
    }
}

impl<P> Order<P> {
    /// Takes a message to be published until that time; gives it back if it is too long.
    ///
    /// # Errors
    /// No record has room for it.
    pub fn push(
        &mut self,
        waiter: P,
        message: impl FnOnce(&P) -> Message<'_>,
        deadline_ms: u64,
        limits: &Limits,
    ) -> Result<(), P> {
        let message = message(&waiter);
        if Draft::bytes_for(message) > limits.record_bytes_max {
            return Err(waiter);
        }
        let has_room = |batch: &Batch<P>| batch.draft.has_room_for(message, limits.batch_bytes_max);
        if !self.waiting.back().is_some_and(has_room) {
            self.waiting.push_back(Batch::new(deadline_ms));
        }
        if let Some(batch) = self.waiting.back_mut() {
            batch.draft.push(message);
            batch.waiters.push(waiter);
        }
        Ok(())
    }

    /// Whether it has something to send.
    pub fn is_due(&self) -> bool {
        match &self.flight {
            Some(flight) => flight.stage == Stage::Due,
            None => !self.waiting.is_empty(),
        }
    }

    /// Whether nothing waits and nothing is on its way.
    pub fn is_idle(&self) -> bool {
        self.flight.is_none() && self.waiting.is_empty()
    }

    /// What is to be sent, if anything is. What came before is not, nor what may have and can't be
    /// known: `tell` is told.
    pub fn poll_attempt(
        &mut self,
        stamp: Stamp,
        (now_ms, budget): (u64, &Budget),
        mut tell: impl FnMut(P, Told),
    ) -> Option<Attempt> {
        let mut flight = loop {
            let mut flight = match self.flight.take() {
                Some(flight) if flight.stage == Stage::Due => flight,
                Some(flight) => {
                    self.flight = Some(flight);
                    return None;
                }
                None => Box::new(Flight::new(self.waiting.pop_front()?)),
            };
            if flight.is_unsure {
                break flight;
            }
            let later = flight.batch.sift(|it| self.look_up(it, now_ms, budget), &mut tell);
            if let Some(later) = later {
                self.waiting.push_front(later);
            }
            if !flight.batch.is_empty() {
                break flight;
            }
        };
        if !flight.is_unsure {
            // Its numbers were taken by others, or were never given.
            flight.nonce = stamp.origin.nonce;
            flight.expected = self.last;
            let first = self.next_place(stamp.fresh);
            flight.batch.draft.place(first, stamp.origin);
        }
        flight.stage = Stage::Sent;
        let attempt = Attempt {
            record: Bytes::copy_from_slice(flight.batch.draft.as_slice()),
            expected: flight.expected,
            origin: Origin { nonce: flight.nonce, ..stamp.origin },
            messages: flight.batch.draft.count(),
        };
        self.flight = Some(flight);
        Some(attempt)
    }

    /// What is told of a publish that does not go into the stream; none if it does.
    fn look_up(&self, identity: &Identity, now_ms: u64, budget: &Budget) -> Option<Told> {
        let found = match &self.identities {
            Some(identities) => identities.find(identity, now_ms, budget),
            None if budget.is_spent() => Found::NoRoom,
            None => Found::New,
        };
        match found {
            Found::New => None,
            Found::Repeat(place) => Some(Told::Repeat(Repeat::At(place))),
            Found::OtherRequest(place) => Some(Told::Repeat(Repeat::OtherRequest(place))),
            Found::NoRoom => Some(Told::GivenUp(GivenUp::NoRoom)),
        }
    }

    fn next_place(&self, fresh: Epoch) -> Position {
        match self.place {
            Some(place) if !self.begins => Position { seq: place.seq + 1, ..place },
            _ => Position { epoch: fresh, seq: 1 },
        }
    }

    /// The server has stored an attempt.
    pub fn handle_stored(&mut self, nonce: u64) {
        if let Some(flight) = self.flight_of(nonce) {
            flight.stage = Stage::Stored;
        }
    }

    /// The server has not stored it. `read_to` is the record that the reader has come to, of all
    /// topics in the stream. Returns those whose publish is given up.
    pub fn handle_refused(
        &mut self,
        nonce: u64,
        refusal: Refusal,
        (read_to, now_ms): (u64, u64),
    ) -> Option<(Vec<P>, GivenUp)> {
        let flight = self.flight_of(nonce).filter(|flight| flight.stage == Stage::Sent)?;
        flight.tries += 1;
        flight.stage = Stage::Due;
        match refusal {
            _ if flight.tries > TRIES_MAX => return self.give_up(),
            Refusal::Failed if flight.is_unsure => {
                flight.stage = Stage::Unknown { until_ms: now_ms + RETRY_MS };
            }
            Refusal::Failed => return self.give_up(),
            // What was expected is gone from the stream, or what is there was passed by the reader
            // without it being remembered: had it been this attempt, it would have been seen.
            Refusal::Conflict(Some(newest)) if newest < flight.expected || newest <= read_to => {
                flight.is_unsure = false;
                self.last = newest;
                self.begins = true;
            }
            Refusal::Conflict(_) => flight.stage = Stage::Behind { until_ms: now_ms + BEHIND_MS },
        }
        None
    }

    /// Nobody knows what became of an attempt.
    pub fn handle_unknown(&mut self, nonce: u64, now_ms: u64) {
        if let Some(flight) = self.flight_of(nonce).filter(|flight| flight.stage == Stage::Sent) {
            flight.is_unsure = true;
            flight.stage = Stage::Unknown { until_ms: now_ms + RETRY_MS };
        }
    }

    /// The reader has come to a record of the topic.
    pub fn handle_record(
        &mut self,
        (number, record): (u64, &Record<'_>),
        node: u64,
        times: Times,
        budget: &Budget,
    ) -> Seen<P> {
        if number <= self.last {
            return Seen::Old;
        }
        let is_same_epoch = self.place.is_some_and(|place| place.epoch == record.first.epoch);
        let skip = match self.place {
            Some(place) if is_same_epoch => {
                (place.seq + 1).saturating_sub(record.first.seq).min(record.count.into())
            }
            _ => 0,
        };
        self.last = number;
        self.begins = skip > 0;
        if skip < u64::from(record.count) {
            self.place = Some(Position { seq: record.last_seq(), ..record.first });
        }
        if !is_same_epoch {
            self.forget_identities(budget);
        }
        if record.is_named() {
            self.remember(record, skip, times, budget);
        }
        let is_own = |flight: &Flight<P>| {
            record.origin == Origin { node, nonce: flight.nonce }
                && record.count == flight.batch.draft.count()
        };
        if self.flight.as_deref().is_some_and(is_own) && skip == 0 {
            let flight = self.flight.take();
            return Seen::Own(flight.map(|flight| flight.batch.waiters).unwrap_or_default());
        }
        let lost = self.settle();
        Seen::Foreign { skip, lost }
    }

    /// From here on what is in the record and comes again is a repeat.
    fn remember(&mut self, record: &Record<'_>, skip: u64, times: Times, budget: &Budget) {
        let identities = self.identities.get_or_insert_default();
        let messages = (record.first.seq..).zip(record.messages()).skip(skip as usize);
        for (seq, message) in messages {
            if let Some(identity) = message.identity {
                let place = Position { seq, ..record.first };
                identities.remember(&identity, place, times, budget);
            }
        }
    }

    /// Forgets which publishes came too long ago; whether some are remembered.
    pub fn trim(&mut self, now_ms: u64, budget: &Budget) -> bool {
        if let Some(identities) = &mut self.identities {
            identities.trim(now_ms, budget);
            if identities.is_empty(now_ms) {
                self.identities = None;
            }
        }
        self.remembers()
    }

    /// Whether it is remembered of some publishes that they came.
    pub fn remembers(&self) -> bool {
        self.identities.is_some()
    }

    /// Another record stands where that on its way was offered: it was not stored and can't be any
    /// more, unless the server said it was. Then it was dropped before the reader came to it.
    fn settle(&mut self) -> Vec<P> {
        match self.flight.as_deref_mut() {
            Some(flight) if flight.stage == Stage::Stored => {
                self.flight.take().map(|flight| flight.batch.waiters).unwrap_or_default()
            }
            Some(flight) => {
                flight.is_unsure = false;
                flight.stage = Stage::Due;
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    /// The stream has lost its end, or is another one: `number` is its newest record. Whatever is
    /// published next begins a new epoch, for the numbers that were lost may be taken again. What was
    /// lost and comes again is no repeat.
    pub fn handle_truncated(&mut self, number: u64, budget: &Budget) {
        if self.last > number {
            self.last = number;
            self.begins = true;
            self.forget_identities(budget);
        }
    }

    /// No retry gets a place that nobody can look up any more.
    fn forget_identities(&mut self, budget: &Budget) {
        if let Some(mut identities) = self.identities.take() {
            identities.clear(budget);
        }
    }

    /// Looks at the deadlines; hands out those whose publish is given up.
    pub fn handle_time(&mut self, now_ms: u64, mut given_up: impl FnMut(Vec<P>, GivenUp)) {
        if let Some(flight) = self.flight.as_deref_mut() {
            match flight.stage {
                Stage::Behind { until_ms } | Stage::Unknown { until_ms } if until_ms <= now_ms => {
                    flight.stage = Stage::Due;
                }
                _ => {}
            }
            if flight.batch.deadline_ms <= now_ms
                && let Some((waiters, why)) = self.give_up()
            {
                given_up(waiters, why);
            }
        }
        while let Some(batch) = self.waiting.pop_front_if(|batch| batch.deadline_ms <= now_ms) {
            given_up(batch.waiters, GivenUp::NotPublished);
        }
    }

    /// Gives up all that was not sent yet.
    pub fn take_waiting(&mut self) -> Vec<P> {
        self.waiting.drain(..).flat_map(|batch| batch.waiters).collect()
    }

    /// Those who wait for the record on its way wait no more. If it is stored after all, it is
    /// seen like another node's; the next one is offered for the same place, so that only one of
    /// the two can be.
    fn give_up(&mut self) -> Option<(Vec<P>, GivenUp)> {
        let flight = self.flight.take()?;
        let is_refused = matches!(flight.stage, Stage::Due | Stage::Behind { .. });
        let is_certain = is_refused && !flight.is_unsure;
        let why = if is_certain { GivenUp::NotPublished } else { GivenUp::Unsure };
        Some((flight.batch.waiters, why))
    }

    fn flight_of(&mut self, nonce: u64) -> Option<&mut Flight<P>> {
        self.flight.as_deref_mut().filter(|flight| flight.nonce == nonce)
    }
}

impl<P> Flight<P> {
    fn new(batch: Batch<P>) -> Self {
        Self { batch, nonce: 0, expected: 0, stage: Stage::Due, is_unsure: false, tries: 0 }
    }
}

#[cfg(test)]
mod tests;
