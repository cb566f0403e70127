//! Writes files that other programs may read meanwhile: a file is replaced as a whole, so a reader sees the old one or
//! the new one, and a crash leaves one of the two.

use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// Extension of a file that is being written; the janitor of a run removes what has it.
pub const TEMPORARY_EXTENSION: &str = "tmp";

/// A file that appears under its name only once it is complete. Dropping it leaves the old file as it was.
#[derive(Debug)]
pub struct AtomicFile {
    path: PathBuf,
    file: NamedTempFile,
}

impl AtomicFile {
    /// Opens a temporary file beside `path`.
    ///
    /// # Errors
    /// If `path` is a folder or names no file, or if its folder cannot be written.
    pub fn create(path: &Path) -> io::Result<Self> {
        if path.is_dir() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder"));
        }
        let name = path
            .file_name()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it names no file"))?;
        let mut prefix = name.to_owned();
        prefix.push(".");
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let file = tempfile::Builder::new()
            .prefix(&prefix)
            .suffix(&format!(".{TEMPORARY_EXTENSION}"))
            // As of any file that a program makes: less the umask.
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(folder.unwrap_or(Path::new(".")))?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Syncs what was written and gives it its name.
    ///
    /// # Errors
    /// If either fails; the old file is untouched then.
    pub fn commit(self) -> io::Result<()> {
        self.file.as_file().sync_all()?;
        self.file.persist(self.path)?;
        Ok(())
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.as_file().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_file().flush()
    }
}

/// Replaces the file at `path`, or makes it.
///
/// # Errors
/// Those of [`AtomicFile`]; the old file is untouched then.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes)?;
    file.commit()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("readable").flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into()).collect()
    }

    #[test]
    fn the_old_file_stays_until_the_new_one_is_complete() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.json");
        replace(&path, b"old").expect("made");
        let read = || fs::read_to_string(&path).expect("there");
        let mut file = AtomicFile::create(&path).expect("opened");
        file.write_all(b"new").expect("written");
        let temporary = names(folder.path()).into_iter().find(|name| name != "a.json");
        assert!(
            temporary.is_some_and(|name| name.starts_with("a.json.") && name.ends_with(".tmp"))
        );
        assert_eq!(read(), "old");
        file.commit().expect("renamed");
        assert_eq!(read(), "new");
        drop(AtomicFile::create(&path).expect("opened"));
        assert_eq!((names(folder.path()), read()), (vec!["a.json".to_owned()], "new".to_owned()));
    }

    #[test]
    fn others_may_read_it_as_any_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let [plain, replaced] = ["plain", "replaced"].map(|name| folder.path().join(name));
        fs::write(&plain, "x").expect("written");
        replace(&replaced, b"x").expect("made");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode();
        assert_eq!(mode(&plain), mode(&replaced));
    }

    #[test]
    fn a_folder_is_refused_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let refusal = |path: &Path| AtomicFile::create(path).expect_err("refused").kind();
        assert_eq!(refusal(folder.path()), io::ErrorKind::IsADirectory);
        assert_eq!(refusal(&folder.path().join("none/file")), io::ErrorKind::NotFound);
    }
}
