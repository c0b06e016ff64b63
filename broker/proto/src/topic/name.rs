//! The name of one topic: what is published to. Never holds a wildcard. Made by the command codecs
//! from a client's text; must not be made from anything unchecked.

use super::{TopicError, check_text};

/// A checked topic name: 1–255 bytes, at most 32 levels, no wildcard, no forbidden character.
/// Empty levels are allowed, so `/a`, `a//b` and `a/` are three topics (MQTT 5.0 §4.7.3).
///
/// ```
/// use broker_proto::topic::{Topic, TopicError};
///
/// let topic = Topic::new("ticker/ACME")?;
/// assert_eq!(topic.levels().collect::<Vec<_>>(), ["ticker", "ACME"]);
/// assert_eq!(Topic::new("ticker/+"), Err(TopicError::WildcardInTopic('+')));
/// # Ok::<(), TopicError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Topic<'a>(&'a str);

impl<'a> Topic<'a> {
    /// Checks `text`. Errors with the first rule it breaks.
    pub fn new(text: &'a str) -> Result<Self, TopicError> {
        check_text(text)?;
        match text.bytes().find(|byte| matches!(byte, b'+' | b'#')) {
            Some(wildcard) => Err(TopicError::WildcardInTopic(char::from(wildcard))),
            None => Ok(Self(text)),
        }
    }

    /// The topic as it was written.
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// The levels between the slashes, in order; at least one, and any may be empty.
    pub fn levels(self) -> impl Iterator<Item = &'a str> + Clone {
        self.0.split('/')
    }

    /// Whether the topic begins with `$`: such topics belong to the broker, and match no filter
    /// that begins with a wildcard (MQTT 5.0 §4.7.2).
    pub fn is_system(self) -> bool {
        self.0.starts_with('$')
    }
}
