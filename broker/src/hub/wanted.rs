//! How a subscription is to be served, kept for as long as it lasts: the options of a subscribe as
//! the hub works with them. Plain values; equal ones are served together.

use std::sync::Arc;

use broker_proto::command::{CommandError, Delta, SubscribeOptions};

use crate::config::rules::Rule;

/// What a subscription wants of its messages. The default is all of them, as they are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wanted {
    /// Only ever the newest message.
    pub latest: bool,
    /// At most one message in so many milliseconds of a topic or key; 0 is no limit.
    pub interval_ms: u32,
    /// The member that tells the values of a topic apart.
    pub key: Option<Box<str>>,
    /// Only these members.
    pub fields: Box<[Box<str>]>,
    /// Only what moved enough.
    pub deadband: Option<Band>,
    /// With a dead band: it began with the value of each topic, so that later ones are held against
    /// that. Who got none is to have the first that comes, and is served apart.
    pub from_last: bool,
}

/// How far a number must move from what was last sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Band {
    /// The member that holds the number.
    pub field: Box<str>,
    /// How far.
    pub delta: Delta,
    /// After so many milliseconds without a message the newest is sent, however little it moved;
    /// 0 waits for ever.
    pub max_silence_ms: u32,
}

/// Longest time between two messages that a rate can ask for: an hour.
const INTERVAL_MS_MAX: f64 = 3_600_000.0;

impl Wanted {
    /// What these options ask for. A client that names no mode gets what the topic's rule says,
    /// which is known for a filter without wildcards only.
    ///
    /// # Errors
    ///
    /// `bad_request`, if options contradict each other.
    pub fn new(
        options: &SubscribeOptions<'_>,
        rule: Option<&Rule>,
    ) -> Result<Arc<Self>, CommandError> {
        let by_rule = rule.filter(|rule| rule.latest && options.mode_is_default());
        let latest = options.latest || by_rule.is_some();
        if !latest && let Some(option) = options.needs_latest() {
            let message = format!("`{option}` needs \"mode\":\"latest\"");
            return Err(CommandError::bad_request(message));
        }
        let rate = options.max_rate.or_else(|| by_rule.and_then(|rule| rule.max_rate));
        let interval = |rate: f64| (1_000.0 / rate).ceil().min(INTERVAL_MS_MAX) as u32;
        let band = options.deadband.map(|deadband| Band {
            field: deadband.field.into(),
            delta: deadband.delta,
            max_silence_ms: deadband.max_silence_ms.unwrap_or(0),
        });
        let begins_with_values = options.last || options.since.is_some();
        Ok(Arc::new(Self {
            from_last: band.is_some() && begins_with_values,
            latest,
            interval_ms: rate.map_or(0, interval),
            key: options.key.map(Into::into),
            fields: options.fields.iter().map(|&name| name.into()).collect(),
            deadband: band,
        }))
    }

    /// Whether seqs may jump by request: only the newest is wanted, or only what moved.
    pub fn is_jumpy(&self) -> bool {
        self.latest || self.deadband.is_some()
    }

    /// Whether every message is wanted as it is.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}

impl Band {
    /// Whether `value` is far enough from `last`.
    pub fn is_left(&self, last: f64, value: f64) -> bool {
        let moved = (value - last).abs();
        match self.delta {
            Delta::Absolute(distance) => moved >= distance && moved > 0.0,
            Delta::Percent(percent) => moved >= last.abs() * percent / 100.0 && moved > 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_or_a_key_needs_the_mode_latest() {
        let options = SubscribeOptions { max_rate: Some(2.0), ..SubscribeOptions::default() };
        let error = Wanted::new(&options, None).unwrap_err();
        assert_eq!(error.to_string(), "bad_request: `max_rate` needs \"mode\":\"latest\"");
        let options = SubscribeOptions { latest: true, ..options };
        assert_eq!(Wanted::new(&options, None).unwrap().interval_ms, 500);
        assert!(Wanted::new(&SubscribeOptions::default(), None).unwrap().is_plain());
    }

    #[test]
    fn a_band_is_left_by_its_distance_or_percentage_and_never_by_standing_still() {
        let band = |delta| Band { field: "p".into(), delta, max_silence_ms: 0 };
        assert!(band(Delta::Absolute(0.5)).is_left(10.0, 9.5));
        assert!(!band(Delta::Absolute(0.5)).is_left(10.0, 10.4));
        assert!(band(Delta::Percent(1.0)).is_left(-200.0, -202.0));
        assert!(!band(Delta::Percent(1.0)).is_left(-200.0, -201.0));
        assert!(!band(Delta::Absolute(0.0)).is_left(3.0, 3.0));
    }
}
