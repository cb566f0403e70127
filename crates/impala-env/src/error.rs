//! Errors: why an environment cannot be made, or why it failed.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

/// What an environment says when it fails: any error, or a text (`"no such level".into()`).
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why an environment cannot be made, or failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum EnvError {
    /// No such environment.
    #[error("unknown environment '{id}'{}", suggestion(.nearest))]
    Unknown {
        /// What was asked for.
        id: String,
        /// Names that look like it, best first.
        nearest: Vec<String>,
    },
    /// An option that is no `key=value`.
    #[error("environment option '{argument}' is not written as KEY=VALUE")]
    OptionSyntax {
        /// What was typed.
        argument: String,
    },
    /// An option that this environment does not know, or a value it cannot take.
    #[error("option {key}={value} of {id}: {problem}")]
    BadOption {
        /// The environment.
        id: String,
        /// The option.
        key: String,
        /// The value given.
        value: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// An action that the environment does not have: whoever chose it and the spec disagree.
    #[error(
        "{id}: action {action} for environment {env} is not one of its {count} (0 to {})",
        count.saturating_sub(1)
    )]
    BadAction {
        /// The environment.
        id: String,
        /// Which of the environments stepped together.
        env: usize,
        /// The action.
        action: i32,
        /// Number of actions there are.
        count: usize,
    },
    /// A number out of its bounds: whoever chose it and the spec disagree.
    #[error(
        "{id}: number {word} of environment {env}'s action is {number}, which is out of its bounds"
    )]
    ActionOutOfBounds {
        /// The environment.
        id: String,
        /// Which of the environments stepped together.
        env: usize,
        /// Which of the action's numbers.
        word: usize,
        /// The formatted value: a string, because it may be NaN.
        number: String,
    },
    /// It cannot be made as it was asked for: something is missing or not supported.
    #[error("environment {id} cannot be made: {problem}")]
    NotMade {
        /// The environment.
        id: String,
        /// What is wrong; one line.
        problem: String,
        /// What would be right, if it is known.
        remedy: Vec<RemedyPart>,
    },
    /// The program that it runs in cannot be started.
    #[error("environment {id} cannot be made: cannot start Python {program}: {problem}")]
    NoInterpreter {
        /// The environment.
        id: String,
        /// The program.
        program: String,
        /// What the system said.
        problem: String,
    },
    /// The program that it runs in took too long to make it.
    #[error("environment {id} cannot be made: it did not start within {limit_s} s")]
    StartTimeout {
        /// The environment.
        id: String,
        /// How long it was given.
        limit_s: f64,
    },
    /// The environment reported a failure of its own.
    #[error("environment {id} failed: {source}")]
    Failed {
        /// The environment.
        id: String,
        /// What it said.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
}

/// A part of what to do about an environment that cannot be made. Parts follow each other without blanks between them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum RemedyPart {
    /// Words.
    Text(String),
    /// A setting, mostly one, with its value if there is one to be set. Whoever shows the remedy says it as it is set there.
    Setting(BTreeMap<EnvSetting, Option<String>>),
}

/// What an environment outside this program is asked for with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum EnvSetting {
    /// Its name.
    Env,
    /// An option, `key=value`.
    Options,
    /// What is applied to each environment.
    Wrapper,
    /// Parts of the observation that are seen.
    Keys,
    /// E.
    Envs,
    /// The seed of the run.
    Seed,
    /// Where modules are looked for.
    Path,
    /// The program that it runs in.
    Python,
    /// The file that holds what a server asks for.
    Token,
    /// The file of those who may sign the certificate of a server.
    Authorities,
    /// How long a server may take.
    Timeout,
}

impl EnvError {
    /// Environment `id` cannot be made because of `problem`, about which there is no more to say.
    #[must_use]
    pub fn not_made(id: &str, problem: impl Into<String>) -> Self {
        Self::NotMade { id: id.to_owned(), problem: problem.into(), remedy: Vec::new() }
    }

    /// A failure of environment `id`, with what it said.
    #[must_use]
    pub fn failed(id: &str, source: impl Into<BoxError>) -> Self {
        Self::Failed { id: id.to_owned(), source: source.into().into() }
    }
}

/// Two are the same if they say the same.
impl PartialEq for EnvError {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

fn suggestion(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!("; did you mean {}?", names.join(" or ")) }
}
