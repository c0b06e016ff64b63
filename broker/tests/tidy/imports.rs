//! Which module may use which other modules, libraries and parts of std: read from the table in
//! the architecture document, and held against every path in the code (`use` or not).
//! Code for tests alone is free.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::Finding;
use super::source::Source;

/// Above the table in the document.
const HEADING: &str = "## What may import what";
/// The crate that is called `proto` in the table.
const PROTO: &str = "broker_proto";

/// One row: what a part may use.
#[derive(Debug, Default, PartialEq)]
struct Row {
    own: BTreeSet<String>,
    libraries: BTreeSet<String>,
    std_refused: BTreeSet<String>,
}

/// The table, by part.
pub(crate) struct Table(BTreeMap<String, Row>);

impl Table {
    /// Reads the first table after [`HEADING`]. Its columns: the part, what it may use of our own,
    /// libraries, and the modules of std it must not touch. Only words in backticks count.
    pub(crate) fn parse(document: &str) -> Option<Self> {
        let (_, section) = document.split_once(HEADING)?;
        let rows = section
            .lines()
            .skip_while(|line| !line.starts_with('|'))
            .take_while(|line| line.starts_with('|'))
            .filter_map(|line| {
                let mut cells = line.trim_matches('|').split('|').map(words);
                let part = cells.next()?.into_iter().next()?;
                let mut next = || cells.next().unwrap_or_default();
                Some((part, Row { own: next(), libraries: next(), std_refused: next() }))
            })
            .collect();
        Some(Self(rows))
    }
}

fn words(cell: &str) -> BTreeSet<String> {
    cell.split('`').skip(1).step_by(2).map(|word| word.replace('-', "_")).collect()
}

/// Every path that the table does not allow, every part without a row and every row without a
/// part.
pub(crate) fn check(root: &Path, table: &Table, sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut parts = BTreeSet::new();
    for source in sources {
        let Some(place) = Place::of(&source.path) else { continue };
        parts.insert(place.part.clone());
        match table.0.get(&place.part) {
            Some(row) => {
                let libraries = libraries(&root.join(place.package).join("Cargo.toml"));
                check_source(source, &place, row, &table.0, &libraries, &mut findings);
            }
            None => findings.push(
                source.finding(1, format!("`{}` has no row under \"{HEADING}\"", place.part)),
            ),
        }
    }
    for part in table.0.keys().filter(|part| !parts.contains(*part)) {
        let path = "docs/ARCHITECTURE.md".into();
        findings.push(Finding { path, line: 1, rule: format!("there is no `{part}`") });
    }
    findings
}

/// Where a file belongs.
struct Place {
    package: &'static str,
    /// What the table calls it: a top module of the broker, or a whole package.
    part: String,
    /// How many `super::` lead from it to the root of its crate.
    depth: usize,
}

impl Place {
    /// `None` for what is not part of a library or binary: tests and benches, and the list of
    /// modules in the broker's `lib.rs`.
    fn of(path: &Path) -> Option<Self> {
        let path = path.to_str()?.replace('\\', "/");
        let is_test = path.ends_with("/tests.rs") || path.contains("/tests/");
        if is_test || path == "broker/src/lib.rs" {
            return None;
        }
        let packages = [
            ("broker/proto", "broker_proto"),
            ("loadgen", "loadgen"),
            ("bench", "bench"),
            ("broker", "broker"),
        ];
        packages.into_iter().find_map(|(package, name)| {
            let inside = path.strip_prefix(package)?.strip_prefix("/src/")?.strip_suffix(".rs")?;
            let modules: Vec<&str> = inside.split('/').collect();
            let part = if package == "broker" { modules[0] } else { name };
            Some(Self { package, part: part.to_owned(), depth: modules.len() })
        })
    }
}

fn check_source(
    source: &Source,
    place: &Place,
    row: &Row,
    parts: &BTreeMap<String, Row>,
    libraries: &BTreeSet<String>,
    findings: &mut Vec<Finding>,
) {
    for (line, path) in paths(code_without_tests(&source.code)) {
        let rule = match resolve(&path, place, parts) {
            Use::Own(part) if part != place.part && !row.own.contains(&part) => {
                format!("`{}` must not use `{part}`", place.part)
            }
            Use::Library(name) if libraries.contains(&name) && !row.libraries.contains(&name) => {
                format!("`{}` must not use the library `{name}`", place.part)
            }
            Use::Std(name) if row.std_refused.contains(&name) => {
                format!("`{}` must not use `std::{name}`", place.part)
            }
            _ => continue,
        };
        findings.push(source.finding(line, rule));
    }
}

enum Use {
    Own(String),
    Library(String),
    Std(String),
    Here,
}

fn resolve(path: &[String], place: &Place, parts: &BTreeMap<String, Row>) -> Use {
    let supers = path.iter().take_while(|name| *name == "super").count();
    let name = |at: usize| path.get(at).cloned().unwrap_or_default();
    match path[0].as_str() {
        PROTO => Use::Own("proto".to_owned()),
        "std" | "alloc" => Use::Std(name(1)),
        // Its addresses and durations are values: it has no socket, thread or clock.
        "core" => Use::Here,
        // Inside a package that is one part, nothing of `crate` is another part.
        "crate" | "broker" if place.package == "broker" => Use::Own(name(1)),
        package @ ("broker" | "loadgen") => Use::Own(package.to_owned()),
        "crate" | "self" => Use::Here,
        "super" => match name(supers) {
            top if supers >= place.depth && parts.contains_key(&top) => Use::Own(top),
            _ => Use::Here,
        },
        library => Use::Library(library.to_owned()),
    }
}

/// Everything before the tests at the end of a file.
fn code_without_tests(code: &str) -> &str {
    code.find("#[cfg(test)]\nmod ").map_or(code, |at| &code[..at])
}

/// Every path of two and more names in the code, with its line; a group in braces gives one path
/// for each of its members.
fn paths(code: &str) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = code[at..].find(is_word).map(|offset| at + offset) {
        let word = word_at(&code[start..]);
        at = start + word.len();
        let line = 1 + code[..start].matches('\n').count();
        let is_within = code[..start].ends_with("::");
        let is_alone = !code[at..].starts_with("::");
        if is_within || (is_alone && !code[..start].trim_end().ends_with("use")) {
            continue;
        }
        let mut path = vec![word.to_owned()];
        while let Some(rest) = code[at..].strip_prefix("::") {
            let next = word_at(rest);
            if next.is_empty() {
                break;
            }
            path.push(next.to_owned());
            at += 2 + next.len();
        }
        if let Some(group) = code[at..].strip_prefix("::{") {
            let with = |member: &str| path.iter().cloned().chain([member.to_owned()]).collect();
            found.extend(members(group).map(|member| (line, with(member))));
        } else {
            found.push((line, path));
        }
    }
    found
}

/// The first name of every member of a group, `group` being what follows its opening brace.
fn members(group: &str) -> impl Iterator<Item = &str> {
    let mut depth = 1;
    let mut end = group.len();
    let mut starts = vec![0];
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => starts.push(at + 1),
            _ => {}
        }
        if depth == 0 {
            end = at;
            break;
        }
    }
    let member = move |start: usize| word_at(group[start..end].trim_start());
    starts.into_iter().map(member).filter(|word| !word.is_empty())
}

fn word_at(text: &str) -> &str {
    &text[..text.find(|c| !is_word(c)).unwrap_or(text.len())]
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The names under `[dependencies]`, as code spells them.
fn libraries(manifest: &Path) -> BTreeSet<String> {
    let manifest = fs::read_to_string(manifest).expect("every package has a manifest");
    let (_, section) = manifest.split_once("[dependencies]\n").unwrap_or_default();
    section
        .lines()
        .take_while(|line| !line.starts_with('['))
        .map(|line| word_at(&line.replace('-', "_")).to_owned())
        .filter(|name| !name.is_empty())
        .collect()
}

#[test]
fn an_import_outside_the_table_is_found_with_its_line() {
    let table = Table::parse(
        "# Shape\n\n## What may import what\n\nText.\n\n| part | own | libraries | not of std |\n\
         |---|---|---|---|\n| `hub` | `proto` | `dashmap` | `net`, `time` |\n| `metrics` | | | |\n",
    )
    .unwrap();
    let source = Source::new(
        "broker/src/hub/topic.rs".into(),
        "//! What.\nuse broker_proto::topic::Topic;\nuse crate::{hub::Hub, metrics};\n\
         use super::super::metrics::Worker;\nuse dashmap::DashMap;\nuse mio::Token;\n\
         fn now() -> std::time::Instant {}\nuse std::{net, sync};\nuse tokio;\n\
         #[cfg(test)]\nmod tests {\n    use mio::Poll;\n}\n",
    );
    let place = Place::of(&source.path).unwrap();
    let libraries = ["dashmap", "mio", "tokio"].map(str::to_owned).into();
    let mut findings = Vec::new();
    check_source(&source, &place, &table.0["hub"], &table.0, &libraries, &mut findings);
    let rules: Vec<_> = findings.iter().map(|it| (it.line, it.rule.as_str())).collect();
    assert_eq!(
        rules,
        [
            (3, "`hub` must not use `metrics`"),
            (4, "`hub` must not use `metrics`"),
            (6, "`hub` must not use the library `mio`"),
            (7, "`hub` must not use `std::time`"),
            (8, "`hub` must not use `std::net`"),
            (9, "`hub` must not use the library `tokio`"),
        ]
    );
}
