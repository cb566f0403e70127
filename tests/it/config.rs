//! What `Config::resolve` refuses, and how; what it takes repeats itself through TOML.

mod docs;

use std::path::Path;

use impala_rl::config::defaults::{ENVIRONMENTS, PRESETS};
use impala_rl::config::preflight::{self, Machine};
use impala_rl::config::{Args, Config, ConfigError, Settings, file, refusal};
use impala_rl::env::Registry;

fn resolve(toml: &str) -> Result<Config, ConfigError> {
    let settings = file::parse(toml, Path::new("test.toml"))?;
    Config::resolve(&settings, &Registry::builtin())
}

/// A flag line that must be refused, and what the one line has to contain.
const REFUSED: &[(&str, &[&str])] = &[
    ("--actors 0", &["--actors 0", "from 1 to 8191"]),
    ("--actors 8192", &["--actors 8192", "from 1 to 8191"]),
    ("--actors -4", &["'-4'", "--actors", "whole number"]),
    ("--envs-per-actor 0", &["--envs-per-actor 0", "from 1"]),
    ("--unroll 0", &["--unroll 0", "from 1"]),
    ("--batch 0", &["--batch 0", "from 1"]),
    ("--batch 10 --envs-per-actor 4", &["batch 10", "try batch 12", "envs-per-actor 2"]),
    ("--batch 4 --envs-per-actor 8", &["batch 4", "try batch 8", "envs-per-actor 4"]),
    ("--blocks 0", &["--blocks 0", "from 2"]),
    ("--blocks 1", &["--blocks 1", "from 2", "one to fill while the other is learnt from"]),
    (
        "--actors 9 --batch 8 --envs-per-actor 4 --blocks 4",
        &["--blocks 4", "8 slots for 9 actors", "--blocks 5", "8 actors"],
    ),
    ("--total-frames 0", &["--total-frames 0", "from 1"]),
    ("--total-frames 1e30", &["1e30", "whole number"]),
    ("--stop-window 0", &["--stop-window 0", "from 1"]),
    ("--stop-at-return nan", &["--stop-at-return NaN"]),
    ("--time-limit 0", &["--time-limit 0", "above 0"]),
    ("--time-limit=-1", &["--time-limit -1", "above 0"]),
    ("--learning-rate nan", &["--learning-rate NaN", "above 0, at most 10"]),
    ("--learning-rate inf", &["--learning-rate inf", "at most 10"]),
    ("--learning-rate -0.001", &["--learning-rate -0.001", "above 0"]),
    ("--learning-rate 0", &["--learning-rate 0", "above 0"]),
    ("--learning-rate fast", &["'fast'", "--learning-rate", "not a number"]),
    ("--discount 1.01", &["--discount 1.01", "from 0 to 1"]),
    ("--lambda -0.1", &["--lambda -0.1", "from 0 to 1"]),
    ("--rho-bar 0", &["--rho-bar 0", "or inf"]),
    ("--rho-bar nan", &["--rho-bar NaN", "or inf"]),
    ("--max-grad-norm 0", &["--max-grad-norm 0", "above 0"]),
    ("--reward-scale 0", &["--reward-scale 0", "above 0"]),
    ("--adam-beta2 1", &["--adam-beta2 1", "0.999999"]),
    ("--optimizer-epsilon 0", &["--optimizer-epsilon 0", "from 0.000000000001"]),
    ("--hidden 64,0", &["--hidden 0", "from 1 to 65536 for each layer"]),
    ("--hidden 1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1", &["17 layers", "from 1 to 16"]),
    ("--conv 16x3/0", &["16x3/0", "FILTERSxKERNEL/STRIDE"]),
    ("--torso lstm", &["lstm", "mlp, cnn, atari-shallow, nature, impala-deep"]),
    ("--core gru", &["gru", "none, lstm"]),
    ("--core-size 0", &["--core-size 0", "from 1 to 65536"]),
    ("--torso cnn", &["--torso cnn needs images", "CartPole-v1 shows [4]", "--torso mlp"]),
    ("--engine gpu", &["gpu", "auto, native, libtorch"]),
    ("--engine native --device cuda", &["--device cuda:0", "--device cpu"]),
    ("--device tpu", &["tpu", "cpu, cuda, cuda:0 or cuda:auto"]),
    ("--learner-threads 0", &["--learner-threads 0", "from 1"]),
    ("--publish-every 0", &["--publish-every 0", "from 1"]),
    ("--keep-checkpoints 0", &["--keep-checkpoints 0", "from 1"]),
    ("--log-interval 0", &["--log-interval 0", "from 0.05"]),
    ("--checkpoint-interval 0", &["--checkpoint-interval 0", "above 0"]),
    ("--seed 9223372036854775808", &["--seed 9223372036854775808", "from 0"]),
    ("--preset slow", &["--preset \"slow\"", "fast-learning or throughput"]),
    ("--env CartPole-v2", &["CartPole-v2", "CartPole-v1", "--list-envs"]),
    ("--env-arg speed", &["'speed'", "--env-arg KEY=VALUE"]),
    ("--env-arg speed=2", &["speed=2", "CartPole-v1", "no options"]),
    ("--env Synthetic-v0 --env-arg stack=99", &["stack=99", "from 1 to 16"]),
    ("--config /no/such/file.toml", &["/no/such/file.toml", "check the path"]),
    ("--resume /no/such/run", &["/no/such/run/config.toml"]),
    ("--frames 5", &["--frames", "unexpected"]),
    ("train", &["train", "unexpected"]),
];

/// What a program would print for these flags.
fn complaint(argv: &[&str]) -> Option<String> {
    let args = match Args::from_argv(argv) {
        Ok(args) => args,
        Err(error) => return Some(refusal(&error).expect("an error, not a request for help")),
    };
    let resolved = args.layers().and_then(|typed| Config::resolve(&typed, &Registry::builtin()));
    resolved.err().map(|error| error.to_string())
}

#[test]
fn bad_input_is_refused_on_one_line_with_a_remedy() {
    for (line, parts) in REFUSED {
        let argv: Vec<_> = std::iter::once("impala-supervisor").chain(line.split(' ')).collect();
        let message = complaint(&argv).unwrap_or_else(|| panic!("{line} was taken"));
        assert!(!message.contains('\n'), "{message:?}");
        for part in *parts {
            assert!(message.contains(part), "{line}: {message}");
        }
    }
}

#[test]
fn control_characters_do_not_reach_a_message() {
    for argv in [
        ["impala-supervisor", "--env", "Cart\nPole"],
        ["impala-supervisor", "--env-arg", "a=1\n2"],
        ["impala-supervisor", "--preset", "fast\u{1b}[31m"],
        ["impala-supervisor", "--config", "no\nfile"],
        ["impala-supervisor", "--device", "c\u{1b}pu"],
    ] {
        let message = complaint(&argv).expect("refused");
        assert!(!message.contains(char::is_control), "{message:?}");
    }
}

#[test]
fn flags_win_over_the_file_that_they_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("config.toml");
    std::fs::write(&path, "actors = 3\nseed = 7\nenv-arg = []\n").expect("a file");
    let path = path.to_str().expect("plain name");
    let layers =
        |argv: &[&str]| Args::from_argv(argv).expect("valid").layers().expect("a good file");
    let both = layers(&["impala-supervisor", "--config", path, "--actors", "5"]);
    assert_eq!((both.actors, both.seed), (Some(5), Some(7)));
    let folder = folder.path().to_str().expect("plain name");
    let resumed = layers(&["impala-supervisor", "--resume", folder, "--seed", "8"]);
    assert_eq!((resumed.actors, resumed.seed), (Some(3), Some(8)));
}

#[test]
fn a_resolved_configuration_repeats_itself() {
    // Rows of families need what is not built in.
    for env in ENVIRONMENTS.iter().filter(|row| !row.name.ends_with('*')) {
        for preset in PRESETS {
            let settings = Settings {
                env: Some(vec![env.name.into()]),
                preset: Some(preset.name.into()),
                ..Settings::default()
            };
            let config =
                Config::resolve(&settings, &Registry::builtin()).expect("tables are valid");
            assert_eq!(resolve(&config.to_toml()), Ok(config));
        }
    }
}

/// Values at the edges, and some that no setting takes.
const EDGES: &[&str] = &[
    "0",
    "1",
    "2",
    "7",
    "64",
    "8191",
    "65536",
    "1048576",
    "9223372036854775807",
    "-1",
    "0.0",
    "0.5",
    "1.0",
    "1e9",
    "1e-12",
    "inf",
    "-inf",
    "nan",
    "true",
    "\"\"",
    "\"none\"",
    "\"mlp\"",
    "\"cnn\"",
    "\"auto\"",
    "\"native\"",
    "\"libtorch\"",
    "\"cpu\"",
    "\"cuda:9\"",
    "\"Catch-v0\"",
    "\"Synthetic-v0\"",
    "\"Pendulum-v1\"",
    "\"squash\"",
    "\"throughput\"",
    "\"rmsprop-tf\"",
    "[]",
    "[1]",
    "[65536, 65536]",
    "[\"4096x1\", \"4096x1/4096\"]",
    "[\"shape=16384x16384\", \"stack=16\"]",
];

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(512))]

    #[test]
    fn any_file_is_refused_on_one_line_or_repeats_itself(
        lines in proptest::collection::btree_map(0..Settings::keys().len(), 0..EDGES.len(), 0..5),
    ) {
        let keys = Settings::keys();
        let text: String =
            lines.iter().map(|(&key, &edge)| format!("{} = {}\n", keys[key], EDGES[edge])).collect();
        match resolve(&text) {
            Err(error) => proptest::prop_assert!(!error.to_string().contains('\n'), "{error}"),
            Ok(mut config) => {
                let tight = Machine { data_bytes: Some(1), ..Machine::default() };
                proptest::prop_assert!(preflight::check(&config, &tight).is_err());
                config.run.run_dir = None;
                proptest::prop_assert_eq!(resolve(&config.to_toml()), Ok(config));
            }
        }
    }
}
