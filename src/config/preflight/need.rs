//! Computes the resources that a run needs: memory, file descriptors, processes.

use super::MIB;
use crate::config::{Config, Device, Engine, PoolConfig, Schedule, TaskConfig, TorsoName};
use crate::policy::spec::{NetworkSpec, ParamSpec};

/// Buffers of the parameter page, and of the page with the optimizer's state.
const PAGE_BUFFERS: u64 = 4;
/// Vectors as long as the weights that an optimizer keeps.
const OPTIMIZER_VECTORS: u64 = 2;
/// Shared words other than the ring's: counters of a process, and those of the run.
const CONTROL_PER_CHILD_BYTES: u64 = 4096;
const CONTROL_BASE_BYTES: u64 = 64 * 1024;
/// A word of a slot, with its share of whatever belongs to it.
const CONTROL_PER_SLOT_BYTES: u64 = 64;
/// Parts of shared words start on cache lines.
const LINE_BYTES: usize = 64;
/// What a strip of convolutions takes, forwards and backwards, unless a column of it is larger.
const STRIP_BYTES: u64 = 48 * MIB;
/// The supervisor itself: heap, stack, page tables.
const SUPERVISOR_BYTES: u64 = 8 * MIB;

/// Descriptors of the supervisor that do not depend on the pool: standard ones, epoll, signals,
/// timer, memory, files of the run folder, and some for what opens and closes.
const DESCRIPTORS_BASE: u64 = 40;
/// Descriptors of each child: pidfd and both directions of its control channel.
const DESCRIPTORS_PER_CHILD: u64 = 4;

/// Private memory of the Python that steps an actor's environments: numpy, gymnasium, a small environment.
const WORKER_BYTES: u64 = 40 * MIB;
/// Its threads, with one of a vector implementation.
const WORKER_TASKS: u64 = 2;
/// The same with `EnvPool`: measured with `CartPole`, Pong and `HalfCheetah`.
const ENVPOOL_BYTES: u64 = 80 * MIB;
const ENVPOOL_TASKS: u64 = 4;
/// What is on its way between an actor and a server: the same in a sent and a received message, and windows.
const REMOTE_BYTES: u64 = 4 * MIB;

/// Private memory of processes that compute with one engine.
struct Private {
    actor: u64,
    learner: u64,
}

impl Private {
    const fn of(engine: Engine, device: Device) -> Self {
        match (engine, device) {
            (Engine::Native, _) => Self { actor: 4 * MIB, learner: 8 * MIB },
            // Measured: an actor that runs libtorch has about 64 MiB of its own.
            (Engine::Libtorch, Device::Cpu) => Self { actor: 64 * MIB, learner: 256 * MIB },
            // CUDA's own context, on the host's side.
            (Engine::Libtorch, Device::Cuda(_) | Device::CudaOfRank) => {
                Self { actor: 64 * MIB, learner: 2048 * MIB }
            }
        }
    }
}

/// What a run needs. Shared memory counts once, private memory for each process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// The ring: all blocks.
    pub ring_bytes: u64,
    /// The parameter page: four buffers of the weights.
    pub parameter_bytes: u64,
    /// The page on which a learner leaves its optimizer's state to its successor.
    pub optimizer_bytes: u64,
    /// Slot words, counters and the like.
    pub control_bytes: u64,
    /// Private memory of one actor.
    pub actor_bytes: u64,
    /// Private memory of the learner.
    pub learner_bytes: u64,
    /// Private memory of the policy process; 0 if there is none.
    pub policy_bytes: u64,
    /// Actor processes.
    pub actors: u64,
    /// File descriptors of the supervisor, beyond those open now.
    pub descriptors: u64,
    /// Processes and threads, beyond the supervisor.
    pub tasks: u64,
}

impl Need {
    /// The need of `config` with another number of actors and blocks.
    #[must_use]
    pub(super) fn of(config: &Config, actors: usize, blocks: usize) -> Self {
        let pool = &config.pool;
        // An actor has environments, policy and worker of each.
        let groups = pool.groups_per_actor_of(actors.max(1)) as u64;
        let (actors, blocks) = (actors as u64, blocks as u64);
        let slots = blocks * pool.groups_per_block() as u64;
        let size = NetworkSize::of(config);
        let private = Private::of(pool.engine, config.learner.device);
        // Forwards and backwards, for every observation of a batch.
        let rows = (pool.unroll as u64 + 1) * pool.batch as u64;
        let work = rows.saturating_mul(size.activations.saturating_mul(2 * 4));
        let threads = config.learner.threads as u64;
        // Convolutions on a CPU go strip by strip, of one column at least.
        let column =
            (pool.unroll as u64 + 1).saturating_mul(size.activations.saturating_mul(2 * 4));
        let in_strips = pool.engine == Engine::Libtorch
            && config.learner.device == Device::Cpu
            && config.network.torso != TorsoName::Mlp;
        let strips = threads.saturating_mul(column.max(STRIP_BYTES));
        let learner_work = if in_strips { work.min(strips) } else { work };
        // Weights, gradient, two moments, and what is copied on the way out.
        let weights = size.parameters.saturating_mul(4);
        let behind = match pool.schedule {
            Schedule::Async => 0,
            Schedule::Lockstep { lag } => lag as u64 + 1,
        };
        let learner_weights = weights.saturating_mul(6 + behind);
        let actor_work =
            (pool.envs_per_actor as u64).saturating_mul(size.activations.saturating_mul(2 * 4));
        let replay_bytes = config.learner.replay.as_ref().map_or(0, |replay| {
            let kept = pool.layout.written_bytes() as u64;
            (replay.kept_groups as u64)
                .saturating_mul(kept)
                .saturating_add(replay.layout.block_bytes() as u64)
                .saturating_add(weights)
        });
        // Where gradients travel: the unroll that it records, and the way forwards and backwards through it.
        let own_gradients = pool.record.as_ref().map_or(0, |record| {
            let rows = (pool.unroll as u64 + 1).saturating_mul(pool.envs_per_actor as u64);
            (record.block_bytes() as u64)
                .saturating_add(weights.saturating_mul(3))
                .saturating_add(rows.saturating_mul(size.activations.saturating_mul(2 * 4)))
        });
        let threads = threads + if config.learner.device == Device::Cpu { 0 } else { 16 };
        // As if all groups were of the task that needs most.
        let worker = |task: &TaskConfig| match task {
            task if task.options.external.python.is_none() => (0, 0),
            task if crate::grpc::is_remote(&task.id) => (REMOTE_BYTES, 0),
            task if task.id.starts_with("envpool:") => (ENVPOOL_BYTES, ENVPOOL_TASKS),
            _ => (WORKER_BYTES, WORKER_TASKS),
        };
        let (worker_bytes, worker_tasks) =
            config.env.tasks.iter().map(worker).max().unwrap_or_default();
        let central = pool.inference.is_central();
        let board_bytes = if central { board(pool, &config.network.spec(&config.env)) } else { 0 };
        // Weights as they come and as they are used, and the way of all actors' rows through the network.
        let policy_bytes = private
            .actor
            .saturating_add(weights.saturating_mul(2))
            .saturating_add(actors.saturating_mul(actor_work));
        let of_group = actor_work / pool.splits as u64;
        let own_network = if central { 0 } else { weights.saturating_add(of_group) };
        Self {
            ring_bytes: blocks.saturating_mul(pool.layout.block_bytes() as u64),
            parameter_bytes: page(weights),
            optimizer_bytes: page(weights.saturating_mul(OPTIMIZER_VECTORS)),
            control_bytes: CONTROL_BASE_BYTES
                + (actors + 2) * CONTROL_PER_CHILD_BYTES
                + board_bytes
                + slots * CONTROL_PER_SLOT_BYTES,
            actor_bytes: private
                .actor
                .saturating_add(own_gradients)
                .saturating_add(groups.saturating_mul(worker_bytes.saturating_add(own_network))),
            learner_bytes: private
                .learner
                .saturating_add(learner_weights)
                .saturating_add(replay_bytes)
                .saturating_add(learner_work),
            policy_bytes: if central { policy_bytes } else { 0 },
            actors,
            descriptors: DESCRIPTORS_BASE
                + (actors + 1 + u64::from(central)) * DESCRIPTORS_PER_CHILD,
            tasks: u64::from(central)
                + actors
                + threads
                + actors.saturating_mul(groups).saturating_mul(worker_tasks),
        }
    }

    /// Memory of the whole run.
    #[must_use]
    pub(crate) const fn memory_bytes(&self) -> u64 {
        self.ring_bytes
            .saturating_add(self.parameter_bytes)
            .saturating_add(self.optimizer_bytes)
            .saturating_add(self.control_bytes)
            .saturating_add(self.actors.saturating_mul(self.actor_bytes))
            .saturating_add(self.learner_bytes)
            .saturating_add(self.policy_bytes)
            .saturating_add(SUPERVISOR_BYTES)
    }

    /// Private memory of the process that has most of it.
    #[must_use]
    pub(crate) const fn largest_private_bytes(&self) -> u64 {
        if self.learner_bytes > self.actor_bytes { self.learner_bytes } else { self.actor_bytes }
    }
}

/// Bytes of the request board: what an actor asks and is answered for each of its environments.
fn board(pool: &PoolConfig, network: &NetworkSpec) -> u64 {
    let spec = pool.layout.spec();
    let words = 2 + spec.action_words + 2 * spec.state_len + network.action.outputs();
    let desks = (pool.actors * pool.splits) as u64;
    desks.saturating_mul((pool.envs_per_group() * words * 4 + 4 * LINE_BYTES) as u64)
}

/// Bytes of a page of shared words that holds four versions of `content` bytes.
const fn page(content: u64) -> u64 {
    content.saturating_add(4096).saturating_mul(PAGE_BUFFERS)
}

/// Counts of a network.
#[derive(Debug, PartialEq, Eq)]
struct NetworkSize {
    /// Weights and biases.
    parameters: u64,
    /// Numbers computed for one observation, its input included.
    activations: u64,
}

impl NetworkSize {
    fn of(config: &Config) -> Self {
        // One that cannot be laid out is refused with its reason when it is built.
        let spec = ParamSpec::new(&config.network.spec(&config.env));
        spec.map_or(Self { parameters: 0, activations: 0 }, |spec| Self {
            parameters: spec.len() as u64,
            activations: spec.activations() as u64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Settings, resolve};
    use crate::env::Registry;

    fn config(settings: Settings) -> Config {
        resolve::resolve(&settings, &Registry::builtin(), true).expect("valid")
    }

    #[test]
    fn networks_are_counted_by_hand() {
        let cartpole = config(Settings::default());
        let by_hand = (4 * 64 + 64) + (64 * 64 + 64) + (64 * 3 + 3);
        assert_eq!(
            NetworkSize::of(&cartpole),
            NetworkSize { parameters: by_hand, activations: 4 + 64 + 64 + 3 }
        );
        let catch = config(Settings {
            env: Some(vec!["Catch-v0".into()]),
            conv: Some(vec!["8x3/1".parse().expect("valid")]),
            torso: Some(crate::config::TorsoName::Cnn),
            hidden: Some(vec![32]),
            ..Settings::default()
        });
        // 10 x 5 pixels become 8 planes of 8 x 3.
        let by_hand = (8 * 9 + 8) + (8 * 8 * 3 * 32 + 32) + (32 * 4 + 4);
        let activations = 50 + 8 * 8 * 3 + 32 + 4;
        assert_eq!(NetworkSize::of(&catch), NetworkSize { parameters: by_hand, activations });
    }

    #[test]
    fn every_part_of_the_need_grows_with_its_cause() {
        let small = config(Settings { actors: Some(2), blocks: Some(4), ..Settings::default() });
        let need = Need::of(&small, 2, 4);
        let block = small.pool.layout.block_bytes() as u64;
        assert_eq!(need.ring_bytes, 4 * block);
        let more = Need::of(&small, 4, 8);
        assert_eq!(more.ring_bytes, 8 * block);
        assert_eq!(
            more.memory_bytes() - need.memory_bytes(),
            4 * block + 2 * need.actor_bytes + more.control_bytes - need.control_bytes
        );
        assert_eq!((more.tasks - need.tasks, more.descriptors - need.descriptors), (2, 8));
        let torch = config(Settings {
            engine: Some(crate::config::EngineChoice::Libtorch),
            ..Settings::default()
        });
        assert!(Need::of(&torch, 4, 4).actor_bytes >= 64 * MIB);
    }
}
