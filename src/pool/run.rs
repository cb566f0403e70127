//! The run as the supervisor drives it: what each child runs, what is taken back after a death, what is logged.

mod recording;
mod trial;

use std::time::{Duration, Instant};

use recording::Sample;
pub(super) use trial::TrialClock;

use super::chaos::Chaos;
use super::console::Console;
use super::hangs::{HangDetector, Heartbeat, Limits};
use super::metrics_log::MetricsLog;
use super::never_works::NeverWorks;
use super::peers::Peers;
use super::processes::Processes;
use super::published::save_published;
use super::reproducible::{Course, why_not};
use super::roles::{RunContext, run_actor, run_learner, run_policy};
use super::status::Status as StatusBoard;
use super::summary::{
    InferenceSummary, InjectedFaults, SlotCountsSummary, Status, Summary, TaskSummary,
};
use super::tensorboard::TensorBoard;
use super::tracebacks::Tracebacks;
use crate::config::OnBadEnv;
use crate::env::reference::mean_scores;
use crate::learner::checkpoint::weights_sha256;
use crate::metrics::{
    ActorCounter, FaultsRecord, LearnerCounter, MetricsRecord, Phase, PolicyCounter, RANKS_FILE,
    RankRecord,
};
use crate::policy::simd;
use crate::ring::CrashRecord;
use crate::supervisor::{
    ChildControl, ChildStatus, Dead, ExitKind, Level, Outcome, Pool, PoolCorrupt, PoolStatus,
    Reclaimed, Role, Verdict,
};

/// Sees each line of metrics.
pub(super) struct OnMetrics(Box<dyn FnMut(&MetricsRecord)>);

impl OnMetrics {
    pub(super) fn new(look: impl FnMut(&MetricsRecord) + 'static) -> Self {
        Self(Box::new(look))
    }
}

/// The supervisor's side of a run.
pub(super) struct Run {
    pub(super) run_context: RunContext,
    console: Console,
    crashes: CrashRecord,
    metrics: MetricsLog,
    tensorboard: TensorBoard,
    board: StatusBoard,
    processes: Processes,
    began: Instant,
    /// Sample of the last line of metrics.
    last: Sample,
    /// Sample of the last line on the console.
    shown: Sample,
    /// When the kernel was last asked, and when the board was last written.
    sampled_at: Option<Instant>,
    published_at: Option<Instant>,
    /// Sample a little while ago, for the rate on a live terminal.
    recent: Sample,
    restarts: u64,
    time_is_up: bool,
    chaos: Option<Chaos>,
    hangs: HangDetector,
    pub(super) faults: FaultsRecord,
    /// Actors that have panicked, until they are reclaimed.
    panicked: Vec<Role>,
    tracebacks: Tracebacks,
    never_works: NeverWorks,
    /// If there are other ranks.
    peers: Option<Peers>,
    /// Why the run cannot go on.
    must_stop: Option<(ExitKind, String)>,
    on_metrics: Option<OnMetrics>,
    /// If it is to be measured for a while and to end then.
    pub(super) trial: Option<TrialClock>,
}

impl Run {
    pub(super) fn new(
        run_context: RunContext,
        console: Console,
        board: StatusBoard,
        chaos: Option<Chaos>,
        on_metrics: Option<OnMetrics>,
    ) -> Self {
        let shape = crate::ring::RingShape {
            blocks: run_context.config.pool.blocks,
            groups: run_context.config.pool.groups_per_block(),
        };
        let metrics = MetricsLog::open(&run_context.run_dir, &console);
        let began = Instant::now();
        let frames = run_context.memory.learner().get(LearnerCounter::Frames);
        let run = &run_context.config.run;
        let (run_dir, actors) = (&run_context.run_dir, run_context.config.pool.actors);
        let tensorboard = TensorBoard::open(run.tensorboard, run_dir, actors, frames, &console);
        let now = Sample { at: began, frames, frames_acted: 0, lag_sum: 0, unrolls: 0 };
        let tracebacks = Tracebacks::new(run.quiet, run_dir.path());
        let peers = run_context.rank.map(Peers::new);
        let hangs = HangDetector::new(Limits::new(&run_context.config.faults));
        Self {
            run_context,
            console,
            crashes: CrashRecord::new(shape),
            metrics,
            tensorboard,
            board,
            processes: Processes::new(),
            began,
            last: now,
            shown: now,
            sampled_at: None,
            published_at: None,
            recent: now,
            restarts: 0,
            time_is_up: false,
            chaos,
            hangs,
            faults: FaultsRecord::default(),
            panicked: Vec::new(),
            tracebacks,
            never_works: NeverWorks::default(),
            peers,
            must_stop: None,
            on_metrics,
            trial: None,
        }
    }

    fn beat(&self, child: &ChildStatus) -> Heartbeat {
        let memory = &self.run_context.memory;
        let (phase, progress) = match child.role {
            Role::Learner => {
                let learner = memory.learner();
                (learner.phase(), learner.get(LearnerCounter::Progress))
            }
            Role::Actor(index) => {
                let actor = memory.actor(usize::from(index));
                (actor.phase(), actor.get(ActorCounter::Progress))
            }
            Role::Policy => {
                let policy = memory.policy();
                (policy.phase(), policy.get(PolicyCounter::Progress))
            }
        };
        let ChildStatus { role, state, incarnation, .. } = *child;
        Heartbeat { role, state, incarnation, phase, progress }
    }

    /// The phase in which a process died. The next one begins anew.
    fn last_phase(&self, role: Role) -> Option<Phase> {
        let memory = &self.run_context.memory;
        match role {
            Role::Learner => {
                let learner = memory.learner();
                let last = learner.phase();
                learner.set_phase(Phase::Init);
                last
            }
            Role::Actor(index) => {
                let actor = memory.actor(usize::from(index));
                let last = actor.phase();
                actor.set_phase(Phase::Init);
                last
            }
            Role::Policy => {
                let policy = memory.policy();
                let last = policy.phase();
                policy.set_phase(Phase::Init);
                last
            }
        }
    }

    /// If the last learner died without saving, saves what it published.
    pub(super) fn save_what_is_left(&self, outcome: &mut Outcome) {
        // Checkpoints are rank 0's.
        if self.run_context.is_other_rank() {
            return;
        }
        let learner_is_stuck = outcome.unkillable.contains(&Role::Learner);
        // Where no environment has worked, nothing was learnt.
        if matches!(outcome.exit, ExitKind::Finished | ExitKind::NoEnvWorks)
            || (outcome.exit == ExitKind::LeftBehind && !learner_is_stuck)
        {
            return;
        }
        match save_published(&self.run_context) {
            Ok(Some(path)) => {
                self.console.warn(&format!("saved the last published weights: {}", path.display()));
                if outcome.exit == ExitKind::CheckpointNotWritten {
                    outcome.exit = ExitKind::Finished;
                }
            }
            Ok(None) => {}
            Err(error) => self.console.warn(&format!("nothing more could be saved: {error}")),
        }
    }

    /// Says of a run whose actors died of their environments that none of these ever worked.
    pub(super) fn name_the_cause(&mut self, outcome: &mut Outcome) {
        self.never_works.name(outcome, &self.run_context);
    }

    /// Takes the live line away and sums the run up.
    pub(super) fn finish(&mut self, outcome: &Outcome) -> Summary {
        let now = self.sample();
        let progress = self.progress_since(&now, &self.last);
        self.write(&progress);
        self.console.finish();
        let memory = &self.run_context.memory;
        let config = &self.run_context.config;
        let learner = memory.learner();
        let reached = learner.get(LearnerCounter::TargetReached) != 0;
        let frames = now.frames;
        let wall_s = self.run_context.started.elapsed().as_secs_f64();
        let moment = |word| {
            let at = Duration::try_from_secs_f64(learner.get_f64(word)).ok()?;
            (!at.is_zero()).then(|| self.run_context.started + at)
        };
        let first = moment(LearnerCounter::FirstFrameS);
        let last = moment(LearnerCounter::LastFrameS);
        let first_after = first.map(|at| at.saturating_duration_since(self.run_context.launched));
        // The ring's own counts, which no death makes inexact: everybody was reaped.
        let counts = memory.ring().map(|ring| ring.slot_counts());
        let left = memory.ring().and_then(|ring| ring.occupancy()).unwrap_or_default();
        let in_ring = (left.ready + left.held) as u64;
        let actors = |counter| {
            let indices = 0..config.pool.actors;
            indices.map(|index| memory.actor(index).get(counter)).sum::<u64>()
        };
        let abandoned = counts.as_ref().map_or(0, |counts| counts.reclaimed + counts.dropped);
        let status = match outcome.exit {
            ExitKind::Finished if reached => Status::Solved,
            ExitKind::Finished if frames >= config.stop.total_frames => Status::Finished,
            ExitKind::Finished if self.time_is_up => Status::TimeLimit,
            ExitKind::Finished => Status::Interrupted,
            _ => Status::Failed,
        };
        let actor_restarts = outcome.actor_restarts.iter().map(|&n| u64::from(n)).sum();
        let learner_restarts = u64::from(outcome.learner_restarts);
        let course = Course {
            actor_restarts,
            learner_restarts,
            env_errors: actors(ActorCounter::EnvErrors),
            pages_unread: actors(ActorCounter::ParamBusy),
            resumes: self.run_context.resumes(),
            ranks: self.run_context.rank.map_or(1, |rank| rank.size as u64),
        };
        let because = why_not(&config.pool, status, course);
        let weights_sha256 = weights_sha256(&self.run_context.run_dir.checkpoints());
        let weights_sha256 = weights_sha256.unwrap_or_else(|error| {
            self.console.warn(&error.to_string());
            None
        });
        let per_frame =
            |count: u64, bytes: usize| ratio(count.saturating_mul(bytes as u64), frames);
        let group_bytes = config.pool.layout.written_bytes();
        let weight_bytes = 4 * self.run_context.parameters.len();
        let tasks: Vec<_> = (config.env.tasks.iter().enumerate())
            .map(|(index, task)| TaskSummary::of(&task.id, &memory.task(index)))
            .collect();
        let scores = mean_scores(tasks.iter().map(|task| task.score));
        Summary {
            run_dir: self.run_context.run_dir.path().to_owned(),
            status,
            reason: outcome.reason.clone(),
            env: config.env.id.clone(),
            frames,
            updates: learner.get(LearnerCounter::Updates),
            episodes: learner.get(LearnerCounter::Episodes),
            wall_s,
            frames_per_s: frames as f64 / wall_s,
            return_mean_100: self.return_mean(),
            frames_to_target: reached.then(|| learner.get(LearnerCounter::FramesToTarget)),
            seconds_to_target: reached.then(|| learner.get_f64(LearnerCounter::SecondsToTarget)),
            start_to_first_frame_s: first_after.map(|time| time.as_secs_f64()),
            last_frame_to_summary_s: last.map(|at| at.elapsed().as_secs_f64()),
            actor_restarts,
            learner_restarts,
            unrolls_produced: counts.as_ref().map_or(0, |b| b.consumed + b.dropped) + in_ring,
            unrolls_in_ring: in_ring,
            unrolls_consumed: counts.as_ref().map_or(0, |counts| counts.consumed),
            unrolls_abandoned: abandoned,
            unrolls_requeued: counts.as_ref().map_or(0, |counts| counts.requeued),
            unrolls_poisonous: counts.as_ref().map_or(0, |counts| counts.dropped),
            unrolls_overwritten: actors(ActorCounter::UnrollsDropped),
            env_errors: course.env_errors,
            env_panics: self.faults.env_panics,
            hang_kills: self.faults.hang_kills,
            unkillable: outcome.unkillable.iter().map(ToString::to_string).collect(),
            slot_counts: counts.map(SlotCountsSummary::new).unwrap_or_default(),
            faults: self.chaos.as_ref().map(|chaos| InjectedFaults::new(chaos.tally(), abandoned)),
            tuned: None,
            params_published: learner.get(LearnerCounter::ParamsPublished),
            policy_lag_mean: ratio(now.lag_sum, now.unrolls),
            inference: config.pool.inference.is_central().then(|| {
                let restarts = u64::from(outcome.policy_restarts);
                let answers = actors(ActorCounter::AnswerWaitNs);
                InferenceSummary::of(
                    &memory.policy(),
                    (restarts, answers, self.began.elapsed().as_secs_f64()),
                )
            }),
            ring_bytes_per_frame: per_frame(
                learner.get(LearnerCounter::UnrollsConsumed),
                group_bytes,
            ),
            weight_bytes_per_frame: per_frame(
                actors(ActorCounter::ParamRefreshes)
                    + memory.policy().get(PolicyCounter::ParamRefreshes),
                weight_bytes,
            ),
            weights_sha256,
            vectors: simd::Level::active().name(),
            ranks: self.ranks(),
            reproducible: because.is_none(),
            because,
            score_mean: scores.map(|[mean, _]| mean),
            score_mean_capped: scores.map(|[_, capped]| capped),
            tasks,
        }
    }

    /// What the learner has written of all ranks.
    fn ranks(&self) -> Vec<RankRecord> {
        if self.peers.is_none() || self.run_context.is_other_rank() {
            return Vec::new();
        }
        let text = std::fs::read_to_string(self.run_context.run_dir.path().join(RANKS_FILE));
        text.ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
    }

    pub(super) const fn console(&self) -> &Console {
        &self.console
    }
}

impl Pool for Run {
    fn run_child(&mut self, role: Role, incarnation: u16, mut control: ChildControl) -> ExitKind {
        self.board.disown();
        match role {
            Role::Learner => run_learner(&self.run_context, incarnation, &mut control),
            Role::Actor(index) => run_actor(&self.run_context, index, incarnation, &control),
            Role::Policy => run_policy(&self.run_context, incarnation, &control),
        }
    }

    fn request_stop(&mut self) {
        // A ring of an impossible shape was refused before the first fork.
        let _it_has_a_shape = self.run_context.memory.close();
    }

    fn reclaim(&mut self, dead: &Dead) -> Result<Reclaimed, PoolCorrupt> {
        let (role, incarnation) = (dead.role(), dead.incarnation());
        let corrupt = |error: crate::ring::RingError| PoolCorrupt { what: error.to_string() };
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let progress = self.progress(role);
        if let Some(chaos) = &mut self.chaos {
            chaos.reaped(role, incarnation, progress);
        }
        let last = self.last_phase(role);
        let panics = self.panicked.len();
        self.panicked.retain(|&panicked| panicked != role);
        if self.panicked.len() < panics && last.is_some_and(Phase::is_env) {
            self.faults.env_panics += 1;
            self.never_works.died(role);
            if self.run_context.config.faults.on_bad_env == OnBadEnv::Fail {
                let reason = format!("{role}: an environment panicked");
                self.must_stop = Some((ExitKind::EnvFault, reason));
            }
        }
        let phase = last.map(Phase::name);
        let memory = &self.run_context.memory;
        match role {
            Role::Actor(_) => {
                let freed = memory.actor_died(dead).map_err(corrupt)?;
                Ok(Reclaimed { freed: count(freed), phase, ..Reclaimed::default() })
            }
            Role::Learner => {
                let loss = memory.learner_died(dead, &mut self.crashes).map_err(corrupt)?;
                Ok(Reclaimed {
                    requeued: count(loss.requeued),
                    dropped: count(loss.dropped),
                    phase,
                    ..Reclaimed::default()
                })
            }
            // It held nothing: questions stay where they are.
            Role::Policy => Ok(Reclaimed { phase, ..Reclaimed::default() }),
        }
    }

    fn progress(&self, role: Role) -> u64 {
        match role {
            Role::Learner => self.run_context.memory.learner().get(LearnerCounter::Updates),
            Role::Actor(index) => self
                .run_context
                .memory
                .actor(usize::from(index))
                .get(ActorCounter::UnrollsCommitted),
            Role::Policy => self.run_context.memory.policy().get(PolicyCounter::Requests),
        }
    }

    fn panicked(&mut self, role: Role) {
        if matches!(role, Role::Actor(_)) {
            self.panicked.push(role);
        }
    }

    fn tick(&mut self, status: &PoolStatus) -> Verdict {
        if let Some(mut chaos) = self.chaos.take() {
            chaos.tick(status, |role| self.progress(role));
            self.chaos = Some(chaos);
        }
        self.restarts = status.children.iter().map(|child| u64::from(child.restarts)).sum();
        let now = self.sample();
        self.console.tick(&self.progress_since(&now, &self.recent));
        if now.at - self.recent.at > Duration::from_secs(1) {
            self.recent = now;
        }
        self.record(&now, status);
        if !status.stopping
            && let Some(verdict) = self.look_at_trial(&now, status)
        {
            return verdict;
        }
        let limit = self.run_context.config.stop.time_limit_s;
        if !status.stopping && limit.is_some_and(|limit| status.uptime.as_secs_f64() >= limit) {
            self.time_is_up = true;
            if let Some(reason) = self.never_works.at_end(&self.run_context) {
                return Verdict::Stop { exit: ExitKind::NoEnvWorks, reason };
            }
            return Verdict::Stop {
                exit: ExitKind::Finished,
                reason: "the time limit was reached".into(),
            };
        }
        if let Some((exit, reason)) = self.must_stop.take() {
            return Verdict::Stop { exit, reason };
        }
        let phase = self.run_context.memory.learner().phase();
        if let Some(peers) = &mut self.peers
            && let Some(verdict) = peers.look(status, phase)
        {
            if let Verdict::Stop { reason, .. } = &verdict {
                self.console.warn(reason);
            }
            return verdict;
        }
        if !status.stopping
            && let Some(reason) = self.never_works.look(&self.run_context)
        {
            return Verdict::Stop { exit: ExitKind::NoEnvWorks, reason };
        }
        let beats: Vec<Heartbeat> = status.children.iter().map(|child| self.beat(child)).collect();
        // At a stop others count the time.
        match self.hangs.look(status.uptime, status.gap.is_some(), beats.into_iter()) {
            Some(hang) if !status.stopping => {
                self.faults.hang_kills += 1;
                if hang.phase.is_some_and(Phase::is_env) {
                    self.never_works.died(hang.role);
                }
                Verdict::Kill { role: hang.role, reason: hang.reason() }
            }
            _ => Verdict::Continue,
        }
    }

    fn log(&mut self, level: Level, line: &str) {
        match level {
            Level::Debug => {}
            Level::Info => self.console.line(line),
            Level::Warn | Level::Error => self.console.warn(&self.tracebacks.once(line)),
        }
    }
}

fn ratio(sum: u64, count: u64) -> f64 {
    if count == 0 { 0.0 } else { sum as f64 / count as f64 }
}
