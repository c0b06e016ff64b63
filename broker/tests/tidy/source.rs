//! One Rust file as the rules see it: its text, and the same with comments and literals blanked
//! out, so that a rule about code is not misled by what is only written about it.

use std::fs;
use std::path::{Path, PathBuf};

use super::Finding;

/// A file, its path relative to the workspace.
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
    /// As long as `text`, line for line.
    pub(crate) code: String,
}

impl Source {
    pub(crate) fn read(root: &Path, path: PathBuf) -> Self {
        let text = fs::read_to_string(&path).expect("Rust files are UTF-8");
        let relative = path.strip_prefix(root).map(Path::to_path_buf).unwrap_or(path);
        Self::new(relative, &text)
    }

    pub(crate) fn new(path: PathBuf, text: &str) -> Self {
        Self { path, text: text.to_owned(), code: blank_out(text) }
    }

    pub(crate) fn finding(&self, line: usize, rule: impl Into<String>) -> Finding {
        Finding { path: self.path.clone(), line, rule: rule.into() }
    }

    pub(crate) fn find_lines(
        &self,
        text: &str,
        is_wrong: impl Fn(&str) -> bool,
        rule: &str,
    ) -> Vec<Finding> {
        let wrong = text.lines().zip(1..).filter(|(line, _)| is_wrong(line));
        wrong.map(|(_, number)| self.finding(number, rule)).collect()
    }
}

/// Puts a space for every character of a comment or of a string or character literal; line ends
/// stay.
fn blank_out(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = hidden_length(rest, code.chars().next_back());
        if length == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            let hidden = &rest[..length];
            code.extend(hidden.chars().map(|c| if c == '\n' { c } else { ' ' }));
            rest = &rest[length..];
        }
    }
    code
}

/// Bytes of the comment or literal that `rest` begins with, or 0.
fn hidden_length(rest: &str, before: Option<char>) -> usize {
    let until = |from: usize, end: &str| {
        rest[from..].find(end).map_or(rest.len(), |at| from + at + end.len())
    };
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return until(2, "*/");
    }
    let is_in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if !is_in_word {
        let raw = rest.strip_prefix('b').unwrap_or(rest);
        if let Some(hashes) = raw.strip_prefix('r').and_then(|raw| raw.split('"').next())
            && hashes.bytes().all(|byte| byte == b'#')
            && raw[1 + hashes.len()..].starts_with('"')
        {
            let open = rest.len() - raw.len() + 1 + hashes.len() + 1;
            return until(open, &format!("\"{hashes}"));
        }
    }
    match rest.as_bytes() {
        [b'"', ..] => quoted_length(rest, '"'),
        [b'\'', b'\\', ..] => quoted_length(rest, '\''),
        [b'\'', ..] => {
            // A lifetime has no closing quote after its first character.
            let mut chars = rest.char_indices().skip(1);
            match (chars.next(), chars.next()) {
                (Some((_, inner)), Some((end, '\''))) if inner != '\'' => end + 1,
                _ => 0,
            }
        }
        _ => 0,
    }
}

fn quoted_length(rest: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

#[test]
fn comments_and_literals_are_blanked_out_and_code_is_not() {
    let cases = [
        ("a // b \"c\"\nd", "a         \nd"),
        ("a /* b\nc */ d", "a     \n     d"),
        (r#"f("x \" y", 'q', '\'', b"z")"#, r#"f(        ,    ,     , b   )"#),
        ("r#\"a \"b\" c\"# + d", "             + d"),
        ("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)"),
        ("for r in rs {\"x\"}", "for r in rs {   }"),
    ];
    for (text, code) in cases {
        assert_eq!(blank_out(text), code, "{text}");
    }
}
