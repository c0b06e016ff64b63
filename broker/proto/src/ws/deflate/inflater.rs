//! Inflating messages (RFC 7692 §7.2.2) up to a limit, whatever they claim to be.
//!
//! Memory grows with what comes out, never beyond the limit and one byte; damage and missing ends
//! are errors. Called by the decoder with whole payloads.

use zlib_rs::{Inflate, InflateFlush, Status};

use super::super::ProtocolError;
use super::{TAIL, Terms, Volume, WindowBits};

/// The first size of the memory to inflate into, unless the limit is smaller.
const SCRATCH_BYTES_MIN: usize = 512;

/// An empty block behind the tail. A message that is whole ends with the tail, and nothing of this
/// is read.
const BEHIND_TAIL: [u8; 5] = [0x00, 0x00, 0x00, 0xff, 0xff];

/// Inflates messages one after the other. Takes 49 KB; where no context is taken over, one is
/// enough for any number of connections.
pub struct Inflater {
    zlib: Inflate,
    keeps_context: bool,
    volume: Volume,
}

impl Inflater {
    /// For messages of an end that compresses on these terms. A window smaller than the largest
    /// would save nothing here, so it is not held against what comes.
    #[must_use]
    pub fn new(terms: Terms) -> Self {
        let zlib = Inflate::new(false, WindowBits::MAX.value());
        Self { zlib, keeps_context: !terms.no_context_takeover, volume: Volume::default() }
    }

    /// What was inflated so far, of all messages without error.
    #[must_use]
    pub fn volume(&self) -> Volume {
        self.volume
    }

    /// Inflates one message, which is returned from the front of `scratch`. What else is in there
    /// has no meaning, and how long it is matters only for speed: it grows as needed, up to
    /// `bytes_max` and one byte.
    ///
    /// What follows a block marked as the last begins anew, with no context.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::MessageTooLong`] once more than `bytes_max` bytes have come out,
    /// [`ProtocolError::InvalidDeflate`] for damage. After an error an inflater that keeps context
    /// is of no use any more.
    pub fn inflate<'s>(
        &mut self,
        payload: &[u8],
        bytes_max: u32,
        scratch: &'s mut Vec<u8>,
    ) -> Result<&'s [u8], ProtocolError> {
        if !self.keeps_context {
            self.zlib.reset(false);
        }
        let ceiling = bytes_max as usize + 1;
        let (mut at, mut filled) = (0, 0);
        loop {
            if filled == scratch.len() {
                let grown = (2 * filled).max(SCRATCH_BYTES_MIN).min(ceiling);
                scratch.reserve_exact(grown - filled);
                scratch.resize(grown, 0);
            }
            let room_end = scratch.len().min(ceiling);
            let room = &mut scratch[filled..room_end];
            let (read, written, status) = self.step(&payload[at..], room, InflateFlush::NoFlush)?;
            at += read;
            filled += written;
            if filled == ceiling {
                let bytes = filled as u64;
                return Err(ProtocolError::MessageTooLong { bytes, bytes_max });
            }
            if status == Status::StreamEnd {
                self.zlib.reset(false);
            }
            if at == payload.len() && filled < room_end {
                break;
            }
        }
        self.check_end()?;
        self.volume.message_bytes += filled as u64;
        self.volume.wire_bytes += payload.len() as u64;
        Ok(&scratch[..filled])
    }

    /// Appends the tail (§7.2.2), which must end a block right there and say nothing.
    fn check_end(&mut self) -> Result<(), ProtocolError> {
        let mut end = [0; TAIL.len() + BEHIND_TAIL.len()];
        end[..TAIL.len()].copy_from_slice(&TAIL);
        end[TAIL.len()..].copy_from_slice(&BEHIND_TAIL);
        match self.step(&end, &mut [0; 16], InflateFlush::Block)? {
            (read, 0, Status::Ok) if read == TAIL.len() => Ok(()),
            _ => Err(ProtocolError::InvalidDeflate("it does not end where a block does")),
        }
    }

    /// How many bytes were read and written, and whether the stream has ended.
    fn step(
        &mut self,
        input: &[u8],
        output: &mut [u8],
        flush: InflateFlush,
    ) -> Result<(usize, usize, Status), ProtocolError> {
        let (read, written) = (self.zlib.total_in(), self.zlib.total_out());
        let status = self.zlib.decompress(input, output, flush).map_err(|error| {
            let why = self.zlib.error_message().unwrap_or(error.as_str());
            ProtocolError::InvalidDeflate(why)
        })?;
        let read = (self.zlib.total_in() - read) as usize;
        let written = (self.zlib.total_out() - written) as usize;
        Ok((read, written, status))
    }
}
