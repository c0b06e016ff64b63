//! What criterion keeps of a benchmark: two files in a folder `new`, of which this reads what a table
//! needs. Called by `functions`; runs nothing.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use serde_json::Value;

/// What one call of a benchmark works through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// So many bytes.
    Bytes(u64),
    /// So many of whatever it counts: messages, deliveries, look-ups.
    Elements(u64),
    /// It does not say.
    Unknown,
}

/// A benchmark that was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// Its group, as `mask`.
    pub group: String,
    /// What is measured, as `ours`; empty if there is one thing only.
    pub function: String,
    /// For which size or input, as `128`; empty if there is one only.
    pub size: String,
    /// What a call takes, in nanoseconds: the median.
    pub ns: f64,
    /// What it gets done.
    pub amount: Amount,
}

/// Everything below criterion's folder.
///
/// # Errors
/// If it can't be read, or holds something else.
pub(super) fn read(folder: &Path) -> anyhow::Result<Vec<Kept>> {
    let mut all = Vec::new();
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    for entry in entries {
        let path = entry?.path();
        if path.ends_with("new") {
            let read = |name: &str| -> anyhow::Result<Value> {
                let file = path.join(name);
                let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
                Ok(serde_json::from_str(&text)?)
            };
            let kept = Kept::new(&read("benchmark.json")?, &read("estimates.json")?);
            all.push(kept.with_context(|| format!("{} is not as expected", path.display()))?);
        } else if path.is_dir() {
            all.extend(read(&path)?);
        }
    }
    Ok(all)
}

impl Kept {
    fn new(benchmark: &Value, estimates: &Value) -> Option<Self> {
        let text = |name: &str| benchmark[name].as_str().unwrap_or_default().to_owned();
        let throughput = &benchmark["throughput"];
        let amount = match (throughput["Bytes"].as_u64(), throughput["Elements"].as_u64()) {
            (Some(bytes), _) => Amount::Bytes(bytes),
            (_, Some(count)) => Amount::Elements(count),
            _ => Amount::Unknown,
        };
        Some(Self {
            group: benchmark["group_id"].as_str()?.to_owned(),
            function: text("function_id"),
            size: text("value_str"),
            ns: estimates["median"]["point_estimate"].as_f64()?,
            amount,
        })
    }

    /// The time of a call and what that makes a second.
    #[must_use]
    pub fn cell(&self) -> String {
        let time = with_unit(self.ns, &[(1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns")]);
        let a_second = |count: u64| count as f64 * 1e9 / self.ns;
        match self.amount {
            Amount::Bytes(count) => {
                let rate =
                    with_unit(a_second(count), &[(1e9, "GB/s"), (1e6, "MB/s"), (1.0, "B/s")]);
                format!("{time}, {rate}")
            }
            Amount::Elements(count) => {
                let units = [(1e9, "G/s"), (1e6, "M/s"), (1e3, "k/s"), (1.0, "/s")];
                format!("{time}, {}", with_unit(a_second(count), &units))
            }
            Amount::Unknown => time,
        }
    }
}

/// With three digits that count, in the largest unit that is not above the value.
fn with_unit(value: f64, units: &[(f64, &str)]) -> String {
    let last = units.last().copied().unwrap_or((1.0, ""));
    let (scale, unit) = units.iter().copied().find(|(scale, _)| value >= *scale).unwrap_or(last);
    let scaled = value / scale;
    let digits = match scaled {
        0.0..10.0 => 2,
        10.0..100.0 => 1,
        _ => 0,
    };
    format!("{scaled:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_and_rates_are_in_the_unit_that_fits() {
        let kept = |ns, amount| {
            let benchmark = json!({"group_id": "g", "function_id": null, "value_str": "10",
                "throughput": amount});
            Kept::new(&benchmark, &json!({"median": {"point_estimate": ns}})).unwrap()
        };
        assert_eq!(kept(12.3, json!(null)).cell(), "12.3 ns");
        assert_eq!(kept(65_432.0, json!({"Elements": 1000})).cell(), "65.4 µs, 15.3 M/s");
        assert_eq!(kept(250.0, json!({"Bytes": 100})).cell(), "250 ns, 400 MB/s");
        let read = kept(0.5, json!({"Elements": 1}));
        assert_eq!((read.function.as_str(), read.size.as_str()), ("", "10"));
        assert_eq!(read.cell(), "0.50 ns, 2.00 G/s");
    }
}
