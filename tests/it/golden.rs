//! Reference data: from the folder that `GOLDEN_DIR` names, else from the copy in the repository.

use std::path::PathBuf;

/// The text of one reference file.
pub(crate) fn read(name: &str) -> String {
    let folder = std::env::var_os("GOLDEN_DIR").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden"),
        PathBuf::from,
    );
    let path = folder.join(name);
    std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}
