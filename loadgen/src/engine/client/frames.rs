//! What comes in frames: takes them apart, answers pings and closes, and hands messages on. Part of
//! the client, which owns the socket and the stage.

use broker_proto::ws::{CloseCode, Event, Opcode, close_payload};

use super::close_text::close_text;
use super::incoming::Talk;
use super::{Client, Desk, Duty, Framing, Stage, frame_of};

impl Client {
    /// Bytes came after the handshake. The error says why the connection must end.
    pub(super) fn decode(
        &mut self,
        bytes: &mut [u8],
        now_ns: u64,
        desk: &mut Desk<'_>,
    ) -> Result<(), String> {
        match self.framing {
            Framing::Frames(_) => {}
            Framing::Http(_) => return self.decode_http(bytes, now_ns, desk),
            Framing::Bare => return self.decode_bare(bytes, now_ns, desk),
        }
        // What was inflated is borrowed while the desk's other parts are needed.
        let mut scratch = std::mem::take(&mut desk.codecs.scratch);
        let outcome = self.decode_into(bytes, &mut scratch, now_ns, desk);
        desk.codecs.scratch = scratch;
        outcome
    }

    fn decode_into(
        &mut self,
        bytes: &mut [u8],
        scratch: &mut Vec<u8>,
        now_ns: u64,
        desk: &mut Desk<'_>,
    ) -> Result<(), String> {
        let (mut at, length) = (0, bytes.len());
        loop {
            let Framing::Frames(decoder) = &mut self.framing else { return Ok(()) };
            let step = match &mut self.compression {
                None => decoder.decode(&mut bytes[at..]),
                Some(compression) => {
                    let (codecs, book) = (&mut *desk.codecs, &mut desk.ledger.wire);
                    compression.decode(decoder, &mut bytes[at..], codecs, scratch, book)
                }
            };
            let (used, event) = step.map_err(|error| {
                let why = format!("protocol error: {error}");
                note_end(self.duty, CloseCode::PROTOCOL_ERROR, &why, desk);
                why
            })?;
            at += used;
            desk.receiver.receipt().is_last = at == length;
            let talk = Talk {
                duty: self.duty,
                stage: &mut self.stage,
                partial: &mut self.partial,
                now_ns,
            };
            let answer = match event {
                None => return Ok(()),
                Some(Event::Text(text)) => talk.handle_message(text.as_bytes(), desk)?,
                Some(Event::Binary(bytes)) => talk.handle_message(bytes, desk)?,
                Some(Event::Ping(payload)) => {
                    desk.ledger.pings += 1;
                    frame_of(Opcode::Pong, payload)
                }
                Some(Event::Pong(_)) => Vec::new(),
                Some(Event::Close(frame)) => {
                    let code = frame.map_or(CloseCode::NORMAL, |frame| frame.code);
                    let why = frame.map_or("no close code".to_owned(), |frame| close_text(&frame));
                    if let Stage::Closing { is_answered } = &mut self.stage {
                        // The server closes the connection first (RFC 6455 §7.1.1).
                        *is_answered = true;
                        return Ok(());
                    }
                    let reason = frame.map_or("", |frame| frame.reason);
                    note_end(self.duty, code, reason, desk);
                    let echo = close_payload(code, "");
                    let _ = self.send_control(Opcode::Close, echo.as_slice());
                    return Err(why);
                }
            };
            if !answer.is_empty() {
                if self.is_subscriber() {
                    desk.ledger.wire.traffic.handle_sent(answer.len());
                }
                self.send(&answer).map_err(|error| error.to_string())?;
            }
        }
    }
}

/// For the account: why the connection is about to end.
fn note_end(duty: Duty, code: CloseCode, reason: &str, desk: &mut Desk<'_>) {
    if let Duty::Subscribe { account, .. } = duty
        && desk.plan.topics_each > 0
    {
        desk.ledger.handle_close_frame(account, code, reason);
    }
}
