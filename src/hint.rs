//! Hints for errors: which flag of the command line to change.
//!
//! The parts say what is wrong and know no flags; their users may be programs. Whoever shows an error to a person adds
//! the hint: the message stays one line.

use std::borrow::Cow;
use std::fmt::Display;

use crate::env::tasks::TaskError;
use crate::env::{EnvError, EnvSetting, RemedyPart};
use crate::learner::LearnerError;
use crate::learner::checkpoint::CheckpointError;
use crate::learner::engine::EngineError;
use crate::policy::spec::SpecError;
use crate::shm::ShmError;

/// An error for which a flag may be the remedy.
pub trait Hint: Display {
    /// What to do, with the flags that do it.
    fn hint(&self) -> Option<Cow<'static, str>>;
}

/// The error, and what to do about it.
pub fn with_hint(error: &impl Hint) -> String {
    match error.hint() {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    }
}

impl Hint for EnvError {
    fn hint(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Unknown { .. } => Some("`--list-envs` prints those there are".into()),
            Self::OptionSyntax { .. } => {
                Some("write it as --env-arg KEY=VALUE, for example `--env-arg stack=4`".into())
            }
            Self::NoInterpreter { .. } => {
                Some("install Python 3.10 or later, or name one with --python".into())
            }
            Self::NotMade { remedy, .. } if !remedy.is_empty() => Some(remedy_text(remedy).into()),
            Self::StartTimeout { .. } => Some("--actor-start-timeout gives it longer".into()),
            _ => None,
        }
    }
}

fn remedy_text(remedy: &[RemedyPart]) -> String {
    let mut text = String::new();
    for part in remedy {
        match part {
            RemedyPart::Text(words) => text.push_str(words),
            RemedyPart::Setting(settings) => {
                let flags = settings.iter().map(|(&setting, value)| match value {
                    Some(value) => format!("{} {value}", flag_of(setting)),
                    None => flag_of(setting).to_owned(),
                });
                text.push_str(&flags.collect::<Vec<_>>().join(" "));
            }
        }
    }
    text
}

const fn flag_of(setting: EnvSetting) -> &'static str {
    match setting {
        EnvSetting::Options => "--env-arg",
        EnvSetting::Wrapper => "--env-wrapper",
        EnvSetting::Keys => "--observation-keys",
        EnvSetting::Envs => "--envs-per-actor",
        EnvSetting::Seed => "--seed",
        EnvSetting::Path => "--python-path",
        EnvSetting::Python => "--python",
        EnvSetting::Token => "--env-token-file",
        EnvSetting::Authorities => "--env-ca-file",
        EnvSetting::Timeout => "--env-timeout",
        _ => "--env",
    }
}

impl Hint for TaskError {
    fn hint(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Observations { common_len: Some(len), .. } => Some(
                format!("--pad-observations {len} fills the shorter ones up with zeros").into(),
            ),
            Self::CannotPad { .. } => Some("leave --pad-observations out, or raise it".into()),
            _ => Some("learn them in runs of their own".into()),
        }
    }
}

impl Hint for ShmError {
    fn hint(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::TooLarge { .. } => Some("make --blocks, --batch or --unroll smaller".into()),
            Self::Create { .. } => Some("or make --blocks, --batch or --unroll smaller".into()),
            _ => None,
        }
    }
}

impl Hint for SpecError {
    fn hint(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::NotNative => Some("use `--engine libtorch` for others".into()),
            _ => None,
        }
    }
}

impl Hint for EngineError {
    fn hint(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::NoDevice { .. } => {
                Some("use `--device cpu`, or a libtorch built for CUDA".into())
            }
            Self::Libtorch { .. } => {
                Some("try `--device cpu`, a smaller `--batch` or a smaller `--unroll`".into())
            }
        }
    }
}

impl Hint for LearnerError {
    fn hint(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Engine(error) => error.hint(),
            Self::Diverged { .. } => Some("bring rewards to about 1 (--reward-scale, --reward-clip), or lower --learning-rate".into()),
            _ => None,
        }
    }
}

impl Hint for CheckpointError {
    fn hint(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::OtherNetwork { .. } => Some("give the flags it was trained with".into()),
            Self::NoneValid { .. } => Some("start a new run with --run-dir".into()),
            Self::OtherVersion { .. } => {
                Some("use the version that wrote it, or train anew".into())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_what_is_wrong_and_then_what_to_do() {
        let unknown = EnvError::Unknown { id: "zzz".into(), nearest: Vec::new() };
        let expected = "unknown environment 'zzz'; `--list-envs` prints those there are";
        assert_eq!(with_hint(&unknown), expected);
        let json = r#"["type ", {"env": "gym:Y"}, " ", {"options": "a=b"}, " or another ", {"python": null}]"#;
        let remedy = serde_json::from_str(json).expect("a remedy");
        let problem = "there is no X".into();
        let not_made = EnvError::NotMade { id: "gym:X".into(), problem, remedy };
        let expected = "environment gym:X cannot be made: there is no X; \
                        type --env gym:Y --env-arg a=b or another --python";
        assert_eq!(with_hint(&not_made), expected);
        assert_eq!(with_hint(&SpecError::TooLarge), SpecError::TooLarge.to_string());
        let engine = LearnerError::Engine(EngineError::NoDevice { index: 3 });
        let shown = with_hint(&engine);
        assert!(shown.contains("cuda:3; use `--device cpu`"), "{shown}");
    }
}
