//! The acting loop: refresh weights, fill one unroll step by step, commit.

use std::time::{Duration, Instant};

use super::ActorError;
use super::history::History;
use crate::env::{Dtype, EnvSpec, StepOut, VectorEnv};
use crate::metrics::{Actor, ActorCounters, Phase};
use crate::params::{ParamReader, Refresh};
use crate::policy::act::{Act, StackedFrames};
use crate::policy::sample::Sampler;
use crate::ring::{ClaimError, GroupMut, Owner, Producer};
use crate::unroll::GroupHeader;

/// How long a claim waits before the loop looks round again.
const CLAIM_TIMEOUT: Duration = Duration::from_millis(100);
/// One short unroll in this many is timed, and counts for all of them: clock readings cost more than the
/// steps of a small environment. Long ones are all timed.
const TIMED_EVERY: u32 = 16;
const LONG: Duration = Duration::from_millis(2);

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
    /// Its policy.
    pub policy: Box<dyn Act>,
    /// Draws its actions.
    pub sampler: Sampler,
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
    pub fn new(mut parts: ActorParts<'m>) -> Result<Self, ActorError> {
        let spec = parts.env.spec().clone();
        let envs = parts.env.envs();
        let mut history =
            History::new(envs, spec.observation.frame_stack, envs * spec.observation.frame_bytes());
        parts.counters.set_phase(Phase::Reset);
        parts.env.reset(history.newest_mut())?;
        let (parameters, logits) =
            (vec![0.0; parts.parameter_count], vec![0.0; envs * spec.action.logits_len()]);
        Ok(Self {
            parts,
            spec,
            history,
            parameters,
            logits,
            version: 0,
            sequence: 0,
            timed_every: 1,
        })
    }

    /// Acts until the ring is closed.
    ///
    /// # Errors
    /// [`ActorError`]: the process should end with the code that belongs to it.
    pub fn run(mut self) -> Result<(), ActorError> {
        loop {
            self.refresh();
            match self.unroll() {
                Ok(()) | Err(ActorError::Claim(ClaimError::TimedOut)) => {}
                Err(ActorError::Claim(ClaimError::Closed)) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes newer weights if there are any; otherwise the old ones act on, which V-trace corrects for.
    fn refresh(&mut self) {
        let counters = &self.parts.counters;
        counters.set_phase(Phase::Refresh);
        let started = self.timed().then(Instant::now);
        match self.parts.reader.refresh(self.version, &mut self.parameters) {
            Refresh::Unchanged => {}
            Refresh::Busy => counters.add(Actor::ParamBusy, 1),
            Refresh::New(version) => {
                self.parts.policy.load(&self.parameters);
                self.version = version;
                counters.add(Actor::ParamRefreshes, 1);
            }
        }
        if let Some(started) = started {
            counters.add_time(Actor::RefreshNs, started.elapsed() * self.timed_every);
        }
    }

    const fn timed(&self) -> bool {
        self.sequence.is_multiple_of(self.timed_every as u64)
    }

    /// Fills one group of the ring.
    fn unroll(&mut self) -> Result<(), ActorError> {
        let timed = self.timed();
        let parts = &mut self.parts;
        parts.counters.set_phase(Phase::Wait);
        let waiting = Instant::now();
        let claimed = parts.producer.claim(CLAIM_TIMEOUT);
        parts.counters.add_time(Actor::SlotWaitNs, waiting.elapsed());
        let mut grant = claimed?;
        let mut group = grant.group();

        for (row, frames) in self.history.frames.iter().enumerate() {
            group.frame_mut(row).copy_from_slice(frames);
        }
        group.flags_mut(0).copy_from_slice(&self.history.flags);
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
        }
        for (row, frames) in self.history.frames.iter_mut().enumerate() {
            frames.copy_from_slice(group.frame(parts.unroll + row));
        }
        self.history.flags.copy_from_slice(group.flags(parts.unroll));

        grant.commit()?;
        self.sequence += 1;
        let counters = &parts.counters;
        counters.add(Actor::UnrollsCommitted, 1);
        counters.add(Actor::FramesActed, (parts.unroll * parts.env.envs()) as u64);
        counters.add(Actor::Episodes, ended);
        if let Some(times) = times {
            counters.add_time(Actor::EnvNs, times.env * self.timed_every);
            counters.add_time(Actor::InferNs, times.infer * self.timed_every);
            self.timed_every = if times.env + times.infer < LONG { TIMED_EVERY } else { 1 };
        }
        Ok(())
    }
}

/// What one vector step borrows from the loop.
struct Step<'a, 'm> {
    env: &'a mut dyn VectorEnv,
    policy: &'a mut dyn Act,
    sampler: &'a mut Sampler,
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
        let started = times.is_some().then(Instant::now);
        let frames =
            StackedFrames { spec: &self.spec.observation, rows: &step.rows, valid: &history.valid };
        self.policy.logits(&frames, logits)?;
        if !self.sampler.sample(logits, step.actions, step.log_probs) {
            return Err(ActorError::Logits { version: self.version });
        }
        let acted = times.is_some().then(Instant::now);
        self.counters.set_phase(Phase::Step);
        self.env.step(
            step.actions,
            StepOut { frames: step.next_frame, rewards: step.rewards, flags: step.next_flags },
        )?;
        if let Some(env) = step.rewards.iter().position(|r| !r.is_finite()) {
            return Err(ActorError::NotFinite { env, what: "a reward", step: t });
        }
        if self.spec.observation.dtype == Dtype::F32 {
            let numbers: &[f32] = bytemuck::cast_slice(step.next_frame);
            if let Some(at) = first_not_finite(numbers) {
                let env = at / self.spec.observation.frame_len();
                return Err(ActorError::NotFinite { env, what: "an observation", step: t });
            }
        }
        let ended =
            history.advance(step.rewards, step.next_flags, step.next_returns, step.next_lengths);
        if let (Some(times), Some(started), Some(acted)) = (times, started, acted) {
            times.infer += acted - started;
            times.env += acted.elapsed();
        }
        Ok(ended)
    }
}

/// Index of the first number that is not finite; a sum first, because it vectorises.
fn first_not_finite(numbers: &[f32]) -> Option<usize> {
    let sum: f32 = numbers.iter().map(|x| x * 0.0).sum();
    if sum == 0.0 { None } else { numbers.iter().position(|x| !x.is_finite()) }
}
