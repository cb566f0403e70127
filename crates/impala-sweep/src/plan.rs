//! The plan of a sweep: every trial with its settings, checked before the first run.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use impala_rl::build;
use impala_rl::config::{Args, Config, Settings, file, refusal, values};
use impala_rl::hint::with_hint;
use serde::Serialize;
use toml::Value;

use super::args::SweepArgs;
use super::error::SweepError;
use super::file::SweepFile;
use super::halving::{Halving, Rung};
use super::score::Metric;
use super::search::{self, Search};

/// Runs of a combination when nobody says how many.
const DEFAULT_SEEDS: u32 = 3;
/// More are a mistake in a grid.
const MOST_TRIALS: usize = 10_000;

/// All runs of a sweep; `plan.json` in its folder.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Plan {
    /// What [`impala_rl::trials::fingerprint`] says; empty before it was asked.
    pub(crate) program: String,
    pub(crate) seeds: u32,
    pub(crate) halving: Option<Halving>,
    /// With halving it decides who goes on, so that it belongs to the plan; without it is only a way to look.
    decides: Option<Metric>,
    pub(crate) rungs: Vec<Rung>,
    pub(crate) trials: Vec<Trial>,
    #[serde(skip)]
    pub(crate) name: String,
    #[serde(skip)]
    pub(crate) metric: Metric,
    /// Cores that one run has work for.
    #[serde(skip)]
    pub(crate) cores: usize,
}

/// One combination.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Trial {
    pub(crate) name: String,
    /// What it tries, as flags take it.
    pub(crate) varied: Vec<(String, String)>,
    /// All that is set, as a file for `--config`.
    pub(crate) toml: String,
    #[serde(skip)]
    pub(crate) settings: Settings,
}

impl Plan {
    /// Of a command line, with every combination checked. Nothing is run; for environments of Gymnasium each check
    /// starts a Python.
    pub(crate) fn of(args: &SweepArgs) -> Result<Self, SweepError> {
        let file = args.file.as_deref().map(SweepFile::read).transpose()?.unwrap_or_default();
        let mut search = file.search;
        search.grid.extend(args.set.iter().map(|text| set(text)).collect::<Result<Vec<_>, _>>()?);
        let fixed = flags(&args.flags)?.or(file.fixed);
        refuse(&search, &fixed, file.halving.is_some())?;
        let trials = trials(&search, &fixed)?;
        let checked: Vec<Config> = trials.iter().map(check).collect::<Result<_, _>>()?;
        let rungs = match file.halving {
            Some(halving) => halving.rungs(trials.len(), fixed.total_frames)?,
            None => vec![Rung { trials: trials.len(), frames: None }],
        };
        let targets = checked.iter().filter(|config| config.stop.stop_at_return.is_some()).count();
        let metric = metric(args.metric.or(file.metric), targets, trials.len())?;
        let needs = checked.iter().map(|config| config.pool.actors + config.learner.threads);
        Ok(Self {
            program: String::new(),
            seeds: args.seeds.or(file.seeds).unwrap_or(DEFAULT_SEEDS),
            halving: file.halving,
            decides: file.halving.map(|_| metric),
            rungs,
            trials,
            name: name(args.file.as_deref()),
            metric,
            cores: needs.max().unwrap_or(1),
        })
    }

    /// Where the sweep is kept.
    pub(crate) fn output(&self, asked: Option<&PathBuf>) -> PathBuf {
        asked.cloned().unwrap_or_else(|| {
            let name = if self.name.is_empty() {
                "sweep".to_owned()
            } else {
                format!("sweep-{}", self.name)
            };
            Path::new("runs").join(name)
        })
    }

    /// Names of the settings that vary, in order.
    pub(crate) fn keys(&self) -> Vec<&str> {
        let first = self.trials.first().map_or(&[][..], |trial| &trial.varied);
        first.iter().map(|(key, _)| key.as_str()).collect()
    }
}

impl Trial {
    /// What it tries, in words.
    pub(crate) fn label(&self) -> String {
        let pairs = self.varied.iter().map(|(key, value)| format!("{key} {value}"));
        pairs.collect::<Vec<_>>().join(", ")
    }

    /// The settings as a file for `--config`; `frames` is the budget if they name none.
    pub(crate) fn config(&self, frames: Option<u64>) -> String {
        if self.settings.total_frames.is_some() {
            return self.toml.clone();
        }
        frames.map_or_else(String::new, |frames| format!("total-frames = {frames}\n")) + &self.toml
    }
}

/// A `--set`: its key, and its values as the flag of that name reads them.
fn set(text: &str) -> Result<(String, Vec<Value>), SweepError> {
    let wrong = |problem: String| SweepError::BadSet { text: text.to_owned(), problem };
    let Some((key, all)) = text.split_once('=') else {
        return Err(wrong("write KEY=VALUE,VALUE such as learning-rate=1e-3,3e-3".to_owned()));
    };
    if !Settings::keys().iter().any(|known| known == key) {
        let nearest = file::nearest(key).map(|name| format!(", did you mean {name:?}?"));
        let help = || "; impala-supervisor --help lists the settings".to_owned();
        return Err(wrong(format!("there is no setting {key:?}{}", nearest.unwrap_or_else(help))));
    }
    let value = |one: &str| {
        let argv = ["impala-supervisor".to_owned(), format!("--{key}={one}")];
        let args = Args::from_argv(argv)
            .map_err(|error| wrong(refusal(&error).unwrap_or_else(|| "no value".to_owned())))?;
        let table = toml::Table::try_from(&args.settings);
        let value = table.ok().and_then(|mut table| table.remove(key));
        value.ok_or_else(|| wrong(format!("{one:?} is not a value")))
    };
    let values = split(all).into_iter().map(value).collect::<Result<_, _>>()?;
    Ok((key.to_owned(), values))
}

/// Parts between commas that stand in no brackets, without the brackets around a part.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_usize, 0);
    for (at, c) in text.char_indices() {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    let bare =
        |part: &str| part.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).map(str::len);
    parts.into_iter().map(|part| bare(part).map_or(part, |length| &part[1..=length])).collect()
}

/// Settings that the flags after `--` make.
fn flags(flags: &[OsString]) -> Result<Settings, SweepError> {
    let argv = std::iter::once(OsString::from("impala-supervisor")).chain(flags.iter().cloned());
    let args = Args::from_argv(argv).map_err(|error| {
        SweepError::Flags(refusal(&error).unwrap_or_else(|| "it is not a flag of a run".to_owned()))
    })?;
    let own = |key: &str, problem| SweepError::OwnSetting { key: key.to_owned(), problem };
    for (given, flag, problem) in [
        (args.resume.is_some(), "--resume", "a sweep goes on by itself in the folder of --output"),
        (args.print_config, "--print-config", "ask impala-supervisor itself"),
        (args.list_envs, "--list-envs", "ask impala-supervisor itself"),
        (args.chaos.is_some(), "--chaos", "faults are for impala-supervisor and impala-soak"),
    ] {
        if given {
            return Err(own(flag, problem));
        }
    }
    Ok(args.layers()?)
}

/// Settings that are the sweep's own, or that stand twice.
fn refuse(search: &Search, fixed: &Settings, halving: bool) -> Result<(), SweepError> {
    let own = |key: &str, problem| Err(SweepError::OwnSetting { key: key.to_owned(), problem });
    // A whole number may be larger than TOML has them.
    let set = toml::Table::try_from(fixed).map_err(|_| {
        let most = i64::MAX;
        SweepError::Flags(format!("a whole number is above {most}, write a smaller one"))
    })?;
    let tried: Vec<&str> = search.keys().collect();
    if tried.is_empty() {
        return Err(SweepError::NothingToTry);
    }
    for key in set.keys().map(String::as_str).chain(tried.iter().copied()) {
        match key {
            "seed" => return own(key, "runs have the seeds 1 to N; set N with --seeds"),
            "run-dir" => return own(key, "runs are below the folder that --output names"),
            _ => {}
        }
    }
    for (at, &key) in tried.iter().enumerate() {
        if set.contains_key(key) {
            return own(key, "it is fixed and tried as well; leave one of the two out");
        }
        if tried[..at].contains(&key) {
            return own(key, "its values stand at two places; leave one of the two out");
        }
        if halving && key == "total-frames" {
            return own(key, "halving sets the budgets; leave it out, or fix the largest one");
        }
    }
    Ok(())
}

fn trials(search: &Search, fixed: &Settings) -> Result<Vec<Trial>, SweepError> {
    let count = search.len();
    if count > MOST_TRIALS {
        return Err(SweepError::TooMany { trials: count, most: MOST_TRIALS });
    }
    let trial = |(at, combination): (usize, search::Combination)| {
        let name = format!("trial-{:03}", at + 1);
        let refused =
            |problem| SweepError::Refused { trial: name.clone(), varied: String::new(), problem };
        let tried = search::settings(&combination).map_err(refused)?;
        let varied = values(&tried);
        let settings = tried.or(fixed.clone());
        let text = toml::to_string(&settings).map_err(|error| refused(error.to_string()))?;
        Ok(Trial { varied, toml: text, settings, name })
    };
    search.combinations().into_iter().enumerate().map(trial).collect()
}

/// Whether `impala-supervisor` would take a trial.
fn check(trial: &Trial) -> Result<Config, SweepError> {
    let refused =
        |problem| SweepError::Refused { trial: trial.name.clone(), varied: trial.label(), problem };
    let config = Config::resolve(&trial.settings, &build::registry())
        .map_err(|error| refused(error.to_string()))?;
    build::network(&config).map_err(|error| refused(with_hint(&error)))?;
    Ok(config)
}

fn metric(asked: Option<Metric>, targets: usize, trials: usize) -> Result<Metric, SweepError> {
    match asked {
        Some(Metric::FramesToTarget) if targets < trials => Err(SweepError::OwnSetting {
            key: "--metric frames-to-target".to_owned(),
            problem: "a trial has no target; set stop-at-return for all of them",
        }),
        Some(metric) => Ok(metric),
        None if targets == trials => Ok(Metric::FramesToTarget),
        None => Ok(Metric::Return),
    }
}

fn name(file: Option<&Path>) -> String {
    let stem = file.and_then(Path::file_stem);
    stem.map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn plan(flags: &str) -> Result<Plan, String> {
        let argv = std::iter::once("impala-sweep").chain(flags.split_whitespace());
        let args = SweepArgs::try_parse_from(argv).expect(flags);
        Plan::of(&args).map_err(|error| error.to_string())
    }

    fn in_file(text: &str, flags: &str) -> Result<Plan, String> {
        let place = tempfile::tempdir().expect("temporary folder");
        let path = place.path().join("mine.toml");
        std::fs::write(&path, text).expect("written");
        plan(&format!("{} {flags}", path.display()))
    }

    #[test]
    fn combinations_of_flags_and_files_become_trials() {
        let found = plan(
            "--set learning-rate=1e-3,3e-3 --set hidden=[64,64],[32] -- --env CartPole-v1 --actors 2",
        );
        let found = found.expect("valid");
        assert_eq!((found.trials.len(), found.seeds, found.metric), (4, 3, Metric::Return));
        let labels: Vec<_> = found.trials.iter().map(Trial::label).collect();
        assert_eq!(labels[0], "hidden 64,64, learning-rate 0.001");
        assert_eq!(labels[3], "hidden 32, learning-rate 0.003");
        let toml = &found.trials[3].toml;
        for line in
            ["env = \"CartPole-v1\"", "actors = 2", "hidden = [32]", "learning-rate = 0.003"]
        {
            assert!(toml.lines().any(|found| found == line), "{line} in {toml}");
        }
        assert_eq!(found.keys(), ["hidden", "learning-rate"]);
        assert!(found.cores >= 3, "two actors and a learner");
        assert_eq!(found.output(None), Path::new("runs/sweep"));

        let text = "env = \"Catch-v0\"\nstop-at-return = 0.9\n[grid]\nunroll = [8, 16]\n[sweep]\nseeds = 2\n";
        let found = in_file(text, "-- --actors 1").expect("valid");
        assert_eq!((found.seeds, found.metric), (2, Metric::FramesToTarget));
        assert_eq!(found.trials[1].settings.actors, Some(1));
        assert_eq!(found.output(None), Path::new("runs/sweep-mine"));
        assert_eq!(in_file(text, "--seeds 5 --metric return").expect("valid").seeds, 5);
    }

    #[test]
    fn a_config_has_a_budget_whoever_sets_it() {
        let config = |flags: &str| plan(flags).expect(flags).trials[0].config(Some(700));
        assert!(config("--set actors=1").starts_with("total-frames = 700\n"));
        let own = config("--set actors=1 -- --total-frames 5000");
        assert!(own.contains("total-frames = 5000") && !own.contains("700"), "{own}");
    }

    #[test]
    fn mistakes_are_one_line_before_anything_runs() {
        for (flags, says) in [
            ("", "nothing to try"),
            ("--set actors", "KEY=VALUE"),
            ("--set actor=1", "did you mean \"actors\"?"),
            ("--set actors=many", "whole number"),
            ("--set actors=0", "trial-001 (actors 0): "),
            ("--set torso=mlp,lstm", "possible values"),
            ("--set seed=1,2", "--seeds"),
            ("--set actors=1 -- --run-dir x", "--output"),
            ("--set actors=1 -- --actors 2", "leave one of the two out"),
            ("--set actors=1 --set actors=2", "two places"),
            ("--set actors=1 -- --actor 2", "flags after -- are those of impala-supervisor"),
            ("--set actors=1 -- --resume x", "goes on by itself"),
            ("--set actors=1 -- --env Cathc-v0", "Catch-v0"),
            ("--set actors=1 -- --total-frames 1e19", "above 9223372036854775807"),
            ("--set discount=0.9,2", "trial-002 (discount 2"),
            ("--set actors=1 --metric frames-to-target", "stop-at-return"),
        ] {
            let error = plan(flags).expect_err(flags);
            assert!(error.contains(says) && !error.contains('\n'), "{flags}: {error}");
        }
        let halving =
            "total-frames = 1000\n[halving]\nfirst-frames = 2000\n[grid]\nactors = [1, 2]\n";
        assert!(in_file(halving, "").expect_err("too few").contains("first-frames is 2000"));
        let budgets = "[halving]\nfirst-frames = 2000\n[grid]\ntotal-frames = [1, 2]\n";
        assert!(
            in_file(budgets, "").expect_err("two budgets").contains("halving sets the budgets")
        );
        let many = format!("--set batch={}", vec!["8"; 200].join(","));
        assert!(
            plan(&format!("{many} {}", many.replace("batch", "unroll")))
                .expect_err("many")
                .contains("10000")
        );
    }

    #[test]
    fn only_what_runs_depend_on_belongs_to_the_plan() {
        let text = |flags: &str| serde_json::to_string(&plan(flags).expect(flags)).expect("JSON");
        assert_eq!(
            text("--set actors=1 --metric return"),
            text("--set actors=1 --metric frames-per-s --jobs 3")
        );
        assert_ne!(text("--set actors=1"), text("--set actors=1 --seeds 4"));
        assert_ne!(text("--set actors=1"), text("--set actors=1 -- --rho-bar inf"));
    }
}
