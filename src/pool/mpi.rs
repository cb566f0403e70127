//! The MPI link between the learners of all ranks.
//!
//! MPI is started in the learner's process, after the fork: the supervisor has one thread for ever, and a launcher lets one
//! process of a rank join. So a learner under MPI has no successor. The crate throws the return codes of MPI away, and an
//! error of MPI ends the process by default: nothing here relies on either. What a lost rank leads to is the supervisors'
//! (`peers`).

use std::time::{Duration, Instant};

use mpi::collective::SystemOperation;
use mpi::environment::Universe;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator as _, CommunicatorCollectives as _, Root as _};
use mpi::{Count, Threading};

use super::launcher::Rank;
use crate::learner::collective::Collective;

/// A message of MPI counts its elements in an i32; copies go in pieces of so many bytes.
const PIECE_BYTES: usize = 1 << 30;
/// How long a rank that waits for others keeps its core, and for how long it then sleeps between two looks. What it waits for
/// is mostly actors on the same cores.
const SPIN: Duration = Duration::from_micros(20);
const LOOK_EVERY: [Duration; 2] = [Duration::from_micros(10), Duration::from_micros(200)];

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error("MPI was started in this process before")]
    Started,
    #[error(
        "MPI sees {found} ranks where the launcher started {started}; use the mpirun of the library that this program was built with"
    )]
    OtherLauncher { found: usize, started: usize },
}

/// All ranks of the job.
pub(super) struct MpiLink {
    world: SimpleCommunicator,
    sums: Vec<f64>,
    gradient: Vec<f32>,
    /// Ends MPI when it is dropped, which waits for the others.
    _universe: Universe,
}

impl MpiLink {
    /// Joins the other ranks; waits for them.
    ///
    /// # Errors
    /// [`LinkError`]
    pub(super) fn join(rank: &Rank) -> Result<Self, LinkError> {
        // A sleep of 10 us lasts 60 by default.
        let _coarse_is_fine = nix::sys::prctl::set_timerslack(1_000);
        // The learner's other threads never call MPI.
        let (universe, _) =
            mpi::initialize_with_threading(Threading::Funneled).ok_or(LinkError::Started)?;
        let world = universe.world();
        let found = usize::try_from(world.size()).unwrap_or_default();
        if found != rank.size {
            return Err(LinkError::OtherLauncher { found, started: rank.size });
        }
        Ok(Self { world, sums: Vec::new(), gradient: Vec::new(), _universe: universe })
    }
}

impl Collective for MpiLink {
    fn rank(&self) -> usize {
        usize::try_from(self.world.rank()).unwrap_or_default()
    }

    fn size(&self) -> usize {
        usize::try_from(self.world.size()).unwrap_or_default()
    }

    fn sum_figures(&mut self, figures: &mut [f64]) {
        let Self { world, sums, .. } = self;
        sums.resize(figures.len(), 0.0);
        let began = Instant::now();
        mpi::request::scope(|scope| {
            let sum = SystemOperation::sum();
            let mut request = world.immediate_all_reduce_into(scope, &*figures, &mut sums[..], sum);
            let mut nap = LOOK_EVERY[0];
            while let Err(pending) = request.test() {
                request = pending;
                if began.elapsed() > SPIN {
                    #[expect(
                        clippy::disallowed_methods,
                        reason = "MPI has no descriptor to wait on"
                    )]
                    std::thread::sleep(nap);
                    nap = (nap * 3 / 2).min(LOOK_EVERY[1]);
                }
            }
        });
        figures.copy_from_slice(sums);
    }

    fn sum_gradient(&mut self, gradient: &mut [f32]) {
        self.gradient.resize(gradient.len(), 0.0);
        let pieces = gradient.chunks_mut(PIECE_BYTES / 4);
        for (own, sum) in pieces.zip(self.gradient.chunks_mut(PIECE_BYTES / 4)) {
            self.world.all_reduce_into(own, sum, SystemOperation::sum());
            own.copy_from_slice(sum);
        }
    }

    fn copy_from_first(&mut self, bytes: &mut [u8]) {
        const { assert!(PIECE_BYTES <= Count::MAX as usize) };
        for piece in bytes.chunks_mut(PIECE_BYTES) {
            self.world.process_at_rank(0).broadcast_into(piece);
        }
    }
}
