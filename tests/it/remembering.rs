//! Policies that remember, outside of the pool: the state that callers keep is the one that actors carry.

use impala_rl::build;
use impala_rl::config::{Config, file};
use impala_rl::env::{Actions, Registry, flag};
use impala_rl::play::{Choice, Policy, Seen};
use impala_rl::policy::act::ActInputs;
use impala_rl::policy::frames::StackedFrames;
use impala_rl::rng::Rng;

use crate::onnx::{ROWS, trained, trained_by_example};
use crate::pool::complete;

#[test]
fn networks_that_remember_are_the_same_everywhere() {
    let test = "networks_that_remember_are_the_same_everywhere";
    trained(test, &["--env", "Recall-v0", "--total-frames", "20000"]);
    let lstm = ["--core", "lstm", "--core-size", "20", "--total-frames", "8000"];
    trained(test, &[&lstm[..], &["--env", "Catch-v0"]].concat());
    trained(test, &[&lstm[..], &["--env", "Pendulum-v1", "--popart=true"]].concat());
    trained(test, &[&lstm[..], &["--frame-stack", "2", "--action-reward-inputs=false"]].concat());
    let deep = ["--env", "Catch-v0", "--torso", "impala-deep", "--core", "lstm"];
    trained(test, &[&deep[..], &["--total-frames", "2000"]].concat());
    let both = ["--action-reward-inputs=true", "--separate-value=true", "--total-frames", "8000"];
    trained(test, &both);
    let small = ["--core", "lstm", "--core-size", "16"];
    trained_by_example(test, "hybrid_env", &[&small[..], &["--env", "Putt-v0"]].concat());
    trained_by_example(test, "masked_env", &[&small[..], &["--env", "Lock-v0"]].concat());
}

#[test]
fn what_is_remembered_is_that_of_training_to_the_bit() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let flags = ["--env", "Recall-v0", "--action-reward-inputs=true", "--report=false"];
    complete(folder.path(), &[&["--actors", "2", "--total-frames", "4000"], &flags[..]].concat());
    let settings = file::read(&folder.path().join("config.toml")).expect("a configuration");
    let config = Config::resolve(&settings, &Registry::builtin()).expect("valid");
    let (network, parameters) = build::network(&config).expect("a network");
    assert!(network.action_reward_inputs && network.state_len() > 0, "Recall's network");
    let mut policy = Policy::load(folder.path(), 0).expect("a policy");
    let mut actor = build::policy(config.pool.engine, &network, &parameters, ROWS).expect("native");
    actor.load(policy.weights());
    let mut rng = Rng::new(8, 0);
    let (mut state, mut words) = (Vec::new(), vec![0; ROWS]);
    let mut logits = vec![0.0; ROWS * network.logits()];
    let bits = |numbers: &[f32]| numbers.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    for step in 0..6 {
        let numbers: Vec<f32> =
            (0..ROWS * network.observation.stacked_len()).map(|_| rng.unit_f32()).collect();
        let row: &[u8] = bytemuck::cast_slice(&numbers);
        let rewards: Vec<f32> = (0..ROWS).map(|_| rng.unit_f32() * 3.0 - 1.5).collect();
        // Episodes begin at different steps.
        let starts: Vec<u8> = (0..ROWS).map(|env| u8::from((env + step) % 4 == 0)).collect();
        let first = |&start: &u8| if start == 1 || step == 0 { flag::FIRST } else { 0 };
        let flags: Vec<u8> = starts.iter().map(first).collect();
        let (rows, valid) = ([row], [1; ROWS]);
        let inputs = ActInputs {
            observations: StackedFrames::of_step(&network.observation, &rows, &valid),
            flags: &flags,
            last_actions: &words,
            last_rewards: &rewards,
        };
        actor.logits(&inputs, &mut logits).expect("runs");
        let given: &[u8] = if step == 0 { &[] } else { &starts };
        let seen = Seen {
            observations: row,
            state: &state,
            rewards: &rewards,
            starts: given,
            ..Seen::default()
        };
        assert_eq!(bits(policy.logits(&seen).expect("runs")), bits(&logits), "step {step}");
        let (actions, next) = policy.act(&seen, Choice::Sampled).expect("acts");
        let Actions::Discrete(chosen) = actions else { panic!("{actions:?}") };
        words = chosen.to_vec();
        state = next.to_vec();
        let core: Vec<f32> = state
            .chunks_exact(state.len() / ROWS)
            .flat_map(|row| row[..network.state_len()].to_vec())
            .collect();
        assert_eq!(bits(&core), bits(actor.recurrent_state()), "step {step}");
        // One alone, with zeros in place of a flag, is what it is among others.
        let own = state.len() / ROWS;
        let width = row.len() / ROWS;
        let fresh = Seen { observations: &row[..width], state: &vec![0.0; own], ..Seen::default() };
        let fresh = policy.logits(&fresh).expect("runs").to_vec();
        let begins = Seen {
            starts: &[1],
            state: &state[..own],
            rewards: &[9.0],
            ..Seen::from(&row[..width])
        };
        assert_eq!(bits(policy.logits(&begins).expect("runs")), bits(&fresh));
    }
}

/// For continuous actions too, whose absent word is not the number of a choice.
#[test]
fn no_state_is_a_state_of_zeros() {
    for env in ["Pendulum-v1", "CartPole-v1"] {
        let folder = tempfile::tempdir().expect("temporary folder");
        let flags = ["--env", env, "--core", "lstm", "--core-size", "20", "--report=false"];
        complete(
            folder.path(),
            &[&["--actors", "1", "--total-frames", "2000"], &flags[..]].concat(),
        );
        let mut policy = Policy::load(folder.path(), 0).expect("a policy");
        let row = [0.25_f32; 4];
        let row = &row[..policy.spec().observation.stacked_len()];
        let zeros = vec![0.0; policy.state_len()];
        let mut logits = |state: &[f32], starts: &[u8]| {
            let seen =
                Seen { state, starts, rewards: &[0.5], ..Seen::from(bytemuck::cast_slice(row)) };
            policy.logits(&seen).expect("runs").to_vec()
        };
        let given = logits(&zeros, &[0]);
        assert!(given.iter().all(|x| x.is_finite()), "{env}: {given:?}");
        assert_eq!(logits(&[], &[0]), given, "{env}");
        assert_ne!(logits(&[], &[]), given, "{env}: nothing said is a beginning, without a reward");
    }
}
