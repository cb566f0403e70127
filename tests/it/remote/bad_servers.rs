//! Servers that do not keep to the protocol.

use std::process::Command;

use super::{Server, python, said, supervised, test_envs};
use crate::program::{assert_refused, finish, number, summary};

/// What the server does, when, and what is said about it.
const IN_A_STEP: [(&str, &str); 7] = [
    ("late", "an answer to request "),
    ("short", "bytes of frames"),
    ("no-ends", "bytes of terminated"),
    ("garbage", "an invalid answer"),
    ("nothing", "a message of no kind"),
    ("spec-again", "the answer to a hello"),
    ("nan", "an observation that is not finite"),
];

const AT_THE_START: [(&str, &str); 5] = [
    ("version", "version 9 of the protocol"),
    ("huge", "do not fit into a message"),
    ("no-actions", "an action space that does not exist"),
    ("observed-first", "an observation before a spec"),
    ("garbage-first", "an invalid answer"),
];

fn bad(python: &std::path::Path, fault: &str) -> Server {
    let mut command = Command::new(python);
    command.arg(test_envs().join("impala_bad_server.py")).arg(fault);
    command.env("PYTHONPATH", concat!(env!("CARGO_MANIFEST_DIR"), "/python/src"));
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    Server::started(command)
}

#[test]
fn a_server_that_talks_nonsense_is_a_failure_of_the_environment() {
    let Some(python) = python("remote nonsense") else {
        return;
    };
    for (fault, part) in IN_A_STEP {
        let server = bad(&python, fault);
        for (remedy, code) in [("fail", 12), ("restart", 0)] {
            let folder = tempfile::tempdir().expect("temporary folder");
            let mut command = supervised(folder.path(), &server.env());
            command.args(["--envs-per-actor", "2", "--batch", "4", "--unroll", "8"]);
            command.args(["--on-bad-env", remedy, "--total-frames", "3000"]);
            let finished = finish(command);
            let said = said(&finished);
            assert_eq!(finished.code(), Some(code), "{fault}: {said}");
            assert!(said.contains(part), "{fault}: {said}");
            if code == 0 {
                let summary = summary(folder.path());
                assert!(number(&summary, "env_errors") >= 1.0, "{fault}: {summary}");
                assert_eq!(summary["slot_counts"]["conserved"], true, "{fault}: {summary}");
            }
        }
    }
}

#[test]
fn a_server_that_talks_nonsense_at_the_start_is_refused() {
    let Some(python) = python("remote nonsense at the start") else {
        return;
    };
    for (fault, part) in AT_THE_START {
        let server = bad(&python, fault);
        let folder = tempfile::tempdir().expect("temporary folder");
        let finished = finish(supervised(&folder.path().join("run"), &server.env()));
        assert_refused(&finished, fault, 2, &[part]);
    }
}
