//! Messages to publish without commands around them, as an application sends them over HTTP: an
//! object with `topic` and `data` or `base64`, or an array of such objects.
//!
//! Can be gone through more than once, so that all can be checked before any is published. Made by
//! the parser.

use super::decode;
use super::tape::Value;
use crate::command::{CommandError, Publish};

/// The messages of one text.
///
/// ```
/// use broker_proto::json::Parser;
///
/// let text = br#"[{"topic":"a","data":1},{"topic":"b","base64":"/9j/"}]"#;
/// let topics = Parser::new().parse_publishes(text, |messages| {
///     let mut topics = Vec::new();
///     messages?.each(|message| Ok::<_, broker_proto::command::CommandError>({
///         topics.push(message?.topic.as_str().to_owned());
///     }))?;
///     Ok::<_, broker_proto::command::CommandError>(topics)
/// })?;
/// assert_eq!(topics, ["a", "b"]);
/// # Ok::<(), broker_proto::command::CommandError>(())
/// ```
pub struct Publishes<'t, 'a> {
    root: Value<'t, 'a>,
    opaque: &'t mut Vec<u8>,
}

impl<'t, 'a> Publishes<'t, 'a> {
    pub(super) fn new(root: Value<'t, 'a>, opaque: &'t mut Vec<u8>) -> Self {
        Self { root, opaque }
    }

    /// Whether they came as an array, even if of one or none.
    pub fn is_batch(&self) -> bool {
        self.root.elements().is_some()
    }

    /// How many there are, right or wrong.
    pub fn len(&self) -> usize {
        self.root.elements().map_or(1, Iterator::count)
    }

    /// Whether there is none: an empty array.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Hands `each` every message, or what is wrong with it, in order, until it says an error.
    ///
    /// # Errors
    /// The first that `each` says.
    pub fn each<E>(
        &mut self,
        mut each: impl FnMut(Result<Publish<'_>, CommandError>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(elements) = self.root.elements() else {
            return each(decode::publish(&self.root, self.opaque));
        };
        for element in elements {
            each(decode::publish(&element, self.opaque))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Parser;
    use crate::command::{CommandError, Payload};

    fn read(text: &[u8]) -> Result<Vec<String>, String> {
        Parser::new().parse_publishes(text, |messages| {
            let mut messages = messages.map_err(|error| error.to_string())?;
            let mut seen = Vec::new();
            messages.each(|message| message.map(drop)).map_err(|error| error.to_string())?;
            messages
                .each(|message| {
                    let message = message?;
                    seen.push(match message.payload {
                        Payload::Json(text) => {
                            format!("{} {}", message.topic.as_str(), String::from_utf8_lossy(text))
                        }
                        Payload::Opaque(bytes) => format!("{} {bytes:?}", message.topic.as_str()),
                    });
                    Ok(())
                })
                .map_err(|error: CommandError| error.to_string())?;
            Ok(seen)
        })
    }

    #[test]
    fn one_object_or_many_are_read_as_they_are_written() {
        assert_eq!(read(br#"{"topic":"t","data":{"a": 1.50}}"#).unwrap(), [r#"t {"a": 1.50}"#]);
        let two = br#"[{"data":null,"topic":"a/b"}, {"topic":"c","base64":"AQI="}]"#;
        assert_eq!(read(two).unwrap(), ["a/b null", "c [1, 2]"]);
        assert_eq!(read(b"[]").unwrap(), [""; 0]);
    }

    #[test]
    fn what_is_no_message_is_refused_with_its_reason() {
        for (text, reason) in [
            (&br#"{"topic":"t"}"#[..], "`publish` needs a member `data`"),
            (br#"{"data":1}"#, "`publish` needs a `topic`"),
            (br#"{"op":"publish","topic":"t","data":1}"#, "`publish` takes no member \"op\""),
            (br#"{"id":1,"topic":"t","data":1}"#, "`publish` takes no member \"id\""),
            (br#"{"topic":"t","data":1,"data":2}"#, "`data` is given twice"),
            (br#"[{"topic":"t","data":1},7]"#, "a message to publish is a JSON object"),
            (br#"{"topic":"t","data":1}x"#, "not valid JSON"),
            (b"", "not valid JSON"),
            (b"\xef\xbb\xbf{}", "not valid JSON"),
            (b"{\"topic\":\"t\",\"data\":\"\xff\"}", "not UTF-8"),
        ] {
            let error = read(text).unwrap_err();
            assert_eq!(
                error,
                format!("bad_request: {reason}"),
                "{}",
                String::from_utf8_lossy(text)
            );
        }
        assert!(read(br#"{"topic":"a/#","data":1}"#).unwrap_err().starts_with("bad_topic: "));
    }
}
