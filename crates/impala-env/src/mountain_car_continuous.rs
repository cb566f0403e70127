//! `MountainCarContinuous-v0`, as in Gymnasium 1.x: the car of `MountainCar-v0` with a continuous throttle; each step
//! costs a tenth of the square of the force.

use super::mountain_car::{GRAVITY, MAX_POSITION, MAX_SPEED, MIN_POSITION};
use super::{
    ActionSpec, BoxError, Element as _, EnvSpec, Environment, ObservationSpec, TimeLimit,
    Transition,
};
use crate::rng::Rng;

/// The name it is registered under.
pub const ID: &str = "MountainCarContinuous-v0";

/// Steps after which an episode is cut off.
pub const LIMIT_STEPS: u32 = 999;

const GOAL_POSITION: f64 = 0.45;
const POWER: f32 = 0.0015;

/// One car. The action is a force from -1 to 1; a step costs a tenth of its square, and arriving gives 100.
///
/// The observation is position and velocity, `[2]` f32. So is the state after the first step, in which
/// the position is still an f64: as in Gymnasium.
#[derive(Debug)]
pub struct MountainCarContinuous {
    position: f64,
    velocity: f64,
    /// Arithmetic of the state: f64 at first, f32 after the first step.
    single: bool,
    limit: TimeLimit,
}

impl Default for MountainCarContinuous {
    fn default() -> Self {
        Self::from_state([0.0; 2])
    }
}

impl MountainCarContinuous {
    /// A car at the start of an episode, with `[position, velocity]`.
    #[must_use]
    pub const fn from_state([position, velocity]: [f64; 2]) -> Self {
        Self { position, velocity, single: false, limit: TimeLimit::new(LIMIT_STEPS) }
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

    /// As precise as the state.
    fn rounded(&self, x: f64) -> f64 {
        if self.single { f64::from(x as f32) } else { x }
    }
}

impl Environment for MountainCarContinuous {
    type Element = f32;
    type Action = [f32; 1];

    fn spec(&self) -> EnvSpec {
        let action = ActionSpec::Continuous { low: vec![-1.0], high: vec![1.0] };
        EnvSpec::new(ID, ObservationSpec::new(f32::DTYPE, &[2]), action)
    }

    fn reset(&mut self, rng: &mut Rng, observation: &mut [f32]) -> Result<(), BoxError> {
        *self = Self::from_state([rng.uniform_f64(-0.6, -0.4), 0.0]);
        self.observe(observation);
        Ok(())
    }

    fn step(
        &mut self,
        [force]: [f32; 1],
        _rng: &mut Rng,
        observation: &mut [f32],
    ) -> Result<Transition, BoxError> {
        let slope = (self.rounded(3.0 * self.position)).cos();
        let push = force.clamp(-1.0, 1.0) * POWER - (GRAVITY * slope) as f32;
        let [max_speed, low, high, goal] =
            [MAX_SPEED, MIN_POSITION, MAX_POSITION, GOAL_POSITION].map(|x| self.rounded(x));
        let velocity = self.rounded(self.velocity + f64::from(push)).clamp(-max_speed, max_speed);
        let position = self.rounded(self.position + velocity).clamp(low, high);
        let at_wall = position == low && velocity < 0.0;
        let velocity = if at_wall { 0.0 } else { velocity };
        let arrived = position >= goal && velocity >= 0.0;
        (self.position, self.velocity) = (f64::from(position as f32), f64::from(velocity as f32));
        self.single = true;
        self.observe(observation);
        let cost = f64::from(force) * f64::from(force) * 0.1;
        let prize = if arrived { 100.0 } else { 0.0 };
        Ok(Transition { reward: (prize - cost) as f32, end: self.limit.after_step(arrived) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::End;

    #[test]
    fn episodes_begin_at_rest_in_the_valley() {
        let (mut car, mut rng) = (MountainCarContinuous::default(), Rng::new(1, 0));
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
        let mut rng = Rng::new(1, 0);
        let mut play = |choose: fn(f32) -> f32| {
            let mut car = MountainCarContinuous::from_state([-0.5, 0.0]);
            let (mut seen, mut sum) = ([0.0; 2], 0.0);
            for step in 1.. {
                let transition =
                    car.step([choose(seen[1])], &mut rng, &mut seen).expect("does not fail");
                sum += transition.reward;
                if transition.end != End::Running {
                    return (step, transition.end, sum);
                }
            }
            unreachable!()
        };
        let (steps, end, sum) = play(|velocity| if velocity < 0.0 { -1.0 } else { 1.0 });
        assert_eq!(end, End::Terminated);
        assert!(steps < 200 && (sum - (100.0 - 0.1 * steps as f32)).abs() < 1e-3, "{steps} {sum}");
        let (steps, end, sum) = play(|_| 0.5);
        assert_eq!((steps, end), (LIMIT_STEPS, End::Truncated));
        assert!((sum + 0.025 * LIMIT_STEPS as f32).abs() < 1e-2, "{sum}");
    }

    #[test]
    fn the_left_wall_stops_the_car() {
        let mut car = MountainCarContinuous::from_state([-1.19, -0.07]);
        let mut seen = [0.0; 2];
        car.step([-1.0], &mut Rng::new(1, 0), &mut seen).expect("does not fail");
        assert_eq!(car.state(), [f64::from(-1.2_f32), 0.0]);
    }
}
