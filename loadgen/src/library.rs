//! Scenarios as files: those built in, and the user's. A file is flat TOML; `scenario` names the
//! subcommand, `load` that of a search, every other key is one of its flags. Opens no connection;
//! called by `main`'s way into the scenarios.

use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, CommandFactory as _, Parser as _};
use toml::{Table, Value};

use crate::options::{Command, Find, Options, Searched};

/// The subcommand that searches with a scenario.
const SEARCH: &str = "find";

/// The key that names the subcommand.
const SCENARIO: &str = "scenario";

/// The key that names the scenario to search with, where `scenario` is [`SEARCH`].
const LOAD: &str = "load";

/// The scenarios with their files, which say what each is for and hold its defaults.
pub const BUILT_IN: [(&str, &str); 11] = [
    ("chat", include_str!("../scenarios/chat.toml")),
    ("churn", include_str!("../scenarios/churn.toml")),
    ("connect", include_str!("../scenarios/connect.toml")),
    ("dashboard", include_str!("../scenarios/dashboard.toml")),
    ("echo", include_str!("../scenarios/echo.toml")),
    ("fanout", include_str!("../scenarios/fanout.toml")),
    ("find", include_str!("../scenarios/find.toml")),
    ("notify", include_str!("../scenarios/notify.toml")),
    ("slow", include_str!("../scenarios/slow.toml")),
    ("storm", include_str!("../scenarios/storm.toml")),
    ("ticker", include_str!("../scenarios/ticker.toml")),
];

/// Why a file is no scenario; each makes the exit code 2.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// It can't be read, or is no TOML.
    #[error("{}: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong, in one line.
        why: String,
    },
    /// A key is no flag of the scenario.
    #[error("{}: unknown key `{key}`{}", path.display(), hint(meant.as_deref()))]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The key as it stands there.
        key: String,
        /// The flag that is spelled most like it.
        meant: Option<String>,
    },
    /// A value that the flag does not take, in the file or on the command line.
    #[error("{}: {cause}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// What the flag's parser said.
        cause: clap::Error,
    },
}

/// One line per scenario: its name and what it is.
#[must_use]
pub fn list() -> String {
    let about = |text: &'static str| text.lines().next().unwrap_or_default();
    BUILT_IN.iter().map(|(_, text)| format!("{}\n", about(text).trim_start_matches("# "))).collect()
}

/// The file behind a built-in scenario.
///
/// # Errors
///
/// A sentence that names those that there are.
pub fn show(name: &str) -> Result<&'static str, String> {
    let found = BUILT_IN.iter().find(|(known, _)| *known == name).map(|(_, text)| *text);
    found.ok_or_else(|| format!("there is no scenario {name}; there are {}", names()))
}

/// Reads a scenario's file for `loadgen find`, whose flags may stand in it too; that of a search
/// is taken as it is. The first word is the file, the others are flags that win over it.
///
/// # Errors
///
/// As [`load`], and if the scenario has no rate.
pub fn load_search(words: &[String]) -> Result<Options, LibraryError> {
    let (file, flags) = words.split_first().map_or(("", words), |(file, flags)| (file, flags));
    let path = Path::new(file);
    let text = read(path)?;
    let options = parse(path, &text, &[SEARCH], flags)?;
    let is_search = |found: &Find| !matches!(found.scenario, Searched::File(_));
    match &options.command {
        Command::Find(found) if is_search(found) => Ok(options),
        _ => Err(LibraryError::File { path: path.into(), why: "its scenario has no rate".into() }),
    }
}

/// Reads a scenario's file. `flags` come after those of the file and win over them; a flag that
/// can be given many times is added to them.
///
/// # Errors
///
/// If it can't be read, or holds a key or a value that its scenario does not have.
pub fn load(path: &Path, flags: &[String]) -> Result<Options, LibraryError> {
    parse(path, &read(path)?, &[], flags)
}

fn read(path: &Path) -> Result<String, LibraryError> {
    std::fs::read_to_string(path)
        .map_err(|error| LibraryError::File { path: path.into(), why: error.to_string() })
}

/// `before` are the subcommands that the scenario is one of.
fn parse(
    path: &Path,
    text: &str,
    before: &[&str],
    flags: &[String],
) -> Result<Options, LibraryError> {
    let fault = |why: String| LibraryError::File { path: path.into(), why };
    let mut table: Table =
        text.parse().map_err(|error: toml::de::Error| fault(place_and_fault(text, &error)))?;
    let scenario = match table.remove(SCENARIO) {
        Some(Value::String(name)) if show(&name).is_ok() => name,
        Some(other) => {
            return Err(fault(format!("scenario = {other}: there are {}", names())));
        }
        None => return Err(fault(format!("the key `scenario` is missing: one of {}", names()))),
    };
    let load = match scenario.as_str() {
        SEARCH => Some(take_load(&mut table).map_err(fault)?),
        _ => None,
    };
    let commands: Vec<&str> = match &load {
        Some(load) => vec![SEARCH, load],
        None => before.iter().copied().chain([scenario.as_str()]).collect(),
    };
    let mut arguments: Vec<String> =
        ["loadgen"].iter().chain(&commands).map(|&word| word.to_owned()).collect();
    for (key, value) in &table {
        if !is_flag(&commands, key) {
            let meant = similar(&commands, key);
            return Err(LibraryError::UnknownKey { path: path.into(), key: key.clone(), meant });
        }
        let added = match value {
            Value::Boolean(is_on) if takes_value(&commands, key) => {
                add_flag(&mut arguments, key, &Value::String(is_on.to_string()))
            }
            _ => add_flag(&mut arguments, key, value),
        };
        added.ok_or_else(|| fault(format!("{key} = {value}: not a value of a flag")))?;
    }
    arguments.extend_from_slice(flags);
    Options::try_parse_from(arguments)
        .map_err(|cause| LibraryError::Value { path: path.into(), cause })
}

/// The scenario that a search is to be made with.
fn take_load(table: &mut Table) -> Result<String, String> {
    let all = Options::command();
    let search = all.find_subcommand(SEARCH).expect("it is one of the subcommands");
    let there_are: Vec<&str> = search.get_subcommands().map(clap::Command::get_name).collect();
    match table.remove(LOAD) {
        Some(Value::String(name)) if there_are.contains(&name.as_str()) => Ok(name),
        Some(other) => Err(format!("{LOAD} = {other}: there are {}", there_are.join(", "))),
        None => Err(format!("the key `{LOAD}` is missing: one of {}", there_are.join(", "))),
    }
}

fn add_flag(arguments: &mut Vec<String>, key: &str, value: &Value) -> Option<()> {
    match value {
        Value::Boolean(false) => {}
        Value::Boolean(true) => arguments.push(format!("--{key}")),
        Value::Array(values) => {
            for value in values {
                add_flag(arguments, key, value).filter(|()| !value.is_array())?;
            }
        }
        Value::String(text) => arguments.push(format!("--{key}={text}")),
        Value::Integer(_) | Value::Float(_) => arguments.push(format!("--{key}={value}")),
        Value::Datetime(_) | Value::Table(_) => return None,
    }
    Some(())
}

fn is_flag(commands: &[&str], key: &str) -> bool {
    any_flag(commands, |arg| arg.get_long() == Some(key))
}

/// Whether the flag is followed by what it is to be, true or false too.
fn takes_value(commands: &[&str], key: &str) -> bool {
    any_flag(commands, |arg| arg.get_long() == Some(key) && arg.get_action().takes_values())
}

fn any_flag(commands: &[&str], is_meant: impl Fn(&Arg) -> bool) -> bool {
    let all = Options::command();
    let found = commands.iter().try_fold(&all, |command, name| command.find_subcommand(name));
    found.is_some_and(|command| command.get_arguments().any(is_meant))
}

/// By the same measure as for a mistyped flag.
fn similar(commands: &[&str], key: &str) -> Option<String> {
    let flag = format!("--{}", key.replace('_', "-"));
    if is_flag(commands, &flag[2..]) {
        return Some(flag[2..].to_owned());
    }
    let words = ["loadgen"].iter().chain(commands).copied().chain([flag.as_str()]);
    let error = Options::try_parse_from(words).err()?;
    match error.get(ContextKind::SuggestedArg) {
        Some(ContextValue::String(flag)) => Some(flag.trim_start_matches('-').to_owned()),
        _ => None,
    }
}

fn names() -> String {
    BUILT_IN.map(|(name, _)| name).join(", ")
}

fn hint(meant: Option<&str>) -> String {
    meant.map_or_else(String::new, |meant| format!("; is `{meant}` meant?"))
}

/// `line 3: what the parser said`, on one line.
fn place_and_fault(text: &str, error: &toml::de::Error) -> String {
    let fault = error.message().replace('\n', ", ");
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    format!("line {}: {fault}", before.matches('\n').count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(text: &str, flags: &[&str]) -> Result<String, String> {
        let flags: Vec<_> = flags.iter().map(|&flag| flag.to_owned()).collect();
        let options = parse(Path::new("x.toml"), text, &[], &flags);
        options.map(|options| format!("{:?}", options.command)).map_err(|error| error.to_string())
    }

    #[test]
    fn the_file_behind_every_scenario_holds_all_its_defaults_and_nothing_else() {
        for (name, text) in BUILT_IN {
            let table: Table = text.parse().unwrap();
            let load = table.get(LOAD).and_then(Value::as_str);
            let words = [name].into_iter().chain(load);
            let defaults = Options::try_parse_from(["loadgen"].into_iter().chain(words.clone()));
            assert_eq!(given(text, &[]).unwrap(), format!("{:?}", defaults.unwrap().command));
            let all = Options::command();
            let command = words.fold(&all, |command, name| command.find_subcommand(name).unwrap());
            // What is hidden is set by the search.
            for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
                let flag = argument.get_long().unwrap();
                let has_default =
                    !argument.get_default_values().is_empty() && argument.get_num_args().is_none();
                let is_value = argument.get_action().takes_values();
                assert!(!has_default || !is_value || table.contains_key(flag), "{name}: {flag}");
            }
            assert!(text.starts_with(&format!("# {name}: ")), "{name}");
        }
    }

    #[test]
    fn flags_win_over_the_file_and_lists_are_flags_given_many_times() {
        let text = "scenario = \"fanout\"\nrate = 7\nquiet = true\nthreshold = [\"lost=0\"]\n";
        let read = given(text, &["--rate", "9.5", "--threshold", "p99<1s"]).unwrap();
        for part in ["rate: 9.5", "quiet: true", "lost=0", "p99<1s"] {
            assert!(read.contains(part), "{part} in {read}");
        }
    }

    #[test]
    fn a_flag_that_is_on_by_default_can_be_switched_off_in_a_file() {
        let text = |is_on| format!("scenario = \"fanout\"\nkernel-timestamps = {is_on}\n");
        assert!(given(&text(false), &[]).unwrap().contains("kernel_timestamps: false"));
        assert!(given(&text(true), &[]).unwrap().contains("kernel_timestamps: true"));
    }

    #[test]
    fn what_is_no_scenario_is_refused_by_name() {
        let cases = [
            ("rate = 1", "x.toml: the key `scenario` is missing"),
            ("scenario = \"fan\"", "x.toml: scenario = \"fan\": there are chat, churn"),
            (
                "scenario = \"fanout\"\nsubscriber = 3",
                "x.toml: unknown key `subscriber`; is `subscribers` meant?",
            ),
            (
                "scenario = \"fanout\"\ntarget_pid = 3",
                "x.toml: unknown key `target_pid`; is `target-pid` meant?",
            ),
            ("scenario = \"fanout\"\nhelp = true", "x.toml: unknown key `help`"),
            ("scenario = \"fanout\"\nrate = 0", "x.toml: error: invalid value '0' for '--rate"),
            ("scenario = \"fanout\"\nrate = 12:00:00", "x.toml: rate = 12:00:00: not a value"),
            ("scenario = \"fanout\"\nrate = ", "x.toml: line 2: "),
            ("scenario = \"find\"", "x.toml: the key `load` is missing: one of chat, churn, echo"),
            (
                "scenario = \"find\"\nload = \"storm\"",
                "x.toml: load = \"storm\": there are chat, churn, echo",
            ),
            (
                "scenario = \"find\"\nload = \"notify\"\nprecison = 1",
                "x.toml: unknown key `precison`; is `precision` meant?",
            ),
            ("scenario = \"fanout\"\nload = \"notify\"", "x.toml: unknown key `load`"),
        ];
        for (text, expected) in cases {
            let error = given(text, &[]).unwrap_err();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }
}
