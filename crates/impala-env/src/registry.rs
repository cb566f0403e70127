//! Looks up environments by name.

use std::fmt;
use std::rc::Rc;

use super::{
    EnvError, EnvOptions, EnvSpec, Environment, Lockstep, VectorEnv, acrobot, cartpole, catch,
    mountain_car, mountain_car_continuous, pendulum, recall, synthetic, tasks::seen_as,
};

/// Names that look less alike than this are no suggestion (Jaro-Winkler: 0 nothing alike, 1 the same).
const MIN_LIKENESS: f64 = 0.8;

/// How many names an error suggests.
const MAX_SUGGESTIONS: usize = 3;

type Made = Result<Box<dyn VectorEnv>, EnvError>;
type Make = dyn Fn(&EnvOptions, usize, u64) -> Made;
type MakeNamed = dyn Fn(&str, &EnvOptions, usize, u64) -> Made;

#[derive(Clone)]
struct Entry {
    id: String,
    description: String,
    make: Rc<Make>,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("id", &self.id).finish_non_exhaustive()
    }
}

/// All names that begin alike.
#[derive(Clone)]
struct Family {
    prefix: String,
    shown: String,
    description: String,
    make: Rc<MakeNamed>,
}

impl fmt::Debug for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Family").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// The environments that can be asked for by name.
///
/// ```
/// use impala_env::{EnvOptions, Registry, catch::Catch};
///
/// let mut registry = Registry::builtin();
/// registry.add_environment("MyCatch-v0", "my own environment", Catch::default);
/// let mut envs = registry.make("MyCatch-v0", &EnvOptions::new(), 8, 42)?;
/// assert_eq!(envs.envs(), 8);
/// # Ok::<(), impala_env::EnvError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Registry {
    entries: Vec<Entry>,
    families: Vec<Family>,
}

impl Registry {
    /// Knows no environment.
    #[must_use]
    pub const fn empty() -> Self {
        Self { entries: Vec::new(), families: Vec::new() }
    }

    /// Knows the built-in environments.
    #[must_use]
    pub fn builtin() -> Self {
        let mut registry = Self::empty();
        registry
            .add(
                cartpole::ID,
                "balance a pole on a cart; observation [4] f32, 2 actions, 500 steps",
                |options, envs, seed| {
                    options.read(cartpole::ID).finish()?;
                    Ok(Box::new(cartpole::CartPole::new(envs, seed)))
                },
            )
            .add_environment(
                acrobot::ID,
                "swing up a two-link pendulum; observation [6] f32, 3 actions, 500 steps",
                acrobot::Acrobot::default,
            )
            .add_environment(
                mountain_car::ID,
                "rock a car out of a valley; observation [2] f32, 3 actions, 200 steps",
                mountain_car::MountainCar::default,
            )
            .add_environment(
                mountain_car_continuous::ID,
                "the same with a throttle; observation [2] f32, 1 number from -1 to 1, 999 steps",
                mountain_car_continuous::MountainCarContinuous::default,
            )
            .add_environment(
                pendulum::ID,
                "swing up a pendulum; observation [3] f32, 1 number from -2 to 2, 200 steps",
                pendulum::Pendulum::default,
            )
            .add_environment(
                catch::ID,
                "catch a falling ball; observation [10, 5] u8, 3 actions, 9 steps",
                catch::Catch::default,
            )
            .add(recall::ID, recall::DESCRIPTION, recall::make)
            .add(synthetic::ID, synthetic::DESCRIPTION, synthetic::make);
        registry
    }

    /// Adds what `make` makes of options, a number of environments and a seed; an entry of the same
    /// `id` is replaced. `make` should end its reading of the options with
    /// [`super::OptionReader::finish`].
    pub fn add(
        &mut self,
        id: impl Into<String>,
        description: impl Into<String>,
        make: impl Fn(&EnvOptions, usize, u64) -> Result<Box<dyn VectorEnv>, EnvError> + 'static,
    ) -> &mut Self {
        let entry = Entry { id: id.into(), description: description.into(), make: Rc::new(make) };
        match self.entries.iter_mut().find(|old| old.id == entry.id) {
            Some(old) => *old = entry,
            None => self.entries.push(entry),
        }
        self
    }

    /// Adds an [`Environment`] without options; `make` is called once for each copy. The spec that the
    /// copies report gets the `id` given here.
    pub fn add_environment<T: Environment + 'static>(
        &mut self,
        id: impl Into<String>,
        description: impl Into<String>,
        make: impl Fn() -> T + 'static,
    ) -> &mut Self {
        let id = id.into();
        let name = id.clone();
        self.add(id, description, move |options, envs, seed| {
            options.read(&name).finish()?;
            Ok(Box::new(Lockstep::new(envs, seed, &make).with_id(&name)))
        })
    }

    /// Adds all names that begin with `prefix`; `make` gets the whole name first. `shown` stands for them
    /// in [`Registry::ids`]. An entry with exactly a name comes before a family.
    pub fn add_family(
        &mut self,
        prefix: impl Into<String>,
        shown: impl Into<String>,
        description: impl Into<String>,
        make: impl Fn(&str, &EnvOptions, usize, u64) -> Result<Box<dyn VectorEnv>, EnvError> + 'static,
    ) -> &mut Self {
        let (prefix, shown) = (prefix.into(), shown.into());
        let (description, make) = (description.into(), Rc::new(make));
        self.families.push(Family { prefix, shown, description, make });
        self
    }

    /// Names and descriptions, in the order in which they were added.
    pub fn ids(&self) -> impl Iterator<Item = (&str, &str)> {
        let entries = self.entries.iter();
        let entries = entries.map(|entry| (entry.id.as_str(), entry.description.as_str()));
        let families = self.families.iter();
        entries.chain(families.map(|family| (family.shown.as_str(), family.description.as_str())))
    }

    /// Whether environments of this name are made by a family, and so take note of their
    /// [`super::ExternalEnv`].
    #[must_use]
    pub fn is_of_family(&self, id: &str) -> bool {
        !self.entries.iter().any(|entry| entry.id == id) && self.family(id).is_some()
    }

    fn family(&self, id: &str) -> Option<&Family> {
        self.families.iter().find(|family| id.starts_with(&family.prefix))
    }

    /// What an environment looks like, and what is odd about it. Makes one of it to find out, and has it
    /// tried if it is one of a family.
    ///
    /// # Errors
    /// As [`Registry::make`].
    pub fn inspect(
        &self,
        id: &str,
        options: &EnvOptions,
    ) -> Result<(EnvSpec, Vec<String>), EnvError> {
        let mut options = options.clone();
        options.external.trial = true;
        let made = self.make(id, &options, 1, 0)?;
        Ok((made.spec().clone(), made.notes().to_vec()))
    }

    /// What an environment looks like. Makes one of it to find out.
    ///
    /// # Errors
    /// As [`Registry::make`].
    pub fn spec(&self, id: &str, options: &EnvOptions) -> Result<EnvSpec, EnvError> {
        Ok(self.make(id, options, 1, 0)?.spec().clone())
    }

    /// Makes `envs` environments that step together. The same `seed` gives the same episodes.
    ///
    /// # Errors
    /// [`EnvError::Unknown`] for a name that is not there, [`EnvError::BadOption`] for options that the
    /// environment does not take, and whatever hinders it to start.
    ///
    /// # Panics
    /// If `envs` is 0.
    pub fn make(
        &self,
        id: &str,
        options: &EnvOptions,
        envs: usize,
        seed: u64,
    ) -> Result<Box<dyn VectorEnv>, EnvError> {
        assert!(envs > 0, "at least one environment");
        let entry = self.entries.iter().find(|entry| entry.id == id);
        let mut made = match (entry, self.family(id)) {
            (Some(entry), _) => (entry.make)(options, envs, seed)?,
            (None, Some(family)) => (family.make)(id, options, envs, seed)?,
            (None, None) => {
                return Err(EnvError::Unknown { id: id.to_owned(), nearest: self.nearest(id) });
            }
        };
        let own = made.spec().observation.frame_stack;
        if let Some(frame_stack) = options.frame_stack.filter(|&frame_stack| frame_stack != own) {
            let mut spec = made.spec().clone();
            spec.observation.frame_stack = frame_stack;
            made = seen_as(made, &spec);
        }
        // Its author is a user: find the slip here, not as a strange shape in the learner.
        let failed = |reason: String| EnvError::failed(id, reason);
        if let Some(problem) = made.spec().problem() {
            return Err(failed(problem.to_owned()));
        }
        if made.envs() != envs {
            let count = made.envs();
            return Err(failed(format!("asked for {envs} environments, it made {count}")));
        }
        Ok(made)
    }

    /// Names like `id`, best first.
    fn nearest(&self, id: &str) -> Vec<String> {
        let mut scored: Vec<_> = self
            .entries
            .iter()
            .map(|entry| (likeness(id, &entry.id), &entry.id))
            .filter(|(score, _)| *score >= MIN_LIKENESS)
            .collect();
        scored.sort_by(|a, b| b.0.total_cmp(&a.0));
        let names = scored.into_iter().map(|(_, name)| name.clone());
        names.take(MAX_SUGGESTIONS).collect()
    }
}

/// How alike two names are, whatever their case and version: `cartpole` is `CartPole-v1`.
fn likeness(a: &str, b: &str) -> f64 {
    let (a, b) = (a.to_lowercase(), b.to_lowercase());
    let stems = strsim::jaro_winkler(without_version(&a), without_version(&b));
    stems.max(strsim::jaro_winkler(&a, &b))
}

fn without_version(id: &str) -> &str {
    match id.rsplit_once("-v") {
        Some((stem, version)) if version.bytes().all(|byte| byte.is_ascii_digit()) => stem,
        _ => id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catch::Catch;

    fn error(registry: &Registry, id: &str, options: &EnvOptions) -> EnvError {
        registry.spec(id, options).expect_err("must be refused")
    }

    #[test]
    fn unknown_names_bring_their_nearest() {
        let registry = Registry::builtin();
        for (typed, meant) in [
            ("cartpole", "CartPole-v1"),
            ("CARTPOLE-V1", "CartPole-v1"),
            ("CartPole-v0", "CartPole-v1"),
            ("Cart-Pole", "CartPole-v1"),
            ("mountaincar", "MountainCar-v0"),
            ("acorbot", "Acrobot-v1"),
            ("Sythetic-v0", "Synthetic-v0"),
        ] {
            let EnvError::Unknown { id, nearest } = error(&registry, typed, &EnvOptions::new())
            else {
                panic!("{typed} is unknown");
            };
            assert_eq!((id.as_str(), nearest[0].as_str()), (typed, meant));
            assert!(nearest.len() <= MAX_SUGGESTIONS);
        }
        let strange = error(&registry, "zzz", &EnvOptions::new());
        let expected = "unknown environment 'zzz'";
        assert_eq!(strange.to_string(), expected);
    }

    #[test]
    fn an_environment_is_added_and_replaced_under_its_name() {
        let mut registry = Registry::empty();
        registry.add_environment("Mine-v0", "first", Catch::default);
        registry.add_environment("Mine-v0", "second", Catch::default);
        assert_eq!(registry.ids().collect::<Vec<_>>(), [("Mine-v0", "second")]);
        let spec = registry.spec("Mine-v0", &EnvOptions::new()).expect("there");
        assert_eq!(spec.id, "Mine-v0");
        let mut options = EnvOptions::new();
        options.set("speed", "2");
        let refused = error(&registry, "Mine-v0", &options);
        assert!(matches!(&refused, EnvError::BadOption { key, .. } if key == "speed"), "{refused}");
    }

    #[test]
    fn a_maker_that_ignores_the_count_is_found() {
        let mut registry = Registry::empty();
        registry.add("Two-v0", "always two", |_, _, seed| {
            Ok(Box::new(Lockstep::new(2, seed, Catch::default)))
        });
        assert!(registry.make("Two-v0", &EnvOptions::new(), 2, 0).is_ok());
        let wrong = error(&registry, "Two-v0", &EnvOptions::new());
        assert!(wrong.to_string().contains("asked for 1 environments, it made 2"), "{wrong}");
    }
}
