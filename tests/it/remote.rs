//! Environments of servers: what they show, what is learnt from them, and everything that can go wrong on the way.

mod bad_servers;
mod elsewhere;
mod failing;
mod refused;
mod tls;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use impala_rl::env::{Actions, EnvOptions, VectorEnv};
use nix::sys::signal::Signal;

use crate::gym::{Arrays, options, test_envs};
use crate::program::{Finished, finish, number, send, summary, supervisor};
use crate::python::python_with;

const COUNTING: &str = "gym:impala_test_envs:Counting-v0";

/// The Python with gymnasium and grpc, or nothing and a word.
pub(crate) fn python(test: &str) -> Option<PathBuf> {
    python_with(test, "gymnasium").and_then(|_| python_with(test, "grpc, google.protobuf"))
}

/// A server that says where it listens; killed when dropped.
pub(crate) struct Server {
    child: Child,
    port: u16,
}

impl Server {
    /// `python -m impala_env.serve` with these arguments, on a free port or one that is given.
    pub(crate) fn of(python: &Path, port: u16, arguments: &[&str]) -> Self {
        let listen = format!("127.0.0.1:{port}");
        let mut command = serve(python);
        command.args(["--listen", &listen]).args(arguments);
        Self::started(command)
    }

    /// Any program that prints `... at HOST:PORT` once it listens.
    fn started(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the server starts");
        let mut line = String::new();
        let out = child.stdout.take().expect("a pipe");
        BufReader::new(out).read_line(&mut line).expect("read");
        let port = line.trim().rsplit(':').next().and_then(|port| port.parse().ok());
        let port = port.unwrap_or_else(|| panic!("the server says where it listens: {line:?}"));
        Self { child, port }
    }

    pub(crate) fn env(&self) -> String {
        format!("grpc://127.0.0.1:{}", self.port)
    }

    /// The same for one that shows a certificate.
    fn tls_env(&self) -> String {
        format!("grpcs://127.0.0.1:{}", self.port)
    }

    fn signal(&self, signal: Signal) {
        send(self.child.id(), signal);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _already_reaped = self.child.wait();
    }
}

/// The server program, with the environments of these tests.
fn serve(python: &Path) -> Command {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/src");
    let mut command = Command::new(python);
    let path = std::env::join_paths([package, test_envs()]).expect("plain names");
    command.env("PYTHONPATH", path).env("PYTHONDONTWRITEBYTECODE", "1");
    command.args(["-m", "impala_env.serve"]).stdin(Stdio::null());
    command
}

/// A supervisor with two actors for these environments, to be given its other flags.
fn supervised(run_dir: &Path, env: &str) -> Command {
    let mut command = supervisor();
    command.args(["--env", env, "--actors", "2", "--log-interval", "0.05", "--run-dir"]);
    command.arg(run_dir);
    command
}

fn said(finished: &Finished) -> String {
    format!("{}{}", finished.stdout, finished.stderr)
}

fn make(id: &str, options: &EnvOptions, envs: usize) -> Box<dyn VectorEnv> {
    impala_rl::build::registry().make(id, options, envs, 7).unwrap_or_else(|e| panic!("{id}: {e}"))
}

#[test]
fn cartpole_is_learnt_over_loopback() {
    let Some(python) = python("remote cartpole") else {
        return;
    };
    let server = Server::of(&python, 0, &["gym:CartPole-v1"]);
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut command = supervised(folder.path(), &server.env());
    command.args(["--envs-per-actor", "8", "--batch", "16", "--stop-at-return", "400"]);
    let finished = finish({
        command.args(["--total-frames", "1000000"]);
        command
    });
    assert_eq!(finished.code(), Some(0), "{}", said(&finished));
    assert!(said(&finished).contains("its server has gym:CartPole-v1"), "{}", said(&finished));
    let summary = summary(folder.path());
    assert_eq!(summary["status"], "solved", "{summary}");
    for key in ["env_errors", "actor_restarts"] {
        assert_eq!(number(&summary, key), 0.0, "{key}: {summary} {}", said(&finished));
    }
}

/// Steps both with the same actions and holds that they show the same.
fn assert_alike(one: &mut dyn VectorEnv, other: &mut dyn VectorEnv, what: &str) {
    assert_eq!(one.spec().observation, other.spec().observation, "{what}");
    assert_eq!(one.spec().action, other.spec().action, "{what}");
    assert_eq!(one.spec().masks, other.spec().masks, "{what}");
    let action = one.spec().action.clone();
    let envs = one.envs();
    let (mut here, mut there) = (Arrays::of(one), Arrays::of(other));
    let alike = |here: &Arrays, there: &Arrays, when: i32| {
        assert_eq!(here.bytes(), there.bytes(), "{what}, step {when}");
        assert_eq!(here.masks, there.masks, "{what}, step {when}");
    };
    here.reset(one).expect("reset");
    there.reset(other).expect("reset");
    alike(&here, &there, -1);
    for step in 0..40_i32 {
        let choices: Vec<i32> = (0..envs)
            .flat_map(|env| {
                let number = |size: &usize| {
                    (step + i32::try_from(env).expect("few")) % i32::try_from(*size).expect("few")
                };
                let (low, high) = action.bounds();
                let middle = low.iter().zip(high).map(|(low, high)| 0.5 * (low + high));
                let bits = middle.map(|x| x.to_bits().cast_signed());
                action.sizes().iter().map(number).chain(bits).collect::<Vec<_>>()
            })
            .collect();
        let numbers: &[f32] = bytemuck::cast_slice(&choices);
        let actions = match (action.sizes().is_empty(), action.numbers()) {
            (true, _) => Actions::Continuous(numbers),
            (false, 0) => Actions::Discrete(&choices),
            (false, _) => Actions::Hybrid(&choices),
        };
        here.step(one, actions).expect("stepped");
        there.step(other, actions).expect("stepped");
        alike(&here, &there, step);
        assert_eq!((&here.rewards, &here.flags), (&there.rewards, &there.flags), "{what}, {step}");
    }
}

#[test]
fn a_server_shows_what_a_worker_shows() {
    let Some(python) = python("remote and worker") else {
        return;
    };
    let spaces = "gym:impala_test_envs:Spaces-v0";
    let cases: [(&str, &[&str]); 9] = [
        ("gym:CartPole-v1", &[]),
        ("gym:CartPole-v1", &["vectorization_mode=sync"]),
        (COUNTING, &["length=3"]),
        (COUNTING, &["length=4", "cut=true"]),
        (spaces, &["observation=image", "action=multi"]),
        (spaces, &["observation=dict", "action=box"]),
        (spaces, &["observation=masked", "action=masked"]),
        (spaces, &["observation=box", "action=dict"]),
        (spaces, &["observation=grey", "action=nested"]),
    ];
    for env in ["gym:CartPole-v1", COUNTING, spaces] {
        let server = Server::of(&python, 0, &[env]);
        for (_, pairs) in cases.iter().filter(|(id, _)| *id == env) {
            let mut worker = make(env, &options(&python, pairs), 3);
            let mut remote = make(&server.env(), &EnvOptions::parse(*pairs).expect("pairs"), 3);
            assert_alike(worker.as_mut(), remote.as_mut(), &format!("{env} {pairs:?}"));
        }
    }
}

#[test]
fn actors_are_dealt_to_the_servers() {
    let Some(python) = python("remote servers") else {
        return;
    };
    let folder = tempfile::tempdir().expect("temporary folder");
    let logs = ["one", "other"].map(|name| folder.path().join(name));
    let servers = logs.each_ref().map(|log| {
        let mut command = serve(&python);
        command.args([COUNTING, "--listen", "127.0.0.1:0"]);
        command.stderr(std::fs::File::create(log).expect("a log"));
        Server::started(command)
    });
    let env = format!("{},127.0.0.1:{}", servers[0].env(), servers[1].port);
    let mut command = supervised(&folder.path().join("run"), &env);
    let finished = finish({
        command.args(["--envs-per-actor", "3", "--batch", "6", "--total-frames", "2000"]);
        command
    });
    assert_eq!(finished.code(), Some(0), "{}", said(&finished));
    for log in logs {
        let streams = std::fs::read_to_string(log).expect("a log");
        assert_eq!(streams.matches(": 1 environments").count(), 1, "one is tried: {streams}");
        assert_eq!(streams.matches(": 3 environments").count(), 1, "an actor is here: {streams}");
    }
}
