//! Keys to the HTTP API, as tables `[[api_key]]` in the settings file: who may use it, for what.
//!
//! Only a key's SHA-256 is held, so that nothing that shows the settings shows a key. Read when
//! the settings are; the control plane asks for a key by what a request brought.

use std::path::{Path, PathBuf};

use broker_proto::topic::{Filter, Topic};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The shortest key that a file may hold: less could be guessed.
const KEY_BYTES_MIN: usize = 16;
/// Most keys.
const KEYS_MAX: usize = 1_000;

/// A key to the HTTP API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ApiKey {
    /// What it is called in logs.
    pub name: String,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
    /// What it is good for.
    pub scopes: Vec<Scope>,
    /// The topics it is good for.
    pub topics: Vec<String>,
}

/// What a key is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Publishing.
    Publish,
    /// Topics, their history and who is there.
    Read,
    /// Connections: seeing and closing them.
    Admin,
}

/// A key as it stands in the settings file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    sha256: Option<String>,
    key_file: Option<PathBuf>,
    scopes: Vec<Scope>,
    topics: Option<Vec<String>>,
}

/// Reads the tables, and the files they name, as seen from the folder of the settings file at
/// `path`; the error is the number of the table and what is wrong with it.
pub(super) fn read(path: &Path, tables: Vec<toml::Value>) -> Result<Vec<ApiKey>, (usize, String)> {
    if tables.len() > KEYS_MAX {
        return Err((KEYS_MAX + 1, format!("there may be {KEYS_MAX} keys")));
    }
    let mut keys: Vec<ApiKey> = Vec::new();
    for (place, table) in (1..).zip(tables) {
        let entry: Result<Entry, toml::de::Error> = table.try_into();
        let entry = entry.map_err(|error| (place, error.message().replace('\n', ", ")))?;
        let key = entry.into_key(path).map_err(|reason| (place, reason))?;
        if keys.iter().any(|known| known.name == key.name || known.sha256 == key.sha256) {
            return Err((place, format!("the key or the name {:?} is there twice", key.name)));
        }
        keys.push(key);
    }
    Ok(keys)
}

impl Entry {
    fn into_key(self, settings: &Path) -> Result<ApiKey, String> {
        let Self { name, sha256, key_file, scopes, topics } = self;
        let is_shown = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.len() > 64 || !name.chars().all(is_shown) {
            return Err("name: 1 to 64 letters, digits, dots, dashes and underscores".to_owned());
        }
        if scopes.is_empty() {
            return Err("scopes: at least one of publish, read and admin".to_owned());
        }
        let topics = topics.unwrap_or_else(|| vec!["#".to_owned(), "$SYS/#".to_owned()]);
        for topic in &topics {
            Filter::new(topic).map_err(|error| format!("topics: {topic:?}: {error}"))?;
        }
        let sha256 = match (sha256, key_file) {
            (Some(digest), None) => checked_digest(&digest)?,
            (None, Some(file)) => digest_of_file(settings, &file)?,
            _ => return Err("either sha256 or key_file".to_owned()),
        };
        Ok(ApiKey { name, sha256, scopes, topics })
    }
}

impl ApiKey {
    /// Whether it is good for this.
    pub fn allows(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    /// Whether it is good for this topic.
    pub fn covers(&self, topic: Topic<'_>) -> bool {
        let matches = |filter: &String| Filter::new(filter).is_ok_and(|f| f.matches(topic));
        self.topics.iter().any(matches)
    }
}

/// The SHA-256 of a key, in hexadecimal, as a setting has it.
pub fn digest(key: &str) -> String {
    Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn checked_digest(digest: &str) -> Result<String, String> {
    let is_digest = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    match is_digest {
        true => Ok(digest.to_ascii_lowercase()),
        false => Err("sha256: 64 hexadecimal digits, the SHA-256 of the key".to_owned()),
    }
}

fn digest_of_file(settings: &Path, file: &Path) -> Result<String, String> {
    let path = settings.parent().unwrap_or(Path::new("")).join(file);
    let text = std::fs::read_to_string(&path)
        .map_err(|error| format!("key_file: {}: {error}", path.display()))?;
    let key = text.trim();
    if key.len() < KEY_BYTES_MIN || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        let path = path.display();
        return Err(format!(
            "key_file: {path}: a line of {KEY_BYTES_MIN} ASCII characters or more"
        ));
    }
    Ok(digest(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Vec<ApiKey>, (usize, String)> {
        let table: toml::Table = text.parse().unwrap();
        let Some(toml::Value::Array(tables)) = table.get("api_key") else { panic!("tables") };
        read(Path::new("altavoz.toml"), tables.clone())
    }

    #[test]
    fn a_key_is_good_for_its_scopes_and_topics_alone() {
        let keys = read_text(&format!(
            "[[api_key]]\nname = \"feed\"\nsha256 = \"{}\"\nscopes = [\"publish\"]\n\
             topics = [\"ticker/#\"]",
            digest("0123456789abcdef").to_uppercase()
        ));
        let [key] = &*keys.unwrap() else { panic!("one key") };
        assert!(key.allows(Scope::Publish) && !key.allows(Scope::Read));
        assert!(key.covers(Topic::new("ticker/ACME").unwrap()));
        assert!(!key.covers(Topic::new("orders/7").unwrap()));
        assert_eq!(key.sha256, digest("0123456789abcdef"));
    }

    #[test]
    fn what_is_wrong_with_a_key_is_told_with_its_place() {
        let hash = digest("x");
        let of = |text: &str| read_text(&format!("[[api_key]]\n{text}")).unwrap_err().1;
        assert!(of("name = \"a\"\nscopes = [\"read\"]").contains("either sha256 or key_file"));
        assert!(of("name = \"a b\"\nscopes = [\"read\"]\nsha256 = \"1\"").contains("name"));
        assert!(of("name = \"a\"\nscopes = []\nsha256 = \"1\"").contains("scopes"));
        assert!(of("name = \"a\"\nscopes = [\"read\"]\nsha256 = \"1\"").contains("64 hexadecimal"));
        let bad = format!("name = \"a\"\nscopes = [\"read\"]\nsha256 = \"{hash}\"\n");
        assert!(of(&format!("{bad}topics = [\"a/#/b\"]")).contains("topics"));
        assert!(of(&format!("{bad}[[api_key]]\n{bad}")).contains("twice"));
        assert!(of(&format!("{bad}key = 1")).contains("key"));
        assert!(of("name = \"a\"\nscopes = [\"rule\"]\nsha256 = \"1\"").contains("rule"));
    }
}
