//! The actor process, from the fork to its exit code.

use std::time::{Duration, Instant};

use super::worker_gradient::WorkerGradient;
use super::{
    Ending, RunContext, both_ends, conclude, give_way, internal, own_ring, pin, resources,
};
use crate::actor::{ActorError, ActorLoop, ActorParts, EnvGroup, EnvRemedy, Recorder, Split};
use crate::build;
use crate::config::{OnBadEnv, Returns};
use crate::env::{EnvError, SharedMemory};
use crate::hint::with_hint;
use crate::inference::CentralPolicy;
use crate::metrics::{ActorCounter, ActorCounters, Phase};
use crate::params::{PageMismatch, ParamReader};
use crate::policy::act::Policy;
use crate::pool::memory::Seat;
use crate::ring::{ClaimError, OwnGroups, Owner, Ring};
use crate::rng::Rng;
use crate::shm::{Access, Inherit, futex};
use crate::supervisor::{ChildControl, ExitKind, Level};
use crate::sync::{AtomicU32, ReadWord};
use crate::unroll::{HeapRing, Producer};

/// Streams of the run's seed, one kind of randomness each.
const ENV_STREAM: u64 = 1 << 32;
const ACTION_STREAM: u64 = 2 << 32;

/// An actor tells of no more than one failure of its environments in this time.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// How often an actor looks for the first weights of a run.
const FIRST_LOOK: Duration = Duration::from_millis(2);

pub(in crate::pool) fn run_actor(
    pool: &RunContext,
    index: u16,
    incarnation: u16,
    control: &ChildControl,
) -> ExitKind {
    conclude(act(pool, index, incarnation, control), control)
}

fn act(pool: &RunContext, index: u16, incarnation: u16, control: &ChildControl) -> Ending {
    let config = &pool.config;
    let counters = pool.memory.actor(usize::from(index));
    counters.set_phase(Phase::Init);
    counters.set(ActorCounter::Incarnation, u64::from(incarnation));
    // The learner comes first; actors share the remaining places evenly.
    pin(pool, usize::from(index) + 1);
    give_way(config);

    let splits = config.pool.splits;
    // One for each split: a seat has one slab.
    let seats: Result<Vec<Seat<'_>>, _> =
        (0..splits).map(|_| pool.memory.seat(Access::ReadWrite)).collect();
    let mut seats = seats.map_err(resources)?;
    let on_bad_env = config.faults.on_bad_env;
    let bad_env =
        if on_bad_env == OnBadEnv::Fail { ExitKind::EnvFault } else { ExitKind::EnvFailed };
    let mut groups: Vec<Vec<EnvGroup<'_>>> = (0..splits).map(|_| Vec::new()).collect();
    for (at, place) in config.pool.places(usize::from(index)).enumerate() {
        let split = at % splits;
        let shared = (seats[split].address(), seats[split].len_bytes());
        let asker = usize::from(index) * splits + split;
        let place = u32::try_from(place).map_err(internal)?;
        let group =
            env_group(pool, (asker, incarnation), place, shared, bad_env, (index, &counters))?;
        groups[split].push(group);
        // Many take longer than one may.
        counters.add(ActorCounter::Progress, 1);
    }

    let ring = pool.memory.ring().map_err(internal)?;
    let owner = Owner::new(index, incarnation).map_err(internal)?;
    let page;
    let reader = if config.pool.inference.is_central() {
        // Who answers has them.
        None
    } else {
        page = pool.memory.parameters.map(Access::ReadOnly, Inherit::No).map_err(resources)?;
        let wanted = (pool.parameters.len(), pool.parameters.fingerprint());
        let looks = || counters.set_phase(Phase::Wait);
        let reader = first_weights(page.all_read_words(), wanted, ring, looks);
        let Some(reader) = reader.map_err(internal)? else {
            return Ok(ExitKind::Finished);
        };
        Some(reader)
    };
    let mut record = own_ring(config.pool.record.as_ref())?;
    let recorder = record.as_mut().map(|ring| recorder(pool, owner, ring)).transpose()?;
    let mut parts_of_it = Vec::new();
    for (split, (seat, groups)) in seats.iter_mut().zip(groups).enumerate() {
        let slab = seat.slab().map_err(internal)?;
        let own_groups = OwnGroups {
            first: usize::from(index) + split * config.pool.actors,
            step: splits * config.pool.actors,
        };
        parts_of_it.push(Split {
            producer: Producer::new(slab, owner).map_err(internal)?,
            own_groups: config.pool.schedule.is_lockstep().then_some(own_groups),
            groups,
        });
    }
    let parts = ActorParts {
        splits: parts_of_it,
        recorder,
        reader,
        counters,
        on_failure: Box::new(teller(control)),
        owner,
        unroll: config.pool.unroll,
        parameter_count: pool.parameters.len(),
    };
    let acting = ActorLoop::new(parts);
    control.ready();
    match acting.and_then(|mut acting| acting.run()) {
        Ok(()) => Ok(ExitKind::Finished),
        Err(error) => {
            let exit = match &error {
                ActorError::Commit(_) => ExitKind::Fenced,
                ActorError::Claim(ClaimError::Ring(_)) => ExitKind::Corrupt,
                error if error.is_of_environment() => bad_env,
                _ => ExitKind::Internal,
            };
            Err((exit, error.to_string()))
        }
    }
}

/// Where an actor records its unrolls if their gradients travel.
fn recorder<'p>(
    pool: &'p RunContext,
    owner: Owner,
    ring: &'p mut HeapRing,
) -> Result<Recorder<'p>, (ExitKind, String)> {
    let (producer, consumer) = both_ends(ring, owner)?;
    Ok(Recorder {
        producer,
        consumer,
        source: Box::new(WorkerGradient::new(pool)?),
        whole_episodes: pool.config.learner.returns == Returns::MonteCarlo,
    })
}

/// Number of the streams of random numbers of a place: every incarnation sees other episodes.
fn stream(place: u32, incarnation: u16) -> u64 {
    // Above both kinds of randomness.
    u64::from(incarnation) << 40 | u64::from(place)
}

/// Builds the environments of one place, with what acts in them.
fn env_group<'p>(
    pool: &'p RunContext,
    (asker, incarnation): (usize, u16),
    place: u32,
    (address, len_bytes): (usize, usize),
    bad_env: ExitKind,
    (index, counters): (u16, &ActorCounters<'_>),
) -> Result<EnvGroup<'p>, (ExitKind, String)> {
    let config = &pool.config;
    let task = config.pool.task_of(place as usize);
    let stream = stream(place, incarnation);
    let mut seeds = Rng::new(pool.stream_seed(), ENV_STREAM | stream);
    let envs = config.pool.envs_per_group();
    let log = pool.run_dir.worker_log(index);
    let mut make = move || {
        let log = Some(log.clone());
        let (sizes, place) = ((envs, seeds.next_u64()), (place as usize, log));
        let mut env = build::environments(&config.env, task, &pool.registry, sizes, place)?;
        let file = pool.memory.payload_file();
        env.attach(&SharedMemory { file, address, len_bytes })?;
        Ok(env)
    };
    let env = make().map_err(|e: EnvError| {
        counters.add(ActorCounter::EnvErrors, 1);
        (bad_env, with_hint(&e))
    })?;
    let policy: Box<dyn Policy + 'p> = match pool.memory.board() {
        Some(board) => {
            let ring = pool.memory.ring().map_err(internal)?;
            let counters = pool.memory.actor(usize::from(index));
            Box::new(CentralPolicy::new(board, (asker, incarnation), ring, counters))
        }
        None => build::policy(config.pool.engine, &pool.network, &pool.parameters, envs)
            .map_err(internal)?,
    };
    Ok(EnvGroup {
        env,
        remedy: match config.faults.on_bad_env {
            OnBadEnv::Restart => EnvRemedy::Rebuild(Box::new(make)),
            OnBadEnv::Drop => EnvRemedy::Reset,
            OnBadEnv::Fail => EnvRemedy::Fail,
        },
        policy,
        sampler: build::sampler(config, Rng::new(pool.stream_seed(), ACTION_STREAM | stream)),
        stream: place,
        task: u32::try_from(task).map_err(internal)?,
    })
}

/// Tells the user of failures, but not of each: there may be thousands.
fn teller(control: &ChildControl) -> impl FnMut(&ActorError) {
    let mut next = Instant::now();
    let mut untold = 0_u32;
    move |error| {
        if Instant::now() < next {
            untold = untold.saturating_add(1);
            return;
        }
        let more = if untold == 0 { String::new() } else { format!(" ({untold} more before)") };
        let error = error.to_string();
        // A traceback follows its headline.
        let (head, rest) = error.split_at(error.find('\n').unwrap_or(error.len()));
        control.log(Level::Warn, &format!("{head}{more}; the unroll is dropped{rest}"));
        (next, untold) = (Instant::now() + TELL_EVERY, 0);
    }
}

/// Waits until a learner of this run has published weights, `(length, fingerprint)`, and calls `looks` before each look. It is forked before the actors, which says
/// nothing about who gets here first; and it may be dead, and its successor not yet there. `None` if
/// the run ends before that.
pub(super) fn first_weights<'m>(
    page: &'m [ReadWord],
    (len, fingerprint): (usize, u64),
    ring: Ring<'_>,
    looks: impl Fn(),
) -> Result<Option<ParamReader<'m>>, PageMismatch> {
    let nobody_rings = AtomicU32::new(0);
    while !ring.is_closed() {
        looks();
        match ParamReader::new(page, len, fingerprint) {
            Ok(reader) if reader.latest_version() > 0 => return Ok(Some(reader)),
            Ok(_) | Err(PageMismatch::NotLaidOut) => {
                futex::wait_while(&nobody_rings, 0, FIRST_LOOK);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::params::{ParamPublisher, page_words};
    use crate::ring::RingShape;
    use crate::sync::AtomicU64;

    const LEN: usize = 3;

    fn words(count: usize) -> Vec<AtomicU64> {
        (0..count).map(|_| AtomicU64::new(0)).collect()
    }

    #[test]
    fn no_incarnation_sees_the_episodes_of_another() {
        let places = [0, 1, 6, u32::MAX];
        let streams: HashSet<u64> =
            [1, 2, 8191].iter().flat_map(|&at| places.map(|place| stream(place, at))).collect();
        assert_eq!(streams.len(), 12);
    }

    /// An actor that is faster than the learner is not a dead actor.
    #[test]
    fn the_first_weights_are_waited_for() {
        let shape = RingShape { blocks: 2, groups: 1 };
        let slots = words(<Ring>::word_count(shape));
        let waits: Vec<_> = (0..<Ring>::wait_count()).map(|_| AtomicU32::new(0)).collect();
        let ring: Ring<'_> = Ring::new(&slots, &waits, shape).expect("fits");
        let (page, block) = (words(page_words(LEN)), words(ActorCounters::WORDS));
        let counters = ActorCounters::new(&block);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let counters = ActorCounters::new(&block);
                let looks = || counters.set_phase(Phase::Wait);
                first_weights(ReadWord::of(&page), (LEN, 7), ring, looks)
                    .expect("one layout")
                    .map(|reader| reader.latest_version())
            });
            while counters.phase() != Some(Phase::Wait) {
                std::thread::yield_now();
            }
            let mut publisher = ParamPublisher::new(&page, LEN, 7).expect("zeroed");
            assert!(!waiting.is_finished(), "a page without weights is nothing to act with");
            publisher.publish(5, &[1.0; LEN]).expect("finite");
            assert_eq!(waiting.join().expect("no panic"), Some(5));
        });
        ring.close();
        let empty = words(page_words(LEN));
        assert!(
            first_weights(ReadWord::of(&empty), (LEN, 7), ring, || {})
                .expect("nothing wrong")
                .is_none()
        );
        let other = first_weights(ReadWord::of(&page), (LEN, 8), ring, || {});
        assert!(other.expect("closed before a look").is_none());
    }
}
