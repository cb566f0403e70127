//! Damaged checkpoints: passed over with a word, or refused; never loaded as something else.

use std::fs;
use std::path::{Path, PathBuf};

use impala_rl::env::{ActionSpec, Dtype, ObservationSpec};
use impala_rl::learner::checkpoint::{Checkpoint, LearnerState};
use impala_rl::policy::spec::{Activation, NetworkSpec, ParamSpec, Torso};
use impala_rl::rng::Rng;

fn network() -> ParamSpec {
    let torso = Torso::Mlp { hidden: vec![8, 8], activation: Activation::Tanh };
    let observation = ObservationSpec::new(Dtype::F32, &[4]);
    let action = ActionSpec::Discrete { n: 2 };
    ParamSpec::new(&NetworkSpec::new(observation, action, torso)).expect("valid")
}

fn checkpoint(frames: u64, parameters: &ParamSpec) -> Checkpoint {
    let mut rng = Rng::new(frames, 0);
    let mut vector = || (0..parameters.len()).map(|_| rng.unit_f32() - 0.5).collect::<Vec<_>>();
    Checkpoint {
        parameters: vector(),
        optimizer: [vector(), vector()],
        state: LearnerState {
            version: frames / 10,
            frames,
            episodes: frames / 7,
            recent_episodes: (0..100).map(|n| (n as f32, n)).collect(),
            return_mean: Some(49.5),
            ..LearnerState::default()
        },
    }
}

/// A folder of two checkpoints; what a damaged newest one may be loaded as.
struct Case {
    _folder: tempfile::TempDir,
    path: PathBuf,
    parameters: ParamSpec,
    old: Checkpoint,
    new: Checkpoint,
    files: Vec<(PathBuf, Vec<u8>)>,
}

impl Case {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let (path, parameters) = (folder.path().to_owned(), network());
        let (old, new) = (checkpoint(1000, &parameters), checkpoint(2000, &parameters));
        old.save(&path, &parameters, 3).expect("saved");
        let newest = new.save(&path, &parameters, 3).expect("saved");
        let entries = fs::read_dir(&newest).expect("listed").map(|e| e.expect("entry").path());
        let mut files: Vec<_> =
            entries.map(|file| (file.clone(), fs::read(file).expect("read"))).collect();
        files.sort();
        assert_eq!(files.len(), 4, "weights, optimizer, state, manifest");
        Self { _folder: folder, path, parameters, old, new, files }
    }

    /// Puts `bytes` in the place of a file, loads, and puts the file back.
    fn with(&self, file: &Path, bytes: &[u8], what: &str) -> bool {
        fs::write(file, bytes).expect("written");
        let (loaded, problems) = Checkpoint::load_newest(&self.path, &self.parameters)
            .unwrap_or_else(|error| panic!("{what}: the one before is whole, but {error}"));
        let whole = self.files.iter().find(|(path, _)| path == file).expect("one of them");
        fs::write(file, &whole.1).expect("written");
        if loaded == self.new {
            assert!(problems.is_empty(), "{what}: {problems:?}");
            return false;
        }
        assert!(loaded == self.old, "{what} was loaded as something that was never saved");
        assert_eq!(problems.len(), 1, "{what}: the fallback is said");
        true
    }
}

#[test]
fn a_truncated_checkpoint_is_passed_over() {
    let case = Case::new();
    let total: usize = case.files.iter().map(|(_, bytes)| bytes.len()).sum();
    for part in 0..50 {
        // Evenly over all bytes of all files.
        let mut at = total * part / 50;
        let (file, bytes) = case
            .files
            .iter()
            .find(|(_, bytes)| {
                let here = at < bytes.len();
                if !here {
                    at -= bytes.len();
                }
                here
            })
            .expect("an offset of one file");
        let what = format!("{} cut at {at}", file.display());
        assert!(case.with(file, &bytes[..at], &what), "{what} was loaded");
    }
}

#[test]
fn a_flipped_bit_is_passed_over() {
    let case = Case::new();
    let mut rng = Rng::new(11, 0);
    let mut passed_over = 0;
    for _ in 0..200 {
        let (file, bytes) = &case.files[rng.below(case.files.len())];
        let mut flipped = bytes.clone();
        let (at, bit) = (rng.below(flipped.len()), rng.below(8));
        flipped[at] ^= 1 << bit;
        let what = format!("bit {bit} of byte {at} of {}", file.display());
        let fell_back = case.with(file, &flipped, &what);
        // In the manifest are blanks, and numbers for people.
        assert!(fell_back || file.ends_with("manifest.json"), "{what} was loaded");
        passed_over += usize::from(fell_back);
    }
    assert!(passed_over >= 150, "{passed_over} of 200");
}

#[test]
fn nothing_whole_is_a_refusal() {
    let case = Case::new();
    for checkpoint in fs::read_dir(&case.path).expect("listed") {
        let manifest = checkpoint.expect("entry").path().join("manifest.json");
        fs::write(manifest, "{}").expect("written");
    }
    let error = Checkpoint::load_newest(&case.path, &case.parameters).expect_err("none is whole");
    assert!(error.to_string().contains("no usable checkpoint"), "{error}");
}
