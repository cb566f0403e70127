//! What is wrong before a run is one line and code 2.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use super::{COUNTING, Server, python, said, serve, supervised};
use crate::program::{assert_refused, finish, supervisor};

pub(super) fn refused(env: &str, flags: &[&str], parts: &[&str]) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let run_dir = folder.path().join("run");
    let mut command = supervised(&run_dir, env);
    let finished = finish({
        command.args(flags);
        command
    });
    assert_refused(&finished, &format!("--env {env} {flags:?}"), 2, parts);
    assert!(!run_dir.exists(), "{env}: before anything is made");
}

#[test]
fn addresses_and_servers_that_are_not_there_are_named() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let silent = format!("grpc://127.0.0.1:{port}");
    refused(&silent, &["--env-timeout", "0.3"], &["no answer within 0.3 s", "--env-timeout"]);
    drop(listener);
    refused(&silent, &[], &["cannot be reached", "refused", "start a server", "--env"]);
    refused("grpc://nowhere", &[], &["'nowhere' has no port", "grpc://127.0.0.1:50051"]);
    refused("grpc://no-such-host.invalid:1", &[], &["no-such-host.invalid:1 cannot be reached"]);
    refused(&silent, &["--env-wrapper", "m:f"], &["its server says", "leave out --env-wrapper"]);
    refused(&silent, &["--env-timeout", "0"], &["--env-timeout 0", "from 0.1"]);
}

#[test]
fn a_wrong_token_is_one_line() {
    let Some(python) = python("remote token") else {
        return;
    };
    let folder = tempfile::tempdir().expect("temporary folder");
    let written = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let (right, wrong) = (written("right", "abc123\n"), written("wrong", "abc124\n"));
    let server = Server::of(&python, 0, &[COUNTING, "--token-file", &right]);
    let env = server.env();
    refused(&env, &[], &["refuses the token", "this server wants one", "--env-token-file"]);
    let other = ["--env-token-file", &wrong[..]];
    refused(&env, &other, &["refuses the token", "it is not the one of this server"]);
    let missing = written("empty", "\n");
    refused(&env, &["--env-token-file", &missing], &["holds no token", "--env-token-file"]);
    refused(&env, &["--env-token-file", "/nowhere/token"], &["cannot be read", "/nowhere/token"]);

    let run_dir = folder.path().join("run");
    let mut command = supervised(&run_dir, &env);
    let finished = finish({
        command.args(["--env-token-file", &right, "--total-frames", "2000"]);
        command
    });
    assert_eq!(finished.code(), Some(0), "{}", said(&finished));
    let config = std::fs::read_to_string(run_dir.join("config.toml")).expect("config.toml");
    assert!(config.contains("env-token-file = \"/"), "{config}");
    assert!(!config.contains("abc123"), "the token itself is written nowhere");
    // A run is continued with what its folder says.
    let mut command = supervisor();
    let resumed = finish({
        command.arg("--resume").arg(&run_dir).args(["--total-frames", "4000"]);
        command
    });
    assert_eq!(resumed.code(), Some(0), "{}", said(&resumed));
}

#[test]
fn what_a_server_cannot_make_is_said_by_it() {
    let Some(python) = python("remote refusals") else {
        return;
    };
    let server = Server::of(&python, 0, &[COUNTING, "--most-envs", "8"]);
    let env = server.env();
    refused(&env, &["--env-arg", "colour=red"], &["says: ", "colour"]);
    refused(&env, &["--env-arg", "fault=raise", "--env-arg", "at=3"], &["out of cheese"]);
    let other = Server::of(&python, 0, &["gym:Acrobot-v1"]);
    let both = format!("{env},127.0.0.1:{}", other.port);
    refused(&both, &[], &["have different environments"]);
}

/// Runs the server program to its end.
pub(super) fn served(python: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command: Command = serve(python);
    let output = command.args(arguments).output().expect("the server starts");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn the_server_refuses_what_is_wrong_or_unsafe() {
    let Some(python) = python("serve refusals") else {
        return;
    };
    let cases: [(&[&str], &str); 8] = [
        (&["gym:CartPole-v1", "--listen", "0.0.0.0:0"], "--token-file FILE"),
        (&["gym:CartPole-v1", "--listen", "[::]:0"], "--insecure"),
        (&["gym:CartPole-v1", "--listen", "a-name:0"], "--insecure"),
        (&["gym:CartPole-v1", "--listen", "127.0.0.1"], "HOST:PORT"),
        (&["gym:CartPole-v1", "--token-file", "/nowhere"], "/nowhere"),
        (&["gym:CartPole-v99"], "CartPole"),
        (&["gym:CartPole-v1", "--env-arg", "x"], "KEY=VALUE"),
        (&["gym:CartPole-v1", "--streams", "0"], "--streams"),
    ];
    for (arguments, part) in cases {
        let (code, stderr) = served(&python, arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{arguments:?}: {stderr}");
        assert!(stderr.contains(part), "{arguments:?}: {stderr}");
    }
    let server = Server::of(&python, 0, &["gym:CartPole-v1"]);
    let (code, stderr) =
        served(&python, &["gym:CartPole-v1", "--listen", &format!("127.0.0.1:{}", server.port)]);
    assert_eq!((code, stderr.lines().count()), (Some(2), 1), "the port is taken: {stderr}");
    // Packages of the standard library alone.
    let mut bare = Command::new(&python);
    bare.args(["-S", "-I", "-c"]).arg(format!(
        "import sys; sys.path.insert(0, {:?}); from impala_env.serve import main; sys.exit(main(['gym:X']))",
        concat!(env!("CARGO_MANIFEST_DIR"), "/python/src")
    ));
    let output = bare.output().expect("python starts");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("pip install grpcio protobuf"), "{stderr}");
}
