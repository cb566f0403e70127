//! What acts, wherever the unroll lies: weights, resets and what is done after failures, the begin and the end of an unroll.

use std::time::{Duration, Instant};

use super::ActorError;
use super::checks;
use super::history::History;
use super::parts::EnvGroup;
use super::remedy::{EnvRemedy, FAILURES_IN_A_ROW};
use super::step::{Step, Times};
use crate::env::{EnvSpec, flag};
use crate::kill_point;
use crate::metrics::{ActorCounter, ActorCounters, Phase};
use crate::params::{ParamReader, Refresh};
use crate::ring::{ClaimError, Owner, Ring};
use crate::unroll::{Field, GroupHeader, GroupMut};

/// One short unroll in this many is timed, and counts for all of them: clock readings cost more than the
/// steps of a small environment. Long ones are all timed.
const TIMED_EVERY: u32 = 16;
const LONG: Duration = Duration::from_millis(2);
/// How long an unroll may delay the end of a run: actors are to leave within two seconds.
const PROMPT: Duration = Duration::from_millis(500);

/// What all splits of an actor share.
pub(super) struct Acting<'m> {
    pub(super) reader: Option<ParamReader<'m>>,
    pub(super) counters: ActorCounters<'m>,
    pub(super) on_failure: Box<dyn FnMut(&ActorError) + 'm>,
    pub(super) owner: Owner,
    pub(super) unroll: usize,
    pub(super) spec: EnvSpec,
    /// The newest weights, and their version.
    pub(super) parameters: Vec<f32>,
    pub(super) version: u64,
    pub(super) logits: Vec<f32>,
}

impl std::fmt::Debug for Acting<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acting")
            .field("owner", &self.owner)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// The environments of one split.
#[derive(Debug)]
pub(super) struct Environments<'m> {
    groups: Vec<EnvGroup<'m>>,
    /// One for each group.
    running: Vec<Running>,
    /// The group that it works on.
    pub(super) at: usize,
    /// Unrolls that it has committed.
    committed: u64,
    /// Failures since the last commit.
    failures: u32,
    timed_every: u32,
}

/// Where one group of environments stands.
#[derive(Debug)]
struct Running {
    history: History,
    /// Version of the weights in its policy.
    version: u64,
    /// Number of its next unroll.
    sequence: u64,
}

/// An unroll that is being filled.
#[derive(Debug)]
pub(super) struct Filling {
    /// Steps that are written.
    pub(super) steps: usize,
    /// Episodes that ended in them.
    pub(super) ended: u64,
    /// The oldest version that acted.
    oldest: u64,
    pub(super) times: Option<Times>,
    /// Since when it has been waited for its slot.
    waiting: Instant,
}

impl<'m> Environments<'m> {
    /// # Panics
    /// If there is no group.
    pub(super) fn new(groups: Vec<EnvGroup<'m>>) -> Self {
        let first = groups.first().expect("a split has environments");
        let (spec, envs) = (first.env.spec(), first.env.envs());
        let running = groups.iter().map(|_| Running {
            history: History::new(spec, envs),
            version: 0,
            sequence: 0,
        });
        Self {
            running: running.collect(),
            groups,
            at: 0,
            committed: 0,
            failures: 0,
            timed_every: 1,
        }
    }

    /// What they look like, and how many each group has.
    pub(super) fn shape(&self) -> (&EnvSpec, usize) {
        let env = &self.groups[self.at].env;
        (env.spec(), env.envs())
    }

    /// How many groups there are.
    pub(super) const fn len(&self) -> usize {
        self.groups.len()
    }

    /// The group whose turn it is: each fills as many unrolls as any other.
    pub(super) const fn next_in_turn(&self) -> usize {
        (self.committed % self.groups.len() as u64) as usize
    }

    const fn timed(&self) -> bool {
        self.committed.is_multiple_of(self.timed_every as u64)
    }

    /// Says where the next observations lie.
    pub(super) fn observe(&mut self, slot: usize, step: usize) {
        self.groups[self.at].policy.observe(slot, step);
    }
}

impl<'m> Acting<'m> {
    /// Starts all episodes of a group anew, with nothing of the ones before. `phase` says how long that may take.
    pub(super) fn reset(
        &self,
        envs: &mut Environments<'m>,
        phase: Phase,
    ) -> Result<(), ActorError> {
        let env = &mut envs.groups[envs.at].env;
        let history = &mut envs.running[envs.at].history;
        *history = History::new(&self.spec, env.envs());
        self.counters.set_phase(phase);
        self.counters.add(ActorCounter::Progress, 1);
        kill_point!("actor.before_reset");
        env.reset(history.newest())?;
        let none_is_over = vec![0; env.envs()];
        let first = history.newest();
        checks::observations(
            &self.spec,
            first.frames,
            first.masks,
            &none_is_over,
            "a first observation",
            0,
        )
    }

    /// An environment has failed: the unroll is lost, its slot stays claimed and is overwritten.
    pub(super) fn recover(
        &mut self,
        envs: &mut Environments<'m>,
        mut error: ActorError,
    ) -> Result<(), ActorError> {
        loop {
            self.counters.add(ActorCounter::EnvErrors, 1);
            envs.failures += 1;
            if envs.failures >= FAILURES_IN_A_ROW {
                return Err(error);
            }
            let mut phase = Phase::Reset;
            let group = &mut envs.groups[envs.at];
            match &mut group.remedy {
                EnvRemedy::Fail => return Err(error),
                EnvRemedy::Reset => {
                    (self.on_failure)(&error);
                    // An environment may start a dead worker again, which takes as long as a first start.
                    phase = Phase::Init;
                }
                EnvRemedy::Rebuild(make) => {
                    (self.on_failure)(&error);
                    self.counters.set_phase(Phase::Init);
                    self.counters.add(ActorCounter::Progress, 1);
                    match make() {
                        Ok(env) => group.env = env,
                        Err(again) => {
                            error = again.into();
                            continue;
                        }
                    }
                }
            }
            match self.reset(envs, phase) {
                Ok(()) => return Ok(()),
                Err(again) => error = again,
            }
        }
    }

    /// Fetches the newest weights, after the wait for a slot, which may have lasted for several versions. If there are none
    /// newer, the old ones act on, which V-trace corrects for. Where blocks are filled in turn, the newest are those of this
    /// block until the last slot of it is filled. `insists`: the weights must lie here, whatever the learner does meanwhile.
    pub(super) fn refresh(
        &mut self,
        envs: &mut Environments<'m>,
        ring: Ring<'_>,
        insists: bool,
    ) -> Result<(), ActorError> {
        let refreshing = envs.timed().then(Instant::now);
        let Some(reader) = &mut self.reader else { return Ok(()) };
        self.counters.set_phase(Phase::Refresh);
        loop {
            match reader.refresh(self.version, &mut self.parameters) {
                Refresh::Unchanged => break,
                Refresh::Busy => {
                    self.counters.add(ActorCounter::ParamBusy, 1);
                    // The buffer holds none.
                    self.version = 0;
                    if !insists {
                        break;
                    }
                    if ring.is_closed() {
                        return Err(ClaimError::Closed.into());
                    }
                }
                Refresh::New(version) => {
                    self.version = version;
                    self.counters.add(ActorCounter::ParamRefreshes, 1);
                    self.counters.set(ActorCounter::ParamVersion, version);
                    break;
                }
            }
        }
        let running = &mut envs.running[envs.at];
        if self.version > running.version {
            envs.groups[envs.at].policy.load(&self.parameters);
            running.version = self.version;
        }
        if let Some(refreshing) = refreshing {
            let spent = refreshing.elapsed() * envs.timed_every;
            self.counters.add_time(ActorCounter::RefreshNs, spent);
        }
        Ok(())
    }

    /// Begins an unroll in `group`, for whose slot it has waited since `waiting`. With `whole_episodes` all environments start anew.
    pub(super) fn begin(
        &self,
        envs: &mut Environments<'m>,
        group: &mut GroupMut<'_>,
        waiting: Instant,
        whole_episodes: bool,
    ) -> Result<Filling, ActorError> {
        let newest = &envs.running[envs.at].history.flags;
        if whole_episodes && newest.iter().any(|flags| flags & flag::FIRST == 0) {
            self.reset(envs, Phase::Reset)?;
        }
        let running = &envs.running[envs.at];
        let EnvGroup { policy, stream, task, .. } = &envs.groups[envs.at];
        for (row, frames) in running.history.frames.rows().enumerate() {
            group.frame_mut(row).copy_from_slice(frames);
        }
        group.flags_mut(0).copy_from_slice(&running.history.flags);
        group.row_mut::<u8>(Field::Mask, 0).copy_from_slice(&running.history.masks);
        group.row_mut(Field::FirstAction, 0).copy_from_slice(&running.history.actions);
        group.row_mut(Field::FirstReward, 0).copy_from_slice(&running.history.rewards);
        group.row_mut(Field::CoreState, 0).copy_from_slice(policy.recurrent_state());
        group
            .history_mut()
            .iter_mut()
            .zip(running.history.earlier())
            .for_each(|(stored, earlier)| *stored = earlier);
        *group.header_mut() = GroupHeader {
            actor: u32::from(self.owner.actor()),
            incarnation: u32::from(self.owner.incarnation()),
            sequence: running.sequence,
            policy_version: running.version,
            stream: *stream,
            task: *task,
            ..GroupHeader::default()
        };
        let times = envs.timed().then(Times::default);
        Ok(Filling { steps: 0, ended: 0, oldest: running.version, times, waiting })
    }

    /// What the next vector step needs.
    pub(super) fn step<'a>(&'a mut self, envs: &'a mut Environments<'m>) -> Step<'a, 'm> {
        let running = &mut envs.running[envs.at];
        let EnvGroup { env, policy, sampler, .. } = &mut envs.groups[envs.at];
        Step {
            env: env.as_mut(),
            policy: policy.as_mut(),
            sampler,
            history: &mut running.history,
            counters: &self.counters,
            spec: &self.spec,
            logits: &mut self.logits,
            version: running.version,
        }
    }

    /// The end of a run waits for a short unroll and not for a long one; those are all timed.
    pub(super) fn still_wanted(&self, filling: &Filling, ring: Ring<'_>) -> Result<(), ActorError> {
        if filling.times.is_some() && ring.is_closed() && filling.waiting.elapsed() > PROMPT {
            return Err(ClaimError::Closed.into());
        }
        Ok(())
    }

    /// A step is written.
    pub(super) fn stepped(&self, envs: &mut Environments<'m>, filling: &mut Filling) {
        kill_point!("actor.mid_unroll");
        // Weights may change in an unroll: it counts as old as the oldest of them.
        if let Some(version) = envs.groups[envs.at].policy.acted_with() {
            filling.oldest = if filling.steps == 0 { version } else { filling.oldest.min(version) };
            envs.running[envs.at].version = version;
            self.counters.set(ActorCounter::ParamVersion, version);
        }
        filling.steps += 1;
    }

    /// The last step is written.
    pub(super) fn end(
        &self,
        envs: &mut Environments<'m>,
        group: &mut GroupMut<'_>,
        filling: &Filling,
    ) {
        let history = &mut envs.running[envs.at].history;
        group.header_mut().policy_version = filling.oldest;
        for (row, frames) in history.frames.rows_mut().enumerate() {
            frames.copy_from_slice(group.frame(filling.steps + row));
        }
        history.flags.copy_from_slice(group.flags(filling.steps));
        history.masks.copy_from_slice(group.row(Field::Mask, filling.steps));
        self.counters.set_phase(Phase::Commit);
    }

    /// Keeps account of an unroll that was committed, which took so long if it was timed.
    pub(super) fn committed(
        &self,
        envs: &mut Environments<'m>,
        filling: &Filling,
        committing: Option<Duration>,
    ) {
        let columns = envs.groups[envs.at].env.envs();
        envs.running[envs.at].sequence += 1;
        envs.committed += 1;
        envs.failures = 0;
        let counters = &self.counters;
        if let Some(committing) = committing {
            counters.add_time(ActorCounter::CommitNs, committing * envs.timed_every);
        }
        counters.add(ActorCounter::UnrollsCommitted, 1);
        counters.add(ActorCounter::FramesActed, (filling.steps * columns) as u64);
        counters.add(ActorCounter::Episodes, filling.ended);
        if let Some(times) = &filling.times {
            counters.add_time(ActorCounter::EnvNs, times.env * envs.timed_every);
            counters.add_time(ActorCounter::InferNs, times.infer * envs.timed_every);
            envs.timed_every = if times.env + times.infer < LONG { TIMED_EVERY } else { 1 };
        }
    }
}
