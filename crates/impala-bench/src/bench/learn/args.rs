//! The command line of `impala-bench learn`.

use std::path::PathBuf;

/// Suites of environments, each with several seeds.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct LearnArgs {
    /// Suite: classic, box2d, mujoco, minigrid, atari, or a TOML file of the same form
    #[arg(long, default_value = "classic", value_name = "NAME|FILE.toml")]
    pub(crate) suite: String,
    /// Only these environments of the suite
    #[arg(long, value_delimiter = ',', value_name = "ENV,ENV")]
    pub(crate) only: Vec<String>,
    /// Runs of each environment, with seeds 1 to N [default: those of the suite]
    #[arg(long, value_name = "N", value_parser = seeds)]
    pub(crate) seeds: Option<u32>,
    /// Fresh episodes that each final policy plays, once greedy and once sampled
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) eval_episodes: u32,
    /// Seconds after which such an evaluation counts as failed
    #[arg(long, default_value_t = 3600, value_name = "S", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) eval_time_limit: u64,
    /// Use the settings that are known to suit an environment; without it all learn with those of any environment
    #[arg(long)]
    pub(crate) env_defaults: bool,
    /// Actor processes of each run [default: those of impala-supervisor]
    #[arg(long, value_name = "N")]
    pub(crate) actors: Option<u32>,
    /// Python for the environments of Gymnasium
    #[arg(long, value_name = "PATH")]
    pub(crate) python: Option<String>,
    /// Folder for runs and results; what is finished in it is not done again [default: runs/learn-SUITE]
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Print learn.json instead of tables
    #[arg(long)]
    pub(crate) json: bool,
    /// Flags of impala-supervisor, for all runs
    #[arg(last = true, value_name = "FLAGS")]
    pub(crate) flags: Vec<String>,
}

fn seeds(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(0) => Err("there must be a run of each environment; write 1 or more".to_owned()),
        Ok(seeds) => Ok(seeds),
        Err(_) => Err("expected a whole number, write one such as 5".to_owned()),
    }
}
