//! Whether a run would lead to the same weights if repeated, and if not, why.

use super::summary::Status;
use crate::config::{Engine, PoolConfig};

/// What a run went through.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Course {
    /// Replaced actors.
    pub(super) actor_restarts: u64,
    /// Replaced learners.
    pub(super) learner_restarts: u64,
    /// Failures of environments.
    pub(super) env_errors: u64,
    /// Unrolls that old weights acted in, because the page could not be read.
    pub(super) pages_unread: u64,
    /// How often the run was continued.
    pub(super) resumes: u64,
    /// Ranks that learnt together.
    pub(super) ranks: u64,
}

/// Why a run need not repeat itself to the bit; `None` if it does.
pub(super) fn why_not(pool: &PoolConfig, status: Status, course: Course) -> Option<String> {
    if !pool.schedule.is_lockstep() {
        return Some(
            "with --schedule async it is a matter of timing which weights fill which batch".into(),
        );
    }
    let counted = |count: u64, what: &str| (count > 0).then(|| format!("{what}: {count}"));
    let engine = pool.engine == Engine::Libtorch;
    let reasons = [
        engine.then(|| "libtorch adds up in an order of its own".to_owned()),
        match status {
            Status::Solved | Status::Finished => None,
            Status::TimeLimit => Some("the time limit ended it".to_owned()),
            Status::Interrupted => Some("a signal ended it".to_owned()),
            Status::Failed => Some("it failed".to_owned()),
        },
        (course.ranks > 1).then(|| "MPI need not add up in the same order again".to_owned()),
        counted(course.resumes, "runs that it continues"),
        counted(course.learner_restarts, "learners replaced"),
        counted(course.actor_restarts, "actors replaced"),
        counted(course.env_errors, "failures of environments"),
        counted(
            course.pages_unread,
            "unrolls with old weights, because the page could not be read",
        ),
    ];
    let reasons: Vec<String> = reasons.into_iter().flatten().collect();
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Config, file};
    use crate::env::Registry;

    fn pool(toml: &str) -> PoolConfig {
        let typed = file::parse(toml, Path::new("test.toml")).expect("settings");
        Config::resolve(&typed, &Registry::builtin()).expect("valid").pool
    }

    #[test]
    fn whatever_breaks_it_is_named() {
        let lockstep = pool("schedule = 'lockstep'");
        let why = |status, course| why_not(&lockstep, status, course);
        assert_eq!(why(Status::Finished, Course::default()), None);
        assert_eq!(why(Status::Solved, Course::default()), None);
        for (status, word) in [
            (Status::TimeLimit, "time limit"),
            (Status::Interrupted, "signal"),
            (Status::Failed, "failed"),
        ] {
            assert!(why(status, Course::default()).is_some_and(|text| text.contains(word)));
        }
        for (course, word) in [
            (Course { actor_restarts: 2, ..Course::default() }, "actors replaced: 2"),
            (Course { learner_restarts: 1, ..Course::default() }, "learners replaced: 1"),
            (Course { env_errors: 3, ..Course::default() }, "environments: 3"),
            (Course { pages_unread: 1, ..Course::default() }, "old weights"),
            (Course { resumes: 1, ..Course::default() }, "continues: 1"),
        ] {
            let text = why(Status::Finished, course).expect(word);
            assert!(text.contains(word), "{text}");
        }
        let text = why_not(&pool(""), Status::Finished, Course::default()).expect("async");
        assert!(text.contains("timing"), "{text}");
    }
}
