//! The claims of a token that count here (RFC 7519 §4.1), read with their types, and held against
//! the time. A claim of the wrong type refuses the token; unknown ones are passed over.

use serde::{Deserialize, Deserializer};

use super::{FILTERS_MAX, LEEWAY_S, TokenError, USER_BYTES_MAX};

/// What a token says.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    /// The user.
    pub(super) sub: String,
    /// When it ends, in seconds since 1970.
    #[serde(deserialize_with = "numeric_date")]
    pub(super) exp: u64,
    #[serde(default, deserialize_with = "optional_date")]
    nbf: Option<u64>,
    /// When it was made.
    #[serde(default, deserialize_with = "optional_date")]
    pub(super) iat: Option<u64>,
    /// Who made it.
    #[serde(default)]
    pub(super) iss: Option<String>,
    /// Filters of topics that the user may subscribe to.
    #[serde(default)]
    pub(super) sub_allow: Vec<String>,
    /// Filters of topics that the user may publish on.
    #[serde(default)]
    pub(super) pub_allow: Vec<String>,
}

impl Claims {
    /// The claims, if they make sense and hold now.
    pub(super) fn hold_at(self, now_unix_s: u64) -> Result<Self, TokenError> {
        let is_name = (1..=USER_BYTES_MAX).contains(&self.sub.len())
            && !self.sub.chars().any(char::is_control);
        let is_short = self.sub_allow.len().max(self.pub_allow.len()) <= FILTERS_MAX;
        if !is_name || !is_short {
            return Err(TokenError::Claims);
        }
        let latest = now_unix_s.saturating_add(LEEWAY_S);
        if [self.nbf, self.iat].into_iter().flatten().any(|from| from > latest) {
            return Err(TokenError::NotYet);
        }
        if self.exp <= now_unix_s {
            return Err(TokenError::Expired);
        }
        Ok(self)
    }
}

/// A number of seconds, which may have a fraction (RFC 7519 §2); never a text.
fn numeric_date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let seconds = f64::deserialize(deserializer)?;
    if seconds.is_finite() && seconds >= 0.0 {
        // Beyond the range it is the end of time.
        return Ok(seconds as u64);
    }
    Err(serde::de::Error::custom("not a date"))
}

fn optional_date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    numeric_date(deserializer).map(Some)
}
