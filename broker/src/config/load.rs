//! Reads the settings when the process starts: a flag wins over the environment, that over the
//! file, that over the default.
//!
//! Values of the environment and the file are turned into flags and go through the one parser that
//! `Config` declares, so every range and every message has one source. Called by `main` alone.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::ffi::OsString;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{ArgMatches, Command, CommandFactory, FromArgMatches};

use super::{Config, check, file};

/// Arguments that act on this one start and so are neither variables nor keys of the file.
const NOT_SETTINGS: [&str; 3] = ["check", "help", "version"];

/// Reads the settings from these arguments (the program's name first), from the environment and
/// from the file they name.
///
/// # Errors
///
/// [`LoadError`]: what was wrong and where, or that something else was asked for than to start.
///
/// ```
/// let config = broker::config::load::from_args(["broker", "--workers", "2"])?;
/// assert_eq!(config.workers, 2);
/// # Ok::<(), broker::config::load::LoadError>(())
/// ```
pub fn from_args(args: impl IntoIterator<Item: Into<OsString>>) -> Result<Config, LoadError> {
    let args = args.into_iter().map(Into::into).collect();
    let resolved = resolve(args, |name| std::env::var_os(name))?;
    if resolved.config.check {
        return Err(LoadError::Checked(resolved.to_string()));
    }
    Ok(resolved.config)
}

/// The settings that apply, and where each came from.
#[derive(Debug)]
struct Resolved {
    config: Config,
    matches: ArgMatches,
    kinds: Vec<(String, Kind)>,
    origins: BTreeMap<String, Origin>,
}

/// Written as a settings file that gives the same settings again, with the origins as comments.
impl fmt::Display for Resolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, kind) in self.kinds.iter().filter(|(key, _)| key != "config") {
            let values = raw_values(&self.matches, key);
            let line = format!("{key} = {}", kind.to_toml(&values));
            let origin = self.origins.get(key).unwrap_or(&Origin::Default);
            writeln!(f, "{line:<56}  # {origin}")?;
        }
        for rule in &self.config.topic {
            let text = toml::to_string(rule).map_err(|_| fmt::Error)?;
            write!(f, "\n[[topic]]\n{text}")?;
        }
        for key in &self.config.auth {
            let text = toml::to_string(key).map_err(|_| fmt::Error)?;
            write!(f, "\n[[auth.key]]\n{text}")?;
        }
        for key in &self.config.api_key {
            let text = toml::to_string(key).map_err(|_| fmt::Error)?;
            write!(f, "\n[[api_key]]\n{text}")?;
        }
        Ok(())
    }
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Flag,
    Environment,
    File(PathBuf),
    Default,
}

impl Origin {
    /// The setting as it is spelled at this origin, for a message about its value.
    pub(super) fn spell(&self, key: &str, value: &str) -> String {
        match self {
            Self::Flag => format!("--{}={value}", key.replace('_', "-")),
            Self::Environment => format!("{}={value}", variable(key)),
            Self::File(path) => format!("{}: {key} = {value}", path.display()),
            Self::Default => format!("{key} = {value} (the default)"),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Environment => f.write_str("environment"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// What kind of value a setting takes in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Boolean,
    Integer,
    Text,
    Texts,
}

impl Kind {
    fn of(arg: &clap::Arg) -> Self {
        let id = arg.get_value_parser().type_id();
        if arg.get_value_delimiter().is_some() {
            Self::Texts
        } else if id == std::any::TypeId::of::<bool>() {
            Self::Boolean
        } else if id == std::any::TypeId::of::<u32>()
            || id == std::any::TypeId::of::<u64>()
            || id == std::any::TypeId::of::<usize>()
        {
            Self::Integer
        } else {
            Self::Text
        }
    }

    fn to_toml(self, values: &[String]) -> String {
        let quoted = |text: &String| toml::Value::from(text.as_str()).to_string();
        match (self, values) {
            (Self::Texts, values) => {
                format!("[{}]", values.iter().map(quoted).collect::<Vec<_>>().join(", "))
            }
            (Self::Text, [value]) => quoted(value),
            (_, values) => values.join(","),
        }
    }
}

/// Why there are no settings to start with. Each mistake is one line that names what to change
/// and where, except what clap says about flags: a line, a hint and the usage.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The flags can't be read, or they ask for help or the version and this is the answer.
    #[error("{0}")]
    Usage(#[from] clap::Error),
    /// `--check` asked for the settings, and these are they, as a settings file with the origin of
    /// each in a comment.
    #[error("{0}")]
    Checked(String),
    /// The file can't be read.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said, or line, column and fault of the TOML.
        reason: String,
    },
    /// The file has a key that is no setting.
    #[error("{}: unknown key `{key}`{}", path.display(), did_you_mean(suggestion.as_deref()))]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// A key that is spelled much like it.
        suggestion: Option<String>,
    },
    /// A variable's or key's value is of the wrong type or out of range.
    #[error("{setting}: {reason}")]
    Value {
        /// The variable or key, spelled with its value as it stands there.
        setting: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Two settings, each fine alone, can't both hold.
    #[error("{0}")]
    Conflict(String),
}

impl LoadError {
    /// Prints the error on standard error, or what was asked for on standard output, and gives the
    /// status to exit with: 2, or 0 for `--help`, `--version` and `--check`.
    pub fn report(&self) -> ExitCode {
        // A closed output is no reason to fail differently.
        match self {
            Self::Usage(usage) => {
                let _ = usage.print();
                ExitCode::from(usage.exit_code() as u8)
            }
            Self::Checked(settings) => {
                let _ = std::io::stdout().write_all(settings.as_bytes());
                ExitCode::SUCCESS
            }
            other => {
                eprintln!("error: {other}");
                ExitCode::from(2)
            }
        }
    }
}

fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(String::new, |key| format!("; did you mean `{key}`?"))
}

/// One value found outside the flags.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) key: String,
    /// Several only for a list; none for an empty one.
    pub(super) values: Vec<String>,
    pub(super) origin: Origin,
}

impl Found {
    fn flags(&self) -> impl Iterator<Item = OsString> {
        let flag = self.key.replace('_', "-");
        self.values.iter().map(move |value| format!("--{flag}={value}").into())
    }

    /// Puts the values through the parser alone, so that a complaint is about them.
    fn checked(self, command: &Command) -> Result<Self, LoadError> {
        let args = std::iter::once("broker".into()).chain(self.flags());
        match command.clone().try_get_matches_from(args) {
            Ok(_) => Ok(self),
            Err(error) => {
                let setting = self.origin.spell(&self.key, &self.values.join(","));
                Err(LoadError::Value { setting, reason: reason(&error) })
            }
        }
    }
}

fn resolve(
    args: Vec<OsString>,
    variables: impl Fn(&str) -> Option<OsString>,
) -> Result<Resolved, LoadError> {
    let command = command();
    let given = command.clone().try_get_matches_from(&args)?;
    let kinds = kinds(&command);

    let mut found = BTreeMap::new();
    let environment = from_environment(&kinds, variables)?;
    let named_there = environment.iter().find(|found| found.key == "config");
    let path = given
        .get_one::<PathBuf>("config")
        .map(PathBuf::as_path)
        .or_else(|| named_there.and_then(|found| found.values.first()).map(Path::new));
    let mut tables = file::Tables::default();
    if let Some(path) = path {
        let (values, others) = file::read(path, &kinds, &command)?;
        tables = others;
        for value in values {
            let value = value.checked(&command)?;
            found.insert(value.key.clone(), value);
        }
    }
    for value in environment {
        let value = value.checked(&command)?;
        found.insert(value.key.clone(), value);
    }
    found.retain(|key, _| !is_flag(&given, key));

    let mut args = args.into_iter();
    let program = args.next().unwrap_or_else(|| "broker".into());
    let all = std::iter::once(program).chain(found.values().flat_map(Found::flags)).chain(args);
    let matches = command.try_get_matches_from(all)?;
    let file::Tables { topic, auth, api_key } = tables;
    let config = Config { topic, auth, api_key, ..Config::from_arg_matches(&matches)? };

    let mut origins: BTreeMap<_, _> =
        found.into_iter().map(|(key, found)| (key, found.origin)).collect();
    for (key, _) in &kinds {
        if is_flag(&given, key) {
            origins.insert(key.clone(), Origin::Flag);
        }
    }
    check::together(&config, &origins).map_err(LoadError::Conflict)?;
    Ok(Resolved { config, matches, kinds, origins })
}

/// The parser, with the name of each setting's environment variable in its help.
fn command() -> Command {
    Config::command().mut_args(|arg| {
        if NOT_SETTINGS.contains(&arg.get_id().as_str()) {
            return arg;
        }
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let variable = variable(arg.get_id().as_str());
        arg.help(format!("{help} [{variable}]"))
    })
}

/// The settings in the order of the help, and the kind of each.
fn kinds(command: &Command) -> Vec<(String, Kind)> {
    command
        .get_arguments()
        .filter(|arg| !NOT_SETTINGS.contains(&arg.get_id().as_str()))
        .map(|arg| (arg.get_id().to_string(), Kind::of(arg)))
        .collect()
}

fn variable(key: &str) -> String {
    format!("ALTAVOZ_{}", key.to_ascii_uppercase())
}

fn from_environment(
    kinds: &[(String, Kind)],
    variables: impl Fn(&str) -> Option<OsString>,
) -> Result<Vec<Found>, LoadError> {
    let mut found = Vec::new();
    for (key, _) in kinds {
        let Some(value) = variables(&variable(key)).filter(|value| !value.is_empty()) else {
            continue;
        };
        let origin = Origin::Environment;
        match value.into_string() {
            Ok(value) => found.push(Found { key: key.clone(), values: vec![value], origin }),
            Err(value) => {
                let setting = origin.spell(key, &value.to_string_lossy());
                return Err(LoadError::Value { setting, reason: "not UTF-8".into() });
            }
        }
    }
    Ok(found)
}

fn is_flag(given: &ArgMatches, key: &str) -> bool {
    given.value_source(key) == Some(ValueSource::CommandLine)
}

fn raw_values(matches: &ArgMatches, key: &str) -> Vec<String> {
    let values = matches.get_raw(key).into_iter().flatten();
    values.map(|value| value.to_string_lossy().into_owned()).collect()
}

/// What is wrong with a value, without the flag and the usage that clap puts around it.
fn reason(error: &clap::Error) -> String {
    if let Some(source) = error.source() {
        return match source.downcast_ref::<std::num::ParseIntError>() {
            Some(_) => "must be a whole number, not negative".into(),
            None => source.to_string(),
        };
    }
    match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(valid)) => format!("must be one of {}", valid.join(", ")),
        _ => error.kind().to_string(),
    }
}

#[cfg(test)]
mod tests;
