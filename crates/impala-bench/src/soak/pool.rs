//! One supervised pool of `impala-soak`: the product's supervisor and memory, the injected faults, and the report on
//! what followed.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use super::args::PoolArgs;
use super::counts::{Balance, add_up, balance, unrolls_in};
use super::env::{ID, PatternEnv};
use super::error::ProofError;
use super::pattern::Incarnation;
use super::record::{Count, Record};
use super::report::{Percentiles, PoolReport};
use super::roles;
use super::vitals::Vitals;
use impala_rl::config::{Config, EngineChoice, Exchange, InferenceName, Settings};
use impala_rl::env::Registry;
use impala_rl::metrics::{ActorCounter, LearnerCounter, PolicyCounter};
use impala_rl::policy::spec::{Activation, NetworkSpec, ParamSpec, Torso};
use impala_rl::pool::chaos::{CHAOS_TICK, Chaos};
use impala_rl::pool::{MemoryPlan, PoolMemory};
use impala_rl::ring::{CrashRecord, RingError, RingShape, State};
use impala_rl::shm::Region;
use impala_rl::supervisor::{
    ChildControl, ChildState, CleanupTarget, Dead, ExitKind, Level, Options, Outcome, Pool,
    PoolCorrupt, PoolStatus, Reclaimed, Role, Supervisor, Verdict, children_of,
};

/// G.
const GROUPS: usize = 2;
/// K: room for some hundred unrolls.
const BLOCKS: usize = 64;
/// Nothing that is alive stands still for so long.
const HANGS_AFTER: Duration = Duration::from_secs(30);

/// What every process of the pool knows.
#[derive(Debug)]
pub(super) struct World {
    pub(super) config: Config,
    pub(super) memory: PoolMemory,
    pub(super) parameters: ParamSpec,
    pub(super) record: Record,
    pub(super) checkpoints: PathBuf,
    pub(super) seed: u64,
}

impl World {
    fn new(args: &PoolArgs) -> Result<Self, ProofError> {
        let mut registry = Registry::empty();
        PatternEnv::register(&mut registry);
        let settings = Settings {
            env: Some(vec![ID.into()]),
            actors: Some(args.actors.into()),
            envs_per_actor: Some(3),
            unroll: Some(6),
            batch: Some(GROUPS * 3),
            // With few, actors on a busy machine mostly wait for the learner's turn, and hold nothing
            // when they are killed.
            blocks: Some(BLOCKS),
            hidden: Some(vec![8]),
            engine: Some(EngineChoice::Native),
            exchange: args.gradients.then_some(Exchange::Gradients),
            inference: args.central.then_some(InferenceName::Central),
            gradients_per_update: args.gradients.then_some(GROUPS),
            ..Settings::default()
        };
        let config = Config::resolve(&settings, &registry)?;
        let spec = &config.env.spec;
        let torso = Torso::Mlp { hidden: vec![8], activation: Activation::Tanh };
        let network = NetworkSpec::new(spec.observation.clone(), spec.action.clone(), torso);
        let parameters = ParamSpec::new(&network)?;
        let slots = config.pool.slots();
        let memory = PoolMemory::create(MemoryPlan::new(&config, parameters.len()))?;
        memory.lay_out_page(&parameters)?;
        Ok(Self {
            memory,
            record: Record::create(slots, config.pool.actors)?,
            checkpoints: args.folder.join("checkpoints"),
            parameters,
            config,
            seed: args.seed,
        })
    }
}

/// Runs a pool and prints its [`PoolReport`] as one line of JSON.
pub(super) fn run(args: &PoolArgs) -> Result<(), ProofError> {
    let tick = if args.chaos.is_some() { CHAOS_TICK } else { Duration::from_millis(20) };
    let options = Options {
        policy_process: args.central,
        seed: args.seed,
        tick,
        ..Options::new(args.actors)
    };
    let mut supervisor = Supervisor::new(options)?;
    std::fs::create_dir_all(args.folder.join("checkpoints"))
        .map_err(ProofError::io("make the folder of checkpoints"))?;
    supervisor.guard(CleanupTarget::TempFiles(args.folder.join("checkpoints")))?;
    let mut pool = ProofPool::new(World::new(args)?, args)?;
    let outcome = supervisor.run(&mut pool);
    let report = pool.report(&outcome)?;
    let text = serde_json::to_string(&report).unwrap_or_default();
    writeln!(io::stdout(), "{text}").map_err(ProofError::io("print the report"))
}

/// The supervisor's side of a pool.
struct ProofPool {
    world: World,
    payload: Region,
    crashes: CrashRecord,
    chaos: Option<Chaos>,
    seconds: f64,
    restarts: Option<u64>,
    started: Instant,
    /// Incarnations that are over, with the unrolls that each counted.
    commits: Vec<(Incarnation, u64)>,
    /// The counter of each actor when its last writer ended.
    counted: Vec<u64>,
    to_free: Vec<Duration>,
    to_commit: Vec<Duration>,
    identity: [u64; 3],
    unsettled: bool,
    /// When each role was seen to move, the learner first.
    moved: Vec<(u64, Duration)>,
    hangs: u64,
    /// The learner's progress when the last writer of one began, and when it ended.
    learner_progress: [u64; 2],
    vitals: Vitals,
}

impl ProofPool {
    fn new(world: World, args: &PoolArgs) -> Result<Self, ProofError> {
        let pool = &world.config.pool;
        let shape = RingShape { blocks: pool.blocks, groups: pool.groups_per_block() };
        let actors = pool.actors;
        Ok(Self {
            // Read here and nowhere else in a supervisor: to name what a dead learner held.
            payload: world.memory.payload_to_read()?,
            crashes: CrashRecord::new(shape),
            chaos: args.chaos.map(|spec| Chaos::new(spec, args.actors, args.central)),
            seconds: args.seconds,
            restarts: args.restarts,
            started: Instant::now(),
            commits: Vec::with_capacity(1 << 14),
            counted: vec![0; actors],
            to_free: Vec::with_capacity(1 << 14),
            to_commit: Vec::with_capacity(1 << 14),
            identity: [0; 3],
            unsettled: false,
            moved: vec![(0, Duration::ZERO); actors + 1 + usize::from(args.central)],
            hangs: 0,
            learner_progress: [0; 2],
            vitals: Vitals::default(),
            world,
        })
    }

    /// Evaluates the identity; `again`: an earlier evaluation waits for its answer.
    fn check_slot_counts(&mut self, again: bool) -> Result<(), RingError> {
        let [checks, waited, broken] = &mut self.identity;
        *checks += u64::from(!again);
        self.unsettled = false;
        match balance(&self.world.memory.ring()?) {
            Balance::Exact => {}
            Balance::Unsettled => {
                *waited += u64::from(!again);
                self.unsettled = true;
            }
            Balance::Broken(counts) => {
                *broken += 1;
                let _closed_is_fine = writeln!(io::stderr(), "identity broken: {counts:?}");
            }
        }
        Ok(())
    }

    fn learner_died(&mut self, dead: &Dead) -> Result<Reclaimed, RingError> {
        let World { memory, config, record, .. } = &self.world;
        let (ring, layout) = (memory.ring()?, &config.pool.layout);
        let held = unrolls_in(&ring, &self.payload, layout, State::Held)?;
        let loss = memory.learner_died(dead, &mut self.crashes)?;
        for (slot, writer, sequence) in held {
            if ring.slot_word(slot)?.state == State::Ready {
                record.may_come_again(slot);
            } else {
                record.thrown_away(writer, sequence);
            }
        }
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Ok(Reclaimed {
            requeued: count(loss.requeued),
            dropped: count(loss.dropped),
            ..Reclaimed::default()
        })
    }

    fn end_incarnation(&mut self, index: u16, incarnation: u16) {
        let actor = usize::from(index);
        let counter = self.world.memory.actor(actor).get(ActorCounter::UnrollsCommitted);
        let writer = Incarnation { actor: index, incarnation };
        let commits = counter - self.counted[actor];
        self.commits.push((writer, commits));
        // It may have died between a commit and its count.
        self.world.record.end(writer, commits + 1);
        self.counted[actor] = counter;
    }

    /// Whether somebody who should move does not.
    fn look_for_hangs(&mut self, status: &PoolStatus) -> Option<String> {
        let mut stuck = None;
        for (index, child) in status.children.iter().enumerate() {
            let now = self.progress(child.role);
            let (before, since) = &mut self.moved[index];
            let busy = matches!(child.state, ChildState::Starting | ChildState::Running);
            if *before != now || !busy || status.gap.is_some() {
                (*before, *since) = (now, status.uptime);
            } else if status.uptime.saturating_sub(*since) > HANGS_AFTER {
                stuck = Some(format!("{} has not moved for {HANGS_AFTER:?}", child.role));
            }
        }
        stuck
    }

    fn idle_at_end(&self) -> u64 {
        let last = |index: u16| {
            self.commits.iter().rev().find(|(writer, _)| writer.actor == index).map(|&(_, n)| n)
        };
        let actors = (0..self.counted.len()).filter_map(|index| last(u16::try_from(index).ok()?));
        let idle = actors.filter(|&commits| commits == 0).count() as u64;
        idle + u64::from(self.learner_progress[0] == self.learner_progress[1])
    }

    fn report(&mut self, outcome: &Outcome) -> Result<PoolReport, ProofError> {
        if self.unsettled {
            self.check_slot_counts(true)?;
        }
        let World { memory, config, record, .. } = &self.world;
        let ring = memory.ring()?;
        let left = unrolls_in(&ring, &self.payload, &config.pool.layout, State::Ready)?;
        let left: Vec<_> =
            left.into_iter().map(|(_, writer, sequence)| (writer, sequence)).collect();
        let sum = add_up(record, &self.commits, &left);
        let counts = ring.slot_counts();
        let agree = counts.consumed + counts.dropped + sum.left == sum.unrolls;
        let tally = self.chaos.as_ref().map(Chaos::tally).unwrap_or_default();
        let (early, late) = self.vitals.early_and_late();
        Ok(PoolReport {
            ended: outcome.exit.to_string(),
            reason: outcome.reason.clone(),
            seconds: self.started.elapsed().as_secs_f64(),
            actors_killed: tally.actors_killed,
            learners_killed: tally.learners_killed,
            actors_stopped: tally.actors_stopped,
            policies_killed: tally.policies_killed,
            policies_stopped: tally.policies_stopped,
            recovered: tally.recovered,
            overtaken: tally.overtaken,
            open_at_end: tally.open_at_end,
            actor_restarts: outcome.actor_restarts.iter().map(|&n| u64::from(n)).sum(),
            learner_restarts: u64::from(outcome.learner_restarts),
            policy_restarts: u64::from(outcome.policy_restarts),
            hangs: self.hangs,
            incarnations: sum.incarnations,
            idle_at_end: self.idle_at_end(),
            unrolls: sum.unrolls,
            bytes_checked: record.get(Count::BytesChecked),
            bytes_wrong: record.get(Count::BytesWrong),
            sequences_lost: sum.lost,
            sequences_doubled: record.get(Count::Duplicates),
            sequences_invented: record.get(Count::Impossible) + sum.invented,
            sequences_repeated: record.get(Count::Repeats),
            in_flight_lost: counts.reclaimed,
            dropped: counts.dropped,
            identity_checks: self.identity[0],
            identity_waited: self.identity[1],
            identity_broken: self.identity[2] + u64::from(!counts.holds()),
            counters_agree: agree,
            weights_read: record.get(Count::WeightsRead),
            weights_torn: record.get(Count::WeightsTorn),
            answers: record.get(Count::Answers),
            answers_wrong: record.get(Count::AnswersWrong),
            checkpoints_saved: record.get(Count::CheckpointsSaved),
            checkpoints_read: record.get(Count::CheckpointsRead),
            checkpoints_bad: record.get(Count::CheckpointsBad),
            kill_to_free: Percentiles::of(std::mem::take(&mut self.to_free)),
            kill_to_commit: Percentiles::of(std::mem::take(&mut self.to_commit)),
            descriptors: [early[0], late[0]],
            resident_kib: [early[1], late[1]],
            zombies: self.vitals.zombies(),
            // The janitor is on duty until the supervisor is dropped.
            left_behind: (children_of(Pid::this()).len() as u64).saturating_sub(1),
        })
    }
}

fn corrupt(error: RingError) -> PoolCorrupt {
    PoolCorrupt { what: error.to_string() }
}

fn restarts_of(status: &PoolStatus) -> u64 {
    let actors = status.children.iter().filter(|child| matches!(child.role, Role::Actor(_)));
    actors.map(|child| u64::from(child.restarts)).sum()
}

impl Pool for ProofPool {
    fn run_child(&mut self, role: Role, incarnation: u16, mut control: ChildControl) -> ExitKind {
        let played = match role {
            Role::Learner => roles::learn(&self.world, &mut control),
            Role::Actor(index) => roles::act(&self.world, index, incarnation, &control),
            Role::Policy => roles::answer(&self.world, incarnation, &control),
        };
        match played {
            Ok(()) => ExitKind::Finished,
            Err(error) => {
                control.failed(&error.to_string(), false);
                ExitKind::Internal
            }
        }
    }

    fn request_stop(&mut self) {
        // A ring of an impossible shape was refused before the first fork.
        let _it_has_a_shape = self.world.memory.close();
    }

    fn reclaim(&mut self, dead: &Dead) -> Result<Reclaimed, PoolCorrupt> {
        let (role, incarnation) = (dead.role(), dead.incarnation());
        let progress = self.progress(role);
        let hit = self.chaos.as_mut().and_then(|chaos| chaos.reaped(role, incarnation, progress));
        let reclaimed = match role {
            Role::Learner => {
                self.learner_progress = [self.learner_progress[1], progress];
                self.learner_died(dead).map_err(corrupt)?
            }
            Role::Actor(index) => {
                self.end_incarnation(index, incarnation);
                let freed = self.world.memory.actor_died(dead).map_err(corrupt)?;
                Reclaimed {
                    freed: u32::try_from(freed).unwrap_or(u32::MAX),
                    ..Reclaimed::default()
                }
            }
            Role::Policy => Reclaimed::default(),
        };
        if let Some(hit) = hit.filter(|_| reclaimed.freed > 0) {
            self.to_free.push(hit.elapsed());
        }
        self.check_slot_counts(false).map_err(corrupt)?;
        Ok(reclaimed)
    }

    fn progress(&self, role: Role) -> u64 {
        match role {
            Role::Learner => self.world.memory.learner().get(LearnerCounter::Updates),
            Role::Actor(index) => {
                self.world.memory.actor(usize::from(index)).get(ActorCounter::UnrollsCommitted)
            }
            Role::Policy => self.world.memory.policy().get(PolicyCounter::Requests),
        }
    }

    fn tick(&mut self, status: &PoolStatus) -> Verdict {
        if let Some(mut chaos) = self.chaos.take() {
            for (role, hit) in chaos.tick(status, |role| self.progress(role)) {
                if matches!(role, Role::Actor(_)) {
                    self.to_commit.push(hit.elapsed());
                }
            }
            self.chaos = Some(chaos);
        }
        if self.unsettled && self.check_slot_counts(true).is_err() {
            self.identity[2] += 1;
        }
        self.vitals.look(status, restarts_of(status));
        if status.stopping {
            return Verdict::Continue;
        }
        if let Some(reason) = self.look_for_hangs(status) {
            self.hangs += 1;
            return Verdict::Stop { exit: ExitKind::Internal, reason };
        }
        let enough = self.restarts.is_some_and(|wanted| restarts_of(status) >= wanted);
        if enough || status.uptime.as_secs_f64() >= self.seconds {
            return Verdict::Stop { exit: ExitKind::Finished, reason: "all time used".into() };
        }
        Verdict::Continue
    }

    fn log(&mut self, level: Level, line: &str) {
        // Deaths are what this is about; only what nobody meant is told.
        let meant = level != Level::Error;
        if !meant {
            let _closed_is_fine = writeln!(io::stderr(), "{line}");
        }
    }
}
