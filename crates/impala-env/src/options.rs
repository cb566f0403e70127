//! Options of an environment that a user may set: `--env-arg KEY=VALUE`.

use std::fmt::{self, Display};
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use super::{EnvError, ExternalEnv};

/// Options of an environment, in the order in which they were given. A key given twice holds its last
/// value. In a file they are a table; numbers and booleans there are taken as they are written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EnvOptions {
    pairs: Vec<(String, String)>,
    /// Frames that the network sees at once, whatever the environment says; not one of its options.
    pub frame_stack: Option<usize>,
    /// How it is run if it is not built in; not one of its options.
    pub external: ExternalEnv,
}

impl EnvOptions {
    /// No options.
    #[must_use]
    pub const fn new() -> Self {
        Self { pairs: Vec::new(), frame_stack: None, external: ExternalEnv::new() }
    }

    /// Takes `KEY=VALUE` strings as they come from a command line.
    ///
    /// # Errors
    /// [`EnvError::OptionSyntax`] for the first that is no `key=value`.
    pub fn parse<S: AsRef<str>>(arguments: impl IntoIterator<Item = S>) -> Result<Self, EnvError> {
        let mut options = Self::new();
        for argument in arguments {
            let argument = argument.as_ref();
            match argument.split_once('=') {
                Some((key, value)) if !key.trim().is_empty() => {
                    options.set(key.trim(), value.trim());
                }
                _ => {
                    return Err(EnvError::OptionSyntax { argument: argument.to_owned() });
                }
            }
        }
        Ok(options)
    }

    /// Sets one option; a value that it had is replaced.
    pub fn set(&mut self, key: &str, value: &str) {
        match self.pairs.iter_mut().find(|(known, _)| known == key) {
            Some((_, old)) => value.clone_into(old),
            None => self.pairs.push((key.to_owned(), value.to_owned())),
        }
    }

    /// The value of an option.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let found = self.pairs.iter().find(|(known, _)| known == key);
        found.map(|(_, value)| value.as_str())
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Keys and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.pairs.iter();
        pairs.map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Reads them on behalf of environment `id`, which errors will name.
    #[must_use]
    pub const fn read<'a>(&'a self, id: &'a str) -> OptionReader<'a> {
        OptionReader { id, options: self, known: Vec::new() }
    }
}

/// Turns [`EnvOptions`] into values. What was asked for is known; [`OptionReader::finish`] refuses the
/// rest, so that a misspelt option cannot pass unseen.
///
/// ```
/// use impala_env::{EnvError, EnvOptions};
///
/// fn ghosts(options: &EnvOptions) -> Result<u32, EnvError> {
///     let mut read = options.read("Maze-v0");
///     let ghosts = read.number("ghosts", 4, 1..=16)?;
///     read.finish()?;
///     Ok(ghosts)
/// }
///
/// assert_eq!(ghosts(&EnvOptions::parse(["ghosts=2"])?)?, 2);
/// assert!(ghosts(&EnvOptions::parse(["gosts=2"])?).is_err());
/// # Ok::<(), EnvError>(())
/// ```
#[derive(Debug)]
pub struct OptionReader<'a> {
    id: &'a str,
    options: &'a EnvOptions,
    known: Vec<&'static str>,
}

impl<'a> OptionReader<'a> {
    /// The value as it was typed.
    pub fn text(&mut self, key: &'static str) -> Option<&'a str> {
        self.known.push(key);
        self.options.get(key)
    }

    /// A number within `range`, else `default`.
    ///
    /// # Errors
    /// [`EnvError::BadOption`] if it is not a number, or outside the range.
    pub fn number<T: FromStr + PartialOrd + Display>(
        &mut self,
        key: &'static str,
        default: T,
        range: RangeInclusive<T>,
    ) -> Result<T, EnvError> {
        match self.text(key).map(str::parse) {
            None => Ok(default),
            Some(Ok(number)) if range.contains(&number) => Ok(number),
            Some(_) => {
                let problem = format!("give a number from {} to {}", range.start(), range.end());
                Err(self.bad(key, problem))
            }
        }
    }

    /// One of `choices` by its name, else `default`.
    ///
    /// # Errors
    /// [`EnvError::BadOption`] if it is none of them.
    pub fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        default: T,
        choices: &[(&str, T)],
    ) -> Result<T, EnvError> {
        let Some(value) = self.text(key) else {
            return Ok(default);
        };
        let found = choices.iter().find(|(name, _)| *name == value);
        found.map(|(_, choice)| *choice).ok_or_else(|| {
            let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
            self.bad(key, format!("give one of {}", names.join(", ")))
        })
    }

    /// The error for a value that did not do.
    #[must_use]
    pub fn bad(&self, key: &str, problem: impl Into<String>) -> EnvError {
        EnvError::BadOption {
            id: self.id.to_owned(),
            key: key.to_owned(),
            value: self.options.get(key).unwrap_or_default().to_owned(),
            problem: problem.into(),
        }
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`EnvError::BadOption`] for the first option that was never asked for.
    pub fn finish(self) -> Result<(), EnvError> {
        let unknown = self.options.iter().find(|(key, _)| !self.known.contains(key));
        match unknown {
            None => Ok(()),
            Some((key, _)) if self.known.is_empty() => {
                Err(self.bad(key, "this environment takes no options"))
            }
            Some((key, _)) => {
                let problem = format!("no such option; there are {}", self.known.join(", "));
                Err(self.bad(key, problem))
            }
        }
    }
}

impl Serialize for EnvOptions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for EnvOptions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Table;

        impl<'de> Visitor<'de> for Table {
            type Value = EnvOptions;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of options of the environment")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<EnvOptions, A::Error> {
                let mut options = EnvOptions::new();
                while let Some((key, value)) = map.next_entry::<String, Scalar>()? {
                    options.set(&key, &value.to_string());
                }
                Ok(options)
            }
        }

        deserializer.deserialize_map(Table)
    }
}

/// What people write in a file: `stack = 4` as well as `stack = "4"`.
#[derive(serde::Deserialize)]
#[serde(untagged, expecting = "a string, a number or a boolean")]
enum Scalar {
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
}

impl Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Integer(number) => number.fmt(f),
            Self::Float(number) => number.fmt(f),
            Self::Boolean(truth) => truth.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(arguments: &[&str]) -> EnvOptions {
        EnvOptions::parse(arguments).expect("well formed")
    }

    fn problem<T: fmt::Debug>(result: Result<T, EnvError>) -> String {
        match result.expect_err("must be refused") {
            EnvError::BadOption { id, problem, .. } => format!("{id}: {problem}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn pairs_keep_their_order_and_the_last_value_wins() {
        let parsed = options(&["b=1", " a = x=y ", "b=2"]);
        let pairs: Vec<_> = parsed.iter().collect();
        assert_eq!(pairs, [("b", "2"), ("a", "x=y")]);
        for wrong in ["stack", "=4", ""] {
            let error = EnvOptions::parse([wrong]).expect_err("no pair");
            assert!(matches!(error, EnvError::OptionSyntax { .. }), "{error}");
        }
    }

    #[test]
    fn numbers_are_checked_against_their_range() {
        let given = options(&["n=17", "x=nan", "t=three"]);
        let mut read = given.read("Maze-v0");
        assert_eq!(read.number("absent", 4, 1..=16), Ok(4));
        assert_eq!(read.number("n", 4, 1..=17), Ok(17));
        let above = problem(read.number("n", 4, 1..=16));
        assert_eq!(above, "Maze-v0: give a number from 1 to 16");
        problem(read.number("x", 0.0, 0.0..=1.0));
        problem(read.number("t", 3, 0..=9));
    }

    #[test]
    fn choices_are_named_in_the_error() {
        let given = options(&["dtype=f64"]);
        let mut read = given.read("Maze-v0");
        let choices = [("u8", 1), ("f32", 4)];
        assert_eq!(read.choice("absent", 1, &choices), Ok(1));
        let wrong = problem(read.choice("dtype", 1, &choices));
        assert_eq!(wrong, "Maze-v0: give one of u8, f32");
        assert_eq!(read.choice("dtype", 1, &[("f64", 8)]), Ok(8));
    }

    #[test]
    fn what_nobody_asked_for_is_refused() {
        let given = options(&["ghosts=2", "gosts=2"]);
        let mut read = given.read("Maze-v0");
        assert_eq!(read.text("ghosts"), Some("2"));
        assert_eq!(read.text("walls"), None);
        assert_eq!(problem(read.finish()), "Maze-v0: no such option; there are ghosts, walls");
        assert!(problem(given.read("Maze-v0").finish()).contains("takes no options"));
        assert_eq!(EnvOptions::new().read("Maze-v0").finish(), Ok(()));
    }

    #[test]
    fn files_hold_them_as_a_table() {
        let given = options(&["shape=84x84", "stack=4"]);
        let text = toml::to_string(&given).expect("a table");
        assert_eq!(toml::from_str::<EnvOptions>(&text).expect("a table"), given);
        let written = "shape = '84x84'\nstack = 4\ncost = 0.5\nwrap = true";
        let read: EnvOptions = toml::from_str(written).expect("scalars");
        let values = ["shape", "stack", "cost", "wrap"].map(|key| read.get(key));
        assert_eq!(values, [Some("84x84"), Some("4"), Some("0.5"), Some("true")]);
        let error = toml::from_str::<EnvOptions>("a = [1]").expect_err("no scalar");
        assert!(error.to_string().contains("a string, a number or a boolean"), "{error}");
    }
}
