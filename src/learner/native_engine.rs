//! The native engine of the learner: forward and backward passes over slices, without tensors.
//!
//! A block is worked through strip by strip: some columns over all time steps go through network, loss and
//! back before the next do, so that the activations of an MLP stay in the second-level cache. Threads take
//! strips from one queue until it is empty; each has a gradient of its own, and these are added up. A block
//! is shared only if it is large enough.
//!
//! What a thread adds up then depends on who was faster, and on how many there are: the last digits of the gradient do.
//! In a fixed order (`Order::Fixed`) strips are dealt to *shares*, whose number and width follow from the block alone.
//! Threads take whole shares, each share has a gradient of its own, and these are added up by their number.

use std::ops::Range;

use super::engine::{
    Engine, EngineError, Evaluator, Objective, Observations, StageTimes, Stopwatch,
};
use super::strip_inputs::{StripInputs, state};
use super::strips::{StripThreads, Strips};
use crate::policy::frames::{FrameRows, StackedFrames};
use crate::policy::inputs::LearnInputs;
use crate::policy::native::NativeLearner;
use crate::policy::spec::{Core, NetworkSpec, ParamSpec, SpecError, Torso};

/// A strip has about as many rows, and a whole number of vectors of columns.
const STRIP_ROWS: usize = 320;
const STRIP_COLUMNS: usize = 8;
/// Numbers that a strip of a residual network computes on its way forwards, about: 16 MiB, unless one column has more.
const STRIP_ACTIVATIONS: usize = 4 << 20;
/// A thread is not worth waking for fewer rows of an MLP than this, or fewer multiply-adds of
/// convolutions or of a core: about as many.
const MIN_ROWS: usize = 1024;
const MIN_WORK: usize = 5_000_000;

/// Columns of a core that share the cost of reading its weights.
const CORE_COLUMNS: usize = 16;

/// Most shares of a block in a fixed order: what more threads than this could do would be lost in the sums.
const FIXED_SHARES: usize = 8;

/// In which order gradients are added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Order {
    /// As threads come by them: the fastest.
    #[default]
    AsTheyCome,
    /// The same for every number of threads, whoever is faster: results are equal to the bit.
    Fixed,
}

/// A network that learns in Rust.
#[derive(Debug)]
pub struct NativeEngine {
    spec: NetworkSpec,
    sharing: Sharing,
    order: Order,
    /// Most columns of a strip.
    most_columns: usize,
    threads: StripThreads<StripWorker>,
}

/// What one thread works with.
#[derive(Debug)]
struct StripWorker {
    network: NativeLearner,
    seen: StripInputs,
    /// Its part, to be added to that of the first.
    gradient: Vec<f32>,
    /// Those of the shares that it did, in a fixed order: number and gradient.
    done: Vec<(usize, Vec<f32>)>,
    /// Buffers to use again.
    spare: Vec<Vec<f32>>,
    times: StageTimes,
    usable: bool,
}

impl NativeEngine {
    /// Prepares the network's buffers, for up to `threads` threads (at least 1).
    ///
    /// # Errors
    /// [`SpecError`] if `spec` is not a valid network, or not one that this engine computes.
    pub fn new(spec: &NetworkSpec, threads: usize) -> Result<Self, SpecError> {
        let share = || {
            let network = NativeLearner::new(spec)?;
            Ok(StripWorker {
                network,
                seen: StripInputs::default(),
                gradient: Vec::new(),
                done: Vec::new(),
                spare: Vec::new(),
                times: StageTimes::default(),
                usable: false,
            })
        };
        let threads = StripThreads::new(threads, || (), share)?;
        let sharing = Sharing::of(spec)?;
        let (spec, order) = (spec.clone(), Order::AsTheyCome);
        Ok(Self { spec, sharing, order, most_columns: usize::MAX, threads })
    }

    /// The same with gradients added up in `order`.
    #[must_use]
    pub(crate) fn in_order(self, order: Order) -> Self {
        Self { order, ..self }
    }

    /// The same with strips of at most so many columns, if a number is given.
    #[must_use]
    pub(crate) fn at_most(self, columns: Option<usize>) -> Self {
        Self { most_columns: columns.unwrap_or(usize::MAX).max(1), ..self }
    }

    /// How many of `threads` threads work on a block of `rows` rows ((T + 1) * B).
    ///
    /// # Errors
    /// As [`NativeEngine::new`].
    pub fn threads_for(
        spec: &NetworkSpec,
        rows: usize,
        threads: usize,
    ) -> Result<usize, SpecError> {
        Sharing::of(spec).map(|sharing| sharing.threads(rows, threads))
    }
}

impl Engine for NativeEngine {
    fn gradient(
        &mut self,
        parameters: &[f32],
        observations: &Observations<'_>,
        objective: &dyn Objective,
        gradient: &mut [f32],
        times: &mut StageTimes,
    ) -> Result<bool, EngineError> {
        let mut watch = Stopwatch::start();
        let part = objective.part().unwrap_or(0..observations.columns);
        let rows = (observations.unroll + 1) * part.len();
        let threads = self.sharing.threads(rows, self.threads.count());
        let shares = match self.order {
            Order::AsTheyCome => threads,
            Order::Fixed => self.sharing.threads(rows, FIXED_SHARES),
        };
        let order = self.order;
        let width = self.sharing.width((observations.unroll, part.len()), shares);
        let width = width.min(self.most_columns);
        let strips = |columns: &Range<usize>| match order {
            Order::AsTheyCome => Strips::new(columns, width),
            Order::Fixed => Strips::dealt(columns, width, shares),
        };
        let mut work = Work {
            learn: true,
            network: &self.spec,
            parameters,
            observations,
            valid: if observations.spec.frame_stack > 1 {
                observations.valid_frames()
            } else {
                Vec::new()
            },
            objective,
            strips: strips(&(0..observations.columns)),
        };
        times.batching += watch.restart();
        let several = work.strips.several() || part.len() < observations.columns;
        if objective.looks_first() && several {
            work.learn = false;
            self.threads.run(threads, |share| share.run(&work));
            let looked = self.threads.workers()[0].times;
            times.forward += looked.sum();
            work.learn = true;
        }
        work.strips = strips(&part);
        self.threads.run(threads, |share| share.run(&work));
        watch.restart();
        let shares = &mut self.threads.workers()[..threads];
        let usable = shares.iter().all(|share| share.usable);
        if usable && self.order == Order::Fixed {
            add_up(shares, gradient);
        } else if usable {
            shares[0].network.write_gradient(gradient);
            for share in &mut shares[1..] {
                share.gradient.resize(gradient.len(), 0.0);
                share.network.write_gradient(&mut share.gradient);
                gradient.iter_mut().zip(&share.gradient).for_each(|(sum, part)| *sum += part);
            }
        }
        let spent = shares[0].times;
        times.batching += spent.batching;
        times.forward += spent.forward;
        times.loss += spent.loss;
        times.backward += spent.backward + watch.restart();
        Ok(usable)
    }

    fn name(&self) -> &'static str {
        "native"
    }
}

/// Adds up the gradients of all shares by their number.
fn add_up(workers: &[StripWorker], gradient: &mut [f32]) {
    let mut parts: Vec<_> = workers.iter().flat_map(|worker| &worker.done).collect();
    parts.sort_unstable_by_key(|(share, _)| *share);
    gradient.fill(0.0);
    for (_, part) in parts {
        gradient.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
    }
}

/// One block, and what is left to do of it.
struct Work<'a> {
    /// Or only look at the outputs.
    learn: bool,
    network: &'a NetworkSpec,
    parameters: &'a [f32],
    observations: &'a Observations<'a>,
    valid: Vec<u8>,
    objective: &'a dyn Objective,
    strips: Strips,
}

impl Work<'_> {
    fn inputs<'a>(&'a self, strip: Range<usize>, seen: &'a StripInputs) -> LearnInputs<'a> {
        let Observations { spec, columns, frames, .. } = *self.observations;
        let rows = FrameRows::Contiguous(frames);
        LearnInputs {
            flags: &seen.flags,
            extra: &seen.extra,
            state: state(self.network, self.observations, &strip),
            observations: StackedFrames { spec, rows, columns, strip, valid: &self.valid },
        }
    }
}

/// How a network's blocks are cut.
#[derive(Debug, Clone, Copy)]
enum Sharing {
    /// Into strips that fit the cache.
    Mlp,
    /// Into strips of one size, a whole number for each thread: they are few, and each takes long.
    Even {
        /// A thread is not worth waking for fewer rows.
        min_rows: usize,
        /// Rows of a strip, about.
        rows: usize,
        /// Fewest columns of a strip, if there are as many: each step of a core reads all its weights, whose cost its columns share.
        min_columns: usize,
    },
}

impl Sharing {
    fn of(spec: &NetworkSpec) -> Result<Self, SpecError> {
        let parameters = ParamSpec::new(spec)?;
        let (rows, min_columns) = match (&spec.torso, spec.core) {
            (Torso::Mlp { .. }, Core::None) => return Ok(Self::Mlp),
            (Torso::ImpalaDeep { .. }, _) => (STRIP_ACTIVATIONS / parameters.activations(), 1),
            (_, Core::Lstm { .. }) => (STRIP_ROWS, CORE_COLUMNS),
            (Torso::Cnn { .. }, Core::None) => (STRIP_ROWS, 1),
        };
        let min_rows = (MIN_WORK / parameters.multiply_adds()).clamp(1, MIN_ROWS);
        Ok(Self::Even { min_rows, rows, min_columns })
    }

    /// How many of `threads` threads are worth waking.
    fn threads(self, rows: usize, threads: usize) -> usize {
        let min_rows = match self {
            Self::Mlp => MIN_ROWS,
            Self::Even { min_rows, .. } => min_rows,
        };
        (rows / min_rows).clamp(1, threads.max(1))
    }

    /// Columns of a strip.
    fn width(self, (unroll, columns): (usize, usize), threads: usize) -> usize {
        match self {
            Self::Mlp => (STRIP_ROWS / (unroll + 1) / STRIP_COLUMNS).max(1) * STRIP_COLUMNS,
            Self::Even { rows, min_columns, .. } => {
                let wanted = (rows / (unroll + 1)).max(min_columns);
                let rounds = columns.div_ceil(threads * wanted);
                columns.div_ceil(threads * rounds)
            }
        }
    }
}

impl StripWorker {
    /// Does strips until there are none, or the loss of one is not finite.
    fn run(&mut self, work: &Work<'_>) {
        self.times = StageTimes::default();
        self.usable = if work.strips.are_dealt() {
            self.run_shares(work)
        } else {
            self.run_strips(work, std::iter::from_fn(|| work.strips.next()))
        };
    }

    /// Does whole shares, and leaves a gradient of each.
    fn run_shares(&mut self, work: &Work<'_>) -> bool {
        self.spare.extend(self.done.drain(..).map(|(_, part)| part));
        while let Some(share) = work.strips.next_share() {
            if !self.run_strips(work, work.strips.of_share(share)) {
                return false;
            }
            if work.learn {
                let mut part = self.spare.pop().unwrap_or_default();
                part.resize(work.parameters.len(), 0.0);
                self.network.write_gradient(&mut part);
                self.done.push((share, part));
            }
        }
        true
    }

    /// Adds the gradients of some strips up, from nothing. False if the loss of one is not finite.
    fn run_strips(&mut self, work: &Work<'_>, strips: impl Iterator<Item = Range<usize>>) -> bool {
        let mut watch = Stopwatch::start();
        self.network.load(work.parameters);
        let mut evaluator: Box<dyn Evaluator> = work.objective.evaluator();
        for strip in strips {
            self.seen.gather(work.network, work.observations, &strip);
            let inputs = work.inputs(strip.clone(), &self.seen);
            self.times.batching += watch.restart();
            let (logits, values) = self.network.forward(&inputs);
            self.times.forward += watch.restart();
            if !work.learn {
                evaluator.look(strip, logits, values);
                self.times.loss += watch.restart();
                continue;
            }
            let gradients = evaluator.gradients(strip, logits, values);
            self.times.loss += watch.restart();
            let Some((d_logits, d_values)) = gradients else { return false };
            self.network.backward(&inputs, d_logits, d_values);
            self.times.backward += watch.restart();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    use crate::env::{ActionSpec, Dtype, ObservationSpec};
    use crate::policy::init::initial_parameters;
    use crate::policy::spec::{Activation, Conv, ParamSpec};
    use crate::rng::Rng;

    /// A block without frames, of a network that sees nothing else.
    const fn block(spec: &ObservationSpec, unroll: usize, columns: usize) -> Observations<'_> {
        Observations {
            spec,
            unroll,
            columns,
            frames: &[],
            history: &[],
            flags: &[],
            actions: &[],
            rewards: &[],
            first_actions: &[],
            first_rewards: &[],
            recurrent_state: &[],
        }
    }

    fn numbers(count: usize) -> Vec<f32> {
        let mut rng = Rng::new(1, 0);
        (0..count).map(|_| rng.normal_f64() as f32).collect()
    }

    /// Some gradient of the outputs, different in each row and column.
    struct Slope;

    impl Objective for Slope {
        fn evaluator(&self) -> Box<dyn Evaluator + '_> {
            Box::new(SlopeOf::default())
        }
    }

    #[derive(Default)]
    struct SlopeOf {
        d_logits: Vec<f32>,
        d_values: Vec<f32>,
    }

    impl Evaluator for SlopeOf {
        fn gradients(
            &mut self,
            strip: Range<usize>,
            logits: &[f32],
            values: &[f32],
        ) -> Option<(&[f32], &[f32])> {
            let (steps, width) = (values.len() / strip.len() - 1, strip.len());
            let column = |row: usize| strip.start + row % width;
            let slope = |row: usize, x: &f32| x + ((row / width + column(row)) % 7) as f32;
            let rows = logits.chunks_exact(2).take(steps * width).enumerate();
            self.d_logits =
                rows.flat_map(|(row, z)| [slope(row, &z[0]), slope(row, &z[1]) / 2.0]).collect();
            let rows = values.iter().take(steps * width).enumerate();
            self.d_values = rows.map(|(row, v)| slope(row, v) - 3.0).collect();
            Some((&self.d_logits, &self.d_values))
        }
    }

    #[test]
    fn threads_do_not_change_the_gradient() {
        let mlp = Torso::Mlp { hidden: vec![16, 8], activation: Activation::Tanh };
        threads_agree(&[3], mlp.clone(), Core::None);
        threads_agree(&[3], mlp, Core::Lstm { hidden: 96 });
        let convs = vec![Conv { filters: 5, kernel: 2, stride: 1 }];
        let cnn = Torso::Cnn { convs, hidden: vec![8] };
        threads_agree(&[4, 3], cnn.clone(), Core::None);
        threads_agree(&[4, 3], cnn, Core::Lstm { hidden: 96 });
    }

    fn threads_agree(shape: &[usize], torso: Torso, core: Core) {
        const UNROLL: usize = 30;
        const COLUMNS: usize = 128;
        let observation =
            ObservationSpec { frame_stack: 2, ..ObservationSpec::new(Dtype::U8, shape) };
        let numbers = (UNROLL + 2) * COLUMNS * observation.frame_len();
        let spec = NetworkSpec::new(observation, ActionSpec::Discrete { n: 2 }, torso);
        let action_reward_inputs = core != Core::None;
        let spec = NetworkSpec { core, action_reward_inputs, ..spec };
        let layout = ParamSpec::new(&spec).expect("valid");
        let parameters = initial_parameters(&layout, 1);
        let mut rng = Rng::new(1, 0);
        let states = self::numbers(COLUMNS * spec.state_len());
        let rewards = self::numbers((UNROLL + 1) * COLUMNS);
        let actions: Vec<i32> =
            (0..(UNROLL + 1) * COLUMNS).map(|_| i32::from(rng.below(2) == 1)).collect();
        let frames: Vec<u8> = (0..numbers).map(|_| rng.next_u64().to_le_bytes()[0]).collect();
        let flags: Vec<u8> = (0..(UNROLL + 1) * COLUMNS)
            .map(|_| if rng.below(9) == 0 { crate::env::flag::FIRST } else { 0 })
            .collect();
        let observations = Observations {
            frames: &frames,
            history: &[1; COLUMNS],
            flags: &flags,
            actions: &actions[COLUMNS..],
            rewards: &rewards[COLUMNS..],
            first_actions: &actions[..COLUMNS],
            first_rewards: &rewards[..COLUMNS],
            recurrent_state: &states,
            ..block(&spec.observation, UNROLL, COLUMNS)
        };
        let gradient_of = |threads, order, most_columns| {
            let engine = NativeEngine::new(&spec, threads).expect("native");
            let mut engine = engine.in_order(order).at_most(most_columns);
            let mut gradient = vec![f32::NAN; layout.len()];
            let mut times = StageTimes::default();
            // Twice: nothing may be left of the first time.
            for _ in 0..2 {
                let done =
                    engine.gradient(&parameters, &observations, &Slope, &mut gradient, &mut times);
                assert!(done.expect("runs"));
            }
            gradient
        };
        let gradient = |threads, order| gradient_of(threads, order, None);
        let (alone, shared) = (gradient(1, Order::AsTheyCome), gradient(3, Order::AsTheyCome));
        let agree = |a: &[f32], b: &[f32]| {
            for (a, b) in a.iter().zip(b) {
                assert!((a - b).abs() <= 1e-4 * a.abs().max(1.0), "{a} and {b}");
            }
        };
        agree(&alone, &shared);
        for most in [1, 3, 1000] {
            agree(&alone, &gradient_of(2, Order::AsTheyCome, Some(most)));
        }
        let fixed = [1, 2, 3, 8].map(|threads| gradient(threads, Order::Fixed));
        agree(&alone, &fixed[0]);
        assert!(fixed.iter().all(|gradient| *gradient == fixed[0]), "equal to the bit");
    }

    /// The same of some columns.
    struct SlopeOfPart(Range<usize>);

    impl Objective for SlopeOfPart {
        fn evaluator(&self) -> Box<dyn Evaluator + '_> {
            Box::new(SlopeOf::default())
        }

        fn part(&self) -> Option<Range<usize>> {
            Some(self.0.clone())
        }
    }

    #[test]
    fn gradients_of_the_parts_of_a_block_add_up_to_that_of_the_block() {
        const UNROLL: usize = 30;
        const COLUMNS: usize = 100;
        let observation = ObservationSpec::new(Dtype::F32, &[3]);
        let torso = Torso::Mlp { hidden: vec![16, 8], activation: Activation::Tanh };
        let spec = NetworkSpec::new(observation, ActionSpec::Discrete { n: 2 }, torso);
        let layout = ParamSpec::new(&spec).expect("valid");
        let parameters = initial_parameters(&layout, 1);
        let numbers = numbers((UNROLL + 1) * COLUMNS * 3);
        let observations = Observations {
            frames: bytemuck::cast_slice(&numbers),
            flags: &[0; (UNROLL + 1) * COLUMNS],
            ..block(&spec.observation, UNROLL, COLUMNS)
        };
        for order in [Order::AsTheyCome, Order::Fixed] {
            let mut engine = NativeEngine::new(&spec, 3).expect("native").in_order(order);
            let mut gradient = |objective: &dyn Objective| {
                let (mut gradient, mut times) =
                    (vec![f32::NAN; layout.len()], StageTimes::default());
                let done = engine.gradient(
                    &parameters,
                    &observations,
                    objective,
                    &mut gradient,
                    &mut times,
                );
                assert!(done.expect("runs"));
                gradient
            };
            let whole = gradient(&Slope);
            let parts = [0..7, 7..63, 63..100].map(|part| gradient(&SlopeOfPart(part)));
            for (at, whole) in whole.iter().enumerate() {
                let sum: f32 = parts.iter().map(|part| part[at]).sum();
                assert!((sum - whole).abs() <= 1e-4 * whole.abs().max(1.0), "{sum} and {whole}");
            }
        }
    }

    /// A gradient that depends on the outputs of the whole block.
    #[derive(Default)]
    struct Centred {
        seen: Mutex<(usize, f64)>,
    }

    struct CentredOf<'a> {
        objective: &'a Centred,
        d_logits: Vec<f32>,
        d_values: Vec<f32>,
    }

    impl Objective for Centred {
        fn evaluator(&self) -> Box<dyn Evaluator + '_> {
            Box::new(CentredOf { objective: self, d_logits: Vec::new(), d_values: Vec::new() })
        }

        fn looks_first(&self) -> bool {
            true
        }
    }

    impl Evaluator for CentredOf<'_> {
        fn look(&mut self, _strip: Range<usize>, _logits: &[f32], values: &[f32]) {
            let mut seen = self.objective.seen.lock().expect("no panic");
            seen.0 += values.len();
            seen.1 += values.iter().map(|&v| f64::from(v)).sum::<f64>();
        }

        fn gradients(
            &mut self,
            strip: Range<usize>,
            logits: &[f32],
            values: &[f32],
        ) -> Option<(&[f32], &[f32])> {
            let (count, sum) = *self.objective.seen.lock().expect("no panic");
            let mean = (sum / count as f64) as f32;
            let rows = values.len() - strip.len();
            self.d_logits = vec![0.0; rows * (logits.len() / values.len())];
            self.d_values = values[..rows].iter().map(|v| v - mean).collect();
            Some((&self.d_logits, &self.d_values))
        }
    }

    #[test]
    fn all_strips_are_looked_at_before_the_first_gradient() {
        const UNROLL: usize = 30;
        const COLUMNS: usize = 128;
        let observation = ObservationSpec::new(Dtype::F32, &[3]);
        let torso = Torso::Mlp { hidden: vec![16], activation: Activation::Tanh };
        let spec = NetworkSpec::new(observation, ActionSpec::Discrete { n: 2 }, torso);
        let layout = ParamSpec::new(&spec).expect("valid");
        let parameters = initial_parameters(&layout, 1);
        let numbers = numbers((UNROLL + 1) * COLUMNS * 3);
        let observations = Observations {
            frames: bytemuck::cast_slice(&numbers),
            flags: &[0; (UNROLL + 1) * COLUMNS],
            ..block(&spec.observation, UNROLL, COLUMNS)
        };
        let gradient = |threads, order| {
            let engine = NativeEngine::new(&spec, threads).expect("native");
            let mut engine = engine.in_order(order);
            let (mut gradient, mut times) = (vec![f32::NAN; layout.len()], StageTimes::default());
            let objective = Centred::default();
            let done =
                engine.gradient(&parameters, &observations, &objective, &mut gradient, &mut times);
            assert!(done.expect("runs"));
            let seen = objective.seen.into_inner().expect("no panic").0;
            assert_eq!(seen, (UNROLL + 1) * COLUMNS, "each output once");
            gradient
        };
        let alone = gradient(1, Order::AsTheyCome);
        let (shared, fixed) = (gradient(3, Order::AsTheyCome), gradient(3, Order::Fixed));
        for (a, b) in alone.iter().zip(&shared).chain(alone.iter().zip(&fixed)) {
            assert!((a - b).abs() <= 1e-3 * a.abs().max(1.0), "{a} and {b}");
        }
    }

    #[test]
    fn strips_cover_all_columns_once() {
        let cnn = Sharing::Even { min_rows: 1, rows: STRIP_ROWS, min_columns: 1 };
        let core = Sharing::Even { min_rows: 1, rows: STRIP_ROWS, min_columns: CORE_COLUMNS };
        let deep = Sharing::Even { min_rows: 1, rows: 10, min_columns: 1 };
        for (sharing, threads, unroll, columns, width) in [
            (Sharing::Mlp, 2, 32, 256, 8),
            (Sharing::Mlp, 1, 20, 32, 8),
            (Sharing::Mlp, 3, 4, 100, 64),
            (Sharing::Mlp, 1, 400, 3, 8),
            (cnn, 2, 20, 64, 11),
            (cnn, 1, 20, 64, 13),
            (cnn, 2, 20, 8, 4),
            (cnn, 3, 400, 2, 1),
            (core, 1, 32, 32, 16),
            (core, 2, 32, 16, 8),
            (deep, 2, 20, 8, 1),
        ] {
            let strips = Strips::new(&(0..columns), sharing.width((unroll, columns), threads));
            let ranges: Vec<_> = std::iter::from_fn(|| strips.next()).collect();
            assert_eq!(ranges[0], 0..width.min(columns));
            assert_eq!(ranges.iter().map(Range::len).sum::<usize>(), columns);
            assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start));
            let dealt = Strips::dealt(&(0..columns), width, 3);
            let shares = std::iter::from_fn(|| dealt.next_share());
            let mut ranges: Vec<_> = shares.flat_map(|share| dealt.of_share(share)).collect();
            ranges.sort_unstable_by_key(|range| range.start);
            assert_eq!(ranges.iter().map(Range::len).sum::<usize>(), columns);
            assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start));
        }
    }
}
