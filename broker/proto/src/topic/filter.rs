//! What is subscribed to: a topic, or a pattern of topics. Made by the command codecs from a
//! client's text; matching needs no memory and takes time linear in the shorter of the two.

use super::{Topic, TopicError, check_text};

/// A checked topic filter (MQTT 5.0 §4.7.1): a topic whose levels may also be `+` (any one level)
/// or, at the end, `#` (the parent and everything below it).
///
/// ```
/// use broker_proto::topic::{Filter, Topic, TopicError};
///
/// let filter = Filter::new("ticker/#")?;
/// assert!(filter.matches(Topic::new("ticker/ACME/bid")?));
/// assert!(filter.matches(Topic::new("ticker")?), "# covers the parent level too");
/// assert!(!filter.matches(Topic::new("tickers")?));
/// # Ok::<(), TopicError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Filter<'a>(&'a str);

impl<'a> Filter<'a> {
    /// Checks `text`. Errors with the first rule it breaks.
    pub fn new(text: &'a str) -> Result<Self, TopicError> {
        check_text(text)?;
        if let Some(wildcard) = misplaced_wildcard(text) {
            return Err(TopicError::MisplacedWildcard(wildcard));
        }
        Ok(Self(text))
    }

    /// The filter as it was written.
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// The levels between the slashes, in order; at least one, and any may be empty.
    pub fn levels(self) -> impl Iterator<Item = &'a str> + Clone {
        self.0.split('/')
    }

    /// Whether the filter can match more than one topic.
    pub fn is_wildcard(self) -> bool {
        self.0.bytes().any(|byte| matches!(byte, b'+' | b'#'))
    }

    /// The one topic that this filter matches; none if it holds a wildcard.
    pub fn as_topic(self) -> Option<Topic<'a>> {
        Topic::new(self.0).ok()
    }

    /// Whether messages of `topic` belong to this filter. A topic that begins with `$` matches no
    /// filter that begins with a wildcard (MQTT 5.0 §4.7.2).
    pub fn matches(self, topic: Topic<'_>) -> bool {
        if topic.is_system() && self.0.starts_with(['+', '#']) {
            return false;
        }
        let mut names = topic.levels();
        for level in self.levels() {
            match (level, names.next()) {
                // No name left is the parent of the filter's `#`, which it covers too.
                ("#", _) => return true,
                ("+", Some(_)) => {}
                (literal, Some(name)) if literal == name => {}
                _ => return false,
            }
        }
        names.next().is_none()
    }

    /// Whether this filter matches every topic that `other` matches. So whoever may have all of
    /// this one may have all of the other.
    ///
    /// ```
    /// use broker_proto::topic::{Filter, TopicError};
    ///
    /// let allowed = Filter::new("team/7/#")?;
    /// assert!(allowed.covers(Filter::new("team/7")?));
    /// assert!(allowed.covers(Filter::new("team/7/+/log")?));
    /// assert!(!allowed.covers(Filter::new("team/#")?));
    /// # Ok::<(), TopicError>(())
    /// ```
    pub fn covers(self, other: Filter<'_>) -> bool {
        if other.0.starts_with('$') && self.0.starts_with(['+', '#']) {
            return false;
        }
        // At the top `#` has no parent level that `+` could fail to match.
        if (self.0, other.0) == ("+/#", "#") {
            return true;
        }
        let mut others = other.levels();
        for level in self.levels() {
            match (level, others.next()) {
                ("#", _) => return true,
                (_, Some("#")) => return false,
                ("+", Some(_)) => {}
                (literal, Some(level)) if literal == level => {}
                _ => return false,
            }
        }
        others.next().is_none()
    }
}

fn misplaced_wildcard(text: &str) -> Option<char> {
    let mut levels = text.split('/').peekable();
    while let Some(level) = levels.next() {
        if level.len() > 1
            && let Some(wildcard) = level.chars().find(|c| matches!(c, '+' | '#'))
        {
            return Some(wildcard);
        }
        if level == "#" && levels.peek().is_some() {
            return Some('#');
        }
    }
    None
}
