//! Numbers for tables: the middle of several, and digits in groups. Measures nothing; used by what
//! writes tables.

/// The middle one, of an even number the greater of the two; none of none.
#[must_use]
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
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
    fn the_median_of_an_even_number_is_the_greater_of_the_middle() {
        assert_eq!(median(vec![9.0, 1.0, 3.0]), Some(3.0));
        assert_eq!(median(vec![4.0, 1.0]), Some(4.0));
        assert_eq!(median(vec![]), None);
    }

    #[test]
    fn digits_stand_in_groups_of_three() {
        assert_eq!(grouped(999.0, 0), "999");
        assert_eq!(grouped(-1_234.56, 1), "-1,234.6");
        assert_eq!(grouped(20_000_000.0, 0), "20,000,000");
    }
}
