//! Cuts the logs of a resumed run back to the checkpoint that it resumes from, so that they show one curve.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Write as _};
use std::path::Path;

use super::metrics_log::METRICS_FILE;
use super::roles::EPISODES_FILE;
use super::run_dir::{RunDir, RunDirError};
use crate::metrics::{AtomicFile, MetricsRecord};

/// Takes out of both logs what came after `frames` and `wall_s` of the run, where it continues, and a last
/// line that a kill cut short.
///
/// # Errors
/// If a log cannot be rewritten; it is then as it was.
pub(super) fn cut_back(run_dir: &RunDir, frames: u64, wall_s: f64) -> Result<(), RunDirError> {
    let metrics = |line: &str| {
        let line: MetricsRecord = serde_json::from_str(line).ok()?;
        // While a checkpoint is written the frames stand still, and the time does not.
        (line.wall_s <= wall_s).then_some(line.frames)
    };
    // An episode is logged with the frames before the block in which it ended.
    let episodes = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        let [frames, _, _, _] = fields[..] else { return None };
        if frames == "frames" { Some(0) } else { frames.parse::<u64>().ok()?.checked_add(1) }
    };
    keep(&run_dir.path().join(METRICS_FILE), frames, metrics)?;
    keep(&run_dir.path().join(EPISODES_FILE), frames, episodes)
}

/// Keeps the lines whose count of frames is at most `frames`.
fn keep(path: &Path, frames: u64, of: impl Fn(&str) -> Option<u64>) -> Result<(), RunDirError> {
    match rewrite(path, |line| of(line).is_some_and(|at| at <= frames)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(|source| RunDirError::Io {
            path: path.to_owned(),
            action: "cut back",
            source,
        }),
    }
}

fn rewrite(path: &Path, wanted: impl Fn(&str) -> bool) -> io::Result<()> {
    let log = BufReader::new(File::open(path)?);
    let mut out = BufWriter::new(AtomicFile::create(path)?);
    for line in log.split(b'\n') {
        let line = line?;
        if str::from_utf8(&line).is_ok_and(&wanted) {
            out.write_all(&line)?;
            out.write_all(b"\n")?;
        }
    }
    out.into_inner()?.commit()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_is_learnt_again_is_taken_out() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let run_dir = RunDir::create(Some(folder.path()), "X").expect("fresh");
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect(name);
        let line = |frames, wall_s| format!("{{\"frames\":{frames},\"wall_s\":{wall_s:?}}}\n");
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).expect(name);
        cut_back(&run_dir, 10, 2.0).expect("no logs are no error");
        write(
            METRICS_FILE,
            &[line(5, 1.0), line(10, 1.9), line(10, 2.1), line(11, 2.2), "{\"frames\":1".into()]
                .concat(),
        );
        write(EPISODES_FILE, "frames,seconds,return,length\n0,0.1,9,9\n9,0.2,9,9\n10,0.3,9,9\n9,0");
        cut_back(&run_dir, 10, 2.0).expect("rewritten");
        assert_eq!(read(METRICS_FILE), [line(5, 1.0), line(10, 1.9)].concat());
        let kept = "frames,seconds,return,length\n0,0.1,9,9\n9,0.2,9,9\n";
        assert_eq!(read(EPISODES_FILE), kept);
    }
}
