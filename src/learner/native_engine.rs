//! The engine in Rust, for MLPs: forward and backward over slices, no tensors.
//!
//! With more than one thread, each takes a share of a block's time steps through the network; the
//! gradients are added up. Threads are started per pass: a share is worth milliseconds, or there is
//! one thread.

use std::thread;

use super::engine::{Engine, EngineError, Lap, Objective, Observations, StageTimes};
use crate::policy::mlp::{FrameStacks, Input, MlpLearner};
use crate::policy::spec::{NetworkSpec, SpecError};

/// A thread is not worth starting for fewer rows than this.
const MIN_ROWS: usize = 1024;

/// An MLP that learns in Rust.
#[derive(Debug)]
pub struct NativeEngine {
    shares: Vec<Share>,
    logits: Vec<f32>,
    values: Vec<f32>,
}

/// One thread's part of the work.
#[derive(Debug)]
struct Share {
    mlp: MlpLearner,
    gradient: Vec<f32>,
}

impl NativeEngine {
    /// Prepares the network's buffers, for up to `threads` threads (at least 1).
    ///
    /// # Errors
    /// [`SpecError`] if `spec` is no MLP.
    pub fn new(spec: &NetworkSpec, threads: usize) -> Result<Self, SpecError> {
        let share = || Ok(Share { mlp: MlpLearner::new(spec)?, gradient: Vec::new() });
        let shares = (0..threads.max(1)).map(|_| share()).collect::<Result<_, _>>()?;
        Ok(Self { shares, logits: Vec::new(), values: Vec::new() })
    }
}

/// Splits `steps` time steps into at most `shares` runs of about the same length, each with at least
/// [`MIN_ROWS`] rows of `columns` if there is more than one.
fn split(steps: usize, columns: usize, shares: usize) -> Vec<std::ops::Range<usize>> {
    let most = (steps * columns / MIN_ROWS).clamp(1, shares.min(steps));
    (0..most).map(|i| i * steps / most..(i + 1) * steps / most).collect()
}

impl Engine for NativeEngine {
    fn gradient(
        &mut self,
        parameters: &[f32],
        observations: &Observations<'_>,
        objective: &mut dyn Objective,
        gradient: &mut [f32],
        times: &mut StageTimes,
    ) -> Result<bool, EngineError> {
        let mut lap = Lap::start();
        let (spec, columns) = (observations.spec, observations.columns);
        let valid = if spec.frame_stack > 1 { observations.valid_frames() } else { Vec::new() };
        let row_bytes = columns * spec.frame_bytes();
        let steps = split(observations.unroll + 1, columns, self.shares.len());
        let inputs: Vec<Input<'_>> = steps
            .iter()
            .map(|steps| {
                // Observation t is seen through frames t .. t + k.
                let frames =
                    steps.start * row_bytes..(steps.end + spec.frame_stack - 1) * row_bytes;
                let rows = steps.start * columns..steps.end * columns;
                Input::from_frames(FrameStacks {
                    spec,
                    columns,
                    frames: &observations.frames[frames],
                    valid: if valid.is_empty() { &[] } else { &valid[rows] },
                })
            })
            .collect();
        times.batching += lap.lap();

        let actions =
            forward(&mut self.shares, parameters, &inputs, &mut self.logits, &mut self.values);
        times.forward += lap.lap();
        let gradients = objective.gradients(&self.logits, &self.values);
        times.loss += lap.lap();
        let Some((d_logits, d_values)) = gradients else { return Ok(false) };

        let parts = steps.iter().map(|steps| {
            let rows = steps.start * columns..steps.end * columns;
            (&d_logits[rows.start * actions..rows.end * actions], &d_values[rows])
        });
        backward(&mut self.shares, &inputs, parts, gradient);
        times.backward += lap.lap();
        Ok(true)
    }

    fn name(&self) -> &'static str {
        "native"
    }
}

/// Runs all shares; gathers their outputs. Gives the number of logits per row.
fn forward(
    shares: &mut [Share],
    parameters: &[f32],
    inputs: &[Input<'_>],
    logits: &mut Vec<f32>,
    values: &mut Vec<f32>,
) -> usize {
    logits.clear();
    values.clear();
    let mut gather = |(z, v): (&[f32], &[f32])| {
        logits.extend_from_slice(z);
        values.extend_from_slice(v);
    };
    match (shares, inputs) {
        ([share, ..], [input]) => gather(share.mlp.forward(parameters, input)),
        (shares, inputs) => thread::scope(|scope| {
            let mut work = shares.iter_mut().zip(inputs);
            let first = work.next();
            let others: Vec<_> = work
                .map(|(share, input)| scope.spawn(move || share.mlp.forward(parameters, input)))
                .collect();
            if let Some((share, input)) = first {
                gather(share.mlp.forward(parameters, input));
            }
            for other in others {
                gather(other.join().expect("a share of the forward pass"));
            }
        }),
    }
    logits.len() / values.len()
}

/// Runs all shares backwards and writes the sum of their gradients.
fn backward<'a>(
    shares: &mut [Share],
    inputs: &[Input<'_>],
    parts: impl Iterator<Item = (&'a [f32], &'a [f32])>,
    gradient: &mut [f32],
) {
    thread::scope(|scope| {
        let mut work = shares.iter_mut().zip(inputs).zip(parts);
        let first = work.next();
        let others: Vec<_> = work
            .map(|((share, input), (d_logits, d_values))| {
                share.gradient.resize(gradient.len(), 0.0);
                scope.spawn(move || {
                    share.mlp.backward(input, d_logits, d_values, &mut share.gradient);
                    &share.gradient
                })
            })
            .collect();
        if let Some(((share, input), (d_logits, d_values))) = first {
            share.mlp.backward(input, d_logits, d_values, gradient);
        }
        for other in others {
            let part = other.join().expect("a share of the backward pass");
            gradient.iter_mut().zip(part).for_each(|(sum, g)| *sum += g);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::env::{Dtype, ObservationSpec};
    use crate::policy::init::initial_parameters;
    use crate::policy::spec::{Activation, ParamSpec, Torso};
    use crate::rng::Rng;

    /// Some gradient of the outputs, different in each row.
    struct Slope(Vec<f32>, Vec<f32>);

    impl Objective for Slope {
        fn gradients(&mut self, logits: &[f32], values: &[f32]) -> Option<(&[f32], &[f32])> {
            self.0 = logits.iter().enumerate().map(|(i, z)| z + (i % 7) as f32).collect();
            self.1 = values.iter().enumerate().map(|(i, v)| v - (i % 5) as f32).collect();
            Some((&self.0, &self.1))
        }
    }

    #[test]
    fn threads_do_not_change_the_gradient() {
        const UNROLL: usize = 30;
        const COLUMNS: usize = 128;
        let observation =
            ObservationSpec { frame_stack: 2, ..ObservationSpec::new(Dtype::U8, &[3]) };
        let torso = Torso::Mlp { hidden: vec![16, 8], activation: Activation::Tanh };
        let spec = NetworkSpec { observation, logits: 2, torso };
        let layout = ParamSpec::new(&spec).expect("valid");
        let parameters = initial_parameters(&layout, 1);
        let mut rng = Rng::new(1, 0);
        let frames: Vec<u8> =
            (0..(UNROLL + 2) * COLUMNS * 3).map(|_| rng.next_u64().to_le_bytes()[0]).collect();
        let flags: Vec<u8> = (0..(UNROLL + 1) * COLUMNS)
            .map(|_| if rng.below(9) == 0 { crate::env::flag::FIRST } else { 0 })
            .collect();
        let observations = Observations {
            spec: &spec.observation,
            unroll: UNROLL,
            columns: COLUMNS,
            frames: &frames,
            history: &[1; COLUMNS],
            flags: &flags,
        };
        let gradient = |threads| {
            let mut engine = NativeEngine::new(&spec, threads).expect("an MLP");
            let mut gradient = vec![f32::NAN; layout.len()];
            let (mut slope, mut times) = (Slope(vec![], vec![]), StageTimes::default());
            let done =
                engine.gradient(&parameters, &observations, &mut slope, &mut gradient, &mut times);
            assert!(done.expect("runs"));
            gradient
        };
        let (alone, shared) = (gradient(1), gradient(3));
        for (a, b) in alone.iter().zip(&shared) {
            assert!((a - b).abs() <= 1e-4 * a.abs().max(1.0), "{a} and {b}");
        }
    }

    #[test]
    fn shares_cover_all_steps_once() {
        for (steps, columns, shares) in [(21, 32, 4), (33, 256, 2), (33, 256, 5), (2, 4096, 8)] {
            let ranges = split(steps, columns, shares);
            assert!(ranges.len() <= shares);
            assert_eq!((ranges[0].start, ranges[ranges.len() - 1].end), (0, steps));
            assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start));
            assert!(ranges.iter().all(|range| !range.is_empty()));
        }
        assert_eq!(split(33, 8, 2).len(), 1, "too small to share");
    }
}
