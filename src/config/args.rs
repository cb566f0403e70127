//! The command line of `impala-supervisor`.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::path::PathBuf;

use clap::{CommandFactory as _, FromArgMatches as _};

use super::chaos::ChaosSpec;
use super::error::ConfigError;
use super::settings::Settings;
use super::{defaults, file, render};

/// Trains an agent with IMPALA: actor processes, a lock-free ring in shared memory, and a learner.
#[derive(Debug, Clone, Default, PartialEq, clap::Parser)]
#[command(
    name = "impala-supervisor",
    version,
    allow_negative_numbers = true,
    after_help = "Some defaults vary by environment: `--env ID --print-config` prints them.\n\
                  docs/configuration.md has ranges, and what to choose."
)]
pub struct Args {
    /// Settings, each of which may stand in a file as well.
    #[command(flatten)]
    pub settings: Settings,

    /// TOML file of settings; flags win over it
    #[arg(long, value_name = "FILE", help_heading = "Configuration")]
    pub config: Option<PathBuf>,
    /// Run folder to continue from. Its config.toml is read unless --config names another file
    #[arg(long, value_name = "DIR", help_heading = "Configuration")]
    pub resume: Option<PathBuf>,
    /// Try sizes of the pool for up to S seconds before the run begins, and take those that are faster than the defaults: --actors,
    /// --envs-per-actor and --learner-threads, as far as they are not set [default without a number: 10]
    #[arg(long, value_parser = seconds, value_name = "S", num_args = 0..=1, require_equals = true, default_missing_value = "10", help_heading = "Configuration")]
    pub auto: Option<f64>,
    /// Faults that the run injects into itself, to see what deaths cost: kill=2/s,stop=0.5/s,seed=7
    #[arg(long, value_name = "FAULTS", help_heading = "Faults")]
    pub chaos: Option<ChaosSpec>,
    /// Print the settings that these flags come to, as TOML for --config, and exit
    #[arg(long, help_heading = "Configuration")]
    pub print_config: bool,
    /// Print the built-in environments and exit
    #[arg(long, help_heading = "Configuration")]
    pub list_envs: bool,
}

impl Args {
    /// The command, with each default value in its help text.
    #[must_use]
    pub(crate) fn described() -> clap::Command {
        let keys = |table: &[defaults::Row]| -> HashSet<String> {
            let rows = table.iter().flat_map(|row| render::values(&(row.settings)()));
            rows.map(|(key, _)| key).collect()
        };
        let (by_env, by_optimizer) = (keys(defaults::ENVIRONMENTS), keys(defaults::OPTIMIZERS));
        let built_in: HashMap<_, _> = render::values(&defaults::built_in()).into_iter().collect();
        let default = |key: &str| match built_in.get(key) {
            Some(value) if by_env.contains(key) => Some(format!("{value}, varies by environment")),
            Some(value) if !value.is_empty() => Some(value.clone()),
            None if by_optimizer.contains(key) => Some("set by the optimizer".to_owned()),
            _ => None,
        };
        <Self as clap::CommandFactory>::command().mut_args(|arg| {
            match (arg.get_long().and_then(default), arg.get_help().cloned()) {
                (Some(default), Some(help)) => arg.help(format!("{help} [default: {default}]")),
                _ => arg,
            }
        })
    }

    /// Reads a command line, the name of the program first.
    ///
    /// # Errors
    /// Clap's error, which is also how it asks for help or the version to be printed: see [`refusal`].
    pub fn from_argv<I>(argv: I) -> Result<Self, clap::Error>
    where
        I: IntoIterator,
        I::Item: Into<OsString> + Clone,
    {
        let matches = Self::described().try_get_matches_from(argv)?;
        Self::from_arg_matches(&matches).map_err(|error| error.format(&mut Self::command()))
    }

    /// What is explicit: flags over the file that they name. Defaults are not part of it.
    ///
    /// # Errors
    /// If the file cannot be read or is wrong.
    pub fn layers(&self) -> Result<Settings, ConfigError> {
        let resumed = self.resume.as_ref().map(|folder| folder.join("config.toml"));
        match self.config.as_ref().or(resumed.as_ref()) {
            Some(path) => Ok(self.settings.clone().or(file::read(path)?)),
            None => Ok(self.settings.clone()),
        }
    }
}

/// Reads a time that something may take.
fn seconds(text: &str) -> Result<f64, String> {
    let parsed = text.parse().ok().filter(|&s: &f64| (1.0..=3600.0).contains(&s));
    parsed.ok_or_else(|| "give seconds from 1 to 3600, such as 10".into())
}

/// Clap's error on one line, for standard error and exit code 2; `None` if it is no error but the help
/// or the version, to be printed as it is.
#[must_use]
pub fn refusal(error: &clap::Error) -> Option<String> {
    if !error.use_stderr() {
        return None;
    }
    let text = error.render().to_string();
    let parts: Vec<_> = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .filter(|line| !line.is_empty())
        .collect();
    let line = parts.join("; ");
    // Clap repeats what was typed as it was typed; a terminal should not act on it.
    Some(line.trim_start_matches("error: ").replace(char::is_control, "?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(flags: &[&str]) -> Result<Args, String> {
        let argv = std::iter::once("impala-supervisor").chain(flags.iter().copied());
        Args::from_argv(argv).map_err(|error| refusal(&error).unwrap_or_else(|| "no error".into()))
    }

    #[test]
    fn the_command_is_sound() {
        Args::described().debug_assert();
    }

    #[test]
    fn flags_and_toml_keys_have_the_same_names() {
        // A `Settings` with every field set: what any layer misses, `full` below misses too.
        let full = defaults::built_in()
            .or(defaults::find(defaults::OPTIMIZERS, "adam").expect("adam"))
            .or(defaults::find(defaults::OPTIMIZERS, "rmsprop-tf").expect("rmsprop-tf"))
            .or(Settings {
                env_wrapper: Some("my:own".into()),
                observation_keys: Some(vec!["image".into()]),
                frame_stack: Some(4),
                pad_observations: Some(6),
                micro_batch: Some(8),
                python: Some("python3".into()),
                python_path: Some("envs".into()),
                env_token_file: Some("token".into()),
                env_ca_file: Some("ca.pem".into()),
                blocks: Some(4),
                lag: Some(1),
                gradients_per_update: Some(2),
                inference_batch: Some(8),
                inference_wait_us: Some(50),
                learner_threads: Some(2),
                action_reward_inputs: Some(true),
                preset: Some("throughput".into()),
                run_dir: Some("runs/1".into()),
                stop_at_return: Some(vec![475.0]),
                time_limit: Some(60.0),
                ..Settings::default()
            });
        let keys: Vec<_> = render::values(&full).into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, Settings::keys());
    }

    #[test]
    fn values_are_read() {
        let args = parse(&[
            "--actors",
            "8",
            "--env-arg",
            "a=1",
            "--env-arg",
            "b=2",
            "--hidden",
            "64,32",
            "--conv",
            "16x8/4,32x4/2",
            "--total-frames",
            "1e6",
            "--stop-at-return",
            "-110",
            "--rho-bar",
            "inf",
            "--quiet",
            "--pin=false",
            "--device",
            "cuda:1",
            "--optimizer",
            "rmsprop-tf",
        ])
        .expect("valid");
        let settings = args.settings;
        assert_eq!(settings.actors, Some(8));
        assert_eq!(settings.env_arg, Some(vec!["a=1".into(), "b=2".into()]));
        assert_eq!(settings.hidden, Some(vec![64, 32]));
        assert_eq!(settings.conv.map(|convs| convs.len()), Some(2));
        assert_eq!(settings.total_frames, Some(1_000_000));
        assert_eq!(settings.stop_at_return, Some(vec![-110.0]));
        assert_eq!(settings.rho_bar, Some(f64::INFINITY));
        assert_eq!((settings.quiet, settings.pin), (Some(true), Some(false)));
        assert_eq!(parse(&[]), Ok(Args::default()), "nothing typed, nothing set");
    }

    #[test]
    fn refusals_are_one_line() {
        for (flags, parts) in [
            (vec!["--actor", "4"], ["--actor", "similar argument exists: '--actors'"]),
            (
                vec!["--actors", "-1"],
                ["'-1' for '--actors <N>'", "whole number, write one such as 4"],
            ),
            (vec!["--learning-rate", "fast"], ["'fast' for '--learning-rate <X>'", "0.003"]),
            (vec!["--hidden", "64,x"], ["'x' for '--hidden <N,N>'", "whole number"]),
            (vec!["--actors"], ["--actors <N>", "value is required"]),
            (vec!["--torso", "lstm"], ["lstm", "possible values: mlp, cnn"]),
            (vec!["--total-frames", "1.5"], ["1.5", "whole number"]),
            (vec!["--conv", "16"], ["16", "FILTERSxKERNEL/STRIDE"]),
            (vec!["--device", "tpu"], ["tpu", "cuda:0"]),
            (vec!["--actors", "2", "--actors", "3"], ["--actors", "multiple times"]),
            (vec!["train"], ["train", "unexpected argument"]),
        ] {
            let message = parse(&flags).expect_err("bad flags");
            assert!(!message.contains('\n') && !message.contains("Usage"), "{message:?}");
            for part in parts {
                assert!(message.contains(part), "{flags:?}: {message}");
            }
        }
    }

    #[test]
    fn help_is_no_refusal_and_tells_defaults() {
        let argv = ["impala-supervisor", "--help"];
        let help = Args::from_argv(argv).expect_err("help");
        assert_eq!(refusal(&help), None);
        let text = help.render().to_string();
        assert!(text.contains("[default: CartPole-v1]") && text.contains("[default: 1]"), "{text}");
    }
}
