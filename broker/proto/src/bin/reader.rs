//! Reads the fields of a payload one after the other, from the front. Never reads past the end and
//! never allocates.

use super::{DecodeError, varint};

/// The bytes not read yet.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn byte(&mut self) -> Result<u8, DecodeError> {
        let (&byte, rest) = self.rest.split_first().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(byte)
    }

    pub(super) fn number(&mut self) -> Result<u64, DecodeError> {
        let (number, length) = varint::read(self.rest)?;
        self.rest = &self.rest[length..];
        Ok(number)
    }

    /// One byte of length, then as many bytes.
    pub(super) fn short_bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.byte()?;
        self.bytes(length.into())
    }

    /// The next `length` bytes.
    pub(super) fn bytes(&mut self, length: u64) -> Result<&'a [u8], DecodeError> {
        let length = usize::try_from(length).map_err(|_| DecodeError::Truncated)?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// [`Reader::short_bytes`] that are text.
    pub(super) fn short_text(&mut self) -> Result<&'a str, DecodeError> {
        text(self.short_bytes()?)
    }

    /// Everything not read yet.
    pub(super) fn take_rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Everything not read yet, as text.
    pub(super) fn take_rest_text(&mut self) -> Result<&'a str, DecodeError> {
        text(self.take_rest())
    }

    /// Whether everything was read.
    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// Fails if anything is left.
    pub(super) fn finish(&self) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            count => Err(DecodeError::TrailingBytes(count)),
        }
    }
}

fn text(bytes: &[u8]) -> Result<&str, DecodeError> {
    simdutf8::basic::from_utf8(bytes).map_err(|_| DecodeError::NotUtf8)
}
