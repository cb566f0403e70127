//! The folder of checkpoints: each appears and disappears by a rename, so that a folder with a checkpoint's name is
//! complete.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use super::{CheckpointError, MANIFEST, MAX_SMALL_FILE_BYTES, Manifest, io_error, read_bounded};

/// Extension of what is being made or removed.
const TEMPORARY: &str = "tmp";

fn entries(folder: &Path) -> Result<Vec<PathBuf>, CheckpointError> {
    match fs::read_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => {
            let entries = other.map_err(io_error(folder, "read"))?;
            Ok(entries.filter_map(Result::ok).map(|entry| entry.path()).collect())
        }
    }
}

fn is_temporary(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == TEMPORARY)
}

/// Gives a finished checkpoint its name. Training may have gone on from the same frame count after a
/// resume: the newer state then takes the place of the older one in one step, so that whoever dies
/// before or after it leaves one of the two.
pub(super) fn put_in_place(temporary: &Path, place: &Path) -> Result<(), CheckpointError> {
    let exchanged = renameat2(AT_FDCWD, temporary, AT_FDCWD, place, RenameFlags::RENAME_EXCHANGE);
    match exchanged {
        Ok(()) => return remove_if_there(temporary),
        Err(Errno::ENOENT) => {}
        // A file system that cannot exchange: the older one goes first.
        Err(_) => discard(place)?,
    }
    fs::rename(temporary, place).map_err(io_error(place, "rename"))
}

/// Removes a finished checkpoint. It is renamed first, so that a partly deleted folder is never listed.
fn discard(path: &Path) -> Result<(), CheckpointError> {
    let going = path.with_extension("old.tmp");
    remove_if_there(&going)?;
    match fs::rename(path, &going) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => {
            other.map_err(io_error(path, "rename"))?;
            remove_if_there(&going)
        }
    }
}

/// Folders of finished checkpoints, oldest first.
///
/// # Errors
/// If `folder` cannot be read; a missing one is empty.
pub fn list(folder: &Path) -> Result<Vec<PathBuf>, CheckpointError> {
    let entries = entries(folder)?.into_iter();
    let mut names: Vec<PathBuf> = entries.filter(|path| is_checkpoint_name(path)).collect();
    // By number: from 10^12 frames on names have more than 12 digits.
    names.sort_by_key(|path| path.file_name().map(|name| (name.len(), name.to_owned())));
    Ok(names)
}

fn is_checkpoint_name(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| {
        name.bytes().all(|b| b.is_ascii_digit())
            && (name.len() == 12 || (name.len() > 12 && !name.starts_with('0')))
    })
}

/// Removes all but the newest `keep` and the one with the best mean return, and what was left half made.
pub(super) fn prune(folder: &Path, keep: usize) -> Result<(), CheckpointError> {
    let all = list(folder)?;
    let score = |path: &PathBuf| -> Option<f64> {
        let bytes = read_bounded(&path.join(MANIFEST), MAX_SMALL_FILE_BYTES).ok()?;
        serde_json::from_slice::<Manifest>(&bytes).ok()?.return_mean
    };
    let best = all
        .iter()
        .filter_map(|path| Some((score(path)?, path)))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, path)| path);
    let old = &all[..all.len().saturating_sub(keep.max(1))];
    for path in old.iter().filter(|path| Some(*path) != best) {
        discard(path)?;
    }
    for path in entries(folder)?.into_iter().filter(|path| is_temporary(path)) {
        remove_if_there(&path)?;
    }
    Ok(())
}

/// Makes the names in a folder last.
pub(super) fn sync(path: &Path) -> Result<(), CheckpointError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(io_error(path, "fsync"))
}

pub(super) fn remove_if_there(path: &Path) -> Result<(), CheckpointError> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(io_error(path, "remove")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let all = entries(folder).expect("readable").into_iter();
        let mut names: Vec<String> =
            all.map(|path| path.file_name().expect("a name").to_string_lossy().into()).collect();
        names.sort();
        names
    }

    fn made(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(name);
        fs::create_dir(&path).expect("made");
        fs::write(path.join("a"), text).expect("written");
        path
    }

    #[test]
    fn a_newer_one_takes_the_place_of_an_older_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        let place = folder.join("000000000007");
        for text in ["old", "new"] {
            let temporary = made(folder, "000000000007.tmp", text);
            put_in_place(&temporary, &place).expect("put");
            assert_eq!(fs::read_to_string(place.join("a")).expect("there"), text);
            assert_eq!(names(folder), ["000000000007"]);
        }
    }

    #[test]
    fn what_was_left_half_made_or_half_removed_goes() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        for name in ["000000000001", "000000000002", "000000000003", "000000000004.tmp"] {
            made(folder, name, "x");
        }
        made(folder, "000000000000.old.tmp", "x");
        made(folder, "of the user", "x");
        prune(folder, 2).expect("pruned");
        assert_eq!(names(folder), ["000000000002", "000000000003", "of the user"]);
    }
}
