//! Tests with ranks as threads: together they make the updates that one learner would make with all of their blocks.

use std::sync::{Arc, Barrier, Mutex, PoisonError};
use std::time::Duration;

use super::*;
use crate::env::{ActionSpec, Dtype, EnvSpec, ObservationSpec, flag};
use crate::learner::loss::{LossConfig, Reduction};
use crate::learner::native_engine::NativeEngine;
use crate::learner::optimizer::{Optimizer, OptimizerKind};
use crate::learner::popart::{PopArt, ValueMoments};
use crate::learner::update::{Outcome, Parted, UpdateStats, UpdateTimes, Updater};
use crate::policy::init::initial_parameters;
use crate::policy::spec::{Activation, NetworkSpec, ParamSpec, Torso};
use crate::ring::Owner;
use crate::rng::Rng;
use crate::unroll::{BlockLayout, BlockRef, Field, GroupMut, HeapRing, UnrollSpec};

const STEPS: usize = 7;
const ENVS: usize = 2;

/// Threads that stand for ranks, and what they have in common.
struct Shared {
    barrier: Barrier,
    figures: Mutex<Vec<f64>>,
    gradient: Mutex<Vec<f32>>,
    bytes: Mutex<Vec<u8>>,
}

struct Thread {
    shared: Arc<Shared>,
    rank: usize,
    size: usize,
}

impl Thread {
    /// Runs `body` as so many ranks; gives what each gave.
    fn ranks<T: Send>(size: usize, body: impl Fn(Box<dyn Collective>) -> T + Sync) -> Vec<T> {
        let shared = Arc::new(Shared {
            barrier: Barrier::new(size),
            figures: Mutex::default(),
            gradient: Mutex::default(),
            bytes: Mutex::default(),
        });
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..size)
                .map(|rank| {
                    let (shared, body) = (Arc::clone(&shared), &body);
                    scope.spawn(move || body(Box::new(Thread { shared, rank, size })))
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        })
    }

    /// Rank by rank, so that the order of sums is fixed.
    fn in_turn<T: Copy + std::ops::AddAssign>(&self, sum: &Mutex<Vec<T>>, own: &mut [T]) {
        let lock = || sum.lock().unwrap_or_else(PoisonError::into_inner);
        for rank in 0..self.size {
            if rank == self.rank {
                let mut sum = lock();
                if rank == 0 {
                    *sum = own.to_vec();
                } else {
                    assert_eq!(sum.len(), own.len(), "messages of one length");
                    sum.iter_mut().zip(&*own).for_each(|(sum, own)| *sum += *own);
                }
            }
            self.shared.barrier.wait();
        }
        own.copy_from_slice(&lock());
        self.shared.barrier.wait();
    }
}

impl Collective for Thread {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn sum_figures(&mut self, figures: &mut [f64]) {
        self.in_turn(&self.shared.figures, figures);
    }

    fn sum_gradient(&mut self, gradient: &mut [f32]) {
        self.in_turn(&self.shared.gradient, gradient);
    }

    fn copy_from_first(&mut self, bytes: &mut [u8]) {
        let lock = || self.shared.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        if self.rank == 0 {
            *lock() = bytes.to_vec();
        }
        self.shared.barrier.wait();
        bytes.copy_from_slice(&lock());
        self.shared.barrier.wait();
    }
}

fn env() -> EnvSpec {
    let observation = ObservationSpec::new(Dtype::F32, &[3]);
    EnvSpec::new("Test", observation, ActionSpec::Discrete { n: 3 })
}

/// Calls `look` with a block of these groups of environments. What is in a group follows from its number, some of it without
/// transitions.
fn with_block<T>(groups: std::ops::Range<u64>, look: impl FnOnce(&BlockRef<'_>) -> T) -> T {
    let spec = UnrollSpec {
        unroll: STEPS,
        batch: ENVS * groups.clone().count(),
        envs: ENVS,
        frame_bytes: 12,
        frame_stack: 1,
        ..UnrollSpec::PLAIN
    };
    let layout = BlockLayout::new(spec).expect("valid");
    let mut memory = HeapRing::new(1, layout).expect("small");
    let mut seats = memory.seats().expect("fits");
    let mut actor = seats.producer(Owner::new(0, 1).expect("small")).expect("the first");
    let mut learner = seats.consumer();
    for number in groups {
        let mut rng = Rng::new(5, number);
        let mut grant = actor.claim(Duration::ZERO).expect("free");
        let mut group = GroupMut::new(grant.slot_mut());
        group.header_mut().stream = u32::try_from(number).expect("small");
        group.history_mut().fill(1);
        for t in 0..=STEPS {
            group
                .row_mut::<f32>(Field::Frame, t)
                .iter_mut()
                .for_each(|x| *x = rng.unit_f32() - 0.5);
            group.flags_mut(t).fill(match (t as u64 + number) % 5 {
                0 => flag::TERMINATED,
                1 if t > 0 => flag::FIRST,
                _ => 0,
            });
        }
        for t in 0..STEPS {
            let draw = (rng.unit_f32() * 3.0) as i32;
            group.row_mut::<i32>(Field::Action, t).fill(draw.min(2));
            group.row_mut::<f32>(Field::Reward, t).iter_mut().for_each(|r| *r = rng.unit_f32());
            group.row_mut::<f32>(Field::LogProb, t).fill(0.4_f32.ln());
        }
        grant.commit().expect("not fenced");
    }
    let held = learner.take(Duration::ZERO).expect("complete");
    look(&BlockRef::new(held.block()))
}

fn updater(config: LossConfig, popart: bool) -> Updater {
    let EnvSpec { observation, action, .. } = env();
    let torso = Torso::Mlp { hidden: vec![16, 8], activation: Activation::Tanh };
    let network = NetworkSpec::new(observation, action, torso);
    let parameters = ParamSpec::new(&network).expect("valid");
    let engine = NativeEngine::new(&network, 1).expect("native");
    let adam = OptimizerKind::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-3 };
    let optimizer = Optimizer::new(adam, parameters.len());
    let initial = initial_parameters(&parameters, 1);
    Updater::new(Box::new(engine), config, 0.5, optimizer, initial)
        .with_popart(popart.then(|| PopArt::new(&parameters, ValueMoments::default())))
}

/// Learns from the blocks, together with other ranks if there are any. Gives the weights and the last statistics.
fn learn(
    mut updater: Updater,
    blocks: impl Iterator<Item = std::ops::Range<u64>>,
    parts: u64,
    mut ranks: Option<Ranks>,
) -> (Vec<f32>, UpdateStats, u64) {
    let (env, mut frames, mut last) = (env(), 0, None);
    if ranks.is_some() {
        updater.leave_undivided();
    }
    for groups in blocks {
        with_block(groups, |block| {
            if let Some(ranks) = &mut ranks {
                ranks.begin(updater.parameters(), Duration::ZERO);
                ranks.frames_mut()[0] = 10.0;
            }
            for part in 0..parts {
                let mut times = UpdateTimes::default();
                let outcome = match &mut ranks {
                    Some(ranks) => {
                        let own = updater.own_part(block, None, (part, parts), &env, &mut times);
                        let own = own.expect("computed");
                        updater.together(&own, ranks, &mut times).expect("together")
                    }
                    None => updater
                        .gradient(block, None, (part, parts), &env, &mut times)
                        .expect("computed"),
                };
                let Outcome::Applied(stats) = outcome else { panic!("{outcome:?}") };
                updater.apply(&stats, 1e-2, &mut times);
                updater.follow_targets(&stats);
                last = Some(stats);
            }
            frames += ranks.as_ref().map_or(0, |ranks| whole(ranks.frames()[0]));
        });
    }
    (updater.parameters().to_vec(), last.expect("a block"), frames)
}

/// Two ranks with a block each are one learner with both.
#[test]
fn ranks_together_are_one_learner_with_all_of_their_blocks() {
    let mean = LossConfig { reduction: Reduction::Mean, kl_cost: 0.1, ..LossConfig::PAPER };
    for (config, popart, parts) in [
        (LossConfig::PAPER, false, 1),
        (mean, false, 1),
        (LossConfig { clip_range: 0.2, ..mean }, false, 1),
        (mean, true, 1),
    ] {
        // Ranks have groups 0 to 2 and 3 to 5 of each ten.
        let whole = |block: u64| 10 * block..10 * block + 6;
        let (expected, stats, _) = learn(updater(config, popart), (0..4).map(whole), parts, None);
        let found = Thread::ranks(2, |link| {
            let rank = link.rank() as u64;
            let own = |block: u64| 10 * block + 3 * rank..10 * block + 3 * rank + 3;
            let ranks = Ranks::new(link, 1, 0, 0);
            learn(updater(config, popart), (0..4).map(own), parts, Some(ranks))
        });
        for (weights, of_ranks, frames) in &found {
            assert_eq!(*frames, 80, "those of both");
            for (a, b) in expected.iter().zip(weights) {
                assert!((a - b).abs() <= 1e-6 * a.abs().max(1.0), "{config:?}: {a} {b}");
            }
            assert!((stats.gradient_norm / of_ranks.gradient_norm - 1.0).abs() < 1e-5);
            assert_eq!(stats.loss.transitions, of_ranks.loss.transitions);
            assert_eq!(
                (stats.loss.rho_min, stats.loss.rho_max),
                (of_ranks.loss.rho_min, of_ranks.loss.rho_max)
            );
        }
        assert_eq!(found[0].0, found[1].0, "to the bit");
        let start = updater(config, popart);
        let moved = start.parameters().iter().zip(&expected).map(|(a, b)| (a - b).abs());
        assert!(moved.fold(0.0, f32::max) > 1e-3, "something was learnt");
    }
}

#[test]
fn parts_of_batches_are_learnt_from_in_step() {
    let config = LossConfig { reduction: Reduction::Mean, ..LossConfig::PAPER };
    let found = Thread::ranks(3, |link| {
        let rank = link.rank() as u64;
        let own = |block: u64| 10 * block + 2 * rank..10 * block + 2 * rank + 2;
        learn(updater(config, false), (0..3).map(own), 2, Some(Ranks::new(link, 1, 0, 0)))
    });
    assert!(found.iter().all(|(weights, _, frames)| *weights == found[0].0 && *frames == 90));
}

#[test]
fn one_that_leaves_takes_all_along() {
    let found = Thread::ranks(2, |link| {
        let rank = link.rank();
        let mut ranks = Ranks::new(link, 1, 0, 0);
        if rank == 1 {
            ranks.leave();
            return None;
        }
        let mut updater = updater(LossConfig::PAPER, false);
        with_block(0..1, |block| {
            ranks.begin(updater.parameters(), Duration::ZERO);
            let times = &mut UpdateTimes::default();
            let own = updater.own_part(block, None, (0, 1), &env(), times).expect("computed");
            Some(updater.together(&own, &mut ranks, times))
        })
    });
    assert!(matches!(found[..], [Some(Err(Parted::Leaving)), None]));
}

#[test]
fn other_weights_are_found_and_named() {
    let found = Thread::ranks(3, |link| {
        let rank = link.rank();
        let mut ranks = Ranks::new(link, 1, 0, 0);
        let mut weights = vec![1.0_f32, 2.0, 3.0];
        if rank == 2 {
            weights[1] = 2.000_000_2;
        }
        ranks.begin(&weights, Duration::ZERO);
        ranks.sum(Some(&LossSums::default()), 1.0, &mut [0.0], false)
    });
    assert!(found.iter().all(|found| *found == Together::Drifted { rank: 2 }), "{found:?}");
}

#[test]
fn what_is_not_finite_anywhere_moves_nobody() {
    let found = Thread::ranks(2, |link| {
        let finite = LossSums::default();
        let own = (link.rank() == 0).then_some(&finite);
        let mut ranks = Ranks::new(link, 1, 0, 0);
        ranks.begin(&[], Duration::ZERO);
        ranks.sum(own, 1.0, &mut [0.0], true)
    });
    assert!(found.iter().all(|found| *found == Together::NotFinite), "{found:?}");
}

#[test]
fn a_target_is_that_of_all_ranks() {
    let reached = |means: [Option<f64>; 2], target: f64| {
        let found = Thread::ranks(2, |link| {
            let mean = means[link.rank()];
            let mut ranks = Ranks::new(link, 1, 3, 0);
            ranks.begin(&[], Duration::ZERO);
            ranks.set_window(0, mean);
            ranks.returns_mut().copy_from_slice(&[1.0, 2.0, 3.0]);
            ranks.sum(Some(&LossSums::default()), 1.0, &mut [0.0], false);
            assert_eq!(ranks.returns_mut(), [2.0, 4.0, 6.0]);
            ranks.have_reached(&[target])
        });
        assert_eq!(found[0], found[1]);
        found[0]
    };
    assert!(reached([Some(4.0), Some(6.0)], 5.0));
    assert!(!reached([Some(4.0), Some(6.0)], 5.1));
    assert!(!reached([None, Some(60.0)], 5.0), "a window is not full");
}

#[test]
fn settings_that_differ_are_found() {
    let found = Thread::ranks(3, |mut link| {
        let number = if link.rank() == 1 { 7 } else { u32::MAX };
        (who_differs(link.as_mut(), number), who_differs(link.as_mut(), 3))
    });
    assert!(found.iter().all(|found| *found == (Some(1), None)), "{found:?}");
}
