//! The spec of an environment: shape and element type of its observations, and kind and bounds of its actions.

use super::EnvError;

/// What one element of an observation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// Bytes, fed to the network as `x / 255`.
    U8,
    /// 32-bit floats, fed to the network as they are.
    F32,
}

impl Dtype {
    /// Size of one element in bytes.
    #[must_use]
    pub const fn size_bytes(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::F32 => 4,
        }
    }
}

/// A Rust type that observations may be made of.
pub trait Element: bytemuck::Pod {
    /// The name of the type in an [`ObservationSpec`].
    const DTYPE: Dtype;
}

impl Element for u8 {
    const DTYPE: Dtype = Dtype::U8;
}

impl Element for f32 {
    const DTYPE: Dtype = Dtype::F32;
}

/// Shape and type of what an environment shows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ObservationSpec {
    /// Element type.
    pub dtype: Dtype,
    /// Shape of one frame, for example `[4]` or `[84, 84]`.
    pub shape: Vec<usize>,
    /// How many of the newest frames the network sees, stacked along a new first axis; 1 for none.
    /// Frames are stored once; the stack is a view. Frames from before the episode are zero.
    pub frame_stack: usize,
}

impl ObservationSpec {
    /// A spec without frame stack.
    #[must_use]
    pub fn new(dtype: Dtype, shape: &[usize]) -> Self {
        Self { dtype, shape: shape.to_vec(), frame_stack: 1 }
    }

    /// Elements of one frame.
    #[must_use]
    pub fn frame_len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Bytes of one frame.
    #[must_use]
    pub fn frame_bytes(&self) -> usize {
        self.frame_len() * self.dtype.size_bytes()
    }

    /// Elements that the network sees: `frame_stack * frame_len`.
    #[must_use]
    pub fn stacked_len(&self) -> usize {
        self.frame_stack * self.frame_len()
    }
}

/// What an agent may do.
#[derive(Debug, Clone, PartialEq)]
pub enum ActionSpec {
    /// One of `n` actions, numbered from 0.
    Discrete {
        /// Number of actions.
        n: usize,
    },
    /// Several discrete actions at once, each numbered from 0. Switches are of 2.
    MultiDiscrete {
        /// Number of values of each discrete action.
        sizes: Vec<usize>,
    },
    /// Continuous actions, each within bounds, which may be infinite.
    Continuous {
        /// Smallest value of each.
        low: Vec<f32>,
        /// Largest value of each.
        high: Vec<f32>,
    },
    /// Discrete and continuous actions at once, one action of both: first all discrete parts, then all continuous ones.
    Hybrid {
        /// Number of values of each discrete part, at least one.
        sizes: Vec<usize>,
        /// Smallest value of each continuous part, at least one.
        low: Vec<f32>,
        /// Largest value of each.
        high: Vec<f32>,
    },
}

impl ActionSpec {
    /// Number of values of each discrete part; empty if all are continuous.
    #[must_use]
    pub const fn sizes(&self) -> &[usize] {
        match self {
            Self::Discrete { n } => std::slice::from_ref(n),
            Self::MultiDiscrete { sizes } | Self::Hybrid { sizes, .. } => sizes.as_slice(),
            Self::Continuous { .. } => &[],
        }
    }

    /// Smallest and largest value of each continuous part; empty if all are discrete.
    #[must_use]
    pub const fn bounds(&self) -> (&[f32], &[f32]) {
        match self {
            Self::Continuous { low, high } | Self::Hybrid { low, high, .. } => {
                (low.as_slice(), high.as_slice())
            }
            Self::Discrete { .. } | Self::MultiDiscrete { .. } => (&[], &[]),
        }
    }

    /// D: how many continuous parts there are.
    #[must_use]
    pub const fn numbers(&self) -> usize {
        self.bounds().0.len()
    }

    /// Logits of all discrete parts together: what a mask has bytes for.
    #[must_use]
    pub fn logits(&self) -> usize {
        self.sizes().iter().sum()
    }

    /// Length of the vector that a policy gives for one observation: a logit for each action of each
    /// discrete part, then the means of the continuous ones, then their raw log-deviations.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.logits() + 2 * self.numbers()
    }

    /// W: 4-byte words of one action as it is stored: discrete parts as i32, then continuous ones as the bits of f32.
    #[must_use]
    pub const fn words(&self) -> usize {
        self.sizes().len() + self.numbers()
    }

    /// Length of the vector that tells a network which action came before: discrete parts one-hot, then continuous ones.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.logits() + self.numbers()
    }

    fn problem(&self) -> Option<&'static str> {
        let (sizes, (low, high)) = (self.sizes(), self.bounds());
        if let Self::Discrete { n: 0 } = self {
            return Some("it has no actions");
        }
        let has_choices = !matches!(self, Self::Continuous { .. });
        if has_choices && (sizes.is_empty() || sizes.contains(&0)) {
            return Some("a choice of it has no actions");
        }
        let has_numbers = matches!(self, Self::Continuous { .. } | Self::Hybrid { .. });
        let bounded = low.len() == high.len() && low.iter().zip(high).all(|(low, high)| low < high);
        (has_numbers && (low.is_empty() || !bounded))
            .then_some("its actions need bounds, the lower ones below the upper ones")
    }
}

/// The actions of one vector step, in the order of the environments.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Actions<'a> {
    /// `[E][W]`, each below the number of its values.
    Discrete(&'a [i32]),
    /// `[E][W]`, each within its bounds.
    Continuous(&'a [f32]),
    /// `[E][W]` words: discrete parts, then the bits of continuous ones within their bounds.
    Hybrid(&'a [i32]),
}

impl<'a> Actions<'a> {
    /// Their words, as they lie in memory.
    #[must_use]
    pub fn as_bytes(self) -> &'a [u8] {
        match self {
            Self::Discrete(words) | Self::Hybrid(words) => bytemuck::cast_slice(words),
            Self::Continuous(numbers) => bytemuck::cast_slice(numbers),
        }
    }
}

/// The action of one environment.
pub trait Action: Sized {
    /// That of environment `env`, out of those that [`EnvSpec::check_actions`] let pass.
    ///
    /// # Panics
    /// If the actions are of another kind than the spec says.
    fn of(actions: Actions<'_>, env: usize) -> Self;
}

impl Action for usize {
    fn of(actions: Actions<'_>, env: usize) -> Self {
        let [choice] = <[Self; 1]>::of(actions, env);
        choice
    }
}

impl<const W: usize> Action for [usize; W] {
    fn of(actions: Actions<'_>, env: usize) -> Self {
        match actions {
            Actions::Discrete(choices) => std::array::from_fn(|word| {
                usize::try_from(choices[env * W + word]).expect("actions were checked")
            }),
            _ => panic!("continuous actions for an environment of discrete ones"),
        }
    }
}

impl<const W: usize> Action for [f32; W] {
    fn of(actions: Actions<'_>, env: usize) -> Self {
        match actions {
            Actions::Continuous(numbers) => std::array::from_fn(|word| numbers[env * W + word]),
            _ => panic!("discrete actions for an environment of continuous ones"),
        }
    }
}

/// Discrete and continuous actions at once.
impl<const C: usize, const D: usize> Action for ([usize; C], [f32; D]) {
    fn of(actions: Actions<'_>, env: usize) -> Self {
        let Actions::Hybrid(words) = actions else {
            panic!("an environment of discrete and continuous actions needs both");
        };
        let (choices, numbers) = words[env * (C + D)..][..C + D].split_at(C);
        (
            std::array::from_fn(|at| usize::try_from(choices[at]).expect("actions were checked")),
            std::array::from_fn(|at| f32::from_bits(numbers[at].cast_unsigned())),
        )
    }
}

/// What an environment looks like from outside.
#[derive(Debug, Clone, PartialEq)]
pub struct EnvSpec {
    /// The name it is registered under, `CartPole-v1`.
    pub id: String,
    /// What it shows.
    pub observation: ObservationSpec,
    /// What can be done.
    pub action: ActionSpec,
    /// Whether each observation says which choices are allowed.
    pub masks: bool,
}

impl EnvSpec {
    /// A spec without masks.
    #[must_use]
    pub fn new(id: &str, observation: ObservationSpec, action: ActionSpec) -> Self {
        Self { id: id.to_owned(), observation, action, masks: false }
    }

    /// Bytes of the mask of one observation, `[logits]` u8; 0 without masks.
    #[must_use]
    pub fn mask_bytes(&self) -> usize {
        if self.masks { self.action.logits() } else { 0 }
    }

    /// Checks the actions of one vector step of `envs` environments. Every [`super::VectorEnv`] does
    /// this before it steps anything.
    ///
    /// # Errors
    /// [`EnvError::BadAction`] for the first choice that is negative or not below the number of its
    /// actions, [`EnvError::ActionOutOfBounds`] for the first number out of its bounds.
    ///
    /// # Panics
    /// If there are not W words for each environment, or they are of the other kind: the caller is wrong.
    pub fn check_actions(&self, actions: Actions<'_>, envs: usize) -> Result<(), EnvError> {
        let words = envs * self.action.words();
        match (&self.action, actions) {
            (ActionSpec::Discrete { n }, Actions::Discrete(choices)) => {
                assert_eq!(choices.len(), words, "actions of {envs} environments");
                self.check_choices(0, choices, &[*n])
            }
            (ActionSpec::MultiDiscrete { sizes }, Actions::Discrete(choices)) => {
                assert_eq!(choices.len(), words, "actions of {envs} environments");
                self.check_choices(0, choices, sizes)
            }
            (ActionSpec::Continuous { low, high }, Actions::Continuous(numbers)) => {
                assert_eq!(numbers.len(), words, "actions of {envs} environments");
                let rows = numbers.chunks_exact(low.len()).enumerate();
                rows.map(|(env, row)| (env, row.iter().copied()))
                    .try_for_each(|(env, row)| self.check_numbers(env, row, low, high))
            }
            (ActionSpec::Hybrid { sizes, low, high }, Actions::Hybrid(both)) => {
                assert_eq!(both.len(), words, "actions of {envs} environments");
                for (env, row) in both.chunks_exact(self.action.words()).enumerate() {
                    let (choices, numbers) = row.split_at(sizes.len());
                    self.check_choices(env, choices, sizes)?;
                    let numbers = numbers.iter().map(|word| f32::from_bits(word.cast_unsigned()));
                    self.check_numbers(env, numbers, low, high)?;
                }
                Ok(())
            }
            _ => panic!("{}: actions of the wrong kind", self.id),
        }
    }

    fn check_numbers(
        &self,
        env: usize,
        mut numbers: impl Iterator<Item = f32> + Clone,
        low: &[f32],
        high: &[f32],
    ) -> Result<(), EnvError> {
        let mut pairs = numbers.clone().zip(low.iter().zip(high));
        let Some(word) = pairs.position(|(x, (low, high))| !(*low <= x && x <= *high)) else {
            return Ok(());
        };
        let number = numbers.nth(word).map_or_else(String::new, |x| x.to_string());
        Err(EnvError::ActionOutOfBounds { id: self.id.clone(), env, word, number })
    }

    fn check_choices(
        &self,
        first_env: usize,
        choices: &[i32],
        sizes: &[usize],
    ) -> Result<(), EnvError> {
        // A negative number is a huge one here. No early exit: the loop is then vectorised.
        let bad = |choice: i32, size: usize| {
            choice.cast_unsigned() >= u32::try_from(size).unwrap_or(u32::MAX)
        };
        let any = match sizes {
            [size] => choices.iter().fold(false, |any, &choice| any | bad(choice, *size)),
            _ => choices.iter().zip(sizes.iter().cycle()).any(|(&choice, &size)| bad(choice, size)),
        };
        if !any {
            return Ok(());
        }
        let mut pairs = choices.iter().zip(sizes.iter().cycle());
        let at = pairs.position(|(&choice, &size)| bad(choice, size)).expect("one of them is bad");
        Err(EnvError::BadAction {
            id: self.id.clone(),
            env: first_env + at / sizes.len(),
            action: choices[at],
            count: sizes[at % sizes.len()],
        })
    }

    /// What makes this spec unusable, if anything.
    pub(super) fn problem(&self) -> Option<&'static str> {
        if self.observation.frame_len() == 0 {
            Some("its observation has no elements")
        } else if self.observation.frame_stack == 0 {
            Some("its frame stack is 0; 1 means none")
        } else if self.masks && self.action.sizes().is_empty() {
            Some("only discrete actions can be masked, not continuous ones")
        } else {
            self.action.problem()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(shape: &[usize], n: usize) -> EnvSpec {
        let observation = ObservationSpec::new(Dtype::F32, shape);
        EnvSpec::new("Test-v0", observation, ActionSpec::Discrete { n })
    }

    #[test]
    fn sizes_follow_from_shape_dtype_and_stack() {
        let mut observation = ObservationSpec::new(Dtype::F32, &[3, 5]);
        observation.frame_stack = 4;
        assert_eq!(observation.frame_len(), 15);
        assert_eq!(observation.frame_bytes(), 60);
        assert_eq!(observation.stacked_len(), 60);
    }

    fn refusal(spec: &EnvSpec, actions: Actions<'_>, envs: usize) -> String {
        spec.check_actions(actions, envs).expect_err("must be refused").to_string()
    }

    #[test]
    fn the_first_bad_action_is_named() {
        let spec = spec(&[4], 3);
        assert_eq!(spec.check_actions(Actions::Discrete(&[0, 1, 2]), 3), Ok(()));
        for bad in [3, -1, i32::MIN, i32::MAX] {
            let expected =
                EnvError::BadAction { id: "Test-v0".into(), env: 1, action: bad, count: 3 };
            assert_eq!(spec.check_actions(Actions::Discrete(&[2, bad, 7]), 3), Err(expected));
        }
    }

    #[test]
    fn each_choice_and_each_number_has_its_own_range() {
        let action = ActionSpec::MultiDiscrete { sizes: vec![2, 5] };
        assert_eq!((action.outputs(), action.words(), action.inputs()), (7, 2, 7));
        let choices = EnvSpec { action, ..spec(&[4], 1) };
        assert_eq!(choices.check_actions(Actions::Discrete(&[1, 4, 0, 3]), 2), Ok(()));
        let named = refusal(&choices, Actions::Discrete(&[1, 4, 2, 0]), 2);
        assert!(named.contains("action 2 for environment 1"), "{named}");

        let action =
            ActionSpec::Continuous { low: vec![-1.0, 0.0], high: vec![1.0, f32::INFINITY] };
        assert_eq!((action.outputs(), action.words(), action.inputs()), (4, 2, 2));
        let numbers = EnvSpec { action, ..spec(&[4], 1) };
        assert_eq!(numbers.check_actions(Actions::Continuous(&[-1.0, 1e9]), 1), Ok(()));
        for bad in [-0.1, f32::NAN] {
            let named = refusal(&numbers, Actions::Continuous(&[0.0, 0.0, 1.0, bad]), 2);
            assert!(named.contains("number 1 of environment 1"), "{named}");
        }
    }

    #[test]
    fn choices_and_numbers_at_once_are_checked_and_read_together() {
        let (low, high) = (vec![-1.0], vec![2.0]);
        let action = ActionSpec::Hybrid { sizes: vec![2, 3], low, high };
        assert_eq!((action.outputs(), action.words(), action.inputs()), (7, 3, 6));
        let mut both = EnvSpec { action, ..spec(&[4], 1) };
        both.masks = true;
        assert_eq!((both.problem(), both.mask_bytes()), (None, 5));
        let bits = |x: f32| x.to_bits().cast_signed();
        let words = [1, 2, bits(0.5), 0, 1, bits(-1.0)];
        assert_eq!(both.check_actions(Actions::Hybrid(&words), 2), Ok(()));
        assert_eq!(<([usize; 2], [f32; 1])>::of(Actions::Hybrid(&words), 1), ([0, 1], [-1.0]));
        let mut bad = words;
        bad[4] = 3;
        let named = refusal(&both, Actions::Hybrid(&bad), 2);
        assert!(named.contains("action 3 for environment 1"), "{named}");
        for number in [2.5, f32::NAN] {
            bad = words;
            bad[5] = bits(number);
            let named = refusal(&both, Actions::Hybrid(&bad), 2);
            assert!(named.contains("number 0 of environment 1"), "{named}");
        }
    }

    #[test]
    fn an_action_is_read_out_of_its_row() {
        assert_eq!(usize::of(Actions::Discrete(&[4, 7]), 1), 7);
        assert_eq!(<[usize; 2]>::of(Actions::Discrete(&[1, 2, 3, 4]), 1), [3, 4]);
        assert_eq!(<[f32; 2]>::of(Actions::Continuous(&[1.0, 2.0, 3.0, 4.0]), 1), [3.0, 4.0]);
    }

    #[test]
    fn unusable_specs_are_found() {
        assert_eq!(spec(&[4], 2).problem(), None);
        assert!(spec(&[4, 0], 2).problem().is_some());
        assert!(spec(&[4], 0).problem().is_some());
        for action in [
            ActionSpec::MultiDiscrete { sizes: vec![] },
            ActionSpec::MultiDiscrete { sizes: vec![2, 0] },
            ActionSpec::Continuous { low: vec![0.0], high: vec![0.0] },
            ActionSpec::Continuous { low: vec![0.0], high: vec![f32::NAN] },
            ActionSpec::Continuous { low: vec![0.0], high: vec![] },
            ActionSpec::Hybrid { sizes: vec![], low: vec![0.0], high: vec![1.0] },
            ActionSpec::Hybrid { sizes: vec![2], low: vec![], high: vec![] },
        ] {
            assert!(EnvSpec { action, ..spec(&[4], 2) }.problem().is_some());
        }
        let mut stackless = spec(&[4], 2);
        stackless.observation.frame_stack = 0;
        assert!(stackless.problem().is_some());
    }
}
