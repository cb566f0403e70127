//! The preflight check: does this run fit on this machine? It is made before anything is forked or mapped, because the
//! kernel's own answer would be an OOM kill without a message.
//!
//! [`check`] is pure: it compares a [`Need`] with a [`Machine`], which `Machine::read` fills from
//! `/proc` and the cgroups. The figures for private memory are estimates, on the generous side.

mod cgroup;
mod error;
mod machine;
mod need;

pub use error::{PreflightError, Remedy};
pub use machine::{Machine, Room};
pub use need::Need;

use super::{Config, ReplayConfig, defaults};

const MIB: u64 = 1 << 20;

/// Holds what `config` needs against what `machine` has.
///
/// # Errors
/// For the first thing that is short, with the largest number of actors that would fit.
pub fn check(config: &Config, machine: &Machine) -> Result<Need, PreflightError> {
    let need = Need::of(config, config.pool.actors, config.pool.blocks);
    let Some(short) = shortage(&need, machine) else {
        return Ok(need);
    };
    let (actors, remedy) = (config.pool.actors, remedy(config, machine));
    Err(match short {
        Shortage::Memory(room) => PreflightError::Memory {
            actors,
            needed_mib: need.memory_bytes().div_ceil(MIB),
            ring_mib: need.ring_bytes.div_ceil(MIB),
            limit: room.limit.clone(),
            available_mib: room.available / MIB,
            remedy,
        },
        Shortage::Process { what, flag, needed, available } => PreflightError::Process {
            what,
            flag,
            needed_mib: needed.div_ceil(MIB),
            available_mib: available / MIB,
            remedy,
        },
        Shortage::Descriptors(available) => {
            PreflightError::Descriptors { actors, needed: need.descriptors, available, remedy }
        }
        Shortage::Tasks(room) => PreflightError::Tasks {
            actors,
            needed: need.tasks,
            limit: room.limit.clone(),
            available: room.available,
            remedy,
        },
    })
}

enum Shortage<'a> {
    Memory(&'a Room),
    Process { what: &'static str, flag: &'static str, needed: u64, available: u64 },
    Descriptors(u64),
    Tasks(&'a Room),
}

fn shortage<'a>(need: &Need, machine: &'a Machine) -> Option<Shortage<'a>> {
    // The tightest limit is the one to name.
    let tightest = |rooms: &'a [Room]| rooms.iter().min_by_key(|room| room.available);
    let memory = tightest(&machine.memory).filter(|room| room.available < need.memory_bytes());
    if let Some(room) = memory {
        return Some(Shortage::Memory(room));
    }
    let private = need.largest_private_bytes();
    let parts =
        [need.ring_bytes, need.parameter_bytes, need.optimizer_bytes, need.control_bytes, private];
    let mapped = parts.iter().fold(machine.mapped_bytes, |sum, &part| sum.saturating_add(part));
    for (what, flag, needed, limit) in [
        ("address space", "-v", mapped, machine.address_space_bytes),
        ("private memory", "-d", private, machine.data_bytes),
        ("one file in memory", "-f", need.ring_bytes.max(need.optimizer_bytes), machine.file_bytes),
    ] {
        if let Some(available) = limit.filter(|&limit| limit < needed) {
            return Some(Shortage::Process { what, flag, needed, available });
        }
    }
    if let Some(available) = machine.descriptors.filter(|&left| left < need.descriptors) {
        return Some(Shortage::Descriptors(available));
    }
    tightest(&machine.tasks).filter(|room| room.available < need.tasks).map(Shortage::Tasks)
}

/// The largest of `0 .. limit` for which `fits`, which holds for all below one that it holds for; 0 if it holds for none.
fn largest(limit: usize, fits: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, limit);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if fits(middle) { low = middle } else { high = middle }
    }
    low
}

/// How many unrolls could be kept for replay, if the run fits with fewer of them.
fn fewer_replayed(config: &Config, machine: &Machine) -> Option<Remedy> {
    let replay = config.learner.replay.as_ref()?;
    let fits = |kept_groups: usize| {
        let mut fewer = config.clone();
        fewer.learner.replay = Some(ReplayConfig { kept_groups, ..replay.clone() });
        shortage(&Need::of(&fewer, config.pool.actors, config.pool.blocks), machine).is_none()
    };
    let kept_groups = largest(replay.kept_groups, fits);
    let unrolls = kept_groups * config.pool.envs_per_group();
    (unrolls >= replay.layout.spec().batch).then_some(Remedy::FewerReplayed { unrolls })
}

/// The largest pool that fits, its ring no larger than that many actors call for.
fn remedy(config: &Config, machine: &Machine) -> Remedy {
    if let Some(remedy) = fewer_replayed(config, machine) {
        return remedy;
    }
    let blocks = |actors| {
        let pool = &config.pool;
        pool.blocks.min(defaults::blocks_for(
            actors * pool.splits,
            pool.groups_per_block(),
            pool.schedule,
        ))
    };
    let fits = |actors| shortage(&Need::of(config, actors, blocks(actors)), machine).is_none();
    match largest(config.pool.actors + 1, fits) {
        0 => Remedy::Smaller,
        actors => Remedy::Fewer {
            actors,
            blocks: Some(blocks(actors)).filter(|&blocks| blocks < config.pool.blocks),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;
    use crate::env::Registry;

    fn config(settings: Settings) -> Config {
        Config::resolve(&settings, &Registry::builtin()).expect("valid")
    }

    fn actors(actors: usize) -> Settings {
        Settings { actors: Some(actors), learner_threads: Some(1), ..Settings::default() }
    }

    fn refusal(config: &Config, machine: &Machine) -> String {
        let message = check(config, machine).expect_err("too little").to_string();
        assert!(!message.contains('\n'), "{message:?}");
        message
    }

    fn memory(mib: u64) -> Machine {
        let room = |limit: &str, mib: u64| Room { limit: limit.into(), available: mib * MIB };
        Machine {
            memory: vec![room("the machine", 1 << 20), room("memory cgroup /pod", mib)],
            ..Machine::default()
        }
    }

    #[test]
    fn a_machine_without_limits_takes_everything() {
        assert!(check(&config(actors(8191)), &Machine::default()).is_ok());
    }

    #[test]
    fn this_machine_takes_the_default_run() {
        let need =
            check(&config(Settings::default()), &Machine::read()).expect("4 actors on CartPole");
        assert!(need.memory_bytes() < 512 * MIB, "{need:?}");
    }

    #[test]
    fn the_number_of_actors_that_is_offered_fits_and_one_more_does_not() {
        for (wanted, machine) in [
            (8191, memory(2048)),
            (8191, Machine { descriptors: Some(1000), ..Machine::default() }),
            (
                500,
                Machine {
                    tasks: vec![Room { limit: "pids cgroup".into(), available: 100 }],
                    ..Machine::default()
                },
            ),
            (8191, Machine { address_space_bytes: Some(60 * MIB), ..Machine::default() }),
        ] {
            let large = config(actors(wanted));
            let error = check(&large, &machine).expect_err("too little");
            let (PreflightError::Memory { remedy, .. }
            | PreflightError::Process { remedy, .. }
            | PreflightError::Descriptors { remedy, .. }
            | PreflightError::Tasks { remedy, .. }) = error;
            let Remedy::Fewer { actors: fit, .. } = remedy else {
                panic!("nothing fits {machine:?}")
            };
            assert!(check(&config(actors(fit)), &machine).is_ok(), "{fit} on {machine:?}");
            assert!(check(&config(actors(fit + 1)), &machine).is_err(), "{fit} + 1 on {machine:?}");
        }
    }

    #[test]
    fn messages_name_the_limit_and_the_remedy() {
        let message = refusal(&config(actors(8191)), &memory(2048));
        for part in [
            "8191 actors need",
            "MiB",
            "memory cgroup /pod leaves 2048 MiB",
            "use --actors ",
            "--blocks",
        ] {
            assert!(message.contains(part), "{part}: {message}");
        }
        let descriptors = Machine { descriptors: Some(64), ..Machine::default() };
        let message = refusal(&config(actors(100)), &descriptors);
        assert!(message.contains("ulimit -n") && message.contains("64 are free"), "{message}");
        let tasks = Machine {
            tasks: vec![Room { limit: "`ulimit -u`".into(), available: 3 }],
            ..Machine::default()
        };
        let message = refusal(&config(actors(4)), &tasks);
        assert!(
            message.contains("`ulimit -u` leaves 3") && message.ends_with("use --actors 2"),
            "{message}"
        );
        let data = Machine { data_bytes: Some(MIB), ..Machine::default() };
        assert!(refusal(&config(actors(4)), &data).contains("ulimit -d"));
        let file = Machine { file_bytes: Some(1000), ..Machine::default() };
        assert!(refusal(&config(actors(4)), &file).contains("ulimit -f"));
    }

    #[test]
    fn what_is_kept_for_replay_counts_and_as_much_as_fits_is_offered() {
        let replay = |unrolls| {
            let replay_unrolls = Some(unrolls);
            config(Settings { replay_fraction: Some(0.5), replay_unrolls, ..actors(4) })
        };
        let error = check(&replay(10_000_000), &memory(1024)).expect_err("too little");
        let PreflightError::Memory { remedy: Remedy::FewerReplayed { unrolls }, .. } = error else {
            panic!("{error}")
        };
        assert!(error.to_string().ends_with(&format!("use --replay-unrolls {unrolls}")), "{error}");
        assert!(check(&replay(unrolls), &memory(1024)).is_ok());
        assert!(check(&replay(unrolls + 4), &memory(1024)).is_err());
    }

    #[test]
    fn a_ring_that_never_fits_says_what_to_lower() {
        let message = refusal(&config(Settings { batch: Some(65_536), ..actors(4) }), &memory(100));
        assert!(message.contains("not even one actor fits, lower --batch"), "{message}");
    }
}
