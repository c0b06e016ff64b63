//! The quantiles that a report shows, and how many samples each needs. Pure; asked by everything
//! that shows or judges one.

use hdrhistogram::Histogram;

/// A quantile is printed only if at least so many samples lie beyond it.
pub const SAMPLES_BEYOND_MIN: u64 = 10;

/// The quantiles of a report, with their names.
pub const QUANTILES: [(&str, f64); 4] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

/// The value in nanoseconds below which a share `quantile` of the samples lies; none if too few
/// lie beyond it for the number to mean anything.
#[must_use]
pub fn quantile_ns(histogram: &Histogram<u64>, quantile: f64) -> Option<u64> {
    let beyond = histogram.len() as f64 * (1.0 - quantile);
    // A thousandth of slack: 1 - 0.99 is not exactly 0.01.
    (beyond + 0.001 >= SAMPLES_BEYOND_MIN as f64).then(|| histogram.value_at_quantile(quantile))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::histogram;

    #[test]
    fn a_quantile_needs_ten_samples_beyond_it() {
        let mut histogram = histogram();
        histogram.record_n(1_000_000, 999).unwrap();
        assert!(quantile_ns(&histogram, 0.9).is_some());
        assert_eq!(quantile_ns(&histogram, 0.99), None);
        histogram.record(1_000_000).unwrap();
        assert!(quantile_ns(&histogram, 0.99).is_some());
        assert_eq!(quantile_ns(&histogram, 0.999), None);
    }
}
