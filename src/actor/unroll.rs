//! The acting loop: claim a slot, refresh weights, fill one unroll step by step, commit.

use std::time::{Duration, Instant};

use super::ActorError;
use super::checks;
use super::history::History;
use super::recorder::Recorder;
use super::remedy::{EnvRemedy, FAILURES_IN_A_ROW};
use crate::env::{EnvSpec, StepOut, VectorEnv, flag};
use crate::kill_point;
use crate::metrics::{ActorCounter, ActorCounters, Phase};
use crate::params::{ParamReader, Refresh};
use crate::policy::act::{ActError, ActInputs, Policy};
use crate::policy::frames::StackedFrames;
use crate::policy::sampler::ActionSampler;
use crate::ring::{ClaimError, OwnGroups, Owner, Ring};
use crate::unroll::{Field, GroupHeader, GroupMut, Producer};

/// How long a claim waits before the loop looks round again.
const CLAIM_TIMEOUT: Duration = Duration::from_millis(100);
/// One short unroll in this many is timed, and counts for all of them: clock readings cost more than the
/// steps of a small environment. Long ones are all timed.
const TIMED_EVERY: u32 = 16;
const LONG: Duration = Duration::from_millis(2);
/// How long an unroll may delay the end of a run: actors are to leave within two seconds.
const PROMPT: Duration = Duration::from_millis(500);

/// E environments that fill one group of columns, and what acts in them.
pub struct EnvGroup<'m> {
    /// The environments.
    pub env: Box<dyn VectorEnv>,
    /// What is done when they fail.
    pub remedy: EnvRemedy<'m>,
    /// The policy, with whatever it remembers of their episodes.
    pub policy: Box<dyn Policy + 'm>,
    /// Chooses their actions.
    pub sampler: ActionSampler,
    /// Number of their stream of experience: unrolls of one stream follow each other.
    pub stream: u32,
    /// Number of the task that they are of.
    pub task: u32,
}

impl std::fmt::Debug for EnvGroup<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EnvGroup").field("stream", &self.stream).finish_non_exhaustive()
    }
}

/// All that an actor works with.
pub struct ActorParts<'m> {
    /// Its end of the ring.
    pub producer: Producer<'m>,
    /// Makes gradients of its unrolls, where these are what travels.
    pub recorder: Option<Recorder<'m>>,
    /// Its view of the parameter page; `None` if its policies have their weights from elsewhere.
    pub reader: Option<ParamReader<'m>>,
    /// Its counters.
    pub counters: ActorCounters<'m>,
    /// Its environments: groups that it acts with in turn, or where blocks are filled in turn one for each of `own_groups`.
    pub groups: Vec<EnvGroup<'m>>,
    /// The groups of every block that are its own, where blocks are filled in turn; `None`: it fills whatever is free.
    pub own_groups: Option<OwnGroups>,
    /// Is told of each failure that a remedy is tried on.
    pub on_failure: Box<dyn FnMut(&ActorError) + 'm>,
    /// Who it is.
    pub owner: Owner,
    /// T.
    pub unroll: usize,
    /// Length of the flat parameter vector.
    pub parameter_count: usize,
}

impl std::fmt::Debug for ActorParts<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ActorParts")
            .field("owner", &self.owner)
            .field("unroll", &self.unroll)
            .finish_non_exhaustive()
    }
}

/// An actor at work.
#[derive(Debug)]
pub struct ActorLoop<'m> {
    producer: Producer<'m>,
    own_groups: Option<OwnGroups>,
    recorder: Option<Recorder<'m>>,
    acting: Acting<'m>,
}

/// What acts, wherever the unroll lies.
struct Acting<'m> {
    reader: Option<ParamReader<'m>>,
    counters: ActorCounters<'m>,
    groups: Vec<EnvGroup<'m>>,
    on_failure: Box<dyn FnMut(&ActorError) + 'm>,
    owner: Owner,
    unroll: usize,
    spec: EnvSpec,
    /// One for each group of environments.
    running: Vec<Running>,
    /// The group that it works on.
    at: usize,
    /// The newest weights, and their version.
    parameters: Vec<f32>,
    version: u64,
    logits: Vec<f32>,
    /// Unrolls that it has committed.
    committed: u64,
    /// Failures of environments since the last commit.
    failures: u32,
    timed_every: u32,
}

impl std::fmt::Debug for Acting<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acting")
            .field("owner", &self.owner)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
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

/// What came of one unroll.
struct Filled {
    /// Steps that are of use.
    steps: usize,
    /// Episodes that ended in them.
    ended: u64,
    times: Option<Times>,
}

/// Time spent in one timed unroll.
#[derive(Default)]
struct Times {
    env: Duration,
    infer: Duration,
}

impl<'m> ActorLoop<'m> {
    /// Resets the environments.
    ///
    /// # Errors
    /// If an environment cannot start.
    ///
    /// # Panics
    /// If there is no group of environments.
    pub fn new(parts: ActorParts<'m>) -> Result<Self, ActorError> {
        let ActorParts { producer, own_groups, recorder, groups, .. } = parts;
        let first = groups.first().expect("an actor has environments");
        let spec = first.env.spec().clone();
        let envs = first.env.envs();
        let running = groups.iter().map(|_| Running {
            history: History::new(&spec, envs),
            version: 0,
            sequence: 0,
        });
        let mut acting = Acting {
            running: running.collect(),
            at: 0,
            parameters: vec![0.0; parts.parameter_count],
            version: 0,
            logits: vec![0.0; envs * spec.action.outputs()],
            committed: 0,
            failures: 0,
            timed_every: 1,
            spec,
            reader: parts.reader,
            counters: parts.counters,
            groups,
            on_failure: parts.on_failure,
            owner: parts.owner,
            unroll: parts.unroll,
        };
        for group in 0..acting.running.len() {
            acting.at = group;
            match acting.reset(Phase::Reset) {
                Ok(()) => {}
                Err(error) => acting.recover(error)?,
            }
        }
        Ok(Self { producer, own_groups, recorder, acting })
    }

    /// Acts until the ring is closed.
    ///
    /// # Errors
    /// [`ActorError`]: the process should end with the code that belongs to it.
    pub fn run(&mut self) -> Result<(), ActorError> {
        loop {
            match self.unroll() {
                Ok(()) | Err(ActorError::Claim(ClaimError::TimedOut | ClaimError::HeldBack)) => {}
                Err(ActorError::Claim(ClaimError::Closed)) => return Ok(()),
                Err(error) if error.is_of_environment() => {
                    self.acting.counters.add(ActorCounter::UnrollsDropped, 1);
                    self.acting.recover(error)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Fills one group of the ring.
    fn unroll(&mut self) -> Result<(), ActorError> {
        let Self { producer, own_groups, recorder, acting } = self;
        let ring = producer.ring();
        kill_point!("actor.before_claim");
        acting.counters.set_phase(Phase::Wait);
        let waiting = Instant::now();
        let claimed = match *own_groups {
            None => producer.claim(CLAIM_TIMEOUT),
            Some(own) => producer.claim_in_turn(own, CLAIM_TIMEOUT),
        };
        let held_back = match &claimed {
            Ok(grant) => grant.was_held_back(),
            Err(error) => matches!(error, ClaimError::HeldBack),
        };
        let waited =
            if held_back { ActorCounter::AdmissionWaitNs } else { ActorCounter::SlotWaitNs };
        acting.counters.add_time(waited, waiting.elapsed());
        let mut grant = claimed?;
        kill_point!("actor.after_claim");

        acting.at = match own_groups {
            None => acting.next_in_turn(),
            Some(own) => own.place_of(grant.group()),
        };
        acting.refresh(ring, recorder.is_some())?;
        let index = grant.index();
        let mut slot = GroupMut::new(grant.slot_mut());
        let filled = match recorder {
            None => acting.fill((index, &mut slot), (ring, waiting), false)?,
            Some(recorder) => {
                let mut record = recorder.producer.claim(Duration::ZERO)?;
                let place = &mut GroupMut::new(record.slot_mut());
                let filled = acting.fill((0, place), (ring, waiting), recorder.whole_episodes)?;
                record.commit()?;
                let started = Instant::now();
                acting.counters.set_phase(Phase::Learn);
                recorder.write(filled.steps, &acting.parameters, &mut slot)?;
                acting.counters.add_time(ActorCounter::GradientNs, started.elapsed());
                filled
            }
        };

        acting.counters.set_phase(Phase::Commit);
        kill_point!("actor.before_commit");
        let committing = filled.times.is_some().then(Instant::now);
        grant.commit()?;
        kill_point!("actor.after_commit");
        acting.committed(&filled, committing.map(|started| started.elapsed()));
        Ok(())
    }
}

impl Acting<'_> {
    /// Starts all episodes of a group anew, with nothing of the ones before. `phase` says how long that may take.
    fn reset(&mut self, phase: Phase) -> Result<(), ActorError> {
        let Self { groups, counters, spec, running, at, .. } = self;
        let env = &mut groups[*at].env;
        let history = &mut running[*at].history;
        *history = History::new(spec, env.envs());
        counters.set_phase(phase);
        counters.add(ActorCounter::Progress, 1);
        kill_point!("actor.before_reset");
        env.reset(history.newest())?;
        let none_is_over = vec![0; env.envs()];
        let first = history.newest();
        checks::observations(
            spec,
            first.frames,
            first.masks,
            &none_is_over,
            "a first observation",
            0,
        )
    }

    /// An environment has failed: the unroll is lost, its slot stays claimed and is overwritten.
    fn recover(&mut self, mut error: ActorError) -> Result<(), ActorError> {
        loop {
            self.counters.add(ActorCounter::EnvErrors, 1);
            self.failures += 1;
            if self.failures >= FAILURES_IN_A_ROW {
                return Err(error);
            }
            let mut phase = Phase::Reset;
            let group = &mut self.groups[self.at];
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
            match self.reset(phase) {
                Ok(()) => return Ok(()),
                Err(again) => error = again,
            }
        }
    }

    /// The group whose turn it is: each fills as many unrolls as any other.
    const fn next_in_turn(&self) -> usize {
        (self.committed % self.groups.len() as u64) as usize
    }

    const fn timed(&self) -> bool {
        self.committed.is_multiple_of(self.timed_every as u64)
    }

    /// Fetches the newest weights, after the wait for a slot, which may have lasted for several versions. If there are none
    /// newer, the old ones act on, which V-trace corrects for. Where blocks are filled in turn, the newest are those of this
    /// block until the last slot of it is filled. `insists`: the weights must lie here, whatever the learner does meanwhile.
    fn refresh(&mut self, ring: Ring<'_>, insists: bool) -> Result<(), ActorError> {
        let refreshing = self.timed().then(Instant::now);
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
        let running = &mut self.running[self.at];
        if self.version > running.version {
            self.groups[self.at].policy.load(&self.parameters);
            running.version = self.version;
        }
        if let Some(refreshing) = refreshing {
            self.counters
                .add_time(ActorCounter::RefreshNs, refreshing.elapsed() * self.timed_every);
        }
        Ok(())
    }

    /// Acts for one unroll and writes it into `group`, which is slot `slot`. With `whole_episodes` all environments start anew, and it is over
    /// when each has come to an end.
    fn fill(
        &mut self,
        (slot, group): (usize, &mut GroupMut<'_>),
        (ring, waiting): (Ring<'_>, Instant),
        whole_episodes: bool,
    ) -> Result<Filled, ActorError> {
        let timed = self.timed();
        let newest = &self.running[self.at].history.flags;
        if whole_episodes && newest.iter().any(|flags| flags & flag::FIRST == 0) {
            self.reset(Phase::Reset)?;
        }
        let Self { counters, groups, running, at, owner, spec, logits, unroll, .. } = self;
        let running = &mut running[*at];
        let EnvGroup { env, policy, sampler, stream, task, .. } = &mut groups[*at];

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
            actor: u32::from(owner.actor()),
            incarnation: u32::from(owner.incarnation()),
            sequence: running.sequence,
            policy_version: running.version,
            stream: *stream,
            task: *task,
            ..GroupHeader::default()
        };

        let mut times = timed.then(Times::default);
        let mut ended = 0;
        let mut episodes = whole_episodes.then(|| FirstEpisodes::new(env.envs()));
        let mut steps = 0;
        let mut oldest = running.version;
        while steps < *unroll {
            // The end of a run waits for a short unroll and not for a long one; those are all timed.
            if timed && ring.is_closed() && waiting.elapsed() > PROMPT {
                return Err(ClaimError::Closed.into());
            }
            policy.observe(slot, steps);
            let step = Step {
                env: env.as_mut(),
                policy: policy.as_mut(),
                sampler: &mut *sampler,
                counters,
                spec,
                version: running.version,
            };
            let over = step.take(steps, group, &mut running.history, logits, times.as_mut())?;
            kill_point!("actor.mid_unroll");
            // Weights may change in an unroll: it counts as old as the oldest of them.
            if let Some(version) = policy.acted_with() {
                oldest = if steps == 0 { version } else { oldest.min(version) };
                running.version = version;
                counters.set(ActorCounter::ParamVersion, version);
            }
            steps += 1;
            match &mut episodes {
                None => ended += over,
                Some(episodes) => {
                    ended += episodes.look(group.flags_mut(steps));
                    if episodes.are_over() {
                        break;
                    }
                }
            }
        }
        group.header_mut().policy_version = oldest;
        for (row, frames) in running.history.frames.rows_mut().enumerate() {
            frames.copy_from_slice(group.frame(steps + row));
        }
        running.history.flags.copy_from_slice(group.flags(steps));
        running.history.masks.copy_from_slice(group.row(Field::Mask, steps));
        Ok(Filled { steps, ended, times })
    }

    /// Keeps account of an unroll that was committed, which took so long if it was timed.
    fn committed(&mut self, filled: &Filled, committing: Option<Duration>) {
        let envs = self.groups[self.at].env.envs();
        self.running[self.at].sequence += 1;
        self.committed += 1;
        self.failures = 0;
        let counters = &self.counters;
        if let Some(committing) = committing {
            counters.add_time(ActorCounter::CommitNs, committing * self.timed_every);
        }
        counters.add(ActorCounter::UnrollsCommitted, 1);
        counters.add(ActorCounter::FramesActed, (filled.steps * envs) as u64);
        counters.add(ActorCounter::Episodes, filled.ended);
        if let Some(times) = &filled.times {
            counters.add_time(ActorCounter::EnvNs, times.env * self.timed_every);
            counters.add_time(ActorCounter::InferNs, times.infer * self.timed_every);
            self.timed_every = if times.env + times.infer < LONG { TIMED_EVERY } else { 1 };
        }
    }
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

/// What one vector step borrows from the loop.
struct Step<'a, 'm> {
    env: &'a mut dyn VectorEnv,
    policy: &'a mut dyn Policy,
    sampler: &'a mut ActionSampler,
    counters: &'a ActorCounters<'m>,
    spec: &'a EnvSpec,
    version: u64,
}

impl Step<'_, '_> {
    /// Acts on observation `t` and writes observation `t + 1`; gives the number of episodes that ended.
    fn take(
        self,
        t: usize,
        group: &mut GroupMut<'_>,
        history: &mut History,
        logits: &mut [f32],
        times: Option<&mut Times>,
    ) -> Result<u64, ActorError> {
        let step = group.step(t);
        self.counters.set_phase(Phase::Infer);
        self.counters.add(ActorCounter::Progress, 1);
        let started = times.is_some().then(Instant::now);
        let rows = &step.rows;
        let inputs = ActInputs {
            observations: StackedFrames::of_step(
                &self.spec.observation,
                rows,
                history.frames.valid(),
            ),
            flags: step.flags,
            last_actions: &history.actions,
            last_rewards: &history.rewards,
        };
        self.policy.logits(&inputs, logits).map_err(|error| match error {
            ActError::Closed => ClaimError::Closed.into(),
            error => ActorError::from(error),
        })?;
        if !self.sampler.sample(logits, step.mask, step.actions, step.log_probs) {
            return Err(ActorError::Logits { version: self.version });
        }
        let acted = times.is_some().then(Instant::now);
        self.counters.set_phase(Phase::Step);
        let out = StepOut {
            frames: step.next_frame,
            rewards: step.rewards,
            flags: step.next_flags,
            masks: step.next_mask,
        };
        self.env.step(self.sampler.applied(step.actions), out)?;
        if let Some(env) = checks::first_not_finite(step.rewards) {
            return Err(ActorError::NotFinite { env, what: "a reward", step: t });
        }
        checks::observations(
            self.spec,
            step.next_frame,
            step.next_mask,
            step.next_flags,
            "an observation",
            t,
        )?;
        let ended = history.advance(
            step.actions,
            step.rewards,
            step.next_flags,
            step.next_returns,
            step.next_lengths,
        );
        if let (Some(times), Some(started), Some(acted)) = (times, started, acted) {
            times.infer += acted - started;
            times.env += acted.elapsed();
        }
        Ok(ended)
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
