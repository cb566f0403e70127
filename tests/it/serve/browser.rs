//! The page in a real browser, where there is one.

use std::fs;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use super::{MAX_WAIT, Server, block, made_up_run};
use crate::program::{finish, start};
use crate::report::{HEADLESS, browser};
use crate::watch::wait_until;

/// The page as the browser has it after some seconds of its own time.
fn shown(server: &Server, profile: &std::path::Path) -> Option<String> {
    let Some(browser) = browser() else {
        eprintln!("the browser's part is skipped: no chromium in PATH");
        return None;
    };
    let mut command = Command::new(browser);
    command.args(HEADLESS).arg("--virtual-time-budget=6000");
    command.arg(format!("--user-data-dir={}", profile.display()));
    command.arg(format!("http://{}/", server.address)).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    Some(finish(command).stdout)
}

/// Everything between two texts.
fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    text.split_once(from).and_then(|(_, rest)| rest.split_once(to)).map_or("", |(found, _)| found)
}

#[test]
fn a_browser_shows_a_run_that_moves() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let run_dir = folder.path().join("run <1>");
    let flags = ["--actors", "2", "--total-frames", "1000000000", "--log-interval", "0.2"];
    let running = start(&run_dir, flags);
    wait_until("it has a configuration", MAX_WAIT, || run_dir.join("config.toml").exists());
    let server = Server::of(&[&run_dir]);
    server.wait("it has a curve", |live| {
        block(live, "plot-return-over-frames").contains("class=\"line")
    });
    let profile = folder.path().join("profile");
    let Some(first) = shown(&server, &profile) else { return };
    let looks: u32 = between(&first, "data-looks=\"", "\"").parse().unwrap_or(0);
    assert!(looks >= 2, "it asks again and again: {first}");
    assert!(between(&first, "id=\"said\"", "</p>").contains("Live: 1 of 1 running"), "{first}");
    for part in ["data-state=\"running\"", "data-verdict=\"", "What held it back", "run &lt;1&gt;"]
    {
        assert!(first.contains(part), "{part} in {first}");
    }
    let curve = |page: &str| between(page, "id=\"return-over-frames\"", "</svg>").to_owned();
    assert!(curve(&first).contains("class=\"line"), "{first}");
    let second = shown(&server, &profile).expect("the same browser");
    assert_ne!(curve(&first), curve(&second), "the curve moves");
    running.signal(Signal::SIGTERM);
    assert_eq!(running.wait().code(), Some(0));
    server.wait("its end is told", |live| live["runs"][0]["state"] == "interrupted");
    let ended = shown(&server, &profile).expect("the same browser");
    assert!(ended.contains("data-state=\"interrupted\""), "{ended}");
}

#[test]
fn a_browser_runs_nothing_that_a_run_wrote() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let evil = "<img src=x onerror='document.title=`caught`'>";
    let run_dir = made_up_run(folder.path(), evil, 5);
    let config =
        format!("env = \"{evil}\"\n\"<script>document.title='caught'<\\u002fscript>\" = 1\n");
    fs::write(run_dir.join("config.toml"), config).expect("written");
    let server = Server::of(&[&run_dir]);
    server.wait("it is read", |live| !block(live, "configuration").is_empty());
    let Some(page) = shown(&server, &folder.path().join("profile")) else { return };
    assert!(page.contains("&lt;img src=x onerror="), "told as text: {page}");
    assert!(!between(&page, "<title>", "</title>").starts_with("caught"), "{page}");
    assert_eq!(page.matches("<img").count(), 0, "{page}");
}
