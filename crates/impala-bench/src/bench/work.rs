//! The least work for a frame, computed from sizes alone: floating-point operations and bytes.

use serde::Serialize;

use super::setup::Setup;
use impala_rl::policy::spec::ParamSpec;
use impala_rl::unroll::Field;

/// Work of one frame, from sizes alone.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct FrameWork {
    /// Floating-point operations of acting.
    pub(crate) act_flops: f64,
    /// Floating-point operations of learning; the bootstrap row is only seen forwards.
    pub(crate) learn_flops: f64,
    /// Bytes of the observation, as the environment writes it.
    pub(crate) observation_bytes: f64,
    /// Bytes that an actor writes into the ring, all fields and boundary rows included.
    pub(crate) ring_bytes: f64,
    /// Times that each observation byte is written into the ring: once by the environment, and those
    /// of the k boundary rows once more.
    pub(crate) observation_writes: f64,
}

impl FrameWork {
    /// Of one frame of `setup`.
    #[must_use]
    pub(crate) fn of(setup: &Setup) -> Self {
        let pool = &setup.config.pool;
        let layout = &pool.layout;
        let frames = pool.frames_per_batch() as f64;
        let (forward, backward) = flops(&setup.parameters);
        let passes = setup.config.learner.passes as f64;
        let (steps, stack) = (pool.unroll as f64, layout.spec().frame_stack as f64);
        let fields = Field::ALL.map(|field| layout.field_range(field).len());
        Self {
            act_flops: forward,
            learn_flops: passes * (forward * (steps + 1.0) / steps + backward),
            observation_bytes: layout.spec().frame_bytes as f64,
            ring_bytes: fields.iter().sum::<usize>() as f64 / frames,
            observation_writes: (steps + stack) / steps,
        }
    }

    /// All floating-point operations.
    #[must_use]
    pub(crate) fn flops(&self) -> f64 {
        self.act_flops + self.learn_flops
    }
}

/// Operations of the products of one observation: forward, and backward (gradients of weights and of
/// inputs; the first layer needs no gradient of its input).
fn flops(parameters: &ParamSpec) -> (f64, f64) {
    let matrices = parameters.entries().iter().filter(|entry| entry.shape.len() > 1);
    let products: Vec<f64> =
        matrices.map(|entry| (entry.numel() * entry.uses) as f64 * 2.0).collect();
    let forward: f64 = products.iter().sum();
    (forward, 2.0 * forward - products.first().unwrap_or(&0.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use impala_rl::env::{ActionSpec, Dtype, ObservationSpec};
    use impala_rl::policy::spec::{Activation, Conv, NetworkSpec, Torso};

    fn count(shape: &[usize], torso: Torso) -> (f64, f64) {
        let observation = ObservationSpec::new(Dtype::F32, shape);
        let network = NetworkSpec::new(observation, ActionSpec::Discrete { n: 2 }, torso);
        let parameters = ParamSpec::new(&network).expect("valid");
        flops(&parameters)
    }

    #[test]
    fn products_are_counted() {
        let mlp = Torso::Mlp { hidden: vec![64, 64], activation: Activation::Tanh };
        let (forward, backward) = count(&[4], mlp);
        assert_eq!(forward, 2.0 * (4.0 * 64.0 + 64.0 * 64.0 + 64.0 * 3.0));
        assert_eq!(backward, 2.0 * forward - 2.0 * 4.0 * 64.0);
        let conv = Conv { filters: 8, kernel: 3, stride: 2 };
        let cnn = Torso::Cnn { convs: vec![conv], hidden: vec![16] };
        // 7x7 -> 3x3: 9 uses of 8 filters of 9 weights.
        let (forward, _) = count(&[7, 7], cnn);
        assert_eq!(forward, 2.0 * (9.0 * 72.0 + 72.0 * 16.0 + 16.0 * 3.0));
    }

    #[test]
    fn bytes_are_those_of_the_layout() {
        let flags = ["--env", "CartPole-v1", "--unroll", "16", "--batch", "32"];
        let setup = Setup::from_flags(&flags.map(Into::into)).expect("valid");
        let work = FrameWork::of(&setup);
        assert_eq!(work.observation_bytes, 16.0);
        assert_eq!(work.observation_writes, 17.0 / 16.0);
        assert!(work.ring_bytes > 16.0 + 12.0 && work.ring_bytes < 60.0, "{work:?}");
    }
}
