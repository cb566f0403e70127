//! Tables of results, for a terminal, a Markdown file and an HTML page.

use std::fmt;

use maud::{Markup, html};

use super::statistics::Estimate;

/// A heading, and rows of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Above it.
    pub title: String,
    /// Names of the columns.
    pub head: Vec<String>,
    /// As many cells each as there are columns.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// Without rows yet.
    #[must_use]
    pub fn new(title: &str, head: &[&str]) -> Self {
        let head = head.iter().map(|&name| name.to_owned()).collect();
        Self { title: title.to_owned(), head, rows: Vec::new() }
    }

    /// For a page.
    #[must_use]
    pub fn html(&self) -> Markup {
        html! {
            h2 { (self.title) }
            div.card.scroll {
                table {
                    tr { @for name in &self.head { th { (name) } } }
                    @for row in &self.rows {
                        tr { @for cell in row { td { (cell) } } }
                    }
                }
            }
        }
    }
}

/// A whole file: what stands above, tables, notes.
#[must_use]
pub fn markdown(above: String, tables: &[Table], notes: &[String]) -> String {
    let mut text = above;
    for table in tables {
        text.push_str(&format!("{table}\n"));
    }
    text + &notes.join("\n\n") + "\n"
}

/// What stands for a figure that there is not.
#[must_use]
pub fn dash() -> String {
    "-".to_owned()
}

/// The text of a figure, if there is one.
pub fn or_dash<T>(value: Option<T>, text: impl Fn(T) -> String) -> String {
    value.map_or_else(dash, text)
}

/// Figures in a row.
#[must_use]
pub fn list(values: impl Iterator<Item = String>) -> String {
    let text = values.collect::<Vec<_>>().join(", ");
    if text.is_empty() { dash() } else { text }
}

/// Interquartile mean and interval, each figure as `text` has it.
#[must_use]
pub fn interval(estimate: Estimate, text: impl Fn(f64) -> String) -> String {
    let Estimate { iqm, low, high } = estimate;
    format!("{} [{}, {}]", text(iqm), text(low), text(high))
}

/// A return: about four digits.
#[must_use]
pub fn score(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 1000.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// Markdown, with columns of one width so that it reads well as it is.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let safe = |cell: &String| cell.replace('|', "\\|");
        let lines: Vec<Vec<String>> = [&self.head]
            .into_iter()
            .chain(&self.rows)
            .map(|row| row.iter().map(safe).collect())
            .collect();
        let width = |column: usize| {
            lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max()
        };
        let widths: Vec<usize> = (0..self.head.len()).map(|at| width(at).unwrap_or(0)).collect();
        writeln!(f, "## {}\n", self.title)?;
        for (at, line) in lines.iter().enumerate() {
            for (cell, &width) in line.iter().zip(&widths) {
                write!(f, "| {cell:width$} ")?;
            }
            writeln!(f, "|")?;
            if at == 0 {
                for &width in &widths {
                    write!(f, "|{}", "-".repeat(width + 2))?;
                }
                writeln!(f, "|")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_are_short() {
        for (value, text) in [
            (497.44, "497.4"),
            (500.0, "500"),
            (0.934, "0.93"),
            (-84.04, "-84"),
            (5819.3, "5819"),
            (0.0, "0"),
            (100.0, "100"),
        ] {
            assert_eq!(score(value), text);
        }
    }

    #[test]
    fn cells_are_aligned_and_escaped() {
        let mut table = Table::new("Title", &["a", "long"]);
        table.rows.push(vec!["x | y".to_owned(), "<b>".to_owned()]);
        let text = table.to_string();
        assert_eq!(text, "## Title\n\n| a      | long |\n|--------|------|\n| x \\| y | <b>  |\n");
        let page = table.html().into_string();
        assert!(page.contains("<td>&lt;b&gt;</td>"), "{page}");
    }
}
