//! Process tests of the supervisor: real children, real signals, real SIGKILL.
//!
//! A supervisor may not have threads and takes over its process, so it cannot run in a test harness
//! with threads. This binary is its own harness: it starts itself as the program under test
//! (`--play FOLDER ACTORS`, see `program`; `--train FOLDER`, see `trainer`), drives it with signals and through a file (`board`), and
//! judges what is left. It adopts orphans, so "nothing is left" is exact: no child to wait for.
//!
//! Usage as with libtest: an argument selects the cases whose names contain it; `--list` lists.

mod board;
mod endings;
mod killed;
mod program;
mod restarts;
mod run;
mod trainer;

use std::panic::catch_unwind;
use std::process::ExitCode;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// A case that takes longer hangs.
const MAX_WAIT: Duration = Duration::from_secs(120);

type Case = (&'static str, fn());

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [play, folder, actors] = &args[..]
        && play == "--play"
    {
        let actors = actors.parse().expect("a number of actors");
        return program::main(folder.as_ref(), actors).into();
    }
    if let [train, folder] = &args[..]
        && train == "--train"
    {
        trainer::main(folder.as_ref());
    }
    let wanted: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let chosen = |name: &str| wanted.is_empty() || wanted.iter().any(|word| name.contains(*word));
    let cases = [restarts::CASES, endings::CASES, killed::CASES, trainer::CASES].concat();
    let cases: Vec<Case> = cases.into_iter().filter(|(name, _)| chosen(name)).collect();
    if args.iter().any(|arg| arg == "--list") {
        cases.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    nix::sys::prctl::set_child_subreaper(true).expect("adopts orphans");
    let failed: Vec<&str> = cases.iter().filter(|case| !passes(case)).map(|case| case.0).collect();
    println!("\ntest result: {} passed; {} failed", cases.len() - failed.len(), failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn passes(&(name, case): &Case) -> bool {
    let (done, watchdog) = channel::<()>();
    std::thread::spawn(move || {
        if watchdog.recv_timeout(MAX_WAIT) == Err(RecvTimeoutError::Timeout) {
            println!("test {name} ... hangs");
            run::kill_all();
            std::process::abort();
        }
    });
    let passed = catch_unwind(case).is_ok();
    drop(done);
    println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
    // A case that failed leaves its processes to the next otherwise.
    run::kill_all();
    run::wait_until("nobody is left", run::nobody_is_left);
    passed
}
