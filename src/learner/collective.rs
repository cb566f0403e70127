//! Synchronous training by the learners of several ranks: what they exchange at each update, and how sums over all
//! ranks are made.
//!
//! Each rank learns from blocks of its own, and all of them make the same updates: gradients are summed over the ranks before
//! the optimizer sees them, and so is all that an update or a decision follows from. One message of a few numbers goes
//! before each gradient. It is where a rank waits for the others, and it says whether the gradient is worth sending.

use std::ops::Range;
use std::time::Duration;

use num_traits::ToPrimitive as _;

use super::engine::Stopwatch;
use super::loss::LossSums;

/// Weights are compared across ranks once in so many blocks.
const COMPARED_EVERY: u64 = 100;

/// Sums and copies over all ranks. Every rank makes the same calls, in the same order, with the same lengths.
pub trait Collective {
    /// Which rank this is, from 0.
    fn rank(&self) -> usize;
    /// How many there are.
    fn size(&self) -> usize;
    /// Replaces each number by its sum over all ranks, the same on all of them. Waits for the others, who may be long.
    fn sum_figures(&mut self, figures: &mut [f64]);
    /// The same for a gradient, when all others are known to be about to call it.
    fn sum_gradient(&mut self, gradient: &mut [f32]);
    /// Replaces the bytes by those of rank 0.
    fn copy_from_first(&mut self, bytes: &mut [u8]);
}

/// What is known of a rank.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct RankFigures {
    /// Frames of its own that were learnt from, since this start.
    pub frames: u64,
    /// Seconds for which it waited for other ranks.
    pub exchange_wait_s: f64,
    /// Seconds for which it waited for blocks of its own.
    pub block_wait_s: f64,
}

/// What the ranks found together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Together {
    /// The gradient is the sum over all ranks, or their mean; so are these sums of the loss.
    Found(LossSums),
    /// The loss of some rank is not finite.
    NotFinite,
    /// A rank leaves: nothing was summed, and all leave.
    Leaving,
    /// The weights of this rank are not those of rank 0.
    Drifted {
        /// Which.
        rank: usize,
    },
}

/// How long it took.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ExchangeTimes {
    /// Until all ranks were there.
    pub(super) wait: Duration,
    /// The gradient.
    pub(super) transfer: Duration,
}

/// Sums of [`LossSums`], by their places in a message.
const LOSS_SUMS: usize = 12;
/// Numbers of each rank, which only that rank adds to.
const OF_RANK: usize = 6;
const LEAVING: usize = 0;
const NOT_FINITE: usize = 1;
const WEIGHT: usize = 2;
const LOSS: usize = 3;
const FIXED: usize = LOSS + LOSS_SUMS;

/// The learners of all ranks, as one of them sees them.
pub struct Ranks {
    link: Box<dyn Collective>,
    tasks: usize,
    /// Numbers that describe the returns of a block, and its observations.
    returns_len: usize,
    observations_len: usize,
    message: Vec<f64>,
    /// What the first update of the present block adds to the message.
    of_block: Vec<f64>,
    /// Whether that is the sum over all ranks.
    summed: bool,
    blocks: u64,
    hash: u32,
    own: RankFigures,
    figures: Vec<RankFigures>,
    times: ExchangeTimes,
}

impl std::fmt::Debug for Ranks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ranks")
            .field("rank", &self.link.rank())
            .field("size", &self.link.size())
            .finish_non_exhaustive()
    }
}

impl Ranks {
    /// For learners of so many tasks, with so many numbers that describe the returns of a block, and its observations.
    #[must_use]
    pub(crate) fn new(
        link: Box<dyn Collective>,
        tasks: usize,
        returns_len: usize,
        observations_len: usize,
    ) -> Self {
        let of_block = 3 * tasks + returns_len + observations_len;
        let size = link.size();
        Self {
            link,
            tasks,
            returns_len,
            observations_len,
            message: vec![0.0; FIXED + of_block + OF_RANK * size],
            of_block: vec![0.0; of_block],
            summed: false,
            blocks: 0,
            hash: 0,
            own: RankFigures::default(),
            figures: vec![RankFigures::default(); size],
            times: ExchangeTimes::default(),
        }
    }

    /// How many there are.
    #[must_use]
    pub(super) fn size(&self) -> usize {
        self.link.size()
    }

    /// Begins a block, which is met with `parameters`, after `block_wait` of waiting for it. What is true of the block is to
    /// be written to [`Ranks::frames_mut`] and the like; the first [`Ranks::sum`] sums it.
    pub(super) fn begin(&mut self, parameters: &[f32], block_wait: Duration) {
        self.of_block.fill(0.0);
        self.summed = false;
        if self.blocks.is_multiple_of(COMPARED_EVERY) {
            self.hash = crc32fast::hash(bytemuck::cast_slice(parameters));
        }
        self.blocks += 1;
        self.own.block_wait_s += block_wait.as_secs_f64();
    }

    /// Frames of each task in the block.
    pub(super) fn frames_mut(&mut self) -> &mut [f64] {
        &mut self.of_block[..self.tasks]
    }

    /// Frames of each task in the blocks of all ranks.
    pub(super) fn frames(&self) -> &[f64] {
        &self.of_block[..self.tasks]
    }

    /// Enters the mean return of a task over its window of episodes, if that is full.
    pub(super) fn set_window(&mut self, task: usize, mean: Option<f64>) {
        if let Some(mean) = mean {
            self.of_block[self.tasks + task] = 1.0;
            self.of_block[2 * self.tasks + task] = mean;
        }
    }

    /// Whether the windows of all ranks are full and their mean is at least the target, in every task.
    pub(super) fn have_reached(&self, targets: &[f64]) -> bool {
        let size = self.size() as f64;
        let (full, mean) = (&self.of_block[self.tasks..], &self.of_block[2 * self.tasks..]);
        let each = full.iter().zip(mean).zip(targets);
        each.take(self.tasks).all(|((full, mean), target)| *full == size && mean / size >= *target)
    }

    const fn returns_range(&self) -> Range<usize> {
        3 * self.tasks..3 * self.tasks + self.returns_len
    }

    const fn observations_range(&self) -> Range<usize> {
        let start = 3 * self.tasks + self.returns_len;
        start..start + self.observations_len
    }

    /// What describes the returns of the block; of all ranks after the first [`Ranks::sum`].
    pub(super) fn returns_mut(&mut self) -> &mut [f64] {
        let range = self.returns_range();
        &mut self.of_block[range]
    }

    /// What describes its observations; of all ranks after the first [`Ranks::sum`].
    pub(super) fn observations_mut(&mut self) -> &mut [f64] {
        let range = self.observations_range();
        &mut self.of_block[range]
    }

    /// Sums the gradient of a part of the block, and what the loss found, over all ranks; `found` is `None` if that is not
    /// finite. `weight` is what the loss was summed over; if `mean`, the gradient
    /// is divided by the sum of these.
    pub(super) fn sum(
        &mut self,
        found: Option<&LossSums>,
        weight: f64,
        gradient: &mut [f32],
        mean: bool,
    ) -> Together {
        let first = !self.summed;
        self.message.fill(0.0);
        let own = OF_RANK * self.link.rank() + self.message.len() - OF_RANK * self.size();
        match found {
            Some(sums) => {
                self.message[WEIGHT] = weight;
                write_sums(sums, &mut self.message[LOSS..FIXED]);
                self.message[own] = f64::from(sums.rho_min.min(sums.rho_max));
                self.message[own + 1] = f64::from(sums.rho_max);
            }
            None => self.message[NOT_FINITE] = 1.0,
        }
        if first {
            self.own.frames += whole(self.frames().iter().sum());
            let of_block = FIXED..FIXED + self.of_block.len();
            self.message[of_block].copy_from_slice(&self.of_block);
        }
        let RankFigures { frames, exchange_wait_s, block_wait_s } = self.own;
        self.message[own + 2..own + OF_RANK].copy_from_slice(&[
            frames as f64,
            exchange_wait_s,
            block_wait_s,
            f64::from(self.hash),
        ]);
        self.exchange();
        if self.message[LEAVING] > 0.0 {
            return Together::Leaving;
        }
        if first {
            let of_block = FIXED..FIXED + self.of_block.len();
            self.of_block.copy_from_slice(&self.message[of_block]);
            self.summed = true;
        }
        let (sums, ranks) = self.message.split_at(FIXED + self.of_block.len());
        for (figures, rank) in self.figures.iter_mut().zip(ranks.chunks_exact(OF_RANK)) {
            *figures = RankFigures {
                frames: whole(rank[2]),
                exchange_wait_s: rank[3],
                block_wait_s: rank[4],
            };
        }
        let hashes = ranks.chunks_exact(OF_RANK).map(|rank| rank[5]);
        if let Some(rank) = first_other(hashes) {
            return Together::Drifted { rank };
        }
        if sums[NOT_FINITE] > 0.0 {
            return Together::NotFinite;
        }
        let mut whole = read_sums(&sums[LOSS..FIXED]);
        let of_ranks =
            |place: usize| ranks.chunks_exact(OF_RANK).map(move |rank| rank[place] as f32);
        whole.rho_min = of_ranks(0).fold(f32::INFINITY, f32::min);
        whole.rho_max = of_ranks(1).fold(0.0, f32::max);
        let divisor = sums[WEIGHT].max(1.0);
        let mut watch = Stopwatch::start();
        self.link.sum_gradient(gradient);
        if mean {
            let scale = (1.0 / divisor) as f32;
            gradient.iter_mut().for_each(|sum| *sum *= scale);
        }
        self.times.transfer += watch.restart();
        Together::Found(whole)
    }

    /// Tells the others that this rank leaves before its next block, so that they do too.
    pub(super) fn leave(&mut self) {
        self.message.fill(0.0);
        self.message[LEAVING] = 1.0;
        self.exchange();
    }

    fn exchange(&mut self) {
        let mut watch = Stopwatch::start();
        self.link.sum_figures(&mut self.message);
        let waited = watch.restart();
        self.own.exchange_wait_s += waited.as_secs_f64();
        self.times.wait += waited;
    }

    /// What is known of each rank, as of the latest update.
    #[must_use]
    pub(crate) fn figures(&self) -> &[RankFigures] {
        &self.figures
    }

    /// How long exchanges took since the last call.
    pub(super) fn take_times(&mut self) -> ExchangeTimes {
        std::mem::take(&mut self.times)
    }
}

/// The first rank whose number is not that of rank 0, if `number` differs among them. All ranks get the same answer.
#[must_use]
pub(crate) fn who_differs(link: &mut dyn Collective, number: u32) -> Option<usize> {
    let mut numbers = vec![0.0; link.size()];
    numbers[link.rank()] = f64::from(number);
    link.sum_figures(&mut numbers);
    first_other(numbers.into_iter())
}

fn first_other(mut numbers: impl Iterator<Item = f64>) -> Option<usize> {
    let first = numbers.next()?;
    numbers.position(|number| number != first).map(|index| index + 1)
}

/// A count that travelled as a real number.
pub(super) fn whole(count: f64) -> u64 {
    count.to_u64().unwrap_or_default()
}

fn write_sums(sums: &LossSums, out: &mut [f64]) {
    out.copy_from_slice(&[
        sums.transitions as f64,
        sums.policy,
        sums.baseline,
        sums.entropy,
        sums.rho,
        sums.c,
        sums.rho_clipped as f64,
        sums.c_clipped as f64,
        sums.kl,
        sums.surrogate_clipped as f64,
        sums.target,
        sums.target_square,
    ]);
}

fn read_sums(figures: &[f64]) -> LossSums {
    LossSums {
        transitions: whole(figures[0]),
        policy: figures[1],
        baseline: figures[2],
        entropy: figures[3],
        rho: figures[4],
        c: figures[5],
        rho_clipped: whole(figures[6]),
        c_clipped: whole(figures[7]),
        kl: figures[8],
        surrogate_clipped: whole(figures[9]),
        target: figures[10],
        target_square: figures[11],
        ..LossSums::default()
    }
}

#[cfg(test)]
mod tests;
