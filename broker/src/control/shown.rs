//! The settings that hold, as the API shows them: by their keys, without anything that would let
//! somebody in. Replaced as a whole when the settings are read again.
//!
//! Made when the control plane starts; `server` replaces what it holds, the API reads it.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value, json};

use crate::config::{Config, changed};

/// What stands where something is left out.
const LEFT_OUT: &str = "***";
/// How the keys of settings end whose value is left out.
const SECRET_ENDINGS: [&str; 4] = ["secret", "password", "token", "sha256"];

/// The settings that hold, as text for those who may see them; clones show the same.
#[derive(Clone, Debug)]
pub struct Shown(Arc<Mutex<Arc<str>>>);

impl Shown {
    /// Shows these.
    pub fn new(config: &Config) -> Self {
        Self(Arc::new(Mutex::new(described(config))))
    }

    /// Shows these from here on.
    pub fn replace(&self, config: &Config) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = described(config);
    }

    /// A JSON object: `settings` by their keys, and in `changed` the keys of those that are not the
    /// default.
    pub fn text(&self) -> Arc<str> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn described(config: &Config) -> Arc<str> {
    let settings = serde_json::to_value(config).unwrap_or_else(|_| Value::Object(Map::new()));
    let changed = changed(&Config::default(), config);
    json!({ "settings": without_secrets(settings), "changed": changed }).to_string().into()
}

/// Settings hold names of files and digests of keys, not keys; but an address may carry a password.
fn without_secrets(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.into_iter().map(|(key, value)| {
                let is_secret = SECRET_ENDINGS.iter().any(|ending| key.ends_with(ending));
                let is_set = value.as_str().is_none_or(|text| !text.is_empty()) && !value.is_null();
                let value = if is_secret && is_set { LEFT_OUT.into() } else { value };
                (key, without_secrets(value))
            });
            Value::Object(kept.collect())
        }
        Value::Array(items) => items.into_iter().map(without_secrets).collect(),
        Value::String(text) => Value::String(without_password(text)),
        other => other,
    }
}

/// Of an address with a scheme: without what is before the host's `@`, and without the query.
fn without_password(text: String) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text };
    let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, _)| (rest, Some("?")));
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host =
        host.rsplit_once('@').map_or(host.to_owned(), |(_, host)| format!("{LEFT_OUT}@{host}"));
    let query = query.map_or(String::new(), |start| format!("{start}{LEFT_OUT}"));
    format!("{scheme}://{host}{path}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys::{ApiKey, Scope, digest};

    fn shown(config: &Config) -> Value {
        serde_json::from_str(&Shown::new(config).text()).unwrap()
    }

    #[test]
    fn every_setting_is_told_with_its_value_and_whether_it_is_the_default() {
        let told = shown(&Config { workers: 3, echo: true, ..Config::default() });
        assert_eq!(told["settings"]["workers"], 3);
        assert_eq!(told["settings"]["backlog_bytes_max"], 1_048_576);
        assert_eq!(told["settings"]["deflate_bytes_min"], 512);
        assert_eq!(told["changed"], json!(["echo", "workers"]));
    }

    #[test]
    fn what_would_let_somebody_in_is_left_out() {
        let key = ApiKey {
            name: "feed".to_owned(),
            sha256: digest("a-secret-that-is-long"),
            scopes: vec![Scope::Admin],
            topics: vec!["a/#".to_owned()],
        };
        let auth = toml::from_str("jwks_url = \"https://ana:pw@a.example:1/k/s?token=t\"").unwrap();
        let secret_file = "/etc/secret.key".into();
        let told = shown(&Config {
            api_key: vec![key],
            auth: vec![auth],
            auth_hmac_secret_file: secret_file,
            ..Config::default()
        });
        let settings = &told["settings"];
        assert_eq!(settings["api_key"][0]["name"], "feed");
        assert_eq!(settings["api_key"][0]["sha256"], "***");
        assert_eq!(
            settings["auth_hmac_secret_file"], "/etc/secret.key",
            "where it is tells nothing"
        );
        assert!(told.to_string().contains("https://***@a.example:1/k/s?***"), "{told}");
        assert!(!told.to_string().contains("pw") && !told.to_string().contains("=t"), "{told}");
    }

    #[test]
    fn settings_that_are_read_again_are_shown_to_all() {
        let shown = Shown::new(&Config::default());
        let other = shown.clone();
        shown.replace(&Config { last_ms: 7, ..Config::default() });
        let told: Value = serde_json::from_str(&other.text()).unwrap();
        assert_eq!(
            (&told["settings"]["last_ms"], &told["changed"]),
            (&7.into(), &json!(["last_ms"]))
        );
    }
}
