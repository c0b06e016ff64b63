//! Bytes in, messages and control frames out, however the bytes were split (RFC 6455 §5).
//!
//! A frame that lies whole in the input is unmasked in place and borrowed: no copy and no
//! allocation. Only what is incomplete is kept, boxed. It never answers, pings or closes by
//! itself; the worker and the load generator do, from what it reports.

use std::ops::Range;

use super::assembly::{Message, Partial, SplitHeader, Stage};
use super::deflate::Inflater;
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

/// A finished frame or message, and where its payload lies.
struct Found {
    opcode: Opcode,
    is_compressed: bool,
    /// In the input; what came in pieces is held.
    payload: Option<Range<usize>>,
}

/// Whether the connection's extensions allow compressed messages.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Compression {
    None,
    Agreed,
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
        match self.advance(input, Compression::None)? {
            (used, Some(found)) => Ok((used, Some(self.report(&found, input)?))),
            (used, None) => Ok((used, None)),
        }
    }

    /// As [`decode`](Self::decode), on a connection whose ends agreed on permessage-deflate (RFC
    /// 7692): messages may be compressed or not.
    ///
    /// `inflater` must be this connection's own, or one for connections on which the peer keeps no
    /// context. What it inflates lies in `scratch`, which the caller can use for all connections;
    /// it is never made smaller here, nor larger than the message limit and one byte.
    ///
    /// # Errors
    ///
    /// As [`decode`](Self::decode), where the message limit holds for what was inflated, and
    /// [`ProtocolError::InvalidDeflate`] for what cannot be inflated.
    pub fn decode_deflated<'a>(
        &'a mut self,
        input: &'a mut [u8],
        inflater: &mut Inflater,
        scratch: &'a mut Vec<u8>,
    ) -> Result<(usize, Option<Event<'a>>), ProtocolError> {
        let (used, found) = match self.advance(input, Compression::Agreed)? {
            (used, Some(found)) => (used, found),
            (used, None) => return Ok((used, None)),
        };
        if !found.is_compressed {
            return Ok((used, Some(self.report(&found, input)?)));
        }
        let payload = self.payload_of(&found, input);
        let event = inflater
            .inflate(payload, self.message_bytes_max, scratch)
            .and_then(|message| Event::from_payload(found.opcode, message));
        if event.is_err() {
            self.end();
        }
        Ok((used, Some(event?)))
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

    /// Consumes from the front of `input` up to the end of a frame or message that is to be
    /// reported; returns how many bytes were used.
    #[inline]
    fn advance(
        &mut self,
        input: &mut [u8],
        compression: Compression,
    ) -> Result<(usize, Option<Found>), ProtocolError> {
        if self.partial.is_some() {
            self.release_spent();
        }
        if self.ended {
            return Ok((input.len(), None));
        }
        let mut at = 0;
        while at < input.len() {
            let (used, found) = match self.step(&mut input[at..], compression) {
                Ok(step) => step,
                Err(error) => {
                    self.end();
                    return Err(error);
                }
            };
            if let Some(mut found) = found {
                if let Some(payload) = &mut found.payload {
                    *payload = at + payload.start..at + payload.end;
                }
                return Ok((at + used, Some(found)));
            }
            at += used;
        }
        Ok((at, None))
    }

    /// Moves on by one frame, or by what there is of it.
    #[inline]
    fn step(
        &mut self,
        input: &mut [u8],
        compression: Compression,
    ) -> Result<(usize, Option<Found>), ProtocolError> {
        match self.partial.as_deref().map(|partial| &partial.stage) {
            None | Some(Stage::Boundary) => self.step_frame(input, compression),
            Some(&Stage::Header(split)) => self.step_header(split, input, compression),
            Some(Stage::Payload(..)) => self.step_payload(input),
        }
    }

    /// At the start of a frame.
    #[inline]
    fn step_frame(
        &mut self,
        input: &mut [u8],
        compression: Compression,
    ) -> Result<(usize, Option<Found>), ProtocolError> {
        let Some((header, start)) = Header::parse(input, &self.expected(compression))? else {
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
        let Header { opcode, is_compressed, .. } = header;
        Ok((end, Some(Found { opcode, is_compressed, payload: Some(start..end) })))
    }

    /// Inside a header.
    fn step_header(
        &mut self,
        mut split: SplitHeader,
        input: &mut [u8],
        compression: Compression,
    ) -> Result<(usize, Option<Found>), ProtocolError> {
        let before = split.as_slice().len();
        split.extend(input);
        match Header::parse(split.as_slice(), &self.expected(compression))? {
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
        let partial = self.partial_mut();
        let (used, done) = partial.take_payload(input, message_bytes_max)?;
        let is_compressed = partial.message.as_ref().is_some_and(Message::is_compressed);
        let found = |opcode: Opcode| {
            let is_compressed = is_compressed && !opcode.is_control();
            Found { opcode, is_compressed, payload: None }
        };
        Ok((used, done.map(found)))
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
    fn report<'a>(
        &'a mut self,
        found: &Found,
        input: &'a [u8],
    ) -> Result<Event<'a>, ProtocolError> {
        let opcode = found.opcode;
        if let Some(payload) = found.payload.clone() {
            let event = Event::from_payload(opcode, &input[payload]);
            if opcode == Opcode::Close || event.is_err() {
                self.end();
            }
            return event;
        }
        // What is held was checked when it was completed, so this cannot fail. A close payload
        // must outlive this call; the message it cut short need not.
        if opcode == Opcode::Close {
            self.ended = true;
            self.partial_mut().message = None;
        }
        Event::from_payload(opcode, self.held_payload(opcode))
    }

    fn payload_of<'a>(&'a self, found: &Found, input: &'a [u8]) -> &'a [u8] {
        match found.payload.clone() {
            Some(payload) => &input[payload],
            None => self.held_payload(found.opcode),
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
    fn expected(&self, compression: Compression) -> Expected {
        let message = self.partial.as_ref().and_then(|partial| partial.message.as_ref());
        let is_compressed = match compression {
            Compression::None => None,
            Compression::Agreed => Some(message.is_some_and(Message::is_compressed)),
        };
        Expected {
            role: self.role,
            assembled: message.map(|message| message.as_slice().len()),
            is_compressed,
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
