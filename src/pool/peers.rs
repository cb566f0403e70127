//! How the supervisor of one rank reacts to the loss of another rank, or of the launcher.
//!
//! A rank cannot be replaced, so the loss of one ends the job. A supervisor whose learner died leaves with a code that is not 0,
//! and the launcher ends the others; a supervisor that the launcher ends cannot wait for its learner, which waits for
//! the one that is gone. And where the launcher itself is gone, nobody else notices.

use std::time::Duration;

use nix::unistd::{Pid, getppid};

use super::launcher::Rank;
use crate::metrics::Phase;
use crate::supervisor::{ChildState, ExitKind, PoolStatus, Role, Verdict};

/// How long a learner may wait for other ranks once its run is to end: they may be in the middle of an update.
const MAX_WAIT: Duration = Duration::from_secs(4);

/// What a supervisor sees.
#[derive(Debug, Clone, Copy)]
struct Look {
    now: Duration,
    stopping: bool,
    learner_died: bool,
    phase: Option<Phase>,
    parent: Pid,
}

/// Watches the other ranks and the launcher.
#[derive(Debug)]
pub(super) struct Peers {
    rank: Rank,
    launcher: Pid,
    told_of_launcher: bool,
    alone: Alone,
    /// Since when the learner has been waiting for the others at a stop, on the supervisor's clock.
    waiting_since: Option<Duration>,
}

/// What was done about a learner that waits for ranks that do not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alone {
    No,
    Told,
    Killed,
}

/// What is said of the death of a rank's learner.
pub(super) fn learner_died(rank: Rank) -> String {
    let Rank { rank, size, .. } = rank;
    format!(
        "rank {rank}: its learner died, which ends all {size} ranks; --resume goes on from the last checkpoint"
    )
}

impl Peers {
    /// Of a rank that this process's parent has started.
    pub(super) fn new(rank: Rank) -> Self {
        let launcher = getppid();
        Self { rank, launcher, told_of_launcher: false, alone: Alone::No, waiting_since: None }
    }

    /// To be called at each tick; `phase` is the learner's.
    pub(super) fn look(&mut self, status: &PoolStatus, phase: Option<Phase>) -> Option<Verdict> {
        let learner = status.children.iter().find(|child| child.role == Role::Learner);
        let look = Look {
            now: status.uptime,
            stopping: status.stopping,
            learner_died: learner.is_some_and(|learner| learner.state == ChildState::Waiting),
            phase,
            parent: getppid(),
        };
        self.judge(look)
    }

    fn judge(&mut self, look: Look) -> Option<Verdict> {
        let rank = self.rank.rank;
        let lost = |reason| Some(Verdict::Stop { exit: ExitKind::RankLost, reason });
        if look.parent != self.launcher && !self.told_of_launcher {
            self.told_of_launcher = true;
            return lost(format!("rank {rank}: what started the ranks (mpirun, srun) is gone"));
        }
        if look.learner_died && !look.stopping {
            return lost(learner_died(self.rank));
        }
        if !look.stopping || look.phase != Some(Phase::Exchange) {
            self.waiting_since = None;
            return None;
        }
        let since = *self.waiting_since.get_or_insert(look.now);
        if look.now.saturating_sub(since) < MAX_WAIT {
            return None;
        }
        match self.alone {
            Alone::No => {
                self.alone = Alone::Told;
                lost(format!("rank {rank}: another rank is gone"))
            }
            Alone::Told => {
                self.alone = Alone::Killed;
                let reason = "it waits for a rank that is gone".to_owned();
                Some(Verdict::Kill { role: Role::Learner, reason })
            }
            Alone::Killed => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANK: Rank = Rank { rank: 1, size: 2, local_rank: 1, local_size: 2 };

    fn peers() -> Peers {
        Peers::new(RANK)
    }

    /// At this second, in this phase.
    fn at(second: u64, stopping: bool, phase: Phase) -> Look {
        let (now, phase) = (Duration::from_secs(second), Some(phase));
        Look { now, stopping, learner_died: false, phase, parent: getppid() }
    }

    fn is_lost(verdict: &Option<Verdict>) -> bool {
        matches!(verdict, Some(Verdict::Stop { exit: ExitKind::RankLost, reason }) if reason.contains("rank 1"))
    }

    #[test]
    fn a_learner_may_wait_for_others_for_ever_while_the_run_goes_on() {
        let mut peers = peers();
        for second in 0..1000 {
            assert_eq!(peers.judge(at(second, false, Phase::Exchange)), None);
        }
    }

    #[test]
    fn at_a_stop_it_may_not_and_the_code_says_why_before_it_is_killed() {
        let mut peers = peers();
        assert_eq!(peers.judge(at(10, true, Phase::Exchange)), None);
        assert_eq!(peers.judge(at(13, true, Phase::Learn)), None);
        assert_eq!(peers.judge(at(14, true, Phase::Exchange)), None);
        assert_eq!(peers.judge(at(17, true, Phase::Exchange)), None);
        let told = peers.judge(at(18, true, Phase::Exchange));
        assert!(is_lost(&told), "{told:?}");
        let killed = peers.judge(at(18, true, Phase::Exchange));
        assert!(matches!(killed, Some(Verdict::Kill { role: Role::Learner, .. })), "{killed:?}");
        assert_eq!(peers.judge(at(19, true, Phase::Exchange)), None);
    }

    #[test]
    fn a_learner_that_died_ends_the_run_and_one_that_ended_it_does_not() {
        let died = |stopping| Look { learner_died: true, ..at(1, stopping, Phase::Init) };
        assert!(is_lost(&peers().judge(died(false))));
        assert_eq!(peers().judge(died(true)), None);
    }

    #[test]
    fn the_loss_of_the_launcher_is_told_once() {
        let mut peers = peers();
        let look = Look { parent: Pid::from_raw(1), ..at(1, false, Phase::Learn) };
        assert!(is_lost(&peers.judge(look)));
        assert_eq!(peers.judge(Look { stopping: true, ..look }), None);
    }
}
