//! The keys that tokens are held against, as tables `[[auth.key]]` of the settings file. Holds
//! names of files and variables, never a secret itself, so that what is shown of the settings can
//! be shown to anybody. Nothing is read here.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One key, or one set of keys.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KeyEntry {
    /// The algorithm, such as `ES256`; a set of keys may go without.
    pub alg: Option<String>,
    /// The `kid` that tokens name it by.
    pub kid: Option<String>,
    /// Who tokens must be from (`iss`).
    pub issuer: Option<String>,
    /// Whom tokens must be for (`aud`), one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub audience: Vec<String>,
    /// File with a secret, for HS256, HS384 and HS512. A line end after it does not count.
    pub secret_file: Option<PathBuf>,
    /// Environment variable with a secret.
    pub secret_env: Option<String>,
    /// File with a public key in PEM, for the other algorithms.
    pub key_file: Option<PathBuf>,
    /// File with a JWKS.
    pub jwks_file: Option<PathBuf>,
    /// Address of a JWKS: `https://`, or `http://` on this machine.
    pub jwks_url: Option<String>,
}

/// Where a key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A secret in a file.
    SecretFile(PathBuf),
    /// A secret in an environment variable.
    SecretVariable(String),
    /// A public key in a file.
    KeyFile(PathBuf),
    /// A set of keys in a file.
    JwksFile(PathBuf),
    /// A set of keys at an address.
    JwksUrl(String),
}

impl KeyEntry {
    /// The key that is a secret in this file, for HS256 and tokens from anybody who has it.
    pub fn hmac(secret_file: PathBuf) -> Self {
        let alg = Some("HS256".to_owned());
        Self { alg, secret_file: Some(secret_file), ..Self::default() }
    }

    /// Where it is.
    ///
    /// # Errors
    /// A line for the operator: none or several places are named, or what is named does not fit.
    pub fn place(&self) -> Result<Place, String> {
        let places = [
            self.secret_file.clone().map(Place::SecretFile),
            self.secret_env.clone().map(Place::SecretVariable),
            self.key_file.clone().map(Place::KeyFile),
            self.jwks_file.clone().map(Place::JwksFile),
            self.jwks_url.clone().map(Place::JwksUrl),
        ];
        let mut places = places.into_iter().flatten();
        let (Some(place), None) = (places.next(), places.next()) else {
            return Err(
                "needs one of secret_file, secret_env, key_file, jwks_file, jwks_url".to_owned()
            );
        };
        match &place {
            Place::JwksUrl(url) if !is_safe(url) => {
                Err(format!("jwks_url = {url:?}: must begin with https:// (http:// on localhost)"))
            }
            Place::JwksFile(_) | Place::JwksUrl(_) if self.kid.is_some() => {
                Err("kid: the keys of a set have their own".to_owned())
            }
            Place::JwksFile(_) | Place::JwksUrl(_) => Ok(place),
            _ if self.alg.is_none() => Err("needs alg, such as \"HS256\" or \"ES256\"".to_owned()),
            _ => Ok(place),
        }
    }
}

/// Keys that come over a network in the clear could be anybody's.
fn is_safe(url: &str) -> bool {
    let local = ["http://localhost", "http://127.0.0.1", "http://[::1]"];
    let is_local = |rest: &str| rest.is_empty() || rest.starts_with([':', '/']);
    url.starts_with("https://")
        || local.iter().any(|start| url.strip_prefix(start).is_some_and(is_local))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Result<Place, String> {
        toml::from_str::<KeyEntry>(text).unwrap().place()
    }

    #[test]
    fn a_key_is_at_one_place_and_has_an_algorithm_unless_it_is_a_set() {
        let secret = Ok(Place::SecretVariable("S".to_owned()));
        assert_eq!(place("alg = \"HS256\"\nsecret_env = \"S\""), secret);
        assert!(place("secret_env = \"S\"").unwrap_err().contains("alg"));
        assert!(place("alg = \"ES256\"").unwrap_err().starts_with("needs one of"));
        assert!(place("alg = \"ES256\"\nkey_file = \"k\"\nsecret_env = \"S\"").is_err());
        assert_eq!(place("jwks_file = \"j\""), Ok(Place::JwksFile("j".into())));
        assert!(place("jwks_file = \"j\"\nkid = \"1\"").unwrap_err().starts_with("kid"));
        assert!(toml::from_str::<KeyEntry>("secret = \"s\"").is_err(), "secrets stay out of it");
    }

    #[test]
    fn a_set_of_keys_comes_over_tls_or_from_this_machine() {
        for url in ["https://a.example/jwks", "http://localhost:80/j", "http://127.0.0.1/j"] {
            assert!(place(&format!("jwks_url = \"{url}\"")).is_ok(), "{url}");
        }
        for url in ["http://a.example/", "http://localhost.evil.example/", "file:///etc/passwd"] {
            assert!(place(&format!("jwks_url = \"{url}\"")).is_err(), "{url}");
        }
    }
}
