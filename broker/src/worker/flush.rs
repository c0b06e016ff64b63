//! Flushing: what the turn has for each connection goes to its socket in one write. What the
//! kernel does not take becomes the connection's backlog; a backlog over its limit ends it.

use std::sync::atomic::Ordering;

use broker_proto::ws::deflate::WindowBits;

use super::Worker;
use super::codec::Codec;
use super::connection::{Connection, Phase};
use crate::hub::backlog::{Backlog, Waiting};
use crate::hub::outbox::{Frame, FrameId, NodeId, Outbox};
use crate::hub::protocol::Protocol;
use crate::metrics::CloseReason;
use crate::transport::Outcome;

/// Backlog of its own answers at which a connection is no longer read: it must read first.
const OWN_BYTES_MAX: u64 = 64 * 1024;
/// Bytes of a backlog that are offered to the kernel at once.
const BACKLOG_OFFER_BYTES: usize = 256 * 1024;
/// Staging memory that is kept from turn to turn.
const STAGE_BYTES_KEPT: usize = 1024 * 1024;

/// The bytes of the list that was flushed last; connections with an equal list reuse them.
#[derive(Debug, Default)]
pub(super) struct Stage {
    of: Option<NodeId>,
    pub(super) list: Vec<FrameId>,
    bytes: Vec<u8>,
    /// Where in `bytes` the frames of the list end, if some of them may be compressed.
    ends: Vec<usize>,
    /// The window that they were compressed for.
    window: Option<WindowBits>,
}

impl Worker {
    /// Sends what the turn has for every connection it has touched, and ends the turn's outbox.
    pub(super) fn flush(&mut self) {
        self.codec.compress_answers(self.core.hub.shared().directory.may_compress_all());
        let mut touched = std::mem::take(&mut self.touched);
        self.core.hub.outbox.take_touched(&mut touched);
        for &slot in &touched {
            if let Some((pending, protocol)) = self.core.hub.take_pending(slot)
                && !self.plan(slot, pending, protocol)
            {
                self.flush_connection(slot as usize, pending, protocol);
            }
        }
        self.send_planned();
        self.touched = touched;
        self.core.hub.outbox.clear();
        for stage in [&mut self.stage, &mut self.deflated_stage] {
            stage.of = None;
            stage.bytes.shrink_to(STAGE_BYTES_KEPT);
        }
        self.codec.end_turn();
    }

    fn flush_connection(&mut self, slot: usize, pending: NodeId, protocol: Protocol) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let outbox = &self.core.hub.outbox;
        let stages = (&mut self.stage, &mut self.deflated_stage);
        let window = connection.compression.window;
        let stage = staged(stages, &mut self.codec, outbox, (pending, protocol), window);
        if protocol == Protocol::Sse && connection.backlog.is_none() {
            return self.flush_stream(slot);
        }
        if let Some(backlog) = &mut connection.backlog {
            let before = backlog.bytes();
            for at in 0..stage.list.len() {
                backlog.push(stage.waiting(outbox, protocol, at), 0);
            }
            self.settle_backlog(slot, before);
            return;
        }
        let bytes = stage.bytes(outbox, protocol);
        let (length, outcome) = (bytes.len(), connection.socket.write(bytes));
        self.settle_send(slot, (pending, protocol), length, outcome);
    }

    /// What was pending for a connection, `length` bytes, was offered to the kernel.
    pub(super) fn settle_send(
        &mut self,
        slot: usize,
        (pending, protocol): (NodeId, Protocol),
        length: usize,
        outcome: Outcome,
    ) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let counters = &self.core.metrics.workers[self.core.index];
        counters.sends.add(1);
        let sent = match outcome {
            Outcome::Moved(sent) => sent,
            Outcome::WouldBlock => 0,
            Outcome::Ended => return self.remove(slot, CloseReason::Lost),
        };
        counters.bytes_out.add(sent as u64);
        let unsent = connection.socket.unsent();
        if sent < length || unsent > 0 {
            let outbox = &self.core.hub.outbox;
            let stages = (&mut self.stage, &mut self.deflated_stage);
            let window = connection.compression.window;
            let stage = staged(stages, &mut self.codec, outbox, (pending, protocol), window);
            let mut backlog = stage.keep(outbox, protocol, sent);
            backlog.set_sealed(unsent);
            connection.backlog = Some(Box::new(backlog));
            connection.progress = self.now;
            counters.backlogged.add(1);
            self.arm(slot);
            self.settle_backlog(slot, 0);
        } else if matches!(connection.phase, Phase::Finishing) {
            self.finish(slot);
        }
    }

    /// Sends more of a backlog: the socket is writable again.
    pub(super) fn flush_backlog(&mut self, slot: usize) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let Some(backlog) = &mut connection.backlog else {
            connection.socket.flush();
            return;
        };
        let counters = &self.core.metrics.workers[self.core.index];
        let before = backlog.bytes();
        let offer = &mut self.stage.bytes;
        while !backlog.is_empty() {
            backlog.queue_pong();
            offer.clear();
            for slice in backlog.slices() {
                let room = BACKLOG_OFFER_BYTES - offer.len();
                offer.extend_from_slice(&slice[..slice.len().min(room)]);
                if offer.len() == BACKLOG_OFFER_BYTES {
                    break;
                }
            }
            counters.sends.add(1);
            let written = connection.socket.write(offer);
            let unsent = connection.socket.unsent();
            if (unsent as u64) < backlog.sealed() {
                connection.progress = self.now;
            }
            backlog.set_sealed(unsent);
            let sent = match written {
                Outcome::Moved(sent) => sent,
                Outcome::WouldBlock => break,
                Outcome::Ended => {
                    let left = backlog.bytes();
                    self.account_backlog(before, left);
                    return self.remove(slot, CloseReason::Lost);
                }
            };
            counters.bytes_out.add(sent as u64);
            connection.progress = self.now;
            backlog.advance(sent);
            if sent < offer.len() || unsent > 0 {
                break;
            }
        }
        self.follow_stream(slot);
        self.settle_backlog(slot, before);
    }

    /// A backlog had `before` bytes and has changed: accounts for it, ends it when it is empty,
    /// and its connection when it is over a limit.
    pub(super) fn settle_backlog(&mut self, slot: usize, before: u64) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let Some(backlog) = &connection.backlog else { return };
        let (bytes, messages) = (backlog.bytes(), backlog.messages());
        let is_open = connection.is_open();
        let was_choked = connection.choked;
        connection.choked = backlog.own_bytes() > OWN_BYTES_MAX;
        let resumes = was_choked && !connection.choked;
        let is_empty = backlog.is_empty();
        if is_empty {
            connection.backlog = None;
        }
        let is_finished = is_empty && matches!(connection.phase, Phase::Finishing);
        self.account_backlog(before, bytes);
        let steps_down = self.core.hub.handle_backlog(slot as u32, messages, bytes) && is_open;
        if steps_down {
            self.stepping.push(slot);
        }
        if resumes {
            self.read_again(slot);
        }
        if is_empty {
            self.core.counters().backlogged.sub(1);
        }
        if is_finished {
            self.finish(slot);
        } else if is_open && !steps_down && bytes > self.core.config.backlog_bytes_max {
            // One that is closing already grows no more, and its close frame must not be cut.
            self.cut(slot, CloseReason::TooSlow);
        }
        self.shed();
    }

    /// Connections that step down the ladder: what waits for them is taken back, as far as newer
    /// messages may take its place. Who still has too much waiting, or can't be served any more,
    /// is closed.
    pub(super) fn step_down(&mut self) {
        for slot in std::mem::take(&mut self.stepping) {
            let Some(connection) = self.connections.get_mut(slot) else { continue };
            let Some(backlog) = connection.backlog.as_mut() else { continue };
            if !(matches!(connection.phase, Phase::Open) && connection.closing.is_open()) {
                continue;
            }
            let (hub, before) = (&mut self.core.hub, backlog.bytes());
            let taken = backlog.take_messages(hub.may_hold_back(slot as u32));
            let (messages, bytes) = (backlog.messages(), backlog.bytes());
            hub.handle_backlog(slot as u32, messages, bytes);
            self.account_backlog(before, bytes);
            self.core.hub.take_back(slot as u32, &taken);
            if bytes > self.core.config.backlog_bytes_max {
                self.cut(slot, CloseReason::TooSlow);
            }
        }
        for (slot, disconnect) in self.core.hub.take_hopeless() {
            let slot = slot as usize;
            if !self.connections.get(slot).is_some_and(Connection::is_open) {
                continue;
            }
            match self.connections.get(slot).is_some_and(|found| found.backlog.is_some()) {
                true => self.cut(slot, CloseReason::TooSlow),
                false => self.close(slot, &disconnect),
            }
        }
    }

    /// Ends the connections for which most waits while all that waits is too much and what waits
    /// here is more than this worker's share: while the sum is too large, some worker's is. What
    /// the hub has put aside for those that do not keep up waits as well.
    pub(super) fn shed(&mut self) {
        self.account_held_back();
        let max = self.core.config.backlog_total_bytes_max;
        let share = max / self.core.metrics.workers.len() as u64;
        while self.core.metrics.backlog_total.load(Ordering::Relaxed) > max
            && self.waiting_bytes() > share
            && self.end_slowest()
        {}
    }

    /// Bytes that wait here, in backlogs and in the hub.
    pub(super) fn waiting_bytes(&self) -> u64 {
        self.core.counters().backlog_bytes.get() + self.core.hub.held_back_bytes()
    }

    /// Ends the connection for which most waits; false if nothing waits for any.
    pub(super) fn end_slowest(&mut self) -> bool {
        let hub = &self.core.hub;
        let waiting = |connection: &Connection, slot| {
            let backlog = connection.backlog.as_ref().map_or(0, |backlog| backlog.bytes());
            backlog + hub.held_back_of(slot as u32)
        };
        let open = self.connections.iter().filter(|(_, connection)| connection.is_open());
        let most = open.map(|(slot, held)| (waiting(held, slot), slot)).max();
        let Some((_, slot)) = most.filter(|(bytes, _)| *bytes > 0) else { return false };
        match self.connections[slot].backlog.is_some() {
            true => self.cut(slot, CloseReason::Overloaded),
            false => {
                let Some(why) = self.core.hub.overloaded(slot as u32) else { return false };
                self.close(slot, &why);
            }
        }
        self.account_held_back();
        true
    }

    /// What the hub has put aside may have changed.
    pub(super) fn account_held_back(&mut self) {
        let (counters, total) = (self.core.counters(), &self.core.metrics.backlog_total);
        let gauge = &counters.accounts.held_back_bytes;
        let (before, after) = (gauge.get(), self.core.hub.held_back_bytes());
        if before != after {
            gauge.set(after);
            total.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
        }
    }

    /// A backlog that had `before` bytes has `after`.
    pub(super) fn account_backlog(&mut self, before: u64, after: u64) {
        let total = &self.core.metrics.backlog_total;
        let counters = self.core.counters();
        if after >= before {
            counters.backlog_bytes.add(after - before);
            total.fetch_add(after - before, Ordering::Relaxed);
        } else {
            counters.backlog_bytes.sub(before - after);
            total.fetch_sub(before - after, Ordering::Relaxed);
        }
    }
}

/// The stage with the bytes of a list for a connection that may be sent compressed messages, or not.
fn staged<'s>(
    (plain, deflated): (&'s mut Stage, &'s mut Stage),
    codec: &mut Codec,
    outbox: &Outbox,
    (pending, protocol): (NodeId, Protocol),
    window: Option<WindowBits>,
) -> &'s Stage {
    match window {
        None => {
            plain.load(outbox, pending, protocol);
            plain
        }
        Some(window) => {
            deflated.load_deflated(outbox, pending, protocol, window, codec);
            deflated
        }
    }
}

impl Stage {
    /// Makes the list the one whose bytes are at hand.
    fn load(&mut self, outbox: &Outbox, pending: NodeId, protocol: Protocol) {
        if self.of == Some(pending) {
            return;
        }
        self.of = Some(pending);
        outbox.list(pending, &mut self.list);
        self.bytes.clear();
        if self.list.len() > 1 {
            for &frame in &self.list {
                self.bytes.extend_from_slice(outbox.bytes_of(frame, protocol));
            }
        }
    }

    /// Likewise, for connections whose messages are compressed where it pays. Those for many are
    /// compressed for the largest window; who has a smaller one gets them as they are.
    fn load_deflated(
        &mut self,
        outbox: &Outbox,
        pending: NodeId,
        protocol: Protocol,
        window: WindowBits,
        codec: &mut Codec,
    ) {
        if self.of == Some(pending) && self.window == Some(window) {
            return;
        }
        self.of = Some(pending);
        self.window = Some(window);
        outbox.list(pending, &mut self.list);
        self.bytes.clear();
        self.ends.clear();
        for &frame in &self.list {
            let plain = outbox.bytes_of(frame, protocol);
            match outbox.frame(frame) {
                Frame::Shared(message)
                    if window == WindowBits::MAX && message.topic().may_compress() =>
                {
                    let (bytes_min, deflater) = codec.deflater(window);
                    let frame = message.deflate(protocol, bytes_min, deflater).unwrap_or(plain);
                    self.bytes.extend_from_slice(frame);
                }
                Frame::Shared(_) => self.bytes.extend_from_slice(plain),
                Frame::Own(_) => codec.append(window, plain, &mut self.bytes),
            }
            self.ends.push(self.bytes.len());
        }
    }

    /// The bytes of the list; a single frame's need no staging.
    fn bytes<'a>(&'a self, outbox: &'a Outbox, protocol: Protocol) -> &'a [u8] {
        match self.list[..] {
            [frame] if self.ends.is_empty() => outbox.bytes_of(frame, protocol),
            _ => &self.bytes,
        }
    }

    /// The bytes of the frame at this place of the list.
    fn frame<'a>(&'a self, outbox: &'a Outbox, protocol: Protocol, at: usize) -> &'a [u8] {
        match self.ends.get(at) {
            None => outbox.bytes_of(self.list[at], protocol),
            Some(&end) => &self.bytes[at.checked_sub(1).map_or(0, |before| self.ends[before])..end],
        }
    }

    /// The frame at this place of the list, to be sent later.
    fn waiting(&self, outbox: &Outbox, protocol: Protocol, at: usize) -> Waiting {
        let is_compressed = self.window == Some(WindowBits::MAX);
        match outbox.frame(self.list[at]) {
            Frame::Shared(message) if is_compressed && message.deflated(protocol).is_some() => {
                Waiting::Deflated(message.clone())
            }
            Frame::Shared(message) => Waiting::Shared(message.clone()),
            Frame::Own(_) => Waiting::Own(self.frame(outbox, protocol, at).into()),
        }
    }

    /// The frames of the list from this place on, all of which wait.
    pub(super) fn rest(&self, outbox: &Outbox, protocol: Protocol, from: usize) -> Backlog {
        let mut backlog = Backlog::new(protocol);
        for at in from..self.list.len() {
            backlog.push(self.waiting(outbox, protocol, at), 0);
        }
        backlog
    }

    /// What is left of the list when `sent` bytes are out.
    fn keep(&self, outbox: &Outbox, protocol: Protocol, sent: usize) -> Backlog {
        let mut backlog = Backlog::new(protocol);
        let mut out = sent;
        for at in 0..self.list.len() {
            let len = self.frame(outbox, protocol, at).len();
            if out >= len {
                out -= len;
            } else {
                backlog.push(self.waiting(outbox, protocol, at), out);
                out = 0;
            }
        }
        backlog
    }
}
