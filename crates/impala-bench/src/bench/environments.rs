//! Measures environments without network and learner: stepped by actors that draw actions at random, and by a plain
//! loop in Python.

mod acting;
mod bare;

use std::fmt;

use serde::Serialize;

use self::bare::BareLoops;
use super::error::BenchError;
use super::setup::Setup;
use super::stats::Spread;
use impala_rl::gym;

/// Steps per second of all environments together.
#[derive(Debug, Clone, Copy)]
pub(super) struct EnvSample {
    pooled: f64,
    python: Option<InPython>,
}

/// The same without the pool.
#[derive(Debug, Clone, Copy)]
struct InPython {
    bare: f64,
    asked: f64,
}

/// Of all repeats.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct EnvReport {
    pooled_steps_per_s: Spread,
    bare_steps_per_s: Option<Spread>,
    ratio: Option<Spread>,
    asked_steps_per_s: Option<Spread>,
    asked_ratio: Option<Spread>,
}

impl InPython {
    fn measure(loops: &mut BareLoops, seconds: f64, envs: usize) -> Result<Self, BenchError> {
        let bare = loops.steps_per_s(seconds)?;
        Ok(Self { bare, asked: loops.asked_steps_per_s(seconds, envs)? })
    }
}

impl EnvSample {
    /// All take turns `repeats` times, and each has the machine to itself for `seconds`: short turns meet
    /// the same machine.
    pub(super) fn measure(
        setup: &Setup,
        repeats: u32,
        seconds: f64,
    ) -> Result<Vec<Self>, BenchError> {
        let python = gym::Source::of(&setup.config.env.id).is_some();
        let mut bare = python.then(|| BareLoops::start(setup)).transpose()?;
        acting::with_actors(setup, |act_for| {
            (0..repeats)
                .map(|_| {
                    let envs = setup.config.pool.envs_per_group();
                    let python = bare
                        .as_mut()
                        .map(|loops| InPython::measure(loops, seconds, envs))
                        .transpose()?;
                    Ok(Self { python, pooled: act_for(seconds)? })
                })
                .collect()
        })
    }
}

impl EnvReport {
    pub(super) fn of(samples: &[EnvSample]) -> Self {
        let both: Vec<_> = samples.iter().filter_map(|s| Some((s.pooled, s.python?))).collect();
        let some = |figure: fn(&(f64, InPython)) -> f64| {
            (!both.is_empty()).then(|| Spread::over(&both, figure))
        };
        Self {
            pooled_steps_per_s: Spread::over(samples, |sample| sample.pooled),
            bare_steps_per_s: some(|(_, python)| python.bare),
            ratio: some(|(pooled, python)| pooled / python.bare),
            asked_steps_per_s: some(|(_, python)| python.asked),
            asked_ratio: some(|(_, python)| python.asked / python.bare),
        }
    }
}

impl fmt::Display for EnvReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  in the pool       {} steps/s", self.pooled_steps_per_s)?;
        if let (Some(bare), Some(ratio)) = (self.bare_steps_per_s, self.ratio) {
            writeln!(f, "  bare Python loop  {bare} steps/s")?;
            writeln!(f, "  ratio             {ratio}")?;
        }
        if let (Some(asked), Some(ratio)) = (self.asked_steps_per_s, self.asked_ratio) {
            writeln!(f, "  asked step by step by another process, without a pool")?;
            writeln!(f, "                    {asked} steps/s")?;
            writeln!(f, "  ratio to the loop {ratio}")?;
        }
        Ok(())
    }
}
