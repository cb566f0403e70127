//! `--chaos`: which faults a run injects into itself.

use std::fmt;
use std::str::FromStr;

/// Faults per second are at most this many: a pool has to do something between two of them.
const RATE_MAX_PER_S: f64 = 1000.0;

/// What `--chaos kill=2/s,stop=0.5/s,seed=7` says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChaosSpec {
    /// SIGKILLs per second, on average.
    pub kills_per_s: f64,
    /// SIGSTOPs per second, on average; each is followed by a SIGCONT.
    pub stops_per_s: f64,
    /// Part of the kills that hit the learner, 0 to 1; the others hit actors, each as often.
    pub learner_share: f64,
    /// The schedule follows from this alone.
    pub seed: u64,
}

impl ChaosSpec {
    /// One kill in this many hits the learner, unless told otherwise.
    pub(crate) const LEARNER_SHARE: f64 = 0.125;
}

/// Why a `--chaos` was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}; write for example kill=2/s,stop=0.5/s,seed=7")]
pub struct ChaosError {
    problem: String,
}

impl FromStr for ChaosSpec {
    type Err = ChaosError;

    fn from_str(text: &str) -> Result<Self, ChaosError> {
        let wrong = |problem: String| Err(ChaosError { problem });
        let (mut kill, mut stop, mut learner, mut seed) = (None, None, None, None);
        for part in text.split(',') {
            let Some((key, value)) = part.split_once('=') else {
                return wrong(format!("{part:?} is not KEY=VALUE"));
            };
            let again = match key {
                "kill" => kill.replace(rate(key, value)?).is_some(),
                "stop" => stop.replace(rate(key, value)?).is_some(),
                "learner" => learner.replace(share(value)?).is_some(),
                "seed" => match value.parse::<u64>() {
                    Ok(number) => seed.replace(number).is_some(),
                    Err(_) => return wrong(format!("seed={value} is not a whole number")),
                },
                _ => return wrong(format!("{key:?} is not one of kill, stop, learner, seed")),
            };
            if again {
                return wrong(format!("{key} is given twice"));
            }
        }
        if kill.is_none() && stop.is_none() {
            return wrong("neither kill nor stop has a rate".into());
        }
        Ok(Self {
            kills_per_s: kill.unwrap_or(0.0),
            stops_per_s: stop.unwrap_or(0.0),
            learner_share: learner.unwrap_or(Self::LEARNER_SHARE),
            seed: seed.unwrap_or(1),
        })
    }
}

fn rate(key: &str, value: &str) -> Result<f64, ChaosError> {
    let number = value.strip_suffix("/s").and_then(|number| number.parse::<f64>().ok());
    number.filter(|&rate| rate > 0.0 && rate <= RATE_MAX_PER_S).ok_or_else(|| ChaosError {
        problem: format!("{key}={value} is not a rate above 0/s and up to {RATE_MAX_PER_S}/s"),
    })
}

fn share(value: &str) -> Result<f64, ChaosError> {
    value
        .parse()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| ChaosError { problem: format!("learner={value} is not from 0 to 1") })
}

impl fmt::Display for ChaosSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kills_per_s, stops_per_s, learner_share, seed } = self;
        if *kills_per_s > 0.0 {
            write!(f, "kill={kills_per_s}/s,")?;
        }
        if *stops_per_s > 0.0 {
            write!(f, "stop={stops_per_s}/s,")?;
        }
        write!(f, "learner={learner_share},seed={seed}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_read_and_repeats_itself() {
        let spec: ChaosSpec = "kill=2/s,stop=0.5/s,seed=7".parse().expect("valid");
        let same = ChaosSpec { kills_per_s: 2.0, stops_per_s: 0.5, learner_share: 0.125, seed: 7 };
        assert_eq!(spec, same);
        assert_eq!(spec.to_string().parse(), Ok(spec));
        let spec: ChaosSpec = "stop=3/s,learner=0".parse().expect("valid");
        assert_eq!((spec.kills_per_s, spec.learner_share, spec.seed), (0.0, 0.0, 1));
        assert_eq!(spec.to_string().parse(), Ok(spec));
    }

    #[test]
    fn what_is_wrong_is_named_on_one_line() {
        for (text, part) in [
            ("", "not KEY=VALUE"),
            ("kill", "\"kill\" is not KEY=VALUE"),
            ("kill=2", "kill=2 is not a rate"),
            ("kill=0/s", "above 0/s"),
            ("kill=-1/s", "above 0/s"),
            ("kill=nan/s", "above 0/s"),
            ("kill=1e9/s", "up to 1000/s"),
            ("stop=often/s", "stop=often/s"),
            ("kill=1/s,kill=2/s", "kill is given twice"),
            ("kill=1/s,seed=x", "seed=x is not a whole number"),
            ("kill=1/s,learner=2", "learner=2 is not from 0 to 1"),
            ("seed=7", "neither kill nor stop"),
            ("burn=1/s", "\"burn\" is not one of"),
        ] {
            let message = text.parse::<ChaosSpec>().expect_err(text).to_string();
            assert!(message.contains(part) && !message.contains('\n'), "{text}: {message}");
            assert!(message.ends_with("kill=2/s,stop=0.5/s,seed=7"), "{message}");
        }
    }
}
