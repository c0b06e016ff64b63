//! A histogram as data: which values were seen how often. To be named in `#[serde(with = …)]` of a
//! field: `counts` for the histograms of a whole run, `counts::coarse` for those of a second. What
//! is read has the shape of ours, whatever was written, so that all add up; nothing is lost.

use hdrhistogram::Histogram;
use serde::{Deserialize as _, Deserializer, Serializer};

use crate::engine::histogram;

/// Writes the values with their counts.
///
/// # Errors
///
/// Those of the serializer.
pub fn serialize<S: Serializer>(
    histogram: &Histogram<u64>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let recorded = histogram.iter_recorded();
    let counts = recorded.map(|step| (step.value_iterated_to(), step.count_at_value()));
    serializer.collect_seq(counts.collect::<Vec<(u64, u64)>>())
}

/// Reads the histogram of a whole run.
///
/// # Errors
///
/// Those of the deserializer.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Histogram<u64>, D::Error> {
    read_into(histogram(), deserializer)
}

/// For the histogram of a second.
pub mod coarse {
    use super::{Deserializer, Histogram, read_into};
    use crate::seconds::small_histogram;

    pub use super::serialize;

    /// Reads the histogram of a second.
    ///
    /// # Errors
    ///
    /// Those of the deserializer.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Histogram<u64>, D::Error> {
        read_into(small_histogram(), deserializer)
    }
}

fn read_into<'de, D: Deserializer<'de>>(
    mut histogram: Histogram<u64>,
    deserializer: D,
) -> Result<Histogram<u64>, D::Error> {
    for (value, count) in Vec::<(u64, u64)>::deserialize(deserializer)? {
        histogram.saturating_record_n(value, count);
    }
    Ok(histogram)
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::seconds::small_histogram;

    #[derive(Deserialize, Serialize)]
    struct Both {
        #[serde(with = "crate::counts")]
        fine: Histogram<u64>,
        #[serde(with = "crate::counts::coarse")]
        coarse: Histogram<u64>,
    }

    #[test]
    fn a_histogram_comes_back_as_it_was() {
        let mut both = Both { fine: histogram(), coarse: small_histogram() };
        for step in 0..20_000_u64 {
            let value = step * step * step;
            both.fine.saturating_record(value);
            both.coarse.saturating_record_n(value, 1 + step % 3);
        }
        both.fine.saturating_record(u64::MAX);
        let bytes = rmp_serde::to_vec_named(&both).unwrap();
        let read: Both = rmp_serde::from_slice(&bytes).unwrap();
        assert_eq!(read.fine, both.fine);
        assert_eq!(read.coarse, both.coarse);
        let quantiles = [0.0, 0.5, 0.99, 0.9999, 1.0];
        let of = |histogram: &Histogram<u64>| quantiles.map(|at| histogram.value_at_quantile(at));
        assert_eq!(of(&read.fine), of(&both.fine));
        assert_eq!((read.fine.min(), read.fine.max()), (both.fine.min(), both.fine.max()));
    }
}
