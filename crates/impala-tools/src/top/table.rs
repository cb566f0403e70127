//! Formats the figures as lines and tables, for the terminal interface and as plain text.

use impala_metrics::RingRecord;
use impala_metrics::human::{bytes, clock, si};
use ratatui::buffer::{Buffer, Cell};
use ratatui::layout::{Constraint, Rect};
use ratatui::style::Stylize as _;
use ratatui::text::Line;
use ratatui::widgets::{HighlightSpacing, Row, Table, Widget as _};

use super::figures::{Actor, Figures, Task};
use super::runs::Run;

/// A column of a table whose rows are made from `T`.
struct Column<T> {
    name: &'static str,
    width: u16,
    align: fn(Line<'static>) -> Line<'static>,
    text: fn(&T) -> String,
    /// What rows are sorted by, the largest first; none if not by this column.
    key: Option<fn(&T) -> f64>,
}

const fn left<T>(name: &'static str, width: u16, text: fn(&T) -> String) -> Column<T> {
    Column { name, width, align: Line::left_aligned, text, key: None }
}

const fn right<T>(name: &'static str, width: u16, text: fn(&T) -> String) -> Column<T> {
    Column { name, width, align: Line::right_aligned, text, key: None }
}

const fn sorted<T>(
    name: &'static str,
    width: u16,
    key: fn(&T) -> f64,
    text: fn(&T) -> String,
) -> Column<T> {
    Column { name, width, align: Line::right_aligned, text, key: Some(key) }
}

static ACTORS: [Column<Actor>; 12] = [
    // Largest first like the others, so that the lowest number comes first.
    sorted("ACTOR", 7, |a| -(a.index as f64), |a| a.index.to_string()),
    right("PID", 8, |a| pid(a.pid)),
    left("STATE", 9, |a| a.state.clone()),
    left("PHASE", 8, |a| a.phase.clone()),
    sorted("FRAMES/S", 10, |a| a.frames_per_s, |a| si(a.frames_per_s)),
    sorted("ENV%", 6, |a| a.env, |a| tenths(a.env * 100.0)),
    sorted("INFER%", 8, |a| a.infer, |a| tenths(a.infer * 100.0)),
    sorted("WEIGHTS%", 10, |a| a.refresh, |a| tenths(a.refresh * 100.0)),
    sorted("WAIT%", 7, |a| a.slot_wait, |a| tenths(a.slot_wait * 100.0)),
    sorted("BEHIND", 8, |a| a.behind, |a| a.behind.to_string()),
    sorted("RESTARTS", 10, |a| a.restarts, |a| a.restarts.to_string()),
    sorted("MEM", 9, |a| a.rss_bytes, |a| bytes(a.rss_bytes)),
];

/// How actors are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Order {
    column: usize,
    pub(super) reversed: bool,
}

impl Order {
    /// By the next column to the right (or left) that has a key, round the end.
    pub(super) fn step(&mut self, to_the_right: bool) {
        let step = if to_the_right { 1 } else { ACTORS.len() - 1 };
        self.column = (self.column + step) % ACTORS.len();
        if ACTORS[self.column].key.is_none() {
            self.step(to_the_right);
        }
    }

    fn sort(self, actors: &mut [Actor]) {
        let Some(key) = ACTORS[self.column].key else { return };
        actors.sort_by(|a, b| {
            let largest_first = key(b).total_cmp(&key(a));
            if self.reversed { largest_first.reverse() } else { largest_first }
        });
    }
}

/// A heading and one row for each of `rows`, in the columns that fit in `width`: half a number would be a wrong one.
fn table<'a, T: 'a>(
    columns: &[Column<T>],
    sorted_by: Option<usize>,
    rows: impl IntoIterator<Item = &'a T>,
    width: u16,
) -> Table<'static> {
    let mut end = 0;
    let fitting = columns.iter().take_while(|column| {
        end += column.width + 1;
        end <= width.saturating_add(1)
    });
    let columns = &columns[..fitting.count()];
    let heading = columns.iter().enumerate().map(|(index, column)| {
        let (open, close) = if sorted_by == Some(index) { ("[", "]") } else { ("", "") };
        (column.align)(format!("{open}{}{close}", column.name).into())
    });
    let row = |of: &T| columns.iter().map(|c| (c.align)((c.text)(of).into())).collect::<Row>();
    Table::new(rows.into_iter().map(row), columns.iter().map(|c| Constraint::Length(c.width)))
        .header(heading.collect::<Row>().reversed())
}

/// The table of actors from the row `skip` on. Sorts them.
pub(super) fn actors(all: &mut [Actor], order: Order, skip: usize, width: u16) -> Table<'static> {
    order.sort(all);
    table(&ACTORS, Some(order.column), &all[skip.min(all.len())..], width)
}

/// One row for each run.
pub(super) fn run_list(runs: &[(&Run, Figures)], width: u16) -> Table<'static> {
    const MARK: &str = "> ";
    let mut columns: [Column<(&Run, Figures)>; 10] = [
        right("PID", 8, |(run, _)| run.id.pid.to_string()),
        left("ENV", 14, |(_, f)| f.env.clone()),
        left("STATE", 10, |(run, f)| state(run, f)),
        right("TIME", 8, |(_, f)| clock(f.wall_s)),
        right("FRAMES", 9, |(_, f)| si(f.frames)),
        right("FRAMES/S", 8, |(_, f)| si(f.frames_per_s)),
        right("RETURN", 6, |(_, f)| f.return_mean.map_or_else(|| "-".into(), tenths)),
        right("LAG", 6, |(_, f)| tenths(f.policy_lag)),
        right("RESTARTS", 8, |(_, f)| f.restarts.to_string()),
        left("FOLDER", 10, |(run, _)| run.run_dir.display().to_string()),
    ];
    let width = width.saturating_sub(MARK.len() as u16);
    // The folder takes what is left.
    let used: u16 = columns.iter().map(|column| column.width + 1).sum();
    columns[9].width += width.saturating_sub(used - 1);
    table(&columns, None, runs, width)
        .highlight_symbol(MARK)
        .highlight_spacing(HighlightSpacing::Always)
}

/// All columns of the table of actors as plain text.
pub(super) fn plain_actors(all: &mut [Actor]) -> Vec<String> {
    let width = ACTORS.iter().map(|column| column.width + 1).sum::<u16>() - 1;
    let area = Rect::new(0, 0, width, u16::try_from(all.len() + 1).unwrap_or(u16::MAX));
    let mut buffer = Buffer::empty(area);
    actors(all, Order::default(), 0, width).render(area, &mut buffer);
    plain(&buffer)
}

/// The headings and rows of the table of actors, for a page.
pub(crate) fn actor_cells(all: &[Actor]) -> (Vec<&'static str>, Vec<Vec<String>>) {
    let row = |actor: &Actor| ACTORS.iter().map(|column| (column.text)(actor)).collect();
    (ACTORS.iter().map(|column| column.name).collect(), all.iter().map(row).collect())
}

/// The lines of a buffer without their style.
pub(super) fn plain(buffer: &Buffer) -> Vec<String> {
    let line = |cells: &[Cell]| cells.iter().map(Cell::symbol).collect::<String>();
    let lines = buffer.content().chunks(buffer.area.width.max(1).into());
    lines.map(|cells| line(cells).trim_end().to_owned()).collect()
}

fn state(run: &Run, figures: &Figures) -> String {
    match (run.ended, figures.stopping) {
        (true, _) => run.ending(),
        (false, true) => "stopping".to_owned(),
        (false, false) => "running".to_owned(),
    }
}

/// The lines above the table of actors.
pub(crate) fn head(run: &Run, f: &Figures) -> Vec<String> {
    let l = &f.learner;
    // Without the blank of `human::percent`, at which a narrow screen would break the line.
    let percent = |share: f64| format!("{:.0}%", share * 100.0);
    let mean = |of: fn(&Actor) -> f64| {
        // An empty sum is -0.
        percent(0.0 + f.actors.iter().map(of).sum::<f64>() / f.actors.len().max(1) as f64)
    };
    let running = f.actors.iter().filter(|actor| actor.state == "running").count();
    let [frames, total, learnt, acted, updates] =
        [f.frames, f.total_frames, f.frames_per_s, f.frames_acted_per_s, f.updates_per_s].map(si);
    let [wait, batching, forward, vtrace, backward, optimizer, publish] =
        [l.wait, l.batching, l.forward, l.vtrace, l.backward, l.optimizer, l.publish].map(percent);
    let [env, infer, weights, slot_wait] =
        [mean(|a| a.env), mean(|a| a.infer), mean(|a| a.refresh), mean(|a| a.slot_wait)];
    let RingRecord { free, claimed, ready, held } = f.ring;
    let (actors, restarts) = (f.actors.len(), f.actors.iter().map(|a| a.restarts).sum::<f64>());
    let (state, time, folder) = (state(run, f), clock(f.wall_s), run.run_dir.display());
    let number = |x: Option<f64>| x.map_or_else(|| "-".into(), |x| format!("{x:.2}"));
    let best = |best: Option<f64>, lowest: Option<f64>| {
        best.zip(lowest).map_or_else(String::new, |(best, lowest)| {
            format!(", best {best:.2}, lowest since {lowest:.2}")
        })
    };
    let task = |task: &Task| {
        format!(
            "Task:    {}  return {} over {} episodes{}, length {}, {} frames",
            task.env,
            number(task.return_mean),
            si(task.episodes),
            best(task.return_best, task.return_lowest),
            number(task.length_mean),
            si(task.frames)
        )
    };
    let mut lines = vec![
        format!("{}  pid {}  {state}  {time}  {folder}", f.env, run.id.pid),
        format!(
            "Frames:  {frames} of {total}, {learnt}/s learnt, {acted}/s acted, {updates} updates/s"
        ),
        format!(
            "Return:  {} over {} episodes{}   Lag: {:.1} mean, {} min, {} max   Lost: {} unrolls",
            number(f.return_mean),
            si(f.episodes),
            best(f.return_best, f.return_lowest),
            f.policy_lag,
            f.lag_min,
            f.lag_max,
            f.unrolls_abandoned
        ),
    ];
    lines.extend(f.tasks.iter().map(task));
    lines.extend([
        format!(
            "Learner: pid {} {}, {wait} wait, {batching} batching, {forward} forward, {vtrace} vtrace, \
             {backward} backward, {optimizer} optimizer, {publish} publish, {} restarts, {}",
            pid(l.pid),
            l.state,
            l.restarts,
            bytes(l.rss_bytes)
        ),
        f.policy.as_ref().map_or_else(String::new, |p| {
            format!(
                "Policy:  pid {} {}, {:.1} rows a batch, {} batches/s, {} wait, {} gather, {} busy, {:.1} ms old weights, \
                 {} behind, {} restarts, {}",
                pid(p.pid),
                p.state,
                p.batch_rows,
                si(p.batches_per_s),
                percent(p.wait),
                percent(p.gather),
                percent(p.busy),
                p.weights_age_s * 1e3,
                p.behind,
                p.restarts,
                bytes(p.rss_bytes)
            )
        }),
        format!(
            "Actors:  {running} of {actors} running, {env} env, {infer} infer, {weights} weights, \
             {slot_wait} slot wait, {} restarts",
            0.0 + restarts
        ),
        format!(
            "Ring:    [{}] {ready} ready, {held} held, {claimed} claimed, {free} free of {} slots, {} shared",
            bar(f.ring),
            ready + held + claimed + free,
            bytes(f.shared_bytes)
        ),
    ]);
    // Without a policy process its line is empty.
    lines.retain(|line| !line.is_empty());
    lines
}

/// `#` ready, `=` held, `-` claimed, blank free.
#[expect(clippy::cast_sign_loss, reason = "at most WIDTH")]
fn bar(RingRecord { free, claimed, ready, held }: RingRecord) -> String {
    const WIDTH: f64 = 20.0;
    let slots = ready + held + claimed + free;
    let mut bar = String::new();
    let mut sum = 0;
    for (part, sign) in [(ready, "#"), (held, "="), (claimed, "-"), (free, " ")] {
        sum += part;
        let end = (sum as f64 / slots.max(1) as f64 * WIDTH).round() as usize;
        bar += &sign.repeat(end - bar.len());
    }
    format!("{bar:<20}")
}

fn pid(pid: Option<i32>) -> String {
    pid.map_or_else(|| "-".into(), |pid| pid.to_string())
}

fn tenths(n: f64) -> String {
    format!("{n:.1}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actors_are_sorted_by_any_column_both_ways() {
        let actor = |index, frames_per_s| Actor { index, frames_per_s, ..Actor::default() };
        let mut actors = [actor(0, 5.0), actor(1, 9.0), actor(2, 7.0)];
        let indices = |actors: &[Actor]| actors.iter().map(|a| a.index).collect::<Vec<_>>();
        let mut order = Order::default();
        order.step(true);
        assert_eq!(ACTORS[order.column].name, "FRAMES/S", "there is no order by state");
        order.sort(&mut actors);
        assert_eq!(indices(&actors), [1, 2, 0]);
        Order { reversed: true, ..order }.sort(&mut actors);
        assert_eq!(indices(&actors), [0, 2, 1]);
        Order::default().sort(&mut actors);
        assert_eq!(indices(&actors), [0, 1, 2]);
        order.step(false);
        order.step(false);
        assert_eq!(ACTORS[order.column].name, "MEM");
        order.step(true);
        assert_eq!(order, Order::default());
    }

    #[test]
    fn plain_text_has_all_columns_and_headings_fit_in_them() {
        let lines = plain_actors(&mut [Actor::default()]);
        for (column, name) in ACTORS.iter().zip(lines[0].split_whitespace()) {
            assert_eq!(column.name, name.trim_matches(['[', ']']));
            assert!(column.width as usize >= column.name.len() + 2 || column.key.is_none());
        }
        assert_eq!(lines[0].split_whitespace().count(), ACTORS.len());
        assert_eq!(lines[0].len(), lines[1].len(), "{lines:#?}");
    }

    #[test]
    fn the_bar_is_always_as_wide() {
        let ring = |ready, held, claimed, free| bar(RingRecord { free, claimed, ready, held });
        assert_eq!(ring(1, 1, 1, 1), "#####=====-----     ");
        assert_eq!(ring(0, 0, 0, 0).len(), 20);
        assert_eq!(ring(3, 3, 1, 0).len(), 20);
    }
}
