//! Environments that another process steps: what it is started with, and what memory it may write to.

use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::Duration;

/// How an environment of a family (see [`super::Registry::add_family`]) is run. The built-in ones have no
/// use for it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExternalEnv {
    /// The interpreter; `None` for the `python3` that the search path has.
    pub python: Option<PathBuf>,
    /// Folder that modules are looked for in first; `None` for the current one.
    pub python_path: Option<PathBuf>,
    /// What each environment is passed through, `module:function`.
    pub wrapper: Option<String>,
    /// Parts of a `Dict` observation that are seen, in this order; empty for all of them.
    pub observation_keys: Vec<String>,
    /// Whether the environments are tried before they are handed out: a reset, some random steps.
    pub trial: bool,
    /// File that takes what the environments print; `None` to keep it for the message of a failure only.
    pub log: Option<PathBuf>,
    /// How long the environments may take to start; `None` for as long as they like.
    pub start_timeout: Option<Duration>,
}

impl ExternalEnv {
    /// Nothing set.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            python: None,
            python_path: None,
            wrapper: None,
            observation_keys: Vec::new(),
            trial: false,
            log: None,
            start_timeout: None,
        }
    }
}

/// Memory in which the slices of most steps lie, and which other processes can map.
#[derive(Debug, Clone, Copy)]
pub struct SharedMemory<'a> {
    /// The file behind it, mapped from its first byte on.
    pub file: BorrowedFd<'a>,
    /// Where it begins in this process.
    pub address: usize,
    /// Bytes of it.
    pub len_bytes: usize,
}
