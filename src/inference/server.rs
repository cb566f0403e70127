//! The policy process's side of central inference: batches of requests, answered with the newest weights.

use std::time::{Duration, Instant};

use super::batch::{Batch, NoSuchPlace, Payload};
use super::board::{Board, Desk};
use crate::env::ObservationSpec;
use crate::kill_point;
use crate::metrics::{Phase, PolicyCounter, PolicyCounters};
use crate::params::{ParamReader, Refresh};
use crate::policy::act::{ActError, Policy};
use crate::ring::Ring;
use crate::shm::event_count::{DefaultOrders, Orders as _};
use crate::shm::futex;
use crate::shm::request::Answerer;
use crate::sync::ReadWord;
use crate::unroll::BlockLayout;

/// How long a wait lasts before it looks again by itself. Each look is progress, so a process that stands still in its wait is
/// found as one that hangs.
const RESCAN: Duration = Duration::from_millis(100);
/// How long it stays when the run is over and nobody asks: actors end their unrolls.
const LAST_LOOK: Duration = Duration::from_millis(50);

/// Why a policy process stopped answering.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// Inference failed.
    #[error(transparent)]
    Act(#[from] ActError),
    /// The board holds what no correct process can have written.
    #[error(transparent)]
    Place(#[from] NoSuchPlace),
}

/// All that a policy process works with.
pub struct PolicyParts<'m> {
    /// Where it is asked.
    pub board: Board<'m>,
    /// The ring's payload, to load from.
    pub payload: &'m [ReadWord],
    /// Where observations lie in it.
    pub layout: &'m BlockLayout,
    /// What they look like.
    pub observation: &'m ObservationSpec,
    /// Its view of the parameter page.
    pub reader: ParamReader<'m>,
    /// Its counters.
    pub counters: PolicyCounters<'m>,
    /// The network, for any number of rows.
    pub policy: Box<dyn Policy>,
    /// Says when the run is over.
    pub ring: Ring<'m>,
    /// N: rows of a batch, at most; those of one request stay together.
    pub batch: usize,
    /// U: how long a batch that is not full waits for more.
    pub wait: Duration,
    /// Length of the flat parameter vector.
    pub parameter_count: usize,
}

impl std::fmt::Debug for PolicyParts<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PolicyParts")
            .field("batch", &self.batch)
            .field("wait", &self.wait)
            .finish_non_exhaustive()
    }
}

/// A policy process at work.
pub struct PolicyLoop<'m> {
    board: Board<'m>,
    desks: Vec<(Desk<'m>, Answerer<'m>)>,
    reader: ParamReader<'m>,
    counters: PolicyCounters<'m>,
    policy: Box<dyn Policy>,
    ring: Ring<'m>,
    limits: (usize, Duration),
    batch: Batch<'m>,
    /// The desk that is looked at first: the one after the last that was served.
    first: usize,
    parameters: Vec<f32>,
    version: u64,
    loaded_at: Instant,
    logits: Vec<f32>,
}

impl std::fmt::Debug for PolicyLoop<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PolicyLoop").field("version", &self.version).finish_non_exhaustive()
    }
}

impl<'m> PolicyLoop<'m> {
    /// Takes over the board: whoever waited at this end is dead.
    #[must_use]
    pub fn new(parts: PolicyParts<'m>) -> Self {
        parts.board.asked().forget_waiters();
        let payload = Payload { words: parts.payload, layout: parts.layout };
        let desks = (0..parts.board.plan.desks).map(|index| parts.board.desk(index));
        Self {
            desks: desks.map(|desk| (desk, desk.answerer())).collect(),
            batch: Batch::new(payload, parts.observation, parts.board.plan.envs),
            board: parts.board,
            reader: parts.reader,
            counters: parts.counters,
            policy: parts.policy,
            ring: parts.ring,
            limits: (parts.batch, parts.wait),
            first: 0,
            parameters: vec![0.0; parts.parameter_count],
            version: 0,
            loaded_at: Instant::now(),
            logits: Vec::new(),
        }
    }

    /// Answers until the ring is closed, and then for as long as somebody asks.
    ///
    /// # Errors
    /// [`PolicyError`]: the process should end with the code that belongs to it.
    pub fn run(&mut self) -> Result<(), PolicyError> {
        loop {
            self.counters.add(PolicyCounter::Progress, 1);
            self.counters.set_phase(Phase::Wait);
            let is_over = self.ring.is_closed();
            let waiting = Instant::now();
            let found = self.wait_for(1, if is_over { LAST_LOOK } else { RESCAN }, is_over) > 0;
            self.counters.add_time(PolicyCounter::WaitNs, waiting.elapsed());
            if found {
                self.gather(is_over);
                self.answer()?;
            } else if is_over {
                return Ok(());
            }
        }
    }

    /// Requests that wait for an answer.
    fn waiting(&self) -> usize {
        self.desks.iter().filter(|(_, answerer)| answerer.take().is_some()).count()
    }

    /// Sleeps until at least `requests` wait, `timeout` has passed, or the run comes to its end if it is not over; how many do.
    fn wait_for(&self, requests: usize, timeout: Duration, is_over: bool) -> usize {
        let enough = || Some(self.waiting()).filter(|&waiting| waiting >= requests);
        let started = Instant::now();
        loop {
            if let Some(found) = enough() {
                return found;
            }
            let left = timeout.saturating_sub(started.elapsed());
            if left.is_zero() || (self.ring.is_closed() && !is_over) {
                return self.waiting();
            }
            let sleep_while = |count: &_, seen| futex::wait_while(count, seen, left);
            if let Some(found) = self.board.asked().wait(enough, sleep_while) {
                return found;
            }
        }
    }

    /// Something is there: waits a little for more, while the batch is not full and not all actors have asked.
    fn gather(&self, is_over: bool) {
        let (rows, wait) = self.limits;
        if wait.is_zero() {
            return;
        }
        let gathering = Instant::now();
        let requests = rows.div_ceil(self.board.plan.envs).min(self.desks.len());
        self.wait_for(requests, wait, is_over);
        self.counters.add_time(PolicyCounter::GatherNs, gathering.elapsed());
    }

    /// Answers what is there, at most one batch.
    fn answer(&mut self) -> Result<(), PolicyError> {
        let started = Instant::now();
        self.refresh();
        if self.version == 0 {
            return Ok(());
        }
        self.counters.set_phase(Phase::Infer);
        self.collect()?;
        kill_point!("policy.taken");
        let Self { batch, policy, logits, desks, .. } = self;
        let rows = batch.len();
        let outputs = self.board.plan.outputs;
        logits.resize(rows * outputs, 0.0);
        policy.set_state(batch.state());
        batch.with_inputs(|inputs| policy.logits(inputs, logits))?;
        kill_point!("policy.before_answer");
        let (requests, envs) = (batch.taken.len(), self.board.plan.envs);
        let state = policy.recurrent_state();
        let state_len = envs * self.board.plan.state_len;
        for (place, &(index, asked)) in batch.taken.iter().enumerate() {
            let (desk, answerer) = &mut desks[index];
            let logits = &logits[place * envs * outputs..][..envs * outputs];
            let state = &state[place * state_len..][..state_len];
            desk.write_answer(logits, state, self.version);
            answerer.answer(asked);
            DefaultOrders::change_then_look();
            desk.answered.notify(futex::wake_all);
            kill_point!("policy.answered");
        }
        let counters = &self.counters;
        counters.add(PolicyCounter::Batches, 1);
        counters.add(PolicyCounter::Requests, requests as u64);
        counters.add(PolicyCounter::Rows, rows as u64);
        counters.add_time(
            PolicyCounter::WeightsAgeNs,
            started.saturating_duration_since(self.loaded_at),
        );
        counters.add_time(PolicyCounter::BusyNs, started.elapsed());
        Ok(())
    }

    /// Copies rows together until the batch is full or nobody else waits.
    fn collect(&mut self) -> Result<(), NoSuchPlace> {
        self.batch.clear();
        let (desks, envs) = (self.desks.len(), self.board.plan.envs);
        for index in (0..desks).map(|offset| (self.first + offset) % desks) {
            let (desk, answerer) = &self.desks[index];
            let Some(asked) = answerer.take() else { continue };
            self.batch.add(desk, index, asked)?;
            if self.batch.len() + envs > self.limits.0 {
                break;
            }
        }
        if let Some(&(last, _)) = self.batch.taken.last() {
            self.first = (last + 1) % desks;
        }
        Ok(())
    }

    /// Fetches the newest weights if there are newer ones; else the old ones answer.
    fn refresh(&mut self) {
        self.counters.set_phase(Phase::Refresh);
        match self.reader.refresh(self.version, &mut self.parameters) {
            Refresh::Unchanged => {}
            // Those in the policy stay.
            Refresh::Busy => self.counters.add(PolicyCounter::ParamBusy, 1),
            Refresh::New(version) => {
                self.policy.load(&self.parameters);
                self.version = version;
                self.loaded_at = Instant::now();
                self.counters.add(PolicyCounter::ParamRefreshes, 1);
                self.counters.set(PolicyCounter::ParamVersion, version);
            }
        }
    }
}
