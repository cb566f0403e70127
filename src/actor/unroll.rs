//! The acting loop: claim a slot, refresh weights, fill one unroll step by step, commit.

use std::time::{Duration, Instant};

use super::ActorError;
use super::acting::{Acting, Environments, Filling};
use super::parts::{ActorParts, Split};
use super::recorder::Recorder;
use super::turns::Open;
use crate::env::flag;
use crate::kill_point;
use crate::metrics::{ActorCounter, Phase};
use crate::ring::{ClaimError, OwnGroups, Ring, WriteGrant};
use crate::unroll::{BlockLayout, GroupMut, Producer};

/// How long a claim waits before the loop looks round again.
const CLAIM_TIMEOUT: Duration = Duration::from_millis(100);

/// An actor at work.
#[derive(Debug)]
pub struct ActorLoop<'m> {
    splits: Vec<Working<'m>>,
    acting: Acting<'m>,
    recorder: Option<Recorder<'m>>,
}

/// A split at work.
#[derive(Debug)]
pub(super) struct Working<'m> {
    pub(super) producer: Producer<'m>,
    own_groups: Option<OwnGroups>,
    pub(super) envs: Environments<'m>,
    /// The unroll that it has open, where splits take turns.
    pub(super) open: Option<Open>,
}

impl<'m> ActorLoop<'m> {
    /// Resets the environments.
    ///
    /// # Errors
    /// If an environment cannot start.
    ///
    /// # Panics
    /// If there is no group of environments, or a recorder beside several splits.
    pub fn new(parts: ActorParts<'m>) -> Result<Self, ActorError> {
        assert!(parts.recorder.is_none() || parts.splits.len() == 1, "a recorder has one slot");
        let working = |Split { producer, own_groups, groups }| {
            let envs = Environments::new(groups);
            Working { producer, own_groups, envs, open: None }
        };
        let mut splits: Vec<_> = parts.splits.into_iter().map(working).collect();
        let (spec, columns) = splits.first().expect("an actor has environments").envs.shape();
        let mut acting = Acting {
            parameters: vec![0.0; parts.parameter_count],
            version: 0,
            logits: vec![0.0; columns * spec.action.outputs()],
            spec: spec.clone(),
            reader: parts.reader,
            counters: parts.counters,
            on_failure: parts.on_failure,
            owner: parts.owner,
            unroll: parts.unroll,
        };
        for Working { envs, .. } in &mut splits {
            for group in 0..envs.len() {
                envs.at = group;
                match acting.reset(envs, Phase::Reset) {
                    Ok(()) => {}
                    Err(error) => acting.recover(envs, error)?,
                }
            }
        }
        Ok(Self { splits, acting, recorder: parts.recorder })
    }

    /// Acts until the ring is closed.
    ///
    /// # Errors
    /// [`ActorError`]: the process should end with the code that belongs to it.
    pub fn run(&mut self) -> Result<(), ActorError> {
        let mut at = 0;
        // Splits in a row that got no slot.
        let mut without_slot = 0;
        loop {
            let result = match &mut self.splits[..] {
                [only] => unroll(only, &mut self.acting, self.recorder.as_mut()),
                splits => {
                    let nothing_to_do = without_slot >= splits.len();
                    let wait = if nothing_to_do { CLAIM_TIMEOUT } else { Duration::ZERO };
                    splits[at].turn(&mut self.acting, wait)
                }
            };
            without_slot += 1;
            match result {
                Ok(()) => without_slot = 0,
                Err(ActorError::Claim(ClaimError::TimedOut | ClaimError::HeldBack)) => {}
                Err(ActorError::Claim(ClaimError::Closed)) => return Ok(()),
                Err(error) if error.is_of_environment() => {
                    self.acting.counters.add(ActorCounter::UnrollsDropped, 1);
                    let failed = &mut self.splits[at];
                    failed.open = None;
                    self.acting.recover(&mut failed.envs, error)?;
                    without_slot = 0;
                }
                Err(error) => return Err(error),
            }
            at = (at + 1) % self.splits.len();
        }
    }
}

impl<'m> Working<'m> {
    /// Gets a slot, and chooses the group that fills it.
    pub(super) fn claim(
        &mut self,
        acting: &Acting<'m>,
        wait: Duration,
    ) -> Result<(WriteGrant<'_, 'm, BlockLayout>, &mut Environments<'m>), ActorError> {
        let Self { producer, own_groups, envs, .. } = self;
        kill_point!("actor.before_claim");
        acting.counters.set_phase(Phase::Wait);
        let waiting = Instant::now();
        let claimed = match *own_groups {
            None => producer.claim(wait),
            Some(own) => producer.claim_in_turn(own, wait),
        };
        let held_back = match &claimed {
            Ok(grant) => grant.was_held_back(),
            Err(error) => matches!(error, ClaimError::HeldBack),
        };
        let waited =
            if held_back { ActorCounter::AdmissionWaitNs } else { ActorCounter::SlotWaitNs };
        acting.counters.add_time(waited, waiting.elapsed());
        let grant = claimed?;
        kill_point!("actor.after_claim");
        envs.at = match own_groups {
            None => envs.next_in_turn(),
            Some(own) => own.place_of(grant.group()),
        };
        Ok((grant, envs))
    }
}

/// Fills one group of the ring from its first step to its last.
fn unroll<'m>(
    split: &mut Working<'m>,
    acting: &mut Acting<'m>,
    recorder: Option<&mut Recorder<'m>>,
) -> Result<(), ActorError> {
    let ring = split.producer.ring();
    let waiting = Instant::now();
    let (mut grant, envs) = split.claim(acting, CLAIM_TIMEOUT)?;
    acting.refresh(envs, ring, recorder.is_some())?;
    let index = grant.index();
    let mut slot = GroupMut::new(grant.slot_mut());
    let filled = match recorder {
        None => fill(acting, envs, (index, &mut slot), (ring, waiting), false)?,
        Some(recorder) => {
            let mut record = recorder.producer.claim(Duration::ZERO)?;
            let place = &mut GroupMut::new(record.slot_mut());
            let filled = fill(acting, envs, (0, place), (ring, waiting), recorder.whole_episodes)?;
            record.commit()?;
            let started = Instant::now();
            acting.counters.set_phase(Phase::Learn);
            recorder.write(filled.steps, &acting.parameters, &mut slot)?;
            acting.counters.add_time(ActorCounter::GradientNs, started.elapsed());
            acting.counters.set_phase(Phase::Commit);
            filled
        }
    };
    commit(grant, acting, envs, &filled)
}

/// Publishes an unroll.
pub(super) fn commit<'m>(
    grant: WriteGrant<'_, 'm, BlockLayout>,
    acting: &Acting<'m>,
    envs: &mut Environments<'m>,
    filled: &Filling,
) -> Result<(), ActorError> {
    kill_point!("actor.before_commit");
    let committing = filled.times.is_some().then(Instant::now);
    grant.commit()?;
    kill_point!("actor.after_commit");
    acting.committed(envs, filled, committing.map(|started| started.elapsed()));
    Ok(())
}

/// Acts for one unroll and writes it into `group`, which is slot `slot`. With `whole_episodes` all environments start anew, and it is over
/// when each has come to an end.
fn fill<'m>(
    acting: &mut Acting<'m>,
    envs: &mut Environments<'m>,
    (slot, group): (usize, &mut GroupMut<'_>),
    (ring, waiting): (Ring<'_>, Instant),
    whole_episodes: bool,
) -> Result<Filling, ActorError> {
    let mut filling = acting.begin(envs, group, waiting, whole_episodes)?;
    let mut episodes = whole_episodes.then(|| FirstEpisodes::new(envs.shape().1));
    while filling.steps < acting.unroll {
        acting.still_wanted(&filling, ring)?;
        envs.observe(slot, filling.steps);
        let over = acting.step(envs).take(filling.steps, group, filling.times.as_mut())?;
        acting.stepped(envs, &mut filling);
        match &mut episodes {
            None => filling.ended += over,
            Some(episodes) => {
                filling.ended += episodes.look(group.flags_mut(filling.steps));
                if episodes.are_over() {
                    break;
                }
            }
        }
    }
    acting.end(envs, group, &filling);
    Ok(filling)
}

/// Which environments are still in the first episode of an unroll.
struct FirstEpisodes {
    running: Vec<bool>,
}

impl FirstEpisodes {
    fn new(envs: usize) -> Self {
        Self { running: vec![true; envs] }
    }

    /// Looks at the flags of the next observation, and gives how many first episodes end there. What follows them looks as
    /// if it crossed a reset, so that it counts for nothing.
    fn look(&mut self, flags: &mut [u8]) -> u64 {
        let mut ended = 0;
        for (running, flags) in self.running.iter_mut().zip(flags) {
            if !*running {
                *flags = flag::FIRST;
            } else if *flags & flag::DONE != 0 {
                *running = false;
                ended += 1;
            }
        }
        ended
    }

    fn are_over(&self) -> bool {
        self.running.iter().all(|running| !running)
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
