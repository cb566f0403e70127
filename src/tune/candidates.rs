//! Candidate sizes for trials: those that do not change what an update learns from, ranked by the predicted cost of a
//! frame.

use serde::Serialize;

use super::Sizes;

/// Numbers of actors that are looked at, beside those that follow from cores and defaults.
const ACTORS: [usize; 12] = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64];
/// Actors for each core, where environments compute: more only wait for a core.
const ACTORS_PER_CORE: f64 = 2.0;
/// The same where they wait for something else.
const WAITING_PER_CORE: f64 = 16.0;
/// What a process beyond the number of cores is taken to cost. It orders what is predicted to be equal: fewer go first.
const COST_OF_A_PROCESS: f64 = 0.005;
/// So many of the best have the same number of environments, and so many the same number of actors: trials should differ.
const ALIKE: usize = 2;

/// What a frame costs, as a trial of the defaults measured it. All in ns.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Costs {
    /// Time of actors and their workers on a core, without inference.
    pub acting_ns: f64,
    /// Time of actors on a core for inference, and for drawing actions.
    pub inference_ns: f64,
    /// Time that an actor waits for an environment and needs no core.
    pub waiting_ns: f64,
    /// Time of all threads of the learner on cores.
    pub learning_ns: f64,
}

/// Which of the sizes are open: the others were set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vary {
    /// The number of actors.
    pub actors: bool,
    /// The environments of each.
    pub envs_per_actor: bool,
    /// The learner's threads.
    pub learner_threads: bool,
}

impl Vary {
    /// Whether anything is.
    #[must_use]
    pub const fn any(self) -> bool {
        self.actors || self.envs_per_actor || self.learner_threads
    }
}

/// A number of threads that the learner may have, and how many of them a batch is large enough for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Threads {
    /// As the setting has it.
    pub given: usize,
    /// That have something to do.
    pub used: usize,
}

/// What there is to choose from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Space {
    /// What a run has that chooses nothing.
    pub default: Sizes,
    /// What is open.
    pub vary: Vary,
    /// B: unrolls of a batch, which stays as it is.
    pub batch: usize,
    /// Parts that the environments of an actor are split into.
    pub splits: usize,
    /// Tasks, which groups of environments are shared out to.
    pub tasks: usize,
    /// Batches that may be in flight, with that at the learner.
    pub batches_in_flight: usize,
    /// Numbers of threads to choose from, the default among them.
    pub threads: Vec<Threads>,
    /// Cores that the run may use.
    pub cores: usize,
}

impl Space {
    /// Environments of all actors. Each actor has a group for as many tasks as make actors and tasks come out even.
    const fn environments(&self, sizes: Sizes) -> usize {
        let (mut divisor, mut rest) = (sizes.actors, self.tasks);
        while rest > 0 {
            (divisor, rest) = (rest, divisor % rest);
        }
        sizes.actors / divisor * self.tasks * sizes.envs_per_actor
    }

    /// Whether a batch may come from as many different environments as with the defaults.
    fn is_as_varied(&self, sizes: Sizes) -> bool {
        self.environments(sizes) >= self.batch.min(self.environments(self.default))
    }

    fn actors(&self, costs: &Costs) -> Vec<usize> {
        if !self.vary.actors {
            return vec![self.default.actors];
        }
        // Where an actor waits three quarters of its time, four of them fill a core.
        let on_core = (costs.acting_ns + costs.inference_ns).max(f64::MIN_POSITIVE);
        let wait = (costs.waiting_ns / on_core).min(WAITING_PER_CORE);
        let most =
            (self.cores as f64 * (ACTORS_PER_CORE * (1.0 + wait)).min(WAITING_PER_CORE)).ceil();
        let around =
            [self.cores.saturating_sub(1), self.cores, self.cores + 1, self.default.actors];
        let mut all: Vec<usize> = ACTORS
            .into_iter()
            .filter(|&actors| actors as f64 <= most)
            .chain(around.into_iter().filter(|&actors| actors > 0))
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Numbers of environments that the batch can be made of.
    #[must_use]
    pub fn envs_per_actor(&self) -> Vec<usize> {
        if !self.vary.envs_per_actor {
            return vec![self.default.envs_per_actor];
        }
        let fits =
            |envs: &usize| self.batch.is_multiple_of(*envs) && envs.is_multiple_of(self.splits);
        (1..=self.batch).filter(fits).collect()
    }

    fn threads(&self) -> Vec<Threads> {
        let mut open = self.threads.clone();
        if !self.vary.learner_threads {
            open.retain(|threads| threads.given == self.default.learner_threads);
        }
        open
    }

    /// Frames per second that follow from what a frame costs: no more than the cores give, than the actors act, and than
    /// the learner learns. `inference` is the time for a frame over that of the defaults.
    fn predict(&self, sizes: Sizes, used_threads: usize, costs: &Costs, inference: f64) -> f64 {
        let acting_ns = costs.acting_ns + costs.inference_ns * inference;
        let cores = self.cores as f64 / (acting_ns + costs.learning_ns);
        let slots = self.batches_in_flight * (self.batch / sizes.envs_per_actor);
        let actors = sizes.actors.min(slots) as f64 / (acting_ns + costs.waiting_ns);
        let learner = used_threads as f64 / costs.learning_ns;
        let beyond = (sizes.actors + used_threads).saturating_sub(self.cores) as f64;
        1e9 * cores.min(actors).min(learner) * (1.0 - COST_OF_A_PROCESS * beyond).max(0.5)
    }
}

/// The sizes to try, the most promising first, each with the frames per second that are predicted; the defaults are not among them.
/// `inference_ns` is the time of inference for a frame by the environments of an actor; a number that it lacks counts like the default.
#[must_use]
pub fn candidates(
    space: &Space,
    costs: &Costs,
    inference_ns: &[(usize, f64)],
    most: usize,
) -> Vec<(Sizes, f64)> {
    let inference =
        |envs: usize| inference_ns.iter().find(|(at, _)| *at == envs).map(|(_, ns)| *ns);
    let by_default = inference(space.default.envs_per_actor);
    let relative = |envs: usize| {
        let both = inference(envs).zip(by_default);
        both.map_or(1.0, |(ns, default)| ns / default.max(f64::MIN_POSITIVE))
    };
    let mut all = Vec::new();
    for actors in space.actors(costs) {
        // Of equals those with more environments go first: their inference leaves more of the cores to the learner.
        for envs_per_actor in space.envs_per_actor().into_iter().rev() {
            for threads in space.threads() {
                let sizes = Sizes { actors, envs_per_actor, learner_threads: threads.given };
                if sizes != space.default && space.is_as_varied(sizes) {
                    let predicted =
                        space.predict(sizes, threads.used, costs, relative(envs_per_actor));
                    all.push((sizes, predicted));
                }
            }
        }
    }
    // Stable: of equals, those with fewer actors first.
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut chosen: Vec<(Sizes, f64)> = Vec::new();
    for candidate in all {
        let (sizes, _) = candidate;
        let alike = |same: &dyn Fn(&Sizes) -> bool| chosen.iter().filter(|(s, _)| same(s)).count();
        let too_many = (space.vary.envs_per_actor
            && alike(&|s| s.envs_per_actor == sizes.envs_per_actor) >= ALIKE)
            || (space.vary.actors && alike(&|s| s.actors == sizes.actors) >= ALIKE);
        if !too_many {
            chosen.push(candidate);
        }
        if chosen.len() == most {
            break;
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space() -> Space {
        Space {
            default: Sizes { actors: 4, envs_per_actor: 4, learner_threads: 2 },
            vary: Vary { actors: true, envs_per_actor: true, learner_threads: true },
            batch: 8,
            splits: 1,
            tasks: 1,
            batches_in_flight: 3,
            threads: vec![Threads { given: 2, used: 1 }],
            cores: 2,
        }
    }

    const CHEAP: Costs =
        Costs { acting_ns: 100.0, inference_ns: 200.0, waiting_ns: 0.0, learning_ns: 500.0 };
    const INFERENCE: &[(usize, f64)] = &[(1, 600.0), (2, 350.0), (4, 200.0), (8, 150.0)];

    fn sizes(candidates: &[(Sizes, f64)]) -> Vec<(usize, usize)> {
        candidates.iter().map(|(sizes, _)| (sizes.actors, sizes.envs_per_actor)).collect()
    }

    #[test]
    fn cheap_inference_and_few_processes_go_first() {
        let found = candidates(&space(), &CHEAP, INFERENCE, 4);
        assert_eq!(sizes(&found), [(1, 8), (2, 8), (2, 4), (3, 4)]);
        assert!(found.windows(2).all(|pair| pair[0].1 >= pair[1].1));
    }

    #[test]
    fn a_batch_comes_from_as_many_environments() {
        let all = candidates(&space(), &CHEAP, INFERENCE, usize::MAX);
        assert!(sizes(&all).iter().all(|(actors, envs)| actors * envs >= 8), "{all:?}");
        assert!(sizes(&all).iter().all(|(_, envs)| 8_usize.is_multiple_of(*envs)), "{all:?}");
        // With the defaults there are fewer than the batch has columns.
        let default = Sizes { actors: 1, envs_per_actor: 4, learner_threads: 2 };
        let few = candidates(&Space { default, ..space() }, &CHEAP, INFERENCE, usize::MAX);
        assert!(sizes(&few).iter().any(|(actors, envs)| actors * envs == 4), "{few:?}");
    }

    #[test]
    fn what_was_set_stays() {
        let vary = Vary { actors: false, ..space().vary };
        let found = candidates(&Space { vary, ..space() }, &CHEAP, INFERENCE, 9);
        assert!(!found.is_empty() && found.iter().all(|(sizes, _)| sizes.actors == 4));
        let vary = Vary { envs_per_actor: false, ..space().vary };
        let found = candidates(&Space { vary, ..space() }, &CHEAP, INFERENCE, 9);
        assert!(!found.is_empty() && found.iter().all(|(sizes, _)| sizes.envs_per_actor == 4));
        let vary = Vary { actors: false, envs_per_actor: false, learner_threads: false };
        assert!(candidates(&Space { vary, ..space() }, &CHEAP, INFERENCE, 9).is_empty());
    }

    #[test]
    fn environments_that_wait_get_more_actors() {
        let waiting = Costs { waiting_ns: 3_000.0, ..CHEAP };
        let (best, _) = candidates(&space(), &waiting, INFERENCE, 1)[0];
        assert!(best.actors > 4, "{best}");
        let computing = candidates(&space(), &CHEAP, INFERENCE, usize::MAX);
        assert!(computing.iter().all(|(sizes, _)| sizes.actors <= 4), "{computing:?}");
    }

    #[test]
    fn actors_without_a_slot_count_for_nothing() {
        let waiting = Costs { waiting_ns: 1e6, ..CHEAP };
        let best = candidates(&space(), &waiting, INFERENCE, usize::MAX);
        // One group to a batch, three batches in flight.
        let whole = |actors| best.iter().find(|(s, _)| (s.actors, s.envs_per_actor) == (actors, 8));
        let (three, many) = (whole(3).expect("tried").1, best[0]);
        assert!(many.1 > three, "{many:?}");
        assert!(best.iter().all(|(s, p)| s.envs_per_actor < 8 || *p <= three), "{best:?}");
    }

    #[test]
    fn threads_are_tried_where_they_have_work() {
        let threads = vec![Threads { given: 2, used: 2 }, Threads { given: 1, used: 1 }];
        let found = candidates(&Space { threads, ..space() }, &CHEAP, INFERENCE, usize::MAX);
        assert!(found.iter().any(|(sizes, _)| sizes.learner_threads == 1), "{found:?}");
        let (first, _) = found[0];
        assert_eq!(first.learner_threads, 2, "the learner limits: {found:?}");
    }
}
