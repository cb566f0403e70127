//! Reads a file of settings: flat TOML whose keys are the flags without their dashes.

use std::path::Path;

use serde::Deserialize as _;
use toml::de::{DeTable, DeValue};

use super::error::ConfigError;
use super::settings::Settings;

/// A key this like an unknown one is offered in its place (Jaro-Winkler, 1 for equal).
const NEAR: f64 = 0.75;

/// Reads the settings in `path`.
///
/// # Errors
/// If the file cannot be read, is not TOML, names an unknown key, or has a value of a wrong type: the
/// message names file, line, key and what was expected.
pub fn read(path: &Path) -> Result<Settings, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable {
        path: path.into(),
        reason: error.to_string(),
    })?;
    parse(&text, path)
}

/// Reads settings from `text`; `path` is for messages.
///
/// # Errors
/// As [`read`].
pub fn parse(text: &str, path: &Path) -> Result<Settings, ConfigError> {
    let syntax = |error: &toml::de::Error| {
        let (line, column) = position(text, error.span().map_or(0, |span| span.start));
        let problem = one_line(error.message());
        ConfigError::Syntax { path: path.into(), line, column, problem }
    };
    let document = DeTable::parse(text).map_err(|error| syntax(&error))?;
    let values: toml::Table = toml::from_str(text).map_err(|error| syntax(&error))?;
    let known = Settings::keys();
    // In the order of the file, so that the first mistake is the one reported.
    let mut entries: Vec<_> = document.get_ref().iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    let mut settings = Settings::default();
    for (key, spanned) in entries {
        let (line, _) = position(text, key.span().start);
        let key = key.get_ref().to_string();
        // What several environments are called when one agent learns them.
        if !known.contains(&key) && key != "tasks" {
            if matches!(spanned.get_ref(), DeValue::Table(_)) {
                return Err(ConfigError::Table { path: path.into(), line, key });
            }
            let nearest = nearest(&key);
            return Err(ConfigError::UnknownKey { path: path.into(), line, key, nearest });
        }
        // One key at a time: an error then belongs to this key, whatever serde says.
        let single =
            toml::Table::from_iter(values.get(&key).map(|value| (key.clone(), value.clone())));
        let one = Settings::deserialize(single).map_err(|error| {
            let problem = one_line(error.message());
            ConfigError::WrongValue { path: path.into(), line, key, problem }
        })?;
        settings = one.or(settings);
    }
    Ok(settings)
}

/// The name of a setting most like `key`, if any is.
#[must_use]
pub fn nearest(key: &str) -> Option<String> {
    let key = key.replace('_', "-").to_lowercase();
    Settings::keys()
        .into_iter()
        .map(|name| (strsim::jaro_winkler(&key, &name), name))
        .filter(|(likeness, _)| *likeness >= NEAR)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// Line and column (in characters), both from 1, of a byte of `text`.
fn position(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

fn one_line(message: &str) -> String {
    message
        .split('\n')
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        let message = parse(text, Path::new("run.toml")).expect_err(text).to_string();
        assert!(!message.contains('\n'), "{message:?}");
        message
    }

    #[test]
    fn every_kind_of_value_reads() {
        let text = "actors = 8\nlearning-rate = 1\nrho-bar = inf\ntotal-frames = 1e6\nhidden = [32, 16]\n\
                    conv = [\"16x3/1\"]\ntorso = \"cnn\"\nquiet = true\nenv-arg = [\"size=84\"]\n";
        let settings = parse(text, Path::new("x")).expect("valid");
        assert_eq!(settings.actors, Some(8));
        assert_eq!(settings.learning_rate, Some(1.0));
        assert_eq!(settings.rho_bar, Some(f64::INFINITY));
        assert_eq!(settings.total_frames, Some(1_000_000));
        assert_eq!(settings.hidden, Some(vec![32, 16]));
        assert_eq!(settings.conv, Some(vec!["16x3/1".parse().expect("valid")]));
        assert_eq!(settings.env_arg, Some(vec!["size=84".into()]));
        assert_eq!(settings.unroll, None);
        let table = parse("[env-arg]\nsize = 84\nstack = \"4\"", Path::new("x")).expect("valid");
        assert_eq!(table.env_arg, Some(vec!["size=84".into(), "stack=4".into()]));
    }

    #[test]
    fn syntax_errors_have_a_place() {
        let message = error("actors = 4\nbatch = = 8\n");
        assert!(message.contains("run.toml") && message.contains("line 2:9"), "{message}");
        assert!(error("actors = 4\nactors = 5").contains("line 2:1"));
        assert!(error("# é\nactors").contains("line 2"));
    }

    #[test]
    fn unknown_keys_are_named_with_the_nearest() {
        let message = error("batch = 8\n\nlearning_rate = 0.1\n");
        assert!(message.contains("line 3") && message.contains("\"learning_rate\""), "{message}");
        assert!(message.contains("did you mean \"learning-rate\"?"), "{message}");
        assert!(error("actor = 8").contains("did you mean \"actors\"?"));
        assert!(error("zzzz = 8").contains("--help"));
        assert!(error("[learner]\nlearning-rate = 0.1").contains("\"learner\" is a table"));
    }

    #[test]
    fn wrong_types_say_what_was_expected() {
        for (text, parts) in [
            ("batch = 8\nactors = \"four\"", ["line 2", "actors", "expected usize"]),
            ("actors = -1", ["line 1", "actors", "expected usize"]),
            ("actors = 1.5", ["line 1", "actors", "expected usize"]),
            ("learning-rate = \"fast\"", ["line 1", "learning-rate", "expected f64"]),
            (
                "torso = \"lstm\"",
                ["torso", "lstm", "`mlp`, `cnn`, `atari-shallow`, `nature`, `impala-deep`"],
            ),
            ("hidden = 64", ["hidden", "integer `64`", "expected a sequence"]),
            ("conv = [\"16\"]", ["conv", "16", "FILTERSxKERNEL/STRIDE"]),
            ("total-frames = 1.5", ["total-frames", "expected", "whole number"]),
            ("total-frames = \"all\"", ["total-frames", "expected", "whole number"]),
            ("env-arg = 3", ["env-arg", "list", "table"]),
            ("quiet = 1", ["quiet", "integer `1`", "expected a boolean"]),
            ("device = \"tpu\"", ["device", "tpu", "cuda"]),
        ] {
            let message = error(text);
            for part in parts {
                assert!(message.contains(part), "{text}: {message}");
            }
        }
    }
}
