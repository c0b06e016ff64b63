//! The course of a run as comma-separated values (RFC 4180), one line a second, for spreadsheets
//! and plotting programs. Returns text and writes no file. Called by the outputs.

use std::fmt::Write as _;

use super::{Report, rows};

/// The names of the columns. What is not known is an empty field.
pub const COLUMNS: &str = "at_s,seconds,sent,delivered,connections,p50_us,p99_us,own_cores,\
                           target_cores,net_p99_us,own_lag_p99_us";

/// The columns' names, then every second.
#[must_use]
pub fn to_csv(report: &Report) -> String {
    let mut out = format!("{COLUMNS}\r\n");
    for row in rows(report) {
        let fields = [
            format!("{:.3}", row.at_s),
            format!("{:.3}", row.seconds),
            row.sent.to_string(),
            row.delivered.to_string(),
            row.connections.to_string(),
            micros(row.p50_ns),
            micros(row.p99_ns),
            cores(row.own_cores),
            cores(row.target_cores),
            micros(row.net_p99_ns),
            micros(row.own_p99_ns),
        ];
        let _ = write!(out, "{}\r\n", fields.join(","));
    }
    out
}

fn micros(nanos: Option<u64>) -> String {
    nanos.map_or_else(String::new, |nanos| format!("{:.1}", nanos as f64 / 1e3))
}

fn cores(cores: Option<f64>) -> String {
    cores.map_or_else(String::new, |cores| format!("{cores:.3}"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::report;
    use super::*;
    use crate::watch::Sample;

    #[test]
    fn every_line_has_every_column_and_what_is_not_known_is_empty() {
        let mut report = report(3, 0);
        let look = |at_ns| Sample { at_ns, own_cpu_ns: at_ns / 2, ..Sample::default() };
        report.watched.samples = vec![look(1), look(1_000_000_001)];
        let text = to_csv(&report);
        let lines: Vec<&str> = text.split_terminator("\r\n").collect();
        assert_eq!(lines, [COLUMNS, "0.000,1.000,0,0,0,,,0.500,,,"]);
    }
}
