//! Connections that are cut, servers that stand still, die and come back.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use nix::sys::signal::Signal;

use super::{COUNTING, Server, python, said, supervised};
use crate::crash::{MAX_WAIT, wait_for_frames};
use crate::program::{Running, last_metrics, number, summary};
use crate::watch::wait_until;

/// Passes bytes between actors and a server, until all of its connections are cut.
struct Proxy {
    port: u16,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Proxy {
    fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let open = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&open);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(upstream) = TcpStream::connect(("127.0.0.1", server)) else { continue };
                for (from, to) in [(&client, &upstream), (&upstream, &client)] {
                    let (from, to) =
                        (from.try_clone().expect("a copy"), to.try_clone().expect("a copy"));
                    all.lock().expect("whole").push(from.try_clone().expect("a copy"));
                    std::thread::spawn(move || passed_on(from, to));
                }
            }
        });
        Self { port, open }
    }

    fn cut(&self) {
        for socket in self.open.lock().expect("whole").drain(..) {
            let _gone_is_fine = socket.shutdown(Shutdown::Both);
        }
    }
}

fn passed_on(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 65_536];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _gone_is_fine = to.shutdown(Shutdown::Both);
}

pub(super) fn endless(run_dir: &Path, env: &str) -> Command {
    with_timeout(run_dir, env, "1")
}

/// A run that waits so many seconds for an answer.
fn with_timeout(run_dir: &Path, env: &str, timeout_s: &str) -> Command {
    let mut command = supervised(run_dir, env);
    command.args(["--envs-per-actor", "2", "--batch", "4", "--total-frames", "1000000000"]);
    command.args(["--env-timeout", timeout_s]);
    command
}

pub(super) fn errors(run_dir: &Path) -> f64 {
    last_metrics(run_dir).map_or(0.0, |metrics| number(&metrics["actors"], "env_errors"))
}

/// Ends the run in order, and holds that nothing was lost uncounted.
pub(super) fn ends_in_order(running: Running, run_dir: &Path) -> String {
    running.signal(Signal::SIGTERM);
    let finished = running.wait();
    let said = said(&finished);
    assert_eq!(finished.code(), Some(0), "{said}");
    let summary = summary(run_dir);
    assert_eq!(summary["slot_counts"]["conserved"], true, "{summary}");
    assert!(number(&summary, "env_errors") >= 1.0, "{summary} {said}");
    said
}

#[test]
fn a_cut_connection_costs_an_unroll() {
    let Some(python) = python("remote cut") else {
        return;
    };
    let server = Server::of(&python, 0, &[COUNTING]);
    let proxy = Proxy::before(server.port);
    let folder = tempfile::tempdir().expect("temporary folder");
    let env = format!("grpc://127.0.0.1:{}", proxy.port);
    let running = Running::of(endless(folder.path(), &env));
    let mut frames = wait_for_frames(folder.path(), 0.0);
    for cuts in 1..=3 {
        proxy.cut();
        wait_until("it is noticed", MAX_WAIT, || errors(folder.path()) >= f64::from(cuts));
        frames = wait_for_frames(folder.path(), frames);
    }
    let said = ends_in_order(running, folder.path());
    assert!(said.contains("the stream of 127.0.0.1:"), "{said}");
}

#[test]
fn a_server_that_stands_still_is_a_failure_and_is_taken_again_when_it_goes_on() {
    let Some(python) = python("remote SIGSTOP") else {
        return;
    };
    let server = Server::of(&python, 0, &[COUNTING]);
    let folder = tempfile::tempdir().expect("temporary folder");
    let running = Running::of(endless(folder.path(), &server.env()));
    wait_for_frames(folder.path(), 0.0);
    server.signal(Signal::SIGSTOP);
    wait_until("both actors notice", MAX_WAIT, || errors(folder.path()) >= 2.0);
    let frames = last_metrics(folder.path()).map_or(0.0, |metrics| number(&metrics, "frames"));
    server.signal(Signal::SIGCONT);
    wait_for_frames(folder.path(), frames);
    let said = ends_in_order(running, folder.path());
    assert!(said.contains("gave no answer within 1 s"), "{said}");
}

#[test]
fn a_server_that_dies_is_waited_for() {
    let Some(python) = python("remote restart") else {
        return;
    };
    let server = Server::of(&python, 0, &[COUNTING]);
    let (port, env) = (server.port, server.env());
    let folder = tempfile::tempdir().expect("temporary folder");
    let running = Running::of(endless(folder.path(), &env));
    wait_for_frames(folder.path(), 0.0);
    server.signal(Signal::SIGKILL);
    drop(server);
    wait_until("both actors notice", MAX_WAIT, || errors(folder.path()) >= 2.0);
    let frames = last_metrics(folder.path()).map_or(0.0, |metrics| number(&metrics, "frames"));
    let again = Server::of(&python, port, &[COUNTING]);
    wait_for_frames(folder.path(), frames);
    ends_in_order(running, folder.path());
    drop(again);
}

#[test]
fn another_environment_behind_the_same_address_is_refused() {
    let Some(python) = python("remote other") else {
        return;
    };
    let server = Server::of(&python, 0, &[COUNTING]);
    let (port, env) = (server.port, server.env());
    let folder = tempfile::tempdir().expect("temporary folder");
    let running = Running::of({
        let mut command = endless(folder.path(), &env);
        command.args(["--on-bad-env", "restart"]);
        command
    });
    wait_for_frames(folder.path(), 0.0);
    drop(server);
    let _other = Server::of(&python, port, &["gym:Acrobot-v1"]);
    let before = errors(folder.path());
    wait_until("it is noticed", MAX_WAIT, || errors(folder.path()) >= before + 4.0);
    let said = ends_in_order(running, folder.path());
    assert!(said.contains("it looks otherwise than at the start of the run"), "{said}");
}

#[test]
fn a_stop_is_obeyed_while_a_server_is_waited_for() {
    let Some(python) = python("remote stop") else {
        return;
    };
    let server = Server::of(&python, 0, &[COUNTING]);
    let folder = tempfile::tempdir().expect("temporary folder");
    let running = Running::of({
        // Longer than the watchdog: it is the stop that ends it.
        let mut command = with_timeout(folder.path(), &server.env(), "100000");
        command.args(["--actor-hang-timeout", "inf"]);
        command
    });
    wait_for_frames(folder.path(), 0.0);
    server.signal(Signal::SIGSTOP);
    wait_until("both actors wait", MAX_WAIT, || {
        let text = std::fs::read_to_string(folder.path().join("metrics.jsonl")).unwrap_or_default();
        let acted = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).ok()?;
            Some(number(&line["actors"], "frames_acted"))
        };
        let mut newest = text.lines().rev().map(acted);
        matches!((newest.next(), newest.next()), (Some(one), Some(other)) if one == other)
    });
    running.signal(Signal::SIGTERM);
    let finished = running.wait();
    assert_eq!(finished.code(), Some(0), "{}", said(&finished));
}
