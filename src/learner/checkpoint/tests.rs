//! Tests of damaged checkpoints: they are refused, never loaded as something else.

use super::*;
use crate::env::{ActionSpec, Dtype as ObservationDtype, ObservationSpec};
use crate::policy::spec::{Activation, NetworkSpec, Torso};
use crate::rng::Rng;

fn parameters() -> ParamSpec {
    let observation = ObservationSpec::new(ObservationDtype::F32, &[3]);
    let torso = Torso::Mlp { hidden: vec![4], activation: Activation::Tanh };
    let network = NetworkSpec::new(observation, ActionSpec::Discrete { n: 2 }, torso);
    ParamSpec::new(&network).expect("a network")
}

fn checkpoint(parameters: &ParamSpec) -> Checkpoint {
    let numbers = |from: f32| (0..parameters.len()).map(|i| from + i as f32).collect();
    Checkpoint {
        parameters: numbers(0.5),
        optimizer: [numbers(100.5), numbers(200.5)],
        state: LearnerState {
            version: 7,
            frames: 1_000,
            recent_episodes: vec![(1.5, 3)],
            ..LearnerState::default()
        },
    }
}

/// Cuts and flips: the checkpoint is refused, or is exactly what was saved.
#[test]
fn damage_is_found_or_harmless() {
    let folder = tempfile::tempdir().expect("a folder");
    let (parameters, mut rng) = (parameters(), Rng::new(3, 0));
    let saved = checkpoint(&parameters);
    let place = saved.save(folder.path(), &parameters, 3).expect("saved");
    let (mut refused, mut harmless) = (0, 0);
    for name in [WEIGHTS, OPTIMIZER, STATE, MANIFEST] {
        let path = place.join(name);
        let whole = fs::read(&path).expect("there");
        let mut damaged = Vec::new();
        for _ in 0..40 {
            damaged.push(whole[..rng.below(whole.len())].to_vec());
            let mut flipped = whole.clone();
            flipped[rng.below(whole.len())] ^= 1 << rng.below(8);
            damaged.push(flipped);
        }
        damaged.push([&whole[..], b"more"].concat());
        for bytes in damaged {
            fs::write(&path, bytes).expect("written");
            match Checkpoint::load(&place, &parameters) {
                // A manifest has words that say nothing about the content.
                Ok(found) => {
                    assert_eq!(found, saved, "{name}");
                    harmless += 1;
                }
                Err(_) => refused += 1,
            }
        }
        fs::remove_file(&path).expect("there");
        assert!(Checkpoint::load(&place, &parameters).is_err(), "without {name}");
        fs::write(&path, whole).expect("written");
    }
    assert!(refused > 8 * harmless, "{refused} refused, {harmless} harmless");
    assert_eq!(Checkpoint::load(&place, &parameters).expect("whole again"), saved);
}

/// 12 digits are what names are padded to, not how many they have.
#[test]
fn names_of_any_number_of_frames_are_found_in_their_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let parameters = parameters();
    let mut checkpoint = checkpoint(&parameters);
    for frames in [5, 999_999_999_999, 1_000_000_000_000, 20_000_000_000_000] {
        checkpoint.state.frames = frames;
        checkpoint.save(folder.path(), &parameters, 3).expect("saved");
    }
    let names: Vec<_> = list(folder.path()).expect("readable");
    let names: Vec<_> = names.iter().filter_map(|path| path.file_name()?.to_str()).collect();
    assert_eq!(names, ["999999999999", "1000000000000", "20000000000000"], "the oldest is gone");
    let (found, problems) = Checkpoint::load_newest(folder.path(), &parameters).expect("found");
    assert_eq!((found.state.frames, problems.len()), (20_000_000_000_000, 0));
}

#[test]
fn a_damaged_one_gives_way_to_the_one_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let parameters = parameters();
    let mut older = checkpoint(&parameters);
    older.save(folder.path(), &parameters, 3).expect("saved");
    let mut newer = older.clone();
    newer.state.frames += 1;
    let place = newer.save(folder.path(), &parameters, 3).expect("saved");
    fs::write(place.join(WEIGHTS), b"nonsense").expect("written");
    let (found, problems) =
        Checkpoint::load_newest(folder.path(), &parameters).expect("the older one");
    assert_eq!((found, problems.len()), (older.clone(), 1));
    // The same number of frames again: the newer state takes the place.
    older.state.frames = newer.state.frames;
    older.save(folder.path(), &parameters, 3).expect("saved");
    let (found, problems) = Checkpoint::load_newest(folder.path(), &parameters).expect("whole");
    assert_eq!((found, problems.len()), (older, 0));
}

#[test]
fn outputs_of_the_same_shape_for_other_actions_are_another_network() {
    let folder = tempfile::tempdir().expect("a folder");
    let of = |action: ActionSpec| {
        let observation = ObservationSpec::new(ObservationDtype::F32, &[3]);
        let torso = Torso::Mlp { hidden: vec![4], activation: Activation::Tanh };
        ParamSpec::new(&NetworkSpec::new(observation, action, torso)).expect("a network")
    };
    let choices = of(ActionSpec::MultiDiscrete { sizes: vec![2, 2] });
    let place = checkpoint(&choices).save(folder.path(), &choices, 3).expect("saved");
    assert!(Checkpoint::load(&place, &choices).is_ok());
    let (low, high) = (vec![0.0], vec![1.0]);
    for other in [
        of(ActionSpec::Continuous { low: vec![0.0; 2], high: vec![1.0; 2] }),
        of(ActionSpec::Hybrid { sizes: vec![2], low, high }),
        of(ActionSpec::Discrete { n: 4 }),
    ] {
        let error = Checkpoint::load(&place, &other).expect_err("other actions").to_string();
        let there =
            error.contains("choices of 2, 2") && error.contains(&other.actions().to_string());
        assert!(there && !error.contains('\n'), "{error}");
    }
}
