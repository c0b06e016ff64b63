//! What it takes to be let in by a target: headers, a subprotocol, secrets. Checked once, before
//! the run; a secret is shown to nobody but the target. Made from the flags, used by the protocols.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What goes into the handshake and the first commands. All of it may be absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Access {
    /// Replaces the protocol's own subprotocol; empty to ask for none.
    pub subprotocol: Option<String>,
    /// Further headers of the handshake, names and values as `header` lets them pass.
    pub headers: Vec<(String, Secret)>,
    /// The name to log in with, where the protocol has one.
    pub user: Option<String>,
    /// What proves who we are.
    pub token: Option<Secret>,
    /// Key and secret of an app, where the protocol has apps.
    pub app: Option<(String, Secret)>,
}

/// A text that no report, log or error shows.
///
/// ```
/// use loadgen::target::Secret;
///
/// assert_eq!(format!("{:?}", Secret::new("hunter2")), "…");
/// ```
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` from being shown.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The text, for the target.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}
