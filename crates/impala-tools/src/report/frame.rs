//! The frame of every plot: title, legend, grid, axes. A legend has as many rows as it needs, and the plot's own area
//! begins below them.

use std::fmt::Write as _;

use impala_metrics::human::si;

use super::scale::Scale;

/// Size of a plot with one row of legend, in its own units; a page scales it.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 320.0;
/// Room for the title and a row of legend, the labels on the left, and those below.
const TOP: f64 = 58.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 18.0;
const BOTTOM: f64 = 42.0;
/// Where the first row of the legend stands, and how far below the next one does.
const FIRST_ROW: f64 = 40.0;
const ROW: f64 = 14.0;
/// Where rows begin, and where they end.
const ROW_START: f64 = 14.0;
const ROW_END: f64 = WIDTH - 8.0;
/// A name takes about so much, and so much for each of its characters: fonts differ.
const NAME: f64 = 30.0;
const CHARACTER: f64 = 6.8;

/// The plot's own area.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Area {
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
}

/// Names with their colours, in rows below the title.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Legend {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq)]
struct Entry {
    x: f64,
    row: usize,
    colour: usize,
    name: String,
}

impl Legend {
    /// Lays names out, as many to a row as fit. One that is longer than a row is cut.
    #[expect(clippy::cast_sign_loss, reason = "a row has room for some characters")]
    pub(super) fn new<'a>(names: impl Iterator<Item = (usize, &'a str)>) -> Self {
        let most = ((ROW_END - ROW_START - NAME) / CHARACTER) as usize;
        let (mut x, mut row) = (ROW_START, 0);
        let mut entries = Vec::new();
        for (colour, name) in names {
            let mut name = name.to_owned();
            if name.chars().count() > most {
                name = name.chars().take(most - 1).chain(['…']).collect();
            }
            let width = NAME + CHARACTER * name.chars().count() as f64;
            if x + width > ROW_END && x > ROW_START {
                (x, row) = (ROW_START, row + 1);
            }
            entries.push(Entry { x, row, colour, name });
            x += width;
        }
        Self { entries }
    }

    /// What the rows after the first take.
    fn extra(&self) -> f64 {
        self.entries.last().map_or(0, |entry| entry.row) as f64 * ROW
    }

    /// The area below the legend: as large whatever the legend, for which the plot grows.
    pub(super) fn area(&self) -> Area {
        let extra = self.extra();
        Area { left: LEFT, right: WIDTH - RIGHT, top: TOP + extra, bottom: HEIGHT - BOTTOM + extra }
    }

    /// The element, its title, a frame that names it for who cannot see it, and the legend.
    pub(super) fn open(&self, title: &str) -> String {
        let title = escape(title);
        let mut svg = format!(
            r#"<svg class="plot" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {}" role="img" aria-label="{title}"><text class="title" x="12" y="22">{title}</text>"#,
            HEIGHT + self.extra()
        );
        for Entry { x, row, colour, name } in &self.entries {
            let y = FIRST_ROW + *row as f64 * ROW;
            let _infallible = write!(
                svg,
                r#"<rect class="f{colour}" x="{x:.1}" y="{:.1}" width="10" height="10" rx="2"/><text class="legend" x="{:.1}" y="{y:.1}">{}</text>"#,
                y - 9.0,
                x + 15.0,
                escape(name)
            );
        }
        svg
    }
}

impl Area {
    /// Grid, ticks and labels. The y axis is written with `number`.
    pub(super) fn axes(
        &self,
        svg: &mut String,
        (x, x_ticks): (&Scale, &[f64]),
        y: &Scale,
        x_label: &str,
        number: impl Fn(f64) -> String,
    ) {
        let Self { left, right, bottom, .. } = *self;
        for tick in y.ticks() {
            let at = y.at(tick);
            let _infallible = write!(
                svg,
                r#"<path class="grid" d="M{left} {at:.1}H{right}"/><text x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
                left - 8.0,
                at + 4.0,
                number(tick)
            );
        }
        for &tick in x_ticks {
            let at = x.at(tick);
            let _infallible = write!(
                svg,
                r#"<path class="grid" d="M{at:.1} {bottom}v4"/><text x="{at:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
                bottom + 18.0,
                si(tick)
            );
        }
        let _infallible = write!(
            svg,
            r#"<path class="axis" d="M{left} {bottom}H{right}"/><text x="{:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
            f64::midpoint(left, right),
            bottom + BOTTOM - 8.0,
            escape(x_label)
        );
    }
}

/// Text that cannot end an element or an attribute.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Values of an attribute of all elements that begin with `element`.
#[cfg(test)]
pub(super) fn attributes(svg: &str, element: &str, name: &str) -> Vec<f64> {
    let (element, name) = (format!("<{element}"), format!(" {name}=\""));
    svg.split(&element)
        .skip(1)
        .filter_map(|rest| {
            let inside = rest.split('>').next()?;
            inside.split(&name).nth(1)?.split('"').next()?.parse().ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn legend(names: &[&str]) -> Legend {
        Legend::new(names.iter().copied().enumerate())
    }

    #[test]
    fn the_area_begins_below_all_rows_and_keeps_its_size() {
        let short = ["wait"; 4];
        let many = ["a stage of an update"; 13];
        let long =
            ["a run with a name that hardly any other run of this machine could ever have"; 5];
        let one = legend(&short[..1]).area();
        for (names, rows) in [(&short[..1], 1.0), (&short, 1.0), (&many, 5.0), (&long, 5.0)] {
            let laid = legend(names);
            let (area, svg) = (laid.area(), laid.open("t"));
            assert_eq!(area.bottom - area.top, one.bottom - one.top);
            let texts = attributes(&svg, "text class=\"legend\"", "y");
            assert_eq!(texts.len(), names.len());
            let mut distinct = texts.clone();
            distinct.dedup();
            assert_eq!(distinct.len() as f64, rows, "{svg}");
            // The label of the top line reaches half a line above it.
            let (lowest, line) = (texts[texts.len() - 1], 12.0);
            assert!(lowest + 4.0 <= area.top - line / 2.0, "{lowest} above {area:?}");
            let height: f64 = svg
                .split("viewBox=\"0 0 640 ")
                .nth(1)
                .expect("a box")
                .split('"')
                .next()
                .expect("its end")
                .parse()
                .expect("a height");
            assert_eq!(height, area.bottom + BOTTOM);
        }
    }

    #[test]
    fn no_name_leaves_the_plot() {
        let endless = "x".repeat(300);
        let names = ["one", &endless, "two"];
        let laid = legend(&names);
        assert_eq!(laid.entries.iter().map(|entry| entry.row).collect::<Vec<_>>(), [0, 1, 2]);
        for Entry { x, name, .. } in &laid.entries {
            assert!(x + CHARACTER * name.chars().count() as f64 <= WIDTH, "{name}");
        }
        assert!(laid.entries[1].name.ends_with('…'));
        assert_eq!(legend(&[]).area(), legend(&["one"]).area());
    }
}
