//! One result, or several side by side, as a page with plots: one file that needs no network, with
//! the plotting library (uPlot, MIT licence) and the numbers inside. Works on the JSON form, so
//! that results kept in files can be drawn too. Called by the outputs and by `compare`.

use serde_json::{Value, json};

const BODY: &str = include_str!("../../web/report.html");
const STYLE: &str = include_str!("../../web/report.css");
const SCRIPT: &str = include_str!("../../web/report.js");
const PLOT_STYLE: &str = include_str!("../../web/vendor/uplot-1.6.32/uPlot.min.css");
const PLOT_SCRIPT: &str = include_str!("../../web/vendor/uplot-1.6.32/uPlot.iife.min.js");
const PLOT_LICENCE: &str = include_str!("../../web/vendor/uplot-1.6.32/LICENSE");

/// The page of these results, each with the name it is to be called by.
///
/// ```
/// let result = serde_json::json!({ "scenario": "fanout" });
/// let page = loadgen::report::page(&[("before".into(), result)]);
/// assert!(page.starts_with("<!doctype html>"));
/// assert!(page.contains(r#"[{"name":"before","result":{"scenario":"fanout"}}]"#));
/// ```
#[must_use]
pub fn page(results: &[(String, Value)]) -> String {
    let runs: Value =
        results.iter().map(|(name, result)| json!({"name": name, "result": result})).collect();
    // A `<` in a text must not be able to end the script that holds it.
    let data = runs.to_string().replace('<', "\\u003c");
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>loadgen</title>\n<!-- uPlot is used under this licence:\n\n{PLOT_LICENCE}-->\n\
         <style>\n{PLOT_STYLE}\n{STYLE}</style>\n</head>\n<body>\n{BODY}\
         <script type=\"application/json\" id=\"data\">{data}</script>\n\
         <script>\n{PLOT_SCRIPT}\n</script>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_loaded_from_elsewhere() {
        let page = page(&[("a".into(), json!({}))]);
        for sign in ["src=", "href=", "url(", "@import", "fetch(", "import("] {
            assert!(!page.contains(sign), "{sign}");
        }
        assert!(page.contains("Permission is hereby granted"));
    }

    #[test]
    fn a_result_cannot_end_the_script_it_stands_in() {
        let evil = json!({ "verdict": { "text": "</script><script>alert(1)</script>" } });
        let page = page(&[("<b>".into(), evil)]);
        assert!(!page.contains("alert(1)</script>"));
        assert!(page.contains("\\u003c/script>\\u003cscript>alert(1)"));
        assert_eq!(page.matches("</script>").count(), 3);
    }
}
