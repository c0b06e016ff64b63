//! Which rate to try next, in search of the highest one that holds: doubling, or halving, until one
//! holds and one does not, then the middle between them. Runs nothing and knows no reports; fed by
//! `find` with what became of each rate.

/// The most rates that are tried.
const RATES_MAX: u32 = 40;

/// A rate that is so many times below the first one is the last that is tried.
const HALVED_MAX: f64 = 1024.0;

/// What became of a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// Everything that was demanded held.
    Holds,
    /// Something did not.
    Fails,
    /// Nobody can tell: the generator or its machine was too slow.
    Blind,
}

/// A search under way.
#[derive(Clone, Debug)]
pub(super) struct Search {
    from: f64,
    to: f64,
    /// How far apart the neighbours may stay, as a share.
    precision: f64,
    /// The highest rate that holds.
    holding: Option<f64>,
    /// The lowest rate above it that does not, and why.
    ceiling: Option<(f64, Judgement)>,
    tried: u32,
}

impl Judgement {
    /// Of one rate that was tried twice. One run that held shows that the target can do it; one
    /// that could be measured is worth more than one that could not.
    pub(super) fn of_two(self, other: Self) -> Self {
        match (self, other) {
            (Self::Holds, _) | (_, Self::Holds) => Self::Holds,
            (Self::Fails, _) | (_, Self::Fails) => Self::Fails,
            _ => Self::Blind,
        }
    }
}

impl Search {
    /// From this rate on, up to `to`, until the neighbours are within `precision`, a share of 1.
    pub(super) fn new(from: f64, to: Option<f64>, precision: f64) -> Self {
        let to = to.unwrap_or(f64::INFINITY);
        Self { from, to, precision, holding: None, ceiling: None, tried: 0 }
    }

    /// The highest rate that holds, as far as is known.
    pub(super) fn holding(&self) -> Option<f64> {
        self.holding
    }

    /// The lowest rate known not to hold, and what became of it.
    pub(super) fn ceiling(&self) -> Option<(f64, Judgement)> {
        self.ceiling
    }

    /// The rate to try; none once the search is over.
    pub(super) fn next_rate(&self) -> Option<f64> {
        if self.tried >= RATES_MAX {
            return None;
        }
        match (self.holding, self.ceiling) {
            (None, None) => Some(self.from),
            (Some(holding), None) => (holding < self.to).then(|| (holding * 2.0).min(self.to)),
            (None, Some((ceiling, _))) => {
                (ceiling > self.from / HALVED_MAX).then_some(ceiling / 2.0)
            }
            (Some(holding), Some((ceiling, _))) => {
                let middle = three_digits(f64::midpoint(holding, ceiling));
                let is_between = holding < middle && middle < ceiling;
                (is_between && ceiling > holding * (1.0 + self.precision)).then_some(middle)
            }
        }
    }

    /// What became of `rate`, which was the next.
    pub(super) fn handle(&mut self, rate: f64, judgement: Judgement) {
        self.tried += 1;
        match judgement {
            Judgement::Holds => self.holding = Some(rate),
            Judgement::Fails | Judgement::Blind => self.ceiling = Some((rate, judgement)),
        }
    }
}

/// People read it: a rate found to a few per cent needs no more digits.
fn three_digits(rate: f64) -> f64 {
    let unit = 10_f64.powf(rate.log10().floor() - 2.0);
    (rate / unit).round() * unit
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches where every rate up to `edge` holds; returns the search and what it tried.
    fn searched(mut search: Search, edge: f64) -> (Search, Vec<f64>) {
        let mut tried = Vec::new();
        while let Some(rate) = search.next_rate() {
            let judgement = if rate <= edge { Judgement::Holds } else { Judgement::Fails };
            search.handle(rate, judgement);
            tried.push(rate);
        }
        (search, tried)
    }

    #[test]
    fn it_doubles_until_a_rate_fails_and_then_halves_the_distance() {
        let (search, tried) = searched(Search::new(100.0, None, 0.05), 1000.0);
        assert_eq!(tried, [100.0, 200.0, 400.0, 800.0, 1600.0, 1200.0, 1000.0, 1100.0, 1050.0]);
        assert_eq!(search.holding(), Some(1000.0));
        assert_eq!(search.ceiling(), Some((1050.0, Judgement::Fails)));
    }

    #[test]
    fn whatever_the_edge_the_neighbours_end_within_the_precision() {
        for edge in [0.2, 1.0, 37.0, 99.9, 100.0, 12_345.0, 9_876_543.0] {
            let (search, tried) = searched(Search::new(100.0, None, 0.03), edge);
            let (holding, (ceiling, _)) = (search.holding().unwrap(), search.ceiling().unwrap());
            assert!(holding <= edge && edge < ceiling, "{edge}: {tried:?}");
            assert!(ceiling <= holding * 1.03, "{edge}: {tried:?}");
        }
    }

    #[test]
    fn it_goes_no_further_than_it_was_told_to_and_gives_up_where_nothing_holds() {
        let (search, tried) = searched(Search::new(100.0, Some(300.0), 0.05), 1e9);
        assert_eq!((tried, search.ceiling()), (vec![100.0, 200.0, 300.0], None));
        let (search, tried) = searched(Search::new(100.0, None, 0.05), 0.0);
        assert_eq!((tried.len(), search.holding()), (11, None));
    }

    #[test]
    fn of_two_runs_the_better_one_counts_and_one_that_shows_nothing_the_least() {
        use Judgement::{Blind, Fails, Holds};
        assert_eq!(Fails.of_two(Holds), Holds);
        assert_eq!(Blind.of_two(Holds), Holds);
        assert_eq!(Blind.of_two(Fails), Fails);
        assert_eq!(Blind.of_two(Blind), Blind);
    }
}
