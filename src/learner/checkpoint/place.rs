//! The last step of a save: a whole folder takes its name, at once.

use std::fs;
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

/// Gives the folder `temporary` the name `place`. A folder that has it is exchanged, in one step, and then
/// removed: at no moment is there none. If that fails, `temporary` is removed.
pub(super) fn put(temporary: &Path, place: &Path) -> io::Result<()> {
    let exchanged = renameat2(AT_FDCWD, temporary, AT_FDCWD, place, RenameFlags::RENAME_EXCHANGE);
    let placed = match exchanged {
        Ok(()) => return fs::remove_dir_all(temporary),
        Err(Errno::ENOENT) => fs::rename(temporary, place),
        // A file system that cannot exchange.
        Err(_) => match fs::remove_dir_all(place) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs::rename(temporary, place),
        },
    };
    if placed.is_err() {
        let _best_effort = fs::remove_dir_all(temporary);
    }
    placed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(path: &Path, text: &str) {
        fs::create_dir(path).expect("made");
        fs::write(path.join("file"), text).expect("written");
    }

    #[test]
    fn a_name_is_taken_or_taken_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let (temporary, place) = (folder.path().join("1.tmp"), folder.path().join("1"));
        for text in ["first", "second"] {
            made(&temporary, text);
            put(&temporary, &place).expect("placed");
            assert_eq!(fs::read_to_string(place.join("file")).expect("whole"), text);
            assert!(!temporary.exists());
        }
        made(&temporary, "third");
        assert!(put(&temporary, &folder.path().join("none/1")).is_err());
        assert!(!temporary.exists(), "nothing half done is left");
    }
}
