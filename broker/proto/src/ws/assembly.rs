//! What is kept of a frame or a message that has not come whole: the bytes of a split header, the
//! payload of a split control frame, and one flat buffer for the data message.
//!
//! The buffer grows with what was received, never from the length a header claims, and UTF-8 is
//! checked as it comes. Only the decoder calls it, which boxes it so that an idle connection pays
//! nothing.

use super::header::{CONTROL_BYTES_MAX, HEADER_BYTES_MAX, Header};
use super::{CloseFrame, Opcode, ProtocolError, mask};

/// The first allocation of a message's buffer, unless the message is known to be shorter.
const MESSAGE_BYTES_MIN: usize = 64;

/// How far the frame at hand has come.
#[derive(Default)]
pub(super) enum Stage {
    /// Between two frames.
    #[default]
    Boundary,
    /// The header is incomplete.
    Header(SplitHeader),
    /// The header is complete, the payload is not: fewer bytes were received than it says.
    Payload(Header, usize),
}

/// Everything that outlives one input.
#[derive(Default)]
pub(super) struct Partial {
    pub(super) stage: Stage,
    pub(super) control: ControlPayload,
    pub(super) message: Option<Message>,
}

impl Partial {
    /// Nothing is expected any more: all that is held was delivered.
    pub(super) fn is_spent(&self) -> bool {
        matches!(self.stage, Stage::Boundary) && self.message.as_ref().is_none_or(|m| m.complete)
    }

    /// Heap bytes behind this state, itself included.
    pub(super) fn held_bytes(&self) -> usize {
        size_of::<Self>() + self.message.as_ref().map_or(0, |message| message.bytes.capacity())
    }

    /// Begins the frame of a header that was just read.
    pub(super) fn start_frame(&mut self, header: Header) {
        if header.opcode.is_control() {
            self.control.length = 0;
        } else if header.opcode != Opcode::Continuation {
            self.message = Some(Message::new(header.opcode, header.is_compressed));
        }
        self.stage = Stage::Payload(header, 0);
    }

    /// Takes payload from the front of `input`, where the frame has already come to `received`
    /// bytes. Returns how many bytes were used, and the opcode of what this completed.
    pub(super) fn take_payload(
        &mut self,
        input: &mut [u8],
        message_bytes_max: u32,
    ) -> Result<(usize, Option<Opcode>), ProtocolError> {
        let Stage::Payload(header, received) = self.stage else { return Ok((0, None)) };
        let left = header.payload_bytes - received;
        let used = left.min(input.len());
        let payload = &mut input[..used];
        if let Some(key) = header.key {
            mask::apply(key, received, payload);
        }
        let done = used == left;
        self.stage = if done { Stage::Boundary } else { Stage::Payload(header, received + used) };

        if header.opcode.is_control() {
            self.control.append(payload);
            if done && header.opcode == Opcode::Close {
                // Checked here too, where an error can still release all that is held.
                CloseFrame::from_payload(self.control.as_slice())?;
            }
            return Ok((used, done.then_some(header.opcode)));
        }
        let message = self.message.as_mut().expect("a data frame starts or continues a message");
        let ceiling = match header.fin {
            true => message.bytes.len() + left,
            false => message_bytes_max as usize,
        };
        message.append(payload, ceiling)?;
        if done && header.fin {
            message.finish()?;
            return Ok((used, Some(message.opcode)));
        }
        Ok((used, None))
    }
}

/// A header that came in pieces. Never holds a whole one.
#[derive(Clone, Copy, Default)]
pub(super) struct SplitHeader {
    bytes: [u8; HEADER_BYTES_MAX],
    length: u8,
}

impl SplitHeader {
    /// Adds bytes from the front of `input`, as many as the longest header still has room for.
    pub(super) fn extend(&mut self, input: &[u8]) {
        let room = &mut self.bytes[usize::from(self.length)..];
        let added = room.len().min(input.len());
        room[..added].copy_from_slice(&input[..added]);
        self.length += added as u8;
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// The payload of a control frame that came in pieces.
pub(super) struct ControlPayload {
    bytes: [u8; CONTROL_BYTES_MAX],
    length: u8,
}

impl Default for ControlPayload {
    fn default() -> Self {
        Self { bytes: [0; CONTROL_BYTES_MAX], length: 0 }
    }
}

impl ControlPayload {
    fn append(&mut self, payload: &[u8]) {
        let start = usize::from(self.length);
        self.bytes[start..start + payload.len()].copy_from_slice(payload);
        self.length += payload.len() as u8;
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// A data message that came in several frames or several inputs.
///
/// ```text
/// bytes  |  valid UTF-8  | start of a character |
///        0           validated             bytes.len()      validated <= bytes.len()
/// ```
pub(super) struct Message {
    opcode: Opcode,
    /// Then `bytes` are compressed, and what they say is not known yet.
    is_compressed: bool,
    bytes: Vec<u8>,
    /// Up to here the text is known to be UTF-8, on a character boundary. Unused for binary.
    validated: usize,
    /// Delivered with the last event; to be released on the next call.
    complete: bool,
}

impl Message {
    fn new(opcode: Opcode, is_compressed: bool) -> Self {
        Self { opcode, is_compressed, bytes: Vec::new(), validated: 0, complete: false }
    }

    pub(super) fn is_compressed(&self) -> bool {
        self.is_compressed
    }

    /// Whether the bytes must be UTF-8 as they are.
    fn is_text(&self) -> bool {
        self.opcode == Opcode::Text && !self.is_compressed
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// Adds unmasked payload. The message will not be longer than `ceiling` bytes.
    fn append(&mut self, payload: &[u8], ceiling: usize) -> Result<(), ProtocolError> {
        self.reserve(payload.len(), ceiling);
        self.bytes.extend_from_slice(payload);
        if self.is_text() {
            self.validate()?;
        }
        self.check();
        Ok(())
    }

    /// Doubles the buffer, so that appending stays linear, but never beyond `ceiling`.
    fn reserve(&mut self, added: usize, ceiling: usize) {
        let needed = self.bytes.len() + added;
        let capacity = self.bytes.capacity();
        if needed > capacity {
            let grown = (capacity * 2).max(MESSAGE_BYTES_MIN).min(ceiling).max(needed);
            self.bytes.reserve_exact(grown - self.bytes.len());
        }
    }

    /// Looks only at what is new and at the at most three bytes of a split character before it.
    fn validate(&mut self) -> Result<(), ProtocolError> {
        match simdutf8::compat::from_utf8(&self.bytes[self.validated..]) {
            Ok(_) => self.validated = self.bytes.len(),
            Err(error) => {
                self.validated += error.valid_up_to();
                if error.error_len().is_some() {
                    return Err(ProtocolError::InvalidText(self.validated));
                }
            }
        }
        Ok(())
    }

    /// The last byte has come: a character must not be left open.
    fn finish(&mut self) -> Result<(), ProtocolError> {
        if self.is_text() && self.validated != self.bytes.len() {
            return Err(ProtocolError::InvalidText(self.validated));
        }
        self.complete = true;
        Ok(())
    }

    fn check(&self) {
        debug_assert!(self.validated <= self.bytes.len());
        debug_assert!(!self.is_text() || self.bytes.len() - self.validated < 4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buffer_is_never_more_than_twice_what_was_received() {
        let mut message = Message::new(Opcode::Binary, false);
        for received in 1..=10_000 {
            message.append(b"x", 1 << 20).expect("binary is not checked");
            let capacity = message.bytes.capacity();
            assert!(capacity <= 2 * received.max(MESSAGE_BYTES_MIN / 2), "{capacity}/{received}");
        }
    }

    #[test]
    fn the_buffer_ends_exactly_at_a_known_length() {
        let mut message = Message::new(Opcode::Binary, false);
        for _ in 0..1000 {
            message.append(b"x", 1000).expect("binary is not checked");
        }
        assert_eq!(message.bytes.capacity(), 1000);
    }

    #[test]
    fn a_split_character_is_waited_for_and_a_wrong_byte_is_not() {
        let mut message = Message::new(Opcode::Text, false);
        assert_eq!(message.append(b"\xf4", 9), Ok(()));
        assert_eq!(message.append(b"\x8f\xbf", 9), Ok(()));
        assert_eq!(message.append(b"\xbf", 9), Ok(()));
        assert_eq!(message.validated, 4);
        assert_eq!(message.append(b"\xf4", 9), Ok(()));
        assert_eq!(message.append(b"\x90", 9), Err(ProtocolError::InvalidText(4)));
    }
}
