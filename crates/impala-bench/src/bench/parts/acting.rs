//! Measures the parts of an actor's work, each in a loop of its own: environment step, inference, sampling, claim and
//! commit, refresh of weights.

use std::hint::black_box;
use std::time::Duration;

use super::stage::{Ends, Stage};
use crate::bench::cpu::{CpuClock, median_ns};
use crate::bench::error::BenchError;
use crate::bench::setup::Setup;
use impala_rl::env::{ResetOut, StepOut, VectorEnv};
use impala_rl::params::Refresh;
use impala_rl::policy::act::{ActInputs, Policy};
use impala_rl::policy::frames::StackedFrames;
use impala_rl::policy::sampler::ActionSampler;
use impala_rl::unroll::{Field, GroupMut};

/// ns per frame.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct ActingNs {
    pub(super) env_step: f64,
    pub(super) inference: f64,
    pub(super) sampling: f64,
    pub(super) claim_commit: f64,
    pub(super) refresh: f64,
}

/// Errors inside timed calls, the first of which counts.
type Failed = Option<BenchError>;

pub(super) fn measure(setup: &Setup, effort: Duration) -> Result<ActingNs, BenchError> {
    let stage = Stage::new(setup)?;
    let mut seats = stage.seats()?;
    let mut ends = stage.ends(&mut seats, setup)?;
    let pool = &setup.config.pool;
    let mut actor = Actor {
        env: setup.env()?,
        policy: setup.policy()?,
        sampler: setup.sampler(),
        setup,
        logits: vec![0.0; pool.envs_per_group() * setup.network.logits()],
        valid: vec![valid(setup); pool.envs_per_group()],
    };
    let frames_per_unroll = (pool.unroll * pool.envs_per_group()) as f64;
    let mut ns = ActingNs::default();
    {
        let mut grant = ends.producer.claim(Duration::ZERO)?;
        let mut group = GroupMut::new(grant.slot_mut());
        let mut masks = vec![1; pool.layout.group_range(Field::Mask, 0, 0).len()];
        actor.env.reset(ResetOut { frames: group.frame_mut(0), masks: &mut masks })?;
        group.row_mut(Field::Mask, 0).copy_from_slice(&masks);
        let mut failed = Failed::None;
        // Once through, so that every part finds what it finds in use.
        note(&mut failed, actor.infer(&mut group));
        actor.sample(&mut group);
        let clock = CpuClock::with_workers();
        ns.env_step = clock.median_ns(effort, || note(&mut failed, actor.step(&mut group)));
        ns.inference = median_ns(effort, || note(&mut failed, actor.infer(&mut group)));
        ns.sampling = median_ns(effort, || actor.sample(&mut group));
        failed.map_or(Ok(()), Err)?;
        grant.commit()?;
    }
    ns.claim_commit = claim_commit(&mut ends, effort)?;
    ns.refresh = refresh(&mut ends, setup, actor.policy.as_mut(), effort)?;
    for part in [&mut ns.env_step, &mut ns.inference, &mut ns.sampling, &mut ns.claim_commit] {
        *part /= frames_per_unroll;
    }
    // Between two unrolls of one actor, its peers fill `actors` slots with it, and the learner has
    // published once an update for every G of them (and `publish_every`).
    let learner = &setup.config.learner;
    let publications = (pool.actors as u64 * learner.updates_per_batch()) as f64
        / (pool.groups_per_block() as f64 * learner.publish_every as f64);
    ns.refresh *= publications.min(1.0) / frames_per_unroll;
    Ok(ns)
}

fn note(failed: &mut Failed, result: Result<(), BenchError>) {
    if let Err(error) = result {
        failed.get_or_insert(error);
    }
}

/// All frames of the stack belong to the episode.
fn valid(setup: &Setup) -> u8 {
    u8::try_from(setup.network.observation.frame_stack).unwrap_or(u8::MAX)
}

struct Actor<'p> {
    env: Box<dyn VectorEnv>,
    policy: Box<dyn Policy>,
    sampler: ActionSampler,
    setup: &'p Setup,
    logits: Vec<f32>,
    valid: Vec<u8>,
}

impl Actor<'_> {
    /// One unroll of environment steps, with the actions that stand in the group.
    fn step(&mut self, group: &mut GroupMut<'_>) -> Result<(), BenchError> {
        for t in 0..self.setup.config.pool.unroll {
            let step = group.step(t);
            let out = StepOut {
                frames: step.next_frame,
                rewards: step.rewards,
                flags: step.next_flags,
                masks: step.next_mask,
            };
            self.env.step(self.sampler.applied(step.actions), out)?;
        }
        Ok(())
    }

    /// One unroll of inference, on the observations that stand in the group.
    fn infer(&mut self, group: &mut GroupMut<'_>) -> Result<(), BenchError> {
        for t in 0..self.setup.config.pool.unroll {
            let step = group.step(t);
            let inputs = ActInputs {
                observations: StackedFrames::of_step(
                    &self.setup.network.observation,
                    &step.rows,
                    &self.valid,
                ),
                flags: step.flags,
                last_actions: step.actions,
                last_rewards: step.rewards,
            };
            self.policy.logits(&inputs, &mut self.logits)?;
            black_box(&self.logits);
        }
        Ok(())
    }

    /// One unroll of sampling.
    fn sample(&mut self, group: &mut GroupMut<'_>) {
        for t in 0..self.setup.config.pool.unroll {
            let step = group.step(t);
            let drawn = self.sampler.sample(
                black_box(&self.logits),
                step.mask,
                step.actions,
                step.log_probs,
            );
            black_box(drawn);
        }
    }
}

/// ns of one claim with its commit.
fn claim_commit(ends: &mut Ends<'_>, effort: Duration) -> Result<f64, BenchError> {
    let slots = ends.producer.ring().shape().slots();
    let (mut failed, mut samples) = (Failed::None, Vec::new());
    let started = std::time::Instant::now();
    while samples.len() < 3 || started.elapsed() < effort {
        let free = ends.producer.ring().occupancy()?.free;
        let call = std::time::Instant::now();
        for _ in 0..free {
            let committed = ends
                .producer
                .claim(Duration::ZERO)
                .map_err(BenchError::from)
                .and_then(|grant| Ok(grant.commit()?));
            note(&mut failed, committed);
        }
        if free == slots {
            samples.push(call.elapsed().as_nanos() as f64 / slots as f64);
        }
        while let Some(block) = ends.consumer.try_take()? {
            drop(block);
        }
    }
    failed.map_or(Ok(()), Err)?;
    Ok(crate::bench::stats::Spread::of(&samples).median)
}

/// ns of one refresh that finds new weights, the policy's loading of them included.
fn refresh(
    ends: &mut Ends<'_>,
    setup: &Setup,
    policy: &mut dyn Policy,
    effort: Duration,
) -> Result<f64, BenchError> {
    let weights = setup.weights();
    let mut buffer = vec![0.0; weights.len()];
    // Always behind: each refresh copies.
    ends.publisher.publish(2, &weights)?;
    Ok(median_ns(effort, || {
        if let Refresh::New(_) = ends.reader.refresh(1, &mut buffer) {
            policy.load(black_box(&buffer));
        }
    }))
}
