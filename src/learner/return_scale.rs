//! Running standard deviation of discounted returns, by which rewards are divided.
//!
//! A value loss and a policy gradient have the size of the returns, and steps, clips and costs are chosen for a size of
//! about 1. So rewards are divided by the standard deviation of `R_t = gamma R_{t-1} + r_t`, which runs through each
//! environment's episodes (as `VecNormalize` of OpenAI Baselines does, and without moving their mean: that would change
//! what is worth doing). All that was ever seen counts alike, so the scale settles.

use std::collections::HashMap;

use bincode::{Decode, Encode};

use crate::env::flag;
use crate::unroll::{BlockRef, Field};

/// Returns are at least this large: an environment without rewards has no scale.
const LEAST_DEVIATION: f64 = 1e-4;

/// Number, mean and sum of squared differences of all returns seen so far.
#[derive(Debug, Clone, Copy, PartialEq, Default, Encode, Decode)]
pub struct Moments {
    /// How many.
    pub(crate) count: f64,
    /// Their mean.
    pub(crate) mean: f64,
    /// Sum of squared differences from the mean.
    pub(crate) squares: f64,
}

impl Moments {
    /// Welford's update.
    fn push(&mut self, x: f64) {
        self.count += 1.0;
        let difference = x - self.mean;
        self.mean += difference / self.count;
        self.squares += difference * (x - self.mean);
    }

    /// Adds `count` returns with these sums of differences from the present mean, and of their squares (Chan et al. 1983).
    fn fold(&mut self, count: f64, sum: f64, sum_of_squares: f64) {
        if count == 0.0 {
            return;
        }
        let (shift, total) = (sum / count, self.count + count);
        self.squares +=
            sum_of_squares - count * shift * shift + shift * shift * self.count * count / total;
        self.mean += shift * count / total;
        self.count = total;
    }
}

/// Numbers that describe the returns of one task in a block.
const DESCRIBED_BY: usize = 3;

/// Where the episodes of one stream stood at the end of its last unroll.
#[derive(Debug)]
struct Carried {
    incarnation: u32,
    next_sequence: u64,
    returns: Vec<f64>,
}

/// The scale of returns, from all that was learnt from.
#[derive(Debug)]
pub struct ReturnScale {
    discount: f64,
    /// Of each task.
    moments: Vec<Moments>,
    streams: HashMap<u32, Carried>,
}

impl ReturnScale {
    /// Goes on from the `moments` of each task.
    #[must_use]
    pub(crate) fn new(discount: f64, moments: Vec<Moments>) -> Self {
        Self { discount, moments, streams: HashMap::new() }
    }

    /// All that it has seen, of each task.
    #[must_use]
    pub(crate) fn moments(&self) -> &[Moments] {
        &self.moments
    }

    /// What the rewards of a task are to be multiplied by; 1 until something was seen.
    ///
    /// # Panics
    /// If there is no such task.
    #[must_use]
    pub(crate) fn factor(&self, task: usize) -> f64 {
        let Moments { count, squares, .. } = self.moments[task];
        if count < 2.0 {
            return 1.0;
        }
        1.0 / (squares / count).sqrt().max(LEAST_DEVIATION)
    }

    /// Adds the returns of a block. An unroll that does not follow the last one of its stream starts from 0.
    ///
    /// # Panics
    /// If it is of a task that does not exist.
    pub(crate) fn observe(&mut self, block: &BlockRef<'_>) {
        let mut moments = std::mem::take(&mut self.moments);
        self.walk(block, |task, running| moments[task].push(running));
        self.moments = moments;
    }

    /// Length of what describes the returns of a block.
    #[must_use]
    pub(crate) const fn sums_len(&self) -> usize {
        DESCRIBED_BY * self.moments.len()
    }

    /// Describes the returns of a block in `sums`: of each task how many, the sum of their differences from the present mean,
    /// and of their squares. Descriptions of several blocks add up.
    ///
    /// # Panics
    /// If it is of a task that does not exist.
    pub(super) fn measure(&mut self, block: &BlockRef<'_>, sums: &mut [f64]) {
        let means: Vec<f64> = self.moments.iter().map(|moments| moments.mean).collect();
        self.walk(block, |task, running| {
            let difference = running - means[task];
            let described = [1.0, difference, difference * difference];
            let sums = &mut sums[DESCRIBED_BY * task..];
            sums.iter_mut().zip(described).for_each(|(sum, part)| *sum += part);
        });
    }

    /// Adds what [`ReturnScale::measure`] described.
    pub(super) fn fold(&mut self, sums: &[f64]) {
        for (moments, sums) in self.moments.iter_mut().zip(sums.chunks_exact(DESCRIBED_BY)) {
            moments.fold(sums[0], sums[1], sums[2]);
        }
    }

    /// Follows the returns of a block, and gives each to `see` with its task.
    fn walk(&mut self, block: &BlockRef<'_>, mut see: impl FnMut(usize, f64)) {
        let spec = block.layout().spec();
        let (envs, columns) = (spec.envs, spec.batch);
        let rewards: &[f32] = block.field(Field::Reward);
        let flags: &[u8] = block.field(Field::Flags);
        for (group, header) in block.headers().iter().enumerate() {
            let carried = self.streams.entry(header.stream).or_insert_with(|| Carried {
                incarnation: header.incarnation,
                next_sequence: header.sequence,
                returns: vec![0.0; envs],
            });
            if (carried.incarnation, carried.next_sequence) != (header.incarnation, header.sequence)
            {
                carried.returns.fill(0.0);
            }
            (carried.incarnation, carried.next_sequence) =
                (header.incarnation, header.sequence.wrapping_add(1));
            let task = header.task as usize;
            let at = |t: usize, env: usize| t * columns + group * envs + env;
            for t in 0..spec.unroll {
                for (env, running) in carried.returns.iter_mut().enumerate() {
                    let after = flags[at(t + 1, env)];
                    if after & flag::FIRST != 0 {
                        // The step of a reset: no transition, no reward.
                        continue;
                    }
                    *running = self.discount * *running + f64::from(rewards[at(t, env)]);
                    see(task, *running);
                    if after & flag::DONE != 0 {
                        *running = 0.0;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ring::Owner;
    use crate::unroll::{BlockLayout, GroupMut, HeapRing, UnrollSpec};

    /// Blocks of one actor with one environment: what each step gives, and the flags after it.
    fn scale_after(discount: f64, unrolls: &[(u64, &[(f32, u8); 3])]) -> ReturnScale {
        let spec = UnrollSpec {
            unroll: 3,
            batch: 1,
            envs: 1,
            frame_bytes: 4,
            frame_stack: 1,
            ..UnrollSpec::PLAIN
        };
        let layout = BlockLayout::new(spec).expect("valid");
        let mut memory = HeapRing::new(2, layout).expect("small");
        let mut seats = memory.seats().expect("fits");
        let mut actor = seats.producer(Owner::new(0, 1).expect("small")).expect("the first");
        let mut learner = seats.consumer();
        let mut scale = ReturnScale::new(discount, vec![Moments::default()]);
        for (sequence, steps) in unrolls {
            let mut grant = actor.claim(Duration::ZERO).expect("free");
            let mut group = GroupMut::new(grant.slot_mut());
            group.header_mut().sequence = *sequence;
            group.header_mut().incarnation = 1;
            for (t, &(reward, flags)) in steps.iter().enumerate() {
                group.row_mut::<f32>(Field::Reward, t)[0] = reward;
                group.flags_mut(t + 1)[0] = flags;
            }
            grant.commit().expect("not fenced");
            let held = learner.take(Duration::ZERO).expect("complete");
            scale.observe(&BlockRef::new(held.block()));
        }
        scale
    }

    #[test]
    fn returns_run_through_episodes_and_unrolls() {
        let (over, first) = (flag::TERMINATED, flag::FIRST);
        // An episode of 1, 2 | 3 over two unrolls; the step of the reset counts nothing; a new one begins with 5.
        let scale = scale_after(
            0.5,
            &[
                (0, &[(9.0, over), (7.0, first), (1.0, 0)]),
                (1, &[(2.0, 0), (3.0, over), (4.0, first)]),
            ],
        );
        let returns = [9.0, 1.0, 2.5, 4.25];
        let mean = returns.iter().sum::<f64>() / 4.0;
        let squares: f64 = returns.iter().map(|r| (r - mean) * (r - mean)).sum();
        let seen = scale.moments()[0];
        assert_eq!(seen.count, 4.0);
        assert!((seen.mean - mean).abs() < 1e-12 && (seen.squares - squares).abs() < 1e-12);
        assert!((scale.factor(0) - 1.0 / (squares / 4.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn a_lost_unroll_breaks_the_return() {
        let scale = scale_after(1.0, &[(0, &[(1.0, 0); 3]), (2, &[(1.0, 0); 3])]);
        assert_eq!(scale.moments()[0].mean, 2.0, "1, 2, 3 and again, not 4, 5, 6");
    }

    #[test]
    fn described_returns_are_those_that_are_added_one_by_one() {
        let returns = [3.0, -1.0, 4.0, 1.0, -5.0];
        let mut one_by_one = Moments { count: 2.0, mean: 7.0, squares: 3.0 };
        let mut described = one_by_one;
        let differences = returns.map(|r| r - described.mean);
        described.fold(5.0, differences.iter().sum(), differences.iter().map(|d| d * d).sum());
        returns.iter().for_each(|r| one_by_one.push(*r));
        assert_eq!(described.count, one_by_one.count);
        assert!((described.mean - one_by_one.mean).abs() < 1e-12);
        assert!((described.squares - one_by_one.squares).abs() < 1e-12);
    }

    #[test]
    fn without_rewards_the_scale_stays_finite() {
        assert_eq!(ReturnScale::new(0.99, vec![Moments::default()]).factor(0), 1.0);
        let scale = scale_after(0.99, &[(0, &[(0.0, 0); 3])]);
        assert_eq!(scale.factor(0), 1.0 / LEAST_DEVIATION);
    }
}
