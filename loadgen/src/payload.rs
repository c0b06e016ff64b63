//! What a payload consists of beside its stamp: padding, or a quote as a market sends it. Keeps
//! the prices of what it writes; knows no protocol and no schedule. Written by the publishers,
//! read by whoever receives.

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::stamp::{Shape, Stamp};

/// The price that every symbol begins with, in ticks of a hundredth.
const TICKS_FIRST: u32 = 10_000;

/// No price falls below this, in ticks, nor rises above [`TICKS_MAX`].
const TICKS_MIN: u32 = 100;

/// See [`TICKS_MIN`].
const TICKS_MAX: u32 = 9_999_999;

/// The most that a price moves at once, in ticks, up or down.
const TICKS_STEP: u32 = 3;

/// The sizes of quotes are whole lots of 100, at most so many.
const LOTS_MAX: u32 = 99;

/// What follows the stamp in a quote.
const QUOTE_AFTER_STAMP: &[u8] = br#"","symbol":""#;

/// What a payload consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Body {
    /// A stamp and padding.
    Padded(Shape),
    /// A JSON object with a stamp, a symbol, a price that walks at random in ticks of a hundredth,
    /// a size and the time in milliseconds of the Unix epoch; spaces fill it up. The same in
    /// every protocol.
    Quote,
}

impl Body {
    /// The smallest payload that holds it, in bytes; that of a quote for symbols of 7 characters,
    /// which are enough for a million of them.
    #[must_use]
    pub const fn payload_bytes_min(self) -> usize {
        match self {
            Self::Padded(shape) => shape.payload_bytes_min(),
            Self::Quote => 136,
        }
    }

    /// The stamp of a payload that this body could have; none if it is damaged or not ours.
    #[must_use]
    pub fn read(self, payload: &[u8]) -> Option<Stamp> {
        match self {
            Self::Padded(shape) => shape.read(payload),
            Self::Quote => {
                let (stamp, rest) = Stamp::split_json(payload)?;
                let is_whole = rest.starts_with(QUOTE_AFTER_STAMP) && rest.ends_with(b"}");
                is_whole.then_some(stamp)
            }
        }
    }
}

/// Writes quotes, and remembers the last price of every symbol that it wrote.
///
/// ```
/// use loadgen::payload::{Body, Market};
/// use loadgen::stamp::Stamp;
///
/// let stamp = Stamp { run: 1, publisher: 0, topic: 42, seq: 1, intended_ns: 5 };
/// let mut payload = Vec::new();
/// Market::default().write(&stamp, 150, &mut payload);
/// assert_eq!(payload.len(), 150);
/// assert_eq!(Body::Quote.read(&payload), Some(stamp));
/// assert!(String::from_utf8_lossy(&payload).contains(r#""symbol":"S000042","price":"#));
/// ```
#[derive(Debug, Default)]
pub struct Market {
    /// By symbol's number, as far as they were written.
    ticks: Vec<u32>,
}

impl Market {
    /// Appends the next quote of the stamp's topic, `payload_bytes` long, or as long as it must
    /// be. The price moves by up to three ticks.
    pub fn write(&mut self, stamp: &Stamp, payload_bytes: usize, out: &mut Vec<u8>) {
        let begin = out.len();
        let ticks = self.walk(stamp.topic as usize);
        let lots = 1 + fastrand::u32(..LOTS_MAX);
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        stamp.write_json(out);
        out.extend_from_slice(QUOTE_AFTER_STAMP);
        write!(
            out,
            r#"S{:06}","price":{}.{:02},"size":{}00,"time":{time}"#,
            stamp.topic,
            ticks / 100,
            ticks % 100,
            lots
        )
        .expect("a vector takes all that is written");
        let length = (begin + payload_bytes).saturating_sub(1).max(out.len());
        out.resize(length, b' ');
        out.push(b'}');
    }

    fn walk(&mut self, symbol: usize) -> u32 {
        if self.ticks.len() <= symbol {
            self.ticks.resize(symbol + 1, TICKS_FIRST);
        }
        let ticks = &mut self.ticks[symbol];
        let moved = *ticks + fastrand::u32(..=2 * TICKS_STEP) - TICKS_STEP;
        *ticks = moved.clamp(TICKS_MIN, TICKS_MAX);
        *ticks
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn quotes_are_json_of_the_size_asked_for_and_their_prices_walk_in_small_steps() {
        let mut market = Market::default();
        let mut last = f64::from(TICKS_FIRST) / 100.0;
        for seq in 1..200 {
            let stamp = Stamp { run: 1, publisher: 2, topic: 999_999, seq, intended_ns: 9 };
            let mut payload = Vec::new();
            let size = Body::Quote.payload_bytes_min();
            market.write(&stamp, size, &mut payload);
            assert_eq!(payload.len(), size, "{}", String::from_utf8_lossy(&payload));
            assert_eq!(Body::Quote.read(&payload), Some(stamp));
            let quote: Value = serde_json::from_slice(&payload).unwrap();
            assert_eq!(quote["symbol"], "S999999");
            let price = quote["price"].as_f64().unwrap();
            assert!((price - last).abs() < 0.035, "{last} to {price}");
            assert_eq!(quote["size"].as_u64().unwrap() % 100, 0);
            last = price;
        }
    }

    #[test]
    fn a_quote_that_was_cut_or_is_none_has_no_stamp() {
        let stamp = Stamp { run: 1, publisher: 2, topic: 3, seq: 4, intended_ns: 5 };
        let mut payload = Vec::new();
        Market::default().write(&stamp, 150, &mut payload);
        assert_eq!(Body::Quote.read(&payload[..149]), None);
        payload.clear();
        Shape::Json.write(&stamp, 150, &mut payload);
        assert_eq!(Body::Quote.read(&payload), None);
    }
}
