//! How a learner joins those of the other ranks, and checks that all have the same settings.

use super::RunContext;
use super::internal;
use crate::config::{Config, Device};
use crate::learner::collective::{Collective, who_differs};
use crate::pool::launcher::Rank;
use crate::supervisor::ExitKind;

/// Joins the learners of the other ranks; waits for them.
pub(super) fn connect(rank: Rank) -> Result<Box<dyn Collective>, (ExitKind, String)> {
    #[cfg(feature = "mpi")]
    {
        use crate::pool::mpi::{LinkError, MpiLink};
        let link = MpiLink::join(&rank).map_err(|error| match error {
            LinkError::OtherLauncher { .. } => (ExitKind::Usage, error.to_string()),
            LinkError::Started => internal(error),
        })?;
        Ok(Box::new(link))
    }
    #[cfg(not(feature = "mpi"))]
    {
        Err(internal(format_args!("this build has no MPI for rank {}", rank.rank)))
    }
}

/// Holds that all ranks learn the same from the same: where they compute may differ.
pub(super) fn agree(link: &mut dyn Collective, config: &Config) -> Result<(), (ExitKind, String)> {
    let mut learner = config.learner.clone();
    (learner.device, learner.threads, learner.micro_batch) = (Device::Cpu, 0, None);
    let pool =
        (config.pool.unroll, config.pool.batch, config.pool.schedule, config.pool.exchange());
    let env = (&config.env.id, &config.env.spec, config.env.action_bounds);
    let all = format!("{learner:?} {pool:?} {env:?} {:?} {:?}", config.network, config.stop);
    match who_differs(link, crc32fast::hash(all.as_bytes())) {
        None => Ok(()),
        Some(rank) => {
            let reason = format!(
                "rank {rank} has other settings than rank 0; start all ranks with the same"
            );
            Err((ExitKind::RanksDiffer, reason))
        }
    }
}

impl RunContext {
    /// The seed of what is replayed: each rank draws from what it has kept itself.
    pub(super) fn replay_seed(&self) -> u64 {
        self.config.run.seed.wrapping_add(self.rank.map_or(0, |rank| (rank.rank as u64) << 40))
    }
}
