//! From the text of one WebSocket message to the commands in it. Owns the buffers of simd-json;
//! [`super::decode`] reads the commands themselves.

use std::mem;

use simd_json::{Buffers, INPUT_PADDING, Tape, fill_tape_padded};

use super::publishes::Publishes;
use super::tape::Value;
use super::{DEPTH_MAX, KEPT_BYTES_MAX, decode, options};
use crate::command::{CommandError, Request, SubscribeOptions};
use crate::topic::Filter;

/// Reads commands from JSON text. One per worker: its buffers are reused, and grow to the longest
/// message seen, but are not kept above [`KEPT_BYTES_MAX`].
///
/// ```
/// use broker_proto::command::{Command, Id, Payload};
/// use broker_proto::json::Parser;
///
/// let text = r#"{"id":7,"op":"publish","topic":"ticker/ACME","data":{"price": 1.50}}"#;
/// let mut parser = Parser::new();
/// parser.parse(text, |request| {
///     assert_eq!(request.id, Some(Id::Raw("7")));
///     let Ok(Command::Publish { topic, payload, .. }) = request.command else { panic!() };
///     assert_eq!(topic.as_str(), "ticker/ACME");
///     assert_eq!(payload, Payload::Json(br#"{"price": 1.50}"#), "kept as written");
/// });
/// ```
pub struct Parser {
    /// A copy of the text with padding behind it; simd-json unescapes strings in place.
    scratch: Vec<u8>,
    buffers: Buffers,
    /// Empty between calls, kept for its memory.
    tape: Tape<'static>,
    /// The bytes of a `base64` member.
    opaque: Vec<u8>,
}

impl Default for Parser {
    fn default() -> Self {
        Self::new()
    }
}

impl Parser {
    /// A parser with empty buffers.
    pub fn new() -> Self {
        Self {
            scratch: Vec::new(),
            buffers: Buffers::with_max_depth(0, DEPTH_MAX),
            tape: Tape(Vec::new()),
            opaque: Vec::new(),
        }
    }

    /// Hands `each` every command of the message, in order: one for an object, one per element
    /// for an array. A text that is not valid JSON, is neither object nor array, is an empty
    /// array or nests deeper than [`DEPTH_MAX`] is one request that is an error.
    pub fn parse(&mut self, text: &str, mut each: impl FnMut(Request<'_>)) {
        self.with_value(text, |value, opaque| match value {
            Ok(value) => decode::requests(&value, opaque, &mut each),
            Err(error) => each(refused(error)),
        });
    }

    /// Reads a text that is one message to publish, `{"topic":…,"data":…}`, or an array of them,
    /// and hands all of them to `then`; the error if `bytes` are no valid JSON in UTF-8.
    pub fn parse_publishes<R>(
        &mut self,
        bytes: &[u8],
        then: impl FnOnce(Result<Publishes<'_, '_>, CommandError>) -> R,
    ) -> R {
        let Ok(text) = simdutf8::basic::from_utf8(bytes) else {
            return then(Err(CommandError::bad_request("not UTF-8")));
        };
        self.with_value(text, |value, opaque| then(value.map(|root| Publishes::new(root, opaque))))
    }

    /// Checks that `bytes` are one JSON value that can be delivered inside a message.
    pub(crate) fn check_value(&mut self, bytes: &[u8]) -> Result<(), CommandError> {
        let text = simdutf8::basic::from_utf8(bytes)
            .map_err(|_| CommandError::bad_request("the payload is not UTF-8"))?;
        self.with_value(text, |value, _| value.map(|_| ()))
    }

    /// Reads the options of a subscribe from an object of their own.
    pub(crate) fn with_options<R>(
        &mut self,
        text: &str,
        filter: Filter<'_>,
        then: impl FnOnce(Result<SubscribeOptions<'_>, CommandError>) -> R,
    ) -> R {
        self.with_value(text, |value, _| {
            then(value.and_then(|value| options::read_object(&value, filter)))
        })
    }

    /// Parses `text` and hands its root to `then`, together with a buffer to decode base64 into.
    fn with_value<R>(
        &mut self,
        text: &str,
        then: impl FnOnce(Result<Value<'_, '_>, CommandError>, &mut Vec<u8>) -> R,
    ) -> R {
        let Self { scratch, buffers, tape, opaque } = self;
        scratch.clear();
        scratch.extend_from_slice(text.as_bytes());
        scratch.resize(text.len() + INPUT_PADDING, b' ');
        let mut nodes = mem::replace(tape, Tape(Vec::new())).reset();
        let parsed = fill_tape_padded(scratch, text.len(), buffers, &mut nodes);
        let value = match parsed {
            Ok(()) => Ok(Value::root(text, &nodes.0, buffers.structural_indexes())),
            Err(error) => Err(invalid(&error)),
        };
        let result = then(value, opaque);
        *tape = nodes.reset();
        if text.len() > KEPT_BYTES_MAX {
            *self = Self::new();
        }
        result
    }
}

/// A message that is no command: there is no id to answer with.
pub(super) fn refused(error: CommandError) -> Request<'static> {
    Request { id: None, command: Err(error) }
}

fn invalid(error: &simd_json::Error) -> CommandError {
    match error.error() {
        simd_json::ErrorType::DepthLimitExceeded => {
            CommandError::bad_request(format!("nested deeper than {DEPTH_MAX} levels"))
        }
        _ => CommandError::bad_request("not valid JSON"),
    }
}
