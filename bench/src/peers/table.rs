//! What all rounds of a scenario gave: medians, and ratios of the broker to each server within each
//! round. Runs nothing.

use std::fmt;

use serde_json::{Value, json};

use super::contender::Contender;
use super::round::Figures;
use super::scenario::Scenario;
use crate::figures::{grouped, median, notes};

/// A scenario's rounds.
#[derive(Clone, Debug)]
pub struct Table {
    scenario: Scenario,
    rows: Vec<(u32, Contender, Figures)>,
}

/// The middle of some values, and how far they reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) greatest: f64,
}

impl Table {
    /// One without rounds.
    #[must_use]
    pub fn new(scenario: Scenario) -> Self {
        Self { scenario, rows: Vec::new() }
    }

    /// One more measurement.
    pub fn add(&mut self, round: u32, contender: Contender, figures: Figures) {
        self.rows.push((round, contender, figures));
    }

    /// The load that it is of.
    #[must_use]
    pub fn scenario(&self) -> Scenario {
        self.scenario
    }

    /// How many rounds there were, the one that is under way included.
    #[must_use]
    pub fn rounds(&self) -> u32 {
        self.rows.iter().map(|(round, ..)| *round).max().unwrap_or(0)
    }

    /// How often a server has failed.
    #[must_use]
    pub fn failures(&self, contender: Contender) -> usize {
        self.of(contender).filter(|(_, figures)| figures.fault.is_some()).count()
    }

    /// Every measurement.
    #[must_use]
    pub fn to_json(&self) -> Vec<Value> {
        let row = |(round, contender, figures): &(u32, Contender, Figures)| {
            json!({
                "scenario": self.scenario.name(),
                "round": round,
                "server": contender.name(),
                "fault": figures.fault,
                "cpu_us_per_delivery": figures.cpu_us,
                "deliveries_per_s": figures.deliveries_per_s,
                "p50_us": figures.p50_us,
                "p99_us": figures.p99_us,
                "sends_per_delivery": figures.sends,
                "bytes_per_connection": figures.bytes_per_connection,
                "cpu_us_per_connection": figures.connect_us,
                "connects_per_s": figures.connects_per_s,
                "generator_share": figures.generator_share,
                "measurement": figures.trust,
            })
        };
        self.rows.iter().map(row).collect()
    }

    /// The servers in the order in which they first ran.
    fn contenders(&self) -> Vec<Contender> {
        let mut seen = Vec::new();
        for (_, contender, _) in &self.rows {
            if !seen.contains(contender) {
                seen.push(*contender);
            }
        }
        seen
    }

    fn of(&self, contender: Contender) -> impl Iterator<Item = (u32, &Figures)> {
        let own = self.rows.iter().filter(move |(_, of, _)| *of == contender);
        own.map(|(round, _, figures)| (*round, figures))
    }

    fn spread(&self, of: Contender, value: impl Fn(&Figures) -> Option<f64>) -> Option<Spread> {
        Spread::of(self.of(of).filter_map(|(_, figures)| value(figures)).collect())
    }

    /// The broker's value over that of another server in the same round.
    fn ratio(&self, to: Contender, value: impl Fn(&Figures) -> Option<f64>) -> Option<Spread> {
        let ratios = self.of(to).filter_map(|(round, figures)| {
            let (_, ours) = self.of(Contender::Broker).find(|(of, _)| *of == round)?;
            let ratio = value(ours)? / value(figures)?;
            ratio.is_finite().then_some(ratio)
        });
        Spread::of(ratios.collect())
    }

    fn notes(&self, contender: Contender) -> String {
        notes(self.of(contender).filter_map(|(_, figures)| figures.note()))
    }

    fn write_messages(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| server | CPU a delivery, µs | broker / it | p50, ms | p99, ms | deliveries/s | generator | |"
        )?;
        writeln!(f, "|---|--:|--:|--:|--:|--:|--:|---|")?;
        for contender in self.contenders() {
            let show = |value: fn(&Figures) -> Option<f64>, scale: f64, digits: usize| {
                Spread::middle(self.spread(contender, value), scale, digits)
            };
            writeln!(
                f,
                "| {} | {} | {} | {} | {} | {} | {} | {} |",
                contender.name(),
                show(|figures| figures.cpu_us, 1.0, 3),
                self.ratio_text(contender, |figures| figures.cpu_us),
                show(|figures| figures.p50_us, 1e-3, 2),
                show(|figures| figures.p99_us, 1e-3, 2),
                show(|figures| figures.deliveries_per_s, 1.0, 0),
                show(|figures| figures.generator_share, 1.0, 2),
                self.notes(contender),
            )?;
        }
        Ok(())
    }

    fn write_connections(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| server | memory a connection, B | CPU to connect, µs | broker / it | connects/s | |"
        )?;
        writeln!(f, "|---|--:|--:|--:|--:|---|")?;
        for contender in self.contenders() {
            let show = |value: fn(&Figures) -> Option<f64>, digits: usize| {
                Spread::middle(self.spread(contender, value), 1.0, digits)
            };
            writeln!(
                f,
                "| {} | {} | {} | {} | {} | {} |",
                contender.name(),
                show(|figures| figures.bytes_per_connection, 0),
                show(|figures| figures.connect_us, 1),
                self.ratio_text(contender, |figures| figures.connect_us),
                show(|figures| figures.connects_per_s, 0),
                self.notes(contender),
            )?;
        }
        Ok(())
    }

    fn ratio_text(&self, to: Contender, value: fn(&Figures) -> Option<f64>) -> String {
        match self.ratio(to, value) {
            _ if to == Contender::Broker => "1".into(),
            None => "–".into(),
            Some(Spread { median, least, greatest }) => {
                format!("{median:.2} ({least:.2}–{greatest:.2})")
            }
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rounds = self.rounds();
        let word = if rounds == 1 { "round" } else { "rounds" };
        let (name, about) = (self.scenario.name(), self.scenario.about());
        writeln!(f, "**{name}**: {about}; {rounds} {word}\n")?;
        match self.scenario.is_idle() {
            true => self.write_connections(f),
            false => self.write_messages(f),
        }
    }
}

impl Spread {
    pub(crate) fn of(values: Vec<f64>) -> Option<Self> {
        let least = values.iter().copied().reduce(f64::min)?;
        let greatest = values.iter().copied().reduce(f64::max)?;
        Some(Self { median: median(values)?, least, greatest })
    }

    /// The middle alone, as a cell.
    pub(crate) fn middle(spread: Option<Self>, scale: f64, digits: usize) -> String {
        spread.map_or("–".into(), |spread| grouped(spread.median * scale, digits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(cpu_us: f64) -> Figures {
        Figures { cpu_us: Some(cpu_us), deliveries_per_s: Some(1e6), ..Figures::default() }
    }

    #[test]
    fn ratios_are_taken_within_a_round_and_not_of_medians() {
        let mut table = Table::new(Scenario::Fan);
        for (round, ours, theirs) in [(1, 1.0, 2.0), (2, 3.0, 4.0), (3, 9.0, 9.0)] {
            table.add(round, Contender::Broker, figures(ours));
            table.add(round, Contender::Bare, figures(theirs));
        }
        table.add(1, Contender::Ws, Figures::failed("3 lost".into()));
        let ratio = table.ratio(Contender::Bare, |figures| figures.cpu_us);
        assert_eq!(ratio, Some(Spread { median: 0.75, least: 0.5, greatest: 1.0 }));
        let text = table.to_string();
        assert!(text.contains("| bare loop | 4.000 | 0.75 (0.50–1.00) | – | – | 1,000,000 |"));
        assert!(text.contains("| ws | – | – | – | – | – | – | 3 lost |"), "{text}");
    }

    #[test]
    fn the_middle_of_two_is_between_them() {
        let spread = Spread::of(vec![4.0, 1.0]);
        assert_eq!(spread, Some(Spread { median: 2.5, least: 1.0, greatest: 4.0 }));
        assert_eq!(Spread::of(Vec::new()), None);
    }
}
