//! A client's end of the wire: what waits for it, and what it has read of it. Stands in for the
//! worker's flush and the kernel's buffer.

use std::sync::Arc;

use broker::hub::backlog::{Backlog, Waiting};
use broker::hub::message::Message;
use broker::hub::outbox::{Frame, FrameId, Outbox};
use broker::hub::protocol::Protocol;

pub(crate) struct Reader {
    backlog: Backlog,
    bytes: Vec<u8>,
    /// It reads nothing at the moment.
    pub(crate) is_stalled: bool,
}

impl Default for Reader {
    fn default() -> Self {
        Self { backlog: Backlog::new(Protocol::Json), bytes: Vec::new(), is_stalled: false }
    }
}

impl Reader {
    pub(crate) fn push(&mut self, frame: &Frame, outbox: &Outbox, id: FrameId) {
        let waiting = match frame {
            Frame::Shared(message) => Waiting::Shared(message.clone()),
            Frame::Own(_) => Waiting::Own(outbox.bytes_of(id, Protocol::Json).into()),
        };
        self.backlog.push(waiting, 0);
    }

    /// Messages and bytes that wait.
    pub(crate) fn waiting(&self) -> (u32, u64) {
        (self.backlog.messages(), self.backlog.bytes())
    }

    /// Reads up to `length` bytes; what is left then, or None if nothing was read.
    pub(crate) fn read(&mut self, length: usize) -> Option<(u32, u64)> {
        if self.is_stalled || self.backlog.is_empty() {
            return None;
        }
        let mut read = Vec::new();
        for slice in self.backlog.slices() {
            read.extend_from_slice(&slice[..slice.len().min(length - read.len())]);
            if read.len() == length {
                break;
            }
        }
        self.backlog.advance(read.len());
        self.bytes.extend_from_slice(&read);
        Some(self.waiting())
    }

    pub(crate) fn take_back(&mut self, may_go: impl Fn(&Message) -> bool) -> Vec<Arc<Message>> {
        self.backlog.take_messages(may_go)
    }

    /// The texts of the frames that were read whole.
    pub(crate) fn take_messages(&mut self) -> Vec<String> {
        let mut texts = Vec::new();
        let mut at = 0;
        while let Some((start, end)) = frame_at(&self.bytes[at..]) {
            let text = self.bytes[at + start..at + end].to_vec();
            texts.push(String::from_utf8(text).expect("text frames are UTF-8"));
            at += end;
        }
        self.bytes.drain(..at);
        texts
    }
}

/// Where the payload of a whole server frame lies.
fn frame_at(bytes: &[u8]) -> Option<(usize, usize)> {
    let (start, length) = match *bytes {
        [0x81, 126, high, low, ..] => (4, usize::from(u16::from_be_bytes([high, low]))),
        [0x81, length @ 0..126, ..] => (2, usize::from(length)),
        [0x81, 126, ..] | [0x81] | [] => return None,
        _ => panic!("no text frame: {bytes:?}"),
    };
    (bytes.len() >= start + length).then_some((start, start + length))
}
