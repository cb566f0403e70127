//! Finds the environments of a run by their names, and combines their specs for one network.

use std::time::Duration;

use super::error::ConfigError;
use super::external::external;
use super::settings::Settings;
use super::{ActionBounds, EnvConfig, TaskConfig};
use crate::env::tasks::common_spec;
use crate::env::{EnvOptions, EnvSpec, Registry};

/// So many names stand for a run of several tasks; more are counted.
const NAMES_SHOWN: usize = 3;
/// Most tasks of a run.
const MAX_TASKS: usize = 1024;

/// Looks at each environment that is asked for.
pub(super) fn found(all: &Settings, registry: &Registry) -> Result<Vec<TaskConfig>, ConfigError> {
    let ids = all.env.as_deref().unwrap_or_default();
    if ids.is_empty() || ids.len() > MAX_TASKS {
        return Err(ConfigError::TaskCount { tasks: ids.len(), most: MAX_TASKS });
    }
    ids.iter().map(|id| task(id, all, registry)).collect()
}

fn task(id: &str, all: &Settings, registry: &Registry) -> Result<TaskConfig, ConfigError> {
    let arguments = all.env_arg.clone().unwrap_or_default();
    let odd = |text: &str| text.contains(char::is_control);
    if odd(id) {
        return Err(ConfigError::ControlCharacter { key: "env", value: id.to_owned() });
    }
    if let Some(value) = arguments.iter().find(|text| odd(text)) {
        return Err(ConfigError::ControlCharacter { key: "env-arg", value: value.clone() });
    }
    let mut options = EnvOptions::parse(&arguments)?;
    options.frame_stack = all.frame_stack;
    options.external = external(all, id, registry)?;
    // A worker that never answers here would keep the user waiting without a word.
    let limit = all.actor_start_timeout.and_then(|s| Duration::try_from_secs_f64(s).ok());
    options.external.start_timeout = limit;
    let (spec, notes) = registry.inspect(id, &options)?;
    options.external.start_timeout = None;
    // A family may know a name that stands for another of its own, never one of somebody else's.
    let is_own = |found: &str| registry.is_of_family(id) && registry.is_of_family(found);
    let id = if is_own(&spec.id) { spec.id.clone() } else { id.to_owned() };
    Ok(TaskConfig { id, options, spec, notes })
}

/// What the network sees of all tasks.
pub(super) fn spec(
    tasks: &[TaskConfig],
    padded_len: Option<usize>,
) -> Result<EnvSpec, ConfigError> {
    let specs: Vec<_> = tasks.iter().map(|task| task.spec.clone()).collect();
    Ok(common_spec(&name(tasks), &specs, padded_len)?)
}

pub(super) fn together(
    tasks: Vec<TaskConfig>,
    padded_len: Option<usize>,
) -> Result<EnvConfig, ConfigError> {
    let spec = spec(&tasks, padded_len)?;
    // Discrete actions have no bounds.
    let action_bounds = ActionBounds::Clip;
    Ok(EnvConfig { id: name(&tasks), tasks, padded_len, spec, action_bounds })
}

fn name(tasks: &[TaskConfig]) -> String {
    let names: Vec<_> = tasks.iter().take(NAMES_SHOWN).map(|task| task.id.as_str()).collect();
    let more = tasks.len() - names.len();
    let names = names.join("+");
    if more == 0 { names } else { format!("{names}+{more}-more") }
}

/// One target for each task; none if one of them is never reached.
pub(super) fn targets(
    given: Option<&[f64]>,
    tasks: usize,
) -> Result<Option<Vec<f64>>, ConfigError> {
    let targets = match given {
        None | Some([]) => return Ok(None),
        Some([all]) => vec![*all; tasks],
        Some(each) if each.len() == tasks => each.to_vec(),
        Some(each) => return Err(ConfigError::Targets { targets: each.len(), tasks }),
    };
    Ok(targets.iter().all(|target| target.is_finite()).then_some(targets))
}
