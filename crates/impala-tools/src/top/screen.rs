//! The terminal interface: draws the figures and reads keys.

use std::io;
use std::panic;
use std::time::{Duration, Instant};

use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, poll, read};
use ratatui::crossterm::execute;
use ratatui::layout::{Constraint, Layout};
use ratatui::text::Text;
use ratatui::widgets::{Paragraph, TableState, Wrap};
use ratatui::{DefaultTerminal, Frame};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use super::figures::Figures;
use super::runs::{Run, Runs};
use super::table::{Order, actors, head, run_list};

/// A signal does not end the wait for a key, so it is looked for this often.
const SIGNALS: Duration = Duration::from_millis(250);

const HELP: &str = "\
q, Esc        leave
Left, Right   previous, next run (Tab too)
l             the list of runs; Enter opens one
Up, Down      scroll the actors (PgUp, PgDn, Home, End too)
< >           sort by the column to the left, to the right
r             reverse the order
+ -           refresh more, less often
Space         pause
h, ?          this page

ENV, INFER, WEIGHTS, WAIT: share of the actor's time in environments, in the network,
fetching weights, and waiting for a free slot of the ring. BEHIND: versions between the
newest weights and its own. In the ring, # is ready, = held by the learner, - being written.";

/// What is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Page {
    #[default]
    Run,
    List,
    Help,
}

/// What the keys have set.
#[derive(Debug, Default)]
struct Screen {
    page: Page,
    selected: usize,
    scroll: usize,
    order: Order,
    delay: Duration,
    paused: bool,
}

/// Shows the runs until a key or a signal ends it.
pub(super) fn show(runs: &mut Runs, delay: Duration) -> io::Result<()> {
    // On a panic ratatui's own hook does the rest, but leaves the cursor hidden.
    let hook = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let _best_effort = execute!(io::stdout(), Show);
        hook(info);
    }));
    let shown = ratatui::try_init().and_then(|mut terminal| {
        // Only now: a process in the background is stopped above, and a signal must still end it.
        // Not SIGHUP: then there is no terminal to give back, and crossterm would read its end for ever.
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let mut screen = Screen { delay, ..Screen::default() };
        let shown = screen.live(runs, &mut terminal, &mut signals);
        terminal.show_cursor().and(shown)
    });
    // Whatever happened, the terminal is given back as it was.
    let restored = ratatui::try_restore();
    if let Some(signal) = shown? {
        emulate_default_handler(signal)?;
    }
    restored
}

impl Screen {
    /// Returns the signal that ended it, if one did.
    fn live(
        &mut self,
        runs: &mut Runs,
        terminal: &mut DefaultTerminal,
        signals: &mut Signals,
    ) -> io::Result<Option<i32>> {
        loop {
            if !self.paused {
                runs.refresh();
            }
            terminal.draw(|frame| self.draw(runs, frame))?;
            let next = Instant::now() + self.delay;
            while let Some(left) = next.checked_duration_since(Instant::now()) {
                if let Some(signal) = signals.pending().next() {
                    return Ok(Some(signal));
                }
                if !poll(left.min(SIGNALS))? {
                    continue;
                }
                if let Event::Key(key) = read()?
                    && key.kind != KeyEventKind::Release
                    && !self.key(key, runs.all.len())
                {
                    return Ok(None);
                }
                // Also for the event that tells of a new size.
                terminal.draw(|frame| self.draw(runs, frame))?;
            }
        }
    }

    /// Returns false for the keys that leave.
    fn key(&mut self, key: KeyEvent, runs: usize) -> bool {
        let last = runs.saturating_sub(1);
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if control => return false,
            KeyCode::Char('q') => return false,
            KeyCode::Esc if self.page == Page::Run => return false,
            KeyCode::Esc | KeyCode::Enter => self.page = Page::Run,
            KeyCode::Char('h' | '?') => {
                self.page = if self.page == Page::Help { Page::Run } else { Page::Help };
            }
            KeyCode::Char('l') => self.page = Page::List,
            KeyCode::Up if self.page == Page::List => {
                self.selected = self.selected.saturating_sub(1);
            }
            KeyCode::Down if self.page == Page::List => {
                self.selected = (self.selected + 1).min(last)
            }
            KeyCode::Left | KeyCode::BackTab => self.selected = self.selected.saturating_sub(1),
            KeyCode::Right => self.selected = (self.selected + 1).min(last),
            KeyCode::Tab => {
                self.selected = if self.selected >= last { 0 } else { self.selected + 1 }
            }
            KeyCode::Up => self.scroll = self.scroll.saturating_sub(1),
            KeyCode::Down => self.scroll += 1,
            KeyCode::PageUp => self.scroll = self.scroll.saturating_sub(20),
            KeyCode::PageDown => self.scroll += 20,
            KeyCode::Home => self.scroll = 0,
            KeyCode::End => self.scroll = usize::MAX,
            KeyCode::Char('<') => self.order.step(false),
            KeyCode::Char('>' | 's') => self.order.step(true),
            KeyCode::Char('r' | 'R') => self.order.reversed = !self.order.reversed,
            KeyCode::Char('+') => self.delay = (self.delay / 2).max(Duration::from_millis(100)),
            KeyCode::Char('-') => self.delay = (self.delay * 2).min(Duration::from_mins(1)),
            KeyCode::Char(' ' | 'p') => self.paused = !self.paused,
            _ => {}
        }
        true
    }

    fn draw(&mut self, runs: &Runs, frame: &mut Frame) {
        self.selected = self.selected.min(runs.all.len().saturating_sub(1));
        let title = format!(
            "impala-top: run {} of {}, every {:.1} s{}   h help, q quit",
            (self.selected + 1).min(runs.all.len()),
            runs.all.len(),
            self.delay.as_secs_f64(),
            if self.paused { ", paused" } else { "" }
        );
        let [top, rest] =
            Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(frame.area());
        frame.render_widget(title, top);
        match (self.page, runs.all.get(self.selected)) {
            (Page::Help, _) => {
                frame.render_widget(Paragraph::new(HELP).wrap(Wrap { trim: false }), rest);
            }
            (Page::List, _) => {
                let all: Vec<_> = runs.all.iter().map(|run| (run, figures(run))).collect();
                let mut state = TableState::new().with_selected(self.selected);
                frame.render_stateful_widget(run_list(&all, rest.width), rest, &mut state);
            }
            (Page::Run, None) => {
                frame.render_widget("no run on this machine yet; waiting for one", rest);
            }
            (Page::Run, Some(run)) => {
                let mut figures = figures(run);
                let lines = head(run, &figures);
                let above = wrapped(&lines, rest.width.into());
                let heights = [Constraint::Length(above.height() as u16), Constraint::Fill(1)];
                let [facts, below] = Layout::vertical(heights).areas(rest);
                frame.render_widget(above, facts);
                let rows = usize::from(below.height.saturating_sub(1));
                self.scroll = self.scroll.min(figures.actors.len().saturating_sub(rows));
                let table = actors(&mut figures.actors, self.order, self.scroll, below.width);
                frame.render_widget(table, below);
            }
        }
    }
}

fn figures(run: &Run) -> Figures {
    run.readings().map(|(newest, old)| Figures::of(newest, old)).unwrap_or_default()
}

/// Lines that are too long go on in the next, below the words that follow their name.
fn wrapped(lines: &[String], width: usize) -> Text<'_> {
    let options = textwrap::Options::new(width)
        .subsequent_indent("         ")
        .word_splitter(textwrap::WordSplitter::NoHyphenation);
    lines.iter().flat_map(|line| textwrap::wrap(line, &options)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::table::plain;
    use impala_metrics::{
        ChildRecord, LearnerRecord, MetricsRecord, PerActorRecord, RunId, StatusRecord,
        StatusSegment, TaskRecord,
    };
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    /// A run with 30 actors.
    fn published() -> StatusRecord {
        let actors = 30;
        let child = |index| ChildRecord {
            state: "running".to_owned(),
            pid: Some(4000 + index),
            ..ChildRecord::default()
        };
        let per_actor = PerActorRecord {
            frames_acted: (1..=actors).map(|index| index * 41).collect(),
            phase: vec![2; 30],
            rss_bytes: vec![7 << 20; 30],
            ..PerActorRecord::default()
        };
        let metrics = MetricsRecord {
            wall_s: 61.0,
            frames: 2_500_000,
            return_mean: Some(120.0),
            learner: LearnerRecord {
                episodes: 700,
                return_best: 480.5,
                return_lowest: 60.25,
                ..LearnerRecord::default()
            },
            per_actor,
            ..MetricsRecord::default()
        };
        StatusRecord {
            env: "CartPole-v1".to_owned(),
            total_frames: 3_000_000,
            children: (0..=30).map(child).collect(),
            metrics,
            ..StatusRecord::default()
        }
    }

    fn drawn(screen: &mut Screen, runs: &Runs, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("infallible");
        terminal.draw(|frame| screen.draw(runs, frame)).expect("infallible");
        plain(terminal.backend().buffer())
    }

    fn press(screen: &mut Screen, code: KeyCode) {
        assert!(screen.key(KeyEvent::new(code, KeyModifiers::NONE), 1), "{code:?} does not leave");
    }

    #[test]
    fn each_of_several_tasks_has_a_line() {
        let name = format!("{}-tasks", RunId::of_this_process().expect("/proc"));
        let folder = "/runs/tasks-test";
        let mut segment = StatusSegment::create(&name, folder.as_ref()).expect("room");
        let mut runs = Runs::new(Some(folder.to_owned()));
        let mut screen = Screen { delay: Duration::from_secs(1), ..Screen::default() };
        let mut status = published();
        status.tasks = vec!["CartPole-v1".to_owned(), "Acrobot-v1".to_owned()];
        let task = |return_mean_100, episodes| TaskRecord {
            return_mean_100,
            episodes,
            frames: 2_000,
            ..TaskRecord::default()
        };
        status.metrics.tasks = vec![task(475.5, 3), task(0.0, 0)];
        for _ in 0..2 {
            status.metrics.wall_s += 1.0;
            segment.publish(&serde_json::to_vec(&status).expect("numbers")).expect("fits");
            runs.refresh();
        }
        let lines = drawn(&mut screen, &runs, 200, 30);
        let words = lines.join("\n").split_whitespace().collect::<Vec<_>>().join(" ");
        for part in [
            "Task: CartPole-v1 return 475.50 over 3 episodes, length 0.00, 2k frames",
            "Task: Acrobot-v1 return - over 0 episodes, length -, 2k frames",
        ] {
            assert!(words.contains(part), "{part} in {lines:#?}");
        }
    }

    #[test]
    fn names_and_numbers_are_there_however_wide_the_screen() {
        // No other test of this process may have made one of the same name.
        let name = format!("{}-screen", RunId::of_this_process().expect("/proc"));
        let folder = "/runs/screen-test";
        let mut segment = StatusSegment::create(&name, folder.as_ref()).expect("room");
        let mut runs = Runs::new(Some(folder.to_owned()));
        let mut screen = Screen { delay: Duration::from_secs(1), ..Screen::default() };
        assert!(drawn(&mut screen, &runs, 60, 24)[1].contains("no run on this machine yet"));
        let mut status = published();
        for seconds in [0, 1] {
            status.metrics.wall_s += f64::from(seconds);
            segment.publish(&serde_json::to_vec(&status).expect("numbers")).expect("fits");
            runs.refresh();
            status.metrics.per_actor.frames_acted[29] += 1500;
        }
        for (width, learner_lines) in [(60, 3), (200, 1)] {
            let lines = drawn(&mut screen, &runs, width, 30);
            let words = lines.join("\n").split_whitespace().collect::<Vec<_>>().join(" ");
            for part in [
                "impala-top: run 1 of 1, every 1.0 s h help, q quit",
                "CartPole-v1 pid",
                "running 1:02 /runs/screen-test",
                "Frames: 2.5M of 3M, ",
                "Return: 120.00 over 700 episodes, best 480.50, lowest since 60.25",
                "Learner: pid 4000 running, 0% wait,",
                "0% publish, 0 restarts, 0 KiB",
                "Actors: 30 of 30 running,",
                "[ACTOR] PID STATE PHASE FRAMES/S",
                "0 4001 running step 0",
            ] {
                assert!(words.contains(part), "{part} in {lines:#?}");
            }
            let at = |start| lines.iter().position(|line| line.starts_with(start));
            let between = at("Learner:").zip(at("Actors:")).map(|(from, to)| to - from);
            assert_eq!(between, Some(learner_lines), "{lines:#?}");
            assert_eq!(words.contains("MEM"), width == 200, "no half columns: {lines:#?}");
            assert!(!words.contains("4030"), "below the last line: {lines:#?}");
        }

        press(&mut screen, KeyCode::End);
        let lines = drawn(&mut screen, &runs, 60, 20);
        assert!(lines[19].contains("29     4030 running   step           1.5k"), "{lines:#?}");
        press(&mut screen, KeyCode::Home);
        press(&mut screen, KeyCode::Char('>'));
        let lines = drawn(&mut screen, &runs, 200, 20);
        assert!(lines[7].contains("[FRAMES/S]") && lines[8].contains(" 4030 "), "{lines:#?}");

        press(&mut screen, KeyCode::Char('l'));
        for width in [60, 200] {
            let lines = drawn(&mut screen, &runs, width, 20);
            assert!(lines[1].contains("ENV") && lines[2].starts_with("> "), "{lines:#?}");
            assert!(lines[2].contains("CartPole-v1    running"), "{lines:#?}");
            assert_eq!(lines[2].ends_with(folder), width == 200, "{lines:#?}");
        }
        press(&mut screen, KeyCode::Char('h'));
        assert!(drawn(&mut screen, &runs, 60, 24).join("\n").contains("reverse the order"));
        press(&mut screen, KeyCode::Esc);
        // Too small for anything: no reason to fall over.
        for (width, height) in [(1, 1), (5, 3), (0, 0)] {
            drawn(&mut screen, &runs, width, height);
        }
        assert!(!screen.key(KeyCode::Char('q').into(), 1));
    }
}
