//! Exit codes of the processes of a pool.
//!
//! | code | [`ExitKind`] | meaning | when a child leaves with it |
//! |---|---|---|---|
//! | 0 | `Finished` | target, frame count, time limit, or an ordered stop with everything saved | learner: the run ends; actor: restarted |
//! | 2 | `Usage` | the command line or the configuration is wrong | not restarted |
//! | 3 | `RunFolder` | the run folder cannot be created or written | not restarted |
//! | 4 | `RunFolderInUse` | another run holds the run folder | not restarted |
//! | 5 | `Resources` | not enough memory, descriptors or processes | restarted |
//! | 6 | `CrashLoop` | gave up: the learner, or too many actors, died again and again without progress | restarted |
//! | 7 | `EnvFailed` | the environment failed and building it anew did not help | restarted |
//! | 8 | `CheckpointUnusable` | the checkpoint to start from cannot be loaded | not restarted |
//! | 9 | `CheckpointNotWritten` | the final checkpoint was not written | not restarted |
//! | 10 | `Corrupt` | shared memory holds what no correct process can have written | the run ends |
//! | 11 | `Fenced` | a child found that a newer incarnation has taken its place | restarted |
//! | 12 | `EnvFault` | an environment failed, and `--on-bad-env fail` was given | the run ends |
//! | 13 | `LeftBehind` | all saved, but a process that SIGKILL did not end was left behind | not restarted |
//! | 14 | `Diverged` | many updates in a row had a loss or gradient that was not finite | the run ends |
//! | 15 | `NoEnvWorks` | every environment failed again and again before one unroll was filled | the run ends |
//! | 16 | `RankLost` | of several ranks one was lost: its learner, its supervisor, or what had started them | the run ends |
//! | 17 | `RanksDiffer` | ranks that must be alike are not: in their settings, or in their weights | the run ends |
//! | 70 | `Internal` | a bug in this program | restarted |
//!
//! "Not restarted": an actor is given up, the others go on; without its learner the run ends with
//! that code. Any other code, and death by a signal, is a crash: restarted. A shell shows `128 + n`
//! when a process was killed by signal `n`; no process of the pool returns such a number itself.

use std::fmt;
use std::process::ExitCode;

/// Why a process of the pool left. The numbers are an interface: they never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ExitKind {
    /// All done and all saved.
    Finished = 0,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// The run folder cannot be created or written.
    RunFolder = 3,
    /// Another run holds the run folder.
    RunFolderInUse = 4,
    /// Not enough memory, descriptors or processes.
    Resources = 5,
    /// The learner, or too many actors, died again and again without progress.
    CrashLoop = 6,
    /// The environment failed for good.
    EnvFailed = 7,
    /// The checkpoint to start from cannot be loaded.
    CheckpointUnusable = 8,
    /// The final checkpoint was not written.
    CheckpointNotWritten = 9,
    /// Shared memory holds what no correct process can have written.
    Corrupt = 10,
    /// A newer incarnation has taken this child's place.
    Fenced = 11,
    /// An environment failed, and the run was not to go on without it.
    EnvFault = 12,
    /// A process that SIGKILL did not end was left behind.
    LeftBehind = 13,
    /// Learning got nowhere: many updates in a row had a loss or gradient that was not finite.
    Diverged = 14,
    /// Every environment failed again and again before one unroll was filled.
    NoEnvWorks = 15,
    /// Of several ranks one was lost.
    RankLost = 16,
    /// Ranks that must be alike are not.
    RanksDiffer = 17,
    /// A bug in this program.
    Internal = 70,
}

/// What the supervisor does about a child that left with an [`ExitKind`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Start it again, after a delay that grows while it makes no progress.
    Restart,
    /// The same would happen again: never start this child again.
    Never,
    /// No child can go on.
    StopRun,
}

impl ExitKind {
    /// Every kind, in the order of the numbers.
    pub const ALL: [Self; 18] = [
        Self::Finished,
        Self::Usage,
        Self::RunFolder,
        Self::RunFolderInUse,
        Self::Resources,
        Self::CrashLoop,
        Self::EnvFailed,
        Self::CheckpointUnusable,
        Self::CheckpointNotWritten,
        Self::Corrupt,
        Self::Fenced,
        Self::EnvFault,
        Self::LeftBehind,
        Self::Diverged,
        Self::NoEnvWorks,
        Self::RankLost,
        Self::RanksDiffer,
        Self::Internal,
    ];

    /// The number that the process returns.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The kind that a number stands for, if it is one of ours.
    #[must_use]
    pub fn from_code(code: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| i32::from(kind.code()) == code)
    }

    /// What the supervisor does about a child that left so.
    #[must_use]
    pub const fn remedy(self) -> Remedy {
        match self {
            Self::Finished
            | Self::Resources
            | Self::CrashLoop
            | Self::EnvFailed
            | Self::Fenced
            | Self::Internal => Remedy::Restart,
            Self::Usage
            | Self::RunFolder
            | Self::RunFolderInUse
            | Self::CheckpointUnusable
            | Self::CheckpointNotWritten
            | Self::LeftBehind => Remedy::Never,
            Self::Corrupt
            | Self::EnvFault
            | Self::Diverged
            | Self::NoEnvWorks
            | Self::RankLost
            | Self::RanksDiffer => Remedy::StopRun,
        }
    }

    /// Whether this names a cause that a user can act on, so that it is a better exit code of the
    /// whole run than [`ExitKind::CrashLoop`].
    #[must_use]
    pub const fn tells_the_cause(self) -> bool {
        !matches!(self, Self::Finished | Self::CrashLoop | Self::Fenced | Self::Internal)
    }
}

impl fmt::Display for ExitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Finished => "finished",
            Self::Usage => "bad usage or configuration",
            Self::RunFolder => "run folder not usable",
            Self::RunFolderInUse => "run folder in use",
            Self::Resources => "not enough memory, descriptors or processes",
            Self::CrashLoop => "crash loop",
            Self::EnvFailed => "environment failed",
            Self::CheckpointUnusable => "checkpoint not usable",
            Self::CheckpointNotWritten => "final checkpoint not written",
            Self::Corrupt => "shared memory corrupt",
            Self::Fenced => "fenced by a newer incarnation",
            Self::EnvFault => "environment failed, which ends the run as configured",
            Self::LeftBehind => "a process that cannot be killed was left behind",
            Self::Diverged => "learning has diverged",
            Self::NoEnvWorks => "no environment works",
            Self::RankLost => "a rank was lost",
            Self::RanksDiffer => "ranks differ",
            Self::Internal => "internal error",
        })
    }
}

impl From<ExitKind> for ExitCode {
    fn from(kind: ExitKind) -> Self {
        Self::from(kind.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_fixed() {
        let numbers: Vec<u8> = ExitKind::ALL.into_iter().map(ExitKind::code).collect();
        assert_eq!(numbers, [0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 70]);
    }

    #[test]
    fn codes_are_read_back_and_unknown_ones_refused() {
        for kind in ExitKind::ALL {
            assert_eq!(ExitKind::from_code(i32::from(kind.code())), Some(kind));
        }
        // 1: any program; 101: a Rust panic; 256 + 2 must not pass for 2.
        for unknown in [1, 18, 101, 134, 255, 258, -2] {
            assert_eq!(ExitKind::from_code(unknown), None);
        }
    }

    #[test]
    fn the_table_in_the_docs_is_this_enum() {
        let source = include_str!("exit.rs");
        for kind in ExitKind::ALL {
            let row = format!("//! | {} | `{kind:?}` |", kind.code());
            let line = source.lines().find(|line| line.starts_with(&row));
            let line = line.unwrap_or_else(|| panic!("no row {row}"));
            let says_restart = line.ends_with("| restarted |") || line.contains("actor: restarted");
            assert_eq!(says_restart, kind.remedy() == Remedy::Restart, "{line}");
            assert_eq!(
                line.ends_with("| the run ends |"),
                kind.remedy() == Remedy::StopRun,
                "{line}"
            );
        }
    }
}
