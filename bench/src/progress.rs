//! What is going on, for who waits for a long measurement: lines on standard error, beside the tables
//! on standard output.

use std::io::{self, Write as _};

/// Says a line. Whether anyone reads it does not matter to what is measured.
pub(crate) fn note(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
