//! The settings file: flat TOML, one key per setting.
//!
//! Refuses keys that are no settings and values of the wrong type, so that a slip never passes for
//! a default. Ranges are not looked at here: `load` puts the values through the flags' parser.

use std::path::Path;

use clap::Command;
use clap::error::{ContextKind, ContextValue};
use toml::{Table, Value};

use super::auth::KeyEntry;
use super::keys::{self, ApiKey};
use super::load::{Found, Kind, LoadError, Origin};
use super::rules::RuleEntry;

/// The key of the rules for topics.
const RULES: &str = "topic";
/// The key of the table that holds the keys for tokens.
const AUTH: &str = "auth";
/// The key of the keys to the HTTP API.
const API_KEYS: &str = "api_key";

/// What the file has besides plain values.
#[derive(Default)]
pub(super) struct Tables {
    /// The rules for topics.
    pub(super) topic: Vec<RuleEntry>,
    /// The keys for tokens.
    pub(super) auth: Vec<KeyEntry>,
    /// The keys to the HTTP API.
    pub(super) api_key: Vec<ApiKey>,
}

/// Reads the file. The values come back as text, in the order of their keys, and apart from them
/// what stands in tables.
pub(super) fn read(
    path: &Path,
    kinds: &[(String, Kind)],
    command: &Command,
) -> Result<(Vec<Found>, Tables), LoadError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| LoadError::File { path: path.into(), reason: error.to_string() })?;
    let mut table: Table = text.parse().map_err(|error| LoadError::File {
        path: path.into(),
        reason: place_and_fault(&text, &error),
    })?;
    let topic = table.remove(RULES).map_or(Ok(Vec::new()), |value| read_rules(path, value))?;
    let auth = table.remove(AUTH).map_or(Ok(Vec::new()), |value| read_keys(path, value))?;
    let api_key =
        table.remove(API_KEYS).map_or(Ok(Vec::new()), |value| read_api_keys(path, value))?;
    let entries = table.into_iter().map(|(key, value)| entry(path, kinds, command, key, &value));
    Ok((entries.collect::<Result<_, _>>()?, Tables { topic, auth, api_key }))
}

/// The tables `[[auth.key]]`.
fn read_keys(path: &Path, value: Value) -> Result<Vec<KeyEntry>, LoadError> {
    let wrong = |place: usize, reason: String| LoadError::Value {
        setting: format!("{}: [[auth.key]] number {place}", path.display()),
        reason,
    };
    let tables = match value {
        Value::Table(mut auth) => match (auth.remove("key"), auth.is_empty()) {
            (Some(Value::Array(tables)), true) => tables,
            _ => return Err(wrong(1, "keys are written [[auth.key]], and nothing else".into())),
        },
        _ => return Err(wrong(1, "must be a table, written [[auth.key]]".to_owned())),
    };
    let mut keys = Vec::new();
    for (place, table) in (1..).zip(tables) {
        let key: KeyEntry = table
            .try_into()
            .map_err(|error: toml::de::Error| wrong(place, error.message().replace('\n', ", ")))?;
        key.place().map_err(|reason| wrong(place, reason))?;
        keys.push(key);
    }
    Ok(keys)
}

/// The tables `[[api_key]]`.
fn read_api_keys(path: &Path, value: Value) -> Result<Vec<ApiKey>, LoadError> {
    let wrong = |(place, reason): (usize, String)| LoadError::Value {
        setting: format!("{}: [[api_key]] number {place}", path.display()),
        reason,
    };
    let Value::Array(tables) = value else {
        return Err(wrong((1, "must be a table, written [[api_key]]".to_owned())));
    };
    keys::read(path, tables).map_err(wrong)
}

/// The tables `[[topic]]`.
fn read_rules(path: &Path, value: Value) -> Result<Vec<RuleEntry>, LoadError> {
    let wrong = |place: usize, reason: String| LoadError::Value {
        setting: format!("{}: [[topic]] number {place}", path.display()),
        reason,
    };
    let Value::Array(tables) = value else {
        return Err(wrong(1, "must be a table, written [[topic]]".to_owned()));
    };
    let mut rules = Vec::new();
    for (place, table) in (1..).zip(tables) {
        let rule: RuleEntry = table
            .try_into()
            .map_err(|error: toml::de::Error| wrong(place, error.message().replace('\n', ", ")))?;
        rule.check().map_err(|reason| wrong(place, reason))?;
        rules.push(rule);
    }
    Ok(rules)
}

fn entry(
    path: &Path,
    kinds: &[(String, Kind)],
    command: &Command,
    key: String,
    value: &Value,
) -> Result<Found, LoadError> {
    let known = kinds.iter().find(|(name, _)| *name == key && key != "config");
    let Some(&(_, kind)) = known else {
        let suggestion = similar(&key, kinds, command);
        return Err(LoadError::UnknownKey { path: path.into(), key, suggestion });
    };
    let origin = Origin::File(path.into());
    match texts(kind, value) {
        Some(values) => Ok(Found { key, values, origin }),
        None => Err(LoadError::Value {
            setting: origin.spell(&key, &value.to_string()),
            reason: format!("must be {}, not {}", wanted(kind), found(value)),
        }),
    }
}

fn texts(kind: Kind, value: &Value) -> Option<Vec<String>> {
    match (kind, value) {
        (Kind::Boolean, Value::Boolean(value)) => Some(vec![value.to_string()]),
        (Kind::Integer, Value::Integer(value)) => Some(vec![value.to_string()]),
        (Kind::Text | Kind::Texts, Value::String(value)) => Some(vec![value.clone()]),
        (Kind::Texts, Value::Array(values)) => {
            values.iter().map(|value| value.as_str().map(str::to_owned)).collect()
        }
        _ => None,
    }
}

fn wanted(kind: Kind) -> &'static str {
    match kind {
        Kind::Boolean => "true or false",
        Kind::Integer => "an integer",
        Kind::Text => "a string",
        Kind::Texts => "a list of strings",
    }
}

fn found(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a string",
        Value::Integer(_) => "an integer",
        Value::Float(_) => "a float",
        Value::Boolean(_) => "a boolean",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "such a list",
        Value::Table(_) => "a table",
    }
}

/// The setting that is spelled most like this key, by the same measure as for a mistyped flag.
fn similar(key: &str, kinds: &[(String, Kind)], command: &Command) -> Option<String> {
    let is_key = |name: &str| kinds.iter().any(|(known, _)| known == name) && name != "config";
    let spelled_as_flag = key.replace('-', "_");
    if is_key(&spelled_as_flag) {
        return Some(spelled_as_flag);
    }
    let flag = format!("--{}", key.replace('_', "-"));
    let error = command.clone().try_get_matches_from(["broker", &flag]).err()?;
    match error.get(ContextKind::SuggestedArg) {
        Some(ContextValue::String(flag)) => {
            Some(flag.trim_start_matches('-').replace('-', "_")).filter(|name| is_key(name))
        }
        _ => None,
    }
}

/// `line 3, column 8: what the parser said`, on one line.
fn place_and_fault(text: &str, error: &toml::de::Error) -> String {
    let fault = error.message().replace('\n', ", ");
    let Some(before) = error.span().and_then(|span| text.get(..span.start)) else { return fault };
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
    format!("line {line}, column {column}: {fault}")
}
