//! The command line of `impala-sweep`.

use std::ffi::OsString;
use std::path::PathBuf;

use super::score::Metric;

/// Tries many settings of impala-supervisor, several seeds each, and compares them on one page.
///
/// What is finished is not done again: after an interruption the same command goes on. docs/sweeps.md has the form of the file.
#[derive(Debug, Clone, clap::Parser)]
#[command(
    name = "impala-sweep",
    version,
    after_help = "Exit code 0: every run finished. 1: some failed, the others are in the tables. 2: bad usage, nothing was run.\n\
                  3: the output folder cannot be used, or was made with other settings. 4: another sweep uses it.\n\
                  After a signal the runs end in order, and the process ends by that signal."
)]
pub struct SweepArgs {
    /// TOML file: settings of every run, and below them the tables grid, random, halving and sweep
    #[arg(value_name = "SWEEP.toml")]
    pub file: Option<PathBuf>,
    /// Values to try for a setting, in all combinations with those of other --set; a list stands in [ ]
    #[arg(long, value_name = "KEY=VALUE,VALUE")]
    pub set: Vec<String>,
    /// Folder for runs and results [default: runs/sweep-NAME, with the name of the file]
    #[arg(long, short, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Runs at a time [default: cores / (actors + learner threads of a run), at least 1]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub jobs: Option<u32>,
    /// Runs of each combination, with seeds 1 to N [default: those of the file, else 3]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub seeds: Option<u32>,
    /// What the best is best at [default: that of the file, else frames-to-target with --stop-at-return, return without]
    #[arg(long, value_name = "METRIC")]
    pub metric: Option<Metric>,
    /// Print sweep.json instead of tables
    #[arg(long)]
    pub json: bool,
    /// Flags of impala-supervisor, for all runs; they win over the file
    #[arg(last = true, value_name = "FLAGS")]
    pub flags: Vec<OsString>,
}

fn at_least_one(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(0) => Err("0 is too few, write 1 or more".to_owned()),
        Ok(number) => Ok(number),
        Err(_) => Err("not a whole number, write one such as 3".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::*;

    #[test]
    fn the_command_is_sound() {
        SweepArgs::command().debug_assert();
        let argv = "impala-sweep a.toml --set x=1,2 --set y=3 --jobs 2 -- --env Catch-v0";
        let args = SweepArgs::try_parse_from(argv.split(' ')).expect("valid");
        assert_eq!(args.set, ["x=1,2", "y=3"]);
        assert_eq!(args.flags, ["--env", "Catch-v0"]);
        assert!(SweepArgs::try_parse_from(["impala-sweep", "--jobs", "0"]).is_err());
    }
}
