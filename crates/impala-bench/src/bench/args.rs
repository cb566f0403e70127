//! The command line of `impala-bench`.

use std::ffi::OsString;

use super::learn::LearnArgs;
use super::transport::sender::SenderArgs;

/// Measures the pool, its parts, what the machine could give, and what is learnt.
///
/// The flags after -- are those of impala-supervisor, and mean the same.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "impala-bench", version)]
pub(crate) struct BenchArgs {
    /// What to measure.
    #[command(subcommand)]
    pub(crate) command: BenchCommand,
}

/// What to measure.
#[derive(Debug, Clone, clap::Subcommand)]
pub(crate) enum BenchCommand {
    /// The whole system, beside the limit of the same configuration
    Pool(Measured),
    /// Each part of a frame's way alone on one core
    Parts(Measured),
    /// What this machine could give if nothing waited
    Limit(Measured),
    /// Environments alone, without network and learner; beside a bare Python loop for gym:ID and envpool:ID
    Env(Measured),
    /// The ring beside ipc-channel, a Unix socket and a copy within one process
    Transport(TransportArgs),
    /// The whole system with 1, 2, 4, 8 and 16 actors
    Scaling(ScalingArgs),
    /// What 2, 8, 64 or 512 learners would reach together, by a model of one update: nothing is run
    Ranks(RanksArgs),
    /// Which --actors, --envs-per-actor and --learner-threads are fastest here, with the same batch and no older data
    Tune(TuneArgs),
    /// How well environments are learnt: a suite of them, several seeds each, judged by fresh episodes
    ///
    /// Exit code 0: every run finished. 1: some failed, the others are in the tables. 2: bad usage, nothing was run.
    /// 3: the output folder cannot be used, or was made with other settings. 4: another benchmark uses it. After a signal
    /// the run that is going on is ended in order, and the process ends by that signal.
    Learn(LearnArgs),
    /// One process of a transport that is not the ring
    #[command(hide = true)]
    TransportSender(SenderArgs),
    /// The ring's side of the transport, in a process of its own
    #[command(hide = true)]
    TransportRing(TransportArgs),
}

/// What all measurements have in common.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Common {
    /// Repeats of the whole measurement; median, smallest and largest are printed
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) repeats: u32,
    /// Print one JSON object instead of tables
    #[arg(long)]
    pub(crate) json: bool,
    /// Time that each part is measured for in one repeat, in ms
    #[arg(long, default_value_t = 100, value_name = "MS")]
    pub(crate) effort_ms: u64,
    /// Seconds of each run of the pool, and of each transport
    #[arg(long, default_value_t = 5.0, value_name = "S")]
    pub(crate) seconds: f64,
}

/// A measurement of a configuration.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Measured {
    /// Repeats and output.
    #[command(flatten)]
    pub(crate) common: Common,
    /// Flags of impala-supervisor
    #[arg(last = true, value_name = "FLAGS")]
    pub(crate) flags: Vec<OsString>,
}

/// A measurement over numbers of actors.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ScalingArgs {
    /// Repeats and output.
    #[command(flatten)]
    pub(crate) common: Common,
    /// Numbers of actors
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 4, 8, 16], value_name = "N,N")]
    pub(crate) actors: Vec<usize>,
    /// Flags of impala-supervisor, without --actors
    #[arg(last = true, value_name = "FLAGS")]
    pub(crate) flags: Vec<OsString>,
}

/// One update of a rank, and the network between ranks. summary.json of a run has what the first four are of.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RanksArgs {
    /// Frames that one rank learns from in an update: `frames / updates` of a run of one rank
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) frames: u32,
    /// Time between two updates of a rank alone, in ms: `1000 wall_s / updates`
    #[arg(long, value_name = "MS", value_parser = positive)]
    pub(crate) update_ms: f64,
    /// Parameters of the network, each of them 4 bytes of the gradient
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) parameters: u64,
    /// How much of the time between two updates the learner waits for its actors, in ms
    #[arg(long, default_value_t = 0.0, value_name = "MS", value_parser = not_negative)]
    pub(crate) idle_ms: f64,
    /// Standard deviation of the time between two updates, over its mean
    #[arg(long, default_value_t = 0.05, value_name = "X", value_parser = not_negative)]
    pub(crate) spread: f64,
    /// Time of an empty message from one rank to another, in us
    #[arg(long, default_value_t = 20.0, value_name = "US", value_parser = not_negative)]
    pub(crate) latency_us: f64,
    /// Bandwidth of a rank, in Gbit/s; ranks of one machine share that of the machine
    #[arg(long, default_value_t = 10.0, value_name = "X", value_parser = positive)]
    pub(crate) gbit_per_s: f64,
    /// Numbers of ranks
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 8, 64, 512], value_name = "N,N",
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) ranks: Vec<u32>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

fn positive(text: &str) -> Result<f64, String> {
    let parsed = text.parse().ok().filter(|&x: &f64| x > 0.0 && x.is_finite());
    parsed.ok_or_else(|| "give a number above 0".into())
}

fn not_negative(text: &str) -> Result<f64, String> {
    let parsed = text.parse().ok().filter(|&x: &f64| x >= 0.0 && x.is_finite());
    parsed.ok_or_else(|| "give a number of at least 0".into())
}

/// A choice of sizes.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct TuneArgs {
    /// Turns that the fastest candidate takes with the defaults, at least 2
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(2..))]
    pub(crate) repeats: u32,
    /// Print one JSON object instead of tables
    #[arg(long)]
    pub(crate) json: bool,
    /// Seconds for which each trial is measured, once frames come
    #[arg(long, default_value_t = 1.5, value_name = "S", value_parser = trial_seconds)]
    pub(crate) seconds: f64,
    /// Candidates that are tried
    #[arg(long, default_value_t = 8, value_name = "N")]
    pub(crate) candidates: usize,
    /// Flags of impala-supervisor; what they set is not changed
    #[arg(last = true, value_name = "FLAGS")]
    pub(crate) flags: Vec<OsString>,
}

fn trial_seconds(text: &str) -> Result<f64, String> {
    let parsed = text.parse().ok().filter(|&s: &f64| (0.05..=600.0).contains(&s));
    parsed.ok_or_else(|| "give seconds from 0.05 to 600, such as 1.5".into())
}

/// A measurement of transports.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct TransportArgs {
    /// Repeats and output.
    #[command(flatten)]
    pub(crate) common: Common,
    /// Processes that write
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) actors: u16,
    /// Only this size of unroll
    #[arg(long, value_enum)]
    pub(crate) load: Option<super::transport::load::LoadName>,
}
