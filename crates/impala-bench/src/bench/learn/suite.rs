//! Suites: lists of environments, each with the frames to train on and a target return.

use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize};

use super::error::LearnError;

/// Suites that are compiled in.
const SHIPPED: [(&str, &str); 5] = [
    ("classic", include_str!("../../../suites/classic.toml")),
    ("box2d", include_str!("../../../suites/box2d.toml")),
    ("mujoco", include_str!("../../../suites/mujoco.toml")),
    ("minigrid", include_str!("../../../suites/minigrid.toml")),
    ("atari", include_str!("../../../suites/atari.toml")),
];
/// Runs of an environment when neither the command line nor the suite says how many.
const DEFAULT_SEEDS: u32 = 3;

/// Environments to learn.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Suite {
    /// Its name, or that of its file without the ending.
    pub(super) name: String,
    pub(super) entries: Vec<Entry>,
}

/// One environment of a suite.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Entry {
    /// As `--env` takes it.
    pub(super) env: String,
    /// Budget of a run.
    #[serde(alias = "total_frames", deserialize_with = "whole")]
    pub(super) total_frames: u64,
    /// Mean return of 100 episodes at which the environment counts as learnt.
    #[serde(default)]
    pub(super) target: Option<f64>,
    /// Runs, unless the command line says how many.
    #[serde(default)]
    pub(super) seeds: Option<u32>,
    /// More flags of `impala-supervisor`.
    #[serde(default)]
    pub(super) args: Vec<String>,
    /// Published score of A2C.
    #[serde(default)]
    pub(super) a2c: Option<f64>,
    /// Published score of PPO.
    #[serde(default)]
    pub(super) ppo: Option<f64>,
    /// Score of a random policy.
    #[serde(default)]
    pub(super) random: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SuiteFile {
    seeds: Option<u32>,
    #[serde(default)]
    environment: Vec<Entry>,
}

/// A whole number, which may be written as 1e6.
fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a whole number such as 100_000 or 1e6")]
    enum Number {
        Whole(u64),
        Real(f64),
    }
    let wrong = || serde::de::Error::custom("expected a whole number such as 100_000 or 1e6");
    match Number::deserialize(deserializer)? {
        Number::Whole(n) => Ok(n),
        Number::Real(x) => {
            format!("{x:.0}").parse().ok().filter(|&n| n as f64 == x).ok_or_else(wrong)
        }
    }
}

impl Suite {
    /// The suite of that name, or in that file. Every entry has its number of seeds afterwards.
    pub(super) fn find(named: &str) -> Result<Self, LearnError> {
        let path = Path::new(named);
        let is_file = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("toml"));
        if is_file || named.contains('/') {
            let text = std::fs::read_to_string(path).map_err(|source| {
                LearnError::UnreadableSuite { path: path.to_owned(), source, known: shipped() }
            })?;
            let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
            return Self::parse(&name.unwrap_or_default(), named, &text);
        }
        let found = SHIPPED.iter().find(|(name, _)| *name == named);
        let (name, text) = found
            .ok_or_else(|| LearnError::UnknownSuite { name: named.to_owned(), known: shipped() })?;
        Self::parse(name, name, text)
    }

    /// From the text of a file; `place` is for messages.
    fn parse(name: &str, place: &str, text: &str) -> Result<Self, LearnError> {
        let file: SuiteFile = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            let mut problem = error.message().trim().replace('\n', ", ");
            if problem.starts_with("missing field") {
                problem.push_str("; each [[environment]] needs env and total-frames");
            }
            LearnError::BadSuite { suite: place.to_owned(), line, problem }
        })?;
        let mut entries = file.environment;
        if entries.is_empty() {
            return Err(LearnError::EmptySuite(place.to_owned()));
        }
        let mut folders = Vec::new();
        for entry in &mut entries {
            entry.seeds = Some(entry.seeds.or(file.seeds).unwrap_or(DEFAULT_SEEDS));
            let folder = entry.folder(1);
            let problem = if entry.env.trim().is_empty() {
                "env is empty; name an environment"
            } else if entry.total_frames == 0 {
                "total-frames is 0; write 1 or more"
            } else if entry.seeds == Some(0) {
                "seeds is 0; write 1 or more"
            } else if folders.contains(&folder) {
                "it stands in the suite twice; put the second one into a suite of its own"
            } else {
                folders.push(folder);
                continue;
            };
            let (suite, env) = (place.to_owned(), entry.env.clone());
            return Err(LearnError::BadEntry { suite, env, problem: problem.to_owned() });
        }
        Ok(Self { name: name.to_owned(), entries })
    }

    /// Leaves the named environments, in the order of the suite; all of them if none is named.
    pub(super) fn only(mut self, envs: &[String]) -> Result<Self, LearnError> {
        let known = self.entries.iter().map(|entry| entry.env.as_str()).collect::<Vec<_>>();
        if let Some(env) = envs.iter().find(|env| !known.contains(&env.as_str())) {
            return Err(LearnError::NotInSuite {
                known: known.join(", "),
                suite: self.name,
                env: env.clone(),
            });
        }
        self.entries.retain(|entry| envs.is_empty() || envs.contains(&entry.env));
        Ok(self)
    }
}

impl Entry {
    /// Name of the folder of a run.
    pub(super) fn folder(&self, seed: u32) -> String {
        let safe = |c: char| if c.is_ascii_alphanumeric() || "-.".contains(c) { c } else { '_' };
        let env: String = self.env.chars().map(safe).collect();
        format!("{env}-seed-{seed}")
    }
}

fn shipped() -> String {
    SHIPPED.map(|(name, _)| name).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Suite, String> {
        Suite::parse("mine", "mine.toml", text).map_err(|error| error.to_string())
    }

    #[test]
    fn every_shipped_suite_is_sound() {
        for (name, _) in SHIPPED {
            let suite = Suite::find(name).expect(name);
            assert_eq!(suite.name, name);
            for entry in &suite.entries {
                assert!(entry.seeds.is_some_and(|seeds| seeds > 0), "{entry:?}");
                let (low, high) = (entry.random.unwrap_or(-1e9), entry.target.unwrap_or(1e9));
                assert!(low < high, "{entry:?}");
            }
        }
        let classic = Suite::find("classic").expect("it is there");
        let cartpole = &classic.entries[0];
        assert_eq!((cartpole.env.as_str(), cartpole.total_frames), ("CartPole-v1", 100_000));
        assert_eq!((cartpole.target, cartpole.seeds), (Some(475.0), Some(5)));
        let breakout = &Suite::find("atari").expect("it is there").entries[1];
        assert_eq!((breakout.seeds, breakout.ppo), (Some(1), Some(398.0)));
        let doorkey = &Suite::find("minigrid").expect("it is there").entries[0];
        assert_eq!(doorkey.args, ["--observation-keys", "image,direction"]);
    }

    #[test]
    fn a_file_says_less_and_may_say_it_otherwise() {
        let suite = parse("[[environment]]\nenv = \"A\"\ntotal_frames = 1e6\n").expect("valid");
        let entry = &suite.entries[0];
        assert_eq!((entry.total_frames, entry.seeds, entry.target), (1_000_000, Some(3), None));
    }

    #[test]
    fn mistakes_are_named_on_one_line() {
        let valid = "[[environment]]\nenv = \"A\"\ntotal-frames = 10\n";
        for (text, parts) in [
            ("[[environment]]\ntotal-frames = 10\n", ["missing field `env`", "needs env and"]),
            ("[[environment]]\nenv = \"A\"\n", ["missing field", "total-frames"]),
            (&format!("{valid}tagret = 3\n"), ["line 4", "tagret"]),
            (&format!("{valid}seeds = 0\n"), ["\"A\"", "seeds is 0; write 1 or more"]),
            (&format!("{valid}{valid}"), ["\"A\"", "twice"]),
            ("seed = 3\n", ["line 1", "seed"]),
            ("seeds = 3\n", ["no environment", "[[environment]]"]),
            (&valid.replace("10", "1.5"), ["mine.toml, line 3", "whole number"]),
            (&valid.replace("10", "0"), ["total-frames is 0", "1 or more"]),
            (&valid.replace('A', " "), ["env is empty", "name an environment"]),
            ("[[environment\n", ["mine.toml, line 1", ""]),
        ] {
            let error = parse(text).expect_err(text);
            assert!(!error.contains('\n'), "{error}");
            for part in parts {
                assert!(error.contains(part), "{text}: {error}");
            }
        }
        let unknown = Suite::find("clasic").expect_err("no suite").to_string();
        assert!(unknown.contains("clasic") && unknown.contains("classic, box2d"), "{unknown}");
        let missing = Suite::find("no/such.toml").expect_err("no file").to_string();
        assert!(missing.contains("no/such.toml"), "{missing}");
    }

    #[test]
    fn some_environments_of_a_suite() {
        let suite = || Suite::find("classic").expect("it is there");
        let all = suite().only(&[]).expect("all");
        assert_eq!(all, suite());
        let names = ["Pendulum-v1", "CartPole-v1"].map(str::to_owned);
        let two = suite().only(&names).expect("two");
        let names: Vec<_> = two.entries.iter().map(|entry| entry.env.as_str()).collect();
        assert_eq!(names, ["CartPole-v1", "Pendulum-v1"]);
        let error = suite().only(&["Pong".to_owned()]).expect_err("not there").to_string();
        assert!(error.contains("\"Pong\"") && error.contains("Acrobot-v1"), "{error}");
    }

    #[test]
    fn folders_have_plain_names() {
        let mut entry = Suite::find("atari").expect("it is there").entries.remove(0);
        assert_eq!(entry.folder(2), "gym_ALE_Pong-v5-seed-2");
        entry.env = "../x".to_owned();
        assert_eq!(entry.folder(1), ".._x-seed-1");
    }
}
