//! The figures as lines of text, as wide as the terminal.

use super::figures::{Actor, Figures};
use super::runs::Run;

/// What actors can be sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Actor,
    Frames,
    Env,
    Infer,
    Weights,
    Wait,
    Behind,
    Restarts,
    Memory,
}

impl Column {
    const ALL: [Self; 9] = [
        Self::Actor,
        Self::Frames,
        Self::Env,
        Self::Infer,
        Self::Weights,
        Self::Wait,
        Self::Behind,
        Self::Restarts,
        Self::Memory,
    ];

    /// The column `steps` to the right (or left), round the end.
    pub(super) fn moved(self, steps: isize) -> Self {
        let count = Self::ALL.len();
        let here = Self::ALL.iter().position(|c| *c == self).unwrap_or(0);
        Self::ALL[(here + count).saturating_add_signed(steps) % count]
    }

    fn key(self, actor: &Actor) -> f64 {
        match self {
            // Descending like the others, so that the lowest number comes first.
            Self::Actor => -(actor.index as f64),
            Self::Frames => actor.frames_per_s,
            Self::Env => actor.env,
            Self::Infer => actor.infer,
            Self::Weights => actor.refresh,
            Self::Wait => actor.slot_wait,
            Self::Behind => actor.behind,
            Self::Restarts => actor.restarts,
            Self::Memory => actor.rss_bytes,
        }
    }
}

/// How actors are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) column: Column,
    pub(super) reversed: bool,
}

impl Order {
    pub(super) const DEFAULT: Self = Self { column: Column::Actor, reversed: false };

    pub(super) fn sort(self, actors: &mut [Actor]) {
        actors.sort_by(|a, b| {
            let largest_first = self.column.key(b).total_cmp(&self.column.key(a));
            if self.reversed { largest_first.reverse() } else { largest_first }
        });
    }
}

/// One line for each run.
pub(super) fn run_list(runs: &[(&Run, Option<Figures>)], selected: usize) -> Vec<String> {
    let mut lines = vec![format!(
        "  {:>8} {:<14} {:<10} {:>8} {:>9} {:>8} {:>6} {:>6} {:>8}  {}",
        "PID", "ENV", "STATE", "TIME", "FRAMES", "FRAMES/S", "RETURN", "LAG", "RESTARTS", "FOLDER"
    )];
    for (index, (run, figures)) in runs.iter().enumerate() {
        let f = figures.clone().unwrap_or_default();
        lines.push(format!(
            "{} {:>8} {:<14} {:<10} {:>8} {:>9} {:>8} {:>6} {:>6.1} {:>8}  {}",
            if index == selected { '>' } else { ' ' },
            run.id.pid,
            f.env,
            state(run, &f),
            clock(f.wall_s),
            short(f.frames),
            short(f.frames_per_s),
            f.return_mean.map_or_else(|| "-".into(), |r| format!("{r:.1}")),
            f.policy_lag,
            f.restarts,
            run.run_dir.display(),
        ));
    }
    lines
}

fn state(run: &Run, figures: &Figures) -> String {
    match (run.ended, figures.stopping) {
        (true, _) => run.ending(),
        (false, true) => "stopping".to_owned(),
        (false, false) => "running".to_owned(),
    }
}

/// The lines above the table of actors.
pub(super) fn head(run: &Run, f: &Figures) -> Vec<String> {
    let l = &f.learner;
    let percent = |share: f64| format!("{:.0}%", share * 100.0);
    let mean = |of: fn(&Actor) -> f64| {
        // An empty sum is -0.
        percent(0.0 + f.actors.iter().map(of).sum::<f64>() / f.actors.len().max(1) as f64)
    };
    let running = f.actors.iter().filter(|actor| actor.state == "running").count();
    let slots = f.ring.free + f.ring.claimed + f.ring.ready + f.ring.held;
    vec![
        format!(
            "{}  pid {}  {}  {}  {}",
            f.env,
            run.id.pid,
            state(run, f),
            clock(f.wall_s),
            run.run_dir.display()
        ),
        format!(
            "Frames:  {} of {}, {}/s learnt, {}/s acted, {} updates/s",
            short(f.frames),
            short(f.total_frames),
            short(f.frames_per_s),
            short(f.frames_acted_per_s),
            short(f.updates_per_s)
        ),
        format!(
            "Return:  {} over {} episodes   Lag: {:.1} mean, {} min, {} max   Lost: {} unrolls",
            f.return_mean.map_or_else(|| "-".into(), |r| format!("{r:.2}")),
            short(f.episodes),
            f.policy_lag,
            f.lag_min,
            f.lag_max,
            f.unrolls_abandoned
        ),
        format!(
            "Learner: pid {} {}, {} wait, {} batching, {} forward, {} vtrace, {} backward, {} optimizer, {} publish, {} restarts, {}",
            l.pid.map_or_else(|| "-".into(), |pid| pid.to_string()),
            l.state,
            percent(l.wait),
            percent(l.batching),
            percent(l.forward),
            percent(l.vtrace),
            percent(l.backward),
            percent(l.optimizer),
            percent(l.publish),
            l.restarts,
            mib(l.rss_bytes)
        ),
        format!(
            "Actors:  {} of {} running, {} env, {} infer, {} weights, {} slot wait, {} restarts",
            running,
            f.actors.len(),
            mean(|a| a.env),
            mean(|a| a.infer),
            mean(|a| a.refresh),
            mean(|a| a.slot_wait),
            0.0 + f.actors.iter().map(|a| a.restarts).sum::<f64>()
        ),
        format!(
            "Ring:    [{}] {} ready, {} held, {} claimed, {} free of {} slots, {} shared",
            bar(f, slots),
            f.ring.ready,
            f.ring.held,
            f.ring.claimed,
            f.ring.free,
            slots,
            mib(f.shared_bytes)
        ),
    ]
}

/// `#` ready, `=` held, `-` claimed, blank free.
#[expect(clippy::cast_sign_loss, reason = "at most WIDTH")]
fn bar(f: &Figures, slots: f64) -> String {
    const WIDTH: f64 = 20.0;
    let mut bar = String::new();
    let mut sum = 0.0;
    for (part, sign) in
        [(f.ring.ready, '#'), (f.ring.held, '='), (f.ring.claimed, '-'), (f.ring.free, ' ')]
    {
        sum += part;
        let end = (sum / slots.max(1.0) * WIDTH).round() as usize;
        while bar.len() < end {
            bar.push(sign);
        }
    }
    format!("{bar:<20}")
}

/// The heading of the table of actors, the column that it is sorted by in brackets.
pub(super) fn columns(order: Order) -> String {
    let name = |column: Column, name: &str| {
        if column == order.column { format!("[{name}]") } else { name.to_owned() }
    };
    format!(
        "{:>7} {:>8} {:<9} {:<8} {:>10} {:>6} {:>7} {:>9} {:>6} {:>8} {:>10} {:>9}",
        name(Column::Actor, "ACTOR"),
        "PID",
        "STATE",
        "PHASE",
        name(Column::Frames, "FRAMES/S"),
        name(Column::Env, "ENV%"),
        name(Column::Infer, "INFER%"),
        name(Column::Weights, "WEIGHTS%"),
        name(Column::Wait, "WAIT%"),
        name(Column::Behind, "BEHIND"),
        name(Column::Restarts, "RESTARTS"),
        name(Column::Memory, "MEM")
    )
}

/// An actor's line.
pub(super) fn row(a: &Actor) -> String {
    format!(
        "{:>7} {:>8} {:<9} {:<8} {:>10} {:>6.1} {:>7.1} {:>9.1} {:>6.1} {:>8} {:>10} {:>9}",
        a.index,
        a.pid.map_or_else(|| "-".into(), |pid| pid.to_string()),
        a.state,
        a.phase,
        short(a.frames_per_s),
        a.env * 100.0,
        a.infer * 100.0,
        a.refresh * 100.0,
        a.slot_wait * 100.0,
        a.behind,
        a.restarts,
        mib(a.rss_bytes)
    )
}

fn short(n: f64) -> String {
    match n {
        n if n >= 1e9 => format!("{:.2}G", n / 1e9),
        n if n >= 1e6 => format!("{:.2}M", n / 1e6),
        n if n >= 1e4 => format!("{:.0}k", n / 1e3),
        n if n >= 1e3 => format!("{:.1}k", n / 1e3),
        n => format!("{n:.0}"),
    }
}

fn mib(bytes: f64) -> String {
    format!("{:.1}M", bytes / 1_048_576.0)
}

#[expect(clippy::cast_sign_loss, reason = "not below 0")]
fn clock(seconds: f64) -> String {
    let s = seconds.max(0.0) as u64;
    format!("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::figures::Ring;

    #[test]
    fn actors_are_sorted_by_any_column_both_ways() {
        let actor = |index, frames_per_s| Actor { index, frames_per_s, ..Actor::default() };
        let mut actors = [actor(0, 5.0), actor(1, 9.0), actor(2, 7.0)];
        let indices = |actors: &[Actor]| actors.iter().map(|a| a.index).collect::<Vec<_>>();
        Order { column: Column::Frames, reversed: false }.sort(&mut actors);
        assert_eq!(indices(&actors), [1, 2, 0]);
        Order { column: Column::Frames, reversed: true }.sort(&mut actors);
        assert_eq!(indices(&actors), [0, 2, 1]);
        Order::DEFAULT.sort(&mut actors);
        assert_eq!(indices(&actors), [0, 1, 2]);
        assert_eq!(Column::Actor.moved(-1), Column::Memory);
        assert_eq!(Column::Memory.moved(1), Column::Actor);
    }

    #[test]
    fn rows_stand_below_their_headings() {
        let heading = columns(Order { column: Column::Frames, reversed: false });
        assert_eq!(heading.len(), row(&Actor::default()).len());
        assert!(heading.contains("[FRAMES/S]"));
    }

    #[test]
    fn the_bar_is_always_as_wide() {
        let ring = |ready, held, claimed, free| {
            let ring = Ring { free, claimed, ready, held };
            bar(&Figures { ring, ..Figures::default() }, free + claimed + ready + held)
        };
        assert_eq!(ring(1.0, 1.0, 1.0, 1.0), "#####=====-----     ");
        assert_eq!(ring(0.0, 0.0, 0.0, 0.0).len(), 20);
        assert_eq!(ring(3.0, 3.0, 1.0, 0.0).len(), 20);
    }
}
