//! The plan of a benchmark: each environment with the flags of its runs, checked before the first run.

use std::ffi::OsString;

use impala_rl::gym;
use serde::Serialize;

use super::args::LearnArgs;
use super::error::LearnError;
use super::suite::{Entry, Suite};
use crate::bench::error::BenchError;
use crate::bench::setup::{Setup, parse};

/// All runs of a benchmark; `plan.json` in its folder.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Plan {
    pub(super) suite: String,
    /// What [`impala_rl::trials::fingerprint`] says; empty before it was asked.
    pub(super) program: String,
    pub(super) eval_episodes: u32,
    pub(super) environments: Vec<Planned>,
}

/// The runs of one environment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Planned {
    pub(super) entry: Entry,
    /// Of each run, without its seed and its folder.
    pub(super) flags: Vec<String>,
    /// Runs with seeds 1 to this.
    pub(super) seeds: u32,
}

/// One run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trial<'a> {
    pub(super) planned: &'a Planned,
    pub(super) seed: u32,
}

impl Plan {
    /// Of a command line. Nothing is started.
    pub(super) fn of(args: &LearnArgs) -> Result<Self, LearnError> {
        let suite = Suite::find(&args.suite)?.only(&args.only)?;
        let planned = |entry: Entry| -> Result<Planned, LearnError> {
            let seeds = args.seeds.or(entry.seeds).unwrap_or(1);
            let flags = flags(args, &entry);
            refuse_own(entry.args.iter().chain(&args.flags), &entry.env)?;
            Ok(Planned { flags, seeds, entry: Entry { seeds: None, ..entry } })
        };
        Ok(Self {
            suite: suite.name,
            program: String::new(),
            eval_episodes: args.eval_episodes,
            environments: suite.entries.into_iter().map(planned).collect::<Result<_, _>>()?,
        })
    }

    /// Whether `impala-supervisor` would take each environment with its flags. For those of Gymnasium this
    /// starts a Python.
    pub(super) fn check(&self) -> Result<(), LearnError> {
        for Planned { entry, flags, .. } in &self.environments {
            let flags: Vec<OsString> = flags.iter().map(OsString::from).collect();
            Setup::from_flags(&flags).map_err(|error| refused(&entry.env, &error))?;
        }
        Ok(())
    }

    /// All runs, one environment after the other.
    pub(super) fn trials(&self) -> impl Iterator<Item = Trial<'_>> {
        let of = |planned| (1..=Planned::seeds(planned)).map(move |seed| Trial { planned, seed });
        self.environments.iter().flat_map(of)
    }
}

impl Planned {
    const fn seeds(&self) -> u32 {
        self.seeds
    }
}

impl Trial<'_> {
    /// Name of the folder of the run.
    pub(super) fn name(&self) -> String {
        self.planned.entry.folder(self.seed)
    }
}

fn flags(args: &LearnArgs, entry: &Entry) -> Vec<String> {
    let mut flags = vec![
        "--env".to_owned(),
        entry.env.clone(),
        "--total-frames".to_owned(),
        entry.total_frames.to_string(),
    ];
    if !args.env_defaults {
        flags.push("--env-defaults=false".to_owned());
    }
    if let Some(python) = args.python.as_ref().filter(|_| gym::Source::of(&entry.env).is_some()) {
        flags.extend(["--python".to_owned(), python.clone()]);
    }
    if let Some(actors) = args.actors {
        flags.extend(["--actors".to_owned(), actors.to_string()]);
    }
    flags.extend(entry.args.iter().chain(&args.flags).cloned());
    flags
}

/// Flags that say what the benchmark says already, or end a run before its frames are learnt.
fn refuse_own<'a>(flags: impl Iterator<Item = &'a String>, env: &str) -> Result<(), LearnError> {
    let flags: Vec<OsString> = flags.map(OsString::from).collect();
    let args = parse(&flags).map_err(|error| refused(env, &error))?;
    let set = &args.settings;
    for (given, flag, remedy) in [
        (
            set.env.is_some(),
            "--env",
            "environments are those of the suite; choose some with --only",
        ),
        (
            set.total_frames.is_some(),
            "--total-frames",
            "write total-frames into a suite of your own",
        ),
        (set.seed.is_some(), "--seed", "seeds are 1 to N; set N with --seeds"),
        (set.run_dir.is_some(), "--run-dir", "runs are below the folder that --output names"),
        (
            set.stop_at_return.is_some(),
            "--stop-at-return",
            "runs go on to the end; write target into the suite",
        ),
        (
            set.env_defaults.is_some(),
            "--env-defaults",
            "give it before the --, as a flag of the benchmark",
        ),
        (
            args.resume.is_some(),
            "--resume",
            "a benchmark goes on by itself in the folder of --output",
        ),
        (args.print_config, "--print-config", "ask impala-supervisor itself"),
        (args.list_envs, "--list-envs", "ask impala-supervisor itself"),
    ] {
        if given {
            return Err(LearnError::OwnFlag { flag, remedy });
        }
    }
    Ok(())
}

fn refused(env: &str, error: &BenchError) -> LearnError {
    LearnError::Refused { env: env.to_owned(), problem: error.to_string() }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::bench::args::{BenchArgs, BenchCommand};

    fn plan(flags: &str) -> Result<Plan, LearnError> {
        let argv = ["impala-bench", "learn"].into_iter().chain(flags.split_whitespace());
        match BenchArgs::try_parse_from(argv).expect(flags).command {
            BenchCommand::Learn(args) => Plan::of(&args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn runs_have_the_flags_of_the_suite_and_of_the_command_line() {
        let found =
            plan("--only CartPole-v1,Catch-v0 --seeds 2 --actors 3 --python py -- --unroll 8");
        let found = found.expect("valid");
        let names: Vec<_> = found.trials().map(|trial| trial.name()).collect();
        let expected =
            ["CartPole-v1-seed-1", "CartPole-v1-seed-2", "Catch-v0-seed-1", "Catch-v0-seed-2"];
        assert_eq!(names, expected);
        assert_eq!(
            found.environments[0].flags.join(" "),
            "--env CartPole-v1 --total-frames 100000 --env-defaults=false --actors 3 --unroll 8"
        );
        let grid = plan("--suite minigrid --env-defaults --python py").expect("valid");
        assert_eq!(
            grid.environments[0].flags.join(" "),
            "--env gym:minigrid:MiniGrid-DoorKey-5x5-v0 --total-frames 1000000 --python py \
             --observation-keys image,direction"
        );
        assert_eq!(grid.environments[0].seeds, 3);
    }

    #[test]
    fn flags_of_the_benchmark_are_not_passed_through() {
        for (flags, says) in [
            ("-- --seed 3", "--seeds"),
            ("-- --env Catch-v0", "--only"),
            ("-- --total-frames 5", "total-frames into a suite"),
            ("-- --stop-at-return 5", "target"),
            ("-- --run-dir x", "--output"),
            ("-- --resume x", "--output"),
            ("-- --env-defaults=true", "before the --"),
            ("-- --actor 4", "--actors"),
        ] {
            let error = plan(flags).expect_err(flags).to_string();
            assert!(error.contains(says) && !error.contains('\n'), "{flags}: {error}");
        }
    }

    #[test]
    fn what_impala_supervisor_would_refuse_is_refused_before_the_first_run() {
        let check = |flags: &str| plan(flags).expect("parses").check();
        assert!(check("--only Catch-v0").is_ok());
        let error = check("--only Catch-v0 --actors 2 -- --actors 3").expect_err("twice");
        assert!(error.to_string().contains("--actors"), "{error}");
        let error = check("--only Catch-v0 -- --discount 2").expect_err("range").to_string();
        assert!(error.starts_with("Catch-v0: ") && error.contains("discount"), "{error}");
    }
}
