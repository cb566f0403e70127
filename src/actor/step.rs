//! One vector step: logits, actions, the environments' answer, and what is recorded of it.

use std::time::{Duration, Instant};

use super::ActorError;
use super::checks;
use super::history::History;
use crate::env::{EnvSpec, StepOut, VectorEnv};
use crate::metrics::{ActorCounter, ActorCounters, Phase};
use crate::policy::act::{ActError, ActInputs, Policy};
use crate::policy::frames::StackedFrames;
use crate::policy::sampler::ActionSampler;
use crate::ring::ClaimError;
use crate::unroll::{GroupMut, StepMut};

/// Time spent in one timed unroll.
#[derive(Debug, Default)]
pub(super) struct Times {
    pub(super) env: Duration,
    pub(super) infer: Duration,
}

/// What one vector step borrows from the loop.
pub(super) struct Step<'a, 'm> {
    pub(super) env: &'a mut dyn VectorEnv,
    pub(super) policy: &'a mut (dyn Policy + 'm),
    pub(super) sampler: &'a mut ActionSampler,
    pub(super) history: &'a mut History,
    pub(super) counters: &'a ActorCounters<'m>,
    pub(super) spec: &'a EnvSpec,
    pub(super) logits: &'a mut [f32],
    pub(super) version: u64,
}

impl Step<'_, '_> {
    /// Acts on observation `t` and writes observation `t + 1`; gives the number of episodes that ended.
    pub(super) fn take(
        mut self,
        t: usize,
        group: &mut GroupMut<'_>,
        mut times: Option<&mut Times>,
    ) -> Result<u64, ActorError> {
        let mut step = group.step(t);
        self.act(&mut step, times.as_deref_mut())?;
        self.end((t, false), &mut step, times)
    }

    /// Chooses the actions of a step, and writes them down.
    fn act(&mut self, step: &mut StepMut<'_>, times: Option<&mut Times>) -> Result<(), ActorError> {
        let began = times.is_some().then(Instant::now);
        self.counters.set_phase(Phase::Infer);
        self.counters.add(ActorCounter::Progress, 1);
        let inputs = inputs(self.spec, self.history, step);
        self.policy.logits(&inputs, self.logits).map_err(|error| match error {
            ActError::Closed => ClaimError::Closed.into(),
            error => ActorError::from(error),
        })?;
        if !self.sampler.sample(self.logits, step.mask, step.actions, step.log_probs) {
            return Err(ActorError::Logits { version: self.version });
        }
        if let (Some(times), Some(began)) = (times, began) {
            times.infer += began.elapsed();
        }
        Ok(())
    }

    /// The environments have answered: looks at it, and takes account of it.
    fn seen(&mut self, t: usize, step: &mut StepMut<'_>) -> Result<u64, ActorError> {
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
        Ok(self.history.advance(
            step.actions,
            step.rewards,
            step.next_flags,
            step.next_returns,
            step.next_lengths,
        ))
    }

    /// Asks for the logits of observation `t`, if the network runs elsewhere; whether it does.
    pub(super) fn ask(&mut self, t: usize, group: &mut GroupMut<'_>) -> bool {
        let step = group.step(t);
        self.policy.ask(&inputs(self.spec, self.history, &step))
    }

    /// Acts on observation `t`, and starts the step that follows from it, if the environments are elsewhere; whether they are.
    /// Otherwise [`Step::finish`] does all of it.
    pub(super) fn start(
        &mut self,
        t: usize,
        group: &mut GroupMut<'_>,
        mut times: Option<&mut Times>,
    ) -> Result<bool, ActorError> {
        let mut step = group.step(t);
        self.act(&mut step, times.as_deref_mut())?;
        let acted = times.is_some().then(Instant::now);
        self.counters.set_phase(Phase::Step);
        let goes_on = self.env.start_step(self.sampler.applied(step.actions))?;
        if let (Some(times), Some(acted)) = (times, acted) {
            times.env += acted.elapsed();
        }
        Ok(goes_on)
    }

    /// Writes observation `t + 1`, of a step that was `started` or is taken now; gives the number of episodes that ended.
    pub(super) fn finish(
        &mut self,
        step: (usize, bool),
        group: &mut GroupMut<'_>,
        times: Option<&mut Times>,
    ) -> Result<u64, ActorError> {
        self.end(step, &mut group.step(step.0), times)
    }

    fn end(
        &mut self,
        (t, started): (usize, bool),
        step: &mut StepMut<'_>,
        times: Option<&mut Times>,
    ) -> Result<u64, ActorError> {
        let waiting = times.is_some().then(Instant::now);
        self.counters.set_phase(Phase::Step);
        let (actions, out) = parts(step);
        if started {
            self.env.finish_step(out)?;
        } else {
            self.env.step(self.sampler.applied(actions), out)?;
        }
        let ended = self.seen(t, step)?;
        if let (Some(times), Some(waiting)) = (times, waiting) {
            times.env += waiting.elapsed();
        }
        Ok(ended)
    }
}

/// The actions of a step, and where what follows from them goes.
const fn parts<'a>(step: &'a mut StepMut<'_>) -> (&'a [i32], StepOut<'a>) {
    let out = StepOut {
        frames: &mut *step.next_frame,
        rewards: &mut *step.rewards,
        flags: &mut *step.next_flags,
        masks: &mut *step.next_mask,
    };
    (&*step.actions, out)
}

/// What the network sees.
fn inputs<'a>(spec: &'a EnvSpec, history: &'a History, step: &'a StepMut<'_>) -> ActInputs<'a> {
    ActInputs {
        observations: StackedFrames::of_step(&spec.observation, &step.rows, history.frames.valid()),
        flags: step.flags,
        last_actions: &history.actions,
        last_rewards: &history.rewards,
    }
}
