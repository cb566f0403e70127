//! The record of each rank of a run with several learners, in `ranks.json` and in the summary.

use serde::{Deserialize, Serialize};

/// The file in the run folder that has a list of [`RankRecord`].
pub const RANKS_FILE: &str = "ranks.json";

/// One rank.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RankRecord {
    /// Its number.
    pub rank: u64,
    /// Agent steps of its own actors that all have trained on, since this start.
    pub frames: u64,
    /// The same per second of wall time.
    pub frames_per_s: f64,
    /// Seconds for which its learner waited for those of other ranks.
    pub exchange_wait_s: f64,
    /// Seconds for which its learner waited for blocks of its own actors.
    pub block_wait_s: f64,
    /// Whether it is the one that the others waited for most: it waited least.
    pub straggler: bool,
}

impl RankRecord {
    /// Marks the one that waited least for the others.
    pub fn mark_straggler(ranks: &mut [Self]) {
        let waits = |rank: &&mut Self| rank.exchange_wait_s;
        let least = ranks.iter_mut().min_by(|a, b| waits(a).total_cmp(&waits(b)));
        if let Some(rank) = least {
            rank.straggler = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_straggler_is_the_one_that_never_waits() {
        let waits = [3.0, 0.5, 2.0];
        let mut ranks =
            waits.map(|exchange_wait_s| RankRecord { exchange_wait_s, ..RankRecord::default() });
        RankRecord::mark_straggler(&mut ranks);
        assert_eq!(ranks.map(|rank| rank.straggler), [false, true, false]);
    }
}
