//! The terminal: draws, and takes keys.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, poll, read};
use crossterm::style::{Attribute, SetAttribute};
use crossterm::terminal::{self, Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen};
use crossterm::{cursor, execute, queue};

use super::figures::Figures;
use super::runs::Runs;
use super::table::{Order, columns, head, row, run_list};

const HELP: &[&str] = &[
    "q, Esc        leave",
    "Left, Right   previous, next run (Tab too)",
    "l             the list of runs; Enter opens one",
    "Up, Down      scroll the actors (PgUp, PgDn, Home, End too)",
    "< >           sort by the column to the left, to the right",
    "r             reverse the order",
    "+ -           refresh more, less often",
    "Space         pause",
    "h, ?          this page",
    "",
    "ENV, INFER, WEIGHTS, WAIT: share of the actor's time in environments, in the network,",
    "fetching weights, and waiting for a free slot of the ring. BEHIND: versions between the",
    "newest weights and its own. In the ring, # is ready, = held by the learner, - being written.",
];

/// What is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Page {
    Run,
    List,
    Help,
}

/// What the keys have set.
#[derive(Debug)]
struct Screen {
    page: Page,
    selected: usize,
    scroll: usize,
    order: Order,
    delay: Duration,
    paused: bool,
}

/// Shows the runs until a key ends it.
pub(super) fn show(runs: &mut Runs, delay: Duration) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout());
    terminal::enable_raw_mode()?;
    execute!(out, EnterAlternateScreen, cursor::Hide)?;
    let mut screen = Screen {
        page: Page::Run,
        selected: 0,
        scroll: 0,
        order: Order::DEFAULT,
        delay,
        paused: false,
    };
    let shown = screen.live(runs, &mut out);
    // Whatever happened, the terminal is given back as it was.
    let restored = execute!(out, cursor::Show, LeaveAlternateScreen);
    terminal::disable_raw_mode()?;
    shown.and(restored)
}

impl Screen {
    fn live(&mut self, runs: &mut Runs, out: &mut impl Write) -> io::Result<()> {
        loop {
            if !self.paused {
                runs.refresh();
            }
            self.draw(runs, out)?;
            let next = Instant::now() + self.delay;
            while let Some(left) = next.checked_duration_since(Instant::now()) {
                if !poll(left)? {
                    break;
                }
                match read()? {
                    Event::Key(key) if key.kind != KeyEventKind::Release => {
                        if !self.key(key, runs.all.len()) {
                            return Ok(());
                        }
                        self.draw(runs, out)?;
                    }
                    Event::Resize(..) => self.draw(runs, out)?,
                    _ => {}
                }
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
            KeyCode::Char('<') => self.order.column = self.order.column.moved(-1),
            KeyCode::Char('>' | 's') => self.order.column = self.order.column.moved(1),
            KeyCode::Char('r' | 'R') => self.order.reversed = !self.order.reversed,
            KeyCode::Char('+') => self.delay = (self.delay / 2).max(Duration::from_millis(100)),
            KeyCode::Char('-') => self.delay = (self.delay * 2).min(Duration::from_mins(1)),
            KeyCode::Char(' ' | 'p') => self.paused = !self.paused,
            _ => {}
        }
        true
    }

    fn draw(&mut self, runs: &Runs, out: &mut impl Write) -> io::Result<()> {
        let (width, height) = terminal::size()?;
        let (width, height) = (usize::from(width), usize::from(height));
        let lines = self.lines(runs, height);
        queue!(out, cursor::MoveTo(0, 0))?;
        for (index, (line, bright)) in lines.iter().take(height).enumerate() {
            let line: String = line.chars().take(width).collect();
            if *bright {
                let padded = format!("{line:<width$}");
                queue!(out, SetAttribute(Attribute::Reverse))?;
                write!(out, "{padded}")?;
                queue!(out, SetAttribute(Attribute::Reset))?;
            } else {
                write!(out, "{line}")?;
                queue!(out, Clear(ClearType::UntilNewLine))?;
            }
            if index + 1 < height {
                write!(out, "\r\n")?;
            }
        }
        if lines.len() < height {
            queue!(out, Clear(ClearType::FromCursorDown))?;
        }
        out.flush()
    }

    /// Lines, and whether each stands out.
    fn lines(&mut self, runs: &Runs, height: usize) -> Vec<(String, bool)> {
        self.selected = self.selected.min(runs.all.len().saturating_sub(1));
        let mut lines = vec![(
            format!(
                "impala-top: run {} of {}, every {:.1} s{}   h help, q quit",
                (self.selected + 1).min(runs.all.len()),
                runs.all.len(),
                self.delay.as_secs_f64(),
                if self.paused { ", paused" } else { "" }
            ),
            false,
        )];
        let figures = |index: usize| {
            let (newest, old) = runs.all[index].readings()?;
            Some(Figures::of(newest, old))
        };
        match self.page {
            Page::Help => lines.extend(HELP.iter().map(|line| ((*line).to_owned(), false))),
            Page::List => {
                let all: Vec<_> =
                    runs.all.iter().enumerate().map(|(i, run)| (run, figures(i))).collect();
                let rows = run_list(&all, self.selected).into_iter().enumerate();
                lines.extend(rows.map(|(index, line)| (line, index == 0)));
            }
            Page::Run => match runs.all.get(self.selected) {
                None => lines.push(("no run on this machine yet; waiting for one".into(), false)),
                Some(run) => {
                    let mut figures = figures(self.selected).unwrap_or_default();
                    lines.extend(head(run, &figures).into_iter().map(|line| (line, false)));
                    lines.push((columns(self.order), true));
                    self.order.sort(&mut figures.actors);
                    let room = height.saturating_sub(lines.len()).max(1);
                    self.scroll = self.scroll.min(figures.actors.len().saturating_sub(room));
                    let rows = figures.actors.iter().skip(self.scroll).take(room);
                    lines.extend(rows.map(|actor| (row(actor), false)));
                }
            },
        }
        lines
    }
}
