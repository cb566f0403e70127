//! A server in another language: the protocol is enough to write one.

use std::path::Path;
use std::process::Command;

use super::{Server, said, supervised};
use crate::program::{finish, summary};

/// Builds the example in C++ into `out`; nothing, and a word, if there is no compiler or library for it.
fn built(out: &Path) -> Option<Command> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/environment-server");
    let has = |program: &str, arguments: &[&str]| {
        let found = Command::new(program).args(arguments).output();
        found.is_ok_and(|output| output.status.success())
    };
    let tools = has("pkg-config", &["--exists", "grpc++", "protobuf"])
        && has("protoc", &["--version"])
        && has("sh", &["-c", "command -v grpc_cpp_plugin && command -v g++ && command -v make"]);
    if !tools {
        eprintln!(
            "the server in C++ is skipped: apt install g++ make pkg-config libgrpc++-dev protobuf-compiler-grpc"
        );
        return None;
    }
    let mut make = Command::new("make");
    make.arg("-C").arg(source).arg(format!("OUT={}", out.display())).arg("CXXFLAGS=-O1");
    let output = make.output().expect("make starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut command = Command::new(out.join("cartpole_server"));
    command.arg("127.0.0.1:0");
    Some(command)
}

#[test]
fn a_server_in_cpp_is_learnt_from() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let Some(command) = built(&folder.path().join("build")) else {
        return;
    };
    let server = Server::started(command);
    let mut command = supervised(&folder.path().join("run"), &server.env());
    command.args(["--envs-per-actor", "8", "--batch", "16", "--stop-at-return", "400"]);
    let finished = finish({
        command.args(["--total-frames", "1000000"]);
        command
    });
    assert_eq!(finished.code(), Some(0), "{}", said(&finished));
    assert_eq!(summary(&folder.path().join("run"))["status"], "solved", "{}", said(&finished));
}
