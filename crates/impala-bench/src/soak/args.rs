//! The command line of `impala-soak`.

use std::path::PathBuf;

use impala_rl::config::ChaosSpec;

/// Injects faults into pools whose every byte is known, and prints which promises were kept.
///
/// Exit code 0: all of them. 1: at least one was broken. 2: bad usage. 70: no result.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "impala-soak", version)]
pub(crate) struct SoakArgs {
    /// One process of the campaign.
    #[command(subcommand)]
    pub(crate) part: Option<Part>,
    /// Length of the random part; the others take about two minutes more, and less if this is short
    #[arg(long, default_value_t = 10.0, value_name = "MIN")]
    pub(crate) minutes: f64,
    /// Random faults per second; 1 in 5 is a stop, the others kill
    #[arg(long, default_value_t = 5.0, value_name = "N")]
    pub(crate) faults_per_s: f64,
    /// Restarts of actors after which the supervisor is compared with what it was
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub(crate) restarts: u64,
    /// Supervisors to kill
    #[arg(long, default_value_t = 100, value_name = "N")]
    pub(crate) supervisors: u32,
    /// Actors of each pool
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=12))]
    pub(crate) actors: u16,
    /// Seed of all random choices
    #[arg(long, default_value_t = 1, value_name = "S")]
    pub(crate) seed: u64,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

/// A part of the campaign that runs in a process of its own.
#[derive(Debug, Clone, clap::Subcommand)]
pub(crate) enum Part {
    /// One pool, with its faults; prints what it came to
    #[command(hide = true)]
    Pool(PoolArgs),
}

/// One pool of the campaign.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct PoolArgs {
    /// Length of the run
    #[arg(long, value_name = "S")]
    pub(crate) seconds: f64,
    /// End sooner, after this many restarts of actors
    #[arg(long, value_name = "N")]
    pub(crate) restarts: Option<u64>,
    /// Faults, as in impala-supervisor
    #[arg(long, value_name = "FAULTS")]
    pub(crate) chaos: Option<ChaosSpec>,
    /// Let gradients travel in place of unrolls
    #[arg(long)]
    pub(crate) gradients: bool,
    /// Let one process run the network for all actors
    #[arg(long)]
    pub(crate) central: bool,
    /// Actors
    #[arg(long, default_value_t = 4, value_name = "N")]
    pub(crate) actors: u16,
    /// Seed
    #[arg(long, default_value_t = 1, value_name = "S")]
    pub(crate) seed: u64,
    /// Folder for checkpoints
    #[arg(long, value_name = "DIR")]
    pub(crate) folder: PathBuf,
}
