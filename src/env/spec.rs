//! What an environment looks like from outside: shapes, element types, actions.

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
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ActionSpec {
    /// One of `n` actions, numbered from 0.
    Discrete {
        /// Number of actions.
        n: usize,
    },
}

impl ActionSpec {
    /// Length of the vector of logits that a policy gives for one observation.
    #[must_use]
    pub const fn logits_len(&self) -> usize {
        match self {
            Self::Discrete { n } => *n,
        }
    }
}

/// What an environment looks like from outside.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EnvSpec {
    /// The name it is registered under, `CartPole-v1`.
    pub id: String,
    /// What it shows.
    pub observation: ObservationSpec,
    /// What can be done.
    pub action: ActionSpec,
}

impl EnvSpec {
    /// Checks the actions of one vector step, one per environment. Every [`super::VectorEnv`] does
    /// this before it steps anything.
    ///
    /// # Errors
    /// [`EnvError::BadAction`] for the first one that is negative or not below the number of actions.
    pub fn check_actions(&self, actions: &[i32]) -> Result<(), EnvError> {
        let count = u32::try_from(self.action.logits_len()).unwrap_or(u32::MAX);
        // A negative number is a huge one here. No early exit: the loop is then vectorised.
        let bad = |action: i32| action.cast_unsigned() >= count;
        if !actions.iter().fold(false, |any, &action| any | bad(action)) {
            return Ok(());
        }
        let env = actions.iter().position(|&action| bad(action));
        let env = env.expect("one of them is bad");
        Err(EnvError::BadAction {
            id: self.id.clone(),
            env,
            action: actions[env],
            count: self.action.logits_len(),
        })
    }

    /// What makes this spec unusable, if anything.
    pub(super) fn problem(&self) -> Option<&'static str> {
        if self.observation.frame_len() == 0 {
            Some("its observation has no elements")
        } else if self.observation.frame_stack == 0 {
            Some("its frame stack is 0; 1 means none")
        } else if self.action.logits_len() == 0 {
            Some("it has no actions")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(shape: &[usize], n: usize) -> EnvSpec {
        EnvSpec {
            id: "Test-v0".into(),
            observation: ObservationSpec::new(Dtype::F32, shape),
            action: ActionSpec::Discrete { n },
        }
    }

    #[test]
    fn sizes_follow_from_shape_dtype_and_stack() {
        let mut observation = ObservationSpec::new(Dtype::F32, &[3, 5]);
        observation.frame_stack = 4;
        assert_eq!(observation.frame_len(), 15);
        assert_eq!(observation.frame_bytes(), 60);
        assert_eq!(observation.stacked_len(), 60);
    }

    #[test]
    fn the_first_bad_action_is_named() {
        let spec = spec(&[4], 3);
        assert_eq!(spec.check_actions(&[0, 1, 2]), Ok(()));
        for bad in [3, -1, i32::MIN, i32::MAX] {
            let expected =
                EnvError::BadAction { id: "Test-v0".into(), env: 1, action: bad, count: 3 };
            assert_eq!(spec.check_actions(&[2, bad, 7]), Err(expected));
        }
    }

    #[test]
    fn unusable_specs_are_found() {
        assert_eq!(spec(&[4], 2).problem(), None);
        assert!(spec(&[4, 0], 2).problem().is_some());
        assert!(spec(&[4], 0).problem().is_some());
        let mut stackless = spec(&[4], 2);
        stackless.observation.frame_stack = 0;
        assert!(stackless.problem().is_some());
    }
}
