//! Tests of how settings are resolved, for builds with and without libtorch, and of the round trip through TOML.

use std::path::Path;

use super::*;
use crate::config::defaults::ENVIRONMENTS;
use crate::config::{Conv, RewardClip};
use crate::config::{defaults, file};
use crate::env::{ActionSpec, BoxError, Dtype, EnvOptions, Environment, Transition};
use crate::rng::Rng;

/// With a family of images that needs no other process.
fn registry() -> Registry {
    let mut registry = Registry::builtin();
    registry.add_family("gym:", "gym:ID", "images", |_, _, envs, seed| {
        let images = EnvOptions::parse(["shape=84x84"])?;
        Registry::builtin().make("Synthetic-v0", &images, envs, seed)
    });
    registry
}

fn with(libtorch: bool, text: &str) -> Result<Config, ConfigError> {
    let explicit = file::parse(text, Path::new("test.toml"))?;
    resolve(&explicit, &registry(), libtorch)
}

fn refusal(libtorch: bool, text: &str) -> String {
    let message = with(libtorch, text).expect_err(text).to_string();
    assert!(!message.contains('\n'), "{message:?}");
    message
}

#[test]
fn the_tables_of_defaults_resolve() {
    for libtorch in [false, true] {
        for env in ENVIRONMENTS {
            for preset in PRESETS {
                for optimizer in OPTIMIZERS {
                    let text = format!(
                        "env = '{}'\npreset = '{}'\noptimizer = '{}'",
                        env.name.replace('*', "Any-v5"),
                        preset.name,
                        optimizer.name
                    );
                    let config = with(libtorch, &text).expect(&text);
                    assert_eq!(config.advice(&Settings::default()), [""; 0], "{text}");
                }
            }
        }
    }
}

#[test]
fn other_sizes_leave_the_rest_as_it_is() {
    for text in [
        "env = 'CartPole-v1'",
        "env = 'Catch-v0'",
        "env = 'Pendulum-v1'",
        "replay-fraction = 0.5",
        "algorithm = 'a3c'",
        "blocks = 7",
    ] {
        let config = with(false, text).expect(text);
        let blocks = file::parse(text, Path::new("test.toml")).expect(text).blocks;
        let (pool, threads) = (&config.pool, config.learner.threads);
        let same = config.resized(blocks, (pool.actors, pool.envs_per_actor, threads));
        assert_eq!(same.as_ref(), Ok(&config), "{text}");
        let more = config.resized(blocks, (pool.actors * 2, pool.envs_per_actor, threads));
        let more = more.expect(text);
        assert_eq!((more.pool.actors, more.pool.batch), (pool.actors * 2, pool.batch), "{text}");
        // As if they had been set.
        let set = format!("{text}\nactors = {}", pool.actors * 2);
        assert_eq!(Ok(more), with(false, &set), "{text}");
    }
    let config = with(false, "env = 'CartPole-v1'").expect("valid");
    let whole = config.resized(None, (2, 8, 1)).expect("a divisor of the batch");
    assert_eq!((whole.pool.batch, whole.pool.groups_per_block()), (8, 1));
    assert!(config.resized(None, (2, 5, 1)).is_err(), "no divisor");
}

#[test]
fn every_row_has_an_environment() {
    let registry = Registry::builtin();
    let rows = ENVIRONMENTS.iter().map(|row| row.name);
    for row in rows.filter(|name| !name.ends_with('*')) {
        assert!(registry.ids().any(|(id, _)| id == row), "{row}");
    }
}

#[test]
fn what_is_rendered_resolves_to_the_same() {
    let texts = [
        "",
        "env = 'Acrobot-v1'\nactors = 8191\nstop-at-return = -100\ntime-limit = 1.5",
        "env = 'Catch-v0'\ntorso = 'cnn'\nconv = ['8x2/1']\nhidden = [7]\ndevice = 'cuda:1'",
        "env = 'Synthetic-v0'\nenv-arg = ['shape=32x32', 'stack=2']\npreset = 'throughput'",
        "optimizer = 'rmsprop-tf'\nrmsprop-momentum = 0.5\nreward-clip = 'soft-asymmetric'",
        "optimizer = 'rmsprop-torch'\nrho-bar = inf\nc-bar = inf\npg-rho-bar = inf\nmax-grad-norm = inf",
        "env = 'Pendulum-v1'\naction-bounds = 'clip'",
        "checkpoint-interval = inf\ntime-limit = inf\nstop-at-return = inf\ntotal-frames = 1e9",
        "learning-rate = 0.1\ndiscount = 0.3333333333333333\noptimizer-epsilon = 1e-12\npin = true",
        "env = 'gym:ALE/Pong-v5'\nenv-wrapper = 'a.py:b'\npython = 'bin/python'\nframe-stack = 2",
        "algorithm = 'a2c'",
        "algorithm = 'a2c'\nschedule = 'async'\nlambda = 0.9",
        "env = 'Pendulum-v1'\nalgorithm = 'a2c'\nlag = 2\npasses = 2\nbatch = 16",
        "envs-per-actor = 12\nseed = 9223372036854775807\nquiet = true\nreduction = 'mean'",
    ];
    for text in texts {
        let config = with(true, text).expect(text);
        let again = with(true, &config.to_toml()).expect("rendered settings are valid");
        assert_eq!(again, config, "{}", config.to_toml());
        assert_eq!(again.to_toml(), config.to_toml());
        assert_eq!(config.advice(&config.to_settings()), [""; 0], "{text}");
    }
}

#[test]
fn the_run_folder_is_a_comment() {
    let config = with(false, "run-dir = 'runs/1'").expect("valid");
    assert_eq!(config.run.run_dir.as_deref(), Some(Path::new("runs/1")));
    assert!(config.to_toml().contains("# The run folder was \"runs/1\""), "{}", config.to_toml());
    let again = with(false, &config.to_toml()).expect("valid");
    assert_eq!(again.run.run_dir, None);
}

#[test]
fn an_algorithm_is_a_name_for_settings_that_win_over_it() {
    let a2c = with(false, "env = 'Pendulum-v1'\nalgorithm = 'a2c'").expect("valid");
    assert_eq!(a2c.pool.schedule, Schedule::Lockstep { lag: 0 });
    assert_eq!((a2c.learner.passes, a2c.learner.clip_range), (1, f64::INFINITY), "not its kind's");
    assert_eq!(a2c.learner.lambda, 1.0);
    let text = "env = 'Pendulum-v1'\nalgorithm = 'a2c'\nlambda = 0.9\nlag = 3\npasses = 2";
    let bent = with(false, text).expect("valid");
    assert_eq!(bent.pool.schedule, Schedule::Lockstep { lag: 3 });
    assert_eq!((bent.learner.lambda, bent.learner.passes), (0.9, 2));
    let free = with(false, "algorithm = 'a2c'\nschedule = 'async'").expect("valid");
    assert_eq!(free.pool.schedule, Schedule::Async);
    let named = |text| with(false, text).expect("valid").learner;
    assert_eq!(named("algorithm = 'impala'"), named(""), "impala is what the other layers say");
}

#[test]
fn lockstep_takes_no_more_actors_than_there_are_groups() {
    let actors = |text: &str| with(false, text).expect(text).pool.actors;
    assert_eq!(actors("schedule = 'lockstep'"), 2, "two groups of four in CartPole's row");
    assert_eq!(actors("schedule = 'lockstep'\nbatch = 64"), 4);
    assert_eq!(actors("schedule = 'lockstep'\nactors = 1"), 1);
    let pool = with(false, "schedule = 'lockstep'\nactors = 3\nbatch = 64").expect("valid").pool;
    assert_eq!((pool.blocks, pool.groups_per_block(), pool.groups_per_actor()), (2, 16, 6));
    assert!(
        refusal(false, "schedule = 'lockstep'\nbatch = 8\nactors = 3")
            .contains("--actors 2 or fewer")
    );
}

#[test]
fn layers_win_in_order() {
    let built_in = defaults::built_in();
    let row = defaults::find(ENVIRONMENTS, "Synthetic-v0").expect("a row");
    let preset = defaults::find(PRESETS, "throughput").expect("a row");
    assert_ne!(row.batch, preset.batch, "else this test says nothing");
    assert_ne!(row.learning_rate, built_in.learning_rate, "else this test says nothing");
    let config = with(false, "").expect("valid");
    assert_eq!(Some(config.learner.rho_bar), built_in.rho_bar);
    let config = with(false, "env = 'Synthetic-v0'").expect("valid");
    assert_eq!(Some(config.learner.learning_rate), row.learning_rate);
    assert_eq!(Some(config.pool.batch), row.batch);
    let config = with(false, "env = 'Synthetic-v0'\npreset = 'throughput'").expect("valid");
    assert_eq!(Some(config.pool.batch), preset.batch);
    assert_eq!(Some(config.learner.learning_rate), row.learning_rate);
    let config = with(false, "preset = 'throughput'\nbatch = 128").expect("valid");
    assert_eq!(config.pool.batch, 128);
}

#[test]
fn a_family_has_the_row_of_the_built_in_one() {
    let row = defaults::of_environment("CartPole-v1").expect("a row");
    assert_eq!(defaults::of_environment("gym:CartPole-v1"), Some(row.clone()));
    assert_eq!(defaults::of_environment("envpool:CartPole-v1"), Some(row));
    assert_eq!(defaults::of_environment("gym:ALE/Pong-v5"), None);
    let stacked = with(true, "env = 'Catch-v0'\nframe-stack = 3").expect("valid");
    assert_eq!(stacked.env.spec.observation.frame_stack, 3);
}

#[test]
fn a_rate_that_stays_is_half_of_one_that_falls() {
    let rate = |text: &str| with(false, text).expect(text).learner.learning_rate;
    let falls = rate("env = 'Pendulum-v1'");
    let stays = rate("env = 'Pendulum-v1'\nlearning-rate-decay = 'none'");
    assert_eq!(stays.to_bits(), (falls / 2.0).to_bits());
    let text = "env = 'Pendulum-v1'\nlearning-rate-decay = 'none'\nlearning-rate = 0.25";
    assert_eq!(rate(text).to_bits(), 0.25_f64.to_bits(), "what is set is left alone");
    // CartPole's row names a rate of its own.
    let row = defaults::of_environment("CartPole-v1").and_then(|row| row.learning_rate);
    assert_eq!(Some(rate("learning-rate-decay = 'none'")), row);
}

#[test]
fn constants_follow_the_optimizer() {
    let epsilon = |name| {
        defaults::find(OPTIMIZERS, name).and_then(|row| row.optimizer_epsilon).expect("a row")
    };
    let optimizer = |text| with(false, text).expect("valid").learner.optimizer;
    let Optimizer::Adam { epsilon: adam, .. } = optimizer("") else {
        panic!("the default is Adam")
    };
    assert_eq!(adam.to_bits(), epsilon("adam").to_bits());
    let Optimizer::RmspropTf { epsilon: tf, decay, .. } =
        optimizer("optimizer = 'rmsprop-tf'\nrmsprop-decay = 0.9")
    else {
        panic!("asked for another")
    };
    assert_eq!(
        (tf.to_bits(), decay.to_bits()),
        (epsilon("rmsprop-tf").to_bits(), 0.9_f64.to_bits())
    );
    // What large images say of epsilon is for the optimizer that they name.
    let game = |text: &str| {
        let text = format!("env = 'Synthetic-v0'\nenv-defaults = false\n{text}");
        with(false, &text).expect("valid").learner.optimizer
    };
    let Optimizer::RmspropTf { epsilon: of_images, .. } = game("") else {
        panic!("large images name it");
    };
    assert!(of_images < tf, "{of_images} is not their own");
    let Optimizer::Adam { epsilon: adam, .. } = game("optimizer = 'adam'") else {
        panic!("asked for Adam");
    };
    assert_eq!(adam.to_bits(), epsilon("adam").to_bits());
}

#[test]
fn defaults_bend_and_typed_values_do_not() {
    let sizes =
        |text| with(false, text).map(|config| (config.pool.batch, config.pool.envs_per_actor));
    assert_eq!(sizes("envs-per-actor = 12").expect("bends"), (12, 12));
    assert_eq!(sizes("batch = 7").expect("bends"), (7, 1));
    assert_eq!(sizes("preset = 'throughput'\nenvs-per-actor = 48").expect("bends"), (288, 48));
    assert!(
        refusal(false, "batch = 7\nenvs-per-actor = 2")
            .contains("try batch 8, or envs-per-actor 1")
    );
    let blocks = |text| with(false, text).expect("valid").pool.blocks;
    assert_eq!(blocks("actors = 64\nbatch = 8\nenvs-per-actor = 8"), 65);
    assert_eq!(blocks("actors = 64\nbatch = 8\nenvs-per-actor = 8\nblocks = 64"), 64);
}

#[test]
fn networks_go_where_they_can_run() {
    use crate::config::Activation;
    let network = |libtorch, text| {
        let config = with(libtorch, text).expect(text);
        (config.network.torso, config.pool.engine)
    };
    let (mlp, cnn) = ((TorsoName::Mlp, Engine::Native), (TorsoName::Cnn, Engine::Native));
    assert_eq!(network(true, ""), mlp);
    assert_eq!(network(true, "env = 'Catch-v0'"), cnn);
    assert_eq!(network(false, "env = 'Catch-v0'"), cnn);
    assert_eq!(network(false, "env = 'Catch-v0'\ntorso = 'cnn'\nengine = 'native'"), cnn);
    let on_libtorch = (TorsoName::Cnn, Engine::Libtorch);
    assert_eq!(network(true, "env = 'Catch-v0'\nengine = 'libtorch'"), on_libtorch);
    assert_eq!(network(true, "env = 'Catch-v0'\ndevice = 'cuda'"), on_libtorch);
    assert_eq!(network(true, "env = 'Synthetic-v0'\nenv-arg = ['shape=9']"), mlp);
    assert_eq!(network(true, "env = 'Synthetic-v0'\nenv-arg = ['shape=9x9']"), mlp);
    let deep = network(false, "env = 'Synthetic-v0'\ntorso = 'impala-deep'");
    assert_eq!(deep, (TorsoName::ImpalaDeep, Engine::Native));
    assert_eq!(network(true, "engine = 'libtorch'"), (TorsoName::Mlp, Engine::Libtorch));
    assert_eq!(network(true, "device = 'cuda'"), (TorsoName::Mlp, Engine::Libtorch));
    let catch = with(true, "env = 'Catch-v0'\nactivation = 'tanh'").expect("valid");
    assert_eq!(catch.network.activation, Activation::Relu, "the only one for images");
    let conv = Conv { filters: 16, kernel: 3, stride: 1 };
    assert_eq!(catch.network.convs.first(), Some(&conv));
}

#[test]
fn named_torsos_bring_their_layers() {
    let network = |text: &str| {
        let text = format!("env = 'Synthetic-v0'\n{text}");
        with(true, &text).expect("valid").network
    };
    let sizes = |convs: &[Conv]| convs.iter().map(Conv::to_string).collect::<Vec<_>>();
    let nature = network("torso = 'nature'");
    // The environment's row says 256, for another torso.
    assert_eq!(nature.hidden, [512]);
    assert_eq!(sizes(&nature.convs), ["32x8/4", "64x4/2", "64x3/1"]);
    let shallow = network("torso = 'atari-shallow'\nhidden = [128, 64]");
    assert_eq!(shallow.hidden, [128, 64]);
    assert_eq!(sizes(&shallow.convs), ["16x8/4", "32x4/2"]);
    let deep = network("torso = 'impala-deep'");
    assert_eq!((deep.hidden, deep.convs.len()), (vec![256], 0));
    // Written down and read again.
    for name in ["atari-shallow", "nature", "impala-deep"] {
        let text = format!("env = 'Synthetic-v0'\ntorso = '{name}'\nhidden = [300]\ncore = 'lstm'");
        let config = with(true, &text).expect("valid");
        assert_eq!(with(true, &config.to_toml()).expect("valid"), config);
    }
}

#[test]
fn a_core_sees_the_last_action_and_has_its_state_in_the_ring() {
    let config = |text| with(true, text).expect("valid");
    let state = |text| config(text).pool.layout.spec().state_len;
    assert_eq!((state(""), state("core = 'lstm'\ncore-size = 24")), (0, 48));
    let inputs = |text| config(text).network.action_reward_inputs;
    assert!(!inputs(""));
    assert!(inputs("core = 'lstm'"));
    assert!(!inputs("core = 'lstm'\naction-reward-inputs = false"));
    let alone = config("action-reward-inputs = true");
    assert_eq!((alone.network.core, alone.pool.engine), (CoreName::None, Engine::Native));
    assert_eq!(config("core = 'lstm'").pool.engine, Engine::Native);
    assert_eq!(config("core = 'lstm'\nengine = 'libtorch'").pool.engine, Engine::Libtorch);
    let without = with(false, "env = 'Recall-v0'").expect("valid");
    assert_eq!((without.network.core, without.pool.engine), (CoreName::Lstm, Engine::Native));
}

#[test]
fn networks_that_cannot_run_are_refused() {
    for (libtorch, text, parts) in [
        (false, "device = 'cuda:1'", ["--device cuda:1 needs libtorch", "--device cpu"]),
        (false, "engine = 'libtorch'", ["--engine libtorch needs libtorch", "--engine native"]),
        (
            true,
            "device = 'cuda'\nengine = 'native'",
            ["cannot run --device cuda:0", "--device cpu"],
        ),
        (true, "torso = 'cnn'", ["CartPole-v1 shows [4]", "--torso mlp"]),
        (true, "env = 'Catch-v0'\ntorso = 'nature'", ["32x8/4 of --torso nature", "10x5 pixels"]),
        (true, "torso = 'impala-deep'", ["--torso impala-deep needs images", "--torso mlp"]),
        (true, "core = 'lstm'\nseparate-value = true", ["--separate-value", "--core none"]),
        (true, "env = 'Catch-v0'\nconv = ['4x6']", ["--conv 4x6/1", "10x5 pixels"]),
        (true, "env = 'Catch-v0'\nconv = ['4x3', '4x4']", ["--conv 4x4/1", "8x3 pixels"]),
    ] {
        let message = refusal(libtorch, text);
        for part in parts {
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}

#[test]
fn a_value_of_its_own_and_minibatches_are_asked_for() {
    let network = |text| with(true, text).expect("valid").network;
    assert!(network("separate-value = true").separate_value);
    assert!(!network("separate-value = false\ncore = 'lstm'").separate_value);
    assert!(!network("").separate_value);
    let minibatches = |text| with(true, text).expect("valid").learner.minibatches;
    assert_eq!(minibatches("minibatches = 4\nbatch = 2"), 2, "no more than columns");
    assert_eq!(minibatches(""), 1);
}

#[test]
fn advice_names_what_has_no_effect() {
    let advice = |text: &str| {
        let explicit = file::parse(text, Path::new("test.toml")).expect("valid");
        resolve(&explicit, &Registry::builtin(), true).expect("valid").advice(&explicit)
    };
    for (text, part) in [
        (
            "adam-beta1 = 0.8\noptimizer = 'rmsprop-tf'",
            "--adam-beta1 has no effect with rmsprop-tf",
        ),
        ("rmsprop-decay = 0.8", "--rmsprop-decay has no effect with adam"),
        ("conv = ['4x3']", "--conv has no effect with an mlp torso"),
        (
            "env = 'Synthetic-v0'\ntorso = 'nature'\nconv = ['4x3']",
            "--conv has no effect with a torso that has layers of its own",
        ),
        ("core-size = 9", "--core-size has no effect with --core none"),
        ("env = 'Catch-v0'\nactivation = 'tanh'", "--activation has no effect with a cnn torso"),
        ("actors = 4\nbatch = 8\nenvs-per-actor = 8\nblocks = 4", "use --blocks 5 or more"),
        ("action-bounds = 'squash'", "--action-bounds has no effect with discrete actions"),
        ("c-bar = 2", "--c-bar 2 is above --rho-bar 1"),
    ] {
        let lines = advice(text);
        assert!(lines.len() == 1 && lines[0].contains(part), "{text}: {lines:?}");
    }
    assert_eq!(advice("adam-beta1 = 0.8\nreward-clip = 'abs-one'"), [""; 0]);
    let clipped = with(false, "reward-clip = 'abs-one'").expect("valid");
    assert_eq!(clipped.learner.reward_clip, RewardClip::AbsOne);
}

/// Two dimensions, the second of which has no upper bound.
struct Endless;

impl Environment for Endless {
    type Element = f32;
    type Action = [f32; 2];

    fn spec(&self) -> EnvSpec {
        let action = ActionSpec::Continuous { low: vec![-1.0; 2], high: vec![1.0, f32::INFINITY] };
        EnvSpec::new("Endless-v0", ObservationSpec::new(Dtype::F32, &[1]), action)
    }

    fn reset(&mut self, _: &mut Rng, observation: &mut [f32]) -> Result<(), BoxError> {
        observation.fill(0.0);
        Ok(())
    }

    fn step(
        &mut self,
        _: [f32; 2],
        rng: &mut Rng,
        observation: &mut [f32],
    ) -> Result<Transition, BoxError> {
        self.reset(rng, observation)?;
        Ok(Transition::default())
    }
}

#[test]
fn only_finite_bounds_can_be_squashed_to() {
    let mut registry = Registry::builtin();
    registry.add_environment("Endless-v0", "no upper bound", || Endless);
    let bounds = |env: &str, bounds: &str| {
        let text = format!("env = '{env}'\naction-bounds = '{bounds}'");
        let explicit = file::parse(&text, Path::new("test.toml")).expect("valid");
        resolve(&explicit, &registry, false).map(|config| config.env.action_bounds)
    };
    assert_eq!(bounds("Endless-v0", "clip"), Ok(ActionBounds::Clip));
    assert_eq!(bounds("Pendulum-v1", "squash"), Ok(ActionBounds::Squash));
    assert_eq!(bounds("CartPole-v1", "squash"), Ok(ActionBounds::Clip), "it has no effect there");
    let refused = bounds("Endless-v0", "squash").expect_err("endless").to_string();
    for part in
        ["dimension 1 of the actions of Endless-v0", "from -1 to inf", "--action-bounds clip"]
    {
        assert!(refused.contains(part), "{refused}");
    }
}

#[test]
fn places_are_dealt_evenly_to_actors_and_tasks() {
    let two = [
        "env = ['CartPole-v1', 'CartPole-v1']",
        "env = ['CartPole-v1', 'CartPole-v1', 'CartPole-v1']",
    ];
    for (text, tasks) in two.iter().zip([2, 3]) {
        for actors in [1, 2, 3, 4, 6, 7] {
            let config = with(false, &format!("{text}\nactors = {actors}")).expect(text);
            let places = |actor| config.pool.places(actor).collect::<Vec<_>>();
            let mut shares = vec![0; tasks];
            for actor in 0..actors {
                assert_eq!(places(actor).len(), config.pool.groups_per_actor(), "{text} {actors}");
                places(actor).iter().for_each(|&place| shares[config.pool.task_of(place)] += 1);
            }
            assert!(shares.iter().all(|&share| share == shares[0] && share > 0), "{shares:?}");
        }
    }
    let lockstep = with(
        false,
        &format!("{}\nschedule = 'lockstep'\nactors = 2\nbatch = 20\nenvs-per-actor = 4", two[1]),
    )
    .expect("enough groups");
    let groups = lockstep.pool.groups_per_block();
    let mut all: Vec<_> = (0..2).flat_map(|actor| lockstep.pool.places(actor)).collect();
    all.sort_unstable();
    assert_eq!(all, (0..groups).collect::<Vec<_>>());
}

#[test]
fn tasks_may_be_called_so_in_a_file() {
    let config = with(
        false,
        "tasks = ['MountainCar-v0', 'CartPole-v1']\npad-observations = 4\nstop-at-return = [-110, 475]",
    );
    let config = config.expect("vectors");
    assert_eq!(config.env.id, "MountainCar-v0+CartPole-v1");
    assert_eq!(config.stop.stop_at_return, Some(vec![-110.0, 475.0]));
    let same = file::parse(&config.to_toml(), Path::new("again.toml")).expect("ours");
    assert_eq!(resolve(&same, &registry(), false).expect("valid"), config);
    let one = with(false, "tasks = 'Catch-v0'").expect("one");
    assert!(one.to_toml().contains("env = \"Catch-v0\""), "{}", one.to_toml());
}
