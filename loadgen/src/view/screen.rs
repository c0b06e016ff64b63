//! One frame: which rows a terminal of this size gets, and where each stands. What is least
//! important is left out first; what is left of the height goes to the bars. Pure; called by the
//! view for every frame.

mod rows;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::line;
use ratatui::text::{Line, Span};
use ratatui::widgets::{LineGauge, Paragraph, Sparkline};

use crate::live::{About, Moment, Stage};
use crate::report::grouped;

use rows::{Bars, Row, Shown};

/// The columns of the names on the left with the gap after them, as in the summary that follows the
/// run.
const NAMES: u16 = 14;

/// Below this width, names take no more than they must.
const NARROW: u16 = 60;

/// The columns of the names and their gap where it is narrow.
const NARROW_NAMES: u16 = 12;

/// Bars grow no higher: beyond that they say nothing more.
const BARS_HEIGHT_MAX: u16 = 8;

/// What the parts of the screen look like; without colours they differ in weight alone.
#[derive(Clone, Copy, Debug)]
struct Theme {
    has_colours: bool,
}

impl Theme {
    fn colour(self, colour: Color) -> Style {
        if self.has_colours { Style::new().fg(colour) } else { Style::new() }
    }

    /// What names a number.
    fn quiet(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    fn strong(self, colour: Color) -> Style {
        self.colour(colour).add_modifier(Modifier::BOLD)
    }
}

/// Draws this moment of the run on the whole frame.
pub(super) fn draw(frame: &mut Frame<'_>, about: &About, moment: &Moment, has_colours: bool) {
    let theme = Theme { has_colours };
    let area = frame.area();
    let shown = Shown { width: usize::from(area.width), theme };
    let rows = fitting(rows::all(about, moment, &shown), area.height);
    let bars = rows.iter().filter(|row| matches!(row, Row::Bars(_))).count() as u16;
    let left = area.height.saturating_sub(rows.len() as u16);
    let bars_height = (left / bars.max(1) + 1).min(BARS_HEIGHT_MAX);
    let heights = rows.iter().map(|row| match row {
        Row::Bars(_) => Constraint::Length(bars_height),
        _ => Constraint::Length(1),
    });
    let places = Layout::vertical(heights.collect::<Vec<_>>()).split(area);
    for (row, &place) in rows.iter().zip(places.iter()) {
        match row {
            Row::Title { left, right } => title(frame, place, left, right, theme),
            Row::Stage => stage(frame, place, about, moment, theme),
            Row::Text { name, line } => text(frame, place, name, line.clone(), theme),
            Row::Bars(bars) => draw_bars(frame, place, bars, theme),
            Row::Blank => {}
        }
    }
}

/// The rows, in their order, without those that find no place: of two of one rank, the lower.
fn fitting(mut rows: Vec<(u8, Row)>, height: u16) -> Vec<Row> {
    while rows.len() > usize::from(height) {
        let least = rows.iter().enumerate().max_by_key(|&(at, &(rank, _))| (rank, at));
        let Some((at, _)) = least else { break };
        rows.remove(at);
    }
    rows.into_iter().map(|(_, row)| row).collect()
}

fn title(frame: &mut Frame<'_>, place: Rect, left: &str, right: &str, theme: Theme) {
    let has_room = left.chars().count() + right.chars().count() + 2 <= usize::from(place.width);
    frame.render_widget(Line::styled(left, Style::new().add_modifier(Modifier::BOLD)), place);
    if has_room {
        frame.render_widget(Line::styled(right, theme.quiet()).right_aligned(), place);
    }
}

fn stage(frame: &mut Frame<'_>, place: Rect, about: &About, moment: &Moment, theme: Theme) {
    let is_held = about.is_holding && moment.stage == Stage::Measuring;
    let name = format!("{} ", if is_held { "holding" } else { moment.stage.name() });
    let told = format!(" {}", rows::progress(moment));
    let has_room = name.len() + told.chars().count() <= usize::from(place.width);
    let told = if has_room { told } else { String::new() };
    let widths = [name.len(), told.chars().count()].map(|width| Constraint::Length(width as u16));
    let [at_name, at_gauge, at_told] =
        Layout::horizontal([widths[0], Constraint::Fill(1), widths[1]]).areas(place);
    let colour = if moment.stage == Stage::Measuring { Color::Green } else { Color::Cyan };
    frame.render_widget(Span::styled(name, theme.strong(colour)), at_name);
    let gauge = LineGauge::default()
        .ratio(moment.done_share.clamp(0.0, 1.0))
        .label("")
        .filled_symbol(line::THICK_HORIZONTAL)
        .unfilled_symbol(line::HORIZONTAL)
        .filled_style(theme.colour(colour))
        .unfilled_style(theme.quiet());
    frame.render_widget(gauge, at_gauge);
    frame.render_widget(Span::raw(told), at_told);
}

/// Where names end and values begin.
fn split(place: Rect) -> [Rect; 2] {
    let (width, gap) = if place.width < NARROW { (NARROW_NAMES, 1) } else { (NAMES, 2) };
    let [names, values] =
        Layout::horizontal([Constraint::Length(width), Constraint::Fill(1)]).areas(place);
    [Rect { width: names.width.saturating_sub(gap), ..names }, values]
}

fn text(frame: &mut Frame<'_>, place: Rect, name: &str, line: Line<'static>, theme: Theme) {
    let [names, values] = split(place);
    frame.render_widget(Line::styled(name.to_owned(), theme.quiet()).right_aligned(), names);
    frame.render_widget(Paragraph::new(line), values);
}

/// On the left the value of the highest bar, if there is room, and what the bars are.
fn draw_bars(frame: &mut Frame<'_>, place: Rect, bars: &Bars, theme: Theme) {
    let [names, values] = split(place);
    let first = bars.values.len().saturating_sub(usize::from(values.width));
    let values_shown = &bars.values[first..];
    let highest = values_shown.iter().copied().max().unwrap_or(0);
    let label = |text: String| Line::styled(text, theme.quiet()).right_aligned();
    let bottom = Rect { y: place.bottom().saturating_sub(1), height: 1, ..names };
    frame.render_widget(label("by second".to_owned()), bottom);
    if place.height > 1 && highest > 0 {
        let top = Rect { height: 1, ..names };
        frame.render_widget(label((bars.show)(highest)), top);
    }
    let sparkline = Sparkline::default()
        .data(values_shown.iter().copied())
        .max(highest.max(1))
        .style(theme.colour(bars.colour));
    frame.render_widget(sparkline, values);
}

/// A number of bytes for people: `12.3 MB`, in powers of ten.
fn bytes(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{} KB", grouped(bytes / 1000)),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::buffer::Cell;

    use super::*;
    use crate::engine::{Hiccups, Phase, Progress};
    use crate::live::Live;
    use crate::live::tests::{about, look};

    /// What a terminal of this size shows of a run with something wrong in every respect.
    fn shown(width: u16, height: u16, has_colours: bool) -> Terminal<TestBackend> {
        let mut live = Live::new(about());
        live.handle_look(look(3.0, Phase::Publish, 10_000));
        let mut look = look(4.0, Phase::Publish, 30_000);
        look.progress = Progress {
            ready: 10,
            closed: 2,
            sent: 400,
            expected: 30_007,
            delivered: 30_000,
            missing: 3,
            duplicated: 1,
            ..look.progress
        };
        look.pulse.busiest_share = 0.95;
        look.pulse.hiccups = Hiccups { count: 4, sum_ns: 50_000_000, longest_ns: 20_000_000 };
        let moment = live.handle_look(look);
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, &about(), &moment, has_colours)).unwrap();
        terminal
    }

    fn lines(terminal: &Terminal<TestBackend>) -> Vec<String> {
        let buffer = terminal.backend().buffer();
        let line = |row: &[Cell]| row.iter().map(Cell::symbol).collect();
        buffer.content.chunks(usize::from(buffer.area.width)).map(line).collect()
    }

    #[test]
    fn a_usual_terminal_shows_everything() {
        let screen = lines(&shown(80, 24, true));
        let all = screen.join("\n");
        for text in [
            "loadgen fanout  ws://127.0.0.1:8080/ws  altavoz.v1.json",
            "q ends the run",
            "measuring  ━",
            "0:05, 0:07 left",
            " connections  10 of 10 ready · 2 lost",
            "   published  100 of 100/s · 400 in all",
            "   delivered  20,000/s · 30,000 in all · 7 under way",
            "     latency        p50      p90      p99    p99.9      max",
            " last second    1.00 ms  1.00 ms  1.00 ms  1.00 ms  1.00 ms",
            "      faults  3 missing · 1 duplicated · 0 out of order",
            "   generator  0.50 cores · busiest 95 % · 2 threads · this view 1.0 %",
            "      target  2.00 cores · 1.0 MB resident",
            " measurement  INVALID so far: the busiest generator thread was busy 95 %",
            "by second",
        ] {
            assert!(all.contains(text), "no {text:?} in\n{all}");
        }
        assert!(screen.iter().any(|line| line.contains('█')), "no bars in\n{all}");
    }

    #[test]
    fn a_small_terminal_shows_what_matters_most() {
        let screen = lines(&shown(40, 10, true));
        let all = screen.join("\n");
        assert_eq!(screen.len(), 10);
        for text in [
            "measuring  ━",
            "connections 10 of 10 ready · 2 lost",
            "  delivered 20,000/s · 30,000 in all",
            "last second p50 1.00 ms · p99 1.00 ms",
            "     faults 3 missing · 1 duplicated",
            "measurement INVALID so far: the busiest",
        ] {
            assert!(all.contains(text), "no {text:?} in\n{all}");
        }
        assert!(!all.contains("by second"), "{all}");
    }

    #[test]
    fn any_size_is_drawn() {
        for (width, height) in [(1, 1), (3, 50), (200, 2), (12, 4), (59, 24), (60, 25), (250, 80)] {
            assert_eq!(lines(&shown(width, height, true)).len(), usize::from(height));
        }
    }

    #[test]
    fn without_colours_there_are_none() {
        let colours = |terminal: Terminal<TestBackend>| {
            let cells = terminal.backend().buffer().content.clone();
            cells.iter().filter(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset).count()
        };
        assert_eq!(colours(shown(80, 24, false)), 0);
        assert!(colours(shown(80, 24, true)) > 0);
    }
}
