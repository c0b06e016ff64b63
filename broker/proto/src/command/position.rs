//! Where a message stands in its topic: the epoch that the topic's numbering belongs to, and the
//! sequence number within it. Values only; the hub counts, the codecs write them.

use std::fmt;
use std::str::FromStr;

/// One message's place in its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// The numbering that `seq` belongs to.
    pub epoch: Epoch,
    /// The message's number, from 1; 0 stands before the first message.
    pub seq: u64,
}

/// One unbroken numbering of a topic. Sequence numbers of different epochs say nothing about each
/// other. Clients see it as lower-case base 36 and only ever compare it for equality.
///
/// ```
/// use broker_proto::command::Epoch;
///
/// let epoch: Epoch = "k3f9a1".parse()?;
/// assert_eq!(epoch.value(), 1_215_074_233);
/// assert_eq!(epoch.to_string(), "k3f9a1");
/// # Ok::<(), broker_proto::command::EpochError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(u64);

/// The text is no epoch: 1–13 digits of lower-case base 36 below 2^64, without leading zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an epoch: 1 to 13 digits and lower-case letters as the broker gave them")]
pub struct EpochError;

const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// Enough for 2^64 − 1 in base 36.
const DIGITS_MAX: usize = 13;

impl Epoch {
    /// The epoch with this number.
    pub fn new(value: u64) -> Self {
        Self(value)
    }

    /// The number itself, as the binary protocol sends it.
    pub fn value(self) -> u64 {
        self.0
    }

    /// Appends the text form to `out`.
    pub(crate) fn append_to(self, out: &mut Vec<u8>) {
        let mut digits = [0; DIGITS_MAX];
        out.extend_from_slice(self.digits(&mut digits));
    }

    fn digits(self, digits: &mut [u8; DIGITS_MAX]) -> &[u8] {
        let mut rest = self.0;
        let mut at = DIGITS_MAX;
        loop {
            at -= 1;
            digits[at] = DIGITS[(rest % 36) as usize];
            rest /= 36;
            if rest == 0 {
                return &digits[at..];
            }
        }
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; DIGITS_MAX];
        f.pad(std::str::from_utf8(self.digits(&mut digits)).map_err(|_| fmt::Error)?)
    }
}

impl FromStr for Epoch {
    type Err = EpochError;

    fn from_str(text: &str) -> Result<Self, EpochError> {
        // One text per epoch, so that a client may compare texts.
        if text.is_empty() || (text.len() > 1 && text.starts_with('0')) {
            return Err(EpochError);
        }
        let mut value = 0_u64;
        for byte in text.bytes() {
            let digit = match byte {
                b'0'..=b'9' => byte - b'0',
                b'a'..=b'z' => byte - b'a' + 10,
                _ => return Err(EpochError),
            };
            value = value
                .checked_mul(36)
                .and_then(|value| value.checked_add(u64::from(digit)))
                .ok_or(EpochError)?;
        }
        Ok(Self(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_epoch_takes_thirteen_digits() {
        let largest = Epoch::new(u64::MAX);
        assert_eq!(largest.to_string(), "3w5e11264sgsf");
        assert_eq!("3w5e11264sgsf".parse(), Ok(largest));
        assert_eq!("3w5e11264sgsg".parse::<Epoch>(), Err(EpochError));
    }

    #[test]
    fn an_epoch_has_exactly_one_text() {
        assert_eq!("0".parse(), Ok(Epoch::new(0)));
        for text in ["", "00", "0a", "A", "-1", "a b", "é", "zzzzzzzzzzzzzz"] {
            assert_eq!(text.parse::<Epoch>(), Err(EpochError), "{text:?}");
        }
    }
}
