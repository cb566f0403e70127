//! The report of a run: every plot, the right verdict, and a real browser that shows it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::pool::complete;
use crate::program::{Finished, finish, last_metrics, number, start};
use crate::watch::wait_until;

/// Plots of one run, by the id of their element and the name of their file.
const PLOTS: &[&str] = &[
    "return-over-frames",
    "return-over-seconds",
    "episode-length",
    "learning-rate",
    "policy-loss",
    "baseline-loss",
    "total-loss",
    "entropy",
    "gradient-norm",
    "importance-ratios",
    "truncated-ratios",
    "throughput",
    "learner-stages",
    "update-stages",
    "actor-stages",
    "cores",
    "policy-lag",
    "lag-histogram",
    "ring",
    "memory",
];

/// Flags of a browser that prints the page that it is given.
pub(crate) const HEADLESS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,2000",
    "--dump-dom",
];

fn report(arguments: &[&Path]) -> Finished {
    let mut command = Command::new(env!("CARGO_BIN_EXE_impala-report"));
    command.args(arguments).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    finish(command)
}

#[test]
fn a_run_ends_with_a_report_that_a_browser_shows() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let run_dir = folder.path().join("run <1>");
    let flags = ["--actors", "2", "--total-frames", "1000000000", "--log-interval", "0.1"];
    let running = start(&run_dir, flags);
    // The time on cores has one bar a second, of what the kernel says twice a second.
    wait_until("all plots have data", Duration::from_secs(120), || {
        let metrics = last_metrics(&run_dir);
        metrics
            .is_some_and(|line| number(&line, "frames") > 60_000.0 && number(&line, "wall_s") > 3.0)
    });
    running.signal(Signal::SIGTERM);
    let finished = running.wait();
    assert_eq!(finished.code(), Some(0), "{}{}", finished.stdout, finished.stderr);
    let page = fs::read_to_string(run_dir.join("report.html")).expect("written at the end");
    for plot in PLOTS {
        assert!(
            page.contains(&format!("<div class=\"card\" id=\"{plot}\">")),
            "{plot} has no data"
        );
    }
    assert_eq!(page.matches("<svg").count(), PLOTS.len());
    assert!(!page.contains("NaN") && !page.contains("data-empty"));
    assert!(page.contains("run &lt;1&gt;") && !page.contains("run <1>"), "names are text");
    // Self-contained: no script, nothing fetched; the one address is that of the SVG standard.
    for part in ["<script", "<link", "<img", "@import", "url("] {
        assert!(!page.contains(part), "{part}");
    }
    assert_eq!(page.replace("http://www.w3.org/2000/svg", "").matches("http").count(), 0);
    assert!(page.contains("What to change:") && page.contains("total-frames"), "verdict, settings");

    let Some(browser) = browser() else {
        eprintln!("the browser's part is skipped: no chromium in PATH");
        return;
    };
    // The browser measures what it laid out: shapes of each plot must cover some of it.
    let script = r#"<script>
        const found = {};
        for (const card of document.querySelectorAll('.card[id]')) {
            const shapes = [...card.querySelectorAll('path.line, rect[height]:not([rx])')];
            const boxes = shapes.map(shape => shape.getBoundingClientRect());
            const plot = card.querySelector('svg').getBoundingClientRect();
            const width = Math.max(...boxes.map(b => b.right)) - Math.min(...boxes.map(b => b.left));
            found[card.id] = [plot.width, plot.height, boxes.length, width / plot.width];
        }
        document.body.innerHTML = '<pre id="found">' + JSON.stringify(found) + '</pre>';
    </script></body>"#;
    let measured = folder.path().join("measured.html");
    fs::write(&measured, page.replace("</body>", script)).expect("written");
    let mut command = Command::new(browser);
    command.args(HEADLESS);
    command.arg(format!("--user-data-dir={}", folder.path().join("profile").display()));
    command.arg(format!("file://{}", measured.display())).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let dom = finish(command).stdout;
    let text = dom.split("<pre id=\"found\">").nth(1).and_then(|rest| rest.split("</pre>").next());
    let found: serde_json::Value =
        serde_json::from_str(text.unwrap_or_else(|| panic!("no measurements in {dom}")))
            .expect("JSON");
    for plot in PLOTS {
        let of = |index: usize| found[plot][index].as_f64().unwrap_or(0.0);
        assert!(of(0) > 300.0 && of(1) > 100.0, "{plot} is too small: {found}");
        assert!(of(2) >= 1.0 && of(3) > 0.2, "{plot} shows nothing: {found}");
    }
}

pub(crate) fn browser() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let programs = ["chromium", "chromium-browser", "google-chrome"];
    std::env::split_paths(&path)
        .flat_map(|folder| programs.map(|program| folder.join(program)))
        .find(|program| program.is_file())
}

#[test]
fn the_verdict_follows_the_run() {
    let folder = tempfile::tempdir().expect("temporary folder");
    // Enough of a difference for any machine, however busy.
    let cases: &[(&str, &[&str])] = &[
        ("learner-bound", &["--hidden", "256,256", "--actors", "1", "--time-limit", "4"]),
        (
            "environment-bound",
            &[
                "--env",
                "Synthetic-v0",
                "--env-arg",
                "shape=4",
                "--env-arg",
                "stack=1",
                "--env-arg",
                "step-cost-us=2000",
                "--torso",
                "mlp",
                "--hidden",
                "8",
                "--actors",
                "1",
                "--envs-per-actor",
                "2",
                "--batch",
                "2",
                "--unroll",
                "16",
                "--time-limit",
                "4",
            ],
        ),
    ];
    let mut run_dirs = Vec::new();
    for (verdict, flags) in cases {
        let run_dir = folder.path().join(verdict);
        complete(&run_dir, &[*flags, &["--log-interval", "0.2", "--report=false"]].concat());
        assert!(!run_dir.join("report.html").exists(), "--report=false");
        let finished = report(&[&run_dir]);
        assert_eq!(finished.code(), Some(0), "{}", finished.stderr);
        assert!(
            finished.stdout.starts_with(&format!("{verdict}: {verdict}.")),
            "{}",
            finished.stdout
        );
        let page = fs::read_to_string(run_dir.join("report.html")).expect("written");
        assert!(page.contains(&format!("data-verdict=\"{verdict}\"")));
        run_dirs.push(run_dir);
    }

    // Side by side, each plot in a file of its own as well.
    let (both, svgs) = (folder.path().join("both.html"), folder.path().join("svg"));
    let output = [Path::new("--output"), &both, Path::new("--svg"), &svgs];
    let finished = report(&[&[&*run_dirs[0], &*run_dirs[1]][..], &output].concat());
    assert_eq!(finished.code(), Some(0), "{}", finished.stderr);
    let page = fs::read_to_string(&both).expect("written");
    for (verdict, _) in cases {
        assert!(page.contains(&format!("data-verdict=\"{verdict}\"")), "{verdict}");
        assert!(page.contains(&format!("<th>{verdict}</th>")), "a column for {verdict}");
    }
    let svg = fs::read_to_string(svgs.join("throughput.svg")).expect("written");
    assert!(svg.starts_with("<svg ") && svg.contains("<style>") && svg.contains("class=\"line"));
    assert!(svgs.join("learner-stages-2.svg").exists(), "one for each run");
}

#[test]
fn what_is_no_run_has_no_report() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let finished = report(&[folder.path()]);
    assert_eq!(finished.code(), Some(3), "{}", finished.stderr);
    assert!(finished.stderr.contains("not a run folder"), "{}", finished.stderr);
    assert_eq!(report(&[]).code(), Some(2));
}
