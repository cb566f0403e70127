//! Steps many copies of one [`Environment`] together, as a [`VectorEnv`].

use super::{Action, Actions, EnvError, EnvSpec, Environment, ResetOut, StepOut, VectorEnv, flag};
use crate::rng::Rng;

/// E copies of an [`Environment`], stepped one after the other, each with random numbers of its own.
///
/// Observations are written where the caller wants them; a step allocates nothing.
#[derive(Debug)]
pub struct Lockstep<T> {
    spec: EnvSpec,
    members: Vec<Member<T>>,
}

#[derive(Debug)]
struct Member<T> {
    env: T,
    rng: Rng,
    /// The episode has ended, or none has begun: the next step resets.
    over: bool,
}

impl<T: Environment> Lockstep<T> {
    /// `envs` environments out of `make`. Copy `i` draws from stream `i` of `seed`, so it does the same
    /// whatever the number of the others.
    ///
    /// # Panics
    /// If `envs` is 0.
    #[must_use]
    pub fn new(envs: usize, seed: u64, mut make: impl FnMut() -> T) -> Self {
        let members: Vec<_> = (0_u64..)
            .take(envs)
            .map(|stream| Member { env: make(), rng: Rng::new(seed, stream), over: true })
            .collect();
        let spec = members.first().expect("at least one environment").env.spec();
        Self { spec, members }
    }

    /// The same under the name it is registered with.
    #[must_use]
    pub fn with_id(mut self, id: &str) -> Self {
        id.clone_into(&mut self.spec.id);
        self
    }

    fn rows<'a>(&self, frames: &'a mut [u8]) -> std::slice::ChunksExactMut<'a, T::Element> {
        assert_eq!(
            frames.len(),
            self.members.len() * self.spec.observation.frame_bytes(),
            "one frame for each environment"
        );
        // Panics where the caller broke the promise of alignment.
        bytemuck::cast_slice_mut(frames).chunks_exact_mut(self.spec.observation.frame_len())
    }

    fn write_masks(&self, masks: &mut [u8]) {
        let mask_bytes = self.spec.mask_bytes();
        assert_eq!(masks.len(), self.members.len() * mask_bytes, "one mask for each environment");
        if mask_bytes > 0 {
            for (member, mask) in self.members.iter().zip(masks.chunks_exact_mut(mask_bytes)) {
                member.env.allowed(mask);
            }
        }
    }
}

impl<T: Environment> VectorEnv for Lockstep<T> {
    fn spec(&self) -> &EnvSpec {
        &self.spec
    }

    fn envs(&self) -> usize {
        self.members.len()
    }

    fn reset(&mut self, out: ResetOut<'_>) -> Result<(), EnvError> {
        let rows = self.rows(out.frames);
        for (member, row) in self.members.iter_mut().zip(rows) {
            member
                .env
                .reset(&mut member.rng, row)
                .map_err(|e| EnvError::failed(&self.spec.id, e))?;
            member.over = false;
        }
        self.write_masks(out.masks);
        Ok(())
    }

    fn step(&mut self, actions: Actions<'_>, out: StepOut<'_>) -> Result<(), EnvError> {
        let envs = self.members.len();
        assert_eq!(out.rewards.len(), envs, "one reward for each environment");
        assert_eq!(out.flags.len(), envs, "one flag for each environment");
        self.spec.check_actions(actions, envs)?;
        let rows = self.rows(out.frames);
        for (env, (((member, row), reward), flags)) in
            self.members.iter_mut().zip(rows).zip(out.rewards).zip(out.flags).enumerate()
        {
            if member.over {
                member
                    .env
                    .reset(&mut member.rng, row)
                    .map_err(|e| EnvError::failed(&self.spec.id, e))?;
                member.over = false;
                *reward = 0.0;
                *flags = flag::FIRST;
            } else {
                let action = T::Action::of(actions, env);
                let transition = member.env.step(action, &mut member.rng, row);
                let transition = transition.map_err(|e| EnvError::failed(&self.spec.id, e))?;
                *reward = transition.reward;
                *flags = transition.end.flag();
                member.over = *flags & flag::DONE != 0;
            }
        }
        self.write_masks(out.masks);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ActionSpec, BoxError, Element as _, End, ObservationSpec, Transition};

    /// Counts its steps; action 1 ends the task, the third step ends the time.
    #[derive(Default)]
    struct Counter {
        episode: u8,
        step: u8,
    }

    impl Environment for Counter {
        type Element = u8;
        type Action = usize;

        fn spec(&self) -> EnvSpec {
            let observation = ObservationSpec::new(u8::DTYPE, &[3]);
            EnvSpec {
                masks: true,
                ..EnvSpec::new("Counter", observation, ActionSpec::Discrete { n: 2 })
            }
        }

        fn reset(&mut self, rng: &mut Rng, observation: &mut [u8]) -> Result<(), BoxError> {
            self.episode += 1;
            self.step = 0;
            observation.copy_from_slice(&[self.episode, 0, rng.next_u64().to_le_bytes()[0]]);
            Ok(())
        }

        fn step(
            &mut self,
            action: usize,
            _rng: &mut Rng,
            observation: &mut [u8],
        ) -> Result<Transition, BoxError> {
            self.step += 1;
            observation.copy_from_slice(&[self.episode, self.step, 0]);
            let end = match (action, self.step) {
                (1, _) => End::Terminated,
                (_, 3) => End::Truncated,
                _ => End::Running,
            };
            Ok(Transition { reward: f32::from(self.step), end })
        }

        fn allowed(&self, mask: &mut [u8]) {
            mask.copy_from_slice(&[1, self.step % 2]);
        }
    }

    fn reset(env: &mut Lockstep<Counter>, frames: &mut [u8]) {
        let masks = &mut vec![9; 2 * env.envs()];
        env.reset(ResetOut { frames, masks }).expect("resets");
        assert_eq!(*masks, [1, 0].repeat(env.envs()));
    }

    /// Episode, step, reward and flags of both environments.
    type Seen = [(u8, u8, f32, u8); 2];

    fn step(env: &mut Lockstep<Counter>, actions: [i32; 2]) -> Seen {
        let (mut frames, mut rewards, mut flags, mut masks) = ([9; 6], [9.0; 2], [9; 2], [9; 4]);
        let out = StepOut {
            frames: &mut frames,
            rewards: &mut rewards,
            flags: &mut flags,
            masks: &mut masks,
        };
        env.step(Actions::Discrete(&actions), out).expect("valid actions");
        assert_eq!(masks, [1, frames[1] % 2, 1, frames[4] % 2]);
        [0, 1].map(|i| (frames[3 * i], frames[3 * i + 1], rewards[i], flags[i]))
    }

    #[test]
    fn the_step_after_an_end_resets_and_ignores_its_action() {
        let mut env = Lockstep::new(2, 1, Counter::default);
        reset(&mut env, &mut [0; 6]);
        assert_eq!(step(&mut env, [0, 0]), [(1, 1, 1.0, 0), (1, 1, 1.0, 0)]);
        let ended = flag::TERMINATED;
        assert_eq!(step(&mut env, [1, 0]), [(1, 2, 2.0, ended), (1, 2, 2.0, 0)]);
        // Action 1 would end the episode at once, were it not ignored in the first environment.
        let cut = flag::TRUNCATED;
        assert_eq!(step(&mut env, [1, 0]), [(2, 0, 0.0, flag::FIRST), (1, 3, 3.0, cut)]);
        assert_eq!(step(&mut env, [0, 1]), [(2, 1, 1.0, 0), (2, 0, 0.0, flag::FIRST)]);
    }

    #[test]
    fn a_step_without_a_reset_before_is_one() {
        let mut env = Lockstep::new(2, 1, Counter::default);
        let first = (1, 0, 0.0, flag::FIRST);
        assert_eq!(step(&mut env, [1, 1]), [first, first]);
        assert_eq!(step(&mut env, [0, 0]), [(1, 1, 1.0, 0), (1, 1, 1.0, 0)]);
    }

    #[test]
    fn copies_draw_their_own_numbers_whatever_their_count() {
        let draw = |envs: usize, seed| {
            let mut frames = vec![0; 3 * envs];
            let mut env = Lockstep::new(envs, seed, Counter::default);
            let mut drawn = Vec::new();
            for _ in 0..4 {
                reset(&mut env, &mut frames);
                drawn.push((frames[2], frames[3 * (envs - 1) + 2]));
            }
            drawn
        };
        let firsts = |drawn: Vec<(u8, u8)>| drawn.iter().map(|pair| pair.0).collect::<Vec<_>>();
        assert_eq!(draw(5, 3), draw(5, 3));
        assert_eq!(firsts(draw(1, 3)), firsts(draw(5, 3)));
        assert_ne!(firsts(draw(5, 4)), firsts(draw(5, 3)));
        assert!(draw(5, 3).iter().any(|(first, last)| first != last));
    }

    #[test]
    fn a_bad_action_steps_nothing() {
        let mut env = Lockstep::new(2, 1, Counter::default);
        reset(&mut env, &mut [0; 6]);
        let out = StepOut {
            frames: &mut [0; 6],
            rewards: &mut [0.0; 2],
            flags: &mut [0; 2],
            masks: &mut [0; 4],
        };
        let error = env.step(Actions::Discrete(&[0, 2]), out).expect_err("there is no action 2");
        assert!(matches!(error, EnvError::BadAction { env: 1, action: 2, .. }), "{error}");
        assert_eq!(step(&mut env, [0, 0]), [(1, 1, 1.0, 0), (1, 1, 1.0, 0)]);
    }

    /// Fails in its second step, with an error of its own.
    #[derive(Default)]
    struct Leaky {
        steps: u32,
    }

    #[derive(Debug, thiserror::Error)]
    #[error("the tank is empty after {0} steps")]
    struct Empty(u32);

    impl Environment for Leaky {
        type Element = f32;
        type Action = usize;

        fn spec(&self) -> EnvSpec {
            let observation = ObservationSpec::new(f32::DTYPE, &[1]);
            EnvSpec::new("Leaky-v0", observation, ActionSpec::Discrete { n: 2 })
        }

        fn reset(&mut self, _rng: &mut Rng, observation: &mut [f32]) -> Result<(), BoxError> {
            (self.steps, observation[0]) = (0, 0.0);
            Ok(())
        }

        fn step(
            &mut self,
            _action: usize,
            _rng: &mut Rng,
            observation: &mut [f32],
        ) -> Result<Transition, BoxError> {
            self.steps += 1;
            observation[0] = 1.0;
            if self.steps == 2 { Err(Empty(self.steps).into()) } else { Ok(Transition::default()) }
        }
    }

    #[test]
    fn a_failure_keeps_its_source_and_a_reset_goes_on() {
        let mut env = Lockstep::new(1, 1, Leaky::default);
        let mut frames = [0_u32; 1];
        let mut step = |env: &mut Lockstep<Leaky>| {
            let (rewards, flags) = (&mut [0.0], &mut [0]);
            let frames = bytemuck::cast_slice_mut(&mut frames);
            env.step(Actions::Discrete(&[0]), StepOut { frames, rewards, flags, masks: &mut [] })
        };
        for _episode in 0..2 {
            let mut first = [0_u32; 1];
            let frames = bytemuck::cast_slice_mut(&mut first);
            env.reset(ResetOut { frames, masks: &mut [] }).expect("starts");
            step(&mut env).expect("the first step");
            let error = step(&mut env).expect_err("empty");
            assert_eq!(
                error.to_string(),
                "environment Leaky-v0 failed: the tank is empty after 2 steps"
            );
            let EnvError::Failed { source, .. } = error else { panic!("{error}") };
            assert_eq!(source.downcast_ref::<Empty>().expect("kept").0, 2);
        }
    }
}
