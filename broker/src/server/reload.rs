//! The settings read again while the broker runs: all that changed is taken over, or nothing. What
//! can change then belongs to a named part; a change of any other setting is refused by its name.
//!
//! A part does its work in two steps: `prepare` may fail and changes nothing, what it returns can't
//! fail and does it. So a mistake in one part leaves the others as they were. Reads no files of its
//! own and knows no signals: `main` gives it the settings, the parts know what they are about.

use std::fmt;

use crate::config::{Config, changed};

/// What a part does once all parts are prepared.
pub type Ready = Box<dyn FnOnce() + Send>;

type Prepare = dyn Fn(&Config) -> Result<Ready, String> + Send;

/// Something that can take over other settings while the broker runs.
pub struct Part {
    name: &'static str,
    settings: &'static [&'static str],
    prepare: Box<Prepare>,
}

impl Part {
    /// A part called `name` in the log, which these `settings` belong to, by their keys. `prepare`
    /// is called at every reload, whether they changed or not: files that they name may have.
    pub fn new(
        name: &'static str,
        settings: &'static [&'static str],
        prepare: impl Fn(&Config) -> Result<Ready, String> + Send + 'static,
    ) -> Self {
        Self { name, settings, prepare: Box::new(prepare) }
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The settings that hold, and the parts that can take over others.
#[derive(Debug)]
pub struct Reload {
    config: Config,
    parts: Vec<Part>,
}

/// Why the settings were not taken over; the old ones hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReloadError {
    /// Settings have changed that hold until the process ends.
    #[error("{} can't change while the broker runs", .0.join(", "))]
    Fixed(Vec<String>),
    /// A part can't use the new settings, or a file that they name.
    #[error("{part}: {reason}")]
    Part {
        /// Its name.
        part: &'static str,
        /// What is wrong.
        reason: String,
    },
}

impl Reload {
    /// These settings hold, and nothing else can be taken over yet.
    pub fn new(config: Config) -> Self {
        Self { config, parts: Vec::new() }
    }

    /// From here on `part` can change.
    pub fn add(&mut self, part: Part) {
        self.parts.push(part);
    }

    /// Takes over `config`; returns the keys of the settings that changed.
    ///
    /// # Errors
    ///
    /// [`ReloadError`]; nothing has changed then.
    pub fn run(&mut self, config: Config) -> Result<Vec<String>, ReloadError> {
        let changed = changed(&self.config, &config);
        let is_fixed = |key: &&String| !self.parts.iter().any(|part| part.has(key));
        let fixed: Vec<String> = changed.iter().filter(is_fixed).cloned().collect();
        if !fixed.is_empty() {
            return Err(ReloadError::Fixed(fixed));
        }
        let prepare = |part: &Part| {
            (part.prepare)(&config).map_err(|reason| ReloadError::Part { part: part.name, reason })
        };
        let ready: Vec<Ready> = self.parts.iter().map(prepare).collect::<Result<_, _>>()?;
        ready.into_iter().for_each(|take_over| take_over());
        self.config = config;
        Ok(changed)
    }
}

impl Part {
    fn has(&self, key: &str) -> bool {
        self.settings.contains(&key)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// A part that remembers `last_ms`, and one that fails above 100.
    fn reload() -> (Reload, Arc<AtomicU64>) {
        let kept = Arc::new(AtomicU64::new(0));
        let mut reload = Reload::new(Config::default());
        let place = kept.clone();
        reload.add(Part::new("keeper", &["last_ms"], move |config| {
            let (place, last_ms) = (place.clone(), config.last_ms);
            Ok(Box::new(move || place.store(last_ms, Ordering::Relaxed)))
        }));
        reload.add(Part::new("checker", &["history_ms"], |config| match config.history_ms {
            0..=100 => Ok(Box::new(|| {})),
            more => Err(format!("{more} is too much")),
        }));
        (reload, kept)
    }

    #[test]
    fn all_parts_take_over_or_none_does() {
        let (mut reload, kept) = reload();
        let config = |history_ms| Config { last_ms: 7, history_ms, ..Config::default() };
        let error = reload.run(config(101)).unwrap_err();
        assert_eq!(error.to_string(), "checker: 101 is too much");
        assert_eq!(kept.load(Ordering::Relaxed), 0, "the first part must wait for the second");
        assert_eq!(reload.run(config(100)).unwrap(), ["history_ms", "last_ms"]);
        assert_eq!(kept.load(Ordering::Relaxed), 7);
        assert_eq!(reload.run(config(100)).unwrap(), [""; 0], "these hold already");
    }

    #[test]
    fn what_holds_until_the_end_is_refused_by_name() {
        let (mut reload, kept) = reload();
        let config = Config { last_ms: 7, workers: 3, echo: true, ..Config::default() };
        let error = reload.run(config).unwrap_err();
        assert_eq!(error.to_string(), "echo, workers can't change while the broker runs");
        assert_eq!(kept.load(Ordering::Relaxed), 0);
    }
}
