//! Several tasks for one network: the spec that fits all of their environments, and a wrapper that shows each
//! environment under it.

use super::{
    ActionSpec, Actions, Dtype, EnvError, EnvSpec, ResetOut, SharedMemory, StepOut, VectorEnv,
};

/// Why tasks do not fit one network.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// Observations of different shapes or types.
    #[error(
        "{first} shows {first_shows} and {other} shows {other_shows}: one network needs observations of one shape"
    )]
    Observations {
        /// The first task.
        first: String,
        /// Its observation.
        first_shows: String,
        /// The first one that differs.
        other: String,
        /// Its observation.
        other_shows: String,
        /// Length to which both can be filled up with zeros, if they are vectors of f32.
        common_len: Option<usize>,
    },
    /// Actions of different kinds, or of different bounds.
    #[error(
        "{first} takes {first_takes} and {other} takes {other_takes}: one network needs one discrete action in each, or the same actions"
    )]
    Actions {
        /// The first task.
        first: String,
        /// Its actions.
        first_takes: String,
        /// The first one that differs.
        other: String,
        /// Its actions.
        other_takes: String,
    },
    /// Only vectors of f32 can be filled up.
    #[error(
        "the observations of {id} are {shows}: only vectors of at most {len} f32 can be filled up to {len}"
    )]
    CannotPad {
        /// The task.
        id: String,
        /// Its observation.
        shows: String,
        /// The length that was asked for.
        len: usize,
    },
}

/// What one network sees of all tasks, and does in all of them, under the name `id`.
///
/// Observations must be alike; with `padded_len` vectors of f32 are filled up with zeros to that length first. Discrete
/// actions may be fewer in some tasks than in others: masks then forbid those that a task does not have. Other actions must be the same.
///
/// # Errors
/// [`TaskError`] for the first two that do not fit.
///
/// # Panics
/// If there is no task.
pub fn common_spec(
    id: &str,
    tasks: &[EnvSpec],
    padded_len: Option<usize>,
) -> Result<EnvSpec, TaskError> {
    let tasks: Vec<EnvSpec> =
        tasks.iter().map(|task| padded(task, padded_len)).collect::<Result<_, _>>()?;
    let first = tasks.first().expect("at least one task");
    if let Some(other) = tasks.iter().find(|task| task.observation != first.observation) {
        let longest = tasks.iter().map(|task| task.observation.frame_len()).max();
        return Err(TaskError::Observations {
            first: first.id.clone(),
            first_shows: shows(first),
            other: other.id.clone(),
            other_shows: shows(other),
            common_len: longest.filter(|_| {
                let stack = first.observation.frame_stack;
                tasks.iter().all(|task| is_vector(task) && task.observation.frame_stack == stack)
            }),
        });
    }
    let sizes: Option<Vec<usize>> = tasks.iter().map(|task| one_discrete(&task.action)).collect();
    let (action, differ) = match &sizes {
        Some(sizes) => {
            let n = sizes.iter().copied().max().unwrap_or(0);
            (ActionSpec::Discrete { n }, sizes.iter().any(|&size| size < n))
        }
        None => (first.action.clone(), false),
    };
    let other = tasks.iter().find(|task| task.action != first.action);
    if let (None, Some(other)) = (&sizes, other) {
        return Err(TaskError::Actions {
            first: first.id.clone(),
            first_takes: takes(&first.action),
            other: other.id.clone(),
            other_takes: takes(&other.action),
        });
    }
    let masks = differ || tasks.iter().any(|task| task.masks);
    let observation = first.observation.clone();
    Ok(EnvSpec { id: id.to_owned(), observation, action, masks })
}

fn padded(task: &EnvSpec, len: Option<usize>) -> Result<EnvSpec, TaskError> {
    let mut task = task.clone();
    let Some(len) = len else { return Ok(task) };
    if !is_vector(&task) || task.observation.frame_len() > len {
        return Err(TaskError::CannotPad { shows: shows(&task), id: task.id, len });
    }
    task.observation.shape = vec![len];
    Ok(task)
}

const fn is_vector(task: &EnvSpec) -> bool {
    matches!(task.observation.dtype, Dtype::F32) && task.observation.shape.len() == 1
}

const fn one_discrete(action: &ActionSpec) -> Option<usize> {
    match action {
        ActionSpec::Discrete { n } => Some(*n),
        _ => None,
    }
}

fn shows(task: &EnvSpec) -> String {
    let observation = &task.observation;
    let dtype = match observation.dtype {
        Dtype::U8 => "u8",
        Dtype::F32 => "f32",
    };
    match observation.frame_stack {
        1 => format!("{:?} {dtype}", observation.shape),
        stack => format!("{stack} frames of {:?} {dtype}", observation.shape),
    }
}

fn takes(action: &ActionSpec) -> String {
    match action {
        ActionSpec::Discrete { n } => format!("one of {n} actions"),
        ActionSpec::MultiDiscrete { sizes } => format!("discrete actions of {sizes:?} values"),
        ActionSpec::Continuous { low, high } => format!("numbers from {low:?} to {high:?}"),
        ActionSpec::Hybrid { sizes, low, high } => {
            format!("discrete actions of {sizes:?} values and numbers from {low:?} to {high:?}")
        }
    }
}

/// `inner` as `common` has it, which [`common_spec`] gives: observations filled up with zeros, actions that it lacks forbidden; a
/// stack of frames is a view that the actor makes. Environments that look like that by themselves come back as they are.
#[must_use]
pub fn seen_as(inner: Box<dyn VectorEnv>, common: &EnvSpec) -> Box<dyn VectorEnv> {
    let own = inner.spec();
    let alike = own.observation == common.observation
        && own.action == common.action
        && own.masks == common.masks;
    if alike { inner } else { Box::new(SeenAs::new(inner, common)) }
}

struct SeenAs {
    inner: Box<dyn VectorEnv>,
    spec: EnvSpec,
    /// `[E][own frame]`, if frames are filled up.
    frames: Vec<f32>,
    /// `[E][own logits]`, if masks are seen otherwise than the environments write them.
    masks: Option<Vec<u8>>,
}

impl SeenAs {
    fn new(inner: Box<dyn VectorEnv>, common: &EnvSpec) -> Self {
        let (own, envs) = (inner.spec(), inner.envs());
        let pads = own.observation.frame_len() != common.observation.frame_len();
        let frames = vec![0.0; if pads { envs * own.observation.frame_len() } else { 0 }];
        let as_written = own.mask_bytes() == common.mask_bytes();
        let masks = (!as_written).then(|| vec![1; envs * own.mask_bytes()]);
        let spec = EnvSpec { id: own.id.clone(), ..common.clone() };
        Self { spec, frames, masks, inner }
    }

    /// Has `step` write where these environments write, and shows it.
    fn stepped(
        &mut self,
        out: StepOut<'_>,
        step: impl FnOnce(&mut dyn VectorEnv, StepOut<'_>) -> Result<(), EnvError>,
    ) -> Result<(), EnvError> {
        let own = if self.frames.is_empty() {
            &mut *out.frames
        } else {
            bytemuck::cast_slice_mut(&mut self.frames)
        };
        let masks = self.masks.as_deref_mut().unwrap_or(&mut *out.masks);
        let StepOut { rewards, flags, .. } = out;
        step(self.inner.as_mut(), StepOut { frames: own, rewards, flags, masks })?;
        self.show(out.frames, out.masks);
        Ok(())
    }

    /// Copies what the environments wrote to where it is looked for.
    fn show(&self, frames: &mut [u8], masks: &mut [u8]) {
        let own = self.inner.spec();
        if !self.frames.is_empty() {
            let rows = frames.chunks_exact_mut(self.spec.observation.frame_bytes());
            let own_rows = self.frames.chunks_exact(own.observation.frame_len());
            for (row, own_row) in rows.zip(own_rows) {
                let own_row: &[u8] = bytemuck::cast_slice(own_row);
                let (shown, zeros) = row.split_at_mut(own_row.len());
                shown.copy_from_slice(own_row);
                zeros.fill(0);
            }
        }
        if let Some(own_masks) = &self.masks {
            let own_logits = own.action.logits();
            for (env, row) in masks.chunks_exact_mut(self.spec.mask_bytes()).enumerate() {
                let (allowed, lacking) = row.split_at_mut(own_logits);
                match own_masks.get(env * own_logits..(env + 1) * own_logits) {
                    Some(own_row) => allowed.copy_from_slice(own_row),
                    None => allowed.fill(1),
                }
                lacking.fill(0);
            }
        }
    }
}

impl VectorEnv for SeenAs {
    fn spec(&self) -> &EnvSpec {
        &self.spec
    }

    fn envs(&self) -> usize {
        self.inner.envs()
    }

    fn notes(&self) -> &[String] {
        self.inner.notes()
    }

    fn attach(&mut self, memory: &SharedMemory<'_>) -> Result<(), EnvError> {
        self.inner.attach(memory)
    }

    fn reset(&mut self, out: ResetOut<'_>) -> Result<(), EnvError> {
        let own = if self.frames.is_empty() {
            &mut *out.frames
        } else {
            bytemuck::cast_slice_mut(&mut self.frames)
        };
        let masks = self.masks.as_deref_mut().unwrap_or(&mut *out.masks);
        self.inner.reset(ResetOut { frames: own, masks })?;
        self.show(out.frames, out.masks);
        Ok(())
    }

    fn step(&mut self, actions: Actions<'_>, out: StepOut<'_>) -> Result<(), EnvError> {
        self.stepped(out, |inner, out| inner.step(actions, out))
    }

    fn start_step(&mut self, actions: Actions<'_>) -> Result<bool, EnvError> {
        self.inner.start_step(actions)
    }

    fn finish_step(&mut self, out: StepOut<'_>) -> Result<(), EnvError> {
        self.stepped(out, |inner, out| inner.finish_step(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EnvOptions, ObservationSpec, Registry};

    fn spec(id: &str, len: usize, n: usize) -> EnvSpec {
        let observation = ObservationSpec::new(Dtype::F32, &[len]);
        EnvSpec::new(id, observation, ActionSpec::Discrete { n })
    }

    #[test]
    fn tasks_of_one_kind_need_no_view() {
        let tasks = [spec("A", 4, 2), spec("B", 4, 2)];
        let common = common_spec("A+B", &tasks, None).expect("alike");
        assert_eq!(common, EnvSpec { id: "A+B".into(), ..tasks[0].clone() });
    }

    #[test]
    fn actions_that_a_task_lacks_are_masked() {
        let tasks = [spec("A", 4, 2), spec("B", 4, 3)];
        let common = common_spec("A+B", &tasks, None).expect("discrete");
        assert_eq!((common.action.clone(), common.masks), (ActionSpec::Discrete { n: 3 }, true));
        let cart = Registry::builtin().make("CartPole-v1", &EnvOptions::new(), 2, 1).expect("made");
        let mut seen = seen_as(cart, &common);
        let (mut frames, mut masks) = (vec![0; 2 * 16], vec![9; 2 * 3]);
        seen.reset(ResetOut { frames: &mut frames, masks: &mut masks }).expect("resets");
        assert_eq!(masks, [1, 1, 0, 1, 1, 0]);
    }

    #[test]
    fn vectors_are_filled_up_with_zeros() {
        let registry = Registry::builtin();
        let make = |id: &str| registry.make(id, &EnvOptions::new(), 3, 7).expect("made");
        let specs = ["CartPole-v1", "Acrobot-v1"].map(|id| make(id).spec().clone());
        let refused = common_spec("both", &specs, None).expect_err("4 and 6 numbers");
        assert!(
            matches!(&refused, TaskError::Observations { common_len: Some(6), .. }),
            "{refused}"
        );
        let common = common_spec("both", &specs, Some(6)).expect("both are vectors");
        let mut seen = seen_as(make("CartPole-v1"), &common);
        let (mut plain, mut frames) = (vec![0_f32; 3 * 4], vec![f32::NAN; 3 * 6]);
        let masks = &mut [7; 9][..];
        make("CartPole-v1")
            .reset(ResetOut { frames: bytemuck::cast_slice_mut(&mut plain), masks: &mut [] })
            .expect("resets");
        seen.reset(ResetOut { frames: bytemuck::cast_slice_mut(&mut frames), masks })
            .expect("resets");
        for (row, own) in frames.chunks(6).zip(plain.chunks(4)) {
            assert_eq!((&row[..4], &row[4..]), (own, &[0.0, 0.0][..]));
        }
        assert_eq!(masks, [1, 1, 0, 1, 1, 0, 1, 1, 0]);
        let too_short = common_spec("both", &specs, Some(5)).expect_err("6 numbers");
        assert!(matches!(&too_short, TaskError::CannotPad { len: 5, .. }), "{too_short}");
    }

    #[test]
    fn a_view_steps_like_what_it_shows() {
        let registry = Registry::builtin();
        let make = |id: &str| registry.make(id, &EnvOptions::new(), 2, 3).expect("made");
        let specs = ["CartPole-v1", "Acrobot-v1"].map(|id| make(id).spec().clone());
        let common = common_spec("both", &specs, Some(8)).expect("both are vectors");
        let (mut bare, mut seen) = (make("CartPole-v1"), seen_as(make("CartPole-v1"), &common));
        let step = |env: &mut dyn VectorEnv, len: usize, masks: usize, action: i32| {
            let (mut frames, mut masks) = (vec![9_f32; 2 * len], vec![9; 2 * masks]);
            let (mut rewards, mut flags) = ([0.0; 2], [0; 2]);
            let out = StepOut {
                frames: bytemuck::cast_slice_mut(&mut frames),
                rewards: &mut rewards,
                flags: &mut flags,
                masks: &mut masks,
            };
            env.step(Actions::Discrete(&[action, 1 - action]), out)
                .map(|()| (frames, rewards, flags))
        };
        for t in 0..300 {
            let action = i32::from(t % 3 == 0);
            let (own, rewards, flags) = step(bare.as_mut(), 4, 0, action).expect("steps");
            let (frames, seen_rewards, seen_flags) =
                step(seen.as_mut(), 8, 3, action).expect("steps");
            assert_eq!((seen_rewards, seen_flags), (rewards, flags));
            for (row, own) in frames.chunks(8).zip(own.chunks(4)) {
                assert_eq!((&row[..4], &row[4..]), (own, &[0.0; 4][..]));
            }
        }
        let refused = step(seen.as_mut(), 8, 3, 2).expect_err("the mask forbids it");
        assert!(matches!(refused, EnvError::BadAction { action: 2, count: 2, .. }), "{refused}");
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let throttle = ActionSpec::Continuous { low: vec![-1.0], high: vec![1.0] };
        let tasks = [spec("A", 4, 2), EnvSpec { action: throttle, ..spec("B", 4, 2) }];
        let text = common_spec("A+B", &tasks, None).expect_err("two kinds").to_string();
        assert!(text.contains("A takes one of 2 actions"), "{text}");
        assert!(text.contains("B takes numbers from [-1.0] to [1.0]"), "{text}");
        let mut bytes = spec("C", 4, 2);
        bytes.observation.dtype = Dtype::U8;
        let refused = common_spec("A+C", &[spec("A", 4, 2), bytes], None).expect_err("two types");
        assert!(matches!(&refused, TaskError::Observations { common_len: None, .. }), "{refused}");
    }
}
