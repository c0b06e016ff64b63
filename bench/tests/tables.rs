//! The commands that write measured tables into the docs, with loads so small that they only show
//! that everything works: each table is in its place, and nothing was lost.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A copy of a page of the docs.
fn copy(name: &str) -> (PathBuf, String) {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let page = fs::read_to_string(docs.join(name)).expect("the page is there");
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, &page).expect("it can be copied");
    (path, page)
}

/// Runs `bench` and gives what the page is then.
fn bench(flags: &[&str], page: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(flags)
        .arg("--page")
        .arg(page)
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    fs::read_to_string(page).expect("the page is there")
}

/// The cells of the lines of a table that begin with `name`.
fn row<'p>(page: &'p str, mark: &str, name: &str) -> Vec<&'p str> {
    let (_, rest) = page.split_once(mark).expect("the page has a place for it");
    let (table, _) = rest.split_once("<!-- end of ").expect("the place has an end");
    let line =
        table.lines().find(|line| line.strip_prefix("| ").is_some_and(|l| l.starts_with(name)));
    line.unwrap_or_else(|| panic!("{name}: {table}")).split('|').map(str::trim).collect()
}

#[test]
fn the_dashboards_page_gets_its_four_tables_and_every_account_closes() {
    let (path, before) = copy("DASHBOARDS.md");
    let page = bench(&["dashboards", "--quick"], &path);
    let rows = [
        ("latest", "every message of 10 symbols each"),
        ("latest", "the newest of 10, twice a second"),
        ("latest", "the newest of all symbols, twice a second"),
        ("slow", "all keep up"),
        ("slow", "one reads nothing"),
        ("slow", "one reads 1 KB/s"),
        ("storm", "once, all at the same moment"),
        ("kept", "nothing"),
        ("kept", "100 messages and the last value"),
    ];
    for (study, name) in rows {
        let cells = row(&page, &format!("<!-- {study} -->"), name);
        let said = cells[cells.len() - 2];
        assert!(!said.contains("lost") && !said.contains("duplicated"), "{name}: {cells:?}");
    }
    let mark = "<!-- storm -->";
    let storm = row(&page, mark, "once");
    assert_eq!((storm[2], storm[3], storm[4]), ("100", "100", "0"), "{storm:?}");
    let (first, _) = before.split_once("<!-- latest").expect("it has places");
    assert!(page.starts_with(first), "the rest of the page stays");
}

#[test]
fn publishes_are_counted_by_what_is_on_disk_when_they_are_answered() {
    let (path, _) = copy("BENCHMARKS.md");
    let folder = env!("CARGO_TARGET_TMPDIR");
    let page = bench(&["durable", "--quick", "--folder", folder], &path);
    let mark = "<!-- durable -->";
    let (_, rest) = page.split_once(mark).expect("the page has a place for it");
    let lines: Vec<&str> =
        rest.lines().filter(|line| line.contains("publisher")).take(12).collect();
    for line in &lines {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let waits = cells[6] != "–";
        assert!(cells[3] != "0" && (waits || cells[2] != "durable"), "{line}");
    }
    assert_eq!(lines.len(), 12, "{rest}");
    let left = fs::read_dir(folder).expect("it is there").flatten();
    let stores =
        left.filter(|entry| entry.file_name().to_string_lossy().starts_with("bench-store"));
    assert_eq!(stores.count(), 0, "what was stored is removed");
}
