//! `Pendulum-v1`, as in Gymnasium 1.x: swing a pendulum up and hold it there by a torque that is too
//! weak to lift it at once.

use std::f64::consts::PI;

use super::{
    ActionSpec, BoxError, Element as _, EnvSpec, Environment, ObservationSpec, TimeLimit,
    Transition,
};
use crate::rng::Rng;

/// The name it is registered under.
pub const ID: &str = "Pendulum-v1";

/// Steps after which an episode is cut off; nothing else ends it.
pub const LIMIT_STEPS: u32 = 200;

const MAX_SPEED: f64 = 8.0;
const MAX_TORQUE: f32 = 2.0;
/// Seconds between two states.
const DT_S: f64 = 0.05;
/// 3 g / 2 l, for g = 10 and l = 1.
const GRAVITY: f64 = 15.0;
/// 3 / m l^2, for m = 1.
const PUSH: f32 = 3.0;

/// One pendulum. The action is a torque from -2 to 2; every step costs the square of the angle, and a
/// little for speed and torque.
///
/// The observation is `[cos a, sin a, a']` of the angle against the upright, `[3]` f32; the state is kept
/// in f64, and what comes of the torque alone is rounded to f32, as numpy does.
#[derive(Debug)]
pub struct Pendulum {
    angle: f64,
    speed: f64,
    limit: TimeLimit,
}

impl Default for Pendulum {
    fn default() -> Self {
        Self::from_state([PI, 0.0])
    }
}

impl Pendulum {
    /// A pendulum at the start of an episode, with `[angle, angular velocity]`.
    #[must_use]
    pub const fn from_state([angle, speed]: [f64; 2]) -> Self {
        Self { angle, speed, limit: TimeLimit::new(LIMIT_STEPS) }
    }

    /// `[angle, angular velocity]`; the angle goes on counting from one turn to the next.
    #[must_use]
    pub const fn state(&self) -> [f64; 2] {
        [self.angle, self.speed]
    }

    /// Writes the observation.
    pub fn observe(&self, observation: &mut [f32]) {
        let (sin, cos) = self.angle.sin_cos();
        observation.copy_from_slice(&[cos, sin, self.speed].map(|value| value as f32));
    }
}

impl Environment for Pendulum {
    type Element = f32;
    type Action = [f32; 1];

    fn spec(&self) -> EnvSpec {
        let action = ActionSpec::Continuous { low: vec![-MAX_TORQUE], high: vec![MAX_TORQUE] };
        EnvSpec::new(ID, ObservationSpec::new(f32::DTYPE, &[3]), action)
    }

    fn reset(&mut self, rng: &mut Rng, observation: &mut [f32]) -> Result<(), BoxError> {
        *self = Self::from_state([rng.uniform_f64(-PI, PI), rng.uniform_f64(-1.0, 1.0)]);
        self.observe(observation);
        Ok(())
    }

    fn step(
        &mut self,
        [torque]: [f32; 1],
        _rng: &mut Rng,
        observation: &mut [f32],
    ) -> Result<Transition, BoxError> {
        let torque = torque.clamp(-MAX_TORQUE, MAX_TORQUE);
        let effort = f64::from(0.001 * (torque * torque));
        let from_upright = wrap(self.angle);
        let cost = from_upright * from_upright + 0.1 * (self.speed * self.speed) + effort;
        let acceleration = GRAVITY * self.angle.sin() + f64::from(PUSH * torque);
        self.speed = (self.speed + acceleration * DT_S).clamp(-MAX_SPEED, MAX_SPEED);
        self.angle += self.speed * DT_S;
        self.observe(observation);
        Ok(Transition { reward: -cost as f32, end: self.limit.after_step(false) })
    }
}

/// The same angle from -pi up to, not including, pi.
fn wrap(angle: f64) -> f64 {
    (angle + PI).rem_euclid(2.0 * PI) - PI
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::End;

    #[test]
    fn episodes_begin_anywhere_at_low_speed() {
        let (mut env, mut rng) = (Pendulum::default(), Rng::new(1, 0));
        let (mut low, mut high) = ([f64::MAX; 2], [f64::MIN; 2]);
        for _ in 0..1_000 {
            env.reset(&mut rng, &mut [0.0; 3]).expect("does not fail");
            for (i, x) in env.state().into_iter().enumerate() {
                (low[i], high[i]) = (low[i].min(x), high[i].max(x));
            }
        }
        assert!(
            low[0] >= -PI && low[0] < -3.0 && high[0] > 3.0 && high[0] < PI,
            "{low:?} {high:?}"
        );
        assert!(low[1] >= -1.0 && low[1] < -0.9 && high[1] > 0.9 && high[1] < 1.0);
    }

    #[test]
    fn upright_and_at_rest_costs_nothing_and_hanging_costs_pi_squared() {
        let mut seen = [0.0; 3];
        let mut upright = Pendulum::from_state([0.0; 2]);
        let transition =
            upright.step([0.0], &mut Rng::new(1, 0), &mut seen).expect("does not fail");
        assert_eq!((transition.reward, seen), (0.0, [1.0, 0.0, 0.0]));
        let mut hanging = Pendulum::from_state([PI, 0.0]);
        let transition =
            hanging.step([0.0], &mut Rng::new(1, 0), &mut seen).expect("does not fail");
        assert!((f64::from(transition.reward) + PI * PI).abs() < 1e-5);
        let mut pushed = Pendulum::from_state([0.0; 2]);
        let transition = pushed.step([2.0], &mut Rng::new(1, 0), &mut seen).expect("does not fail");
        assert!((transition.reward + 0.004).abs() < 1e-6 && (seen[2] - 0.3).abs() < 1e-6);
    }

    #[test]
    fn only_time_ends_an_episode() {
        let (mut env, mut rng, mut seen) = (Pendulum::default(), Rng::new(1, 0), [0.0; 3]);
        env.reset(&mut rng, &mut seen).expect("does not fail");
        for step in 1..=LIMIT_STEPS {
            let end = env.step([2.0], &mut rng, &mut seen).expect("does not fail").end;
            let expected = if step == LIMIT_STEPS { End::Truncated } else { End::Running };
            assert_eq!(end, expected);
            assert!(seen[2].abs() <= 8.0);
        }
    }

    #[test]
    fn angles_wrap() {
        for angle in [-20.0, -PI, -3.0, 0.0, 3.0, PI, 7.0, 20.0] {
            let wrapped = wrap(angle);
            assert!((-PI..=PI).contains(&wrapped), "{angle} to {wrapped}");
            assert!((wrapped.sin() - angle.sin()).abs() < 1e-14);
        }
    }
}
