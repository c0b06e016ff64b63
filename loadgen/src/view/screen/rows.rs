//! What the rows of the screen say, and how much each matters. Turns numbers into words and
//! colours; knows no place on the screen.

use ratatui::style::{Color, Style};
use ratatui::text::{Line, Span};

use hdrhistogram::Histogram;

use super::{NAMES, NARROW, NARROW_NAMES, Theme, bytes};
use crate::live::{About, Moment, Stage};
use crate::report::{QUANTILES, grouped, quantile_ns, rate, time};
use crate::verdict::Trust;

/// The width of a column of latencies.
const COLUMN: usize = 9;

/// One row; bars may take several lines.
#[derive(Debug)]
pub(super) enum Row {
    Title { left: String, right: String },
    Stage,
    Text { name: &'static str, line: Line<'static> },
    Bars(Bars),
    Blank,
}

/// A value for each second, the latest last.
#[derive(Debug)]
pub(super) struct Bars {
    pub(super) values: Vec<u64>,
    pub(super) show: fn(u64) -> String,
    pub(super) colour: Color,
}

/// What decides about words.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    pub(super) width: usize,
    pub(super) theme: Theme,
}

impl Shown {
    fn is_narrow(self) -> bool {
        self.width < usize::from(NARROW)
    }

    /// Columns beside the names.
    fn room(self) -> usize {
        self.width.saturating_sub(usize::from(if self.is_narrow() { NARROW_NAMES } else { NAMES }))
    }

    /// As many of these parts as fit, the first ones first.
    fn parts(self, parts: impl IntoIterator<Item = Option<Span<'static>>>) -> Line<'static> {
        let room = self.room();
        let mut spans: Vec<Span<'static>> = Vec::new();
        let mut used = 0;
        for part in parts.into_iter().flatten() {
            let gap = if spans.is_empty() { 0 } else { 3 };
            used += gap + part.width();
            if used > room && gap > 0 {
                break;
            }
            if gap > 0 {
                spans.push(Span::styled(" · ", self.theme.quiet()));
            }
            spans.push(part);
        }
        Line::from(spans)
    }

    /// A count of something bad, loud if it happened.
    fn fault(self, count: u64, what: &str) -> Option<Span<'static>> {
        let style = if count > 0 { self.theme.strong(Color::Red) } else { Style::new() };
        Some(Span::styled(format!("{} {what}", grouped(count)), style))
    }
}

/// How far the stage is, and what time has passed and is left.
pub(super) fn progress(moment: &Moment) -> String {
    let passed = clock(moment.elapsed_ns);
    match moment.left_ns {
        Some(left_ns) => format!("{passed}, {} left", clock(left_ns)),
        None => passed,
    }
}

/// All rows from top to bottom, each with its rank: the lower, the more it matters.
pub(super) fn all(about: &About, moment: &Moment, shown: &Shown) -> Vec<(u8, Row)> {
    let text = |name, line| Row::Text { name, line };
    let bars =
        |values: &[u64], show, colour| Row::Bars(Bars { values: values.into(), show, colour });
    let title = format!("loadgen {}  {}  {}", about.scenario, about.url, about.protocol);
    let right = "q ends the run".to_owned();
    let mut rows = vec![
        (9, Row::Title { left: title, right }),
        (0, Row::Stage),
        (13, Row::Blank),
        (3, text("connections", connections(about, moment, shown))),
    ];
    if !about.is_holding {
        let (whole, recent) = latencies(moment, shown);
        rows.extend([
            (4, text("published", published(about, moment, shown))),
            (1, text("delivered", delivered(moment, shown))),
            (11, bars(&moment.delivered_by_second, |rate| grouped(rate) + "/s", Color::Cyan)),
            (14, Row::Blank),
            (10, text("latency", heads(shown))),
            (1, text("last second", recent)),
            (5, text("so far", whole)),
            (12, bars(&moment.slowest_by_second, time, Color::Magenta)),
            (14, Row::Blank),
            (2, text("faults", faults(moment, shown))),
        ]);
        if shown.is_narrow() {
            rows.retain(|(rank, _)| *rank != 10);
        }
    }
    rows.push((7, text("generator", generator(about, moment, shown))));
    if let Some(line) = target(moment, shown) {
        rows.push((8, text("target", line)));
    }
    rows.extend(
        measurement(moment, shown).into_iter().map(|(rank, name, line)| (rank, text(name, line))),
    );
    rows
}

fn connections(about: &About, moment: &Moment, shown: &Shown) -> Line<'static> {
    let progress = &moment.progress;
    let ready = format!("{} of {} ready", grouped(progress.ready), grouped(about.connections));
    let some = |count: u64, what| (count > 0).then(|| shown.fault(count, what)).flatten();
    let is_connecting = moment.stage == Stage::Connecting;
    shown.parts([
        Some(Span::raw(ready)),
        some(progress.failed, "failed"),
        some(progress.closed, "lost"),
        is_connecting.then(|| Span::raw(format!("{}/s", rate(moment.connect_rate)))),
    ])
}

fn published(about: &About, moment: &Moment, shown: &Shown) -> Line<'static> {
    let is_publishing = matches!(moment.stage, Stage::WarmingUp | Stage::Measuring);
    let asked = rate(about.schedule.rate());
    let now = format!("{} of {asked}/s", rate(moment.sent_rate));
    shown.parts([
        Some(Span::raw(if is_publishing { now } else { format!("{asked}/s asked for") })),
        Some(Span::raw(format!("{} in all", grouped(moment.progress.sent)))),
        (moment.lag_ns > 0).then(|| Span::raw(format!("p99 sent {} late", time(moment.lag_ns)))),
    ])
}

fn delivered(moment: &Moment, shown: &Shown) -> Line<'static> {
    let progress = &moment.progress;
    let arrived = progress.delivered.saturating_add(progress.missed);
    let waiting = progress.expected.saturating_sub(arrived);
    let missed = progress.missed;
    shown.parts([
        Some(Span::styled(
            format!("{}/s", rate(moment.delivered_rate)),
            shown.theme.strong(Color::Cyan),
        )),
        Some(Span::raw(format!("{} in all", grouped(progress.delivered)))),
        Some(Span::raw(format!("{} under way", grouped(waiting)))),
        (missed > 0).then(|| Span::raw(format!("{} missed while away", grouped(missed)))),
    ])
}

fn heads(shown: &Shown) -> Line<'static> {
    let names = QUANTILES.iter().map(|&(name, _)| name).chain(["max"]);
    let line: String = names.map(|name| format!("{name:>COLUMN$}")).collect();
    Line::styled(line, shown.theme.quiet())
}

/// The latencies so far, and those of the last second.
fn latencies(moment: &Moment, shown: &Shown) -> (Line<'static>, Line<'static>) {
    let line = |histogram: &Histogram<u64>| match shown.is_narrow() {
        true => brief(histogram, shown),
        false => columns(histogram),
    };
    (line(&moment.whole), line(&moment.recent))
}

fn columns(histogram: &Histogram<u64>) -> Line<'static> {
    let known = |value: Option<u64>| value.map_or_else(|| "–".to_owned(), time);
    let max = (!histogram.is_empty()).then(|| histogram.max());
    let values = QUANTILES.iter().map(|&(_, quantile)| quantile_ns(histogram, quantile));
    let line: String =
        values.chain([max]).map(|value| format!("{:>COLUMN$}", known(value))).collect();
    Line::from(line)
}

/// The median, and as high a quantile as is known.
fn brief(histogram: &Histogram<u64>, shown: &Shown) -> Line<'static> {
    if histogram.is_empty() {
        return Line::from("–");
    }
    let quantile = |name: &str, quantile| {
        let value = quantile_ns(histogram, quantile);
        value.map(|value| Span::raw(format!("{name} {}", time(value))))
    };
    let max = Some(Span::raw(format!("max {}", time(histogram.max()))));
    let p99 = quantile("p99", 0.99);
    match p99.is_some() {
        true => shown.parts([quantile("p50", 0.5), p99, max]),
        false => shown.parts([quantile("p50", 0.5), max]),
    }
}

fn faults(moment: &Moment, shown: &Shown) -> Line<'static> {
    let progress = &moment.progress;
    shown.parts([
        shown.fault(progress.missing, "missing"),
        shown.fault(progress.duplicated, "duplicated"),
        shown.fault(progress.out_of_order, "out of order"),
    ])
}

fn generator(about: &About, moment: &Moment, shown: &Shown) -> Line<'static> {
    let threads =
        if about.threads == 1 { "1 thread".into() } else { format!("{} threads", about.threads) };
    let busiest = format!("busiest {:.0} %", moment.busiest_share * 100.0);
    shown.parts([
        Some(Span::raw(format!("{:.2} cores", moment.own_cores))),
        (moment.busiest_share > 0.0).then(|| Span::raw(busiest)),
        Some(Span::raw(threads)),
        Some(Span::styled(
            format!("this view {:.1} %", moment.looking_share * 100.0),
            shown.theme.quiet(),
        )),
    ])
}

fn target(moment: &Moment, shown: &Shown) -> Option<Line<'static>> {
    let target = moment.target?;
    Some(shown.parts([
        Some(Span::raw(format!("{:.2} cores", target.cores))),
        Some(Span::raw(format!("{} resident", bytes(target.rss_bytes)))),
    ]))
}

/// The judgement so far, and why it is no better: one row each.
fn measurement(moment: &Moment, shown: &Shown) -> Vec<(u8, &'static str, Line<'static>)> {
    let Some(verdict) = &moment.judgement else {
        return vec![(6, "measurement", Line::styled("–", shown.theme.quiet()))];
    };
    let colour = match verdict.trust {
        Trust::Valid => Color::Green,
        Trust::Suspect => Color::Yellow,
        Trust::Invalid => Color::Red,
    };
    let name = format!("{} so far", verdict.trust.name());
    let reasons: Vec<&str> = verdict.reasons.iter().map(|(_, reason)| reason.as_str()).collect();
    let text = if reasons.is_empty() { String::new() } else { format!(": {}", reasons.join("; ")) };
    let mut lines = wrapped(&(name.clone() + &text), shown.room()).into_iter();
    let first = lines.next().unwrap_or_default();
    // On a very narrow screen the first words are broken too.
    let (known, reason) = first.split_at_checked(name.len()).unwrap_or((&first, ""));
    let known = Span::styled(known.to_owned(), shown.theme.strong(colour));
    let first = Line::from(vec![known, Span::raw(reason.to_owned())]);
    let rest = lines.map(|line| (10, "", Line::from(line)));
    [(6, "measurement", first)].into_iter().chain(rest).collect()
}

/// A text in lines of no more than `width` columns, broken at spaces where that is possible.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut().filter(|line| Span::raw(&**line).width() + 1 + word.len() <= width) {
            Some(line) => *line = format!("{line} {word}"),
            None => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Minutes and seconds, and hours if there are some.
fn clock(nanos: u64) -> String {
    let seconds = nanos / 1_000_000_000;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}
