//! Bytes in, messages and control frames out, however the bytes were split (RFC 6455 §5).
//!
//! A frame that lies whole in the input is unmasked in place and borrowed: no copy and no
//! allocation. Only what is incomplete is kept, boxed. It never answers, pings or closes by
//! itself; the worker and the load generator do, from what it reports.

use std::ops::Range;

use super::assembly::{Partial, SplitHeader, Stage};
use super::header::{Expected, Header};
use super::{Event, Opcode, ProtocolError, Role};

/// Decodes what one peer sends.
///
/// Call [`decode`](Self::decode) until it reports no event; the whole input is consumed then.
///
/// ```
/// use broker_proto::ws::{Decoder, Event, Role};
///
/// // RFC 6455 §5.7: a masked "Hello", then an empty ping.
/// let mut input = *b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58\x89\x80\0\0\0\0";
/// let mut decoder = Decoder::new(Role::Server, 65_536);
/// let (mut at, mut seen) = (0, Vec::new());
/// loop {
///     let (used, event) = decoder.decode(&mut input[at..])?;
///     at += used;
///     match event {
///         Some(event) => seen.push(format!("{event:?}")),
///         None => break,
///     }
/// }
/// assert_eq!(seen, ["Text(\"Hello\")", "Ping([])"]);
/// # Ok::<(), broker_proto::ws::ProtocolError>(())
/// ```
pub struct Decoder {
    partial: Option<Box<Partial>>,
    message_bytes_max: u32,
    role: Role,
    /// A close frame or an error came: nothing after it counts (RFC 6455 §5.5.1, §7.1.7).
    ended: bool,
}

/// Where the payload of a finished frame or message lies.
enum Found {
    Input(Opcode, Range<usize>),
    Held(Opcode),
}

impl Decoder {
    /// A decoder of what the peer of `role` sends.
    ///
    /// `message_bytes_max` is the longest message, all fragments together; a longer one is an
    /// error on the header that announces it. Control frames do not count.
    #[must_use]
    pub const fn new(role: Role, message_bytes_max: u32) -> Self {
        Self { partial: None, message_bytes_max, role, ended: false }
    }

    /// Consumes from the front of `input`. Returns how many bytes were used and at most one event;
    /// with no event, all of `input` was used. `input` may be of any length and split anywhere.
    ///
    /// The payload in `input` is unmasked in place. A message that came in pieces is held until
    /// the next call. After a close frame or an error every byte is consumed and ignored.
    ///
    /// # Errors
    ///
    /// On the first byte that breaks RFC 6455 or passes the message limit, also inside an
    /// incomplete frame; only a close payload is looked at when it is whole. Which error it is does
    /// not depend on how the input was split.
    #[inline]
    pub fn decode<'a>(
        &'a mut self,
        input: &'a mut [u8],
    ) -> Result<(usize, Option<Event<'a>>), ProtocolError> {
        if self.partial.is_some() {
            self.release_spent();
        }
        if self.ended {
            return Ok((input.len(), None));
        }
        let mut at = 0;
        while at < input.len() {
            let (used, found) = match self.step(&mut input[at..]) {
                Ok(step) => step,
                Err(error) => {
                    self.end();
                    return Err(error);
                }
            };
            if let Some(found) = found {
                let event = self.report(found, &input[at..at + used])?;
                return Ok((at + used, Some(event)));
            }
            at += used;
        }
        Ok((at, None))
    }

    /// Whether a frame or a message has begun and not ended. Such a peer owes us bytes, so the
    /// caller can hold it to a deadline.
    #[must_use]
    pub fn is_mid_message(&self) -> bool {
        self.partial.as_ref().is_some_and(|partial| !partial.is_spent())
    }

    /// Heap bytes held for what is incomplete, or was delivered by the last call: 0 when idle, and
    /// never above twice what was received of the message and a few hundred.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| partial.held_bytes())
    }

    /// The limit given to [`new`](Self::new), in bytes.
    #[must_use]
    pub const fn message_bytes_max(&self) -> u32 {
        self.message_bytes_max
    }

    /// Moves on by one frame, or by what there is of it.
    #[inline]
    fn step(&mut self, input: &mut [u8]) -> Result<(usize, Option<Found>), ProtocolError> {
        match self.partial.as_deref().map(|partial| &partial.stage) {
            None | Some(Stage::Boundary) => self.step_frame(input),
            Some(&Stage::Header(split)) => self.step_header(split, input),
            Some(Stage::Payload(..)) => self.step_payload(input),
        }
    }

    /// At the start of a frame.
    #[inline]
    fn step_frame(&mut self, input: &mut [u8]) -> Result<(usize, Option<Found>), ProtocolError> {
        let Some((header, start)) = Header::parse(input, &self.expected())? else {
            let mut split = SplitHeader::default();
            split.extend(input);
            self.partial_mut().stage = Stage::Header(split);
            return Ok((input.len(), None));
        };
        let whole = input.len() - start >= header.payload_bytes;
        if !whole || !header.is_standalone() {
            return self.start_frame(header, start, input);
        }
        let end = start + header.payload_bytes;
        if let Some(key) = header.key {
            super::mask::apply(key, 0, &mut input[start..end]);
        }
        Ok((end, Some(Found::Input(header.opcode, start..end))))
    }

    /// Inside a header.
    fn step_header(
        &mut self,
        mut split: SplitHeader,
        input: &mut [u8],
    ) -> Result<(usize, Option<Found>), ProtocolError> {
        let before = split.as_slice().len();
        split.extend(input);
        match Header::parse(split.as_slice(), &self.expected())? {
            Some((header, length)) => self.start_frame(header, length - before, input),
            None => {
                self.partial_mut().stage = Stage::Header(split);
                Ok((input.len(), None))
            }
        }
    }

    /// Inside a payload.
    fn step_payload(&mut self, input: &mut [u8]) -> Result<(usize, Option<Found>), ProtocolError> {
        let message_bytes_max = self.message_bytes_max;
        let (used, done) = self.partial_mut().take_payload(input, message_bytes_max)?;
        Ok((used, done.map(Found::Held)))
    }

    /// The header ends at `start`. Goes on at once, as an empty payload needs no further byte.
    fn start_frame(
        &mut self,
        header: Header,
        start: usize,
        input: &mut [u8],
    ) -> Result<(usize, Option<Found>), ProtocolError> {
        self.partial_mut().start_frame(header);
        let (used, found) = self.step_payload(&mut input[start..])?;
        Ok((start + used, found))
    }

    /// Makes the event of a finished payload. A close frame or an error ends the decoder.
    #[inline]
    fn report<'a>(&'a mut self, found: Found, frame: &'a [u8]) -> Result<Event<'a>, ProtocolError> {
        match found {
            Found::Input(opcode, payload) => {
                let event = Event::from_payload(opcode, &frame[payload]);
                if opcode == Opcode::Close || event.is_err() {
                    self.end();
                }
                event
            }
            Found::Held(opcode) => {
                // What is held was checked when it was completed, so this cannot fail. A close
                // payload must outlive this call; the message it cut short need not.
                if opcode == Opcode::Close {
                    self.ended = true;
                    self.partial_mut().message = None;
                }
                Event::from_payload(opcode, self.held_payload(opcode))
            }
        }
    }

    fn held_payload(&self, opcode: Opcode) -> &[u8] {
        match &self.partial {
            Some(partial) if opcode.is_control() => partial.control.as_slice(),
            Some(partial) => partial.message.as_ref().map_or(&[], |message| message.as_slice()),
            None => &[],
        }
    }

    #[inline]
    fn expected(&self) -> Expected {
        let message = self.partial.as_ref().and_then(|partial| partial.message.as_ref());
        Expected {
            role: self.role,
            assembled: message.map(|message| message.as_slice().len()),
            message_bytes_max: self.message_bytes_max,
        }
    }

    fn partial_mut(&mut self) -> &mut Partial {
        self.partial.get_or_insert_default()
    }

    #[cold]
    fn end(&mut self) {
        self.ended = true;
        self.partial = None;
    }

    #[cold]
    fn release_spent(&mut self) {
        if self.ended || self.partial.as_ref().is_some_and(|partial| partial.is_spent()) {
            self.partial = None;
        }
    }
}

#[cfg(test)]
mod tests;
