//! Checkpoints: written so that a crash at any moment leaves the previous one intact, and read as untrusted input.
//!
//! ```text
//! checkpoints/000000123456/        named after the frames learnt
//!     weights.safetensors          the network's parameters under their PyTorch-style names
//!     optimizer.safetensors        the optimizer's two state vectors
//!     state.bin                    counters and recent episodes (bincode)
//!     manifest.json                sizes and CRC-32 of the three, and what they are of
//! ```
//!
//! A checkpoint is made in `000000123456.tmp`, each file is fsynced, the folder is renamed into place,
//! and the parent is fsynced. A folder without a manifest that fits is no checkpoint.

mod folder;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use bincode::{Decode, Encode};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

pub use folder::list;

use super::popart::ValueMoments;
use super::return_scale::Moments;
use crate::kill_point;
use crate::policy::spec::{ActionLayout, ParamSpec};

const FORMAT: u32 = 5;
const WEIGHTS: &str = "weights.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const STATE: &str = "state.bin";
const MANIFEST: &str = "manifest.json";
/// No file of a checkpoint is larger; a manifest that says otherwise is damaged.
const MAX_FILE_BYTES: u64 = 1 << 36;
const MAX_SMALL_FILE_BYTES: u64 = 1 << 20;

/// What a learner continues from, beside the tensors.
#[derive(Debug, Clone, PartialEq, Default, Encode, Decode)]
pub struct LearnerState {
    /// Updates made; the version of the weights.
    pub version: u64,
    /// Frames learnt.
    pub frames: u64,
    /// Episodes finished.
    pub episodes: u64,
    /// Wall time of the run so far, in milliseconds.
    pub wall_ms: u64,
    /// How often the run was resumed: each time with other streams of random numbers.
    pub resumes: u64,
    /// Transitions of the optimizer.
    pub optimizer_steps: u64,
    /// Return and length of the recent episodes, oldest first.
    pub recent_episodes: Vec<(f32, u32)>,
    /// Mean return when it was saved, if there was one.
    pub return_mean: Option<f64>,
    /// Each task, in their order; none before the first block.
    pub tasks: Vec<TaskState>,
    /// Observations that the statistics among the weights come from; 0 without `normalize-observations`.
    pub observations_seen: f64,
    /// Weight of the divergence where it is adapted; else 0.
    pub kl_cost: f64,
}

impl LearnerState {
    /// For the learner of another rank.
    #[must_use]
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        // Into memory it cannot fail.
        bincode::encode_to_vec(self, bincode::config::standard()).unwrap_or_default()
    }

    /// What [`LearnerState::to_bytes`] gave.
    ///
    /// # Errors
    /// If it is something else.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, bincode::error::DecodeError> {
        let limit = bincode::config::standard().with_limit::<{ MAX_SMALL_FILE_BYTES as usize }>();
        Ok(bincode::decode_from_slice(bytes, limit)?.0)
    }
}

/// What a learner continues from of one task.
#[derive(Debug, Clone, PartialEq, Default, Encode, Decode)]
pub struct TaskState {
    /// Frames learnt.
    pub frames: u64,
    /// Episodes finished.
    pub episodes: u64,
    /// Return and length of the recent episodes, oldest first.
    pub recent_episodes: Vec<(f32, u32)>,
    /// The discounted returns that rewards are scaled by; nothing without `normalize-rewards`.
    pub returns: Moments,
    /// The targets that values are scaled by; as at the start without `popart`.
    pub values: ValueMoments,
}

/// All of a checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// The flat parameter vector.
    pub parameters: Vec<f32>,
    /// The optimizer's two vectors.
    pub optimizer: [Vec<f32>; 2],
    /// The rest.
    pub state: LearnerState,
}

/// Why a checkpoint could not be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The system refused.
    #[error("checkpoint {path}: cannot {action}: {source}")]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The bytes are not those that were written.
    #[error("checkpoint {path} is damaged: {problem}")]
    Damaged {
        /// File or folder.
        path: PathBuf,
        /// What does not fit.
        problem: String,
    },
    /// A build with another format wrote it.
    #[error(
        "checkpoint {path} is of another version: its format is {found}, this build reads {FORMAT}"
    )]
    OtherVersion {
        /// File.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// It is of another network.
    #[error("checkpoint {path} is of another network: {problem}")]
    OtherNetwork {
        /// File.
        path: PathBuf,
        /// The first difference.
        problem: String,
    },
    /// Nothing to continue from.
    #[error("no usable checkpoint in {path}{}", first_problem(.problems))]
    NoneValid {
        /// The folder searched.
        path: PathBuf,
        /// Why each one was refused, newest first.
        problems: Vec<String>,
    },
}

fn first_problem(problems: &[String]) -> String {
    problems.first().map_or_else(String::new, |problem| format!(" ({problem})"))
}

#[derive(Debug, Deserialize)]
struct Version {
    format: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    format: u32,
    frames: u64,
    version: u64,
    return_mean: Option<f64>,
    /// What the policy's outputs are for.
    actions: ActionLayout,
    files: BTreeMap<String, FileEntry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct FileEntry {
    bytes: u64,
    crc32: u32,
}

impl Checkpoint {
    /// Writes the checkpoint into `folder` (made if missing), then removes all but the newest `keep`
    /// and the one with the best mean return. Returns the folder of the new one.
    ///
    /// # Errors
    /// If anything cannot be written; what was there before is untouched then.
    pub fn save(
        &self,
        folder: &Path,
        parameters: &ParamSpec,
        keep: usize,
    ) -> Result<PathBuf, CheckpointError> {
        let name = format!("{:012}", self.state.frames);
        let (temporary, place) = (folder.join(format!("{name}.tmp")), folder.join(&name));
        fs::create_dir_all(folder).map_err(io_error(folder, "create"))?;
        folder::remove_if_there(&temporary)?;
        fs::create_dir(&temporary).map_err(io_error(&temporary, "create"))?;
        kill_point!("checkpoint.begun");
        let written = self.write_files(&temporary, parameters);
        if let Err(error) = written {
            // A full disk must not keep the half of a checkpoint that filled it.
            let _best_effort = fs::remove_dir_all(&temporary);
            return Err(error);
        }
        kill_point!("checkpoint.before_rename");
        folder::put_in_place(&temporary, &place)?;
        kill_point!("checkpoint.renamed");
        folder::sync(folder)?;
        kill_point!("checkpoint.pruning");
        folder::prune(folder, keep)?;
        Ok(place)
    }

    fn write_files(&self, folder: &Path, parameters: &ParamSpec) -> Result<(), CheckpointError> {
        let weights = parameters
            .entries()
            .iter()
            .map(|e| (e.name.as_str(), e.shape.clone(), &self.parameters[e.range()]));
        let [first, second] = &self.optimizer;
        let moments =
            [("first", vec![first.len()], &first[..]), ("second", vec![second.len()], &second[..])];
        let path = folder.join(STATE);
        let state = bincode::encode_to_vec(&self.state, bincode::config::standard())
            .map_err(|e| CheckpointError::Damaged { path, problem: e.to_string() })?;
        let mut files = BTreeMap::new();
        for (name, bytes) in [
            (WEIGHTS, tensors_to_bytes(folder, weights)?),
            (OPTIMIZER, tensors_to_bytes(folder, moments.into_iter())?),
            (STATE, state),
        ] {
            write_synced(&folder.join(name), &bytes)?;
            files.insert(
                name.to_owned(),
                FileEntry { bytes: bytes.len() as u64, crc32: crc32fast::hash(&bytes) },
            );
        }
        let manifest = Manifest {
            format: FORMAT,
            frames: self.state.frames,
            version: self.state.version,
            return_mean: self.state.return_mean,
            actions: parameters.actions().clone(),
            files,
        };
        let path = folder.join(MANIFEST);
        let text = serde_json::to_string_pretty(&manifest)
            .map_err(|e| CheckpointError::Damaged { path: path.clone(), problem: e.to_string() })?;
        write_synced(&path, text.as_bytes())?;
        folder::sync(folder)
    }

    /// Reads the newest checkpoint in `folder` that is whole, and says why newer ones were passed over.
    ///
    /// # Errors
    /// [`CheckpointError::NoneValid`] if there is none, [`CheckpointError::OtherNetwork`] if the newest
    /// whole one does not fit `parameters`.
    pub fn load_newest(
        folder: &Path,
        parameters: &ParamSpec,
    ) -> Result<(Self, Vec<String>), CheckpointError> {
        let mut problems = Vec::new();
        for path in list(folder)?.into_iter().rev() {
            match Self::load(&path, parameters) {
                Ok(checkpoint) => return Ok((checkpoint, problems)),
                Err(error @ CheckpointError::OtherNetwork { .. }) => return Err(error),
                Err(error) => problems.push(error.to_string()),
            }
        }
        Err(CheckpointError::NoneValid { path: folder.to_owned(), problems })
    }

    /// Reads one checkpoint folder.
    ///
    /// # Errors
    /// If a file is missing or damaged, or the network differs.
    pub fn load(folder: &Path, parameters: &ParamSpec) -> Result<Self, CheckpointError> {
        let path = folder.join(MANIFEST);
        let text = read_bounded(&path, MAX_SMALL_FILE_BYTES)?;
        let not_one = |e| damaged(&path, format!("not a manifest: {e}"));
        // First of all: other formats have other fields.
        let Version { format: found } = serde_json::from_slice(&text).map_err(not_one)?;
        if found != FORMAT {
            return Err(CheckpointError::OtherVersion { path, found });
        }
        let manifest: Manifest = serde_json::from_slice(&text).map_err(not_one)?;
        let [weights, optimizer, state] =
            [WEIGHTS, OPTIMIZER, STATE].map(|name| read_checked(folder, name, &manifest));
        let (weights_path, optimizer_path) = (folder.join(WEIGHTS), folder.join(OPTIMIZER));
        let weights = weights?;
        let tensors = SafeTensors::deserialize(&weights)
            .map_err(|e| damaged(&weights_path, e.to_string()))?;
        let mut flat = vec![0.0; parameters.len()];
        for entry in parameters.entries() {
            let tensor =
                tensors.tensor(&entry.name).map_err(|_| CheckpointError::OtherNetwork {
                    path: weights_path.clone(),
                    problem: format!("it has no {}", entry.name),
                })?;
            if tensor.shape() != entry.shape || tensor.dtype() != Dtype::F32 {
                let problem =
                    format!("{} is {:?} there, {:?} here", entry.name, tensor.shape(), entry.shape);
                return Err(CheckpointError::OtherNetwork { path: weights_path, problem });
            }
            copy_numbers(tensor.data(), &mut flat[entry.range()]);
        }
        // It has no checksum of its own.
        let outputs = manifest.actions.outputs();
        if parameters.get("policy.bias").is_some_and(|bias| Some(bias.numel()) != outputs) {
            return Err(damaged(&path, format!("{} do not fit its outputs", manifest.actions)));
        }
        if manifest.actions != *parameters.actions() {
            let problem =
                format!("its actions are {}, here {}", manifest.actions, parameters.actions());
            return Err(CheckpointError::OtherNetwork { path, problem });
        }
        if tensors.len() != parameters.entries().len() {
            let problem = format!(
                "it has {} tensors, this network {}",
                tensors.len(),
                parameters.entries().len()
            );
            return Err(CheckpointError::OtherNetwork { path: weights_path, problem });
        }
        let optimizer = optimizer?;
        let moments = SafeTensors::deserialize(&optimizer)
            .map_err(|e| damaged(&optimizer_path, e.to_string()))?;
        let mut vectors = [vec![0.0; flat.len()], vec![0.0; flat.len()]];
        for (name, vector) in ["first", "second"].into_iter().zip(&mut vectors) {
            let tensor =
                moments.tensor(name).map_err(|e| damaged(&optimizer_path, e.to_string()))?;
            if tensor.shape() != [vector.len()] || tensor.dtype() != Dtype::F32 {
                return Err(damaged(
                    &optimizer_path,
                    format!("{name} has shape {:?}", tensor.shape()),
                ));
            }
            copy_numbers(tensor.data(), vector);
        }
        if !flat.iter().chain(vectors.iter().flatten()).all(|x| x.is_finite()) {
            return Err(damaged(folder, "a number in it is not finite".to_owned()));
        }
        let limit = bincode::config::standard().with_limit::<{ MAX_SMALL_FILE_BYTES as usize }>();
        let (state, _) = bincode::decode_from_slice::<LearnerState, _>(&state?, limit)
            .map_err(|e| damaged(&folder.join(STATE), e.to_string()))?;
        Ok(Self { parameters: flat, optimizer: vectors, state })
    }
}

/// SHA-256 of the weights of the newest checkpoint in `folder`, as `sha256sum` gives it; `None` if there is none.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn weights_sha256(folder: &Path) -> Result<Option<String>, CheckpointError> {
    let Some(newest) = list(folder)?.pop() else { return Ok(None) };
    let bytes = read_bounded(&newest.join(WEIGHTS), MAX_FILE_BYTES)?;
    Ok(Some(sha2::Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect()))
}

fn tensors_to_bytes<'a>(
    folder: &Path,
    tensors: impl Iterator<Item = (&'a str, Vec<usize>, &'a [f32])>,
) -> Result<Vec<u8>, CheckpointError> {
    let views = tensors
        .map(|(name, shape, data)| {
            Ok((name, TensorView::new(Dtype::F32, shape, bytemuck::cast_slice(data))?))
        })
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>();
    views
        .and_then(|views| safetensors::serialize(views, None))
        .map_err(|e| damaged(folder, e.to_string()))
}

fn copy_numbers(bytes: &[u8], target: &mut [f32]) {
    for (number, raw) in target.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *number = f32::from_le_bytes(*raw);
    }
}

fn read_checked(
    folder: &Path,
    name: &str,
    manifest: &Manifest,
) -> Result<Vec<u8>, CheckpointError> {
    let path = folder.join(name);
    let entry = manifest
        .files
        .get(name)
        .ok_or_else(|| damaged(&path, "the manifest does not name it".to_owned()))?;
    let bytes = read_bounded(&path, entry.bytes.min(MAX_FILE_BYTES))?;
    if bytes.len() as u64 != entry.bytes || crc32fast::hash(&bytes) != entry.crc32 {
        return Err(damaged(
            &path,
            format!("{} bytes with another checksum than the manifest's", bytes.len()),
        ));
    }
    Ok(bytes)
}

/// Reads a file, at most one byte more than `limit`.
fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, CheckpointError> {
    let file = File::open(path).map_err(io_error(path, "open"))?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(io_error(path, "read"))?;
    Ok(bytes)
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), CheckpointError> {
    let mut file = File::create(path).map_err(io_error(path, "create"))?;
    file.write_all(bytes).map_err(io_error(path, "write"))?;
    kill_point!("checkpoint.written");
    file.sync_all().map_err(io_error(path, "fsync"))
}

fn io_error(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> CheckpointError {
    let path = path.to_owned();
    move |source| CheckpointError::Io { path, action, source }
}

fn damaged(path: &Path, problem: String) -> CheckpointError {
    CheckpointError::Damaged { path: path.to_owned(), problem }
}
