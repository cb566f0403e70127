//! Every kind of space, there and back.

use impala_rl::env::{ActionSpec, Actions, Dtype, EnvError};

use super::{Arrays, gymnasium, make, options};

const ID: &str = "gym:impala_test_envs:Spaces-v0";

#[test]
fn observations_lie_in_the_documented_order() {
    let Some(python) = gymnasium("gym observations") else {
        return;
    };
    let image: Vec<f32> = [0, 3, 6, 9, 12, 15, 18, 21, 24, 27].map(|x| x as f32).to_vec();
    let rgb: Vec<f32> =
        (0..3).flat_map(|channel| image.iter().map(move |x| x + channel as f32)).collect();
    let cases: [(&str, Dtype, &[usize], Vec<f32>); 9] = [
        ("box", Dtype::F32, &[2], vec![0.5, -0.5]),
        ("ints", Dtype::F32, &[2, 2], vec![1.0, 2.0, 3.0, 4.0]),
        ("scalar", Dtype::F32, &[1], vec![7.0]),
        ("image", Dtype::U8, &[3, 2, 5], rgb),
        ("grey", Dtype::U8, &[2, 5], image.clone()),
        ("one-key", Dtype::U8, &[2, 5], image),
        ("discrete", Dtype::F32, &[3], vec![0.0, 1.0, 0.0]),
        ("multi", Dtype::F32, &[5], vec![0.0, 1.0, 0.0, 0.0, 1.0]),
        // Gymnasium sorts the keys of a plain dict: inner, where.
        ("dict", Dtype::F32, &[6], vec![0.0, 1.0, 1.0, 0.0, 0.25, 0.5]),
    ];
    for (name, dtype, shape, expected) in cases {
        let options = options(&python, &[&format!("observation={name}")]);
        let mut env = make(ID, &options, 2).expect(name);
        let spec = env.spec().clone();
        assert_eq!((spec.observation.dtype, &spec.observation.shape[..]), (dtype, shape), "{name}");
        let mut seen = Arrays::of(env.as_ref());
        for step in 0..5 {
            if step == 0 {
                seen.reset(env.as_mut()).expect(name);
            } else {
                seen.step(env.as_mut(), Actions::Discrete(&[1, 2])).expect(name);
            }
            let numbers: Vec<f32> = match dtype {
                Dtype::U8 => seen.bytes().iter().map(|&byte| f32::from(byte)).collect(),
                Dtype::F32 => seen.numbers().to_vec(),
            };
            assert_eq!(numbers, [&expected[..], &expected[..]].concat(), "{name}, step {step}");
        }
    }
}

#[test]
fn actions_arrive_as_the_space_has_them() {
    let Some(python) = gymnasium("gym actions") else {
        return;
    };
    let sizes = |sizes: &[usize]| ActionSpec::MultiDiscrete { sizes: sizes.to_vec() };
    let bounds = ActionSpec::Continuous { low: vec![-2.0; 2], high: vec![2.0; 2] };
    let wide = ActionSpec::Continuous { low: vec![0.0; 2], high: vec![1000.0; 2] };
    let dict = ActionSpec::Hybrid { sizes: vec![3], low: vec![-2.0], high: vec![2.0] };
    let nested =
        ActionSpec::Hybrid { sizes: vec![2, 4, 4], low: vec![-1.0, 1.0], high: vec![1.0, 200.0] };
    let bits = |x: f32| x.to_bits().cast_signed();
    // Gymnasium keeps the keys of Dict(key=...) in their order.
    let dicts = [2, bits(0.5), 1, bits(-1.5)];
    let trees = [0, 3, 1, bits(0.5), bits(9.7), 1, 0, 2, bits(-1.0), bits(200.0)];
    let cases: [(&str, ActionSpec, Actions<'_>, [f32; 2]); 12] = [
        ("ints", sizes(&[4, 4]), Actions::Discrete(&[1, 3, 0, 2]), [31.0, 20.0]),
        ("shifted-ints", sizes(&[4, 4]), Actions::Discrete(&[0, 3, 2, 1]), [8.0, -10.0]),
        ("wide-ints", wide, Actions::Continuous(&[6.6, 1000.0, 0.4, 3.0]), [10007.0, 30.0]),
        ("tuple", sizes(&[2, 2]), Actions::Discrete(&[0, 1, 1, 0]), [10.0, 1.0]),
        ("one", sizes(&[3]), Actions::Discrete(&[0, 2]), [4.0, 6.0]),
        ("dict", dict, Actions::Hybrid(&dicts), [7.0, -14.0]),
        ("nested", nested, Actions::Hybrid(&trees), [100_631.0, 1_999_202.0]),
        ("discrete", ActionSpec::Discrete { n: 3 }, Actions::Discrete(&[2, 1]), [2.0, 1.0]),
        ("start", ActionSpec::Discrete { n: 3 }, Actions::Discrete(&[0, 2]), [-1.0, 1.0]),
        ("binary", sizes(&[2; 3]), Actions::Discrete(&[1, 0, 1, 0, 1, 1]), [101.0, 110.0]),
        ("multi", sizes(&[2, 3]), Actions::Discrete(&[1, 2, 0, 1]), [21.0, 10.0]),
        ("box", bounds, Actions::Continuous(&[0.5, -1.0, 2.0, 1.5]), [-9.5, 17.0]),
    ];
    for (name, spec, actions, rewards) in cases {
        let options = options(&python, &[&format!("action={name}")]);
        let mut env = make(ID, &options, 2).expect(name);
        assert_eq!(env.spec().action, spec, "{name}");
        let mut seen = Arrays::of(env.as_ref());
        seen.reset(env.as_mut()).expect(name);
        seen.step(env.as_mut(), actions).expect(name);
        assert_eq!(seen.rewards, rewards, "{name}");
    }
}

#[test]
fn masks_come_from_info_or_from_a_dict() {
    let Some(python) = gymnasium("gym masks") else {
        return;
    };
    for (pairs, expected) in [
        (["observation=box", "action=masked"], [1, 0, 1, 1, 0, 1]),
        (["observation=masked", "action=discrete"], [0, 1, 1, 0, 1, 1]),
    ] {
        let mut env = make(ID, &options(&python, &pairs), 2).expect("made");
        assert!(env.spec().masks);
        let mut seen = Arrays::of(env.as_ref());
        seen.reset(env.as_mut()).expect("reset");
        for _ in 0..5 {
            assert_eq!(seen.masks, expected);
            seen.masks.fill(9);
            seen.step(env.as_mut(), Actions::Discrete(&[2, 2])).expect("stepped");
        }
    }
}

#[test]
fn other_spaces_are_refused_by_name() {
    let Some(python) = gymnasium("gym unsupported") else {
        return;
    };
    for (pair, says) in [
        ("observation=text", "observation is a Text space"),
        ("observation=sequence", "observation['list'] is a Sequence space"),
        ("action=text", "action[1] is a Text space"),
        ("action=sequence", "action is a Sequence space"),
    ] {
        let refused = make(ID, &options(&python, &[pair]), 1).err().expect("refused");
        assert!(matches!(refused, EnvError::NotMade { .. }), "{refused:?}");
        let message = refused.to_string();
        assert!(message.contains(says) && !message.contains('\n'), "{message}");
    }
}
