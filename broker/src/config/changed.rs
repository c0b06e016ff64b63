//! Which settings differ between two sets of them, by their keys. Called when they are read again.

use toml::Table;

use super::Config;

/// The keys of the settings that differ, in the order of the alphabet. The rules for topics are
/// one, `topic`.
///
/// ```
/// use broker::config::{Config, changed};
///
/// let config = Config { workers: 3, echo: true, ..Config::default() };
/// assert_eq!(changed(&Config::default(), &config), ["echo", "workers"]);
/// ```
pub fn changed(old: &Config, new: &Config) -> Vec<String> {
    let (old, new) = (table(old), table(new));
    let keys = old.keys().chain(new.keys().filter(|key| !old.contains_key(*key)));
    let mut changed: Vec<_> = keys.filter(|key| old.get(*key) != new.get(*key)).cloned().collect();
    changed.sort_unstable();
    changed
}

fn table(config: &Config) -> Table {
    Table::try_from(config).expect("what was read from TOML can be written as TOML")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_among_them_and_two_that_are_equal_are_not() {
        let config = Config::default();
        assert_eq!(changed(&config, &config.clone()), [""; 0]);
        let listen = "127.0.0.1:1".parse().expect("an address");
        let rule = toml::from_str("filter = \"a\"").expect("a rule");
        let other = Config {
            listen,
            allow_origin: vec!["https://example.com".to_owned()],
            topic: vec![rule],
            log: "debug".to_owned(),
            ..Config::default()
        };
        assert_eq!(changed(&config, &other), ["allow_origin", "listen", "log", "topic"]);
    }
}
