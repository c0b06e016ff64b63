//! The pages that show commands: every command line of `loadgen` in them must be one that it
//! takes. Nothing is run.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::Path;

use clap::Parser as _;
use clap::error::ErrorKind;
use loadgen::options::Options;

/// The pages, from the root of the workspace.
const PAGES: [&str; 5] = [
    "README.md",
    "docs/CONTRIBUTING.md",
    "docs/LOADGEN.md",
    "docs/MEASURING.md",
    "docs/WHY-WEBSOCKET.md",
];

#[test]
fn every_command_that_the_pages_show_is_one_that_is_taken() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut wrong = Vec::new();
    for page in PAGES {
        let text = fs::read_to_string(root.join(page)).unwrap();
        let commands: Vec<_> = commands_in(&text).collect();
        assert!(!commands.is_empty(), "{page} shows none");
        for command in commands {
            match Options::try_parse_from(&command) {
                Err(error) if error.kind() != ErrorKind::DisplayHelp => {
                    wrong.push(format!("{page}: {}\n{error}", command.join(" ")));
                }
                _ => {}
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_command_is_found_among_others_and_split_as_a_shell_would() {
    let page = "text\n```sh\ncargo run --release -p loadgen -- show 'a b' > c  # why\n\
                taskset -c 1 loadgen list; ls\nloadgen fanout \\\n    --target-pid \"$(pgrep x)\" &\n\
                broker --json\n```\n```text\nloadgen no\n```\n";
    let found: Vec<_> = commands_in(page).map(|words| words.join("|")).collect();
    assert_eq!(found, ["loadgen|show|a b", "loadgen|list", "loadgen|fanout|--target-pid|1"]);
}

/// The words of every command of `loadgen` in a page's blocks of shell commands.
fn commands_in(page: &str) -> impl Iterator<Item = Vec<String>> {
    let blocks = page.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let lines: Vec<String> = blocks
        .flat_map(|block| {
            let joined = block.replace("\\\n", " ");
            joined.lines().map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    lines.into_iter().flat_map(|line| words_of(&line)).filter_map(|words| {
        let at = match words.iter().position(|word| word == "loadgen")? {
            at if words.first().is_some_and(|word| word == "cargo") => {
                at + words[at..].iter().position(|word| word == "--")?
            }
            at => at,
        };
        Some(["loadgen".to_owned()].into_iter().chain(words[at + 1..].to_vec()).collect())
    })
}

/// The commands of a line, each as its words: quotes are taken off, a substitution is a 1, a
/// comment ends the line, and what a redirection or a pipe leads to is left out.
fn words_of(line: &str) -> Vec<Vec<String>> {
    let (mut commands, mut words, mut word) = (Vec::new(), Vec::new(), None::<String>);
    let (mut quote, mut is_cut, mut chars) = (None, false, line.chars().peekable());
    while let Some(char) = chars.next() {
        match (quote, char) {
            (Some(open), char) if open == char => quote = None,
            (None, '\'' | '"') => {
                quote = Some(char);
                word.get_or_insert_default();
            }
            (None | Some('"'), '$') if chars.peek() == Some(&'(') => {
                chars.by_ref().find(|&char| char == ')');
                word.get_or_insert_default().push('1');
            }
            (None, '#') if word.is_none() => break,
            (None, ' ' | ';' | '&' | '|' | '>') => {
                words.extend(word.take().filter(|_| !is_cut));
                match char {
                    ' ' => {}
                    '|' | '>' => is_cut = true,
                    _ => {
                        commands.push(std::mem::take(&mut words));
                        is_cut = false;
                    }
                }
            }
            (_, char) => word.get_or_insert_default().push(char),
        }
    }
    words.extend(word.filter(|_| !is_cut));
    commands.push(words);
    commands
}
