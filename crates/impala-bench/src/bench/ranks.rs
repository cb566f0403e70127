//! What so many learners would reach together, by a model of one update: `docs/scaling.md` says what it assumes.

use std::fmt;

use serde::Serialize;

use super::args::RanksArgs;
use impala_rl::metrics::human::si;

/// One update of a rank alone, and the network between the ranks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct RankModel {
    /// Frames that one rank learns from in an update.
    frames: f64,
    /// Time between two updates of a rank alone, in ms.
    update_ms: f64,
    /// How much of that its learner waits for its own actors, in ms.
    idle_ms: f64,
    /// Standard deviation of `update_ms` over its mean.
    spread: f64,
    /// Bytes of the gradient.
    gradient_bytes: f64,
    /// Time of an empty message between two ranks, in us.
    latency_us: f64,
    /// What a rank can send while it receives as much, in Gbit/s.
    gbit_per_s: f64,
}

/// The prediction for a number of ranks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct RanksRow {
    ranks: u32,
    /// How much longer the slowest rank takes than the mean, in ms.
    straggler_ms: f64,
    /// Time of the sum of all gradients, in ms.
    sum_ms: f64,
    /// Time between two updates, in ms.
    update_ms: f64,
    /// Of all ranks together.
    frames_per_s: f64,
    /// `frames_per_s` over that of as many ranks which do not wait for each other.
    efficiency: f64,
}

impl RankModel {
    /// The prediction for `ranks` ranks.
    fn row(&self, ranks: u32) -> RanksRow {
        let straggler_ms = self.update_ms * self.spread * expected_largest(ranks);
        let sum_ms = self.sum_ms(ranks);
        // Actors go on while the learner waits for other ranks, so what it would have waited for them is spared.
        let busy_ms = self.update_ms - self.idle_ms;
        let update_ms = self.update_ms.max(busy_ms + straggler_ms + sum_ms);
        RanksRow {
            ranks,
            straggler_ms,
            sum_ms,
            update_ms,
            frames_per_s: f64::from(ranks) * self.frames / update_ms * 1e3,
            efficiency: self.update_ms / update_ms,
        }
    }

    /// An all-reduce that scatters the sums and gathers them again, by halves (Thakur, Rabenseifner and Gropp 2005, section 4.5): each rank
    /// sends, and receives, twice the gradient less its own part.
    fn sum_ms(&self, ranks: u32) -> f64 {
        let others = f64::from(ranks) - 1.0;
        let messages = 2.0 * f64::from(ranks).log2().ceil();
        let bits = 2.0 * others / f64::from(ranks) * self.gradient_bytes * 8.0;
        messages * self.latency_us / 1e3 + bits / (self.gbit_per_s * 1e6)
    }
}

/// The expectation of the largest of `count` independent standard normal variables.
fn expected_largest(count: u32) -> f64 {
    // The integral of 1 - F^n above 0, less that of F^n below 0.
    const STEP: f64 = 1e-3;
    let power = i32::try_from(count).unwrap_or(i32::MAX);
    let (mut above, mut below, mut density_sum) = (0.0, 0.0, 0.5);
    for step in 0..9_000 {
        let x = (f64::from(step) + 0.5) * STEP;
        let half = (-(x - STEP / 2.0).powi(2) / 2.0).exp();
        let other_half = (-(x + STEP / 2.0).powi(2) / 2.0).exp();
        let density = (half + other_half) / 2.0 / std::f64::consts::TAU.sqrt();
        let middle = density_sum + density * STEP / 2.0;
        above += (1.0 - middle.powi(power)) * STEP;
        below += (1.0 - middle).powi(power) * STEP;
        density_sum += density * STEP;
    }
    above - below
}

/// The model's table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct RanksReport {
    model: RankModel,
    rows: Vec<RanksRow>,
}

impl RanksReport {
    /// The predictions that the flags ask for; in words which of them do not fit together.
    pub(super) fn of(args: &RanksArgs) -> Result<Self, String> {
        if args.idle_ms > args.update_ms {
            return Err(format!(
                "--idle-ms {} is longer than --update-ms {}, of which it is a part",
                args.idle_ms, args.update_ms
            ));
        }
        let model = RankModel {
            frames: f64::from(args.frames),
            update_ms: args.update_ms,
            idle_ms: args.idle_ms,
            spread: args.spread,
            gradient_bytes: args.parameters as f64 * 4.0,
            latency_us: args.latency_us,
            gbit_per_s: args.gbit_per_s,
        };
        let rows = args.ranks.iter().map(|&ranks| model.row(ranks)).collect();
        Ok(Self { model, rows })
    }
}

impl fmt::Display for RanksReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:>6}  {:>10}  {:>10}  {:>10}  {:>10}  {:>10}",
            "ranks", "straggler", "sum", "update", "frames/s", "efficiency"
        )?;
        for row in &self.rows {
            writeln!(
                f,
                "{:>6}  {:>7.3} ms  {:>7.3} ms  {:>7.3} ms  {:>10}  {:>10.3}",
                row.ranks,
                row.straggler_ms,
                row.sum_ms,
                row.update_ms,
                si(row.frames_per_s),
                row.efficiency
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: RankModel = RankModel {
        frames: 512.0,
        update_ms: 10.0,
        idle_ms: 0.0,
        spread: 0.0,
        gradient_bytes: 1e6,
        latency_us: 50.0,
        gbit_per_s: 8.0,
    };

    #[test]
    fn one_rank_waits_for_nobody() {
        let row = RankModel { spread: 0.3, ..MODEL }.row(1);
        assert_eq!((row.sum_ms, row.update_ms, row.efficiency), (0.0, 10.0, 1.0));
        assert!(row.straggler_ms.abs() < 1e-6, "{row:?}");
    }

    #[test]
    fn sums_cost_latency_by_the_logarithm_and_twice_the_gradient() {
        // 2 ranks: two messages, and 1 MB in either direction at 1 GB/s.
        assert!((MODEL.row(2).sum_ms - 1.1).abs() < 1e-9);
        assert!((MODEL.row(8).sum_ms - (0.3 + 1.75)).abs() < 1e-9);
        assert!((MODEL.row(512).sum_ms - (0.9 + 2.0 * 511.0 / 512.0)).abs() < 1e-9);
    }

    #[test]
    fn the_largest_of_several_is_that_of_the_tables() {
        // Harter 1961, table 1.
        for (count, expected) in [(1, 0.0), (2, 0.56419), (3, 0.84628), (8, 1.42360), (64, 2.34373)]
        {
            let found = expected_largest(count);
            assert!((found - expected).abs() < 2e-4, "{count}: {found}");
        }
    }

    #[test]
    fn a_learner_that_waits_for_its_actors_has_time_for_sums() {
        let idle = RankModel { idle_ms: 2.0, ..MODEL };
        assert_eq!(idle.row(2).update_ms, 10.0);
        assert!((idle.row(512).update_ms - (8.0 + idle.sum_ms(512))).abs() < 1e-9);
        assert!(MODEL.row(512).efficiency < idle.row(512).efficiency);
    }
}
