//! Errors of the preflight check: which resource is short, and the largest pool that would fit.

use std::fmt;

/// What the machine lacks, and what to lower.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PreflightError {
    /// Too little memory for all processes together.
    #[error(
        "{actors} actors need {needed_mib} MiB of memory ({ring_mib} MiB of it the ring), but {limit} leaves {available_mib} MiB: {remedy}"
    )]
    Memory {
        /// Actors asked for.
        actors: usize,
        /// Memory of the whole run.
        needed_mib: u64,
        /// The ring's part in it.
        ring_mib: u64,
        /// What sets the limit.
        limit: String,
        /// What is left below it.
        available_mib: u64,
        /// What would fit.
        remedy: Remedy,
    },
    /// One process would pass a resource limit.
    #[error(
        "a process of this run needs {needed_mib} MiB of {what}, but `ulimit {flag}` allows {available_mib} MiB: raise it, or {remedy}"
    )]
    Process {
        /// What is limited.
        what: &'static str,
        /// The option of `ulimit`.
        flag: &'static str,
        /// What the largest process needs.
        needed_mib: u64,
        /// What it may have.
        available_mib: u64,
        /// What would fit.
        remedy: Remedy,
    },
    /// Too few file descriptors for the supervisor.
    #[error("{actors} actors need {needed} file descriptors, but {available} are free: raise `ulimit -n` by {}, or {remedy}", needed - available)]
    Descriptors {
        /// Actors asked for.
        actors: usize,
        /// Descriptors of the supervisor.
        needed: u64,
        /// Descriptors left.
        available: u64,
        /// What would fit.
        remedy: Remedy,
    },
    /// Too many processes and threads.
    #[error(
        "{actors} actors make {needed} processes and threads, but {limit} leaves {available}: {remedy}"
    )]
    Tasks {
        /// Actors asked for.
        actors: usize,
        /// Processes and threads of the run.
        needed: u64,
        /// What sets the limit.
        limit: String,
        /// What is left below it.
        available: u64,
        /// What would fit.
        remedy: Remedy,
    },
}

impl PreflightError {
    /// What would fit.
    #[must_use]
    pub(crate) const fn remedy(&self) -> Remedy {
        match self {
            Self::Memory { remedy, .. }
            | Self::Process { remedy, .. }
            | Self::Descriptors { remedy, .. }
            | Self::Tasks { remedy, .. } => *remedy,
        }
    }
}

/// The largest pool that fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// This many actors fit, with at most this many blocks.
    Fewer {
        /// Actors.
        actors: usize,
        /// Blocks, if fewer than asked for.
        blocks: Option<usize>,
    },
    /// It fits with so many unrolls kept for replay.
    FewerReplayed {
        /// Unrolls.
        unrolls: usize,
    },
    /// Not even one actor fits.
    Smaller,
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fewer { actors, blocks: None } => write!(f, "use --actors {actors}"),
            Self::Fewer { actors, blocks: Some(blocks) } => {
                write!(f, "use --actors {actors} --blocks {blocks}")
            }
            Self::FewerReplayed { unrolls } => write!(f, "use --replay-unrolls {unrolls}"),
            Self::Smaller => {
                f.write_str("not even one actor fits, lower --batch, --unroll or --envs-per-actor")
            }
        }
    }
}
