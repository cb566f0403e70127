//! An environment that shows the known byte pattern, and a policy for it: what the actors of `impala-soak` act with.

use super::pattern::{ACTIONS, Incarnation, mix};
use super::record::{Count, Record};
use impala_rl::actor::{ActorError, GradientSource};
use impala_rl::env::{
    ActionSpec, Actions, Dtype, EnvError, EnvSpec, ObservationSpec, Registry, ResetOut, StepOut,
    VectorEnv,
};
use impala_rl::inference::CentralPolicy;
use impala_rl::policy::act::{ActError, ActInputs, Policy};
use impala_rl::policy::frames::FrameRows;
use impala_rl::unroll::{BlockRef, LOSS_WORDS};

/// The name that a configuration finds it under.
pub(super) const ID: &str = "Pattern-v0";
/// Bytes of a frame: no multiple of 8, so that columns lie askew.
const FRAME_BYTES: usize = 100;
/// k.
const FRAME_STACK: usize = 2;
/// A step makes its frames so often: actors are then slower than the learner, and spend their time with
/// a slot half written, where a death matters most.
const EFFORT: usize = if cfg!(debug_assertions) { 16 } else { 400 };

/// Nothing but the pattern. Its contents do not depend on the actions; what they were is in the unroll.
#[derive(Debug)]
pub(super) struct PatternEnv {
    spec: EnvSpec,
    writer: Incarnation,
    envs: usize,
    step: u64,
}

impl PatternEnv {
    pub(super) fn new(writer: Incarnation, envs: usize) -> Self {
        let observation = ObservationSpec {
            frame_stack: FRAME_STACK,
            ..ObservationSpec::new(Dtype::U8, &[FRAME_BYTES])
        };
        let action = ActionSpec::Discrete { n: ACTIONS };
        Self { spec: EnvSpec::new(ID, observation, action), writer, envs, step: 0 }
    }

    /// Makes it known to a configuration.
    pub(super) fn register(registry: &mut Registry) {
        registry.add(ID, "a pattern that a learner can check", |options, envs, _| {
            options.read(ID).finish()?;
            Ok(Box::new(Self::new(Incarnation { actor: 0, incarnation: 0 }, envs)))
        });
    }

    fn show(&self, frames: &mut [u8]) {
        for (env, frame) in frames.chunks_exact_mut(FRAME_BYTES).enumerate() {
            self.writer.frame(self.step, env, frame);
        }
    }
}

impl VectorEnv for PatternEnv {
    fn spec(&self) -> &EnvSpec {
        &self.spec
    }

    fn envs(&self) -> usize {
        self.envs
    }

    fn reset(&mut self, out: ResetOut<'_>) -> Result<(), EnvError> {
        self.show(out.frames);
        Ok(())
    }

    fn step(&mut self, actions: Actions<'_>, out: StepOut<'_>) -> Result<(), EnvError> {
        self.spec.check_actions(actions, self.envs)?;
        self.step += 1;
        for _ in 0..EFFORT {
            self.show(std::hint::black_box(&mut *out.frames));
        }
        for (env, (reward, flags)) in out.rewards.iter_mut().zip(out.flags).enumerate() {
            *reward = self.writer.reward(self.step, env);
            *flags = self.writer.flags(self.step, env);
        }
        Ok(())
    }
}

/// Acts as the pattern says, and looks at the weights that it is given.
#[derive(Debug)]
pub(super) struct PatternPolicy {
    pub(super) writer: Incarnation,
    pub(super) record: Record,
    pub(super) step: u64,
}

/// Makes the pattern's gradient of an unroll, where gradients travel in place of unrolls.
#[derive(Debug)]
pub(super) struct PatternGradient {
    pub(super) writer: Incarnation,
}

impl GradientSource for PatternGradient {
    fn gradient(
        &mut self,
        _parameters: &[f32],
        (unroll, _steps): (&BlockRef<'_>, usize),
        gradient: &mut [f32],
    ) -> Result<[u64; LOSS_WORDS], ActorError> {
        let sequence = unroll.headers()[0].sequence;
        self.writer.gradient(sequence, gradient);
        Ok(self.writer.loss(sequence))
    }
}

/// A number that follows from all that a policy is shown of one environment.
#[expect(clippy::cast_precision_loss, reason = "24 bits fit an f32")]
fn digest(inputs: &ActInputs<'_>, env: usize) -> f32 {
    let seen = &inputs.observations;
    let FrameRows::Separate(rows) = seen.rows else { return f32::NAN };
    let frames = rows.iter().flat_map(|row| row[env * FRAME_BYTES..][..FRAME_BYTES].chunks(8));
    let word = |bytes: &[u8]| bytes.iter().fold(0, |word: u64, &byte| word << 8 | u64::from(byte));
    let start = u64::from(inputs.flags[env]) << 8 | u64::from(seen.valid[env]);
    (frames.fold(start, |digest, bytes| mix(digest ^ word(bytes))) >> 40) as f32
}

/// Answers for all actors: the first logit of a row says what it was shown.
#[derive(Debug)]
pub(super) struct PatternAnswers {
    pub(super) record: Record,
}

impl Policy for PatternAnswers {
    fn load(&mut self, parameters: &[f32]) {
        self.record.weights(parameters);
    }

    fn logits(&mut self, inputs: &ActInputs<'_>, logits: &mut [f32]) -> Result<(), ActError> {
        logits.fill(0.0);
        for (env, row) in logits.chunks_exact_mut(ACTIONS).enumerate() {
            row[0] = digest(inputs, env);
        }
        Ok(())
    }
}

/// Asks, holds the answer against what it has asked, and acts the pattern.
#[derive(Debug)]
pub(super) struct AskingPolicy<'m> {
    pub(super) central: CentralPolicy<'m>,
    pub(super) pattern: PatternPolicy,
}

impl Policy for AskingPolicy<'_> {
    fn load(&mut self, _parameters: &[f32]) {}

    fn observe(&mut self, slot: usize, step: usize) {
        self.central.observe(slot, step);
    }

    fn logits(&mut self, inputs: &ActInputs<'_>, logits: &mut [f32]) -> Result<(), ActError> {
        self.central.logits(inputs, logits)?;
        let rows = logits.chunks_exact(ACTIONS).enumerate();
        let wrong = rows.filter(|(env, row)| row[0].to_bits() != digest(inputs, *env).to_bits());
        let record = &self.pattern.record;
        record.add(Count::AnswersWrong, wrong.count() as u64);
        record.add(Count::Answers, inputs.observations.envs() as u64);
        self.pattern.logits(inputs, logits)
    }

    fn acted_with(&self) -> Option<u64> {
        self.central.acted_with()
    }
}

impl Policy for PatternPolicy {
    fn load(&mut self, parameters: &[f32]) {
        self.record.weights(parameters);
    }

    fn logits(&mut self, inputs: &ActInputs<'_>, logits: &mut [f32]) -> Result<(), ActError> {
        let observations = &inputs.observations;
        debug_assert_eq!(logits.len(), observations.envs() * ACTIONS, "logits");
        for (env, row) in logits.chunks_exact_mut(ACTIONS).enumerate() {
            self.writer.logits(self.step, env, row);
        }
        self.step += 1;
        Ok(())
    }
}
