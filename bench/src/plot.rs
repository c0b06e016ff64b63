//! Plots of what `bench peers` measured: an SVG for each scenario, drawn from the file that its
//! `--json` wrote, with machine and versions below. Measures nothing. Run as `bench plot`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum as _};
use serde_json::Value;

use crate::peers::scenario::Scenario;
use crate::peers::table::Spread;

/// The flags of `bench plot`.
#[derive(Clone, Debug, Args)]
pub struct PlotFlags {
    /// What `bench peers --json` wrote.
    pub result: PathBuf,
    /// The folder that the plots go to, each under the name `peers-SCENARIO.svg`.
    #[arg(long, value_name = "FOLDER", default_value = "docs/images")]
    pub into: PathBuf,
}

/// All in pixels of the drawing.
const WIDTH: f64 = 760.0;
const NAMES: f64 = 190.0;
const VALUES: f64 = 110.0;
const ROW: f64 = 26.0;
const TOP: f64 = 52.0;
const LINE: f64 = 16.0;

/// The most characters of a line of the caption.
const CAPTION_MAX: usize = 110;

/// About how many steps the axis has.
const STEPS: f64 = 5.0;

const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#1f2328}.paper{fill:#fff}\
.title{font-weight:600}.small{font-size:11px;fill:#59636e}.grid{stroke:#d1d9e0}\
.bar{fill:#8c959f}.ours{fill:#0969da}.reach{stroke:#1f2328;stroke-width:1.5}\
.value{stroke:#fff;stroke-width:4;paint-order:stroke}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.paper{fill:#0d1117}.small{fill:#9198a1}\
.grid{stroke:#3d444d}.bar{fill:#656c76}.ours{fill:#4493f8}.reach{stroke:#e6edf3}\
.value{stroke:#0d1117}}";

/// One server in a plot.
struct Bar {
    name: String,
    spread: Spread,
}

/// Draws every scenario that the file has figures of.
///
/// # Errors
/// If the file is no result, or a plot can't be written.
pub fn run(flags: &PlotFlags) -> anyhow::Result<()> {
    let text =
        fs::read_to_string(&flags.result).with_context(|| flags.result.display().to_string())?;
    draw(&serde_json::from_str(&text)?, &flags.into).map(drop)
}

/// Draws every scenario that the result has figures of into the folder; which those are.
///
/// # Errors
/// If a plot can't be written.
pub fn draw(result: &Value, into: &Path) -> anyhow::Result<Vec<Scenario>> {
    let mut drawn = Vec::new();
    for &scenario in Scenario::value_variants() {
        let Some(svg) = plot(result, scenario) else { continue };
        let path = into.join(format!("peers-{}.svg", scenario.name()));
        fs::write(&path, svg).with_context(|| path.display().to_string())?;
        drawn.push(scenario);
    }
    Ok(drawn)
}

/// A scenario's plot; none if nothing was measured in it.
#[must_use]
pub fn plot(result: &Value, scenario: Scenario) -> Option<String> {
    let (figure, unit, about) = match scenario.is_idle() {
        true => ("bytes_per_connection", "B", "memory of a connection"),
        false => ("cpu_us_per_delivery", "µs", "processor time of a delivery"),
    };
    let bars = bars(result, scenario, figure);
    let greatest = bars.iter().map(|bar| bar.spread.greatest).fold(0.0, f64::max);
    if greatest <= 0.0 {
        return None;
    }
    let caption = caption(result, scenario, &bars);
    let bottom = TOP + ROW * bars.len() as f64;
    let height = bottom + LINE * (caption.len() as f64 + 2.5);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\" role=\"img\">\n<title>{0}: {about}</title>\n\
         <style>{STYLE}</style>\n<rect class=\"paper\" width=\"100%\" height=\"100%\"/>\n\
         <text class=\"title\" x=\"8\" y=\"20\">{0}: {about}</text>\n\
         <text class=\"small\" x=\"8\" y=\"38\">{1}</text>\n",
        escaped(scenario.name()),
        escaped(scenario.about()),
    );
    let scale = (WIDTH - NAMES - VALUES) / greatest;
    draw_axis(&mut out, bottom, greatest, scale, unit);
    for (row, bar) in bars.iter().enumerate() {
        draw_bar(&mut out, bar, TOP + ROW * row as f64, scale, unit);
    }
    let mut y = bottom + LINE * 2.5;
    for line in &caption {
        let _ = writeln!(out, "<text class=\"small\" x=\"8\" y=\"{y}\">{}</text>", escaped(line));
        y += LINE;
    }
    out += "</svg>\n";
    Some(out)
}

/// From 0, in round steps, with a line up through the bars at each.
fn draw_axis(out: &mut String, bottom: f64, greatest: f64, scale: f64, unit: &str) {
    let step = round_step(greatest / STEPS);
    let digits = (-step.log10().floor()).max(0.0) as usize;
    let mut at = 0.0;
    while at <= greatest {
        let x = NAMES + at * scale;
        let unit = if at == 0.0 { format!(" {unit}") } else { String::new() };
        let _ = writeln!(
            out,
            "<path class=\"grid\" d=\"M{x:.1} {:.1}V{:.1}\"/>\
             <text class=\"small\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{at:.digits$}{unit}</text>",
            TOP - 6.0,
            bottom,
            bottom + 13.0,
        );
        at += step;
    }
}

/// The least of 1, 2 and 5 times a power of ten that is not below.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    let found = [1.0, 2.0, 5.0].map(|times| times * power).into_iter().find(|step| *step >= least);
    found.unwrap_or(10.0 * power)
}

fn draw_bar(out: &mut String, bar: &Bar, y: f64, scale: f64, unit: &str) {
    let Spread { median, least, greatest } = bar.spread;
    let class = if bar.name.starts_with("broker") { "bar ours" } else { "bar" };
    let (middle, text) = (y + ROW / 2.0 - 3.0, y + ROW / 2.0 + 1.5);
    let digits = if greatest >= 100.0 { 0 } else { 2 };
    let _ = writeln!(
        out,
        "<text x=\"{0:.1}\" y=\"{text:.1}\" text-anchor=\"end\">{1}</text>\
         <rect class=\"{class}\" x=\"{NAMES}\" y=\"{y:.1}\" width=\"{2:.1}\" height=\"{3}\"/>\
         <path class=\"reach\" d=\"M{4:.1} {middle:.1}H{5:.1}\"/>\
         <text class=\"value\" x=\"{6:.1}\" y=\"{text:.1}\">{median:.digits$} {unit}</text>",
        NAMES - 8.0,
        escaped(&bar.name),
        median * scale,
        ROW - 8.0,
        NAMES + least * scale,
        NAMES + greatest * scale,
        NAMES + greatest * scale + 8.0,
    );
}

/// The servers with figures, the cheapest first. What lost something has none.
fn bars(result: &Value, scenario: Scenario, figure: &str) -> Vec<Bar> {
    let mut values: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for row in result["rounds"].as_array().into_iter().flatten() {
        if row["scenario"] != scenario.name() || !row["fault"].is_null() {
            continue;
        }
        if let (Some(name), Some(value)) = (row["server"].as_str(), row[figure].as_f64()) {
            values.entry(name).or_default().push(value);
        }
    }
    let bars = values.into_iter().filter_map(|(name, values)| {
        Some(Bar { name: name.to_owned(), spread: Spread::of(values)? })
    });
    let mut bars: Vec<Bar> = bars.collect();
    bars.sort_by(|one, other| one.spread.median.total_cmp(&other.spread.median));
    bars
}

/// How it was measured, on what, and which versions.
fn caption(result: &Value, scenario: Scenario, bars: &[Bar]) -> Vec<String> {
    let text = |name: &str| result[name].as_str().unwrap_or_default().to_owned();
    let rows = result["rounds"].as_array().into_iter().flatten();
    let own = rows.filter(|row| row["scenario"] == scenario.name());
    let rounds = own.filter_map(|row| row["round"].as_u64()).max().unwrap_or(1);
    let word = if rounds == 1 { "round" } else { "rounds" };
    let mut lines = vec![
        format!(
            "Medians of {rounds} {word} of {} s; the line reaches from the least to the greatest.",
            result["seconds"]
        ),
        text("machine"),
    ];
    let versions = bars.iter().filter_map(|bar| {
        Some(format!("{} {}", bar.name, result["versions"].get(&bar.name)?.as_str()?))
    });
    let mut line = String::new();
    for version in versions {
        if !line.is_empty() && line.len() + version.len() > CAPTION_MAX {
            lines.push(std::mem::take(&mut line));
        }
        line += if line.is_empty() { "" } else { " · " };
        line += &version;
    }
    lines.push(line);
    lines.retain(|line| !line.is_empty());
    lines
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_plot_has_a_bar_for_each_server_that_lost_nothing_and_says_what_was_measured_on() {
        let row = |round: u32, server: &str, fault: Option<&str>, cpu: f64| {
            json!({"scenario": "fan", "round": round, "server": server, "fault": fault,
                "cpu_us_per_delivery": cpu})
        };
        let result = json!({
            "machine": "Some <CPU>, 2 cores",
            "seconds": 10,
            "versions": {"ws": "8.23.0"},
            "rounds": [
                row(1, "ws", None, 4.0),
                row(2, "ws", None, 6.0),
                row(1, "broker", None, 2.5),
                row(1, "nchan", Some("3 lost"), 1.0),
            ],
        });
        let svg = plot(&result, Scenario::Fan).unwrap();
        let (ours, theirs) = (svg.find(">broker<").unwrap(), svg.find(">ws<").unwrap());
        assert!(ours < theirs, "the cheapest comes first");
        assert!(svg.contains(">2.50 µs<") && svg.contains(">5.00 µs<"), "{svg}");
        assert!(!svg.contains("nchan"));
        for text in ["Some &lt;CPU&gt;, 2 cores", "ws 8.23.0", "Medians of 2 rounds of 10 s"] {
            assert!(svg.contains(text), "{text}");
        }
        assert_eq!(svg.matches("<rect class=\"bar").count(), 2);
        for text in [">0 µs<", ">2<", ">4<", ">6<"] {
            assert!(svg.contains(text), "the axis begins at 0 and goes in round steps: {svg}");
        }
        assert_eq!(plot(&result, Scenario::Burst), None);
    }

    #[test]
    fn steps_are_round() {
        assert_eq!([0.011, 1.0, 3.1, 70.0].map(round_step), [0.02, 1.0, 5.0, 100.0]);
    }
}
