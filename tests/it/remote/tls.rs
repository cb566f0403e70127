//! Servers with certificates: who is believed, and what is said to whom is not.

use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};

use super::failing::{endless, ends_in_order, errors};
use super::refused::{refused, served};
use super::{COUNTING, Server, python, said, supervised};
use crate::crash::{MAX_WAIT, wait_for_frames};
use crate::program::{Running, finish, last_metrics, number, summary};
use crate::watch::wait_until;

/// Signs certificates of servers.
struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    /// Its own, in a file.
    pem: String,
}

fn written(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("written");
    path.display().to_string()
}

impl Authority {
    fn of(folder: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("params");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let own = params.self_signed(&key).expect("signed").pem();
        let pem = written(folder, &format!("{name}.pem"), &own);
        Self { folder: folder.to_owned(), issuer: Issuer::new(params, key), pem }
    }

    /// Flags of a server that shows a certificate for `host`.
    fn server(&self, host: &str, change: impl FnOnce(&mut CertificateParams)) -> [String; 4] {
        let mut params = CertificateParams::new([host.to_owned()]).expect("params");
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let pem = params.signed_by(&key, &self.issuer).expect("signed").pem();
        let cert = written(&self.folder, "server.pem", &pem);
        let key = written(&self.folder, "server.key", &key.serialize_pem());
        ["--tls-cert".into(), cert, "--tls-key".into(), key]
    }
}

/// A server that shows what these flags name.
fn with_tls(python: &Path, port: u16, flags: &[String; 4]) -> Server {
    let mut all = vec![COUNTING];
    all.extend(flags.iter().map(String::as_str));
    Server::of(python, port, &all)
}

#[test]
fn a_run_learns_over_tls() {
    let Some(python) = python("remote TLS") else {
        return;
    };
    let folder = tempfile::tempdir().expect("temporary folder");
    let authority = Authority::of(folder.path(), "ca");
    let token = written(folder.path(), "token", "abc123\n");
    let mut arguments = vec![COUNTING, "--token-file", &token];
    let flags = authority.server("127.0.0.1", |_| ());
    arguments.extend(flags.iter().map(String::as_str));
    let server = Server::of(&python, 0, &arguments);
    let run_dir = folder.path().join("run");
    let mut command = supervised(&run_dir, &server.tls_env());
    command.args(["--env-ca-file", &authority.pem, "--env-token-file", &token]);
    let finished = finish({
        command.args(["--envs-per-actor", "3", "--batch", "6", "--total-frames", "4000"]);
        command
    });
    assert_eq!(finished.code(), Some(0), "{}", said(&finished));
    assert!(!said(&finished).contains("plain text"), "{}", said(&finished));
    let summary = summary(&run_dir);
    assert!(number(&summary, "frames") >= 4000.0, "{summary}");
    assert_eq!(number(&summary, "env_errors"), 0.0, "{summary}");
    let config = std::fs::read_to_string(run_dir.join("config.toml")).expect("config.toml");
    assert!(config.contains("env-ca-file = \"/"), "{config}");

    // Whom the system trusts is trusted without a word.
    let mut command = supervised(&folder.path().join("other"), &server.tls_env());
    command.env("SSL_CERT_FILE", &authority.pem).args(["--env-token-file", &token]);
    let finished = finish({
        command.args(["--total-frames", "1000"]);
        command
    });
    assert_eq!(finished.code(), Some(0), "{}", said(&finished));
}

#[test]
fn a_certificate_that_is_refused_is_one_line() {
    let Some(python) = python("remote certificates") else {
        return;
    };
    let folder = tempfile::tempdir().expect("temporary folder");
    let (one, other) = (Authority::of(folder.path(), "ca"), Authority::of(folder.path(), "other"));
    let ca = |authority: &Authority| ["--env-ca-file".to_owned(), authority.pem.clone()];
    let refused = |env: &str, ca: &[String], parts: &[&str]| {
        let flags: Vec<_> = ca.iter().map(String::as_str).collect();
        refused(env, &flags, parts);
    };
    let server = with_tls(&python, 0, &one.server("127.0.0.1", |_| ()));
    let (env, at) = (server.tls_env(), format!("127.0.0.1:{}", server.port));
    let who = format!("the certificate of {at} is refused");
    refused(&env, &ca(&other), &[&who, "nobody who is trusted here", "--env-ca-file"]);
    let plainly = server.env();
    refused(&plainly, &[], &[&at, "closed the connection", "write grpcs:// in --env"]);
    refused(&plainly, &ca(&one), &["no certificates with grpc://", "leave out --env-ca-file"]);
    let list = |path: &str| ["--env-ca-file".to_owned(), path.to_owned()];
    refused(&env, &list("/nowhere"), &["/nowhere cannot be read", "--env-ca-file"]);
    let empty = written(folder.path(), "empty", "");
    refused(&env, &list(&empty), &["holds no certificate in PEM", "--env-ca-file"]);

    let server = Server::of(&python, 0, &[COUNTING]);
    let parts = ["does not speak TLS", "write grpc:// in --env"];
    refused(&server.tls_env(), &ca(&one), &parts);
    let old = |params: &mut CertificateParams| params.not_after = date_time_ymd(2020, 1, 1);
    let server = with_tls(&python, 0, &one.server("127.0.0.1", old));
    refused(&server.tls_env(), &ca(&one), &["it has expired", "give its server a new one"]);
    let server = with_tls(&python, 0, &one.server("simulator", |_| ()));
    let parts = ["it is for simulator, not for 127.0.0.1", "subjectAltName"];
    refused(&server.tls_env(), &ca(&one), &parts);
}

#[test]
fn another_certificate_behind_the_same_address_is_not_believed_later() {
    let Some(python) = python("remote stranger") else {
        return;
    };
    let folder = tempfile::tempdir().expect("temporary folder");
    let (one, other) = (Authority::of(folder.path(), "ca"), Authority::of(folder.path(), "other"));
    let server = with_tls(&python, 0, &one.server("127.0.0.1", |_| ()));
    let (port, env) = (server.port, server.tls_env());
    let run_dir = folder.path().join("run");
    let running = Running::of({
        let mut command = endless(&run_dir, &env);
        command.args(["--env-ca-file", &one.pem, "--on-bad-env", "restart"]);
        command
    });
    wait_for_frames(&run_dir, 0.0);
    server.signal(Signal::SIGKILL);
    drop(server);
    let stranger = with_tls(&python, port, &other.server("127.0.0.1", |_| ()));
    let before = errors(&run_dir);
    let learnt = || last_metrics(&run_dir).map_or(0.0, |line| number(&line, "frames"));
    wait_until("it is noticed", MAX_WAIT, || errors(&run_dir) >= before + 2.0);
    let nothing_more = learnt();
    wait_until("it goes on", MAX_WAIT, || errors(&run_dir) >= before + 6.0);
    assert_eq!(learnt().to_bits(), nothing_more.to_bits(), "a stranger's steps were learnt from");
    drop(stranger);
    let again = with_tls(&python, port, &one.server("127.0.0.1", |_| ()));
    let frames = wait_for_frames(&run_dir, 0.0);
    wait_for_frames(&run_dir, frames);
    ends_in_order(running, &run_dir);
    drop(again);
}

#[test]
fn the_server_refuses_files_that_are_no_certificate() {
    let Some(python) = python("serve certificates") else {
        return;
    };
    let folder = tempfile::tempdir().expect("temporary folder");
    let authority = Authority::of(folder.path(), "ca");
    let [_, cert, _, key] = authority.server("127.0.0.1", |_| ());
    let stranger = KeyPair::generate().expect("a key").serialize_pem();
    let stranger = written(folder.path(), "stranger.key", &stranger);
    let cases: [(&[&str], &str); 4] = [
        (&["--tls-cert", &cert], "go together"),
        (&["--tls-cert", "/nowhere", "--tls-key", &key], "--tls-cert /nowhere: No such file"),
        (&["--tls-cert", &cert, "--tls-key", &cert], "holds no private key"),
        (&["--tls-cert", &cert, "--tls-key", &stranger], "is not the key of the certificate"),
    ];
    for (arguments, part) in cases {
        let (code, stderr) = served(&python, &[&["gym:CartPole-v1"], arguments].concat());
        assert_eq!((code, stderr.lines().count()), (Some(2), 1), "{arguments:?}: {stderr}");
        assert!(stderr.contains(part), "{arguments:?}: {stderr}");
    }
}
