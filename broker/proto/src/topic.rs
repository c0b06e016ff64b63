//! Checked topic names and filters, and how they match.
//!
//! A topic is UTF-8 text of levels separated by `/`; a filter may also hold the wildcards `+`
//! (exactly one level) and `#` (the parent and everything below, last level only). The rules are
//! those of MQTT 5.0 §4.7. Text is checked once, where it comes in: a [`Topic`] or [`Filter`] is
//! always sound, and nothing behind it checks again. Nothing here allocates or recurses.
//!
//! The command codecs make topics and filters; the broker's hub matches them.

mod filter;
mod name;

pub use filter::Filter;
pub use name::Topic;

/// The longest topic or filter, in bytes of UTF-8.
pub const TOPIC_BYTES_MAX: usize = 255;

/// The most levels of a topic or filter (one more than its slashes).
pub const TOPIC_LEVELS_MAX: usize = 32;

/// Why a text is no topic or no filter. The peer sees error `bad_topic` with this message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// No bytes at all (MQTT 5.0 §4.7.3).
    #[error("the topic is empty")]
    Empty,
    /// More than [`TOPIC_BYTES_MAX`] bytes; holds how many.
    #[error("the topic is {0} bytes long, at most {TOPIC_BYTES_MAX} are allowed")]
    TooLong(usize),
    /// More than [`TOPIC_LEVELS_MAX`] levels; holds how many.
    #[error("the topic has {0} levels, at most {TOPIC_LEVELS_MAX} are allowed")]
    TooManyLevels(usize),
    /// A control character, a noncharacter or a character that turns the direction of text.
    #[error("the topic holds the forbidden character U+{:04X}", u32::from(*.0))]
    ForbiddenCharacter(char),
    /// `+` or `#` in the name of a topic, where only a filter may have them.
    #[error("a topic cannot hold the wildcard {0}")]
    WildcardInTopic(char),
    /// A wildcard that does not fill its level, or a `#` before the last level.
    #[error("the wildcard {0} is misplaced: + fills a level, # fills the last one")]
    MisplacedWildcard(char),
}

/// What topics and filters have in common: length, levels and characters.
fn check_text(text: &str) -> Result<(), TopicError> {
    if text.is_empty() {
        return Err(TopicError::Empty);
    }
    if text.len() > TOPIC_BYTES_MAX {
        return Err(TopicError::TooLong(text.len()));
    }
    let levels = 1 + text.bytes().filter(|&byte| byte == b'/').count();
    if levels > TOPIC_LEVELS_MAX {
        return Err(TopicError::TooManyLevels(levels));
    }
    // Most topics are plain ASCII, which one vectorised pass can tell.
    if text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return Ok(());
    }
    match text.chars().find(|&c| is_forbidden(c)) {
        Some(c) => Err(TopicError::ForbiddenCharacter(c)),
        None => Ok(()),
    }
}

/// Characters that would make two topics look alike, or a log line or terminal misbehave.
fn is_forbidden(c: char) -> bool {
    let code = u32::from(c);
    let noncharacter = code & 0xFFFE == 0xFFFE || (0xFDD0..=0xFDEF).contains(&code);
    let turns_direction = matches!(
        c,
        '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}'
    );
    c.is_control() || noncharacter || turns_direction
}
