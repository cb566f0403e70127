//! `environment.json`: the spec of a run's environment, so that its policy can be used where the environment is not
//! installed.
//!
//! ```json
//! {"id": "Pendulum-v1",
//!  "observation": {"dtype": "f32", "shape": [3], "frame_stack": 1},
//!  "action": {"kind": "continuous", "sizes": [], "low": [-2.0], "high": [2.0]},
//!  "masks": false}
//! ```
//!
//! `kind` is discrete, multi-discrete, continuous or hybrid; a bound that is infinite is null.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::env::{
    ActionSpec, Actions, Dtype, EnvError, EnvSpec, ObservationSpec, Registry, ResetOut, StepOut,
    VectorEnv,
};

/// Its name in a run folder.
pub const ENVIRONMENT_FILE: &str = "environment.json";

/// Why it says nothing.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct EnvironmentFileError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    pub problem: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Environment {
    id: String,
    observation: Observation,
    action: Action,
    masks: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Observation {
    dtype: ElementName,
    shape: Vec<usize>,
    frame_stack: usize,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ElementName {
    U8,
    F32,
}

#[derive(Debug, Serialize, Deserialize)]
struct Action {
    kind: Kind,
    sizes: Vec<usize>,
    low: Vec<Option<f32>>,
    high: Vec<Option<f32>>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Discrete,
    MultiDiscrete,
    Continuous,
    Hybrid,
}

/// What `spec` says, as JSON.
///
/// # Panics
/// Never: there is nothing in it that JSON does not have.
#[must_use]
pub fn to_json(spec: &EnvSpec) -> String {
    let (low, high) = spec.action.bounds();
    let bounds = |numbers: &[f32]| -> Vec<Option<f32>> {
        numbers.iter().map(|&x| Some(x).filter(|x| x.is_finite())).collect()
    };
    let environment = Environment {
        id: spec.id.clone(),
        observation: Observation {
            dtype: match spec.observation.dtype {
                Dtype::U8 => ElementName::U8,
                Dtype::F32 => ElementName::F32,
            },
            shape: spec.observation.shape.clone(),
            frame_stack: spec.observation.frame_stack,
        },
        action: Action {
            kind: match spec.action {
                ActionSpec::Discrete { .. } => Kind::Discrete,
                ActionSpec::MultiDiscrete { .. } => Kind::MultiDiscrete,
                ActionSpec::Continuous { .. } => Kind::Continuous,
                ActionSpec::Hybrid { .. } => Kind::Hybrid,
            },
            sizes: spec.action.sizes().to_vec(),
            low: bounds(low),
            high: bounds(high),
        },
        masks: spec.masks,
    };
    serde_json::to_string(&environment).expect("strings and numbers")
}

/// Reads what [`to_json`] wrote.
///
/// # Errors
/// If the file is missing, or says nothing that an environment could be.
pub fn read(path: &Path) -> Result<EnvSpec, EnvironmentFileError> {
    let failed = |problem: String| EnvironmentFileError { path: path.to_owned(), problem };
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    let found: Environment =
        serde_json::from_str(&text).map_err(|error| failed(format!("damaged: {error}")))?;
    let Action { kind, sizes, low, high } = found.action;
    let bounds = |numbers: Vec<Option<f32>>, none: f32| -> Vec<f32> {
        numbers.into_iter().map(|x| x.unwrap_or(none)).collect()
    };
    let (low, high) = (bounds(low, f32::NEG_INFINITY), bounds(high, f32::INFINITY));
    let action = match (kind, &sizes[..]) {
        (Kind::Discrete, &[n]) => ActionSpec::Discrete { n },
        (Kind::Discrete, _) => {
            return Err(failed("damaged: a discrete action has one size".into()));
        }
        (Kind::MultiDiscrete, _) => ActionSpec::MultiDiscrete { sizes },
        (Kind::Continuous, _) => ActionSpec::Continuous { low, high },
        (Kind::Hybrid, _) => ActionSpec::Hybrid { sizes, low, high },
    };
    let Observation { dtype, shape, frame_stack } = found.observation;
    let dtype = match dtype {
        ElementName::U8 => Dtype::U8,
        ElementName::F32 => Dtype::F32,
    };
    let observation = ObservationSpec { dtype, shape, frame_stack };
    Ok(EnvSpec { id: found.id, observation, action, masks: found.masks })
}

/// A registry that knows this environment alone, and cannot step it: enough to resolve the configuration of its run.
#[must_use]
pub fn registry_of(spec: &EnvSpec) -> Registry {
    let mut registry = Registry::empty();
    let spec = spec.clone();
    let id = spec.id.clone();
    // As a family: settings for environments in Python may stand beside it.
    registry.add_family(id.clone(), id, "recorded", move |_, _, envs, _| {
        Ok(Box::new(Recorded { spec: spec.clone(), envs }))
    });
    registry
}

/// What an environment looked like.
#[derive(Debug)]
struct Recorded {
    spec: EnvSpec,
    envs: usize,
}

impl Recorded {
    fn refused(&self) -> EnvError {
        EnvError::failed(&self.spec.id, "only what it looks like is known here")
    }
}

impl VectorEnv for Recorded {
    fn spec(&self) -> &EnvSpec {
        &self.spec
    }

    fn envs(&self) -> usize {
        self.envs
    }

    fn reset(&mut self, _out: ResetOut<'_>) -> Result<(), EnvError> {
        Err(self.refused())
    }

    fn step(&mut self, _actions: Actions<'_>, _out: StepOut<'_>) -> Result<(), EnvError> {
        Err(self.refused())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::EnvOptions;

    fn specs() -> Vec<EnvSpec> {
        let image =
            ObservationSpec { frame_stack: 4, ..ObservationSpec::new(Dtype::U8, &[84, 84]) };
        let vector = ObservationSpec::new(Dtype::F32, &[3]);
        let (low, high) = (vec![-2.0, f32::NEG_INFINITY], vec![0.1, f32::INFINITY]);
        let of = |observation: &ObservationSpec, action| {
            EnvSpec::new("gym:a.b:Mine-v0", observation.clone(), action)
        };
        let masked = EnvSpec { masks: true, ..of(&image, ActionSpec::Discrete { n: 6 }) };
        vec![
            masked,
            of(&vector, ActionSpec::MultiDiscrete { sizes: vec![2, 3] }),
            of(&vector, ActionSpec::Continuous { low: low.clone(), high: high.clone() }),
            of(&vector, ActionSpec::Hybrid { sizes: vec![5], low, high }),
        ]
    }

    #[test]
    fn what_was_written_comes_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(ENVIRONMENT_FILE);
        for spec in specs() {
            std::fs::write(&path, to_json(&spec)).expect("written");
            assert_eq!(read(&path).expect("whole"), spec);
            let known = registry_of(&spec);
            assert_eq!(known.spec(&spec.id, &EnvOptions::new()).expect("known"), spec);
        }
    }

    #[test]
    fn damage_is_named_with_its_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(ENVIRONMENT_FILE);
        let missing = read(&path).expect_err("missing").to_string();
        assert!(missing.contains(ENVIRONMENT_FILE), "{missing}");
        let whole = to_json(&specs()[0]);
        for (from, to) in
            [("u8", "u9"), ("\"sizes\":[6]", "\"sizes\":[]"), ("discrete", "none"), ("{", "")]
        {
            std::fs::write(&path, whole.replacen(from, to, 1)).expect("written");
            let error = read(&path).expect_err("damaged").to_string();
            assert!(error.contains("damaged") && !error.contains('\n'), "{error}");
        }
    }
}
