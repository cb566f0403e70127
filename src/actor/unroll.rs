//! The acting loop: claim a slot, refresh weights, fill one unroll step by step, commit.

use std::time::{Duration, Instant};

use super::ActorError;
use super::checks;
use super::history::History;
use super::remedy::{EnvRemedy, FAILURES_IN_A_ROW};
use crate::env::{EnvSpec, StepOut, VectorEnv};
use crate::kill_point;
use crate::metrics::{ActorCounter, ActorCounters, Phase};
use crate::params::{ParamReader, Refresh};
use crate::policy::act::{ActInputs, Policy};
use crate::policy::frames::StackedFrames;
use crate::policy::sampler::ActionSampler;
use crate::ring::{ClaimError, Owner};
use crate::unroll::{Field, GroupHeader, GroupMut, Producer};

/// How long a claim waits before the loop looks round again.
const CLAIM_TIMEOUT: Duration = Duration::from_millis(100);
/// One short unroll in this many is timed, and counts for all of them: clock readings cost more than the
/// steps of a small environment. Long ones are all timed.
const TIMED_EVERY: u32 = 16;
const LONG: Duration = Duration::from_millis(2);
/// How long an unroll may delay the end of a run: actors are to leave within two seconds.
const PROMPT: Duration = Duration::from_millis(500);

/// All that an actor works with.
pub struct ActorParts<'m> {
    /// Its end of the ring.
    pub producer: Producer<'m>,
    /// Its view of the parameter page.
    pub reader: ParamReader<'m>,
    /// Its counters.
    pub counters: ActorCounters<'m>,
    /// Its environments.
    pub env: Box<dyn VectorEnv>,
    /// What it does when they fail.
    pub remedy: EnvRemedy<'m>,
    /// Is told of each failure that the remedy is tried on.
    pub on_failure: Box<dyn FnMut(&ActorError) + 'm>,
    /// Its policy.
    pub policy: Box<dyn Policy>,
    /// Chooses its actions.
    pub sampler: ActionSampler,
    /// Who it is.
    pub owner: Owner,
    /// T.
    pub unroll: usize,
    /// Length of the flat parameter vector.
    pub parameter_count: usize,
}

impl std::fmt::Debug for ActorParts<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ActorParts")
            .field("owner", &self.owner)
            .field("unroll", &self.unroll)
            .finish_non_exhaustive()
    }
}

/// An actor at work.
#[derive(Debug)]
pub struct ActorLoop<'m> {
    parts: ActorParts<'m>,
    spec: EnvSpec,
    history: History,
    parameters: Vec<f32>,
    logits: Vec<f32>,
    version: u64,
    sequence: u64,
    /// Failures of environments since the last commit.
    failures: u32,
    timed_every: u32,
}

/// Time spent in one timed unroll.
#[derive(Default)]
struct Times {
    env: Duration,
    infer: Duration,
}

impl<'m> ActorLoop<'m> {
    /// Resets the environments and takes the first weights.
    ///
    /// # Errors
    /// If the environment cannot start.
    pub fn new(parts: ActorParts<'m>) -> Result<Self, ActorError> {
        let spec = parts.env.spec().clone();
        let envs = parts.env.envs();
        let history = History::new(&spec, envs);
        let (parameters, logits) =
            (vec![0.0; parts.parameter_count], vec![0.0; envs * spec.action.outputs()]);
        let (version, sequence, failures) = (0, 0, 0);
        let mut actor = Self {
            parts,
            spec,
            history,
            parameters,
            logits,
            version,
            sequence,
            failures,
            timed_every: 1,
        };
        match actor.reset(Phase::Reset) {
            Ok(()) => {}
            Err(error) => actor.recover(error)?,
        }
        Ok(actor)
    }

    /// Starts all episodes anew, with nothing of the ones before. `phase` says how long that may take.
    fn reset(&mut self, phase: Phase) -> Result<(), ActorError> {
        let Self { parts, spec, history, .. } = self;
        *history = History::new(spec, parts.env.envs());
        parts.counters.set_phase(phase);
        parts.counters.add(ActorCounter::Progress, 1);
        kill_point!("actor.before_reset");
        parts.env.reset(history.newest())?;
        let none_is_over = vec![0; parts.env.envs()];
        let first = history.newest();
        checks::observations(
            spec,
            first.frames,
            first.masks,
            &none_is_over,
            "a first observation",
            0,
        )
    }

    /// An environment has failed: the unroll is lost, its slot stays claimed and is overwritten.
    fn recover(&mut self, mut error: ActorError) -> Result<(), ActorError> {
        loop {
            self.parts.counters.add(ActorCounter::EnvErrors, 1);
            self.failures += 1;
            if self.failures >= FAILURES_IN_A_ROW {
                return Err(error);
            }
            let mut phase = Phase::Reset;
            match &mut self.parts.remedy {
                EnvRemedy::Fail => return Err(error),
                EnvRemedy::Reset => {
                    (self.parts.on_failure)(&error);
                    // An environment may start a dead worker again, which takes as long as a first start.
                    phase = Phase::Init;
                }
                EnvRemedy::Rebuild(make) => {
                    (self.parts.on_failure)(&error);
                    self.parts.counters.set_phase(Phase::Init);
                    self.parts.counters.add(ActorCounter::Progress, 1);
                    match make() {
                        Ok(env) => self.parts.env = env,
                        Err(again) => {
                            error = again.into();
                            continue;
                        }
                    }
                }
            }
            match self.reset(phase) {
                Ok(()) => return Ok(()),
                Err(again) => error = again,
            }
        }
    }

    /// Acts until the ring is closed.
    ///
    /// # Errors
    /// [`ActorError`]: the process should end with the code that belongs to it.
    pub fn run(&mut self) -> Result<(), ActorError> {
        loop {
            match self.unroll() {
                Ok(()) | Err(ActorError::Claim(ClaimError::TimedOut | ClaimError::HeldBack)) => {}
                Err(ActorError::Claim(ClaimError::Closed)) => return Ok(()),
                Err(error) if error.is_of_environment() => {
                    self.parts.counters.add(ActorCounter::UnrollsDropped, 1);
                    self.recover(error)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    const fn timed(&self) -> bool {
        self.sequence.is_multiple_of(self.timed_every as u64)
    }

    /// Fills one group of the ring.
    fn unroll(&mut self) -> Result<(), ActorError> {
        let timed = self.timed();
        let parts = &mut self.parts;
        let ring = parts.producer.ring();
        kill_point!("actor.before_claim");
        parts.counters.set_phase(Phase::Wait);
        let waiting = Instant::now();
        let claimed = parts.producer.claim(CLAIM_TIMEOUT);
        let held_back = match &claimed {
            Ok(grant) => grant.was_held_back(),
            Err(error) => matches!(error, ClaimError::HeldBack),
        };
        let waited =
            if held_back { ActorCounter::AdmissionWaitNs } else { ActorCounter::SlotWaitNs };
        parts.counters.add_time(waited, waiting.elapsed());
        let mut grant = claimed?;
        kill_point!("actor.after_claim");

        // After the wait for a slot, which may have lasted for several versions. If there are none newer, the
        // old ones act on, which V-trace corrects for.
        parts.counters.set_phase(Phase::Refresh);
        let refreshing = timed.then(Instant::now);
        match parts.reader.refresh(self.version, &mut self.parameters) {
            Refresh::Unchanged => {}
            Refresh::Busy => parts.counters.add(ActorCounter::ParamBusy, 1),
            Refresh::New(version) => {
                parts.policy.load(&self.parameters);
                self.version = version;
                parts.counters.add(ActorCounter::ParamRefreshes, 1);
                parts.counters.set(ActorCounter::ParamVersion, version);
            }
        }
        if let Some(refreshing) = refreshing {
            parts
                .counters
                .add_time(ActorCounter::RefreshNs, refreshing.elapsed() * self.timed_every);
        }
        let mut group = GroupMut::new(grant.slot_mut());

        for (row, frames) in self.history.frames.rows().enumerate() {
            group.frame_mut(row).copy_from_slice(frames);
        }
        group.flags_mut(0).copy_from_slice(&self.history.flags);
        group.row_mut::<u8>(Field::Mask, 0).copy_from_slice(&self.history.masks);
        group.row_mut(Field::FirstAction, 0).copy_from_slice(&self.history.actions);
        group.row_mut(Field::FirstReward, 0).copy_from_slice(&self.history.rewards);
        group.row_mut(Field::CoreState, 0).copy_from_slice(parts.policy.recurrent_state());
        group
            .history_mut()
            .iter_mut()
            .zip(self.history.earlier())
            .for_each(|(stored, earlier)| *stored = earlier);
        *group.header_mut() = GroupHeader {
            actor: u32::from(parts.owner.actor()),
            incarnation: u32::from(parts.owner.incarnation()),
            sequence: self.sequence,
            policy_version: self.version,
            ..GroupHeader::default()
        };

        let mut times = timed.then(Times::default);
        let mut ended = 0;
        for t in 0..parts.unroll {
            // The end of a run waits for a short unroll and not for a long one; those are all timed.
            if timed && ring.is_closed() && waiting.elapsed() > PROMPT {
                return Err(ClaimError::Closed.into());
            }
            let step = Step {
                env: parts.env.as_mut(),
                policy: parts.policy.as_mut(),
                sampler: &mut parts.sampler,
                counters: &parts.counters,
                spec: &self.spec,
                version: self.version,
            };
            ended +=
                step.take(t, &mut group, &mut self.history, &mut self.logits, times.as_mut())?;
            kill_point!("actor.mid_unroll");
        }
        for (row, frames) in self.history.frames.rows_mut().enumerate() {
            frames.copy_from_slice(group.frame(parts.unroll + row));
        }
        self.history.flags.copy_from_slice(group.flags(parts.unroll));
        self.history.masks.copy_from_slice(group.row(Field::Mask, parts.unroll));

        parts.counters.set_phase(Phase::Commit);
        kill_point!("actor.before_commit");
        let committing = timed.then(Instant::now);
        grant.commit()?;
        if let Some(committing) = committing {
            parts
                .counters
                .add_time(ActorCounter::CommitNs, committing.elapsed() * self.timed_every);
        }
        kill_point!("actor.after_commit");
        self.sequence += 1;
        self.failures = 0;
        let counters = &parts.counters;
        counters.add(ActorCounter::UnrollsCommitted, 1);
        counters.add(ActorCounter::FramesActed, (parts.unroll * parts.env.envs()) as u64);
        counters.add(ActorCounter::Episodes, ended);
        if let Some(times) = times {
            counters.add_time(ActorCounter::EnvNs, times.env * self.timed_every);
            counters.add_time(ActorCounter::InferNs, times.infer * self.timed_every);
            self.timed_every = if times.env + times.infer < LONG { TIMED_EVERY } else { 1 };
        }
        Ok(())
    }
}

/// What one vector step borrows from the loop.
struct Step<'a, 'm> {
    env: &'a mut dyn VectorEnv,
    policy: &'a mut dyn Policy,
    sampler: &'a mut ActionSampler,
    counters: &'a ActorCounters<'m>,
    spec: &'a EnvSpec,
    version: u64,
}

impl Step<'_, '_> {
    /// Acts on observation `t` and writes observation `t + 1`; gives the number of episodes that ended.
    fn take(
        self,
        t: usize,
        group: &mut GroupMut<'_>,
        history: &mut History,
        logits: &mut [f32],
        times: Option<&mut Times>,
    ) -> Result<u64, ActorError> {
        let step = group.step(t);
        self.counters.set_phase(Phase::Infer);
        self.counters.add(ActorCounter::Progress, 1);
        let started = times.is_some().then(Instant::now);
        let rows = &step.rows;
        let inputs = ActInputs {
            observations: StackedFrames::of_step(
                &self.spec.observation,
                rows,
                history.frames.valid(),
            ),
            flags: step.flags,
            last_actions: &history.actions,
            last_rewards: &history.rewards,
        };
        self.policy.logits(&inputs, logits)?;
        if !self.sampler.sample(logits, step.mask, step.actions, step.log_probs) {
            return Err(ActorError::Logits { version: self.version });
        }
        let acted = times.is_some().then(Instant::now);
        self.counters.set_phase(Phase::Step);
        let out = StepOut {
            frames: step.next_frame,
            rewards: step.rewards,
            flags: step.next_flags,
            masks: step.next_mask,
        };
        self.env.step(self.sampler.applied(step.actions), out)?;
        if let Some(env) = checks::first_not_finite(step.rewards) {
            return Err(ActorError::NotFinite { env, what: "a reward", step: t });
        }
        checks::observations(
            self.spec,
            step.next_frame,
            step.next_mask,
            step.next_flags,
            "an observation",
            t,
        )?;
        let ended = history.advance(
            step.actions,
            step.rewards,
            step.next_flags,
            step.next_returns,
            step.next_lengths,
        );
        if let (Some(times), Some(started), Some(acted)) = (times, started, acted) {
            times.infer += acted - started;
            times.env += acted.elapsed();
        }
        Ok(ended)
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
