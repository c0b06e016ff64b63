//! The outbox of a turn: what this turn of the loop sends to whom, until it is flushed.
//!
//! A session's pending frames are one number: a node in a tree that begins anew each turn. The
//! path from the root to the node is the list of frames. Appending the same frame to the same
//! list gives the same node, so sessions with equal lists have equal numbers, and whoever flushes
//! can reuse the bytes it staged for the one before. Appending costs a look at one node, and
//! allocates only for a list that no session had before.
//!
//! Knows nothing of sockets: `worker::flush` takes what is here to them.

use std::ops::Range;
use std::sync::Arc;

use broker_proto::ws::Opcode;

use super::message::Message;
use super::protocol::Protocol;

/// Private bytes kept from turn to turn; what a burst needed above it is given back.
const OWN_BYTES_KEPT: usize = 256 * 1024;
/// Nodes kept likewise.
const NODES_KEPT: usize = 16 * 1024;

/// A list of pending frames. Lists of different protocols are never equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeId(u32);

/// The frames of one turn and who gets which.
#[derive(Debug)]
pub struct Outbox {
    frames: Vec<Frame>,
    own: Vec<u8>,
    nodes: Vec<Node>,
    touched: Vec<u32>,
    bytes: usize,
}

/// A frame of this turn.
#[derive(Clone, Debug)]
pub enum Frame {
    /// A message for many.
    Shared(Arc<Message>),
    /// An answer or a control frame for one session: its place among the private bytes.
    Own(Range<usize>),
}

/// A frame of this turn, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameId(u32);

#[derive(Clone, Copy, Debug)]
struct Node {
    parent: u32,
    /// The last frame of the list; `NONE` in a root.
    frame: u32,
    /// The list that was made last by appending to this one, and the frame it was made with.
    child: u32,
    child_frame: u32,
}

const NONE: u32 = u32::MAX;
const ROOT: Node = Node { parent: NONE, frame: NONE, child: NONE, child_frame: NONE };
const ROOTS: usize = 4;

impl NodeId {
    /// The empty list of sessions that speak `protocol`.
    pub fn root(protocol: Protocol) -> Self {
        Self(protocol as u32)
    }

    fn is_root(self) -> bool {
        self.0 < ROOTS as u32
    }
}

impl Outbox {
    /// An outbox with nothing in it.
    pub fn new() -> Self {
        Self {
            frames: Vec::new(),
            own: Vec::new(),
            nodes: vec![ROOT; ROOTS],
            touched: Vec::new(),
            bytes: 0,
        }
    }

    /// Takes a message into the turn, to be appended to the lists of its subscribers.
    pub fn add_shared(&mut self, message: Arc<Message>) -> FrameId {
        self.bytes += message.held_bytes();
        self.add(Frame::Shared(message))
    }

    /// Encodes a frame for one session.
    pub fn add_own(&mut self, protocol: Protocol, opcode: Opcode, payload: &[u8]) -> FrameId {
        let start = self.own.len();
        protocol.encode_own(&mut self.own, opcode, payload);
        self.bytes += self.own.len() - start;
        self.add(Frame::Own(start..self.own.len()))
    }

    /// Takes bytes for one session as they are: the answer to its handshake.
    pub fn add_raw(&mut self, bytes: &[u8]) -> FrameId {
        let start = self.own.len();
        self.own.extend_from_slice(bytes);
        self.bytes += bytes.len();
        self.add(Frame::Own(start..self.own.len()))
    }

    /// The list `pending` with `frame` behind it. `slot` is whose list it is.
    #[inline]
    pub fn append(&mut self, slot: u32, pending: NodeId, frame: FrameId) -> NodeId {
        if pending.is_root() {
            self.touched.push(slot);
        }
        let parent = &mut self.nodes[pending.0 as usize];
        if parent.child_frame == frame.0 {
            return NodeId(parent.child);
        }
        let child = self.nodes.len() as u32;
        let parent = &mut self.nodes[pending.0 as usize];
        parent.child = child;
        parent.child_frame = frame.0;
        self.nodes.push(Node { parent: pending.0, frame: frame.0, child: NONE, child_frame: NONE });
        NodeId(child)
    }

    /// Whether `frame` is the last of the list: it was appended already.
    #[inline]
    pub fn ends_with(&self, pending: NodeId, frame: FrameId) -> bool {
        self.nodes[pending.0 as usize].frame == frame.0
    }

    /// Bytes of all frames of this turn.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Moves out the slots with something pending, each once unless its slot changed hands.
    pub fn take_touched(&mut self, into: &mut Vec<u32>) {
        into.clear();
        std::mem::swap(into, &mut self.touched);
    }

    /// The frames of a list, first to last, into `into`. An empty list gives nothing.
    pub fn list(&self, pending: NodeId, into: &mut Vec<FrameId>) {
        into.clear();
        let mut at = pending;
        while !at.is_root() {
            let node = self.nodes[at.0 as usize];
            into.push(FrameId(node.frame));
            at = NodeId(node.parent);
        }
        into.reverse();
    }

    /// A frame of this turn.
    pub fn frame(&self, frame: FrameId) -> &Frame {
        &self.frames[frame.0 as usize]
    }

    /// The bytes of a frame as they go out to a session that speaks `protocol`.
    pub fn bytes_of(&self, frame: FrameId, protocol: Protocol) -> &[u8] {
        match self.frame(frame) {
            Frame::Shared(message) => message.frame(protocol),
            Frame::Own(range) => &self.own[range.clone()],
        }
    }

    /// Ends the turn: everything was flushed.
    pub fn clear(&mut self) {
        debug_assert!(self.touched.is_empty(), "flushed before it is cleared");
        self.frames.clear();
        self.own.clear();
        self.own.shrink_to(OWN_BYTES_KEPT);
        self.nodes.truncate(ROOTS);
        self.nodes.fill(ROOT);
        self.nodes.shrink_to(NODES_KEPT);
        self.bytes = 0;
    }

    fn add(&mut self, frame: Frame) -> FrameId {
        self.frames.push(frame);
        FrameId(self.frames.len() as u32 - 1)
    }
}

impl Default for Outbox {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_lists_are_equal_nodes_and_other_lists_are_not() {
        let mut outbox = Outbox::new();
        let first = outbox.add_own(Protocol::Json, Opcode::Text, b"1");
        let second = outbox.add_own(Protocol::Json, Opcode::Text, b"2");
        let root = NodeId::root(Protocol::Json);
        let one = outbox.append(7, root, first);
        let other = outbox.append(8, root, first);
        assert_eq!(one, other);
        let both = outbox.append(7, one, second);
        assert_ne!(both, other);
        assert_eq!(both, outbox.append(8, other, second));
        let mut list = Vec::new();
        outbox.list(both, &mut list);
        assert_eq!(list, [first, second]);
        assert_eq!(outbox.bytes_of(second, Protocol::Json), b"\x81\x012");
        assert!(outbox.ends_with(both, second) && !outbox.ends_with(one, second));
        let mut touched = Vec::new();
        outbox.take_touched(&mut touched);
        assert_eq!(touched, [7, 8]);
    }

    #[test]
    fn lists_of_two_protocols_differ() {
        let mut outbox = Outbox::new();
        let frame = outbox.add_own(Protocol::Json, Opcode::Text, b"1");
        let json = outbox.append(0, NodeId::root(Protocol::Json), frame);
        let bin = outbox.append(1, NodeId::root(Protocol::Bin), frame);
        assert_ne!(json, bin);
    }
}
