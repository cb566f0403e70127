//! Detects a run in which no environment ever works: it would go on to its time limit with nothing to learn from.

use super::roles::RunContext;
use crate::metrics::ActorCounter;
use crate::supervisor::{ExitKind, Outcome, Role};

/// So many failures of each actor, none of which has filled an unroll yet, and nobody waits any longer.
const EACH: u64 = 5;
/// So many of all of them together: a pool of one actor has some more tries.
const ALL: u64 = 8;

/// Watches for the first unroll, and counts what fails before it.
#[derive(Debug, Default)]
pub(super) struct NeverWorks {
    /// An unroll was committed: whatever fails from now on is for others to judge.
    worked: bool,
    /// Deaths of actors within their environments, which these could not count themselves.
    deaths: Vec<u64>,
}

impl NeverWorks {
    /// An actor panicked or hung within its environments.
    pub(super) fn died(&mut self, role: Role) {
        if let Role::Actor(index) = role {
            let index = usize::from(index);
            if self.deaths.len() <= index {
                self.deaths.resize(index + 1, 0);
            }
            self.deaths[index] += 1;
        }
    }

    /// What is to be said if it is time to end the run.
    pub(super) fn look(&mut self, pool: &RunContext) -> Option<String> {
        let (least, all) = self.failures(pool)?;
        (least >= EACH && all >= ALL).then(|| self.reason(pool, all))
    }

    /// The same where the run ends anyway: one failure of each will do.
    pub(super) fn at_end(&mut self, pool: &RunContext) -> Option<String> {
        let (least, all) = self.failures(pool)?;
        (least > 0).then(|| self.reason(pool, all))
    }

    /// Names the cause in an outcome that tells of actors that died.
    pub(super) fn name(&mut self, outcome: &mut Outcome, pool: &RunContext) {
        if matches!(outcome.exit, ExitKind::EnvFailed | ExitKind::CrashLoop)
            && let Some(reason) = self.at_end(pool)
        {
            (outcome.exit, outcome.reason) = (ExitKind::NoEnvWorks, reason);
        }
    }

    /// Failures of the actor that has the fewest, and of all; nothing once an unroll was filled.
    fn failures(&mut self, pool: &RunContext) -> Option<(u64, u64)> {
        if self.worked {
            return None;
        }
        let (mut least, mut all) = (u64::MAX, 0);
        for index in 0..pool.config.pool.actors {
            let actor = pool.memory.actor(index);
            if actor.get(ActorCounter::UnrollsCommitted) > 0 {
                self.worked = true;
                return None;
            }
            let died = self.deaths.get(index).copied().unwrap_or(0);
            let failures = actor.get(ActorCounter::EnvErrors) + died;
            least = least.min(failures);
            all += failures;
        }
        Some((least, all))
    }

    fn reason(&self, pool: &RunContext, failures: u64) -> String {
        let env = &pool.config.env;
        let log = pool.run_dir.worker_log(0);
        // Only those in other processes have one.
        let more = if log.is_file() {
            format!("{} has what they said", log.display())
        } else {
            "the lines above say why".to_owned()
        };
        format!(
            "no environment of {} works: {failures} failures and not one unroll; {more}",
            env.id
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deaths_are_counted_for_each_actor() {
        let mut never = NeverWorks::default();
        for role in [Role::Actor(2), Role::Learner, Role::Actor(0), Role::Actor(2)] {
            never.died(role);
        }
        assert_eq!(never.deaths, [1, 0, 2]);
    }
}
