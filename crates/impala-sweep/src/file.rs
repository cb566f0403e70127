//! Reads the TOML file of a sweep: settings that all runs have, and tables that say which values to try.

use std::ops::Range;
use std::path::{Path, PathBuf};

use impala_rl::config::{ConfigError, Settings, file};
use serde::de::DeserializeOwned;
use toml::de::DeTable;
use toml::{Table, Value};

use super::error::SweepError;
use super::halving::Halving;
use super::score::Metric;
use super::search::{Draw, Random, Search, settings};

/// Tables that are not settings.
const TABLES: [&str; 4] = ["grid", "random", "halving", "sweep"];
/// Keys of `[random]` that are not settings. A run's seed is not a setting of a sweep, so that it is free for the draws'.
const OF_RANDOM: [&str; 2] = ["trials", "seed"];

/// What a file says.
#[derive(Debug, Default)]
pub(crate) struct SweepFile {
    /// Settings of every run.
    pub(crate) fixed: Settings,
    pub(crate) search: Search,
    pub(crate) halving: Option<Halving>,
    pub(crate) seeds: Option<u32>,
    pub(crate) metric: Option<Metric>,
}

impl SweepFile {
    pub(crate) fn read(path: &Path) -> Result<Self, SweepError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| SweepError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    /// From the text of a file; `path` is for messages.
    fn parse(text: &str, path: &Path) -> Result<Self, SweepError> {
        let Ok(document) = DeTable::parse(text) else {
            // It says what is wrong with the syntax.
            return Ok(Self { fixed: file::parse(text, path)?, ..Self::default() });
        };
        let Ok(mut values) = toml::from_str::<Table>(text) else {
            return Ok(Self { fixed: file::parse(text, path)?, ..Self::default() });
        };
        let mut keys: Vec<_> = document.get_ref().iter().collect();
        keys.sort_by_key(|(key, _)| key.span().start);
        // The tables of a sweep become empty lines, so that the rest is a file of settings with the same lines.
        let mut rest = text.to_owned();
        let starts = keys.iter().map(|(key, _)| line_start(text, key.span().start));
        let ends = starts.clone().skip(1).chain([text.len()]);
        let mut read = Reader { text, path, found: Self::default() };
        for ((key, value), (start, end)) in keys.iter().zip(starts.zip(ends)) {
            let name = key.get_ref().as_ref();
            if !TABLES.contains(&name) {
                continue;
            }
            let (Some(places), Some(Value::Table(mut own))) =
                (value.get_ref().as_table(), values.remove(name))
            else {
                return Err(read.wrong(&key.span(), format!("{name} is a table, write [{name}]")));
            };
            let mut entries: Vec<Entry> = places
                .keys()
                .filter_map(|key| {
                    let (place, key) = (key.span(), key.get_ref().to_string());
                    Some(Entry { value: own.remove(&key)?, key, place })
                })
                .collect();
            // In the order of the file, so that the first mistake is the one reported.
            entries.sort_by_key(|entry| entry.place.start);
            let blank: String =
                text[start..end].chars().map(|c| if c == '\n' { c } else { ' ' }).collect();
            // Of one byte each: characters of several bytes would move what follows.
            let blank =
                blank + &" ".repeat((end - start).saturating_sub(text[start..end].chars().count()));
            rest.replace_range(start..end, &blank);
            read.table(name, &key.span(), entries)?;
        }
        let Reader { found, .. } = read;
        Ok(Self { fixed: file::parse(&rest, path)?, ..found })
    }
}

/// The tables of a file, one after the other.
struct Reader<'a> {
    text: &'a str,
    path: &'a Path,
    found: SweepFile,
}

impl Reader<'_> {
    fn table(
        &mut self,
        name: &str,
        place: &Range<usize>,
        entries: Vec<Entry>,
    ) -> Result<(), SweepError> {
        match name {
            "grid" => self.grid(entries),
            "random" => self.random(place, entries),
            "halving" => self.halving(place, &entries),
            _ => self.sweep(&entries),
        }
    }

    fn grid(&mut self, entries: Vec<Entry>) -> Result<(), SweepError> {
        for Entry { key, place, value } in entries {
            self.known(&key, &place)?;
            let Value::Array(values) = value else {
                let problem =
                    format!("{key} in [grid] needs all its values: write {key} = [{value}, ...]");
                return Err(self.wrong(&place, problem));
            };
            self.fit(&key, &values, &place)?;
            self.found.search.grid.push((key, values));
        }
        Ok(())
    }

    fn random(&mut self, place: &Range<usize>, entries: Vec<Entry>) -> Result<(), SweepError> {
        let (own, drawn): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| OF_RANDOM.contains(&entry.key.as_str()));
        let whole = |name: &str| own.iter().find(|entry| entry.key == name);
        let Some(trials) = whole("trials") else {
            return Err(
                self.wrong(place, "[random] needs trials = N, how often it draws".to_owned())
            );
        };
        let trials = self.whole(trials, 1)?;
        let seed = whole("seed").map(|entry| self.whole(entry, 0)).transpose()?.unwrap_or(1);
        let mut draws = Vec::new();
        for Entry { key, place, value } in drawn {
            self.known(&key, &place)?;
            let draw =
                draw(value).map_err(|problem| self.wrong(&place, format!("{key}: {problem}")))?;
            let ends = match &draw {
                Draw::Choice(values) => values.clone(),
                &Draw::Real { low, high, .. } => vec![low.into(), high.into()],
                &Draw::Whole { low, high, .. } => vec![low.into(), high.into()],
            };
            self.fit(&key, &ends, &place)?;
            draws.push((key, draw));
        }
        if draws.is_empty() {
            let problem = "[random] names no setting; write one such as learning-rate = { low = 1e-4, high = 1e-2, log = true }";
            return Err(self.wrong(place, problem.to_owned()));
        }
        let trials = usize::try_from(trials).unwrap_or(usize::MAX);
        self.found.search.random = Some(Random { trials, seed, draws });
        Ok(())
    }

    fn halving(&mut self, place: &Range<usize>, entries: &[Entry]) -> Result<(), SweepError> {
        let mut halving = Halving { first_frames: 0, factor: 3, restart: false };
        for entry in entries {
            match entry.key.as_str() {
                "first-frames" => halving.first_frames = self.whole(entry, 1)?,
                "factor" => {
                    halving.factor = u32::try_from(self.whole(entry, 2)?).unwrap_or(u32::MAX);
                }
                "restart" => {
                    let problem =
                        || self.wrong(&entry.place, "restart is true or false".to_owned());
                    halving.restart = entry.value.as_bool().ok_or_else(problem)?;
                }
                _ => return Err(self.unknown(entry, "first-frames, factor and restart")),
            }
        }
        if halving.first_frames == 0 {
            let problem = "[halving] needs first-frames = N, the budget of each trial at first";
            return Err(self.wrong(place, problem.to_owned()));
        }
        self.found.halving = Some(halving);
        Ok(())
    }

    fn sweep(&mut self, entries: &[Entry]) -> Result<(), SweepError> {
        for entry in entries {
            match entry.key.as_str() {
                "seeds" => {
                    let seeds = u32::try_from(self.whole(entry, 1)?).unwrap_or(u32::MAX);
                    self.found.seeds = Some(seeds);
                }
                "metric" => {
                    let metric = deserialized(entry.value.clone());
                    self.found.metric =
                        Some(metric.map_err(|problem| self.wrong(&entry.place, problem))?);
                }
                _ => return Err(self.unknown(entry, "seeds and metric")),
            }
        }
        Ok(())
    }

    fn known(&self, key: &str, place: &Range<usize>) -> Result<(), SweepError> {
        if Settings::keys().iter().any(|known| known == key) {
            return Ok(());
        }
        let (path, line) = (self.path.to_owned(), self.line(place));
        let nearest = file::nearest(key);
        Err(ConfigError::UnknownKey { path, line, key: key.to_owned(), nearest }.into())
    }

    /// Whether a setting may have these values, one at least.
    fn fit(&self, key: &str, values: &[Value], place: &Range<usize>) -> Result<(), SweepError> {
        if values.is_empty() {
            return Err(self.wrong(place, format!("{key} has no values; write one at least")));
        }
        for value in values {
            settings(&[(key.to_owned(), value.clone())])
                .map_err(|problem| self.wrong(place, problem))?;
        }
        Ok(())
    }

    fn whole(&self, entry: &Entry, least: u64) -> Result<u64, SweepError> {
        let number = match entry.value {
            Value::Integer(number) => u64::try_from(number).ok(),
            // 1e6 is a float to TOML.
            Value::Float(real) => {
                format!("{real:.0}").parse().ok().filter(|&n: &u64| n as f64 == real)
            }
            _ => None,
        };
        number.filter(|&number| number >= least).ok_or_else(|| {
            let Entry { key, value, .. } = entry;
            self.wrong(
                &entry.place,
                format!("{key} is {value}; write a whole number, {least} or more"),
            )
        })
    }

    fn unknown(&self, entry: &Entry, known: &str) -> SweepError {
        self.wrong(&entry.place, format!("unknown key {:?}; here are only {known}", entry.key))
    }

    fn wrong(&self, place: &Range<usize>, problem: String) -> SweepError {
        SweepError::BadFile { path: PathBuf::from(self.path), line: self.line(place), problem }
    }

    fn line(&self, place: &Range<usize>) -> usize {
        self.text.get(..place.start).unwrap_or_default().matches('\n').count() + 1
    }
}

/// A key with its value.
struct Entry {
    key: String,
    place: Range<usize>,
    value: Value,
}

/// How a value of `[random]` is drawn.
fn draw(value: Value) -> Result<Draw, String> {
    const FORM: &str = "write { low = 1e-4, high = 1e-2, log = true } or { choices = [16, 32] }";
    let mut table = match value {
        Value::Array(choices) => return Ok(Draw::Choice(choices)),
        Value::Table(table) => table,
        other => return Err(format!("{other} is not a range; {FORM}")),
    };
    if let Some(choices) = table.remove("choices") {
        let Value::Array(choices) = choices else {
            return Err(format!("choices is {choices}, not a list; {FORM}"));
        };
        return match table.keys().next() {
            Some(key) => Err(format!("{key} does not go with choices; {FORM}")),
            None => Ok(Draw::Choice(choices)),
        };
    }
    let log = match table.remove("log") {
        None => false,
        Some(Value::Boolean(log)) => log,
        Some(other) => return Err(format!("log is {other}; it is true or false")),
    };
    let (Some(low), Some(high)) = (table.remove("low"), table.remove("high")) else {
        return Err(format!("low and high are needed; {FORM}"));
    };
    if let Some(key) = table.keys().next() {
        return Err(format!("unknown key {key:?}; {FORM}"));
    }
    let ordered = |low: f64, high: f64| {
        if low.is_finite() && high.is_finite() && low <= high && (!log || low > 0.0) {
            Ok(())
        } else if log && low <= 0.0 {
            Err(format!("low is {low}; with log it must be above 0"))
        } else {
            Err(format!("low is {low} and high is {high}; low must be the smaller, both finite"))
        }
    };
    if let (&Value::Integer(low), &Value::Integer(high)) = (&low, &high) {
        ordered(low as f64, high as f64)?;
        return Ok(Draw::Whole { low, high, log });
    }
    let real = |value: &Value| value.as_float().or_else(|| Some(value.as_integer()? as f64));
    let (Some(low), Some(high)) = (real(&low), real(&high)) else {
        return Err(format!("low and high are numbers; {FORM}"));
    };
    ordered(low, high)?;
    Ok(Draw::Real { low, high, log })
}

fn deserialized<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    value.try_into().map_err(|error: toml::de::Error| error.message().replace('\n', ", "))
}

fn line_start(text: &str, byte: usize) -> usize {
    text.get(..byte).and_then(|before| before.rfind('\n')).map_or(0, |newline| newline + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = "# größer\nenv = \"Catch-v0\"\ntotal-frames = 1e5\n\n[grid]\nlearning-rate = [1e-3, 3e-3]\nhidden = [[32], [64, 64]]\n\n\
                        [random]\ntrials = 4\nseed = 7\nentropy-cost = { low = 1e-3, high = 0.1, log = true }\nunroll = { low = 8, high = 32 }\n\
                        batch = [8, 16]\n\n[halving]\nfirst-frames = 5e4\n\n[sweep]\nseeds = 2\nmetric = \"frames-per-s\"\n\n[env-arg]\nrows = 6\n";

    fn parse(text: &str) -> Result<SweepFile, String> {
        SweepFile::parse(text, Path::new("s.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn every_part_is_read() {
        let file = parse(FULL).expect("valid");
        assert_eq!(file.fixed.env, Some(vec!["Catch-v0".to_owned()]));
        assert_eq!(file.fixed.total_frames, Some(100_000));
        assert_eq!(file.fixed.env_arg, Some(vec!["rows=6".to_owned()]));
        assert_eq!(file.fixed.learning_rate, None);
        let mut keys: Vec<_> = file.search.keys().collect();
        keys.sort_unstable();
        assert_eq!(keys, ["batch", "entropy-cost", "hidden", "learning-rate", "unroll"]);
        let random = file.search.random.as_ref().expect("drawn");
        assert_eq!((random.trials, random.seed), (4, 7));
        let draw = |key: &str| &random.draws.iter().find(|(name, _)| name == key).expect(key).1;
        assert_eq!(draw("entropy-cost"), &Draw::Real { low: 1e-3, high: 0.1, log: true });
        assert_eq!(draw("unroll"), &Draw::Whole { low: 8, high: 32, log: false });
        assert_eq!(draw("batch"), &Draw::Choice(vec![8.into(), 16.into()]));
        let halving = Halving { first_frames: 50_000, factor: 3, restart: false };
        assert_eq!(file.halving, Some(halving));
        assert_eq!((file.seeds, file.metric), (Some(2), Some(Metric::FramesPerS)));
        assert_eq!(file.search.len(), 16);
    }

    #[test]
    fn mistakes_are_one_line_with_their_place() {
        for (text, parts) in [
            ("env = 3\n[grid]\nactors = [1]", ["s.toml", "line 1", "env"]),
            ("actor = 3\n[grid]\nactors = [1]", ["line 1", "did you mean", "actors"]),
            (
                "[grid]\nactors = [1]\n\n[env-arg]\na = 1\n[sweeps]\nx = 1",
                ["line 6", "sweeps", "table"],
            ),
            ("[grid]\n\nlearningrate = [1]", ["line 3", "did you mean", "learning-rate"]),
            ("[grid]\nactors = 2", ["line 2", "actors = [2, ...]", "[grid]"]),
            ("[grid]\nactors = []", ["line 2", "actors has no values", "one at least"]),
            ("[grid]\nactors = [1, \"x\"]", ["line 2", "actors: ", "\"x\""]),
            ("grid = 3", ["line 1", "grid is a table", "[grid]"]),
            ("[random]\nunroll = [1]", ["line 1", "trials = N", "draws"]),
            ("[random]\ntrials = 0\nunroll = [1]", ["line 2", "trials is 0", "1 or more"]),
            ("[random]\ntrials = 3", ["line 1", "names no setting", "low ="]),
            ("[random]\ntrials = 3\ndiscount = 0.9", ["line 3", "0.9 is not a range", "choices"]),
            (
                "[random]\ntrials = 3\ndiscount = { low = 0.9 }",
                ["line 3", "low and high", "choices"],
            ),
            (
                "[random]\ntrials = 3\ndiscount = { low = 0.9, high = 0.8 }",
                ["line 3", "low is 0.9", "smaller"],
            ),
            (
                "[random]\ntrials = 3\ndiscount = { low = 0, high = 1, log = true }",
                ["line 3", "low is 0", "above 0"],
            ),
            (
                "[random]\ntrials = 3\nactors = { low = 0.5, high = 3 }",
                ["line 3", "actors: ", "0.5"],
            ),
            ("[halving]\nfactor = 3", ["line 1", "first-frames = N", "budget"]),
            ("[halving]\nfactor = 1", ["line 2", "factor is 1", "2 or more"]),
            ("[halving]\nframes = 1", ["line 2", "\"frames\"", "first-frames"]),
            ("[sweep]\nseeds = 0", ["line 2", "seeds is 0", "1 or more"]),
            ("[sweep]\nmetric = \"speed\"", ["line 2", "speed", "frames-per-s"]),
            ("[sweep]\ntrials = 1", ["line 2", "\"trials\"", "seeds and metric"]),
            ("[grid\n", ["s.toml", "line 1", ""]),
        ] {
            let error = parse(text).expect_err(text);
            assert!(!error.contains('\n'), "{error:?}");
            for part in parts {
                assert!(error.contains(part), "{text}: {error}");
            }
        }
    }
}
