//! `Trainer` within a program of one's own (`--train FOLDER`): runs one after the other, callbacks, and a process that is given back as it was.

use std::cell::Cell;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;

use impala_rl::config::Settings;
use impala_rl::pool::{Status, TrainError, Trainer};
use nix::sys::signal::{Signal, raise};

use crate::Case;

pub(crate) const CASES: &[Case] =
    &[("a_program_trains_and_is_itself_again", a_program_trains_and_is_itself_again)];

fn a_program_trains_and_is_itself_again() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let this = std::env::current_exe().expect("this program");
    let done = Command::new(this).arg("--train").arg(folder.path()).output().expect("starts");
    let said = String::from_utf8_lossy(&done.stderr);
    // It ends itself by a signal that no run holds back any more.
    assert_eq!(done.status.signal(), Some(Signal::SIGTERM as i32), "{}: {said}", done.status);
    let batches = fs::read_to_string(folder.path().join("batches")).expect("the learner wrote it");
    assert!(batches.lines().count() > 3, "{batches}");
    let learner: Vec<&str> = batches.lines().collect();
    assert!(learner.iter().all(|&pid| pid == learner[0]), "one learner: {batches}");
    for name in ["one", "two"] {
        assert!(folder.path().join(name).join("summary.json").is_file(), "{name}");
    }
    assert!(!folder.path().join("none").exists(), "what is refused makes no folder");
}

/// Signals that are blocked, signals that are ignored, and whether orphans come here.
fn state() -> (u64, u64, bool) {
    // Those above are the C library's own, which a thread changes.
    const STANDARD: u64 = (1 << 31) - 1;
    let status = fs::read_to_string("/proc/self/status").expect("readable");
    let [blocked, ignored] = ["SigBlk:", "SigIgn:"].map(|name| {
        let mask = status.lines().find_map(|line| line.strip_prefix(name)).expect("a mask");
        u64::from_str_radix(mask.trim(), 16).expect("hexadecimal") & STANDARD
    });
    (blocked, ignored, nix::sys::prctl::get_child_subreaper().expect("known"))
}

/// The program under test.
pub(crate) fn main(folder: &Path) -> ! {
    let before = state();
    let settings = |name: &str, frames: u64| Settings {
        env: Some(vec!["CartPole-v1".into()]),
        actors: Some(2),
        total_frames: Some(frames),
        log_interval: Some(0.1),
        run_dir: Some(folder.join(name)),
        report: Some(false),
        ..Settings::default()
    };
    let lines = Rc::new(Cell::new(0));
    let (seen, log) = (Rc::clone(&lines), folder.join("batches"));
    let one = Trainer::new(settings("one", 20_000))
        .on_metrics(move |line| {
            assert!(line.frames <= 1_000_000);
            seen.set(seen.get() + 1);
        })
        .on_batch(move |batch| {
            use std::io::Write as _;
            assert!(!batch.headers().is_empty());
            let file = fs::OpenOptions::new().create(true).append(true).open(&log);
            writeln!(file.expect("opened"), "{}", std::process::id()).expect("written");
        })
        .run()
        .expect("trains");
    assert_eq!(one.status, Status::Finished);
    assert!(one.frames >= 20_000 && one.run_dir == folder.join("one"));
    let written = fs::read_to_string(one.run_dir.join("metrics.jsonl")).expect("written");
    assert_eq!(lines.get(), written.lines().count());
    assert_eq!(state(), before, "as before the run");

    // Without end, but for a signal.
    let mut asked = false;
    let two = Trainer::new(settings("two", 1_000_000_000_000))
        .on_metrics(move |line| {
            if line.frames > 0 && !asked {
                asked = true;
                raise(Signal::SIGTERM).expect("raised");
            }
        })
        .run()
        .expect("an interrupted run is no error");
    assert_eq!(two.status, Status::Interrupted);
    assert_eq!(state(), before);

    // It goes on where it was.
    let more = Settings { total_frames: Some(two.frames + 5_000), ..Settings::default() };
    let resumed = Trainer::resume(&two.run_dir, more).expect("a run").run().expect("goes on");
    assert!(resumed.frames >= two.frames + 5_000 && resumed.run_dir == two.run_dir);

    let refused = |settings| Trainer::new(settings).run().expect_err("refused");
    let wrong = refused(Settings { discount: Some(2.0), ..settings("none", 1000) });
    assert!(matches!(wrong, TrainError::Config(_)) && wrong.exit().code() == 2, "{wrong}");
    let again = refused(settings("one", 1000));
    assert!(matches!(again, TrainError::RunDir(_)) && again.exit().code() == 3, "{again}");
    let none = Trainer::resume(folder, Settings::default()).expect_err("no run");
    assert_eq!(none.exit().code(), 3, "{none}");
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let other = std::thread::spawn(move || ended.recv());
    let threads = refused(settings("none", 1000));
    assert!(threads.to_string().contains("2 threads"), "{threads}");
    drop(end);
    let _hung_up = other.join();
    assert_eq!(state(), before);
    raise(Signal::SIGTERM).expect("raised");
    unreachable!("SIGTERM ends a process")
}
