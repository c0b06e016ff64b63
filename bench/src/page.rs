//! Measured tables in our pages: each has its place between two lines, so that measuring again
//! replaces it. Called by whatever measures with `--page`; knows nothing of what a table says.

use std::fs;
use std::path::Path;

use anyhow::Context as _;

/// Puts `text` into the page, between its lines `<!-- NAME -->` and `<!-- end of NAME -->`.
///
/// # Errors
/// If the page can't be read or written, or has no such place.
pub fn put(page: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let shown = page.display();
    let old = fs::read_to_string(page).with_context(|| shown.to_string())?;
    let new = put_between(&old, name, text)
        .with_context(|| format!("{shown} has no place for {name}: <!-- {name} -->"))?;
    fs::write(page, new).with_context(|| shown.to_string())
}

fn put_between(page: &str, name: &str, text: &str) -> Option<String> {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
    let (before, rest) = page.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}\n{}\n\n{end}{after}", text.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_replaces_the_one_of_its_name_and_no_other() {
        let page = "a\n<!-- one -->\nold\n<!-- end of one -->\n<!-- two -->\n<!-- end of two -->\n";
        let filled = put_between(page, "two", "new\n").unwrap();
        let expected = "a\n<!-- one -->\nold\n<!-- end of one -->\n<!-- two -->\n\nnew\n\n<!-- end of two -->\n";
        assert_eq!(filled, expected);
        assert_eq!(put_between(&filled, "two", "new\n").as_deref(), Some(expected));
        assert_eq!(put_between(page, "three", "new"), None);
    }
}
