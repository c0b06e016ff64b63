//! The loads of each study: how the broker is started, and what the load generator does. The first
//! case of a study is the one that the others are compared with. Runs nothing.

use super::Study;

/// One of the loads of a study.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Case {
    /// What it is called in the table.
    pub(super) name: &'static str,
    /// Flags of the broker.
    pub(super) broker: &'static str,
    /// Scenario and flags of the load generator.
    pub(super) load: String,
    /// How long it is measured.
    pub(super) seconds: f64,
}

impl Study {
    /// Its loads; `quick`: as small and short as shows that they work.
    pub(super) fn cases(self, quick: bool) -> Vec<Case> {
        let cases = match self {
            Self::Latest => latest(quick),
            Self::Slow => slow(quick),
            Self::Storm => storm(quick),
            Self::Kept => kept(quick),
        };
        let shorten = |case: Case| match quick {
            true => Case { seconds: 0.5, load: format!("{} --warmup 0.1", case.load), ..case },
            false => case,
        };
        cases.into_iter().map(shorten).collect()
    }
}

/// 500 symbols, each forty times a second, all at the same rate.
fn latest(quick: bool) -> Vec<Case> {
    let (symbols, clients, rate) = if quick { (20, 20, 200) } else { (500, 1000, 20_000) };
    let feed = format!(
        "ticker --symbols {symbols} --clients {clients} --rate {rate} --zipf 0 \
         --arrivals constant --publishers 4 --size 136"
    );
    let newest = "--latest --max-rate 2";
    [
        ("every message of 10 symbols each", "--watch 10".to_owned()),
        ("the newest of 10, twice a second", format!("--watch 10 {newest}")),
        ("the newest of all symbols, twice a second", format!("--watch {symbols} {newest}")),
    ]
    .map(|(name, flags)| Case { name, broker: "", load: format!("{feed} {flags}"), seconds: 10.0 })
    .into()
}

/// 4 KiB so often that each reader is due more than the kernel's buffers hold for it.
fn slow(quick: bool) -> Vec<Case> {
    let (subscribers, percent) = if quick { (100, "1") } else { (1000, "0.1") };
    let feed = format!("--subscribers {subscribers} --rate 50 --size 4096");
    let slow =
        |speed: &str| format!("slow --slow-share {percent} --slow-bytes-per-second {speed} {feed}");
    [
        ("all keep up", format!("fanout {feed}")),
        ("one reads nothing", slow("0")),
        ("one reads 1 KB/s", slow("1024")),
    ]
    .map(|(name, load)| {
        let broker = "--backlog-bytes-max 1048576";
        Case { name, broker, load, seconds: 60.0 }
    })
    .into()
}

fn storm(quick: bool) -> Vec<Case> {
    let subscribers = if quick { 100 } else { 5000 };
    let feed = format!("storm --subscribers {subscribers} --rate 50");
    let cases = [
        ("three times, within a second", "--times 3 --spread 1000", 30.0),
        ("once, all at the same moment", "--times 1 --spread 0", 15.0),
    ];
    // Half a second has room for one that is over at once.
    let skipped = usize::from(quick);
    let cases = cases.into_iter().skip(skipped);
    cases
        .map(|(name, flags, seconds)| Case {
            name,
            broker: "",
            load: format!("{feed} {flags}"),
            seconds,
        })
        .collect()
}

/// Hardly any deliveries, so that publishing and keeping are most of the work.
fn kept(quick: bool) -> Vec<Case> {
    let rate = if quick { 1_000 } else { 100_000 };
    let load = format!("fanout --subscribers 1 --topics 4 --publishers 4 --rate {rate}");
    [("nothing", "--history-messages 0 --last-ms 0"), ("100 messages and the last value", "")]
        .map(|(name, broker)| Case { name, broker, load: load.clone(), seconds: 10.0 })
        .into()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use loadgen::options::Options;

    use super::*;

    #[test]
    fn every_case_is_a_command_line_of_the_load_generator() {
        for study in Study::ALL {
            for quick in [false, true] {
                for Case { name, load, seconds, .. } in study.cases(quick) {
                    let line = format!("loadgen {load} --seconds {seconds}");
                    let words = line.split_whitespace();
                    assert!(Options::try_parse_from(words).is_ok(), "{name}: {line}");
                }
            }
        }
    }
}
