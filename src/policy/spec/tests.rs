//! Shapes, names and counts of parameters.

use super::*;
use crate::env::Dtype;

fn mlp(shape: &[usize], frame_stack: usize, hidden: &[usize], logits: usize) -> NetworkSpec {
    let observation = ObservationSpec { frame_stack, ..ObservationSpec::new(Dtype::F32, shape) };
    let torso = Torso::Mlp { hidden: hidden.to_vec(), activation: Activation::Tanh };
    NetworkSpec::new(observation, ActionSpec::Discrete { n: logits }, torso)
}

fn cnn(shape: &[usize], frame_stack: usize, convs: &[(usize, usize, usize)]) -> NetworkSpec {
    let convs = convs.iter().map(|&(filters, kernel, stride)| Conv { filters, kernel, stride });
    let torso = Torso::Cnn { convs: convs.collect(), hidden: vec![256] };
    NetworkSpec { torso, ..mlp(shape, frame_stack, &[], 6) }
}

fn listing(spec: &ParamSpec) -> Vec<(&str, &[usize], usize, usize)> {
    let entries = spec.entries().iter();
    entries.map(|e| (e.name.as_str(), &e.shape[..], e.offset, e.fan_in)).collect()
}

#[test]
fn an_mlp_is_laid_out_from_the_input_to_the_heads() {
    let spec = ParamSpec::new(&mlp(&[2, 2], 3, &[8, 5], 2)).expect("valid");
    let expected: [(&str, &[usize], usize, usize); 8] = [
        ("torso.0.weight", &[8, 12], 0, 12),
        ("torso.0.bias", &[8], 96, 12),
        ("torso.1.weight", &[5, 8], 104, 8),
        ("torso.1.bias", &[5], 144, 8),
        ("policy.weight", &[2, 5], 149, 5),
        ("policy.bias", &[2], 159, 5),
        ("value.weight", &[1, 5], 161, 5),
        ("value.bias", &[1], 166, 5),
    ];
    assert_eq!(listing(&spec), expected);
    assert_eq!(spec.len(), 167);
    assert_eq!(spec.get("policy.bias").map(ParamEntry::range), Some(159..161));
    assert_eq!(spec.get("policy"), None);
    assert!(!spec.is_empty());
}

#[test]
fn a_cnn_stacks_frames_as_channels() {
    // The network of Mnih et al. 2015: 84 -> 20 -> 9 -> 7 pixels.
    let spec =
        ParamSpec::new(&cnn(&[84, 84], 4, &[(32, 8, 4), (64, 4, 2), (64, 3, 1)])).expect("valid");
    assert_eq!(spec.get("torso.conv.0.weight").expect("there").shape, [32, 4, 8, 8]);
    assert_eq!(spec.get("torso.conv.2.weight").expect("there").fan_in, 64 * 9);
    assert_eq!(spec.get("torso.fc.0.weight").expect("there").shape, [256, 64 * 7 * 7]);
    let coloured = ParamSpec::new(&cnn(&[3, 10, 12], 2, &[(5, 4, 3)])).expect("valid");
    assert_eq!(coloured.get("torso.conv.0.weight").expect("there").shape, [5, 6, 4, 4]);
    assert_eq!(coloured.get("torso.fc.0.weight").expect("there").shape, [256, 5 * 3 * 3]);
}

#[test]
fn what_does_not_fit_is_named() {
    let vector = ParamSpec::new(&cnn(&[7], 1, &[(1, 1, 1)])).expect_err("no image").to_string();
    assert!(vector.contains("[7]") && vector.contains("mlp"), "{vector}");
    let small =
        ParamSpec::new(&cnn(&[10, 10], 1, &[(4, 4, 2), (4, 5, 1)])).expect_err("4x4 is left");
    let expected =
        SpecError::KernelTooLarge { layer: 1, kernel: 5, height: 4, width: 4, image: vec![10, 10] };
    assert_eq!(small, expected);
    assert!(small.to_string().contains("5x5 kernel, but its input is only 4x4"), "{small}");
    for zero in
        [mlp(&[0], 1, &[4], 2), mlp(&[1], 0, &[4], 2), mlp(&[1], 1, &[0], 2), mlp(&[1], 1, &[4], 0)]
    {
        assert!(matches!(ParamSpec::new(&zero), Err(SpecError::Zero(_))), "{zero:?}");
    }
    assert_eq!(ParamSpec::new(&mlp(&[usize::MAX / 8], 1, &[64], 2)), Err(SpecError::TooLarge));
}

#[test]
fn fingerprints_tell_networks_apart() {
    let of = |spec: &NetworkSpec| ParamSpec::new(spec).expect("valid").fingerprint();
    let base = of(&mlp(&[4], 1, &[64, 64], 2));
    assert_eq!(base, of(&mlp(&[4], 1, &[64, 64], 2)));
    for other in [mlp(&[4], 1, &[64], 2), mlp(&[4], 1, &[64, 64], 3), mlp(&[5], 1, &[64, 64], 2)] {
        assert_ne!(base, of(&other), "{other:?}");
    }
}
