//! Cuts an episode off after a number of steps, as Gymnasium's `TimeLimit` does.

use super::End;

/// Counts the steps of one episode and cuts it off at a limit.
///
/// As in Gymnasium an episode is cut off *after* step `limit`. Where the task ends in that same step,
/// Gymnasium reports both; here [`End::Terminated`] wins, because nothing of value follows.
#[derive(Debug, Clone)]
pub struct TimeLimit {
    limit_steps: u32,
    steps: u32,
}

impl TimeLimit {
    /// Cuts an episode off after `limit_steps` steps; 0 acts like 1.
    #[must_use]
    pub const fn new(limit_steps: u32) -> Self {
        Self { limit_steps, steps: 0 }
    }

    /// Begins an episode.
    pub const fn restart(&mut self) {
        self.steps = 0;
    }

    /// Counts one step; `terminated` says whether the task ended with it.
    pub const fn after_step(&mut self, terminated: bool) -> End {
        self.steps += 1;
        if terminated {
            End::Terminated
        } else if self.steps >= self.limit_steps {
            End::Truncated
        } else {
            End::Running
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_off_after_the_last_step_and_again_after_a_restart() {
        let mut limit = TimeLimit::new(3);
        for _ in 0..2 {
            assert_eq!(limit.after_step(false), End::Running);
            assert_eq!(limit.after_step(false), End::Running);
            assert_eq!(limit.after_step(false), End::Truncated);
            limit.restart();
        }
    }

    #[test]
    fn the_end_of_the_task_wins() {
        assert_eq!(TimeLimit::new(1).after_step(true), End::Terminated);
        assert_eq!(TimeLimit::new(9).after_step(true), End::Terminated);
    }
}
