//! The supervisor's loop: waits for events, passes them to the state machine, and carries out its actions.

mod deaths;
mod messages;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal, raise};
use nix::unistd::Pid;

use super::contract::{ChildStatus, Level, Outcome, Pool, PoolStatus, Role, Verdict};
use super::control::ToChild;
use super::events::Events;
use super::exit::ExitKind;
use super::fork::ForkError;
use super::janitor::Janitor;
use super::machine::{Action, Event, Machine};
use super::spawn::{Identity, Process, Reaped, spawn};
use impala_shm::kill_point;
use messages::FINAL_DRAIN;

/// A tick that wakes nobody for so long means that this process was not running.
const GAP: Duration = Duration::from_secs(2);

/// What only the supervisor holds: a child drops all of it right after the fork.
#[derive(Debug)]
pub(super) struct Owned {
    pub(super) events: Events,
    pub(super) janitor: Janitor,
    /// The learner, then the actors, then the policy process if there is one.
    pub(super) slots: Vec<ChildSlot>,
}

/// The place of one role, through all its incarnations.
#[derive(Debug, Default)]
pub(super) struct ChildSlot {
    process: Option<Process>,
    /// Died, and not given back yet.
    reaped: Option<Reaped>,
    incarnation: u16,
    progress_at_start: u64,
    /// Its death wakes nobody: it is looked for at each tick.
    unwatched: bool,
}

/// What does not change during a run.
#[derive(Debug, Clone)]
pub(super) struct WatchConfig {
    /// The name of the run in its children's marks.
    pub(super) run: String,
    pub(super) ignored: SigSet,
    pub(super) adjust_oom: bool,
    pub(super) tick: Duration,
}

/// A run in progress.
pub(super) struct Watch<'a> {
    config: &'a WatchConfig,
    owned: &'a mut Option<Owned>,
    pool: &'a mut dyn Pool,
    machine: Machine,
    started: Instant,
    last_wake: Duration,
    /// Not yet told to the pool.
    gap: Option<Duration>,
    queue: VecDeque<Event>,
    /// Deaths of children of whose groups somebody is left, by group.
    awaiting_group_exit: Vec<(Pid, Event)>,
    outcome: Option<Outcome>,
    /// The janitor died, and there is no new one yet.
    uncleaned: bool,
}

impl<'a> Watch<'a> {
    pub(super) fn new(
        config: &'a WatchConfig,
        owned: &'a mut Option<Owned>,
        pool: &'a mut dyn Pool,
        machine: Machine,
    ) -> Self {
        Self {
            config,
            owned,
            pool,
            machine,
            started: Instant::now(),
            last_wake: Duration::ZERO,
            gap: None,
            queue: VecDeque::from([Event::Start]),
            awaiting_group_exit: Vec::new(),
            outcome: None,
            uncleaned: false,
        }
    }

    /// Until every child was reaped.
    pub(super) fn run(mut self) -> Outcome {
        loop {
            self.work_off();
            if let Some(outcome) = self.outcome.take() {
                self.end_orphans();
                return outcome;
            }
            let timeout = self.until_due();
            // It has no error that a correct supervisor can meet; whatever it does, dying is safe:
            // the kernel ends the children, and the janitor what they have started.
            let wakes = self.owned().events.wait(timeout).expect("epoll waits");
            self.notice_gap();
            for signal in wakes.signals {
                self.on_signal(signal);
            }
            if wakes.wakeup || wakes.tick {
                self.hear_all();
            }
            for index in wakes.dead {
                self.reap(index);
            }
            if wakes.janitor_dead {
                self.replace_janitor();
            }
            self.queue.push_back(Event::Tick);
            if wakes.tick {
                self.work_off();
                self.on_tick();
            }
        }
    }

    fn owned(&mut self) -> &mut Owned {
        self.owned.as_mut().expect("taken in a child alone")
    }

    /// The place of one role.
    fn slot(&mut self, role: Role) -> &mut ChildSlot {
        let index = self.machine.places().index_of(role);
        &mut self.owned().slots[index]
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn until_due(&self) -> Option<Duration> {
        self.machine.next_due().map(|due| due.saturating_sub(self.now()))
    }

    fn work_off(&mut self) {
        while let Some(event) = self.queue.pop_front() {
            for action in self.machine.step(event, self.now()) {
                self.perform(action);
            }
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Spawn(role) => {
                if let Err(error) = self.spawn(role) {
                    if matches!(error, ForkError::Threads { .. }) {
                        // The machine would try again; this does not go away.
                        let reason = error.to_string();
                        self.queue.push_back(Event::Stop { exit: ExitKind::Internal, reason });
                    }
                    self.queue.push_back(Event::SpawnFailed { role, why: error.to_string() });
                }
            }
            Action::Reclaim(role) => self.reclaim(role),
            Action::RequestStop => {
                self.pool.request_stop();
                for slot in &mut self.owned().slots {
                    slot.send(ToChild::Stop);
                }
            }
            Action::Kill(role) => {
                if let Some(process) = &self.slot(role).process {
                    process.kill();
                }
                self.pool.log(Level::Warn, &format!("{role}: killed"));
            }
            Action::TellRestart(role, delay) => {
                let line = format!("{role}: next start in {:.1} s", delay.as_secs_f64());
                self.pool.log(Level::Info, &line);
            }
            Action::TellFailed(role, deaths) => {
                let line =
                    format!("{role}: given up after {deaths} deaths in a row without progress");
                self.pool.log(Level::Error, &line);
            }
            Action::Tell(line) => self.pool.log(Level::Warn, &line),
            Action::Finish(outcome) => self.outcome = Some(outcome),
        }
    }

    fn spawn(&mut self, role: Role) -> Result<(), ForkError> {
        kill_point!("supervisor.before_fork");
        let index = self.machine.places().index_of(role);
        let progress = self.pool.progress(role);
        let owned = self.owned.as_mut().expect("taken in a child alone");
        let slot = &mut owned.slots[index];
        // 0 is nobody's.
        slot.incarnation = slot.incarnation.checked_add(1).unwrap_or(1);
        slot.progress_at_start = progress;
        slot.unwatched = false;
        let incarnation = slot.incarnation;
        let identity = Identity {
            run: self.config.run.clone(),
            role,
            incarnation,
            ignored: self.config.ignored,
            adjust_oom: self.config.adjust_oom,
        };
        let wakeup = Arc::clone(owned.events.wakeup());
        let whole = &mut *self.owned;
        let pool = &mut *self.pool;
        let in_child = || {
            if let Some(owned) = whole.take() {
                owned.janitor.register_self();
            }
        };
        let process = spawn(identity, &wakeup, in_child, |control| {
            pool.run_child(role, incarnation, control)
        })?;
        kill_point!("supervisor.after_fork");
        let pid = process.pid;
        let owned = self.owned();
        owned.janitor.add_group(pid);
        let watched = owned.events.watch_child(index, process.pidfd());
        owned.slots[index].process = Some(process);
        if let Err(errno) = watched {
            // Without a watch its death would go unseen: end it, and look for that.
            self.pool.log(Level::Error, &format!("{role}: cannot be watched: {errno}"));
            self.end_unwatched(index);
        }
        let line = format!("{role}: started (pid {pid}, incarnation {incarnation})");
        self.pool.log(Level::Debug, &line);
        Ok(())
    }

    fn on_signal(&mut self, signal: Signal) {
        // An ignored signal that is blocked is queued all the same.
        if self.config.ignored.contains(signal) {
            if ends_a_run(signal) {
                let why = "as it was at the start (nohup, or a background job of a script)";
                let line = format!("{signal} stays ignored, {why}; SIGTERM ends the run");
                self.pool.log(Level::Info, &line);
            }
            return;
        }
        match signal {
            _ if ends_a_run(signal) => {
                self.queue.push_back(Event::StopSignal(signal.as_str()));
            }
            Signal::SIGTSTP => self.pause(),
            Signal::SIGUSR1 => {
                // A request that waits to be taken stands for this one too; one that was taken,
                // which the learner may just have said, does not.
                self.hear(0, FINAL_DRAIN);
                self.owned().slots[0].send(ToChild::Checkpoint);
            }
            // A helper of a child that is gone may have died.
            Signal::SIGCHLD => self.reap_orphans(),
            _ => {}
        }
    }

    /// Ctrl-Z: the children first, then this process; all go on when it is continued.
    fn pause(&mut self) {
        self.signal_groups(Signal::SIGSTOP);
        // Stands still in here.
        let _ = raise(Signal::SIGSTOP);
        self.notice_gap();
        self.signal_groups(Signal::SIGCONT);
    }

    fn signal_groups(&mut self, signal: Signal) {
        let slots = &self.owned().slots;
        slots
            .iter()
            .flat_map(|slot| &slot.process)
            .for_each(|process| process.signal_group(signal));
    }

    /// To be called after every wait, before any deadline is looked at.
    fn notice_gap(&mut self) {
        let now = self.now();
        let late = (now - self.last_wake).saturating_sub(self.config.tick);
        self.last_wake = now;
        if late > GAP {
            self.queue.push_back(Event::Gap(late));
            self.gap = Some(late);
            let line = format!("the supervisor did not run for {:.1} s", late.as_secs_f64());
            self.pool.log(Level::Warn, &line);
        }
    }

    fn on_tick(&mut self) {
        if self.outcome.is_some() {
            return;
        }
        self.reap_orphans();
        self.reap_the_unwatched();
        if self.uncleaned {
            self.replace_janitor();
        }
        let status = self.status();
        match self.pool.tick(&status) {
            Verdict::Continue => {}
            Verdict::Stop { exit, reason } => self.queue.push_back(Event::Stop { exit, reason }),
            Verdict::Kill { role, reason } => {
                self.pool.log(Level::Warn, &format!("{role}: hangs: {reason}"));
                self.queue.push_back(Event::Hung(role));
            }
        }
    }

    fn status(&mut self) -> PoolStatus {
        let mut children = Vec::with_capacity(self.owned().slots.len());
        for index in 0..self.owned().slots.len() {
            let role = self.machine.places().role_at(index);
            let (state, restarts) = self.machine.child(role);
            let slot = &self.owned().slots[index];
            let pid = slot.process.as_ref().map(|process| process.pid.as_raw());
            let incarnation = slot.incarnation;
            children.push(ChildStatus { role, state, pid, incarnation, restarts });
        }
        PoolStatus {
            uptime: self.now(),
            children,
            stopping: self.machine.stopping(),
            gap: self.gap.take(),
        }
    }

    fn replace_janitor(&mut self) {
        let repeated = self.uncleaned;
        let owned = self.owned();
        if !repeated {
            owned.events.forget(owned.janitor.pidfd());
        }
        let replaced = owned.janitor.start_again();
        let Err(error) = replaced else {
            let owned = self.owned();
            self.uncleaned = owned.events.watch_janitor(owned.janitor.pidfd()).is_err();
            return self.pool.log(Level::Warn, "the janitor died and was replaced");
        };
        if !repeated {
            self.pool.log(
                Level::Error,
                &format!("the janitor died and cannot be replaced yet: {error}"),
            );
        }
        self.uncleaned = true;
    }
}

const fn ends_a_run(signal: Signal) -> bool {
    matches!(signal, Signal::SIGINT | Signal::SIGTERM | Signal::SIGHUP | Signal::SIGQUIT)
}

impl ChildSlot {
    fn send(&mut self, message: ToChild) {
        if let Some(process) = &mut self.process {
            process.control.send(message);
        }
    }
}
