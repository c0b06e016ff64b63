//! Compression of one worker: a compressor and an inflater, which all its connections use, for
//! none of them takes context over. Made when the first message needs them.
//!
//! Knows no connections. The flush compresses with it, reading inflates with it.

use broker_proto::handshake::Offer;
use broker_proto::ws::deflate::{
    Agreement, Deflater, Inflater, LEVEL_DEFAULT, Terms, WindowBits, encode_deflated_frame, select,
};
use broker_proto::ws::{Decoder, Event, Opcode, ProtocolError};

use crate::config::Config;

/// Both ends compress each message by itself, so one compressor does for a message to many, and
/// one inflater for all who send.
const TERMS: Terms = Terms { no_context_takeover: true, window_bits_max: None };
/// Memory to inflate into that is kept from turn to turn.
const SCRATCH_BYTES_KEPT: usize = 64 * 1024;

/// A worker's compressor and inflater.
pub(super) struct Codec {
    is_on: bool,
    needs_token: bool,
    bytes_min: usize,
    /// Answers may hold messages of any topic, which some of the rules may keep from compression.
    compresses_answers: bool,
    /// By the bits of their windows. Clients with a smaller one than ours are rare.
    deflaters: [Option<Box<Deflater>>; WindowBits::MAX.value() as usize + 1],
    inflater: Option<Box<Inflater>>,
    scratch: Vec<u8>,
}

/// What a connection may do with compression.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Compression {
    /// What comes may be compressed.
    pub(super) is_agreed: bool,
    /// What goes is compressed where it pays, and refers back so far at most.
    pub(super) window: Option<WindowBits>,
}

impl Codec {
    /// As the settings say.
    pub(super) fn new(config: &Config) -> Self {
        Self {
            is_on: config.deflate.on,
            needs_token: config.has_keys(),
            bytes_min: config.deflate.bytes_min as usize,
            compresses_answers: true,
            deflaters: Default::default(),
            inflater: None,
            scratch: Vec::new(),
        }
    }

    /// What is agreed on with a client that offers this.
    ///
    /// Where tokens are looked at, nothing with one who has shown none in the handshake: nothing of
    /// his may be inflated before, and what was agreed on holds for good.
    pub(super) fn agree(&self, offers: &[Offer<'_>], has_token: bool) -> Option<Agreement> {
        let may = self.is_on && (has_token || !self.needs_token);
        if may { select(offers, TERMS, TERMS) } else { None }
    }

    /// The length from which messages are compressed, and what compresses them.
    pub(super) fn deflater(&mut self, window: WindowBits) -> (usize, &mut Deflater) {
        let make = || {
            let terms = Terms { window_bits_max: Some(window), ..TERMS };
            Box::new(Deflater::new(terms, LEVEL_DEFAULT))
        };
        (self.bytes_min, self.deflaters[usize::from(window.value())].get_or_insert_with(make))
    }

    /// Whether what is appended from here on may be compressed.
    pub(super) fn compress_answers(&mut self, may: bool) {
        self.compresses_answers = may;
    }

    /// Appends a frame for one connection to `out`, compressed if it is a message of the length for
    /// that.
    pub(super) fn append(&mut self, window: WindowBits, frame: &[u8], out: &mut Vec<u8>) {
        match message(frame) {
            Some((opcode, payload))
                if payload.len() >= self.bytes_min && self.compresses_answers =>
            {
                encode_deflated_frame(out, opcode, payload, self.deflater(window).1);
            }
            _ => out.extend_from_slice(frame),
        }
    }

    /// Takes a frame off the front of `bytes`, as `decoder` does alone where nothing was agreed on.
    #[inline]
    pub(super) fn decode<'a>(
        &'a mut self,
        decoder: &'a mut Decoder,
        compression: Compression,
        bytes: &'a mut [u8],
    ) -> Result<(usize, Option<Event<'a>>), ProtocolError> {
        if !compression.is_agreed {
            return decoder.decode(bytes);
        }
        let inflater = self.inflater.get_or_insert_with(|| Box::new(Inflater::new(TERMS)));
        decoder.decode_deflated(bytes, inflater, &mut self.scratch)
    }

    /// Gives back memory that one long message needed.
    pub(super) fn end_turn(&mut self) {
        if self.scratch.len() > SCRATCH_BYTES_KEPT {
            self.scratch.truncate(SCRATCH_BYTES_KEPT);
            self.scratch.shrink_to_fit();
        }
    }

    /// Bytes of messages before and after compression, so far.
    pub(super) fn deflated_bytes(&self) -> (u64, u64) {
        let volumes = self.deflaters.iter().flatten().map(|deflater| deflater.volume());
        volumes.fold((0, 0), |(before, after), volume| {
            (before + volume.message_bytes, after + volume.wire_bytes)
        })
    }
}

impl Compression {
    /// What follows from an agreement.
    pub(super) fn of(agreement: Option<&Agreement>) -> Self {
        let window = agreement.map(|agreement| agreement.server.window_bits());
        Self { is_agreed: agreement.is_some(), window }
    }
}

/// The message in a frame of ours, if it is one.
fn message(frame: &[u8]) -> Option<(Opcode, &[u8])> {
    let opcode = match frame.first()? {
        0x81 => Opcode::Text,
        0x82 => Opcode::Binary,
        // A control frame, or the answer to a handshake.
        _ => return None,
    };
    let start = match frame.get(1)? {
        127 => 10,
        126 => 4,
        _ => 2,
    };
    Some((opcode, frame.get(start..)?))
}

#[cfg(test)]
mod tests {
    use broker_proto::ws::encode_frame;

    use super::*;

    fn codec(bytes_min: u32) -> Codec {
        let mut config = Config::default();
        config.deflate.on = true;
        config.deflate.bytes_min = bytes_min;
        Codec::new(&config)
    }

    #[test]
    fn a_message_is_compressed_if_it_is_long_enough_and_all_else_goes_as_it_is() {
        let mut codec = codec(5);
        let mut out = Vec::new();
        let long = [&b"\x81\x64"[..], &[b'a'; 100]].concat();
        codec.append(WindowBits::MAX, &long, &mut out);
        assert_eq!(out[0], 0xc1, "{out:x?}");
        assert!(out.len() < 20, "{out:x?}");
        for plain in [
            &b"\x81\x04Hell"[..],
            b"\x89\x05Hello",
            b"\x88\x02\x03\xe8",
            b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        ] {
            let mut out = Vec::new();
            codec.append(WindowBits::MAX, plain, &mut out);
            assert_eq!(out, plain);
        }
    }

    #[test]
    fn every_length_of_a_header_is_known() {
        for len in [0, 125, 126, 65_535, 65_536] {
            let mut frame = Vec::new();
            encode_frame(&mut frame, Opcode::Binary, &vec![7; len]);
            let (opcode, payload) = message(&frame).unwrap();
            assert_eq!((opcode, payload.len()), (Opcode::Binary, len));
        }
    }

    #[test]
    fn nothing_is_agreed_on_where_it_is_off_or_a_token_is_missing() {
        let offer = [Offer { name: "permessage-deflate", params: Vec::new() }];
        let agreement = codec(0).agree(&offer, false).unwrap();
        assert!(agreement.server.no_context_takeover && agreement.client.no_context_takeover);
        assert!(Codec::new(&Config::default()).agree(&offer, true).is_none());
        let mut config = Config { auth_hmac_secret_file: "secret".into(), ..Config::default() };
        config.deflate.on = true;
        let codec = Codec::new(&config);
        assert!(codec.agree(&offer, false).is_none() && codec.agree(&offer, true).is_some());
    }

    #[test]
    fn nobody_gets_what_refers_further_back_than_the_window_agreed_on() {
        let mut agreement = Agreement { server: TERMS, client: TERMS };
        assert_eq!(Compression::of(Some(&agreement)).window, Some(WindowBits::MAX));
        agreement.server.window_bits_max = WindowBits::new(9);
        assert_eq!(Compression::of(Some(&agreement)).window, WindowBits::new(9));
        assert_eq!(Compression::of(None), Compression::default());
    }
}
