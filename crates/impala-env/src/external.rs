//! Settings for environments that run in another process, and the shared memory that such a process may write to.

use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::Duration;

use super::flag;

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
    /// Number of these environments among those of the run: it says which of several servers steps them.
    pub place: usize,
    /// File whose content a server asks for; `None` to show nothing.
    pub token_file: Option<PathBuf>,
    /// File of the authorities (PEM) that may have signed the certificate of a server; `None` for those of the system.
    pub ca_file: Option<PathBuf>,
    /// How long a server may take for an answer, and may be gone; `None` for the default.
    pub answer_timeout: Option<Duration>,
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
            place: 0,
            token_file: None,
            ca_file: None,
            answer_timeout: None,
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

/// What a step of another process means, of whose episodes it ended (`ends` is `[2][E]`: terminated, truncated) and whose
/// were `over` before (`[E]`): those it has reset, and what was written of them does not count. Writes the flags `[E]` of
/// [`flag`], makes the rewards `[E]` of resets 0, and says in `over` whose episode the next step starts.
///
/// # Panics
/// If `ends` is shorter than `over`.
pub fn next_step_autoreset(ends: &[u8], over: &mut [bool], rewards: &mut [f32], flags: &mut [u8]) {
    let (terminated, truncated) = ends.split_at(over.len());
    let ends = terminated.iter().zip(truncated);
    for (((over, reward), flags), ends) in over.iter_mut().zip(rewards).zip(flags).zip(ends) {
        // Without branches, so that it vectorises.
        let cut = if *ends.1 != 0 { flag::TRUNCATED } else { 0 };
        let end = if *ends.0 != 0 { flag::TERMINATED } else { cut };
        *flags = if *over { flag::FIRST } else { end };
        *reward = if *over { 0.0 } else { *reward };
        *over = *flags & flag::DONE != 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_step_after_an_end_is_a_reset_whatever_the_worker_says() {
        let mut over = [false; 5];
        let mut step = |ends: [u8; 10]| {
            let (mut rewards, mut flags) = ([1.0, 1.0, 1.0, f32::NAN, 1.0], [255; 5]);
            next_step_autoreset(&ends, &mut over, &mut rewards, &mut flags);
            (flags, rewards.map(|reward| reward == 0.0))
        };
        let (ended, cut) = (flag::TERMINATED, flag::TRUNCATED);
        let kept = [false; 5];
        // Both bits mean that it terminated; any number but 0 is a yes.
        assert_eq!(step([0, 1, 0, 1, 0, 0, 0, 1, 9, 0]), ([0, ended, cut, ended, 0], kept));
        let (flags, zeroed) = step([0, 1, 1, 0, 1, 0, 1, 0, 0, 0]);
        assert_eq!(flags, [0, flag::FIRST, flag::FIRST, flag::FIRST, ended]);
        assert_eq!(zeroed, [false, true, true, true, false]);
        assert_eq!(step([1, 0, 0, 0, 0, 0, 0, 0, 0, 0]).0, [ended, 0, 0, 0, flag::FIRST]);
    }
}
