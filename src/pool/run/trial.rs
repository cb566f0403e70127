//! A trial run: it is measured for a while once frames come, and then ends.

use std::time::{Duration, Instant};

use super::Run;
use super::recording::Sample;
use crate::metrics::MetricsRecord;
use crate::pool::line::compose;
use crate::supervisor::{ExitKind, PoolStatus, Verdict};

/// Part of the time that is measured for which frames must have come before: the first ones find caches cold.
const WARM_UP: f64 = 0.25;
/// Between fewer updates than this a rate is a matter of luck: the trial is then extended, up to `MAX_FACTOR` times its length.
const ENOUGH_CHANGES: u32 = 6;
const MAX_FACTOR: u32 = 3;

/// Which part of a trial is to be measured, and the counters at its ends.
#[derive(Debug)]
pub(in crate::pool) struct TrialClock {
    measured: Duration,
    /// When frames first came.
    first: Option<Instant>,
    began: Option<(Instant, MetricsRecord)>,
    ended: Option<MetricsRecord>,
    frames: u64,
    changes: u32,
}

/// What is due.
#[derive(Debug, PartialEq, Eq)]
enum Moment {
    Nothing,
    Begin,
    End,
}

impl TrialClock {
    pub(in crate::pool) const fn new(measured: Duration) -> Self {
        Self { measured, first: None, began: None, ended: None, frames: 0, changes: 0 }
    }

    /// The counters at both ends, if it came to its end.
    pub(in crate::pool) fn ends(&self) -> Option<[&MetricsRecord; 2]> {
        self.began.as_ref().zip(self.ended.as_ref()).map(|((_, began), ended)| [began, ended])
    }

    /// Both ends are where the frames have just changed, or a part of an update would be counted.
    fn moment(&mut self, now: Instant, frames: u64) -> Moment {
        if frames == self.frames || self.ended.is_some() {
            return Moment::Nothing;
        }
        self.frames = frames;
        let first = *self.first.get_or_insert(now);
        let Some((began, _)) = &self.began else {
            let is_warm = now - first >= self.measured.mul_f64(WARM_UP);
            return if is_warm { Moment::Begin } else { Moment::Nothing };
        };
        self.changes += 1;
        let past = now - *began;
        let is_enough = self.changes >= ENOUGH_CHANGES || past >= self.measured * MAX_FACTOR;
        if past >= self.measured && is_enough { Moment::End } else { Moment::Nothing }
    }
}

impl Run {
    /// Notes the counters at the ends of what is measured, and ends the run at the second.
    pub(super) fn look_at_trial(&mut self, now: &Sample, status: &PoolStatus) -> Option<Verdict> {
        let moment = self.trial.as_mut()?.moment(now.at, now.frames);
        if moment == Moment::Nothing {
            return None;
        }
        self.processes.sample(status);
        let progress = self.progress_since(now, &self.recent);
        let line = compose(&progress, &self.run_context, &self.processes);
        let trial = self.trial.as_mut()?;
        if moment == Moment::Begin {
            trial.began = Some((now.at, line));
            return None;
        }
        trial.ended = Some(line);
        Some(Verdict::Stop { exit: ExitKind::Finished, reason: "the trial is over".into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_warm_and_ends_at_an_update() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut clock = TrialClock::new(Duration::from_millis(100));
        assert_eq!(clock.moment(at(500), 0), Moment::Nothing);
        assert_eq!(clock.moment(at(1_000), 8), Moment::Nothing, "the first frames");
        assert_eq!(clock.moment(at(1_030), 8), Moment::Nothing, "no update");
        assert_eq!(clock.moment(at(1_031), 16), Moment::Begin);
        clock.began = Some((at(1_031), MetricsRecord::default()));
        for update in 1..10 {
            assert_eq!(clock.moment(at(1_031 + 10 * update), 16 + update), Moment::Nothing);
        }
        assert_eq!(clock.moment(at(1_140), 25), Moment::Nothing, "no update");
        assert_eq!(clock.moment(at(1_141), 40), Moment::End);
        clock.ended = Some(MetricsRecord::default());
        assert_eq!(clock.moment(at(1_200), 50), Moment::Nothing);
        assert!(clock.ends().is_some());
    }

    #[test]
    fn few_updates_are_waited_for() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut clock = TrialClock::new(Duration::from_millis(100));
        clock.moment(at(0), 1);
        assert_eq!(clock.moment(at(80), 2), Moment::Begin);
        clock.began = Some((at(80), MetricsRecord::default()));
        assert_eq!(clock.moment(at(190), 3), Moment::Nothing, "one update");
        assert_eq!(clock.moment(at(400), 4), Moment::End, "long enough");
    }
}
