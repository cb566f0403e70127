//! `MountainCar-v0`, as in Gymnasium 1.x: an underpowered car must rock itself out of a valley.

use super::{
    ActionSpec, BoxError, Element as _, EnvSpec, Environment, ObservationSpec, TimeLimit,
    Transition,
};
use crate::rng::Rng;

/// The name it is registered under.
pub const ID: &str = "MountainCar-v0";

/// Steps after which an episode is cut off.
pub const LIMIT_STEPS: u32 = 200;

/// The valley, which the car with a throttle drives in as well.
pub(super) const MIN_POSITION: f64 = -1.2;
pub(super) const MAX_POSITION: f64 = 0.6;
pub(super) const MAX_SPEED: f64 = 0.07;
pub(super) const GRAVITY: f64 = 0.0025;
const GOAL_POSITION: f64 = 0.5;
const GOAL_VELOCITY: f64 = 0.0;
const FORCE: f64 = 0.001;

/// One car. Actions push it to the left (0), not at all (1), to the right (2); every step costs 1.
///
/// The observation is position and velocity, `[2]` f32; the state is kept in f64.
#[derive(Debug)]
pub struct MountainCar {
    position: f64,
    velocity: f64,
    limit: TimeLimit,
}

impl Default for MountainCar {
    fn default() -> Self {
        Self::from_state([0.0; 2])
    }
}

impl MountainCar {
    /// A car at the start of an episode, with `[position, velocity]`.
    #[must_use]
    pub const fn from_state([position, velocity]: [f64; 2]) -> Self {
        Self { position, velocity, limit: TimeLimit::new(LIMIT_STEPS) }
    }

    /// `[position, velocity]`.
    #[must_use]
    pub const fn state(&self) -> [f64; 2] {
        [self.position, self.velocity]
    }

    /// Writes the observation.
    pub fn observe(&self, observation: &mut [f32]) {
        observation.copy_from_slice(&[self.position as f32, self.velocity as f32]);
    }
}

impl Environment for MountainCar {
    type Element = f32;
    type Action = usize;

    fn spec(&self) -> EnvSpec {
        EnvSpec::new(ID, ObservationSpec::new(f32::DTYPE, &[2]), ActionSpec::Discrete { n: 3 })
    }

    fn reset(&mut self, rng: &mut Rng, observation: &mut [f32]) -> Result<(), BoxError> {
        *self = Self::from_state([rng.uniform_f64(-0.6, -0.4), 0.0]);
        self.observe(observation);
        Ok(())
    }

    fn step(
        &mut self,
        action: usize,
        _rng: &mut Rng,
        observation: &mut [f32],
    ) -> Result<Transition, BoxError> {
        let push = (action as f64 - 1.0) * FORCE;
        self.velocity += push + (3.0 * self.position).cos() * -GRAVITY;
        self.velocity = self.velocity.clamp(-MAX_SPEED, MAX_SPEED);
        self.position = (self.position + self.velocity).clamp(MIN_POSITION, MAX_POSITION);
        if self.position == MIN_POSITION && self.velocity < 0.0 {
            self.velocity = 0.0;
        }
        self.observe(observation);
        let arrived = self.position >= GOAL_POSITION && self.velocity >= GOAL_VELOCITY;
        Ok(Transition { reward: -1.0, end: self.limit.after_step(arrived) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::End;

    #[test]
    fn episodes_begin_at_rest_in_the_valley() {
        let (mut car, mut rng) = (MountainCar::default(), Rng::new(1, 0));
        let (mut low, mut high) = (f64::MAX, f64::MIN);
        for _ in 0..1_000 {
            car.reset(&mut rng, &mut [0.0; 2]).expect("does not fail");
            let [position, velocity] = car.state();
            assert!((-0.6..-0.4).contains(&position) && velocity == 0.0);
            (low, high) = (low.min(position), high.max(position));
        }
        assert!(low < -0.59 && high > -0.41, "{low} to {high}");
    }

    #[test]
    fn pushing_with_the_motion_arrives_and_pushing_right_does_not() {
        let (mut rng, mut seen) = (Rng::new(1, 0), [0.0; 2]);
        let mut play = |choose: fn(f32) -> usize| {
            let mut car = MountainCar::from_state([-0.5, 0.0]);
            seen = [0.0; 2];
            for step in 1.. {
                let transition =
                    car.step(choose(seen[1]), &mut rng, &mut seen).expect("does not fail");
                assert_eq!(transition.reward, -1.0);
                if transition.end != End::Running {
                    return (step, transition.end);
                }
            }
            unreachable!()
        };
        let (steps, end) = play(|velocity| if velocity < 0.0 { 0 } else { 2 });
        assert_eq!(end, End::Terminated);
        assert!(steps < LIMIT_STEPS);
        assert_eq!(play(|_| 2), (LIMIT_STEPS, End::Truncated));
    }

    #[test]
    fn the_left_wall_stops_the_car() {
        let mut car = MountainCar::from_state([-1.19, -0.07]);
        let mut seen = [0.0; 2];
        car.step(0, &mut Rng::new(1, 0), &mut seen).expect("does not fail");
        assert_eq!(car.state(), [MIN_POSITION, 0.0]);
        assert_eq!(seen, [-1.2, 0.0]);
    }
}
