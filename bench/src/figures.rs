//! What stands in tables: the middle of several numbers, digits in groups, notes, and how often was
//! measured. Measures nothing; used by what writes tables.

use std::fmt::Display;

/// The middle one, of an even number what lies between the two; none of none.
#[must_use]
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    let is_even = values.len().is_multiple_of(2);
    Some(if is_even { f64::midpoint(values[middle - 1], upper) } else { upper })
}

/// What a table of medians is of.
///
/// ```
/// assert_eq!(bench::figures::medians_of(3, 4), "medians of 3 rounds of 4 s");
/// assert_eq!(bench::figures::medians_of(1, 0.5), "one round of 0.5 s");
/// ```
#[must_use]
pub fn medians_of(rounds: u32, seconds: impl Display) -> String {
    match rounds {
        1 => format!("one round of {seconds} s"),
        _ => format!("medians of {rounds} rounds of {seconds} s"),
    }
}

/// Remarks for one cell of a Markdown table, each once, in the order in which they first came.
///
/// ```
/// assert_eq!(bench::figures::notes(["a|b", "c", "a|b"]), "a/b; c");
/// ```
pub fn notes<'t>(texts: impl IntoIterator<Item = &'t str>) -> String {
    let mut notes: Vec<&str> = Vec::new();
    for text in texts {
        if !text.is_empty() && !notes.contains(&text) {
            notes.push(text);
        }
    }
    notes.join("; ").replace('|', "/").replace(['\n', '\r'], " ")
}

/// A number with so many digits behind the point, in groups of three before it.
///
/// ```
/// assert_eq!(bench::figures::grouped(1_234_567.0, 0), "1,234,567");
/// assert_eq!(bench::figures::grouped(-1234.56, 1), "-1,234.6");
/// ```
#[must_use]
pub fn grouped(value: f64, digits: usize) -> String {
    let text = format!("{:.digits$}", value.abs());
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut out = if value < 0.0 { "-".to_owned() } else { String::new() };
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_two_in_the_middle() {
        assert_eq!(median(vec![9.0, 1.0, 3.0]), Some(3.0));
        assert_eq!(median(vec![4.0, 1.0]), Some(2.5));
        assert_eq!(median(vec![8.0, 1.0, 2.0, 4.0]), Some(3.0));
        assert_eq!(median(vec![]), None);
    }

    #[test]
    fn digits_stand_in_groups_of_three() {
        assert_eq!(grouped(999.0, 0), "999");
        assert_eq!(grouped(-1_234.56, 1), "-1,234.6");
        assert_eq!(grouped(20_000_000.0, 0), "20,000,000");
    }
}
