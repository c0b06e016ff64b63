//! The table of attacks by id: made of the names of the tests, printed, and held against the one in
//! docs/ATTACKS.md, so that neither can have an attack that the other does not.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Faults of the process that are in the table. What disks, nodes and what joins them do wrong has
/// ids of X too, and stands with the suites `durable`, `cluster` and `replicated`.
const PROCESS: [&str; 5] = ["X-01", "X-02", "X-03", "X-17", "X-18"];

/// One attack: its id, what comes of it, and the test file that shows it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    id: String,
    what: String,
    file: String,
}

#[test]
fn the_table_of_attacks_is_that_of_the_documentation() {
    let broker = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut rows = Vec::new();
    let files = ["tests", "src"].map(|folder| sources(&broker.join(folder)));
    for file in files.concat() {
        let text = fs::read_to_string(&file).expect("a source file");
        let name = file.strip_prefix(broker).expect("it is in there");
        let name = name.with_extension("").display().to_string();
        rows.extend(text.split("#[test]").skip(1).filter_map(|test| row(test, &name)));
    }
    rows.sort();
    let lines: Vec<String> =
        rows.iter().map(|Row { id, what, file }| format!("| {id} | {what} | {file} |")).collect();
    let table = lines.join("\n");
    // Past the harness, which shows what is printed of failures only.
    let _ = writeln!(std::io::stderr(), "{table}\n{} tests of attacks", lines.len());
    let document =
        fs::read_to_string(broker.join("../docs/ATTACKS.md")).expect("the documentation");
    let (_, by_id) = document.split_once("## By id").expect("the table has its heading");
    let documented: Vec<&str> = by_id.lines().filter(|line| is_row(line)).collect();
    let only = |these: &[&str], those: &[&str]| -> Vec<String> {
        these.iter().filter(|line| !those.contains(line)).map(|line| (*line).to_owned()).collect()
    };
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let (missing, vain) = (only(&lines, &documented), only(&documented, &lines));
    assert!(missing.is_empty(), "docs/ATTACKS.md lacks:\n{}", missing.join("\n"));
    assert!(vain.is_empty(), "docs/ATTACKS.md tells of no test:\n{}", vain.join("\n"));
    assert_eq!(documented, lines, "docs/ATTACKS.md is not in order");
}

/// Not the heading of the table.
fn is_row(line: &str) -> bool {
    let id = line.strip_prefix("| ").and_then(|rest| rest.split(" | ").next()).unwrap_or_default();
    id.len() == 4 && id.as_bytes()[1] == b'-' && line.split(" | ").count() == 3
}

/// The row of a test that is named for an attack: `fn h_01_what_comes_of_it()`.
fn row(test: &str, file: &str) -> Option<Row> {
    let name = test.split_once("fn ")?.1.split_once('(')?.0;
    let (letter, rest) = name.split_once('_')?;
    let (number, what) = rest.split_once('_')?;
    let is_id = letter.len() == 1 && number.len() == 2 && number.parse::<u8>().is_ok();
    let id = is_id.then(|| format!("{}-{number}", letter.to_uppercase()))?;
    let is_shown = !id.starts_with('X') || PROCESS.contains(&&*id);
    is_shown.then(|| Row { id, what: what.replace('_', " "), file: file.to_owned() })
}

/// All files of tests, in any order.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path());
    let (folders, files): (Vec<PathBuf>, Vec<PathBuf>) = entries.partition(|path| path.is_dir());
    let is_source = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "rs");
    let below = folders.iter().flat_map(|folder| sources(folder));
    below.chain(files.into_iter().filter(is_source)).collect()
}
