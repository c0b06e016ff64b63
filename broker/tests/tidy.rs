//! The house rules that can be checked by reading: how every file begins, how long it is, what it
//! must not hold, and which module imports what. The import rules are the table in
//! `docs/ARCHITECTURE.md` itself, so that the two cannot differ.

#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/source.rs"]
mod source;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use imports::Table;
use source::Source;

const LINES_MAX: usize = 500;

/// A rule broken at a place.
struct Finding {
    path: PathBuf,
    line: usize,
    rule: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path.display(), self.line, self.rule)
    }
}

#[test]
fn every_file_says_first_what_it_is() {
    demand_none(&check_all(opens_with_its_purpose));
}

#[test]
fn no_file_is_too_long() {
    demand_none(&check_all(is_short));
}

#[test]
fn no_module_is_named_mod_rs() {
    demand_none(&check_all(has_a_name_of_its_own));
}

#[test]
fn unsafe_code_is_in_sys_alone() {
    demand_none(&check_all(is_safe));
}

#[test]
fn nothing_is_left_to_do_in_comments() {
    demand_none(&check_all(is_finished));
}

#[test]
fn modules_import_what_the_architecture_allows() {
    let document = root().join("docs/ARCHITECTURE.md");
    let text = fs::read_to_string(&document).expect("the architecture is described");
    let table = Table::parse(&text).expect("the table is there");
    demand_none(&imports::check(&root(), &table, &sources()));
}

#[test]
fn every_library_has_its_reason() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the workspace has one");
    let document = "docs/decisions/0008-libraries.md";
    let reasons = fs::read_to_string(root().join(document)).expect("the libraries are explained");
    let explained: Vec<&str> = reasons
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" | ").next())
        .flat_map(|names| names.split(", "))
        .collect();
    let (_, section) = manifest.split_once("[workspace.dependencies]\n").expect("it lists them");
    let names = section
        .lines()
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.contains("path ="))
        .filter_map(|line| line.split_once(" =").map(|(name, _)| name));
    let unexplained: Vec<&str> = names.filter(|name| !explained.contains(name)).collect();
    assert!(unexplained.is_empty(), "no line in {document} for {unexplained:?}");
}

#[test]
fn a_broken_rule_is_found_with_its_line() {
    let check = |text: &str, rule: fn(&Source) -> Vec<Finding>| {
        rule(&Source::new(PathBuf::from("src/a.rs"), text))
            .iter()
            .map(|finding| finding.line)
            .collect::<Vec<_>>()
    };
    assert_eq!(check("#![allow(dead_code)]\n\n//! Why.\n", opens_with_its_purpose), []);
    assert_eq!(check("use std::io;\n//! Why.\n", opens_with_its_purpose), [1]);
    assert_eq!(check(&"\n".repeat(LINES_MAX), is_short), []);
    assert_eq!(check(&"\n".repeat(LINES_MAX + 1), is_short), [LINES_MAX + 1]);
    assert_eq!(check("// unsafe {\nlet a = \"unsafe {\";\n", is_safe), []);
    assert_eq!(check("fn a() {\n    unsafe  { b() }\n}\nunsafe fn c() {}\n", is_safe), [2, 4]);
    assert_eq!(check(&["fine\n// TO", "DO more\n"].concat(), is_finished), [2]);
}

fn opens_with_its_purpose(source: &Source) -> Vec<Finding> {
    let mut lines = source.text.lines().zip(1..);
    let first = lines.find(|(line, _)| !line.trim().is_empty() && !line.starts_with("#!["));
    match first {
        Some((line, _)) if line.starts_with("//! ") => Vec::new(),
        other => vec![source.finding(
            other.map_or(1, |(_, number)| number),
            "the file does not open with `//!` and what it is",
        )],
    }
}

fn is_short(source: &Source) -> Vec<Finding> {
    let lines = source.text.lines().count();
    let rule = format!("{lines} lines: split it, {LINES_MAX} is the most");
    if lines > LINES_MAX { vec![source.finding(lines, rule)] } else { Vec::new() }
}

fn has_a_name_of_its_own(source: &Source) -> Vec<Finding> {
    if source.path.ends_with("mod.rs") {
        vec![source.finding(1, "`x.rs` beside `x/`, never `x/mod.rs`")]
    } else {
        Vec::new()
    }
}

fn is_safe(source: &Source) -> Vec<Finding> {
    if source.path.ends_with("sys.rs") || source.path.iter().any(|part| part == "sys") {
        return Vec::new();
    }
    let opens_unsafe = |line: &str| {
        line.match_indices("unsafe").any(|(at, word)| {
            let before = line[..at].chars().next_back();
            let after = line[at + word.len()..].trim_start();
            !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
                && ["{", "fn ", "impl ", "impl<", "extern "].iter().any(|it| after.starts_with(it))
        })
    };
    source.find_lines(&source.code, opens_unsafe, "unsafe code outside sys")
}

fn is_finished(source: &Source) -> Vec<Finding> {
    // Put together here, or this file would find itself.
    let marks = [["TO", "DO"], ["FIX", "ME"], ["XX", "X"]].map(|parts| parts.concat());
    source.find_lines(
        &source.text,
        |line| marks.iter().any(|mark| line.contains(mark)),
        "do it now or open an issue",
    )
}

fn check_all(rule: impl Fn(&Source) -> Vec<Finding>) -> Vec<Finding> {
    sources().iter().flat_map(rule).collect()
}

fn demand_none(findings: &[Finding]) {
    let lines: Vec<String> = findings.iter().map(Finding::to_string).collect();
    assert!(lines.is_empty(), "\n{}\n", lines.join("\n"));
}

/// Every Rust file of the workspace.
fn sources() -> Vec<Source> {
    let mut paths = Vec::new();
    for member in ["broker", "loadgen", "bench"] {
        collect(&root().join(member), &mut paths);
    }
    assert!(paths.len() > 20, "only {} files under {}", paths.len(), root().display());
    paths.sort();
    paths.into_iter().map(|path| Source::read(&root(), path)).collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a member of the workspace") {
        let path = entry.expect("its entries can be read").path();
        let is_foreign = path.ends_with("target") || path.ends_with("node_modules");
        if path.is_dir() && !is_foreign {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

fn root() -> PathBuf {
    let broker = Path::new(env!("CARGO_MANIFEST_DIR"));
    broker.parent().expect("the broker is a folder of the workspace").to_path_buf()
}
