//! Streams of server-sent events: a session like any other, with a third way of writing what it is
//! sent, and subscriptions that come with the request instead of by commands.

use broker_proto::command::{Answer, Command, CommandError, Position, Request};
use broker_proto::sse;
use broker_proto::ws::{CloseCode, Opcode};

use super::Hub;
use super::subscribing::Subscribed;

impl Hub {
    /// Subscribes a stream that is being opened, and answers with the request's id. Where the topic
    /// stands for the stream, if the filter names one: what follows is still to come.
    ///
    /// # Errors
    /// What a subscribe is answered: the stream should not be opened.
    pub fn subscribe_stream(
        &mut self,
        slot: u32,
        request: &Request<'_>,
        now_ms: u64,
    ) -> Result<Option<Position>, CommandError> {
        self.now_ms = self.now_ms.max(now_ms);
        let (filter, options) = match &request.command {
            Ok(Command::Subscribe { filter, options }) => (*filter, options),
            Ok(_) => return Err(CommandError::bad_request("a stream only subscribes")),
            Err(error) => return Err(error.clone()),
        };
        self.check_subscribe(slot, filter)?;
        let done = self.subscribe(slot, filter, options, now_ms)?;
        let Subscribed { position, epoch, list, recovered, catching } = done;
        let answer = Answer::Subscribed { filter: filter.as_str(), position, epoch, recovered };
        self.answer(slot, request.id, &answer);
        self.tell_stale(slot, list);
        self.begin_to_catch_up(catching);
        let asked = match &options.since {
            Some(broker_proto::command::Since::At(asked)) => Some(*asked),
            _ => None,
        };
        Ok(position.map(|(epoch, seq)| match asked {
            // All that is kept comes, the first of it with a gap notice.
            Some(asked) if asked.epoch != epoch || asked.seq > seq => Position { epoch, seq: 0 },
            Some(asked) => asked,
            None if options.last => Position { epoch, seq: seq.saturating_sub(1) },
            None => Position { epoch, seq },
        }))
    }
}

/// Writes a frame for one stream: text as an event, a ping as a comment that keeps proxies from
/// taking the stream for dead, a close frame as a last event, and when to come back.
pub(super) fn encode_own(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    match opcode {
        Opcode::Text | Opcode::Binary => sse::encode_event(out, payload),
        Opcode::Ping => out.extend_from_slice(b":\n\n"),
        Opcode::Close => encode_close(out, payload),
        _ => {}
    }
}

fn encode_close(out: &mut Vec<u8>, payload: &[u8]) {
    let Some((code, reason)) = payload.split_first_chunk() else { return };
    let code = CloseCode::new(u16::from_be_bytes(*code)).value();
    let reason = String::from_utf8_lossy(reason);
    let after = reason.strip_prefix("reconnect in ").and_then(|rest| rest.strip_suffix(" ms"));
    if let Some(ms) = after.and_then(|text| text.parse::<u64>().ok()) {
        out.extend_from_slice(format!("retry: {ms}\n").as_bytes());
    }
    let text = serde_json::json!({ "close": { "code": code, "reason": reason } }).to_string();
    sse::encode_event(out, text.as_bytes());
}

#[cfg(test)]
mod tests {
    use broker_proto::ws::close_payload;

    use super::*;

    fn written(opcode: Opcode, payload: &[u8]) -> String {
        let mut out = Vec::new();
        encode_own(&mut out, opcode, payload);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_goodbye_says_when_to_come_back() {
        let payload = close_payload(CloseCode::GOING_AWAY, "reconnect in 250 ms");
        assert_eq!(
            written(Opcode::Close, payload.as_slice()),
            "retry: 250\ndata: {\"close\":{\"code\":1001,\"reason\":\"reconnect in 250 ms\"}}\n\n"
        );
        let payload = close_payload(CloseCode::FORBIDDEN, "no");
        let text = written(Opcode::Close, payload.as_slice());
        assert_eq!(text, "data: {\"close\":{\"code\":4403,\"reason\":\"no\"}}\n\n");
        assert_eq!(written(Opcode::Ping, b""), ":\n\n");
    }
}
