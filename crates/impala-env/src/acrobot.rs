//! `Acrobot-v1`, as in Gymnasium 1.x (with its "book" dynamics, those of Sutton and Barto): swing the lower end of a
//! two-link pendulum above the bar by a torque on the joint between the links.

use std::f64::consts::{FRAC_PI_2, PI};
use std::hint::black_box;

use super::{
    ActionSpec, BoxError, Element as _, EnvSpec, Environment, ObservationSpec, TimeLimit,
    Transition,
};
use crate::rng::Rng;

/// The name it is registered under.
pub const ID: &str = "Acrobot-v1";

/// Steps after which an episode is cut off.
pub const LIMIT_STEPS: u32 = 500;

/// Integration step, one of Runge-Kutta's fourth order, in seconds.
const DT_S: f64 = 0.2;

// Names as in Gymnasium and in Sutton & Barto's book: mass, length, distance of the centre of mass
// and moment of inertia of the links.
const M1: f64 = 1.0;
const M2: f64 = 1.0;
const L1: f64 = 1.0;
const LC1: f64 = 0.5;
const LC2: f64 = 0.5;
const I1: f64 = 1.0;
const I2: f64 = 1.0;
const G: f64 = 9.8;

const MAX_VELOCITY_1: f64 = 4.0 * PI;
const MAX_VELOCITY_2: f64 = 9.0 * PI;

/// Angle of the first link (0 hangs down), angle of the second against the first, their velocities.
type State = [f64; 4];

/// One pendulum. Actions give a torque of -1 (0), 0 (1) or 1 (2); every step costs 1 but the one that
/// reaches the height.
///
/// The observation is `[cos a, sin a, cos b, sin b, a', b']` of the two angles, `[6]` f32; the state is
/// kept in f64.
#[derive(Debug)]
pub struct Acrobot {
    state: State,
    limit: TimeLimit,
}

impl Default for Acrobot {
    fn default() -> Self {
        Self::from_state([0.0; 4])
    }
}

impl Acrobot {
    /// A pendulum at the start of an episode, with two angles and their velocities.
    #[must_use]
    pub const fn from_state(state: [f64; 4]) -> Self {
        Self { state, limit: TimeLimit::new(LIMIT_STEPS) }
    }

    /// Two angles and their velocities.
    #[must_use]
    pub const fn state(&self) -> [f64; 4] {
        self.state
    }

    /// Writes the observation.
    pub fn observe(&self, observation: &mut [f32]) {
        let [a, b, a_dot, b_dot] = self.state;
        let values = [a.cos(), a.sin(), b.cos(), b.sin(), a_dot, b_dot];
        observation.copy_from_slice(&values.map(|value| value as f32));
    }
}

impl Environment for Acrobot {
    type Element = f32;
    type Action = usize;

    fn spec(&self) -> EnvSpec {
        EnvSpec::new(ID, ObservationSpec::new(f32::DTYPE, &[6]), ActionSpec::Discrete { n: 3 })
    }

    fn reset(&mut self, rng: &mut Rng, observation: &mut [f32]) -> Result<(), BoxError> {
        // Gymnasium rounds the initial state, and nothing later, to f32.
        let state = std::array::from_fn(|_| f64::from(rng.uniform_f64(-0.1, 0.1) as f32));
        *self = Self::from_state(state);
        self.observe(observation);
        Ok(())
    }

    fn step(
        &mut self,
        action: usize,
        _rng: &mut Rng,
        observation: &mut [f32],
    ) -> Result<Transition, BoxError> {
        let [a, b, a_dot, b_dot] = runge_kutta(self.state, action as f64 - 1.0);
        self.state = [
            wrap(a),
            wrap(b),
            a_dot.clamp(-MAX_VELOCITY_1, MAX_VELOCITY_1),
            b_dot.clamp(-MAX_VELOCITY_2, MAX_VELOCITY_2),
        ];
        self.observe(observation);
        let [a, b, ..] = self.state;
        let reached = -a.cos() - (b + a).cos() > 1.0;
        Ok(Transition {
            reward: if reached { 0.0 } else { -1.0 },
            end: self.limit.after_step(reached),
        })
    }
}

fn runge_kutta(y: State, torque: f64) -> State {
    let moved = |by: f64, k: State| std::array::from_fn(|i| y[i] + by * k[i]);
    let k1 = derivative(y, torque);
    let k2 = derivative(moved(DT_S / 2.0, k1), torque);
    let k3 = derivative(moved(DT_S / 2.0, k2), torque);
    let k4 = derivative(moved(DT_S, k3), torque);
    std::array::from_fn(|i| y[i] + DT_S / 6.0 * (k1[i] + 2.0 * k2[i] + 2.0 * k3[i] + k4[i]))
}

/// Sutton & Barto's equations, term by term in Gymnasium's order: the motion is chaotic, so that
/// another order of rounding would be visible after some hundred steps.
fn derivative([theta1, theta2, dtheta1, dtheta2]: State, torque: f64) -> State {
    let (sin2, cos2) = theta2.sin_cos();
    let d1 = M1 * (LC1 * LC1) + M2 * (L1 * L1 + LC2 * LC2 + 2.0 * L1 * LC2 * cos2) + I1 + I2;
    let d2 = M2 * (LC2 * LC2 + L1 * LC2 * cos2) + I2;
    let phi2 = M2 * LC2 * G * (theta1 + theta2 - FRAC_PI_2).cos();
    let phi1 = -M2 * L1 * LC2 * square(dtheta2) * sin2
        - 2.0 * M2 * L1 * LC2 * dtheta2 * dtheta1 * sin2
        + (M1 * LC1 + M2 * L1) * G * (theta1 - FRAC_PI_2).cos()
        + phi2;
    let ddtheta2 = (torque + d2 / d1 * phi1 - M2 * L1 * LC2 * square(dtheta1) * sin2 - phi2)
        / (M2 * (LC2 * LC2) + I2 - square(d2) / d1);
    let ddtheta1 = -(d2 * ddtheta2 + phi1) / d1;
    [dtheta1, dtheta2, ddtheta1, ddtheta2]
}

/// `x^2` as Gymnasium has it: by the C library's `pow`, which now and then rounds otherwise than
/// `x * x`. The compiler would put one in place of the other.
fn square(x: f64) -> f64 {
    x.powf(black_box(2.0))
}

/// The same angle within -pi and pi.
fn wrap(mut angle: f64) -> f64 {
    while angle > PI {
        angle -= 2.0 * PI;
    }
    while angle < -PI {
        angle += 2.0 * PI;
    }
    angle
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::End;

    #[test]
    fn episodes_begin_near_rest() {
        let (mut env, mut rng) = (Acrobot::default(), Rng::new(1, 0));
        let (mut low, mut high) = ([f64::MAX; 4], [f64::MIN; 4]);
        for _ in 0..1_000 {
            env.reset(&mut rng, &mut [0.0; 6]).expect("does not fail");
            for (i, x) in env.state().into_iter().enumerate() {
                (low[i], high[i]) = (low[i].min(x), high[i].max(x));
                assert_eq!(x, f64::from(x as f32), "rounded to f32");
            }
        }
        assert!(low.iter().all(|x| (-0.1 - 1e-7..-0.099).contains(x)), "{low:?}");
        assert!(high.iter().all(|x| (0.099..0.1 + 1e-7).contains(x)), "{high:?}");
    }

    #[test]
    fn reaching_the_height_ends_the_episode_without_cost() {
        let mut seen = [0.0; 6];
        let mut rng = Rng::new(1, 0);
        let mut above = Acrobot::from_state([PI, 0.0, 0.0, 0.0]);
        let transition = above.step(1, &mut rng, &mut seen).expect("does not fail");
        assert_eq!((transition.reward, transition.end), (0.0, End::Terminated));
        let mut below = Acrobot::from_state([0.0; 4]);
        for step in 1..=LIMIT_STEPS {
            let transition = below.step(1, &mut rng, &mut seen).expect("does not fail");
            let cut = step == LIMIT_STEPS;
            let end = if cut { End::Truncated } else { End::Running };
            assert_eq!((transition.reward, transition.end), (-1.0, end));
        }
    }

    #[test]
    fn angles_wrap_and_velocities_are_bounded() {
        for angle in [-7.0, -PI, -3.0, 0.0, 3.0, PI, 7.0, 20.0] {
            let wrapped = wrap(angle);
            assert!((-PI..=PI).contains(&wrapped), "{angle} to {wrapped}");
            assert!((wrapped.sin() - angle.sin()).abs() < 1e-14);
        }
        let mut fast = Acrobot::from_state([0.0, 0.0, 12.0, 28.0]);
        let mut seen = [0.0; 6];
        for _ in 0..20 {
            fast.step(2, &mut Rng::new(1, 0), &mut seen).expect("does not fail");
            assert!(seen[4].abs() <= MAX_VELOCITY_1 as f32);
            assert!(seen[5].abs() <= MAX_VELOCITY_2 as f32);
        }
    }
}
