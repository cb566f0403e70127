//! Tests of the shapes, names and counts of parameters.

use super::*;
use impala_env::Dtype;

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
fn actions_are_told_in_words() {
    let layout = |sizes: &[usize], numbers| ActionLayout { sizes: sizes.to_vec(), numbers };
    assert_eq!(layout(&[2, 3], 1).to_string(), "choices of 2, 3 and a number");
    assert_eq!(layout(&[2], 0).to_string(), "a choice of 2");
    assert_eq!(layout(&[], 4).to_string(), "4 numbers");
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
fn a_value_of_its_own_has_the_layers_of_the_policy() {
    let plain = mlp(&[4], 1, &[8, 5], 2);
    let spec = NetworkSpec { separate_value: true, ..plain.clone() };
    let spec = ParamSpec::new(&spec).expect("valid");
    let names: Vec<_> = listing(&spec).into_iter().map(|(name, ..)| name).collect();
    let expected = ["torso.0", "torso.1", "policy", "value_torso.0", "value_torso.1", "value"];
    let expected: Vec<_> =
        expected.iter().flat_map(|n| ["weight", "bias"].map(|of| format!("{n}.{of}"))).collect();
    assert_eq!(names, expected);
    let shape = |name: &str| &spec.get(name).expect("there").shape;
    for layer in ["0.weight", "0.bias", "1.weight", "1.bias"] {
        let [own, policy] =
            ["value_torso", "torso"].map(|torso| shape(&format!("{torso}.{layer}")));
        assert_eq!(own, policy);
    }
    assert_eq!(spec.activations(), ParamSpec::new(&plain).expect("valid").activations() + 8 + 5);
    let core = Core::Lstm { hidden: 4 };
    for other in [NetworkSpec { core, ..plain }, cnn(&[7, 7], 1, &[(1, 3, 1)])] {
        let other = NetworkSpec { separate_value: true, ..other };
        assert_eq!(ParamSpec::new(&other), Err(SpecError::NotSeparable));
    }
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

/// The Atari input of the references: four grey frames of 84x84 pixels, and Pong's six actions.
fn atari(torso: Torso) -> NetworkSpec {
    NetworkSpec { torso, ..mlp(&[84, 84], 4, &[], 6) }
}

fn count(spec: &NetworkSpec) -> usize {
    ParamSpec::new(spec).expect("valid").len()
}

/// An LSTM cell with PyTorch's two biases.
const fn lstm(inputs: usize, hidden: usize) -> usize {
    4 * hidden * inputs + 4 * hidden * hidden + 2 * 4 * hidden
}

#[test]
fn nature_has_the_parameters_of_monobeast() {
    // 84 -> 20 -> 9 -> 7 pixels; 64 * 7 * 7 = 3136 features.
    let torso = (32 * 4 * 64 + 32) + (64 * 32 * 16 + 64) + (64 * 64 * 9 + 64) + (512 * 3136 + 512);
    assert_eq!(torso, 8_224 + 32_832 + 36_928 + 1_606_144);
    let plain = atari(Torso::nature());
    assert_eq!(count(&plain), torso + (6 * 512 + 6) + (512 + 1));
    // torchbeast/monobeast.py, AtariNet(use_lstm=False): heads on 512 features, the one-hot of the last
    // action and the last reward.
    let inputs = NetworkSpec { action_reward_inputs: true, ..plain.clone() };
    assert_eq!(count(&inputs), torso + (6 * 519 + 6) + (519 + 1));
    assert_eq!(count(&inputs), 1_687_768);
    let core = Core::Lstm { hidden: 256 };
    let core = NetworkSpec { core, ..inputs };
    assert_eq!(count(&core), torso + lstm(519, 256) + (6 * 256 + 6) + (256 + 1));
    assert_eq!((core.state_len(), core.extra_inputs()), (512, 7));
}

#[test]
fn the_deep_network_has_the_parameters_of_the_paper_and_of_polybeast() {
    // Per section one convolution from the channels before, and four from its own.
    let section = |from: usize, to: usize| (to * from * 9 + to) + 4 * (to * to * 9 + to);
    let convs = section(4, 16) + section(16, 32) + section(32, 32);
    assert_eq!(convs, 97_744);
    // 84 -> 42 -> 21 -> 11 pixels; 32 * 11 * 11 = 3872 features, which polybeast_learner.py has as well.
    let torso = convs + 256 * 3872 + 256;
    let plain = atari(Torso::impala_deep());
    assert_eq!(count(&plain), torso + (6 * 256 + 6) + (256 + 1));
    assert_eq!(count(&plain), 1_091_031);
    let spec = ParamSpec::new(&plain).expect("valid");
    let convolutions = spec.entries().iter().filter(|entry| entry.shape.len() == 4);
    assert_eq!(convolutions.count(), 15);
    assert_eq!(spec.entries()[0].name, "torso.section.0.conv.weight");
    assert_eq!(spec.entries()[4].name, "torso.section.0.block.0.conv.1.weight");
    let shape = |name: &str| spec.get(name).expect("there").shape.clone();
    assert_eq!(shape("torso.section.2.block.1.conv.1.weight"), [32, 32, 3, 3]);
    assert_eq!(shape("torso.fc.0.weight"), [256, 3872]);
    // PolyBeast shows the core its last reward and not its last action: 6 inputs fewer than here.
    let core = Core::Lstm { hidden: 256 };
    let core = NetworkSpec { core, action_reward_inputs: true, ..plain };
    let polybeast = torso + lstm(257, 256) + (6 * 256 + 6) + (256 + 1);
    assert_eq!(count(&core), polybeast + 4 * 256 * 6);
}

#[test]
fn both_networks_of_the_paper_have_the_size_it_gives() {
    // Espeholt et al. 2018, figure 3: 1.2 and 1.6 million parameters, on DMLab's 96x72 colours and 9
    // actions, with an LSTM of 256 that also hears an instruction: 1000 words of 20 numbers, and an
    // LSTM of 64 over them. That ear is the only part that is not built here.
    let ear = 1000 * 20 + lstm(20, 64) + 4 * 256 * 64;
    let dmlab = |torso| {
        let core = Core::Lstm { hidden: 256 };
        NetworkSpec { torso, core, action_reward_inputs: true, ..mlp(&[3, 72, 96], 1, &[], 9) }
    };
    let shallow = count(&dmlab(Torso::atari_shallow())) + ear;
    let deep = count(&dmlab(Torso::impala_deep())) + ear;
    // 72x96 -> 17x23 -> 7x10, and 72x96 -> 36x48 -> 18x24 -> 9x12.
    let rest = lstm(256 + 9 + 1, 256) + (9 * 256 + 9) + (256 + 1) + ear;
    let convs = (16 * 3 * 64 + 16) + (32 * 16 * 16 + 32);
    assert_eq!(shallow, convs + (256 * 32 * 7 * 10 + 256) + rest);
    let section = |from: usize, to: usize| (to * from * 9 + to) + 4 * (to * to * 9 + to);
    let convs = section(3, 16) + section(16, 32) + section(32, 32);
    assert_eq!(deep, convs + (256 * 32 * 9 * 12 + 256) + rest);
    assert_eq!((shallow / 100_000, deep / 100_000), (12, 16), "{shallow} and {deep}");
}

#[test]
fn the_core_has_the_names_and_shapes_of_pytorchs_cell() {
    let base = mlp(&[3], 1, &[8], 2);
    let spec = NetworkSpec { core: Core::Lstm { hidden: 5 }, action_reward_inputs: true, ..base };
    let spec = ParamSpec::new(&spec).expect("valid");
    let core: Vec<_> = listing(&spec)[2..6].to_vec();
    // 8 features, 2 actions, 1 reward.
    let expected: [(&str, &[usize], usize, usize); 4] = [
        ("core.weight_ih", &[20, 11], 32, 11),
        ("core.weight_hh", &[20, 5], 252, 5),
        ("core.bias_ih", &[20], 352, 11),
        ("core.bias_hh", &[20], 372, 5),
    ];
    assert_eq!(core, expected);
    assert_eq!(spec.get("policy.weight").expect("there").shape, [2, 5]);
    let none = NetworkSpec { core: Core::Lstm { hidden: 0 }, ..mlp(&[3], 1, &[8], 2) };
    assert_eq!(ParamSpec::new(&none), Err(SpecError::Zero("the size of the core")));
}

#[test]
fn uses_and_activations_are_counted() {
    let spec = ParamSpec::new(&atari(Torso::atari_shallow())).expect("valid");
    let uses: Vec<_> = spec.entries().iter().step_by(2).map(|entry| entry.uses).collect();
    assert_eq!(uses, [20 * 20, 9 * 9, 1, 1, 1]);
    let by_hand = 4 * 84 * 84 + 16 * 20 * 20 + 32 * 9 * 9 + 256 + 6 + 1;
    assert_eq!(spec.activations(), by_hand);
}
