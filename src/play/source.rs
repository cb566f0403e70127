//! Finds the weights to play with: in a run folder (its newest complete checkpoint), or in one checkpoint.

use std::path::{Path, PathBuf};

use super::error::PlayError;
use crate::config::{Settings, file};
use crate::learner::checkpoint::Checkpoint;
use crate::policy::spec::ParamSpec;

/// A run, and which of its checkpoints is meant.
#[derive(Debug)]
pub(super) struct Source {
    run_dir: PathBuf,
    /// The one that was named; else the newest.
    one: Option<PathBuf>,
}

/// Weights, where they are from, and what was passed over.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) checkpoint: Checkpoint,
    pub(super) place: PathBuf,
    pub(super) problems: Vec<String>,
}

impl Source {
    /// What `path` names.
    pub(super) fn of(path: &Path) -> Result<Self, PlayError> {
        let is_run = |folder: &Path| folder.join("config.toml").is_file();
        let above = path.canonicalize().ok().and_then(|p| Some(p.parent()?.parent()?.to_owned()));
        match above {
            _ if is_run(path) => Ok(Self { run_dir: path.to_owned(), one: None }),
            Some(above) if is_run(&above) => {
                Ok(Self { run_dir: above, one: Some(path.to_owned()) })
            }
            _ => Err(PlayError::NoRun(path.to_owned())),
        }
    }

    pub(super) fn run_dir(&self) -> &Path {
        &self.run_dir
    }

    /// The settings of the run, all of them.
    pub(super) fn settings(&self) -> Result<Settings, PlayError> {
        Ok(file::read(&self.run_dir.join("config.toml"))?)
    }

    /// The weights of a network with these parameters.
    pub(super) fn checkpoint(&self, parameters: &ParamSpec) -> Result<Found, PlayError> {
        if let Some(place) = &self.one {
            let checkpoint = Checkpoint::load(place, parameters)?;
            return Ok(Found { checkpoint, place: place.clone(), problems: Vec::new() });
        }
        let folder = self.run_dir.join("checkpoints");
        let (checkpoint, problems) = Checkpoint::load_newest(&folder, parameters)?;
        let place = folder.join(format!("{:012}", checkpoint.state.frames));
        Ok(Found { checkpoint, place, problems })
    }
}
