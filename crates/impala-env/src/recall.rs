//! `Recall-v0`: a cue is shown at the first step of an episode and asked for at the last, which only a policy with
//! memory can do.

use super::{
    ActionSpec, BoxError, Element as _, End, EnvError, EnvOptions, EnvSpec, Environment, Lockstep,
    ObservationSpec, Transition, VectorEnv,
};
use crate::rng::Rng;

/// The name it is registered under.
pub const ID: &str = "Recall-v0";

pub(super) const DESCRIPTION: &str = "remember a cue over a delay, needs a recurrent core; observation \
     [cues + 2] f32, `cues` actions; options cues=4, delay=10";

/// One task. The first observation shows one of `cues` cues, drawn evenly; then come `delay`
/// observations that only say *wait*, then one that says *answer*. The action taken there ends the
/// episode, with reward 1 if it is the number of the cue and else 0; actions before it have no effect.
/// The mean return is thus the share of right answers: 1 with memory, and at most 1 / `cues`
/// for a policy that sees only the present observation.
///
/// The observation is `[cues + 2]` f32: the cue as a one-hot, then 1 for *wait*, then 1 for *answer*;
/// the final observation is zero.
#[derive(Debug)]
pub struct Recall {
    cues: usize,
    delay: usize,
    cue: usize,
    /// Steps of this episode.
    steps: usize,
}

impl Recall {
    /// A task with `cues` cues and a wait of `delay` steps.
    #[must_use]
    pub const fn new(cues: usize, delay: usize) -> Self {
        Self { cues, delay, cue: 0, steps: 0 }
    }

    fn draw(&self, observation: &mut [f32]) {
        observation.fill(0.0);
        let lit = match self.steps {
            0 => self.cue,
            steps if steps <= self.delay => self.cues,
            _ => self.cues + 1,
        };
        observation[lit] = 1.0;
    }
}

/// What the registry calls.
pub(super) fn make(
    options: &EnvOptions,
    envs: usize,
    seed: u64,
) -> Result<Box<dyn VectorEnv>, EnvError> {
    let mut read = options.read(ID);
    let cues = read.number("cues", 4, 2..=1_000)?;
    let delay = read.number("delay", 10, 0..=1_000_000)?;
    read.finish()?;
    Ok(Box::new(Lockstep::new(envs, seed, || Recall::new(cues, delay))))
}

impl Environment for Recall {
    type Element = f32;
    type Action = usize;

    fn spec(&self) -> EnvSpec {
        EnvSpec {
            id: ID.into(),
            observation: ObservationSpec::new(f32::DTYPE, &[self.cues + 2]),
            action: ActionSpec::Discrete { n: self.cues },
            masks: false,
        }
    }

    fn reset(&mut self, rng: &mut Rng, observation: &mut [f32]) -> Result<(), BoxError> {
        (self.cue, self.steps) = (rng.below(self.cues), 0);
        self.draw(observation);
        Ok(())
    }

    fn step(
        &mut self,
        action: usize,
        _rng: &mut Rng,
        observation: &mut [f32],
    ) -> Result<Transition, BoxError> {
        let asked = self.steps == self.delay + 1;
        self.steps += 1;
        if !asked {
            self.draw(observation);
            return Ok(Transition::default());
        }
        observation.fill(0.0);
        let reward = if action == self.cue { 1.0 } else { 0.0 };
        Ok(Transition { reward, end: End::Terminated })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CUES: usize = 3;

    /// Plays an episode; gives the observations, as the index that is lit, and the last transition.
    fn play(
        task: &mut Recall,
        rng: &mut Rng,
        answer: impl Fn(usize) -> usize,
    ) -> (Vec<usize>, Transition) {
        let mut observation = [7.0; CUES + 2];
        let lit = |observation: &[f32]| {
            assert_eq!(observation.iter().sum::<f32>(), 1.0, "{observation:?}");
            observation.iter().position(|&x| x == 1.0).expect("one is lit")
        };
        task.reset(rng, &mut observation).expect("does not fail");
        let mut seen = vec![lit(&observation)];
        loop {
            // Actions before the question are wrong on purpose: they must not matter.
            let asked = seen.last() == Some(&(CUES + 1));
            let action = if asked { answer(seen[0]) } else { (seen[0] + 1) % CUES };
            let transition = task.step(action, rng, &mut observation).expect("does not fail");
            if transition.end != End::Running {
                assert_eq!(observation, [0.0; CUES + 2]);
                return (seen, transition);
            }
            assert_eq!(transition.reward, 0.0);
            seen.push(lit(&observation));
        }
    }

    #[test]
    fn the_cue_is_shown_once_and_asked_for_after_the_delay() {
        let mut rng = Rng::new(1, 0);
        for delay in [0, 1, 5] {
            let mut task = Recall::new(CUES, delay);
            let mut cues = [false; CUES];
            for _ in 0..50 {
                let (seen, end) = play(&mut task, &mut rng, |cue| cue);
                assert_eq!((end.reward, end.end), (1.0, End::Terminated));
                assert!(seen[0] < CUES);
                cues[seen[0]] = true;
                assert_eq!(seen[1..=delay], vec![CUES; delay]);
                assert_eq!(seen[delay + 1..], [CUES + 1]);
            }
            assert_eq!(cues, [true; CUES], "every cue is drawn");
        }
    }

    #[test]
    fn other_answers_are_worth_nothing() {
        let mut rng = Rng::new(2, 0);
        let mut task = Recall::new(CUES, 2);
        for shift in 1..CUES {
            let (_, end) = play(&mut task, &mut rng, |cue| (cue + shift) % CUES);
            assert_eq!((end.reward, end.end), (0.0, End::Terminated));
        }
    }

    #[test]
    fn one_answer_for_all_is_right_by_chance() {
        let mut rng = Rng::new(3, 0);
        let mut task = Recall::new(CUES, 1);
        let rounds = 3_000;
        let right: f32 = (0..rounds).map(|_| play(&mut task, &mut rng, |_| 1).1.reward).sum();
        // 1000 expected; the standard deviation is 26.
        assert!((850.0..1_150.0).contains(&right), "{right}");
    }
}
