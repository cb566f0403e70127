//! Finds the programs to run: those in the folder of this one.

use std::path::PathBuf;

use super::child::SystemError;

/// What trains.
pub const SUPERVISOR: &str = "impala-supervisor";
/// What evaluates.
pub const PLAY: &str = "impala-play";

/// Where a program lies.
///
/// # Errors
/// If the system does not say where this one lies.
pub fn beside(name: &str) -> Result<PathBuf, SystemError> {
    let here = std::env::current_exe().map_err(SystemError::new("find this program"))?;
    Ok(here.with_file_name(name))
}

/// Tells builds of a program apart: a checksum of its file (FNV-1a), so that results of two are not mixed.
///
/// # Errors
/// If the file cannot be read.
pub fn fingerprint(name: &str) -> Result<String, SystemError> {
    let path = beside(name)?;
    let bytes =
        std::fs::read(&path).map_err(SystemError::new(format!("read {}", path.display())))?;
    Ok(format!("{:016x}", fnv(&bytes)))
}

fn fnv(bytes: &[u8]) -> u64 {
    let step = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_published_one() {
        // Test vectors of Noll.
        assert_eq!(fnv(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
