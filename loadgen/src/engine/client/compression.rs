//! Compressed messages of one connection, where that was agreed on in the handshake. Where the
//! server takes its context over, a connection has an inflater of its own; everything else is
//! shared by the clients of a worker. Called by the client for what comes, and for what it sends.

use broker_proto::ws::deflate::{
    Agreement, Deflater, Inflater, LEVEL_DEFAULT, Terms, WindowBits, encode_masked_deflated_frame,
};
use broker_proto::ws::{Decoder, Event, Opcode, ProtocolError, encode_masked_frame};

use super::mask_key;
use crate::engine::WireBook;

/// What the clients of one worker share.
#[derive(Default)]
pub(in crate::engine) struct Codecs {
    /// For servers that take no context over.
    inflater: Option<Inflater>,
    /// Takes no context over, which a client may always do. A server may ask for another window
    /// than at the last time; then it is made anew.
    deflater: Option<(WindowBits, Deflater)>,
    /// Where messages are inflated to.
    pub(super) scratch: Vec<u8>,
}

/// The compression of one connection.
pub(in crate::engine) struct Compression {
    agreement: Agreement,
    /// Remembers what came before, where the server refers to it.
    inflater: Option<Inflater>,
}

impl Compression {
    pub(super) fn new(agreement: Agreement) -> Self {
        Self { agreement, inflater: None }
    }

    /// As [`Decoder::decode_deflated`], with what was inflated in `scratch`.
    pub(super) fn decode<'a>(
        &mut self,
        decoder: &'a mut Decoder,
        bytes: &'a mut [u8],
        codecs: &mut Codecs,
        scratch: &'a mut Vec<u8>,
        book: &mut WireBook,
    ) -> Result<(usize, Option<Event<'a>>), ProtocolError> {
        let terms = self.agreement.server;
        let inflater = match terms.no_context_takeover {
            true => &mut codecs.inflater,
            false => &mut self.inflater,
        };
        let inflater = inflater.get_or_insert_with(|| Inflater::new(terms));
        let before = inflater.volume();
        let step = decoder.decode_deflated(bytes, inflater, scratch);
        book.inflated.add_since(before, inflater.volume());
        step
    }
}

impl Codecs {
    /// Appends a message as one frame, compressed where that was agreed on.
    pub(in crate::engine) fn encode(
        &mut self,
        compression: Option<&Compression>,
        out: &mut Vec<u8>,
        opcode: Opcode,
        message: &[u8],
        book: &mut WireBook,
    ) {
        let Some(compression) = compression else {
            return encode_masked_frame(out, opcode, message, mask_key());
        };
        let window_bits = compression.agreement.client.window_bits();
        self.deflater.take_if(|(made_for, _)| *made_for != window_bits);
        let (_, deflater) = self.deflater.get_or_insert_with(|| {
            let terms = Terms { no_context_takeover: true, window_bits_max: Some(window_bits) };
            (window_bits, Deflater::new(terms, LEVEL_DEFAULT))
        });
        let before = deflater.volume();
        encode_masked_deflated_frame(out, opcode, message, mask_key(), deflater);
        book.deflated.add_since(before, deflater.volume());
    }
}
